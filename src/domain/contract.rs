//! A contract, its checks, and what is known of them.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::observation::{Health, Observation};
use super::recovery_clock::{ClockEvent, Mode, Outage, Recovery, RecoveryClock, Thresholds};
use super::recovery_point::RecoveryPoint;
use super::remembered::{Circumstances, Remembered, RememberedCheck, RememberedClock};
use super::status::{self, Basis, Status, Target};
use super::time::Timestamp;

/// The objectives that a check can feed, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feeds {
    /// Its health drives the recovery clock.
    pub rto: bool,
    /// Its proofs move the recovery point.
    pub rpo: bool,
}

/// How urgent a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Breach is told to the CTO.
    P0,
    /// Breach is told to the SRE lead.
    P1,
    /// Breach is told to the person on call.
    P2,
    /// Nobody is woken.
    P3,
}

impl Priority {
    /// The value of the `priority` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::P0 => "P0",
            Self::P1 => "P1",
            Self::P2 => "P2",
            Self::P3 => "P3",
        }
    }
}

/// A component's promise.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractSpec {
    /// Unique among contracts.
    pub name: String,
    /// What people call the component.
    pub component: String,
    /// Who has to keep the promise.
    pub owner: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Recovery time objective: a recovery must take less.
    pub rto: Option<Duration>,
    /// Recovery point objective: the data at risk must be less.
    pub rpo: Option<Duration>,
    /// The share of a target above which an objective is at risk.
    pub at_risk_ratio: f64,
    /// How old the last measured recovery may grow before it proves nothing.
    pub drill_every: Option<Duration>,
    /// The contracts that it must stay healthy without.
    pub independent_of: Vec<String>,
    /// What is measured for it; never empty.
    pub checks: Vec<CheckSpec>,
}

/// How one check of a contract is run and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// Unique among the contract's checks.
    pub name: String,
    /// The kind's name.
    pub kind: &'static str,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// The same while the contract's recovery clock runs.
    pub interval_when_down: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// How many failures in a row start the recovery clock.
    pub failures_to_trigger: u32,
    /// How many healthy observations in a row count as recovered.
    pub successes_to_recover: u32,
    /// The sync lag above which there is a warning.
    pub warn_after: Option<Duration>,
    /// The sync lag that the synchronisation is meant to stay below.
    pub lag_budget: Option<Duration>,
    /// The objectives that it feeds.
    pub feeds: Feeds,
}

impl CheckSpec {
    /// How long something that was learned counts as fresh: one run may be late, the next may fail, and that is no
    /// reason to distrust the last.
    #[must_use]
    pub fn freshness(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout)
    }

    fn thresholds(&self) -> Option<Thresholds> {
        self.feeds.rto.then_some(Thresholds {
            failures_to_trigger: self.failures_to_trigger,
            hold: Duration::ZERO,
            successes_to_recover: self.successes_to_recover,
            freshness: self.freshness(),
        })
    }
}

/// One of the two numbers of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Recovery time.
    Rto,
    /// Recovery point.
    Rpo,
}

impl Objective {
    /// Both, in the order in which people read them.
    pub const ALL: [Self; 2] = [Self::Rto, Self::Rpo];

    /// The value of the `objective` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Rto => "rto",
            Self::Rpo => "rpo",
        }
    }
}

impl ContractSpec {
    /// The target of an objective, if the contract has it.
    #[must_use]
    pub fn target(&self, objective: Objective) -> Option<Target> {
        let limit = match objective {
            Objective::Rto => self.rto,
            Objective::Rpo => self.rpo,
        };
        limit.map(|limit| Target { limit, at_risk_ratio: self.at_risk_ratio })
    }
}

/// What is known of an objective at one instant.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Which objective.
    pub objective: Objective,
    /// The row of the table that decided, and so the status.
    pub basis: Basis,
    /// What it must stay under.
    pub target: Duration,
    /// RPO: the exposure. RTO: how long the outage lasts whose clock runs, else the last recovery time; none where there
    /// was neither.
    pub figure: Option<Interval>,
    /// When the oldest of the evidence was found that this rests on.
    pub evidence: Option<Timestamp>,
}

