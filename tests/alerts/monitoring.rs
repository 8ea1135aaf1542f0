//! Prometheus and Alertmanager with what we ship, sixty times as fast, and a receiver of pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use axum::extract::State;
use axum::http::Uri;
use axum::{Json, Router};
use regex::{Captures, Regex};
use serde_json::Value;
use tokio::net::TcpListener;

use dr_testkit::exporter::{Config, client};
use dr_testkit::process::Process;
use dr_testkit::prometheus::{Prometheus, unix};
use dr_testkit::{free_ports, own_ip, tool, wait_until};

/// How often Prometheus scrapes, and how often it looks at the rules.
pub const SCRAPE: Duration = Duration::from_millis(500);
/// What a busy machine adds to a limit.
pub const BUSY: Duration = Duration::from_secs(6);

/// A file of the repository.
pub fn shipped(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same rules or routes with time running sixty times as fast: every duration is divided by 60, and nothing else is
/// changed. Minutes become seconds, hours become minutes.
pub fn faster(yaml: &str) -> String {
    // After a colon (`for: 5m`, `[7d:5m]`), in brackets, and after `offset`: numbers in texts are left alone.
    let durations = Regex::new(r"(\[|:|: |offset )(\d+)([smhd])\b").expect("a pattern");
    let faster = durations.replace_all(yaml, |found: &Captures<'_>| {
        let number: u64 = found[2].parse().expect("digits");
        let duration = match &found[3] {
            "s" => format!("{}ms", number * 1000 / 60),
            "m" => format!("{number}s"),
            "h" => format!("{number}m"),
            _ => format!("{}m", number * 24),
        };
        format!("{}{duration}", &found[1])
    });
    faster.into_owned()
}

/// One alert in one message to a receiver.
#[derive(Debug, Clone)]
pub struct Told {
    pub receiver: String,
    pub at: SystemTime,
    pub firing: bool,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// What tells one firing of an alert from the next.
    pub starts: String,
}

impl Told {
    /// How long after this moment it was told.
    pub fn after(&self, since: SystemTime) -> Duration {
        self.at.duration_since(since).unwrap_or_default()
    }
}

/// An alert to look for: its name and some of its labels.
pub type Wanted<'a> = (&'a str, &'a [(&'a str, &'a str)]);

fn fits(told: &Told, (name, labels): Wanted<'_>) -> bool {
    let has = |key: &str, value: &str| told.labels.get(key).is_some_and(|is| is == value);
    has("alertname", name) && labels.iter().all(|(key, value)| has(key, value))
}

