//! What a check of each kind costs: the figures of `docs/scaling.md`.
//!
//! `cargo run --example costs -- PROGRAM [KIND...]` runs the exporter PROGRAM, such as
//! `target/release/dr-exporter`, on many checks of one kind against servers on this machine. It
//! prints CPU time and memory of the exporter per check, its series per check, and for `events` the
//! bytes that are stored for a recovery. Only the exporter's own process is measured.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use dr_testkit::dns::Dns;
use dr_testkit::exporter::{Config, client};
use dr_testkit::kube::{Cluster, Flavour, User, base64};
use dr_testkit::nats::{MIRROR, ORIGIN, Pair};
use dr_testkit::process::Process;
use dr_testkit::prometheus::{Prometheus, Toy};
use dr_testkit::publisher::Publisher;
use dr_testkit::service::Service;
use dr_testkit::{free_ports, wait_until};

const KINDS: [&str; 8] = ["http", "dns", "nats_mirror", "external_secret", "argocd_app", "pods", "promql", "events"];
/// The interval of the checks, how long they warm up, and how long they are measured.
const INTERVAL: Duration = Duration::from_secs(10);
const WARM: Duration = Duration::from_secs(25);
const MEASURED: Duration = Duration::from_secs(60);
const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const SPACE: &str = "saas";

/// The exporter's program on a configuration.
struct Exporter {
    process: Process,
    address: SocketAddr,
    config: Config,
}

/// Its figures at one moment.
#[derive(Clone, Copy)]
struct Figures {
    cpu: f64,
    resident: f64,
    runs: f64,
    healthy: f64,
    series: usize,
    bytes: usize,
}

