//! Responses: how soon a person must react to a condition, and whether somebody did.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::{Contract, Objective, Priority};
use super::people::Stamp;
use super::status::Status;
use super::time::Timestamp;

/// How soon somebody must react, and who is told otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The time to the first reaction.
    pub within: Duration,
    /// Who is told when that time is over.
    pub escalate_to: String,
}

/// The responses by severity.
pub type Escalation = BTreeMap<Priority, Response>;

/// The severity of what is wrong with a contract now. None if nothing is.
///
/// A breach has the priority of the contract. At risk, or a recovery clock that runs, is P1 at
/// most. A warning is P2 at most.
#[must_use]
pub fn severity(contract: &Contract, now: Timestamp) -> Option<Priority> {
    let judged = Objective::ALL.iter().filter_map(|objective| contract.judge(*objective, now));
    let status: Vec<Status> = judged.map(|judgement| judgement.status()).collect();
    let most = if status.contains(&Status::Breached) {
        Priority::P0
    } else if status.contains(&Status::AtRisk) || contract.clock().running().is_some() {
        Priority::P1
    } else if contract.checks().iter().any(|check| check.warns(now) == Some(true)) {
        Priority::P2
    } else {
        return None;
    };
    Some(most.max(contract.spec().priority))
}

/// A condition of a contract that calls for a person. Times are wall-clock times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Alarm {
    /// The severity: the highest since the alarm began.
    pub severity: Priority,
    /// Since when it has this severity. The time to react counts from here.
    pub since: Timestamp,
    /// Whether it is part of a drill.
    pub drill: bool,
    /// Who reacted first, and when.
    pub acknowledged: Option<Stamp>,
}

/// The alarms of one contract: the current one, and how long the last reaction took.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Alarms {
    /// The current alarm.
    pub current: Option<Alarm>,
    /// The severity of the last alarm to which somebody reacted, and how long that took, in seconds.
    pub last: Option<(Priority, f64)>,
}

impl Alarms {
    /// Takes in what is wrong `now`. An alarm that becomes more urgent calls again: a reaction to a
    /// warning is none to a breach.
    pub fn observe(&mut self, severity: Option<Priority>, drill: bool, now: Timestamp) {
        let Some(severity) = severity else {
            self.current = None;
            return;
        };
        match &mut self.current {
            // P0 is the most urgent, and sorts first.
            Some(current) if current.severity <= severity => current.drill = current.drill && drill,
            _ => self.current = Some(Alarm { severity, since: now, drill, acknowledged: None }),
        }
    }

    /// Somebody reacts. True if nobody had before.
    pub fn acknowledge(&mut self, stamp: Stamp) -> bool {
        let Some(alarm) = self.current.as_mut().filter(|alarm| alarm.acknowledged.is_none()) else { return false };
        self.last = Some((alarm.severity, stamp.at.since(alarm.since).as_secs_f64()));
        alarm.acknowledged = Some(stamp);
        true
    }

    /// The alarm to which nobody reacted, and how long it has waited. A drill calls nobody.
    #[must_use]
    pub fn waiting(&self, now: Timestamp) -> Option<(Priority, Duration)> {
        let alarm = self.current.as_ref().filter(|alarm| alarm.acknowledged.is_none() && !alarm.drill)?;
        Some((alarm.severity, now.since(alarm.since)))
    }
}
