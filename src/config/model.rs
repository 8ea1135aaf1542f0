//! The configuration as a whole.

use std::collections::BTreeMap;

use serde_json::json;

use super::decode::{Decode, Decoder, Fields};
use super::plans::{Drill, Incident};
use super::triggers::Trigger;
use super::values::{ClockRef, Name, PromDuration, Ratio, Times};
use super::yaml::Node;
use super::{rules, section};
use crate::checks::KindConfig;
use crate::clients::kubernetes::KubernetesConnection;
use crate::clients::nats::NatsConnection;
use crate::clients::prometheus::PrometheusConnection;
use crate::domain::contract::{CheckSpec, ContractSpec, Feeds, Objective, Priority};

/// A contract, and the stanzas of its checks in the order of its specification.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The promise, defaults filled in.
    pub spec: ContractSpec,
    /// What measures it.
    pub kinds: Vec<KindConfig>,
}

section! {
    /// What holds where a contract or check does not say otherwise.
    pub struct Defaults {
        /// From the start of one run of a check to the start of the next.
        pub interval: PromDuration = Defaults::STANDARD.interval,
        /// The same while the contract's recovery clock runs, if that is shorter.
        pub interval_when_down: PromDuration = Defaults::STANDARD.interval_when_down,
        /// How long one run may take, everything included.
        pub timeout: PromDuration = Defaults::STANDARD.timeout,
        /// The share of a target above which it is at risk.
        pub at_risk_ratio: Ratio = Defaults::STANDARD.at_risk_ratio,
        /// How many failures in a row start the recovery clock.
        pub failures_to_trigger: Times = Defaults::STANDARD.failures_to_trigger,
        /// How many healthy observations in a row count as recovered.
        pub successes_to_recover: Times = Defaults::STANDARD.successes_to_recover,
    }
    validate = rules::take_defaults;
}

impl Defaults {
    /// What holds where the file does not say otherwise.
    pub const STANDARD: Self = Self {
        interval: PromDuration::from_secs(30),
        interval_when_down: PromDuration::from_secs(5),
        timeout: PromDuration::from_secs(5),
        at_risk_ratio: Ratio::FOUR_FIFTHS,
        failures_to_trigger: Times::new(3),
        successes_to_recover: Times::new(1),
    };
}

section! {
    /// Everything that is configured.
    pub struct Config {
        /// What holds where a contract or check does not say otherwise.
        pub defaults: Defaults = Defaults::STANDARD,
        /// Connections to NATS, by name.
        pub nats: BTreeMap<Name, NatsConnection> = BTreeMap::new(),
        /// Connections to Kubernetes clusters, by name.
        pub kubernetes: BTreeMap<Name, KubernetesConnection> = BTreeMap::new(),
        /// Connections to Prometheus, and to what speaks its API, by name.
        pub prometheus: BTreeMap<Name, PrometheusConnection> = BTreeMap::new(),
        /// The promises, and how they are measured.
        pub contracts: Vec<Contract>,
        /// Conditions that call for a failover decision.
        pub triggers: Vec<Trigger> = Vec::new(),
        /// Disasters that a person may declare.
        pub incidents: Vec<Incident> = Vec::new(),
        /// Recoveries that are planned, and what is looked at in between.
        pub drills: Vec<Drill> = Vec::new(),
    }
}

section! {
    /// A component's promise.
    pub struct ContractOptions {
        /// Unique among contracts.
        pub name: Name,
        /// What people call the component.
        pub component: String,
        /// Who has to keep the promise.
        pub owner: String,
        /// How urgent it is, from `P0`, the most, to `P3`.
        pub priority: Priority,
        /// Recovery time objective: a recovery must take less. At least one of `rto` and `rpo` is needed.
        pub rto: Option<PromDuration> = None,
        /// Recovery point objective: the data at risk must be less.
        pub rpo: Option<PromDuration> = None,
        /// The share of a target above which it is at risk; the default's if left out.
        pub at_risk_ratio: Option<Ratio> = None,
        /// How old the last measured recovery may grow before it no longer proves the RTO. Never, if left out.
        pub drill_every: Option<PromDuration> = None,
        /// The contracts that it must stay healthy without; whether it does is held against every outage of theirs.
        pub independent_of: Vec<ClockRef> = Vec::new(),
        /// What is measured.
        pub checks: Vec<CheckOptions>,
    }
    draft = ContractDraft;
}

section! {
    /// How a check is run and judged. What is left out is as in `defaults`.
    pub struct CheckSchedule {
        /// Unique among the contract's checks.
        pub name: Name,
        /// From the start of one run to the start of the next.
        pub interval: Option<PromDuration> = None,
        /// The same while the contract's recovery clock runs, if that is shorter.
        pub interval_when_down: Option<PromDuration> = None,
        /// How long one run may take, everything included. A run that takes longer than the interval delays the next.
        pub timeout: Option<PromDuration> = None,
        /// How many failures in a row start the recovery clock.
        pub failures_to_trigger: Option<Times> = None,
        /// How many healthy observations in a row count as recovered.
        pub successes_to_recover: Option<Times> = None,
        /// The sync lag above which there is a warning. Only for checks that feed `rpo`.
        pub warn_after: Option<PromDuration> = None,
        /// The sync lag that the synchronisation is meant to stay below, for dashboards: it is exported and decides nothing.
        pub lag_budget: Option<PromDuration> = None,
        /// The objectives that it feeds; all that the kind can feed and the contract has, if left out.
        pub feeds: Option<Vec<Objective>> = None,
    }
    draft = ScheduleDraft;
}

