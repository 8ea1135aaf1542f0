//! What the exporter says of each contract, four times a second.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::task::JoinHandle;

use dr_testkit::exporter::{Exporter, client};
use dr_testkit::scrape::Scrape;

const EVERY: Duration = Duration::from_millis(250);
/// After this one that is frozen is asked again.
const LONG: Duration = Duration::from_secs(5);

/// One objective of a contract.
#[derive(Debug, Clone)]
pub struct Figure {
    pub status: String,
    pub observed: Option<Duration>,
    pub known: Option<Duration>,
}

impl Figure {
    pub fn is_green(&self) -> bool {
        ["met", "at_risk"].contains(&self.status.as_str())
    }
}

/// One contract.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub rto: Option<Figure>,
    pub rpo: Option<Figure>,
    /// As the check says.
    pub healthy: Option<bool>,
    pub in_progress: bool,
    /// When the last recovery ended, and how long it took.
    pub last: Option<(SystemTime, Duration)>,
    /// How many recoveries were counted.
    pub recoveries: f64,
}

/// One scrape. What it says was so at some instant between the two.
#[derive(Debug, Clone)]
pub struct Said {
    pub sent: SystemTime,
    pub got: SystemTime,
    pub contracts: BTreeMap<&'static str, View>,
}

/// Scrapes until it is dropped.
pub struct Scraper {
    said: Arc<Mutex<Vec<Said>>>,
    url: Arc<Mutex<String>>,
    /// How far the exporter's wall clock is ahead, in seconds, and how often it was set.
    clock: Arc<Mutex<(f64, u64)>>,
    task: JoinHandle<()>,
}

impl Scraper {
    pub fn start(exporter: &Exporter, contracts: Vec<&'static str>) -> Self {
        let (said, url) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(exporter.url("/metrics"))));
        let clock = Arc::new(Mutex::new((0.0, 0)));
        let (kept, from, set, http) = (Arc::clone(&said), Arc::clone(&url), Arc::clone(&clock), client());
        let set = move || *set.lock().unwrap_or_else(PoisonError::into_inner);
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(EVERY).await;
                let (url, sent) = (from.lock().unwrap_or_else(PoisonError::into_inner).clone(), SystemTime::now());
                let before = set();
                let asked = http.get(&url).header("accept", "text/plain; version=0.0.4").timeout(LONG);
                let asked = asked.send().await;
                let Ok(answer) = asked else { continue };
                let Ok(text) = answer.text().await else { continue };
                let scrape = Scrape::parse(&text);
                // By which clock a time is told is not known while that is set.
                let ahead = (set() == before).then_some(before.0);
                let contracts = contracts.iter().map(|contract| (*contract, view(&scrape, contract, ahead))).collect();
                let said = Said { sent, got: SystemTime::now(), contracts };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(said);
            }
        });
        Self { said, url, clock, task }
    }

    /// The exporter listens elsewhere now.
    pub fn turn_to(&self, exporter: &Exporter) {
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = exporter.url("/metrics");
    }

    /// The exporter's wall clock is set to so many seconds ahead.
    pub fn clock_is_set(&self, ahead: f64, set: impl FnOnce()) {
        let mut clock = self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        set();
        *clock = (ahead, clock.1 + 1);
    }

    pub fn said(&self) -> Vec<Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `ahead` is by how many seconds the times of the scrape are.
fn view(scrape: &Scrape, contract: &str, ahead: Option<f64>) -> View {
    let labels = [("contract", contract)];
    let seconds = |value: f64| Duration::from_secs_f64(value.max(0.0));
    let figure = |objective: &str| {
        let labels = [("contract", contract), ("objective", objective)];
        scrape.get("dr_objective_target_seconds", &labels)?;
        Some(Figure {
            status: scrape.status(contract, objective),
            observed: scrape.get("dr_objective_observed_seconds", &labels).map(seconds),
            known: scrape.get("dr_objective_known_seconds", &labels).map(seconds),
        })
    };
    let ended = scrape.get("dr_recovery_last_end_timestamp_seconds", &labels);
    let ended = ended.zip(ahead).map(|(at, ahead)| SystemTime::UNIX_EPOCH + seconds(at - ahead));
    View {
        rto: figure("rto"),
        rpo: figure("rpo"),
        healthy: scrape.get("dr_check_healthy", &labels).map(|healthy| healthy == 1.0),
        in_progress: scrape.get("dr_recovery_in_progress", &labels) == Some(1.0),
        last: ended.zip(scrape.get("dr_recovery_last_seconds", &labels).map(seconds)),
        recoveries: scrape.all("dr_recoveries_total", &labels).iter().sum(),
    }
}
