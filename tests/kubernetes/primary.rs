//! The steps of docs/primary-cluster.md, run as they stand there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::deploy::{kubectl, read, root};
use super::{SOON, Status, labels, minutes};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Cluster, Flavour, User, assets};

/// The blocks of the page that begin with `# step`, as one script.
fn steps() -> String {
    let page = read("docs/primary-cluster.md");
    let steps: Vec<&str> = page.split("```sh\n# step\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(steps.len(), 6);
    format!("set -euo pipefail\n{}", steps.concat())
}

const CONFIG: &str = "defaults: { interval: 500ms, timeout: 5s }
kubernetes:
  primary: { kubeconfig_file: kubeconfig, context: primary }
contracts:
  - name: nats
    component: NATS
    owner: ops
    priority: P0
    rto: 30m
    checks:
      - name: nats
        external_secret: { dr: primary, namespace: saas, name: nats }
";

#[tokio::test(flavor = "multi_thread")]
async fn the_steps_lead_to_a_kubeconfig_that_works_and_is_renewed() {
    if assets().is_none() {
        return dr_testkit::skip(dr_testkit::kube::NO_ASSETS);
    }
    let (primary, dr) = (Cluster::start(Flavour::Real).await, Cluster::start(Flavour::Real).await);
    for namespace in ["saas", "dr-exporter"] {
        primary.make_namespace(namespace).await;
        dr.make_namespace(namespace).await;
    }
    let status = Status::ready(minutes(20));
    let mut object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"namespace": "saas", "name": "nats"}, "spec": status.spec});
    primary.apply(object.clone()).await;
    object["status"] = status.json(1);
    primary.apply(object).await;

    let config = Config::new(CONFIG);
    let at = config.directory().to_owned();
    symlink(root().join("deploy"), at.join("deploy")).expect("linked");
    std::fs::write(at.join("contexts"), contexts(&primary, &dr)).expect("written");
    run(&at).await;

    let exporter = Exporter::start_in(config).await;
    let healthy = |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_check_healthy", &labels("nats")) == Some(1.0);
    exporter.until("it is read", SOON, healthy).await;

    // The Secret in DR has both files, and the token of the kubeconfig is the one beside it.
    let path = "/api/v1/namespaces/dr-exporter/secrets/dr-exporter-secrets";
    let (_, secret) = dr.request("GET", path, None).await.expect("an answer");
    let keys: Vec<&String> = secret["data"].as_object().expect("data").keys().collect();
    assert_eq!(keys, ["kubeconfig", "primary.token"]);

    // Without a good token there is no answer; the same steps renew it.
    let good = std::fs::read_to_string(at.join("primary.token")).expect("a token");
    std::fs::write(at.join("primary.token"), "expired").expect("written");
    let refused = |scrape: &dr_testkit::scrape::Scrape| super::failed(scrape, "nats", "auth_failed") > 0.0;
    let scrape = exporter.until("it is refused", SOON, refused).await;
    let failures = scrape.get("dr_check_runs_total", &[("contract", "nats"), ("outcome", "unhealthy")]);
    assert_eq!(failures, Some(0.0), "no outage:\n{scrape}");
    run(&at).await;
    assert_ne!(std::fs::read_to_string(at.join("primary.token")).expect("a token"), good, "a new token");
    let runs = scrape.get("dr_check_runs_total", &[("contract", "nats"), ("outcome", "healthy")]);
    let again = |scrape: &dr_testkit::scrape::Scrape| {
        scrape.get("dr_check_runs_total", &[("contract", "nats"), ("outcome", "healthy")]) > runs
    };
    exporter.until("it is read again", SOON, again).await;
}

/// The kubeconfig of the person who follows the page.
fn contexts(primary: &Cluster, dr: &Cluster) -> String {
    let mut contexts = json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": []});
    for (name, cluster) in [("primary", primary), ("dr", dr)] {
        let of: serde_json::Value = serde_saphyr::from_str(&cluster.kubeconfig_of(&cluster.admin())).expect("YAML");
        let mut take = |list: &str, mut entry: serde_json::Value| {
            entry["name"] = json!(name);
            contexts[list].as_array_mut().expect("a list").push(entry);
        };
        take("clusters", of["clusters"][0].clone());
        take("users", of["users"][0].clone());
        take("contexts", json!({"context": {"cluster": name, "user": name}}));
    }
    contexts.to_string()
}

