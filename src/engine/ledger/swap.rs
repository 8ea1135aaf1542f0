//! From one configuration to the next: what stays known, and who wants which reports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Ledger, Lineup, TriggerLine};
use crate::checks::KindConfig;
use crate::clock::Moment;
use crate::domain::contract::{Contract, ContractSpec, Objective};
use crate::domain::independence::{DegradedOperation, Independence};
use crate::domain::trigger::Watched;
use crate::engine::scheduler::{self, CheckId};
use crate::engine::snapshot::{CheckRecord, ContractRecord, TriggerRecord};

/// Who wants the reports of a schedule.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The contract and its check.
    pub(super) check: Option<(usize, usize)>,
    /// The triggers that watch it.
    pub(super) triggers: Vec<usize>,
}

pub(super) fn places(
    specs: &[Arc<ContractSpec>],
    ids: &[Vec<CheckId>],
    triggers: &[TriggerLine],
) -> HashMap<CheckId, Place> {
    let mut places: HashMap<CheckId, Place> = HashMap::new();
    let mut named = HashMap::new();
    for (contract, (spec, ids)) in specs.iter().zip(ids).enumerate() {
        for (check, (id, check_spec)) in ids.iter().zip(&spec.checks).enumerate() {
            places.entry(*id).or_default().check = Some((contract, check));
            named.insert((spec.name.as_str(), check_spec.name.as_str()), *id);
        }
    }
    for (index, line) in triggers.iter().enumerate() {
        let watched = match &line.spec.watched {
            Watched::Own(_) => line.own,
            Watched::Check { contract, check } => named.get(&(contract.as_str(), check.as_str())).copied(),
        };
        if let Some(id) = watched {
            places.entry(id).or_default().triggers.push(index);
        }
    }
    places
}

impl Ledger {
    /// Goes over to other contracts and triggers: what is known of those that stay, by name, stays.
    pub(super) fn swap(&mut self, lineup: Lineup) {
        let Lineup { specs, fingerprints, ids, paces, triggers: lines } = lineup;
        let moment = self.clock.moment();
        let place = |name: &str| self.contracts.iter().position(|record| record.contract.spec().name == name);
        let before: Vec<Option<usize>> = specs.iter().map(|spec| place(&spec.name)).collect();
        let told = before.iter().enumerate().flat_map(|(new, old)| {
            let of = |objective| Some(((new, objective), *self.told.get(&((*old)?, objective))?));
            Objective::ALL.into_iter().filter_map(of).collect::<Vec<_>>()
        });
        self.told = told.collect();
        let old: Vec<_> = self.contracts.iter().map(|record| record.contract.clone()).collect();
        let contracts = self.memory.swap(&specs, fingerprints, &before, &old, self.clock, moment);
        let contracts = contracts.into_iter().zip(&before).map(|((contract, same), old)| {
            Arc::new(carried(contract, &same, old.and_then(|old| self.contracts.get(old))))
        });
        let contracts = contracts.collect();
        let before = std::mem::replace(&mut self.contracts, contracts);
        self.end_tests(&before, moment);
        self.swap_triggers(&lines);
        (self.places, self.paces) = (places(&specs, &ids, &lines), paces);
        for contract in 0..self.contracts.len() {
            self.pace(contract);
        }
    }

    /// Tests of an independence that is no longer promised are over.
    fn end_tests(&mut self, before: &[Arc<ContractRecord>], moment: Moment) {
        for open in before.iter().flat_map(|record| record.independence.values()).filter_map(|known| known.open.clone())
        {
            let stays = self.contracts.iter().any(|record| {
                record.contract.spec().name == open.contract && record.independence.contains_key(&open.without)
            });
            if !stays {
                self.memory.note_operation(DegradedOperation { ended: Some(moment.wall(moment.now)), ..open });
            }
        }
    }

    fn swap_triggers(&mut self, lines: &[TriggerLine]) {
        let old: Vec<_> = self.triggers.iter().map(|record| record.trigger.clone()).collect();
        let triggers = self.memory.swap_triggers(lines, &old, self.clock).into_iter().map(|(trigger, same)| {
            let known = same.and_then(|at| self.triggers.get(at));
            Arc::new(TriggerRecord { trigger, last: known.and_then(|known| known.last.clone()) })
        });
        self.triggers = triggers.collect();
    }
}

/// The record of a contract that is configured anew, with the runs of the checks that measure the same as before.
fn carried(contract: Contract, same: &[bool], known: Option<&Arc<ContractRecord>>) -> ContractRecord {
    let mut fresh = record(contract, known.map(|known| &known.independence));
    let Some(known) = known else { return fresh };
    let names: Vec<&str> = known.contract.spec().checks.iter().map(|check| check.name.as_str()).collect();
    let checks = fresh.contract.spec().checks.iter().zip(&mut fresh.checks).zip(same);
    for ((check, now), _) in checks.filter(|(_, same)| **same) {
        let before = names.iter().position(|name| *name == check.name).and_then(|at| known.checks.get(at));
        if let Some(before) = before {
            *now = before.clone();
        }
    }
    fresh
}

pub(super) fn record(contract: Contract, known: Option<&BTreeMap<String, Independence>>) -> ContractRecord {
    let others = contract.spec().independent_of.iter();
    let independence =
        others.map(|other| (other.clone(), known.and_then(|known| known.get(other)).cloned().unwrap_or_default()));
    let independence = independence.collect();
    let checks = contract.spec().checks.iter().map(|check| {
        let of_kind = KindConfig::ALL.iter().find(|kind| kind.name == check.kind).map_or(&[][..], |kind| kind.reasons);
        CheckRecord::new(of_kind.iter().chain(scheduler::REASONS).copied())
    });
    ContractRecord { checks: checks.collect(), contract, independence }
}
