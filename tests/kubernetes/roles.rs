//! The Roles that `dr-exporter config rbac` prints are enough, and nothing more.

use std::path::Path;

use dr_exporter::config::rbac::Subject;
use serde_json::{Value, json};

use super::{SOON, Status, ago, minutes};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Cluster, Flavour, User};

dr_testkit::both! {
    the_printed_roles_are_enough_and_nothing_more,
}

/// One check for each right. `deploy/rbac` holds what is printed for `config/kgents.yaml`.
const CONTRACTS: &str = "  - name: streams
    component: NATS
    owner: ops
    priority: P0
    rto: 15m
    checks:
      - name: cluster
        pods: { kubernetes: primary, namespace: kgents-agents, selector: app=nats, workload: { kind: StatefulSet, name: nats } }
  - name: secrets
    component: Secrets
    owner: ops
    priority: P0
    rto: 30m
    rpo: 1h
    checks:
      - name: api-secrets
        external_secret: { primary: primary, dr: dr, namespace: kgents-triad, name: kgents-api-secrets, compare: data_hash }
      - name: kgents-saas
        argocd_app: { kubernetes: dr, namespace: argocd, name: kgents-saas, primary: { kubernetes: primary } }
      - name: standby
        pods: { kubernetes: dr, namespace: kgents-agents, selector: app=nats, workload: { kind: Deployment, name: web } }
";

/// What is printed for a user of one side.
fn manifest(side: &str, user: &User) -> Vec<Value> {
    let config =
        dr_exporter::config::parse(&super::config(CONTRACTS), Path::new("config.yaml")).expect("a configuration");
    let cluster = config.clusters().into_iter().find(|name| name.as_str() == side).expect("a cluster").clone();
    let text = config.roles(&cluster, &Subject::User(user.name.clone())).expect("a cluster");
    text.split("---\n").map(|document| serde_saphyr::from_str(document).expect("the manifest is YAML")).collect()
}

async fn bind(cluster: &Cluster, side: &str, user: &User) {
    for object in manifest(side, user) {
        cluster.apply(object).await;
    }
}

