//! `promql`: any number from a Prometheus, as the health of a component or as the recovery point of
//! a copy.

pub mod bound;
mod held;
mod verdict;
mod warnings;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use tokio::time::Instant;

use crate::checks::rights::Right;
use crate::checks::sides::Sides;
use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::Clients;
use crate::clients::PrometheusRef;
use crate::clients::prometheus::{self, CREDENTIALS_UNREADABLE, Good, NO_SAMPLE, Number, Prometheus, Question};
use crate::clock::{self, Clock, Moment};
use crate::decode::config;
use crate::decode::values::{Finite, PromDuration, PromQuery};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{Finding, Observation, Reading, ReadingKind, ReadingValue, Reason, join};
use held::Held;
use verdict::{Meaning, Nothing};
use warnings::{FROZEN, RENEWAL_UNKNOWN, frozen_for, renewal_unknown_for};

config! {
    /// Any number from a Prometheus. `healthy_when` feeds `rto`, the other two feed `rpo`.
    pub struct PromqlConfig {
        /// The name of a connection of the `prometheus` section.
        pub prometheus: PrometheusRef,
        /// The query. It must return exactly one number.
        pub query: PromQuery,
        /// The component is healthy while the number meets this condition. One of the three
        /// meanings.
        pub healthy_when: Option<Condition> = None,
        /// The number is the age of the copy in seconds, at the time of the samples that it rests
        /// on. One of the three meanings.
        pub age_seconds: bool = false,
        /// The number is the instant up to which the copy is complete, in seconds since the Unix
        /// epoch. One of the three meanings.
        pub timestamp_seconds: bool = false,
        /// A query whose number changes whenever the age was measured again, such as a counter of
        /// collections, or their time. Without it, an age that does not change proves what it
        /// proved when it was first read. Only with `age_seconds`.
        pub renewed_by: Option<PromQuery> = None => incidental,
        /// The highest age of the samples that the query uses. The default is 5m, the lookback of
        /// Prometheus.
        pub max_staleness: Option<PromDuration> = None => incidental,
    }
    validate = PromqlConfig::validate;
}

config! {
    /// A comparison. Exactly one of its keys must be set.
    pub struct Condition {
        /// The number must be greater than this.
        pub above: Option<Finite> = None,
        /// The number must be less than this.
        pub below: Option<Finite> = None,
        /// The number must be equal to this.
        pub equals: Option<Finite> = None,
    }
    validate = Condition::validate;
}

impl Condition {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if [self.above, self.below, self.equals].into_iter().flatten().count() != 1 {
            cx.error(fields.position("above"), "exactly one of `above`, `below` and `equals` is needed");
        }
    }

    /// Whether the condition holds for a number.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "the same is what was asked for")]
    pub fn holds(&self, value: f64) -> bool {
        self.above.is_none_or(|above| value > above.get())
            && self.below.is_none_or(|below| value < below.get())
            && self.equals.is_none_or(|equals| value == equals.get())
    }

    /// Which numbers it holds for.
    fn good(&self) -> Good {
        match (self.above, self.below) {
            (Some(_), None) => Good::High,
            (None, Some(_)) => Good::Low,
            _ => Good::One,
        }
    }
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.above, self.below, self.equals) {
            (Some(above), _, _) => write!(f, "above {}", above.get()),
            (_, Some(below), _) => write!(f, "below {}", below.get()),
            (_, _, Some(equals)) => write!(f, "equal to {}", equals.get()),
            (None, None, None) => f.write_str("anything"),
        }
    }
}

impl PromqlConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.meanings() != 1 {
            let message = "exactly one of `healthy_when`, `age_seconds: true` and `timestamp_seconds: true` is needed";
            cx.error(fields.position("healthy_when"), message);
        }
        if self.renewed_by.is_some() && !self.age_seconds {
            let message = "`renewed_by` shows that an age was measured again; it needs `age_seconds: true`";
            cx.under("renewed_by", |cx| cx.error(fields.position("renewed_by"), message));
        }
        if let Some(renewed_by) = &self.renewed_by {
            Question::validate_renewal(renewed_by, "renewed_by", fields, cx);
        }
        Question::validate(&self.query, self.max_staleness, fields, cx);
        if self.healthy_when.is_some() {
            Question::warn_of_silence(&self.query, fields, cx);
        } else {
            Question::warn_of_hiding(&self.query, self.age_seconds, fields, cx);
        }
    }

    /// How many of the three meanings are set.
    fn meanings(&self) -> usize {
        let meanings = [self.healthy_when.is_some(), self.age_seconds, self.timestamp_seconds];
        meanings.into_iter().filter(|meant| *meant).count()
    }

    fn meaning(&self) -> Meaning {
        match &self.healthy_when {
            Some(condition) => Meaning::Health(condition.clone()),
            None if self.age_seconds => Meaning::Age,
            None => Meaning::Timestamp,
        }
    }
}

