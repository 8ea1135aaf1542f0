//! Several replicas that share their storage in a real NATS cluster of three.

mod fencing;
mod limits;
mod loss;
mod orders;
mod region;
mod restored;
mod skew;
mod stores;
mod takeover;
mod torture;
mod urls;

use std::sync::Arc;
use std::time::Duration;

use dr_testkit::cluster::Cluster;
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::nats::{self, Api, Server};
use dr_testkit::proxy::Proxy;
use dr_testkit::service::Service;
use dr_testkit::wait_until;
use reqwest::Method;
use serde_json::{Value, json};

const SOON: Duration = dr_testkit::PATIENCE;
const USER: &str = "alice";
const PASSWORD: &str = "correct horse";
/// How long a leader must be silent here.
const TAKEOVER: &str = "3s";

const PLANS: &str = "
incidents:
  - name: region_outage
    declared_by: [oncall, cto]
    action: execute_dr_runbook
    starts_clocks: [api]
    checklist: [confirm, notify, fail_over]
drills:
  - { name: review, every: quarterly }
";

/// One replica, and its ways to the servers of the storage.
struct Replica {
    exporter: Exporter,
    ways: Vec<Proxy>,
}

impl Replica {
    /// Cuts it off from the storage.
    async fn cut(&mut self) {
        for way in &mut self.ways {
            way.cut().await;
        }
    }

    /// Joins it with the storage again.
    async fn heal(&mut self) {
        for way in &mut self.ways {
            way.heal().await;
        }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = client().get(self.exporter.url(&format!("/api/v1/{path}"))).basic_auth(USER, Some(PASSWORD));
        answer.send().await.expect("an answer").json().await.expect("JSON")
    }

    /// The recoveries that this replica knows of, the newest first.
    async fn recoveries(&self) -> Vec<Value> {
        self.get("recoveries?limit=10000").await["recoveries"].as_array().cloned().unwrap_or_default()
    }

    /// The whole record as this replica knows it, page by page: the facts in their order.
    async fn record(&self) -> Vec<Value> {
        let mut facts = Vec::new();
        let mut after = 0;
        loop {
            let answer = self.get(&format!("record?limit=1000&after={after}")).await;
            let entries = answer["entries"].as_array().cloned().unwrap_or_default();
            let Some(last) = entries.last() else { return facts };
            after = last["seq"].as_i64().expect("a number");
            let fact = |entry: &Value| serde_json::from_str(entry["body"].as_str().expect("a body")).expect("a fact");
            facts.extend(entries.iter().map(fact));
        }
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = client().request(Method::POST, self.exporter.url(&format!("/api/v1/{path}"))).json(body);
        let request = request.basic_auth(USER, Some(PASSWORD)).timeout(SOON);
        let answer = request.send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn scraped(&self, name: &str) -> Option<f64> {
        let request = client().get(self.exporter.url("/metrics")).basic_auth(USER, Some(PASSWORD));
        let text = request.send().await.ok()?.text().await.ok()?;
        dr_testkit::scrape::Scrape::parse(&text).get(name, &[])
    }

    async fn leads(&self) -> bool {
        self.scraped("dr_exporter_leader").await == Some(1.0)
    }
}

/// Three servers, three replicas, and the API that they watch.
struct Rig {
    replicas: Vec<Replica>,
    servers: Vec<Server>,
    api: Api,
    service: Arc<Service>,
}

impl Rig {
    /// Starts three replicas, one of which leads.
    async fn start(interval: &str) -> Self {
        let rig = Self::start_servers(interval).await;
        rig.until("all know the leader, and see the API healthy", async |rig| {
            for replica in &rig.replicas {
                let status = replica.get("status").await;
                if status["storage"]["replica"]["leader"].is_null()
                    || status["contracts"][0]["checks"][0]["last_run"]["outcome"] != json!("healthy")
                {
                    return false;
                }
            }
            true
        })
        .await;
        rig
    }

    async fn start_servers(interval: &str) -> Self {
        let mut cluster = Cluster::new(&nats::current(), "shared", |leaf| format!("listen: \"{leaf}\""));
        cluster.run();
        let api = Api::of(&cluster.servers).await;
        wait_until("the cluster has a leader", SOON, async || api.call("INFO", Value::Null).await.ok()).await;
        let service = Arc::new(Service::start().await);
        let mut rig = Self { replicas: Vec::new(), servers: cluster.servers, api, service };
        for name in ["r1", "r2", "r3"] {
            let replica = rig.replica(name, interval).await;
            rig.replicas.push(replica);
        }
        rig
    }

    /// Starts a further replica.
    async fn replica(&self, name: &str, interval: &str) -> Replica {
        let mut ways = Vec::new();
        for server in &self.servers {
            ways.push(Proxy::to(server.address).await);
        }
        let addresses: Vec<_> = ways.iter().map(|way| format!("\"nats://{}\"", way.address())).collect();
        let contract = self.service.contract("api", "3s").replace("failures_to_trigger: 3", "failures_to_trigger: 2");
        let yaml = format!(
            "nats: {{ shared: {{ servers: [{}], user: app, password_file: nats-password }} }}\n{}{contract}{PLANS}",
            addresses.join(", "),
            Service::defaults(interval),
        );
        let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
        let config = Config::new(&yaml)
            .with("web.yaml", &format!("basic_auth_users:\n  {USER}: {hash}\n"))
            .with("nats-password", "app")
            .flag("--web.config.file=web.yaml")
            .flag("--web.enable-admin-api")
            .flag("--storage.backend=jetstream")
            .flag("--storage.nats=shared")
            .flag(&format!("--storage.takeover-after={TAKEOVER}"))
            .flag(&format!("--storage.replica={name}"));
        Replica { exporter: Exporter::start_in(config).await, ways }
    }

    async fn until(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        wait_until(what, SOON, async || condition(self).await.then_some(())).await;
    }

    /// Waits until exactly one of these replicas leads, and returns which.
    async fn leader_of(&self, among: &[usize]) -> usize {
        wait_until("one replica leads", SOON, async || {
            let mut leads = Vec::new();
            for index in among {
                if self.replicas[*index].leads().await {
                    leads.push(*index);
                }
            }
            (leads.len() == 1).then(|| leads[0])
        })
        .await
    }

    async fn leader(&self) -> usize {
        self.leader_of(&[0, 1, 2]).await
    }

    /// The others of the three.
    fn others(&self, than: usize) -> Vec<usize> {
        (0..3).filter(|index| *index != than).collect()
    }

    /// What `report verify` says of the whole record, read from the stream.
    fn verify(&self, replica: usize) -> String {
        let directory = self.replicas[replica].exporter.config().directory();
        command(directory, &["report", "verify"])
    }
}

/// Runs a command that reads the shared storage.
fn command(directory: &std::path::Path, words: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    command.current_dir(directory).args(words);
    command.args(["--storage.backend=jetstream", "--storage.nats=shared", "--config.file=config.yaml"]);
    let output = command.output().expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {told}");
    String::from_utf8(output.stdout).expect("text")
}

/// Whether the clock of the API runs on this replica, and since when.
async fn trigger(replica: &Replica) -> Option<String> {
    let status = replica.get("status").await;
    status["contracts"][0]["outage"]["trigger"].as_str().map(str::to_owned)
}

/// Seconds since the epoch.
fn seconds(time: &Value) -> f64 {
    let time: jiff::Timestamp = time.as_str().expect("a time").parse().expect("a time");
    time.as_nanosecond() as f64 / 1e9
}
