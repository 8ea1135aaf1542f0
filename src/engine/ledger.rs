//! The single writer: takes in reports, applies the rules, publishes snapshots, logs changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior};

use super::journal::Journal;
use super::lineup::{Lineup, Message};
use super::memory::{Extent, Memory, Recall, Recalled};
use super::order::NotDone;
use super::report::{CheckId, Report};
use super::snapshot::{Configuration, Histogram, LastRun, Snapshot, TriggerRecord};
use crate::clock::{Clock, Moment};
use crate::domain::drill::Measured;
use crate::domain::independence;
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Watched;
use crate::store::record::Fact;
use crate::store::shared::Inbox;

mod followed;
mod orders;
mod plans;
mod shared;
mod swap;
mod tell;

pub(super) use followed::{Followed, FollowedCheck};
use shared::Waiting;
use swap::{Place, named, places};

/// How often the ledger ticks. Statuses change as time passes, also without a report.
pub const TICK: Duration = Duration::from_secs(1);

/// How long reports are gathered. Every batch is published as one snapshot, which costs the more the
/// more contracts there are.
const GATHER: Duration = Duration::from_millis(10);

/// How long the last batch may take at an orderly shutdown.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// The answer to an order that may not be on the disk yet.
const UNSTORED: &str = "the storage did not answer in time: it is not known whether this is stored; repeat it with the same \
                        idempotency key";

/// The ledger.
pub struct Ledger {
    contracts: Vec<Followed>,
    triggers: Vec<Arc<TriggerRecord>>,
    /// Which contract and triggers take in the reports of a schedule.
    places: HashMap<CheckId, Place>,
    /// The index of each contract, by name.
    named: HashMap<String, usize>,
    clock: Clock,
    memory: Memory,
    journal: Journal,
    /// When it last looked after drills and alarms.
    ticked: Timestamp,
    /// Since when it has looked without a break.
    watching: Timestamp,
    durations: BTreeMap<&'static str, Histogram>,
    configuration: Option<Configuration>,
    waiting: Waiting,
    published: watch::Sender<Arc<Snapshot>>,
}

