//! The single writer: takes reports, moves the rules, publishes snapshots, tells of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::memory::{self, Extent, Memory, Recalled};
use super::scheduler::{CheckId, Report};
use super::snapshot::{Configuration, ContractRecord, Histogram, LastRun, Snapshot, TriggerRecord};
use crate::checks::KindConfig;
use crate::clock::{Clock, Moment};
use crate::domain::contract::{Contract, ContractSpec, Objective};
use crate::domain::independence::{self};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{TriggerSpec, Watched};

mod swap;
mod tell;

use swap::{Place, places, record};

/// How often the ledger ticks: statuses change as time passes, though nobody reports.
pub const TICK: Duration = Duration::from_secs(1);

/// How long the last batch may take at an orderly end.
const LAST_COMMIT: Duration = Duration::from_secs(3);

/// What the ledger is told.
pub enum Message {
    /// A run is over.
    Report(Report),
    /// There are other contracts from here on; answered when it knows them.
    Swap(Lineup, oneshot::Sender<()>),
    /// How reading the configuration went.
    Configuration(Configuration),
}

/// The contracts, and what measures them, each in the order of the configuration.
#[derive(Default)]
pub struct Lineup {
    /// The promises.
    pub specs: Vec<Arc<ContractSpec>>,
    /// What each check measures, in a word.
    pub fingerprints: Vec<Vec<String>>,
    /// The schedules of the checks.
    pub ids: Vec<Vec<CheckId>>,
    /// Tells each check how often to run.
    pub paces: Vec<Vec<watch::Sender<Duration>>>,
    /// The triggers.
    pub triggers: Vec<TriggerLine>,
}

/// A trigger, and where what it watches comes from.
pub struct TriggerLine {
    /// The condition.
    pub spec: Arc<TriggerSpec>,
    /// What is measured, in a word.
    pub fingerprint: String,
    /// The schedule of its own check, where it watches no contract's.
    pub own: Option<CheckId>,
}

/// The ledger.
pub struct Ledger {
    contracts: Vec<Arc<ContractRecord>>,
    triggers: Vec<Arc<TriggerRecord>>,
    /// Who wants the reports of a schedule.
    places: HashMap<CheckId, Place>,
    paces: Vec<Vec<watch::Sender<Duration>>>,
    clock: Clock,
    /// The last status that was told, by contract and objective.
    told: HashMap<(usize, Objective), Basis>,
    memory: Memory,
    durations: BTreeMap<&'static str, Histogram>,
    configuration: Option<Configuration>,
    published: watch::Sender<Arc<Snapshot>>,
}

