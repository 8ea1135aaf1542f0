//! What the ledger hears of other replicas, and what it does when it takes the lead.
//!
//! Every replica measures, and shows what it measures. Only the leader records. The state of a
//! follower changes in the same way, but nothing of it is written, except for the recoveries that it
//! keeps in case that the leader does not record them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::warn;

use super::{Followed, Ledger, UNSTORED, tell};
use crate::clock::{self, Moment};
use crate::domain::contract::Contract;
use crate::domain::drill;
use crate::domain::outage::Outage;
use crate::domain::remembered::RememberedClock;
use crate::domain::replica::{self, Measured};
use crate::domain::time::Timestamp;
use crate::engine::memory::{Extent, HandedRecovery, Recall};
use crate::engine::order::{Answer, NotDone, Request};
use crate::engine::snapshot::TriggerRecord;
use crate::store::record::Fact;
use crate::store::shared::{Base, Forwarded, News};
use crate::store::{Batch, Stored};

/// How long a follower waits for the leader to carry out an order.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is known of other replicas about one contract, in wall-clock time.
#[derive(Debug, Default)]
pub(in crate::engine) struct Others {
    /// The shared clock. None before it was heard of.
    clock: Option<RememberedClock>,
    /// Until when others noted that they measured it.
    observed: Option<Timestamp>,
}

/// What a follower hands to the leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Handed {
    /// The order of a person.
    Order(Request),
    /// A recovery that the leader has not recorded.
    Recovery(HandedRecovery),
}

/// The orders of people that wait for another replica, or for the storage.
#[derive(Default)]
pub(super) struct Waiting {
    /// The orders that were handed to the leader, by number.
    forwarded: BTreeMap<String, Caller>,
    /// The orders of other replicas that this one has to carry out.
    to_do: Vec<Forwarded>,
    /// Recoveries of contracts that this replica does not have, by number.
    unknown: BTreeMap<String, HandedRecovery>,
}

struct Caller {
    answer: oneshot::Sender<Answer>,
    /// Whether the order was handed over. None once it was.
    handed: Option<oneshot::Receiver<bool>>,
    until: Instant,
}

impl Ledger {
    /// Takes in the news of other replicas, and answers who waits for them. Returns the answers to
    /// callers that wait here until what this replica does for them is stored.
    pub(super) fn hear_others(&mut self) -> Vec<(Answer, oneshot::Sender<Answer>)> {
        if let Some(news) = self.memory.news() {
            self.hear(news);
        }
        let answers = self.carry_out_forwarded();
        if !self.memory.leads() && self.memory.health().is_some_and(|health| health.failing.is_none()) {
            let moment = self.clock.moment();
            for (number, handed) in self.memory.hand_over(|| self.journal.number(), moment) {
                // The log has it, or it is recorded when this replica takes the lead.
                drop(self.memory.forward(&number, json!(Handed::Recovery(handed))));
            }
        }
        let now = clock::instant();
        let unstored = || Err(NotDone::NotStored(UNSTORED.to_owned()));
        for (number, mut caller) in std::mem::take(&mut self.waiting.forwarded) {
            let failed = match caller.handed.as_mut().map(oneshot::Receiver::try_recv) {
                Some(Ok(true)) => {
                    caller.handed = None;
                    false
                }
                Some(Ok(false) | Err(oneshot::error::TryRecvError::Closed)) => true,
                Some(Err(oneshot::error::TryRecvError::Empty)) | None => now >= caller.until,
            };
            if failed {
                // The caller may have gone away.
                let _ = caller.answer.send(unstored());
            } else {
                self.waiting.forwarded.insert(number, caller);
            }
        }
        answers
    }

    /// Hands an order to the leader, and keeps the caller until the answer is in the storage.
    pub(super) fn forward(&mut self, request: &Request, answer: oneshot::Sender<Answer>) {
        if let Some(failing) = self.memory.health().and_then(|health| health.failing) {
            let message = format!("the storage fails, so nothing was done: {failing}");
            let _ = answer.send(Err(NotDone::NotStored(message)));
            return;
        }
        let number = self.journal.number();
        let moment = self.clock.moment();
        let given = Some(moment.wall(moment.now).minus(request.age));
        let handed = self.memory.forward(&number, json!(Handed::Order(Request { given, ..request.clone() })));
        let caller = Caller { answer, handed, until: clock::instant() + PATIENCE };
        self.waiting.forwarded.insert(number, caller);
    }

