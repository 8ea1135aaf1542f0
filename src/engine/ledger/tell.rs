//! The log of the ledger: one line per change, not per poll.

use tracing::{info, warn};

use crate::domain::check::CheckSpec;
use crate::domain::contract::{ContractSpec, Judgement};
use crate::domain::independence::DegradedOperation;
use crate::domain::observation::{Health, Observation, Outcome};
use crate::domain::outage::{Outage, Recovery};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::status::Basis;
use crate::domain::trigger::TriggerSpec;
use crate::engine::order::Request;
use crate::engine::report::Report;
use crate::engine::snapshot::{ContractRecord, LastRun, TriggerRecord};
use crate::store::shared::Standing;

/// Logs a new status: a warning if it is worse than the one before, otherwise information.
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

/// Logs when a trigger starts or stops to fire, and when it loses or regains its evidence.
pub(super) fn of_trigger(before: &TriggerRecord, last: &LastRun, event: Option<ClockEvent>) {
    let TriggerSpec { name, action, notification, mode, .. } = before.trigger.spec();
    let (trigger, mode) = (name.as_str(), mode.label());
    let finding = last.observation.health.finding();
    let (reason, detail) = finding.map(|finding| (finding.reason.label, finding.detail.as_str())).unzip();
    match event {
        Some(ClockEvent::Started(firing)) => {
            let holds_since = firing.first_failure.to_string();
            warn!(trigger, action, notification, mode, holds_since, reason, detail, "the trigger fires");
        }
        Some(ClockEvent::Stopped(over)) => {
            info!(trigger, action, mode, lasted = ?over.recovery_time(), "the trigger is clear again");
        }
        None => {
            let answered = |observation: &Observation| !matches!(observation.health, Health::NoAnswer(_));
            let answers = answered(&last.observation);
            let answered = before.last.as_ref().map(|last| answered(&last.observation));
            if !answers && answered != Some(false) {
                let advice = finding.map(|finding| finding.reason.advice);
                warn!(trigger, reason, detail, advice, "the trigger has no evidence: it is neither firing nor clear");
            } else if answers && answered == Some(false) {
                info!(trigger, "the trigger has evidence again");
            }
        }
    }
}

/// Logs that a follower measured a recovery of a contract that this leader does not have.
pub(super) fn of_a_recovery_of_an_unknown_contract(contract: &str) {
    warn!(
        contract,
        "another replica measured a recovery of a contract that this one does not have: it is recorded when the replica \
         that leads has the contract; give all replicas the same configuration"
    );
}

pub(super) fn of_operation(operation: &DegradedOperation) {
    let DegradedOperation { contract, without, ok, ended, .. } = operation;
    match (ended, ok) {
        (Some(_), true) => info!(contract, without, "the contract worked while the other one was down"),
        (Some(_), false) => warn!(contract, without, "the contract failed while the other one was down"),
        (None, true) => info!(contract, without, "the contract works while the other one is down"),
        (None, false) => warn!(contract, without, "the contract fails while the other one is down"),
    }
}

/// Logs a run if its findings differ from those of the run before.
pub(super) fn of_run(record: &ContractRecord, index: usize, report: &Report) {
    let spec = record.contract.spec();
    let Some((check, before)) = record.checks().nth(index) else { return };
    let check = check.spec();
    let observation = &report.observation;
    let last = before.last.as_ref().map(|last| &last.observation);
    of_warnings(spec, check, last, observation);
    if last.is_some_and(|last| finds_the_same(last, observation)) {
        return;
    }
    let (contract, name, kind, outcome) =
        (spec.name.as_str(), check.name.as_str(), check.kind.name, observation.outcome().label());
    let was = last.map_or("unknown", |last| last.outcome().label());
    if observation.outcome() == Outcome::Healthy {
        info!(contract, check = name, kind, was, outcome, "check");
    }
    for finding in observation.findings() {
        let (reason, detail, advice) = (finding.reason.label, finding.detail.as_str(), finding.reason.advice);
        warn!(contract, check = name, kind, was, outcome, reason, detail, advice, "check");
    }
}

/// Logs each warning that the run before did not have.
fn of_warnings(spec: &ContractSpec, check: &CheckSpec, last: Option<&Observation>, observation: &Observation) {
    let known: Vec<_> = last.iter().flat_map(|last| last.warnings.iter().flatten()).map(|known| known.reason).collect();
    for warning in observation.warnings.iter().flatten().filter(|warning| !known.contains(&warning.reason)) {
        let (contract, name, kind) = (spec.name.as_str(), check.name.as_str(), check.kind.name);
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
            warn!(contract, trigger, first_failure, "the recovery clock started");
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

/// Logs that this replica takes the lead, or loses it.
pub(super) fn of_lead(standing: &Standing) {
    let Standing { leads, leader, term } = standing;
    if *leads {
        info!(term, "this replica leads: it records");
    } else {
        info!(term, leader, "another replica leads: this one measures, and does not record");
    }
}

pub(super) fn of_an_outage_of_others(contract: &str, outage: &Outage) {
    let trigger = outage.trigger.to_string();
    warn!(contract, trigger, "the recovery clock runs: another replica started it");
}

pub(super) fn of_a_recovery_recorded_late(contract: &str, recovery: &Recovery) {
    let (trigger, healthy) = (recovery.outage.trigger.to_string(), recovery.healthy.to_string());
    info!(contract, trigger, healthy, "a recovery is recorded that the leader before did not record");
}

/// Logs an order that was carried out, with who gave it.
pub(super) fn of_order(request: &Request) {
    let (user, by, order) = (request.user.as_str(), request.order.by(), request.order.label());
    let what = serde_json::to_string(&request.order).unwrap_or_default();
    info!(user, by, order, what, "an order of a person was carried out");
}

pub(super) fn of_a_declared_outage_without_a_failure(contract: &str) {
    info!(contract, "the incident is closed, and no check saw a failure: the outage ends without a recovery");
}

pub(super) fn of_an_outage_that_outlives_its_drill(contract: &str) {
    warn!(contract, "no drill covers this outage any more: it counts as real");
}

pub(super) fn of_a_drill_that_expired(drill: &str) {
    warn!(drill, "nobody ended the drill in time: it is aborted");
}

pub(super) fn of_a_verification(drill: &str, findings: &[String]) {
    if findings.is_empty() {
        info!(drill, "the drill was verified: everything is well");
    } else {
        warn!(drill, findings = findings.join("; "), "the drill failed; it is tried again until everything is well");
    }
}

/// Logs an outage that ends because every check that could see its end was removed.
pub(super) fn of_an_outage_without_checks(contract: &str) {
    warn!(contract, "the checks that saw the outage were removed: the outage ends without a recovery");
}
