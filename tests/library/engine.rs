//! The engine: schedules, time-outs, panics, hangs, and what the ledger makes of it. Time is paused where it can be.
#![allow(clippy::disallowed_methods)]

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dr_exporter::checks::Kind as _;
use dr_exporter::checks::http::HttpConfig;
use dr_exporter::clock::{Clock, Moment};
use dr_exporter::domain::check::{CheckSpec, Feeds};
use dr_exporter::domain::contract::{ContractSpec, Objective, Priority};
use dr_exporter::domain::kind::KindInfo;
use dr_exporter::domain::observation::{Finding, Health, Observation, Outcome, Reason};
use dr_exporter::domain::recovery_clock::Thresholds;
use dr_exporter::domain::status::{Basis, Status};
use dr_exporter::domain::trigger::{TriggerMode, TriggerSpec, Watched};
use dr_exporter::engine::check::{Check, Run};
use dr_exporter::engine::memory::Recalled;
use dr_exporter::engine::snapshot::{CheckRecord, Snapshot};
use dr_exporter::engine::{self, FirstRun, Made, Plan, Planned, Plans, Running, TriggerPlan};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

static DOWN: Reason = Reason::new("down", "start it");
static SCRIPTED: KindInfo = KindInfo { reasons: &[&DOWN], ..HttpConfig::INFO };

pub(super) fn check(name: &str) -> CheckSpec {
    CheckSpec {
        name: name.to_owned(),
        kind: &SCRIPTED,
        interval: Duration::from_secs(10),
        interval_when_down: Duration::from_secs(2),
        timeout: Duration::from_secs(5),
        failures_to_trigger: 3,
        successes_to_recover: 1,
        warn_after: None,
        lag_budget: None,
        feeds: Feeds { rto: true, rpo: false },
    }
}

pub(super) fn plan(name: &str, specs: Vec<CheckSpec>, checks: Vec<Arc<dyn Check>>) -> Plan {
    let spec = ContractSpec {
        name: name.to_owned(),
        component: name.to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(Duration::from_secs(60)),
        rpo: None,
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: Vec::new(),
    };
    let checks = specs.into_iter().zip(checks);
    let checks = checks.map(|(spec, check)| Planned { spec, check, made: Made::default() }).collect();
    Plan { spec: Arc::new(spec), checks }
}

/// A check that does what its closure says, and keeps the instants at which its runs began.
struct Scripted<F> {
    begun: Mutex<Vec<Instant>>,
    act: F,
}

impl<F> Scripted<F> {
    fn new(act: F) -> Arc<Self> {
        Arc::new(Self { begun: Mutex::default(), act })
    }

