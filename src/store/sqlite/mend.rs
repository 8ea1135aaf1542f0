//! What a start may keep after damage, and how the damage is set aside.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, Row, Transaction, params, params_from_iter};

use super::findings::Findings;
use super::head::Sealed;
use super::reading::{Doubts, Reading};
use super::rows::{json, text};
use super::seals::{self, Writer};
use super::tables::{CHECKS, CONTRACTS, OPERATIONS};
use super::{history, record, tables, triggers};
use crate::clock;
use crate::domain::contract::Objective;
use crate::domain::independence::Independence;
use crate::domain::outage::{Beginning, Mode, Outage};
use crate::domain::status::{Basis, Status};
use crate::domain::trigger::RememberedTrigger;
use crate::store::damage::Damage;
use crate::store::{Firing, Stored, StoredTrigger, Transition};

/// The stored state as far as it can be relied on. A contract of which something was lost proves
/// nothing until its checks have run again.
pub(super) fn after_loss(mut stored: Stored, open: &[Firing], found: &Findings) -> Stored {
    for (_, clock) in stored.clocks.iter_mut().filter(|(contract, _)| found.state_is_lost(contract)) {
        *clock = std::mem::take(clock).after_loss();
    }
    for (_, checks) in stored.checks.iter_mut().filter(|(contract, _)| found.state_is_lost(contract)) {
        for check in checks.values_mut() {
            check.state = std::mem::take(&mut check.state).after_loss();
        }
    }
    for (contract, of) in &mut stored.independence {
        if found.operation_is_lost(contract) {
            // A test that failed may be among what was lost.
            for known in of.values_mut() {
                known.last_ok = None;
                known.open.take_if(|open| open.ok);
            }
            of.retain(|_, known| *known != Independence::default());
        }
    }
    stored.independence.retain(|_, of| !of.is_empty());
    for (_, trigger) in stored.triggers.iter_mut().filter(|(name, _)| found.trigger_is_lost(name)) {
        trigger.state = std::mem::take(&mut trigger.state).after_loss();
    }
    for name in found.lost_triggers() {
        let firing = open.iter().rfind(|firing| firing.trigger == name);
        if let Some(firing) = firing {
            stored.triggers.entry(name).or_insert_with(|| still_firing(firing));
        }
    }
    stored
}

/// A trigger of which only the record of its firing is left. It fires until somebody sees that its
/// condition is clear.
fn still_firing(firing: &Firing) -> StoredTrigger {
    let outage = Outage {
        first_failure: firing.holds_since,
        trigger: firing.started,
        mode: Mode::Real,
        beginning: Beginning::Unknown,
        declared: false,
        confirmed: true,
        interruption: None,
    };
    // Nobody knows what it measured. No fingerprint is of no form, as those of the first versions.
    let state = RememberedTrigger { firing: Some(outage), ..RememberedTrigger::default() };
    StoredTrigger { fingerprint: String::new(), state, open: Some(firing.clone()) }
}

/// A mark in the past of a contract whose history is not whole: after the last change that is left,
/// nobody knows its statuses.
pub(super) fn marks(last: &BTreeMap<(String, Objective), Transition>, found: &Findings) -> Vec<Transition> {
    let concerned = last.values().filter(|last| found.history_is_lost(&last.contract));
    let unknown = concerned.filter(|last| last.status != Status::Unproven);
    let mark = unknown.map(|last| {
        let basis = match last.objective {
            Objective::Rto => Basis::HealthUnknown,
            Objective::Rpo => Basis::NoRecoveryPoint,
        };
        let (at, was) = (last.at.plus(Duration::from_nanos(1)), Some(last.status));
        Transition { at, was, status: basis.status(), basis, ..last.clone() }
    });
    mark.collect()
}

/// Sets aside what is damaged, writes what may be kept, and takes account of everything anew.
pub(super) fn mend(
    transaction: &Transaction<'_>,
    found: &Findings,
    stored: &Stored,
    marks: &[Transition],
) -> rusqlite::Result<Sealed> {
    for bad in &found.bad {
        let sql = format!("DELETE FROM {} WHERE {}", bad.table.name, bad.table.by_bytes());
        transaction.execute(&sql, params_from_iter(bad.values.iter().take(bad.table.key)))?;
    }
    for (what, why) in found.told() {
        let bad = found.bad.iter().find(|bad| bad.table.called(&bad.values) == what);
        let content = bad.map(|bad| shown(&bad.values));
        note(transaction, &what, &why, content.as_deref())?;
    }
    let writer = Writer::new(transaction);
    set_passed_tests_aside(&writer, found)?;
    for (contract, clock) in stored.clocks.iter().filter(|(contract, _)| found.state_is_lost(contract)) {
        writer.put(&CONTRACTS, params![contract, json(clock)])?;
    }
    for (contract, checks) in stored.checks.iter().filter(|(contract, _)| found.state_is_lost(contract)) {
        for (name, check) in checks {
            let memory = check.memory.as_ref().map(json);
            writer.put(&CHECKS, params![contract, name, check.fingerprint, json(&check.state), memory])?;
        }
    }
    for (name, trigger) in stored.triggers.iter().filter(|(name, _)| found.trigger_is_lost(name)) {
        triggers::put(&writer, name, trigger)?;
    }
    marks.iter().try_for_each(|mark| history::put(&writer, mark))?;
    mend_head(transaction)?;
    seals::anew(transaction, found.last_commit.saturating_add(1), false)
}

