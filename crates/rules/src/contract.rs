//! A contract and its state.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{CheckSpec, CheckState};
use super::interval::Interval;
use super::observation::{Health, Observation};
use super::outage::{Mode, Outage, Recovery};
use super::recovery_clock::{ClockEvent, RecoveryClock, Watching as _};
use super::remembered::{Circumstances, Remembered, RememberedClock};
use super::status::{self, Basis, Status, Target};
use super::time::Timestamp;

/// How urgent a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Priority {
    /// A breach is reported to the CTO.
    P0,
    /// A breach is reported to the SRE lead.
    P1,
    /// A breach is reported to the person on call.
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

/// The promise of a component.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractSpec {
    /// The name, unique among contracts.
    pub name: String,
    /// The name that people use for the component.
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
    /// The age at which the last measured recovery stops proving the RTO.
    pub drill_every: Option<Duration>,
    /// The contracts that may be down while this one must stay healthy.
    pub independent_of: Vec<String>,
}

/// One of the two promises of a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
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
    /// The target of an objective. None if the contract does not have this objective.
    #[must_use]
    pub fn target(&self, objective: Objective) -> Option<Target> {
        let limit = match objective {
            Objective::Rto => self.rto,
            Objective::Rpo => self.rpo,
        };
        limit.map(|limit| Target { limit, at_risk_ratio: self.at_risk_ratio })
    }
}

/// The status of an objective at one instant, and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// Which objective.
    pub objective: Objective,
    /// The row of the status table that decided. It also gives the status.
    pub basis: Basis,
    /// The target. The figure must stay below it.
    pub target: Duration,
    /// For an RPO: the exposure. For an RTO: the length of the outage while the clock runs,
    /// otherwise the last recovery time. None if there was neither.
    pub figure: Option<Interval>,
    /// The time of the oldest evidence that this rests on.
    pub evidence: Option<Timestamp>,
}

impl Judgement {
    /// The status.
    #[must_use]
    pub fn status(&self) -> Status {
        self.basis.status()
    }

    /// The upper end of the figure. None while there is no upper end.
    #[must_use]
    pub fn observed(&self) -> Option<Duration> {
        self.figure.and_then(|figure| figure.most)
    }

    /// The lower end of the figure. None if there is no figure.
    #[must_use]
    pub fn known(&self) -> Option<Duration> {
        self.figure.map(|figure| figure.least)
    }

    /// The used share of the target: the upper end of the figure divided by the target.
    #[must_use]
    pub fn used_ratio(&self) -> Option<f64> {
        self.observed().map(|observed| observed.as_secs_f64() / self.target.as_secs_f64())
    }
}

/// The state of one contract, with the rules that change it.
#[derive(Debug, Clone, PartialEq)]
pub struct Contract {
    spec: Arc<ContractSpec>,
    checks: Vec<CheckState>,
    clock: RecoveryClock,
    circumstances: Option<Circumstances>,
    recoveries: Vec<RecoveryCount>,
}

/// The number of recoveries with one result and one mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecoveryCount {
    /// Whether they met the target that was valid when they ended.
    pub met: bool,
    /// Real or drill.
    pub mode: Mode,
    /// How many.
    pub count: u64,
}

