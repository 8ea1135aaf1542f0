//! Pods.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Pair, SOON, contract, failed, fails, labels};
use dr_testkit::kube::fake::Fault;
use dr_testkit::kube::{Cluster, Flavour};
use dr_testkit::let_pass;
use dr_testkit::prometheus::unix;
use dr_testkit::proxy::Proxy;

dr_testkit::both! {
    pods_are_counted,
    an_api_server_that_does_not_answer_is_not_zero_pods,
    a_trigger_fires_while_all_pods_are_unhealthy,
}

pub(super) async fn pod(pair: &Pair, cluster: &Cluster, name: &str, app: &str, ready: bool, finalizers: Value) {
    cluster
        .apply(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": pair.namespace, "name": name, "labels": {"app": app}, "finalizers": finalizers},
            "spec": {"containers": [{"name": "main", "image": "nats", "imagePullPolicy": "Always",
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {}}]},
            "status": {"conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
        }))
        .await;
}

/// Its status, and nothing of what cannot be changed.
async fn readiness(pair: &Pair, name: &str, ready: bool) {
    let status = if ready { "True" } else { "False" };
    let patch = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
    let path = format!("/api/v1/namespaces/{}/pods/{name}/status", pair.namespace);
    let answer = pair.dr.request("PATCH", &path, Some(("application/merge-patch+json", patch))).await;
    let (code, answer) = answer.expect("the API server answers");
    assert_eq!(code, 200, "{answer}");
}

async fn workload(pair: &Pair, replicas: u32) {
    pair.dr
        .apply(json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": pair.namespace, "name": "nats"},
            "spec": {"replicas": replicas, "serviceName": "nats", "selector": {"matchLabels": {"app": "nats"}},
                "template": {"metadata": {"labels": {"app": "nats"}}, "spec": {"containers": [{"name": "main", "image": "nats"}]}}},
        }))
        .await;
}

pub(super) fn check(pair: &Pair, more: &str) -> String {
    let namespace = &pair.namespace;
    format!("pods: {{ kubernetes: dr, namespace: {namespace}, selector: \"app in (nats)\", min_ready: 2{more} }}")
}

async fn pods_are_counted(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    workload(&pair, 3).await;
    let check = check(&pair, ", workload: { kind: StatefulSet, name: nats }");
    let exporter = pair.exporter(&contract("nats", "rto: 15m", &check)).await;
    let scrape = fails(&exporter, "nats", "no_pods").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(1.0), "{scrape}");
    for name in ["nats-0", "nats-1"] {
        pod(&pair, pair.dr, name, "nats", true, json!(["example.com/stay"])).await;
    }
    pod(&pair, pair.dr, "nats-2", "nats", false, json!([])).await;
    pod(&pair, pair.dr, "other-0", "other", true, json!([])).await;
    let ready = |count: f64| move |scrape: &super::Scrape| scrape.get("dr_pods_ready", &labels("nats")) == Some(count);
    let scrape = exporter.until("two are ready", SOON, ready(2.0)).await;
    assert_eq!(scrape.get("dr_pods_wanted", &labels("nats")), Some(3.0), "{scrape}");
    assert_eq!(scrape.get("dr_check_healthy", &[("contract", "nats")]), Some(1.0), "{scrape}");

    readiness(&pair, "nats-0", false).await;
    exporter.until("one is ready", SOON, ready(1.0)).await;
    fails(&exporter, "nats", "too_few_ready").await;
    exporter.logs(&["too_few_ready", "nats-0 is not ready"], SOON).await;
    readiness(&pair, "nats-0", true).await;
    exporter.until("two are ready again", SOON, ready(2.0)).await;

    // Being deleted it still says that it is ready.
    pair.dr.delete("Pod", &pair.namespace, "nats-1").await;
    exporter.until("one that is deleted counts no more", SOON, ready(1.0)).await;

    workload(&pair, 0).await;
    exporter.until("it is scaled down", SOON, |scrape| failed(scrape, "nats", "scaled_to_zero") > 0.0).await;
    pair.dr.delete("StatefulSet", &pair.namespace, "nats").await;
    let scrape = fails(&exporter, "nats", "workload_missing").await;
    assert_eq!(scrape.get("dr_check_warning", &[("contract", "nats")]), Some(1.0), "{scrape}");
    // Its pods can be made by something else.
    pod(&pair, pair.dr, "nats-3", "nats", true, json!([])).await;
    let healthy = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "nats")]) == Some(1.0);
    let scrape = exporter.until("two are ready without a workload", SOON, healthy).await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{scrape}");
    assert_eq!(scrape.get("dr_check_warning", &[("contract", "nats")]), Some(1.0), "{scrape}");
}