    fn hear(&mut self, news: News) {
        let News { standing, base, batch, orders } = news;
        let moment = self.clock.moment();
        let leads_anew = standing.leads && (!self.memory.leads() || self.memory.term() != standing.term);
        if leads_anew || self.memory.leads() && !standing.leads {
            tell::of_lead(&standing);
            self.waiting.to_do.clear();
            self.waiting.unknown.clear();
        }
        if leads_anew || standing.leads != self.memory.leads() {
            self.memory.stand(&standing);
        }
        if let Some(base) = base {
            self.rebase(*base, leads_anew, moment);
        }
        self.hear_batch(batch, moment);
        self.waiting.to_do.extend(orders);
    }

    fn hear_batch(&mut self, batch: Batch, moment: Moment) {
        for (number, reply) in batch.replies {
            self.memory.is_answered(&number);
            if let Some(caller) = self.waiting.forwarded.remove(&number) {
                let answer = serde_json::from_value(reply);
                let unread = |error| Err(NotDone::NotStored(format!("the leader's answer cannot be read: {error}")));
                let _ = caller.answer.send(answer.unwrap_or_else(unread));
            }
        }
        let has_plans = !batch.plans.is_empty();
        self.journal.hear(batch.plans);
        self.memory.hear_of(&batch.recoveries, moment);
        for ((contract, _), until) in &batch.observed {
            if let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == *contract) {
                followed.others.observed = followed.others.observed.max(Some(*until));
            }
        }
        for (contract, clock) in batch.clocks {
            if let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == contract) {
                followed.others.clock = Some(clock);
                self.clock_of_others(&contract, moment);
            }
        }
        if has_plans {
            self.apply_plans(moment);
        }
    }

    /// Joins the clock of a contract with the shared one.
    pub(super) fn clock_of_others(&mut self, contract: &str, moment: Moment) {
        let clock = self.clock;
        let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == contract) else { return };
        let Some(shared) = followed.others.clock.clone() else { return };
        let shared = shared.carried(|wall| clock.recalled(wall));
        let before = followed.record.contract.clock().running().copied();
        let heard = replica::heard(followed.record.contract.remember(), &shared);
        followed.go_on(heard);
        let planned = self.journal.is_planned(contract);
        Arc::make_mut(&mut followed.record).contract.plan(planned);
        let now = followed.record.contract.clock().running().copied();
        if let (None, Some(outage)) = (before, now) {
            tell::of_an_outage_of_others(contract, &outage);
        }
        if before.is_some() != now.is_some() {
            followed.pace();
        }
        followed.tell_of_statuses(moment.now, moment, &mut self.memory, &mut self.journal);
    }

    /// Continues from everything that is shared. A replica that takes the lead also records what it
    /// knows and the others did not.
    fn rebase(&mut self, base: Base, leads: bool, moment: Moment) {
        let Base { mut stored, recoveries } = base;
        let plans = std::mem::take(&mut stored.plans);
        let alive = plans.alive;
        self.journal.rebase(plans);
        self.memory.hear_of(&recoveries, moment);
        self.memory.hand_over_again();
        let wall = moment.wall(moment.now);
        if leads {
            self.journal.record(wall, self.begins(alive));
            let specs = self.contracts.iter().map(|followed| followed.spec.as_ref());
            self.journal.promise(specs, wall);
        }
        let mut recall = Recall::new(self.clock);
        let mut contracts = std::mem::take(&mut self.contracts);
        for followed in &mut contracts {
            self.rebase_contract(followed, &mut recall, &mut stored, leads, moment);
        }
        self.contracts = contracts;
        if leads {
            self.take_over_triggers(&mut stored, moment);
        }
        self.memory.rebase(&mut stored);
        self.apply_plans(moment);
        self.contracts.iter().for_each(Followed::pace);
    }

    /// The fact that begins a term: somebody observed all the time, or nobody did for a while.
    fn begins(&self, alive: Option<Timestamp>) -> Fact {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let share = self.memory.health().and_then(|health| health.share);
        match share.filter(|share| share.followed) {
            Some(share) => Fact::TookOver { replica: share.replica, version },
            None => Fact::Started { version, silent_since: alive },
        }
    }

    fn rebase_contract(
        &mut self,
        followed: &mut Followed,
        recall: &mut Recall,
        stored: &mut Stored,
        leads: bool,
        moment: Moment,
    ) {
        let (spec, name) = (Arc::clone(&followed.spec), followed.spec.name.clone());
        let memories = stored.checks.get(&name).cloned().unwrap_or_default();
        followed.others.clock = Some(stored.clocks.get(&name).cloned().unwrap_or_default());
        let lines = followed.checks.iter().map(|check| &check.line);
        let (shared, now) = recall.contract(&spec, lines, stored);
        let own = followed.record.contract.remember();
        let ran = now.clock.running;
        let mine = if leads { self.memory.mine(&name) } else { Vec::new() };
        let (state, mine) =
            if leads { replica::taken_over(own, now, mine, spec.rto) } else { (replica::caught_up(own, now), mine) };
        followed.go_on(state);
        if !leads {
            return;
        }
        followed.look_on(followed.others.observed);
        followed.told = stored.told.remove(&name).unwrap_or_default();
        followed.recorded.clear();
        if let Some(known) = stored.independence.remove(&name) {
            let record = Arc::make_mut(&mut followed.record);
            record.independence.extend(known.into_iter().filter(|(other, _)| spec.independent_of.contains(other)));
        }
        followed.kept = shared.clock;
        for check in &mut followed.checks {
            let memory = memories.get(&check.line.spec.name).and_then(|check| check.memory.clone());
            let state = shared.checks.get(&check.line.spec.name).cloned().unwrap_or_default();
            check.kept.rebase(state, memory);
        }
        self.record_mine(followed, &mine, moment);
        if ran.is_none() || !mine.is_empty() {
            followed.record_outage(moment, &mut self.journal);
        }
        followed.tell_of_statuses(moment.now, moment, &mut self.memory, &mut self.journal);
        self.memory.note(followed, moment, Extent::Drift);
    }

    /// Records the recoveries that this replica measured, and that no leader recorded.
    fn record_mine(&mut self, followed: &Followed, mine: &[Measured], moment: Moment) {
        for measured in mine {
            let then = self.memory.record_mine(&followed.spec, measured, moment);
            tell::of_a_recovery_recorded_late(&followed.spec.name, &measured.recovery);
            let at = moment.wall(moment.now);
            if !measured.is_known {
                self.journal.record(at, outage(&then, &measured.recovery.outage, moment));
            }
            let measured = drill::Measured::of(&then, &measured.recovery, |at| moment.wall(at));
            self.journal.take(&measured);
            self.journal.record(at, Fact::Recovery(measured));
        }
    }

    fn take_over_triggers(&mut self, stored: &mut Stored, moment: Moment) {
        for index in 0..self.triggers.len() {
            let Some(record) = self.triggers.get(index).map(Arc::clone) else { continue };
            let at = (self.clock, moment);
            let taken = self.memory.take_over_trigger(index, &record.trigger, &mut stored.triggers, at);
            let Some((trigger, firing)) = taken else { continue };
            if let Some(place) = self.triggers.get_mut(index) {
                *place = Arc::new(TriggerRecord { trigger, last: record.last.clone() });
            }
            if let Some(firing) = firing {
                self.journal.record(moment.wall(moment.now), Fact::Firing(firing));
            }
        }
    }

    /// Carries out the orders that other replicas received. The answers are written with what they
    /// changed, so each order is carried out once, whoever leads.
    fn carry_out_forwarded(&mut self) -> Vec<(Answer, oneshot::Sender<Answer>)> {
        let mut answers = Vec::new();
        // While the storage fails: later, or by another leader.
        if !self.memory.leads() || self.memory.health().is_some_and(|health| health.failing.is_some()) {
            return answers;
        }
        let has = |contract: &str| self.contracts.iter().any(|followed| followed.spec.name == contract);
        let (known, unknown): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.waiting.unknown).into_iter().partition(|(_, handed)| has(&handed.contract));
        self.waiting.unknown = unknown;
        for (id, handed) in known {
            self.take_handed_or_wait(id, handed);
        }
        for Forwarded { id, order, is_late } in std::mem::take(&mut self.waiting.to_do) {
            let answer = match serde_json::from_value(order) {
                Ok(Handed::Recovery(handed)) => {
                    self.take_handed_or_wait(id, handed);
                    continue;
                }
                Ok(Handed::Order(_)) if is_late => {
                    Err(NotDone::NotStored("no replica led for too long: nothing was done".to_owned()))
                }
                Ok(Handed::Order(request)) => self.order(&request),
                Err(error) => Err(NotDone::NotStored(format!("the order cannot be read: {error}"))),
            };
            if let Err(NotDone::NotStored(message)) = &answer {
                warn!(message, "an order that another replica received was not carried out");
            }
            self.memory.reply(id.clone(), json!(answer));
            // This replica received it before it took the lead.
            if let Some(caller) = self.waiting.forwarded.remove(&id) {
                answers.push((answer, caller.answer));
            }
        }
        answers
    }
}

