//! The single writer: takes reports, moves the rules, publishes snapshots, tells of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::clock::{Clock, Moment};
use super::memory::{self, Extent, Memory, Recalled};
use super::scheduler::{self, CheckId, Report};
use super::snapshot::{CheckRecord, Configuration, ContractRecord, Histogram, LastRun, Snapshot, TriggerRecord};
use crate::checks::KindConfig;
use crate::domain::contract::{Contract, ContractSpec, Judgement, Objective};
use crate::domain::independence::{self, DegradedOperation, Independence};
use crate::domain::observation::{Health, Observation, Outcome};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;
use crate::domain::trigger::{Trigger, TriggerSpec, Watched};

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

/// Who wants the reports of a schedule.
#[derive(Debug, Clone, Default)]
struct Place {
    /// The contract and its check.
    check: Option<(usize, usize)>,
    /// The triggers that watch it.
    triggers: Vec<usize>,
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

fn places(specs: &[Arc<ContractSpec>], ids: &[Vec<CheckId>], triggers: &[TriggerLine]) -> HashMap<CheckId, Place> {
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
        let triggers: Vec<_> = triggers.into_iter().map(|(trigger, _)| trigger_record(trigger)).collect();
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

    /// Goes over to other contracts: what is known of those that stay, by name, stays.
    fn swap(&mut self, lineup: Lineup) {
        let Lineup { specs, fingerprints, ids, paces, triggers: lines } = lineup;
        let moment = self.clock.moment();
        let place = |name: &str| self.contracts.iter().position(|record| record.contract.spec().name == name);
        let before: Vec<Option<usize>> = specs.iter().map(|spec| place(&spec.name)).collect();
        let known = |old: Option<usize>| old.and_then(|old| self.contracts.get(old)).cloned();
        let records: Vec<_> = before.iter().map(|old| known(*old)).collect();
        let told = before.iter().enumerate().flat_map(|(new, old)| {
            let of = |objective| Some(((new, objective), *self.told.get(&((*old)?, objective))?));
            Objective::ALL.into_iter().filter_map(of).collect::<Vec<_>>()
        });
        let told: HashMap<_, _> = told.collect();
        let old: Vec<_> = self.contracts.iter().map(|record| record.contract.clone()).collect();
        let contracts = self.memory.swap(&specs, fingerprints, &before, &old, self.clock, moment);
        let contracts = contracts.into_iter().zip(records).map(|((contract, same), known)| {
            let mut fresh = record(contract, known.as_ref().map(|known| &known.independence));
            let Some(known) = known else { return Arc::new(fresh) };
            let names: Vec<_> = known.contract.spec().checks.iter().map(|check| check.name.clone()).collect();
            let spec = fresh.contract.spec().clone();
            for ((check, now), same) in spec.checks.iter().zip(&mut fresh.checks).zip(same) {
                let before = names.iter().position(|name| *name == check.name).and_then(|at| known.checks.get(at));
                if let Some(before) = before.filter(|_| same) {
                    *now = before.clone();
                }
            }
            Arc::new(fresh)
        });
        self.contracts = contracts.collect();
        let old: Vec<_> = self.triggers.iter().map(|record| record.trigger.clone()).collect();
        let triggers = self.memory.swap_triggers(&lines, &old, self.clock).into_iter().map(|(trigger, same)| {
            let mut fresh = trigger_record(trigger);
            if let Some(known) = same.and_then(|at| self.triggers.get(at)) {
                Arc::make_mut(&mut fresh).last.clone_from(&known.last);
            }
            fresh
        });
        self.triggers = triggers.collect();
        (self.told, self.places, self.paces) = (told, places(&specs, &ids, &lines), paces);
        for contract in 0..self.contracts.len() {
            self.pace(contract);
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
        for report in reports {
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
            tell_of_run(record, check, &report);
            let event = record.contract.observe(check, report.seen(), &report.observation);
            if let Some(event) = event {
                tell_of_clock(record.contract.spec(), event);
                if let ClockEvent::Stopped(recovery) = event {
                    self.memory.note_recovery(&record.contract, &recovery, moment);
                }
            }
            if let Some(memory) = report.memory.clone() {
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
        tell_of_trigger(record, &last, event);
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
                    tell_of_operation(&operation);
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
            configuration: self.configuration,
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
                tell_of_status(spec, &judgement, before);
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

/// A status that is better or the first is news; one that is worse is a warning.
fn tell_of_status(spec: &ContractSpec, judgement: &Judgement, before: Option<Basis>) {
    let used = judgement.used_ratio().map(|ratio| format!("{:.0}%", ratio * 100.0));
    let (contract, objective) = (spec.name.as_str(), judgement.objective.label());
    let (status, because) = (judgement.status().label(), judgement.basis.text());
    let was = before.map_or("unknown", |before| before.status().label());
    if before.is_none_or(|before| judgement.status() <= before.status()) {
        info!(contract, objective, was, status, because, used, "objective");
    } else {
        warn!(contract, objective, was, status, because, used, "objective");
    }
}

/// One line when a trigger begins or ends to fire, and one when it becomes or ceases to be known.
fn tell_of_trigger(before: &TriggerRecord, last: &LastRun, event: Option<ClockEvent>) {
    let TriggerSpec { name, action, notification, mode, .. } = before.trigger.spec();
    let (trigger, mode) = (name.as_str(), mode.label());
    let finding = last.observation.health.finding();
    let (reason, detail) = finding.map(|finding| (finding.reason.label, finding.detail.as_str())).unzip();
    match event {
        Some(ClockEvent::Started(firing)) => {
            let holds_since = firing.first_failure.to_string();
            warn!(trigger, action, notification, mode, holds_since, reason, detail, "trigger fires");
        }
        Some(ClockEvent::Stopped(over)) => {
            info!(trigger, action, mode, lasted = ?over.recovery_time(), "trigger is clear again");
        }
        None => {
            let answered = |observation: &Observation| !matches!(observation.health, Health::NoAnswer(_));
            let answers = answered(&last.observation);
            let answered = before.last.as_ref().map(|last| answered(&last.observation));
            if !answers && answered != Some(false) {
                let advice = finding.map(|finding| finding.reason.advice);
                warn!(trigger, reason, detail, advice, "trigger has no evidence: it is neither firing nor clear");
            } else if answers && answered == Some(false) {
                info!(trigger, "trigger has evidence again");
            }
        }
    }
}

fn tell_of_operation(operation: &DegradedOperation) {
    let DegradedOperation { contract, without, ok, ended, .. } = operation;
    match (ended, ok) {
        (Some(_), true) => info!(contract, without, "worked without it all the time"),
        (Some(_), false) => warn!(contract, without, "did not work without it all the time"),
        (None, true) => info!(contract, without, "works without it"),
        (None, false) => warn!(contract, without, "does not work without it, as it must"),
    }
}

fn trigger_record(trigger: Trigger) -> Arc<TriggerRecord> {
    Arc::new(TriggerRecord { trigger, last: None })
}

fn record(contract: Contract, known: Option<&BTreeMap<String, Independence>>) -> ContractRecord {
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

/// One line per change, not per poll: a run is told of when it finds something else than the run before.
fn tell_of_run(record: &ContractRecord, index: usize, report: &Report) {
    let spec = record.contract.spec();
    let (Some(check), Some(before)) = (spec.checks.get(index), record.checks.get(index)) else { return };
    let observation = &report.observation;
    let last = before.last.as_ref().map(|last| &last.observation);
    if last.is_some_and(|last| finds_the_same(last, observation)) {
        return;
    }
    let (contract, name, kind, outcome) =
        (spec.name.as_str(), check.name.as_str(), check.kind, observation.outcome().label());
    let was = last.map_or("unknown", |last| last.outcome().label());
    if observation.outcome() == Outcome::Healthy {
        info!(contract, check = name, kind, was, outcome, "check");
    }
    for finding in observation.findings() {
        let (reason, detail, advice) = (finding.reason.label, finding.detail.as_str(), finding.reason.advice);
        warn!(contract, check = name, kind, was, outcome, reason, detail, advice, "check");
    }
}

fn finds_the_same(a: &Observation, b: &Observation) -> bool {
    a.outcome() == b.outcome() && a.findings().map(|f| f.reason).eq(b.findings().map(|f| f.reason))
}

fn tell_of_clock(spec: &ContractSpec, event: ClockEvent) {
    let contract = spec.name.as_str();
    match event {
        ClockEvent::Started(outage) => {
            let (trigger, first_failure) = (outage.trigger.to_string(), outage.first_failure.to_string());
            warn!(contract, trigger, first_failure, "recovery clock started");
        }
        ClockEvent::Stopped(recovery) => {
            let (recovery_time, downtime) = (recovery.recovery_time(), recovery.downtime());
            let met = spec.rto.and_then(|rto| recovery.met(rto));
            info!(contract, ?recovery_time, ?downtime, ?met, "recovered");
        }
    }
}
