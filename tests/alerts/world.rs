//! Two regions with something of every kind, which can be broken.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::SOON;
use dr_testkit::dns::Dns;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::grafana::Grafana;
use dr_testkit::kube::{Cluster, Flavour, User, base64};
use dr_testkit::nats::{MIRROR, ORIGIN, Pair, Server};
use dr_testkit::prometheus::Toy;
use dr_testkit::publisher::Publisher;
use dr_testkit::wait_until;

const SPACE: &str = "saas";
const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";

/// Everything that is watched.
pub struct World {
    pub api: Toy,
    pub observability: Toy,
    pub resolvers: [Dns; 2],
    pub grafana: [Grafana; 2],
    pub nats: Pair,
    _publisher: Publisher,
    primary: Cluster,
    dr: Cluster,
    readers: [User; 2],
}

impl World {
    /// All of it is well.
    pub async fn start() -> Self {
        let nats = Pair::start().await;
        nats.origin.create_stream("FORKED", &["forked.>"]).await;
        nats.create_mirror("FORKED", "FORKED_MIRROR", json!({})).await;
        nats.origin.create_stream("SINGLE", &["single.>"]).await;
        nats.origin.publish_many("forked.a", 5).await;
        nats.origin.publish_many("single.a", 5).await;
        nats.mirror.reaches("FORKED_MIRROR", 5, SOON).await;
        let publisher = Publisher::start(&nats.origin, 10);
        wait_until("the mirror follows", SOON, async || nats.mirror.last_seq(MIRROR).await.filter(|last| *last > 0))
            .await;
        let (primary, dr) = (Cluster::start(Flavour::Fake).await, Cluster::start(Flavour::Fake).await);
        let readers = [primary.user(), dr.user()];
        for (cluster, reader) in [(&primary, &readers[0]), (&dr, &readers[1])] {
            cluster.make_namespace(SPACE).await;
            cluster.grant(SPACE, reader, rules()).await;
        }
        let resolvers = [Dns::start("api A 192.0.2.10 30").await, Dns::start("api A 192.0.2.10 30").await];
        let grafana = [Grafana::start(&["overview", "detail"]).await, Grafana::start(&["overview", "detail"]).await];
        let (api, observability) = (Toy::start("").await, Toy::start("").await);
        let world = Self { api, observability, resolvers, grafana, nats, _publisher: publisher, primary, dr, readers };
        world.secrets("equal", "equal", "True").await;
        world.application("Synced", json!({"automated": {}})).await;
        world.pods(true).await;
        world
    }

    /// Secrets with these contents in both clusters, and whether DR's is ready.
    pub async fn secrets(&self, primary: &str, dr: &str, ready: &str) {
        for (cluster, content, ready) in [(&self.primary, primary, "True"), (&self.dr, dr, ready)] {
            let hash = json!({"reconcile.external-secrets.io/data-hash": content});
            let metadata = json!({"namespace": SPACE, "name": "api", "annotations": hash});
            let data = json!({"password": base64(content.as_bytes())});
            let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
            cluster.apply_as("externalsecrets.external-secrets.io/api", secret).await;
            let mut object = json!({
                "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
                "metadata": {"namespace": SPACE, "name": "api"}, "spec": {"refreshInterval": "1h"},
            });
            let reason = if ready == "True" { "SecretSynced" } else { "SecretSyncedError" };
            let generation = cluster.apply(object.clone()).await["metadata"]["generation"].as_i64().expect("a number");
            object["status"] = json!({
                "conditions": [{"type": "Ready", "status": ready, "reason": reason, "message": "any"}],
                "refreshTime": now(), "syncedResourceVersion": format!("{generation}-{content}"),
            });
            cluster.apply(object).await;
        }
    }

