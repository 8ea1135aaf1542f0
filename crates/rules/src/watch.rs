//! What one check saw of its component, as a recovery clock needs it.

use std::time::Duration;

use super::interval::Interval;
use super::observation::Health;
use super::outage::{Beginning, Outage};
use super::remembered::RememberedCheck;
use super::time::Timestamp;

/// When a check starts the clock, and when it counts as recovered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// How many failures in a row start the clock.
    pub failures_to_trigger: u32,
    /// How long the failures must have lasted as well, counted from the first one.
    pub hold: Duration,
    /// How many healthy observations in a row count as recovered.
    pub successes_to_recover: u32,
    /// How long an observation counts as fresh. If the first healthy look comes later than this
    /// after the look before, health may have begun at any time in between.
    pub freshness: Duration,
    /// The longest time from one look to the next while a clock runs, if no look is late or without
    /// an answer. If the first healthy look comes later than this after the look before, the
    /// component can have recovered at any time in between.
    pub pace: Duration,
    /// The longest time from the start of one look to the start of the next while no clock runs, if
    /// no look is late or without an answer. If the first failed look starts later than this after
    /// the last healthy one, the failure can have begun at any time in between.
    pub rhythm: Duration,
}

/// One look at the health of a component.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// When it began.
    pub asked: Timestamp,
    /// The instant as of which the health counts.
    pub at: Timestamp,
    /// What it saw.
    pub health: &'a Health,
    /// When that was stated, if the look read an older statement of somebody else. None if it is of
    /// `at` itself.
    pub stated: Option<Timestamp>,
}

impl<'a> Look<'a> {
    /// A look that took no time.
    #[must_use]
    pub fn at(at: Timestamp, health: &'a Health) -> Self {
        Self { asked: at, at, health, stated: None }
    }
}

/// The streaks of equal observations of one check. *No answer* is not an observation. It breaks no
/// streak, unless there is nothing else for longer than evidence stays fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Runs {
    pub(super) failures: u32,
    pub(super) first_failure: Option<Timestamp>,
    pub(super) successes: u32,
    pub(super) first_success: Option<Timestamp>,
    /// The observation before the first success, if it is too old to show that this really was the
    /// first.
    pub(super) unseen_since: Option<Timestamp>,
    pub(super) last_failure: Option<Timestamp>,
    /// The last instant at which the component is known to have failed, if that is earlier than the
    /// last failed look: the look read an older statement of somebody else.
    pub(super) failed_until: Option<Timestamp>,
    /// When the failures in a row last became as many as start a clock.
    pub(super) last_streak: Option<Timestamp>,
    pub(super) last_success: Option<Timestamp>,
    /// When the look of the last success began.
    pub(super) success_asked: Option<Timestamp>,
    /// What is known about the time before the first failure.
    pub(super) beginning: Beginning,
    pub(super) evidence: Option<Timestamp>,
    /// When the component was last seen pending, if nothing else was seen since.
    pub(super) pending: Option<Timestamp>,
}

impl Runs {
    /// Whether a check without enough healthy observations keeps the clock running. It does not if
    /// it never failed in this outage, and was recently seen pending since the trigger.
    pub(super) fn holds_up(&self, outage: &Outage, freshness: Duration, at: Timestamp) -> bool {
        let pending = self.pending.is_some_and(|seen| seen >= outage.trigger && at.since(seen) <= freshness);
        self.failed_in(outage) || !pending
    }

    /// Whether the check shows that the component failed all the time until `at`, where a check sees
    /// it fail again. It does if it failed, has not recovered since, and looked `within` this time. A
    /// person who declared the outage is believed until a check looks.
    pub(super) fn bridges(&self, own: &Thresholds, outage: &Outage, within: Duration, at: Timestamp) -> bool {
        let Some(since) = outage.seen_since() else { return false };
        let declared = Some(outage.trigger).filter(|_| outage.declared && outage.interruption.is_none());
        let looked = self.evidence.max(declared).is_some_and(|last| at.since(last) <= within);
        let failed = declared.is_some() || self.last_failure.is_some_and(|failure| failure >= since);
        let recovers = self.successes < own.successes_to_recover;
        let recovers = recovers && (self.first_success.is_none() || self.unseen_since.is_none());
        looked && (self.failures > 0 || failed && recovers)
    }

