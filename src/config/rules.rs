//! The rules that no value can check alone. They are held against what could be read, so that they all tell at once.

use super::decode::{Decoder, Fields, Key};
use super::model::{CheckOptions, Config, ContractDraft, Defaults, given};
use super::values::{CheckRef, ClockRef, ConnectionRef, ContractRef, Name};
use super::warnings;
use super::yaml::{Entry, Node, Position, Value};
use crate::domain::contract::{Feeds, Objective};

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

/// Records what is wrong between the values of a contract. Gives what each of its checks feeds, where that is known.
pub(super) fn contract(draft: &ContractDraft, node: &Node, cx: &mut Decoder<'_>) -> Vec<Option<Feeds>> {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    if !draft.promises_anything() {
        cx.error(node.at, "the contract promises nothing; add rto, rpo or both");
    }
    if given(draft.drill_every.as_ref()) && !draft.promises(Objective::Rto) {
        cx.error(position("drill_every"), "drills prove an RTO, and the contract has none; add rto or remove this");
    }
    let others = draft.independent_of.as_deref().unwrap_or_default();
    if others.iter().any(|other| Some(other.name()) == draft.name.as_ref()) {
        let message = "a contract cannot be without itself; name others";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
    if node.get("independent_of").is_some() && !draft.promises(Objective::Rto) {
        let message = "health is known of contracts with an rto, and this one has none; add rto or remove this";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
    // A list that is none was told of, and says nothing about who feeds what.
    let Some(checks) = &draft.checks else { return Vec::new() };
    let places = node.get("checks").map(|entry| entry.node.items()).unwrap_or_default();
    let feeds: Vec<Option<Feeds>> = cx.under("checks", |cx| {
        let checks = checks.iter().zip(places).enumerate();
        checks.map(|(index, (check, node))| cx.at(index, |cx| self::check(draft, check, node, cx))).collect()
    });
    for objective in Objective::ALL.into_iter().filter(|objective| draft.promises(*objective)) {
        // One that could not be read may feed it.
        if feeds.iter().all(|feeds| feeds.is_some_and(|feeds| !feeds.has(objective))) {
            let label = objective.label();
            cx.error(position(label), format!("no check feeds this; add one that measures the {label}, or remove it"));
        }
    }
    feeds
}

/// Records what is wrong between the values of a check and its contract. Gives what the check feeds, where that is known.
fn check(contract: &ContractDraft, check: &CheckOptions, node: &Node, cx: &mut Decoder<'_>) -> Option<Feeds> {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    let schedule = &check.schedule;
    let feeds = feeds(contract, check, position("feeds"), cx)?;
    warnings::of_pace(contract, schedule, feeds, node, cx);
    for (key, limit) in [("warn_after", &schedule.warn_after), ("lag_budget", &schedule.lag_budget)] {
        if given(limit.as_ref()) && !feeds.rpo && contract.promises_anything() {
            let message = "sync lag is known of checks that feed rpo, and this one does not; remove this";
            cx.under(key, |cx| cx.error(position(key), message));
        }
    }
    Some(feeds)
}

/// The objectives that a check feeds: those that it names, else all that its kind can feed and the contract has.
fn feeds(contract: &ContractDraft, check: &CheckOptions, at: Position, cx: &mut Decoder<'_>) -> Option<Feeds> {
    let kind = check.kind.as_ref().map(|kind| (kind.info().name, kind.can_feed()));
    let Some(named) = check.schedule.feeds.as_ref()? else {
        let (name, can_feed) = kind?;
        let possible = |objective| can_feed.has(objective) && contract.promises(objective);
        let feeds = Feeds { rto: possible(Objective::Rto), rpo: possible(Objective::Rpo) };
        if contract.promises_anything() && !feeds.rto && !feeds.rpo {
            cx.error(
                at,
                format!("a check of kind {name} can feed no objective of this contract; see docs/configuration.md"),
            );
        }
        return Some(feeds);
    };
    for objective in named {
        let label = objective.label();
        let cannot = kind.filter(|(_, can_feed)| !can_feed.has(*objective));
        let message = match cannot {
            Some((name, _)) => format!("a check of kind {name} cannot feed {label}; remove it"),
            None if contract.promises(*objective) => continue,
            None => format!("the contract has no {label}; add it there or remove it here"),
        };
        cx.under("feeds", |cx| cx.error(at, message));
    }
    Some(Feeds { rto: named.contains(&Objective::Rto), rpo: named.contains(&Objective::Rpo) })
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
