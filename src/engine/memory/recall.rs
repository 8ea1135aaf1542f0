//! What contracts take back out of the storage.

use std::collections::BTreeMap;

use serde_json::Value;
use tracing::warn;

use crate::clock::Clock;
use crate::domain::contract::{CheckSpec, ContractSpec};
use crate::domain::remembered::{Remembered, RememberedCheck};
use crate::store::{self, Stored, StoredCheck};

/// Takes contracts back, and remembers what had to be withdrawn.
pub(super) struct Recall {
    clock: Clock,
    /// As the records of checks begin anew, by contract and name.
    anew: BTreeMap<(String, String), StoredCheck>,
    /// Those among them that had a recovery point, as people name them.
    points: Vec<String>,
}

impl Recall {
    /// Nothing was taken back yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, anew: BTreeMap::new(), points: Vec::new() }
    }

    /// What was stored of a contract, on the steady timeline, without the checks that measure something else now; and what may
    /// be taken of it.
    pub(super) fn contract(
        &mut self,
        spec: &ContractSpec,
        fingerprints: &[String],
        stored: &mut Stored,
    ) -> (Remembered, Remembered) {
        let mut known = stored.checks.remove(&spec.name).unwrap_or_default();
        let mut checks = BTreeMap::new();
        for (check, fingerprint) in spec.checks.iter().zip(fingerprints) {
            let Some(stored) = known.remove(&check.name) else { continue };
            if stored.fingerprint == *fingerprint {
                checks.insert(check.name.clone(), stored.state);
            } else if store::form(&stored.fingerprint) != store::form(fingerprint) {
                self.withdraw(spec, check, fingerprint, &stored.state);
            }
        }
        self.on_the_timeline(spec, Remembered { clock: stored.clocks.remove(&spec.name).unwrap_or_default(), checks })
    }

    /// The record of an earlier form is written over at once: a check that gives no answer for long writes nothing of
    /// its own, and each start would withdraw it again.
    fn withdraw(&mut self, spec: &ContractSpec, check: &CheckSpec, fingerprint: &str, was: &RememberedCheck) {
        if was.latched.is_some() {
            self.points.push(format!("{}/{}", spec.name, check.name));
        }
        let anew = StoredCheck { fingerprint: fingerprint.to_owned(), ..StoredCheck::default() };
        self.anew.insert((spec.name.clone(), check.name.clone()), anew);
    }

    fn on_the_timeline(&self, spec: &ContractSpec, state: Remembered) -> (Remembered, Remembered) {
        let stored = state.carried(|wall| self.clock.from_wall(wall));
        let (state, set_back) = stored.clone().recalled(self.clock.now());
        if set_back {
            let contract = spec.name.as_str();
            warn!(
                contract,
                "what was stored lies in the future: the wall clock was set back since, and nobody knows how old it is; \
                 it proves nothing until it is measured anew"
            );
        }
        (stored, state)
    }

    /// Tells in one line what was withdrawn, and gives the records that are to be written.
    pub(super) fn withdrawn(self) -> BTreeMap<(String, String), StoredCheck> {
        if !self.anew.is_empty() {
            let points = if self.points.is_empty() { "none".to_owned() } else { self.points.join(", ") };
            warn!(
                checks = self.anew.len(),
                recovery_points = points,
                "an earlier version stored what these checks knew in another form: it is withdrawn, this once, until they \
                 see it anew; recoveries, running clocks and firing triggers stay"
            );
        }
        self.anew
    }
}

/// The memories of checks that still measure the same, by contract and name.
#[must_use]
pub fn memory_of<'a>(stored: &'a Stored, contract: &str, check: &str, fingerprint: &str) -> Option<&'a Value> {
    let stored = stored.checks.get(contract)?.get(check)?;
    stored.memory.as_ref().filter(|_| stored.fingerprint == fingerprint)
}
