//! The single writer: takes reports, moves the rules, publishes snapshots, tells of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::clock::Clock;
use super::memory::{self, Extent, Memory, Recalled};
use super::scheduler::{self, CheckId, Report};
use super::snapshot::{CheckRecord, Configuration, ContractRecord, Histogram, Snapshot};
use crate::checks::KindConfig;
use crate::domain::contract::{CheckSpec, Contract, ContractSpec, Judgement, Objective};
use crate::domain::observation::{Observation, Outcome};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;

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
}

/// The ledger.
pub struct Ledger {
    contracts: Vec<Arc<ContractRecord>>,
    /// Where the check of a schedule stands.
    places: HashMap<CheckId, (usize, usize)>,
    paces: Vec<Vec<watch::Sender<Duration>>>,
    clock: Clock,
    /// The last status that was told, by contract and objective.
    told: HashMap<(usize, Objective), Basis>,
    memory: Memory,
    durations: BTreeMap<&'static str, Histogram>,
    configuration: Option<Configuration>,
    published: watch::Sender<Arc<Snapshot>>,
}

fn places(ids: &[Vec<CheckId>]) -> HashMap<CheckId, (usize, usize)> {
    let of = |(contract, ids): (usize, &Vec<CheckId>)| {
        ids.iter().enumerate().map(|(check, id)| (*id, (contract, check))).collect::<Vec<_>>()
    };
    ids.iter().enumerate().flat_map(of).collect()
}

impl Ledger {
    /// A ledger for contracts that go on from what is recalled.
    #[must_use]
    pub fn new(lineup: Lineup, clock: Clock, recalled: Recalled) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let Lineup { specs, fingerprints, ids, paces } = lineup;
        let told = memory::told(&specs, &recalled.stored).collect();
        let (memory, contracts) = Memory::recall(&specs, fingerprints, recalled, clock);
        let contracts: Vec<_> = contracts.into_iter().map(|contract| Arc::new(record(contract))).collect();
        let durations: BTreeMap<_, _> = KindConfig::ALL.iter().map(|kind| (kind.name, Histogram::default())).collect();
        let (ticked, storage) = (clock.now(), memory.health());
        let (contracts_shown, durations_shown) = (contracts.clone(), durations.clone());
        let snapshot =
            Snapshot { contracts: contracts_shown, durations: durations_shown, ticked, storage, configuration: None };
        let (published, snapshots) = watch::channel(Arc::new(snapshot));
        let places = places(&ids);
        let ledger = Self { contracts, places, paces, clock, told, memory, durations, configuration: None, published };
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
        let Lineup { specs, fingerprints, ids, paces } = lineup;
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
            let mut fresh = record(contract);
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
        (self.told, self.places, self.paces) = (told, places(&ids), paces);
        for contract in 0..self.contracts.len() {
            self.pace(contract);
        }
    }

    async fn end(mut self) {
        let moment = self.clock.moment();
        for (index, record) in self.contracts.iter().enumerate() {
            self.memory.note(index, &record.contract, moment, Extent::All);
        }
        self.memory.commit(LAST_COMMIT).await;
    }

    fn take(&mut self, reports: Vec<Report>) {
        let moment = self.clock.moment();
        let mut touched = BTreeSet::new();
        for mut report in reports {
            // The last report of a schedule that was taken out.
            let Some((contract, check)) = self.places.get(&report.id).copied() else { continue };
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
        let drift = self.memory.drift_is_due();
        for (index, record) in self.contracts.iter().enumerate().filter(|(index, _)| drift || touched.contains(index)) {
            let extent = if drift { Extent::Drift } else { Extent::News };
            self.memory.note(index, &record.contract, moment, extent);
        }
    }

    fn publish(&self) {
        let snapshot = Snapshot {
            contracts: self.contracts.clone(),
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

fn record(contract: Contract) -> ContractRecord {
    let checks = contract.spec().checks.iter().map(|check| {
        let of_kind = KindConfig::ALL.iter().find(|kind| kind.name == check.kind).map_or(&[][..], |kind| kind.reasons);
        CheckRecord::new(of_kind.iter().chain(scheduler::REASONS).copied())
    });
    ContractRecord { checks: checks.collect(), contract }
}

/// One line per change, not per poll: a run is told of when it finds something else than the run before.
fn tell_of_run(record: &ContractRecord, index: usize, report: &Report) {
    let spec = record.contract.spec();
    let (Some(check), Some(before)) = (spec.checks.get(index), record.checks.get(index)) else { return };
    let observation = &report.observation;
    let last = before.last.as_ref().map(|last| &last.observation);
    tell_of_warnings(spec, check, last, observation);
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

/// One line for a warning that the run before did not have.
fn tell_of_warnings(spec: &ContractSpec, check: &CheckSpec, last: Option<&Observation>, observation: &Observation) {
    let known: Vec<_> = last.iter().flat_map(|last| last.warnings.iter().flatten()).map(|known| known.reason).collect();
    for warning in observation.warnings.iter().flatten().filter(|warning| !known.contains(&warning.reason)) {
        let (contract, name, kind) = (spec.name.as_str(), check.name.as_str(), check.kind);
        let (reason, detail, advice) = (warning.reason.label, warning.detail.as_str(), warning.reason.advice);
        warn!(contract, check = name, kind, reason, detail, advice, "warning");
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
