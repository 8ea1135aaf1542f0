//! Recovery clocks: they run from the trigger of an outage until the component is healthy again.

use std::time::Duration;

use super::observation::Health;
use super::outage::{Beginning, Mode, Outage, Recovery};
use super::status;
use super::time::Timestamp;
use super::watch::Runs;
pub use super::watch::{Look, Thresholds, Watch, Watching};

/// What an observation did to the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockEvent {
    /// It started.
    Started(Outage),
    /// It stopped.
    Stopped(Recovery),
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

/// Whether every check that feeds the RTO was healthy often enough in a row.
fn all_well<C: Watching>(checks: &[C]) -> bool {
    feeding(checks).all(|(runs, own)| runs.successes >= own.successes_to_recover)
}

impl RecoveryClock {
    /// Takes in a look of the check with this index.
    ///
    /// The clock starts when a check has failed often enough in a row. It stops when every check
    /// was healthy often enough in a row since the trigger. The recovery is dated at the first of
    /// these observations. A [pending](Health::Pending) check that has not failed in this outage
    /// does not delay the recovery.
    pub fn observe<C: Watching>(&mut self, checks: &mut [C], check: usize, look: Look<'_>) -> Option<ClockEvent> {
        let Look { at, health, .. } = look;
        if matches!(health, Health::Unhealthy(_)) {
            self.interrupt(checks, check, at);
        }
        let watch = checks.get_mut(check)?.watch_mut();
        watch.take(look, self.running);
        if matches!(health, Health::NoAnswer(_)) {
            return None;
        }
        let Watch { thresholds: own, runs } = watch;
        let own = (*own)?;
        let fails =
            matches!(health, Health::Healthy | Health::Unhealthy(_)) && runs.failures >= own.failures_to_trigger;
        let lasted = runs.first_failure.map_or(Duration::ZERO, |first| at.since(first));
        let would_start = fails && lasted >= own.hold;
        if would_start {
            runs.is_streak(at);
        }
        if let Some(outage) = self.running.as_mut().filter(|_| would_start) {
            outage.confirmed = true;
            outage.is_seen_again(at);
        }
        match self.running {
            None if would_start => {
                let (first_failure, beginning) = earliest_failure(checks, at).unwrap_or((at, Beginning::Seen));
                let mode = if self.planned { Mode::Drill } else { Mode::Real };
                let outage = Outage {
                    first_failure,
                    trigger: at,
                    mode,
                    beginning,
                    declared: false,
                    confirmed: true,
                    interruption: None,
                };
                Some(ClockEvent::Started(self.start(checks, outage)))
            }
            None => None,
            Some(outage) => self.stop(checks, outage, at).map(ClockEvent::Stopped),
        }
    }

    /// Notes that a check sees the component fail `at` this instant, and that nothing shows that it
    /// failed all the time since it was last seen to fail.
    fn interrupt<C: Watching>(&mut self, checks: &[C], check: usize, at: Timestamp) {
        let feeds = checks.get(check).is_some_and(|check| check.watch().thresholds.is_some());
        let Some(outage) = self.running.as_mut().filter(|_| feeds) else { return };
        let bridges = |(index, other): (usize, &C)| {
            let Watch { thresholds, runs } = other.watch();
            thresholds.as_ref().is_some_and(|own| {
                // Another check is known to fail only until its next look is due.
                let within = if index == check { own.freshness } else { own.pace };
                runs.bridges(own, outage, within, at)
            })
        };
        if !checks.iter().enumerate().any(bridges) {
            *outage = outage.interrupted(feeding(checks).filter_map(|(runs, _)| runs.known_failure()).max());
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
        let outage = Outage {
            first_failure,
            trigger: at,
            mode,
            beginning,
            declared: true,
            confirmed: false,
            interruption: None,
        };
        Some(ClockEvent::Started(self.start(checks, outage)))
    }

    /// Ends an outage that no check confirmed, and in which none fails now. There was no recovery, so it
    /// proves nothing. An outage that nobody declared, because the checks that saw it are gone, ends once
    /// every check is well.
    pub fn withdraw<C: Watching>(&mut self, checks: &[C]) -> Option<Outage> {
        let fails = feeding(checks).any(|(runs, _)| runs.failures > 0);
        let well = all_well(checks);
        self.running.take_if(|outage| !outage.confirmed && !fails && (outage.declared || well))
    }

    /// Restores the clock. A running clock continues from its own trigger.
    ///
    /// If every check that confirmed the outage is gone, nobody will see the failed part recover. Then
    /// health of the others is no recovery: the clock is not [confirmed](Outage::confirmed) any more, and
    /// ends at once if they are all well. Nor does an older recovery prove the target any longer.
    /// `may_have_confirmed` tells by its index whether a check can have confirmed the outage, though its
    /// own state does not say so.
    pub fn resume<C: Watching>(
        &mut self,
        checks: &[C],
        running: Option<Outage>,
        last: Option<Recovery>,
        may_have_confirmed: impl Fn(usize) -> bool,
    ) {
        (self.running, self.last) = (running, last);
        let Some(outage) = running else { return };
        let confirms = |(index, check): (usize, &C)| {
            let Watch { thresholds, runs } = check.watch();
            thresholds.is_some() && (may_have_confirmed(index) || runs.confirms(&outage))
        };
        if checks.iter().enumerate().any(confirms) {
            return;
        }
        if outage.confirmed {
            self.last = None;
        }
        let goes_on = outage.declared || !all_well(checks);
        self.running = goes_on.then_some(Outage { confirmed: false, ..outage });
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
        if !outage.confirmed {
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
