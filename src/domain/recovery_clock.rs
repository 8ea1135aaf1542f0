//! Recovery clocks: from the trigger of an outage to the moment the component is healthy again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::Health;
use super::remembered::RememberedCheck;
use super::time::Timestamp;

/// When a check starts the clock, and when it counts as recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// How many failures in a row start the clock.
    pub failures_to_trigger: u32,
    /// How long they must have lasted as well, from the first.
    pub hold: Duration,
    /// How many healthy observations in a row count as recovered.
    pub successes_to_recover: u32,
    /// How long what was observed counts as fresh: health that is first seen longer after the observation before may
    /// have begun at any time in between.
    pub freshness: Duration,
}

/// Whether an outage was real or planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Nobody planned it.
    Real,
    /// A drill.
    Drill,
}

impl Mode {
    /// The value of the `mode` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Drill => "drill",
        }
    }
}

/// An outage whose clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The observation that completed the streak, or the declaration of an incident: the clock's start.
    pub trigger: Timestamp,
    /// Real or drill.
    pub mode: Mode,
}

/// An outage that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// What is over.
    pub outage: Outage,
    /// The first of the healthy observations that ended it.
    pub healthy: Timestamp,
    /// The earliest that it can have ended: earlier than `healthy` only where nobody could look for a while.
    pub earliest: Timestamp,
}

impl Outage {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { first_failure: carry(self.first_failure), trigger: carry(self.trigger), mode: self.mode }
    }
}

impl Recovery {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { outage: self.outage.carried(&carry), healthy: carry(self.healthy), earliest: carry(self.earliest) }
    }

    /// From the trigger to health: what an RTO promises.
    #[must_use]
    pub fn recovery_time(&self) -> Duration {
        self.healthy.since(self.outage.trigger)
    }

    /// Whether it took less than the target; none where nobody looked at the time that would tell.
    #[must_use]
    pub fn met(&self, rto: Duration) -> Option<bool> {
        if self.recovery_time() < rto {
            Some(true)
        } else if self.earliest.since(self.outage.trigger) >= rto {
            Some(false)
        } else {
            None
        }
    }

    /// From the first failure to health: what users felt.
    #[must_use]
    pub fn downtime(&self) -> Duration {
        self.healthy.since(self.outage.first_failure)
    }
}

/// What an observation did to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// It started.
    Started(Outage),
    /// It stopped.
    Stopped(Recovery),
}

/// The unbroken runs of equal observations of one check. *No answer* is not an observation and breaks no run, unless there is
/// nothing else for longer than evidence stays fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Runs {
    failures: u32,
    first_failure: Option<Timestamp>,
    successes: u32,
    first_success: Option<Timestamp>,
    /// The observation before the first success, where that lies too far back to say that it was the first.
    unseen_since: Option<Timestamp>,
    last_failure: Option<Timestamp>,
    evidence: Option<Timestamp>,
}

/// The clock of one contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryClock {
    checks: Vec<Runs>,
    running: Option<Outage>,
    last: Option<Recovery>,
}

impl RecoveryClock {
    /// A clock for a contract with this many checks.
    #[must_use]
    pub fn new(checks: usize) -> Self {
        Self { checks: vec![Runs::default(); checks], running: None, last: None }
    }

    /// Takes in how the component was `at` an instant, as the check with this index saw it.
    ///
    /// The clock starts when a check has failed often enough in a row. It stops when every check has, since the trigger,
    /// been healthy often enough in a row; the recovery is dated at the first of these observations. `thresholds` has an
    /// entry for every check; a check that does not feed the RTO has none there, and moves nothing.
    pub fn observe(
        &mut self,
        check: usize,
        at: Timestamp,
        health: &Health,
        thresholds: &[Option<Thresholds>],
    ) -> Option<ClockEvent> {
        let runs = self.checks.get_mut(check)?;
        let own = thresholds.get(check)?.as_ref();
        let unseen_since = runs.evidence.filter(|before| own.is_some_and(|own| at.since(*before) > own.freshness));
        if unseen_since.is_some() && !matches!(health, Health::NoAnswer(_)) {
            // Nobody can say what happened meanwhile: what follows is the first of a new run.
            (runs.failures, runs.first_failure) = (0, None);
            (runs.successes, runs.first_success) = (0, None);
        }
        match health {
            Health::NoAnswer(_) => return None,
            Health::Healthy => {
                runs.successes = runs.successes.saturating_add(1);
                if runs.first_success.is_none() {
                    (runs.first_success, runs.unseen_since) = (Some(at), unseen_since);
                }
                (runs.failures, runs.first_failure) = (0, None);
            }
            Health::Unhealthy(_) => {
                runs.failures = runs.failures.saturating_add(1);
                runs.first_failure.get_or_insert(at);
                runs.last_failure = runs.last_failure.max(Some(at));
                (runs.successes, runs.first_success) = (0, None);
            }
        }
        runs.evidence = runs.evidence.max(Some(at));
        let failures = runs.failures;
        let lasted = runs.first_failure.map_or(Duration::ZERO, |first| at.since(first));
        let own = own?;
        match self.running {
            None if failures >= own.failures_to_trigger && lasted >= own.hold => {
                let first_failure = self.earliest_failure(thresholds).unwrap_or(at);
                Some(ClockEvent::Started(self.start(first_failure, at, Mode::Real)))
            }
            None => None,
            Some(outage) => self.stop(outage, thresholds).map(ClockEvent::Stopped),
        }
    }

