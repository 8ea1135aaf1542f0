//! What the ledger hands to the storage, and takes back at a start.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::ledger::TriggerLine;
use super::scheduler::CheckMemory;
use crate::clock::{self, Clock, Moment};
use crate::domain::contract::{CheckSpec, Contract, ContractSpec, Objective};
use crate::domain::independence::DegradedOperation;
use crate::domain::observation::Health;
use crate::domain::recovery_clock::{ClockEvent, Recovery};
use crate::domain::remembered::{Remembered, RememberedCheck};
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::keeper::{Storage, StoreHealth};
use crate::store::{Batch, ClosedRecovery, RecoveryResult, Stored, StoredCheck, Transition};

mod recall;
mod triggers;

use recall::Recall;
pub use recall::memory_of;
use triggers::TriggerMemory;

/// How long the ledger waits for a batch to be on the disk before it shows what the batch holds. A disk that takes longer
/// does not hold up measuring.
const COMMIT: Duration = Duration::from_secs(2);
/// What only moves on with time is written this often, all of it at once: next to a thousand small writes, one.
const DRIFT: Duration = Duration::from_secs(60);
/// A recovery point that moves on is written then, if it has moved by this share of the RPO. After a kill the exposure is
/// overstated by no more than the two together, until the next proof.
const STEP_SHARE: f64 = 0.1;

/// What a start goes on from.
#[derive(Debug, Default)]
pub struct Recalled {
    /// Where changes go; none for a program that runs every check once.
    pub storage: Option<Storage>,
    /// What was stored.
    pub stored: Stored,
}

/// What is stored, and what is about to be.
pub(super) struct Memory {
    storage: Option<Storage>,
    /// What was stored of contracts that are not in the configuration.
    left: Stored,
    /// As it was handed over last, by contract, on the steady timeline.
    kept: Vec<Kept>,
    triggers: TriggerMemory,
    changed: Batch,
    outstanding: Option<oneshot::Receiver<bool>>,
    drift_at: Instant,
}

/// How much of what is known is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What happened.
    News,
    /// And what has moved on far.
    Drift,
    /// Everything.
    All,
}

struct Kept {
    state: Remembered,
    fingerprints: Vec<String>,
    memories: Vec<Option<Value>>,
    /// How far what a check remembers has changed since it was handed over.
    dirty: Vec<Dirt>,
}

/// How far what a check remembers has changed since it was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Dirt {
    /// Not at all.
    Clean,
    /// In something that moves on from run to run.
    Drift,
    /// In something that counts as news.
    News,
}

impl Memory {
    /// The memory of these contracts, and the contracts as they go on.
    pub(super) fn recall(
        specs: &[Arc<ContractSpec>],
        fingerprints: Vec<Vec<String>>,
        recalled: Recalled,
        clock: Clock,
    ) -> (Self, Vec<Contract>) {
        let Recalled { storage, stored: mut left } = recalled;
        let (mut kept, mut contracts) = (Vec::new(), Vec::new());
        let mut recall = Recall::new(clock);
        for (spec, fingerprints) in specs.iter().zip(fingerprints) {
            let (stored, state) = recall.contract(spec, &fingerprints, &mut left);
            let contract = gone_on(spec, state);
            kept.push(Kept::new(stored, fingerprints));
            contracts.push(contract);
        }
        let drift_at = clock::instant() + DRIFT;
        let triggers = TriggerMemory::new(std::mem::take(&mut left.triggers));
        let changed = Batch { checks: recall.withdrawn(), ..Batch::default() };
        let mut memory = Self { storage, left, kept, triggers, changed, outstanding: None, drift_at };
        memory.drop_if_nobody_keeps();
        (memory, contracts)
    }