/// The whole way from the exporter's `/metrics` to the pager.
#[derive(Debug)]
pub struct Monitoring {
    pub prometheus: Prometheus,
    alertmanager: SocketAddr,
    _process: Process,
    _directory: Config,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Monitoring {
    /// Starts it all on these exporters.
    pub async fn start(exporters: &[SocketAddr]) -> Self {
        let told = Arc::<Mutex<Vec<Told>>>::default();
        let receiver = receive(Arc::clone(&told)).await;
        let (process, directory, address) = alertmanager(receiver).await;
        let mut prometheus = Prometheus::cold(&[], &[]);
        let targets: Vec<_> = exporters.iter().map(|exporter| format!("'{exporter}'")).collect();
        let interval = format!("{}ms", SCRAPE.as_millis());
        let config = format!(
            "global: {{ scrape_interval: {interval}, scrape_timeout: {interval}, evaluation_interval: {interval} }}
rule_files: [rules.yml]
alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{address}'] }}] }}] }}
scrape_configs: [{{ job_name: dr-exporter, static_configs: [{{ targets: [{}] }}] }}]
",
            targets.join(", ")
        );
        let rules = faster(&shipped("alerts/dr-exporter.rules.yml"));
        for (file, text) in [("prometheus.yml", config), ("rules.yml", rules)] {
            fs::write(prometheus.directory().join(file), text).expect("a file of Prometheus is written");
        }
        prometheus.run().await;
        Self { prometheus, alertmanager: address, _process: process, _directory: directory, told }
    }

    /// Everything that was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first message to this receiver by which the alert fires, or is resolved.
    async fn first(&self, receiver: &str, alert: Wanted<'_>, firing: bool, limit: Duration) -> Told {
        let what = if firing { "fires" } else { "is resolved" };
        let found = async || {
            let told = self.told();
            let first = told.into_iter().find(|told| told.firing == firing && fits(told, alert));
            if first.is_none() && std::env::var_os("DR_ALERTS_TRACE").is_some() {
                eprintln!("{:?}", self.alerts().await);
            }
            first
        };
        let first = wait_until(&format!("{alert:?} {what}"), limit, found).await;
        assert_eq!(first.receiver, receiver, "{first:?}");
        first
    }

    /// Waits until this receiver is told that the alert fires.
    pub async fn fires(&self, receiver: &str, alert: Wanted<'_>, limit: Duration) -> Told {
        self.first(receiver, alert, true, limit).await
    }

    /// Waits until this receiver is told that the alert is over.
    pub async fn resolves(&self, receiver: &str, alert: Wanted<'_>, limit: Duration) -> Told {
        self.first(receiver, alert, false, limit).await
    }

    /// Waits until Alertmanager would have told of an alert and did not, since it is muted. It marks one as suppressed when
    /// its group is due, or when it is asked about alerts, and nobody asks it here.
    pub async fn mutes(&self, limit: Duration) {
        wait_until("Alertmanager mutes an alert", limit, async || {
            let metrics = client().get(format!("http://{}/metrics", self.alertmanager)).send().await.ok()?;
            let metrics = metrics.text().await.ok()?;
            let marked = "alertmanager_marked_alerts{state=\"suppressed\"} ";
            metrics.lines().find_map(|line| line.strip_prefix(marked)).filter(|count| *count != "0").map(drop)
        })
        .await;
    }

    /// How often the alert began to fire, and how often it was over, as far as it was told to anybody.
    pub fn count(&self, alert: Wanted<'_>) -> (usize, usize) {
        let told = self.told();
        let episodes = |firing: bool| {
            let of = told.iter().filter(|told| told.firing == firing && fits(told, alert));
            of.map(|told| (&told.receiver, &told.labels, &told.starts)).collect::<BTreeSet<_>>().len()
        };
        (episodes(true), episodes(false))
    }

    /// The names of all alerts that were told.
    pub fn names(&self) -> BTreeSet<String> {
        self.told().iter().map(|told| told.labels["alertname"].clone()).collect()
    }

    /// What Prometheus holds of alerts, for messages.
    async fn alerts(&self) -> Vec<String> {
        let series = self.query("ALERTS").await.unwrap_or_default();
        series.iter().map(|series| series["metric"].to_string()).collect()
    }

    /// The series that a query gives now. `Err` says what Prometheus has against it.
    pub async fn query(&self, query: &str) -> Result<Vec<Value>, String> {
        self.series("query", &[("query", query)]).await
    }

    /// The series that a query gave at any time since this Unix time. `Err` says what Prometheus has against it.
    pub async fn query_since(&self, query: &str, start: f64) -> Result<Vec<Value>, String> {
        let (start, end, step) = (start.to_string(), unix().to_string(), (SCRAPE / 2).as_secs_f64().to_string());
        self.series("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", &step)]).await
    }

    async fn series(&self, api: &str, form: &[(&str, &str)]) -> Result<Vec<Value>, String> {
        let url = reqwest::Url::parse_with_params(&format!("{}/api/v1/{api}", self.prometheus.url()), form);
        let answer = client().post(url.expect("a URL")).send().await.map_err(|error| error.to_string())?;
        let answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        match answer["status"].as_str() {
            Some("success") => Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default()),
            _ => Err(answer["error"].to_string()),
        }
    }

    /// All rules, as Prometheus read them.
    pub async fn rules(&self) -> Vec<Value> {
        let url = format!("{}/api/v1/rules", self.prometheus.url());
        let answer: Value = client().get(url).send().await.expect("an answer").json().await.expect("JSON");
        let groups = answer["data"]["groups"].as_array().cloned().expect("groups");
        groups.iter().flat_map(|group| group["rules"].as_array().cloned().expect("rules")).collect()
    }
}