    fn gaps(&self) -> Vec<Duration> {
        self.begun.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

#[async_trait]
impl<F, R> Check for Scripted<F>
where
    F: Fn() -> R + Send + Sync + 'static,
    R: Future<Output = Health> + Send,
{
    async fn run(&self, _: Run) -> Observation {
        self.begun.lock().unwrap().push(Instant::now());
        Observation::of_health((self.act)().await)
    }
}

fn healthy() -> Arc<dyn Check> {
    Scripted::new(|| async { Health::Healthy })
}

pub(super) fn unhealthy() -> Health {
    Health::Unhealthy(Finding::new(&DOWN, "it is down"))
}

fn start(contracts: Vec<Plan>, clock: Clock, first: FirstRun) -> (watch::Receiver<Arc<Snapshot>>, Running) {
    let plans = Plans { contracts, ..Plans::default() };
    let running = engine::start(plans, clock, first, Recalled::default());
    (running.snapshots.clone(), running)
}

async fn until(snapshots: &mut watch::Receiver<Arc<Snapshot>>, what: &str, holds: impl Fn(&Snapshot) -> bool) {
    let waited = timeout(Duration::from_secs(300), snapshots.wait_for(|snapshot| holds(snapshot))).await;
    assert!(waited.is_ok_and(|held| held.is_ok()), "never: {what}");
}

fn record(snapshot: &Snapshot, contract: usize, check: usize) -> &CheckRecord {
    snapshot.contracts[contract].checks().nth(check).expect("a check").1
}

fn runs(snapshot: &Snapshot, contract: usize, outcome: Outcome) -> u64 {
    record(snapshot, contract, 0).runs().find(|(of, _)| *of == outcome).map_or(0, |(_, count)| count)
}

#[tokio::test(start_paused = true)]
async fn a_panicking_check_harms_only_itself_and_is_counted() {
    let broken = Scripted::new(|| async { panic!("a bug with a name") });
    let plans = vec![plan("broken", vec![check("a")], vec![broken]), plan("fine", vec![check("b")], vec![healthy()])];
    let (mut snapshots, mut running) = start(plans, Clock::start(), FirstRun::Immediate);
    until(&mut snapshots, "five runs of each", |snapshot| {
        runs(snapshot, 0, Outcome::NoAnswer) >= 5 && runs(snapshot, 1, Outcome::Healthy) >= 5
    })
    .await;
    let snapshot = snapshots.borrow().clone();
    let broken = record(&snapshot, 0, 0);
    assert!(broken.failures["internal_error"] >= 5);
    let failure = broken.last_failure.as_ref().expect("a failure");
    assert!(failure.findings[0].detail.contains("a bug with a name"), "{:?}", failure.findings);
    assert!(snapshot.contracts[0].contract.clock().running().is_none(), "our own fault is no outage");
    let ended = timeout(Duration::from_secs(1), running.ended()).await;
    assert!(ended.is_err(), "no task of the engine may end");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_check_is_ended_counted_and_run_again() {
    let hanging = Scripted::new(std::future::pending);
    let plans =
        vec![plan("hanging", vec![check("a")], vec![hanging.clone()]), plan("fine", vec![check("b")], vec![healthy()])];
    let (mut snapshots, _running) = start(plans, Clock::start(), FirstRun::Immediate);
    until(&mut snapshots, "three hung runs", |snapshot| record(snapshot, 0, 0).failures["hung"] >= 3).await;
    let snapshot = snapshots.borrow().clone();
    assert!(runs(&snapshot, 1, Outcome::Healthy) >= 3, "the other check goes on");
    let took = record(&snapshot, 0, 0).last.as_ref().expect("a run").took;
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "ended at its time-out, after {took:?}");
}

/// Blocks a thread, which no time-out can end.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_run_that_cannot_be_ended_is_never_overlapped() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    static AT_ONCE: AtomicU32 = AtomicU32::new(0);
    static MOST: AtomicU32 = AtomicU32::new(0);
    let blocking = Scripted::new(|| async {
        MOST.fetch_max(AT_ONCE.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        while !RELEASED.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        AT_ONCE.fetch_sub(1, Ordering::SeqCst);
        Health::Healthy
    });
    let quick = || CheckSpec { interval: Duration::from_millis(40), timeout: Duration::from_millis(20), ..check("c") };
    let plans = vec![plan("blocking", vec![quick()], vec![blocking]), plan("fine", vec![quick()], vec![healthy()])];
    let (mut snapshots, _running) = start(plans, Clock::start(), FirstRun::Immediate);
    until(&mut snapshots, "still running, twice", |snapshot| {
        record(snapshot, 0, 0).failures["still_running"] >= 2 && runs(snapshot, 1, Outcome::Healthy) >= 2
    })
    .await;
    RELEASED.store(true, Ordering::SeqCst);
    until(&mut snapshots, "healthy once released", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 1).await;
    assert_eq!(MOST.load(Ordering::SeqCst), 1, "runs at once");
}

#[tokio::test(start_paused = true)]
async fn runs_follow_the_interval_with_jitter() {
    let steady = Scripted::new(|| async { Health::Healthy });
    let (mut snapshots, _running) =
        start(vec![plan("c", vec![check("a")], vec![steady.clone()])], Clock::start(), FirstRun::Spread);
    until(&mut snapshots, "30 runs", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 30).await;
    let gaps = steady.gaps();
    assert!(gaps.iter().all(|gap| (9_000..=10_010).contains(&gap.as_millis())), "{gaps:?}");
    assert!(gaps.iter().any(|gap| gap.abs_diff(gaps[0]) > Duration::from_millis(50)), "no jitter: {gaps:?}");
}

#[tokio::test(start_paused = true)]
async fn thousands_of_first_runs_are_spread_over_more_than_a_second() {
    let steady = Scripted::new(|| async { Health::Healthy });
    let contract = |number| plan(&format!("c{number}"), vec![check("a")], vec![steady.clone()]);
    let contracts = (0..4_000).map(contract).collect();
    let start_of_all = Instant::now();
    let (mut snapshots, _running) = start(contracts, Clock::start(), FirstRun::Spread);
    until(&mut snapshots, "every check has run", |snapshot| {
        (0..4_000).all(|contract| runs(snapshot, contract, Outcome::Healthy) >= 1)
    })
    .await;
    let firsts = steady.begun.lock().unwrap();
    let in_the_first_second = firsts.iter().filter(|at| **at - start_of_all <= Duration::from_secs(1)).count();
    assert!((1_600..2_400).contains(&in_the_first_second), "{in_the_first_second}");
}

#[tokio::test(start_paused = true)]
async fn a_run_longer_than_the_interval_delays_the_next_and_is_not_made_up_for() {
    let slow = Scripted::new(|| async {
        sleep(Duration::from_secs(4)).await;
        Health::Healthy
    });
    let hurried = CheckSpec { interval: Duration::from_secs(1), ..check("a") };
    let (mut snapshots, _running) =
        start(vec![plan("c", vec![hurried], vec![slow.clone()])], Clock::start(), FirstRun::Immediate);
    until(&mut snapshots, "five runs", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 5).await;
    assert!(slow.gaps().iter().all(|gap| *gap >= Duration::from_secs(4)), "{:?}", slow.gaps());
}

#[tokio::test(start_paused = true)]
async fn a_clock_is_measured_finely_from_trigger_to_health() {
    static UP: AtomicBool = AtomicBool::new(false);
    let failing = Scripted::new(|| async { if UP.load(Ordering::SeqCst) { Health::Healthy } else { unhealthy() } });
    let clock = Clock::start();
    let (mut snapshots, _running) =
        start(vec![plan("c", vec![check("a")], vec![failing.clone()])], clock, FirstRun::Immediate);
    until(&mut snapshots, "the clock runs", |snapshot| snapshot.contracts[0].contract.clock().running().is_some())
        .await;
    let gaps = failing.gaps();
    assert_eq!(gaps.len(), 2, "triggered by the third failure");
    assert!(gaps.iter().all(|gap| *gap >= Duration::from_secs(9)), "before, at the normal interval: {gaps:?}");
    sleep(Duration::from_secs(21)).await;
    let finely = failing.gaps().split_off(2);
    assert!(finely.len() >= 9 && finely.iter().all(|gap| *gap <= Duration::from_secs(3)), "{finely:?}");
    let back = clock.now();
    UP.store(true, Ordering::SeqCst);
    until(&mut snapshots, "recovered", |snapshot| snapshot.contracts[0].contract.clock().last_recovery().is_some())
        .await;
    let snapshot = snapshots.borrow().clone();
    let recovery = *snapshot.contracts[0].contract.clock().last_recovery().expect("a recovery");
    let late = recovery.healthy.since(back);
    assert!(late <= Duration::from_secs(2), "found {late:?} after the truth");
    until(&mut snapshots, "two more runs", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 3).await;
    let last = *failing.gaps().last().expect("gaps");
    assert!(last >= Duration::from_secs(9), "after, at the normal interval: {last:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_ready_or_met_before_it_is_measured() {
    let slow = Scripted::new(|| async {
        sleep(Duration::from_secs(3)).await;
        Health::Healthy
    });
    let clock = Clock::start();
    let (mut snapshots, _running) = start(vec![plan("c", vec![check("a")], vec![slow])], clock, FirstRun::Immediate);
    let judge =
        |snapshot: &Snapshot| snapshot.contracts[0].contract.judge(Objective::Rto, clock.now()).expect("an RTO");
    {
        let snapshot = snapshots.borrow().clone();
        assert!(!snapshot.is_ready());
        assert_eq!(judge(&snapshot).basis, Basis::HealthUnknown);
    }
    until(&mut snapshots, "ready", Snapshot::is_ready).await;
    let snapshot = snapshots.borrow().clone();
    assert_eq!(judge(&snapshot).basis, Basis::NoRecovery);
    assert_eq!(judge(&snapshot).status(), Status::Unproven);
}

#[tokio::test(start_paused = true)]
async fn the_ledger_ticks_though_nobody_reports() {
    let clock = Clock::start();
    let (mut snapshots, _running) = start(Vec::new(), clock, FirstRun::Immediate);
    let started = clock.now();
    until(&mut snapshots, "five ticks", |snapshot| snapshot.ticked.since(started) >= Duration::from_secs(5)).await;
}

/// Each of two triggers sees every run of what it watches, in the order of the runs: one that watches a contract's check, one
/// with a check of its own.
#[tokio::test(start_paused = true)]
async fn a_trigger_goes_on_and_off_at_the_exact_run() {
    let sick = |runs: std::ops::Range<u32>| {
        let count = AtomicU32::new(0);
        Scripted::new(move || {
            let run = count.fetch_add(1, Ordering::SeqCst);
            let health = if runs.contains(&run) { unhealthy() } else { Health::Healthy };
            async move { health }
        })
    };
    let trigger = |name: &str, watched, failures_to_trigger| TriggerSpec {
        name: name.to_owned(),
        action: "act".to_owned(),
        notification: "pager".to_owned(),
        mode: TriggerMode::Manual,
        watched,
        when: Thresholds {
            failures_to_trigger,
            hold: Duration::ZERO,
            successes_to_recover: 1,
            freshness: Duration::from_secs(35),
            pace: Duration::from_secs(35),
        },
    };
    let watches = Watched::Check { contract: "api".to_owned(), check: "health".to_owned() };
    let (of_api, own) = (sick(4..9), sick(3..5));
    let triggers = vec![
        TriggerPlan { spec: Arc::new(trigger("watching", watches, 4)), check: None, made: Made::default() },
        TriggerPlan {
            spec: Arc::new(trigger("own", Watched::Own(Box::new(check("own"))), 1)),
            check: Some(own.clone()),
            made: Made::default(),
        },
    ];
    let contracts = vec![plan("api", vec![check("health")], vec![of_api.clone()])];
    let running = engine::start(
        Plans { contracts, triggers, ..Plans::default() },
        Clock::start(),
        FirstRun::Immediate,
        Recalled::default(),
    );
    let mut snapshots = running.snapshots.clone();
    let fires = |snapshot: &Snapshot, trigger: usize| snapshot.triggers[trigger].trigger.firing().is_some();
    let begun = |check: &Mutex<Vec<Instant>>| check.lock().unwrap().len();

    until(&mut snapshots, "its own check fails", |snapshot| fires(snapshot, 1)).await;
    assert_eq!(begun(&own.begun), 4, "it fires at the fourth run");
    until(&mut snapshots, "its own check is well", |snapshot| !fires(snapshot, 1)).await;
    assert_eq!(begun(&own.begun), 6, "and is clear at the sixth");

    until(&mut snapshots, "the contract's check fails", |snapshot| fires(snapshot, 0)).await;
    assert_eq!(begun(&of_api.begun), 8, "it fires at the fourth failure");
    until(&mut snapshots, "the contract's check is well", |snapshot| !fires(snapshot, 0)).await;
    assert_eq!(begun(&of_api.begun), 10, "and is clear at the first success");
    let snapshot = snapshots.borrow().clone();
    assert!(snapshot.triggers.iter().all(|record| record.trigger.last_fired().is_some()));
}

/// A check that remembers a number, and counts its runs.
struct Remembering {
    knows: AtomicU32,
    ran: AtomicU32,
}

impl Remembering {
    fn new(knows: u32) -> Arc<Self> {
        Arc::new(Self { knows: knows.into(), ran: 0.into() })
    }
}

#[async_trait]
impl Check for Remembering {
    async fn run(&self, _: Run) -> Observation {
        self.ran.fetch_add(1, Ordering::SeqCst);
        Observation::of_health(Health::Healthy)
    }

    fn memory(&self, _: Moment) -> Option<serde_json::Value> {
        Some(self.knows.load(Ordering::SeqCst).into())
    }

    fn recall(&self, memory: &serde_json::Value, _: Clock) {
        let known = memory.as_u64().and_then(|known| u32::try_from(known).ok());
        self.knows.store(known.unwrap_or_default(), Ordering::SeqCst);
    }
}

/// A threshold that changed holds from the reload on; what was known of the same thing stays known.
#[tokio::test(start_paused = true)]
async fn a_check_that_judges_in_another_way_takes_over_what_the_one_before_knew() {
    let (before, same, judges, other) =
        (Remembering::new(7), Remembering::new(1), Remembering::new(1), Remembering::new(1));
    let made = |one: &Arc<Remembering>, fingerprint: &str, stanza: &str| {
        let mut plan = plan("a", vec![check("a")], vec![Arc::clone(one) as Arc<dyn Check>]);
        plan.checks[0].made = Made { fingerprint: fingerprint.to_owned(), stanza: stanza.to_owned() };
        plan
    };
    let plans = |plan| Plans { contracts: vec![plan], ..Plans::default() };
    let (mut snapshots, mut running) = start(vec![made(&before, "f", "s")], Clock::start(), FirstRun::Immediate);
    until(&mut snapshots, "a run", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 1).await;

    running.swap(plans(made(&same, "f", "s"))).await;
    until(&mut snapshots, "the same runs on", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 3).await;
    assert_eq!(same.ran.load(Ordering::SeqCst), 0);

    running.swap(plans(made(&judges, "f", "t"))).await;
    let counted = runs(&snapshots.borrow(), 0, Outcome::Healthy);
    until(&mut snapshots, "the new one runs", |snapshot| runs(snapshot, 0, Outcome::Healthy) > counted).await;
    assert_eq!((judges.ran.load(Ordering::SeqCst), judges.knows.load(Ordering::SeqCst)), (1, 7));

    running.swap(plans(made(&other, "g", "t"))).await;
    until(&mut snapshots, "another runs", |snapshot| runs(snapshot, 0, Outcome::Healthy) >= 1).await;
    assert_eq!(other.knows.load(Ordering::SeqCst), 1, "what was known of another thing");
}
