//! The two Kubernetes clusters of `make demo`. This program also plays External Secrets and Argo CD
//! in them.
//!
//! `demo-clusters DIRECTORY PRIMARY_PORT DR_PORT` starts two API servers, real ones if
//! `KUBEBUILDER_ASSETS` names them. It writes `DIRECTORY/kubeconfig` with the contexts `primary`
//! and `dr`, for a reader that is bound to the Roles of `deploy/rbac`, and prints `ready`. Then it
//! reads orders, one per line, until its input ends: `rotate`, `drift`, `pin`, `git-down`, `heal`.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use dr_testkit::kube::{Cluster, Flavour, User, assets};

/// The interval of the controllers.
const TICK: Duration = Duration::from_secs(2);
/// How long after the primary DR follows a rotation.
const LATER: Duration = Duration::from_secs(15);
/// The revision that both clusters follow in git, and the old tag that DR can be pinned to.
const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const OLD_REVISION: &str = "1b2c3d4e5f60718293a4b5c6d7e8f9012a3b4c5d";

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, primary, dr] = arguments.as_slice() else {
        eprintln!("usage: demo-clusters DIRECTORY PRIMARY_PORT DR_PORT");
        std::process::exit(64);
    };
    let flavour = if assets().is_some() { Flavour::Real } else { Flavour::Fake };
    let at = |port: &String| ([127, 0, 0, 1], port.parse().expect("a port")).into();
    let (primary, dr) = tokio::join!(Cluster::start_at(flavour, at(primary)), Cluster::start_at(flavour, at(dr)));
    let mut demo =
        Demo { primary, dr, version: 1, rotated: Instant::now(), stuck: None, pinned: false, git_down: false };
    let readers = demo.prepare().await;
    std::fs::write(Path::new(directory).join("kubeconfig"), kubeconfig(&demo, &readers))
        .expect("a kubeconfig is written");
    demo.tick().await;
    println!("ready");
    let (sender, mut orders) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for order in std::io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(order);
        }
    });
    let mut ticks = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            order = orders.recv() => match order {
                Some(order) => demo.obey(order.trim()),
                None => return,
            },
        }
        demo.tick().await;
    }
}

struct Demo {
    primary: Cluster,
    dr: Cluster,
    /// The provider's version of the secret, and the time of its rotation.
    version: u32,
    rotated: Instant,
    /// The version at which DR's store is stuck.
    stuck: Option<u32>,
    /// Whether DR's application follows the old tag.
    pinned: bool,
    git_down: bool,
}

impl Demo {
    /// Creates the namespaces, the shipped Roles and pods. Returns the readers of both clusters.
    async fn prepare(&self) -> [User; 2] {
        let (at_primary, at_dr) = (self.primary.user(), self.dr.user());
        for (cluster, side, user) in [(&self.primary, "primary", &at_primary), (&self.dr, "dr", &at_dr)] {
            for mut object in manifest(side) {
                cluster.make_namespace(object["metadata"]["namespace"].as_str().expect("a namespace")).await;
                if object["kind"] == "RoleBinding" {
                    let group = "rbac.authorization.k8s.io";
                    object["subjects"] = json!([{"kind": "User", "apiGroup": group, "name": user.name}]);
                }
                cluster.apply(object).await;
            }
        }
        for index in 0..3 {
            let metadata =
                json!({"namespace": "kgents-agents", "name": format!("nats-{index}"), "labels": {"app": "nats"}});
            self.primary
                .apply(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
                    "spec": {"containers": [{"name": "nats", "image": "nats"}]},
                    "status": {"conditions": [{"type": "Ready", "status": "True"}]}}))
                .await;
        }
        [at_primary, at_dr]
    }

    fn obey(&mut self, order: &str) {
        match order {
            "rotate" => (self.version, self.rotated) = (self.version + 1, Instant::now()),
            "drift" => {
                self.stuck = Some(self.version);
                (self.version, self.rotated) = (self.version + 1, Instant::now());
            }
            "pin" => self.pinned = true,
            "git-down" => self.git_down = true,
            "heal" => (self.stuck, self.pinned, self.git_down) = (None, false, false),
            _ => {}
        }
    }

    /// One step of the controllers.
    async fn tick(&self) {
        let in_time = if self.rotated.elapsed() < LATER { self.version.saturating_sub(1).max(1) } else { self.version };
        refresh(&self.primary, self.version).await;
        refresh(&self.dr, self.stuck.unwrap_or(in_time)).await;
        synced(&self.primary, REVISION, false).await;
        synced(&self.dr, if self.pinned { OLD_REVISION } else { REVISION }, self.git_down).await;
    }
}

/// The application as Argo CD writes it: in sync with the revision that it follows, or without
/// access to git.
async fn synced(cluster: &Cluster, revision: &str, git_down: bool) {
    let (status, conditions) = if git_down {
        let message = "Failed to load target state: git is unreachable";
        ("Unknown", json!([{"type": "ComparisonError", "message": message}]))
    } else {
        ("Synced", json!([]))
    };
    let resources = json!([{"kind": "StatefulSet", "status": "Synced"}, {"kind": "NetworkPolicy", "status": "Synced"}]);
    cluster
        .apply(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"namespace": "argocd", "name": "kgents-saas"},
            "spec": {"syncPolicy": {"automated": {}}},
            "status": {"sync": {"status": status, "revision": revision}, "health": {"status": "Healthy"},
                "reconciledAt": now(), "conditions": conditions, "resources": resources},
        }))
        .await;
}

async fn refresh(cluster: &Cluster, version: u32) {
    let metadata = json!({"namespace": "kgents-triad", "name": "kgents-api-secrets"});
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata});
    secret["metadata"]["annotations"] = json!({"reconcile.external-secrets.io/data-hash": format!("{version:056x}")});
    cluster.apply(secret).await;
    let mut object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata,
        "spec": {"refreshInterval": "1h"}});
    let applied = cluster.apply(object.clone()).await;
    object["status"] = json!({
        "refreshTime": now(), "syncedResourceVersion": format!("{}-demo", applied["metadata"]["generation"]),
        "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced"}],
    });
    cluster.apply(object).await;
}

fn now() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).expect("a time");
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn manifest(side: &str) -> Vec<Value> {
    let path = format!("{}/deploy/rbac/{side}/rbac.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    text.split("\n---\n").map(|document| serde_saphyr::from_str(document).expect("the manifest is YAML")).collect()
}

fn kubeconfig(demo: &Demo, readers: &[User; 2]) -> String {
    let [mut clusters, mut contexts, mut users] = [String::new(), String::new(), String::new()];
    for (name, cluster, user) in [("primary", &demo.primary, &readers[0]), ("dr", &demo.dr, &readers[1])] {
        let ca = dr_testkit::kube::base64(cluster.ca().as_bytes());
        let address = cluster.address();
        clusters += &format!(
            "- {{name: {name}, cluster: {{server: \"https://{address}\", certificate-authority-data: {ca}}}}}\n"
        );
        contexts += &format!("- {{name: {name}, context: {{cluster: {name}, user: {name}}}}}\n");
        users += &format!("- {{name: {name}, user: {{token: {}}}}}\n", user.token);
    }
    format!("apiVersion: v1\nkind: Config\nclusters:\n{clusters}contexts:\n{contexts}users:\n{users}")
}
