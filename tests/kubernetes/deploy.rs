//! What is shipped for Kubernetes, Compose and systemd, as far as a machine without them can tell. With
//! `KUBEBUILDER_ASSETS` it is applied to a real API server.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dr_testkit::kube::{Cluster, Flavour, assets};
use serde_json::{Value, json};

pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(super) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

pub(super) fn documents(text: &str) -> Vec<Value> {
    let documents = text.split("\n---\n").map(str::trim).filter(|document| !document.is_empty());
    documents.map(yaml).collect()
}

/// kubectl of `KUBEBUILDER_ASSETS`, or of the path.
pub(super) fn kubectl() -> Option<PathBuf> {
    let of_assets = assets().map(|assets| assets.join("kubectl"));
    let of_path = || {
        let path = std::env::var_os("PATH")?;
        std::env::split_paths(&path).map(|directory| directory.join("kubectl")).find(|program| program.is_file())
    };
    of_assets.filter(|program| program.is_file()).or_else(of_path)
}

/// What kustomize makes of a directory; none where there is no kubectl.
pub(super) fn built(directory: &str) -> Option<Vec<Value>> {
    let Some(kubectl) = kubectl() else {
        assert!(assets().is_none(), "KUBEBUILDER_ASSETS has no kubectl");
        dr_testkit::skip(format!("there is no kubectl, so {directory} was not built"));
        return None;
    };
    let output = Command::new(kubectl).arg("kustomize").arg(root().join(directory)).output().expect("kubectl runs");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    Some(documents(&String::from_utf8(output.stdout).expect("UTF-8")))
}

pub(super) fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
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

/// Each directory is applied by kubectl itself, in the order of a new installation, to a cluster that
/// has nothing but what the comments say.
#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_cluster_takes_everything() {
    if assets().is_none() {
        return dr_testkit::skip(dr_testkit::kube::NO_ASSETS);
    }
    let cluster = Cluster::start(Flavour::Real).await;
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(&cluster.admin())).expect("written");
    let apply = async |of: &str| {
        let program = kubectl().expect("KUBEBUILDER_ASSETS has kubectl");
        let built = Command::new(&program).arg("kustomize").arg(root().join(of)).output().expect("kubectl runs");
        assert!(built.status.success(), "{of}: {}", String::from_utf8_lossy(&built.stderr));
        // To an API server before 1.21 a PodDisruptionBudget is a beta, with the same fields.
        let objects = String::from_utf8(built.stdout).expect("UTF-8").replace(": policy/v1\n", ": policy/v1beta1\n");
        let file = directory.path().join("objects.yaml");
        std::fs::write(&file, objects).expect("written");
        let mut command = tokio::process::Command::new(program);
        command.arg("--kubeconfig").arg(&kubeconfig).args(["apply", "--validate=false", "-f"]).arg(&file);
        let output = command.output().await.expect("kubectl runs");
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{of}: {said}");
        said.into_owned()
    };
    for fresh in ["base", "remote", "examples/own"] {
        let said = apply(&format!("deploy/kubernetes/{fresh}")).await;
        assert!(said.contains("serviceaccount/dr-exporter"), "{said}");
    }
    for namespace in ["kgents-triad", "kgents-agents", "argocd"] {
        cluster.make_namespace(namespace).await;
    }
    let said = apply("deploy/kubernetes/examples/full-primary").await;
    assert_eq!(said.matches("rolebinding").count(), 3, "{said}");
    for (plural, kind) in [("servicemonitors", "ServiceMonitor"), ("prometheusrules", "PrometheusRule")] {
        let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": anything}});
        let names =
            json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List")});
        let name = format!("{plural}.monitoring.coreos.com");
        let group = "monitoring.coreos.com";
        let spec = json!({"group": group, "scope": "Namespaced", "names": names, "versions": [version]});
        let crd = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name}, "spec": spec});
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let (status, answer) = cluster.request("POST", path, Some(("application/json", crd))).await.expect("an answer");
        assert_eq!(status, 201, "{answer}");
        let served = format!("/apis/{group}/v1/{plural}");
        dr_testkit::wait_until(&format!("{plural} are served"), super::SOON, async || {
            cluster.request("GET", &served, None).await.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
    }
    let said = apply("deploy/kubernetes/examples/full").await;
    for object in ["deployment.apps/dr-exporter", "prometheusrule", "servicemonitor", "dashboard-overview"] {
        assert!(said.contains(object), "{object}: {said}");
    }
    let said = apply("deploy/kubernetes/examples/ha").await;
    assert!(said.contains("deployment.apps/dr-exporter configured") && said.contains("poddisruptionbudget"), "{said}");
    let said = apply("deploy/kubernetes/examples/sharded").await;
    assert!(said.contains("statefulset.apps/dr-exporter created"), "{said}");
}

