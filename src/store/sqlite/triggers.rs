//! Triggers, their firings, and tests of degraded operation.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{from_json, json, optional_word, text, word};
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

pub(super) fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (name, trigger) in &batch.triggers {
        let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO triggers VALUES (?1, ?2, ?3)")?;
        statement.execute(params![name, trigger.fingerprint, json(&trigger.state)])?;
    }
    for firing in &batch.firings {
        let mut statement =
            transaction.prepare_cached("INSERT OR REPLACE INTO firings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        statement.execute(params![
            firing.trigger,
            text(&firing.started),
            firing.ended.as_ref().map(text),
            text(&firing.holds_since),
            firing.action,
            firing.notification,
            text(&firing.mode),
            firing.reason,
            firing.detail,
        ])?;
    }
    for operation in &batch.operations {
        let mut statement =
            transaction.prepare_cached("INSERT OR REPLACE INTO degraded_operation VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let (started, ended) = (text(&operation.started), operation.ended.as_ref().map(text));
        statement.execute(params![operation.contract, operation.without, started, ended, operation.ok])?;
    }
    Ok(())
}

/// Adds the state that a restart continues from.
pub(super) fn load(connection: &Connection, stored: &mut Stored) -> rusqlite::Result<()> {
    let mut statement = connection.prepare("SELECT name, fingerprint, state FROM triggers")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let trigger = StoredTrigger { fingerprint: row.get(1)?, state: from_json(row, 2)?, open: None };
        stored.triggers.insert(row.get(0)?, trigger);
    }
    let mut statement =
        connection.prepare(&format!("SELECT {FIRING} FROM firings WHERE ended IS NULL ORDER BY started"))?;
    for firing in statement.query_map([], firing)? {
        let firing = firing?;
        if let Some(trigger) = stored.triggers.get_mut(&firing.trigger) {
            trigger.open = Some(firing);
        }
    }
    for operation in operations(connection)? {
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
    Ok(())
}

const FIRING: &str = "trigger, started, ended, holds_since, action, notification, mode, reason, detail";

fn firing(row: &Row<'_>) -> rusqlite::Result<Firing> {
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
pub(super) fn firings(connection: &Connection, query: &FiringQuery) -> rusqlite::Result<Vec<Firing>> {
    let mut statement = connection.prepare_cached(&format!(
        "SELECT {FIRING} FROM firings WHERE (?1 IS NULL OR trigger = ?1) AND (?2 IS NULL OR started >= ?2)
         ORDER BY started DESC, trigger LIMIT ?3"
    ))?;
    let since = query.since.as_ref().map(text);
    let rows = statement.query_map(params![query.trigger, since, query.limit], firing)?;
    rows.collect()
}

/// Tests of contracts' independence, the oldest first.
pub(super) fn operations(connection: &Connection) -> rusqlite::Result<Vec<DegradedOperation>> {
    let mut statement =
        connection.prepare("SELECT contract, without, started, ended, ok FROM degraded_operation ORDER BY started")?;
    let rows = statement.query_map([], |row| {
        Ok(DegradedOperation {
            contract: row.get(0)?,
            without: row.get(1)?,
            started: word(row, 2)?,
            ended: optional_word(row, 3)?,
            ok: row.get(4)?,
        })
    })?;
    rows.collect()
}