impl Judgement {
    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.basis.status()
    }

    /// The upper end of the figure; none while nothing bounds it.
    #[must_use]
    pub fn observed(&self) -> Option<Duration> {
        self.figure.and_then(|figure| figure.most)
    }

    /// The lower end of the figure; none where there is no figure.
    #[must_use]
    pub fn known(&self) -> Option<Duration> {
        self.figure.map(|figure| figure.least)
    }

    /// The share of the target that is used: at the most, as far as that is known.
    #[must_use]
    pub fn used_ratio(&self) -> Option<f64> {
        self.observed().map(|observed| observed.as_secs_f64() / self.target.as_secs_f64())
    }
}

/// Everything that is remembered of one contract, with the rules that move it.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    spec: Arc<ContractSpec>,
    thresholds: Vec<Option<Thresholds>>,
    points: Vec<RecoveryPoint>,
    clock: RecoveryClock,
    circumstances: Option<Circumstances>,
    recoveries: Vec<RecoveryCount>,
    /// When each check last looked for something to warn of, and whether it found any.
    warned: Vec<Option<(Timestamp, bool)>>,
}

/// How many recoveries there were of one sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryCount {
    /// Whether they met the target that held when they ended.
    pub met: bool,
    /// Real or drill.
    pub mode: Mode,
    /// How many.
    pub count: u64,
}

impl Contract {
    /// A contract of which nothing is known yet.
    #[must_use]
    pub fn new(spec: Arc<ContractSpec>) -> Self {
        let sorts = [Mode::Real, Mode::Drill].into_iter().flat_map(|mode| [(true, mode), (false, mode)]);
        Self {
            thresholds: spec.checks.iter().map(CheckSpec::thresholds).collect(),
            points: vec![RecoveryPoint::default(); spec.checks.len()],
            clock: RecoveryClock::new(spec.checks.len()),
            warned: vec![None; spec.checks.len()],
            circumstances: None,
            recoveries: sorts.map(|(met, mode)| RecoveryCount { met, mode, count: 0 }).collect(),
            spec,
        }
    }

    /// The promise.
    #[must_use]
    pub fn spec(&self) -> &ContractSpec {
        &self.spec
    }

    /// The recovery clock.
    #[must_use]
    pub fn clock(&self) -> &RecoveryClock {
        &self.clock
    }

    /// The recovery point of the check with this index.
    #[must_use]
    pub fn point(&self, check: usize) -> Option<&RecoveryPoint> {
        self.points.get(check)
    }

    /// How many recoveries there were, by result and mode.
    #[must_use]
    pub fn recoveries(&self) -> &[RecoveryCount] {
        &self.recoveries
    }

    /// Takes in what the check with this index found in a run that ended `at`.
    pub fn observe(&mut self, check: usize, at: Timestamp, observation: &Observation) -> Option<ClockEvent> {
        if let Some(point) = self.points.get_mut(check) {
            point.observe(at, observation);
        }
        if let (Some(warned), Some(warnings)) = (self.warned.get_mut(check), &observation.warnings) {
            *warned = Some((at, !warnings.is_empty()));
        }
        let event = self.clock.observe(check, at, &observation.health, &self.thresholds);
        if let Some(ClockEvent::Started(_)) = event {
            self.circumstances = Some(self.circumstances_of(check, at, &observation.health));
        }
        if let Some(ClockEvent::Stopped(recovery)) = event {
            let met = self.spec.rto.and_then(|rto| recovery.met(rto));
            let mode = recovery.outage.mode;
            for sort in self.recoveries.iter_mut().filter(|sort| Some(sort.met) == met && sort.mode == mode) {
                sort.count = sort.count.saturating_add(1);
            }
        }
        event
    }

    fn circumstances_of(&self, check: usize, at: Timestamp, health: &Health) -> Circumstances {
        let reason = match health {
            Health::Unhealthy(finding) | Health::Pending(finding) | Health::NoAnswer(finding) => finding.reason.label,
            Health::Healthy => "",
        };
        let exposures = self.feeding_points().map(|(check, point)| point.exposure(check.freshness(), at));
        Circumstances {
            check: self.spec.checks.get(check).map(|check| check.name.clone()).unwrap_or_default(),
            reason: reason.to_owned(),
            data_at_risk: exposures.reduce(Interval::max).and_then(|exposure| exposure.most),
        }
    }

    /// What is known of the outage that runs, or ran last, beside its times.
    #[must_use]
    pub fn circumstances(&self) -> Option<&Circumstances> {
        self.circumstances.as_ref()
    }

