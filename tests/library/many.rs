//! Very many checks in one process. The figures of `docs/scaling.md` come from here:
//! `cargo test --release --test library many:: -- --ignored --nocapture`.
#![allow(clippy::disallowed_methods, clippy::cast_precision_loss)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant as Real};

use async_trait::async_trait;
use dr_exporter::clock::{Clock, Moment};
use dr_exporter::domain::check::CheckSpec;
use dr_exporter::domain::observation::{Health, Observation, Outcome};
use dr_exporter::engine::check::{Check, Run};
use dr_exporter::engine::memory::Recalled;
use dr_exporter::engine::snapshot::Snapshot;
use dr_exporter::engine::{self, FirstRun, Plan, Plans, Running};
use dr_exporter::export::report::StatusReport;
use dr_exporter::export::{View, metrics};
use tokio::time::{Instant, sleep};

use super::engine::{check, plan, unhealthy};

const CONTRACTS: usize = 20_000;
const CHECKS: usize = 5;
const INTERVAL: Duration = Duration::from_secs(30);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long each check fails once a day.
const OUTAGE: Duration = Duration::from_secs(300);

/// How late runs began. A run is due at the latest one interval after the start of the one before.
#[derive(Default)]
struct Lateness {
    runs: AtomicU64,
    late: AtomicU64,
    sum: AtomicU64,
    most: AtomicU64,
}

/// A check that answers after a while. It is well, but for [`OUTAGE`] once a day if it has an hour for that.
struct Fake {
    lateness: Arc<Lateness>,
    last: std::sync::Mutex<Option<Instant>>,
    takes: Duration,
    made: Instant,
    fails_at: Option<Duration>,
}

impl Fake {
    fn fails(&self) -> bool {
        let of_day = Duration::from_secs(self.made.elapsed().as_secs() % DAY.as_secs());
        self.fails_at.is_some_and(|begin| (begin..begin + OUTAGE).contains(&of_day))
    }
}

#[async_trait]
impl Check for Fake {
    async fn run(&self, _: Run) -> Observation {
        let now = Instant::now();
        let before = self.last.lock().expect("no run panics").replace(now);
        if let Some(before) = before {
            let late = (now - before).saturating_sub(INTERVAL).as_millis();
            let late = u64::try_from(late).unwrap_or(u64::MAX);
            self.lateness.runs.fetch_add(1, Relaxed);
            self.lateness.sum.fetch_add(late, Relaxed);
            self.lateness.most.fetch_max(late, Relaxed);
            self.lateness.late.fetch_add(u64::from(late > 1000), Relaxed);
        }
        sleep(self.takes).await;
        Observation::of_health(if self.fails() { unhealthy() } else { Health::Healthy })
    }
}

/// Starts the engine. `fails_at` tells at which time of the day the check of a number fails.
fn start(clock: Clock, contracts: usize, fails_at: impl Fn(usize) -> Option<Duration>) -> (Running, Arc<Lateness>) {
    let lateness = Arc::new(Lateness::default());
    let fake = |index: usize| -> Arc<dyn Check> {
        Arc::new(Fake {
            lateness: Arc::clone(&lateness),
            last: std::sync::Mutex::default(),
            takes: Duration::from_millis(20),
            made: Instant::now(),
            fails_at: fails_at(index),
        })
    };
    let spec = |index: usize| CheckSpec { interval: INTERVAL, ..check(&format!("check-{index}")) };
    let plans: Vec<Plan> = (0..contracts)
        .map(|index| {
            plan(&format!("contract-{index:05}"), (0..CHECKS).map(spec).collect(), (0..CHECKS).map(fake).collect())
        })
        .collect();
    let plans = Plans { contracts: plans, ..Plans::default() };
    (engine::start(plans, clock, FirstRun::Spread, Recalled::default()), lateness)
}

/// Resident memory of this process, in MiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn healthy(snapshot: &Snapshot) -> u64 {
    let records =
        snapshot.contracts.iter().flat_map(|record| record.checks().map(|(_, runs)| runs).collect::<Vec<_>>());
    records
        .flat_map(|runs| runs.runs().collect::<Vec<_>>())
        .filter(|(of, _)| *of == Outcome::Healthy)
        .map(|(_, count)| count)
        .sum()
}

fn shown(running: &Running, moment: Moment) {
    let snapshot = Arc::clone(&running.snapshots.borrow());
    let view = View { snapshot: &snapshot, moment };
    let begun = Real::now();
    let scrape = metrics::prometheus(view);
    let series = scrape.lines().filter(|line| !line.starts_with('#')).count();
    println!("a scrape: {series} series, {} MB, {:.2} s", scrape.len() / 1_000_000, begun.elapsed().as_secs_f64());
    let begun = Real::now();
    let report = StatusReport::of(view);
    println!("a status: {} contracts, {:.2} s", report.contracts.len(), begun.elapsed().as_secs_f64());
}

