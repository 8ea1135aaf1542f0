//! What is forgotten, and the date that says when.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use tracing::info;

use super::{text, word};
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

/// Forgets what was over before the retention. See [`Date`] for why `now` is not just believed.
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
    // The last change of each objective is what a restart goes on from.
    let transitions = transaction.execute(
        "DELETE FROM transitions AS old WHERE at < ?1 AND EXISTS (SELECT 1 FROM transitions AS newer
         WHERE newer.contract = old.contract AND newer.objective = old.objective AND newer.at > old.at)",
        [&before],
    )?;
    let firings = transaction.execute("DELETE FROM firings WHERE ended < ?1", [&before])?;
    // The last test of each kind is what says when it was tested last.
    let operations = transaction.execute(
        "DELETE FROM degraded_operation AS old WHERE ended < ?1 AND EXISTS (SELECT 1 FROM degraded_operation AS newer
         WHERE newer.contract = old.contract AND newer.without = old.without AND newer.ok = old.ok
         AND newer.started > old.started)",
        [&before],
    )?;
    transaction.commit()?;
    if [recoveries, transitions, firings, operations].iter().any(|forgotten| *forgotten > 0) {
        info!(recoveries, transitions, firings, operations, before, "forgot what the retention lets go");
    }
    Ok(())
}

fn date(connection: &Connection) -> rusqlite::Result<Option<Date>> {
    let read = connection.query_row("SELECT date, haste_seconds FROM retention", [], |row| {
        // What is no duration is none.
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
