//! The state that survives a restart.
//!
//! The ledger hands over the changes in one batch per tick. A separate thread writes them, so a
//! slow disk delays neither a measurement nor a scrape. All times in a store are wall-clock times
//! in UTC.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Reference;
use crate::domain::contract::Objective;
use crate::domain::independence::{DegradedOperation, Independence};
use crate::domain::outage::Mode;
use crate::domain::remembered::{RememberedCheck, RememberedClock};
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;
use crate::domain::trigger::{RememberedTrigger, TriggerMode};
use damage::Damage;
pub use error::StoreError;
use history::{History, HistoryQuery, Observed};
use plans::Plans;
use record::{Broken, EntryQuery, Head, Link};
use shared::{Forwarded, Turn};
use states::Verified;

mod batch;
pub mod damage;
mod error;
pub mod history;
pub mod jetstream;
pub mod keeper;
pub mod plans;
pub mod record;
mod retention;
pub mod shared;
pub mod sqlite;
pub mod states;

pub use batch::Batch;

/// Everything in a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// The version of the schema.
    pub schema: i64,
    /// The state that a restart continues from.
    pub state: Stored,
    /// Recoveries, the newest first.
    pub recoveries: Vec<ClosedRecovery>,
    /// Changed statuses, the oldest first.
    pub transitions: Vec<Transition>,
    /// Firings of triggers, the newest first.
    pub firings: Vec<Firing>,
    /// Tests of degraded operation, the oldest first.
    pub degraded_operation: Vec<DegradedOperation>,
    /// The times during which contracts were measured, the oldest first.
    pub observed: Vec<Observed>,
}

/// A place for a store, and how the store there is opened.
///
/// Every backend must pass the tests in `tests/real/storage/conformance.rs`.
pub trait Backend: std::fmt::Debug + Send {
    /// Opens the store for writing. While it is open, no other process can open it for writing. What
    /// is damaged is set aside, and what can be read of a damaged store is used. The state of a
    /// contract of which something was lost proves nothing any more.
    ///
    /// # Errors
    /// Another process uses the store, a later version wrote it, or it cannot be read or written.
    fn open(&self) -> Result<Box<dyn Store>, StoreError>;

    /// Reads the state that a restart continues from. This works also if the store cannot be
    /// written, or if another process uses it.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn load(&self) -> Result<Stored, StoreError>;

    /// Reads everything in the store, also while another process uses it.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn export(&self) -> Result<Export, StoreError>;

    /// Follows the whole record, and compares the states of incidents and drills with it, also while
    /// another process uses the store. With `pin`, some entry must have this hash, which somebody
    /// noted earlier.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn verify(&self, pin: Option<&str>) -> Result<Result<Verified, Broken>, StoreError>;

    /// Entries of the record in their order, also while another process uses the store.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn entries(&self, query: &EntryQuery) -> Result<Vec<Link>, StoreError>;

    /// What of the store was damaged or lost. It is looked for in everything that is stored.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn damage(&self) -> Result<Damage, StoreError> {
        Ok(Damage::default())
    }

    /// The name of the place, as shown to people.
    fn place(&self) -> String;

    /// Whether several replicas share the store. Then it has turns: see [`Store::turn`].
    fn is_shared(&self) -> bool {
        false
    }

    /// The clock by which all who share the store tell their times. None: the wall clock of this machine.
    fn time(&self) -> Option<Reference> {
        None
    }
}

/// An open store.
pub trait Store: Send {
    /// The state that a restart continues from.
    ///
    /// # Errors
    /// The store cannot be read.
    fn load(&mut self) -> Result<Stored, StoreError>;

    /// Writes a batch completely or not at all. Writing it a second time changes nothing.
    ///
    /// # Errors
    /// The store cannot be written. Then nothing of the batch was written.
    fn save(&mut self, batch: &Batch) -> Result<(), StoreError>;

    /// Recoveries that ended, the newest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn recoveries(&mut self, query: &RecoveryQuery) -> Result<Vec<ClosedRecovery>, StoreError>;

    /// Firings of triggers, the newest first.
    ///
    /// # Errors
    /// They cannot be read.
    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<Firing>, StoreError>;

    /// The end of the record.
    ///
    /// # Errors
    /// It cannot be read.
    fn head(&mut self) -> Result<Head, StoreError>;

    /// Entries of the record, in their order.
    ///
    /// # Errors
    /// They cannot be read.
    fn entries(&mut self, query: &EntryQuery) -> Result<Vec<Link>, StoreError>;

    /// Changed statuses, and the times during which somebody looked.
    ///
    /// # Errors
    /// They cannot be read.
    fn history(&mut self, query: &HistoryQuery) -> Result<History, StoreError>;