impl Exporter {
    async fn start(program: &Path, config: Config) -> Self {
        let [address] = free_ports::<1>([127, 0, 0, 1].into());
        let process = Process::start(program, |command| {
            command.current_dir(config.directory()).stdout(Stdio::null()).stderr(Stdio::null());
            command.args(["serve", "--config.file=config.yaml", &format!("--web.listen-address={address}")]);
        });
        let exporter = Self { process, address, config };
        wait_until("it is ready", Duration::from_secs(120), async || {
            let answer = client().get(format!("http://{address}/-/ready")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        exporter
    }

    async fn figures(&self) -> Figures {
        let answer = client().get(format!("http://{}/metrics", self.address)).send().await.expect("a scrape");
        let text = answer.text().await.expect("a text");
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0);
        let sum = |name: &str| lines().filter(|line| line.starts_with(name)).map(value).sum();
        Figures {
            cpu: sum("process_cpu_seconds_total"),
            resident: sum("process_resident_memory_bytes"),
            runs: sum("dr_check_runs_total{"),
            healthy: lines().filter(|line| line.contains("outcome=\"healthy\"")).map(value).sum(),
            series: lines().filter(|line| line.contains("contract=\"")).count(),
            bytes: text.len(),
        }
    }
}

/// `count` contracts with one check each.
fn contracts(count: usize, targets: &str, check: impl Fn(usize) -> String) -> String {
    let mut text = format!("defaults: {{ interval: {INTERVAL:?} }}\ncontracts:\n");
    for index in 0..count {
        let _ = write!(
            text,
            "  - name: c{index}\n    component: Component {index}\n    owner: ops\n    priority: P1\n    {targets}\n    \
             checks:\n      - name: check\n        {}\n",
            check(index)
        );
    }
    text
}

/// Runs one check, and then `count` of them, and prints the difference.
async fn measured(program: &Path, kind: &str, count: usize, config: impl Fn(usize) -> Config) {
    let alone = Exporter::start(program, config(1)).await;
    tokio::time::sleep(WARM / 2).await;
    let alone = alone.figures().await;
    let many = Exporter::start(program, config(count)).await;
    tokio::time::sleep(WARM).await;
    let before = many.figures().await;
    tokio::time::sleep(MEASURED).await;
    let after = many.figures().await;
    let runs = after.runs - before.runs;
    let cpu = (after.cpu - before.cpu) / runs;
    let memory = (after.resident - alone.resident) / (count - 1) as f64;
    println!(
        "{kind}: {count} checks every {INTERVAL:?}: {:.0} runs, {:.0} % healthy; CPU {:.3} ms per run; memory {:.1} MiB \
         in all, {:.1} KiB per check; {:.1} series and {:.1} KB of scrape per check",
        runs,
        100.0 * (after.healthy - before.healthy) / runs,
        1000.0 * cpu,
        after.resident / 1048576.0,
        memory / 1024.0,
        after.series as f64 / count as f64,
        after.bytes as f64 / count as f64 / 1000.0,
    );
    drop(many);
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(program) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: costs PROGRAM [KIND...]");
        std::process::exit(64);
    };
    let program = program.canonicalize().expect("the program exists");
    let asked: Vec<String> = arguments.collect();
    for kind in KINDS.into_iter().filter(|kind| asked.is_empty() || asked.iter().any(|asked| asked == kind)) {
        one(&program, kind).await;
    }
}

async fn one(program: &Path, kind: &str) {
    match kind {
        "http" => {
            let service = Service::start().await;
            let check = |_| format!("http: {{ url: \"http://{}/\" }}", service.address);
            measured(program, kind, 1000, |count| Config::new(&contracts(count, "rto: 5m", check))).await;
        }
        "dns" => {
            let dns = Dns::start("api A 192.0.2.10 30").await;
            let check = |_| {
                format!(
                    "dns: {{ name: api.example.com, resolvers: [\"{}\"], regions: {{ primary: [192.0.2.0/24] }} }}",
                    dns.udp()
                )
            };
            measured(program, kind, 1000, |count| Config::new(&contracts(count, "rto: 5m", check))).await;
        }
        "nats_mirror" => nats(program).await,
        "external_secret" | "argocd_app" | "pods" => kubernetes(program, kind).await,
        "promql" => {
            let toy = Toy::start("toy 1\n").await;
            let prometheus = Prometheus::start(&[toy.address]).await;
            prometheus.has("toy").await;
            let head = format!("prometheus: {{ main: {{ url: \"{}\" }} }}\n", prometheus.url());
            let check = |_| "promql: { prometheus: main, query: sum(toy), healthy_when: { above: 0 } }".to_owned();
            measured(program, kind, 500, |count| Config::new(&(head.clone() + &contracts(count, "rto: 5m", check))))
                .await;
        }
        _ => events(program).await,
    }
}

async fn nats(program: &Path) {
    let pair = Pair::start().await;
    let _publisher = Publisher::start(&pair.origin, 10);
    wait_until("the mirror follows", Duration::from_secs(30), async || {
        pair.mirror.last_seq(MIRROR).await.filter(|last| *last > 0)
    })
    .await;
    let connection = |address| format!("{{ servers: [\"nats://{address}\"], user: app, password_file: app }}");
    let head =
        format!("nats:\n  primary: {}\n  dr: {}\n", connection(pair.primary.address), connection(pair.dr.address));
    let check = |_| {
        format!(
            "nats_mirror: {{ origin: {{ nats: primary, stream: {ORIGIN} }}, mirror: {{ nats: dr, stream: {MIRROR} }} }}"
        )
    };
    let config =
        |count| Config::new(&(head.clone() + &contracts(count, "rto: 15m\n    rpo: 5m", check))).with("app", "app\n");
    measured(program, "nats_mirror", 500, config).await;
}

/// A second ago, as Kubernetes writes times.
fn now() -> String {
    let now = jiff::Timestamp::try_from(SystemTime::now() - Duration::from_secs(1)).expect("a time");
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn kubernetes(program: &Path, kind: &str) {
    let (primary, dr) = (Cluster::start(Flavour::Fake).await, Cluster::start(Flavour::Fake).await);
    let users = [primary.user(), dr.user()];
    let count = if kind == "pods" { 200 } else { 500 };
    for (cluster, user) in [(&primary, &users[0]), (&dr, &users[1])] {
        fill(cluster, user, kind, count).await;
    }
    let head = "kubernetes:\n  primary: { kubeconfig_file: primary }\n  dr: { kubeconfig_file: dr }\n".to_owned();
    let check = |index| match kind {
        "external_secret" => {
            format!("external_secret: {{ primary: primary, dr: dr, namespace: {SPACE}, name: x{index} }}")
        }
        "argocd_app" => format!("argocd_app: {{ kubernetes: dr, namespace: {SPACE}, name: x{index} }}"),
        _ => format!("pods: {{ kubernetes: dr, namespace: {SPACE}, selector: app=x{index} }}"),
    };
    let targets = if kind == "pods" { "rto: 15m" } else { "rto: 15m\n    rpo: 1h" };
    let config = |count| {
        let config = Config::new(&(head.clone() + &contracts(count, targets, check)));
        config.with("primary", &primary.kubeconfig_of(&users[0])).with("dr", &dr.kubeconfig_of(&users[1]))
    };
    measured(program, kind, count, config).await;
}

async fn fill(cluster: &Cluster, user: &User, kind: &str, count: usize) {
    cluster.make_namespace(SPACE).await;
    let all = ["get", "list"];
    let rule = |group: &str, resource: &str| json!({"apiGroups": [group], "resources": [resource], "verbs": all});
    let rules = json!([
        rule("external-secrets.io", "externalsecrets"),
        rule("argoproj.io", "applications"),
        rule("", "pods"),
        rule("", "secrets"),
    ]);
    cluster.grant(SPACE, user, rules).await;
    for index in 0..count {
        let name = format!("x{index}");
        let metadata = json!({"namespace": SPACE, "name": name});
        match kind {
            "external_secret" => {
                let mut marked = metadata.clone();
                marked["annotations"] = json!({"reconcile.external-secrets.io/data-hash": name});
                let data = json!({"password": base64(name.as_bytes())});
                let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": marked, "data": data});
                cluster.apply_as(&format!("externalsecrets.external-secrets.io/{name}"), secret).await;
                let mut object = json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
                    "metadata": metadata, "spec": {"refreshInterval": "1h"}});
                let generation = cluster.apply(object.clone()).await["metadata"]["generation"].as_i64().unwrap_or(1);
                object["status"] = json!({
                    "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "any"}],
                    "refreshTime": now(), "syncedResourceVersion": format!("{generation}-{name}"),
                });
                cluster.apply(object).await;
            }
            "argocd_app" => drop(cluster.apply(application(&metadata)).await),
            _ => {
                let mut labelled = metadata.clone();
                labelled["labels"] = json!({"app": name});
                let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
                let spec = json!({"containers": [{"name": "main", "image": "x"}]});
                let pod =
                    json!({"apiVersion": "v1", "kind": "Pod", "metadata": labelled, "spec": spec, "status": status});
                cluster.apply(pod).await;
            }
        }
    }
}

