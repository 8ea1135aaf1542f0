//! What is read is read once for all.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Pair, SOON, Status, contract, minutes};
use dr_testkit::kube::{Call, Flavour};
use dr_testkit::let_pass;

dr_testkit::both! {
    calls_do_not_grow_with_the_number_of_checks,
    many_objects_are_read_out_of_one_list,
    either_right_will_do,
}

/// Beyond a few a list is read, and nothing but the list.
async fn many_objects_are_read_out_of_one_list(flavour: Flavour) {
    const SECRETS: usize = 25;
    let (pair, exporter) = many(flavour, SECRETS, &["get", "list"]).await;
    let from = pair.dr.calls(&pair.at_dr).len();
    let begin = Instant::now();
    let_pass(Duration::from_secs(4)).await;
    let most = (begin.elapsed().as_secs_f64() / 0.5 / 0.85).ceil() as usize + 1;
    let calls: Vec<Call> = pair.dr.calls(&pair.at_dr).split_off(from);
    let lists = count(&calls, "list", "externalsecrets");
    assert!((2..=most).contains(&lists), "{lists} lists, expected up to {most}");
    assert_eq!(calls.len(), lists, "and nothing else: {calls:?}");
    drop(exporter);
}

/// Who may only get gets, and who may only list lists; neither is refused again and again.
async fn either_right_will_do(flavour: Flavour) {
    for (secrets, verb, other) in [(25, "get", "list"), (1, "list", "get")] {
        let (pair, exporter) = many(flavour, secrets, &[verb]).await;
        let scrape = exporter.scrape().await;
        assert_eq!(super::failed(&scrape, "s-0", "forbidden"), 0.0, "{scrape}");
        let from = pair.dr.calls(&pair.at_dr).len();
        exporter.runs_on("s-0", 3, SOON).await;
        let calls: Vec<Call> = pair.dr.calls(&pair.at_dr).split_off(from);
        assert!(count(&calls, verb, "externalsecrets") > 1, "{verb}: {calls:?}");
        assert_eq!(count(&calls, other, "externalsecrets"), 0, "{verb}: {calls:?}");
    }
}

/// The exporter with so many external secrets in DR, all of them met.
async fn many(flavour: Flavour, secrets: usize, verbs: &[&str]) -> (Pair, super::Exporter) {
    let pair = Pair::new(flavour).await;
    pair.dr.grant(&pair.namespace, &pair.at_dr, super::rules_to(verbs)).await;
    let mut contracts = String::new();
    for index in 0..secrets {
        let name = format!("s-{index}");
        pair.external_secret(pair.dr, &name, Status::ready(minutes(20))).await;
        let check = format!("external_secret: {{ dr: dr, namespace: {}, name: {name} }}", pair.namespace);
        contracts.push_str(&contract(&name, "rto: 30m\n    rpo: 1h", &check));
    }
    let exporter = pair.exporter(&contracts).await;
    for index in 0..secrets {
        exporter.becomes(&format!("s-{index}"), "rpo", "met", SOON).await;
    }
    (pair, exporter)
}

/// How often a verb was used on a resource.
fn count(calls: &[Call], verb: &str, resource: &str) -> usize {
    calls.iter().filter(|call| call.verb == verb && call.resource == resource).count()
}

