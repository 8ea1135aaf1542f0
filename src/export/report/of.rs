//! The report for a view of a snapshot.

use super::{
    CheckSettings, CheckStatus, ConfigurationStatus, ContractStatus, Count, FailureStatus, FindingStatus,
    IndependenceStatus, Objective, ObjectiveStatus, OutageStatus, ReadingStatus, RecoveryCountStatus, RecoveryStatus,
    RunStatus, StatusReport, StorageStatus, TriggerStatus, TroubleStatus,
};
use crate::clock::Moment;
use crate::domain::check::{CheckSpec, CheckState};
use crate::domain::contract::{Contract, Judgement, RecoveryCount};
use crate::domain::observation::{CopyState, Finding, Health};
use crate::domain::outage::Recovery;
use crate::domain::trigger::{TriggerSpec, Watched};
use crate::engine::snapshot::{CheckRecord, ContractRecord, Divided, Share, TriggerRecord, Trouble};
use crate::export::View;
use crate::export::because::because;
use crate::export::failover::Failover;
use crate::export::shards::{DividedStatus, ShardStatus};
use crate::store::keeper::StoreHealth;

impl StatusReport {
    /// The report for a view.
    #[must_use]
    pub fn of(view: View<'_>) -> Self {
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: view.moment.wall(view.moment.now),
            ready: view.snapshot.is_ready(),
            storage: view.snapshot.storage.clone().map(|StoreHealth { errors, failing, damage, .. }| {
                let damaged = (!damage.is_none()).then(|| damage.to_string());
                StorageStatus { errors, failing, damaged }
            }),
            configuration: view.snapshot.configuration.as_ref().map(|configuration| ConfigurationStatus {
                read: view.moment.wall(configuration.read),
                refused: configuration.refused.as_deref().map(str::to_owned),
            }),
            shard: view.snapshot.configuration.as_ref().and_then(|configuration| shard(&configuration.share, view)),
            failover: None,
            contracts: view.snapshot.contracts.iter().map(|record| contract(record, view)).collect(),
            triggers: view.snapshot.triggers.iter().map(|record| trigger(record, view.moment)).collect(),
            incidents: view.snapshot.plans.incidents.values().filter(|of| of.is_open()).cloned().collect(),
            drills: view.snapshot.plans.drills.values().filter(|run| run.is_open()).cloned().collect(),
        };
        let silence = view.moment.now.since(view.snapshot.ticked);
        report.failover = Some(Failover::of(&report, silence));
        report
    }
}

/// The shard. None if there is only one.
fn shard(share: &Share, view: View<'_>) -> Option<ShardStatus> {
    let divided = share.divided.iter().map(|Divided { what, name, shards }| DividedStatus {
        what: (*what).to_owned(),
        name: name.clone(),
        shards: shards.clone(),
    });
    (!share.shard.is_alone()).then(|| ShardStatus {
        shard: share.shard.index(),
        total_shards: share.shard.total(),
        contracts: view.snapshot.contracts.len(),
        of_contracts: share.contracts,
        silent_seconds: view.moment.now.since(view.snapshot.ticked).as_secs_f64(),
        divided: divided.collect(),
    })
}

fn trigger(record: &TriggerRecord, moment: Moment) -> TriggerStatus {
    let trigger = &record.trigger;
    let TriggerSpec { name, action, notification, mode, watched, .. } = trigger.spec();
    TriggerStatus {
        name: name.clone(),
        action: action.clone(),
        notification: notification.clone(),
        mode: *mode,
        watches: match watched {
            Watched::Check { contract, check } => format!("{contract}/{check}"),
            Watched::Own(own) => own.kind.name.to_owned(),
        },
        active: trigger.is_active(moment.now),
        holds_since: trigger.holds_since().map(|at| moment.wall(at)),
        last_fired: trigger.last_fired().map(|at| moment.wall(at)),
        evidence: trigger.evidence().map(|at| moment.wall(at)),
        finding: record.last.as_ref().and_then(|last| last.observation.health.finding()).map(finding),
    }
}

