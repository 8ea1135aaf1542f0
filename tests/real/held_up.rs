//! A process that is stopped in the middle of its runs accuses nobody: it was the process that came too late.

use std::time::Duration;

use dr_testkit::dns::{Dns, Manner};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::grafana::Grafana;
use dr_testkit::let_pass;
use dr_testkit::prometheus::Prometheus;
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::scrape::Scrape;
use dr_testkit::service::Service;

const SOON: Duration = dr_testkit::PATIENCE;
/// How long a run may take.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The contracts, each with one check of the kind. `udp` is `dns`, too.
const KINDS: [&str; 5] = ["http", "dns", "udp", "grafana", "promql"];

fn contract(name: &str, stanza: &str) -> String {
    format!(
        "  - {{ name: {name}, component: {name}, owner: ops, priority: P1, rto: 1h, checks: [ {{ name: it, {stanza} }} ] }}\n"
    )
}

/// How often the check of a contract ended with an outcome.
fn runs(scrape: &Scrape, contract: &str, outcome: &str) -> f64 {
    scrape.get("dr_check_runs_total", &[("contract", contract), ("outcome", outcome)]).unwrap_or_default()
}

/// Every server took the question and was about to answer. While the process stands still, their patience ends,
/// and they close the connections; or they lose the question. Then they are as they were before.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_frozen_in_the_middle_of_a_run_accuses_no_server() {
    let (service, grafana) = (Service::start().await, Grafana::start(&["api"]).await);
    let (dns, udp) = (Dns::start("api A 192.0.2.1 60").await, Dns::start("api A 192.0.2.1 60").await);
    let prometheus = Prometheus::start(&[service.address]).await;
    let mut links = Vec::new();
    for target in [service.address, dns.address, grafana.address, prometheus.address] {
        links.push(Proxy::to(target).await);
    }
    let [http, tcp, boards, queries] = [0, 1, 2, 3].map(|link: usize| links[link].address());
    let regions = "regions: { primary: [192.0.2.0/24], dr: [198.51.100.7] }";
    let dns_of = |server: &str| format!("dns: {{ name: api.example.com, resolvers: [\"{server}\"], {regions} }}");
    let stanzas = [
        format!("http: {{ url: \"http://{http}/\" }}"),
        dns_of(&format!("tcp://{tcp}")),
        dns_of(&udp.address.to_string()),
        format!("grafana_dashboards: {{ url: \"http://{boards}/grafana\", token_file: token, uids: [api] }}"),
        "promql: { prometheus: main, query: \"vector(1)\", healthy_when: { above: 0 } }".to_owned(),
    ];
    let contracts: String = KINDS.iter().zip(&stanzas).map(|(name, stanza)| contract(name, stanza)).collect();
    let yaml = format!(
        "defaults: {{ interval: 300ms, timeout: {TIMEOUT:?}, interval_when_down: 200ms, failures_to_trigger: 1 }}\n\
         prometheus:\n  main: {{ url: \"http://{queries}\" }}\ncontracts:\n{contracts}"
    );
    let exporter = Exporter::start_in(Config::new(&yaml).with("token", "grafana-token\n")).await;
    let all_run_on = async || {
        let before = exporter.scrape().await;
        let more = |scrape: &Scrape, name: &str| runs(scrape, name, "healthy") > runs(&before, name, "healthy") + 1.0;
        exporter.until("every check is healthy", SOON, |scrape| KINDS.iter().all(|name| more(scrape, name))).await
    };
    for closes in [true, false] {
        all_run_on().await;
        for link in &mut links {
            link.set(Mode::BlackHole).await;
        }
        udp.answers(Manner::Silent);
        // Long enough for each check to begin its next run, and far from its time-out.
        let_pass(Duration::from_secs(1)).await;
        exporter.freeze();
        if closes {
            for link in &mut links {
                link.cut().await;
                link.heal().await;
            }
        }
        let_pass(TIMEOUT + Duration::from_secs(2)).await;
        exporter.thaw();
        udp.answers(Manner::Serves);
        for link in &mut links {
            link.heal().await;
        }
        let scrape = all_run_on().await;
        for name in KINDS {
            let reasons = scrape.reasons(name);
            assert_eq!(
                runs(&scrape, name, "unhealthy"),
                0.0,
                "closes: {closes}: {name} is accused: {reasons:?}\n{scrape}"
            );
            let mine = reasons.keys().all(|reason| ["held_up", "local"].contains(&reason.as_str()));
            assert!(mine && runs(&scrape, name, "no_answer") >= 1.0, "closes: {closes}: {name}: {reasons:?}\n{scrape}");
            let recoveries: f64 =
                scrape.series("dr_recoveries_total", &[("contract", name)]).map(|(_, count)| count).sum();
            assert_eq!(recoveries, 0.0, "closes: {closes}: {name} had no outage\n{scrape}");
        }
    }
}
