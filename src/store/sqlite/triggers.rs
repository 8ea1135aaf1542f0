//! Triggers, their firings, and tests of degraded operation.

use rusqlite::{Row, params};

use super::reading::Reading;
use super::rows::{from_json, json, optional_word, text, word};
use super::seals::Writer;
use super::tables::{FIRINGS, OPERATIONS, TRIGGERS};
use crate::domain::independence::DegradedOperation;
use crate::store::{Batch, Firing, FiringQuery, Stored, StoredTrigger};

/// The second migration: the tables of this file.
pub(super) const TABLES: &str = "
    CREATE TABLE triggers (
        name TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE firings (
        trigger TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        holds_since TEXT NOT NULL,
        action TEXT NOT NULL,
        notification TEXT NOT NULL,
        mode TEXT NOT NULL,
        reason TEXT NOT NULL,
        detail TEXT NOT NULL,
        PRIMARY KEY (trigger, started)
    ) WITHOUT ROWID;
    CREATE INDEX firings_by_start ON firings (started);
    CREATE TABLE degraded_operation (
        contract TEXT NOT NULL,
        without TEXT NOT NULL,
        started TEXT NOT NULL,
        ended TEXT,
        ok INTEGER NOT NULL,
        PRIMARY KEY (contract, without, started)
    ) WITHOUT ROWID;
";
/// The version of the schema that added these tables.
pub(super) const SINCE: i64 = 2;

pub(super) fn write(writer: &Writer<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (name, stored) in &batch.triggers {
        put(writer, name, stored)?;
    }
    for firing in &batch.firings {
        let row = params![
            firing.trigger,
            text(&firing.started),
            firing.ended.as_ref().map(text),
            text(&firing.holds_since),
            firing.action,
            firing.notification,
            text(&firing.mode),
            firing.reason,
            firing.detail,
        ];
        writer.put(&FIRINGS, row)?;
    }
    for operation in &batch.operations {
        let (started, ended) = (text(&operation.started), operation.ended.as_ref().map(text));
        writer.put(&OPERATIONS, params![operation.contract, operation.without, started, ended, operation.ok])?;
    }
    Ok(())
}

/// Writes the state of a trigger.
pub(super) fn put(writer: &Writer<'_>, name: &str, stored: &StoredTrigger) -> rusqlite::Result<()> {
    writer.put(&TRIGGERS, params![name, stored.fingerprint, json(&stored.state)])
}

/// Adds the state that a restart continues from. Returns the firings that are not known to have
/// ended.
pub(super) fn load(reading: &Reading<'_>, stored: &mut Stored) -> rusqlite::Result<Vec<Firing>> {
    stored.triggers.extend(reading.rows(&TRIGGERS, "SELECT {} FROM triggers", [], trigger)?);
    let open = reading.rows(&FIRINGS, "SELECT {} FROM firings WHERE ended IS NULL ORDER BY started", [], firing)?;
    for firing in &open {
        if let Some(trigger) = stored.triggers.get_mut(&firing.trigger) {
            trigger.open = Some(firing.clone());
        }
    }
    for operation in operations(reading)? {
        let of = stored.independence.entry(operation.contract.clone()).or_default();
        let known = of.entry(operation.without.clone()).or_default();
        let last = Some(operation.ended.unwrap_or(operation.started));
        if operation.ok {
            known.last_ok = known.last_ok.max(last);
        } else {
            known.last_violated = known.last_violated.max(last);
        }
        if operation.ended.is_none() {
            known.open = Some(operation);
        }
    }
    Ok(open)
}

pub(super) fn trigger(row: &Row<'_>) -> rusqlite::Result<(String, StoredTrigger)> {
    Ok((row.get(0)?, StoredTrigger { fingerprint: row.get(1)?, state: from_json(row, 2)?, open: None }))
}

pub(super) fn firing(row: &Row<'_>) -> rusqlite::Result<Firing> {
    Ok(Firing {
        trigger: row.get(0)?,
        started: word(row, 1)?,
        ended: optional_word(row, 2)?,
        holds_since: word(row, 3)?,
        action: row.get(4)?,
        notification: row.get(5)?,
        mode: word(row, 6)?,
        reason: row.get(7)?,
        detail: row.get(8)?,
    })
}

/// Firings, the newest first.
pub(super) fn firings(reading: &Reading<'_>, query: &FiringQuery) -> rusqlite::Result<Vec<Firing>> {
    let sql = "SELECT {} FROM firings WHERE (?1 IS NULL OR trigger = ?1) AND (?2 IS NULL OR started >= ?2)
               ORDER BY started DESC, trigger LIMIT ?3";
    let since = query.since.as_ref().map(text);
    reading.rows(&FIRINGS, sql, params![query.trigger, since, query.limit], firing)
}

/// Tests of contracts' independence, the oldest first.
pub(super) fn operations(reading: &Reading<'_>) -> rusqlite::Result<Vec<DegradedOperation>> {
    reading.rows(&OPERATIONS, "SELECT {} FROM degraded_operation ORDER BY started", [], operation)
}

pub(super) fn operation(row: &Row<'_>) -> rusqlite::Result<DegradedOperation> {
    Ok(DegradedOperation {
        contract: row.get(0)?,
        without: row.get(1)?,
        started: word(row, 2)?,
        ended: optional_word(row, 3)?,
        ok: row.get(4)?,
    })
}
