//! Deletes old records, and keeps the date that decides which.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tracing::info;

use super::rows::{text, word};
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

/// Deletes what ended before the retention. See [`Date`] for why `now` is not simply trusted.
pub(super) fn forget(
    connection: &mut Connection,
    retention: Duration,
    ran: Duration,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let Some(newest) = newest(&transaction)? else { return Ok(()) };
    let date = date(&transaction)?.unwrap_or_else(|| Date::first(now, newest)).after(ran, now, newest);
    transaction.execute(
        "INSERT OR REPLACE INTO retention VALUES (0, ?1, ?2)",
        params![text(&date.at), date.haste.as_secs_f64()],
    )?;
    let before = text(&date.horizon(now, retention));
    let recoveries = transaction.execute("DELETE FROM recoveries WHERE healthy < ?1", [&before])?;
    // A restart continues from the last change of each objective.
    let transitions = transaction.execute(
        "DELETE FROM transitions AS old WHERE at < ?1 AND EXISTS (SELECT 1 FROM transitions AS newer
         WHERE newer.contract = old.contract AND newer.objective = old.objective AND newer.at > old.at)",
        [&before],
    )?;
    let firings = transaction.execute("DELETE FROM firings WHERE ended < ?1", [&before])?;
    // The last test of each kind tells when that was last tested.
    let operations = transaction.execute(
        "DELETE FROM degraded_operation AS old WHERE ended < ?1 AND EXISTS (SELECT 1 FROM degraded_operation AS newer
         WHERE newer.contract = old.contract AND newer.without = old.without AND newer.ok = old.ok
         AND newer.started > old.started)",
        [&before],
    )?;
    super::record::forget(&transaction, &before)?;
    let observed = transaction.execute("DELETE FROM observed WHERE until < ?1", [&before])?;
    transaction.commit()?;
    if [recoveries, transitions, firings, operations, observed].iter().any(|forgotten| *forgotten > 0) {
        info!(
            recoveries,
            transitions, firings, operations, observed, before, "deleted records that are older than the retention"
        );
    }
    Ok(())
}

fn date(connection: &Connection) -> rusqlite::Result<Option<Date>> {
    let read = connection.query_row("SELECT date, haste_seconds FROM retention", [], |row| {
        // A value that is not a duration counts as zero.
        let haste = Duration::try_from_secs_f64(row.get(1)?).unwrap_or_default();
        Ok(Date { at: word(row, 0)?, haste })
    });
    read.optional()
}

/// The time of the newest record.
fn newest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let newest = "SELECT max(at) FROM (SELECT max(healthy) AS at FROM recoveries UNION ALL SELECT max(at) FROM transitions
                  UNION ALL SELECT max(started) FROM firings UNION ALL SELECT max(ended) FROM firings
                  UNION ALL SELECT max(started) FROM degraded_operation UNION ALL SELECT max(ended) FROM degraded_operation)";
    connection.query_row(newest, [], |row| super::optional_word(row, 0))
}
