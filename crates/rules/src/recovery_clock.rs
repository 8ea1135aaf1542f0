//! Recovery clocks: they run from the trigger of an outage until the component is healthy again.

use std::time::Duration;

use super::observation::Health;
use super::outage::{Beginning, Mode, Outage, Recovery};
use super::remembered::RememberedCheck;
use super::status;
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
}

/// What an observation did to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// It started.
    Started(Outage),
    /// It stopped.
    Stopped(Recovery),
}

/// The streaks of equal observations of one check. *No answer* is not an observation. It breaks no
/// streak, unless there is nothing else for longer than evidence stays fresh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Runs {
    failures: u32,
    first_failure: Option<Timestamp>,
    successes: u32,
    first_success: Option<Timestamp>,
    /// The observation before the first success, if it is too old to show that this really was the
    /// first.
    unseen_since: Option<Timestamp>,
    last_failure: Option<Timestamp>,
    last_success: Option<Timestamp>,
    /// What is known about the time before the first failure.
    beginning: Beginning,
    evidence: Option<Timestamp>,
    /// When the component was last seen pending, if nothing else was seen since.
    pending: Option<Timestamp>,
}

impl Runs {
    /// Whether a check without enough healthy observations keeps the clock running. It does not if
    /// it never failed in this outage, and was recently seen pending since the trigger.
    fn holds_up(&self, outage: &Outage, freshness: Duration, at: Timestamp) -> bool {
        let pending = self.pending.is_some_and(|seen| seen >= outage.trigger && at.since(seen) <= freshness);
        self.failed_in(outage) || !pending
    }

    /// Whether the check saw the component fail in this outage.
    fn failed_in(&self, outage: &Outage) -> bool {
        self.last_failure.is_some_and(|failure| failure >= outage.first_failure)
    }
}

