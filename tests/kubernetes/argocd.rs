//! Argo CD.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::{Pair, SEEN, SOON, ago, contract, fails, labels, minutes, until};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Cluster, Flavour};
use dr_testkit::let_pass;
use dr_testkit::watch::Watch;

/// The target where what was compared just now is to be met: longer than a busy machine takes for a first look.
const RPO: Duration = Duration::from_secs(20);
pub(super) const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
pub(super) const NEWER: &str = "91aa0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";

dr_testkit::both! {
    a_quiet_application_is_met,
    git_is_unreachable,
    the_controller_is_dead,
    out_of_sync_beyond_the_rpo,
    never_synced_and_gone,
    several_sources_and_a_primary,
    degraded_is_down_until_healthy,
    a_young_commit_is_a_breach_once_it_was_watched,
    an_older_revision_is_a_breach_once_it_was_watched,
    what_waits_holds_up_no_clock,
    two_connections_to_one_application_prove_nothing,
}

pub(super) async fn application(pair: &Pair, cluster: &Cluster, name: &str, spec: Value, status: Value) {
    cluster
        .apply(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"namespace": pair.namespace, "name": name}, "spec": spec, "status": status,
        }))
        .await;
}

pub(super) fn spec() -> Value {
    json!({"source": {"repoURL": "https://git.example.com/saas", "targetRevision": "main"},
        "destination": {"name": "dr"}, "syncPolicy": {"automated": {}}})
}

/// In sync and healthy, last compared this long ago, last deployed weeks ago.
pub(super) fn healthy(compared: Duration) -> Value {
    json!({
        "sync": {"status": "Synced", "revision": REVISION, "comparedTo": {
            "source": {"repoURL": "https://git.example.com/saas", "targetRevision": "main"}, "destination": {"name": "dr"}}},
        "health": {"status": "Healthy"}, "reconciledAt": ago(compared),
        "operationState": {"phase": "Succeeded", "finishedAt": ago(minutes(60 * 24 * 21))},
        "history": [{"id": 7, "revision": REVISION, "deployedAt": ago(minutes(60 * 24 * 21))}],
        "resources": [{"kind": "Role", "status": "Synced"}, {"kind": "NetworkPolicy", "status": "Synced"}],
    })
}

pub(super) fn with(mut status: Value, changes: Value) -> Value {
    for (key, value) in changes.as_object().expect("an object") {
        status[key] = value.clone();
    }
    status
}

fn unreachable() -> Value {
    json!({"sync": {"status": "Unknown"}, "reconciledAt": ago(Duration::ZERO),
        "conditions": [{"type": "ComparisonError", "message": "Failed to load target state: https://me:hunter2@git/x"}]})
}

pub(super) fn check(pair: &Pair, more: &str) -> String {
    let namespace = &pair.namespace;
    format!("argocd_app: {{ kubernetes: dr, namespace: {namespace}, name: saas{more} }}")
}

async fn a_quiet_application_is_met(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let begun = Instant::now();
    application(&pair, pair.dr, "saas", spec(), healthy(minutes(2))).await;
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 1h", &check(&pair, ""))).await;
    let scrape = exporter.becomes("saas", "rpo", "met", SOON).await;
    let exposure = scrape.observed("saas", "rpo").expect("an exposure");
    let most = 122.0 + begun.elapsed().as_secs_f64();
    assert!((119.0..most).contains(&exposure), "compared two minutes ago, and shown is {exposure} s");
    for (metric, expected) in
        [("dr_argocd_app_synced", 1.0), ("dr_argocd_app_healthy", 1.0), ("dr_argocd_app_autosync", 1.0)]
    {
        assert_eq!(scrape.get(metric, &labels("saas")), Some(expected), "{metric}\n{scrape}");
    }
    let operated = scrape.get("dr_argocd_app_last_operation_timestamp_seconds", &labels("saas")).expect("an operation");
    let compared = scrape.get("dr_argocd_app_reconciled_timestamp_seconds", &labels("saas")).expect("a comparison");
    assert!(compared - operated > 1_800_000.0, "three weeks apart");
    assert_eq!(scrape.get("dr_check_healthy", &[("contract", "saas")]), Some(1.0), "{scrape}");
}

