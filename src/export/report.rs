//! The status of everything, in the shape of `/api/v1/status`. Documented in `docs/http.md`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::failover::Failover;
use super::shards::ShardStatus;
use crate::domain::contract::Objective;
use crate::domain::drill::DrillRun;
use crate::domain::incident::Incident;
use crate::domain::outage::Mode;
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;
use crate::domain::trigger::TriggerMode;

mod check;
mod of;
pub use check::{
    CheckSettings, CheckStatus, Count, FailureStatus, FindingStatus, ReadingStatus, RunStatus, TroubleStatus,
};

/// The status of every contract at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StatusReport {
    /// The version of the program.
    pub version: String,
    /// The moment.
    pub now: Timestamp,
    /// Whether every check has run at least once.
    pub ready: bool,
    /// The health of the storage. None for a program that runs every check once.
    pub storage: Option<StorageStatus>,
    /// The result of the last reading of the configuration. None for a program that reads it once.
    #[serde(default)]
    pub configuration: Option<ConfigurationStatus>,
    /// Which shard it is about. Absent if the configuration is not divided.
    #[serde(default)]
    pub shard: Option<ShardStatus>,
    /// Whether a failover now would keep every promise, and what it would cost.
    #[serde(default)]
    pub failover: Option<Failover>,
    /// The contracts, in the order of the configuration.
    pub contracts: Vec<ContractStatus>,
    /// The triggers, in the order of the configuration.
    #[serde(default)]
    pub triggers: Vec<TriggerStatus>,
    /// The incidents that are open, as `/api/v1/incidents` has them.
    #[serde(default)]
    pub incidents: Vec<Incident>,
    /// The drills that go on, as `/api/v1/drills` has them.
    #[serde(default)]
    pub drills: Vec<DrillRun>,
}

/// The status of one trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TriggerStatus {
    /// Its name.
    pub name: String,
    /// The action to take.
    pub action: String,
    /// Where its alert goes.
    pub notification: String,
    /// Who decides.
    pub mode: TriggerMode,
    /// What it watches: `CONTRACT/CHECK`, or the kind of its own check.
    pub watches: String,
    /// Whether it fires. Absent without fresh evidence.
    pub active: Option<bool>,
    /// Since when its condition has held. It may not fire yet.
    pub holds_since: Option<Timestamp>,
    /// When it last began to fire.
    pub last_fired: Option<Timestamp>,
    /// When the watched check last learned something.
    pub evidence: Option<Timestamp>,
    /// What the last look found.
    pub finding: Option<FindingStatus>,
}

/// The state of a contract's independence of another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IndependenceStatus {
    /// The other contract.
    pub without: String,
    /// Whether this one works. Absent while the other one is up, or if nothing is known.
    pub ok: Option<bool>,
    /// When it was last seen to work while the other one was down.
    pub last_ok: Option<Timestamp>,
    /// When it was last seen to fail while the other one was down.
    pub last_violated: Option<Timestamp>,
}

/// The result of the last reading of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigurationStatus {
    /// When the configuration in use was read.
    pub read: Timestamp,
    /// The errors of a later configuration that was refused. Absent if the last one read is in use.
    pub refused: Option<String>,
}

/// The health of the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StorageStatus {
    /// The number of errors since the start.
    pub errors: u64,
    /// The current error. While there is one, new state is only kept in memory.
    pub failing: Option<String>,
    /// What of the storage was damaged or lost. It is left out of every answer. Absent if nothing is
    /// known to be damaged.
    #[serde(default)]
    pub damaged: Option<String>,
    /// This replica among those that share the storage. Absent if none share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaStatus>,
}

/// One replica among those that share the storage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplicaStatus {
    /// Its name.
    pub name: String,
    /// Whether it leads. Only the leader records.
    pub leads: bool,
    /// The name of the replica that leads, as far as this one knows. Absent if none does.
    pub leader: Option<String>,
    /// How many seconds ago this replica last knew all that the replicas share.
    pub age_seconds: u64,
}

