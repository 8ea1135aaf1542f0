//! The record in a file: whatever is done to it, is found.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use dr_exporter::domain::drill::DrillRun;
use dr_exporter::domain::incident::IncidentSpec;
use dr_exporter::domain::people::Stamp;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::store::plans::Plans;
use dr_exporter::store::record::{Broken, Entry, Fact};
use dr_exporter::store::sqlite::{FILE, Sqlite};
use dr_exporter::store::states::Planned;
use dr_exporter::store::{Backend, Batch};
use rusqlite::Connection;

const ENTRIES: i64 = 6;

fn written(directory: &Path) -> Sqlite {
    let backend = Sqlite::of(directory);
    let mut store = super::open(&backend);
    for number in 0..ENTRIES {
        let at = Timestamp::from_unix_seconds(1_750_000_000 + number);
        let fact = Fact::Started { version: format!("{number}.0.0"), silent_since: None };
        let entries = vec![Entry { key: format!("boot-{number}"), at, fact }];
        store.save(&Batch { entries, ..Batch::default() }).expect("saved");
    }
    drop(store);
    backend
}

/// Changes the file as somebody would who owns the machine.
fn tamper(directory: &Path, sql: &str) {
    let connection = Connection::open(directory.join(FILE)).expect("the file opens");
    let refused = "DROP TRIGGER record_is_not_changed; DROP TRIGGER record_is_not_deleted;";
    connection.execute_batch(&format!("{refused} {sql}")).expect("changed");
}

fn found(sql: &str) -> Broken {
    let directory = tempfile::tempdir().expect("a directory");
    let backend = written(directory.path());
    assert!(backend.verify(None).expect("read").is_ok());
    tamper(directory.path(), sql);
    backend.verify(None).expect("read").expect_err(sql)
}

#[test]
fn a_changed_value_is_found_in_every_column_of_every_row() {
    for row in 1..=ENTRIES {
        for column in ["key", "at", "body"] {
            let broken =
                found(&format!("UPDATE record SET {column} = replace({column}, '0', '1') || 'x' WHERE seq = {row}"));
            assert_eq!(broken, Broken::Changed(row), "{column} of row {row}");
        }
        found(&format!("UPDATE record SET previous = '{}' WHERE seq = {row}", "1".repeat(64)));
        found(&format!("UPDATE record SET hash = '{}' WHERE seq = {row}", "1".repeat(64)));
    }
}

#[test]
fn a_removed_row_is_found_also_the_last_one() {
    for row in 1..ENTRIES {
        assert_eq!(found(&format!("DELETE FROM record WHERE seq = {row}")), Broken::Missing(row));
    }
    let last = found(&format!("DELETE FROM record WHERE seq = {ENTRIES}"));
    assert_eq!(last, Broken::WrongEnd { found: ENTRIES - 1, expected: ENTRIES });
    let all = found("DELETE FROM record");
    assert_eq!(all, Broken::WrongEnd { found: 0, expected: ENTRIES });
    // Somebody who also moves the end is found by a hash that was noted elsewhere.
    let directory = tempfile::tempdir().expect("a directory");
    let backend = written(directory.path());
    let head = backend.verify(None).expect("read").expect("whole").head;
    let sql = "DELETE FROM record WHERE seq = 6; UPDATE record_head SET seq = 5, hash = (SELECT hash FROM record WHERE seq = 5)";
    tamper(directory.path(), sql);
    assert!(backend.verify(None).expect("read").is_ok());
    assert!(matches!(backend.verify(Some(&head.hash)).expect("read"), Err(Broken::Unpinned(_))));
}

#[test]
fn swapped_rows_are_found() {
    for row in 1..ENTRIES {
        let next = row + 1;
        found(&format!(
            "UPDATE record SET seq = -1 WHERE seq = {row}; UPDATE record SET seq = {row} WHERE seq = {next};
             UPDATE record SET seq = {next} WHERE seq = -1"
        ));
    }
}