/// The condition does not hold.
pub static CONDITION_FALSE: Reason = Reason::new(
    "condition_false",
    "The query says that the component is not healthy: look at the component. The detail has number and condition.",
);
/// The number is not plausible.
pub static ABSURD: Reason = Reason::new(
    "absurd",
    "The number is not an age, or not a Unix timestamp in seconds: is it negative, 0 for never, or in milliseconds, or is a clock wrong?",
);

/// The source that vouched for the copy no longer does.
pub static WITHDRAWN: Reason = Reason::new(
    "withdrawn",
    "The source now says that there is no copy (0, -1, NaN), or nothing at all: do the backups and their schedule still exist?",
);
const REASONS: [&Reason; 22] = join(prometheus::REASONS, [&CONDITION_FALSE, &ABSURD, &WITHDRAWN]);

/// What the query gave.
static VALUE: ReadingKind = ReadingKind {
    metric: "dr_promql_value",
    help: "The number that the query last returned. Absent if it returned none",
    label: None,
};
/// The age of what the number rests on.
static STALENESS: ReadingKind = ReadingKind {
    metric: "dr_promql_sample_age_seconds",
    help: "The age of the oldest sample that the query rests on, including offsets. Absent if this is not known",
    label: None,
};

impl Kind for PromqlConfig {
    const INFO: KindInfo = KindInfo {
        name: "promql",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &REASONS,
        readings: &[&VALUE, &STALENESS],
        warnings: &[&FROZEN, &RENEWAL_UNKNOWN],
    };

    fn can_feed(&self) -> Feeds {
        // Without exactly one meaning, which is reported as an error elsewhere, no error is added.
        if self.meanings() != 1 {
            return Self::INFO.can_feed;
        }
        Feeds { rto: self.healthy_when.is_some(), rpo: self.age_seconds || self.timestamp_seconds }
    }

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let staleness = self.max_staleness.unwrap_or(Question::MAX_STALENESS);
        let (question, meaning) = (Question::new(&self.query, staleness), self.meaning());
        let must_move = meaning.must_move(&question);
        Arc::new(PromqlCheck {
            prometheus: clients.prometheus(&self.prometheus),
            question: if must_move { question.watching_samples() } else { question },
            renewed_by: self.renewed_by.as_ref().map(|query| Question::new(query, staleness)),
            patience: staleness.get().max(Question::MAX_STALENESS.get()),
            meaning,
            must_move,
            held: Mutex::new(None),
        })
    }

    fn sides(&self) -> Sides<'_> {
        Sides::One
    }

    fn rights(&self) -> Vec<Right<'_>> {
        Vec::new()
    }
}

/// The server is not asked what happened between two looks that are no further apart: it can hardly know more.
const SELDOM: Duration = Duration::from_secs(15);

struct PromqlCheck {
    prometheus: Option<Prometheus>,
    question: Question,
    renewed_by: Option<Question>,
    /// How long an age may stay unchanged before this is reported.
    patience: Duration,
    meaning: Meaning,
    /// Whether the number proves nothing new while it, or what it rests on, stands still.
    must_move: bool,
    /// The number that was read last, where it must move.
    held: Mutex<Option<Held>>,
}

#[async_trait]
impl Check for PromqlCheck {
    async fn run(&self, run: Run) -> Observation {
        // First what renews the number: then the number is at least as new as that.
        let renewal = match (&self.prometheus, &self.renewed_by) {
            (Some(prometheus), Some(renewed_by)) => Some(renewed_by.ask(prometheus, half_of(run.deadline)).await),
            _ => None,
        };
        let unnamed = renewal.as_ref().and_then(|renewal| renewal.as_ref().err()).map(renewal_unknown_for);
        let renewal = renewal.and_then(Result::ok);
        let number = match &self.prometheus {
            Some(prometheus) => self.ask(prometheus, run.deadline).await,
            // The loader refuses a reference to something that does not exist.
            None => Err(Nothing::NoAnswer(Finding::new(&CREDENTIALS_UNREADABLE, "the check has no Prometheus"))),
        };
        let held = match (&number, &self.prometheus) {
            (Ok(number), Some(prometheus)) => self.hold(number, renewal.as_ref(), prometheus, run).await,
            _ => None,
        };
        let frozen = held.as_ref().filter(|held| held.is_frozen(self.patience, run.clock.now()));
        let is_copy = !matches!(self.meaning, Meaning::Health(_));
        let warnings = is_copy.then(|| frozen.map(frozen_for(run, &self.meaning)).into_iter().chain(unnamed).collect());
        let warnings = warnings.filter(|_| number.is_ok());
        let (health, copy) = verdict::of(&number, &self.meaning, run.clock, held.as_ref(), frozen.is_some());
        let readings = number.as_ref().map_or_else(|_| Vec::new(), |number| readings(number, run.clock));
        let seen = number.as_ref().ok().map(|number| run.clock.at(number.sent));
        Observation { copy, readings, seen, warnings, ..Observation::of_health(health) }
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let held = self.held().clone()?;
        serde_json::to_value(held.carried(|at| moment.wall(at))).ok()
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        let held = Held::deserialize(memory).ok();
        *self.held() = held.map(|held| held.carried(|wall| clock.recalled(wall)));
    }
}

