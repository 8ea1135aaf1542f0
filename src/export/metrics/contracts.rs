//! The samples of contracts and their checks.
//!
//! Most of them only change with a report, or when a verdict changes as time passes. A [`Group`] of those
//! does not know the moment, only the verdicts, so its text holds until something that it tells changes.
//! [`ages`] writes what changes with every moment.

use std::sync::Arc;

use super::exposition::Families;
use super::{
    AT_RISK_RATIO, COMPLIANT, CONSECUTIVE, CONTRACT_INFO, COPY_LOST, DRILL_CONTRACT, EVIDENCE, FAILURES, FEEDS,
    HEALTHY, IN_PROGRESS, KNOWN, LAG_BUDGET, LAST_DOWNTIME, LAST_END, LAST_RECOVERY, OBSERVED, RECOVERIES,
    RECOVERY_POINT, RUNS, STARTED, STATUS, TARGET, USED, WARN_AFTER, WARNING, WITHOUT_OK, WITHOUT_TESTED, as_f64,
    of_reading, one_or_zero,
};
use crate::clock::Moment;
use crate::domain::contract::{Judgement, Objective};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::engine::snapshot::ContractRecord;
use crate::export::{View, people};

/// What is true of a contract at one moment, and stays true for a while.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Verdicts {
    /// Whether an outage would be part of a drill.
    planned: bool,
    /// The status of each objective, in the order of [`Objective::ALL`].
    statuses: [Option<Status>; Objective::ALL.len()],
    /// The checks, in the order of the contract.
    checks: Vec<CheckVerdict>,
    /// Whether it works without each contract that it must be independent of, by their order.
    without: Vec<Option<bool>>,
}

/// What is true of a check at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct CheckVerdict {
    healthy: Option<bool>,
    warns: Option<bool>,
    copy_lost: Option<bool>,
}

/// The judgements of a contract's objectives, in the order of [`Objective::ALL`].
pub(super) type Judgements = [Option<Judgement>; Objective::ALL.len()];

impl Verdicts {
    /// Judges a contract. What was in `self` before is overwritten.
    pub(super) fn judge(&mut self, record: &ContractRecord, view: View<'_>) -> Judgements {
        let (contract, now) = (&record.contract, view.moment.now);
        let judgements = Objective::ALL.map(|objective| contract.judge(objective, now));
        self.planned = people::is_planned(view, contract);
        self.statuses = judgements.each_ref().map(|judged| judged.as_ref().map(Judgement::status));
        self.checks.clear();
        self.checks.extend(record.checks().map(|(check, _)| CheckVerdict {
            healthy: check.healthy(now),
            warns: check.warns(now),
            copy_lost: check.copy_lost(now),
        }));
        self.without.clear();
        let others = record.independence.keys();
        self.without.extend(others.map(|without| view.snapshot.works_without(contract, without, now)));
        judgements
    }
}

/// Converts an instant of the timeline to the seconds since the Unix epoch of the wall clock. It does
/// not know what time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Calendar {
    /// What the wall clock calls the beginning of the timeline.
    beginning: Timestamp,
}

impl Calendar {
    /// The calendar at this moment. It stays the same until the wall clock is set.
    pub(super) const fn at(moment: Moment) -> Self {
        Self { beginning: moment.wall(Timestamp::from_unix_nanos(0)) }
    }

    fn seconds(self, instant: Timestamp) -> f64 {
        let nanos = instant.as_unix_nanos().saturating_add(self.beginning.as_unix_nanos());
        Timestamp::from_unix_nanos(nanos).as_unix_seconds()
    }
}

/// Samples of a contract that are written together. Each metric belongs to one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    /// What is configured, the verdicts, and what is known about outages. It changes rarely.
    Settled,
    /// What changes with every run.
    Run,
    /// How often each check found each reason. These are most of all samples, and hardly ever change.
    Failures,
}

impl Group {
    pub(super) const ALL: [Self; 3] = [Self::Settled, Self::Run, Self::Failures];

