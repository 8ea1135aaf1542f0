//! The state that the ledger hands to the storage, and restores at a start.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::journal::Journal;
use super::ledger::{Followed, FollowedCheck};
use super::lineup::TriggerLine;
use crate::clock::{self, Clock, Moment};
use crate::domain::contract::{Contract, ContractSpec, Objective};
use crate::domain::independence::DegradedOperation;
use crate::domain::observation::Health;
use crate::domain::outage::Recovery;
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::remembered::{Calendar, RememberedCheck, RememberedClock};
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::keeper::{Storage, StoreHealth};
use crate::store::{Batch, ClosedRecovery, Firing, RecoveryResult, Stored, StoredCheck, Transition};

mod kept;
mod recall;
mod replicas;
mod triggers;

use kept::Dirt;
pub(super) use kept::KeptCheck;
pub(super) use recall::Recall;
pub use recall::memory_of;
pub(super) use replicas::HandedRecovery;
use replicas::Recoveries;
use triggers::TriggerMemory;

/// How long the ledger waits until a batch is on the disk before it shows what the batch contains.
/// A slower disk does not hold up measuring.
const COMMIT: Duration = Duration::from_secs(2);
/// State that only grows older is written this often, in one batch. This replaces many small writes.
const DRIFT: Duration = Duration::from_secs(60);
/// Recovery points that moved forward are written this often, in one batch. So after a kill the
/// exposure is overstated by at most this time more than one interval, until the next proof.
const FORWARD: Duration = Duration::from_secs(1);

/// The state that a start continues from.
#[derive(Debug, Default)]
pub struct Recalled {
    /// Where changes are stored. None for a program that runs every check once.
    pub storage: Option<Storage>,
    /// What was stored.
    pub stored: Stored,
}

/// The stored state, and the changes that wait to be stored.
pub(super) struct Memory {
    storage: Option<Storage>,
    /// The stored state of contracts that are not in the configuration.
    left: Stored,
    triggers: TriggerMemory,
    changed: Batch,
    /// Checks whose recovery points moved forward, by contract and check. They wait for the next
    /// batch.
    forward: BTreeMap<(String, String), StoredCheck>,
    forward_at: Instant,
    outstanding: Option<oneshot::Receiver<bool>>,
    drift_at: Instant,
    clock: Clock,
    /// What the wall clock showed at the zero of the timeline when everything was written.
    written_at: Option<Timestamp>,
    /// Whether this process records. Of a shared storage, only the leader does.
    leads: bool,
    /// The term in which it leads.
    term: u64,
    replicas: Recoveries,
}

/// Which changes are handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// News, and recovery points that moved forward.
    News,
    /// Also what only grew older.
    Drift,
    /// Everything, though nothing changed: the wall clock was set, and stored times are wall-clock
    /// times. Times from before and after that would tell another age.
    Anew,
}

impl Memory {
    /// The memory, restored from what was stored.
    pub(super) fn new(storage: Option<Storage>, mut left: Stored, recall: Recall, clock: Clock) -> Self {
        let drift_at = clock::instant() + DRIFT;
        let triggers = TriggerMemory::new(std::mem::take(&mut left.triggers));
        // These would be out of date when a contract comes back later.
        (left.told, left.independence) = Default::default();
        let leads = storage.as_ref().is_none_or(|storage| storage.inbox().is_none());
        let mut memory = Self {
            storage,
            left,
            triggers,
            changed: Batch::default(),
            forward: BTreeMap::new(),
            forward_at: clock::instant(),
            outstanding: None,
            drift_at,
            clock,
            written_at: None,
            leads,
            term: 0,
            replicas: Recoveries::default(),
        };
        memory.withdraw(recall);
        memory
    }

    /// The stored state of contracts that are not in the configuration.
    pub(super) fn left(&mut self) -> &mut Stored {
        &mut self.left
    }

    /// Takes over the records that had to be withdrawn.
    pub(super) fn withdraw(&mut self, recall: Recall) {
        self.changed.checks.extend(recall.withdrawn());
        self.drop_if_nobody_keeps();
    }

