//! The changes of one tick, which are written together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::history::ObservedTimes;
use super::plans::Plans;
use super::record::Entry;
use super::{ClosedRecovery, Firing, StoredCheck, StoredTrigger, Transition};
use crate::domain::independence::DegradedOperation;
use crate::domain::remembered::RememberedClock;

/// The changes of one tick.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Batch {
    /// Clocks and counts that changed, by contract.
    pub clocks: BTreeMap<String, RememberedClock>,
    /// Checks that changed, by contract and name.
    #[serde(with = "pairs")]
    pub checks: BTreeMap<(String, String), StoredCheck>,
    /// Recoveries that ended.
    pub recoveries: Vec<ClosedRecovery>,
    /// Changed statuses.
    pub transitions: Vec<Transition>,
    /// Triggers that changed, by name. The records of their firings are in `firings`.
    pub triggers: BTreeMap<String, StoredTrigger>,
    /// Firings that began or ended.
    pub firings: Vec<Firing>,
    /// Tests of contracts' independence that began, changed or ended.
    pub operations: Vec<DegradedOperation>,
    /// Incidents, drills and alarms that changed.
    pub plans: Plans,
    /// New entries of the record. They are appended in the same transaction.
    pub entries: Vec<Entry>,
    /// Times during which contracts were measured.
    #[serde(with = "pairs")]
    pub observed: ObservedTimes,
    /// The answers to orders that other replicas forwarded, by the number of the order. Only a shared
    /// store keeps them.
    pub replies: BTreeMap<String, Value>,
}

impl Batch {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { clocks, checks, triggers, plans, observed, .. } = self;
        let state = clocks.is_empty() && checks.is_empty() && triggers.is_empty() && observed.is_empty();
        state && plans.is_empty() && !self.holds_history()
    }

    /// Whether it holds anything that no later batch replaces. Everything else is state, of which
    /// only the newest counts.
    #[must_use]
    pub fn holds_history(&self) -> bool {
        let Self { recoveries, transitions, firings, operations, plans, entries, replies, .. } = self;
        let history = recoveries.is_empty() && transitions.is_empty() && firings.is_empty() && operations.is_empty();
        !history || !entries.is_empty() || !replies.is_empty() || plans.hold_history()
    }

    /// Two batches which together hold the same. None if it cannot be divided. The history of the
    /// first comes before that of the second.
    #[must_use]
    pub fn halves(self) -> Option<(Self, Self)> {
        let Self {
            clocks,
            checks,
            recoveries,
            transitions,
            triggers,
            firings,
            operations,
            plans,
            entries,
            observed,
            replies,
        } = self;
        let sizes = [clocks.len(), checks.len(), recoveries.len(), transitions.len(), triggers.len(), firings.len()];
        let more = [operations.len(), entries.len(), observed.len(), replies.len(), usize::from(!plans.is_empty())];
        if sizes.into_iter().chain(more).sum::<usize>() < 2 {
            return None;
        }
        // Where there is only one of each, the kinds part.
        let alone = sizes.into_iter().chain(more).all(|size| size < 2);
        let (first_checks, checks) = map_halves(checks, alone);
        let (first_entries, entries) = list_halves(entries, alone);
        let (first_clocks, clocks) = map_halves(clocks, false);
        let (first_recoveries, recoveries) = list_halves(recoveries, false);
        let (first_transitions, transitions) = list_halves(transitions, false);
        let (first_triggers, triggers) = map_halves(triggers, false);
        let (first_firings, firings) = list_halves(firings, false);
        let (first_operations, operations) = list_halves(operations, false);
        let (first_observed, observed) = map_halves(observed, false);
        let (first_replies, replies) = map_halves(replies, false);
        let first = Self {
            clocks: first_clocks,
            checks: first_checks,
            recoveries: first_recoveries,
            transitions: first_transitions,
            triggers: first_triggers,
            firings: first_firings,
            operations: first_operations,
            plans: Plans::default(),
            entries: first_entries,
            observed: first_observed,
            replies: first_replies,
        };
        let second = Self {
            clocks,
            checks,
            recoveries,
            transitions,
            triggers,
            firings,
            operations,
            plans,
            entries,
            observed,
            replies,
        };
        (!first.is_empty() && !second.is_empty()).then_some((first, second))
    }

    /// Adds a later batch. If both contain a change of the same thing, the later one counts.
    pub fn take(&mut self, later: Self) {
        self.clocks.extend(later.clocks);
        self.checks.extend(later.checks);
        self.recoveries.extend(later.recoveries);
        self.transitions.extend(later.transitions);
        self.triggers.extend(later.triggers);
        self.firings.extend(later.firings);
        self.operations.extend(later.operations);
        self.plans.take(later.plans);
        self.entries.extend(later.entries);
        self.observed.extend(later.observed);
        self.replies.extend(later.replies);
    }
}

/// The first half of a list, or all of it, and the rest.
fn list_halves<T>(mut all: Vec<T>, whole: bool) -> (Vec<T>, Vec<T>) {
    let rest = all.split_off(if whole { all.len() } else { all.len() / 2 });
    (all, rest)
}

/// The same of a map.
fn map_halves<K: Ord, V>(all: BTreeMap<K, V>, whole: bool) -> (BTreeMap<K, V>, BTreeMap<K, V>) {
    let (first, rest) = list_halves(all.into_iter().collect(), whole);
    (first.into_iter().collect(), rest.into_iter().collect())
}

/// A map whose keys are no words: JSON has it as a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::<(K, V)>::deserialize(deserializer)?.into_iter().collect())
    }
}
