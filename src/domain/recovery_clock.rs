//! Recovery clocks: from the trigger of an outage to the moment the component is healthy again.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::interval::Interval;
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

/// What is known of the time before a first failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    /// Somebody had looked shortly before: the failure began when it was first seen, to within an interval.
    #[default]
    Seen,
    /// Nobody had looked for longer than evidence stays fresh: it began at any time after this last healthy look.
    After(Timestamp),
    /// The component was never seen healthy: it may have failed for ever.
    Unknown,
}

impl Beginning {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        match self {
            Self::After(healthy) => Self::After(carry(healthy)),
            other => other,
        }
    }

    /// The earlier of two.
    fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::After(healthy), Self::Seen) | (Self::Seen, Self::After(healthy)) => Self::After(healthy),
            (Self::Seen, Self::Seen) => Self::Seen,
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
    /// What is known of the time before the first failure.
    #[serde(default)]
    pub beginning: Beginning,
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
        Self {
            first_failure: carry(self.first_failure),
            trigger: carry(self.trigger),
            mode: self.mode,
            beginning: self.beginning.carried(carry),
        }
    }

    /// How long the outage lasted, if it was last known to go on at `known` and can have gone on until `possible`.
    #[must_use]
    pub fn lasted(&self, known: Timestamp, possible: Timestamp) -> Interval {
        let most = match self.beginning {
            Beginning::Seen => Some(possible.since(self.trigger)),
            Beginning::After(healthy) => Some(possible.since(healthy.min(self.trigger))),
            Beginning::Unknown => None,
        };
        Interval::new(known.since(self.trigger), most)
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

    /// The two ends of the recovery time. They differ where nobody looked when the outage began, or when it ended.
    #[must_use]
    pub fn took(&self) -> Interval {
        self.outage.lasted(self.earliest, self.healthy)
    }

    /// Whether it took less than the target; none where nobody looked at the time that would tell.
    #[must_use]
    pub fn met(&self, rto: Duration) -> Option<bool> {
        let took = self.took();
        if !took.may_reach(rto) {
            Some(true)
        } else if took.certainly_reaches(rto) {
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
    last_success: Option<Timestamp>,
    /// What is known of the time before the first failure.
    beginning: Beginning,
    evidence: Option<Timestamp>,
    /// When it was last seen to be neither healthy nor failing, if nothing else was seen since.
    pending: Option<Timestamp>,
}

impl Runs {
    /// Whether a check that has not been seen healthy often enough keeps the clock of an outage running: not if it was seen
    /// since the trigger, lately, to be neither healthy nor failing, and never failed in this outage.
    fn holds_up(&self, outage: &Outage, freshness: Duration, at: Timestamp) -> bool {
        let failed = self.last_failure.is_some_and(|failure| failure >= outage.first_failure);
        let pending = self.pending.is_some_and(|seen| seen >= outage.trigger && at.since(seen) <= freshness);
        failed || !pending
    }
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
    /// been healthy often enough in a row; the recovery is dated at the first of these observations. A check that has not
    /// failed in the outage, and is seen to be [pending](Health::Pending), does not hold it up. `thresholds` has an entry
    /// for every check; a check that does not feed the RTO has none there, and moves nothing.
    pub fn observe(
        &mut self,
        check: usize,
        at: Timestamp,
        health: &Health,
        thresholds: &[Option<Thresholds>],
    ) -> Option<ClockEvent> {
        let runs = self.checks.get_mut(check)?;
        let own = thresholds.get(check)?.as_ref();
        // A check that looks for the first time in an outage saw nothing of it since the trigger.
        let before = runs.evidence.or(self.running.map(|outage| outage.trigger));
        let unseen_since = before.filter(|before| own.is_some_and(|own| at.since(*before) > own.freshness));
        let known = matches!(health, Health::Healthy | Health::Unhealthy(_));
        let unseen = runs.evidence.is_none() || unseen_since.is_some();
        if unseen_since.is_some() && known {
            // Nobody can say what happened meanwhile: what follows is the first of a new run.
            (runs.failures, runs.first_failure) = (0, None);
            (runs.successes, runs.first_success) = (0, None);
        }
        match health {
            Health::NoAnswer(_) => return None,
            Health::Pending(_) => runs.pending = Some(at),
            Health::Healthy => {
                runs.last_success = runs.last_success.max(Some(at));
                runs.successes = runs.successes.saturating_add(1);
                if runs.first_success.is_none() {
                    (runs.first_success, runs.unseen_since) = (Some(at), unseen_since);
                }
                (runs.failures, runs.first_failure) = (0, None);
            }
            Health::Unhealthy(_) => {
                runs.failures = runs.failures.saturating_add(1);
                if runs.first_failure.is_none() {
                    runs.first_failure = Some(at);
                    runs.beginning = match runs.last_success {
                        _ if !unseen => Beginning::Seen,
                        Some(healthy) => Beginning::After(healthy),
                        None => Beginning::Unknown,
                    };
                }
                runs.last_failure = runs.last_failure.max(Some(at));
                (runs.successes, runs.first_success) = (0, None);
            }
        }
        if known {
            (runs.evidence, runs.pending) = (runs.evidence.max(Some(at)), None);
        }
        let failures = runs.failures;
        let lasted = runs.first_failure.map_or(Duration::ZERO, |first| at.since(first));
        let own = own?;
        match self.running {
            None if known && failures >= own.failures_to_trigger && lasted >= own.hold => {
                let (first_failure, beginning) = self.earliest_failure(thresholds).unwrap_or((at, Beginning::Seen));
                let outage = Outage { first_failure, trigger: at, mode: Mode::Real, beginning };
                Some(ClockEvent::Started(self.start(outage)))
            }
            None => None,
            Some(outage) => self.stop(outage, thresholds, at).map(ClockEvent::Stopped),
        }
    }

    /// Starts the clock because a person says so. A clock that runs already keeps its first trigger.
    pub fn declare(&mut self, at: Timestamp, mode: Mode) -> Option<ClockEvent> {
        if self.running.is_some() {
            return None;
        }
        let outage = Outage { first_failure: at, trigger: at, mode, beginning: Beginning::Seen };
        Some(ClockEvent::Started(self.start(outage)))
    }

    /// Takes what is to be remembered of a check out.
    pub fn remember(&self, index: usize, check: &mut RememberedCheck) {
        let Some(runs) = self.checks.get(index) else { return };
        (check.failures, check.first_failure, check.last_failure) =
            (runs.failures, runs.first_failure, runs.last_failure);
        (check.successes, check.first_success) = (runs.successes, runs.first_success);
        (check.unseen_since, check.health_seen) = (runs.unseen_since, runs.evidence);
        (check.last_success, check.beginning) = (runs.last_success, runs.beginning);
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
            // Records of before this was kept tell of the last look, and whether it failed.
            last_success: check.last_success.or(check.health_seen.filter(|_| check.failures == 0)),
            beginning: check.beginning,
            evidence: check.health_seen,
            pending: None,
        };
    }

    /// Puts the clock back to where it was: one that ran goes on from its own trigger.
    pub fn resume(&mut self, running: Option<Outage>, last: Option<Recovery>) {
        (self.running, self.last) = (running, last);
    }

    /// The first failure of all checks that fail now, and the earliest that they can have begun to.
    fn earliest_failure(&self, thresholds: &[Option<Thresholds>]) -> Option<(Timestamp, Beginning)> {
        let feeding = self.checks.iter().zip(thresholds).filter(|(_, thresholds)| thresholds.is_some());
        let failing = feeding.filter_map(|(runs, _)| Some((runs.first_failure?, runs.beginning)));
        failing.reduce(|(a, a_began), (b, b_began)| (a.min(b), a_began.earlier(b_began)))
    }

    fn start(&mut self, outage: Outage) -> Outage {
        // What was healthy before the trigger says nothing about after it: health must be seen anew.
        for runs in &mut self.checks {
            (runs.successes, runs.first_success) = (0, None);
        }
        *self.running.insert(outage)
    }

    fn stop(&mut self, outage: Outage, thresholds: &[Option<Thresholds>], at: Timestamp) -> Option<Recovery> {
        let (mut healthy, mut earliest) = (outage.trigger, outage.trigger);
        let mut recovered = false;
        for (runs, thresholds) in self.checks.iter().zip(thresholds) {
            let Some(thresholds) = thresholds else { continue };
            if runs.successes < thresholds.successes_to_recover {
                if runs.holds_up(&outage, thresholds.freshness, at) {
                    return None;
                }
                continue;
            }
            let first_success = runs.first_success?;
            recovered = true;
            healthy = healthy.max(first_success);
            earliest = earliest.max(runs.unseen_since.unwrap_or(first_success));
        }
        if !recovered {
            return None;
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

    /// How the component was when the check with this index last told; none also while it is pending.
    #[must_use]
    pub fn is_healthy(&self, check: usize) -> Option<bool> {
        let runs = self.checks.get(check)?;
        runs.evidence.filter(|_| runs.pending.is_none()).map(|_| runs.failures == 0)
    }
}