async fn git_is_unreachable(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    application(&pair, pair.dr, "saas", spec(), healthy(Duration::ZERO)).await;
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 20s", &check(&pair, ""))).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    application(&pair, pair.dr, "saas", spec(), with(healthy(Duration::ZERO), unreachable())).await;
    fails(&exporter, "saas", "comparison_error").await;
    // It is compared again and again, and the time of that moves on.
    let_pass(Duration::from_secs(2)).await;
    application(&pair, pair.dr, "saas", spec(), with(healthy(Duration::ZERO), unreachable())).await;
    let scrape = exporter.becomes("saas", "rpo", "unproven", SOON).await;
    assert_eq!(scrape.get("dr_argocd_app_synced", &labels("saas")), None, "nobody knows:\n{scrape}");
    until(since + RPO + Duration::from_secs(1) + SEEN).await;
    watch.never(since, "saas", "rpo", "breached");
    watch.never(since + RPO + SEEN, "saas", "rpo", "met");
    exporter.logs(&["comparison_error", "https://git/x"], SOON).await;
    assert!(!exporter.log().contains("hunter2"), "the log tells a password");
    application(&pair, pair.dr, "saas", spec(), healthy(Duration::ZERO)).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
}

async fn the_controller_is_dead(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    application(&pair, pair.dr, "saas", spec(), healthy(Duration::ZERO)).await;
    let check = check(&pair, ", stale_after: 12s");
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 20s", &check)).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    fails(&exporter, "saas", "controller_silent").await;
    let scrape = exporter.becomes("saas", "rpo", "unproven", SOON).await;
    assert!(scrape.observed("saas", "rpo").is_some_and(|exposure| exposure >= 20.0), "it ages:\n{scrape}");
    let unknown = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "saas")]).is_none();
    exporter.until("health is no longer known", SOON, unknown).await;
    watch.never(since, "saas", "rpo", "breached");
}

async fn out_of_sync_beyond_the_rpo(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    application(&pair, pair.dr, "saas", spec(), healthy(Duration::ZERO)).await;
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 20s", &check(&pair, ""))).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
    let differs = json!({
        "sync": {"status": "OutOfSync", "revision": NEWER, "comparedTo": healthy(Duration::ZERO)["sync"]["comparedTo"]},
        "resources": [{"kind": "Role", "status": "OutOfSync"}, {"kind": "NetworkPolicy", "status": "Synced"},
            {"kind": "StatefulSet", "status": "OutOfSync"}, {"kind": "StatefulSet", "status": "OutOfSync"}],
    });
    application(&pair, pair.dr, "saas", spec(), with(healthy(Duration::ZERO), differs)).await;
    let scrape = fails(&exporter, "saas", "out_of_sync").await;
    for (kind, count) in [("Role", 1.0), ("NetworkPolicy", 0.0), ("StatefulSet", 2.0)] {
        let labels = [("contract", "saas"), ("resource_kind", kind)];
        assert_eq!(scrape.get("dr_argocd_resources_out_of_sync", &labels), Some(count), "{kind}\n{scrape}");
    }
    let scrape = exporter.becomes("saas", "rpo", "breached", SOON).await;
    assert_eq!(scrape.get("dr_argocd_app_synced", &labels("saas")), Some(0.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "saas")]), Some(0.0), "it works:\n{scrape}");
}

async fn never_synced_and_gone(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    application(&pair, pair.dr, "saas", spec(), json!({})).await;
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 1h", &check(&pair, ""))).await;
    let scrape = fails(&exporter, "saas", "never_reconciled").await;
    assert_eq!(scrape.status("saas", "rpo"), "unproven", "{scrape}");
    pair.dr.delete("Application", &pair.namespace, "saas").await;
    fails(&exporter, "saas", "application_missing").await;
    let scrape = exporter.becomes("saas", "rpo", "breached", SOON).await;
    assert_eq!(scrape.get("dr_copy_lost", &labels("saas")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "saas")]), Some(1.0), "{scrape}");
}