async fn calls_do_not_grow_with_the_number_of_checks(flavour: Flavour) {
    const SECRETS: usize = 12;
    let pair = Pair::new(flavour).await;
    let mut contracts = String::new();
    for index in 0..SECRETS {
        let name = format!("s-{index}");
        for cluster in [pair.primary, pair.dr] {
            pair.secret(cluster, &name, "0a1b2c3d", Status::ready(minutes(20))).await;
        }
        let namespace = &pair.namespace;
        let check = format!("external_secret: {{ primary: primary, dr: dr, namespace: {namespace}, name: {name} }}");
        contracts.push_str(&contract(&name, "rto: 30m\n    rpo: 1h", &check));
        // A second check of the same secret, and one of pods with a selector of its own.
        contracts.push_str(&contract(&format!("again-{index}"), "rto: 30m\n    rpo: 1h", &check));
        let check = format!("pods: {{ kubernetes: dr, namespace: {namespace}, selector: app={name} }}");
        contracts.push_str(&contract(&format!("pods-{index}"), "rto: 30m", &check));
    }
    // No clock runs for want of pods, so that the interval is one and the same.
    for index in 0..SECRETS {
        let labels = json!({"app": format!("s-{index}")});
        pair.dr
            .apply(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": pair.namespace, "name": format!("pod-{index}"), "labels": labels},
                "spec": {"containers": [{"name": "main", "image": "nats"}]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
            .await;
    }
    let exporter = pair.exporter(&contracts).await;
    for index in 0..SECRETS {
        exporter.becomes(&format!("s-{index}"), "rpo", "met", SOON).await;
    }
    let from = pair.dr.calls(&pair.at_dr).len();
    let begin = Instant::now();
    let_pass(Duration::from_secs(5)).await;
    let intervals = begin.elapsed().as_secs_f64() / 0.5;
    // An answer is shared for 0.85 of an interval.
    let most = (intervals / 0.85).ceil() as usize + 1;
    let calls: Vec<Call> = pair.dr.calls(&pair.at_dr).split_off(from);
    let dr = |verb, resource| count(&calls, verb, resource);
    let kinds = [("get", "externalsecrets"), ("get", "secrets"), ("list", "pods")];
    for (verb, resource) in kinds {
        let count = dr(verb, resource);
        let expected = 2 * SECRETS..=most * SECRETS;
        assert!(expected.contains(&count), "{count} times {verb} {resource} in {intervals} intervals");
    }
    assert_eq!(calls.len(), kinds.into_iter().map(|(verb, resource)| dr(verb, resource)).sum::<usize>(), "no more");
    assert!(calls.iter().all(|call| call.namespace == pair.namespace), "and nowhere else");
}

/// The figures for many secrets: `cargo test --release --test kubernetes -- --ignored --nocapture thousand`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn a_thousand_external_secrets() {
    let flavour = if dr_testkit::kube::assets().is_some() { Flavour::Real } else { Flavour::Fake };
    let pair = Pair::new(flavour).await;
    for (cluster, user) in [(pair.primary, &pair.at_primary), (pair.dr, &pair.at_dr)] {
        cluster.grant(&pair.namespace, user, super::rules_to(&["get", "list"])).await;
    }
    let mut contracts = String::new();
    for index in 0..1000 {
        let name = format!("s-{index:03}");
        for cluster in [pair.primary, pair.dr] {
            pair.secret(cluster, &name, "0a1b2c3d", Status::ready(minutes(20))).await;
        }
        let namespace = &pair.namespace;
        let check = format!("external_secret: {{ primary: primary, dr: dr, namespace: {namespace}, name: {name} }}");
        contracts.push_str(&contract(&name, "rto: 30m\n    rpo: 1h", &check));
    }
    let yaml = super::config(&contracts).replace("interval: 500ms, timeout: 5s", "interval: 30s, timeout: 10s");
    let yaml = yaml.replace("api_timeout: 5s", "api_timeout: 10s");
    let config = super::Config::new(&yaml)
        .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
        .with("dr.kubeconfig", &pair.dr.kubeconfig_of(&pair.at_dr));
    let mut exporter = super::Exporter::start_in(config).await;
    exporter.becomes("s-999", "rpo", "met", Duration::from_secs(120)).await;
    let id = exporter.process().id();
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).expect("a process");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
    };
    let from = (pair.dr.calls(&pair.at_dr).len(), ticks(), Instant::now());
    let_pass(Duration::from_secs(120)).await;
    let (seconds, intervals) = (from.2.elapsed().as_secs_f64(), from.2.elapsed().as_secs_f64() / 30.0);
    let calls: Vec<Call> = pair.dr.calls(&pair.at_dr).split_off(from.0);
    let lists = count(&calls, "list", "externalsecrets") as f64 / intervals;
    let gets = count(&calls, "get", "secrets") as f64 / intervals;
    let cpu = (ticks() - from.1) as f64 / 100.0 / seconds;
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
    let memory = status.lines().find(|line| line.starts_with("VmRSS")).expect("a size");
    println!(
        "{flavour:?}: an interval of 30 s has {lists:.1} list pages and {gets:.0} gets per cluster; {:.1} % of a core; {memory}",
        100.0 * cpu
    );
}
