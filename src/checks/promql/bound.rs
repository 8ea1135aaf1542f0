//! A query with a bound, for triggers.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use super::Condition;
use crate::checks::{Check, Run};
use crate::clients::Clients;
use crate::clients::PrometheusRef;
use crate::clients::prometheus::{CREDENTIALS_UNREADABLE, Good, Number, Prometheus, Question};
use crate::decode::config;
use crate::decode::values::{Finite, PromDuration, PromQuery};
use crate::decode::{Decoder, Fields};
use crate::domain::observation::{Finding, Health, Observation, Reason};

config! {
    /// A query, and a bound for its number: exactly one of `above` and `below`.
    pub struct QueryConfig {
        /// The name of a connection of the `prometheus` section.
        pub prometheus: PrometheusRef,
        /// The query. It must return exactly one number.
        pub query: PromQuery,
        /// The condition holds while the number is greater than this.
        pub above: Option<Finite> = None,
        /// The condition holds while the number is less than this.
        pub below: Option<Finite> = None,
        /// The highest age of the samples that the query uses. The default is 5m, the lookback of
        /// Prometheus.
        pub max_staleness: Option<PromDuration> = None => incidental,
    }
    validate = QueryConfig::validate;
}

/// The number is beyond its bound.
pub static BEYOND_BOUND: Reason =
    Reason::new("beyond_bound", "The condition of the trigger holds: decide whether to take its action.");

impl QueryConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.above.is_some() == self.below.is_some() {
            cx.error(fields.position("above"), "exactly one of `above` and `below` is needed");
        }
        Question::validate(&self.query, self.max_staleness, fields, cx);
        Question::warn_of_silence(&self.query, fields, cx);
    }

    /// The check that asks. It is unhealthy while the number is beyond the bound.
    #[must_use]
    pub fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        Arc::new(BoundCheck {
            prometheus: clients.prometheus(&self.prometheus),
            question: Question::new(&self.query, self.max_staleness.unwrap_or(Question::MAX_STALENESS)),
            beyond: Condition { above: self.above, below: self.below, equals: None },
        })
    }
}

struct BoundCheck {
    prometheus: Option<Prometheus>,
    question: Question,
    beyond: Condition,
}

impl BoundCheck {
    async fn ask(&self, prometheus: &Prometheus, deadline: Instant) -> Result<Number, Finding> {
        let number = self.question.ask(prometheus, deadline).await?;
        // A number beyond the bound stays beyond it, whoever is silent.
        if !self.beyond.holds(number.value) {
            let good = if self.beyond.above.is_some() { Good::Low } else { Good::High };
            self.question.is_whole(&number, good, prometheus, deadline).await?;
        }
        Ok(number)
    }
}

#[async_trait]
impl Check for BoundCheck {
    async fn run(&self, run: Run) -> Observation {
        let number = match &self.prometheus {
            Some(prometheus) => self.ask(prometheus, run.deadline).await,
            // The loader refuses a reference to something that does not exist.
            None => Err(Finding::new(&CREDENTIALS_UNREADABLE, "the trigger has no Prometheus")),
        };
        let health = match &number {
            Err(finding) => Health::NoAnswer(finding.clone()),
            Ok(number) if self.beyond.holds(number.value) => {
                let story = format!("the query gives {}, which is {}", number.value, self.beyond);
                Health::Unhealthy(Finding::new(&BEYOND_BOUND, story))
            }
            Ok(_) => Health::Healthy,
        };
        let seen = number.ok().map(|number| run.clock.at(number.sent));
        Observation { seen, ..Observation::of_health(health) }
    }
}