    /// Everything that must outlive the process.
    #[must_use]
    pub fn remember(&self) -> Remembered {
        let checks = self.spec.checks.iter().enumerate().map(|(index, spec)| {
            let mut check = RememberedCheck::default();
            self.clock.remember(index, &mut check);
            if let Some(point) = self.points.get(index) {
                point.remember(&mut check);
            }
            if let Some((at, warns)) = self.warned.get(index).copied().flatten() {
                (check.warning_seen, check.warns) = (Some(at), warns);
            }
            (spec.name.clone(), check)
        });
        let mut clock = RememberedClock {
            running: self.clock.running().copied(),
            circumstances: self.circumstances.clone(),
            last: self.clock.last_recovery().copied(),
            ..RememberedClock::default()
        };
        for RecoveryCount { met, mode, count } in &self.recoveries {
            *clock.count(*met, *mode) = *count;
        }
        Remembered { clock, checks: checks.collect() }
    }

    /// A contract that goes on from what was remembered of one of its name. Checks are matched by name; what was
    /// remembered of others is left alone.
    #[must_use]
    pub fn recall(spec: Arc<ContractSpec>, mut remembered: Remembered) -> Self {
        let mut contract = Self::new(spec);
        for (index, spec) in contract.spec.checks.iter().enumerate() {
            let Some(check) = remembered.checks.get(&spec.name) else { continue };
            contract.clock.recall(index, check);
            if let Some(point) = contract.points.get_mut(index) {
                *point = RecoveryPoint::recall(check);
            }
            if let Some(warned) = contract.warned.get_mut(index) {
                *warned = check.warning_seen.map(|at| (at, check.warns));
            }
        }
        contract.clock.resume(remembered.clock.running, remembered.clock.last, &contract.thresholds);
        contract.circumstances = remembered.clock.circumstances.take();
        for RecoveryCount { met, mode, count } in &mut contract.recoveries {
            *count = *remembered.clock.count(*met, *mode);
        }
        contract
    }

    /// Judges an objective at `now`; none if the contract does not have it.
    #[must_use]
    pub fn judge(&self, objective: Objective, now: Timestamp) -> Option<Judgement> {
        let target = self.spec.target(objective)?;
        match objective {
            Objective::Rto => Some(self.judge_rto(target, now)),
            Objective::Rpo => self.judge_rpo(target, now),
        }
    }

    fn judge_rto(&self, target: Target, now: Timestamp) -> Judgement {
        let feeding = || self.spec.checks.iter().enumerate().filter(|(_, check)| check.feeds.rto);
        let is_fresh = |index, check: &CheckSpec| status::is_fresh(self.clock.evidence(index), check.freshness(), now);
        let (outage, last) = (self.outage(now), self.clock.last_recovery());
        let fresh = feeding().all(|(index, check)| is_fresh(index, check));
        let standing = status::standing(last, target.limit, self.spec.drill_every, now);
        Judgement {
            objective: Objective::Rto,
            basis: status::rto(outage, fresh, standing, target),
            target: target.limit,
            figure: outage.or_else(|| last.map(Recovery::took)),
            // None sorts first: evidence that is missing is the oldest.
            evidence: feeding().map(|(index, _)| self.clock.evidence(index)).min().flatten(),
        }
    }

    /// How long the outage whose clock runs has lasted at `now`; none while no clock runs.
    ///
    /// It is known to last as long as a check is known to fail: until now, while that is fresh.
    #[must_use]
    pub fn outage(&self, now: Timestamp) -> Option<Interval> {
        let outage: &Outage = self.clock.running()?;
        let feeding = self.spec.checks.iter().enumerate().filter(|(_, check)| check.feeds.rto);
        let failing = feeding.filter_map(|(index, _)| match self.healthy(index, now) {
            Some(false) => Some(now),
            _ => self.clock.last_failure(index),
        });
        Some(outage.lasted(failing.max().unwrap_or(outage.trigger), now))
    }

    /// Each check is judged by itself; the contract has the worst status and the oldest recovery point.
    fn judge_rpo(&self, target: Target, now: Timestamp) -> Option<Judgement> {
        let judged = self.feeding_points().map(|(check, point)| {
            let exposure = point.exposure(check.freshness(), now);
            let lost = point.is_lost() && status::is_fresh(point.evidence(), check.freshness(), now);
            Judgement {
                objective: Objective::Rpo,
                basis: status::rpo(exposure, lost, target),
                target: target.limit,
                figure: Some(exposure),
                evidence: point.evidence(),
            }
        });
        judged.reduce(|a, b| {
            let figure = a.figure.zip(b.figure).map(|(a, b)| a.max(b));
            let evidence = a.evidence.min(b.evidence);
            let worst = if b.status() > a.status() { b } else { a };
            Judgement { figure, evidence, ..worst }
        })
    }

