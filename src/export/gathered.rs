//! What a report on a period needs of the record. It is gathered entry by entry: the record of years is
//! never held as a whole, and each entry is looked at once, however many contracts there are.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::recorded::Recorded;
use crate::domain::contract::Objective;
use crate::domain::drill::{DrillKind, Measured};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::timeline::{self, Change};
use crate::store::record::{Fact, Promise};

/// A drill that the exporter verified by itself.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Its name.
    pub drill: String,
    /// Its kind.
    pub kind: DrillKind,
    /// When.
    pub at: Timestamp,
    /// Whether everything was well.
    pub passed: bool,
}

/// An exposure in seconds: at least, and at most.
pub type Exposure = (f64, Option<f64>);

/// The worse one at each end.
#[must_use]
pub fn worse(a: Exposure, b: Exposure) -> Exposure {
    (a.0.max(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b)))
}

/// One objective of a contract.
type Of = (String, Objective);

/// What was promised for a contract.
#[derive(Debug, Clone)]
pub struct Held {
    /// The promise that held last.
    pub promise: Promise,
    /// When the contract left the configuration. None while it is promised.
    pub removed: Option<Timestamp>,
    /// When the target of an objective was last changed, added or dropped.
    changed: BTreeMap<Objective, Timestamp>,
}

impl Held {
    /// When the target of this objective was last changed, if that was at this instant or later.
    #[must_use]
    pub fn changed(&self, objective: Objective, since: Timestamp) -> Option<Timestamp> {
        self.changed.get(&objective).copied().filter(|at| *at >= since)
    }

    /// From here on this promise holds.
    fn become_this(&mut self, promise: Promise, at: Timestamp) {
        for objective in Objective::ALL {
            if promise.target_seconds(objective) != self.promise.target_seconds(objective) {
                self.changed.insert(objective, at);
            }
        }
        (self.promise, self.removed) = (promise, None);
    }
}

/// The facts of the record that matter.
#[derive(Debug)]
pub struct Gathered {
    /// Nothing that was over before is kept, except what tells the status at the beginning.
    from: Timestamp,
    /// The contract, unless all are wanted.
    only: Option<String>,
    /// The contracts that are promised now, in the order of the configuration.
    now: Vec<String>,
    /// All that ever were.
    held: BTreeMap<String, Held>,
    /// The objectives that are promised now.
    promised: BTreeSet<Of>,
    /// The first promises that were recorded.
    first_promised: Option<(i64, Timestamp)>,
    /// Who observed when, with the number of the entry.
    observers: Vec<(i64, Timestamp, Observer)>,
    /// What concerns one objective alone.
    objectives: BTreeMap<Of, Vec<(i64, Timestamp, Own)>>,
    recoveries: BTreeMap<String, Vec<Measured>>,
    exposures: BTreeMap<String, Exposure>,
    verified: Vec<Verified>,
}

/// Whether somebody observes: the same for all objectives.
#[derive(Debug, Clone, Copy)]
enum Observer {
    Started { silent_since: Option<Timestamp> },
    TookOver,
    Stopped,
    Silent { from: Timestamp, until: Timestamp },
}

/// A change of one objective.
#[derive(Debug, Clone, Copy)]
enum Own {
    Status(Timestamp, Status),
    /// Whether it is promised from here on.
    Promised(bool),
}

impl Gathered {
    /// Nothing yet, for a report on the time since `from`, on every contract or on one.
    #[must_use]
    pub fn since(from: Timestamp, only: Option<String>) -> Self {
        Self {
            from,
            only,
            now: Vec::new(),
            held: BTreeMap::new(),
            promised: BTreeSet::new(),
            first_promised: None,
            observers: Vec::new(),
            objectives: BTreeMap::new(),
            recoveries: BTreeMap::new(),
            exposures: BTreeMap::new(),
            verified: Vec::new(),
        }
    }