    /// Whether the samples of both records are the same, if the verdicts are.
    pub(super) fn is_same(self, one: &Arc<ContractRecord>, other: &Arc<ContractRecord>) -> bool {
        let tells_the_same = || match self {
            Self::Settled => is_as_settled(one, other),
            Self::Run => false,
            Self::Failures => is_as_often(one, other),
        };
        Arc::ptr_eq(one, other) || tells_the_same()
    }

    /// Whether its samples depend on the verdicts.
    pub(super) fn judges(self) -> bool {
        self == Self::Settled
    }

    /// Writes its samples.
    pub(super) fn write(
        self,
        families: &mut Families,
        record: &ContractRecord,
        verdicts: &Verdicts,
        calendar: Calendar,
    ) {
        match self {
            Self::Settled => settled(families, record, verdicts, calendar),
            Self::Run => runs(families, record, calendar),
            Self::Failures => failures(families, record),
        }
    }
}

fn settled(families: &mut Families, record: &ContractRecord, verdicts: &Verdicts, calendar: Calendar) {
    let contract = &record.contract;
    let spec = contract.spec();
    let name = ("contract", spec.name.as_str());
    let info = [
        name,
        ("component", spec.component.as_str()),
        ("owner", spec.owner.as_str()),
        ("priority", spec.priority.label()),
    ];
    families.of(CONTRACT_INFO).gauge(&info, 1.0);
    families.of(AT_RISK_RATIO).gauge(&[name], spec.at_risk_ratio);
    families.of(DRILL_CONTRACT).gauge(&[name], one_or_zero(verdicts.planned));
    for (objective, status) in Objective::ALL.into_iter().zip(verdicts.statuses) {
        if let Some((status, target)) = status.zip(spec.target(objective)) {
            let labels = [name, ("objective", objective.label())];
            families.of(TARGET).gauge(&labels, target.limit.as_secs_f64());
            families.known(COMPLIANT, &labels, status.is_compliant().map(one_or_zero));
            for of in Status::ALL {
                let [name, objective] = labels;
                families.of(STATUS).gauge(&[name, objective, ("status", of.label())], one_or_zero(of == status));
            }
        }
    }
    if spec.rto.is_some() {
        recoveries(families, record, calendar);
    }
    for ((without, known), works) in record.independence.iter().zip(&verdicts.without) {
        let labels = [name, ("without", without.as_str())];
        families.known(WITHOUT_OK, &labels, works.map(one_or_zero));
        for (result, at) in [("ok", known.last_ok), ("violated", known.last_violated)] {
            let [name, without] = labels;
            families.known(WITHOUT_TESTED, &[name, without, ("result", result)], at.map(Timestamp::as_unix_seconds));
        }
    }
    for ((check, _), verdict) in record.checks().zip(&verdicts.checks) {
        let check = check.spec();
        let place = [name, ("check", check.name.as_str())];
        let [contract, named] = place;
        let labels = [contract, named, ("kind", check.kind.name)];
        for objective in Objective::ALL.into_iter().filter(|objective| check.feeds.has(*objective)) {
            families.of(FEEDS).gauge(&[contract, named, ("objective", objective.label())], 1.0);
        }
        families.known(HEALTHY, &labels, verdict.healthy.map(one_or_zero));
        families.known(WARNING, &labels, verdict.warns.map(one_or_zero));
        families.known(WARN_AFTER, &labels, check.warn_after.map(|after| after.as_secs_f64()));
        families.known(LAG_BUDGET, &labels, check.lag_budget.map(|budget| budget.as_secs_f64()));
        if check.feeds.rpo {
            families.known(COPY_LOST, &place, verdict.copy_lost.map(one_or_zero));
        }
    }
}

/// Whether what is configured and what is known about outages is the same. A configuration that is
/// loaded makes new specifications.
fn is_as_settled(one: &ContractRecord, other: &ContractRecord) -> bool {
    let (before, now) = (&one.contract, &other.contract);
    std::ptr::eq(before.spec(), now.spec())
        && before.clock() == now.clock()
        && before.recoveries() == now.recoveries()
        && one.independence == other.independence
}