#[test]
fn a_row_before_the_first_is_found() {
    found("INSERT INTO record SELECT 0, 'early', at, body, previous, hash FROM record WHERE seq = 1");
}

/// An incident that is closed, in a table beside the record.
fn with_an_incident(directory: &Path) -> (Sqlite, String) {
    let spec = IncidentSpec {
        name: "region_outage".to_owned(),
        declared_by: vec!["cto".to_owned()],
        action: "fail_over".to_owned(),
        starts_clocks: Vec::new(),
        checklist: vec!["confirm".to_owned()],
    };
    let at = Timestamp::from_unix_seconds;
    let stamp = |seconds| Stamp { at: at(seconds), by: "cto".to_owned(), user: "alice".to_owned() };
    let mut incident = spec.declare(at(50), stamp(50), "a fire".to_owned()).expect("declared");
    let backend = Sqlite::of(directory);
    let mut store = super::open(&backend);
    for key in ["declared", "closed"] {
        if key == "closed" {
            incident.close(stamp(90)).expect("closed");
        }
        let fact = Planned::Incident.fact(&incident.id, &incident).expect("JSON");
        let incidents = BTreeMap::from([(incident.id.clone(), incident.clone())]);
        let entries = vec![Entry { key: key.to_owned(), at: at(90), fact }];
        let plans = Plans { incidents, ..Plans::default() };
        store.save(&Batch { entries, plans, ..Batch::default() }).expect("saved");
    }
    drop(store);
    (backend, incident.id)
}

#[test]
fn an_incident_that_somebody_edits_or_removes_is_found_and_named() {
    let other = |id: &str| Broken::OtherState(Planned::Incident, id.to_owned());
    let gone = |id: &str| Broken::NoState(Planned::Incident, id.to_owned());
    type Expected<'a> = &'a dyn Fn(&str) -> Broken;
    let table: &[(&str, Expected<'_>)] = &[
        ("UPDATE plans SET state = replace(state, 'a fire', 'a flood')", &other),
        ("UPDATE plans SET state = replace(state, 'cto', 'cfo')", &other),
        ("UPDATE plans SET state = json_remove(state, '$.closed')", &other),
        ("UPDATE plans SET state = json_set(state, '$.steps[0].done', 1)", &other),
        ("UPDATE plans SET state = substr(state, 1, 40)", &other),
        ("UPDATE plans SET state = x'00ff'", &other),
        ("UPDATE plans SET id = 'another'", &gone),
        ("UPDATE plans SET kind = 'drill'", &gone),
        ("DELETE FROM plans", &gone),
    ];
    for (sql, expected) in table {
        let directory = tempfile::tempdir().expect("a directory");
        let (backend, id) = with_an_incident(directory.path());
        assert_eq!(backend.verify(None).expect("read").map(|verified| verified.uncovered), Ok(Vec::new()));
        tamper(directory.path(), sql);
        let broken = backend.verify(None).expect("read").expect_err(sql);
        assert_eq!(broken, expected(&id), "{sql}");
        assert!(broken.to_string().contains(&id), "{broken}");
    }
}

#[test]
fn nobody_changes_the_record_by_accident() {
    let directory = tempfile::tempdir().expect("a directory");
    written(directory.path());
    let connection = Connection::open(directory.path().join(FILE)).expect("the file opens");
    for sql in ["UPDATE record SET body = ''", "DELETE FROM record"] {
        let error = connection.execute_batch(sql).expect_err("refused");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

/// Whoever reads while the daemon writes and empties its log finds no damage that is none.
#[test]
fn a_store_that_is_written_to_meanwhile_is_read_whole() {
    let directory = tempfile::tempdir().expect("a directory");
    let backend = written(directory.path());
    let mut store = super::open(&backend);
    let log = Connection::open(directory.path().join(FILE)).expect("the file opens");
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for number in 0..300 {
                let at = Timestamp::from_unix_seconds(1_760_000_000 + number);
                let fact = Fact::Started { version: "x".repeat(3000), silent_since: None };
                let entries = vec![Entry { key: format!("later-{number}"), at, fact }];
                store.save(&Batch { entries, ..Batch::default() }).expect("saved");
                log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).expect("emptied, or somebody reads");
            }
        });
        while !writer.is_finished() {
            assert!(backend.verify(None).expect("it can be read").is_ok());
        }
    });
}

