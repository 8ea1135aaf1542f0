//! Panics: counted, told in a line, and no harm to anything but the run that they are in.
//!
//! One process of its own, since there is one hook and one count for all of it.
#![allow(clippy::pedantic, clippy::await_holding_lock)]

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dr_exporter::checks::Kind as _;
use dr_exporter::checks::http::HttpConfig;
use dr_exporter::clock::{Clock, Moment};
use dr_exporter::decode::values::secrets::Secret;
use dr_exporter::domain::check::{CheckSpec, Feeds};
use dr_exporter::domain::contract::{ContractSpec, Priority};
use dr_exporter::domain::kind::KindInfo;
use dr_exporter::domain::observation::{Finding, Health, Observation, Outcome, Reason};
use dr_exporter::engine::check::{Check, Run};
use dr_exporter::engine::memory::Recalled;
use dr_exporter::engine::snapshot::{CheckRecord, Snapshot};
use dr_exporter::engine::{self, FirstRun, Made, Plan, Planned, Plans, Running, panics};
use dr_exporter::export::{View, metrics};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());
static SILENT: Reason = Reason::new("silent", "ask again");
static SCRIPTED: KindInfo = KindInfo { reasons: &[&SILENT], ..HttpConfig::INFO };

/// Writes to the log of the test.
struct Logged;

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn log() -> String {
    String::from_utf8(LOG.lock().unwrap_or_else(PoisonError::into_inner).clone()).expect("UTF-8")
}

/// The hook is installed, and this test alone counts.
fn hooked() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    static INSTALLED: Once = Once::new();
    let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    INSTALLED.call_once(|| {
        tracing_subscriber::fmt().with_writer(|| Logged).with_ansi(false).init();
        panics::install();
    });
    alone
}

/// A check with a fault where it is said to have one.
#[derive(Default)]
struct Faulty {
    run: bool,
    /// What the message of the fault in the run quotes.
    quotes: String,
    /// A task that the run started and waits for, as client libraries do.
    task: bool,
    memory: bool,
    recall: bool,
    recalled: Mutex<Option<Value>>,
}

#[async_trait]
impl Check for Faulty {
    async fn run(&self, _: Run) -> Observation {
        assert!(!self.run, "a fault in a run\nof two lines{}", self.quotes);
        if self.task {
            let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
            tokio::spawn(async move {
                let _held = sender;
                panic!("a fault in a task");
            });
            let answer = receiver.await;
            let finding = Finding::new(&SILENT, "the task is gone");
            return Observation::of_health(answer.map_or(Health::NoAnswer(finding), |()| Health::Healthy));
        }
        Observation::of_health(Health::Healthy)
    }

    fn memory(&self, _: Moment) -> Option<Value> {
        assert!(!self.memory, "a fault in memory");
        self.recalled.lock().expect("no fault here").clone()
    }

    fn recall(&self, memory: &Value, _: Clock) {
        assert!(!self.recall, "a fault in recall");
        *self.recalled.lock().expect("no fault here") = Some(memory.clone());
    }
}

fn spec(name: &str) -> CheckSpec {
    CheckSpec {
        name: name.to_owned(),
        kind: &SCRIPTED,
        interval: Duration::from_millis(20),
        interval_when_down: Duration::from_millis(20),
        timeout: Duration::from_secs(5),
        failures_to_trigger: 3,
        successes_to_recover: 1,
        warn_after: None,
        lag_budget: None,
        feeds: Feeds { rto: true, rpo: false },
    }
}

/// A contract with a check that is faulty, and one that is not.
fn start(faulty: Arc<dyn Check>) -> (watch::Receiver<Arc<Snapshot>>, Running) {
    let contract = ContractSpec {
        name: "api".to_owned(),
        component: "API".to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(Duration::from_secs(60)),
        rpo: None,
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: Vec::new(),
    };
    let planned = |name, check| Planned { spec: spec(name), check, made: Made::default() };
    let checks = vec![planned("faulty", faulty), planned("fine", Arc::new(Faulty::default()))];
    let plan = Plan { spec: Arc::new(contract), checks };
    let plans = Plans { contracts: vec![plan], ..Plans::default() };
    let running = engine::start(plans, Clock::start(), FirstRun::Immediate, Recalled::default());
    (running.snapshots.clone(), running)
}

fn runs(check: &CheckRecord, outcome: Outcome) -> u64 {
    check.runs().find(|(of, _)| *of == outcome).map_or(0, |(_, count)| count)
}

/// Waits until both ran five times, the faulty one with this outcome; gives its record.
async fn five_runs(faulty: Arc<dyn Check>, outcome: Outcome) -> CheckRecord {
    let (mut snapshots, mut running) = start(faulty);
    let done = snapshots.wait_for(|snapshot| {
        let checks: Vec<_> = snapshot.contracts[0].checks().map(|(_, runs)| runs).collect();
        runs(checks[0], outcome) >= 5 && runs(checks[1], Outcome::Healthy) >= 5
    });
    let done = timeout(Duration::from_secs(120), done).await.expect("in time").expect("a snapshot").clone();
    let ended = timeout(Duration::from_millis(100), running.ended()).await;
    assert!(ended.is_err(), "the engine goes on: {ended:?}");
    done.contracts[0].checks().next().expect("the check").1.clone()
}

