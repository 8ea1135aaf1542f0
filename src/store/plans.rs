//! What people planned, declared and did, as a restart continues from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::Promise;
use crate::domain::drill::DrillRun;
use crate::domain::incident::Incident;
use crate::domain::interval::Interval;
use crate::domain::response::Alarms;
use crate::domain::time::Timestamp;

/// The state of incidents, drills and alarms. As a part of a batch: what changed. All times are
/// wall-clock times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Plans {
    /// Incidents, by id, also closed ones.
    pub incidents: BTreeMap<String, Incident>,
    /// Drills that were started, by id, also ended ones.
    pub drills: BTreeMap<String, DrillRun>,
    /// When each drill was last done, by name.
    pub done: BTreeMap<String, Timestamp>,
    /// Alarms, by contract.
    pub alarms: BTreeMap<String, Alarms>,
    /// Answers to requests with an idempotency key, by key.
    pub answers: BTreeMap<String, Answered>,
    /// The promises that were last recorded.
    pub promised: Option<Vec<Promise>>,
    /// The worst exposure of each contract since it was last recorded. None if it was just recorded.
    pub exposures: BTreeMap<String, Option<Worst>>,
    /// When the exporter was last known to observe.
    pub alive: Option<Timestamp>,
}

/// The worst exposure since a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worst {
    /// Since when.
    pub since: Timestamp,
    /// The exposure.
    pub exposure: Interval,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// When.
    pub at: Timestamp,
    /// The request, without its time. Another request with the same key is refused.
    pub request: String,
    /// The answer.
    pub answer: Value,
}

impl Plans {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it holds more than what every minute replaces.
    #[must_use]
    pub fn hold_history(&self) -> bool {
        let Self { incidents, drills, done, alarms, answers, promised, exposures: _, alive: _ } = self;
        let people = incidents.is_empty() && drills.is_empty() && done.is_empty() && answers.is_empty();
        !people || !alarms.is_empty() || promised.is_some()
    }

    /// Adds a later change.
    pub fn take(&mut self, later: Self) {
        self.incidents.extend(later.incidents);
        self.drills.extend(later.drills);
        self.done.extend(later.done);
        self.alarms.extend(later.alarms);
        self.answers.extend(later.answers);
        self.exposures.extend(later.exposures);
        self.promised = later.promised.or(self.promised.take());
        self.alive = later.alive.max(self.alive);
    }
}
