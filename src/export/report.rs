//! The status of everything, in the shape of `/api/v1/status`. Documented in `docs/http.md`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::View;
use super::because::because;
use crate::clock::Moment;
use crate::domain::contract::{CheckSpec, Contract, Judgement, Objective, RecoveryCount};
use crate::domain::observation::{CopyState, Finding, Health, ReadingValue};
use crate::domain::recovery_clock::{Mode, Recovery};
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;
use crate::domain::trigger::{TriggerMode, TriggerSpec, Watched};
use crate::engine::snapshot::{CheckRecord, ContractRecord, TriggerRecord};
use crate::store::keeper::StoreHealth;

/// The status of every contract at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusReport {
    /// The version of the program.
    pub version: String,
    /// The moment.
    pub now: Timestamp,
    /// Whether every check has run at least once.
    pub ready: bool,
    /// How the storage is; none for a program that runs every check once.
    pub storage: Option<StorageStatus>,
    /// How the last reading of the configuration went; none for a program that reads it once.
    #[serde(default)]
    pub configuration: Option<ConfigurationStatus>,
    /// The contracts, in the order of the configuration.
    pub contracts: Vec<ContractStatus>,
    /// The triggers, in the order of the configuration.
    #[serde(default)]
    pub triggers: Vec<TriggerStatus>,
}

/// The status of one trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerStatus {
    /// Its name.
    pub name: String,
    /// What it calls for.
    pub action: String,
    /// Where its alert goes.
    pub notification: String,
    /// Who decides.
    pub mode: TriggerMode,
    /// What it watches: `CONTRACT/CHECK`, or the kind of its own check.
    pub watches: String,
    /// Whether it fires; absent while its evidence is missing.
    pub active: Option<bool>,
    /// Since when its condition has held, whether it fires already or not.
    pub holds_since: Option<Timestamp>,
    /// When it last began to fire.
    pub last_fired: Option<Timestamp>,
    /// When something was last seen of what it watches.
    pub evidence: Option<Timestamp>,
    /// What the last look found.
    pub finding: Option<FindingStatus>,
}

/// How a contract does without another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IndependenceStatus {
    /// The other contract.
    pub without: String,
    /// Whether this one works; absent while the other is up, or nothing is known.
    pub ok: Option<bool>,
    /// When it was last seen to work while the other was down.
    pub last_ok: Option<Timestamp>,
    /// When it was last seen to fail while the other was down.
    pub last_violated: Option<Timestamp>,
}

/// How the last reading of the configuration went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigurationStatus {
    /// When a good configuration was last read: the one in use.
    pub read: Timestamp,
    /// What was wrong with the one that was read last and refused; absent if it is in use.
    pub refused: Option<String>,
}

/// How the storage is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StorageStatus {
    /// How often it failed since the start.
    pub errors: u64,
    /// What is wrong with it now: until that is mended what is measured lives in memory alone.
    pub failing: Option<String>,
}

/// The status of one contract.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContractStatus {
    /// Its name.
    pub name: String,
    /// What people call the component.
    pub component: String,
    /// Who has to keep the promise.
    pub owner: String,
    /// `P0` to `P3`.
    pub priority: String,
    /// The share of a target above which it is at risk.
    pub at_risk_ratio: f64,
    /// RTO, RPO or both.
    pub objectives: Vec<ObjectiveStatus>,
    /// Whether a check that feeds the RTO sees the component fail, whether its recovery clock runs already or not.
    #[serde(default)]
    pub failing: bool,
    /// The outage whose recovery clock runs.
    pub outage: Option<OutageStatus>,
    /// The last outage that is over.
    pub last_recovery: Option<RecoveryStatus>,
    /// How often recoveries ended in which way.
    pub recoveries: Vec<RecoveryCountStatus>,
    /// How it does without the contracts that it must be independent of.
    #[serde(default)]
    pub independence: Vec<IndependenceStatus>,
    /// The checks, in the order of the configuration.
    pub checks: Vec<CheckStatus>,
}

