//! Drills: planned recoveries, checks on a schedule, and reviews by people.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::incident::identifier;
use super::interval::Interval;
use super::outage::{Mode, Recovery};
use super::people::{Refusal, Review, Stamp};
use super::schedule::Schedule;
use super::time::Timestamp;

/// What a drill is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DrillKind {
    /// The exporter itself verifies on schedule that checks are well.
    Check,
    /// Something is broken on purpose, and the recovery is measured.
    Recovery,
    /// A person confirms that something was reviewed.
    Review,
}

impl DrillKind {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Recovery => "recovery",
            Self::Review => "review",
        }
    }
}

/// A drill that is to be done regularly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillSpec {
    /// The name, unique among drills.
    pub name: String,
    /// What it is.
    pub kind: DrillKind,
    /// How often it is due.
    pub every: Schedule,
    /// The contracts that it proves or reviews.
    pub contracts: Vec<String>,
    /// The checks that it verifies, as contract and check. Empty: all checks of its contracts.
    pub checks: Vec<(String, String)>,
    /// How long it may last. After this time it is aborted, so that a forgotten drill does not mark
    /// a real outage as planned.
    pub expires_after: Duration,
    /// What is done.
    pub description: Option<String>,
}

/// What people say when they start a drill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Announcement {
    /// Where it takes place, such as `staging`.
    pub environment: String,
    /// Who takes part.
    pub participants: Vec<String>,
    /// What is broken, and how.
    pub plan: String,
    /// The data loss that is expected, in words.
    pub expected_loss: String,
}

/// How a drill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything met its target.
    Passed,
    /// Something missed its target.
    Failed,
    /// Not every recovery was measured, or the figures are uncertain. It does not count as done.
    Unproven,
    /// It was given up. It does not count as done.
    Aborted,
}

impl Outcome {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unproven => "unproven",
            Self::Aborted => "aborted",
        }
    }

    /// Whether a drill with this end was done, so that it is not due for a while.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self, Self::Passed | Self::Failed)
    }
}

/// A recovery that was measured. All times are wall-clock times, and durations are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measured {
    /// The contract.
    pub contract: String,
    /// Real or drill.
    pub mode: Mode,
    /// The first failure that was seen.
    pub first_failure: Timestamp,
    /// The start of the clock.
    pub trigger: Timestamp,
    /// The first healthy look that ended it.
    pub healthy: Timestamp,
    /// The shortest time that the recovery can have taken.
    pub least_seconds: f64,
    /// The longest. None if nobody knows when the outage began.
    pub most_seconds: Option<f64>,
    /// From first failure to health.
    pub downtime_seconds: f64,
    /// The target, if the contract has an RTO.
    pub target_seconds: Option<f64>,
    /// Whether the target was met. None if it is uncertain, or there is none.
    pub met: Option<bool>,
    /// The data at risk at the trigger, in seconds. None if it is not known.
    pub data_at_risk_seconds: Option<f64>,
    /// The least data that was known to be at risk then.
    pub known_at_risk_seconds: Option<f64>,
    /// The RPO, if the contract has one.
    pub rpo_seconds: Option<f64>,
}

impl Measured {
    /// A recovery of this contract. `wall` gives the wall-clock time of an instant.
    #[must_use]
    pub fn of(contract: &Contract, recovery: &Recovery, wall: impl Fn(Timestamp) -> Timestamp) -> Self {
        let (spec, Interval { least, most }) = (contract.spec(), recovery.took());
        let seconds = |duration: Duration| duration.as_secs_f64();
        Self {
            contract: spec.name.clone(),
            mode: recovery.outage.mode,
            first_failure: wall(recovery.outage.first_failure),
            trigger: wall(recovery.outage.trigger),
            healthy: wall(recovery.healthy),
            least_seconds: seconds(least),
            most_seconds: most.map(seconds),
            downtime_seconds: seconds(recovery.downtime()),
            target_seconds: spec.rto.map(seconds),
            met: spec.rto.and_then(|rto| recovery.met(rto)),
            data_at_risk_seconds: contract.circumstances().and_then(|known| known.data_at_risk).map(seconds),
            known_at_risk_seconds: contract.circumstances().and_then(|known| known.known_at_risk).map(seconds),
            rpo_seconds: spec.rpo.map(seconds),
        }
    }
}