/// Three replicas without a volume that survives, and shards by the number of the pod.
#[test]
fn replicas_and_shards_hang_together() {
    let Some(replicas) = built("deploy/kubernetes/examples/ha") else { return };
    let deployment = of_kind(&replicas, "Deployment")[0];
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    let app = json!({"app.kubernetes.io/name": labels["app.kubernetes.io/name"]});
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(deployment["spec"]["strategy"]["rollingUpdate"], json!({"maxSurge": 0, "maxUnavailable": 1}));
    let pod = &deployment["spec"]["template"]["spec"];
    assert!(of_kind(&replicas, "PersistentVolumeClaim").is_empty());
    let volumes = pod["volumes"].as_array().expect("volumes");
    assert!(volumes.iter().all(|volume| volume["persistentVolumeClaim"].is_null()), "{volumes:?}");
    let apart = &pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    assert_eq!(apart["labelSelector"]["matchLabels"], app);
    assert_eq!(of_kind(&replicas, "PodDisruptionBudget")[0]["spec"]["selector"]["matchLabels"], app);
    // The connection that the storage uses is in the configuration.
    let args: Vec<_> =
        pod["containers"][0]["args"].as_array().expect("arguments").iter().filter_map(Value::as_str).collect();
    let connection = args.iter().find_map(|arg| arg.strip_prefix("--storage.nats=")).expect("a connection");
    assert!(!yaml(&read("config/kgents.yaml"))["nats"][connection].is_null(), "{connection}");

    let Some(shards) = built("deploy/kubernetes/examples/sharded") else { return };
    assert!(of_kind(&shards, "Deployment").is_empty() && of_kind(&shards, "PersistentVolumeClaim").is_empty());
    let set = of_kind(&shards, "StatefulSet")[0];
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "registry.example.com/dr-exporter:0.1.0");
    let args: Vec<_> = container["args"].as_array().expect("arguments").iter().filter_map(Value::as_str).collect();
    let total = args.iter().find_map(|arg| arg.strip_prefix("--total-shards=")).expect("a number");
    assert_eq!(set["spec"]["replicas"].to_string(), total);
    assert!(args.contains(&"--shard=$(POD_INDEX)"), "{args:?}");
    let index = &container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"];
    assert_eq!(*index, "metadata.labels['apps.kubernetes.io/pod-index']");
    let services = of_kind(&shards, "Service");
    let headless = services.iter().find(|service| service["spec"]["clusterIP"] == "None").expect("a headless service");
    assert_eq!(set["spec"]["serviceName"], headless["metadata"]["name"]);
    // The ServiceMonitor must not find the pods twice.
    assert!(headless["metadata"]["labels"]["app.kubernetes.io/name"].is_null(), "{headless}");
    let peers: Vec<_> = args.iter().filter_map(|arg| arg.strip_prefix("--web.peers=")).collect();
    let names = |pod: u32| format!("http://dr-exporter-{pod}.dr-exporter-shards:9877");
    assert_eq!(peers, [names(0), names(1)]);
    // The pods are those of the Deployment otherwise.
    let Some(whole) = built("deploy/kubernetes/examples/full") else { return };
    let deployment = of_kind(&whole, "Deployment")[0];
    for key in ["ports", "livenessProbe", "readinessProbe", "resources", "securityContext", "volumeMounts"] {
        assert_eq!(container[key], deployment["spec"]["template"]["spec"]["containers"][0][key], "{key}");
    }
    let config = |workload: &Value| {
        let volumes = workload["spec"]["template"]["spec"]["volumes"].as_array().expect("volumes").clone();
        volumes.into_iter().find(|volume| volume["name"] == "config").expect("a configuration")
    };
    assert_eq!(config(set), config(deployment));
}

/// The exporter may reach what its configuration names, and no other port.
#[test]
fn the_network_policies_let_out_what_the_configuration_names() {
    let numbers = regex_of_ports();
    for (directory, file, more) in [
        ("base", "deploy/kubernetes/base/config.yaml", &[][..]),
        ("examples/own", "deploy/kubernetes/examples/own/config.yaml", &[]),
        // The API servers, whose URL is in the kubeconfig.
        ("examples/full", "config/kgents.yaml", &[6443]),
    ] {
        let Some(objects) = built(&format!("deploy/kubernetes/{directory}")) else { return };
        let policy = of_kind(&objects, "NetworkPolicy")[0];
        let open = open_ports(policy);
        let named: BTreeSet<u64> = numbers(&read(file)).into_iter().chain(more.iter().copied()).collect();
        assert!(named.is_subset(&open), "{directory} keeps {named:?} in, and lets out {open:?}");
        let needless: Vec<_> = open.difference(&named).filter(|port| ![53, 443, 6443].contains(*port)).collect();
        assert!(needless.is_empty(), "{directory} lets out {needless:?}, which nothing names");
    }
}

/// The ports that a NetworkPolicy lets out.
pub(super) fn open_ports(policy: &Value) -> BTreeSet<u64> {
    let rules = policy["spec"]["egress"].as_array().expect("rules").iter();
    let ports = rules.flat_map(|rule| rule["ports"].as_array().expect("ports"));
    ports.map(|port| port["port"].as_u64().expect("a number")).collect()
}

/// Finds the ports in a configuration: those of its URLs, and those of its resolvers.
fn regex_of_ports() -> impl Fn(&str) -> Vec<u64> {
    let url = regex::Regex::new(r#"(https?|nats|tls)://[^"/:\s]+(?::(\d+))?"#).expect("a pattern");
    move |text| {
        let of_urls = url.captures_iter(text).map(|found| match (found.get(2), &found[1]) {
            (Some(port), _) => port.as_str().parse().expect("a port"),
            (None, "https") => 443,
            (None, "http") => 80,
            (None, scheme) => panic!("{scheme} without a port"),
        });
        of_urls.chain(text.contains("resolvers:").then_some(53)).collect()
    }
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
    let server = dr_testkit::tool("NATS_SERVER", "nats-server").expect("no nats-server: run `scripts/tools nats`");
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
        return dr_testkit::leave_out("there is no systemd-analyze, so the unit was not looked at");
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
