//! The recoveries that replicas measured, so that one outage is recorded as one recovery.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{Dirt, KeptCheck, Memory, closed};
use crate::clock::{self, Clock, Moment};
use crate::domain::contract::{Contract, ContractSpec};
use crate::domain::outage::Recovery;
use crate::domain::remembered::{Circumstances, Remembered, RememberedCheck, RememberedClock};
use crate::domain::replica::{self, Measured};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::shared::{Forwarded, Inbox, News, Standing};
use crate::store::{ClosedRecovery, Firing, Stored, StoredTrigger};

/// How many recoveries are kept in memory: of this replica, and of others.
const KEPT: usize = 10_000;
/// After this time a follower hands a recovery to the leader, which has not recorded it.
const LATE: Duration = Duration::from_secs(5);

/// The recoveries of this replica that nobody recorded yet, and those that are recorded.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    /// Measured by this replica, and not known to be recorded.
    mine: VecDeque<Mine>,
    /// Recorded by others: the contract, the first failure and the end, in wall-clock time.
    recorded: VecDeque<(String, (Timestamp, Timestamp))>,
}

/// A recovery that this replica measured.
#[derive(Debug)]
struct Mine {
    contract: String,
    measured: Measured,
    /// The first failure and the end, in wall-clock time.
    extent: (Timestamp, Timestamp),
    since: Instant,
    /// The number under which it was handed to the leader.
    handed: Option<String>,
}

/// A recovery that a follower hands to the leader. Its times are wall-clock times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(in crate::engine) struct HandedRecovery {
    /// The contract.
    pub(in crate::engine) contract: String,
    /// The recovery.
    pub(in crate::engine) recovery: Recovery,
    /// What is known beside its times.
    pub(in crate::engine) circumstances: Option<Circumstances>,
}

impl Recoveries {
    /// Takes in a recovery of this replica.
    pub(super) fn measured(&mut self, contract: &Contract, recovery: &Recovery, leads: bool, moment: Moment) {
        let name = &contract.spec().name;
        let extent = (moment.wall(recovery.outage.first_failure), moment.wall(recovery.healthy));
        // A leader records what it measures. A follower may see the end after the leader recorded it.
        if leads || !self.is_recorded(name, extent) {
            let circumstances = contract.circumstances().cloned();
            let measured = Measured { recovery: *recovery, circumstances, is_known: false };
            let (contract, since) = (name.clone(), clock::instant());
            self.mine.push_back(Mine { contract, measured, extent, since, handed: None });
            if self.mine.len() > KEPT {
                self.mine.pop_front();
            }
        }
    }

    fn is_recorded(&self, contract: &str, extent: (Timestamp, Timestamp)) -> bool {
        self.recorded.iter().any(|(name, other)| name == contract && replica::is_same(*other, extent))
    }

    /// Everything that this replica measured is on the disk.
    pub(super) fn are_written(&mut self) {
        let mine = self.mine.drain(..).map(|mine| (mine.contract, mine.extent));
        self.recorded.extend(mine);
    }
}

impl Memory {
    /// Whether this process records.
    pub(in crate::engine) fn leads(&self) -> bool {
        self.leads
    }

    /// The number of the term in which this process leads, or last led.
    pub(in crate::engine) fn term(&self) -> u64 {
        self.term
    }

    /// Takes in who leads. Changes of another term are dropped: they were not written.
    pub(in crate::engine) fn stand(&mut self, standing: &Standing) {
        (self.changed, self.outstanding) = Default::default();
        (self.leads, self.term) = (standing.leads, standing.term);
    }

    /// Where news of other replicas arrive. None if the storage is not shared.
    pub(in crate::engine) fn inbox(&self) -> Option<&Inbox> {
        self.storage.as_ref()?.inbox()
    }

    /// The news that wait.
    pub(in crate::engine) fn news(&self) -> Option<News> {
        self.inbox()?.take()
    }

    /// Hands an order to the leader.
    pub(in crate::engine) fn forward(&self, id: &str, order: Value) -> Option<oneshot::Receiver<bool>> {
        Some(self.storage.as_ref()?.forward(Forwarded { id: id.to_owned(), order, is_late: false }))
    }

    /// The answer to an order that another replica forwarded.
    pub(in crate::engine) fn reply(&mut self, id: String, answer: Value) {
        self.changed.replies.insert(id, answer);
    }

    /// Takes in recoveries that are recorded. What this replica measured of the same outages is not
    /// recorded again.
    pub(in crate::engine) fn hear_of(&mut self, recorded: &[ClosedRecovery], moment: Moment) {
        let known = recorded.iter().map(|one| (one.contract.clone(), (one.first_failure, one.healthy)));
        let Recoveries { mine, recorded } = &mut self.replicas;
        for one in known {
            if !recorded.contains(&one) {
                recorded.push_back(one);
            }
        }
        while recorded.len() > KEPT {
            recorded.pop_front();
        }
        mine.retain(|Mine { contract, measured: Measured { recovery, .. }, .. }| {
            let extent = (moment.wall(recovery.outage.first_failure), moment.wall(recovery.healthy));
            !recorded.iter().any(|(other, known)| other == contract && replica::is_same(*known, extent))
        });
    }

