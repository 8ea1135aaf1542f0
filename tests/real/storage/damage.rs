//! Damage of the file: found, set aside, told, and never taken for the truth.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::independence::DegradedOperation;
use dr_exporter::domain::outage::{Beginning, Mode, Outage, Recovery};
use dr_exporter::domain::remembered::{RememberedCheck, RememberedClock};
use dr_exporter::domain::status::Basis;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::domain::trigger::{RememberedTrigger, TriggerMode};
use dr_exporter::store::damage::Damage;
use dr_exporter::store::plans::Plans;
use dr_exporter::store::record::{Entry, Fact};
use dr_exporter::store::sqlite::{FILE, Sqlite};
use dr_exporter::store::{
    Backend, Batch, ClosedRecovery, Export, Firing, FiringQuery, RecoveryQuery, RecoveryResult, Store, StoredCheck,
    StoredTrigger, Transition,
};
use rusqlite::Connection;
use serde_json::json;

mod random;

/// The contracts of the stores here.
pub(super) const CONTRACTS: [&str; 3] = ["api", "nats", "web"];
/// How many batches are written.
pub(super) const BATCHES: i64 = 12;

pub(super) fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_nanos((1_750_000_000 + seconds) * 1_000_000_000 + 123_456_789)
}

/// What the batch with this number holds: something of everything, for each contract.
pub(super) fn batch(number: i64) -> Batch {
    let at = number * 100;
    let outage = Outage {
        first_failure: t(at),
        trigger: t(at + 5),
        mode: Mode::Real,
        beginning: Beginning::Seen,
        declared: false,
        confirmed: true,
        interruption: None,
    };
    let last = Recovery { outage, healthy: t(at + 20), earliest: t(at + 20) };
    let met = u64::try_from(number).expect("a count");
    let clock = RememberedClock {
        running: (number % 2 == 1).then_some(outage),
        last: Some(last),
        met,
        ..RememberedClock::default()
    };
    let state = RememberedCheck {
        latched: Some(t(at)),
        health_seen: Some(t(at)),
        last_success: Some(t(at)),
        ..RememberedCheck::default()
    };
    let check = StoredCheck {
        fingerprint: "v1:abc".to_owned(),
        state,
        memory: Some(json!({"seen": number, "text": "x".repeat(40)})),
    };
    let mut batch = Batch::default();
    for contract in CONTRACTS.map(str::to_owned) {
        batch.clocks.insert(contract.clone(), clock.clone());
        for name in ["health", "copy"] {
            batch.checks.insert((contract.clone(), name.to_owned()), check.clone());
        }
        batch.recoveries.push(ClosedRecovery {
            contract: contract.clone(),
            first_failure: t(at),
            trigger: t(at + 5),
            healthy: t(at + 20),
            earliest: t(at + 20),
            recovery_seconds: 15.0,
            downtime_seconds: 20.25,
            target_seconds: Some(300.0),
            result: Some(RecoveryResult::Met),
            mode: Mode::Real,
            check: "health".to_owned(),
            reason: "connect_failed".to_owned(),
            data_at_risk_seconds: None,
        });
        let bases = [Basis::ExposureWithinTarget, Basis::CopyLost];
        for (step, basis) in (0..).zip(bases) {
            let was = (number > 0 || step > 0).then(|| bases[1 - usize::try_from(step).expect("small")].status());
            let (contract, objective) = (contract.clone(), Objective::Rpo);
            batch.transitions.push(Transition {
                contract,
                objective,
                at: t(at + step),
                was,
                status: basis.status(),
                basis,
            });
        }
        batch.observed.insert((contract.clone(), t(at)), t(at + 90));
        batch.operations.push(DegradedOperation {
            contract: contract.clone(),
            without: "other".to_owned(),
            started: t(at),
            ended: Some(t(at + 10)),
            ok: number % 3 > 0,
        });
    }
    let firing = Firing {
        trigger: "lost".to_owned(),
        action: "failover".to_owned(),
        notification: "page".to_owned(),
        mode: TriggerMode::Manual,
        holds_since: t(at),
        started: t(at + 10),
        ended: (number + 1 < BATCHES).then(|| t(at + 20)),
        reason: "down".to_owned(),
        detail: "it is down".to_owned(),
    };
    let state = RememberedTrigger { firing: Some(outage), ..RememberedTrigger::default() };
    let trigger = StoredTrigger { fingerprint: "v1:t".to_owned(), state, open: None };
    batch.triggers.insert("lost".to_owned(), trigger);
    batch.firings.push(firing);
    batch.plans = Plans { alive: Some(t(at)), done: BTreeMap::from([("drill".to_owned(), t(at))]), ..Plans::default() };
    let fact = Fact::Started { version: format!("{number}.0.0"), silent_since: None };
    batch.entries.push(Entry { key: format!("boot-{number}"), at: t(at), fact });
    batch
}

