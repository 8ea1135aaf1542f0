//! The part of a configuration that one shard measures.
//!
//! A contract goes with its checks, and with the triggers that watch these checks. Contracts that
//! are `independent_of` each other stay together, because only a process that measures both can
//! tell whether one works without the other. Incidents and drills may concern contracts of several
//! shards. Each of these shards has them, with its own contracts only.

use std::collections::{BTreeSet, HashMap};

use super::model::{Config, Contract};
use super::plans::{Drill, Incident};
use super::triggers::Trigger;
use crate::decode::values::Name;
use crate::domain::drill::DrillKind;
use crate::domain::shard::{self, Shard};
use crate::engine::snapshot::{Divided, Share};

/// Where the contracts of a configuration live.
struct Homes<'c> {
    contracts: HashMap<&'c str, u32>,
    total: u32,
}

impl<'c> Homes<'c> {
    fn of(contracts: &'c [Contract], total: u32) -> Self {
        let specs: Vec<(&str, &[String])> =
            contracts.iter().map(|of| (of.spec.name.as_str(), of.spec.independent_of.as_slice())).collect();
        let homes = specs.iter().zip(shard::keys(&specs)).map(|((name, _), key)| (*name, shard::home(key, total)));
        Self { contracts: homes.collect(), total }
    }

    /// Where a contract lives. Every contract that is named exists.
    fn contract(&self, name: &Name) -> u32 {
        self.contracts.get(name.as_str()).copied().unwrap_or_default()
    }

    fn trigger(&self, trigger: &Trigger) -> u32 {
        match trigger.watched() {
            Some(watched) => self.contract(&watched.contract),
            None => self.own("trigger", trigger.name()),
        }
    }

    /// Where those contracts live that an incident starts the clocks of.
    fn incident(&self, incident: &Incident) -> BTreeSet<u32> {
        let homes: BTreeSet<u32> = incident.starts_clocks.iter().map(|clock| self.contract(clock.name())).collect();
        if homes.is_empty() { BTreeSet::from([self.own("incident", &incident.name)]) } else { homes }
    }

    /// Where those contracts live that a drill recovers or verifies. A review measures nothing, so it
    /// has one home, and names contracts of others.
    fn drill(&self, drill: &Drill) -> BTreeSet<u32> {
        match drill.kind() {
            DrillKind::Review => BTreeSet::from([self.own("drill", &drill.name)]),
            DrillKind::Check if !drill.checks.is_empty() => {
                drill.checks.iter().map(|check| self.contract(&check.contract)).collect()
            }
            DrillKind::Check | DrillKind::Recovery => {
                drill.contracts.iter().map(|contract| self.contract(contract.name())).collect()
            }
        }
    }

    /// Where something without contracts lives. No contract has such a key.
    fn own(&self, section: &str, name: &Name) -> u32 {
        shard::home(&format!("{section}/{}", name.as_str()), self.total)
    }
}

impl Config {
    /// What this shard measures of a whole configuration.
    #[must_use]
    pub fn of_shard(&self, shard: Shard) -> Self {
        let homes = Homes::of(&self.contracts, shard.total());
        let here = shard.index();
        let mut divided = Vec::new();
        let mut lives_here = |what, name: &Name, homes: BTreeSet<u32>| {
            let lives = homes.contains(&here);
            if lives && homes.len() > 1 {
                divided.push(Divided { what, name: name.as_str().to_owned(), shards: homes.into_iter().collect() });
            }
            lives
        };
        let incidents = self.incidents.iter().filter(|of| lives_here("incident", &of.name, homes.incident(of)));
        let incidents: Vec<Incident> = incidents.map(|of| homes.share_of_incident(of, here)).collect();
        let drills = self.drills.iter().filter(|of| lives_here("drill", &of.name, homes.drill(of)));
        let drills: Vec<Drill> = drills.map(|of| homes.share_of_drill(of, here)).collect();
        let is_ours = |of: &&Contract| homes.contracts.get(of.spec.name.as_str()) == Some(&here);
        Self {
            connections: self.connections.clone(),
            contracts: self.contracts.iter().filter(is_ours).cloned().collect(),
            triggers: self.triggers.iter().filter(|of| homes.trigger(of) == here).cloned().collect(),
            incidents,
            drills,
            escalation: self.escalation.clone(),
            shown: self.shown.clone(),
            share: Share { shard, contracts: self.contracts.len(), divided },
        }
    }
}

impl Homes<'_> {
    fn share_of_incident(&self, incident: &Incident, here: u32) -> Incident {
        let mut share = incident.clone();
        share.starts_clocks.retain(|clock| self.contract(clock.name()) == here);
        share
    }

    fn share_of_drill(&self, drill: &Drill, here: u32) -> Drill {
        let mut share = drill.clone();
        // The kind of the whole. It must not change with the contracts that are left.
        share.kind = Some(drill.kind());
        if drill.kind() != DrillKind::Review {
            share.contracts.retain(|contract| self.contract(contract.name()) == here);
            share.checks.retain(|check| self.contract(&check.contract) == here);
        }
        share
    }
}
