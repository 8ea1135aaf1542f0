//! Many objects of Kubernetes.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime};

use dr_testkit::kube::{Cluster, Flavour, base64};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::figures;
use crate::servers;
use crate::small;
use crate::table::Table;

const INTERVAL: Duration = Duration::from_secs(30);
const SPACE: &str = "apps";
const HASH: &str = "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2";

const NOTE: &str =
    "Every 30 s, without scrapes, measured once over three intervals after every check has run. The API servers are
stand-ins in the bench's own process, which answer over TLS as a real one does. Without a peer. An external secret is
compared with its primary by the hash of both secrets; an Application is one of 25 KB. Memory per check is what
it adds to that of an exporter with one check.";

/// An API server that knows this user, who may read everything here.
async fn cluster() -> (Cluster, String) {
    let cluster = Cluster::start(Flavour::Fake).await;
    cluster.make_namespace(SPACE).await;
    let user = cluster.user();
    let rule = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["get", "list"]});
    let rules = json!([
        rule("external-secrets.io", &["externalsecrets"]),
        rule("argoproj.io", &["applications"]),
        rule("", &["secrets"]),
    ]);
    cluster.grant(SPACE, &user, rules).await;
    let kubeconfig = cluster.kubeconfig_of(&user);
    (cluster, kubeconfig)
}

fn now() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now()).expect("a time");
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn external_secret(cluster: &Cluster, number: usize) {
    let name = format!("secret-{number}");
    let manager = format!("externalsecrets.external-secrets.io/{name}");
    let hash = json!({"reconcile.external-secrets.io/data-hash": HASH});
    let metadata = json!({"namespace": SPACE, "name": name, "annotations": hash});
    let data = json!({"password": base64(b"of the bench")});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
    cluster.fake().put(&manager, &secret);
    cluster.fake().put(
        "bench",
        &json!({
            "apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": {"namespace": SPACE, "name": name}, "spec": {"refreshInterval": "24h"},
            "status": {
                "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced"}],
                "refreshTime": now(), "syncedResourceVersion": format!("1-{HASH}"),
            },
        }),
    );
}

/// An application of about 25 KB: a third of it Helm values, which Argo CD repeats twice, and the rest resources.
fn application(cluster: &Cluster, number: usize) {
    let revision = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
    let source = json!({"repoURL": "https://git.example.com/saas", "targetRevision": "main",
        "helm": {"values": "replicas: 3\n".repeat(230)}});
    let resource = |index: usize| {
        json!({"group": "apps", "version": "v1", "kind": "Deployment", "namespace": "saas",
            "name": format!("a-deployment-{index:05}"), "status": "Synced", "health": {"status": "Healthy"}})
    };
    let resources: Vec<Value> = (0..115).map(resource).collect();
    let compared = json!({"source": source, "destination": {"name": "dr"}});
    cluster.fake().put(
        "bench",
        &json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"namespace": SPACE, "name": format!("app-{number}")},
            "spec": {"source": source, "destination": {"name": "dr"}, "syncPolicy": {"automated": {}}},
            "status": {
                "sync": {"status": "Synced", "revision": revision, "comparedTo": compared},
                "health": {"status": "Healthy"}, "reconciledAt": now(),
                "history": [{"id": 1, "revision": revision, "deployedAt": now(), "source": source}],
                "resources": resources,
            },
        }),
    );
}

/// Contracts with one check each, which `check` makes of their number.
fn yaml(count: usize, check: impl Fn(usize) -> String) -> String {
    let mut yaml = "defaults: { interval: 30s, timeout: 20s }
kubernetes:
  primary: { kubeconfig_file: primary.kubeconfig, api_timeout: 20s }
  dr: { kubeconfig_file: dr.kubeconfig, api_timeout: 20s }
contracts:
"
    .to_owned();
    for number in 0..count {
        let _ = write!(
            yaml,
            "  - name: of-{number}\n    component: Apps\n    owner: ops\n    priority: P0\n    rpo: 12h\n    checks:\n      \
             - name: copy\n        {}\n",
            check(number)
        );
    }
    yaml
}

/// CPU seconds in an interval, and resident memory in MB.
fn spent(kubeconfigs: [&str; 2], count: usize, yaml: &str) -> (f64, f64) {
    let files = TempDir::with_prefix("dr-exporter-bench-").expect("a directory");
    for (name, text) in ["primary.kubeconfig", "dr.kubeconfig"].iter().zip(kubeconfigs) {
        std::fs::write(files.path().join(name), text).expect("a kubeconfig is written");
    }
    let server = servers::exporter_in(files.path(), yaml);
    server.until_ok("/-/ready", Duration::from_secs(300));
    let (begun, cpu) = (Instant::now(), figures::cpu(server.id()));
    std::thread::sleep(3 * INTERVAL);
    let cpu = figures::cpu(server.id()).saturating_sub(cpu).as_secs_f64() * INTERVAL.as_secs_f64()
        / begun.elapsed().as_secs_f64();
    assert_eq!(server.met("rpo"), count, "all copies are met");
    (cpu, figures::resident(server.id()))
}

/// What is watched, how many there are, and the check of each.
type Kind<'a> = (&'static str, usize, &'a dyn Fn(usize) -> String);

pub fn measure(table: &mut Table, _rounds: usize) {
    table.section("Kubernetes", NOTE);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ((primary, at_primary), (dr, at_dr)) = runtime.block_on(async { (cluster().await, cluster().await) });
    let kubeconfigs = [at_primary.as_str(), at_dr.as_str()];
    let (secrets, apps) = (small(1_000), small(2_000));
    for number in 0..secrets {
        external_secret(&primary, number);
        external_secret(&dr, number);
    }
    (0..apps).for_each(|number| application(&dr, number));
    let secret =
        |number| format!("external_secret: {{ primary: primary, dr: dr, namespace: {SPACE}, name: secret-{number} }}");
    let app = |number| format!("argocd_app: {{ kubernetes: dr, namespace: {SPACE}, name: app-{number} }}");
    let kinds: [Kind<'_>; 2] = [("ExternalSecrets", secrets, &secret), ("Applications", apps, &app)];
    for (kind, count, check) in kinds {
        let (_, alone) = spent(kubeconfigs, 1, &yaml(1, check));
        let (cpu, resident) = spent(kubeconfigs, count, &yaml(count, check));
        let each = count as f64;
        table.single(&format!("{count} {kind}: CPU"), "% of a core", vec![cpu * 100.0 / INTERVAL.as_secs_f64()]);
        table.single(&format!("{count} {kind}: CPU per check"), "ms per run", vec![cpu * 1e3 / each]);
        table.single(&format!("{count} {kind}: resident memory"), "MB", vec![resident]);
        table.single(&format!("{count} {kind}: memory per check"), "kB", vec![(resident - alone) * 1e3 / each]);
    }
}