fn application(metadata: &Value) -> Value {
    let source = json!({"repoURL": "https://git.example.com/saas", "targetRevision": "main"});
    let status = json!({
        "sync": {"status": "Synced", "revision": REVISION, "comparedTo": {"source": source, "destination": {"name": "dr"}}},
        "health": {"status": "Healthy"}, "reconciledAt": now(),
        "operationState": {"phase": "Succeeded", "finishedAt": now()},
        "history": [{"id": 1, "revision": REVISION, "deployedAt": now()}],
        "resources": [{"kind": "Role", "status": "Synced"}],
    });
    let spec = json!({"source": source, "destination": {"name": "dr"}, "syncPolicy": {"automated": {}}});
    json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": metadata, "spec": spec, "status": status})
}

/// Outages and recoveries of 100 contracts, and what is on the disk afterwards.
async fn events(program: &Path) {
    const CONTRACTS: usize = 100;
    const CYCLES: usize = 10;
    let service = Service::start().await;
    let mut yaml = Service::defaults("200ms");
    (0..CONTRACTS).for_each(|index| yaml.push_str(&service.contract(&format!("contract-{index}"), "5m")));
    let mut exporter = Exporter::start(program, Config::new(&yaml)).await;
    let in_progress = async |exporter: &Exporter, wanted: f64| {
        wait_until("all clocks run, or none", Duration::from_secs(60), async || {
            let text =
                client().get(format!("http://{}/metrics", exporter.address)).send().await.ok()?.text().await.ok()?;
            let running = text.lines().filter(|line| line.starts_with("dr_recovery_in_progress{"));
            let running: f64 = running.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
            (running == wanted).then_some(())
        })
        .await;
    };
    for _ in 0..CYCLES {
        service.well(false);
        in_progress(&exporter, CONTRACTS as f64).await;
        service.well(true);
        in_progress(&exporter, 0.0).await;
    }
    exporter.process.signal("TERM");
    exporter.process.wait(Duration::from_secs(30)).expect("it ends");
    let file = exporter.config.path("data/dr-exporter.db");
    let database = rusqlite::Connection::open(&file).expect("a database");
    let size = std::fs::metadata(&file).expect("a file").len();
    println!("events: {CYCLES} outages of {CONTRACTS} contracts, {} KB on the disk", size / 1000);
    for table in ["recoveries", "transitions", "record", "contracts", "checks"] {
        let number = |query: String| database.query_row(&query, [], |row| row.get::<_, i64>(0));
        let rows = number(format!("SELECT count(*) FROM {table}")).expect("a number");
        let indexes = format!("SELECT name FROM sqlite_master WHERE tbl_name = '{table}'");
        let bytes = number(format!("SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name IN ({indexes})"));
        match bytes {
            Ok(bytes) => println!("events: {table}: {rows} rows, {} bytes each with indexes", bytes / rows.max(1)),
            Err(error) => println!("events: {table}: {rows} rows; {error}"),
        }
    }
}