    /// The recoveries that the leader has not recorded for a while. Each is handed to it once, under
    /// a number.
    pub(in crate::engine) fn hand_over(
        &mut self,
        mut number: impl FnMut() -> String,
        moment: Moment,
    ) -> Vec<(String, HandedRecovery)> {
        let late =
            self.replicas.mine.iter_mut().filter(|mine| mine.handed.is_none() && clock::since(mine.since) > LATE);
        let handed = late.map(|mine| {
            let number = number();
            mine.handed = Some(number.clone());
            let recovery = mine.measured.recovery.carried(|at| moment.wall(at));
            let circumstances = mine.measured.circumstances.clone();
            (number, HandedRecovery { contract: mine.contract.clone(), recovery, circumstances })
        });
        handed.collect()
    }

    /// Nobody knows whether the leader has what was handed over before: it is handed over again.
    pub(in crate::engine) fn hand_over_again(&mut self) {
        self.replicas.mine.iter_mut().for_each(|mine| mine.handed = None);
    }

    /// The leader answered a handed recovery: it recorded it, or saw the component all the time and
    /// no outage.
    pub(in crate::engine) fn is_answered(&mut self, number: &str) {
        self.replicas.mine.retain(|mine| mine.handed.as_deref() != Some(number));
    }

    /// Whether a recovery of the same outage is recorded, or will be with the next batch.
    pub(in crate::engine) fn has_recorded(&self, handed: &HandedRecovery) -> bool {
        let extent = (handed.recovery.outage.first_failure, handed.recovery.healthy);
        let waits = self.changed.recoveries.iter().filter(|one| one.contract == handed.contract);
        let mut waits = waits.map(|one| (one.first_failure, one.healthy));
        let mut mine = self.replicas.mine.iter().filter(|mine| mine.contract == handed.contract);
        self.replicas.is_recorded(&handed.contract, extent)
            || waits.any(|other| replica::is_same(other, extent))
            || mine.any(|mine| replica::is_same(mine.extent, extent))
    }

    /// Notes a recovery that this leader recorded.
    pub(in crate::engine) fn note_recorded(&mut self, contract: &str, recovery: &Recovery, moment: Moment) {
        let extent = (moment.wall(recovery.outage.first_failure), moment.wall(recovery.healthy));
        self.replicas.recorded.push_back((contract.to_owned(), extent));
    }

    /// The recoveries of a contract that this replica has to record when it takes the lead.
    pub(in crate::engine) fn mine(&self, contract: &str) -> Vec<Measured> {
        let mine = self.replicas.mine.iter().filter(|mine| mine.contract == contract);
        mine.map(|mine| mine.measured.clone()).collect()
    }

    /// Hands over a recovery that this replica measured before it took the lead. Returns a contract
    /// whose circumstances are those of the recovery.
    pub(in crate::engine) fn record_mine(
        &mut self,
        spec: &Arc<ContractSpec>,
        measured: &Measured,
        moment: Moment,
    ) -> Contract {
        let clock = RememberedClock { circumstances: measured.circumstances.clone(), ..RememberedClock::default() };
        let then = Contract::recall(Arc::clone(spec), [], Remembered { clock, ..Remembered::default() });
        self.changed.recoveries.push(closed(&then, &measured.recovery, moment));
        then
    }

    /// Changes to a trigger as it continues when this replica takes the lead. Returns it, and the
    /// firing that begins or ends by that.
    pub(in crate::engine) fn take_over_trigger(
        &mut self,
        index: usize,
        trigger: &Trigger,
        stored: &mut BTreeMap<String, StoredTrigger>,
        at: (Clock, Moment),
    ) -> Option<(Trigger, Option<Firing>)> {
        self.triggers.take_over(index, trigger, stored, at, &mut self.changed)
    }

    /// Continues from the shared state of the contracts that are not in the configuration.
    pub(in crate::engine) fn rebase(&mut self, left: &mut Stored) {
        (self.left.checks, self.left.clocks) = (std::mem::take(&mut left.checks), std::mem::take(&mut left.clocks));
    }
}

impl KeptCheck {
    /// Takes what is shared as what is stored, so that the next batch holds what differs from it.
    pub(in crate::engine) fn rebase(&mut self, state: RememberedCheck, memory: Option<Value>) {
        (self.state, self.dirt) = (state, Dirt::Clean);
        match &self.memory {
            Some(_) => self.dirt = Dirt::News,
            None => self.memory = memory,
        }
    }
}