fn contract(record: &ContractRecord, view: View<'_>) -> ContractStatus {
    let (contract, moment) = (&record.contract, view.moment);
    let independence = record.independence.iter().map(|(without, known)| IndependenceStatus {
        without: without.clone(),
        ok: view.snapshot.works_without(contract, without, moment.now),
        last_ok: known.last_ok,
        last_violated: known.last_violated,
    });
    let spec = contract.spec();
    ContractStatus {
        name: spec.name.clone(),
        component: spec.component.clone(),
        owner: spec.owner.clone(),
        priority: spec.priority.label().to_owned(),
        at_risk_ratio: spec.at_risk_ratio,
        objectives: Objective::ALL
            .into_iter()
            .filter_map(|objective| contract.judge(objective, moment.now))
            .map(|judgement| objective(&judgement, contract, moment))
            .collect(),
        failing: contract.fails(moment.now),
        outage: contract.clock().running().zip(contract.outage(moment.now)).map(|(outage, lasted)| OutageStatus {
            first_failure: moment.wall(outage.first_failure),
            trigger: moment.wall(outage.trigger),
            mode: outage.mode,
            elapsed_seconds: moment.now.since(outage.trigger).as_secs_f64(),
            known_seconds: lasted.least.as_secs_f64(),
            at_most_seconds: lasted.most.map(|most| most.as_secs_f64()),
        }),
        last_recovery: contract.clock().last_recovery().map(|last| recovery(last, moment)),
        drill_every_seconds: spec.drill_every.map(|every| every.as_secs_f64()),
        drill_due: spec.drill_every.zip(contract.clock().last_recovery()).map(|(every, last)| {
            // A recovery that proves nothing calls for a drill at once.
            let proves = spec.rto.is_some_and(|rto| last.met(rto) == Some(true));
            moment.wall(if proves { last.healthy.plus(every) } else { last.healthy })
        }),
        recoveries: contract
            .recoveries()
            .iter()
            .map(|RecoveryCount { met, mode, count }| RecoveryCountStatus { met: *met, mode: *mode, count: *count })
            .collect(),
        independence: independence.collect(),
        checks: record.checks().map(|(known, runs)| check(known, runs, moment)).collect(),
    }
}

fn objective(judgement: &Judgement, contract: &Contract, moment: Moment) -> ObjectiveStatus {
    ObjectiveStatus {
        objective: judgement.objective,
        status: judgement.status(),
        basis: judgement.basis,
        because: because(judgement, contract, moment.now),
        target_seconds: judgement.target.as_secs_f64(),
        observed_seconds: judgement.observed().map(|observed| observed.as_secs_f64()),
        known_seconds: judgement.known().map(|known| known.as_secs_f64()),
        used_ratio: judgement.used_ratio(),
        evidence: judgement.evidence.map(|at| moment.wall(at)),
    }
}

fn recovery(recovery: &Recovery, moment: Moment) -> RecoveryStatus {
    RecoveryStatus {
        first_failure: moment.wall(recovery.outage.first_failure),
        trigger: moment.wall(recovery.outage.trigger),
        healthy: moment.wall(recovery.healthy),
        earliest: moment.wall(recovery.earliest),
        mode: recovery.outage.mode,
        recovery_seconds: recovery.recovery_time().as_secs_f64(),
        downtime_seconds: recovery.downtime().as_secs_f64(),
    }
}