pub(super) fn open(directory: &Path) -> Box<dyn Store> {
    super::open(&Sqlite::of(directory))
}

/// A store with all batches, which nobody uses any more.
pub(super) fn written(directory: &Path) {
    let mut store = open(directory);
    (0..BATCHES).for_each(|number| store.save(&batch(number)).expect("saved"));
    store.forget(Duration::from_secs(400 * 86_400), Duration::ZERO, t(BATCHES * 100)).expect("forgotten");
}

/// A store that somebody changed with some SQL, without anybody telling the account.
fn changed(sql: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    written(directory.path());
    let connection = Connection::open(directory.path().join(FILE)).expect("the file opens");
    connection.execute_batch(sql).expect("changed");
    drop(connection);
    directory
}

fn damage(directory: &Path) -> Damage {
    Sqlite::of(directory).damage().expect("read")
}

pub(super) fn whole() -> (tempfile::TempDir, Export) {
    let directory = changed("");
    assert_eq!(damage(directory.path()), Damage::default());
    let export = Sqlite::of(directory.path()).export().expect("exported");
    (directory, export)
}

#[test]
fn what_is_whole_stays_whole() {
    let (directory, before) = whole();
    for _ in 0..3 {
        let mut store = open(directory.path());
        assert!(store.damage().expect("read").is_none());
        assert_eq!(store.load().expect("loaded"), before.state);
    }
    assert_eq!(Sqlite::of(directory.path()).export().expect("exported"), before);
    assert_eq!(before.recoveries.len(), 36);
}

/// Which contract the damage concerns, and what is left of its state.
enum Left {
    /// Its state proves nothing any more.
    Lost,
    /// Only its history is not whole.
    Kept,
}

/// Faults of the contract `api`, and what they cost. The others never notice.
const FAULTS: [(&str, &str, Left); 15] = [
    ("the issue's own", "UPDATE checks SET state = substr(state, 1, 40) WHERE contract = 'api'", Left::Lost),
    ("a clock cut off", "UPDATE contracts SET state = substr(state, 1, 40) WHERE name = 'api'", Left::Lost),
    ("a clock that reads as another", "UPDATE contracts SET state = '{}' WHERE name = 'api'", Left::Lost),
    ("a clock that is bytes", "UPDATE contracts SET state = x'ff00' WHERE name = 'api'", Left::Lost),
    ("a clock that is gone", "DELETE FROM contracts WHERE name = 'api'", Left::Lost),
    ("its name changed", "UPDATE contracts SET name = 'apj' WHERE name = 'api'", Left::Lost),
    ("a check that is gone", "DELETE FROM checks WHERE contract = 'api' AND name = 'copy'", Left::Lost),
    (
        "a memory that changed",
        "UPDATE checks SET memory = replace(memory, 'x', 'y') WHERE contract = 'api'",
        Left::Lost,
    ),
    ("a recovery that changed", "UPDATE recoveries SET result = 'missed' WHERE contract = 'api'", Left::Kept),
    ("a recovery of an unknown result", "UPDATE recoveries SET result = 'half' WHERE contract = 'api'", Left::Kept),
    (
        "a recovery that is gone",
        "DELETE FROM recoveries WHERE contract = 'api' AND trigger > '2025-06-15T15:20'",
        Left::Kept,
    ),
    (
        "a status that changed",
        "UPDATE transitions SET status = 'met' WHERE contract = 'api' AND status != 'met'",
        Left::Kept,
    ),
    ("a status that is gone", "DELETE FROM transitions WHERE contract = 'api' AND status != 'met'", Left::Kept),
    (
        "a longer observation",
        "UPDATE observed SET until = '2030-01-01T00:00:00.000000000Z' WHERE contract = 'api'",
        Left::Kept,
    ),
    ("a test that passed", "UPDATE degraded_operation SET ok = 1 WHERE contract = 'api'", Left::Kept),
];

