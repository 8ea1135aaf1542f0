//! The log: one line per change, not per poll.

use tracing::{info, warn};

use crate::domain::contract::{CheckSpec, ContractSpec, Judgement};
use crate::domain::independence::DegradedOperation;
use crate::domain::observation::{Health, Observation, Outcome};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::trigger::TriggerSpec;
use crate::engine::scheduler::Report;
use crate::engine::snapshot::{ContractRecord, LastRun, TriggerRecord};

/// A status that is better or the first is news; one that is worse is a warning.
pub(super) fn of_status(spec: &ContractSpec, judgement: &Judgement, before: Option<Basis>) {
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
pub(super) fn of_trigger(before: &TriggerRecord, last: &LastRun, event: Option<ClockEvent>) {
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

pub(super) fn of_operation(operation: &DegradedOperation) {
    let DegradedOperation { contract, without, ok, ended, .. } = operation;
    match (ended, ok) {
        (Some(_), true) => info!(contract, without, "worked without it all the time"),
        (Some(_), false) => warn!(contract, without, "did not work without it all the time"),
        (None, true) => info!(contract, without, "works without it"),
        (None, false) => warn!(contract, without, "does not work without it, as it must"),
    }
}

/// One line per change, not per poll: a run is told of when it finds something else than the run before.
pub(super) fn of_run(record: &ContractRecord, index: usize, report: &Report) {
    let spec = record.contract.spec();
    let (Some(check), Some(before)) = (spec.checks.get(index), record.checks.get(index)) else { return };
    let observation = &report.observation;
    let last = before.last.as_ref().map(|last| &last.observation);
    of_warnings(spec, check, last, observation);
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
fn of_warnings(spec: &ContractSpec, check: &CheckSpec, last: Option<&Observation>, observation: &Observation) {
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

pub(super) fn of_clock(spec: &ContractSpec, event: ClockEvent) {
    let contract = spec.name.as_str();
    match event {
        ClockEvent::Started(outage) => {
            let (trigger, first_failure) = (outage.trigger.to_string(), outage.first_failure.to_string());
            warn!(contract, trigger, first_failure, "recovery clock started");
        }
        ClockEvent::Stopped(recovery) => {
            let (recovery_time, downtime) = (recovery.recovery_time(), recovery.downtime());
            let result = spec.rto.map(|rto| match recovery.met(rto) {
                Some(true) => "met",
                Some(false) => "missed",
                None => "uncertain",
            });
            info!(contract, ?recovery_time, ?downtime, result, "recovered");
        }
    }
}
