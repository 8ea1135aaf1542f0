//! Namespaces with many objects, and with large ones: what is read of them, and what that takes.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Config, Exporter, Pair, SOON, Scrape, ago, contract, fails, labels, minutes, rules_to};
use dr_testkit::kube::fake::Fault;
use dr_testkit::kube::{Call, Cluster, Flavour};
use dr_testkit::let_pass;

dr_testkit::both! {
    one_application_of_many_is_read_alone,
    large_applications_are_listed_by_small_pages,
    only_the_pods_of_the_selector_are_read,
}

const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";

/// An application of about this size: a third of it Helm values, which Argo CD repeats twice, and the rest resources.
fn application(namespace: &str, name: &str, size: usize) -> Value {
    let source = json!({"repoURL": "https://git.example.com/saas", "targetRevision": "main",
        "helm": {"values": "replicas: 3\n".repeat(size / 9 / 12)}});
    let resources: Vec<Value> = (0..size * 2 / 3 / 140)
        .map(|index| {
            json!({"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "saas",
                "name": format!("a-deployment-{index:05}"), "status": "Synced", "health": {"status": "Healthy"}})
        })
        .collect();
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"source": source, "destination": {"name": "dr"}, "syncPolicy": {"automated": {}}},
        "status": {
            "sync": {"status": "Synced", "revision": REVISION,
                "comparedTo": {"source": source, "destination": {"name": "dr"}}},
            "health": {"status": "Healthy"}, "reconciledAt": ago(minutes(1)),
            "history": [{"id": 1, "revision": REVISION, "deployedAt": ago(minutes(60)), "source": source}],
            "resources": resources,
        },
    })
}

/// Makes applications `app-0000` and so on.
async fn applications(pair: &Pair, count: usize, size: usize) {
    for index in 0..count {
        pair.dr.apply(application(&pair.namespace, &format!("app-{index:04}"), size)).await;
    }
}

fn watch(pair: &Pair, index: usize) -> String {
    let name = format!("app-{index:04}");
    let check = format!("argocd_app: {{ kubernetes: dr, namespace: {}, name: {name} }}", pair.namespace);
    contract(&name, "rto: 30m\n    rpo: 1h", &check)
}

async fn one_application_of_many_is_read_alone(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    applications(&pair, 30, 2_000).await;
    let exporter = pair.exporter(&watch(&pair, 7)).await;
    exporter.becomes("app-0007", "rpo", "met", SOON).await;
    let calls = pair.dr.calls(&pair.at_dr);
    let alone = |call: &Call| (call.verb.as_str(), call.name.as_str()) == ("get", "app-0007");
    assert!(calls.iter().all(alone), "{calls:?}");
    // Told apart: deleted, and not served any more.
    pair.dr.delete("Application", &pair.namespace, "app-0007").await;
    let scrape = fails(&exporter, "app-0007", "application_missing").await;
    assert_eq!(scrape.get("dr_copy_lost", &labels("app-0007")), Some(1.0), "{scrape}");
}

/// A proxy between can filter lists. Whether an object exists is asked for by name.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_too_short_loses_nothing() {
    let pair = Pair::new(Flavour::Fake).await;
    pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&["get", "list"])).await;
    applications(&pair, 25, 500).await;
    let contracts: String = (0..25).map(|index| watch(&pair, index)).collect();
    let exporter = pair.exporter(&contracts).await;
    exporter.becomes("app-0024", "rpo", "met", SOON).await;
    let listed = |calls: &[Call]| calls.iter().any(|call| call.verb == "list" && call.status == 200);
    assert!(listed(&pair.dr.calls(&pair.at_dr)), "so many are listed");
    pair.dr.fake().fault(&pair.namespace, "applications", Fault::NoItems);
    let seen = pair.dr.calls(&pair.at_dr).len();
    let asked = |calls: &[Call]| {
        calls.iter().skip(seen).filter(|call| call.verb == "get" && call.name == "app-0024").count() > 2
    };
    let called = async || asked(&pair.dr.calls(&pair.at_dr)).then_some(());
    dr_testkit::wait_until("it is asked for by name", SOON, called).await;
    let scrape = exporter.scrape().await;
    assert!(scrape.reasons("app-0024").values().all(|count| *count == 0.0), "{scrape}");
    assert_eq!(scrape.get("dr_copy_lost", &labels("app-0024")), Some(0.0), "{scrape}");
    pair.dr.delete("Application", &pair.namespace, "app-0024").await;
    fails(&exporter, "app-0024", "application_missing").await;
}

