//! The real exporter, as a user runs it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;
use super::scrape::Scrape;
use super::{PATIENCE, tool, wait_until};

/// A directory with a configuration and the files it names.
#[derive(Debug)]
pub struct Config {
    dir: TempDir,
    flags: Vec<String>,
    has_own_clock: bool,
}

impl Config {
    /// Writes `config.yaml`.
    pub fn new(yaml: &str) -> Self {
        let dir = TempDir::with_prefix("dr-exporter-").expect("a directory for the configuration");
        let config = Self { dir, flags: Vec::new(), has_own_clock: false };
        config.file("config.yaml", yaml);
        config
    }

    /// The path of a file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file next to it.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).expect("a file of the configuration is written");
        path
    }

    /// The directory.
    pub fn directory(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// With a wall clock of its own, which is right until it is set. The monotonic clock stays the machine's.
    pub fn with_own_clock(mut self) -> Self {
        self.has_own_clock = true;
        self.set_clock(0.0);
        self
    }

    /// Whether its wall clock can be set.
    pub fn has_own_clock(&self) -> bool {
        self.has_own_clock
    }

    /// Sets the wall clock to so many seconds ahead of the machine's.
    pub fn set_clock(&self, ahead: f64) {
        assert!(self.has_own_clock, "the wall clock is the machine's");
        // It is read at any moment, and never half written.
        let next = self.file("clock.next", &format!("{ahead:+.3}\n"));
        fs::rename(next, self.path("clock")).expect("the clock is set");
    }

    /// With a further flag of `serve`.
    pub fn flag(mut self, flag: &str) -> Self {
        self.flags.push(flag.to_owned());
        self
    }

    /// With a further file.
    pub fn with(self, name: &str, content: &str) -> Self {
        self.file(name, content);
        self
    }
}

/// A running exporter.
#[derive(Debug)]
pub struct Exporter {
    config: Config,
    process: Process,
    log: Arc<Mutex<Vec<String>>>,
    /// Where it listens; another after a restart.
    pub address: SocketAddr,
    http: reqwest::Client,
}

impl Exporter {
    /// Starts it on this configuration and waits until it listens.
    pub async fn start(yaml: &str) -> Self {
        Self::start_in(Config::new(yaml)).await
    }

    /// Starts it in a directory and waits until it listens.
    pub async fn start_in(config: Config) -> Self {
        Self::start_as(config, |_| {}).await
    }

    /// Starts it in a directory, `prepare`d in a further way, and waits until it listens.
    pub async fn start_as(config: Config, prepare: impl FnOnce(&mut Command)) -> Self {
        let (process, log, address) = launch(&config, prepare).await;
        Self { config, process, log, address, http: client() }
    }

    /// Kills it, without a warning, and starts it anew in the same directory.
    pub async fn kill_and_restart(&mut self) {
        self.kill();
        self.restart().await;
    }

