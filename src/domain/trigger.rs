//! Triggers: conditions that call for a failover decision.
//!
//! A trigger watches one check, and fires as a recovery clock starts: when what it watches has failed often and long enough
//! in a row. It is clear again at the first observation that finds nothing wrong. *No answer* is no observation: a trigger
//! without fresh evidence is neither firing nor clear.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::contract::CheckSpec;
use super::observation::Health;
use super::recovery_clock::{ClockEvent, Outage, Recovery, RecoveryClock, Thresholds};
use super::remembered::{RememberedCheck, is_ahead};
use super::status;
use super::time::Timestamp;

/// Who decides whether the action of a trigger is taken. The exporter never takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerMode {
    /// A machine that listens to the alert.
    Auto,
    /// A person.
    Manual,
}

impl TriggerMode {
    /// The value of the `mode` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// What a trigger watches.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// A check of a contract.
    Check {
        /// The contract's name.
        contract: String,
        /// The check's name.
        check: String,
    },
    /// A check of its own.
    Own(Box<CheckSpec>),
}

/// A condition, and what it calls for.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSpec {
    /// Unique among triggers.
    pub name: String,
    /// What should be done.
    pub action: String,
    /// Where the alert goes.
    pub notification: String,
    /// Who decides.
    pub mode: TriggerMode,
    /// What is watched.
    pub watched: Watched,
    /// When it fires.
    pub when: Thresholds,
}

/// Everything that is remembered of one trigger, with the rules that move it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    spec: Arc<TriggerSpec>,
    clock: RecoveryClock,
}

/// The one check of a trigger's clock.
const WATCHED: usize = 0;

impl Trigger {
    /// A trigger of which nothing is known yet.
    #[must_use]
    pub fn new(spec: Arc<TriggerSpec>) -> Self {
        Self { spec, clock: RecoveryClock::new(1) }
    }

    /// The condition, and what it calls for.
    #[must_use]
    pub fn spec(&self) -> &TriggerSpec {
        &self.spec
    }

    /// Takes in what was seen of what it watches.
    pub fn observe(&mut self, at: Timestamp, health: &Health) -> Option<ClockEvent> {
        self.clock.observe(WATCHED, at, health, &[Some(self.spec.when)])
    }

    /// The firing that has not been seen to end; its evidence may be stale.
    #[must_use]
    pub fn firing(&self) -> Option<&Outage> {
        self.clock.running()
    }

    /// When it last began to fire.
    #[must_use]
    pub fn last_fired(&self) -> Option<Timestamp> {
        let last = self.clock.last_recovery().map(|last| &last.outage);
        self.firing().or(last).map(|firing| firing.trigger)
    }

    /// Since when its condition has held, whether it fires already or not.
    #[must_use]
    pub fn holds_since(&self) -> Option<Timestamp> {
        self.firing().map(|firing| firing.first_failure).or_else(|| self.clock.first_failure(WATCHED))
    }

    /// When something was last seen of what it watches.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.clock.evidence(WATCHED)
    }

    /// Whether it fires; none while nothing fresh is known of what it watches.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> Option<bool> {
        let fresh = status::is_fresh(self.evidence(), self.spec.when.freshness, now);
        fresh.then(|| self.firing().is_some())
    }

    /// Everything that must outlive the process.
    #[must_use]
    pub fn remember(&self) -> RememberedTrigger {
        let mut watched = RememberedCheck::default();
        self.clock.remember(WATCHED, &mut watched);
        RememberedTrigger { watched, firing: self.clock.running().copied(), last: self.clock.last_recovery().copied() }
    }

    /// A trigger that goes on from what was remembered of it.
    #[must_use]
    pub fn recall(spec: Arc<TriggerSpec>, remembered: &RememberedTrigger) -> Self {
        let mut trigger = Self::new(spec);
        trigger.clock.recall(WATCHED, &remembered.watched);
        trigger.clock.resume(remembered.firing, remembered.last, &[Some(trigger.spec.when)]);
        trigger
    }
}

/// What is remembered of one trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedTrigger {
    /// What was seen of what it watches.
    pub watched: RememberedCheck,
    /// The firing that has not been seen to end.
    pub firing: Option<Outage>,
    /// The last one that was.
    pub last: Option<Recovery>,
}

impl RememberedTrigger {
    /// The same on another timeline.
    #[must_use]
    pub fn carried(self, carry: impl Fn(Timestamp) -> Timestamp + Copy) -> Self {
        Self {
            watched: self.watched.carried(carry),
            firing: self.firing.map(|firing| firing.carried(carry)),
            last: self.last.map(|last| last.carried(carry)),
        }
    }

    /// What a start at `now` may take of it, as of a contract: see [`super::remembered::Remembered::recalled`].
    #[must_use]
    pub fn recalled(self, now: Timestamp) -> Self {
        let Self { watched, firing, last } = self;
        let ahead = |at| is_ahead(at, now);
        let set_back = watched.is_ahead(now)
            || firing.is_some_and(|firing| ahead(firing.trigger))
            || last.is_some_and(|last| ahead(last.healthy));
        let firing = firing.map(|firing| firing.recalled(set_back, now));
        Self { watched: watched.recalled(set_back, now), firing, last }
    }

    /// Whether `self`, which came after `stored`, tells of anything but that time went on and all stayed as it was.
    #[must_use]
    pub fn is_news_after(&self, stored: &Self) -> bool {
        (self.firing, self.last) != (stored.firing, stored.last) || self.watched.is_news_after(&stored.watched)
    }
}