#[test]
fn a_fault_costs_one_contract_and_is_told() {
    let before = whole().1;
    for (fault, sql, left) in FAULTS {
        let directory = changed(sql);
        let found = damage(directory.path());
        assert!(found.count > 0 && found.to_string().contains("api"), "{fault}: {found:?}");
        let read_only = Sqlite::of(directory.path()).load().expect(fault);
        let mut store = open(directory.path());
        let state = store.load().expect(fault);
        assert!(state == read_only, "{fault}: a storage that cannot be written is judged the same");
        for contract in ["nats", "web"] {
            assert_eq!(state.clocks[contract], before.state.clocks[contract], "{fault}");
            assert_eq!(state.checks[contract], before.state.checks[contract], "{fault}");
            assert_eq!(state.told[contract], before.state.told[contract], "{fault}");
            assert_eq!(state.independence[contract], before.state.independence[contract], "{fault}");
        }
        let checks = state.checks.get("api").into_iter().flat_map(|checks| checks.values());
        let checks: Vec<_> = checks.map(|check| &check.state).collect();
        match left {
            Left::Lost => {
                assert!(state.clocks.get("api").is_none_or(|clock| clock.last.is_none()), "{fault}: {state:?}");
                let nothing = |state: &&RememberedCheck| (state.latched, state.health_seen) == (None, None);
                assert!(checks.iter().all(nothing), "{fault}: {checks:?}");
                let running = before.state.clocks["api"].running;
                let goes_on = state.clocks.get("api").is_none_or(|clock| clock.running == running);
                assert!(goes_on, "{fault}: a clock that is left goes on");
            }
            Left::Kept => {
                assert_eq!(state.clocks["api"], before.state.clocks["api"], "{fault}");
                assert_eq!(state.checks["api"], before.state.checks["api"], "{fault}");
                let tests = state.independence.get("api").and_then(|of| of.get("other"));
                let passed = tests.is_some_and(|tests| tests.last_ok.is_some());
                let may_be_lost = fault.contains("gone") || fault.contains("test");
                assert_eq!(passed, !may_be_lost, "{fault}: a test that failed may be lost");
            }
        }
        // What is left is answered.
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let recoveries = store.recoveries(&all).expect(fault);
        assert!(recoveries.iter().all(|one| before.recoveries.contains(one)), "{fault}");
        assert_eq!(recoveries.iter().filter(|one| one.contract != "api").count(), 24, "{fault}");
        drop(store);
        // It stays told, and costs nothing more.
        let mut store = open(directory.path());
        assert_eq!(store.load().expect(fault), state, "{fault}");
        let kept = store.damage().expect("read");
        assert!(kept.count > 0 && kept.to_string().contains("api"), "{fault}: {kept:?}");
        drop(store);
        let connection = Connection::open(directory.path().join(FILE)).expect("the file opens");
        connection.execute_batch("DELETE FROM damaged").expect("a person has read it");
        drop(connection);
        assert!(damage(directory.path()).is_none(), "{fault}: nothing else is wrong");
    }
}

