//! The single writer: takes reports, moves the rules, publishes snapshots, tells of changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::clock::Clock;
use super::scheduler::{self, Report};
use super::snapshot::{CheckRecord, ContractRecord, Snapshot};
use crate::checks::KindConfig;
use crate::domain::contract::{Contract, ContractSpec, Judgement, Objective};
use crate::domain::observation::{Observation, Outcome};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;

/// How often the ledger ticks: statuses change as time passes, though nobody reports.
pub const TICK: Duration = Duration::from_secs(1);

/// The ledger.
pub struct Ledger {
    contracts: Vec<Arc<ContractRecord>>,
    paces: Vec<Vec<watch::Sender<Duration>>>,
    clock: Clock,
    /// The last status that was told, by contract and objective.
    told: HashMap<(usize, Objective), Basis>,
    published: watch::Sender<Arc<Snapshot>>,
}

impl Ledger {
    /// A ledger for contracts of which nothing is known. `paces` tells each check how often to run.
    #[must_use]
    pub fn new(
        specs: &[Arc<ContractSpec>],
        paces: Vec<Vec<watch::Sender<Duration>>>,
        clock: Clock,
    ) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let contracts: Vec<_> = specs.iter().map(|spec| Arc::new(record(spec))).collect();
        let durations = KindConfig::ALL.iter().map(|kind| (kind.name, super::snapshot::Histogram::default())).collect();
        let snapshot = Snapshot { contracts: contracts.clone(), durations, ticked: clock.now() };
        let (published, snapshots) = watch::channel(Arc::new(snapshot));
        (Self { contracts, paces, clock, told: HashMap::new(), published }, snapshots)
    }

    /// Takes reports until there are no more senders.
    pub async fn run(mut self, mut reports: mpsc::Receiver<Report>) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                received = reports.recv_many(&mut batch, super::REPORT_QUEUE) => if received == 0 { return },
            }
            self.take(std::mem::take(&mut batch));
        }
    }

    fn take(&mut self, reports: Vec<Report>) {
        let mut durations = self.published.borrow().durations.clone();
        for report in reports {
            // A status that time alone brought about must be told before the report ends it.
            self.tell_of_statuses(report.id.contract, report.seen());
            let Some(record) = self.contracts.get_mut(report.id.contract).map(Arc::make_mut) else { continue };
            if let Some(spec) = record.contract.spec().checks.get(report.id.check) {
                durations.entry(spec.kind).or_default().observe(report.took);
            }
            tell_of_run(record, &report);
            if let Some(event) = record.contract.observe(report.id.check, report.seen(), &report.observation) {
                tell_of_clock(record.contract.spec(), event);
                for (index, pace) in self.paces.get(report.id.contract).into_iter().flatten().enumerate() {
                    if let Some(interval) = record.contract.interval(index) {
                        pace.send_replace(interval);
                    }
                }
            }
            if let Some(check) = record.checks.get_mut(report.id.check) {
                check.take(report);
            }
        }
        let now = self.clock.now();
        for contract in 0..self.contracts.len() {
            self.tell_of_statuses(contract, now);
        }
        let snapshot = Snapshot { contracts: self.contracts.clone(), durations, ticked: now };
        self.published.send_replace(Arc::new(snapshot));
    }

    fn tell_of_statuses(&mut self, contract: usize, now: Timestamp) {
        let Some(record) = self.contracts.get(contract) else { return };
        for objective in Objective::ALL {
            let Some(judgement) = record.contract.judge(objective, now) else { continue };
            let before = self.told.insert((contract, objective), judgement.basis);
            if before != Some(judgement.basis) {
                tell_of_status(record.contract.spec(), &judgement, before);
            }
        }
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

fn record(spec: &Arc<ContractSpec>) -> ContractRecord {
    let checks = spec.checks.iter().map(|check| {
        let of_kind = KindConfig::ALL.iter().find(|kind| kind.name == check.kind).map_or(&[][..], |kind| kind.reasons);
        CheckRecord::new(of_kind.iter().chain(scheduler::REASONS).copied())
    });
    ContractRecord { checks: checks.collect(), contract: Contract::new(Arc::clone(spec)) }
}

/// One line per change, not per poll: a run is told of when it finds something else than the run before.
fn tell_of_run(record: &ContractRecord, report: &Report) {
    let (spec, index) = (record.contract.spec(), report.id.check);
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