async fn an_api_server_that_does_not_answer_is_not_zero_pods(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    for name in ["nats-0", "nats-1"] {
        pod(&pair, pair.dr, name, "nats", true, json!([])).await;
    }
    let mut link = Proxy::to(pair.dr.address()).await;
    let dr = pair.dr.kubeconfig(&format!("token: {}", pair.at_dr.token), Some(link.address()));
    let primary = pair.primary.kubeconfig_of(&pair.at_primary);
    let exporter = pair.exporter_with(&contract("nats", "rto: 15m", &check(&pair, "")), &primary, &dr).await;
    let healthy = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "nats")]) == Some(1.0);
    exporter.until("it is healthy", SOON, healthy).await;
    link.cut().await;
    let cut = fails(&exporter, "nats", "connect_failed").await;
    let unknown = exporter.until("nobody knows", SOON, |scrape| scrape.status("nats", "rto") == "unproven").await;
    for scrape in [cut, unknown] {
        assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{scrape}");
        assert_eq!(failed(&scrape, "nats", "no_pods"), 0.0, "{scrape}");
    }
    link.heal().await;
    exporter.until("it is healthy again", SOON, healthy).await;
}

/// "NATS cluster down: all 3 pods unhealthy."
async fn a_trigger_fires_while_all_pods_are_unhealthy(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    for name in ["nats-0", "nats-1"] {
        pod(&pair, pair.dr, name, "nats", true, json!([])).await;
    }
    let mut link = Proxy::to(pair.dr.address()).await;
    let dr = pair.dr.kubeconfig(&format!("token: {}", pair.at_dr.token), Some(link.address()));
    let primary = pair.primary.kubeconfig_of(&pair.at_primary);
    let namespace = &pair.namespace;
    let triggers = format!(
        "triggers:
  - name: nats_cluster_down
    pods: {{ kubernetes: dr, namespace: {namespace}, selector: app=nats }}
    mode: manual
    action: alert_oncall
    notification: pagerduty_critical
"
    );
    let contract = contract("nats", "rto: 15m", &check(&pair, ""));
    let exporter = pair.exporter_with(&format!("{contract}{triggers}"), &primary, &dr).await;
    let trigger = [("trigger", "nats_cluster_down"), ("mode", "manual")];
    let is = |state: Option<f64>| move |scrape: &super::Scrape| scrape.get("dr_trigger_active", &trigger) == state;
    exporter.until("it is clear", SOON, is(Some(0.0))).await;
    readiness(&pair, "nats-0", false).await;
    fails(&exporter, "nats", "too_few_ready").await;
    is(Some(0.0))(&exporter.scrape().await).then_some(()).expect("one of two is ready: not all are unhealthy");
    readiness(&pair, "nats-1", false).await;
    exporter.until("none is ready", SOON, is(Some(1.0))).await;
    readiness(&pair, "nats-0", true).await;
    exporter.until("one is ready again", SOON, is(Some(0.0))).await;
    for name in ["nats-0", "nats-1"] {
        pair.dr.delete("Pod", namespace, name).await;
    }
    exporter.until("there is none", SOON, is(Some(1.0))).await;
    link.cut().await;
    let unknown = exporter.until("nobody knows", SOON, is(None)).await;
    assert_eq!(unknown.get("dr_trigger_known", &trigger), Some(0.0), "{unknown}");
    link.heal().await;
    exporter.until("there is still none", SOON, is(Some(1.0))).await;
}

/// An answer that comes late tells what was so when it was made, and not when it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_is_not_dated_before_it_happened() {
    let pair = Pair::new(Flavour::Fake).await;
    for (name, ready) in [("nats-0", true), ("nats-1", false)] {
        pod(&pair, pair.dr, name, "nats", ready, json!([])).await;
    }
    let exporter = pair.exporter(&contract("nats", "rto: 15m", &check(&pair, ""))).await;
    let running = |running: f64| {
        move |scrape: &super::Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "nats")]) == Some(running)
    };
    exporter.until("the clock runs", SOON, running(1.0)).await;
    // The next question comes at once after each answer, and waits for this long.
    pair.dr.fake().fault(&pair.namespace, "pods", Fault::Delay(Duration::from_millis(800)));
    exporter.runs_on("nats", 1, SOON).await;
    let_pass(Duration::from_millis(600)).await;
    let ready = unix();
    readiness(&pair, "nats-1", true).await;
    let scrape = exporter.until("it has recovered", SOON, running(0.0)).await;
    let end = scrape.get("dr_recovery_last_end_timestamp_seconds", &[("contract", "nats")]).expect("a recovery");
    assert!(end >= ready, "it was ready {:.3} s after it had recovered:\n{scrape}", ready - end);
}