impl Ledger {
    /// A ledger for contracts that continue from the stored state.
    #[must_use]
    pub fn new(lineup: Lineup, clock: Clock, recalled: Recalled) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Lineup { kinds, contracts, triggers: lines, people } = lineup;
        let Recalled { storage, mut stored } = recalled;
        let moment = clock.moment();
        let mut journal = Journal::new(people, std::mem::take(&mut stored.plans), moment.wall(moment.now));
        let mut recall = Recall::new(clock);
        let contracts = contracts.into_iter();
        let contracts: Vec<_> =
            contracts.map(|line| Followed::recalled(line, &mut recall, &mut stored, moment.now)).collect();
        journal.promise(contracts.iter().map(|followed| followed.spec.as_ref()), moment.wall(moment.now));
        let mut memory = Memory::new(storage, stored, recall, clock);
        let triggers = memory.swap_triggers(&lines, &[], clock);
        let triggers = triggers.into_iter().map(|(trigger, _)| Arc::new(TriggerRecord { trigger, last: None }));
        let triggers: Vec<_> = triggers.collect();
        let durations: BTreeMap<_, _> = kinds.iter().map(|kind| (kind.name, Histogram::default())).collect();
        let (ticked, storage) = (clock.now(), memory.health());
        let snapshot = Snapshot {
            contracts: contracts.iter().map(|followed| Arc::clone(&followed.record)).collect(),
            triggers: triggers.clone(),
            people: Arc::clone(&journal.people),
            plans: Arc::clone(journal.plans()),
            durations: durations.clone(),
            ticked,
            storage,
            configuration: None,
        };
        let (published, snapshots) = watch::channel(Arc::new(snapshot));
        let (places, named) = (places(&contracts, &lines), named(&contracts));
        let mut ledger = Self {
            contracts,
            triggers,
            places,
            named,
            clock,
            memory,
            journal,
            ticked: moment.now,
            watching: moment.now,
            durations,
            configuration: None,
            waiting: Waiting::default(),
            published,
        };
        ledger.apply_plans(moment);
        ledger.contracts.iter().for_each(Followed::pace);
        (ledger, snapshots)
    }

    /// Takes in messages until it is stopped. Then it hands everything to the storage.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        let inbox = self.memory.inbox().cloned();
        loop {
            // Everything is looked after once per tick, and after an order. A report changes one contract.
            let mut all = false;
            let forward = self.memory.forward_due();
            tokio::select! {
                _ = ticks.tick() => all = true,
                () = comes(forward) => {}
                () = rings(inbox.as_ref()) => all = true,
                received = messages.recv_many(&mut batch, super::REPORT_QUEUE) => {
                    if received == 0 {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                    batch.extend(std::iter::from_fn(|| messages.try_recv().ok()).take(super::REPORT_QUEUE));
                }
                () = told_to_stop(&mut stopped) => return self.end().await,
            }
            let mut answers = self.hear_others();
            let (mut reports, mut shown) = (Vec::new(), Vec::new());
            for message in std::mem::take(&mut batch) {
                match message {
                    Message::Report(report) => reports.push(*report),
                    Message::Configuration(configuration, done) => {
                        self.configuration = Some(configuration);
                        shown.push(done);
                    }
                    Message::Swap(lineup, done) => {
                        self.take(std::mem::take(&mut reports), true);
                        self.swap(lineup);
                        shown.push(done);
                        all = true;
                    }
                    Message::Order(request, answer) => {
                        self.take(std::mem::take(&mut reports), true);
                        if self.memory.leads() {
                            answers.push((self.order(&request), answer));
                        } else {
                            self.forward(&request, answer);
                        }
                        all = true;
                    }
                }
            }
            self.take(reports, all);
            // What is shown is already on the disk, unless the disk does not answer.
            let stored = self.memory.commit_soon(&mut self.journal).await;
            self.publish();
            for (answer, caller) in answers {
                let unstored = || NotDone::NotStored(UNSTORED.to_owned());
                // The caller may have gone away.
                let _ = caller.send(answer.and_then(|done| if stored { Ok(done) } else { Err(unstored()) }));
            }
            for done in shown {
                // The sender may have stopped waiting for the answer.
                let _ = done.send(());
            }
        }
    }

    async fn end(mut self) {
        let moment = self.clock.moment();
        for followed in &mut self.contracts {
            self.memory.note(followed, moment, Extent::Drift);
        }
        for (index, record) in self.triggers.iter().enumerate() {
            self.memory.note_trigger(index, &record.trigger, moment, Extent::Drift);
        }
        let at = moment.wall(moment.now);
        self.journal.alive(at);
        self.journal.record_exposures(at);
        self.journal.record(at, Fact::Stopped);
        self.memory.commit(LAST_COMMIT, &mut self.journal).await;
    }

    /// Takes in reports, and looks after the contracts that they are about, or after all of them.
    fn take(&mut self, reports: Vec<Report>, all: bool) {
        let moment = self.clock.moment();
        let mut touched = BTreeSet::new();
        for mut report in reports {
            // The last report of a schedule that was removed.
            let Some(place) = self.places.get(&report.id).cloned() else { continue };
            for trigger in place.triggers {
                self.pull(trigger, &report, moment);
            }
            let Some((contract, check)) = place.check else { continue };
            touched.insert(contract);
            let Some(followed) = self.contracts.get_mut(contract) else { continue };
            // A status that changed by time alone must be logged before this report changes it
            // again.
            followed.tell_of_statuses(report.seen(), moment, &mut self.memory, &mut self.journal);
            let Some(FollowedCheck { line, kept }) = followed.checks.get_mut(check) else { continue };
            self.durations.entry(line.spec.kind.name).or_default().observe(report.took);
            kept.reported();
            if let Some(memory) = report.memory.take() {
                kept.note(memory, self.clock.booted(moment));
            }
            let record = Arc::make_mut(&mut followed.record);
            tell::of_run(record, check, &report);
            let event = record.take(check, report);
            if let Some(event) = event {
                tell::of_clock(record.contract.spec(), event);
                if let ClockEvent::Stopped(recovery) = event {
                    self.memory.note_recovery(&record.contract, &recovery, moment);
                }
                if let ClockEvent::Stopped(recovery) = event
                    && self.memory.leads()
                {
                    let measured = Measured::of(&record.contract, &recovery, |at| moment.wall(at));
                    self.journal.take(&measured);
                    self.journal.record(moment.wall(moment.now), Fact::Recovery(measured));
                }
            }
            if event.is_some() {
                followed.record_outage(moment, &mut self.journal);
                followed.pace();
            }
            if event.is_some() && !self.memory.leads() {
                // The counts are those of the leader.
                let name = followed.spec.name.clone();
                self.clock_of_others(&name, moment);
            }
        }
        self.look_after(&touched, all, moment);
    }

    /// Looks after the contracts that reports were about, or after all of them.
    fn look_after(&mut self, touched: &BTreeSet<usize>, all: bool, moment: Moment) {
        let concerned: Vec<usize> =
            if all { (0..self.contracts.len()).collect() } else { touched.iter().copied().collect() };
        for contract in &concerned {
            let Some(followed) = self.contracts.get_mut(*contract) else { continue };
            followed.tell_of_statuses(moment.now, moment, &mut self.memory, &mut self.journal);
        }
        if all {
            self.look_after_plans(moment);
        }
        // The leader calls people.
        if self.memory.leads() {
            for contract in &concerned {
                self.look_after_alarms(*contract, moment);
            }
            self.count_incidents_as_reactions(moment.wall(moment.now));
        }
        self.hold_independence(moment, |contract| all || touched.contains(&contract));
        let drift = all && self.memory.drift_is_due();
        if drift {
            self.journal.alive(moment.wall(moment.now));
        }
        let anew = self.memory.wall_was_set(moment);
        let extent = match (anew, drift) {
            (true, _) => Extent::Anew,
            (false, true) => Extent::Drift,
            (false, false) => Extent::News,
        };
        let noted = if anew { (0..self.contracts.len()).collect() } else { concerned };
        for contract in noted.into_iter().filter(|contract| anew || drift || touched.contains(contract)) {
            if let Some(followed) = self.contracts.get_mut(contract) {
                self.memory.note(followed, moment, extent);
            }
        }
        for (index, record) in self.triggers.iter().enumerate() {
            self.memory.note_trigger(index, &record.trigger, moment, extent);
        }
    }

    /// Updates a trigger with a report of the check that it watches.
    fn pull(&mut self, trigger: usize, report: &Report, moment: Moment) {
        let Some(record) = self.triggers.get_mut(trigger).map(Arc::make_mut) else { return };
        if let Watched::Own(own) = &record.trigger.spec().watched {
            self.durations.entry(own.kind.name).or_default().observe(report.took);
        }
        let event = record.trigger.observe(report.observation.look(report.seen()));
        let last = LastRun { at: report.at, took: report.took, observation: report.observation.clone() };
        tell::of_trigger(record, &last, event);
        record.last = Some(last);
        if let Some(event) = event {
            let health = &report.observation.health;
            let firing = self.memory.note_firing(trigger, &record.trigger, event, health, moment);
            if let Some(firing) = firing {
                self.journal.record(moment.wall(moment.now), Fact::Firing(firing));
            }
        }
    }

    /// Tests the contracts with `independent_of` during the outages of the contracts named there, if
    /// there is news of either.
    fn hold_independence(&mut self, moment: Moment, news: impl Fn(usize) -> bool) {
        for index in 0..self.contracts.len() {
            let Some(followed) = self.contracts.get(index).filter(|of| !of.spec.independent_of.is_empty()) else {
                continue;
            };
            let spec = Arc::clone(&followed.spec);
            for without in &spec.independent_of {
                let Some(other_index) = self.named.get(without).copied() else { continue };
                if !news(index) && !news(other_index) {
                    continue;
                }
                let Some(other) = self.contracts.get(other_index).map(|other| Arc::clone(&other.record)) else {
                    continue;
                };
                let Some(followed) = self.contracts.get_mut(index) else { continue };
                let works = independence::works_without(&followed.record.contract, &other.contract, moment.now);
                let outage = other.contract.clock().running().is_some();
                let before = followed.record.independence.get(without);
                let mut known = before.cloned().unwrap_or_default();
                let news = known.observe((&spec.name, without), works, outage, moment.wall(moment.now));
                if before == Some(&known) {
                    continue;
                }
                Arc::make_mut(&mut followed.record).independence.insert(without.clone(), known);
                if let Some(operation) = news {
                    tell::of_operation(&operation);
                    self.memory.note_operation(operation);
                }
            }
        }
    }

    fn publish(&self) {
        let snapshot = Snapshot {
            contracts: self.contracts.iter().map(|followed| Arc::clone(&followed.record)).collect(),
            triggers: self.triggers.clone(),
            people: Arc::clone(&self.journal.people),
            plans: Arc::clone(self.journal.plans()),
            durations: self.durations.clone(),
            ticked: self.clock.now(),
            storage: self.memory.health(),
            configuration: self.configuration.clone(),
        };
        self.published.send_replace(Arc::new(snapshot));
    }
}

/// Completes when news of other replicas may wait.
async fn rings(inbox: Option<&Inbox>) {
    match inbox {
        Some(inbox) => inbox.rings().await,
        None => std::future::pending().await,
    }
}

/// Completes at this instant, if there is one.
async fn comes(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Completes when the engine is stopped. A dropped sender is not an order to stop.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let told = stopped.wait_for(|stopped| *stopped).await.is_ok();
    if !told {
        std::future::pending::<()>().await;
    }
}
