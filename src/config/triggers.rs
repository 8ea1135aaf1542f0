//! Triggers: the section `triggers` of the configuration.

use super::references::CheckRef;
use super::resolve::Scope;
use super::warnings;
use crate::checks::pods::PodsConfig;
use crate::checks::promql::bound::QueryConfig;
use crate::checks::rights::Right;
use crate::checks::{Condition, Kind};
use crate::decode::values::{Name, PromDuration, Times};
use crate::decode::{Decode, Decoder, Node, section};
use crate::domain::check::{CheckSpec, Feeds};
use crate::domain::kind::KindInfo;
use crate::domain::recovery_clock::Thresholds;
use crate::domain::trigger::{TriggerMode, TriggerSpec, Watched};

section! {
    /// A condition that calls for a failover decision. Exactly one of `check`, `promql` and `pods`
    /// is watched.
    pub struct TriggerOptions {
        /// The name, unique among triggers.
        pub name: Name,
        /// The action to take. The exporter never takes it: it only says that it is called for.
        pub action: Name,
        /// Where the alert goes: a label for the routes of Alertmanager.
        pub notification: Name,
        /// Who decides: `auto`, a machine that listens to the alert, or `manual`, a person.
        pub mode: TriggerMode = TriggerMode::Auto,
        /// A check of a contract, as `CONTRACT/CHECK`. The trigger fires when this check sees the
        /// component fail.
        pub check: Option<CheckRef> = None,
        /// How many failures of the check in a row it takes. Only with `check`. The default is in
        /// `defaults`.
        pub consecutive_failures: Option<Times> = None,
        /// A query. The trigger fires while its number is beyond a bound.
        pub promql: Option<QueryConfig> = None,
        /// Pods. The trigger fires while fewer than `min_ready` of them are ready. Without
        /// `min_ready` it fires while none is ready.
        pub pods: Option<PodsConfig> = None,
        /// How long the condition must have held, counted from the first look that saw it. The
        /// default is no time.
        pub r#for: Option<PromDuration> = None,
        /// The interval of the looks. Not with `check`. The default is in `defaults`.
        pub interval: Option<PromDuration> = None,
        /// How long one look may take. Not with `check`. The default is in `defaults`.
        pub timeout: Option<PromDuration> = None,
    }
}

/// A trigger and what it watches.
#[derive(Debug, Clone)]
pub struct Trigger {
    /// The options, with the defaults filled in. [`Trigger::spec`] fills in what depends on a
    /// contract's check.
    options: TriggerOptions,
    failures: u32,
    interval: PromDuration,
    timeout: PromDuration,
}

/// Checks that there is exactly one condition, with only the keys that belong to it. It works on
/// the tree, so that an error elsewhere hides nothing.
fn one_condition(node: &Node, cx: &mut Decoder<'_>) {
    let conditions = ["check", "promql", "pods"];
    let mut given = conditions.iter().filter_map(|key| node.get(key));
    let Some(first) = given.next() else {
        let at = node.get("name").map_or(node.at, |entry| entry.at);
        return cx.error(at, format!("the trigger has no condition; add one of {}", conditions.join(", ")));
    };
    if let Some(second) = given.next() {
        cx.error(second.at, "the trigger has a second condition; move it to a trigger of its own");
    }
    let condition = &first.key;
    let out_of_place: &[&str] = if condition == "check" { &["interval", "timeout"] } else { &["consecutive_failures"] };
    for entry in out_of_place.iter().filter_map(|key| node.get(key)) {
        cx.under(&entry.key, |cx| {
            cx.error(entry.at, format!("this has no meaning together with `{condition}`; remove it"));
        });
    }
}

/// A trigger as far as it could be read, so that the errors of one trigger do not hide those of
/// others.
#[derive(Debug, Clone)]
pub struct TriggerDraft(Option<TriggerOptions>);

impl Decode for TriggerDraft {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        Some(Self(TriggerOptions::decode(node, cx)))
    }

    fn schema() -> serde_json::Value {
        TriggerOptions::schema()
    }
}

impl TriggerDraft {
    /// The trigger. None if errors were recorded, here or before.
    pub(super) fn resolve(self, node: &Node, scope: &Scope, cx: &mut Decoder<'_>) -> Option<Trigger> {
        if !node.entries().is_empty() {
            one_condition(node, cx);
        }
        let (options, defaults) = (self.0?, &scope.defaults);
        let interval = options.interval.unwrap_or(defaults.interval);
        let timeout = options.timeout.unwrap_or(defaults.timeout);
        warnings::of_timeout((timeout, interval), node, cx);
        let failures = options.consecutive_failures.unwrap_or(defaults.failures_to_trigger).get();
        Some(Trigger { options, failures, interval, timeout })
    }
}

impl Trigger {
    /// Its own check. None if it watches a check of a contract.
    #[must_use]
    pub fn own(&self) -> Option<Condition> {
        let TriggerOptions { promql, pods, .. } = &self.options;
        promql.clone().map(Condition::Promql).or_else(|| pods.clone().map(Condition::Pods))
    }

    /// The rights that its own check needs in Kubernetes.
    #[must_use]
    pub fn rights(&self) -> Vec<Right<'_>> {
        self.options.pods.as_ref().map(Kind::rights).unwrap_or_default()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.options.name
    }

    /// The check of a contract that it watches.
    #[must_use]
    pub fn watched(&self) -> Option<&CheckRef> {
        self.options.check.as_ref()
    }

    /// The specification. `find` returns the specification of a contract's check, which exists.
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
                let spec = self.own_spec(own?.info());
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
            when: Thresholds {
                failures_to_trigger,
                hold,
                successes_to_recover: 1,
                freshness,
                pace: freshness,
                rhythm: freshness,
            },
        })
    }

    fn own_spec(&self, kind: &'static KindInfo) -> CheckSpec {
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