async fn several_sources_and_a_primary(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let sources = json!([{"repoURL": "https://git/a"}, {"repoURL": "https://git/b"}]);
    let spec = json!({"sources": sources, "destination": {"name": "dr"}});
    let status = |revisions: [&str; 2]| {
        let compared = json!({"sources": sources, "destination": {"name": "dr"}});
        let sync = json!({"status": "Synced", "revisions": revisions, "comparedTo": compared});
        with(healthy(Duration::ZERO), json!({"sync": sync}))
    };
    application(&pair, pair.dr, "saas", spec.clone(), status([REVISION, NEWER])).await;
    application(&pair, pair.primary, "saas", spec.clone(), status([REVISION, NEWER])).await;
    let check = check(&pair, ", primary: { kubernetes: primary }");
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 20s", &check)).await;
    let scrape = exporter.becomes("saas", "rpo", "met", SOON).await;
    assert_eq!(scrape.get("dr_argocd_app_autosync", &labels("saas")), Some(0.0), "{scrape}");
    application(&pair, pair.primary, "saas", spec, status([NEWER, NEWER])).await;
    fails(&exporter, "saas", "revision_differs").await;
    exporter.becomes("saas", "rpo", "breached", SOON).await;
}

async fn degraded_is_down_until_healthy(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let of_health = |status: &str| with(healthy(Duration::ZERO), json!({"health": {"status": status}}));
    application(&pair, pair.dr, "saas", spec(), of_health("Degraded")).await;
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 1h", &check(&pair, ""))).await;
    let running = |wanted: f64| {
        move |scrape: &super::Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "saas")]) == Some(wanted)
    };
    exporter.until("the clock runs", SOON, running(1.0)).await;
    application(&pair, pair.dr, "saas", spec(), of_health("Progressing")).await;
    let scrape = fails(&exporter, "saas", "health_uncertain").await;
    assert!(running(1.0)(&scrape), "progress is no health:\n{scrape}");
    application(&pair, pair.dr, "saas", spec(), of_health("Healthy")).await;
    exporter.until("the clock stops", SOON, running(0.0)).await;
}