async fn objects(primary: &Cluster, dr: &Cluster) {
    for cluster in [primary, dr] {
        for namespace in ["kgents-triad", "kgents-agents", "argocd"] {
            cluster.make_namespace(namespace).await;
        }
        let metadata = json!({"namespace": "kgents-triad", "name": "kgents-api-secrets",
            "annotations": {"reconcile.external-secrets.io/data-hash": "0a1b2c3d"}});
        let secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"password": "aHVudGVyMg=="}});
        cluster.apply_as("externalsecrets.external-secrets.io/kgents-api-secrets", secret).await;
        let status = Status::ready(minutes(20));
        let metadata = json!({"namespace": "kgents-triad", "name": "kgents-api-secrets"});
        let mut object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "metadata": metadata,
            "spec": status.spec});
        let applied = cluster.apply(object.clone()).await;
        object["status"] = status.json(applied["metadata"]["generation"].as_i64().expect("a generation"));
        cluster.apply(object).await;
        let application = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"namespace": "argocd", "name": "kgents-saas"}, "spec": {},
            "status": {"sync": {"status": "Synced", "revision": "8f3c"}, "health": {"status": "Healthy"},
                "reconciledAt": ago(minutes(1))}});
        cluster.apply(application).await;
    }
    for cluster in [primary, dr] {
        let metadata = json!({"namespace": "kgents-agents", "name": "nats-0", "labels": {"app": "nats"}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"containers": [{"name": "main", "image": "nats"}]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        cluster.apply(pod).await;
    }
    let template =
        json!({"metadata": {"labels": {"app": "nats"}}, "spec": {"containers": [{"name": "main", "image": "nats"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"app": "nats"}}, "template": template});
    dr.apply(json!({"apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"namespace": "kgents-agents", "name": "web"}, "spec": spec}))
        .await;
    primary
        .apply(json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": "kgents-agents", "name": "nats"},
            "spec": {"replicas": 1, "serviceName": "nats", "selector": {"matchLabels": {"app": "nats"}},
                "template": {"metadata": {"labels": {"app": "nats"}},
                    "spec": {"containers": [{"name": "main", "image": "nats"}]}}}}))
        .await;
}

async fn the_printed_roles_are_enough_and_nothing_more(flavour: Flavour) {
    let (primary, dr) = (Cluster::shared(flavour, 0).await, Cluster::shared(flavour, 1).await);
    let (at_primary, at_dr) = (primary.user(), dr.user());
    objects(primary, dr).await;
    bind(primary, "primary", &at_primary).await;
    bind(dr, "dr", &at_dr).await;
    let config = Config::new(&super::config(CONTRACTS))
        .with("primary.kubeconfig", &primary.kubeconfig_of(&at_primary))
        .with("dr.kubeconfig", &dr.kubeconfig_of(&at_dr));
    let exporter = Exporter::start_in(config).await;
    exporter.becomes("secrets", "rpo", "met", SOON).await;
    let healthy = |scrape: &super::Scrape, wanted: usize| {
        scrape.series("dr_check_healthy", &[]).filter(|(_, value)| *value == 1.0).count() == wanted
    };
    let warns = |scrape: &super::Scrape| scrape.all("dr_check_warning", &[]).contains(&1.0);
    let all = |scrape: &super::Scrape| healthy(scrape, 4) && !warns(scrape);
    let scrape = exporter.until("all four are measured and healthy", SOON, all).await;
    let forbidden = |scrape: &super::Scrape| {
        scrape.series("dr_check_failures_total", &[("reason", "forbidden")]).map(|(_, count)| count).sum::<f64>()
    };
    assert_eq!(forbidden(&scrape), 0.0, "the Roles are enough:\n{scrape}");

    // Each rule without one of its verbs or resources, one after the other.
    let mut removed = 0;
    for (side, cluster, user) in [("primary", primary, &at_primary), ("dr", dr, &at_dr)] {
        for role in manifest(side, user).into_iter().filter(|object| object["kind"] == "Role") {
            for (index, rule) in role["rules"].as_array().expect("rules").iter().enumerate() {
                for field in ["verbs", "resources"] {
                    for item in 0..rule[field].as_array().expect("a list").len() {
                        let mut less = role.clone();
                        less["rules"][index][field].as_array_mut().expect("a list").remove(item);
                        if less["rules"][index][field] == json!([]) {
                            less["rules"].as_array_mut().expect("rules").remove(index);
                        }
                        let before = forbidden(&exporter.scrape().await);
                        cluster.apply(less).await;
                        let what = format!("{side}: without {field}[{item}] of rule {index} something fails or warns");
                        exporter.until(&what, SOON, |scrape| forbidden(scrape) > before || warns(scrape)).await;
                        bind(cluster, side, user).await;
                        exporter.until("all is measured again", SOON, all).await;
                        removed += 1;
                    }
                }
            }
        }
    }
    assert!(removed >= 16, "only {removed} rights were tried");
}

/// Two connections may lead to one cluster, and two exporters may read one namespace: what is applied
/// for one must not replace what was applied for the other.
#[test]
fn no_printed_role_takes_the_place_of_another() {
    let connections = "kubernetes:
  dr: { in_cluster: true }
  patient: { in_cluster: true, api_timeout: 1m }
  reader: { in_cluster: true, impersonate_user: 'ops:reader' }
  writer: { in_cluster: true, impersonate_user: 'ops:writer' }
contracts:
";
    let contract = |connection: &str| {
        format!(
            "  - {{ name: {connection}, component: A, owner: o, priority: P3, rto: 1h, checks: [{{ name: web, pods: {{ \
             kubernetes: {connection}, namespace: apps, selector: app={connection} }} }}] }}\n"
        )
    };
    let contracts: String = ["dr", "patient", "reader", "writer"].into_iter().map(contract).collect();
    let config = dr_exporter::config::parse(&format!("{connections}{contracts}"), Path::new("config.yaml"))
        .unwrap_or_else(|errors| panic!("{errors}"));
    let account = |namespace: &str, name: &str| Subject::ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let user = |name: &str| Subject::User(name.to_owned());
    let subjects = [
        account("dr-exporter", "dr-exporter"),
        account("dr-exporter", "other"),
        account("a-b", "c"),
        account("a", "b-c"),
        account("user", "c"),
        user("c"),
        user("user.c"),
        user("system:serviceaccount:a:b-c"),
        user("https://issuer.example/#c%"),
        user("https_2f_/issuer.example"),
        user("https//issuer.example"),
        user("\u{12}3"),
        user("\u{123}"),
    ];
    let mut seen = std::collections::BTreeSet::new();
    let mut printed = 0;
    for cluster in config.clusters() {
        for subject in &subjects {
            for object in super::deploy::documents(&config.roles(cluster, subject).expect("a cluster")) {
                let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
                // What an API server takes as a part of a path.
                assert!(!name.contains(['/', '%']) && name.starts_with("dr-exporter"), "{name}");
                let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
                if object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")) {
                    assert_eq!(object["roleRef"]["name"], name, "{object}");
                }
                let again = format!("{} {namespace}/{name}", object["kind"]);
                assert!(seen.insert(again.clone()), "{again} is printed twice");
                printed += 1;
            }
        }
    }
    assert_eq!(printed, subjects.len() * (2 + 2 + 4 + 4));
}
