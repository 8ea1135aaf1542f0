//! Triggers: the section `triggers` of the configuration.

use std::sync::Arc;

use super::connections::Connections;
use super::decode::{Decode, Decoder};
use super::identity::{self, Identity};
use super::section;
use super::values::{CheckRef, Name, PromDuration, Times};
use super::warnings;
use super::yaml::Node;
use crate::checks::pods::PodsConfig;
use crate::checks::promql::PromqlConfig;
use crate::checks::promql::bound::QueryConfig;
use crate::checks::{Check, Kind};
use crate::clients::Clients;
use crate::domain::contract::{CheckSpec, Feeds};
use crate::domain::recovery_clock::Thresholds;
use crate::domain::trigger::{TriggerMode, TriggerSpec, Watched};

section! {
    /// A condition that calls for a failover decision. What it watches is one of `check`, `promql` and `pods`.
    pub struct TriggerOptions {
        /// Unique among triggers.
        pub name: Name,
        /// What should be done. The exporter never does it: it only says that it is called for.
        pub action: Name,
        /// Where the alert goes: the label that Alertmanager routes by.
        pub notification: Name,
        /// Who decides: `auto`, a machine that listens to the alert, or `manual`, a person.
        pub mode: TriggerMode = TriggerMode::Auto,
        /// A check of a contract, as `CONTRACT/CHECK`: fires when the component fails.
        pub check: Option<CheckRef> = None,
        /// How many failures of the check in a row it takes. Only with `check`; as many as `defaults` says, if left out.
        pub consecutive_failures: Option<Times> = None,
        /// A query: fires while its number lies beyond a bound.
        pub promql: Option<QueryConfig> = None,
        /// Pods: fires while fewer than `min_ready` of them are ready, which are all unhealthy if that is left out.
        pub pods: Option<PodsConfig> = None,
        /// How long the condition must have held, from the first look that saw it. No time, if left out.
        pub r#for: Option<PromDuration> = None,
        /// How often to look. Not with `check`; as `defaults` says, if left out.
        pub interval: Option<PromDuration> = None,
        /// How long one look may take. Not with `check`; as `defaults` says, if left out.
        pub timeout: Option<PromDuration> = None,
    }
}

/// What a trigger watches by a check of its own.
#[derive(Debug, Clone)]
pub enum Own {
    /// Whether enough pods are ready.
    Pods(PodsConfig),
    /// Whether a query's number stays within its bound.
    Promql(QueryConfig),
}

/// A trigger, and what it watches.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The condition, defaults filled in. What depends on a contract's check is filled in by [`Trigger::spec`].
    options: TriggerOptions,
    failures: u32,
    interval: PromDuration,
    timeout: PromDuration,
}

impl Own {
    fn kind(&self) -> &'static str {
        match self {
            Self::Pods(_) => PodsConfig::INFO.name,
            Self::Promql(_) => PromqlConfig::INFO.name,
        }
    }

    /// The check that looks.
    #[must_use]
    pub fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        match self {
            Self::Pods(pods) => pods.build(clients),
            Self::Promql(query) => query.build(clients),
        }
    }

    /// What it measures.
    #[must_use]
    pub fn identity(&self, connections: &Connections) -> Identity {
        match self {
            Self::Pods(pods) => Identity::of(self.kind(), pods, connections),
            Self::Promql(query) => Identity::of(self.kind(), query, connections),
        }
    }

    /// All that its stanza says.
    #[must_use]
    pub fn whole(&self, connections: &Connections) -> String {
        match self {
            Self::Pods(pods) => identity::whole(self.kind(), pods, connections),
            Self::Promql(query) => identity::whole(self.kind(), query, connections),
        }
    }
}

