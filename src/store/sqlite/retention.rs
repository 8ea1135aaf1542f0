//! Deletes old records, and keeps the date that decides which.

use std::time::Duration;

use rusqlite::{Connection, Row, params};
use tracing::info;

use super::reading::{Doubts, Reading};
use super::rows::{text, word};
use super::seals::Writer;
use super::tables::{FIRINGS, OBSERVED, OPERATIONS, RECOVERIES, RETENTION, TRANSITIONS};
use crate::domain::time::Timestamp;
use crate::store::retention::Date;

/// The third migration.
pub(super) const TABLE: &str = "
    CREATE TABLE retention (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        date TEXT NOT NULL,
        haste_seconds REAL NOT NULL
    );
";

/// How many records were deleted, and before which time all of them were.
#[derive(Debug, Default)]
pub(super) struct Forgotten {
    recoveries: usize,
    transitions: usize,
    firings: usize,
    operations: usize,
    observed: usize,
    before: String,
}

impl Forgotten {
    /// Logs it, once it is on the disk.
    pub(super) fn tell(&self) {
        let Self { recoveries, transitions, firings, operations, observed, before } = self;
        if [recoveries, transitions, firings, operations, observed].iter().any(|forgotten| **forgotten > 0) {
            info!(
                recoveries,
                transitions, firings, operations, observed, before, "deleted records that are older than the retention"
            );
        }
    }
}

/// Deletes what ended before the retention. See [`Date`] for why `now` is not simply trusted. None
/// if there is nothing yet that has an age.
pub(super) fn forget(
    writer: &Writer<'_>,
    doubts: &Doubts,
    retention: Duration,
    ran: Duration,
    now: Timestamp,
) -> rusqlite::Result<Option<Forgotten>> {
    let transaction = writer.transaction();
    let Some(newest) = newest(transaction)? else { return Ok(None) };
    let known = Reading::new(transaction, doubts)?.rows(&RETENTION, "SELECT {} FROM retention", [], stored_date)?;
    let known = known.into_iter().next();
    let date = known.unwrap_or_else(|| Date::first(now, newest)).after(ran, now, newest);
    writer.put(&RETENTION, params![0, text(&date.at), date.haste.as_secs_f64()])?;
    let before = text(&date.horizon(now, retention));
    let recoveries = writer.delete(&RECOVERIES, "healthy < ?1", params![before])?;
    // A restart continues from the last change of each objective.
    let transitions = writer.delete(
        &TRANSITIONS,
        "at < ?1 AND EXISTS (SELECT 1 FROM transitions AS newer
         WHERE newer.contract = old.contract AND newer.objective = old.objective AND newer.at > old.at)",
        params![before],
    )?;
    let firings = writer.delete(&FIRINGS, "ended < ?1", params![before])?;
    // The last test of each kind tells when that was last tested.
    let operations = writer.delete(
        &OPERATIONS,
        "ended < ?1 AND EXISTS (SELECT 1 FROM degraded_operation AS newer
         WHERE newer.contract = old.contract AND newer.without = old.without AND newer.ok = old.ok
         AND newer.started > old.started)",
        params![before],
    )?;
    super::record::forget(writer, &before)?;
    let observed = writer.delete(&OBSERVED, "until < ?1", params![before])?;
    Ok(Some(Forgotten { recoveries, transitions, firings, operations, observed, before }))
}

pub(super) fn stored_date(row: &Row<'_>) -> rusqlite::Result<Date> {
    // A value that is not a duration counts as zero.
    let haste = Duration::try_from_secs_f64(row.get(2)?).unwrap_or_default();
    Ok(Date { at: word(row, 1)?, haste })
}

/// The time of the newest record.
fn newest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let newest = "SELECT max(at) FROM (SELECT max(healthy) AS at FROM recoveries UNION ALL SELECT max(at) FROM transitions
                  UNION ALL SELECT max(started) FROM firings UNION ALL SELECT max(ended) FROM firings
                  UNION ALL SELECT max(started) FROM degraded_operation UNION ALL SELECT max(ended) FROM degraded_operation)";
    connection.query_row(newest, [], |row| super::optional_word(row, 0))
}
