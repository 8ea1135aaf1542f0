//! What `external_secret`, `argocd_app` and `pods` must hold: one suite, against an API server of our own and, where
//! `KUBEBUILDER_ASSETS` names them, against real kube-apiservers.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod access;
mod argocd;
mod argocd_late;
mod chart;
mod deploy;
mod drill;
mod external_secret;
mod faults;
mod held_up;
mod helm;
mod in_cluster;
mod kubeconfig;
mod large;
mod peer;
mod pods;
mod primary;
mod proxies;
mod rig;
mod roles;
mod sharing;

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Cluster, Flavour, User};
use dr_testkit::scrape::Scrape;

const SOON: Duration = dr_testkit::PATIENCE;
/// From a change in a cluster until the run that sees it has ended, on a machine that is busy with other tests.
const SEEN: Duration = Duration::from_secs(4);

/// Two clusters, and a namespace and a reader in each that no other test uses.
struct Pair {
    primary: &'static Cluster,
    dr: &'static Cluster,
    namespace: String,
    at_primary: User,
    at_dr: User,
}

impl Pair {
    async fn new(flavour: Flavour) -> Self {
        let (primary, dr) = (Cluster::shared(flavour, 0).await, Cluster::shared(flavour, 1).await);
        let namespace = primary.namespace().await;
        dr.make_namespace(&namespace).await;
        let (at_primary, at_dr) = (primary.user(), dr.user());
        let pair = Self { primary, dr, namespace, at_primary, at_dr };
        pair.primary.grant(&pair.namespace, &pair.at_primary, rules()).await;
        pair.dr.grant(&pair.namespace, &pair.at_dr, rules()).await;
        pair
    }

    /// The exporter with both connections; `contracts` are YAML.
    async fn exporter(&self, contracts: &str) -> Exporter {
        let primary = self.primary.kubeconfig_of(&self.at_primary);
        self.exporter_with(contracts, &primary, &self.dr.kubeconfig_of(&self.at_dr)).await
    }

    async fn exporter_with(&self, contracts: &str, primary: &str, dr: &str) -> Exporter {
        let config = Config::new(&config(contracts)).with("primary.kubeconfig", primary).with("dr.kubeconfig", dr);
        Exporter::start_in(config).await
    }

    /// An external secret with its secret, in one of the clusters.
    async fn secret(&self, cluster: &Cluster, name: &str, hash: &str, status: Status) {
        let manager = format!("externalsecrets.external-secrets.io/{name}");
        self.secret_of(&manager, cluster, name, hash, &format!("data of {hash}")).await;
        self.external_secret(cluster, name, status).await;
    }

    /// A secret as this manager writes it. The hash is what External Secrets would make of other data.
    async fn secret_of(&self, manager: &str, cluster: &Cluster, name: &str, hash: &str, password: &str) {
        let annotation = json!({"reconcile.external-secrets.io/data-hash": hash});
        let object = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"namespace": self.namespace, "name": name, "annotations": annotation},
            "data": {"password": dr_testkit::kube::base64(password.as_bytes())},
        });
        cluster.apply_as(manager, object).await;
    }

    async fn external_secret(&self, cluster: &Cluster, name: &str, status: Status) {
        let mut object = json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": {"namespace": self.namespace, "name": name},
            "spec": status.spec.clone(),
        });
        let applied = cluster.apply(object.clone()).await;
        object["status"] = status.json(applied["metadata"]["generation"].as_i64().expect("a generation"));
        cluster.apply(object).await;
    }
}

/// What a reader may do.
fn rules() -> Value {
    rules_to(&["get"])
}

/// The same, with other rights to what is read by name.
fn rules_to(verbs: &[&str]) -> Value {
    json!([
        {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": verbs},
        {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": verbs},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": verbs},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ])
}

fn config(contracts: &str) -> String {
    format!(
        "defaults: {{ interval: 500ms, timeout: 5s, interval_when_down: 300ms, failures_to_trigger: 1 }}
kubernetes:
  primary: {{ kubeconfig_file: primary.kubeconfig, api_timeout: 5s }}
  dr: {{ kubeconfig_file: dr.kubeconfig, context: test, api_timeout: 5s }}
contracts:
{contracts}"
    )
}

/// A contract with one check, both called `name`.
fn contract(name: &str, targets: &str, check: &str) -> String {
    format!(
        "  - name: {name}\n    component: {name}\n    owner: ops\n    priority: P0\n    {targets}\n    checks:\n      \
         - name: {name}\n        {check}\n"
    )
}

/// The status of an external secret, and the spec that goes with it.
#[derive(Clone)]
struct Status {
    spec: Value,
    refreshed: Duration,
    ready: &'static str,
    reason: &'static str,
    message: &'static str,
}

impl Status {
    /// Ready, and refreshed this long ago.
    fn ready(refreshed: Duration) -> Self {
        let spec = json!({"refreshInterval": "1h"});
        Self { spec, refreshed, ready: "True", reason: "SecretSynced", message: "secret synced" }
    }

    fn failing() -> Self {
        Self {
            ready: "False",
            reason: "SecretSyncedError",
            message: "could not get secret data from provider",
            ..Self::ready(Duration::from_secs(7200))
        }
    }

    fn json(&self, generation: i64) -> Value {
        json!({
            "conditions": [{"type": "Ready", "status": self.ready, "reason": self.reason, "message": self.message,
                "lastTransitionTime": "2026-08-01T09:00:00Z"}],
            "refreshTime": ago(self.refreshed),
            "syncedResourceVersion": format!("{generation}-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"),
        })
    }
}

/// The time this long ago, as Kubernetes writes times.
fn ago(age: Duration) -> String {
    let at = jiff::Timestamp::try_from(SystemTime::now() - age).expect("a time");
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// How often the only check of a contract failed for this reason.
fn failed(scrape: &Scrape, contract: &str, reason: &str) -> f64 {
    scrape.reasons(contract).get(reason).copied().unwrap_or(0.0)
}

/// Waits for the first failure for this reason.
async fn fails(exporter: &Exporter, contract: &str, reason: &str) -> Scrape {
    exporter.until(&format!("{contract} fails: {reason}"), SOON, |scrape| failed(scrape, contract, reason) > 0.0).await
}

fn labels(name: &str) -> [(&str, &str); 2] {
    [("contract", name), ("check", name)]
}

/// Waits for a time of day.
async fn until(time: SystemTime) {
    dr_testkit::let_pass(time.duration_since(SystemTime::now()).unwrap_or_default()).await;
}