impl PromqlCheck {
    fn held(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, prometheus: &Prometheus, deadline: Instant) -> Result<Number, Nothing> {
        if let Meaning::Health(condition) = &self.meaning {
            let number = self.question.ask(prometheus, deadline).await.map_err(Nothing::NoAnswer)?;
            // A bad number stays bad, whoever is silent.
            if condition.holds(number.value) {
                self.question
                    .is_whole(&number, condition.good(), prometheus, deadline)
                    .await
                    .map_err(Nothing::NoAnswer)?;
            }
            return Ok(number);
        }
        let none = match self.question.ask_any(prometheus, deadline).await {
            Ok(number) => return self.unless_partial(number, prometheus, deadline).await,
            Err(none) => none,
        };
        // A filter after an age says when the age counts. A filter on a time leaves no time.
        let of_times = matches!(self.meaning, Meaning::Timestamp) || self.question.grows_with_time();
        let detail = &none.finding.detail;
        if none.filtered && of_times {
            let story = format!("all samples of the query exist, but its filter leaves none: {detail}");
            return Err(Nothing::Withdrawn(Finding::new(&WITHDRAWN, story)));
        }
        if self.question.is_taken_away(&none, prometheus, deadline).await {
            let story = format!("a target that is up no longer exports it: {detail}");
            return Err(Nothing::Withdrawn(Finding::new(&WITHDRAWN, story)));
        }
        Err(Nothing::NoAnswer(none.finding))
    }

    /// A number that is that of the worst of several, unless the worst may be among those that are silent: it has not caught up.
    async fn unless_partial(
        &self,
        number: Number,
        prometheus: &Prometheus,
        deadline: Instant,
    ) -> Result<Number, Nothing> {
        let is_age = matches!(self.meaning, Meaning::Age);
        if !self.question.takes_the_worst(is_age) {
            return Ok(number);
        }
        // Series of ages come and go with what they are of; a time that a target leaves out is one that it told of before.
        let left_out = !is_age || self.question.grows_with_time();
        match self.question.silent(left_out, prometheus, deadline).await {
            // An answer whose worst series may be missing proves nothing.
            Err(finding) => Err(Nothing::NoAnswer(finding)),
            Ok(None) => Ok(number),
            Ok(Some(silent)) => {
                let story = format!(
                    "{silent} of the series that the query combines have no sample, and the worst may be among them"
                );
                Err(Nothing::NoAnswer(Finding::new(&NO_SAMPLE, story)))
            }
        }
    }

    /// Remembers a number that must move; gives how it was first read.
    async fn hold(&self, number: &Number, renewal: Option<&Number>, prometheus: &Prometheus, run: Run) -> Option<Held> {
        let least = verdict::point(number, &self.meaning).ok().filter(|_| self.must_move)?;
        let taken = |number: &Number| number.instant(verdict::taken(number), run.clock);
        let at = taken(number);
        let read = held::Reading {
            value: number.value,
            renewal: renewal.map(|renewal| renewal.value),
            samples: number.samples.clone(),
            at,
            first: renewal.map_or(at, |renewal| taken(renewal).min(at)),
            point: number.instant(least, run.clock),
        };
        let known = self.held().clone();
        let deadline = half_of(run.deadline);
        // What moves when it was measured, and where its number was read.
        let (question, told) = match (&self.renewed_by, renewal) {
            (Some(renewed_by), Some(renewal)) => (renewed_by, renewal),
            _ => (&self.question, number),
        };
        let measured = match &known {
            // At a first look the server may remember more.
            None => {
                let standing = question.standing(told, prometheus, deadline).await;
                standing
                    .and_then(|standing| standing.other.or(standing.first))
                    .map(|since| number.instant(since, run.clock))
            }
            Some(known) => match known.unseen_since(&read) {
                Some(seen) if read.at.since(seen) <= SELDOM => Some(seen),
                // Nobody saw when it was measured. The server may have.
                Some(seen) => {
                    let span = run.clock.now().since(seen);
                    let other = question.last_other(told, span, prometheus, deadline).await;
                    Some(other.map_or(seen, |other| number.instant(other, run.clock).max(seen)))
                }
                None => None,
            },
        };
        let read = match measured {
            Some(at) => read.measured(at),
            None => read,
        };
        let now = Held::after(known, &read);
        *self.held() = Some(now.clone());
        Some(now)
    }
}

/// Half of the time until a deadline is left for what comes after.
fn half_of(deadline: Instant) -> Instant {
    let now = clock::instant();
    now + deadline.saturating_duration_since(now) / 2
}

fn readings(number: &Number, clock: Clock) -> Vec<Reading> {
    let aged = number.staleness.map(|staleness| {
        let seconds = Duration::try_from_secs_f64(staleness).unwrap_or_default();
        let taken = clock.at(number.sent).minus(seconds);
        Reading { kind: &STALENESS, label: None, value: ReadingValue::AgeOf(taken) }
    });
    let value = Reading { kind: &VALUE, label: None, value: ReadingValue::Number(number.value) };
    [value].into_iter().filter(|_| number.value.is_finite()).chain(aged).collect()
}