#[test]
fn a_trigger_whose_state_is_lost_fires_until_it_is_seen_clear() {
    for sql in ["DELETE FROM triggers", "UPDATE triggers SET state = '{}'", "UPDATE triggers SET state = 'x'"] {
        let directory = changed(sql);
        let state = open(directory.path()).load().expect("loaded");
        let trigger = &state.triggers["lost"];
        assert!(trigger.state.firing.is_some(), "{sql}: {trigger:?}");
        assert!(trigger.open.as_ref().is_some_and(|open| open.ended.is_none()), "{sql}: {trigger:?}");
    }
}

#[test]
fn a_row_that_is_damaged_while_it_is_open_is_left_out_and_told() {
    let directory = changed("");
    let mut store = open(directory.path());
    let connection = Connection::open(directory.path().join(FILE)).expect("the file opens");
    connection
        .execute_batch(
            "UPDATE recoveries SET recovery_seconds = 1 WHERE contract = 'api'; UPDATE firings SET mode = 'x'",
        )
        .expect("changed");
    let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
    assert_eq!(store.recoveries(&all).expect("answered").len(), 24);
    let all = FiringQuery { trigger: None, since: None, limit: u32::MAX };
    assert_eq!(store.firings(&all).expect("answered"), []);
    assert_eq!(store.damage().expect("read").count, 24);
}

#[test]
fn an_older_copy_proves_nothing() {
    let old = tempfile::tempdir().expect("a directory");
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(directory.path());
    for number in 0..BATCHES {
        if number == BATCHES - 2 {
            std::fs::copy(directory.path().join(FILE), old.path().join(FILE)).expect("a backup");
        }
        store.save(&batch(number)).expect("saved");
    }
    drop(store);
    let head = format!("{FILE}.head");
    // Beside the newer head; beside none; and a copy that is gone altogether.
    for case in ["restored", "alone", "gone"] {
        let place = tempfile::tempdir().expect("a directory");
        if case != "gone" {
            std::fs::copy(old.path().join(FILE), place.path().join(FILE)).expect("restored");
        }
        if case != "alone" {
            std::fs::copy(directory.path().join(&head), place.path().join(&head)).expect("the head");
        }
        if case != "gone" {
            assert!(!damage(place.path()).is_none(), "{case}");
        }
        let mut store = open(place.path());
        assert!(!store.damage().expect("read").is_none(), "{case}");
        let state = store.load().expect("loaded");
        for contract in CONTRACTS {
            let clock = state.clocks.get(contract);
            assert!(clock.is_none_or(|clock| clock.last.is_none()), "{case}: {clock:?}");
            let checks = state.checks.get(contract).into_iter().flatten();
            assert!(checks.into_iter().all(|(_, check)| check.state.latched.is_none()), "{case}");
        }
        assert_eq!(state.clocks.len(), if case == "gone" { 0 } else { 3 }, "{case}");
        store.save(&batch(BATCHES)).expect("it goes on");
        drop(store);
        let state = open(place.path()).load().expect("loaded");
        assert_eq!(state.clocks["api"], batch(BATCHES).clocks["api"], "{case}: what is measured again counts");
    }
}

#[test]
fn the_end_of_the_record_is_mended_only_if_the_last_entry_is_whole() {
    let tampered = "DROP TRIGGER record_is_not_changed; DROP TRIGGER record_is_not_deleted;";
    for (sql, broken) in [
        ("UPDATE record_head SET hash = 'x'", false),
        ("DELETE FROM record_head", false),
        // Both are old or damaged: what comes next still has a number.
        ("UPDATE record_head SET seq = 5; UPDATE record SET body = 'x' WHERE seq = 12", true),
        ("DELETE FROM record WHERE seq = 12", true),
        ("UPDATE record SET body = 'x' WHERE seq = 5", true),
    ] {
        let directory = changed(&format!("{tampered} {sql}"));
        assert!(!damage(directory.path()).is_none(), "{sql}");
        let mut store = open(directory.path());
        assert!(!store.damage().expect("read").is_none(), "{sql}");
        let mut next = batch(BATCHES);
        next.clocks.clear();
        store.save(&next).expect("saved");
        let verified = Sqlite::of(directory.path()).verify(None).expect("read");
        assert_eq!(verified.is_err(), broken, "{sql}: {verified:?}");
    }
}
