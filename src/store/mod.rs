//! What outlives the process.
//!
//! The ledger hands over what changed, in one batch a tick; a thread of its own writes it, so that no disk can hold up a
//! measurement or a scrape. All times in a store are wall time, UTC.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::contract::Objective;
use crate::domain::independence::{DegradedOperation, Independence};
use crate::domain::recovery_clock::Mode;
use crate::domain::remembered::{RememberedCheck, RememberedClock};
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;
use crate::domain::trigger::{RememberedTrigger, TriggerMode};

pub mod keeper;
mod retention;
pub mod sqlite;

/// Where what must outlive the process is kept.
pub trait Store: Send {
    /// Everything that a restart goes on from.
    ///
    /// # Errors
    /// It cannot be read.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Keeps a batch: all of it, or nothing. What is kept already is not kept twice.
    ///
    /// # Errors
    /// It cannot be written; nothing of the batch was.
    fn save(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Recoveries that are over, the newest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn recoveries(&mut self, query: &RecoveryQuery) -> Result<Vec<ClosedRecovery>, StoreError>;

    /// Firings of triggers, the newest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<Firing>, StoreError>;

    /// Forgets what was over for longer than `retention`: recoveries, changes of status, firings, degraded operation. What a
    /// restart goes on from is never forgotten. The process `ran` for so long since it was last told to forget, and the
    /// wall clock shows `now`; one that jumped ahead is not believed.
    ///
    /// # Errors
    /// It cannot be written.
    fn forget(&mut self, retention: Duration, ran: Duration, now: Timestamp) -> Result<(), StoreError>;
}

/// What is kept of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredCheck {
    /// What was measured: what is remembered of a check that measures something else now is of no use.
    pub fingerprint: String,
    /// Its recovery point and streaks.
    pub state: RememberedCheck,
    /// What the check itself remembers.
    pub memory: Option<Value>,
}

/// The form of a fingerprint: the word before its colon. The first versions wrote none. Fingerprints of two forms cannot
/// be compared: nobody knows whether they stand for the same.
#[must_use]
pub fn form(fingerprint: &str) -> Option<&str> {
    fingerprint.split_once(':').map(|(form, _)| form)
}

/// Everything that a restart goes on from, by contract.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Clocks and counts.
    pub clocks: BTreeMap<String, RememberedClock>,
    /// Checks, by contract and name.
    pub checks: BTreeMap<String, BTreeMap<String, StoredCheck>>,
    /// The last status of each objective, as it was told.
    pub told: BTreeMap<String, BTreeMap<Objective, Basis>>,
    /// Triggers, by name.
    pub triggers: BTreeMap<String, StoredTrigger>,
    /// What is known of contracts' independence of others, by the names of both.
    pub independence: BTreeMap<String, BTreeMap<String, Independence>>,
}

/// What is kept of a trigger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredTrigger {
    /// What was measured: what is remembered of a trigger that measures something else now is of no use.
    pub fingerprint: String,
    /// Its streak, and its firing.
    pub state: RememberedTrigger,
    /// The record of the firing that has not been seen to end.
    pub open: Option<Firing>,
}

/// A time during which a trigger fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Firing {
    /// Which trigger.
    pub trigger: String,
    /// What it called for.
    pub action: String,
    /// Where its alert went.
    pub notification: String,
    /// Who decided.
    pub mode: TriggerMode,
    /// Since when its condition held.
    pub holds_since: Timestamp,
    /// When it began to fire.
    pub started: Timestamp,
    /// When it was seen to be clear again; none while it has not been.
    pub ended: Option<Timestamp>,
    /// What was found when it began, of the closed list.
    pub reason: String,
    /// The same in words.
    pub detail: String,
}

/// Which firings are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct FiringQuery {
    /// Of this trigger alone.
    pub trigger: Option<String>,
    /// That began at this instant or later.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
}

/// What changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// Clocks and counts that changed, by contract.
    pub clocks: BTreeMap<String, RememberedClock>,
    /// Checks that changed, by contract and name.
    pub checks: BTreeMap<(String, String), StoredCheck>,
    /// Recoveries that ended.
    pub recoveries: Vec<ClosedRecovery>,
    /// Statuses that changed.
    pub transitions: Vec<Transition>,
    /// Triggers that changed, by name; the record of a firing stands in `firings`.
    pub triggers: BTreeMap<String, StoredTrigger>,
    /// Firings that began or ended.
    pub firings: Vec<Firing>,
    /// Tests of contracts' independence that began, changed or ended.
    pub operations: Vec<DegradedOperation>,
}

impl Batch {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { clocks, checks, recoveries, transitions, triggers, firings, operations } = self;
        clocks.is_empty()
            && checks.is_empty()
            && recoveries.is_empty()
            && transitions.is_empty()
            && triggers.is_empty()
            && firings.is_empty()
            && operations.is_empty()
    }

    /// Takes a later batch in: of what changed twice the later counts.
    pub fn take(&mut self, later: Self) {
        self.clocks.extend(later.clocks);
        self.checks.extend(later.checks);
        self.recoveries.extend(later.recoveries);
        self.transitions.extend(later.transitions);
        self.triggers.extend(later.triggers);
        self.firings.extend(later.firings);
        self.operations.extend(later.operations);
    }
}

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryResult {
    /// In less than the target.
    Met,
    /// Not in less than the target.
    Missed,
    /// Nobody could look at the time that would tell.
    Uncertain,
}

/// An outage that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClosedRecovery {
    /// Of which contract.
    pub contract: String,
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// The first healthy observation.
    pub healthy: Timestamp,
    /// The earliest that it can have ended.
    pub earliest: Timestamp,
    /// From trigger to health.
    pub recovery_seconds: f64,
    /// From first failure to health.
    pub downtime_seconds: f64,
    /// The target that held when it ended.
    pub target_seconds: Option<f64>,
    /// How it ended; none for a contract without an RTO.
    pub result: Option<RecoveryResult>,
    /// Real or drill.
    pub mode: Mode,
    /// The check that triggered it.
    pub check: String,
    /// What that check found.
    pub reason: String,
    /// How much data was at risk at the trigger, in seconds.
    pub data_at_risk_seconds: Option<f64>,
}

/// A status that changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// Of which contract.
    pub contract: String,
    /// Of which objective.
    pub objective: Objective,
    /// When.
    pub at: Timestamp,
    /// What it was; none if nothing was known.
    pub was: Option<Status>,
    /// What it is.
    pub status: Status,
    /// The rule that gave it.
    pub basis: Basis,
}

/// Which recoveries are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryQuery {
    /// Of this contract alone.
    pub contract: Option<String>,
    /// That ended at this instant or later.
    pub since: Option<Timestamp>,
    /// At most so many.
    pub limit: u32,
}

/// Why a store is of no use.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process uses it.
    #[error("{} is in use by another dr-exporter; give each its own --storage.path", .0.display())]
    Locked(PathBuf),
    /// A later version of this program wrote it.
    #[error("{} was written by a later dr-exporter (schema {found}, known is {known}); use that version, or another --storage.path", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The version of its schema.
        found: i64,
        /// The version that is known.
        known: i64,
    },
    /// What is in the file is no store, or is damaged.
    #[error("{} is damaged: {message}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// It cannot be read or written.
    #[error("{}: {message}", path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
}

impl StoreError {
    /// Whether the program must not start with it: going on would harm what is stored.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Newer { .. })
    }
}