    /// Keeps the state of a contract that leaves the configuration. It may come back.
    pub(super) fn leave(&mut self, followed: &Followed, moment: Moment) {
        let (spec, state) = (&followed.spec, followed.record.contract.remember());
        let calendar = self.calendar(moment);
        let checks = followed.checks.iter().filter_map(|check| {
            let name = &check.line.spec.name;
            Some((name.clone(), check.stored(state.checks.get(name)?, moment, calendar.clone())))
        });
        let checks = checks.collect();
        let clock = state.clock.clone().carried(|at| moment.wall(at));
        let clock = RememberedClock { calendar, ..clock };
        self.left.checks.insert(spec.name.clone(), checks);
        self.left.clocks.insert(spec.name.clone(), clock);
    }

    /// The health of the storage. None without a storage.
    pub(super) fn health(&self) -> Option<StoreHealth> {
        let mut health = self.storage.as_ref()?.health();
        if self.outstanding.is_some() {
            health.failing.get_or_insert_with(|| format!("the disk has not answered for {COMMIT:?}"));
        }
        Some(health)
    }

    /// Whether it is time to hand over what moved forward. True once per period.
    pub(super) fn drift_is_due(&mut self) -> bool {
        let due = clock::instant() >= self.drift_at;
        if due {
            self.drift_at = clock::instant() + DRIFT;
        }
        due
    }

    /// Whether the wall clock was set since everything was written. True once, and then everything
    /// must be handed over anew.
    pub(super) fn wall_was_set(&mut self, moment: Moment) -> bool {
        let zero = moment.wall(Timestamp::from_unix_seconds(0));
        let before = *self.written_at.get_or_insert(zero);
        let set = zero.since(before).max(before.since(zero)) >= clock::SET;
        if set {
            self.written_at = Some(zero);
        }
        set
    }

    /// By which times are written. None if other replicas, whose clocks are others, write as well.
    fn calendar(&self, moment: Moment) -> Option<Calendar> {
        self.storage.as_ref().filter(|storage| storage.inbox().is_none())?;
        self.clock.calendar(moment)
    }

    /// Hands over the state of a contract, if it changed.
    pub(super) fn note(&mut self, followed: &mut Followed, moment: Moment, extent: Extent) {
        if self.storage.is_none() || !self.leads {
            return;
        }
        followed.look(moment, extent != Extent::News, &mut self.changed.observed);
        let contract = &followed.record.contract;
        let (spec, now) = (contract.spec(), contract.remember());
        let calendar = self.calendar(moment);
        if now.clock != followed.kept || extent == Extent::Anew {
            let clock = now.clock.clone().carried(|at| moment.wall(at));
            let clock = RememberedClock { calendar: calendar.clone(), ..clock };
            self.changed.clocks.insert(spec.name.clone(), clock);
            followed.kept = now.clock;
        }
        for check in &mut followed.checks {
            let name = &check.line.spec.name;
            let Some(state) = now.checks.get(name) else { continue };
            let place = if check.kept.is_to_be_taken(state, extent) {
                &mut self.changed.checks
            } else if state.proves_more_than(&check.kept.state) {
                &mut self.forward
            } else {
                continue;
            };
            place.insert((spec.name.clone(), name.clone()), check.stored(state, moment, calendar.clone()));
            (check.kept.state, check.kept.dirt) = (state.clone(), Dirt::Clean);
        }
    }

    /// Hands over a recovery.
    pub(super) fn note_recovery(&mut self, contract: &Contract, recovery: &Recovery, moment: Moment) {
        if self.storage.as_ref().is_some_and(|storage| storage.inbox().is_some()) {
            self.replicas.measured(contract, recovery, self.leads, moment);
        }
        if self.storage.is_some() && self.leads {
            self.changed.recoveries.push(closed(contract, recovery, moment));
        }
    }

    /// Hands over a changed status.
    pub(super) fn note_status(&mut self, transition: Transition) {
        if self.storage.is_some() && self.leads {
            self.changed.transitions.push(transition);
        }
    }

    /// Changes from the `old` triggers to others. Returns the new triggers with their state, and
    /// the index of each among the old ones.
    pub(super) fn swap_triggers(
        &mut self,
        lines: &[TriggerLine],
        old: &[Trigger],
        clock: Clock,
    ) -> Vec<(Trigger, Option<usize>)> {
        let swapped = self.triggers.swap(lines, old, clock, &mut self.changed);
        self.date_triggers(clock.moment());
        self.drop_if_nobody_keeps();
        swapped
    }