    /// The application as Argo CD sees it.
    pub async fn application(&self, sync: &str, policy: Value) {
        let source = json!({"repoURL": "https://git.example.com/saas", "targetRevision": "main"});
        let spec = json!({"source": source, "destination": {"name": "dr"}, "syncPolicy": policy});
        let status = json!({
            "sync": {"status": sync, "revision": REVISION, "comparedTo": {"source": source, "destination": {"name": "dr"}}},
            "health": {"status": "Healthy"}, "reconciledAt": now(),
            "operationState": {"phase": "Succeeded", "finishedAt": now()},
            "history": [{"id": 1, "revision": REVISION, "deployedAt": now()}],
            "resources": [{"kind": "Role", "status": sync}],
        });
        let metadata = json!({"namespace": SPACE, "name": "saas"});
        let kind = "Application";
        let object = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec, "status": status});
        self.dr.apply(object).await;
    }

    /// The two pods of a workload; the second is ready or not.
    pub async fn pods(&self, ready: bool) {
        let metadata = json!({"namespace": SPACE, "name": "nats"});
        let template = json!({"metadata": {"labels": {"app": "nats"}}, "spec": {"containers": [{"name": "main", "image": "nats"}]}});
        let spec = json!({"replicas": 2, "serviceName": "nats", "selector": {"matchLabels": {"app": "nats"}}, "template": template});
        self.dr
            .apply(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec}))
            .await;
        for (name, ready) in [("nats-0", true), ("nats-1", ready)] {
            let metadata = json!({"namespace": SPACE, "name": name, "labels": {"app": "nats"}});
            let containers = json!([{"name": "main", "image": "nats"}]);
            let ready = if ready { "True" } else { "False" };
            let status = json!({"conditions": [{"type": "Ready", "status": ready}]});
            let spec = json!({"containers": containers});
            self.dr
                .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}))
                .await;
        }
    }

    /// The exporter on all of it; `prometheus` is who scrapes it.
    pub async fn exporter(&self, prometheus: SocketAddr) -> Exporter {
        let config = Config::new(&self.config(prometheus)).with("app", "app\n").with("token", "grafana-token\n");
        config.file("primary.kubeconfig", &self.primary.kubeconfig_of(&self.readers[0]));
        config.file("dr.kubeconfig", &self.dr.kubeconfig_of(&self.readers[1]));
        Exporter::start_in(config).await
    }

    fn config(&self, prometheus: SocketAddr) -> String {
        let connection =
            |server: &Server| format!("{{ servers: [\"nats://{}\"], user: app, password_file: app }}", server.address);
        let mirror = |origin: &str, mirror: &str| {
            format!(
                "nats_mirror: {{ origin: {{ nats: primary, stream: {origin} }}, mirror: {{ nats: dr, stream: {mirror} }} }}"
            )
        };
        let contract = |name: &str, priority: &str, targets: &str, checks: &[(&str, String)]| {
            let head = format!("  - name: {name}\n    component: {name}\n    owner: ops\n    priority: {priority}\n");
            let checks: String =
                checks.iter().map(|(name, check)| format!("      - name: {name}\n        {check}\n")).collect();
            format!("{head}    {targets}\n    checks:\n{checks}")
        };
        let http = |toy: &Toy| format!("http: {{ url: \"http://{}/\" }}", toy.address);
        let resolvers = self.resolvers.each_ref().map(|dns| format!("\"{}\"", dns.udp())).join(", ");
        let dns = format!(
            "dns: {{ name: api.example.com, resolvers: [{resolvers}], max_ttl: 60s, \
             regions: {{ primary: [192.0.2.0/24], dr: [198.51.100.7] }} }}"
        );
        let lag = "warn_after: 2s\n        lag_budget: 3s\n        ";
        let secret = "external_secret: { primary: primary, dr: dr, namespace: saas, name: api }";
        let pods = "pods: { kubernetes: dr, namespace: saas, selector: app=nats, min_ready: 2, workload: { kind: StatefulSet, name: nats } }";
        let grafana = format!(
            "grafana_dashboards: {{ url: \"{}\", token_file: token, primary: {{ url: \"{}\", token_file: token }} }}",
            self.grafana[0].url(),
            self.grafana[1].url()
        );
        let query = "promql: { prometheus: main, query: sum(dr_exporter_checks), healthy_when: { above: 0 } }";
        let contracts = [
            contract(
                "api",
                "P0",
                "rto: 6s\n    independent_of: [observability]",
                &[("health", http(&self.api)), ("dns", dns)],
            ),
            contract("observability", "P2", "rto: 1m", &[("health", http(&self.observability))]),
            contract("streams", "P0", "rpo: 8s", &[("agentese", format!("{lag}{}", mirror(ORIGIN, MIRROR)))]),
            contract("lost", "P0", "rpo: 1m", &[("single", mirror("SINGLE", "SINGLE_MIRROR"))]),
            contract("forked", "P1", "rpo: 1m", &[("forked", mirror("FORKED", "FORKED_MIRROR"))]),
            contract(
                "secrets",
                "P0",
                "rto: 1m\n    rpo: 1m",
                &[
                    ("api", format!("warn_after: 1s\n        {secret}")),
                    (
                        "manifests",
                        "feeds: [rpo]\n        argocd_app: { kubernetes: dr, namespace: saas, name: saas }".to_owned(),
                    ),
                ],
            ),
            contract("pods", "P1", "rto: 1m\n    at_risk_ratio: 0.1", &[("nats", pods.to_owned())]),
            contract("query", "P3", "rto: 1m", &[("checks", query.to_owned())]),
            contract("dashboards", "P3", "rto: 1m", &[("all", grafana)]),
            contract(
                "blind",
                "P2",
                "rto: 1m",
                &[("pods", "pods: { kubernetes: nowhere, namespace: saas, selector: app=api }".to_owned())],
            ),
        ];
        format!(
            "defaults: {{ interval: 500ms, timeout: 1s, interval_when_down: 300ms, failures_to_trigger: 2 }}
nats:
  primary: {}
  dr: {}
kubernetes:
  primary: {{ kubeconfig_file: primary.kubeconfig }}
  dr: {{ kubeconfig_file: dr.kubeconfig }}
  nowhere: {{ kubeconfig_file: nowhere }}
prometheus:
  main: {{ url: \"http://{prometheus}\" }}
contracts:
{}triggers:
  - {{ name: health_check_failure, check: api/health, consecutive_failures: 3, action: dns_failover, notification: pagerduty_critical }}
  - {{ name: unknowable, check: blind/pods, mode: manual, action: look, notification: slack_warning }}
drills:
  - {{ name: never_done, kind: review, every: weekly }}
escalation:
  P0: {{ respond_within: 1s, escalate_to: cto }}
",
            connection(&self.nats.primary),
            connection(&self.nats.dr),
            contracts.concat()
        )
    }
}

/// What a reader may do.
fn rules() -> Value {
    json!([
        {"apiGroups": ["external-secrets.io"], "resources": ["externalsecrets"], "verbs": ["list"]},
        {"apiGroups": ["argoproj.io"], "resources": ["applications"], "verbs": ["list"]},
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ])
}

/// Now, as Kubernetes writes times.
fn now() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now() - Duration::from_secs(1)).expect("a time");
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