/// Sets the tests of degraded operation aside that a contract passed, if one that it failed may be
/// lost.
fn set_passed_tests_aside(writer: &Writer<'_>, found: &Findings) -> rusqlite::Result<()> {
    let doubts = Doubts::default();
    let passed = Reading::new(writer.transaction(), &doubts)?.rows(
        &OPERATIONS,
        "SELECT {} FROM degraded_operation WHERE ok",
        [],
        |row| OPERATIONS.values(row),
    )?;
    for values in passed {
        let contract = values.first().map(tables::shown).unwrap_or_default();
        if found.operation_is_lost(&contract) {
            let why = "it was passed; it is set aside because a later one that failed may be lost";
            note(writer.transaction(), &OPERATIONS.called(&values), why, Some(&shown(&values)))?;
            let [contract, without, started] = [0, 1, 2].map(|index| values.get(index).cloned().unwrap_or(Value::Null));
            let condition = "contract = ?1 AND without = ?2 AND started = ?3";
            writer.delete(&OPERATIONS, condition, params![contract, without, started])?;
        }
    }
    Ok(())
}

/// Notes the end of the record anew, if that was damaged.
fn mend_head(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let Some(last) = record::last(transaction)? else { return Ok(()) };
    let noted = record::head(transaction)?;
    // A head beyond the last entry is the only trace of entries that were lost. One before it is old.
    let is_old = noted.seq < last.seq || noted.seq == last.seq && last.is_itself();
    if is_old && noted != last.head() {
        record::note_head(transaction, &last.head())?;
    }
    Ok(())
}

/// Keeps a line about damage for a person.
pub(super) fn note(connection: &Connection, what: &str, why: &str, content: Option<&str>) -> rusqlite::Result<()> {
    let found = text(&clock::wall());
    let sql = "INSERT INTO damaged (found, what, why, content) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![found, what, why, content]).map(drop)
}

/// The damage that was noted, and what was found beside it.
pub(super) fn noted(connection: &Connection, beside: &[(String, String)]) -> rusqlite::Result<Damage> {
    let count = connection.query_row("SELECT count(*) FROM damaged", [], |row| row.get::<_, i64>(0))?;
    let mut statement =
        connection.prepare_cached("SELECT found, what, why FROM damaged ORDER BY rowid DESC LIMIT ?1")?;
    let column = |row: &Row<'_>, index| row.get_ref(index).map(|value| tables::shown(&tables::owned(value)));
    let rows = statement.query_map([i64::try_from(Damage::EXAMPLES).unwrap_or(i64::MAX)], |row| {
        Ok(format!("{}: {} (found {})", column(row, 1)?, column(row, 2)?, column(row, 0)?))
    })?;
    let mut damage = damage(beside);
    damage.examples.extend(rows.collect::<rusqlite::Result<Vec<_>>>()?);
    damage.examples.truncate(Damage::EXAMPLES);
    damage.count = damage.count.saturating_add(u64::try_from(count).unwrap_or_default());
    Ok(damage)
}

/// Damage of which nothing is noted.
pub(super) fn damage(found: &[(String, String)]) -> Damage {
    let examples = found.iter().take(Damage::EXAMPLES).map(|(what, why)| format!("{what}: {why}"));
    Damage { count: u64::try_from(found.len()).unwrap_or(u64::MAX), examples: examples.collect() }
}

/// A row as JSON. Bytes are written in hexadecimal digits.
fn shown(values: &[Value]) -> String {
    let values = values.iter().map(|value| match value {
        Value::Null => serde_json::Value::Null,
        Value::Integer(number) => (*number).into(),
        Value::Real(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Blob(bytes) => format!("x'{}'", data_encoding::HEXLOWER.encode(bytes)).into(),
    });
    json(&values.collect::<Vec<_>>())
}