    /// Hands over the state of a trigger, if it changed.
    pub(super) fn note_trigger(&mut self, index: usize, trigger: &Trigger, moment: Moment, extent: Extent) {
        self.triggers.note(index, trigger, moment, extent, &mut self.changed);
        self.date_triggers(moment);
        self.drop_if_nobody_keeps();
    }

    /// Says by which calendar the triggers are told that were just handed over.
    fn date_triggers(&mut self, moment: Moment) {
        if let Some(calendar) = self.calendar(moment) {
            for trigger in self.changed.triggers.values_mut() {
                trigger.state.watched.calendar.get_or_insert_with(|| calendar.clone());
            }
        }
    }

    /// Hands over that a trigger started or stopped to fire, and returns the firing as it is stored.
    pub(super) fn note_firing(
        &mut self,
        index: usize,
        trigger: &Trigger,
        event: ClockEvent,
        health: &Health,
        moment: Moment,
    ) -> Option<Firing> {
        self.triggers.note_firing(index, trigger, event, health, moment, &mut self.changed);
        let firing = self.changed.firings.last().cloned();
        self.drop_if_nobody_keeps();
        firing
    }

    /// Hands over a test of a contract's independence.
    pub(super) fn note_operation(&mut self, operation: DegradedOperation) {
        self.changed.operations.push(operation);
        self.drop_if_nobody_keeps();
    }

    /// Without a storage, changes are dropped, so that they do not pile up. A follower writes
    /// nothing either.
    fn drop_if_nobody_keeps(&mut self) {
        if self.storage.is_none() || !self.leads {
            (self.changed, self.forward) = Default::default();
        }
    }

    /// When recovery points that moved forward are to be written at the latest. None if none did.
    pub(super) fn forward_due(&self) -> Option<Instant> {
        Some(self.forward_at).filter(|_| !self.forward.is_empty() && self.outstanding.is_none())
    }

    /// Adds the recovery points that moved forward to what is written now, or once they waited long
    /// enough.
    fn add_forward(&mut self) {
        if self.forward.is_empty() || self.changed.is_empty() && clock::instant() < self.forward_at {
            return;
        }
        self.forward_at = clock::instant() + FORWARD;
        for (check, stored) in std::mem::take(&mut self.forward) {
            // What changed since is newer.
            self.changed.checks.entry(check).or_insert(stored);
        }
    }

    /// Hands the changes to the storage, and waits until they are on the disk, for at most `limit`.
    /// It does not wait again while an earlier batch is not on the disk.
    /// True if nothing is left to be written.
    pub(super) async fn commit(&mut self, limit: Duration, journal: &mut Journal) -> bool {
        journal.hand_over(&mut self.changed);
        self.drop_if_nobody_keeps();
        if let Some(answer) = &mut self.outstanding {
            match answer.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) if limit <= COMMIT => return false,
                _ => self.outstanding = None,
            }
        }
        self.add_forward();
        let Some(storage) = &self.storage else { return true };
        if self.changed.is_empty() {
            return true;
        }
        let mut answer = storage.save(std::mem::take(&mut self.changed), self.term);
        match timeout(limit, &mut answer).await {
            Ok(written) => {
                let written = written == Ok(true);
                if written {
                    self.replicas.are_written();
                }
                written
            }
            Err(_) => {
                warn!("the disk of the storage does not answer: measuring continues, and changes are kept in memory");
                self.outstanding = Some(answer);
                false
            }
        }
    }

    /// The same, with the time limit of a tick.
    pub(super) async fn commit_soon(&mut self, journal: &mut Journal) -> bool {
        self.commit(COMMIT, journal).await
    }
}

impl FollowedCheck {
    /// The record of the check for the storage.
    fn stored(&self, state: &RememberedCheck, moment: Moment, calendar: Option<Calendar>) -> StoredCheck {
        let memory_booted = self.kept.memory_booted.filter(|_| calendar.is_some());
        let state = RememberedCheck { calendar, memory_booted, ..state.clone().carried(|at| moment.wall(at)) };
        StoredCheck { fingerprint: self.line.fingerprint.clone(), state, memory: self.kept.memory.clone() }
    }
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

/// A changed status, in the form in which it is stored.
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
