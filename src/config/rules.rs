//! The rules between values. They are checked on whatever could be read, so that all errors are
//! reported at once.

use super::model::{CheckDraft, ConfigDraft, ContractDraft, given};
use super::references::{CheckRef, ClockRef, ContractRef};
use super::resolve::Scope;
use super::warnings;
use crate::clients::ConnectionRef;
use crate::decode::values::Name;
use crate::decode::yaml::{Entry, Position, Value};
use crate::decode::{Decoder, Key, Node};
use crate::domain::check::Feeds;
use crate::domain::contract::Objective;

/// Checks the rules for the file as a whole. It works on the tree if possible, so that an error
/// elsewhere hides nothing.
pub(super) fn whole(draft: &ConfigDraft, node: &Node, cx: &mut Decoder<'_>) {
    warnings::of_variables(node, cx);
    if let (Some(defaults), Some(entry)) = (&draft.defaults, node.get("defaults")) {
        let times = (defaults.timeout, defaults.interval);
        cx.under("defaults", |cx| warnings::of_timeout(times, &entry.node, cx));
    }
    for list in ["contracts", "triggers", "incidents", "drills"] {
        if let Some(entry) = node.get(list) {
            cx.under(list, |cx| names_are_unique(&entry.node, cx));
        }
    }
    references(node, cx);
}

/// Checks that every reference leads to something.
fn references(node: &Node, cx: &mut Decoder<'_>) {
    for connections in ConnectionRef::REFERENTS {
        let names: Vec<&str> = node.get(connections.section).map(names_in).unwrap_or_default();
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

/// The name of an item of a list. None if it is not a valid name. That is an error elsewhere, and
/// the text must not be repeated.
fn name_of(item: &Node) -> Option<&str> {
    match &item.get("name")?.node.value {
        Value::Text(name) if Name::parse_key(name).is_ok() => Some(name),
        _ => None,
    }
}

/// Checks that no two items of a list have the same `name`.
fn names_are_unique(list: &Node, cx: &mut Decoder<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for (index, item) in list.items().iter().enumerate() {
        let Some(entry) = item.get("name") else { continue };
        let Value::Text(name) = &entry.node.value else { continue };
        if seen.contains(&name.as_str()) {
            let message = "an earlier item of the list has the same name; give each item its own name";
            cx.at(index, |cx| cx.under("name", |cx| cx.error(entry.node.at, message)));
        }
        seen.push(name);
    }
}

/// Records errors between the values of a contract.
pub(super) fn contract(draft: &ContractDraft, node: &Node, cx: &mut Decoder<'_>) {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    if let Some(checks) = node.get("checks") {
        cx.under("checks", |cx| names_are_unique(&checks.node, cx));
    }
    if !draft.promises_anything() {
        cx.error(node.at, "the contract promises nothing; add rto, rpo or both");
    }
    if given(draft.drill_every.as_ref()) && !draft.promises(Objective::Rto) {
        cx.error(position("drill_every"), "a drill proves an RTO, but the contract has none; add rto or remove this");
    }
    let others = draft.independent_of.as_deref().unwrap_or_default();
    if others.iter().any(|other| Some(other.name()) == draft.name.as_ref()) {
        let message = "a contract cannot be independent of itself; name other contracts";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
    if node.get("independent_of").is_some() && !draft.promises(Objective::Rto) {
        let message = "independence needs an rto, but the contract has none; add rto or remove this";
        cx.under("independent_of", |cx| cx.error(position("independent_of"), message));
    }
}

/// Records the objectives of a contract that none of its checks feeds. `feeds` is what each check
/// feeds, if known.
pub(super) fn every_objective_is_fed(
    draft: &ContractDraft,
    feeds: &[Option<Feeds>],
    node: &Node,
    cx: &mut Decoder<'_>,
) {
    for objective in Objective::ALL.into_iter().filter(|objective| draft.promises(*objective)) {
        // A check that could not be read may feed it.
        if feeds.iter().all(|feeds| feeds.is_some_and(|feeds| !feeds.has(objective))) {
            let label = objective.label();
            let at = node.get(label).map_or(node.at, |entry| entry.at);
            cx.error(at, format!("no check feeds the {label}; add a check that measures it, or remove {label}"));
        }
    }
}

/// Records errors between the values of a check and its contract. Returns what the check feeds, if
/// known.
pub(super) fn check(
    contract: &ContractDraft,
    check: &CheckDraft,
    node: &Node,
    scope: &Scope,
    cx: &mut Decoder<'_>,
) -> Option<Feeds> {
    let position = |key: &str| node.get(key).map_or(node.at, |entry| entry.at);
    if let Some((kind, stanza)) = check.kind.as_ref().and_then(|kind| Some((kind, node.get(kind.info().name)?))) {
        cx.under(&stanza.key, |cx| kind.sides().validate(&stanza.node, &scope.connections, cx));
    }
    let schedule = &check.schedule;
    let feeds = feeds(contract, check, position("feeds"), cx)?;
    warnings::of_pace(contract, schedule, feeds, scope, node, cx);
    warnings::of_silence(contract, check, feeds, node, cx);
    for (key, limit) in [("warn_after", &schedule.warn_after), ("lag_budget", &schedule.lag_budget)] {
        if given(limit.as_ref()) && !feeds.rpo && contract.promises_anything() {
            let message = "only a check that feeds rpo has a sync lag, and this one does not; remove this";
            cx.under(key, |cx| cx.error(position(key), message));
        }
    }
    Some(feeds)
}

/// The objectives that a check feeds: those in its `feeds`, otherwise every one that its kind can
/// feed and the contract has.
fn feeds(contract: &ContractDraft, check: &CheckDraft, at: Position, cx: &mut Decoder<'_>) -> Option<Feeds> {
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

/// The keys of an entry that are valid names. Other keys are an error elsewhere, and must not be
/// repeated.
fn names_in(entry: &Entry) -> Vec<&str> {
    let keys = entry.node.entries().iter().map(|entry| entry.key.as_str());
    keys.filter(|key| Name::parse_key(key).is_ok()).collect()
}
