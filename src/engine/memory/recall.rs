//! How contracts restore their state from the storage.

use std::collections::BTreeMap;

use serde_json::Value;
use tracing::warn;

use crate::clock::Clock;
use crate::domain::contract::ContractSpec;
use crate::domain::remembered::{Calendar, Remembered, RememberedCheck, RememberedClock};
use crate::engine::lineup::CheckLine;
use crate::store::{self, Stored, StoredCheck};

/// Restores contracts, and collects the records that had to be withdrawn.
pub(in crate::engine) struct Recall {
    clock: Clock,
    /// By how many seconds the wall clock was set since something of it was stored.
    set: f64,
    /// The new records of checks that start again, by contract and name.
    anew: BTreeMap<(String, String), StoredCheck>,
    /// The checks among them that had a recovery point, as shown to people.
    points: Vec<String>,
}

impl Recall {
    /// Nothing was restored yet.
    pub(in crate::engine) fn new(clock: Clock) -> Self {
        Self { clock, set: 0.0, anew: BTreeMap::new(), points: Vec::new() }
    }

    /// The stored state of a contract on the steady timeline, reduced to what a start may keep.
    /// Checks that now measure something else are left out.
    pub(in crate::engine) fn contract<'a>(
        &mut self,
        spec: &ContractSpec,
        lines: impl Iterator<Item = &'a CheckLine>,
        stored: &mut Stored,
    ) -> (Remembered, Remembered) {
        let mut known = stored.checks.remove(&spec.name).unwrap_or_default();
        let mut checks = BTreeMap::new();
        for check in lines {
            let Some(stored) = known.remove(&check.spec.name) else { continue };
            if stored.fingerprint == check.fingerprint {
                checks.insert(check.spec.name.clone(), self.check(stored.state));
            } else if store::form(&stored.fingerprint) != store::form(&check.fingerprint) {
                self.withdraw(spec, check, &stored.state);
            }
        }
        let clock = stored.clocks.remove(&spec.name).unwrap_or_default();
        let told = self.told_by(clock.calendar.as_ref());
        let clock = RememberedClock { calendar: None, ..clock.carried(|wall| told.from_wall(wall)) };
        self.on_the_timeline(spec, Remembered { clock, checks })
    }

    /// The stored state of a check on the steady timeline.
    fn check(&mut self, stored: RememberedCheck) -> RememberedCheck {
        let told = self.told_by(stored.calendar.as_ref());
        RememberedCheck { calendar: None, memory_booted: None, ..stored.carried(|wall| told.from_wall(wall)) }
    }

    /// The clock for what was stored by this calendar.
    fn told_by(&mut self, calendar: Option<&Calendar>) -> Clock {
        let told = self.clock.told_by(calendar);
        if told.was_set_by() != 0.0 {
            self.set = told.was_set_by();
        }
        told
    }

    /// Replaces a record of an earlier form at once. Otherwise a check without an answer would
    /// write nothing, and each start would withdraw its record again.
    fn withdraw(&mut self, spec: &ContractSpec, check: &CheckLine, was: &RememberedCheck) {
        if was.latched.is_some() {
            self.points.push(format!("{}/{}", spec.name, check.spec.name));
        }
        let anew = StoredCheck { fingerprint: check.fingerprint.clone(), ..StoredCheck::default() };
        self.anew.insert((spec.name.clone(), check.spec.name.clone()), anew);
    }

    fn on_the_timeline(&self, spec: &ContractSpec, stored: Remembered) -> (Remembered, Remembered) {
        let (state, set_back) = stored.clone().recalled(self.clock.now());
        if set_back {
            let contract = spec.name.as_str();
            warn!(
                contract,
                "the stored state lies in the future, because the wall clock was set back. Its age is unknown, so it \
                 proves nothing until the checks have run again"
            );
        }
        (stored, state)
    }

    /// Logs what was corrected, and in one line what was withdrawn, and returns the records to be written.
    pub(super) fn withdrawn(self) -> BTreeMap<(String, String), StoredCheck> {
        if self.set != 0.0 {
            warn!(seconds = self.set, "the wall clock was set since the state was stored: stored ages are corrected");
        }
        if !self.anew.is_empty() {
            let points = if self.points.is_empty() { "none".to_owned() } else { self.points.join(", ") };
            warn!(
                checks = self.anew.len(),
                recovery_points = points,
                "an earlier version stored the state of these checks in another form. It is withdrawn once, until they \
                 have measured it again. Recoveries, running clocks and firing triggers are kept"
            );
        }
        self.anew
    }
}

/// The memory of a check if it still measures the same, and the calendar by which it is told.
#[must_use]
pub fn memory_of<'a>(
    stored: &'a Stored,
    contract: &str,
    check: &str,
    fingerprint: &str,
) -> Option<(&'a Value, Option<Calendar>)> {
    let stored = stored.checks.get(contract)?.get(check)?;
    let RememberedCheck { calendar, memory_booted, .. } = &stored.state;
    let told = |calendar: &Calendar| Calendar { booted: memory_booted.unwrap_or(calendar.booted), ..calendar.clone() };
    let memory = stored.memory.as_ref().filter(|_| stored.fingerprint == fingerprint)?;
    Some((memory, calendar.as_ref().map(told)))
}