/// How often recoveries ended in one way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryCountStatus {
    /// Whether the target of their day was met.
    pub met: bool,
    /// Real or drill.
    pub mode: Mode,
    /// How many.
    pub count: u64,
}

/// The status of one objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveStatus {
    /// Which.
    pub objective: Objective,
    /// The status.
    pub status: Status,
    /// The rule that gave it.
    pub basis: Basis,
    /// The rule in words.
    pub because: String,
    /// The target.
    pub target_seconds: f64,
    /// The most that the figure can be. RPO: the exposure. RTO: the length of the outage whose clock runs, else the last
    /// recovery time. Absent while nothing bounds it.
    pub observed_seconds: Option<f64>,
    /// The least that the figure is known to be; absent where there is no figure.
    #[serde(default)]
    pub known_seconds: Option<f64>,
    /// `observed_seconds / target_seconds`.
    pub used_ratio: Option<f64>,
    /// When the oldest of the evidence was found that the status rests on.
    pub evidence: Option<Timestamp>,
}

/// An outage whose clock runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutageStatus {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// Real or drill.
    pub mode: Mode,
    /// What the clock shows.
    pub elapsed_seconds: f64,
    /// How long it is known to have lasted: until a check last saw the component fail.
    #[serde(default)]
    pub known_seconds: f64,
    /// How long it can have lasted at the most; absent where nobody saw the component healthy before.
    #[serde(default)]
    pub at_most_seconds: Option<f64>,
}

/// An outage that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecoveryStatus {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// The first healthy observation.
    pub healthy: Timestamp,
    /// The earliest that it can have ended: earlier than `healthy` only where nobody could look for a while.
    pub earliest: Timestamp,
    /// Real or drill.
    pub mode: Mode,
    /// From trigger to health.
    pub recovery_seconds: f64,
    /// From first failure to health.
    pub downtime_seconds: f64,
}

/// The status of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How the component is; absent while nothing fresh is known.
    pub healthy: Option<bool>,
    /// How often in a row it has failed.
    pub consecutive_failures: u32,
    /// The objectives that it feeds.
    #[serde(default)]
    pub feeds: Vec<Objective>,
    /// Up to which instant the DR copy is proven.
    pub recovery_point: Option<Timestamp>,
    /// The data that a disaster now could cost, at the most; absent while nothing bounds it.
    #[serde(default)]
    pub exposure_seconds: Option<f64>,
    /// The data that it is known to cost; absent for a check that does not feed the RPO.
    #[serde(default)]
    pub known_exposure_seconds: Option<f64>,
    /// Whether the copy is proven lost; absent while nothing fresh is known.
    pub copy_lost: Option<bool>,
    /// Whether the sync lag is above `warn_after`, or the check warns of something else; absent where nothing is known.
    pub warning: Option<bool>,
    /// How many runs there were, by outcome.
    pub runs: Vec<Count>,
    /// How often each reason was found; those never found are left out.
    pub failures: Vec<Count>,
    /// The last run.
    pub last_run: Option<RunStatus>,
    /// The last run that found something wrong.
    pub last_failure: Option<FailureStatus>,
}

/// Something that is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// The outcome or reason.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration_seconds: f64,
    /// `healthy`, `unhealthy` or `no_answer`: for health and copy together.
    pub outcome: String,
    /// `healthy`, `unhealthy`, `pending` or `no_answer`: the component's health alone.
    pub health: String,
    /// `complete`, `behind`, `vouched`, `outdated`, `damaged`, `lost` or `unknown`; absent for kinds that know of no copy.
    pub copy: Option<String>,
    /// What was wrong.
    pub findings: Vec<FindingStatus>,
    /// What a person should look at although nothing fails; the sync lag is not among it.
    #[serde(default)]
    pub warnings: Vec<FindingStatus>,
    /// What people want to know beside, a line each.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Further figures, as `/metrics` has them.
    pub readings: Vec<ReadingStatus>,
}

/// A run that found something wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureStatus {
    /// When.
    pub at: Timestamp,
    /// What.
    pub findings: Vec<FindingStatus>,
}