    /// Goes over to other contracts. `before` says where each of them stood among the `old` ones. Gives the contracts as they
    /// go on, and which of their checks measure what they did.
    pub(super) fn swap(
        &mut self,
        specs: &[Arc<ContractSpec>],
        fingerprints: Vec<Vec<String>>,
        before: &[Option<usize>],
        old: &[Contract],
        clock: Clock,
        moment: Moment,
    ) -> Vec<(Contract, Vec<bool>)> {
        for (index, contract) in old.iter().enumerate() {
            self.note(index, contract, moment, Extent::All);
            if !before.contains(&Some(index)) {
                self.leave(index, contract, moment);
            }
        }
        let mut contracts = Vec::new();
        let mut kept = Vec::new();
        let mut recall = Recall::new(clock);
        for ((spec, fingerprints), before) in specs.iter().zip(fingerprints).zip(before) {
            let known = before.and_then(|index| Some((old.get(index)?, self.kept.get(index)?)));
            let (state, now, same) = match known {
                None => {
                    let (stored, state) = recall.contract(spec, &fingerprints, &mut self.left);
                    let same = vec![false; fingerprints.len()];
                    (state, Kept::new(stored, fingerprints), same)
                }
                Some((contract, known)) => known.carried(contract, spec, fingerprints),
            };
            let contract = gone_on(spec, state);
            kept.push(now);
            contracts.push((contract, same));
        }
        self.kept = kept;
        self.changed.checks.extend(recall.withdrawn());
        self.drop_if_nobody_keeps();
        contracts
    }

    /// Keeps what is known of a contract that leaves, should it come back.
    fn leave(&mut self, index: usize, contract: &Contract, moment: Moment) {
        let Some(kept) = self.kept.get(index) else { return };
        let (spec, state) = (contract.spec(), contract.remember());
        let checks = spec.checks.iter().enumerate().filter_map(|(place, check)| {
            Some((check.name.clone(), kept.stored(place, state.checks.get(&check.name)?, moment)))
        });
        self.left.checks.insert(spec.name.clone(), checks.collect());
        self.left.clocks.insert(spec.name.clone(), state.clock.carried(|at| moment.wall(at)));
    }

    /// How the storage is; none where there is none.
    pub(super) fn health(&self) -> Option<StoreHealth> {
        let mut health = self.storage.as_ref()?.health();
        if self.outstanding.is_some() {
            health.failing.get_or_insert_with(|| format!("the disk has not answered for {COMMIT:?}"));
        }
        Some(health)
    }

    /// Whether it is time to take in what has moved on. Says so once.
    pub(super) fn drift_is_due(&mut self) -> bool {
        let due = clock::instant() >= self.drift_at;
        if due {
            self.drift_at = clock::instant() + DRIFT;
        }
        due
    }

    /// Takes in how a contract stands.
    pub(super) fn note(&mut self, index: usize, contract: &Contract, moment: Moment, extent: Extent) {
        if self.storage.is_none() {
            return;
        }
        let Some(kept) = self.kept.get_mut(index) else { return };
        let (spec, now) = (contract.spec(), contract.remember());
        if now.clock != kept.state.clock {
            self.changed.clocks.insert(spec.name.clone(), now.clock.clone().carried(|at| moment.wall(at)));
            kept.state.clock = now.clock;
        }
        let step = spec.rpo.map_or(Duration::ZERO, |rpo| rpo.mul_f64(STEP_SHARE));
        for (place, check) in spec.checks.iter().enumerate() {
            let Some(state) = now.checks.get(&check.name) else { continue };
            let before = kept.state.checks.get(&check.name).cloned().unwrap_or_default();
            let dirty = kept.dirty.get(place).copied().unwrap_or(Dirt::Clean);
            let moved = state.moved_since(&before);
            let taken = match extent {
                Extent::News => state.is_news_after(&before) || dirty == Dirt::News,
                Extent::Drift => {
                    state.is_news_after(&before) || dirty > Dirt::Clean || !moved.is_zero() && moved >= step
                }
                Extent::All => dirty > Dirt::Clean || *state != before,
            };
            if taken {
                let key = (spec.name.clone(), check.name.clone());
                self.changed.checks.insert(key, kept.stored(place, state, moment));
                kept.state.checks.insert(check.name.clone(), state.clone());
                if let Some(dirty) = kept.dirty.get_mut(place) {
                    *dirty = Dirt::Clean;
                }
            }
        }
    }