/// A check: its schedule, and one kind; each as far as it could be read, so that what is wrong with one check hides nothing
/// that is wrong with its contract.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    pub(super) schedule: ScheduleDraft,
    pub(super) kind: Option<KindConfig>,
}

impl Decode for CheckOptions {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let known: Vec<&str> = CheckSchedule::KEYS.iter().chain(KindConfig::NAMES).copied().collect();
        let Some(fields) = Fields::open(node, &known, cx) else { return Some(Self::default()) };
        let schedule = ScheduleDraft::read(&fields, cx);
        let mut kinds = KindConfig::NAMES.iter().filter_map(|name| fields.get(name));
        let (kind, second) = (kinds.next(), kinds.next());
        if kind.is_none() {
            cx.error(node.at, format!("the check has no kind; add one of {}", KindConfig::NAMES.join(", ")));
        }
        if let Some(second) = second {
            cx.error(second.at, "the check has a second kind; make it a check of its own");
        }
        let kind = kind.and_then(|kind| cx.under(&kind.key, |cx| KindConfig::decode(&kind.key, &kind.node, cx)));
        Some(Self { schedule, kind })
    }

    fn schema() -> serde_json::Value {
        let mut properties = CheckSchedule::properties();
        properties.extend(KindConfig::schemas());
        let one_kind: Vec<_> = KindConfig::NAMES.iter().map(|name| json!({"required": [name]})).collect();
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": properties,
            "required": CheckSchedule::required(),
            "oneOf": one_kind,
        })
    }
}

impl Decode for Contract {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if let Some(checks) = node.get("checks") {
            cx.under("checks", |cx| rules::names_are_unique(&checks.node, cx));
        }
        let fields = Fields::open(node, ContractOptions::KEYS, cx)?;
        let draft = ContractDraft::read(&fields, cx);
        let feeds = rules::contract(&draft, node, cx);
        Self::of(draft.whole()?, feeds, &cx.defaults)
    }

    fn schema() -> serde_json::Value {
        ContractOptions::schema()
    }
}

impl Contract {
    /// The contract of options in which all is as it should be, and what their checks feed; else none.
    fn of(options: ContractOptions, feeds: Vec<Option<Feeds>>, defaults: &Defaults) -> Option<Self> {
        let checks = options.checks.into_iter().zip(feeds);
        let checks = checks.map(|(CheckOptions { schedule, kind }, feeds)| {
            let kind = kind?;
            Some((schedule.whole()?.spec(&kind, feeds?, defaults), kind))
        });
        let (checks, kinds) = checks.collect::<Option<Vec<_>>>()?.into_iter().unzip();
        let ContractOptions { name, component, owner, priority, rto, rpo, .. } = options;
        let ContractOptions { at_risk_ratio, drill_every, independent_of, .. } = options;
        let spec = ContractSpec {
            name: name.as_str().to_owned(),
            component,
            owner,
            priority,
            rto: rto.map(|rto| rto.get()),
            rpo: rpo.map(|rpo| rpo.get()),
            at_risk_ratio: at_risk_ratio.unwrap_or(defaults.at_risk_ratio).get(),
            drill_every: drill_every.map(|every| every.get()),
            independent_of: independent_of.iter().map(|other| other.name().as_str().to_owned()).collect(),
            checks,
        };
        Some(Self { spec, kinds })
    }
}

impl CheckSchedule {
    /// The specification of a check of this kind.
    fn spec(self, kind: &KindConfig, feeds: Feeds, defaults: &Defaults) -> CheckSpec {
        let interval = self.interval.unwrap_or(defaults.interval);
        CheckSpec {
            name: self.name.as_str().to_owned(),
            kind: kind.info().name,
            interval: interval.get(),
            interval_when_down: self.interval_when_down.unwrap_or(defaults.interval_when_down).min(interval).get(),
            timeout: self.timeout.unwrap_or(defaults.timeout).get(),
            failures_to_trigger: self.failures_to_trigger.unwrap_or(defaults.failures_to_trigger).get(),
            successes_to_recover: self.successes_to_recover.unwrap_or(defaults.successes_to_recover).get(),
            warn_after: self.warn_after.map(|after| after.get()),
            lag_budget: self.lag_budget.map(|budget| budget.get()),
            feeds,
        }
    }
}

/// Whether something that may be left out stands there, as it should be or not.
pub(super) fn given<T>(value: Option<&Option<T>>) -> bool {
    value.is_none_or(Option::is_some)
}

impl ContractDraft {
    /// Whether the contract has an objective, though its target may not be as it should be.
    pub(super) fn promises(&self, objective: Objective) -> bool {
        match objective {
            Objective::Rto => given(self.rto.as_ref()),
            Objective::Rpo => given(self.rpo.as_ref()),
        }
    }

    /// Whether it has any.
    pub(super) fn promises_anything(&self) -> bool {
        Objective::ALL.into_iter().any(|objective| self.promises(objective))
    }

    /// The target of an objective.
    pub(super) fn target(&self, objective: Objective) -> Option<PromDuration> {
        match objective {
            Objective::Rto => self.rto.flatten(),
            Objective::Rpo => self.rpo.flatten(),
        }
    }
}