/// The end of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Who ended it, and when.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// Why, or what was found.
    pub text: String,
}

/// A drill that was started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillRun {
    /// The name and the time of the start: unique for ever.
    pub id: String,
    /// The name of the drill.
    pub name: String,
    /// What it is.
    pub kind: DrillKind,
    /// The contracts that it proves or reviews.
    pub contracts: Vec<String>,
    /// Those of them that have an RTO: each must recover.
    pub must_recover: Vec<String>,
    /// Who started it, and when.
    pub started: Stamp,
    /// When it is aborted, if nobody ends it before.
    pub expires: Timestamp,
    /// What was announced.
    pub announcement: Announcement,
    /// Who said that the recovery is complete, and when.
    pub recovered: Option<Stamp>,
    /// The recoveries that were measured.
    pub recoveries: Vec<Measured>,
    /// How it ended. None while it goes on.
    pub ended: Option<Ended>,
    /// Notes, gaps, and the change of the contract.
    #[serde(default)]
    pub review: Review,
}

impl DrillSpec {
    /// The contracts that it proves or reviews, and those of the checks that it verifies.
    #[must_use]
    pub fn concerned(&self) -> Vec<String> {
        let mut concerned = self.contracts.clone();
        for (contract, _) in &self.checks {
            if !concerned.contains(contract) {
                concerned.push(contract.clone());
            }
        }
        concerned
    }

    /// Starts the drill. `with_rto` tells whether a contract has an RTO.
    #[must_use]
    pub fn start(&self, stamp: Stamp, announcement: Announcement, with_rto: impl Fn(&str) -> bool) -> DrillRun {
        let must_recover = match self.kind {
            DrillKind::Recovery => self.contracts.iter().filter(|name| with_rto(name)).cloned().collect(),
            DrillKind::Check | DrillKind::Review => Vec::new(),
        };
        DrillRun {
            id: identifier(&self.name, stamp.at),
            name: self.name.clone(),
            kind: self.kind,
            contracts: self.contracts.clone(),
            must_recover,
            expires: stamp.at.plus(self.expires_after),
            started: stamp,
            announcement,
            recovered: None,
            recoveries: Vec::new(),
            ended: None,
            review: Review::default(),
        }
    }
}

impl DrillRun {
    /// Whether it goes on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.ended.is_none()
    }

    /// Whether an outage of this contract that begins now is part of the drill.
    #[must_use]
    pub fn covers(&self, contract: &str) -> bool {
        self.is_open() && self.kind == DrillKind::Recovery && self.contracts.iter().any(|name| name == contract)
    }

    /// Takes in a recovery. Only those of its own contracts, in mode drill, belong to it.
    pub fn take(&mut self, recovery: &Measured) -> bool {
        let belongs = self.covers(&recovery.contract) && recovery.mode == Mode::Drill;
        if belongs {
            self.recoveries.push(recovery.clone());
        }
        belongs
    }

    /// Stamps that the recovery is complete, as people see it. The first stamp counts.
    ///
    /// # Errors
    /// The drill has ended, or it is none with a recovery.
    pub fn recovered(&mut self, stamp: Stamp) -> Result<bool, Refusal> {
        self.must_be_open()?;
        if self.kind != DrillKind::Recovery {
            return Err(Refusal::Invalid(format!("{} is a {}: nothing recovers in it", self.name, self.kind.label())));
        }
        let first = self.recovered.is_none();
        self.recovered.get_or_insert(stamp);
        Ok(first)
    }

    /// What the recoveries that were measured prove: each contract needs one, and the worst counts. A later
    /// recovery in time, such as the way back, does not undo one that missed its target.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let counts = |recovery: &&Measured| self.must_recover.contains(&recovery.contract);
        let met: Vec<Option<bool>> = self.recoveries.iter().filter(counts).map(|recovery| recovery.met).collect();
        let measured = |name: &String| self.recoveries.iter().any(|recovery| recovery.contract == *name);
        let missing = !self.must_recover.iter().all(measured);
        let nothing = self.kind == DrillKind::Recovery && met.is_empty();
        if met.contains(&Some(false)) {
            Outcome::Failed
        } else if nothing || missing || met.contains(&None) {
            Outcome::Unproven
        } else {
            Outcome::Passed
        }
    }

    /// Ends it. `running` names the contracts whose recovery clocks run.
    ///
    /// # Errors
    /// It has ended before, or a recovery is still being measured.
    pub fn finish(&mut self, stamp: Stamp, text: String, running: &[&str]) -> Result<Outcome, Refusal> {
        self.must_be_open()?;
        let runs: Vec<&str> = running.iter().copied().filter(|name| self.covers(name)).collect();
        if !runs.is_empty() {
            let message = format!("not recovered yet: {}; wait for the recovery, or abort the drill", runs.join(", "));
            return Err(Refusal::Conflict(message));
        }
        let outcome = self.outcome();
        self.ended = Some(Ended { outcome, stamp, text });
        Ok(outcome)
    }

    /// Gives it up.
    ///
    /// # Errors
    /// It has ended before.
    pub fn abort(&mut self, stamp: Stamp, text: String) -> Result<(), Refusal> {
        self.must_be_open()?;
        self.ended = Some(Ended { outcome: Outcome::Aborted, stamp, text });
        Ok(())
    }

    fn must_be_open(&self) -> Result<(), Refusal> {
        match &self.ended {
            None => Ok(()),
            Some(ended) => Err(Refusal::Conflict(format!("{} has ended: {}", self.id, ended.outcome.label()))),
        }
    }
}

