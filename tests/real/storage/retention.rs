//! What the retention lets go, by clocks that are right and clocks that are not.

use std::path::Path;
use std::time::Duration;

use super::BACK_TO_5;
use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::status::Basis;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::store::sqlite::Sqlite;
use dr_exporter::store::{Backend, Batch, Store, Transition};

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);
const YEARS: u32 = 3650;

fn day(number: u32) -> Timestamp {
    Timestamp::from_unix_seconds(1_700_000_000).plus(DAY * number)
}

/// A change of status at each of these instants.
fn record(store: &mut dyn Store, at: impl IntoIterator<Item = Timestamp>) {
    let transition = |at| Transition {
        contract: "api".to_owned(),
        objective: Objective::Rpo,
        at,
        was: None,
        status: Basis::CopyLost.status(),
        basis: Basis::CopyLost,
    };
    let transitions = at.into_iter().map(transition).collect();
    store.save(&Batch { transitions, ..Batch::default() }).expect("saved");
}

fn open(directory: &Path) -> Box<dyn Store> {
    super::open(&Sqlite::of(directory))
}

fn left(directory: &Path) -> usize {
    Sqlite::of(directory).export().expect("an export").transitions.len()
}

/// A directory with a store that holds four records a day of the last 400 days, written with a clock that was right.
fn lived_in() -> (tempfile::TempDir, Timestamp) {
    let directory = tempfile::tempdir().expect("a directory");
    let mut store = open(directory.path());
    record(store.as_mut(), (0..=1600).map(|quarter| day(0).plus(DAY / 4 * quarter)));
    let now = day(400);
    store.forget(RETENTION, HOUR, now).expect("nothing to forget");
    drop(store);
    assert_eq!(left(directory.path()), 1601);
    (directory, now)
}

#[test]
fn what_grows_old_goes_day_by_day() {
    let (directory, now) = lived_in();
    let mut store = open(directory.path());
    for days in 1..=10 {
        let now = now.plus(DAY * days);
        record(store.as_mut(), [now]);
        store.forget(RETENTION, DAY, now).expect("forgotten");
        let expected = 1601 - 4 * usize::try_from(days).expect("few") + usize::try_from(days).expect("few");
        assert_eq!(left(directory.path()), expected, "after {days} days");
    }
}

#[test]
fn a_clock_that_is_ten_years_ahead_at_boot_costs_a_day() {
    let (directory, now) = lived_in();
    let wrong = now.plus(DAY * YEARS);
    // It boots again and again, and records what it sees with the same clock.
    for boot in 0..20 {
        let mut store = open(directory.path());
        store.forget(RETENTION, Duration::ZERO, wrong).expect("forgotten");
        record(store.as_mut(), [wrong.plus(HOUR * boot)]);
        store.forget(RETENTION, Duration::ZERO, wrong.plus(HOUR * boot)).expect("forgotten");
        drop(store);
        let (before, recorded) = (1601, usize::try_from(boot).expect("few") + 1);
        assert_eq!(left(directory.path()), before - 4 + recorded, "boot {boot}");
    }
    // The clock is set right: nothing more goes before its time.
    let mut store = open(directory.path());
    store.forget(RETENTION, HOUR, now.plus(HOUR)).expect("forgotten");
    assert_eq!(left(directory.path()), 1601 - 4 + 20);
    store.forget(RETENTION, DAY, now.plus(DAY * 2)).expect("forgotten");
    assert_eq!(left(directory.path()), 1601 - 8 + 20, "two days are over by now, and two days are gone");
}

#[test]
fn a_clock_that_is_decades_behind_costs_nothing() {
    let (directory, now) = lived_in();
    let mut store = open(directory.path());
    store.forget(RETENTION, HOUR, Timestamp::from_unix_seconds(0)).expect("forgotten");
    assert_eq!(left(directory.path()), 1601);
    record(store.as_mut(), [now.plus(DAY)]);
    store.forget(RETENTION, DAY, now.plus(DAY)).expect("forgotten");
    assert_eq!(left(directory.path()), 1601 - 4 + 1, "and it goes on as before");
}

#[test]
fn a_shorter_retention_is_followed_at_once() {
    let (directory, now) = lived_in();
    let mut store = open(directory.path());
    store.forget(DAY * 10, Duration::ZERO, now).expect("forgotten");
    assert_eq!(left(directory.path()), 41);
}

/// A store of a version without a date, opened by a clock that is ahead.
#[test]
fn a_store_without_a_date_is_as_old_as_its_newest_record() {
    let (directory, now) = lived_in();
    let file = directory.path().join("dr-exporter.db");
    let connection = rusqlite::Connection::open(file).expect("it opens");
    connection
        .execute_batch(&format!(
            "{BACK_TO_5} DROP TABLE retention; DROP TABLE observed; DROP TABLE record; DROP TABLE record_head; \
             DROP TABLE plans; PRAGMA user_version = 2;",
        ))
        .expect("as version 2 left it");
    drop(connection);
    let mut store = open(directory.path());
    store.forget(RETENTION, Duration::ZERO, now.plus(DAY * YEARS)).expect("forgotten");
    assert_eq!(left(directory.path()), 1601);
}