/// Exactly one condition, and with it only the keys that mean something there. Works on the tree, so that a fault elsewhere
/// does not hide it.
fn one_condition(node: &Node, cx: &mut Decoder<'_>) {
    let conditions = ["check", "promql", "pods"];
    let mut given = conditions.iter().filter_map(|key| node.get(key));
    let Some(first) = given.next() else {
        let at = node.get("name").map_or(node.at, |entry| entry.at);
        return cx.error(at, format!("the trigger has no condition; add one of {}", conditions.join(", ")));
    };
    if let Some(second) = given.next() {
        cx.error(second.at, "the trigger has a second condition; make it a trigger of its own");
    }
    let condition = &first.key;
    let out_of_place: &[&str] = if condition == "check" { &["interval", "timeout"] } else { &["consecutive_failures"] };
    for entry in out_of_place.iter().filter_map(|key| node.get(key)) {
        cx.under(&entry.key, |cx| {
            cx.error(entry.at, format!("this means nothing beside `{condition}`; remove it"));
        });
    }
}

impl Decode for Trigger {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let options = TriggerOptions::decode(node, cx);
        if !node.entries().is_empty() {
            one_condition(node, cx);
        }
        let options = options?;
        let defaults = cx.defaults.clone();
        let given = |key| node.get(key).map(|entry| (key, entry.at));
        if let Some(given) = given("timeout").or(given("interval")) {
            let (timeout, interval) = (options.timeout, options.interval);
            let interval = interval.unwrap_or(defaults.interval);
            warnings::of_timeout(timeout.unwrap_or(defaults.timeout), interval, given, cx);
        }
        Some(Self {
            failures: options.consecutive_failures.unwrap_or(defaults.failures_to_trigger).get(),
            interval: options.interval.unwrap_or(defaults.interval),
            timeout: options.timeout.unwrap_or(defaults.timeout),
            options,
        })
    }

    fn schema() -> serde_json::Value {
        TriggerOptions::schema()
    }
}

impl Trigger {
    /// What it watches by a check of its own; none if it watches a contract's.
    #[must_use]
    pub fn own(&self) -> Option<Own> {
        let TriggerOptions { promql, pods, .. } = &self.options;
        promql.clone().map(Own::Promql).or_else(|| pods.clone().map(Own::Pods))
    }

    /// The check of a contract that it watches.
    #[must_use]
    pub fn watched(&self) -> Option<&CheckRef> {
        self.options.check.as_ref()
    }

    /// The specification; `find` gives that of a contract's check, which exists.
    #[must_use]
    pub fn spec<'a>(&self, find: impl FnOnce(&CheckRef) -> Option<&'a CheckSpec>) -> Option<TriggerSpec> {
        let options = &self.options;
        let (watched, failures_to_trigger, freshness) = match (&options.check, self.own()) {
            (Some(check), _) => {
                let CheckRef { contract, check: name } = check;
                let (contract, name) = (contract.as_str().to_owned(), name.as_str().to_owned());
                (Watched::Check { contract, check: name }, self.failures, find(check)?.freshness())
            }
            (None, own) => {
                let spec = self.own_spec(own?.kind());
                let freshness = spec.freshness();
                (Watched::Own(Box::new(spec)), 1, freshness)
            }
        };
        let hold = options.r#for.map(PromDuration::get).unwrap_or_default();
        Some(TriggerSpec {
            name: options.name.as_str().to_owned(),
            action: options.action.as_str().to_owned(),
            notification: options.notification.as_str().to_owned(),
            mode: options.mode,
            watched,
            when: Thresholds { failures_to_trigger, hold, successes_to_recover: 1, freshness },
        })
    }

    fn own_spec(&self, kind: &'static str) -> CheckSpec {
        let interval = self.interval.get();
        CheckSpec {
            name: self.options.name.as_str().to_owned(),
            kind,
            interval,
            interval_when_down: interval,
            timeout: self.timeout.get(),
            failures_to_trigger: 1,
            successes_to_recover: 1,
            warn_after: None,
            lag_budget: None,
            feeds: Feeds { rto: true, rpo: false },
        }
    }
}
