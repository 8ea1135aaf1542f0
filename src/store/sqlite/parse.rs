//! Rows as values: clocks, checks and recoveries.

use rusqlite::Row;

use super::rows::{from_json, optional_word, word};
use crate::domain::remembered::RememberedClock;
use crate::store::{ClosedRecovery, StoredCheck};

pub(super) fn clock(row: &Row<'_>) -> rusqlite::Result<(String, RememberedClock)> {
    Ok((row.get(0)?, from_json(row, 1)?))
}

/// The contract, the name, and what is stored of the check.
pub(super) fn check(row: &Row<'_>) -> rusqlite::Result<(String, String, StoredCheck)> {
    let memory = match row.get_ref(4)? {
        rusqlite::types::ValueRef::Null => None,
        _ => Some(from_json(row, 4)?),
    };
    let check = StoredCheck { fingerprint: row.get(2)?, state: from_json(row, 3)?, memory };
    Ok((row.get(0)?, row.get(1)?, check))
}

pub(super) fn recovery(row: &Row<'_>) -> rusqlite::Result<ClosedRecovery> {
    Ok(ClosedRecovery {
        contract: row.get(0)?,
        trigger: word(row, 1)?,
        first_failure: word(row, 2)?,
        healthy: word(row, 3)?,
        earliest: word(row, 4)?,
        recovery_seconds: row.get(5)?,
        downtime_seconds: row.get(6)?,
        target_seconds: row.get(7)?,
        result: optional_word(row, 8)?,
        mode: word(row, 9)?,
        check: row.get(10)?,
        reason: row.get(11)?,
        data_at_risk_seconds: row.get(12)?,
    })
}