/// Something that was wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingStatus {
    /// The reason, of the closed list.
    pub reason: String,
    /// What happened, and where.
    pub detail: String,
    /// What to do about it.
    pub advice: String,
}

/// A further figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReadingStatus {
    /// The metric.
    pub metric: String,
    /// The value of the metric's own label, where it has one.
    pub label: Option<String>,
    /// The value now.
    pub value: f64,
}

impl StatusReport {
    /// The report of what a view shows.
    #[must_use]
    pub fn of(view: View<'_>) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: view.moment.wall(view.moment.now),
            ready: view.snapshot.is_ready(),
            storage: view
                .snapshot
                .storage
                .clone()
                .map(|StoreHealth { errors, failing }| StorageStatus { errors, failing }),
            configuration: view.snapshot.configuration.as_ref().map(|configuration| ConfigurationStatus {
                read: view.moment.wall(configuration.read),
                refused: configuration.refused.as_deref().map(str::to_owned),
            }),
            contracts: view.snapshot.contracts.iter().map(|record| contract(record, view)).collect(),
            triggers: view.snapshot.triggers.iter().map(|record| trigger(record, view.moment)).collect(),
        }
    }

    /// The contract of this name.
    #[must_use]
    pub fn contract(&self, name: &str) -> Option<&ContractStatus> {
        self.contracts.iter().find(|contract| contract.name == name)
    }
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
            Watched::Own(own) => own.kind.to_owned(),
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
    let checks = spec.checks.iter().zip(&record.checks).enumerate();
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
        recoveries: contract
            .recoveries()
            .iter()
            .map(|RecoveryCount { met, mode, count }| RecoveryCountStatus { met: *met, mode: *mode, count: *count })
            .collect(),
        independence: independence.collect(),
        checks: checks.map(|(index, (spec, check_record))| check(record, index, spec, check_record, moment)).collect(),
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

fn check(record: &ContractRecord, index: usize, spec: &CheckSpec, check: &CheckRecord, moment: Moment) -> CheckStatus {
    let contract = &record.contract;
    let counts = check.failures.iter().filter(|(_, count)| **count > 0);
    let exposure = contract.exposure(index, moment.now).filter(|_| spec.feeds.rpo);
    CheckStatus {
        name: spec.name.clone(),
        kind: spec.kind.to_owned(),
        healthy: contract.healthy(index, moment.now),
        consecutive_failures: contract.clock().consecutive_failures(index),
        feeds: Objective::ALL.into_iter().filter(|objective| spec.feeds.has(*objective)).collect(),
        exposure_seconds: exposure.and_then(|exposure| exposure.most).map(|most| most.as_secs_f64()),
        known_exposure_seconds: exposure.map(|exposure| exposure.least.as_secs_f64()),
        recovery_point: contract.point(index).and_then(|point| point.instant()).map(|at| moment.wall(at)),
        copy_lost: contract.copy_lost(index, moment.now).filter(|_| spec.feeds.rpo),
        warning: contract.warns(index, moment.now),
        runs: check.runs().map(|(outcome, count)| Count { name: outcome.label().to_owned(), count }).collect(),
        failures: counts.map(|(reason, count)| Count { name: (*reason).to_owned(), count: *count }).collect(),
        last_run: check.last.as_ref().map(|last| RunStatus {
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
                    value: reading.value.at(moment),
                })
                .collect(),
        }),
        last_failure: check.last_failure.as_ref().map(|failure| FailureStatus {
            at: moment.wall(failure.at),
            findings: failure.findings.iter().map(finding).collect(),
        }),
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

impl ReadingValue {
    /// The value at this moment; an age in seconds, an instant in seconds since the Unix epoch.
    #[must_use]
    pub fn at(self, moment: Moment) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::AgeOf(instant) => moment.now.since(instant).as_secs_f64(),
            Self::At(instant) => moment.wall(instant).as_unix_seconds(),
        }
    }
}

impl ObjectiveStatus {
    /// How long ago the evidence was found.
    #[must_use]
    pub fn evidence_age(&self, now: Timestamp) -> Option<Duration> {
        self.evidence.map(|evidence| now.since(evidence))
    }
}
