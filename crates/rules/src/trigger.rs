//! Triggers: conditions that call for a failover decision.
//!
//! A trigger watches one check. It starts to fire as a recovery clock starts to run: when the check
//! has failed often enough and long enough in a row. It is clear again at the first observation
//! without a failure. *No answer* is not an observation: a trigger without fresh evidence is
//! neither firing nor clear.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::CheckSpec;
use super::outage::{Outage, Recovery};
use super::recovery_clock::{ClockEvent, Look, RecoveryClock, Thresholds, Watch};
use super::remembered::{RememberedCheck, is_ahead};
use super::status;
use super::time::Timestamp;

/// Who decides whether the action of a trigger is taken. The exporter never takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// A check that belongs to the trigger.
    Own(Box<CheckSpec>),
}

/// A condition, and the decision that it calls for.
#[derive(Debug, Clone, PartialEq)]
pub struct TriggerSpec {
    /// The name, unique among triggers.
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

/// The state of one trigger, with the rules that change it.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    spec: Arc<TriggerSpec>,
    watch: Watch,
    clock: RecoveryClock,
}

impl Trigger {
    /// A trigger about which nothing is known yet.
    #[must_use]
    pub fn new(spec: Arc<TriggerSpec>) -> Self {
        Self { watch: Watch::new(Some(spec.when)), clock: RecoveryClock::default(), spec }
    }

    /// The condition, and the decision that it calls for.
    #[must_use]
    pub fn spec(&self) -> &TriggerSpec {
        &self.spec
    }

    /// The same, for another trigger with this condition.
    #[must_use]
    pub fn shared_spec(&self) -> &Arc<TriggerSpec> {
        &self.spec
    }

    /// Takes in a look of the watched check.
    pub fn observe(&mut self, look: Look<'_>) -> Option<ClockEvent> {
        self.clock.observe(std::slice::from_mut(&mut self.watch), 0, look)
    }

    /// The firing that is not known to have ended. Its evidence may be stale.
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

    /// Since when the condition has held. The trigger may not fire yet.
    #[must_use]
    pub fn holds_since(&self) -> Option<Timestamp> {
        self.firing().map(|firing| firing.first_failure).or_else(|| self.watch.first_failure())
    }

    /// When the watched check last learned something.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.watch.evidence()
    }

    /// Whether the trigger fires. None without fresh evidence.
    #[must_use]
    pub fn is_active(&self, now: Timestamp) -> Option<bool> {
        let fresh = status::is_fresh(self.evidence(), self.spec.when.freshness, now);
        fresh.then(|| self.firing().is_some())
    }

    /// The state that must survive a restart.
    #[must_use]
    pub fn remember(&self) -> RememberedTrigger {
        let mut watched = RememberedCheck::default();
        self.watch.remember(&mut watched);
        RememberedTrigger { watched, firing: self.clock.running().copied(), last: self.clock.last_recovery().copied() }
    }

    /// A trigger that continues from its stored state.
    #[must_use]
    pub fn recall(spec: Arc<TriggerSpec>, remembered: &RememberedTrigger) -> Self {
        let mut trigger = Self::new(spec);
        trigger.watch.recall(&remembered.watched);
        trigger.clock.resume(std::slice::from_ref(&trigger.watch), remembered.firing, remembered.last, |_| true);
        trigger
    }
}

/// The stored state of one trigger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RememberedTrigger {
    /// What the watched check saw.
    pub watched: RememberedCheck,
    /// The firing that is not known to have ended.
    pub firing: Option<Outage>,
    /// The last firing that ended.
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

    /// What a start at `now` may keep of it. The rules are those of a contract: see
    /// [`super::remembered::Remembered::recalled`].
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

    /// What is left of it if a part of the stored state was lost. A firing goes on until the
    /// condition is seen to be clear.
    #[must_use]
    pub fn after_loss(self) -> Self {
        Self { watched: self.watched.after_loss(), ..self }
    }

    /// Whether `self` holds news compared with the older `stored`. It is no news that time passed
    /// and nothing changed.
    #[must_use]
    pub fn is_news_after(&self, stored: &Self) -> bool {
        (self.firing, self.last) != (stored.firing, stored.last) || self.watched.is_news_after(&stored.watched)
    }
}