fn check(known: &CheckState, runs: &CheckRecord, moment: Moment) -> CheckStatus {
    let spec = known.spec();
    let counts = runs.failures.iter().filter(|(_, count)| **count > 0);
    let exposure = Some(known.exposure(moment.now)).filter(|_| spec.feeds.rpo);
    CheckStatus {
        name: spec.name.clone(),
        kind: spec.kind.name.to_owned(),
        healthy: known.healthy(moment.now),
        consecutive_failures: known.consecutive_failures(),
        feeds: Objective::ALL.into_iter().filter(|objective| spec.feeds.has(*objective)).collect(),
        exposure_seconds: exposure.and_then(|exposure| exposure.most).map(|most| most.as_secs_f64()),
        known_exposure_seconds: exposure.map(|exposure| exposure.least.as_secs_f64()),
        recovery_point: known.point().instant().map(|at| moment.wall(at)),
        copy_lost: known.copy_lost(moment.now).filter(|_| spec.feeds.rpo),
        warning: known.warns(moment.now),
        runs: runs.runs().map(|(outcome, count)| Count { name: outcome.label().to_owned(), count }).collect(),
        failures: counts.map(|(reason, count)| Count { name: (*reason).to_owned(), count: *count }).collect(),
        last_run: runs.last.as_ref().map(|last| RunStatus {
            at: moment.wall(last.at),
            duration_seconds: last.took.as_secs_f64(),
            outcome: last.observation.outcome().label().to_owned(),
            health: health(&last.observation.health).to_owned(),
            copy: last.observation.copy.as_ref().map(|state| copy(state).to_owned()),
            findings: last.observation.findings().map(finding).collect(),
            warnings: last.observation.warnings.iter().flatten().map(finding).collect(),
            notes: last.observation.notes.clone(),
            readings: last
                .observation
                .readings
                .iter()
                .map(|reading| ReadingStatus {
                    metric: reading.kind.metric.to_owned(),
                    label: reading.label.as_ref().map(ToString::to_string),
                    value: reading.value.at(moment.now, |at| moment.wall(at)),
                })
                .collect(),
        }),
        last_failure: runs.last_failure.as_ref().map(|failure| FailureStatus {
            at: moment.wall(failure.at),
            findings: failure.findings.iter().map(finding).collect(),
        }),
        last_success: runs.last_success.map(|at| moment.wall(at)),
        recent_failures: runs.recent.iter().rev().map(|recent| trouble(recent, moment)).collect(),
        settings: Some(settings(spec)),
    }
}

fn trouble(trouble: &Trouble, moment: Moment) -> TroubleStatus {
    TroubleStatus {
        from: moment.wall(trouble.from),
        until: moment.wall(trouble.until),
        runs: trouble.runs,
        findings: trouble.findings.iter().map(finding).collect(),
    }
}

fn settings(spec: &CheckSpec) -> CheckSettings {
    CheckSettings {
        interval_seconds: spec.interval.as_secs_f64(),
        interval_when_down_seconds: spec.interval_when_down.as_secs_f64(),
        timeout_seconds: spec.timeout.as_secs_f64(),
        failures_to_trigger: spec.failures_to_trigger,
        successes_to_recover: spec.successes_to_recover,
        warn_after_seconds: spec.warn_after.map(|after| after.as_secs_f64()),
        fresh_for_seconds: spec.freshness().as_secs_f64(),
    }
}

const fn health(health: &Health) -> &'static str {
    match health {
        Health::Healthy => "healthy",
        Health::Unhealthy(_) => "unhealthy",
        Health::Pending(_) => "pending",
        Health::NoAnswer(_) => "no_answer",
    }
}

const fn copy(copy: &CopyState) -> &'static str {
    match copy {
        CopyState::Complete { .. } => "complete",
        CopyState::Behind { .. } => "behind",
        CopyState::Vouched { .. } => "vouched",
        CopyState::Outdated { .. } => "outdated",
        CopyState::Damaged(_) => "damaged",
        CopyState::Withdrawn(_) => "withdrawn",
        CopyState::Lost(_) => "lost",
        CopyState::Unknown(_) => "unknown",
    }
}

fn finding(finding: &Finding) -> FindingStatus {
    FindingStatus {
        reason: finding.reason.label.to_owned(),
        detail: finding.detail.clone(),
        advice: finding.reason.advice.to_owned(),
    }
}
