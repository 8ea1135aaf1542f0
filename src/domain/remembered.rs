//! What outlives the process: taken out of a contract, and put back into one of the same name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recovery_clock::{Beginning, Mode, Outage, Recovery};
use super::time::Timestamp;

/// How far what was stored may lie ahead at a start: what a time service sets a wall clock right by.
const CORRECTED: Duration = Duration::from_secs(5);

/// What is remembered of one check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedCheck {
    /// The recovery point.
    pub latched: Option<Timestamp>,
    /// When something was last learned about the copy.
    pub copy_seen: Option<Timestamp>,
    /// Since when something is known to be missing from the copy.
    pub missing_since: Option<Timestamp>,
    /// What tells whether it is the same that is missing; nothing for a change that bears its own time.
    pub missing: Option<String>,
    /// Whether the last thing learned was that the copy is lost.
    pub lost: bool,
    /// Which object the copy was.
    pub copy_identity: Option<String>,
    /// When the component's health was last seen.
    pub health_seen: Option<Timestamp>,
    /// How often in a row it failed.
    pub failures: u32,
    /// The first of these failures.
    pub first_failure: Option<Timestamp>,
    /// The last time that it was seen to fail.
    pub last_failure: Option<Timestamp>,
    /// How often in a row it was healthy, since a trigger if there was one.
    pub successes: u32,
    /// The first of these.
    pub first_success: Option<Timestamp>,
    /// The observation before the first success, where nobody could look for long.
    pub unseen_since: Option<Timestamp>,
    /// When it was last seen to be healthy.
    pub last_success: Option<Timestamp>,
    /// What is known of the time before the first failure.
    pub beginning: Beginning,
    /// When it was last seen to be neither healthy nor failing, if nothing else was seen since.
    pub pending: Option<Timestamp>,
    /// When it was last looked for something to warn of.
    pub warning_seen: Option<Timestamp>,
    /// Whether there was something.
    pub warns: bool,
}

/// What is known of an outage beside its times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The check that triggered it.
    pub check: String,
    /// What it found, from the closed list.
    pub reason: String,
    /// How much data was at risk at the trigger, where the contract has an RPO and that was known.
    pub data_at_risk: Option<Duration>,
}

/// What is remembered of a contract as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedClock {
    /// The outage whose clock runs.
    pub running: Option<Outage>,
    /// What is known of it.
    pub circumstances: Option<Circumstances>,
    /// The last outage that is over.
    pub last: Option<Recovery>,
    /// How many recoveries met their target.
    pub met: u64,
    /// How many missed it.
    pub missed: u64,
    /// How many drills met their target.
    pub drills_met: u64,
    /// How many drills missed it.
    pub drills_missed: u64,
}

/// What is remembered of one contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// The clock and the counts.
    pub clock: RememberedClock,
    /// The checks, by name.
    pub checks: BTreeMap<String, RememberedCheck>,
}

impl RememberedCheck {
    fn instants(&mut self) -> [&mut Option<Timestamp>; 11] {
        let Self { latched, copy_seen, missing_since, health_seen, warning_seen, .. } = self;
        let Self { first_failure, last_failure, first_success, unseen_since, last_success, pending, .. } = self;
        [
            latched,
            copy_seen,
            missing_since,
            warning_seen,
            health_seen,
            first_failure,
            last_failure,
            first_success,
            unseen_since,
            last_success,
            pending,
        ]
    }

    /// The same on another timeline.
    #[must_use]
    pub fn carried(mut self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        for instant in self.instants().into_iter().flatten() {
            *instant = carry(*instant);
        }
        self.beginning = self.beginning.carried(carry);
        self
    }

    /// Whether any of it lies ahead: it was stored by a wall clock that was set back since.
    #[must_use]
    pub(super) fn is_ahead(&self, now: Timestamp) -> bool {
        self.clone().instants().into_iter().flatten().any(|at| is_ahead(*at, now))
    }

    /// What a start at `now` may take of it. Of what was stored by a wall clock that was `set_back` since, nobody knows how
    /// old it is: it proves nothing, and what is looked at again is all that counts.
    #[must_use]
    pub(super) fn recalled(self, set_back: bool, now: Timestamp) -> Self {
        if set_back {
            return Self { copy_identity: self.copy_identity, ..Self::default() };
        }
        self.carried(|at| at.min(now))
    }

    /// Whether `self`, which came after `stored`, tells of anything but that time went on and all stayed as it was: a newer
    /// look that found the same, a proof that moved on, one more success in a row.
    #[must_use]
    pub fn is_news_after(&self, stored: &Self) -> bool {
        let quiet = |check: &Self| Self {
            latched: None,
            copy_seen: None,
            health_seen: None,
            warning_seen: None,
            successes: u32::from(check.successes > 0),
            last_failure: None,
            last_success: None,
            // When is no news, that it is.
            pending: check.pending.map(|_| Timestamp::from_unix_seconds(0)),
            // A change that bears its own time needs no memory: the next look dates it again.
            missing_since: check.missing_since.filter(|_| check.missing.is_some()),
            ..check.clone()
        };
        let went_back = match (self.latched, stored.latched) {
            (Some(now), Some(before)) => now < before,
            (None, Some(_)) => true,
            (_, None) => self.latched.is_some(),
        };
        went_back || quiet(self) != quiet(stored)
    }

    /// How far the recovery point has moved on since `stored`.
    #[must_use]
    pub fn moved_since(&self, stored: &Self) -> Duration {
        self.latched.zip(stored.latched).map_or(Duration::ZERO, |(now, before)| now.since(before))
    }
}

impl RememberedClock {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(mut self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        self.running = self.running.map(|running| running.carried(&carry));
        self.last = self.last.map(|last| last.carried(&carry));
        self
    }

    fn is_ahead(&self, now: Timestamp) -> bool {
        let running = self.running.is_some_and(|running| is_ahead(running.trigger.max(running.first_failure), now));
        running || self.last.is_some_and(|last| is_ahead(last.healthy, now))
    }

    fn recalled(mut self, set_back: bool, now: Timestamp) -> Self {
        self.running = self.running.map(|running| running.recalled(set_back, now));
        self
    }

    /// The count of one sort of recovery.
    pub fn count(&mut self, met: bool, mode: Mode) -> &mut u64 {
        match (met, mode) {
            (true, Mode::Real) => &mut self.met,
            (false, Mode::Real) => &mut self.missed,
            (true, Mode::Drill) => &mut self.drills_met,
            (false, Mode::Drill) => &mut self.drills_missed,
        }
    }
}

impl Remembered {
    /// What a start at `now` may take of what was stored, and whether the wall clock was set back since.
    ///
    /// What is over keeps its length, though it may then lie ahead. An outage that runs may be of any age.
    #[must_use]
    pub fn recalled(self, now: Timestamp) -> (Self, bool) {
        let Self { clock, checks } = self;
        let set_back = clock.is_ahead(now) || checks.values().any(|check| check.is_ahead(now));
        let checks = checks.into_iter().map(|(name, check)| (name, check.recalled(set_back, now)));
        (Self { checks: checks.collect(), clock: clock.recalled(set_back, now) }, set_back)
    }

    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp + Copy) -> Self {
        Self {
            clock: self.clock.carried(carry),
            checks: self.checks.into_iter().map(|(name, check)| (name, check.carried(carry))).collect(),
        }
    }
}

/// Whether an instant lies further ahead than clocks are set right by.
pub(super) fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at > now.plus(CORRECTED)
}