/// Nobody knows how old the change is that the cluster lacks: it counts from the first look that shows it.
async fn a_young_commit_is_a_breach_once_it_was_watched(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let sync =
        json!({"status": "OutOfSync", "revision": NEWER, "comparedTo": healthy(Duration::ZERO)["sync"]["comparedTo"]});
    application(&pair, pair.dr, "saas", spec(), with(healthy(Duration::ZERO), json!({"sync": sync}))).await;
    let (since, rpo) = (SystemTime::now(), Duration::from_secs(6));
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 6s", &check(&pair, ""))).await;
    fails(&exporter, "saas", "out_of_sync").await;
    exporter.becomes("saas", "rpo", "unproven", SOON).await;
    // Compared again, and the sync fails.
    let operation = json!({"phase": "Failed", "finishedAt": ago(Duration::ZERO)});
    let failed = with(healthy(Duration::ZERO), json!({"sync": sync, "operationState": operation}));
    application(&pair, pair.dr, "saas", spec(), failed).await;
    let scrape = exporter.becomes("saas", "rpo", "breached", SOON).await;
    assert!(since.elapsed().expect("time goes on") >= rpo, "breached before it was watched for as long");
    assert_eq!(scrape.get("dr_argocd_app_last_operation_failed", &labels("saas")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_check_warning", &[("contract", "saas")]), Some(1.0), "{scrape}");
}

async fn an_older_revision_is_a_breach_once_it_was_watched(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let at = |revision: &str, compared: Duration| {
        let comparison = &healthy(Duration::ZERO)["sync"]["comparedTo"];
        with(healthy(compared), json!({"sync": {"status": "Synced", "revision": revision, "comparedTo": comparison}}))
    };
    // One side's controller works, the other's is dead since an hour.
    application(&pair, pair.dr, "alive", spec(), at(REVISION, Duration::ZERO)).await;
    application(&pair, pair.primary, "alive", spec(), at(NEWER, Duration::ZERO)).await;
    application(&pair, pair.dr, "dead", spec(), at(REVISION, minutes(60))).await;
    application(&pair, pair.primary, "dead", spec(), at(NEWER, Duration::ZERO)).await;
    application(&pair, pair.dr, "ahead", spec(), at(NEWER, Duration::ZERO)).await;
    application(&pair, pair.primary, "ahead", spec(), at(REVISION, minutes(60))).await;
    let contracts: String = ["alive", "dead", "ahead"]
        .into_iter()
        .map(|name| {
            let check = check(&pair, ", primary: { kubernetes: primary }").replace("saas", name);
            contract(name, "rto: 30m\n    rpo: 6s", &check)
        })
        .collect();
    let since = SystemTime::now();
    let exporter = pair.exporter(&contracts).await;
    let watch = Watch::start(&exporter);
    for name in ["alive", "dead"] {
        fails(&exporter, name, "revision_differs").await;
        exporter.becomes(name, "rpo", "breached", SOON).await;
        assert!(
            since.elapsed().expect("time goes on") >= Duration::from_secs(6),
            "{name}: breached before it was watched"
        );
    }
    // An old word of the primary's shows no lag of DR's.
    fails(&exporter, "ahead", "controller_silent").await;
    until(since + Duration::from_secs(7) + SEEN).await;
    watch.never(since, "ahead", "rpo", "breached");
    watch.never(since, "ahead", "rpo", "met");
}

async fn what_waits_holds_up_no_clock(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let of_health = |status: &str| with(healthy(Duration::ZERO), json!({"health": {"status": status}}));
    let namespace = &pair.namespace;
    let check = |name: &str, more: &str| {
        format!(
            "      - name: {name}\n        argocd_app: {{ kubernetes: dr, namespace: {namespace}, name: {name}{more} }}\n"
        )
    };
    application(&pair, pair.dr, "api", spec(), of_health("Healthy")).await;
    application(&pair, pair.dr, "job", spec(), of_health("Suspended")).await;
    let contract = |name: &str, job: &str| {
        format!(
            "  - name: {name}\n    component: {name}\n    owner: ops\n    priority: P0\n    rto: 30m\n    checks:\n{}{}",
            check("api", ""),
            check("job", job)
        )
    };
    let accepts = contract("accepts", ", accept_health: [Suspended]");
    let exporter = pair.exporter(&format!("{}{accepts}", contract("waits", ""))).await;
    let running = |name: &'static str, wanted: f64| {
        move |scrape: &super::Scrape| scrape.get("dr_recovery_in_progress", &[("contract", name)]) == Some(wanted)
    };
    for name in ["waits", "accepts"] {
        let api = [("contract", name), ("check", "api")];
        exporter.until("it works", SOON, |scrape| scrape.get("dr_check_healthy", &api) == Some(1.0)).await;
    }
    application(&pair, pair.dr, "api", spec(), of_health("Degraded")).await;
    for name in ["waits", "accepts"] {
        exporter.until("the clock runs", SOON, running(name, 1.0)).await;
    }
    application(&pair, pair.dr, "api", spec(), of_health("Healthy")).await;
    for name in ["waits", "accepts"] {
        let scrape = exporter.until("the clock stops", SOON, running(name, 0.0)).await;
        let met = [("contract", name), ("result", "met"), ("mode", "real")];
        assert_eq!(scrape.get("dr_recoveries_total", &met), Some(1.0), "{name}\n{scrape}");
    }
    let scrape = exporter.scrape().await;
    let job = |name: &'static str| [("contract", name), ("check", "job")];
    assert_eq!(scrape.get("dr_check_healthy", &job("accepts")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_check_healthy", &job("waits")), None, "{scrape}");
}

async fn two_connections_to_one_application_prove_nothing(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    application(&pair, pair.dr, "saas", spec(), healthy(Duration::ZERO)).await;
    let dr = pair.dr.kubeconfig_of(&pair.at_dr);
    let check = check(&pair, ", primary: { kubernetes: primary }");
    let since = SystemTime::now();
    let exporter = pair.exporter_with(&contract("saas", "rto: 30m\n    rpo: 1h", &check), &dr, &dr).await;
    let watch = Watch::start(&exporter);
    fails(&exporter, "saas", "same_object").await;
    pair.dr.delete("Application", &pair.namespace, "saas").await;
    fails(&exporter, "saas", "primary_missing").await;
    let scrape = exporter.becomes("saas", "rpo", "unproven", SOON).await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("saas")), Some(1.0), "{scrape}");
    watch.never(since, "saas", "rpo", "met");
    watch.never(since, "saas", "rpo", "breached");
}

/// An Argo CD server: what it was asked, and what it answers.
#[derive(Clone, Default)]
struct Server(Arc<Mutex<Argo>>);

/// What was asked, with the token; the status and body that are answered.
type Argo = (Vec<(Uri, String)>, u16, Value);

impl Server {
    async fn start(self) -> std::net::SocketAddr {
        let answer = |State(server): State<Self>, uri: Uri, headers: HeaderMap| async move {
            let token = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let mut state = server.0.lock().expect("no test panics here");
            state.0.push((uri, token.to_owned()));
            let status = if token == "Bearer argo-token" { state.1 } else { 401 };
            (StatusCode::from_u16(status).expect("a status"), axum::Json(state.2.clone()))
        };
        let router = axum::Router::new().fallback(answer).with_state(self);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn says(&self, status: u16, body: Value) {
        let mut state = self.0.lock().expect("no test panics here");
        (state.1, state.2) = (status, body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_through_the_api_of_argo_cd() {
    let server = Server::default();
    server.says(200, json!({"metadata": {"name": "saas"}, "spec": spec(), "status": healthy(minutes(1))}));
    let address = server.clone().start().await;
    let api = format!("api: {{ url: \"http://{address}/argo\", token_file: token }}");
    let check = format!("argocd_app: {{ {api}, namespace: apps, name: saas }}");
    let yaml = contract("saas", "rto: 30m\n    rpo: 1h", &check);
    let yaml = format!("defaults: {{ interval: 500ms, timeout: 5s, failures_to_trigger: 1 }}\ncontracts:\n{yaml}");
    let exporter = Exporter::start_in(Config::new(&yaml).with("token", "argo-token\n")).await;
    let scrape = exporter.becomes("saas", "rpo", "met", SOON).await;
    assert!(scrape.observed("saas", "rpo").is_some_and(|exposure| (59.0..80.0).contains(&exposure)), "{scrape}");
    for (uri, _) in &server.0.lock().expect("no test panics here").0 {
        assert_eq!(uri.to_string(), "/argo/api/v1/applications/saas?appNamespace=apps", "never with refresh");
    }
    // Argo CD says 403 of what does not exist, too: nothing is lost.
    server.says(403, json!({"error": "permission denied", "code": 7, "message": "permission denied"}));
    let scrape = fails(&exporter, "saas", "forbidden").await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("saas")), Some(1.0), "{scrape}");
    // A proxy's 404 is no answer; Argo CD's own is.
    server.says(404, json!({"message": "no such page"}));
    let scrape = fails(&exporter, "saas", "bad_answer").await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("saas")), Some(1.0), "{scrape}");
    // An answer that is too large is told as that, and nothing of it is believed.
    let large = json!({"spec": spec(), "status": healthy(minutes(1)), "filler": "x".repeat(5 << 20)});
    server.says(200, large);
    let scrape = fails(&exporter, "saas", "too_large").await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("saas")), Some(1.0), "{scrape}");
    server.says(404, json!({"error": "not found", "code": 5, "message": "applications \"saas\" not found"}));
    exporter.until("it is lost", SOON, |scrape| scrape.get("dr_copy_lost", &labels("saas")) == Some(1.0)).await;
    server.says(200, json!({"metadata": {"name": "saas"}, "spec": spec(), "status": healthy(minutes(1))}));
    exporter.becomes("saas", "rpo", "met", SOON).await;
    // The token is rotated under it.
    exporter.config().file("token", "another\n");
    fails(&exporter, "saas", "auth_failed").await;
    assert!(!exporter.log().contains("argo-token"), "the log tells the token");
}