#[tokio::test]
async fn a_panic_in_a_run_is_its_reason() {
    let _alone = hooked();
    let before = panics::counted();
    let record = five_runs(Arc::new(Faulty { run: true, ..Faulty::default() }), Outcome::NoAnswer).await;
    assert!(record.failures["internal_error"] >= 5, "{:?}", record.failures);
    assert!(panics::counted() >= before + 5);
    let log = log();
    let line = log.lines().find(|line| line.contains("a fault in a run")).expect("a line");
    assert!(line.contains("of two lines") && line.contains("tests/panics.rs:"), "all in one line: {line}");
}

#[tokio::test]
async fn a_panic_that_quotes_a_secret_does_not_tell_it() {
    let _alone = hooked();
    let secret = "canary-in-a-panic-7d21";
    let _known = Secret::new("the test of panics", secret);
    // The second one stands where the message is cut: no part of it may stay.
    let start = format!(" of the answer {secret}");
    let quotes = format!("{start}{}{secret}", ".".repeat(280 - "a fault in a run of two lines".len() - start.len()));
    let faulty = Faulty { run: true, quotes, ..Faulty::default() };
    let record = five_runs(Arc::new(faulty), Outcome::NoAnswer).await;
    let last = format!("{:?}", record.last.expect("a run").observation);
    for text in [last, log()] {
        assert!(text.contains("of the answer [secret]"), "{text}");
        assert!(!text.contains("canary-in"), "{text}");
    }
}

#[tokio::test]
async fn a_panic_in_a_task_that_a_library_started_is_contained_and_counted() {
    let _alone = hooked();
    let before = panics::counted();
    let record = five_runs(Arc::new(Faulty { task: true, ..Faulty::default() }), Outcome::NoAnswer).await;
    assert!(record.failures["silent"] >= 5, "the run tells what came of it: {:?}", record.failures);
    assert!(panics::counted() >= before + 5);
    assert!(log().contains("a fault in a task"));
}

#[tokio::test]
async fn a_check_that_cannot_tell_what_it_remembers_is_measured_all_the_same() {
    let _alone = hooked();
    let before = panics::counted();
    five_runs(Arc::new(Faulty { memory: true, ..Faulty::default() }), Outcome::Healthy).await;
    assert!(panics::counted() >= before + 5);
}

#[tokio::test]
async fn a_check_that_cannot_be_made_says_so_at_every_run() {
    let _alone = hooked();
    let before = panics::counted();
    let check = panics::build(|| panic!("a fault in build"), Some(&json!(7)), Clock::start());
    assert_eq!(panics::counted(), before + 2, "once with its memory, once without");
    let record = five_runs(check, Outcome::NoAnswer).await;
    assert!(record.failures["internal_error"] >= 5, "{:?}", record.failures);
    let last = record.last.expect("a run").observation;
    let detail = last.findings().next().expect("a finding").detail.clone();
    assert!(detail.contains("could not be made") && detail.contains("a fault in build"), "{detail}");
}

#[tokio::test]
async fn a_check_that_cannot_take_its_memory_goes_on_without() {
    let _alone = hooked();
    let clock = Clock::start();
    let before = panics::counted();
    let made = AtomicU32::new(0);
    let make = || -> Arc<dyn Check> {
        made.fetch_add(1, Ordering::Relaxed);
        Arc::new(Faulty { recall: true, ..Faulty::default() })
    };
    let check = panics::build(make, Some(&json!(7)), clock);
    assert_eq!((made.load(Ordering::Relaxed), panics::counted()), (2, before + 1), "made anew, not half recalled");
    assert_eq!(check.memory(clock.moment()), None);
    five_runs(check, Outcome::Healthy).await;
    let whole = panics::build(|| Arc::new(Faulty::default()), Some(&json!(7)), clock);
    assert_eq!(whole.memory(clock.moment()), Some(json!(7)));
}

#[tokio::test]
async fn the_count_is_a_metric() {
    let _alone = hooked();
    let scraped = |snapshot: &Snapshot| {
        let moment = Clock::start().moment();
        let text = metrics::prometheus(View { snapshot, moment });
        let line = text.lines().find_map(|line| line.strip_prefix("dr_exporter_panics_total "));
        line.expect("the metric").parse::<f64>().expect("a number")
    };
    let (snapshots, _running) = start(Arc::new(Faulty::default()));
    let snapshot = snapshots.borrow().clone();
    let before = scraped(&snapshot);
    let thread = std::thread::spawn(|| panic!("a fault in a thread")).join();
    assert!(thread.is_err());
    assert_eq!(scraped(&snapshot), before + 1.0);
}
