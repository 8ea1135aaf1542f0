//! The wall clock is set while the exporter runs: what is stored tells the same ages after that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dr_exporter::checks::Kind as _;
use dr_exporter::checks::http::HttpConfig;
use dr_exporter::clock::{self, Clock};
use dr_exporter::domain::check::{CheckSpec, Feeds};
use dr_exporter::domain::contract::{ContractSpec, Priority};
use dr_exporter::domain::kind::KindInfo;
use dr_exporter::domain::observation::{CopyState, Finding, Health, Observation, Reason};
use dr_exporter::domain::remembered::RememberedCheck;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::engine::check::{Check, Run};
use dr_exporter::engine::memory::Recalled;
use dr_exporter::engine::{self, FirstRun, Made, Plan, Planned, Plans};
use dr_exporter::store::keeper::{Storage, StorageOptions};
use dr_exporter::store::sqlite::Sqlite;
use dr_exporter::store::{Backend as _, Batch, StoredCheck};
use dr_testkit::wait_until;
use serde_json::json;

const SOON: Duration = Duration::from_secs(30);

static DOWN: Reason = Reason::new("down", "start it");
static SCRIPTED: KindInfo = KindInfo { reasons: &[&DOWN], ..HttpConfig::INFO };

/// It is down, or its copy is seen to be complete, once; nothing is learned after that.
struct Once {
    is_down: bool,
    complete: Timestamp,
    ran: AtomicBool,
}

#[async_trait]
impl Check for Once {
    async fn run(&self, _: Run) -> Observation {
        let finding = || Finding::new(&DOWN, "it is down");
        let (health, copy) = match (self.ran.swap(true, Ordering::Relaxed), self.is_down) {
            (true, _) => (Health::NoAnswer(finding()), CopyState::Unknown(finding())),
            (false, true) => (Health::Unhealthy(finding()), CopyState::Unknown(finding())),
            (false, false) => (Health::Healthy, CopyState::Complete { up_to: self.complete }),
        };
        Observation { copy: Some(copy), ..Observation::of_health(health) }
    }
}

/// A check whose first run takes longer than the test.
struct Hangs;

#[async_trait]
impl Check for Hangs {
    async fn run(&self, _: Run) -> Observation {
        std::future::pending().await
    }
}

fn plan(name: &str, complete: Timestamp) -> Plan {
    plan_of(name, Arc::new(Once { is_down: name == "api", complete, ran: AtomicBool::new(false) }))
}

fn plan_of(name: &str, check: Arc<dyn Check>) -> Plan {
    let spec = ContractSpec {
        name: name.to_owned(),
        component: name.to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(Duration::from_secs(3600)),
        rpo: Some(Duration::from_secs(3600)),
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: Vec::new(),
    };
    let of = CheckSpec {
        name: "health".to_owned(),
        kind: &SCRIPTED,
        interval: Duration::from_millis(200),
        interval_when_down: Duration::from_millis(200),
        timeout: Duration::from_secs(60),
        failures_to_trigger: 1,
        successes_to_recover: 1,
        warn_after: None,
        lag_budget: None,
        feeds: Feeds { rto: true, rpo: true },
    };
    let planned = Planned { spec: of, check, made: Made::default() };
    Plan { spec: Arc::new(spec), checks: vec![planned] }
}

/// A clock, and by how many nanoseconds it is set.
fn clock_that_is_set() -> (Clock, Arc<AtomicI64>) {
    let set = Arc::new(AtomicI64::new(0));
    let (read, begun) = (Arc::clone(&set), clock::instant());
    let passed = move || i64::try_from(clock::since(begun).as_nanos()).expect("a short test");
    let wall = move || 1_800_000_000_000_000_000 + passed() + read.load(Ordering::Relaxed);
    (Clock::with(wall, || 0), set)
}

fn options(directory: &Path) -> StorageOptions {
    StorageOptions { backend: Box::new(Sqlite::of(directory)), retention: Duration::from_secs(365 * 24 * 3600) }
}

/// Its memory is not known to the ledger before its first run has ended, and must not be lost meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_not_run_since_the_start_stays_as_it_is_stored() {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, set) = clock_that_is_set();
    let state = RememberedCheck { latched: Some(clock.now()), ..RememberedCheck::default() };
    let known = StoredCheck { state, memory: Some(json!({"held": 1})), ..StoredCheck::default() };
    let checks = BTreeMap::from([(("hangs".to_owned(), "health".to_owned()), known.clone())]);
    let backend = Sqlite::of(directory.path());
    backend.open().expect("it opens").save(&Batch { checks, ..Batch::default() }).expect("it is written");
    let (storage, thread, stored) = Storage::start(options(directory.path())).expect("a storage");
    let contracts = vec![plan_of("hangs", Arc::new(Hangs)), plan("copy", clock.now())];
    let plans = Plans { contracts, ..Plans::default() };
    let running = engine::start(plans, clock, FirstRun::Immediate, Recalled { storage: Some(storage), stored });
    let of = |contract: &str| backend.load().ok()?.checks.get(contract)?.get("health").cloned();
    let latched = || of("copy")?.state.latched;
    let before = wait_until("the other is stored", SOON, async || latched()).await;
    set.store(3600 * 1_000_000_000, Ordering::Relaxed);
    wait_until("the other follows", SOON, async || (latched()? > before).then_some(())).await;
    assert_eq!(of("hangs"), Some(known));
    running.stop().await;
    thread.join(SOON);
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_times_follow_a_wall_clock_that_is_set() {
    let directory = tempfile::tempdir().expect("a directory");
    let (clock, set) = clock_that_is_set();
    let (storage, thread, stored) = Storage::start(options(directory.path())).expect("a storage");
    let plans = Plans { contracts: vec![plan("api", clock.now()), plan("copy", clock.now())], ..Plans::default() };
    let running = engine::start(plans, clock, FirstRun::Immediate, Recalled { storage: Some(storage), stored });
    let backend = Sqlite::of(directory.path());
    let times = || {
        let stored = backend.load().ok()?;
        let trigger = stored.clocks.get("api")?.running?.trigger;
        Some((trigger, stored.checks.get("copy")?.get("health")?.state.latched?))
    };
    let before = wait_until("the outage is stored", SOON, async || times()).await;
    for by in [-3600_i64, 7200] {
        set.fetch_add(by * 1_000_000_000, Ordering::Relaxed);
        let now = |at: Timestamp| Timestamp::from_unix_nanos(at.as_unix_nanos() + set.load(Ordering::Relaxed));
        let near = |a: Timestamp, b: Timestamp| a.since(b).max(b.since(a)) < Duration::from_secs(1);
        wait_until("what is stored follows", SOON, async || {
            let (trigger, latched) = times()?;
            (near(trigger, now(before.0)) && near(latched, now(before.1))).then_some(())
        })
        .await;
    }
    running.stop().await;
    thread.join(SOON);
}
