//! What every backend of the storage must hold. A new one gets its line in `backends!`, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::independence::DegradedOperation;
use dr_exporter::domain::outage::{Beginning, Interruption, Mode, Outage};
use dr_exporter::domain::remembered::{RememberedCheck, RememberedClock};
use dr_exporter::domain::status::Basis;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::domain::trigger::{RememberedTrigger, TriggerMode};
use dr_exporter::store::history::{History, HistoryQuery, Observed};
use dr_exporter::store::jetstream::JetStream;
use dr_exporter::store::plans::Plans;
use dr_exporter::store::sqlite::Sqlite;
use dr_exporter::store::{
    Backend, Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, RecoveryResult, Store, StoreError, Stored,
    StoredCheck, StoredTrigger, Transition,
};
use dr_testkit::nats::{self, Server};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;

mod record;

/// A backend with a place of its own, which goes with it.
struct Place {
    backend: Box<dyn Backend>,
    _holds: Box<dyn std::any::Any>,
}

fn sqlite() -> Place {
    let directory = tempfile::tempdir().expect("a directory");
    Place { backend: Box::new(Sqlite::of(directory.path())), _holds: Box::new(directory) }
}

fn jetstream() -> Place {
    let mut server = Server::new(&nats::current());
    server.configure(&format!("server_name: single\njetstream {{ store_dir: \"{}\" }}\n", server.store()));
    server.run();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(server.listens());
    Place { backend: Box::new(stream_on(&server.address.to_string(), "a", 1)), _holds: Box::new(server) }
}

/// A store in a stream on this server.
pub(crate) fn stream_on(address: &str, replica: &str, stream_replicas: usize) -> JetStream {
    stream_as(address, "", replica, stream_replicas)
}

/// The same, with further keys of the connection.
pub(crate) fn stream_as(address: &str, more: &str, replica: &str, stream_replicas: usize) -> JetStream {
    let yaml = format!(
        "nats: {{ shared: {{ servers: [\"nats://{address}\"]{more} }} }}\n{}",
        crate::single::config("http: { url: \"http://127.0.0.1:1/\" }")
    );
    let config = dr_exporter::config::parse(&yaml, std::path::Path::new("config.yaml"));
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    let (name, connection) = config.connections.nats.first_key_value().expect("a connection");
    let store = JetStream::named(name.as_str(), connection.clone(), "dr_exporter", replica).expect("a name");
    // Few, so that the log is condensed in the middle of a test.
    // Nobody else knows anything.
    JetStream { stream_replicas, states_kept: 3, founding_after: Duration::ZERO, ..store }
}

macro_rules! backends {
    ($($backend:ident),+) => {
        $(mod $backend {
            #[test]
            fn an_empty_store_knows_nothing() {
                super::an_empty_store_knows_nothing(&super::$backend());
            }
            #[test]
            fn what_is_saved_is_there_after_a_restart() {
                super::what_is_saved_is_there_after_a_restart(&super::$backend());
            }
            #[test]
            fn any_batches_leave_what_a_model_says() {
                super::any_batches_leave_what_a_model_says(super::$backend);
            }
            #[test]
            fn one_process_writes_and_others_read() {
                super::one_process_writes_and_others_read(&super::$backend());
            }
            #[test]
            fn questions_are_answered_newest_first() {
                super::questions_are_answered_newest_first(&super::$backend());
            }
            #[test]
            fn the_record_is_a_chain_and_repeats_nothing() {
                super::record::the_record_is_a_chain_and_repeats_nothing(&super::$backend());
            }
            #[test]
            fn incidents_and_drills_survive_a_restart() {
                super::record::incidents_and_drills_survive_a_restart(&super::$backend());
            }
            #[test]
            fn the_past_is_told_with_what_held_before_it() {
                super::the_past_is_told_with_what_held_before_it(&super::$backend());
            }
            #[test]
            fn only_what_is_over_is_forgotten() {
                super::only_what_is_over_is_forgotten(&super::$backend());
            }
        })+
    };
}
backends!(sqlite, jetstream);

/// An instant with a part of a second that needs all its digits.
fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanos((1_750_000_000 + seconds) * 1_000_000_000 + 123_456_789)
}

fn clock(trigger: i64, met: u64) -> RememberedClock {
    let outage = Outage {
        first_failure: t(trigger - 5),
        trigger: t(trigger),
        mode: Mode::Real,
        beginning: Beginning::After(t(trigger - 60)),
        declared: trigger % 2 == 1,
        confirmed: trigger % 3 == 1,
        interruption: (trigger % 5 == 1)
            .then(|| Interruption { longest: Duration::from_millis(1500), since: Some(t(trigger + 9)) }),
    };
    RememberedClock { running: Some(outage), met, ..RememberedClock::default() }
}