/// A drill goes on while its state is compared with the record. Many incidents lie between the two, so a
/// look that is not of one instant finds a state that the record it read does not name yet.
#[test]
fn a_state_that_changes_while_it_is_verified_is_no_other_state() {
    const INCIDENTS: usize = 4_000;
    const LOOKS: usize = 20;
    let directory = tempfile::tempdir().expect("a directory");
    let (backend, id) = with_an_incident(directory.path());
    let mut store = super::open(&backend);
    let plans = store.load().expect("loaded").plans;
    let of = |number| format!("{id}-{number}");
    let incidents = (0..INCIDENTS).map(|number| (of(number), plans.incidents[&id].clone())).collect();
    store.save(&Batch { plans: Plans { incidents, ..Plans::default() }, ..Batch::default() }).expect("saved");
    let mut goes_on = |number: i64| {
        let at = Timestamp::from_unix_seconds(1_760_000_000 + number);
        let started = serde_json::json!({"at": at, "by": "cto", "user": "alice"});
        let run: DrillRun = serde_json::from_value(serde_json::json!({
            "id": "failover", "name": "failover", "kind": "recovery", "contracts": [], "must_recover": [],
            "started": started, "expires": at, "announcement": {"environment": "staging", "participants": [], "plan": "", "expected_loss": ""}, "recovered": null, "recoveries": [],
            "ended": null,
        }))
        .expect("a drill");
        let fact = Planned::Drill.fact(&run.id, &run).expect("JSON");
        let entries = vec![Entry { key: format!("goes-on-{number}"), at, fact }];
        let plans = Plans { drills: BTreeMap::from([(run.id.clone(), run)]), ..Plans::default() };
        store.save(&Batch { entries, plans, ..Batch::default() }).expect("saved");
    };
    goes_on(0);
    let verified = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let changes = (1..).take_while(|_| !verified.load(Ordering::SeqCst));
            changes.inspect(|number| goes_on(*number)).count()
        });
        for look in 0..LOOKS {
            let found = backend.verify(None).expect("it can be read").map(|whole| whole.uncovered.len());
            verified.store(look + 1 == LOOKS || found != Ok(INCIDENTS), Ordering::SeqCst);
            assert_eq!(found, Ok(INCIDENTS), "look {look}");
        }
        let changes = writer.join().expect("it writes");
        assert!(changes > LOOKS, "{changes} changes are too few to meet a look");
    });
}

/// Every byte of the file that belongs to an entry.
#[test]
fn a_flipped_byte_anywhere_in_an_entry_is_found() {
    let directory = tempfile::tempdir().expect("a directory");
    let backend = written(directory.path());
    let file = directory.path().join(FILE);
    let connection = Connection::open(&file).expect("the file opens");
    connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").expect("one file");
    drop(connection);
    let whole = fs::read(&file).expect("the file");
    let mut flipped = 0;
    for needle in ["\"version\":\"3.0.0\"", "boot-4", "2025-06-15T15:06:42"] {
        let start = whole.windows(needle.len()).position(|part| part == needle.as_bytes()).expect(needle);
        for at in start..start + needle.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).expect("written");
            // A store that cannot be read at all is found as well.
            assert!(!matches!(backend.verify(None), Ok(Ok(_))), "byte {at}");
            flipped += 1;
        }
    }
    assert!(flipped > 30);
}
