//! The record, and the state of incidents, drills and alarms.

use std::collections::BTreeMap;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::reading::Reading;
use super::rows::{from_json, json, text};
use super::seals::Writer;
use super::tables::{PLANS, owned, shown};
use crate::domain::drill::DrillRun;
use crate::domain::incident::Incident;
use crate::domain::response::Alarms;
use crate::domain::time::Timestamp;
use crate::store::plans::{Answered, Plans, Worst};
use crate::store::record::{Broken, Entry, EntryQuery, Head, Link, Promise, Verification};
use crate::store::states::{Named, Planned, Verified};

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
pub(super) fn append(writer: &Writer<'_>, entries: &[Entry]) -> rusqlite::Result<()> {
    let transaction = writer.transaction();
    let mut head = head(transaction)?;
    // Never before an entry that is there, whatever the head says: its number is taken.
    if let Some(last) = last(transaction)?.filter(|last| last.seq > head.seq) {
        head = last.head();
    }
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
    writer.note_record(&head);
    note_head(transaction, &head)
}

/// The head that was noted with the last entry.
pub(super) fn head(connection: &Connection) -> rusqlite::Result<Head> {
    let mut statement = connection.prepare_cached("SELECT seq, hash FROM record_head")?;
    let head = statement.query_row([], |row| Ok(Head { seq: whole(row, 0)?, hash: shown(&owned(row.get_ref(1)?)) }));
    let head = head.optional()?;
    Ok(head.unwrap_or_default())
}

/// A number as it stands, and 0 for what is none.
fn whole(row: &Row<'_>, column: usize) -> rusqlite::Result<i64> {
    Ok(if let ValueRef::Integer(number) = row.get_ref(column)? { number } else { 0 })
}

/// An entry as it stands. What was damaged is read as well as it can be: its hash will differ.
fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    let text = |index| row.get_ref(index).map(|value| shown(&owned(value)));
    Ok(Link { seq: whole(row, 0)?, key: text(1)?, at: text(2)?, body: text(3)?, previous: text(4)?, hash: text(5)? })
}

/// Entries in their order.
pub(super) fn entries(connection: &Connection, query: &EntryQuery) -> rusqlite::Result<Vec<Link>> {
    let mut statement = connection
        .prepare_cached("SELECT seq, key, at, body, previous, hash FROM record WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let rows = statement.query_map(params![query.after, query.limit], link)?;
    rows.collect()
}

/// Notes the end of the record.
pub(super) fn note_head(transaction: &Transaction<'_>, head: &Head) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO record_head VALUES (0, ?1, ?2)")?;
    statement.execute(params![head.seq, head.hash]).map(drop)
}

/// The last entry as it stands.
pub(super) fn last(connection: &Connection) -> rusqlite::Result<Option<Link>> {
    let sql = "SELECT seq, key, at, body, previous, hash FROM record ORDER BY seq DESC LIMIT 1";
    connection.query_row(sql, [], link).optional()
}

/// Follows the whole record, and compares the states that it names with those that are stored.
pub(super) fn verify(connection: &Connection, pin: Option<&str>) -> rusqlite::Result<Result<Verified, Broken>> {
    let mut named = Named::default();
    let head = match follow_all(connection, pin, |link| named.take(link))? {
        Ok(head) => head,
        Err(broken) => return Ok(Err(broken)),
    };
    let mut stored = Vec::new();
    for of in Planned::ALL {
        let mut statement = connection.prepare_cached("SELECT id, state FROM plans WHERE kind = ?1")?;
        let text = |row: &Row<'_>, index| row.get_ref(index).map(|value| shown(&owned(value)));
        let rows = statement.query_map([of.label()], |row| Ok((of, text(row, 0)?, text(row, 1)?)))?;
        stored.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    }
    Ok(named.compare(stored).map(|uncovered| Verified { head, uncovered }))
}

/// Follows the whole record.
pub(super) fn follow(connection: &Connection, pin: Option<&str>) -> rusqlite::Result<Result<Head, Broken>> {
    follow_all(connection, pin, |_| ())
}

fn follow_all(
    connection: &Connection,
    pin: Option<&str>,
    mut each: impl FnMut(&Link),
) -> rusqlite::Result<Result<Head, Broken>> {
    const AT_ONCE: u32 = 1000;
    let mut verification = Verification::with_pin(pin);
    let mut after = i64::MIN;
    loop {
        let links = entries(connection, &EntryQuery { after, limit: AT_ONCE })?;
        let Some(last) = links.last() else { break };
        after = last.seq;
        if let Some(broken) = links.iter().find_map(|link| verification.take(link).err()) {
            return Ok(Err(broken));
        }
        links.iter().for_each(&mut each);
    }
    Ok(verification.end(&head(connection)?))
}

/// Writes what changed.
pub(super) fn write(writer: &Writer<'_>, plans: &Plans) -> rusqlite::Result<()> {
    let writer = PlanWriter(writer);
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

struct PlanWriter<'a>(&'a Writer<'a>);

impl PlanWriter<'_> {
    fn all<T: Serialize>(
        &self,
        kind: &str,
        states: &BTreeMap<String, T>,
        at: impl Fn(&T) -> Timestamp,
    ) -> rusqlite::Result<()> {
        states.iter().try_for_each(|(id, state)| self.one(kind, id, at(state), state))
    }

    fn one(&self, kind: &str, id: &str, at: Timestamp, state: &impl Serialize) -> rusqlite::Result<()> {
        self.0.put(&PLANS, params![kind, id, text(&at), json(state)])
    }
}

/// The state that a restart continues from.
pub(super) fn load(reading: &Reading<'_>) -> rusqlite::Result<Plans> {
    let reader = PlanReader(reading);
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

/// Fails if the program cannot read a row of plans.
pub(super) fn readable(row: &Row<'_>) -> rusqlite::Result<()> {
    row.get::<_, String>(1)?;
    match row.get::<_, String>(0)?.as_str() {
        "incident" => from_json::<Incident>(row, 3).map(drop),
        "drill" => from_json::<DrillRun>(row, 3).map(drop),
        "done" | "alive" => from_json::<Timestamp>(row, 3).map(drop),
        "alarms" => from_json::<Alarms>(row, 3).map(drop),
        "answer" => from_json::<Answered>(row, 3).map(drop),
        "exposure" => from_json::<Option<Worst>>(row, 3).map(drop),
        "promised" => from_json::<Vec<Promise>>(row, 3).map(drop),
        _ => Ok(()),
    }
}

struct PlanReader<'a>(&'a Reading<'a>);

impl PlanReader<'_> {
    fn all<T: DeserializeOwned>(&self, kind: &str) -> rusqlite::Result<BTreeMap<String, T>> {
        let rows = self.0.rows(&PLANS, "SELECT {} FROM plans WHERE kind = ?1", [kind], |row| {
            Ok((row.get(1)?, from_json(row, 3)?))
        })?;
        Ok(rows.into_iter().collect())
    }
}

/// Forgets answers to requests from before this time. Nobody repeats them any more.
pub(super) fn forget(writer: &Writer<'_>, before: &str) -> rusqlite::Result<usize> {
    writer.delete(&PLANS, "kind = 'answer' AND at < ?1", params![before])
}
