//! Changed statuses of the past, and when anybody looked.

use rusqlite::{Row, params};

use super::reading::Reading;
use super::rows::{optional_word, text, word};
use super::seals::Writer;
use super::tables::{OBSERVED, TRANSITIONS};
use crate::store::history::{History, HistoryQuery, Observed, ObservedTimes};
use crate::store::{Batch, Transition};

/// The migration: the table of this file.
pub(super) const TABLE: &str = "
    CREATE TABLE observed (
        contract TEXT NOT NULL,
        since TEXT NOT NULL,
        until TEXT NOT NULL,
        PRIMARY KEY (contract, since)
    ) WITHOUT ROWID;
";

/// The version of the schema that added it.
pub(super) const SINCE: i64 = 4;

pub(super) fn write(writer: &Writer<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for transition in &batch.transitions {
        put(writer, transition)?;
    }
    let times: &ObservedTimes = &batch.observed;
    for ((contract, from), until) in times {
        writer.put(&OBSERVED, params![contract, text(from), text(until)])?;
    }
    Ok(())
}

/// Writes a changed status.
pub(super) fn put(writer: &Writer<'_>, transition: &Transition) -> rusqlite::Result<()> {
    let Transition { contract, objective, at, was, status, basis } = transition;
    let was = was.as_ref().map(text);
    writer.put(&TRANSITIONS, params![contract, text(objective), text(at), was, text(status), text(basis)])
}

/// All changed statuses, the oldest first.
pub(super) fn transitions(reading: &Reading<'_>) -> rusqlite::Result<Vec<Transition>> {
    reading.rows(&TRANSITIONS, "SELECT {} FROM transitions ORDER BY at", [], transition)
}

/// The last change of each objective.
pub(super) fn last(reading: &Reading<'_>) -> rusqlite::Result<Vec<Transition>> {
    // SQLite gives the other columns of the row that has the greatest `at`.
    let sql = "SELECT {}, max(at) FROM transitions GROUP BY contract, objective";
    reading.rows(&TRANSITIONS, sql, [], transition)
}

/// All times during which somebody looked, the oldest first.
pub(super) fn all_observed(reading: &Reading<'_>) -> rusqlite::Result<Vec<Observed>> {
    reading.rows(&OBSERVED, "SELECT {} FROM observed ORDER BY since, contract", [], observed)
}

pub(super) fn history(reading: &Reading<'_>, query: &HistoryQuery) -> rusqlite::Result<History> {
    let HistoryQuery { contract, since, limit } = query;
    let since = text(since);
    let transitions = reading.rows(
        &TRANSITIONS,
        "SELECT {} FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY contract, objective ORDER BY at DESC) AS newest
             FROM transitions AS t WHERE (?1 IS NULL OR contract = ?1) AND at >= coalesce(
                 (SELECT max(at) FROM transitions AS b
                  WHERE b.contract = t.contract AND b.objective = t.objective AND b.at < ?2), ?2)
         ) WHERE newest <= ?3 ORDER BY at, contract, objective",
        params![contract, since, limit],
        transition,
    )?;
    let observed = reading.rows(
        &OBSERVED,
        "SELECT {} FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY contract ORDER BY since DESC) AS newest
             FROM observed WHERE (?1 IS NULL OR contract = ?1) AND until >= ?2
         ) WHERE newest <= ?3 ORDER BY since, contract",
        params![contract, since, limit],
        observed,
    )?;
    Ok(History { transitions, observed })
}

pub(super) fn transition(row: &Row<'_>) -> rusqlite::Result<Transition> {
    Ok(Transition {
        contract: row.get(0)?,
        objective: word(row, 1)?,
        at: word(row, 2)?,
        was: optional_word(row, 3)?,
        status: word(row, 4)?,
        basis: word(row, 5)?,
    })
}

pub(super) fn observed(row: &Row<'_>) -> rusqlite::Result<Observed> {
    Ok(Observed { contract: row.get(0)?, from: word(row, 1)?, until: word(row, 2)? })
}
