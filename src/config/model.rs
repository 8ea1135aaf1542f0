//! The configuration as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::plans::{Drill, Incident, Reaction};
use super::references::ClockRef;
use super::triggers::{Trigger, TriggerDraft};
use crate::checks::KindConfig;
use crate::clients::Connections;
use crate::clients::kubernetes::KubernetesConnection;
use crate::clients::nats::NatsConnection;
use crate::clients::prometheus::PrometheusConnection;
use crate::decode::values::{Name, PromDuration, Ratio, Times};
use crate::decode::{Decode, Decoder, Fields, Node, section};
use crate::domain::check::CheckSpec;
use crate::domain::contract::{ContractSpec, Objective, Priority};
use crate::domain::response::Escalation;
use crate::engine::snapshot::{Share, ShownConfiguration};

/// The whole configuration, with the defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Connections that checks share.
    pub connections: Connections,
    /// The promises, and how they are measured.
    pub contracts: Vec<Contract>,
    /// Conditions that call for a failover decision.
    pub triggers: Vec<Trigger>,
    /// Disasters that a person may declare.
    pub incidents: Vec<Incident>,
    /// Planned recoveries, checks on a schedule, and regular reviews.
    pub drills: Vec<Drill>,
    /// How soon people react, by severity.
    pub escalation: Escalation,
    /// The text that people are shown: without comments and secrets.
    pub shown: Arc<ShownConfiguration>,
    /// Which part of the file this is.
    pub share: Share,
}

impl Config {
    /// The number of checks.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.contracts.iter().map(|contract| contract.checks.len()).sum()
    }
}

/// A contract, and what measures it.
#[derive(Debug, Clone)]
pub struct Contract {
    /// The promise, with the defaults filled in.
    pub spec: ContractSpec,
    /// The checks that measure it. Never empty.
    pub checks: Vec<ContractCheck>,
}

/// A check of a contract.
#[derive(Debug, Clone)]
pub struct ContractCheck {
    /// How the check is run and judged, with the defaults filled in.
    pub spec: CheckSpec,
    /// What it measures.
    pub kind: KindConfig,
}

section! {
    /// The values for everything that a contract or check leaves out.
    pub struct Defaults {
        /// The time from the start of one run of a check to the start of the next.
        pub interval: PromDuration = Defaults::STANDARD.interval,
        /// The interval while the contract's recovery clock runs, if that is shorter.
        pub interval_when_down: PromDuration = Defaults::STANDARD.interval_when_down,
        /// How long one run may take in total.
        pub timeout: PromDuration = Defaults::STANDARD.timeout,
        /// The share of a target above which an objective is at risk.
        pub at_risk_ratio: Ratio = Defaults::STANDARD.at_risk_ratio,
        /// How many failures in a row start the recovery clock.
        pub failures_to_trigger: Times = Defaults::STANDARD.failures_to_trigger,
        /// How many healthy observations in a row count as recovered.
        pub successes_to_recover: Times = Defaults::STANDARD.successes_to_recover,
    }
}

impl Defaults {
    /// The values for everything that the file leaves out.
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
    /// The whole configuration.
    pub struct Document {
        /// The values for everything that a contract or check leaves out.
        pub defaults: Defaults = Defaults::STANDARD,
        /// Connections to NATS, by name.
        pub nats: BTreeMap<Name, NatsConnection> = BTreeMap::new(),
        /// Connections to Kubernetes clusters, by name.
        pub kubernetes: BTreeMap<Name, KubernetesConnection> = BTreeMap::new(),
        /// Connections to Prometheus, or to a server with the same API, by name.
        pub prometheus: BTreeMap<Name, PrometheusConnection> = BTreeMap::new(),
        /// The promises, and how they are measured.
        pub contracts: Vec<ContractDraft>,
        /// Conditions that call for a failover decision.
        pub triggers: Vec<TriggerDraft> = Vec::new(),
        /// Disasters that a person may declare.
        pub incidents: Vec<Incident> = Vec::new(),
        /// Planned recoveries, checks on a schedule, and regular reviews.
        pub drills: Vec<Drill> = Vec::new(),
        /// How soon somebody must react to an alarm, by its severity. The default for what is left
        /// out is 15 minutes for `P0`, 1 hour for `P1`, 4 hours for `P2`, and no limit for `P3`.
        pub escalation: BTreeMap<Priority, Reaction> = BTreeMap::new(),
    }
    draft = ConfigDraft;
}

section! {
    /// The promise of a component.
    pub struct ContractOptions {
        /// The name, unique among contracts.
        pub name: Name,
        /// The name that people use for the component.
        pub component: String,
        /// Who has to keep the promise.
        pub owner: String,
        /// How urgent it is, from `P0` (most urgent) to `P3`.
        pub priority: Priority,
        /// Recovery time objective: a recovery must take less time than this. At least one of `rto`
        /// and `rpo` is needed.
        pub rto: Option<PromDuration> = None,
        /// Recovery point objective: the data at risk must be less.
        pub rpo: Option<PromDuration> = None,
        /// The share of a target above which an objective is at risk. The default is in `defaults`.
        pub at_risk_ratio: Option<Ratio> = None,
        /// The age at which the last measured recovery stops proving the RTO. Without it, a
        /// recovery proves the RTO forever.
        pub drill_every: Option<PromDuration> = None,
        /// The contracts that may be down while this one must stay healthy. Every outage of theirs
        /// tests that.
        pub independent_of: Vec<ClockRef> = Vec::new(),
        /// The checks that measure it.
        pub checks: Vec<CheckDraft>,
    }
    draft = ContractDraft;
}

section! {
    /// How a check is run and judged. The default of each key is in `defaults`.
    pub struct CheckSchedule {
        /// The name, unique among the contract's checks.
        pub name: Name,
        /// The time from the start of one run to the start of the next.
        pub interval: Option<PromDuration> = None,
        /// The interval while the contract's recovery clock runs, if that is shorter.
        pub interval_when_down: Option<PromDuration> = None,
        /// How long one run may take in total. A run that takes longer than the interval delays the
        /// next.
        pub timeout: Option<PromDuration> = None,
        /// How many failures in a row start the recovery clock.
        pub failures_to_trigger: Option<Times> = None,
        /// How many healthy observations in a row count as recovered.
        pub successes_to_recover: Option<Times> = None,
        /// The sync lag above which there is a warning. Only for checks that feed `rpo`.
        pub warn_after: Option<PromDuration> = None,
        /// The sync lag that the synchronisation is meant to stay below. It is exported for
        /// dashboards, and decides nothing.
        pub lag_budget: Option<PromDuration> = None,
        /// The objectives that it feeds. The default is every objective that the kind can feed and
        /// the contract has.
        pub feeds: Option<Vec<Objective>> = None,
    }
    draft = ScheduleDraft;
}

/// A check: its schedule and one kind, each as far as it could be read. So an error in one check
/// does not hide the errors of its contract.
#[derive(Debug, Clone, Default)]
pub struct CheckDraft {
    pub(super) schedule: ScheduleDraft,
    pub(super) kind: Option<KindConfig>,
}

impl Decode for CheckDraft {
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

/// Whether an optional value is there, with or without errors.
pub(super) fn given<T>(value: Option<&Option<T>>) -> bool {
    value.is_none_or(Option::is_some)
}

impl ContractDraft {
    /// Whether the contract has an objective. Its target may have an error.
    pub(super) fn promises(&self, objective: Objective) -> bool {
        match objective {
            Objective::Rto => given(self.rto.as_ref()),
            Objective::Rpo => given(self.rpo.as_ref()),
        }
    }

    /// Whether the contract has any objective.
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