async fn large_applications_are_listed_by_small_pages(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&["list"])).await;
    applications(&pair, 45, 148_000).await;
    let exporter = slow(&pair, &watch(&pair, 44)).await;
    let scrape = exporter.becomes("app-0044", "rpo", "met", SOON).await;
    assert!(scrape.reasons("app-0044").values().all(|count| *count == 0.0), "{scrape}");
    // A page that went on from one of another size was not refused.
    let calls = pair.dr.calls(&pair.at_dr);
    let went_on = calls.iter().filter(|call| call.query.contains("continue=") && call.status == 200).count();
    assert!(went_on >= 2, "{calls:?}");
    assert!(calls.iter().all(|call| call.verb == "get" || call.status == 200 || call.status == 0), "{calls:?}");
}

/// Pods of which `ready` are labelled `app=nats` and ready, and the others `app=other`.
async fn pods(pair: &Pair, ready: usize, others: usize) {
    for index in 0..ready + others {
        let app = if index < ready { "nats" } else { "other" };
        pair.dr
            .apply(json!({"apiVersion": "v1", "kind": "Pod",
                "metadata": {"namespace": pair.namespace, "name": format!("pod-{index:04}"), "labels": {"app": app}},
                "spec": {"containers": [{"name": "main", "image": "nats"}]},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
            .await;
    }
}

fn watch_pods(pair: &Pair) -> String {
    let check = format!("pods: {{ kubernetes: dr, namespace: {}, selector: app=nats, min_ready: 3 }}", pair.namespace);
    contract("nats", "rto: 15m", &check)
}

fn has_three_ready(scrape: &Scrape) -> bool {
    scrape.get("dr_pods_ready", &labels("nats")) == Some(3.0)
}

async fn only_the_pods_of_the_selector_are_read(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    pods(&pair, 3, 40).await;
    let exporter = pair.exporter(&watch_pods(&pair)).await;
    exporter.until("three are ready", SOON, has_three_ready).await;
    let calls = pair.dr.calls(&pair.at_dr);
    assert!(calls.iter().all(|call| call.query.contains("labelSelector=app%3Dnats")), "{calls:?}");
    let sizes: Vec<usize> = calls.iter().filter_map(|call| call.bytes).collect();
    assert!(sizes.iter().all(|size| *size < 3_000), "{sizes:?}");
}

/// An exporter's peak of resident memory, in MiB.
fn peak(exporter: &mut Exporter) -> usize {
    memory(exporter, "VmHWM") / 1024
}

/// A line of the process's status, in KiB.
fn memory(exporter: &mut Exporter, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", exporter.process().id())).expect("a process");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a size");
    line.split_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_takes_no_memory() {
    let pair = Pair::new(Flavour::Fake).await;
    pair.dr.apply(application(&pair.namespace, "app-0000", 2_000)).await;
    let (begin, slowly) = ("{\"kind\": \"PodList\", \"items\": [", false);
    for resource in ["applications", "pods"] {
        pair.dr.fake().fault(&pair.namespace, resource, Fault::Endless { begin, slowly });
    }
    let contracts: String = (0..15).map(|index| watch(&pair, index)).collect();
    let mut exporter = pair.exporter(&(contracts + &watch_pods(&pair))).await;
    for contract in ["nats", "app-0000", "app-0014"] {
        let scrape = fails(&exporter, contract, "too_large").await;
        assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", contract)]), Some(0.0), "{scrape}");
        assert_ne!(scrape.get("dr_copy_lost", &labels(contract)), Some(1.0), "{scrape}");
    }
    exporter.logs(&["too_large", "larger than 4 MiB"], SOON).await;
    // A peak takes several runs to build.
    let_pass(Duration::from_secs(3)).await;
    let peak = peak(&mut exporter);
    assert!(peak < 128, "a peak of {peak} MiB");
}

// The figures: `cargo test --release --test kubernetes -- --ignored --nocapture --test-threads=1 figures`, with
// KUBEBUILDER_ASSETS on a real API server as well.

/// What an interval of 10 s takes.
struct Figures {
    calls: f64,
    /// Where the API server tells: the fake.
    kilobytes: Option<f64>,
    resident: usize,
    peak: usize,
}

impl Figures {
    fn print(&self, flavour: Flavour, what: &str) {
        let Self { calls, kilobytes, resident, peak } = self;
        let kilobytes = kilobytes.map(|read| format!(", {read:.0} KB read")).unwrap_or_default();
        println!("{flavour:?}, {what}: {calls:.1} requests a run{kilobytes}; {resident} MiB resident, peak {peak} MiB");
    }
}

const INTERVAL: f64 = 10.0;

fn flavour() -> Flavour {
    if dr_testkit::kube::assets().is_some() { Flavour::Real } else { Flavour::Fake }
}

async fn slow(pair: &Pair, contracts: &str) -> Exporter {
    let yaml = super::config(contracts).replace("interval: 500ms, timeout: 5s", "interval: 10s, timeout: 60s");
    let yaml = yaml
        .replace("interval_when_down: 300ms", "interval_when_down: 10s")
        .replace("api_timeout: 5s", "api_timeout: 60s");
    let config = Config::new(&yaml)
        .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
        .with("dr.kubeconfig", &pair.dr.kubeconfig_of(&pair.at_dr));
    Exporter::start_in(config).await
}

async fn figures(pair: &Pair, exporter: &mut Exporter) -> Figures {
    let from = (pair.dr.calls(&pair.at_dr).len(), Instant::now());
    let_pass(Duration::from_secs_f64(INTERVAL * 6.0)).await;
    let runs = from.1.elapsed().as_secs_f64() / INTERVAL;
    let calls: Vec<Call> = pair.dr.calls(&pair.at_dr).split_off(from.0);
    let bytes: Option<usize> = calls.iter().map(|call| call.bytes).sum();
    Figures {
        calls: calls.len() as f64 / runs,
        kilobytes: bytes.map(|bytes| bytes as f64 / 1000.0 / runs),
        resident: memory(exporter, "VmRSS") / 1024,
        peak: peak(exporter),
    }
}

async fn both_rights(cluster: &Cluster, pair: &Pair) {
    cluster.grant(&pair.namespace, &pair.at_dr, rules_to(&["get", "list"])).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, with bounds"]
async fn figures_of_two_thousand_applications() {
    let (flavour, pair) = (flavour(), Pair::new(flavour()).await);
    both_rights(pair.dr, &pair).await;
    applications(&pair, 2_000, 25_000).await;
    for (watched, rights) in [(1, "get"), (500, "both"), (500, "list"), (500, "get")] {
        match rights {
            "both" => both_rights(pair.dr, &pair).await,
            right => pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&[right])).await,
        }
        let contracts: String = (0..watched).map(|index| watch(&pair, index * 4)).collect();
        let mut exporter = slow(&pair, &contracts).await;
        for index in 0..watched {
            exporter.becomes(&format!("app-{:04}", index * 4), "rpo", "met", Duration::from_secs(120)).await;
        }
        let figures = figures(&pair, &mut exporter).await;
        figures.print(flavour, &format!("2000 applications of 25 KB, {watched} watched, rights: {rights}"));
        assert!(figures.peak <= 64, "a peak of {} MiB", figures.peak);
        assert!(watched > 1 || figures.kilobytes.is_none_or(|read| read <= 100.0));
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, with bounds"]
async fn figures_of_large_applications() {
    let (flavour, pair) = (flavour(), Pair::new(flavour()).await);
    applications(&pair, 520, 148_000).await;
    for right in ["get", "list"] {
        pair.dr.grant(&pair.namespace, &pair.at_dr, rules_to(&[right])).await;
        let mut exporter = slow(&pair, &watch(&pair, 519)).await;
        exporter.becomes("app-0519", "rpo", "met", Duration::from_secs(120)).await;
        let figures = figures(&pair, &mut exporter).await;
        figures.print(flavour, &format!("520 applications of 148 KB, 1 watched, rights: {right}"));
        assert!(figures.peak <= 64, "a peak of {} MiB", figures.peak);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, with bounds"]
async fn figures_of_three_thousand_pods() {
    let (flavour, pair) = (flavour(), Pair::new(flavour()).await);
    pods(&pair, 3, 2_997).await;
    let mut exporter = slow(&pair, &watch_pods(&pair)).await;
    exporter.until("three are ready", Duration::from_secs(60), has_three_ready).await;
    let figures = figures(&pair, &mut exporter).await;
    figures.print(flavour, "3000 pods, 3 of the selector");
    assert!(figures.kilobytes.is_none_or(|read| read <= 20.0));
}