/// Something that a drill of the kind `check` found wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub text: String,
    /// Whether it is proven. If not, it only could not be measured.
    pub proven: bool,
}

impl DrillSpec {
    /// The checks of this contract that a drill of the kind `check` verifies. Empty: all of them.
    /// None if it verifies nothing of this contract.
    #[must_use]
    pub fn concerns(&self, contract: &str) -> Option<Vec<&str>> {
        let named = self.checks.iter().filter(|(of, _)| of == contract);
        let named: Vec<&str> = named.map(|(_, check)| check.as_str()).collect();
        let by_contract = self.checks.is_empty() && self.contracts.iter().any(|name| name == contract);
        (by_contract || !named.is_empty()).then_some(named)
    }

    /// What a drill of the kind `check` finds wrong with its contracts, which are among these.
    pub fn verify<'a>(&self, contracts: impl Iterator<Item = &'a Contract>, now: Timestamp) -> Vec<Finding> {
        let concerned = contracts.filter_map(|contract| Some((contract, self.concerns(&contract.spec().name)?)));
        let mut concerned = concerned.peekable();
        if concerned.peek().is_none() {
            return vec![Finding { text: "there is nothing to verify".to_owned(), proven: false }];
        }
        concerned.flat_map(|(contract, only)| verify(contract, &only, now)).collect()
    }
}

/// What a drill of the kind `check` found wrong with the checks named `only`, or with all. Empty if
/// everything is proven to be well. What cannot be measured is not well.
#[must_use]
pub fn verify(contract: &Contract, only: &[&str], now: Timestamp) -> Vec<Finding> {
    let name = &contract.spec().name;
    let checks = contract.checks().iter().filter(|check| only.is_empty() || only.contains(&check.spec().name.as_str()));
    let mut checks = checks.peekable();
    let mut findings = Vec::new();
    if checks.peek().is_none() {
        findings.push(Finding { text: format!("{name}: there is nothing to verify"), proven: false });
    }
    for check in checks {
        let spec = check.spec();
        let mut found = |text: &str, proven| {
            findings.push(Finding { text: format!("{name}/{}: {text}", spec.name), proven });
        };
        match check.healthy(now) {
            Some(true) => {}
            Some(false) => found("fails", true),
            None => found("not measured", false),
        }
        if check.warns(now) == Some(true) {
            found("warns", true);
        } else if spec.warn_after.is_some() && check.warns(now).is_none() {
            found("nobody knows whether it warns", false);
        }
        let lost = check.copy_lost(now);
        if spec.feeds.rpo && lost != Some(false) {
            found("the copy is lost, or nobody knows", lost == Some(true));
        }
        if let Some(rpo) = contract.spec().rpo.filter(|_| spec.feeds.rpo)
            && check.exposure(now).may_reach(rpo)
        {
            found("the exposure is not proven to be below the RPO", check.exposure(now).certainly_reaches(rpo));
        }
    }
    findings
}