    /// Whether health as of this instant is older than what is known of a failure. What a cache tells, what
    /// checks share or what a leader without a majority says can be: it ends no outage and no streak of
    /// failures.
    fn is_outdated(&self, at: Timestamp, running: Option<Outage>) -> bool {
        self.last_failure.is_some_and(|failure| at < failure) || running.is_some_and(|outage| at < outage.trigger)
    }

    /// The last instant at which the component is known to have failed. None if it never did.
    pub(super) fn known_failure(&self) -> Option<Timestamp> {
        self.failed_until.or(self.last_failure)
    }

    /// Notes that the failures in a row are as many as start a clock.
    pub(super) fn is_streak(&mut self, at: Timestamp) {
        if self.last_streak.is_none_or(|last| self.first_failure.is_some_and(|first| last < first)) {
            self.last_streak = Some(at);
        }
    }

    /// Whether the check saw as many failures in a row as start a clock in this outage. One failed look
    /// is no witness of what others saw.
    pub(super) fn confirms(&self, outage: &Outage) -> bool {
        self.last_streak.is_some_and(|streak| streak >= outage.first_failure)
    }

    /// Whether the check saw the component fail in this outage.
    pub(super) fn failed_in(&self, outage: &Outage) -> bool {
        self.last_failure.is_some_and(|failure| failure >= outage.first_failure)
    }
}

/// One check, as seen by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// When the check starts and stops the clock. None for a check that does not feed the RTO: it
    /// has no effect.
    pub(super) thresholds: Option<Thresholds>,
    pub(super) runs: Runs,
}

/// Something with a watch. A clock moves by the watches of all checks, and each watch is stored
/// with its check.
pub trait Watching {
    /// The watch.
    fn watch(&self) -> &Watch;

    /// The watch, to change it.
    fn watch_mut(&mut self) -> &mut Watch;
}

impl Watching for Watch {
    fn watch(&self) -> &Watch {
        self
    }

    fn watch_mut(&mut self) -> &mut Watch {
        self
    }
}

impl Watch {
    /// A check that has not run yet. A check that does not feed the RTO has no thresholds and no
    /// effect.
    #[must_use]
    pub fn new(thresholds: Option<Thresholds>) -> Self {
        Self { thresholds, runs: Runs::default() }
    }

    /// Takes in a look at the component.
    pub(super) fn take(&mut self, look: Look<'_>, running: Option<Outage>) {
        let Look { asked, at, health, stated } = look;
        let Self { thresholds: own, runs } = self;
        // What fails may have recovered right after it was last said to fail.
        let failed_until = runs.failed_until.filter(|_| runs.failures > 0);
        let unseen_since = match runs.evidence {
            Some(before) => Some(before)
                .filter(|before| own.is_some_and(|own| at.since(*before) > own.freshness))
                .map(|before| failed_until.unwrap_or(before)),
            // Nobody knows the health since the trigger.
            None => running.map(|outage| outage.trigger),
        };
        let known = matches!(health, Health::Healthy | Health::Unhealthy(_));
        let unseen = runs.evidence.is_none() || unseen_since.is_some();
        // A streak of successes that breaks off in a gap may have ended the outage, when it began.
        let well_since = runs.first_success.map(|first| runs.unseen_since.unwrap_or(first));
        if unseen_since.is_some() && known {
            // Nobody knows what happened in between, so a new streak begins.
            (runs.failures, runs.first_failure) = (0, None);
            (runs.successes, runs.first_success) = (0, None);
        }
        match health {
            Health::NoAnswer(_) => {}
            Health::Pending(_) => runs.pending = Some(at),
            Health::Healthy if runs.is_outdated(stated.map_or(at, |stated| stated.min(at)), running) => {}
            Health::Healthy => {
                (runs.last_success, runs.success_asked) =
                    (runs.last_success.max(Some(at)), runs.success_asked.max(Some(asked)));
                runs.successes = runs.successes.saturating_add(1);
                if runs.first_success.is_none() {
                    // While a clock runs, looks are close together: a gap that is none otherwise
                    // leaves open when the component recovered.
                    let is_late = |before: &Timestamp| own.is_some_and(|own| at.since(*before) > own.pace);
                    let seen = failed_until.or(runs.evidence);
                    let late = seen.filter(|before| running.is_some() && is_late(before));
                    (runs.first_success, runs.unseen_since) = (Some(at), well_since.or(unseen_since).or(late));
                }
                (runs.failures, runs.first_failure) = (0, None);
            }
            Health::Unhealthy(_) => {
                runs.failures = runs.failures.saturating_add(1);
                if runs.first_failure.is_none() {
                    runs.first_failure = Some(at);
                    // Older records do not tell when the look began. An answer that checks share may be
                    // older than the look.
                    let began = |healthy| runs.success_asked.unwrap_or(healthy);
                    let skipped = |healthy| own.is_some_and(|own| asked.since(began(healthy)) > own.rhythm);
                    runs.beginning = match runs.last_success {
                        Some(healthy) if unseen || skipped(healthy) => Beginning::After(began(healthy).min(healthy)),
                        None if unseen => Beginning::Unknown,
                        _ => Beginning::Seen,
                    };
                }
                let failed = runs.known_failure().max(Some(stated.unwrap_or(at).min(at)));
                runs.last_failure = runs.last_failure.max(Some(at));
                runs.failed_until = failed.filter(|_| failed != runs.last_failure);
                (runs.successes, runs.first_success) = (0, None);
            }
        }
        if known {
            (runs.evidence, runs.pending) = (runs.evidence.max(Some(at)), None);
        }
    }