    /// Deletes recoveries, changed statuses, firings and tests of degraded operation that ended
    /// more than `retention` ago. The state that a restart continues from, and the record, are never
    /// deleted. The process `ran` for this long since the last call, and the wall clock shows `now`. A wall
    /// clock that jumped ahead is not trusted.
    ///
    /// # Errors
    /// The store cannot be written.
    fn forget(&mut self, retention: Duration, ran: Duration, now: Timestamp) -> Result<(), StoreError>;

    /// What of the store was damaged or lost, as far as it was noticed.
    ///
    /// # Errors
    /// It cannot be read.
    fn damage(&mut self) -> Result<Damage, StoreError> {
        Ok(Damage::default())
    }

    /// Takes in what other replicas wrote since the last call, and renews or takes the lead. None for
    /// a store that only one process uses. A store that has turns stays open after an error.
    ///
    /// # Errors
    /// The store cannot be read or written.
    fn turn(&mut self) -> Result<Option<Turn>, StoreError> {
        Ok(None)
    }

    /// Hands the order of a person to the replica that leads.
    ///
    /// # Errors
    /// It is not known whether the order was handed over.
    fn forward(&mut self, _order: &Forwarded) -> Result<(), StoreError> {
        Err(StoreError::NotLeading)
    }
}

/// The stored state of a check.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredCheck {
    /// The fingerprint of what was measured. The state of a check that measures something else now
    /// is useless.
    pub fingerprint: String,
    /// Its recovery point and streaks.
    pub state: RememberedCheck,
    /// The memory of the check.
    pub memory: Option<Value>,
}

/// The form of a fingerprint: the word before its colon. The first versions wrote none.
/// Fingerprints of two forms cannot be compared, because nobody knows whether they mean the same.
#[must_use]
pub fn form(fingerprint: &str) -> Option<&str> {
    fingerprint.split_once(':').map(|(form, _)| form)
}

/// The state that a restart continues from, by contract.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Clocks and counts.
    pub clocks: BTreeMap<String, RememberedClock>,
    /// Checks, by contract and name.
    pub checks: BTreeMap<String, BTreeMap<String, StoredCheck>>,
    /// The last status of each objective that was logged.
    pub told: BTreeMap<String, BTreeMap<Objective, Basis>>,
    /// Triggers, by name.
    pub triggers: BTreeMap<String, StoredTrigger>,
    /// What is known about contracts' independence of others, by the names of both.
    pub independence: BTreeMap<String, BTreeMap<String, Independence>>,
    /// Incidents, drills and alarms.
    #[serde(default)]
    pub plans: Plans,
}

/// The stored state of a trigger.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoredTrigger {
    /// The fingerprint of what was measured. The state of a trigger that measures something else
    /// now is useless.
    pub fingerprint: String,
    /// Its streak, and its firing.
    pub state: RememberedTrigger,
    /// The record of the firing that is not known to have ended.
    pub open: Option<Firing>,
}

/// A time during which a trigger fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// When it was seen to be clear again. None before that.
    pub ended: Option<Timestamp>,
    /// The reason of the first finding, from the closed list.
    pub reason: String,
    /// The details of that finding.
    pub detail: String,
}

/// A query for firings.
#[derive(Debug, Clone, PartialEq)]
pub struct FiringQuery {
    /// Only this trigger.
    pub trigger: Option<String>,
    /// Only firings that began at this instant or later.
    pub since: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}

/// How a recovery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecoveryResult {
    /// It took less than the target.
    Met,
    /// It took as long as the target, or longer.
    Missed,
    /// Nobody looked at the time that would tell.
    Uncertain,
}

/// An outage that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClosedRecovery {
    /// The contract.
    pub contract: String,
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// The first healthy observation.
    pub healthy: Timestamp,
    /// The earliest time at which it can have ended.
    pub earliest: Timestamp,
    /// From trigger to health.
    pub recovery_seconds: f64,
    /// From first failure to health.
    pub downtime_seconds: f64,
    /// The target that was valid when it ended.
    pub target_seconds: Option<f64>,
    /// How it ended. None for a contract without an RTO.
    pub result: Option<RecoveryResult>,
    /// Real or drill.
    pub mode: Mode,
    /// The check that triggered it.
    pub check: String,
    /// The reason of that check's finding.
    pub reason: String,
    /// The data at risk at the trigger, in seconds.
    pub data_at_risk_seconds: Option<f64>,
}

/// A changed status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The contract.
    pub contract: String,
    /// The objective.
    pub objective: Objective,
    /// The time of the answer.
    pub at: Timestamp,
    /// The status before. None if nothing was known.
    pub was: Option<Status>,
    /// The new status.
    pub status: Status,
    /// The row of the status table that gave it.
    pub basis: Basis,
}

/// A query for recoveries.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveryQuery {
    /// Only this contract.
    pub contract: Option<String>,
    /// Only recoveries that ended at this instant or later.
    pub since: Option<Timestamp>,
    /// At most this many.
    pub limit: u32,
}