impl Contract {
    /// A contract with these checks, about which nothing is known yet.
    #[must_use]
    pub fn new(spec: Arc<ContractSpec>, checks: impl IntoIterator<Item = CheckSpec>) -> Self {
        let sorts = [Mode::Real, Mode::Drill].into_iter().flat_map(|mode| [(true, mode), (false, mode)]);
        Self {
            checks: checks.into_iter().map(CheckState::new).collect(),
            clock: RecoveryClock::default(),
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

    /// The checks that measure it, with their state.
    #[must_use]
    pub fn checks(&self) -> &[CheckState] {
        &self.checks
    }

    /// How many recoveries there were, by result and mode.
    #[must_use]
    pub fn recoveries(&self) -> &[RecoveryCount] {
        &self.recoveries
    }

    /// Takes in the observation of a run of the check with this index. The run ended `at`.
    pub fn observe(&mut self, check: usize, at: Timestamp, observation: &Observation) -> Option<ClockEvent> {
        if let Some(state) = self.checks.get_mut(check) {
            state.observe(at, observation);
        }
        let look = observation.look(at);
        let at = look.at;
        let was_confirmed = self.clock.running().is_some_and(|outage| outage.confirmed);
        let event = self.clock.observe(&mut self.checks, check, look);
        if !was_confirmed && self.clock.running().is_some_and(|outage| outage.confirmed) {
            let name = self.checks.get(check).map(|check| check.spec().name.clone());
            self.circumstances.get_or_insert_default().confirmed_by = name;
        }
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

    /// Starts the clock because a person declared an incident: see [`RecoveryClock::declare`].
    pub fn declare(&mut self, at: Timestamp, mode: Mode) -> Option<ClockEvent> {
        let event = self.clock.declare(&mut self.checks, at, mode);
        if event.is_some() {
            let circumstances = self.circumstances_of(usize::MAX, at, &Health::Healthy);
            self.circumstances = Some(Circumstances { reason: "declared".to_owned(), ..circumstances });
        }
        event
    }

    /// Ends an outage that no check confirmed: see [`RecoveryClock::withdraw`].
    pub fn withdraw(&mut self) -> Option<Outage> {
        self.clock.withdraw(&self.checks)
    }

    /// Sets whether a drill is under way: see [`RecoveryClock::plan`].
    pub fn plan(&mut self, drill: bool) {
        self.clock.plan(drill);
    }

    /// Makes a planned outage real: see [`RecoveryClock::unplan`].
    pub fn unplan(&mut self) -> bool {
        self.clock.unplan()
    }

    fn circumstances_of(&self, check: usize, at: Timestamp, health: &Health) -> Circumstances {
        let reason = match health {
            Health::Unhealthy(finding) | Health::Pending(finding) | Health::NoAnswer(finding) => finding.reason.label,
            Health::Healthy => "",
        };
        let exposures = self.feeding(Objective::Rpo).map(|check| check.exposure(at));
        let exposure = exposures.reduce(Interval::max);
        Circumstances {
            check: self.checks.get(check).map(|check| check.spec().name.clone()).unwrap_or_default(),
            reason: reason.to_owned(),
            data_at_risk: exposure.and_then(|exposure| exposure.most),
            known_at_risk: exposure.map(|exposure| exposure.least),
            confirmed_by: None,
        }
    }

    /// What is known, beside its times, about the running outage or else about the last one.
    #[must_use]
    pub fn circumstances(&self) -> Option<&Circumstances> {
        self.circumstances.as_ref()
    }

    /// The state that must survive a restart.
    #[must_use]
    pub fn remember(&self) -> Remembered {
        let checks = self.checks.iter().map(|check| (check.spec().name.clone(), check.remember()));
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

    /// A contract that continues from the stored state of a contract with the same name. Checks are
    /// matched by name. The stored state of other checks is ignored.
    #[must_use]
    pub fn recall(
        spec: Arc<ContractSpec>,
        checks: impl IntoIterator<Item = CheckSpec>,
        mut remembered: Remembered,
    ) -> Self {
        let mut contract = Self::new(spec, checks);
        for check in &mut contract.checks {
            if let Some(known) = remembered.checks.get(&check.spec().name) {
                check.recall(known);
            }
        }
        contract.circumstances = remembered.clock.circumstances.take();
        // The check that confirmed the outage may have lost its state, or measure something else now.
        let may_have_confirmed = |index: usize| {
            let name = contract.checks.get(index).map(|check| &check.spec().name);
            let known = |known: &Circumstances| name == Some(&known.check) || name == known.confirmed_by.as_ref();
            contract.circumstances.as_ref().is_none_or(known)
        };
        contract.clock.resume(&contract.checks, remembered.clock.running, remembered.clock.last, may_have_confirmed);
        for RecoveryCount { met, mode, count } in &mut contract.recoveries {
            *count = *remembered.clock.count(*met, *mode);
        }
        contract
    }

    /// Judges an objective at `now`. None if the contract does not have it.
    #[must_use]
    pub fn judge(&self, objective: Objective, now: Timestamp) -> Option<Judgement> {
        let target = self.spec.target(objective)?;
        match objective {
            Objective::Rto => Some(self.judge_rto(target, now)),
            Objective::Rpo => self.judge_rpo(target, now),
        }
    }

    fn judge_rto(&self, target: Target, now: Timestamp) -> Judgement {
        let (outage, last) = (self.outage(now), self.clock.last_recovery());
        let fresh = self.feeding(Objective::Rto).all(|check| check.health_is_fresh(now));
        let standing = status::standing(last, target.limit, self.spec.drill_every, now);
        // The first failures after a gap start no clock yet, but the outage may be as old as the gap. What is not proven anyway
        // has a better reason.
        let suspected = self.feeding(Objective::Rto).filter_map(|check| check.watch().may_have_failed(now));
        let suspected = || suspected.reduce(Interval::max).filter(|_| standing == Basis::LastRecoveryMet);
        Judgement {
            objective: Objective::Rto,
            basis: status::rto(outage.or_else(suspected), fresh, standing, target),
            target: target.limit,
            figure: outage.or_else(|| last.map(Recovery::took)),
            // `None` sorts first: missing evidence counts as the oldest.
            evidence: self.feeding(Objective::Rto).map(|check| check.watch().evidence()).min().flatten(),
        }
    }

    /// The length of the running outage at `now`. None while no clock runs.
    ///
    /// The lower end reaches to the last instant at which a check is known to fail. That is `now`
    /// until its next look is due: later, the component may have recovered.
    #[must_use]
    pub fn outage(&self, now: Timestamp) -> Option<Interval> {
        let outage: &Outage = self.clock.running()?;
        let failing = self.feeding(Objective::Rto).filter_map(|check| check.watch().known_to_fail(now));
        Some(outage.lasted(failing.max().unwrap_or(outage.trigger), now))
    }

    /// Each check is judged by itself. The contract has the worst status and the oldest recovery
    /// point.
    fn judge_rpo(&self, target: Target, now: Timestamp) -> Option<Judgement> {
        let judged = self.feeding(Objective::Rpo).map(|check| {
            let exposure = check.exposure(now);
            Judgement {
                objective: Objective::Rpo,
                basis: status::rpo(exposure, check.copy_lost(now) == Some(true), target),
                target: target.limit,
                figure: Some(exposure),
                evidence: check.point().evidence(),
            }
        });
        judged.reduce(|a, b| {
            let figure = a.figure.zip(b.figure).map(|(a, b)| a.max(b));
            let evidence = a.evidence.min(b.evidence);
            let worst = if b.status() > a.status() { b } else { a };
            Judgement { figure, evidence, ..worst }
        })
    }

    /// The checks that feed an objective.
    fn feeding(&self, objective: Objective) -> impl Iterator<Item = &CheckState> {
        self.checks.iter().filter(move |check| check.spec().feeds.has(objective))
    }

    /// Whether a check that feeds the RTO has fresh evidence of a failure. The clock may not have
    /// started yet.
    #[must_use]
    pub fn fails(&self, now: Timestamp) -> bool {
        self.feeding(Objective::Rto).any(|check| check.healthy(now) == Some(false))
    }

    /// Whether the component as a whole works. It works if every check says so. It is down if its
    /// recovery clock runs and a check sees it fail. None if neither is known.
    #[must_use]
    pub fn works(&self, now: Timestamp) -> Option<bool> {
        let mut health = self.feeding(Objective::Rto).map(|check| check.healthy(now)).peekable();
        health.peek()?;
        if self.clock.running().is_some() {
            health.any(|health| health == Some(false)).then_some(false)
        } else {
            health.all(|health| health == Some(true)).then_some(true)
        }
    }

    /// The current interval of a check of this contract.
    #[must_use]
    pub fn interval(&self, check: &CheckSpec) -> Duration {
        if self.clock.running().is_some() { check.interval_when_down.min(check.interval) } else { check.interval }
    }
}