    fn concerns(&self, contract: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == contract)
    }

    /// Takes the next fact.
    pub fn take(&mut self, Recorded { seq, at, fact }: Recorded) {
        let mut observer = |observer| self.observers.push((seq, at, observer));
        match fact {
            Fact::Started { silent_since, .. } => observer(Observer::Started { silent_since }),
            Fact::TookOver { .. } => observer(Observer::TookOver),
            Fact::Stopped => observer(Observer::Stopped),
            Fact::Silent { from, until } => observer(Observer::Silent { from, until }),
            Fact::Promised { contracts } => self.promise(seq, at, contracts),
            Fact::Status(of) if self.concerns(&of.contract) => {
                self.objective((of.contract, of.objective)).push((seq, at, Own::Status(of.at, of.status)));
            }
            // One from a clock that ran ahead is among them.
            Fact::Recovery(measured) if measured.healthy >= self.from && self.concerns(&measured.contract) => {
                self.recoveries.entry(measured.contract.clone()).or_default().push(measured);
            }
            Fact::Exposure { contract, least_seconds, most_seconds, .. }
                if at >= self.from && self.concerns(&contract) =>
            {
                let here = (least_seconds, most_seconds);
                self.exposures.entry(contract).and_modify(|worst| *worst = worse(*worst, here)).or_insert(here);
            }
            Fact::Verified { drill, kind, findings } if at >= self.from => {
                self.verified.push(Verified { drill, kind, at, passed: findings.is_empty() });
            }
            _ => {}
        }
    }

    /// From here on these promises hold. Before the first ones, everything counts as promised.
    fn promise(&mut self, seq: i64, at: Timestamp, mut contracts: Vec<Promise>) {
        contracts.retain(|promise| self.concerns(&promise.contract));
        let of = |promise: &Promise| {
            let contract = promise.contract.clone();
            promise.objectives().map(move |objective| (contract.clone(), objective)).collect::<Vec<_>>()
        };
        let now: BTreeSet<Of> = contracts.iter().flat_map(of).collect();
        if self.first_promised.is_none() {
            for of in &now {
                self.objectives.entry(of.clone()).or_default();
            }
            self.promised = self.objectives.keys().cloned().collect();
        }
        let added = now.difference(&self.promised).map(|of| (of.clone(), true));
        let changed: Vec<_> = added.chain(self.promised.difference(&now).map(|of| (of.clone(), false))).collect();
        for (of, is_promised) in changed {
            self.objective(of).push((seq, at, Own::Promised(is_promised)));
        }
        self.first_promised.get_or_insert((seq, at));
        self.promised = now;
        self.now = contracts.iter().map(|promise| promise.contract.clone()).collect();
        for held in self.held.values_mut() {
            held.removed.get_or_insert(at);
        }
        for promise in contracts {
            match self.held.entry(promise.contract.clone()) {
                Entry::Occupied(mut held) => held.get_mut().become_this(promise, at),
                Entry::Vacant(place) => {
                    place.insert(Held { promise, removed: None, changed: BTreeMap::new() });
                }
            }
        }
    }

    /// The changes of an objective. One that was not among the first promises begins without a promise.
    fn objective(&mut self, of: Of) -> &mut Vec<(i64, Timestamp, Own)> {
        let first = self.first_promised.filter(|_| !self.promised.contains(&of));
        let first = first.map(|(seq, at)| (seq, at, Own::Promised(false)));
        self.objectives.entry(of).or_insert_with(|| first.into_iter().collect())
    }

    /// The contracts that were promised at any time since `from`: first those that still are, in the order
    /// of the configuration.
    pub fn held(&self, from: Timestamp) -> impl Iterator<Item = &Held> {
        let now = self.now.iter().filter_map(|name| self.held.get(name));
        now.chain(self.held.values().filter(move |held| held.removed.is_some_and(|removed| removed >= from)))
    }

    /// The recoveries of a contract that ended since `from`, the oldest first.
    #[must_use]
    pub fn recoveries(&self, contract: &str, from: Timestamp) -> Vec<Measured> {
        let all = self.recoveries.get(contract).into_iter().flatten();
        all.filter(|measured| measured.healthy >= from).cloned().collect()
    }

    /// The worst exposure of a contract that was recorded.
    #[must_use]
    pub fn exposure(&self, contract: &str) -> Option<Exposure> {
        self.exposures.get(contract).copied()
    }

    /// The drills that the exporter verified, the oldest first.
    #[must_use]
    pub fn verified(&self) -> &[Verified] {
        &self.verified
    }

    /// The times in which nobody observed, within a period.
    #[must_use]
    pub fn silences(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut stopped = None;
        let mut silences = Vec::new();
        for (_, at, observer) in &self.observers {
            match observer {
                Observer::Stopped => stopped = Some(*at),
                Observer::Started { silent_since } => {
                    silences.extend(stopped.take().or(*silent_since).map(|since| (since, *at)));
                }
                // Others observed meanwhile.
                Observer::TookOver => stopped = None,
                Observer::Silent { from, until } => silences.push((*from, *until)),
            }
        }
        let within = silences.into_iter().map(|(since, until)| (since.max(from), until.min(to)));
        within.filter(|(since, until)| since < until).collect()
    }

    /// The changes of one objective up to `now`, for [`timeline::shares`].
    #[must_use]
    pub fn changes(&self, contract: &str, objective: Objective, now: Timestamp) -> Vec<(Timestamp, Change)> {
        let own = self.objectives.get(&(contract.to_owned(), objective)).map(Vec::as_slice).unwrap_or_default();
        let (mut changes, mut promised, mut observers) = (Vec::new(), true, self.observers.as_slice());
        for (seq, recorded, change) in own {
            let (before, after) = observers.split_at(observers.partition_point(|(of, ..)| of < seq));
            observed(before, promised, &mut changes);
            observers = after;
            let (at, change) = match *change {
                Own::Status(at, status) => (at, Change::Status(status)),
                Own::Promised(is_promised) => {
                    promised = is_promised;
                    (*recorded, if is_promised { Change::Observed } else { Change::Silent })
                }
            };
            changes.push(timeline::Recorded { recorded: *recorded, at, change });
        }
        observed(observers, promised, &mut changes);
        timeline::dated(&changes, now)
    }
}

/// Adds who observed. What is not promised is not observed.
fn observed(observers: &[(i64, Timestamp, Observer)], promised: bool, changes: &mut Vec<timeline::Recorded>) {
    for (_, recorded, observer) in observers {
        let (silent, observed) = match *observer {
            Observer::Started { silent_since } => (silent_since, Some(*recorded)),
            Observer::TookOver => (None, Some(*recorded)),
            Observer::Stopped => (Some(*recorded), None),
            Observer::Silent { from, until } => (Some(from), Some(until)),
        };
        let silent = silent.map(|at| (at, Change::Silent));
        let observed = observed.filter(|_| promised).map(|at| (at, Change::Observed));
        let both = silent.into_iter().chain(observed);
        changes.extend(both.map(|(at, change)| timeline::Recorded { recorded: *recorded, at, change }));
    }
}

#[cfg(test)]
mod tests;