    /// Takes in what a check itself remembers. Unless it counts as news it is written with the check's next news, or when
    /// drift is.
    pub(super) fn note_memory(&mut self, index: usize, check: usize, memory: CheckMemory) {
        let CheckMemory { value, at_once } = memory;
        let Some(kept) = self.kept.get_mut(index) else { return };
        let (Some(known), Some(dirty)) = (kept.memories.get_mut(check), kept.dirty.get_mut(check)) else { return };
        if known.as_ref() != Some(&value) {
            *known = Some(value);
            *dirty = (*dirty).max(if at_once { Dirt::News } else { Dirt::Drift });
        }
    }

    /// Takes in a recovery that ended.
    pub(super) fn note_recovery(&mut self, contract: &Contract, recovery: &Recovery, moment: Moment) {
        if self.storage.is_some() {
            self.changed.recoveries.push(closed(contract, recovery, moment));
        }
    }

    /// Takes in a status that changed.
    pub(super) fn note_status(&mut self, transition: Transition) {
        if self.storage.is_some() {
            self.changed.transitions.push(transition);
        }
    }

    /// Goes over from the `old` triggers to others. Gives them as they go on, and where each stood among the old ones.
    pub(super) fn swap_triggers(
        &mut self,
        lines: &[TriggerLine],
        old: &[Trigger],
        clock: Clock,
    ) -> Vec<(Trigger, Option<usize>)> {
        let swapped = self.triggers.swap(lines, old, clock, &mut self.changed);
        self.drop_if_nobody_keeps();
        swapped
    }

    /// Takes in how a trigger stands.
    pub(super) fn note_trigger(&mut self, index: usize, trigger: &Trigger, moment: Moment, extent: Extent) {
        self.triggers.note(index, trigger, moment, extent, &mut self.changed);
        self.drop_if_nobody_keeps();
    }

    /// Takes in that a trigger began or ended to fire.
    pub(super) fn note_firing(
        &mut self,
        index: usize,
        trigger: &Trigger,
        event: ClockEvent,
        health: &Health,
        moment: Moment,
    ) {
        self.triggers.note_firing(index, trigger, event, health, moment, &mut self.changed);
        self.drop_if_nobody_keeps();
    }

    /// Takes in how a contract's independence was tested.
    pub(super) fn note_operation(&mut self, operation: DegradedOperation) {
        self.changed.operations.push(operation);
        self.drop_if_nobody_keeps();
    }

    /// Without a storage nothing piles up.
    fn drop_if_nobody_keeps(&mut self) {
        if self.storage.is_none() {
            self.changed = Batch::default();
        }
    }

    /// Hands over what changed, and waits until it is on the disk; not for ever, and not again while it is not.
    pub(super) async fn commit(&mut self, limit: Duration) {
        if let Some(answer) = &mut self.outstanding {
            match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) if limit <= COMMIT => return,
                _ => self.outstanding = None,
            }
        }
        let Some(storage) = &self.storage else { return };
        if self.changed.is_empty() {
            return;
        }
        let mut answer = storage.save(std::mem::take(&mut self.changed));
        if timeout(limit, &mut answer).await.is_err() {
            warn!("the storage's disk does not answer; measuring goes on in memory");
            self.outstanding = Some(answer);
        }
    }

    /// The same, as often as a tick.
    pub(super) async fn commit_soon(&mut self) {
        self.commit(COMMIT).await;
    }
}

impl Kept {
    fn new(state: Remembered, fingerprints: Vec<String>) -> Self {
        let (memories, dirty) = (vec![None; fingerprints.len()], vec![Dirt::Clean; fingerprints.len()]);
        Self { state, fingerprints, memories, dirty }
    }

