//! One check of a contract: how it is run and judged, and its state.

use std::time::Duration;

use super::contract::Objective;
use super::interval::Interval;
use super::kind::KindInfo;
use super::observation::Observation;
use super::recovery_clock::{Thresholds, Watch, Watching};
use super::recovery_point::RecoveryPoint;
use super::remembered::RememberedCheck;
use super::status;
use super::time::Timestamp;

/// How late a busy machine may start a look.
const LATE: Duration = Duration::from_secs(1);

/// The objectives that a check can feed, or feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feeds {
    /// Its health drives the recovery clock.
    pub rto: bool,
    /// Its proofs move the recovery point.
    pub rpo: bool,
}

impl Feeds {
    /// Whether this objective is fed.
    #[must_use]
    pub const fn has(self, objective: Objective) -> bool {
        match objective {
            Objective::Rto => self.rto,
            Objective::Rpo => self.rpo,
        }
    }
}

/// How one check of a contract is run and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// The name, unique among the contract's checks.
    pub name: String,
    /// The kind of the check.
    pub kind: &'static KindInfo,
    /// The time from the start of one run to the start of the next.
    pub interval: Duration,
    /// The interval while the contract's recovery clock runs.
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
    /// How long evidence counts as fresh. One run may be late and the next may fail. That alone is
    /// no reason to distrust the evidence before them.
    #[must_use]
    pub fn freshness(&self) -> Duration {
        self.interval.saturating_mul(3).saturating_add(self.timeout)
    }

    /// How long after the start of one look the next starts at the latest, if it is not late. A busy
    /// machine may start it by a second or a tenth of the interval later.
    #[must_use]
    pub fn rhythm(&self) -> Duration {
        self.interval.saturating_add(LATE.max(self.interval / 10))
    }

    fn thresholds(&self) -> Option<Thresholds> {
        self.feeds.rto.then_some(Thresholds {
            failures_to_trigger: self.failures_to_trigger,
            hold: Duration::ZERO,
            successes_to_recover: self.successes_to_recover,
            freshness: self.freshness(),
            pace: self.interval_when_down.min(self.interval).saturating_add(self.timeout),
            rhythm: self.rhythm(),
        })
    }
}

/// One check of a contract, with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckState {
    spec: CheckSpec,
    watch: Watch,
    point: RecoveryPoint,
    /// The last look for something to warn about, and whether it found anything.
    warned: Option<(Timestamp, bool)>,
}

impl Watching for CheckState {
    fn watch(&self) -> &Watch {
        &self.watch
    }

    fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }
}

impl CheckState {
    /// A check that has not run yet.
    #[must_use]
    pub fn new(spec: CheckSpec) -> Self {
        Self { watch: Watch::new(spec.thresholds()), point: RecoveryPoint::default(), warned: None, spec }
    }

    /// How it is run and judged.
    #[must_use]
    pub fn spec(&self) -> &CheckSpec {
        &self.spec
    }

    /// The recovery point of the copy that the check watches.
    #[must_use]
    pub fn point(&self) -> &RecoveryPoint {
        &self.point
    }

    /// Takes in the observation of a run that ended `at`, except for what moves the contract's
    /// clock.
    pub(super) fn observe(&mut self, at: Timestamp, observation: &Observation) {
        self.point.observe(at, self.spec.freshness(), observation);
        let warned = observation.warnings.as_ref().map(|warnings| (at, !warnings.is_empty()));
        self.warned = warned.or(self.warned);
    }

    /// The state that must survive a restart.
    pub(super) fn remember(&self) -> RememberedCheck {
        let mut check = RememberedCheck::default();
        self.watch.remember(&mut check);
        self.point.remember(&mut check);
        check.warning_seen = self.warned.map(|(at, _)| at);
        check.warns = self.warned.is_some_and(|(_, warns)| warns);
        check
    }

    /// Restores the state of the check from its record.
    pub(super) fn recall(&mut self, check: &RememberedCheck) {
        self.watch.recall(check);
        self.point = RecoveryPoint::recall(check);
        self.warned = check.warning_seen.map(|at| (at, check.warns));
    }

    /// The exposure at `now` of the copy that the check watches.
    #[must_use]
    pub fn exposure(&self, now: Timestamp) -> Interval {
        self.point.exposure(self.spec.freshness(), now)
    }

    /// Whether there is a warning: the sync lag is above `warn_after`, or the check itself found
    /// something. None if the check looks at neither, or if nothing is known.
    #[must_use]
    pub fn warns(&self, now: Timestamp) -> Option<bool> {
        let lags = self.spec.warn_after.zip(self.exposure(now).most).map(|(limit, exposure)| exposure > limit);
        let fresh = |at: &Timestamp| status::is_fresh(Some(*at), self.spec.freshness(), now);
        let warned = self.warned.filter(|(at, _)| fresh(at)).map(|(_, warns)| warns);
        lags.into_iter().chain(warned).reduce(|a, b| a || b)
    }

    /// Whether the copy is proven lost. None without fresh evidence.
    #[must_use]
    pub fn copy_lost(&self, now: Timestamp) -> Option<bool> {
        status::is_fresh(self.point.evidence(), self.spec.freshness(), now).then_some(self.point.is_lost())
    }

    /// Whether the evidence about the component's health is fresh.
    pub(super) fn health_is_fresh(&self, now: Timestamp) -> bool {
        status::is_fresh(self.watch.evidence(), self.spec.freshness(), now)
    }

    /// Whether the component is healthy. None without fresh evidence.
    #[must_use]
    pub fn healthy(&self, now: Timestamp) -> Option<bool> {
        self.watch.is_healthy().filter(|_| self.health_is_fresh(now))
    }

    /// How often in a row the component failed.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.watch.consecutive_failures()
    }

    /// When the check last learned something about everything that it feeds. None before that.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        let health = self.spec.feeds.rto.then(|| self.watch.evidence());
        let copy = self.spec.feeds.rpo.then(|| self.point.evidence());
        // `None` sorts first: missing evidence counts as the oldest.
        health.into_iter().chain(copy).min().flatten()
    }
}
