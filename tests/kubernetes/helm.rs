//! The Helm chart: what it makes of each file of values, and that a real API server takes it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dr_exporter::config::rbac::Subject;
use dr_testkit::kube::assets;
use serde_json::{Value, json};

use super::chart::to_install_into;
use super::deploy::{built, documents, kubectl, of_kind, open_ports, read, root, yaml};

pub(super) const CHART: &str = "deploy/helm/dr-exporter";
/// The files of values in `ci/`, and a configuration where they have none.
const VALUES: [(&str, Option<&str>); 6] = [
    ("own", None),
    ("plain", None),
    ("full", Some(KGENTS)),
    ("ha", Some(KGENTS)),
    ("sharded", Some(KGENTS)),
    ("sharded-ha", Some(KGENTS)),
];
pub(super) const KGENTS: &str = "config/kgents.yaml";
const EXAMPLE: &str = "https://runbooks.example.com/dr-exporter";

pub(super) fn helm() -> Option<PathBuf> {
    let helm = dr_testkit::tool("HELM", "helm");
    if helm.is_none() {
        dr_testkit::skip("there is no helm: run `scripts/tools helm`");
    }
    helm
}

/// helm with these arguments, then the chart with the values of this name.
pub(super) fn command(helm: &Path, arguments: &[&str], values: &str, config: Option<&str>) -> Command {
    let mut command = Command::new(helm);
    command
        .args(arguments)
        .arg(root().join(CHART))
        .arg("--values")
        .arg(root().join(CHART).join(format!("ci/{values}.yaml")));
    if let Some(config) = config {
        command.arg("--set-file").arg(format!("config={}", root().join(config).display()));
    }
    command
}

pub(super) fn output(mut command: Command) -> String {
    let output = command.output().expect("helm runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn templated(helm: &Path, values: &str, config: Option<&str>) -> Vec<Value> {
    let arguments = ["template", "dr-exporter", "--namespace", "dr-exporter"];
    documents(&output(command(helm, &arguments, values, config)))
}

#[test]
fn helm_finds_no_fault() {
    let Some(helm) = helm() else { return };
    for (values, config) in VALUES {
        output(command(&helm, &["lint", "--strict"], values, config));
    }
    let none = Command::new(&helm).args(["template", "x"]).arg(root().join(CHART)).output().expect("helm runs");
    let said = String::from_utf8_lossy(&none.stderr);
    assert!(!none.status.success() && said.contains("--set-file config=config.yaml"), "{said}");
}

/// In the repository the chart has links, which helm mentions. A release has files in their place.
#[test]
fn the_packed_chart_makes_the_same_and_says_nothing() {
    let Some(helm) = helm() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let mut pack = Command::new(&helm);
    pack.arg("package").arg(root().join(CHART)).arg("--destination").arg(directory.path());
    output(pack);
    let packed = directory.path().join(format!("dr-exporter-{}.tgz", env!("CARGO_PKG_VERSION")));
    let values = root().join(CHART).join("ci/full.yaml");
    let config = format!("config={}", root().join(KGENTS).display());
    let made = |chart: &Path| {
        let mut command = Command::new(&helm);
        command.args(["template", "dr-exporter"]).arg(chart).arg("--values").arg(&values);
        let made = command.args(["--set-file", &config]).output().expect("helm runs");
        assert!(made.status.success(), "{command:?}");
        (String::from_utf8(made.stdout).expect("UTF-8"), String::from_utf8(made.stderr).expect("UTF-8"))
    };
    let (of_release, said) = made(&packed);
    assert_eq!(said, "");
    assert_eq!(of_release, made(&root().join(CHART)).0);
}

/// Helm and kustomize make the same of the same configuration.
#[test]
fn the_chart_is_in_step_with_the_manifests() {
    let Some(helm) = helm() else { return };
    let Some(manifests) = built("deploy/kubernetes/examples/full") else { return };
    let chart = templated(&helm, "full", Some("config/kgents.yaml"));
    let pod = |objects: &[Value]| of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"].clone();
    let (ours, theirs) = (pod(&chart), pod(&manifests));
    for key in
        ["securityContext", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds"]
    {
        assert_eq!(ours[key], theirs[key], "{key}");
    }
    for key in ["args", "ports", "livenessProbe", "readinessProbe", "resources", "securityContext", "volumeMounts"] {
        assert_eq!(ours["containers"][0][key], theirs["containers"][0][key], "{key}");
    }
    let policy = |objects: &[Value]| open_ports(of_kind(objects, "NetworkPolicy")[0]);
    assert_eq!(policy(&chart), policy(&manifests));
    let config = of_kind(&chart, "ConfigMap").into_iter().find(|map| !map["data"]["config.yaml"].is_null());
    assert_eq!(config.expect("a configuration")["data"]["config.yaml"], read("config/kgents.yaml"));
    let boards =
        of_kind(&chart, "ConfigMap").into_iter().filter(|map| map["metadata"]["labels"]["grafana_dashboard"] == "1");
    let board = |map: &Value| {
        map["data"]
            .as_object()
            .expect("data")
            .iter()
            .map(|(name, text)| (name.clone(), text.clone()))
            .collect::<Vec<_>>()
    };
    for (name, text) in boards.flat_map(board) {
        assert_eq!(text, read(&format!("dashboards/{name}")).replace(EXAMPLE, "https://wiki.example.org/dr"), "{name}");
    }
    let rule = of_kind(&chart, "PrometheusRule")[0];
    let rules = read("alerts/dr-exporter.rules.yml");
    let rules = rules.replace(EXAMPLE, "https://wiki.example.org/dr");
    let rules = rules.replace("https://grafana.example.com", "https://grafana.example.org");
    assert_eq!(rule["spec"]["groups"], yaml(&rules)["groups"]);
    for kind in ["PrometheusRule", "ServiceMonitor"] {
        assert_eq!(of_kind(&chart, kind)[0]["metadata"]["labels"]["release"], "kube-prometheus-stack");
    }
    let plain = templated(&helm, "plain", None);
    let kinds: BTreeSet<&str> = plain.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["ConfigMap", "Deployment", "Service"]));
}