fn check(at: i64, memory: i64) -> StoredCheck {
    StoredCheck {
        fingerprint: "v1:abc".to_owned(),
        state: RememberedCheck { latched: Some(t(at)), failures: 2, ..RememberedCheck::default() },
        memory: Some(json!({"seen": memory, "text": "ü \" \\ \n"})),
    }
}

fn recovery(contract: &str, trigger: i64, lasted: i64) -> ClosedRecovery {
    ClosedRecovery {
        contract: contract.to_owned(),
        first_failure: t(trigger - 5),
        trigger: t(trigger),
        healthy: t(trigger + lasted),
        earliest: t(trigger + lasted),
        recovery_seconds: lasted as f64,
        downtime_seconds: lasted as f64 + 5.0,
        target_seconds: Some(300.0),
        result: Some(RecoveryResult::Met),
        mode: Mode::Real,
        check: "health".to_owned(),
        reason: "connect_failed".to_owned(),
        data_at_risk_seconds: None,
    }
}

fn transition(contract: &str, at: i64, basis: Basis) -> Transition {
    let (contract, objective) = (contract.to_owned(), Objective::Rpo);
    Transition { contract, objective, at: t(at), was: None, status: basis.status(), basis }
}

fn firing(trigger: &str, started: i64, ended: Option<i64>) -> Firing {
    Firing {
        trigger: trigger.to_owned(),
        action: "failover".to_owned(),
        notification: "page".to_owned(),
        mode: TriggerMode::Manual,
        holds_since: t(started - 10),
        started: t(started),
        ended: ended.map(t),
        reason: "down".to_owned(),
        detail: "it is down".to_owned(),
    }
}

/// A batch with something of everything.
fn everything() -> Batch {
    let trigger = StoredTrigger {
        fingerprint: "v1:t".to_owned(),
        state: RememberedTrigger::default(),
        open: Some(firing("lost", 40, None)),
    };
    let operation = DegradedOperation {
        contract: "api".to_owned(),
        without: "nats".to_owned(),
        started: t(10),
        ended: None,
        ok: true,
    };
    Batch {
        clocks: BTreeMap::from([("api".to_owned(), clock(50, 3))]),
        checks: BTreeMap::from([(("api".to_owned(), "health".to_owned()), check(20, 1))]),
        recoveries: vec![recovery("api", 30, 12)],
        transitions: vec![transition("api", 1, Basis::CopyLost), transition("api", 2, Basis::ExposureWithinTarget)],
        triggers: BTreeMap::from([("lost".to_owned(), trigger)]),
        firings: vec![firing("lost", 40, None)],
        operations: vec![operation],
        plans: Plans { alive: Some(t(50)), ..Plans::default() },
        entries: vec![record::entry("boot-1"), record::entry("boot-2")],
        observed: BTreeMap::from([(("api".to_owned(), t(0)), t(60))]),
        replies: BTreeMap::new(),
    }
}

fn open(place: &Place) -> Box<dyn Store> {
    super::open(place.backend.as_ref())
}

fn save(place: &Place, batch: &Batch) {
    open(place).save(batch).expect("saved");
}

fn an_empty_store_knows_nothing(place: &Place) {
    assert!(place.backend.load().is_err(), "a store that is not there is told, and not made");
    assert_eq!(open(place).load().expect("loaded"), Stored::default());
    assert_eq!(place.backend.load().expect("read"), Stored::default());
    assert!(!place.backend.place().is_empty());
}

fn what_is_saved_is_there_after_a_restart(place: &Place) {
    let batch = everything();
    // Twice: a batch whose commit was not acknowledged is handed over again.
    save(place, &batch);
    save(place, &batch);
    let stored = open(place).load().expect("loaded");
    assert_eq!(stored.clocks, batch.clocks);
    assert_eq!(stored.checks["api"]["health"], batch.checks[&("api".to_owned(), "health".to_owned())]);
    assert_eq!(stored.told["api"][&Objective::Rpo], Basis::ExposureWithinTarget, "the last status counts");
    assert_eq!(stored.triggers, batch.triggers);
    assert_eq!(stored.independence["api"]["nats"].open.as_ref(), batch.operations.first());
    assert_eq!(stored.plans, batch.plans);
    assert_eq!(record::all(place).len(), 2, "an entry is appended once");
    let export = place.backend.export().expect("exported");
    assert_eq!(export.state, stored);
    assert_eq!(export.recoveries, batch.recoveries);
    assert_eq!(export.transitions, batch.transitions);
    assert_eq!(export.firings, batch.firings);
    assert_eq!(export.degraded_operation, batch.operations);
    assert_eq!(export.observed, [observed("api", 0, 60)]);
}