    /// What stays of a contract under another specification: what is known of checks that measure what they did.
    fn carried(
        &self,
        contract: &Contract,
        spec: &ContractSpec,
        fingerprints: Vec<String>,
    ) -> (Remembered, Self, Vec<bool>) {
        let mut state = contract.remember();
        let place = |name: &str| contract.spec().checks.iter().position(|check| check.name == name);
        let known = |(check, fingerprint): (&CheckSpec, &String)| {
            place(&check.name).filter(|at| self.fingerprints.get(*at) == Some(fingerprint))
        };
        let known: Vec<Option<usize>> = spec.checks.iter().zip(&fingerprints).map(known).collect();
        let stays = |name: &str| spec.checks.iter().zip(&known).any(|(check, at)| check.name == name && at.is_some());
        state.checks.retain(|name, _| stays(name));
        let mut now = Self::new(state.clone(), fingerprints);
        now.memories = known.iter().map(|at| at.and_then(|at| self.memories.get(at).cloned().flatten())).collect();
        (state, now, known.iter().map(Option::is_some).collect())
    }

    fn stored(&self, check: usize, state: &RememberedCheck, moment: Moment) -> StoredCheck {
        StoredCheck {
            fingerprint: self.fingerprints.get(check).cloned().unwrap_or_default(),
            state: state.clone().carried(|at| moment.wall(at)),
            memory: self.memories.get(check).cloned().flatten(),
        }
    }
}

/// The contract as it goes on.
fn gone_on(spec: &Arc<ContractSpec>, state: Remembered) -> Contract {
    let ran = state.clock.running.is_some();
    let contract = Contract::recall(Arc::clone(spec), state);
    if ran && contract.clock().running().is_none() {
        let contract = spec.name.as_str();
        warn!(contract, "the checks that saw it down are no more: its outage ends here, without a recovery");
    }
    contract
}

fn closed(contract: &Contract, recovery: &Recovery, moment: Moment) -> ClosedRecovery {
    let spec = contract.spec();
    let circumstances = contract.circumstances().cloned().unwrap_or_default();
    ClosedRecovery {
        contract: spec.name.clone(),
        first_failure: moment.wall(recovery.outage.first_failure),
        trigger: moment.wall(recovery.outage.trigger),
        healthy: moment.wall(recovery.healthy),
        earliest: moment.wall(recovery.earliest),
        recovery_seconds: recovery.recovery_time().as_secs_f64(),
        downtime_seconds: recovery.downtime().as_secs_f64(),
        target_seconds: spec.rto.map(|rto| rto.as_secs_f64()),
        result: spec.rto.map(|rto| match recovery.met(rto) {
            Some(true) => RecoveryResult::Met,
            Some(false) => RecoveryResult::Missed,
            None => RecoveryResult::Uncertain,
        }),
        mode: recovery.outage.mode,
        check: circumstances.check,
        reason: circumstances.reason,
        data_at_risk_seconds: circumstances.data_at_risk.map(|risk| risk.as_secs_f64()),
    }
}

/// The statuses that were told last, by the place of the contract.
pub(super) fn told(specs: &[Arc<ContractSpec>], stored: &Stored) -> impl Iterator<Item = ((usize, Objective), Basis)> {
    let of = |(index, spec): (usize, &Arc<ContractSpec>)| {
        let told = stored.told.get(&spec.name).into_iter().flatten();
        told.map(move |(objective, basis)| ((index, *objective), *basis)).collect::<Vec<_>>()
    };
    specs.iter().enumerate().flat_map(of).collect::<Vec<_>>().into_iter()
}

/// A status that changed, as it is stored.
pub(super) fn transition(
    spec: &ContractSpec,
    objective: Objective,
    before: Option<Basis>,
    basis: Basis,
    at: Timestamp,
    moment: Moment,
) -> Transition {
    Transition {
        contract: spec.name.clone(),
        objective,
        at: moment.wall(at),
        was: before.map(Basis::status),
        status: basis.status(),
        basis,
    }
}