    /// Copies the state of the check into its record.
    pub fn remember(&self, check: &mut RememberedCheck) {
        let runs = &self.runs;
        (check.failures, check.first_failure, check.last_failure) =
            (runs.failures, runs.first_failure, runs.last_failure);
        (check.failed_until, check.last_streak) = (runs.failed_until, runs.last_streak);
        (check.successes, check.first_success) = (runs.successes, runs.first_success);
        (check.unseen_since, check.health_seen) = (runs.unseen_since, runs.evidence);
        (check.last_success, check.success_asked) = (runs.last_success, runs.success_asked);
        (check.beginning, check.pending) = (runs.beginning, runs.pending);
    }

    /// Restores the state of the check from its record.
    pub fn recall(&mut self, check: &RememberedCheck) {
        self.runs = Runs {
            failures: check.failures,
            first_failure: check.first_failure,
            successes: check.successes,
            first_success: check.first_success,
            unseen_since: check.unseen_since,
            last_failure: check.last_failure,
            failed_until: check.failed_until,
            last_streak: check.last_streak,
            // Older records do not have this field. They have the last look, and whether it failed.
            last_success: check.last_success.or(check.health_seen.filter(|_| check.failures == 0)),
            success_asked: check.success_asked,
            beginning: check.beginning,
            evidence: check.health_seen,
            pending: check.pending,
        };
    }

    /// The last instant until which the component is known to have failed while a clock runs: `now`
    /// until the next look is due, and then the last failed look, or the statement that it read. None
    /// if it never failed.
    #[must_use]
    pub fn known_to_fail(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.runs.known_failure()?;
        let is_due = self.thresholds.is_none_or(|own| now.since(last) > own.pace);
        Some(if self.is_healthy() == Some(false) && !is_due { now.max(last) } else { last })
    }

    /// When the check last learned the health of the component.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.runs.evidence
    }

    /// How often in a row it has failed.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.runs.failures
    }

    /// The longest that the component may have been down at `now`, if it was seen to fail for the first time after a time in
    /// which nobody looked. None if it does not fail, or if somebody saw it begin.
    pub(super) fn may_have_failed(&self, now: Timestamp) -> Option<Interval> {
        self.runs.first_failure?;
        match self.runs.beginning {
            Beginning::Seen => None,
            Beginning::After(healthy) => Some(Interval::new(Duration::ZERO, Some(now.since(healthy)))),
            Beginning::Unknown => Some(Interval::UNKNOWN),
        }
    }

    /// Since when the check has seen the component fail. None if it does not fail.
    #[must_use]
    pub fn first_failure(&self) -> Option<Timestamp> {
        self.runs.first_failure
    }

    /// The last health that the check saw. None also while the component is pending.
    #[must_use]
    pub fn is_healthy(&self) -> Option<bool> {
        self.runs.evidence.filter(|_| self.runs.pending.is_none()).map(|_| self.runs.failures == 0)
    }
}