impl Ledger {
    /// A ledger for contracts that go on from what is recalled.
    #[must_use]
    pub fn new(lineup: Lineup, clock: Clock, recalled: Recalled) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Lineup { specs, fingerprints, ids, paces, triggers: lines } = lineup;
        let told = memory::told(&specs, &recalled.stored).collect();
        let independence = recalled.stored.independence.clone();
        let (mut memory, contracts) = Memory::recall(&specs, fingerprints, recalled, clock);
        let of = |contract: Contract| {
            let known = independence.get(&contract.spec().name);
            Arc::new(record(contract, known))
        };
        let contracts: Vec<_> = contracts.into_iter().map(of).collect();
        let triggers = memory.swap_triggers(&lines, &[], clock);
        let triggers = triggers.into_iter().map(|(trigger, _)| Arc::new(TriggerRecord { trigger, last: None }));
        let triggers: Vec<_> = triggers.collect();
        let durations: BTreeMap<_, _> = KindConfig::ALL.iter().map(|kind| (kind.name, Histogram::default())).collect();
        let (ticked, storage) = (clock.now(), memory.health());
        let (contracts_shown, durations_shown) = (contracts.clone(), durations.clone());
        let snapshot = Snapshot {
            contracts: contracts_shown,
            triggers: triggers.clone(),
            durations: durations_shown,
            ticked,
            storage,
            configuration: None,
        };
        let (published, snapshots) = watch::channel(Arc::new(snapshot));
        let places = places(&specs, &ids, &lines);
        let ledger =
            Self { contracts, triggers, places, paces, clock, told, memory, durations, configuration: None, published };
        for contract in 0..ledger.contracts.len() {
            ledger.pace(contract);
        }
        (ledger, snapshots)
    }

    /// Takes messages until it is stopped; then hands over all that it knows.
    pub async fn run(mut self, mut messages: mpsc::Receiver<Message>, mut stopped: watch::Receiver<bool>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                received = messages.recv_many(&mut batch, super::REPORT_QUEUE) => if received == 0 { return },
                () = told_to_stop(&mut stopped) => return self.end().await,
            }
            let mut reports = Vec::new();
            let mut swapped = Vec::new();
            for message in std::mem::take(&mut batch) {
                match message {
                    Message::Report(report) => reports.push(report),
                    Message::Configuration(configuration) => self.configuration = Some(configuration),
                    Message::Swap(lineup, done) => {
                        self.take(std::mem::take(&mut reports));
                        self.swap(lineup);
                        swapped.push(done);
                    }
                }
            }
            self.take(reports);
            // What is shown is on the disk, unless that does not answer.
            self.memory.commit_soon().await;
            self.publish();
            for done in swapped {
                // Whoever does not wait need not be told.
                let _ = done.send(());
            }
        }
    }

    async fn end(mut self) {
        let moment = self.clock.moment();
        for (index, record) in self.contracts.iter().enumerate() {
            self.memory.note(index, &record.contract, moment, Extent::All);
        }
        for (index, record) in self.triggers.iter().enumerate() {
            self.memory.note_trigger(index, &record.trigger, moment, Extent::All);
        }
        self.memory.commit(LAST_COMMIT).await;
    }

    fn take(&mut self, reports: Vec<Report>) {
        let moment = self.clock.moment();
        let mut touched = BTreeSet::new();
        for mut report in reports {
            // The last report of a schedule that was taken out.
            let Some(place) = self.places.get(&report.id).cloned() else { continue };
            for trigger in place.triggers {
                self.pull(trigger, &report, moment);
            }
            let Some((contract, check)) = place.check else { continue };
            touched.insert(contract);
            // A status that time alone brought about must be told before the report ends it.
            self.tell_of_statuses(contract, report.seen());
            let Some(record) = self.contracts.get_mut(contract).map(Arc::make_mut) else { continue };
            if let Some(spec) = record.contract.spec().checks.get(check) {
                self.durations.entry(spec.kind).or_default().observe(report.took);
            }
            tell::of_run(record, check, &report);
            let event = record.contract.observe(check, report.seen(), &report.observation);
            if let Some(event) = event {
                tell::of_clock(record.contract.spec(), event);
                if let ClockEvent::Stopped(recovery) = event {
                    self.memory.note_recovery(&record.contract, &recovery, moment);
                }
            }
            if let Some(memory) = report.memory.take() {
                self.memory.note_memory(contract, check, memory);
            }
            if let Some(check) = record.checks.get_mut(check) {
                check.take(report);
            }
            if event.is_some() {
                self.pace(contract);
            }
        }
        for contract in 0..self.contracts.len() {
            self.tell_of_statuses(contract, moment.now);
        }
        self.hold_independence(moment);
        let drift = self.memory.drift_is_due();
        for (index, record) in self.contracts.iter().enumerate().filter(|(index, _)| drift || touched.contains(index)) {
            let extent = if drift { Extent::Drift } else { Extent::News };
            self.memory.note(index, &record.contract, moment, extent);
        }
        for (index, record) in self.triggers.iter().enumerate() {
            let extent = if drift { Extent::Drift } else { Extent::News };
            self.memory.note_trigger(index, &record.trigger, moment, extent);
        }
    }

    /// Takes what was seen into a trigger that watches it.
    fn pull(&mut self, trigger: usize, report: &Report, moment: Moment) {
        let Some(record) = self.triggers.get_mut(trigger).map(Arc::make_mut) else { return };
        if let Watched::Own(own) = &record.trigger.spec().watched {
            self.durations.entry(own.kind).or_default().observe(report.took);
        }
        let event = record.trigger.observe(report.seen(), &report.observation.health);
        let last = LastRun { at: report.at, took: report.took, observation: report.observation.clone() };
        tell::of_trigger(record, &last, event);
        record.last = Some(last);
        if let Some(event) = event {
            self.memory.note_firing(trigger, &record.trigger, event, &report.observation.health, moment);
        }
    }

    /// Holds the contracts that must work without others against the outages of those.
    fn hold_independence(&mut self, moment: Moment) {
        for index in 0..self.contracts.len() {
            let Some(record) = self.contracts.get(index).map(Arc::clone) else { continue };
            let spec = record.contract.spec();
            for without in &spec.independent_of {
                let Some(other) = self.contracts.iter().find(|other| other.contract.spec().name == *without) else {
                    continue;
                };
                let works = independence::works_without(&record.contract, &other.contract, moment.now);
                let outage = other.contract.clock().running().is_some();
                let mut known = record.independence.get(without).cloned().unwrap_or_default();
                let news = known.observe((&spec.name, without), works, outage, moment.wall(moment.now));
                if record.independence.get(without) == Some(&known) {
                    continue;
                }
                if let Some(record) = self.contracts.get_mut(index).map(Arc::make_mut) {
                    record.independence.insert(without.clone(), known);
                }
                if let Some(operation) = news {
                    tell::of_operation(&operation);
                    self.memory.note_operation(operation);
                }
            }
        }
    }

    fn publish(&self) {
        let snapshot = Snapshot {
            contracts: self.contracts.clone(),
            triggers: self.triggers.clone(),
            durations: self.durations.clone(),
            ticked: self.clock.now(),
            storage: self.memory.health(),
            configuration: self.configuration.clone(),
        };
        self.published.send_replace(Arc::new(snapshot));
    }

    /// Tells the checks of a contract how often to run.
    fn pace(&self, contract: usize) {
        let (Some(record), Some(paces)) = (self.contracts.get(contract), self.paces.get(contract)) else { return };
        for (index, pace) in paces.iter().enumerate() {
            if let Some(interval) = record.contract.interval(index) {
                pace.send_replace(interval);
            }
        }
    }

    fn tell_of_statuses(&mut self, contract: usize, now: Timestamp) {
        let Some(record) = self.contracts.get(contract) else { return };
        for objective in Objective::ALL {
            let Some(judgement) = record.contract.judge(objective, now) else { continue };
            let before = self.told.insert((contract, objective), judgement.basis);
            if before != Some(judgement.basis) {
                let spec = record.contract.spec();
                tell::of_status(spec, &judgement, before);
                let moment = self.clock.moment();
                self.memory.note_status(memory::transition(spec, objective, before, judgement.basis, now, moment));
            }
        }
    }
}

/// Completes when the engine is stopped; whoever could stop it being gone is no reason to.
async fn told_to_stop(stopped: &mut watch::Receiver<bool>) {
    let told = stopped.wait_for(|stopped| *stopped).await.is_ok();
    if !told {
        std::future::pending::<()>().await;
    }
}