impl Ledger {
    /// Takes a recovery of a follower, and answers. During a change of the configuration, the follower
    /// may have a contract that this replica does not have yet: then the order stays in the log until
    /// a leader has it.
    fn take_handed_or_wait(&mut self, id: String, handed: HandedRecovery) {
        let place = self.contracts.iter().position(|followed| followed.spec.name == handed.contract);
        if let Some(place) = place {
            self.take_handed(&handed, place);
            self.memory.reply(id, Value::Null);
        } else {
            tell::of_a_recovery_of_an_unknown_contract(&handed.contract);
            self.waiting.unknown.insert(id, handed);
        }
    }

    /// Records a recovery that a follower measured, unless this replica looked at the contract all the
    /// time. Then it saw the same outage, or knows that there was none.
    fn take_handed(&mut self, handed: &HandedRecovery, place: usize) {
        let (moment, clock) = (self.clock.moment(), self.clock);
        let since = self.contracts.get(place).map_or(self.watching, |followed| followed.since.max(self.watching));
        let looked = handed.recovery.outage.first_failure >= moment.wall(since);
        if looked || self.memory.has_recorded(handed) {
            return;
        }
        let mut contracts = std::mem::take(&mut self.contracts);
        if let Some(followed) = contracts.get_mut(place) {
            let recovery = handed.recovery.carried(|wall| clock.recalled(wall));
            let running = followed.record.contract.clock().running();
            // What this replica sees run on ends later.
            if running.is_none_or(|outage| outage.first_failure > recovery.healthy) {
                let mine = vec![Measured { recovery, circumstances: handed.circumstances.clone(), is_known: false }];
                let own = followed.record.contract.remember();
                let (state, mine) = replica::recorded_late(own, mine, followed.spec.rto);
                followed.go_on(state);
                self.record_mine(followed, &mine, moment);
                self.memory.note_recorded(&handed.contract, &recovery, moment);
                self.memory.note(followed, moment, Extent::News);
            }
        }
        self.contracts = contracts;
        self.apply_plans(moment);
    }
}

/// The fact that a recovery clock started.
pub(super) fn outage(contract: &Contract, outage: &Outage, moment: Moment) -> Fact {
    let known = contract.circumstances().cloned().unwrap_or_default();
    Fact::Outage {
        contract: contract.spec().name.clone(),
        first_failure: moment.wall(outage.first_failure),
        trigger: moment.wall(outage.trigger),
        mode: outage.mode,
        check: known.check,
        reason: known.reason,
        data_at_risk_seconds: known.data_at_risk.map(|risk| risk.as_secs_f64()),
    }
}