/// The status of one contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractStatus {
    /// Its name.
    pub name: String,
    /// The name that people use for the component.
    pub component: String,
    /// Who has to keep the promise.
    pub owner: String,
    /// `P0` to `P3`.
    pub priority: String,
    /// The share of a target above which an objective is at risk.
    pub at_risk_ratio: f64,
    /// RTO, RPO or both.
    pub objectives: Vec<ObjectiveStatus>,
    /// Whether a check that feeds the RTO sees the component fail. The recovery clock may not run
    /// yet.
    #[serde(default)]
    pub failing: bool,
    /// The outage whose recovery clock runs.
    pub outage: Option<OutageStatus>,
    /// The last outage that is over.
    pub last_recovery: Option<RecoveryStatus>,
    /// How often a recovery must be measured. Absent without `drill_every`.
    #[serde(default)]
    pub drill_every_seconds: Option<f64>,
    /// When the next drill is due, if it has a `drill_every` and was ever recovered.
    #[serde(default)]
    pub drill_due: Option<Timestamp>,
    /// The number of recoveries, by result and mode.
    pub recoveries: Vec<RecoveryCountStatus>,
    /// Its independence of the contracts in `independent_of`.
    #[serde(default)]
    pub independence: Vec<IndependenceStatus>,
    /// The checks, in the order of the configuration.
    pub checks: Vec<CheckStatus>,
}

/// The number of recoveries with one result and one mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryCountStatus {
    /// Whether they met the target that was valid then.
    pub met: bool,
    /// Real or drill.
    pub mode: Mode,
    /// How many.
    pub count: u64,
}

/// The status of one objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectiveStatus {
    /// Which objective.
    pub objective: Objective,
    /// The status.
    pub status: Status,
    /// The row of the status table that gave it.
    pub basis: Basis,
    /// That row in words, with figures.
    pub because: String,
    /// The target.
    pub target_seconds: f64,
    /// The upper end of the figure. RPO: the exposure. RTO: the length of the outage while the
    /// clock runs, otherwise the last recovery time. Absent while there is no upper end.
    pub observed_seconds: Option<f64>,
    /// The lower end of the figure. Absent if there is no figure.
    #[serde(default)]
    pub known_seconds: Option<f64>,
    /// `observed_seconds / target_seconds`.
    pub used_ratio: Option<f64>,
    /// The time of the oldest evidence that the status rests on.
    pub evidence: Option<Timestamp>,
}

/// An outage whose clock runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutageStatus {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// Real or drill.
    pub mode: Mode,
    /// The time on the clock.
    pub elapsed_seconds: f64,
    /// How long the outage is known to have lasted: until a check last saw the component fail.
    #[serde(default)]
    pub known_seconds: f64,
    /// The longest that the outage can have lasted. Absent if nobody saw the component healthy
    /// before.
    #[serde(default)]
    pub at_most_seconds: Option<f64>,
}

/// An outage that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryStatus {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// The first healthy observation.
    pub healthy: Timestamp,
    /// The earliest time at which it can have ended. It is earlier than `healthy` only if nobody
    /// could look for a while.
    pub earliest: Timestamp,
    /// Real or drill.
    pub mode: Mode,
    /// From trigger to health.
    pub recovery_seconds: f64,
    /// From first failure to health.
    pub downtime_seconds: f64,
}

impl StatusReport {
    /// The contract with this name.
    #[must_use]
    pub fn contract(&self, name: &str) -> Option<&ContractStatus> {
        self.contracts.iter().find(|contract| contract.name == name)
    }
}

impl ObjectiveStatus {
    /// The age of the evidence.
    #[must_use]
    pub fn evidence_age(&self, now: Timestamp) -> Option<Duration> {
        self.evidence.map(|evidence| now.since(evidence))
    }
}
