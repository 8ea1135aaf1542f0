//! Triggers that ask a real Prometheus.

use super::{SOON, seconds, triggers};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::let_pass;
use dr_testkit::prometheus::{Prometheus, Toy, unix};
use dr_testkit::scrape::Scrape;
use dr_testkit::service::Service;
use dr_testkit::watch::Watch;
use std::time::{Duration, SystemTime};

/// For how long the error ratio must be beyond its bound: longer than a busy machine takes for what comes before.
const HOLD: Duration = Duration::from_secs(10);

fn tells(toy: &Toy, ratio: &str, p99: &str) {
    toy.tells(&format!("api_error_ratio_rate5m {ratio}\napi_latency_p99_5m {p99}\n"));
}

fn config(prometheus: &Prometheus, service: &Service) -> String {
    format!(
        "{}{}prometheus:
  main: {{ url: \"{}\" }}
triggers:
  - name: error_rate_spike
    promql: {{ prometheus: main, query: api_error_ratio_rate5m, above: 0.5 }}
    for: 10s
    interval: 300ms
    mode: manual
    action: alert_oncall
    notification: pagerduty_warning
  - name: latency_degradation
    promql: {{ prometheus: main, query: api_latency_p99_5m, above: 10 }}
    interval: 300ms
    mode: manual
    action: alert_oncall
    notification: slack_warning
",
        Service::defaults("300ms"),
        service.contract("api", "60s"),
        prometheus.url()
    )
}

fn active(scrape: &Scrape, trigger: &str) -> Option<f64> {
    scrape.get("dr_trigger_active", &[("trigger", trigger)])
}

fn is(trigger: &'static str, state: Option<f64>) -> impl Fn(&Scrape) -> bool {
    move |scrape| active(scrape, trigger) == state
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_bound_for_long_enough() {
    let service = Service::start().await;
    let toy = Toy::start("").await;
    tells(&toy, "0.5", "10");
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("api_latency_p99_5m").await;
    let mut exporter = Exporter::start_in(Config::new(&config(&prometheus, &service))).await;
    for trigger in ["error_rate_spike", "latency_degradation"] {
        exporter.until("at the bound it is clear", SOON, is(trigger, Some(0.0))).await;
    }

    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    tells(&toy, "0.51", "10.1");
    exporter.until("the latency is told at once", SOON, is("latency_degradation", Some(1.0))).await;
    let changed = since.elapsed().unwrap_or_default();
    assert_eq!(active(&exporter.scrape().await, "error_rate_spike"), Some(0.0), "not for long enough");
    // A dip begins the wait anew.
    let_pass(Duration::from_secs(1)).await;
    tells(&toy, "0.4", "10.1");
    prometheus.has("api_error_ratio_rate5m < 0.5").await;
    let_pass(Duration::from_millis(900)).await;
    let dipped = SystemTime::now();
    tells(&toy, "0.6", "10.1");
    exporter.until("it has held for so long", SOON, is("error_rate_spike", Some(1.0))).await;
    let waited = dipped.elapsed().unwrap_or_default();
    assert!(waited >= HOLD, "it fired {waited:?} after the dip, {changed:?} for the other");
    for look in watch.since(since).iter().filter(|look| look.at < dipped + HOLD) {
        assert_eq!(active(&look.scrape, "error_rate_spike"), Some(0.0), "{}", look.scrape);
    }
    drop(watch);
    let told = triggers(&exporter, "?trigger=error_rate_spike").await;
    let held = seconds(&told["firings"][0]["started"]) - seconds(&told["firings"][0]["holds_since"]);
    let most = waited.as_secs_f64();
    assert!((HOLD.as_secs_f64()..=most).contains(&held), "at the first look after {HOLD:?}, within {most} s: {told}");
    assert!(told["firings"][0]["detail"].as_str().is_some_and(|story| story.contains("0.6")), "{told}");

    // Prometheus is gone: neither firing nor clear, and the record goes on, whatever restarts meanwhile.
    prometheus.kill();
    for trigger in ["error_rate_spike", "latency_degradation"] {
        let unknown = exporter.until("nobody knows", SOON, is(trigger, None)).await;
        assert_eq!(unknown.get("dr_trigger_known", &[("trigger", trigger)]), Some(0.0), "{unknown}");
    }
    exporter.kill_and_restart().await;
    let_pass(Duration::from_secs(1)).await;
    assert_eq!(active(&exporter.scrape().await, "error_rate_spike"), None);
    prometheus.run().await;
    exporter.until("it fires on", SOON, is("error_rate_spike", Some(1.0))).await;
    let again = triggers(&exporter, "?trigger=error_rate_spike").await;
    assert_eq!(again["firings"].as_array().map(Vec::len), Some(1), "one firing: {again}");
    assert_eq!(again["firings"][0]["started"], told["firings"][0]["started"], "{again}");

    tells(&toy, "0.1", "NaN");
    exporter.until("it is clear", SOON, is("error_rate_spike", Some(0.0))).await;
    exporter.until("no number is no evidence", SOON, is("latency_degradation", None)).await;
    let over = triggers(&exporter, "").await;
    let ended = |trigger: &str| {
        let firings = over["firings"].as_array().expect("a list").iter();
        firings.filter(|firing| firing["trigger"] == trigger).all(|firing| firing["ended"].is_string())
    };
    assert!(ended("error_rate_spike") && !ended("latency_degradation"), "{over}");
}

/// The wait of `for` goes on over a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_of_the_wait() {
    let service = Service::start().await;
    let toy = Toy::start("").await;
    tells(&toy, "0.1", "1");
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("api_latency_p99_5m").await;
    // Evidence stays fresh for longer than the restart takes.
    let config = config(&prometheus, &service).replace("for: 10s\n    interval: 300ms", "for: 10s\n    interval: 3s");
    let mut exporter = Exporter::start_in(Config::new(&config)).await;
    exporter.until("it is clear", SOON, is("error_rate_spike", Some(0.0))).await;
    tells(&toy, "0.9", "1");
    let told = async |exporter: &Exporter| triggers(exporter, "?trigger=error_rate_spike").await["triggers"][0].clone();
    let holds = async || Some(told(&exporter).await).filter(|told| told["holds_since"].is_string());
    let before = dr_testkit::wait_until("the wait begins", SOON, holds).await;
    // A wait that began anew would end later by this.
    let_pass(Duration::from_secs(6)).await;
    exporter.kill_and_restart().await;
    let restarted = unix();
    let after = told(&exporter).await;
    assert!((seconds(&after["holds_since"]) - seconds(&before["holds_since"])).abs() < 0.001, "{before} {after}");
    exporter.until("it fires", SOON, is("error_rate_spike", Some(1.0))).await;
    let fired = triggers(&exporter, "?trigger=error_rate_spike").await;
    let held = seconds(&fired["firings"][0]["started"]) - seconds(&before["holds_since"]);
    assert!(held >= HOLD.as_secs_f64(), "{held} s");
    let since_restart = seconds(&fired["firings"][0]["started"]) - restarted;
    assert!(since_restart < HOLD.as_secs_f64(), "the restart did not begin the wait anew: {since_restart} s");
}
