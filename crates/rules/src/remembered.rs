//! The state that survives a restart. It is taken from a contract, and restored by name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outage::{Beginning, Mode, Outage, Recovery};
use super::time::Timestamp;

/// How far stored times may lie in the future at a start. A time service corrects a wall clock by
/// about this much.
const CORRECTED: Duration = Duration::from_secs(5);

/// The stored state of one check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedCheck {
    /// The recovery point.
    pub latched: Option<Timestamp>,
    /// When something was last learned about the copy.
    pub copy_seen: Option<Timestamp>,
    /// Since when something is known to be missing from the copy.
    pub missing_since: Option<Timestamp>,
    /// A token that tells whether the same change is still missing. None for a change that has its
    /// own time.
    pub missing: Option<String>,
    /// A token for what the copy should hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_expected: Option<String>,
    /// Whether the latest evidence said that the copy is lost.
    pub lost: bool,
    /// The identity of the copy.
    pub copy_identity: Option<String>,
    /// When the component's health was last seen.
    pub health_seen: Option<Timestamp>,
    /// How often in a row the check failed.
    pub failures: u32,
    /// The first of these failures.
    pub first_failure: Option<Timestamp>,
    /// The last time that the component was seen to fail.
    pub last_failure: Option<Timestamp>,
    /// The last instant at which it is known to have failed, if that is earlier: the look read an
    /// older statement of somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_until: Option<Timestamp>,
    /// When the check last came to see as many failures in a row as start a clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_streak: Option<Timestamp>,
    /// How often in a row the component was healthy, counted from the trigger if there was one.
    pub successes: u32,
    /// The first of these healthy observations.
    pub first_success: Option<Timestamp>,
    /// The observation before the first success, if nobody could look for a long time.
    pub unseen_since: Option<Timestamp>,
    /// When the component was last seen healthy.
    pub last_success: Option<Timestamp>,
    /// When that look began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub success_asked: Option<Timestamp>,
    /// What is known about the time before the first failure.
    pub beginning: Beginning,
    /// When the component was last seen pending, if nothing else was seen since.
    pub pending: Option<Timestamp>,
    /// When the check last looked for something to warn about.
    pub warning_seen: Option<Timestamp>,
    /// Whether it found something.
    pub warns: bool,
    /// The wall clock by which the times of this record are told. None if that is not known, and for
    /// times on the steady timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,
    /// What that clock called the boot when the check told its memory, which is stored beside this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_booted: Option<Timestamp>,
}

/// What is known about an outage beside its times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// The check that triggered it.
    pub check: String,
    /// The reason of its finding, from the closed list.
    pub reason: String,
    /// The data at risk at the trigger, if the contract has an RPO and it was known.
    pub data_at_risk: Option<Duration>,
    /// The least data that was known to be at risk then.
    #[serde(default)]
    pub known_at_risk: Option<Duration>,
    /// The check that first confirmed what a person declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed_by: Option<String>,
}

/// The stored state of a contract as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedClock {
    /// The outage whose clock runs.
    pub running: Option<Outage>,
    /// What is known about it beside its times.
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
    /// The wall clock by which the times of this record are told. None if that is not known, and for
    /// times on the steady timeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<Calendar>,
}

/// How a machine's wall clock was set, told by what it calls an instant that it shares with every
/// other setting of that clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calendar {
    /// Names one boot of one machine.
    pub boot: String,
    /// When that boot was.
    pub booted: Timestamp,
}

/// The stored state of one contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// The clock and the counts.
    pub clock: RememberedClock,
    /// The checks, by name.
    pub checks: BTreeMap<String, RememberedCheck>,
}

