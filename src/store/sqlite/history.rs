//! Changed statuses of the past, and when anybody looked.

use rusqlite::{Connection, Row, Transaction, params};

use super::rows::{optional_word, text, word};
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

pub(super) fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    let times: &ObservedTimes = &batch.observed;
    for ((contract, from), until) in times {
        let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO observed VALUES (?1, ?2, ?3)")?;
        statement.execute(params![contract, text(from), text(until)])?;
    }
    Ok(())
}

/// All changed statuses, the oldest first.
pub(super) fn transitions(connection: &Connection) -> rusqlite::Result<Vec<Transition>> {
    let mut statement =
        connection.prepare("SELECT contract, objective, at, was, status, basis FROM transitions ORDER BY at")?;
    statement.query_map([], transition)?.collect()
}

/// All times during which somebody looked, the oldest first.
pub(super) fn all_observed(connection: &Connection) -> rusqlite::Result<Vec<Observed>> {
    let mut statement = connection.prepare("SELECT contract, since, until FROM observed ORDER BY since, contract")?;
    statement.query_map([], observed)?.collect()
}

pub(super) fn history(connection: &Connection, query: &HistoryQuery) -> rusqlite::Result<History> {
    let HistoryQuery { contract, since, limit } = query;
    let since = text(since);
    let mut statement = connection.prepare_cached(
        "SELECT contract, objective, at, was, status, basis FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY contract, objective ORDER BY at DESC) AS newest
             FROM transitions AS t WHERE (?1 IS NULL OR contract = ?1) AND at >= coalesce(
                 (SELECT max(at) FROM transitions AS b
                  WHERE b.contract = t.contract AND b.objective = t.objective AND b.at < ?2), ?2)
         ) WHERE newest <= ?3 ORDER BY at, contract, objective",
    )?;
    let transitions = statement.query_map(params![contract, since, limit], transition)?;
    let transitions = transitions.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT contract, since, until FROM (
             SELECT *, ROW_NUMBER() OVER (PARTITION BY contract ORDER BY since DESC) AS newest
             FROM observed WHERE (?1 IS NULL OR contract = ?1) AND until >= ?2
         ) WHERE newest <= ?3 ORDER BY since, contract",
    )?;
    let observed = statement.query_map(params![contract, since, limit], observed)?;
    Ok(History { transitions, observed: observed.collect::<rusqlite::Result<_>>()? })
}

fn transition(row: &Row<'_>) -> rusqlite::Result<Transition> {
    Ok(Transition {
        contract: row.get(0)?,
        objective: word(row, 1)?,
        at: word(row, 2)?,
        was: optional_word(row, 3)?,
        status: word(row, 4)?,
        basis: word(row, 5)?,
    })
}

fn observed(row: &Row<'_>) -> rusqlite::Result<Observed> {
    Ok(Observed { contract: row.get(0)?, from: word(row, 1)?, until: word(row, 2)? })
}
