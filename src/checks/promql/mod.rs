//! `promql`: any number that a Prometheus has, as the health of a component or as the recovery point of a copy.

pub mod bound;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::Clients;
use crate::clients::prometheus::{self, CREDENTIALS_UNREADABLE, Prometheus, Question};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::sides::Sides;
use crate::config::values::{Finite, PromDuration, PromQuery, PrometheusRef};
use crate::domain::contract::Feeds;
use crate::domain::observation::{Finding, Observation, Reading, ReadingKind, ReadingValue, Reason, join};
use verdict::Meaning;

config! {
    /// Any number that a Prometheus has. `healthy_when` feeds `rto`, the two others feed `rpo`.
    pub struct PromqlConfig {
        /// Where it is asked: the name of a connection of the `prometheus` section.
        pub prometheus: PrometheusRef,
        /// The query. It must give exactly one number.
        pub query: PromQuery,
        /// The component is healthy while the number is on this side. One of the three meanings.
        pub healthy_when: Option<Condition> = None,
        /// The number is the age of the copy in seconds, at the time of the samples it rests on. One of the three meanings.
        pub age_seconds: bool = false,
        /// The number is the instant up to which the copy is complete, in seconds since the Unix epoch. One of the three
        /// meanings.
        pub timestamp_seconds: bool = false,
        /// How old the samples that the query rests on may be; 5m, the lookback of Prometheus, if left out.
        pub max_staleness: Option<PromDuration> = None => incidental,
    }
    validate = PromqlConfig::validate;
}

config! {
    /// A comparison: exactly one of its keys.
    pub struct Condition {
        /// Holds while the number is greater.
        pub above: Option<Finite> = None,
        /// Holds while the number is less.
        pub below: Option<Finite> = None,
        /// Holds while the number is the same.
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

    /// Whether it holds of a number.
    #[must_use]
    #[expect(clippy::float_cmp, reason = "the same is what was asked for")]
    pub fn holds(&self, value: f64) -> bool {
        self.above.is_none_or(|above| value > above.get())
            && self.below.is_none_or(|below| value < below.get())
            && self.equals.is_none_or(|equals| value == equals.get())
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
        Question::validate(&self.query, self.max_staleness, fields, cx);
    }

    /// How many meanings the number is given.
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
    "The query says that the component is not well: look at the component; the detail has number and condition.",
);
/// The number cannot be what it should be.
pub static ABSURD: Reason = Reason::new(
    "absurd",
    "The number is no age or no Unix timestamp in seconds: negative, 0 for never, milliseconds, or a clock is wrong.",
);

const REASONS: [&Reason; 20] = join(prometheus::REASONS, [&CONDITION_FALSE, &ABSURD]);

/// What the query gave.
static VALUE: ReadingKind = ReadingKind {
    metric: "dr_promql_value",
    help: "The number that the query last gave. Absent when it gave none",
    label: None,
};
/// How old what it rests on is.
static STALENESS: ReadingKind = ReadingKind {
    metric: "dr_promql_sample_age_seconds",
    help: "Age of the stalest sample that the query rests on, offsets allowed for. Absent where that cannot be told",
    label: None,
};

impl Kind for PromqlConfig {
    const INFO: KindInfo = KindInfo {
        name: "promql",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &REASONS,
        readings: &[&VALUE, &STALENESS],
        warnings: &[],
    };

    fn can_feed(&self) -> Feeds {
        // Without one meaning, which is an error already, nothing is added to that.
        if self.meanings() != 1 {
            return Self::INFO.can_feed;
        }
        Feeds { rto: self.healthy_when.is_some(), rpo: self.age_seconds || self.timestamp_seconds }
    }

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let question = Question::new(&self.query, self.max_staleness.unwrap_or(Question::MAX_STALENESS));
        Arc::new(PromqlCheck { prometheus: clients.prometheus(&self.prometheus), question, meaning: self.meaning() })
    }

    fn sides(&self) -> Sides<'_> {
        Sides::One
    }
}

struct PromqlCheck {
    prometheus: Option<Prometheus>,
    question: Question,
    meaning: Meaning,
}

#[async_trait]
impl Check for PromqlCheck {
    async fn run(&self, run: Run) -> Observation {
        let number = match &self.prometheus {
            Some(prometheus) => self.question.ask(prometheus, run.deadline).await,
            // The loader refuses a reference that leads nowhere.
            None => Err(Finding::new(&CREDENTIALS_UNREADABLE, "the check has no Prometheus")),
        };
        let (health, copy) = verdict::of(&number, &self.meaning, run.clock);
        let readings = number.as_ref().map_or_else(
            |_| Vec::new(),
            |number| {
                let aged = number.staleness.map(|staleness| {
                    let seconds = Duration::try_from_secs_f64(staleness).unwrap_or_default();
                    let taken = run.clock.at(number.sent).minus(seconds);
                    Reading { kind: &STALENESS, label: None, value: ReadingValue::AgeOf(taken) }
                });
                let value = Reading { kind: &VALUE, label: None, value: ReadingValue::Number(number.value) };
                [value].into_iter().chain(aged).collect()
            },
        );
        let seen = number.as_ref().ok().map(|number| run.clock.at(number.sent));
        Observation { copy, readings, seen, ..Observation::of_health(health) }
    }
}
