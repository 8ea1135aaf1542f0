//! What the ledger hands to the storage, and takes back at a start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::clock::{Clock, Moment};
use crate::domain::contract::{Contract, ContractSpec, Objective};
use crate::domain::recovery_clock::Recovery;
use crate::domain::remembered::Remembered;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;
use crate::store::keeper::{Storage, StoreHealth};
use crate::store::{Batch, ClosedRecovery, RecoveryResult, Stored, StoredCheck, Transition};

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
    /// As it was handed over last, by contract, on the steady timeline.
    kept: Vec<Kept>,
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
    /// Whether what a check remembers has changed since it was handed over.
    dirty: Vec<bool>,
}

impl Memory {
    /// The memory of these contracts, and the contracts as they go on.
    pub(super) fn recall(
        specs: &[Arc<ContractSpec>],
        fingerprints: Vec<Vec<String>>,
        recalled: &mut Recalled,
        clock: Clock,
    ) -> (Self, Vec<Contract>) {
        let storage = recalled.storage.clone();
        let (mut kept, mut contracts) = (Vec::new(), Vec::new());
        for (spec, fingerprints) in specs.iter().zip(fingerprints) {
            let state = remembered(spec, &fingerprints, &mut recalled.stored, clock);
            let contract = Contract::recall(Arc::clone(spec), state);
            let (memories, dirty) = (vec![None; fingerprints.len()], vec![false; fingerprints.len()]);
            kept.push(Kept { state: contract.remember(), fingerprints, memories, dirty });
            contracts.push(contract);
        }
        let drift_at = Instant::now() + DRIFT;
        (Self { storage, kept, changed: Batch::default(), outstanding: None, drift_at }, contracts)
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
        let due = Instant::now() >= self.drift_at;
        if due {
            self.drift_at = Instant::now() + DRIFT;
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
            let dirty = kept.dirty.get(place).copied().unwrap_or_default();
            let moved = state.moved_since(&before);
            let taken = match extent {
                Extent::News => state.is_news_after(&before),
                Extent::Drift => state.is_news_after(&before) || dirty || !moved.is_zero() && moved >= step,
                Extent::All => dirty || *state != before,
            };
            if taken {
                let key = (spec.name.clone(), check.name.clone());
                self.changed.checks.insert(key, kept.stored(place, state, moment));
                kept.state.checks.insert(check.name.clone(), state.clone());
                if let Some(dirty) = kept.dirty.get_mut(place) {
                    *dirty = false;
                }
            }
        }
    }

    /// Takes in what a check itself remembers: written with the check's next news, or when drift is.
    pub(super) fn note_memory(&mut self, index: usize, check: usize, memory: Value) {
        let Some(kept) = self.kept.get_mut(index) else { return };
        let (Some(known), Some(dirty)) = (kept.memories.get_mut(check), kept.dirty.get_mut(check)) else { return };
        if known.as_ref() != Some(&memory) {
            (*known, *dirty) = (Some(memory), true);
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
    fn stored(&self, check: usize, state: &crate::domain::remembered::RememberedCheck, moment: Moment) -> StoredCheck {
        StoredCheck {
            fingerprint: self.fingerprints.get(check).cloned().unwrap_or_default(),
            state: state.clone().carried(|at| moment.wall(at)),
            memory: self.memories.get(check).cloned().flatten(),
        }
    }
}

/// What was stored of a contract, on the steady timeline, without the checks that measure something else now.
fn remembered(spec: &ContractSpec, fingerprints: &[String], stored: &mut Stored, clock: Clock) -> Remembered {
    let mut checks = stored.checks.remove(&spec.name).unwrap_or_default();
    let same = |(check, fingerprint): (&crate::domain::contract::CheckSpec, &String)| {
        let stored = checks.remove(&check.name).filter(|stored| stored.fingerprint == *fingerprint)?;
        Some((check.name.clone(), stored.state))
    };
    let checks: BTreeMap<_, _> = spec.checks.iter().zip(fingerprints).filter_map(same).collect();
    let state = Remembered { clock: stored.clocks.remove(&spec.name).unwrap_or_default(), checks };
    let now = clock.now();
    let ahead = std::cell::Cell::new(false);
    let state = state.carried(|wall| {
        let at = clock.from_wall(wall);
        ahead.set(ahead.get() || at > now);
        at.min(now)
    });
    if ahead.get() {
        let contract = spec.name.as_str();
        warn!(contract, "what was stored lies in the future: the wall clock was set back since; it is taken for now");
    }
    state
}

/// The memories of checks that still measure the same, by contract and name.
#[must_use]
pub fn memory_of<'a>(stored: &'a Stored, contract: &str, check: &str, fingerprint: &str) -> Option<&'a Value> {
    let stored = stored.checks.get(contract)?.get(check)?;
    stored.memory.as_ref().filter(|_| stored.fingerprint == fingerprint)
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
