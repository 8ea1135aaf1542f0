//! What the chart must not get wrong whatever the values are: open ports, kept proofs, honest notes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use dr_testkit::kube::{Cluster, Flavour, assets};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::deploy::{documents, of_kind, read, root, yaml};
use super::helm::{CHART, KGENTS, command, helm, output};

/// A configuration beside the chart's values, in a file of its own.
struct Values(tempfile::TempDir);

impl Values {
    fn new(values: &Value) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("values.json"), values.to_string()).expect("written");
        Self(directory)
    }

    fn command(&self, helm: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(helm);
        command.args(arguments).arg(root().join(CHART)).arg("--values").arg(self.0.path().join("values.json"));
        command
    }

    fn templated(&self, helm: &Path) -> Vec<Value> {
        documents(&output(self.command(helm, &["template", "dr-exporter", "--namespace", "dr-exporter"])))
    }

    /// What helm says after an installation.
    fn notes(&self, helm: &Path) -> String {
        let said = output(self.command(helm, &["install", "dr-exporter", "--dry-run=client"]));
        said.split_once("\nNOTES:\n").expect("notes").1.to_owned()
    }
}

/// A whole configuration of one check, and the sections that it refers to.
fn one_check(check: &str, sections: &str) -> Value {
    let text = format!(
        "{sections}\ncontracts: [{{ name: a, component: A, owner: o, priority: P3, rto: 1h, checks: [{{ name: a, {check} }}] }}]"
    );
    if let Err(errors) = dr_exporter::config::parse(&text, Path::new("config.yaml")) {
        panic!("{text}: {errors}");
    }
    json!(text)
}

/// The ports that the chart lets out for a configuration, as PROTOCOL/PORT, without those of DNS.
fn opened(helm: &Path, config: &Value) -> BTreeSet<String> {
    let made = Values::new(&json!({"config": config})).templated(helm);
    let policy = of_kind(&made, "NetworkPolicy")[0];
    let ports = policy["spec"]["egress"][0]["ports"].as_array().expect("ports");
    let mut open = BTreeSet::new();
    for port in ports {
        let port = format!("{}/{}", port["protocol"].as_str().expect("a protocol"), port["port"]);
        assert!(open.insert(port.clone()), "{port} is there twice");
    }
    assert!(open.remove("UDP/53") && open.remove("TCP/53"), "{open:?}");
    open
}

