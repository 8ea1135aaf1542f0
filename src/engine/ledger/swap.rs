//! The change to another configuration: which state stays, and where the reports go.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Followed, Ledger};
use crate::clock::Moment;
use crate::domain::independence::DegradedOperation;
use crate::domain::trigger::Watched;
use crate::engine::lineup::{ContractLine, Lineup, TriggerLine};
use crate::engine::memory::{Extent, Recall};
use crate::engine::report::CheckId;
use crate::engine::snapshot::TriggerRecord;

/// Where the reports of a schedule go.
#[derive(Debug, Clone, Default)]
pub(super) struct Place {
    /// The contract and its check, by index.
    pub(super) check: Option<(usize, usize)>,
    /// The triggers that watch the check, by index.
    pub(super) triggers: Vec<usize>,
}

pub(super) fn places(contracts: &[Followed], triggers: &[TriggerLine]) -> HashMap<CheckId, Place> {
    let mut places: HashMap<CheckId, Place> = HashMap::new();
    let mut named = HashMap::new();
    for (contract, Followed { spec, checks, .. }) in contracts.iter().enumerate() {
        for (check, line) in checks.iter().map(|check| &check.line).enumerate() {
            places.entry(line.id).or_default().check = Some((contract, check));
            named.insert((spec.name.as_str(), line.spec.name.as_str()), line.id);
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

/// The index of each contract, by name.
pub(super) fn named(contracts: &[Followed]) -> HashMap<String, usize> {
    contracts.iter().enumerate().map(|(index, followed)| (followed.spec.name.clone(), index)).collect()
}

impl Ledger {
    /// Changes to other contracts and triggers. Those that stay, by name, keep their state.
    pub(super) fn swap(&mut self, lineup: Lineup) {
        let Lineup { contracts: lines, triggers, people, .. } = lineup;
        let moment = self.clock.moment();
        let mut before: BTreeMap<String, Followed> = BTreeMap::new();
        let mut open = Vec::new();
        for mut followed in std::mem::take(&mut self.contracts) {
            self.memory.note(&mut followed, moment, Extent::Drift);
            open.extend(followed.record.independence.values().filter_map(|known| known.open.clone()));
            before.insert(followed.spec.name.clone(), followed);
        }
        let mut recall = Recall::new(self.clock);
        let follow = |line: ContractLine| match before.remove(&line.spec.name) {
            Some(followed) => followed.carried(line),
            None => Followed::recalled(line, &mut recall, self.memory.left(), moment.now),
        };
        self.contracts = lines.into_iter().map(follow).collect();
        for followed in before.values() {
            self.memory.leave(followed, moment);
        }
        self.memory.withdraw(recall);
        self.end_tests(open, moment);
        self.swap_triggers(&triggers);
        self.journal.people = people;
        let specs = self.contracts.iter().map(|followed| followed.spec.as_ref());
        self.journal.promise(specs, moment.wall(moment.now));
        self.apply_plans(moment);
        self.places = places(&self.contracts, &triggers);
        self.named = named(&self.contracts);
        self.contracts.iter().for_each(Followed::pace);
    }

    /// Ends the tests of an independence that the configuration no longer asks for.
    fn end_tests(&mut self, open: Vec<DegradedOperation>, moment: Moment) {
        for open in open {
            let stays = self.contracts.iter().map(|followed| &followed.record).any(|record| {
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
