//! A trigger that watches a contract's check.

use super::{SOON, reload, seconds, triggers};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::let_pass;
use dr_testkit::scrape::Scrape;
use dr_testkit::service::Service;
use dr_testkit::watch::Watch;
use std::time::{Duration, SystemTime};

const LABELS: [(&str, &str); 4] = [
    ("trigger", "health_check_failure"),
    ("action", "dns_failover"),
    ("notification", "pagerduty_critical"),
    ("mode", "auto"),
];
const CHECK: [(&str, &str); 2] = [("contract", "api"), ("check", "health")];

fn config(service: &Service, failures: u32, notification: &str) -> String {
    format!(
        "{}{}triggers:
  - name: health_check_failure
    check: api/health
    consecutive_failures: {failures}
    action: dns_failover
    notification: {notification}
",
        Service::defaults("300ms"),
        service.contract("api", "60s")
    )
}

fn active(scrape: &Scrape) -> Option<f64> {
    scrape.get("dr_trigger_active", &LABELS[..1])
}

#[tokio::test(flavor = "multi_thread")]
async fn on_and_off_at_the_exact_poll_and_on_record() {
    let service = Service::start().await;
    let exporter = Exporter::start(&config(&service, 4, "pagerduty_critical")).await;
    let calm = exporter.until("it is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;
    assert_eq!(calm.get("dr_trigger_known", &LABELS), Some(1.0), "{calm}");
    assert_eq!(calm.get("dr_trigger_last_fired_timestamp_seconds", &LABELS), None, "never:\n{calm}");
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    service.well(false);
    let fires = exporter.until("it fires", SOON, |scrape| active(scrape) == Some(1.0)).await;
    let fired = fires.get("dr_trigger_last_fired_timestamp_seconds", &LABELS).expect("a time");
    let started = fires.get("dr_recovery_started_timestamp_seconds", &CHECK[..1]).expect("the clock runs");
    assert!(fired > started, "four failures take longer than the three that start the clock");
    // It lasts a while, which is on record below.
    let_pass(Duration::from_millis(500)).await;
    service.well(true);
    let clear = exporter.until("it is clear again", SOON, |scrape| active(scrape) == Some(0.0)).await;
    assert_eq!(clear.get("dr_trigger_last_fired_timestamp_seconds", &LABELS), Some(fired), "{clear}");
    for look in watch.since(since) {
        let failures = look.scrape.get("dr_check_consecutive_failures", &CHECK).expect("a count");
        let expected = f64::from(failures >= 4.0);
        assert_eq!(active(&look.scrape), Some(expected), "after {failures} failures:\n{}", look.scrape);
    }
    let told = triggers(&exporter, "").await;
    assert_eq!(told["triggers"][0]["name"], "health_check_failure", "{told}");
    assert_eq!(told["triggers"][0]["watches"], "api/health", "{told}");
    assert_eq!(told["triggers"][0]["active"], false, "{told}");
    let firings = told["firings"].as_array().expect("a list");
    assert_eq!(firings.len(), 1, "{told}");
    assert_eq!(firings[0]["reason"], "unexpected_status", "{told}");
    assert!((seconds(&firings[0]["started"]) - fired).abs() < 0.001, "{told}");
    assert!(seconds(&firings[0]["holds_since"]) < fired, "{told}");
    assert!(seconds(&firings[0]["ended"]) > fired + 0.4, "{told}");
    assert_eq!(triggers(&exporter, "?trigger=other").await["firings"].as_array().map(Vec::len), Some(0));
    assert_eq!(triggers(&exporter, "?since=2100-01-01T00:00:00Z").await["firings"].as_array().map(Vec::len), Some(0));
    assert_eq!(exporter.get("/api/v1/triggers?colour=red").await.status(), 400);
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("health_check_failure") && page.contains("never acts"), "{page}");
    exporter.logs(&["trigger fires", "dns_failover", "pagerduty_critical"], SOON).await;
    exporter.logs(&["trigger is clear again"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_changes_nothing() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, 20, "pagerduty_critical"))).await;
    exporter.until("it is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;
    service.well(false);
    let failures = |scrape: &Scrape| scrape.get("dr_check_consecutive_failures", &CHECK).unwrap_or(0.0);
    let before = exporter.until("half of the streak", SOON, |scrape| failures(scrape) >= 8.0).await;
    exporter.kill_and_restart().await;
    let scrape = exporter.scrape().await;
    assert!(failures(&scrape) >= failures(&before), "the streak goes on:\n{scrape}");
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    let fires = exporter.until("it fires", SOON, |scrape| active(scrape) == Some(1.0)).await;
    assert!(failures(&fires) >= 20.0, "{fires}");
    for look in watch.since(since) {
        let expected = f64::from(failures(&look.scrape) >= 20.0);
        assert_eq!(active(&look.scrape), Some(expected), "at the twentieth of the streak:\n{}", look.scrape);
    }
    drop(watch);
    let fired = fires.get("dr_trigger_last_fired_timestamp_seconds", &LABELS).expect("a time");
    for _ in 0..2 {
        exporter.kill_and_restart().await;
        let scrape = exporter.scrape().await;
        assert_eq!(active(&scrape), Some(1.0), "it fires from the first scrape on:\n{scrape}");
        let again = scrape.get("dr_trigger_last_fired_timestamp_seconds", &LABELS).expect("a time");
        assert!((again - fired).abs() < 0.001, "it does not fire a second time: {fired}, {again}");
    }
    exporter.kill();
    service.well(true);
    exporter.restart().await;
    exporter.until("it is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;
    let told = triggers(&exporter, "").await;
    let firings = told["firings"].as_array().expect("a list");
    assert_eq!(firings.len(), 1, "one firing is one record: {told}");
    assert!(seconds(&firings[0]["ended"]) > fired, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_evidence_it_is_neither_firing_nor_clear() {
    // What is needed to ask is not there: nothing is known of the service, which is no failure of it.
    let yaml = "defaults: { interval: 200ms, timeout: 1s }
kubernetes:
  primary: { kubeconfig_file: nowhere }
contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 60s
    checks:
      - name: pods
        pods: { kubernetes: primary, namespace: kgents, selector: app=api }
triggers:
  - { name: watching, check: api/pods, action: act, notification: pager }
  - { name: own, pods: { kubernetes: primary, namespace: kgents, selector: app=api }, mode: manual, action: act, notification: pager }
";
    let exporter = Exporter::start(yaml).await;
    exporter.logs(&["own", "neither firing nor clear"], SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    let_pass(Duration::from_secs(2)).await;
    for look in watch.since(since) {
        for trigger in ["watching", "own"] {
            assert_eq!(look.scrape.get("dr_trigger_known", &[("trigger", trigger)]), Some(0.0), "{}", look.scrape);
            assert_eq!(look.scrape.get("dr_trigger_active", &[("trigger", trigger)]), None, "{}", look.scrape);
        }
    }
    let told = triggers(&exporter, "?trigger=own").await;
    assert_eq!(told["triggers"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(told["triggers"][0]["watches"], "pods", "{told}");
    assert!(told["triggers"][0]["active"].is_null() && told["triggers"][0]["finding"]["reason"].is_string(), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_measures_the_same() {
    let service = Service::start().await;
    let exporter = Exporter::start(&config(&service, 3, "pagerduty_critical")).await;
    exporter.until("it is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;
    service.well(false);
    let fires = exporter.until("it fires", SOON, |scrape| active(scrape) == Some(1.0)).await;
    let fired = fires.get("dr_trigger_last_fired_timestamp_seconds", &LABELS);

    reload(&exporter, &config(&service, 3, "slack_warning")).await;
    let scrape = exporter.scrape().await;
    let to_slack = [LABELS[0], ("notification", "slack_warning")];
    assert_eq!(
        scrape.get("dr_trigger_active", &to_slack),
        Some(1.0),
        "another way to tell is the same firing:\n{scrape}"
    );
    assert_eq!(scrape.get("dr_trigger_last_fired_timestamp_seconds", &to_slack), fired, "{scrape}");
    assert_eq!(scrape.get("dr_trigger_known", &LABELS), None, "the old series is gone:\n{scrape}");

    reload(&exporter, &config(&service, 1000, "slack_warning")).await;
    let told = triggers(&exporter, "").await;
    assert_eq!(told["firings"].as_array().map(Vec::len), Some(1), "{told}");
    assert!(told["firings"][0]["ended"].is_string(), "another condition: the firing of the one before is over: {told}");
    exporter.until("it is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;

    let without = config(&service, 3, "slack_warning");
    let without = without.split_once("triggers:").expect("triggers").0;
    reload(&exporter, without).await;
    assert!(!exporter.metrics().await.contains("health_check_failure"), "its series are gone");
}