/// The policy lets out what the program connects to, with the program's own default ports.
#[test]
fn every_kind_of_connection_finds_its_port_open() {
    let Some(helm) = helm() else { return };
    let nats = |servers: &str| {
        let check = "nats_mirror: { origin: { nats: n, stream: A }, mirror: { nats: n, stream: B } }";
        one_check(check, &format!("nats: {{ n: {{ servers: {servers} }} }}"))
    };
    let http = |keys: &str| one_check(&format!("http: {{ {keys} }}"), "");
    let dns = |resolvers: &str| {
        let regions = "regions: { dr: [192.0.2.1] }";
        one_check(&format!("dns: {{ name: a.example, resolvers: {resolvers}, {regions} }}"), "")
    };
    let promql = |url: &str| {
        let section = format!("prometheus: {{ p: {{ url: \"{url}\" }} }}");
        one_check("promql: { prometheus: p, query: up, healthy_when: { above: 0 } }", &section)
    };
    let pods = |connection: &str| {
        let section = format!("kubernetes: {{ k: {{ {connection} }} }}");
        one_check("pods: { kubernetes: k, namespace: apps, selector: app=web }", &section)
    };
    let cases: &[(Value, &[&str])] = &[
        // Under `nats`, tls:// is NATS over TLS and not DNS over TLS.
        (nats(r#"["tls://nats.rg1.example.com"]"#), &["TCP/4222"]),
        (nats(r#"["nats://nats.rg1.example.com", "tls://[2001:db8::1]:4333"]"#), &["TCP/4222", "TCP/4333"]),
        (promql("http://prometheus.example"), &["TCP/80"]),
        (promql("https://prometheus.example/thanos"), &["TCP/443"]),
        (promql("http://prometheus.monitoring:9090/"), &["TCP/9090"]),
        (http("url: 'https://api.example/health?to=http://other.example:81/'"), &["TCP/443"]),
        (one_check("http: { url: 'http://[2001:db8::1]/health' }", "# not http://api.example:82"), &["TCP/80"]),
        (http("url: 'HTTPS://api.example:8443/health'"), &["TCP/8443"]),
        (http("url: 'https://api.example/health', connect_to: '203.0.113.10'"), &["TCP/443"]),
        (http("url: 'https://api.example/health', connect_to: '[2001:db8::1]:8443'"), &["TCP/8443"]),
        (http("url: 'https://api.example:444/health', connect_to: '2001:db8::1'"), &["TCP/444"]),
        // The API server of this cluster, without a section for it: most plug-ins see the port of its pod.
        (http("url: 'https://kubernetes.default.svc/readyz'"), &["TCP/443", "TCP/6443"]),
        (http("url: 'https://kubernetes.default.svc.cluster.local:443/readyz'"), &["TCP/443", "TCP/6443"]),
        (http("url: 'https://api.example/health', connect_to: 'gateway:8443'"), &["TCP/8443"]),
        (http("url: 'https://api.example/', connect_to: kubernetes.default.svc"), &["TCP/443", "TCP/6443"]),
        (http("url: 'https://kubernetes.example.com/'"), &["TCP/443"]),
        (dns("[192.0.2.53, '2001:db8::53']"), &[]),
        (dns("['192.0.2.53:5353', '[2001:db8::53]:5354']"), &["TCP/5353", "TCP/5354", "UDP/5353", "UDP/5354"]),
        (dns("['tcp://192.0.2.53', 'tcp://192.0.2.53:5300']"), &["TCP/5300"]),
        (dns("['tls://192.0.2.53', 'tls://2001:db8::53#dns.example']"), &["TCP/853"]),
        (dns("['tls://192.0.2.53:8853#dns.example']"), &["TCP/8853"]),
        (pods("in_cluster: true"), &["TCP/443", "TCP/6443"]),
        (pods("kubeconfig_file: kubeconfig"), &["TCP/443", "TCP/6443"]),
        (
            one_check(
                "grafana_dashboards: { url: 'http://grafana:3000', primary: { url: 'https://grafana.rg1' } }",
                "",
            ),
            &["TCP/3000", "TCP/443"],
        ),
        (
            one_check(
                "argocd_app: { api: { url: 'https://argocd:8444/x', token_file: t }, namespace: argocd, name: a }",
                "",
            ),
            &["TCP/8444"],
        ),
    ];
    for (config, expected) in cases {
        let expected: BTreeSet<String> = expected.iter().map(|port| (*port).to_owned()).collect();
        assert_eq!(opened(&helm, config), expected, "{config}");
    }
    // The configuration that the manifests begin with.
    let open = opened(&helm, &yaml(&read("deploy/kubernetes/base/config.yaml")));
    assert_eq!(open, BTreeSet::from(["TCP/443".to_owned(), "TCP/6443".to_owned()]));
}

/// An API server takes an empty `from` as "from everywhere".
#[test]
fn who_names_nobody_lets_nobody_scrape() {
    let Some(helm) = helm() else { return };
    for from in [json!([]), Value::Null] {
        let mut values = yaml(&read(&format!("{CHART}/ci/own.yaml")));
        values["networkPolicy"] = json!({"from": from});
        let values = Values::new(&values);
        let policy = of_kind(&values.templated(&helm), "NetworkPolicy")[0].clone();
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(policy["spec"]["ingress"].as_array().is_none_or(Vec::is_empty), "{policy}");
        let notes = values.notes(&helm);
        assert!(notes.contains("Nobody may scrape it"), "{notes}");
    }
    let mut command = command(&helm, &["template", "dr-exporter"], "sharded", Some(KGENTS));
    command.args(["--set-json", "networkPolicy.from=[]"]);
    let sharded = documents(&output(command));
    let ingress = &of_kind(&sharded, "NetworkPolicy")[0]["spec"]["ingress"];
    assert_eq!(ingress.as_array().map(Vec::len), Some(1), "the shards: {ingress}");
    assert!(ingress[0]["from"][0]["podSelector"].is_object(), "{ingress}");
}

#[test]
fn the_notes_say_what_will_not_work() {
    let Some(helm) = helm() else { return };
    let own = yaml(&read(&format!("{CHART}/ci/own.yaml")));
    let notes = |more: Value| {
        let mut values = own.clone();
        values.as_object_mut().expect("values").extend(more.as_object().expect("values").clone());
        Values::new(&values).notes(&helm)
    };
    let complete = json!({
        "image": {"repository": "registry.example.com/dr-exporter"},
        "prometheusRule": {"enabled": true, "runbookUrl": "https://a.example", "grafanaUrl": "https://b.example"},
    });
    assert!(!notes(complete).contains("WARNING"));

    let rules = notes(json!({"prometheusRule": {"enabled": true}}));
    assert!(rules.contains("`prometheusRule.runbookUrl`") && rules.contains("`prometheusRule.grafanaUrl`"), "{rules}");
    let rules = notes(json!({"prometheusRule": {"enabled": true, "runbookUrl": "https://a.example"}}));
    assert!(!rules.contains("`prometheusRule.runbookUrl`") && rules.contains("`prometheusRule.grafanaUrl`"), "{rules}");
    let boards = notes(json!({"dashboards": {"enabled": true}}));
    assert!(boards.contains("`prometheusRule.runbookUrl`") && !boards.contains("grafanaUrl"), "{boards}");
    assert!(!notes(json!({})).contains("`prometheusRule"), "who has no alerts needs no address");

    assert!(notes(json!({})).contains("`image.repository`"));
    assert!(!notes(json!({"image": {"repository": "ops/dr-exporter"}})).contains("`image.repository`"));

    // Names of files, as people and programs write them.
    for (file, warns) in [("dr.creds", true), ("/etc/dr.creds", false)] {
        for text in [
            r#"{"nats":{"dr":{"servers":["nats://a"],"credentials_file":"FILE"}},"contracts":[]}"#,
            "nats: { dr: { servers: ['nats://a'], 'credentials_file' : 'FILE' } }\ncontracts: []",
            "nats:\n  dr:\n    servers: ['nats://a']\n    credentials_file: \"FILE\"\ncontracts: []",
            "nats:\n  dr:\n    servers: ['nats://a']\n    credentials_file:\n      FILE\ncontracts: []",
        ] {
            let notes = notes(json!({"config": text.replace("FILE", file)}));
            assert_eq!(notes.contains("`existingSecrets` is empty"), warns, "{text}: {notes}");
        }
    }
    let commented = notes(json!({"config": "contracts: [] # credentials_file: dr.creds"}));
    assert!(!commented.contains("existingSecrets"), "{commented}");
}

/// A key twice is refused by some readers, and others take either.
#[test]
fn what_the_chart_sets_can_be_set_otherwise() {
    let Some(helm) = helm() else { return };
    let mut command = command(&helm, &["template", "dr-exporter"], "full", Some(KGENTS));
    command.args(["--set", "serviceMonitor.endpoint.interval=30s,scheme=HTTPS,serviceMonitor.endpoint.scheme=http"]);
    for labels in ["serviceMonitor", "prometheusRule", "dashboards"] {
        command.args(["--set", &format!(r"{labels}.labels.app\.kubernetes\.io/name=mine")]);
    }
    // The parser takes no key twice.
    let made = documents(&output(command));
    let monitor = of_kind(&made, "ServiceMonitor")[0];
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!((&endpoint["interval"], &endpoint["scheme"]), (&json!("30s"), &json!("http")), "{endpoint}");
    assert_eq!(endpoint["port"], "metrics");
    let boards = of_kind(&made, "ConfigMap");
    let board = boards.iter().find(|map| !map["metadata"]["labels"]["grafana_dashboard"].is_null()).expect("a board");
    for object in [monitor, of_kind(&made, "PrometheusRule")[0], board] {
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/name"], "mine", "{labels}");
        assert_eq!(labels["app.kubernetes.io/instance"], "dr-exporter", "{labels}");
    }
    // Those that find the pods are not for others.
    for label in [r"app\.kubernetes\.io/name", r"app\.kubernetes\.io/instance", "dr-exporter/set"] {
        let mut command = super::helm::command(&helm, &["template", "dr-exporter"], "own", None);
        let refused = command.args(["--set", &format!("podLabels.{label}=mine")]).output().expect("helm runs");
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("podLabels must not have"), "{label}: {said}");
    }
    let mut command = super::helm::command(&helm, &["template", "dr-exporter"], "own", None);
    command.args(["--set", "podLabels.team=ops"]);
    let made = documents(&output(command));
    assert_eq!(of_kind(&made, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]["team"], "ops");
}

/// In a namespace that two of them read, the second one must not meet the Role of the first.
#[test]
fn two_releases_of_one_name_have_roles_of_their_own() {
    let Some(helm) = helm() else { return };
    let roles = |namespace: &str| {
        let made = output(command(&helm, &["template", "dr-exporter", "--namespace", namespace], "full", Some(KGENTS)));
        let made = documents(&made);
        let place = |object: &Value| {
            let name = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).expect("a text").to_owned();
            (name("/metadata/namespace"), name("/metadata/name"))
        };
        for binding in of_kind(&made, "RoleBinding") {
            assert_eq!(binding["roleRef"]["name"], binding["metadata"]["name"]);
        }
        of_kind(&made, "Role").into_iter().map(place).collect::<BTreeSet<_>>()
    };
    let (first, second) = (roles("first"), roles("second"));
    assert!(!first.is_empty() && first.is_disjoint(&second), "{first:?} {second:?}");
}

/// A real API server with the namespaces of the example, and an administrator's kubeconfig in a directory.
pub(crate) async fn to_install_into() -> (Cluster, TempDir, PathBuf) {
    let cluster = Cluster::start(Flavour::Real).await;
    for namespace in ["kgents-triad", "kgents-agents", "argocd"] {
        cluster.make_namespace(namespace).await;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig = directory.path().join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig_of(&cluster.admin())).expect("written");
    (cluster, directory, kubeconfig)
}

/// Helm deletes what it no longer renders, except for what says to be kept.
#[tokio::test(flavor = "multi_thread")]
async fn the_proofs_outlive_the_release() {
    let Some(helm) = helm() else { return };
    let made = documents(&output(command(&helm, &["template", "dr-exporter"], "own", None)));
    let claim = of_kind(&made, "PersistentVolumeClaim")[0];
    assert_eq!(claim["metadata"]["annotations"]["helm.sh/resource-policy"], "keep", "{claim}");
    if assets().is_none() {
        return dr_testkit::skip(dr_testkit::kube::NO_ASSETS);
    }
    let (cluster, directory, kubeconfig) = to_install_into().await;
    let run = |mut command: Command| {
        command.args(["--namespace=dr-exporter"]);
        output({
            command.env("KUBECONFIG", &kubeconfig).env("HELM_CACHE_HOME", directory.path());
            command
        })
    };
    let install = |values: &str, config: Option<&str>| {
        let arguments = ["upgrade", "--install", "dr-exporter", "--create-namespace"];
        let mut command = command(&helm, &arguments, values, config);
        command.args(["--set", "podDisruptionBudget.enabled=false"]);
        run(command);
    };
    let uid = async || {
        let path = "/api/v1/namespaces/dr-exporter/persistentvolumeclaims/dr-exporter";
        let (status, claim) = cluster.request("GET", path, None).await.expect("an answer");
        assert_eq!((status, &claim["metadata"]["deletionTimestamp"]), (200, &Value::Null), "{claim}");
        claim["metadata"]["uid"].clone()
    };
    install("own", None);
    let first = uid().await;
    // The storage that needs no claim, as docs/scaling.md describes it.
    install("ha", Some(KGENTS));
    assert_eq!(uid().await, first);
    install("own", None);
    assert_eq!(uid().await, first, "it is taken over again");
    let mut uninstall = Command::new(&helm);
    uninstall.args(["uninstall", "dr-exporter"]);
    run(uninstall);
    assert_eq!(uid().await, first);
    install("own", None);
    assert_eq!(uid().await, first, "a new release of the same name takes it over");
}