    fn feeding_points(&self) -> impl Iterator<Item = (&CheckSpec, &RecoveryPoint)> {
        self.spec.checks.iter().zip(&self.points).filter(|(check, _)| check.feeds.rpo)
    }

    /// The data that a disaster at `now` could cost, as far as the check with this index knows.
    #[must_use]
    pub fn exposure(&self, check: usize, now: Timestamp) -> Option<Interval> {
        let (spec, point) = (self.spec.checks.get(check)?, self.points.get(check)?);
        Some(point.exposure(spec.freshness(), now))
    }

    /// Whether there is something to warn of: the sync lag of the check with this index is above its `warn_after`, or the
    /// check itself found something. None where neither is looked at, or nothing is known.
    #[must_use]
    pub fn warns(&self, check: usize, now: Timestamp) -> Option<bool> {
        let spec = self.spec.checks.get(check)?;
        let exposure = self.exposure(check, now).and_then(|exposure| exposure.most);
        let lags = spec.warn_after.zip(exposure).map(|(limit, exposure)| exposure > limit);
        let warned = self.warned.get(check).copied().flatten();
        let warned =
            warned.filter(|(at, _)| status::is_fresh(Some(*at), spec.freshness(), now)).map(|(_, warns)| warns);
        lags.into_iter().chain(warned).reduce(|a, b| a || b)
    }

    /// Whether the copy that the check with this index watches is proven lost; none where nothing fresh is known.
    #[must_use]
    pub fn copy_lost(&self, check: usize, now: Timestamp) -> Option<bool> {
        let (spec, point) = (self.spec.checks.get(check)?, self.points.get(check)?);
        status::is_fresh(point.evidence(), spec.freshness(), now).then_some(point.is_lost())
    }

    /// How the component is, as the check with this index saw it; none where nothing fresh is known.
    #[must_use]
    pub fn healthy(&self, check: usize, now: Timestamp) -> Option<bool> {
        let spec = self.spec.checks.get(check)?;
        let fresh = status::is_fresh(self.clock.evidence(check), spec.freshness(), now);
        self.clock.is_healthy(check).filter(|_| fresh)
    }

    /// Whether a check that feeds the RTO is freshly known to see the component fail, whether the clock runs already or not.
    #[must_use]
    pub fn fails(&self, now: Timestamp) -> bool {
        let mut feeding = self.spec.checks.iter().enumerate().filter(|(_, check)| check.feeds.rto);
        feeding.any(|(index, _)| self.healthy(index, now) == Some(false))
    }

    /// How the component as a whole is: works, if every check says so; is down, if its recovery clock runs and a check sees
    /// it fail. None while neither is known.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> Option<bool> {
        let feeding = self.spec.checks.iter().enumerate().filter(|(_, check)| check.feeds.rto);
        let mut health = feeding.map(|(index, _)| self.healthy(index, now)).peekable();
        health.peek()?;
        if self.clock.running().is_some() {
            health.any(|health| health == Some(false)).then_some(false)
        } else {
            health.all(|health| health == Some(true)).then_some(true)
        }
    }

    /// When the check with this index last learned something of all that it feeds; none if it has yet to.
    #[must_use]
    pub fn evidence(&self, check: usize) -> Option<Timestamp> {
        let feeds = self.spec.checks.get(check)?.feeds;
        let health = feeds.rto.then(|| self.clock.evidence(check));
        let copy = feeds.rpo.then(|| self.points.get(check).and_then(RecoveryPoint::evidence));
        // None sorts first: evidence that is missing is the oldest.
        health.into_iter().chain(copy).min().flatten()
    }

    /// How long the check with this index waits from run to run now.
    #[must_use]
    pub fn interval(&self, check: usize) -> Option<Duration> {
        let spec = self.spec.checks.get(check)?;
        let down = self.clock.running().is_some();
        Some(if down { spec.interval_when_down.min(spec.interval) } else { spec.interval })
    }
}
