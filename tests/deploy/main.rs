//! What is shipped for Kubernetes, Compose and systemd, as far as a machine without them can tell; with `KUBEBUILDER_ASSETS`, every
//! built-in object is held to a real API server.
#![allow(clippy::pedantic)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::kube::{Cluster, Flavour, assets};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(str::trim).filter(|document| !document.is_empty());
    documents.map(yaml).collect()
}

/// kubectl of `KUBEBUILDER_ASSETS`, or of the path.
fn kubectl() -> Option<PathBuf> {
    let of_assets = assets().map(|assets| assets.join("kubectl"));
    let of_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|directory| directory.join("kubectl")).find(|program| program.is_file())
    };
    of_assets.filter(|program| program.is_file()).or_else(of_path)
}

/// What kustomize makes of a directory; none where there is no kubectl.
fn built(directory: &str) -> Option<Vec<Value>> {
    let Some(kubectl) = kubectl() else {
        assert!(assets().is_none(), "KUBEBUILDER_ASSETS has no kubectl");
        eprintln!("no kubectl here: {directory} was not built; set KUBEBUILDER_ASSETS");
        return None;
    };
    let output = Command::new(kubectl).arg("kustomize").arg(root().join(directory)).output().expect("kubectl runs");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    Some(documents(&String::from_utf8(output.stdout).expect("UTF-8")))
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects.iter().filter(|object| object["kind"] == kind).collect()
}

#[test]
fn the_whole_example_has_everything_and_hangs_together() {
    let Some(objects) = built("deploy/kubernetes/examples/full") else { return };
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for object in &objects {
        *kinds.entry(object["kind"].as_str().expect("a kind").to_owned()).or_default() += 1;
    }
    for kind in [
        "Namespace",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Deployment",
        "PersistentVolumeClaim",
        "Service",
        "NetworkPolicy",
        "ConfigMap",
        "ServiceMonitor",
        "PrometheusRule",
    ] {
        assert!(kinds.contains_key(kind), "no {kind}: {kinds:?}");
    }
    // The configuration is the shipped one, and the Deployment mounts it under its generated name.
    let maps = of_kind(&objects, "ConfigMap");
    let config = maps.iter().find(|map| !map["data"]["config.yaml"].is_null()).expect("a configuration");
    assert_eq!(config["data"]["config.yaml"], read("config/kgents.yaml"));
    let deployment = of_kind(&objects, "Deployment")[0];
    let pod = &deployment["spec"]["template"]["spec"];
    let sources = pod["volumes"][0]["projected"]["sources"].as_array().expect("sources");
    assert_eq!(sources[0]["configMap"]["name"], config["metadata"]["name"]);
    // Restricted, as the namespace demands.
    let container = &pod["containers"][0];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(container["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(container["image"], "registry.example.com/dr-exporter:0.1.0");
    // Its service finds it, and who scrapes finds the service.
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let service = of_kind(&objects, "Service")[0];
    assert_eq!(service["spec"]["selector"]["app.kubernetes.io/name"], labels["app.kubernetes.io/name"]);
    let monitor = of_kind(&objects, "ServiceMonitor")[0];
    let wanted = &monitor["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"];
    assert_eq!(*wanted, service["metadata"]["labels"]["app.kubernetes.io/name"]);
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    // The rules are those of alerts/, and the dashboards those of dashboards/.
    let rules = of_kind(&objects, "PrometheusRule")[0];
    assert_eq!(rules["spec"]["groups"], yaml(&read("alerts/dr-exporter.rules.yml"))["groups"]);
    let boards: Vec<_> = maps.iter().filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1").collect();
    assert_eq!(
        boards.len(),
        std::fs::read_dir(root().join("dashboards"))
            .expect("dashboards")
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|ending| ending == "json"))
            .count()
    );
}

#[test]
fn the_operators_rule_is_in_step_with_the_rules() {
    let checked = Command::new(root().join("scripts/deploy-rules")).arg("--check").output().expect("it runs");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}

/// Every built-in object passes a server-side dry run on a real API server.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_every_object() {
    if assets().is_none() {
        eprintln!("KUBEBUILDER_ASSETS is not set: no object was held to an API server");
        return;
    }
    let cluster = Cluster::shared(Flavour::Real, 0).await;
    for namespace in ["dr-exporter", "kgents-triad", "kgents-agents", "argocd"] {
        cluster.make_namespace(namespace).await;
    }
    let mut taken = 0;
    for directory in ["deploy/kubernetes/examples/full", "deploy/kubernetes/remote"] {
        for object in built(directory).expect("KUBEBUILDER_ASSETS has kubectl") {
            let Some(path) = path_of(&object) else { continue };
            let name = object["metadata"]["name"].as_str().expect("a name").to_owned();
            let body = object.to_string();
            let dry = format!("{path}/{name}?dryRun=All&fieldManager=test&force=true");
            let patch = ("application/apply-patch+yaml", serde_json::from_str(&body).expect("JSON"));
            let (status, answer) = cluster.request("PATCH", &dry, Some(patch)).await.expect("an answer");
            assert!(status == 200 || status == 201, "{directory}: {} {name}: {status} {answer}", object["kind"]);
            taken += 1;
        }
    }
    assert!(taken >= 15, "only {taken} objects were tried");
}

