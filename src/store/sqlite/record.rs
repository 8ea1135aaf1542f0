//! The record, and the state of incidents, drills and alarms.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::rows::{from_json, json, text};
use crate::domain::time::Timestamp;
use crate::store::plans::{Plans, Worst};
use crate::store::record::{Entry, EntryQuery, Head, Link};

/// The fifth migration. The triggers keep people from changing the record by accident. What a
/// changed file hides, the hashes show.
pub(super) const TABLES: &str = "
    CREATE TABLE record (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        at TEXT NOT NULL,
        body TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    );
    CREATE TABLE record_head (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        seq INTEGER NOT NULL,
        hash TEXT NOT NULL
    );
    CREATE TRIGGER record_is_not_changed BEFORE UPDATE ON record
    BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
    CREATE TRIGGER record_is_not_deleted BEFORE DELETE ON record
    BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END;
    CREATE TABLE plans (
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        at TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (kind, id)
    ) WITHOUT ROWID;
";
/// The version of the schema that added these tables.
pub(super) const SINCE: i64 = 5;

/// Appends entries. An entry that was appended before is left as it is.
pub(super) fn append(transaction: &Transaction<'_>, entries: &[Entry]) -> rusqlite::Result<()> {
    let mut head = head(transaction)?;
    for Entry { key, at, fact } in entries {
        let known = transaction
            .prepare_cached("SELECT 1 FROM record WHERE key = ?1")?
            .query_row([key], |_| Ok(()))
            .optional()?;
        if known.is_some() {
            continue;
        }
        let link = Link::after(&head, key, text(at), json(fact));
        let mut statement = transaction.prepare_cached("INSERT INTO record VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        statement.execute(params![link.seq, link.key, link.at, link.body, link.previous, link.hash])?;
        head = link.head();
    }
    let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO record_head VALUES (0, ?1, ?2)")?;
    statement.execute(params![head.seq, head.hash])?;
    Ok(())
}

/// The head that was noted with the last entry.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let mut statement = connection.prepare_cached("SELECT seq, hash FROM record_head")?;
    let head = statement.query_row([], |row| Ok(Head { seq: row.get(0)?, hash: row.get(1)? })).optional()?;
    Ok(head.unwrap_or_default())
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    Ok(Link {
        seq: row.get(0)?,
        key: row.get(1)?,
        at: row.get(2)?,
        body: row.get(3)?,
        previous: row.get(4)?,
        hash: row.get(5)?,
    })
}

/// Entries in their order.
pub(super) fn entries(connection: &Connection, query: &EntryQuery) -> rusqlite::Result<Vec<Link>> {
    let mut statement = connection
        .prepare_cached("SELECT seq, key, at, body, previous, hash FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let rows = statement.query_map(params![query.after, query.limit], link)?;
    rows.collect()
}

/// Writes what changed.
pub(super) fn write(transaction: &Transaction<'_>, plans: &Plans) -> rusqlite::Result<()> {
    let writer = Writer(transaction);
    writer.all("incident", &plans.incidents, |incident| incident.declared.at)?;
    writer.all("drill", &plans.drills, |run| run.started.at)?;
    writer.all("done", &plans.done, |at| *at)?;
    writer.all("alarms", &plans.alarms, |alarms| {
        alarms.current.as_ref().map_or(Timestamp::from_unix_seconds(0), |alarm| alarm.since)
    })?;
    writer.all("answer", &plans.answers, |answered| answered.at)?;
    let since = |worst: &Option<Worst>| worst.map_or(Timestamp::from_unix_seconds(0), |worst| worst.since);
    writer.all("exposure", &plans.exposures, since)?;
    if let Some(promised) = &plans.promised {
        writer.one("promised", "", Timestamp::from_unix_seconds(0), promised)?;
    }
    if let Some(alive) = plans.alive {
        writer.one("alive", "", alive, &alive)?;
    }
    Ok(())
}

struct Writer<'a>(&'a Transaction<'a>);

impl Writer<'_> {
    fn all<T: Serialize>(
        &self,
        kind: &str,
        states: &BTreeMap<String, T>,
        at: impl Fn(&T) -> Timestamp,
    ) -> rusqlite::Result<()> {
        states.iter().try_for_each(|(id, state)| self.one(kind, id, at(state), state))
    }

    fn one(&self, kind: &str, id: &str, at: Timestamp, state: &impl Serialize) -> rusqlite::Result<()> {
        let mut statement = self.0.prepare_cached("INSERT OR REPLACE INTO plans VALUES (?1, ?2, ?3, ?4)")?;
        statement.execute(params![kind, id, text(&at), json(state)])?;
        Ok(())
    }
}

/// The state that a restart continues from.
pub(super) fn load(connection: &Connection) -> rusqlite::Result<Plans> {
    let reader = Reader(connection);
    Ok(Plans {
        incidents: reader.all("incident")?,
        drills: reader.all("drill")?,
        done: reader.all("done")?,
        alarms: reader.all("alarms")?,
        answers: reader.all("answer")?,
        exposures: reader.all("exposure")?,
        promised: reader.all("promised")?.into_values().next(),
        alive: reader.all("alive")?.into_values().next(),
    })
}

struct Reader<'a>(&'a Connection);

impl Reader<'_> {
    fn all<T: DeserializeOwned>(&self, kind: &str) -> rusqlite::Result<BTreeMap<String, T>> {
        let mut statement = self.0.prepare_cached("SELECT id, state FROM plans WHERE kind = ?1")?;
        let rows = statement.query_map([kind], |row| Ok((row.get(0)?, from_json(row, 1)?)))?;
        rows.collect()
    }
}

/// Forgets answers to requests from before this time. Nobody repeats them any more.
pub(super) fn forget(transaction: &Transaction<'_>, before: &str) -> rusqlite::Result<usize> {
    transaction.execute("DELETE FROM plans WHERE kind = 'answer' AND at < ?1", [before])
}
