//! The rules that no value can check alone, and the contracts that come of what they let through.

use super::decode::{Decoder, Fields, Key};
use super::model::{CheckOptions, Config, Contract, ContractOptions, Defaults};
use super::values::{CheckRef, ClockRef, ConnectionRef, ContractRef, Name};
use super::warnings;
use super::yaml::{Entry, Node, Position, Value};
use crate::domain::contract::{CheckSpec, ContractSpec, Feeds, Objective};

/// The defaults are decoded first; what follows fills its gaps with them.
pub(super) fn take_defaults(defaults: &Defaults, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    cx.defaults = defaults.clone();
    let given = |key| fields.get(key).map(|entry| (key, entry.at));
    if let Some(given) = given("timeout").or(given("interval")) {
        warnings::of_timeout(defaults.timeout, defaults.interval, given, cx);
    }
}

/// What holds of the file as a whole. Works on the tree, so that a fault elsewhere does not hide it.
pub(super) fn whole(node: &Node, cx: &mut Decoder<'_>) {
    warnings::of_variables(node, cx);
    for list in ["contracts", "triggers", "incidents", "drills"] {
        if let Some(entry) = node.get(list) {
            cx.under(list, |cx| names_are_unique(&entry.node, cx));
        }
    }
    for connections in ConnectionRef::REFERENTS {
        let names: Vec<&str> = node.get(connections.section).map(Entry::keys).unwrap_or_default();
        cx.resolve(*connections, &names);
    }
    let contracts = node.get("contracts").map(|entry| entry.node.items()).unwrap_or_default();
    let names: Vec<&str> = contracts.iter().filter_map(name_of).collect();
    cx.resolve(ContractRef::REFERENT, &names);
    let with_rto = contracts.iter().filter(|contract| contract.get("rto").is_some());
    let names: Vec<&str> = with_rto.filter_map(name_of).collect();
    cx.resolve(ClockRef::REFERENT, &names);
    let checks = contracts.iter().flat_map(|contract| {
        let checks = contract.get("checks").map(|entry| entry.node.items()).unwrap_or_default();
        checks.iter().filter_map(|check| Some(format!("{}/{}", name_of(contract)?, name_of(check)?)))
    });
    let checks: Vec<String> = checks.collect();
    cx.resolve(CheckRef::REFERENT, &checks.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The name of an item of a list; none where it is not one. That is refused elsewhere, and is not repeated.
fn name_of(item: &Node) -> Option<&str> {
    match &item.get("name")?.node.value {
        Value::Text(name) if Name::parse_key(name).is_ok() => Some(name),
        _ => None,
    }
}

/// No two items of a list have the same `name`.
pub(super) fn names_are_unique(list: &Node, cx: &mut Decoder<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in list.items().iter().enumerate() {
        let Some(entry) = item.get("name") else { continue };
        let Value::Text(name) = &entry.node.value else { continue };
        if seen.contains(&name.as_str()) {
            let message = "this name is taken by an earlier one of the list; give each its own";
            cx.at(index, |cx| cx.under("name", |cx| cx.error(entry.node.at, message)));
        }
        seen.push(name);
    }
}

/// Makes a contract of its options, and records what is wrong between them.
pub(super) fn contract(options: ContractOptions, node: &Node, cx: &mut Decoder<'_>) -> Contract {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    let has = |objective| options.target(objective).is_some();
    if !Objective::ALL.into_iter().any(has) {
        cx.error(node.at, "the contract promises nothing; add rto, rpo or both");
    }
    if options.drill_every.is_some() && !has(Objective::Rto) {
        cx.error(position("drill_every"), "drills prove an RTO, and the contract has none; add rto or remove this");
    }
    if options.independent_of.iter().any(|other| *other.name() == options.name) {
        let message = "a contract cannot be without itself; name others";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
    if !options.independent_of.is_empty() && !has(Objective::Rto) {
        let message = "health is known of contracts with an rto, and this one has none; add rto or remove this";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
    let places = node.get("checks").map(|entry| entry.node.items()).unwrap_or_default();
    let checks: Vec<CheckSpec> = cx.under("checks", |cx| {
        let checks = options.checks.iter().zip(places).enumerate();
        checks.map(|(index, (check, node))| cx.at(index, |cx| self::check(&options, check, node, cx))).collect()
    });
    for objective in Objective::ALL.into_iter().filter(|objective| has(*objective)) {
        if !checks.iter().any(|check| check.feeds.has(objective)) {
            let label = objective.label();
            cx.error(position(label), format!("no check feeds this; add one that measures the {label}, or remove it"));
        }
    }
    let ContractOptions {
        name, component, owner, priority, rto, rpo, at_risk_ratio, drill_every, independent_of, ..
    } = options;
    let spec = ContractSpec {
        name: name.as_str().to_owned(),
        component,
        owner,
        priority,
        rto: rto.map(|rto| rto.get()),
        rpo: rpo.map(|rpo| rpo.get()),
        at_risk_ratio: at_risk_ratio.unwrap_or(cx.defaults.at_risk_ratio).get(),
        drill_every: drill_every.map(|every| every.get()),
        independent_of: independent_of.iter().map(|other| other.name().as_str().to_owned()).collect(),
        checks,
    };
    Contract { spec, kinds: options.checks.into_iter().map(|check| check.kind).collect() }
}

fn check(contract: &ContractOptions, check: &CheckOptions, node: &Node, cx: &mut Decoder<'_>) -> CheckSpec {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    let CheckOptions { schedule, kind } = check;
    let defaults = cx.defaults.clone();
    let feeds = feeds(contract, check, position("feeds"), cx);
    let interval = schedule.interval.unwrap_or(defaults.interval);
    warnings::of_pace(contract, check, feeds, node, cx);
    for (key, limit) in [("warn_after", schedule.warn_after), ("lag_budget", schedule.lag_budget)] {
        if limit.is_some() && !feeds.rpo {
            let message = "sync lag is known of checks that feed rpo, and this one does not; remove this";
            cx.under(key, |cx| cx.error(position(key), message));
        }
    }
    CheckSpec {
        name: schedule.name.as_str().to_owned(),
        kind: kind.info().name,
        interval: interval.get(),
        interval_when_down: schedule.interval_when_down.unwrap_or(defaults.interval_when_down).min(interval).get(),
        timeout: schedule.timeout.unwrap_or(defaults.timeout).get(),
        failures_to_trigger: schedule.failures_to_trigger.unwrap_or(defaults.failures_to_trigger).get(),
        successes_to_recover: schedule.successes_to_recover.unwrap_or(defaults.successes_to_recover).get(),
        warn_after: schedule.warn_after.map(|after| after.get()),
        lag_budget: schedule.lag_budget.map(|budget| budget.get()),
        feeds,
    }
}

/// The objectives that a check feeds: those that it names, else all that its kind can feed and the contract has.
fn feeds(contract: &ContractOptions, check: &CheckOptions, at: Position, cx: &mut Decoder<'_>) -> Feeds {
    let kind = check.kind.info();
    let possible = |objective| check.kind.can_feed().has(objective) && contract.target(objective).is_some();
    let Some(named) = &check.schedule.feeds else {
        let feeds = Feeds { rto: possible(Objective::Rto), rpo: possible(Objective::Rpo) };
        let promises = Objective::ALL.into_iter().any(|objective| contract.target(objective).is_some());
        if promises && !feeds.rto && !feeds.rpo {
            let name = kind.name;
            cx.error(
                at,
                format!("a check of kind {name} can feed no objective of this contract; see docs/configuration.md"),
            );
        }
        return feeds;
    };
    for objective in named {
        let (label, name) = (objective.label(), kind.name);
        if !check.kind.can_feed().has(*objective) {
            cx.under("feeds", |cx| cx.error(at, format!("a check of kind {name} cannot feed {label}; remove it")));
        } else if contract.target(*objective).is_none() {
            cx.under("feeds", |cx| {
                cx.error(at, format!("the contract has no {label}; add it there or remove it here"));
            });
        }
    }
    Feeds { rto: named.contains(&Objective::Rto), rpo: named.contains(&Objective::Rpo) }
}

impl Feeds {
    /// Whether an objective is among them.
    #[must_use]
    pub const fn has(self, objective: Objective) -> bool {
        match objective {
            Objective::Rto => self.rto,
            Objective::Rpo => self.rpo,
        }
    }
}

impl Entry {
    /// The keys that are names. Others are refused elsewhere, and are not repeated.
    fn keys(&self) -> Vec<&str> {
        let keys = self.node.entries().iter().map(|entry| entry.key.as_str());
        keys.filter(|key| Name::parse_key(key).is_ok()).collect()
    }
}

impl Config {
    /// How many checks there are.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.contracts.iter().map(|contract| contract.kinds.len()).sum()
    }
}