fn recoveries(families: &mut Families, record: &ContractRecord, calendar: Calendar) {
    let clock = record.contract.clock();
    let name = ("contract", record.contract.spec().name.as_str());
    let labels = [name];
    families.of(IN_PROGRESS).gauge(&labels, one_or_zero(clock.running().is_some()));
    families.known(STARTED, &labels, clock.running().map(|outage| calendar.seconds(outage.trigger)));
    if let Some(last) = clock.last_recovery() {
        families.of(LAST_RECOVERY).gauge(&labels, last.recovery_time().as_secs_f64());
        families.of(LAST_DOWNTIME).gauge(&labels, last.downtime().as_secs_f64());
        families.of(LAST_END).gauge(&labels, calendar.seconds(last.healthy));
    }
    for sort in record.contract.recoveries() {
        let result = if sort.met { "met" } else { "missed" };
        let labels = [name, ("result", result), ("mode", sort.mode.label())];
        families.of(RECOVERIES).counter(&labels, as_f64(sort.count));
    }
}

fn runs(families: &mut Families, record: &ContractRecord, calendar: Calendar) {
    let contract = ("contract", record.contract.spec().name.as_str());
    for (known, runs) in record.checks() {
        let spec = known.spec();
        let place = [contract, ("check", spec.name.as_str())];
        let [contract, check] = place;
        let labels = [contract, check, ("kind", spec.kind.name)];
        families.of(CONSECUTIVE).gauge(&labels, f64::from(known.consecutive_failures()));
        families.known(EVIDENCE, &place, known.evidence().map(|at| calendar.seconds(at)));
        if spec.feeds.rpo {
            families.known(RECOVERY_POINT, &place, known.point().instant().map(|at| calendar.seconds(at)));
        }
        let [contract, check, kind] = labels;
        let family = families.of(RUNS);
        for (outcome, count) in runs.runs() {
            family.counter(&[contract, check, kind, ("outcome", outcome.label())], as_f64(count));
        }
    }
}

fn failures(families: &mut Families, record: &ContractRecord) {
    let contract = ("contract", record.contract.spec().name.as_str());
    let family = families.of(FAILURES);
    for (known, runs) in record.checks() {
        let (check, kind) = (("check", known.spec().name.as_str()), ("kind", known.spec().kind.name));
        for (reason, count) in &*runs.failures {
            family.counter(&[contract, check, kind, ("reason", reason)], as_f64(*count));
        }
    }
}

/// Whether the failures of both records are the same. Each count belongs to one check, so it also tells
/// that they are of the same checks.
fn is_as_often(one: &ContractRecord, other: &ContractRecord) -> bool {
    let (one, other) = (one.checks(), other.checks());
    one.len() == other.len() && one.zip(other).all(|((_, one), (_, other))| Arc::ptr_eq(&one.failures, &other.failures))
}

/// Writes the samples of a contract that may change from moment to moment: figures and readings.
pub(super) fn ages(families: &mut Families, record: &ContractRecord, judgements: &Judgements, moment: Moment) {
    let name = ("contract", record.contract.spec().name.as_str());
    for judgement in judgements.iter().flatten() {
        let labels = [name, ("objective", judgement.objective.label())];
        families.known(OBSERVED, &labels, judgement.observed().map(|observed| observed.as_secs_f64()));
        families.known(KNOWN, &labels, judgement.known().map(|known| known.as_secs_f64()));
        families.known(USED, &labels, judgement.used_ratio());
    }
    for (known, runs) in record.checks() {
        let place = [name, ("check", known.spec().name.as_str())];
        for reading in runs.last.iter().flat_map(|last| &last.observation.readings) {
            let value = reading.value.at(moment.now, |at| moment.wall(at));
            let family = families.of(of_reading(reading.kind));
            match (reading.kind.label, &reading.label) {
                (Some(name), Some(label)) => {
                    let [contract, check] = place;
                    family.gauge(&[contract, check, (name, label.as_ref())], value);
                }
                _ => family.gauge(&place, value),
            }
        }
    }
}