fn told(what: &str, lateness: &Lateness) {
    let [runs, late, sum, most] =
        [&lateness.runs, &lateness.late, &lateness.sum, &lateness.most].map(|of| of.load(Relaxed));
    println!(
        "{what}: {runs} runs, late by {:.1} ms on average and {most} ms at most; {late} by more than 1 s; {} MiB",
        sum as f64 / runs.max(1) as f64,
        memory()
    );
}

/// A minute and a half on a paused clock: how much work that is, and that no run is lost. On a paused clock
/// every millisecond is a batch of its own, which is the worst case for the ledger: it looks at every
/// contract with each batch.
#[tokio::test(start_paused = true)]
#[ignore = "takes long; prints the figures of docs/scaling.md"]
async fn a_hundred_thousand_checks_on_a_paused_clock() {
    let (before, begun) = (memory(), Real::now());
    let clock = Clock::start();
    let (running, lateness) = start(clock, CONTRACTS, |_| None);
    let started = begun.elapsed();
    sleep(Duration::from_secs(90)).await;
    let wall = begun.elapsed();
    println!(
        "{} checks every {INTERVAL:?}: started in {:.1} s, 90 s in {:.1} s of wall time and {:.1} s of CPU; {before} MiB before",
        CONTRACTS * CHECKS,
        started.as_secs_f64(),
        wall.as_secs_f64(),
        cpu(),
    );
    told("paused", &lateness);
    let counted = healthy(&running.snapshots.borrow());
    assert!(counted >= (CONTRACTS * CHECKS * 3) as u64, "{counted} runs were counted");
    shown(&running, clock.moment());
}

/// The recoveries that a scrape counts.
fn recoveries(running: &Running, moment: Moment) -> f64 {
    let snapshot = Arc::clone(&running.snapshots.borrow());
    let scrape = metrics::prometheus(View { snapshot: &snapshot, moment });
    let counts = scrape.lines().filter(|line| line.starts_with("dr_recoveries_total{"));
    counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// Days of paused time. Each check fails once a day, at a time of its own.
async fn days(contracts: usize, days: u32) {
    let clock = Clock::start();
    let hours = |check: usize| Some(Duration::from_secs(60 * 60 * (2 + 4 * check as u64)));
    let (running, lateness) = start(clock, contracts, hours);
    let (begun, cpu_before) = (Real::now(), cpu());
    let mut first = 0;
    for day in 1..=days {
        sleep(DAY).await;
        let counted = recoveries(&running, clock.moment());
        let due = f64::from(day) * (contracts * CHECKS) as f64;
        assert!((counted - due).abs() < 0.5, "{counted} recoveries after day {day}, and there were {due} outages");
        if day == 1 {
            first = memory();
        }
    }
    let checks = contracts * CHECKS;
    println!(
        "{checks} checks, {days} days in {:.0?} and {:.1} s of CPU; {first} MiB after the first day",
        begun.elapsed(),
        cpu() - cpu_before,
    );
    told("days", &lateness);
    assert_eq!(lateness.late.load(Relaxed), 0, "no run is late");
    let due = f64::from(days) * (DAY.as_secs() / INTERVAL.as_secs()) as f64 * checks as f64;
    assert!(lateness.runs.load(Relaxed) as f64 >= due * 0.99, "{due} runs are due");
    assert!(memory() < first + 16, "{} MiB, and {first} MiB after the first day", memory());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes long: a soak"]
async fn a_day_of_a_thousand_checks() {
    days(200, 1).await;
}

#[tokio::test(start_paused = true)]
#[ignore = "takes long: a soak"]
async fn thirty_days_of_a_few_checks() {
    days(4, 30).await;
}

/// The same against the real clock, on the two threads that the exporter has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long; prints the figures of docs/scaling.md"]
async fn checks_against_the_real_clock() {
    for contracts in [2_000, 6_000, CONTRACTS] {
        let clock = Clock::start();
        let (running, lateness) = start(clock, contracts, |_| None);
        // The first runs are all within an interval.
        sleep(Duration::from_secs(40)).await;
        let (from, counted) = (cpu(), healthy(&running.snapshots.borrow()));
        for figure in [&lateness.runs, &lateness.late, &lateness.sum, &lateness.most] {
            figure.store(0, Relaxed);
        }
        sleep(Duration::from_secs(60)).await;
        let counted = healthy(&running.snapshots.borrow()) - counted;
        println!(
            "{} checks, real: {:.2} cores, {counted} runs were counted",
            contracts * CHECKS,
            (cpu() - from) / 60.0
        );
        told("real", &lateness);
        shown(&running, clock.moment());
        running.stop().await;
    }
}
