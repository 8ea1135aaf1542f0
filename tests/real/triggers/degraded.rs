//! The API must live without observability.

use super::{SOON, seconds};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::grafana::Grafana;
use dr_testkit::prometheus::Prometheus;
use dr_testkit::scrape::Scrape;
use dr_testkit::service::Service;
use dr_testkit::watch::Watch;
use serde_json::Value;
use std::time::SystemTime;

const PAIR: [(&str, &str); 2] = [("contract", "api"), ("without", "observability")];

fn ok(scrape: &Scrape) -> Option<f64> {
    scrape.get("dr_degraded_operation_ok", &PAIR)
}

fn tested(scrape: &Scrape, result: &str) -> Option<f64> {
    let [contract, without] = PAIR;
    scrape.get("dr_degraded_operation_last_timestamp_seconds", &[contract, without, ("result", result)])
}

fn down(scrape: &Scrape, contract: &str) -> bool {
    scrape.get("dr_recovery_in_progress", &[("contract", contract)]) == Some(1.0)
}

async fn independence(exporter: &Exporter) -> Value {
    let contract: Value = exporter.get("/api/v1/contracts/api").await.json().await.expect("JSON");
    contract["independence"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outage_of_the_other_tests_it_for_real() {
    let (api, observability) = (Service::start().await, Service::start().await);
    let mut yaml = format!("{}{}", Service::defaults("300ms"), api.contract("api", "60s"));
    yaml.push_str("    independent_of: [observability]\n");
    yaml.push_str(&observability.contract("observability", "60s"));
    let mut exporter = Exporter::start_in(Config::new(&yaml)).await;
    let healthy = |scrape: &Scrape| scrape.all("dr_check_healthy", &[]) == [1.0, 1.0];
    let calm = exporter.until("both are healthy", SOON, healthy).await;
    assert_eq!((ok(&calm), tested(&calm, "ok")), (None, None), "nothing was tested:\n{calm}");

    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    observability.well(false);
    let alone = exporter.until("it works without it", SOON, |scrape| ok(scrape).is_some()).await;
    assert_eq!(ok(&alone), Some(1.0), "{alone}");
    for look in watch.since(since).iter().filter(|look| !down(&look.scrape, "observability")) {
        assert_eq!(ok(&look.scrape), None, "absent while the other is up:\n{}", look.scrape);
    }

    api.well(false);
    let dead = exporter.until("it dies too", SOON, |scrape| ok(scrape) == Some(0.0)).await;
    assert!(down(&dead, "api"), "{dead}");
    exporter.logs(&["fails while the other one is down"], SOON).await;
    let violated = tested(&dead, "violated").expect("a date");
    drop(watch);

    exporter.kill_and_restart().await;
    // What is stored is when it began. The first tick of the new process brings the date up to now.
    let dated = |scrape: &Scrape| tested(scrape, "violated").is_some_and(|date| date >= violated - 0.001);
    let again = exporter.until("it is seen again", SOON, |scrape| ok(scrape).is_some() && dated(scrape)).await;
    assert_eq!(ok(&again), Some(0.0), "{again}");

    api.well(true);
    exporter.until("it is back", SOON, |scrape| ok(scrape) == Some(1.0)).await;
    observability.well(true);
    let over = exporter.until("both are up", SOON, |scrape| !down(scrape, "observability")).await;
    assert_eq!(ok(&over), None, "{over}");
    let (last_ok, last_violated) = (tested(&over, "ok").expect("a date"), tested(&over, "violated").expect("a date"));
    assert!(last_ok > last_violated, "{over}");

    let told = independence(&exporter).await;
    assert!((seconds(&told["last_violated"]) - last_violated).abs() < 0.001, "{told}");
    assert!(told["ok"].is_null(), "{told}");
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("Degraded operation") && page.contains("not being tested"), "{page}");

    // The date of the failure outlives the process, also after the test is over.
    exporter.kill_and_restart().await;
    let scrape = exporter.scrape().await;
    assert!(tested(&scrape, "violated").expect("a date") >= violated, "{scrape}");
    let connection = rusqlite::Connection::open(exporter.config().path("data/dr-exporter.db")).expect("it opens");
    let sql = "SELECT count(*), sum(ended IS NOT NULL), sum(ok) FROM degraded_operation";
    let row = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let (all, over, passed): (i64, i64, i64) = row.expect("an answer");
    assert_eq!((all, over, passed), (1, 1, 0), "one outage is one test, and it failed");
}

/// As it is promised: Prometheus and Grafana are stopped, and the API answers all the same.
#[tokio::test(flavor = "multi_thread")]
async fn prometheus_and_grafana_are_stopped_while_the_api_lives() {
    let api = Service::start().await;
    let mut prometheus = Prometheus::start(&[api.address]).await;
    let mut grafana = Grafana::start(&["overview"]).await;
    let (at_prometheus, at_grafana) = (prometheus.url(), grafana.url());
    let yaml = format!(
        "{}{}    independent_of: [observability]
  - name: observability
    component: Observability
    owner: ops
    priority: P2
    rto: 60s
    checks:
      - name: prometheus
        http: {{ url: \"{at_prometheus}/-/healthy\" }}
      - name: grafana
        grafana_dashboards: {{ url: \"{at_grafana}\", token_file: grafana.token, uids: [overview] }}
",
        Service::defaults("300ms"),
        api.contract("api", "60s"),
    );
    let config = Config::new(&yaml).with("grafana.token", "grafana-token\n");
    let exporter = Exporter::start_in(config).await;
    exporter.until("all is well", SOON, |scrape| scrape.all("dr_check_healthy", &[]) == [1.0; 3]).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    prometheus.kill();
    grafana.die();
    exporter.until("it works without them", SOON, |scrape| ok(scrape) == Some(1.0)).await;
    for look in watch.since(since) {
        assert_ne!(ok(&look.scrape), Some(0.0), "the API answered all the time:\n{}", look.scrape);
    }
    api.well(false);
    exporter.until("it dies too", SOON, |scrape| ok(scrape) == Some(0.0)).await;
    api.well(true);
    prometheus.run().await;
    grafana.live().await;
    let over = exporter.until("all is over", SOON, |scrape| !down(scrape, "observability")).await;
    assert_eq!(ok(&over), None, "{over}");
    assert!(tested(&over, "violated").is_some(), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_of_what_is_no_longer_promised_is_over() {
    let (api, observability) = (Service::start().await, Service::start().await);
    let config = |promise: &str| {
        let contracts = (api.contract("api", "60s"), observability.contract("observability", "60s"));
        format!("{}{}{promise}{}", Service::defaults("300ms"), contracts.0, contracts.1)
    };
    let exporter = Exporter::start(&config("    independent_of: [observability]\n")).await;
    exporter.until("both are healthy", SOON, |scrape| scrape.all("dr_check_healthy", &[]) == [1.0, 1.0]).await;
    observability.well(false);
    exporter.until("it works without it", SOON, |scrape| ok(scrape) == Some(1.0)).await;
    super::reload(&exporter, &config("")).await;
    assert!(!exporter.metrics().await.contains("dr_degraded_operation"), "its series are gone");
    let open = async || {
        let connection = rusqlite::Connection::open(exporter.config().path("data/dr-exporter.db")).ok()?;
        let sql = "SELECT count(*) FROM degraded_operation WHERE ended IS NULL";
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).ok().filter(|open| *open == 0)
    };
    dr_testkit::wait_until("the test is over on record", SOON, open).await;
}