/// What one of a few batches changes: each key is one of few, so that changes meet.
fn any_batch() -> impl Strategy<Value = Batch> {
    let name = || prop::sample::select(vec!["api", "nats", "a\"b", "ü", ""]).prop_map(str::to_owned);
    let clocks = prop::collection::btree_map(name(), (0..99_i64, 0..9_u64).prop_map(|(at, met)| clock(at, met)), 0..3);
    let checks =
        prop::collection::btree_map((name(), name()), (0..99_i64, 0..9_i64).prop_map(|(at, n)| check(at, n)), 0..3);
    let recoveries = (name(), 0..9_i64, 0..99_i64).prop_map(|(contract, at, lasted)| recovery(&contract, at, lasted));
    let basis = prop::sample::select(vec![Basis::ExposureWithinTarget, Basis::CopyLost]);
    let transitions = (name(), 0..9_i64, basis).prop_map(|(contract, at, basis)| transition(&contract, at, basis));
    let recoveries = prop::collection::vec(recoveries, 0..3);
    let transitions = prop::collection::vec(transitions, 0..3);
    (clocks, checks, recoveries, transitions).prop_map(|(clocks, checks, recoveries, transitions)| Batch {
        clocks,
        checks,
        recoveries,
        transitions,
        ..Batch::default()
    })
}

/// Batches, each of which may come twice, and restarts in between, against plain maps.
fn any_batches_leave_what_a_model_says(place: impl Fn() -> Place) {
    let batches = prop::collection::vec((any_batch(), any::<bool>(), any::<bool>()), 0..8);
    let mut runner =
        TestRunner::new(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() });
    let holds = runner.run(&batches, |batches| {
        let place = place();
        let (mut model, mut recoveries, mut transitions) = (Stored::default(), BTreeMap::new(), BTreeMap::new());
        let mut store = open(&place);
        for (batch, twice, restart) in batches {
            for _ in 0..=usize::from(twice) {
                store.save(&batch).expect("saved");
            }
            store.turn().expect("a turn");
            if restart {
                drop(store);
                store = open(&place);
            }
            model.clocks.extend(batch.clocks);
            for ((contract, check), stored) in batch.checks {
                model.checks.entry(contract).or_default().insert(check, stored);
            }
            recoveries.extend(batch.recoveries.into_iter().map(|one| ((one.contract.clone(), one.trigger), one)));
            transitions.extend(batch.transitions.into_iter().map(|one| ((one.contract.clone(), one.at), one)));
        }
        for ((contract, _), last) in &transitions {
            model.told.entry(contract.clone()).or_default().insert(last.objective, last.basis);
        }
        prop_assert_eq!(store.load().expect("loaded"), model);
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let mut found = store.recoveries(&all).expect("recoveries");
        found.sort_by_key(|one| (one.contract.clone(), one.trigger));
        prop_assert_eq!(found, recoveries.into_values().collect::<Vec<_>>());
        Ok(())
    });
    holds.expect("the model holds");
}

fn one_process_writes_and_others_read(place: &Place) {
    let mut store = open(place);
    if place.backend.is_shared() {
        store.save(&Batch { clocks: everything().clocks, ..Batch::default() }).expect("the first one leads");
        let refused = open(place).save(&everything()).expect_err("another one leads");
        assert!(matches!(refused, StoreError::NotLeading), "{refused}");
    } else {
        let second = place.backend.open().map(|_| ()).expect_err("it is in use");
        assert!(matches!(second, StoreError::Locked(_)) && second.is_final(), "{second}");
    }
    store.save(&everything()).expect("saved");
    assert_eq!(place.backend.export().expect("exported").recoveries.len(), 1, "while it is in use");
    drop(store);
    save(place, &Batch { recoveries: vec![recovery("api", 90, 1)], ..Batch::default() });
    assert_eq!(place.backend.export().expect("exported").recoveries.len(), 2);
}

fn questions_are_answered_newest_first(place: &Place) {
    let mut store = open(place);
    let recoveries = vec![recovery("api", 10, 5), recovery("nats", 20, 5), recovery("api", 30, 5)];
    let firings = vec![firing("lost", 10, Some(12)), firing("late", 20, None), firing("lost", 30, None)];
    store.save(&Batch { recoveries, firings, ..Batch::default() }).expect("saved");
    let mut asked = |contract: Option<&str>, since: Option<i64>, limit| {
        let (name, since) = (contract.map(str::to_owned), since.map(t));
        let recoveries = store.recoveries(&RecoveryQuery { contract: name, since, limit }).expect("recoveries");
        recoveries.iter().map(|one| one.trigger).collect::<Vec<_>>()
    };
    assert_eq!(asked(None, None, 9), [t(30), t(20), t(10)]);
    assert_eq!(asked(Some("api"), None, 9), [t(30), t(10)]);
    assert_eq!(asked(None, Some(25), 9), [t(30), t(20)], "those that ended then or later");
    assert_eq!(asked(None, None, 1), [t(30)]);
    assert_eq!(asked(Some("none"), None, 9), []);
    let mut asked = |trigger: Option<&str>, since: Option<i64>, limit| {
        let (trigger, since) = (trigger.map(str::to_owned), since.map(t));
        let firings = store.firings(&FiringQuery { trigger, since, limit }).expect("firings");
        firings.iter().map(|one| one.started).collect::<Vec<_>>()
    };
    assert_eq!(asked(None, None, 9), [t(30), t(20), t(10)]);
    assert_eq!(asked(Some("lost"), None, 9), [t(30), t(10)]);
    assert_eq!(asked(None, Some(20), 9), [t(30), t(20)]);
    assert_eq!(asked(None, None, 2), [t(30), t(20)]);
}

