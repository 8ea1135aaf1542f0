//! Health by a query: error ratio and latency of a service that is scraped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{SOON, contract, ends, exporter, fails, figure, runs};
use dr_testkit::prometheus::{Prometheus, Toy};

/// A service that answers requests, well or not, all the time.
struct Api {
    toy: Arc<tokio::sync::Mutex<Toy>>,
    ill: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Api {
    async fn start() -> Self {
        let toy = Arc::new(tokio::sync::Mutex::new(Toy::start("").await));
        let ill = Arc::new(AtomicBool::new(false));
        let (told, is_ill) = (Arc::clone(&toy), Arc::clone(&ill));
        let task = tokio::spawn(async move {
            let (mut good, mut bad, mut slow) = (0_u32, 0_u32, 0_u32);
            loop {
                if is_ill.load(Ordering::SeqCst) {
                    (bad, slow) = (bad + 9, slow + 9);
                    good += 1;
                } else {
                    good += 10;
                }
                let (all, fast) = (good + bad, good + bad - slow);
                told.lock().await.tells(&format!(
                    "http_requests_total{{code=\"200\"}} {good}\nhttp_requests_total{{code=\"503\"}} {bad}\n\
                     # TYPE latency_seconds histogram\nlatency_seconds_bucket{{le=\"1\"}} {fast}\n\
                     latency_seconds_bucket{{le=\"20\"}} {all}\nlatency_seconds_bucket{{le=\"+Inf\"}} {all}\n\
                     latency_seconds_sum 1\nlatency_seconds_count {all}\n"
                ));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        Self { toy, ill, task }
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const ERRORS: &str = "query: sum(rate(http_requests_total{code=~\"5..\"}[5s])) / sum(rate(http_requests_total[5s]))
healthy_when: { below: 0.5 }";
const P99: &str = "query: histogram_quantile(0.99, sum by (le) (rate(latency_seconds_bucket[5s])))
healthy_when: { below: 10 }";

#[tokio::test(flavor = "multi_thread")]
async fn error_ratio_and_p99_start_and_stop_the_clock() {
    let api = Api::start().await;
    let address = api.toy.lock().await.address;
    let prometheus = Prometheus::start(&[address]).await;
    let contracts = [contract("errors", "rto: 1m", ERRORS), contract("p99", "rto: 1m", P99)];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["errors", "p99"] {
        let scrape = ends(&exporter, name, "healthy").await;
        assert_eq!(figure(&scrape, "dr_recovery_in_progress", name), Some(0.0), "{scrape}");
        let age = figure(&scrape, "dr_promql_sample_age_seconds", name).expect("an age");
        assert!((0.0..30.0).contains(&age), "the sample is {age} s old");
    }
    api.ill.store(true, Ordering::SeqCst);
    for name in ["errors", "p99"] {
        let running = |scrape: &super::Scrape| figure(scrape, "dr_recovery_in_progress", name) == Some(1.0);
        let scrape = exporter.until("the clock runs", SOON, running).await;
        assert!(scrape.reasons(name).contains_key("condition_false"), "{scrape}");
    }
    let value = figure(&exporter.scrape().await, "dr_promql_value", "p99").expect("a value");
    assert!(value > 10.0, "{value}");

    // The service dies while it is ill: nobody can tell how it is, and the clock is neither started nor stopped.
    api.toy.lock().await.die();
    for name in ["errors", "p99"] {
        let scrape = fails(&exporter, name, "no_sample").await;
        assert_eq!(figure(&scrape, "dr_recovery_in_progress", name), Some(1.0), "{scrape}");
        assert_eq!(figure(&scrape, "dr_promql_value", name), None, "{scrape}");
    }
    assert!(prometheus.ask("sum(rate(http_requests_total[1m]))").await.is_some(), "the range still shows it");

    api.ill.store(false, Ordering::SeqCst);
    api.toy.lock().await.live().await;
    for name in ["errors", "p99"] {
        let over = |scrape: &super::Scrape| figure(scrape, "dr_recovery_in_progress", name) == Some(0.0);
        let scrape = exporter.until("the clock stops", SOON, over).await;
        assert_eq!(scrape.status(name, "rto"), "met", "{scrape}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_dies_while_well_starts_no_clock_and_does_not_stay_green() {
    let mut toy = Toy::start("queue_length 3\n").await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("queue_length").await;
    let contracts = [contract("queue", "rto: 1m", "query: queue_length\nhealthy_when: { equals: 3 }")];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    ends(&exporter, "queue", "healthy").await;
    toy.die();
    let scrape = fails(&exporter, "queue", "no_sample").await;
    let unhealthy = runs(&scrape, "queue", "unhealthy");
    exporter
        .until("health is no longer known", SOON, |scrape| figure(scrape, "dr_check_healthy", "queue").is_none())
        .await;

    // Prometheus itself is killed: the same.
    toy.live().await;
    ends(&exporter, "queue", "healthy").await;
    prometheus.kill();
    let scrape = fails(&exporter, "queue", "connect_failed").await;
    assert_eq!(figure(&scrape, "dr_recovery_in_progress", "queue"), Some(0.0), "{scrape}");
    assert_eq!(runs(&scrape, "queue", "unhealthy"), unhealthy, "{scrape}");
    prometheus.run().await;
    let scrape = ends(&exporter, "queue", "healthy").await;
    assert_eq!(runs(&scrape, "queue", "unhealthy"), 0.0, "{scrape}");
}

/// A range has a value for as long as it is; the half of it that is dead must be seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_still_has_a_value_is_no_answer_once_one_of_its_sources_is_dead() {
    let (errors, mut requests) = (Toy::start("errors_total 0\n").await, Toy::start("requests_total 5\n").await);
    let prometheus = Prometheus::start(&[errors.address, requests.address]).await;
    let query = "sum(errors_total) / sum(avg_over_time(requests_total[10m]))";
    prometheus.has(query).await;
    let stanza = format!("query: {query}\nhealthy_when: {{ below: 0.5 }}");
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &[contract("ratio", "rto: 1m", &stanza)]).await;
    ends(&exporter, "ratio", "healthy").await;
    requests.die();
    let scrape = fails(&exporter, "ratio", "no_sample").await;
    assert!(exporter.log().contains("requests_total"), "what is missing is named: {}", exporter.log());
    assert_eq!(prometheus.ask(query).await, Some(0.0), "Prometheus has a value, and a good one");
    let healthy = runs(&scrape, "ratio", "healthy");
    let scrape = fails(&exporter, "ratio", "no_sample").await;
    assert_eq!(runs(&scrape, "ratio", "healthy"), healthy, "{scrape}");
    assert_eq!(runs(&scrape, "ratio", "unhealthy"), 0.0, "{scrape}");
}

/// The component does not get well because the part of it that is ill dies altogether.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_of_several_does_not_get_well_by_falling_silent() {
    let (good, mut bad) = (Toy::start("error_ratio 0.01\n").await, Toy::start("error_ratio 0.9\n").await);
    let prometheus = Prometheus::start_with(&[good.address, bad.address], &["--web.enable-lifecycle"], "").await;
    prometheus.has("count(error_ratio) == 2").await;
    let stanzas = [
        ("max", "query: max(error_ratio)\nhealthy_when: { below: 0.5 }"),
        ("mean", "query: avg(error_ratio)\nhealthy_when: { below: 0.3 }"),
        ("rest", "query: 1 - max(error_ratio)\nhealthy_when: { above: 0.5 }"),
        ("else", "query: error_ratio > 0.5 or on () vector(0)\nhealthy_when: { below: 0.5 }"),
        ("equal", "query: sum(error_ratio > bool 0.5)\nhealthy_when: { equals: 0 }"),
    ];
    let mut contracts = stanzas.map(|(name, stanza)| contract(name, "rto: 1h", stanza)).to_vec();
    // Whoever dies, the best of them stays the best, and a bad number stays bad.
    contracts.push(contract("best", "rto: 1h", "query: min(error_ratio)\nhealthy_when: { below: 0.5 }"));
    contracts.push(contract("ill", "rto: 1h", "query: max(error_ratio)\nhealthy_when: { below: 0.001 }"));
    let trigger = "triggers:\n  - name: errors\n    promql: { prometheus: main, query: max(error_ratio), above: 0.5 }\n    \
                   interval: 300ms\n    mode: manual\n    action: call\n    notification: pager\n";
    let yaml = format!("{}{trigger}", super::config(&format!("url: \"{}\"", prometheus.url()), &contracts));
    let exporter = dr_testkit::exporter::Exporter::start_in(dr_testkit::exporter::Config::new(&yaml)).await;
    let active = |scrape: &super::Scrape| scrape.get("dr_trigger_active", &[("trigger", "errors")]);
    let running = |scrape: &super::Scrape, name| figure(scrape, "dr_recovery_in_progress", name);
    for (name, _) in stanzas {
        exporter.until("the clock runs", SOON, |scrape| running(scrape, name) == Some(1.0)).await;
    }
    exporter.until("the trigger fires", SOON, |scrape| active(scrape) == Some(1.0)).await;
    let before = exporter.scrape().await;

    bad.die();
    prometheus.has("up == 0").await;
    prometheus.has("count(error_ratio) == 1").await;
    for (name, _) in stanzas {
        let scrape = fails(&exporter, name, "no_sample").await;
        assert_eq!(running(&scrape, name), Some(1.0), "{name}: {scrape}");
        assert_eq!(runs(&scrape, name, "healthy"), 0.0, "{name}: {scrape}");
    }
    let scrape = exporter.until("the trigger does not know", SOON, |scrape| active(scrape).is_none()).await;
    assert!(runs(&scrape, "best", "no_answer") <= runs(&before, "best", "no_answer"), "{scrape}");
    ends(&exporter, "best", "healthy").await;
    ends(&exporter, "ill", "unhealthy").await;

    // It is taken away in order, as a pod that is replaced: what is left is all there is.
    let file = prometheus.directory().join("prometheus.yml");
    let targets = std::fs::read_to_string(&file).expect("read").replace(&format!(", '{}'", bad.address), "");
    std::fs::write(&file, targets).expect("written");
    let client = dr_testkit::exporter::client();
    let reloaded = client.post(format!("{}/-/reload", prometheus.url())).send().await.expect("an answer");
    assert!(reloaded.status().is_success(), "{}", reloaded.status());
    for (name, _) in stanzas {
        exporter.until("the clock stops", SOON, |scrape| running(scrape, name) == Some(0.0)).await;
    }
    exporter.until("the trigger is clear", SOON, |scrape| active(scrape) == Some(0.0)).await;
}

/// A rate needs two samples, so a target that comes back is up before its series counts again.
#[tokio::test(flavor = "multi_thread")]
async fn the_worst_rate_does_not_get_well_when_its_target_comes_back() {
    let (good, bad) = (Toy::start("errors_total 0\n").await, Api::start().await);
    let address = bad.toy.lock().await.address;
    bad.ill.store(true, Ordering::SeqCst);
    let prometheus = Prometheus::start(&[good.address, address]).await;
    let query = "max(rate({__name__=~\"errors_total|http_requests_total\"}[10s]))";
    prometheus.has(&format!("{query} > 5")).await;
    let contracts = [contract("rate", "rto: 1h", &format!("query: {query}\nhealthy_when: {{ below: 5 }}"))];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    ends(&exporter, "rate", "unhealthy").await;
    bad.toy.lock().await.die();
    prometheus.has(&format!("{query} == 0")).await;
    fails(&exporter, "rate", "no_sample").await;
    bad.toy.lock().await.live().await;
    prometheus.has(&format!("{query} > 5")).await;
    let scrape = ends(&exporter, "rate", "unhealthy").await;
    assert_eq!(runs(&scrape, "rate", "healthy"), 0.0, "{scrape}");
}