    /// Starts the clock because a person says so. A clock that runs already keeps its first trigger.
    pub fn declare(&mut self, at: Timestamp, mode: Mode) -> Option<ClockEvent> {
        if self.running.is_some() {
            return None;
        }
        Some(ClockEvent::Started(self.start(at, at, mode)))
    }

    /// Takes what is to be remembered of a check out.
    pub fn remember(&self, index: usize, check: &mut RememberedCheck) {
        let Some(runs) = self.checks.get(index) else { return };
        (check.failures, check.first_failure, check.last_failure) =
            (runs.failures, runs.first_failure, runs.last_failure);
        (check.successes, check.first_success) = (runs.successes, runs.first_success);
        (check.unseen_since, check.health_seen) = (runs.unseen_since, runs.evidence);
    }

    /// Puts what was remembered of a check back.
    pub fn recall(&mut self, index: usize, check: &RememberedCheck) {
        let Some(runs) = self.checks.get_mut(index) else { return };
        *runs = Runs {
            failures: check.failures,
            first_failure: check.first_failure,
            successes: check.successes,
            first_success: check.first_success,
            unseen_since: check.unseen_since,
            last_failure: check.last_failure,
            evidence: check.health_seen,
        };
    }

    /// Puts the clock back to where it was: one that ran goes on from its own trigger.
    pub fn resume(&mut self, running: Option<Outage>, last: Option<Recovery>) {
        (self.running, self.last) = (running, last);
    }

    fn earliest_failure(&self, thresholds: &[Option<Thresholds>]) -> Option<Timestamp> {
        let feeding = self.checks.iter().zip(thresholds).filter(|(_, thresholds)| thresholds.is_some());
        feeding.filter_map(|(runs, _)| runs.first_failure).min()
    }

    fn start(&mut self, first_failure: Timestamp, trigger: Timestamp, mode: Mode) -> Outage {
        // What was healthy before the trigger says nothing about after it: health must be seen anew.
        for runs in &mut self.checks {
            (runs.successes, runs.first_success) = (0, None);
        }
        *self.running.insert(Outage { first_failure, trigger, mode })
    }

    fn stop(&mut self, outage: Outage, thresholds: &[Option<Thresholds>]) -> Option<Recovery> {
        let (mut healthy, mut earliest) = (outage.trigger, outage.trigger);
        for (runs, thresholds) in self.checks.iter().zip(thresholds) {
            let Some(thresholds) = thresholds else { continue };
            if runs.successes < thresholds.successes_to_recover {
                return None;
            }
            let first_success = runs.first_success?;
            healthy = healthy.max(first_success);
            earliest = earliest.max(runs.unseen_since.unwrap_or(first_success));
        }
        self.running = None;
        self.last = Some(Recovery { outage, healthy, earliest });
        self.last
    }

    /// The outage whose clock runs.
    #[must_use]
    pub fn running(&self) -> Option<&Outage> {
        self.running.as_ref()
    }

    /// The last outage that is over.
    #[must_use]
    pub fn last_recovery(&self) -> Option<&Recovery> {
        self.last.as_ref()
    }

    /// When the check with this index last told how the component is.
    #[must_use]
    pub fn evidence(&self, check: usize) -> Option<Timestamp> {
        self.checks.get(check)?.evidence
    }

    /// When the check with this index last saw the component fail.
    #[must_use]
    pub fn last_failure(&self, check: usize) -> Option<Timestamp> {
        self.checks.get(check)?.last_failure
    }

    /// How often in a row the check with this index has failed.
    #[must_use]
    pub fn consecutive_failures(&self, check: usize) -> u32 {
        self.checks.get(check).map_or(0, |runs| runs.failures)
    }

    /// Since when the check with this index has seen the component fail; none while it does not.
    #[must_use]
    pub fn first_failure(&self, check: usize) -> Option<Timestamp> {
        self.checks.get(check)?.first_failure
    }

    /// How the component was when the check with this index last told.
    #[must_use]
    pub fn is_healthy(&self, check: usize) -> Option<bool> {
        let runs = self.checks.get(check)?;
        runs.evidence.map(|_| runs.failures == 0)
    }
}