impl RememberedCheck {
    fn instants(&mut self) -> [&mut Option<Timestamp>; 14] {
        [
            &mut self.latched,
            &mut self.copy_seen,
            &mut self.missing_since,
            &mut self.warning_seen,
            &mut self.health_seen,
            &mut self.first_failure,
            &mut self.last_failure,
            &mut self.failed_until,
            &mut self.last_streak,
            &mut self.first_success,
            &mut self.unseen_since,
            &mut self.last_success,
            &mut self.success_asked,
            &mut self.pending,
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

    /// Whether any stored time lies in the future. Then the wall clock was set back since.
    #[must_use]
    pub(super) fn is_ahead(&self, now: Timestamp) -> bool {
        self.clone().instants().into_iter().flatten().any(|at| is_ahead(*at, now))
    }

    /// What a start at `now` may keep of it. If the wall clock was `set_back` since it was stored,
    /// its age is unknown. Then it proves nothing, and only new looks count. Only how long a running
    /// outage was seen to last stays known, unless the clock was set back to before its end.
    #[must_use]
    pub(super) fn recalled(self, set_back: bool, now: Timestamp) -> Self {
        if set_back {
            let failures = [self.last_failure, self.failed_until, self.last_streak];
            let [last_failure, failed_until, last_streak] = failures.map(|at| Some(at?.min(now)));
            let copy_identity = self.copy_identity;
            return Self { copy_identity, last_failure, failed_until, last_streak, ..Self::default() };
        }
        self.carried(|at| at.min(now))
    }

    /// What is left of it if a part of the contract's stored state was lost, or if this may be an
    /// older state. It proves nothing. When the component was last seen healthy stays known, because
    /// an outage that nobody remembers began after that.
    #[must_use]
    pub fn after_loss(self) -> Self {
        let healthy = self.last_success.or(self.health_seen.filter(|_| self.failures == 0));
        Self {
            last_success: healthy,
            success_asked: self.success_asked,
            last_failure: self.last_failure,
            failed_until: self.failed_until,
            last_streak: self.last_streak,
            copy_identity: self.copy_identity,
            ..Self::default()
        }
    }

    /// Whether `self` holds news compared with the older `stored`. It is no news that time passed
    /// and nothing changed: a newer look with the same result, a proof that moved forward, one more
    /// success in a row.
    #[must_use]
    pub fn is_news_after(&self, stored: &Self) -> bool {
        let quiet = |check: &Self| Self {
            latched: None,
            copy_seen: None,
            health_seen: None,
            warning_seen: None,
            successes: u32::from(check.successes > 0),
            last_failure: None,
            failed_until: None,
            last_success: None,
            success_asked: None,
            // Only the fact is news, not its time.
            pending: check.pending.map(|_| Timestamp::from_unix_seconds(0)),
            // A change with its own time need not be stored: the next look dates it again.
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

    /// Whether the recovery point moved forward since `stored`.
    #[must_use]
    pub fn proves_more_than(&self, stored: &Self) -> bool {
        self.latched > stored.latched
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

    /// What is left of it if a part of the contract's stored state was lost, or if this may be an
    /// older state. A running clock goes on. The last recovery proves nothing, because a later one may
    /// have missed its target.
    #[must_use]
    pub fn after_loss(self) -> Self {
        Self { last: None, ..self }
    }

    fn is_ahead(&self, now: Timestamp) -> bool {
        let running = self.running.is_some_and(|running| is_ahead(running.trigger.max(running.first_failure), now));
        running || self.last.is_some_and(|last| is_ahead(last.healthy, now))
    }

    fn recalled(mut self, set_back: bool, now: Timestamp) -> Self {
        self.running = self.running.map(|running| running.recalled(set_back, now));
        self
    }

    /// The count of recoveries with one result and one mode.
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
    /// What a start at `now` may keep of the stored state, and whether the wall clock was set back
    /// since.
    ///
    /// An outage that ended keeps its length, though its times may lie in the future. The age of a
    /// running outage is then unknown.
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

/// Whether an instant lies further in the future than a clock correction explains.
pub(super) fn is_ahead(at: Timestamp, now: Timestamp) -> bool {
    at > now.plus(CORRECTED)
}
