//! The record: everything that was declared, measured and decided, in the order in which it was
//! written.
//!
//! The record is append-only. Each entry carries the SHA-256 hash of its own content and of the
//! entry before it, so a changed, deleted or moved entry is found. The hash of the last entry is
//! the head: whoever has noted it elsewhere can prove that nothing up to there was changed since.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::states::Planned;
use super::{Firing, Transition};
use crate::domain::contract::{Objective, Priority};
use crate::domain::drill::{DrillKind, DrillRun, Measured, Outcome};
use crate::domain::incident::Incident;
use crate::domain::outage::Mode;
use crate::domain::people::{Gap, Stamp};
use crate::domain::time::Timestamp;

mod chain;
pub use chain::{Broken, Head, Link, Verification};

/// One thing that is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Fact {
    /// The exporter started. It had not observed since `silent_since`: a gap.
    Started {
        /// The version of the program.
        version: String,
        /// When it was last known to observe. None at the first start.
        silent_since: Option<Timestamp>,
    },
    /// Another replica took the lead: it had observed all the time.
    TookOver {
        /// Its name.
        replica: String,
        /// The version of its program.
        version: String,
    },
    /// The exporter was stopped in order.
    Stopped,
    /// The exporter did not observe for a while, although it was not restarted: the machine slept,
    /// or the process was stopped.
    Silent {
        /// The last time before.
        from: Timestamp,
        /// The first time after.
        until: Timestamp,
    },
    /// From here on these promises hold.
    Promised {
        /// Every contract of the configuration.
        contracts: Vec<Promise>,
    },
    /// The status of an objective changed.
    Status(Transition),
    /// A recovery clock started.
    Outage {
        /// The contract.
        contract: String,
        /// The first failure that was seen.
        first_failure: Timestamp,
        /// The start of the clock.
        trigger: Timestamp,
        /// Real or drill.
        mode: Mode,
        /// The check that started it. Empty if a person declared it.
        check: String,
        /// The reason of the check's finding.
        reason: String,
        /// The data at risk at the trigger.
        data_at_risk_seconds: Option<f64>,
    },
    /// An outage ended without a recovery, because no check that measures the contract saw a failure.
    Withdrawn {
        /// The contract.
        contract: String,
        /// The start of the clock.
        trigger: Timestamp,
    },
    /// A recovery was measured.
    Recovery(Measured),
    /// The worst exposure of a contract within a time.
    Exposure {
        /// The contract.
        contract: String,
        /// Since when.
        since: Timestamp,
        /// The most data that a disaster could have cost. None if nobody knows.
        most_seconds: Option<f64>,
        /// The least that one would have cost at the worst time.
        least_seconds: f64,
    },
    /// A trigger began to fire, or was clear again.
    Firing(Firing),
    /// A person declared an incident.
    Declared {
        /// The incident.
        incident: Incident,
    },
    /// Another person declared an incident that was open already.
    Joined {
        /// The incident.
        incident: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// A step was stamped, or a stamp was corrected.
    Step {
        /// The incident.
        incident: String,
        /// The step.
        step: String,
        /// Whether it counts as taken now.
        done: bool,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A note on an incident or a drill.
    Note {
        /// The incident or drill.
        on: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The text.
        text: String,
    },
    /// A link to the change of the contract that followed an incident or a drill.
    Change {
        /// The incident or drill.
        on: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The link.
        link: String,
    },
    /// A gap was found, or closed.
    Gap {
        /// The incident or drill.
        on: String,
        /// The gap.
        gap: Gap,
    },
    /// An incident was closed.
    Closed {
        /// The incident.
        incident: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A drill was started.
    DrillStarted {
        /// The drill.
        run: DrillRun,
    },
    /// A person said that the recovery is complete.
    DrillRecovered {
        /// The drill.
        drill: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A drill ended.
    DrillEnded {
        /// The drill.
        drill: String,
        /// How.
        outcome: Outcome,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// Why, or what was found.
        text: String,
    },
    /// The exporter verified a drill of the kind `check`.
    Verified {
        /// The name of the drill.
        drill: String,
        /// Its kind.
        kind: DrillKind,
        /// What was wrong. Empty if everything is well.
        findings: Vec<String>,
    },
    /// Somebody reacted to an alarm.
    Acknowledged {
        /// The contract.
        contract: String,
        /// The severity of the alarm.
        severity: Priority,
        /// How long it had waited.
        waited_seconds: f64,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The incident or drill that counts as the reaction, or a text.
        by_what: String,
    },
    /// The state of an incident or a drill, as it is stored beside the record.
    State {
        /// What it is.
        of: Planned,
        /// Its id.
        id: String,
        /// The SHA-256 of the state.
        sha256: String,
    },
}

/// A promise of the configuration, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promise {
    /// The contract.
    pub contract: String,
    /// The name that people use for the component.
    pub component: String,
    /// Who has to keep it.
    pub owner: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The RTO in seconds.
    pub rto_seconds: Option<f64>,
    /// The RPO in seconds.
    pub rpo_seconds: Option<f64>,
}

impl Promise {
    /// The objectives that it has.
    pub fn objectives(&self) -> impl Iterator<Item = Objective> {
        Objective::ALL.into_iter().filter(|objective| self.target_seconds(*objective).is_some())
    }

    /// The target of an objective in seconds. None if it does not have the objective.
    #[must_use]
    pub fn target_seconds(&self, objective: Objective) -> Option<f64> {
        match objective {
            Objective::Rto => self.rto_seconds,
            Objective::Rpo => self.rpo_seconds,
        }
    }
}

/// A fact that is to be appended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// A key that no other entry has. An entry that is handed over twice is appended once.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// The fact.
    pub fact: Fact,
}

/// A query for entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryQuery {
    /// Only entries with a higher number.
    pub after: i64,
    /// At most this many.
    pub limit: u32,
}