/// Alertmanager with the routes and inhibitions that we ship, and this receiver in place of PagerDuty and Slack.
async fn alertmanager(receiver: SocketAddr) -> (Process, Config, SocketAddr) {
    let shipped = faster(&shipped("config/alertmanager.yml"));
    let (routes, receivers) = shipped.split_once("\nreceivers:\n").expect("there are receivers");
    let names = receivers.lines().filter_map(|line| line.strip_prefix("  - name: "));
    let webhooks: String = names
        .map(|name| {
            format!(
                "  - name: {name}\n    webhook_configs: [{{ url: 'http://{receiver}/{name}', send_resolved: true }}]\n"
            )
        })
        .collect();
    let directory = Config::new("");
    directory.file("alertmanager.yml", &format!("{routes}\nreceivers:\n{webhooks}"));
    let [address] = free_ports::<1>(own_ip());
    let program = tool("ALERTMANAGER", "alertmanager").expect("no alertmanager: run `scripts/tools alertmanager`");
    let log = fs::File::create(directory.path("alertmanager.log")).expect("a log");
    let mut process = Process::start(program, |command| {
        command.current_dir(directory.directory()).args(["--config.file=alertmanager.yml", "--storage.path=data"]);
        command.args([format!("--web.listen-address={address}"), "--cluster.listen-address=".to_owned()]);
        command.stdout(Stdio::null()).stderr(Stdio::from(log));
    });
    wait_until("Alertmanager listens", Duration::from_secs(30), async || {
        if let Some(status) = process.ended() {
            let log = fs::read_to_string(directory.path("alertmanager.log")).unwrap_or_default();
            panic!("Alertmanager ended with {status}:\n{log}");
        }
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    (process, directory, address)
}

/// Receives what Alertmanager tells; the path is the receiver's name.
async fn receive(told: Arc<Mutex<Vec<Told>>>) -> SocketAddr {
    let take = async move |State(told): State<Arc<Mutex<Vec<Told>>>>, uri: Uri, Json(message): Json<Value>| {
        let alerts = message["alerts"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let map = |value: &Value| serde_json::from_value(value.clone()).expect("labels are texts");
        let (at, receiver) = (SystemTime::now(), uri.path().trim_start_matches('/').to_owned());
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.extend(alerts.iter().map(|alert| Told {
            receiver: receiver.clone(),
            at,
            firing: alert["status"] == "firing",
            labels: map(&alert["labels"]),
            annotations: map(&alert["annotations"]),
            starts: text(&alert["startsAt"]),
        }));
    };
    let router = Router::new().fallback(take).with_state(told);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Prints how long a page took, and fails where that is beyond the limit.
#[track_caller]
pub fn in_time(what: &str, took: Duration, limit: Duration) {
    println!("from fault to page: {what}: {:.1} s, limit {:.1} s", took.as_secs_f64(), limit.as_secs_f64());
    assert!(took <= limit + BUSY, "{what} was told after {took:?}, and must be within {limit:?}");
}

/// Nothing but these alerts was told.
#[track_caller]
pub fn nothing_but(monitoring: &Monitoring, expected: &[&str]) {
    let unexpected: Vec<_> =
        monitoring.told().into_iter().filter(|told| !expected.contains(&told.labels["alertname"].as_str())).collect();
    assert!(unexpected.is_empty(), "{:?} were told, {unexpected:#?}", monitoring.names());
}