/// Where the API server keeps objects of this kind; none for kinds that it does not know by itself.
fn path_of(object: &Value) -> Option<String> {
    let (group, plural) = match object["kind"].as_str()? {
        "Namespace" => return Some("/api/v1/namespaces".to_owned()),
        "ServiceAccount" => ("/api/v1", "serviceaccounts"),
        "ConfigMap" => ("/api/v1", "configmaps"),
        "Service" => ("/api/v1", "services"),
        "PersistentVolumeClaim" => ("/api/v1", "persistentvolumeclaims"),
        "Deployment" => ("/apis/apps/v1", "deployments"),
        "NetworkPolicy" => ("/apis/networking.k8s.io/v1", "networkpolicies"),
        "Role" => ("/apis/rbac.authorization.k8s.io/v1", "roles"),
        "RoleBinding" => ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
        "ServiceMonitor" | "PrometheusRule" => return None,
        other => panic!("where do objects of kind {other} go?"),
    };
    let namespace = object["metadata"]["namespace"].as_str().expect("a namespace");
    Some(format!("{group}/namespaces/{namespace}/{plural}"))
}

#[test]
fn compose_names_only_what_is_there() {
    let compose = yaml(&read("deploy/compose/compose.yaml"));
    let services = compose["services"].as_object().expect("services");
    assert!(services.len() >= 7, "{:?}", services.keys());
    let known: Vec<&String> = compose["volumes"].as_object().expect("volumes").keys().collect();
    for (name, service) in services {
        match service["image"].as_str() {
            Some(image) => {
                let tag = image.rsplit_once(':').map(|(_, tag)| tag).unwrap_or_default();
                assert!(tag.chars().any(|c| c.is_ascii_digit()), "{name}: {image} has no version");
            }
            None => assert!(!service["build"].is_null(), "{name} has neither image nor build"),
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let from = volume.as_str().expect("a text").split(':').next().expect("a source");
            let there = root().join("deploy/compose").join(from).exists();
            assert!(
                if from.starts_with('.') { there } else { known.iter().any(|known| *known == from) },
                "{name}: {from}"
            );
        }
        for (other, how) in service["depends_on"].as_object().into_iter().flatten() {
            assert!(services.contains_key(other), "{name} waits for {other}");
            assert_eq!(how["condition"], "service_healthy", "{name} waits for {other} to be well");
            let healthy = !services[other]["healthcheck"].is_null() || other == "dr-exporter";
            assert!(healthy, "{other} has no health check");
        }
    }
    let server = support::tool("NATS_SERVER", "nats-server").expect("no nats-server: run `scripts/tools nats`");
    for region in ["primary", "dr"] {
        let file = root().join(format!("deploy/compose/nats/{region}.conf"));
        let tested = Command::new(&server).arg("-t").arg("-c").arg(&file).output().expect("nats-server runs");
        assert!(tested.status.success(), "{region}: {}", String::from_utf8_lossy(&tested.stderr));
    }
    let config = root().join("deploy/compose/dr-exporter.yaml");
    dr_exporter::config::load(&config).unwrap_or_else(|errors| panic!("{errors}"));
}

/// The unit, where systemd is there to tell.
#[test]
fn systemd_takes_the_unit() {
    let directory = tempfile::tempdir().expect("a directory");
    let unit = read("deploy/systemd/dr-exporter.service");
    // The program is not installed here.
    let unit = unit.replace("/usr/local/bin/dr-exporter", env!("CARGO_BIN_EXE_dr-exporter"));
    let file = directory.path().join("dr-exporter.service");
    std::fs::write(&file, unit).expect("written");
    let Ok(verified) = Command::new("systemd-analyze").arg("verify").arg(&file).output() else {
        eprintln!("no systemd-analyze here: the unit was not looked at");
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && !said.contains("dr-exporter.service:"), "{said}");
    let names = |text: &str| {
        text.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    for name in names(&read("deploy/systemd/dr-exporter.env")).iter().filter(|name| !name.starts_with('#')) {
        assert!(read("deploy/systemd/dr-exporter.service").contains(name.as_str()), "{name} is used nowhere");
    }
}