fn observed(contract: &str, from: i64, until: i64) -> Observed {
    Observed { contract: contract.to_owned(), from: t(from), until: t(until) }
}

fn the_past_is_told_with_what_held_before_it(place: &Place) {
    let mut store = open(place);
    let (lost, within) = (Basis::CopyLost, Basis::ExposureWithinTarget);
    let transitions = vec![
        transition("api", 10, lost),
        transition("api", 20, within),
        transition("api", 30, lost),
        transition("api", 40, within),
        transition("nats", 5, within),
    ];
    let times = [("api", 0, 15), ("api", 18, 25), ("nats", 0, 50)];
    let times = times.map(|(contract, from, until)| ((contract.to_owned(), t(from)), t(until)));
    store.save(&Batch { transitions, observed: times.into(), ..Batch::default() }).expect("saved");
    // A time that goes on is written again with a later end.
    let later = BTreeMap::from([(("api".to_owned(), t(18)), t(50))]);
    store.save(&Batch { observed: later, ..Batch::default() }).expect("saved");
    let mut asked = |contract: Option<&str>, since: i64, limit| {
        let contract = contract.map(str::to_owned);
        let History { transitions, observed } =
            store.history(&HistoryQuery { contract, since: t(since), limit }).expect("a history");
        let transitions: Vec<_> = transitions.into_iter().map(|one| (one.contract, one.at)).collect();
        (transitions, observed)
    };
    let at = |contract: &str, seconds: i64| (contract.to_owned(), t(seconds));
    let (changes, looks) = asked(None, 25, 9);
    assert_eq!(changes, [at("nats", 5), at("api", 20), at("api", 30), at("api", 40)], "20 still held at 25");
    assert_eq!(looks, [observed("nats", 0, 50), observed("api", 18, 50)], "what ended before is left out");
    assert_eq!(asked(Some("api"), 20, 9).0, [at("api", 10), at("api", 20), at("api", 30), at("api", 40)]);
    assert_eq!(asked(Some("api"), 0, 9).1, [observed("api", 0, 15), observed("api", 18, 50)]);
    let (changes, looks) = asked(None, 0, 1);
    assert_eq!(changes, [at("nats", 5), at("api", 40)], "the newest of each objective");
    assert_eq!(looks, [observed("nats", 0, 50), observed("api", 18, 50)], "the newest of each contract");
    assert_eq!(asked(Some("none"), 0, 9), (Vec::new(), Vec::new()));
}

fn only_what_is_over_is_forgotten(place: &Place) {
    const DAY: i64 = 24 * 60 * 60;
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let retention = Duration::from_secs(10 * DAY as u64);
    let mut store = open(place);
    store.save(&everything()).expect("saved");
    let later = Batch { recoveries: vec![recovery("api", 5 * DAY, 1)], ..Batch::default() };
    // A clock that shows the right time for days: the process runs, and is told to forget every hour.
    for hour in 1..=14 * 24 {
        if hour == 5 * 24 {
            store.save(&later).expect("saved");
        }
        // What is new shows that time went on: where nothing is recorded, nothing is forgotten.
        let transitions = vec![transition("nats", hour * 3600, Basis::CopyLost)];
        store.save(&Batch { transitions, ..Batch::default() }).expect("saved");
        store.forget(retention, HOUR, t(hour * 3600)).expect("forgotten");
    }
    drop(store);
    let export = place.backend.export().expect("exported");
    assert_eq!(export.recoveries, later.recoveries, "what ended fourteen days ago is gone");
    assert_eq!(export.observed, [], "with the times during which somebody looked");
    let kept = everything();
    assert_eq!(export.state.clocks, kept.clocks, "what a restart goes on from stays");
    assert_eq!(export.state.triggers, kept.triggers, "with the firing that goes on");
    assert_eq!(
        export.state.told["api"][&Objective::Rpo],
        Basis::ExposureWithinTarget,
        "and the last status of each objective"
    );
}
