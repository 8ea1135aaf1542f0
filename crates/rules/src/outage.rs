//! Outages, and the recoveries that ended them.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::time::Timestamp;

/// Whether an outage was real or planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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

/// What is known about the time before a first failure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    /// The run before saw no failure, and none was skipped. So the failure began at most one interval
    /// before the run that saw it first.
    #[default]
    Seen,
    /// A run was skipped or had no answer. The failure began at any time after the start of this last
    /// healthy look.
    After(Timestamp),
    /// The component was never seen healthy. It may always have failed.
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

    /// The one of the two that allows the earlier start.
    pub(super) fn earlier(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::After(a), Self::After(b)) => Self::After(a.min(b)),
            (Self::After(healthy), Self::Seen) | (Self::Seen, Self::After(healthy)) => Self::After(healthy),
            (Self::Seen, Self::Seen) => Self::Seen,
        }
    }
}

/// What is left known of an outage in which nobody looked for longer than evidence stays fresh, or
/// in which all that was looked at was well. The component may have recovered and failed again
/// meanwhile, so no stretch of time reaches across.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interruption {
    /// The longest stretch before it in which the component was seen to fail.
    pub longest: Duration,
    /// Since when it is seen to fail again: since as many failures in a row as start a clock. None
    /// until then.
    pub since: Option<Timestamp>,
}

/// An outage whose clock runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// The first failed observation.
    pub first_failure: Timestamp,
    /// The start of the clock: the observation that completed the streak, or the declaration of an
    /// incident.
    pub trigger: Timestamp,
    /// Real or drill.
    pub mode: Mode,
    /// What is known about the time before the first failure.
    #[serde(default)]
    pub beginning: Beginning,
    /// Whether a person declared it. A clock stops only once it is [confirmed](Self::confirmed): a
    /// component that never failed proves no recovery.
    #[serde(default)]
    pub declared: bool,
    /// Whether a check that still measures the contract saw as many failures in a row as start a clock.
    /// A single failed look does not confirm what a person declared.
    #[serde(default)]
    pub confirmed: bool,
    /// Whether the component may have recovered and failed again unseen. The clock runs on, but only
    /// the upper end of the outage reaches across.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<Interruption>,
}

/// An outage that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    /// The outage that ended.
    pub outage: Outage,
    /// The first of the healthy observations that ended it.
    pub healthy: Timestamp,
    /// The earliest time at which it can have ended. It is earlier than `healthy` only if nobody
    /// could look for a while.
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
            beginning: self.beginning.carried(&carry),
            declared: self.declared,
            confirmed: self.confirmed,
            interruption: self
                .interruption
                .map(|interruption| Interruption { since: interruption.since.map(&carry), ..interruption }),
        }
    }

    /// Since when the component is seen to fail without an interruption. None after one, until it is
    /// seen to fail again.
    #[must_use]
    pub fn seen_since(&self) -> Option<Timestamp> {
        self.interruption.map_or(Some(self.trigger), |interruption| interruption.since)
    }

    /// The longest stretch before the last interruption in which the component was seen to fail.
    pub(super) fn longest_before(&self) -> Duration {
        self.interruption.map_or(Duration::ZERO, |interruption| interruption.longest)
    }

    /// The same with an interruption, if the component was last seen to fail at `known`.
    #[must_use]
    pub(super) fn interrupted(self, known: Option<Timestamp>) -> Self {
        let longest = self.at_least(known.unwrap_or(self.trigger));
        Self { interruption: Some(Interruption { longest, since: None }), ..self }
    }

    /// Notes that as many failures in a row as start a clock were seen `at` this instant, if there
    /// was an interruption.
    pub(super) fn is_seen_again(&mut self, at: Timestamp) {
        if let Some(interruption) = &mut self.interruption {
            interruption.since.get_or_insert(at);
        }
    }

    /// The longest stretch in which the component was seen to fail, if it was last seen so at `known`.
    fn at_least(&self, known: Timestamp) -> Duration {
        let stretch = self.seen_since().map(|since| known.since(since));
        stretch.unwrap_or_default().max(self.longest_before())
    }

    /// What a start at `now` may keep of it: nothing later than now. The beginning is unknown if
    /// the wall clock was `set_back` since it was stored.
    #[must_use]
    pub(super) fn recalled(self, set_back: bool, now: Timestamp) -> Self {
        let outage = self.carried(|at| at.min(now));
        Self { beginning: if set_back { Beginning::Unknown } else { outage.beginning }, ..outage }
    }

    /// How long the outage lasted, if it was last known to continue at `known` and can have
    /// continued until `possible`. The lower end is the longest stretch without an interruption.
    #[must_use]
    pub fn lasted(&self, known: Timestamp, possible: Timestamp) -> Interval {
        let most = match self.beginning {
            Beginning::Seen => Some(possible.since(self.trigger)),
            Beginning::After(healthy) => Some(possible.since(healthy.min(self.trigger))),
            Beginning::Unknown => None,
        };
        Interval::new(self.at_least(known), most)
    }
}

impl Recovery {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { outage: self.outage.carried(&carry), healthy: carry(self.healthy), earliest: carry(self.earliest) }
    }

    /// From the trigger to health. This is what an RTO limits.
    #[must_use]
    pub fn recovery_time(&self) -> Duration {
        self.healthy.since(self.outage.trigger)
    }

    /// Both ends of the recovery time. They differ if nobody looked when the outage began or ended.
    #[must_use]
    pub fn took(&self) -> Interval {
        self.outage.lasted(self.earliest, self.healthy)
    }

    /// Whether the recovery took less than the target. None if nobody looked at the deciding time.
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

    /// From the first failure to health. This is what users felt.
    #[must_use]
    pub fn downtime(&self) -> Duration {
        self.healthy.since(self.outage.first_failure)
    }
}