/// Replicas and shards: what decides over them is the same in both, except for the labels of Helm.
#[test]
fn replicas_and_shards_are_in_step_with_the_manifests() {
    let Some(helm) = helm() else { return };
    for (values, kind) in [("ha", "Deployment"), ("sharded", "StatefulSet")] {
        let Some(manifests) = built(&format!("deploy/kubernetes/examples/{values}")) else { return };
        let chart = templated(&helm, values, Some(KGENTS));
        let (ours, theirs) = (of_kind(&chart, kind)[0], of_kind(&manifests, kind)[0]);
        for pointer in [
            "/spec/replicas",
            "/spec/strategy",
            "/spec/serviceName",
            "/spec/podManagementPolicy",
            "/spec/template/spec/securityContext",
            "/spec/template/spec/topologySpreadConstraints/0/topologyKey",
            "/spec/template/spec/topologySpreadConstraints/0/whenUnsatisfiable",
            "/spec/template/spec/containers/0/args",
            "/spec/template/spec/containers/0/env",
            "/spec/template/spec/containers/0/ports",
            "/spec/template/spec/containers/0/livenessProbe",
            "/spec/template/spec/containers/0/securityContext",
            "/spec/volumeClaimTemplates/0/spec/resources",
        ] {
            assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{values}: {pointer}");
        }
        let rules = |object: &Value| {
            let rules = object.pointer("/spec/template/spec/affinity/podAntiAffinity").expect("a rule");
            rules.as_object().expect("rules").keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(rules(ours), rules(theirs), "{values}");
        let budget = |objects: &[Value]| of_kind(objects, "PodDisruptionBudget")[0]["spec"]["maxUnavailable"].clone();
        assert_eq!(budget(&chart), budget(&manifests));
        let policy = |objects: &[Value]| {
            let spec = &of_kind(objects, "NetworkPolicy")[0]["spec"];
            (spec["ingress"].as_array().map(Vec::len), spec["egress"].as_array().map(Vec::len))
        };
        assert_eq!(policy(&chart), policy(&manifests), "{values}");
        assert!(
            of_kind(&chart, "PersistentVolumeClaim").is_empty()
                && of_kind(&manifests, "PersistentVolumeClaim").is_empty()
        );
    }
}

/// Two shards with two replicas each: every pod has its shard, and every shard has its stream.
#[test]
fn shards_have_replicas() {
    let Some(helm) = helm() else { return };
    let chart = templated(&helm, "sharded-ha", Some(KGENTS));
    let sets = of_kind(&chart, "StatefulSet");
    let names: Vec<_> = sets.iter().map(|set| set["metadata"]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["dr-exporter-a", "dr-exporter-b"]);
    for set in sets {
        assert_eq!(set["spec"]["replicas"], 2);
        // No set takes the pods of the other for its own.
        assert_eq!(set["spec"]["selector"]["matchLabels"]["dr-exporter/set"], set["metadata"]["name"]);
        assert_eq!(set["spec"]["template"]["metadata"]["labels"]["dr-exporter/set"], set["metadata"]["name"]);
        let args = set["spec"]["template"]["spec"]["containers"][0]["args"].as_array().expect("arguments");
        let has = |wanted: &str| args.iter().any(|arg| arg == wanted);
        assert!(has("--storage.stream=dr_exporter_$(POD_INDEX)") && has("--shard=$(POD_INDEX)"), "{args:?}");
        let peers = args.iter().filter(|arg| arg.as_str().is_some_and(|arg| arg.starts_with("--web.peers="))).count();
        assert_eq!(peers, 4);
        assert!(has("--web.peers=http://dr-exporter-b-1.dr-exporter-shards:9877"), "{args:?}");
    }
}

/// What cannot work is refused before anything is installed.
#[test]
fn what_does_not_fit_is_refused() {
    let Some(helm) = helm() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let broken = directory.path().join("config.yaml");
    std::fs::write(&broken, "contracts:\n  - name: [\n").expect("written");
    let broken = format!("config={}", broken.display());
    let said = |values: &str, arguments: &[&str]| {
        let config = VALUES.iter().find(|(name, _)| *name == values).and_then(|(_, config)| *config);
        let output = command(&helm, &["template", "dr-exporter"], values, config).args(arguments).output();
        let output = output.expect("helm runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let cases: [(&str, &[&str], &str); 11] = [
        ("own", &["--set", "replicas=2"], "two exporters must not share one file"),
        ("own", &["--set", "storage.backend=jetstream"], "needs storage.nats"),
        ("own", &["--set", "storage.backend=jetstream,storage.nats=dr"], "it has: none"),
        ("ha", &["--set", "storage.nats=other"], "no connection of this name; it has: dr, primary"),
        ("own", &["--set", "shards=2,persistence.existingClaim=one"], "each shard needs a volume of its own"),
        ("own", &["--set", "shards=0"], "shards"),
        ("plain", &["--set-file", &broken], "the configuration cannot be read: "),
        ("sharded", &["--kube-version=1.27.9"], "need Kubernetes 1.28 or later, because"),
        ("sharded-ha", &["--kube-version=1.27.9"], "this is v1.27.9"),
        ("ha", &["--kube-version=1.20.15"], "set podDisruptionBudget.enabled=false"),
        ("own", &["--kube-version=1.18.0"], "chart requires kubeVersion"),
    ];
    for (values, arguments, says) in cases {
        let (taken, said) = said(values, arguments);
        assert!(!taken && said.contains(says), "{values} {arguments:?}: {said}");
    }
    let taken: [(&str, &[&str]); 4] = [
        ("sharded", &["--kube-version=1.28.0"]),
        ("sharded", &["--kube-version=v1.28.3-eks-0000000"]),
        ("ha", &["--kube-version=1.20.15", "--set", "podDisruptionBudget.enabled=false"]),
        ("own", &["--kube-version=1.19.0"]),
    ];
    for (values, arguments) in taken {
        let (taken, said) = said(values, arguments);
        assert!(taken, "{values} {arguments:?}: {said}");
    }
}

/// The rules of the Roles, as `NAMESPACE: RULE`, and the namespaces of the bindings.
fn rules(objects: &[Value]) -> BTreeSet<String> {
    let rule = |role: &Value| {
        let namespace = role["metadata"]["namespace"].as_str().expect("a namespace").to_owned();
        let rules = role["rules"].as_array().cloned().unwrap_or_default();
        rules.into_iter().map(move |rule| format!("{namespace}: {rule}")).collect::<Vec<_>>()
    };
    let bound = of_kind(objects, "RoleBinding")
        .into_iter()
        .map(|binding| format!("{} is bound", binding["metadata"]["namespace"]));
    of_kind(objects, "Role").into_iter().flat_map(rule).chain(bound).collect()
}

/// The templates know the same rights as the program, which knows them from the checks.
#[test]
fn the_roles_are_those_of_the_program() {
    let Some(helm) = helm() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let every = directory.path().join("every.yaml");
    std::fs::write(&every, EVERY_RIGHT).expect("written");
    for file in [root().join("config/kgents.yaml"), root().join("config/demo.yaml"), every] {
        let text = std::fs::read_to_string(&file).expect("a file");
        // One connection after the other is the one of this cluster.
        let config = dr_exporter::config::parse(&text, &file).expect("a configuration");
        for cluster in config.clusters() {
            let account =
                Subject::ServiceAccount { namespace: "dr-exporter".to_owned(), name: "dr-exporter".to_owned() };
            let printed = config.roles(cluster, &account).expect("a cluster");
            let printed: Vec<_> = documents(&printed).into_iter().filter(Value::is_object).collect();
            let mut values = yaml(&text);
            for (name, connection) in values["kubernetes"].as_object_mut().expect("connections") {
                *connection = json!({"in_cluster": name == cluster.as_str()});
            }
            let given = directory.path().join("values.json");
            std::fs::write(&given, json!({"config": values}).to_string()).expect("written");
            let mut command = Command::new(&helm);
            command.args(["template", "dr-exporter", "--namespace", "dr-exporter"]).arg(root().join(CHART));
            let templated = documents(&output({
                command.arg("--values").arg(&given);
                command
            }));
            let (ours, theirs) = (rules(&templated), rules(&printed));
            assert_eq!(ours, theirs, "{} {}", file.display(), cluster.as_str());
        }
    }
}

/// Every right, and every case in which one is not needed.
const EVERY_RIGHT: &str = "
kubernetes:
  primary: { kubeconfig_file: kubeconfig, context: primary }
  dr: { in_cluster: true }
contracts:
  - name: a
    component: A
    owner: ops
    priority: P0
    rto: 1h
    rpo: 1h
    checks:
      - { name: b, external_secret: { primary: primary, dr: dr, namespace: apps, name: b } }
      - { name: a, external_secret: { primary: primary, dr: dr, namespace: apps, name: a } }
      - { name: fresh, external_secret: { primary: primary, dr: dr, namespace: apps, name: f, compare: freshness } }
      - { name: alone, external_secret: { dr: dr, namespace: 'no', name: '1' } }
      - { name: app, argocd_app: { kubernetes: dr, namespace: argocd, name: app, primary: { kubernetes: primary, name: other } } }
      - { name: moved, argocd_app: { kubernetes: dr, namespace: argocd, name: app, primary: { kubernetes: primary, namespace: cd } } }
      - { name: web, pods: { kubernetes: dr, namespace: apps, selector: app=web, workload: { kind: Deployment, name: web } } }
      - { name: db, pods: { kubernetes: dr, namespace: apps, selector: app=db, workload: { kind: StatefulSet, name: db } } }
triggers:
  - { name: down, action: a, notification: b, pods: { kubernetes: primary, namespace: web, selector: app=web } }
";

/// What the configuration does not say.
#[test]
fn values_name_secrets_and_ports_that_the_configuration_does_not() {
    let Some(helm) = helm() else { return };
    let mut command = command(&helm, &["template", "dr-exporter"], "full", Some("config/kgents.yaml"));
    command.args(["--set-json", r#"rbac.secretNames={"kgents-triad/kgents-api-secrets":"api"}"#]);
    command.args(["--set-json", "networkPolicy.extraPorts=[8443]"]);
    let objects = documents(&output(command));
    let secrets = rules(&objects).into_iter().filter(|rule| rule.contains("secrets\"]")).collect::<Vec<_>>();
    let of_secret = secrets.iter().find(|rule| rule.contains("[\"secrets\"]")).expect("a rule for secrets");
    assert!(of_secret.contains(r#""resourceNames":["api"]"#), "{of_secret}");
    let of_external = secrets.iter().find(|rule| rule.contains("externalsecrets")).expect("a rule");
    assert!(of_external.contains("kgents-api-secrets"), "{of_external}");
    assert!(open_ports(of_kind(&objects, "NetworkPolicy")[0]).contains(&8443));
    let plain = templated(&helm, "plain", None);
    let container = &of_kind(&plain, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["livenessProbe"]["httpGet"]["scheme"], "HTTPS");
}

#[test]
fn the_version_is_that_of_the_program() {
    let chart = yaml(&read(&format!("{CHART}/Chart.yaml")));
    for key in ["version", "appVersion"] {
        assert_eq!(chart[key], env!("CARGO_PKG_VERSION"), "{key}");
    }
}

/// A real installation, and an upgrade to other values.
#[tokio::test(flavor = "multi_thread")]
async fn a_real_api_server_takes_the_chart() {
    if assets().is_none() {
        return dr_testkit::skip(dr_testkit::kube::NO_ASSETS);
    }
    let Some(helm) = helm() else { return };
    let (cluster, directory, kubeconfig) = to_install_into().await;
    for (values, config) in VALUES {
        // The API server knows no ServiceMonitor, and its PodDisruptionBudget may be a beta.
        let unknown = "serviceMonitor.enabled=false,prometheusRule.enabled=false,podDisruptionBudget.enabled=false";
        let install: &[&str] = &["upgrade", "--install", "dr-exporter", "--create-namespace"];
        // It may be too old for shards. What is made for a newer one is applied to it all the same.
        let make: &[&str] = &["template", "dr-exporter", "--kube-version=1.28.0"];
        let sharded = values.starts_with("sharded");
        let mut command = command(&helm, if sharded { make } else { install }, values, config);
        command.env("KUBECONFIG", &kubeconfig).env("HELM_CACHE_HOME", directory.path());
        let made = output({
            command.args(["--namespace=dr-exporter", "--set", unknown]);
            command
        });
        if sharded {
            let file = directory.path().join("made.yaml");
            std::fs::write(&file, made).expect("written");
            let mut apply = Command::new(kubectl().expect("a kubectl"));
            apply.env("KUBECONFIG", &kubeconfig).args(["apply", "--server-side", "--force-conflicts", "--filename"]);
            output({
                apply.arg(&file);
                apply
            });
        }
        let (plural, name, replicas) = match values {
            "ha" => ("deployments", "dr-exporter", 3),
            "sharded" => ("statefulsets", "dr-exporter", 2),
            "sharded-ha" => ("statefulsets", "dr-exporter-b", 2),
            _ => ("deployments", "dr-exporter", 1),
        };
        let path = format!("/apis/apps/v1/namespaces/dr-exporter/{plural}/{name}");
        let (status, workload) = cluster.request("GET", &path, None).await.expect("an answer");
        assert_eq!((status, &workload["spec"]["replicas"]), (200, &json!(replicas)), "{values}: {workload}");
    }
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/argocd/roles/dr-exporter.dr-exporter";
    let (status, role) = cluster.request("GET", path, None).await.expect("an answer");
    assert_eq!((status, &role["rules"][0]["resourceNames"]), (200, &json!(["kgents-saas"])), "{role}");
}