async fn run(at: &Path) {
    let kubectl = kubectl().expect("KUBEBUILDER_ASSETS has kubectl");
    let program = Path::new(env!("CARGO_BIN_EXE_dr-exporter"));
    let directories = [kubectl.parent(), program.parent()].map(|parent| parent.expect("a directory").to_owned());
    let path = std::env::join_paths(
        directories.into_iter().chain(std::env::split_paths(&std::env::var_os("PATH").expect("a path"))),
    );
    let mut command = Command::new("bash");
    command.arg("-c").arg(steps()).current_dir(at).stdin(Stdio::null());
    command.env("PATH", path.expect("a path")).env("KUBECONFIG", at.join("contexts"));
    let output = command.output().await.expect("bash runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("valid until 2"), "{said}");
    let (_, rights) = said.split_once("in saas:").expect("the namespace of the configuration");
    let right = rights.lines().find(|line| line.starts_with("externalsecrets.external-secrets.io"));
    assert!(right.is_some_and(|right| right.contains("[nats]") && right.contains("[get]")), "{said}");
}

dr_testkit::both! {
    a_hash_alone_may_be_read,
}

/// `config/recipes/secret-hash.yaml`, with rights to what it names and nothing else.
async fn a_hash_alone_may_be_read(flavour: Flavour) {
    let (primary, dr) = (Cluster::shared(flavour, 0).await, Cluster::shared(flavour, 1).await);
    let (at_primary, at_dr) = (primary.user(), dr.user());
    let text = read("config/recipes/secret-hash.yaml");
    let text = text.replace("{ interval: 30s, timeout: 10s }", "{ interval: 500ms, timeout: 5s }");
    let text = text.replace("kubeconfig_file: kubeconfig, context: primary", "kubeconfig_file: primary.kubeconfig");
    let text = text.replace("in_cluster: true", "kubeconfig_file: dr.kubeconfig");
    for (cluster, user, side) in [(primary, &at_primary, "primary"), (dr, &at_dr, "dr")] {
        cluster.make_namespace("saas").await;
        grant(cluster, user, side, &text).await;
        hash(cluster, "0a1b").await;
    }
    external(dr, "api-secrets").await;
    let config = Config::new(&text)
        .with("primary.kubeconfig", &primary.kubeconfig_of(&at_primary))
        .with("dr.kubeconfig", &dr.kubeconfig_of(&at_dr));
    let exporter = Exporter::start_in(config).await;
    exporter.becomes("secrets", "rpo", "met", SOON).await;
    let path = "/api/v1/namespaces/saas/secrets/api-secrets";
    assert_eq!(super::rig::get(dr, &at_dr, path).await.status, 403, "the real secret is out of reach");
    hash(primary, "2c3d").await;
    let differs = |scrape: &dr_testkit::scrape::Scrape| {
        scrape.get("dr_secret_in_sync", &[("contract", "secrets"), ("check", "same-data")]) == Some(0.0)
    };
    exporter.until("the rotation is seen", SOON, differs).await;
}

/// The Roles that are printed for the recipe.
async fn grant(cluster: &Cluster, user: &User, side: &str, text: &str) {
    let config = dr_exporter::config::parse(text, Path::new("config.yaml")).expect("a configuration");
    let name = config.clusters().into_iter().find(|name| name.as_str() == side).expect("a cluster").clone();
    let subject = dr_exporter::config::rbac::Subject::User(user.name.clone());
    for object in super::deploy::documents(&config.roles(&name, &subject).expect("a cluster")) {
        cluster.apply(object).await;
    }
}

/// The secret with the hash, as External Secrets writes it.
async fn hash(cluster: &Cluster, hash: &str) {
    let metadata = json!({"namespace": "saas", "name": "api-secrets-hash",
        "annotations": {"reconcile.external-secrets.io/data-hash": hash}});
    let data = json!({"hash": dr_testkit::kube::base64(hash.as_bytes())});
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
    cluster.apply_as("externalsecrets.external-secrets.io/api-secrets-hash", secret).await;
    external(cluster, "api-secrets-hash").await;
}

async fn external(cluster: &Cluster, name: &str) {
    let status = Status::ready(minutes(20));
    let mut object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
        "metadata": {"namespace": "saas", "name": name}, "spec": status.spec});
    let applied = cluster.apply(object.clone()).await;
    object["status"] = status.json(applied["metadata"]["generation"].as_i64().expect("a generation"));
    cluster.apply(object).await;
}