    /// Kills it, without a warning.
    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait(PATIENCE).expect("a process that is killed ends");
    }

    /// SIGSTOP: it looks at nothing.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    /// Starts one that has ended anew in the same directory.
    pub async fn restart(&mut self) {
        self.restart_as(|_| {}).await;
    }

    /// The same, `prepare`d in a further way.
    pub async fn restart_as(&mut self, prepare: impl FnOnce(&mut Command)) {
        let (process, log, address) = launch(&self.config, prepare).await;
        let old = std::mem::replace(&mut self.process, process);
        drop(old);
        (self.log, self.address) = (log, address);
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The answer to a GET, whatever its status.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.try_get(path).await.unwrap_or_else(|error| panic!("GET {path}: {error:?}\n{}", self.log()))
    }

    async fn try_get(&self, path: &str) -> reqwest::Result<reqwest::Response> {
        self.http.get(self.url(path)).header("accept", "text/plain; version=0.0.4").send().await
    }

    /// `/metrics`, as text.
    pub async fn metrics(&self) -> String {
        let answer = self.get("/metrics").await;
        assert!(answer.status().is_success(), "/metrics answers {}", answer.status());
        answer.text().await.expect("/metrics has a text")
    }

    /// `/metrics`, read.
    pub async fn scrape(&self) -> Scrape {
        Scrape::parse(&self.metrics().await)
    }

    /// Waits until `/metrics` is as `condition` wants it; fails with the last scrape.
    pub async fn until(&self, what: &str, limit: Duration, condition: impl Fn(&Scrape) -> bool) -> Scrape {
        let mut last = Scrape::default();
        let waiting = async {
            loop {
                last = self.scrape().await;
                if condition(&last) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let came = tokio::time::timeout(limit, waiting).await.is_ok();
        assert!(came, "waited {limit:?} in vain: {what}\n--- last scrape:\n{last}");
        last
    }

    /// Waits until the component is seen healthy: an outage before that may be older than the exporter.
    pub async fn seen_healthy(&self, contract: &str, limit: Duration) -> Scrape {
        let labels = [("contract", contract)];
        self.until(&format!("{contract} is seen healthy"), limit, |scrape| {
            scrape.get("dr_check_healthy", &labels) == Some(1.0)
        })
        .await
    }

    /// Waits for a status.
    pub async fn becomes(&self, contract: &str, objective: &str, status: &str, limit: Duration) -> Scrape {
        self.until(&format!("{contract}/{objective} is {status}"), limit, |scrape| {
            scrape.status(contract, objective) == status
        })
        .await
    }

    /// Waits until each check of a contract has ended `more` further runs. The first of them may have
    /// begun before: the second saw all that was so when this was called.
    pub async fn runs_on(&self, contract: &str, more: u32, limit: Duration) -> Scrape {
        let labels = [("contract", contract)];
        let ended = |scrape: &Scrape| {
            let mut ended = BTreeMap::new();
            for (labels, value) in scrape.series("dr_check_runs_total", &labels) {
                *ended.entry(labels["check"].clone()).or_insert(0.0) += value;
            }
            ended
        };
        let before = ended(&self.scrape().await);
        assert!(!before.is_empty(), "{contract} has no check");
        self.until(&format!("{contract} has {more} further runs"), limit, |scrape| {
            let now = ended(scrape);
            before.iter().all(|(check, count)| now.get(check).is_some_and(|now| *now >= count + f64::from(more)))
        })
        .await
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Waits for a line of the log that holds all of `words`, whatever their case.
    pub async fn logs(&self, words: &[&str], limit: Duration) -> String {
        wait_until(&format!("a line of the log with {words:?}"), limit, async || {
            let log = self.log();
            let fits = |line: &&str| words.iter().all(|word| line.to_lowercase().contains(&word.to_lowercase()));
            log.lines().find(fits).map(str::to_owned)
        })
        .await
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its directory.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the exporter:\n{}", self.log());
        }
    }
}

/// The exporter's program. Cargo names it to tests of its own package alone, and puts it beside the
/// folder of their programs.
#[track_caller]
fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own program");
    let beside = test.ancestors().nth(2).map(|folder| folder.join("dr-exporter"));
    beside.filter(|program| program.is_file()).unwrap_or_else(|| {
        panic!("no dr-exporter two folders above {}: `cargo test` builds it, and so does `cargo build`", test.display())
    })
}

/// The library that answers for the wall clock. `Err` says why there is none.
pub fn faketime() -> Result<PathBuf, String> {
    tool("LIBFAKETIME", "libfaketime.so.1").ok_or_else(|| "no libfaketime: run `scripts/tools faketime`".to_owned())
}

type Log = Arc<Mutex<Vec<String>>>;

async fn launch(config: &Config, prepare: impl FnOnce(&mut Command)) -> (Process, Log, SocketAddr) {
    let mut process = Process::start(program(), |command| {
        command.current_dir(config.dir.path()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.args(["serve", "--config.file=config.yaml", "--web.listen-address=127.0.0.1:0"]);
        command.arg("--web.enable-lifecycle").args(&config.flags);
        if config.has_own_clock {
            command.env("LD_PRELOAD", faketime().unwrap_or_else(|why| panic!("{why}")));
            command.env("FAKETIME_TIMESTAMP_FILE", config.path("clock")).env("FAKETIME_NO_CACHE", "1");
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1");
        }
        prepare(command);
    });
    let stderr = process.child().stderr.take().expect("stderr is piped");
    let log = Log::default();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    let lines = || log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let address = wait_until("the exporter listens", PATIENCE, async || {
        let address = lines().iter().find_map(|line| listening(line));
        if address.is_none()
            && let Some(status) = process.ended()
        {
            panic!("the exporter ended with {status}:\n{}", lines().join("\n"));
        }
        address
    });
    let address = address.await;
    (process, log, address)
}

/// The address of a line that says that the exporter listens.
fn listening(line: &str) -> Option<SocketAddr> {
    line.contains("listening").then_some(())?;
    let (_, after) = line.split_once("address=")?;
    after.trim_start_matches('"').split(['"', ' ']).next()?.parse().ok()
}

/// A client for plain HTTP. It keeps no connection: a server may close an idle one at the very moment
/// at which the next request is sent.
pub fn client() -> reqwest::Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).timeout(PATIENCE);
    client.build().expect("an HTTP client")
}