/// One check, as seen by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// When the check starts and stops the clock. None for a check that does not feed the RTO: it
    /// has no effect.
    thresholds: Option<Thresholds>,
    runs: Runs,
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

    /// Takes in the health of the component, as the check saw it `at` this instant.
    fn take(&mut self, at: Timestamp, health: &Health, running: Option<Outage>) {
        let Self { thresholds: own, runs } = self;
        let unseen_since = match runs.evidence {
            Some(before) => Some(before).filter(|before| own.is_some_and(|own| at.since(*before) > own.freshness)),
            // Nobody knows the health since the trigger.
            None => running.map(|outage| outage.trigger),
        };
        let known = matches!(health, Health::Healthy | Health::Unhealthy(_));
        let unseen = runs.evidence.is_none() || unseen_since.is_some();
        if unseen_since.is_some() && known {
            // Nobody knows what happened in between, so a new streak begins.
            (runs.failures, runs.first_failure) = (0, None);
            (runs.successes, runs.first_success) = (0, None);
        }
        match health {
            Health::NoAnswer(_) => {}
            Health::Pending(_) => runs.pending = Some(at),
            Health::Healthy => {
                runs.last_success = runs.last_success.max(Some(at));
                runs.successes = runs.successes.saturating_add(1);
                if runs.first_success.is_none() {
                    // While a clock runs, looks are close together: a gap that is none otherwise
                    // leaves open when the component recovered.
                    let is_late = |before: &Timestamp| own.is_some_and(|own| at.since(*before) > own.pace);
                    let late = runs.evidence.filter(|before| running.is_some() && is_late(before));
                    (runs.first_success, runs.unseen_since) = (Some(at), unseen_since.or(late));
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
    }

    /// Copies the state of the check into its record.
    pub fn remember(&self, check: &mut RememberedCheck) {
        let runs = &self.runs;
        (check.failures, check.first_failure, check.last_failure) =
            (runs.failures, runs.first_failure, runs.last_failure);
        (check.successes, check.first_success) = (runs.successes, runs.first_success);
        (check.unseen_since, check.health_seen) = (runs.unseen_since, runs.evidence);
        (check.last_success, check.beginning, check.pending) = (runs.last_success, runs.beginning, runs.pending);
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
            // Older records do not have this field. They have the last look, and whether it failed.
            last_success: check.last_success.or(check.health_seen.filter(|_| check.failures == 0)),
            beginning: check.beginning,
            evidence: check.health_seen,
            pending: check.pending,
        };
    }

    /// The last instant until which the component is known to have failed while a clock runs: `now`
    /// until the next look is due, and then the last failed look. None if it never failed.
    #[must_use]
    pub fn known_to_fail(&self, now: Timestamp) -> Option<Timestamp> {
        let last = self.runs.last_failure?;
        let is_due = self.thresholds.is_none_or(|own| now.since(last) > own.pace);
        Some(if self.is_healthy() == Some(false) && !is_due { now.max(last) } else { last })
    }

    /// When the check last learned the health of the component.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.runs.evidence
    }

    /// When the check last saw the component fail.
    #[must_use]
    pub fn last_failure(&self) -> Option<Timestamp> {
        self.runs.last_failure
    }

    /// How often in a row it has failed.
    #[must_use]
    pub fn consecutive_failures(&self) -> u32 {
        self.runs.failures
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

/// The clock of one contract.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryClock {
    running: Option<Outage>,
    last: Option<Recovery>,
    /// Whether a drill is under way: an outage that begins now was planned.
    planned: bool,
}

/// The checks that feed the RTO.
fn feeding<C: Watching>(checks: &[C]) -> impl Iterator<Item = (&Runs, &Thresholds)> {
    checks.iter().map(Watching::watch).filter_map(|watch| Some((&watch.runs, watch.thresholds.as_ref()?)))
}

impl RecoveryClock {
    /// Takes in the health of the component, as the check with this index saw it `at` this instant.
    ///
    /// The clock starts when a check has failed often enough in a row. It stops when every check
    /// was healthy often enough in a row since the trigger. The recovery is dated at the first of
    /// these observations. A [pending](Health::Pending) check that has not failed in this outage
    /// does not delay the recovery.
    pub fn observe<C: Watching>(
        &mut self,
        checks: &mut [C],
        check: usize,
        at: Timestamp,
        health: &Health,
    ) -> Option<ClockEvent> {
        let watch = checks.get_mut(check)?.watch_mut();
        watch.take(at, health, self.running);
        if matches!(health, Health::NoAnswer(_)) {
            return None;
        }
        let Watch { thresholds: own, runs } = watch;
        let own = (*own)?;
        let fails =
            matches!(health, Health::Healthy | Health::Unhealthy(_)) && runs.failures >= own.failures_to_trigger;
        let lasted = runs.first_failure.map_or(Duration::ZERO, |first| at.since(first));
        let would_start = fails && lasted >= own.hold;
        if let Some(outage) = self.running.as_mut().filter(|_| would_start) {
            outage.confirmed = true;
        }
        match self.running {
            None if would_start => {
                let (first_failure, beginning) = earliest_failure(checks, at).unwrap_or((at, Beginning::Seen));
                let mode = if self.planned { Mode::Drill } else { Mode::Real };
                let outage = Outage { first_failure, trigger: at, mode, beginning, declared: false, confirmed: true };
                Some(ClockEvent::Started(self.start(checks, outage)))
            }
            None => None,
            Some(outage) => self.stop(checks, outage, at).map(ClockEvent::Stopped),
        }
    }

    /// Sets whether a drill is under way. An outage that already runs keeps its mode.
    pub fn plan(&mut self, planned: bool) {
        self.planned = planned;
    }

    /// Whether an outage that begins now was planned: see [`RecoveryClock::plan`].
    #[must_use]
    pub fn is_planned(&self) -> bool {
        self.planned
    }

    /// Makes an outage real that was part of a drill, because no drill covers it any more. True if
    /// that changed something.
    pub fn unplan(&mut self) -> bool {
        let planned = self.running.as_mut().filter(|outage| outage.mode == Mode::Drill);
        planned.map(|outage| outage.mode = Mode::Real).is_some()
    }

    /// Starts the clock because a person declared an incident that began `at` this instant.
    ///
    /// A clock that already runs goes on. It keeps the earlier of the two triggers, and an outage
    /// that was part of a drill becomes real.
    pub fn declare<C: Watching>(&mut self, checks: &mut [C], at: Timestamp, mode: Mode) -> Option<ClockEvent> {
        if let Some(outage) = &mut self.running {
            outage.trigger = outage.trigger.min(at);
            outage.first_failure = outage.first_failure.min(at);
            outage.mode = if mode == Mode::Real { mode } else { outage.mode };
            return None;
        }
        let (first_failure, beginning) = earliest_failure(checks, at).unwrap_or((at, Beginning::Seen));
        let first_failure = first_failure.min(at);
        let outage = Outage { first_failure, trigger: at, mode, beginning, declared: true, confirmed: false };
        Some(ClockEvent::Started(self.start(checks, outage)))
    }

    /// Ends a declared outage that no check confirmed, and in which none fails now. There was no
    /// recovery, so it proves nothing.
    pub fn withdraw<C: Watching>(&mut self, checks: &[C]) -> Option<Outage> {
        let fails = feeding(checks).any(|(runs, _)| runs.failures > 0);
        self.running.take_if(|outage| outage.declared && !outage.confirmed && !fails)
    }

    /// Restores the clock. A running clock continues from its own trigger.
    ///
    /// If the clock can only have waited for checks that are gone, it ends without a recovery:
    /// nobody saw the failed part recover, and the remaining checks were always healthy.
    pub fn resume<C: Watching>(&mut self, checks: &[C], running: Option<Outage>, last: Option<Recovery>) {
        let can_end = |outage: &Outage| {
            feeding(checks).any(|(runs, own)| {
                outage.declared || runs.failed_in(outage) || runs.successes < own.successes_to_recover
            })
        };
        (self.running, self.last) = (running.filter(can_end), last);
    }

    fn start<C: Watching>(&mut self, checks: &mut [C], outage: Outage) -> Outage {
        // Health before the trigger says nothing about the time after it. It must be seen again.
        for Watch { runs, .. } in checks.iter_mut().map(Watching::watch_mut) {
            (runs.successes, runs.first_success) = (0, None);
            // A declaration can name an earlier time. Health that was seen since then counts, and it
            // may have begun at any time after the trigger.
            if runs.failures == 0 && runs.last_success.is_some_and(|seen| seen > outage.trigger) {
                (runs.first_success, runs.unseen_since) = (runs.last_success, Some(outage.trigger));
            }
        }
        *self.running.insert(outage)
    }

    fn stop<C: Watching>(&mut self, checks: &[C], outage: Outage, at: Timestamp) -> Option<Recovery> {
        if outage.declared && !outage.confirmed {
            return None;
        }
        let (mut healthy, mut earliest) = (outage.trigger, outage.trigger);
        let mut recovered = false;
        for (runs, thresholds) in feeding(checks) {
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
}

/// The first failure among all checks that are known to fail at `at`, and the earliest possible
/// start of that failure. A check whose last look is old and was a failure may have failed ever
/// since.
fn earliest_failure<C: Watching>(checks: &[C], at: Timestamp) -> Option<(Timestamp, Beginning)> {
    let failing = feeding(checks).filter_map(|(runs, own)| Some((runs, own, runs.first_failure?)));
    let failing = failing.map(|(runs, own, first)| {
        if status::is_fresh(runs.evidence, own.freshness, at) {
            (Some(first), runs.beginning)
        } else {
            (None, runs.beginning.earlier(Beginning::After(runs.last_success.unwrap_or(first))))
        }
    });
    let (first, beginning) =
        failing.reduce(|(a, a_began), (b, b_began)| (a.into_iter().chain(b).min(), a_began.earlier(b_began)))?;
    Some((first?, beginning))
}
