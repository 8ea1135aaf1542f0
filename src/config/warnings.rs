//! What is taken as it stands, and can hardly be meant.
//!
//! A warning tells figures that were read as such, and never repeats a text: it may be a secret.

use super::decode::Decoder;
use super::model::{ContractDraft, ScheduleDraft};
use super::values::PromDuration;
use super::yaml::{Node, Position, Value};
use crate::domain::contract::{Feeds, Objective};

/// A run that may take longer than the time between two. `given` is the key that says so.
pub(super) fn of_timeout(
    timeout: PromDuration,
    interval: PromDuration,
    given: (&'static str, Position),
    cx: &mut Decoder<'_>,
) {
    if timeout > interval {
        let message = format!(
            "the timeout ({timeout}) is longer than the interval ({interval}): a run that hangs delays the \
             next; make the timeout shorter than the interval"
        );
        cx.under(given.0, |cx| cx.warn(given.1, message));
    }
}

/// What does not fit together in the times of a check and the targets of its contract.
pub(super) fn of_pace(
    contract: &ContractDraft,
    schedule: &ScheduleDraft,
    feeds: Feeds,
    node: &Node,
    cx: &mut Decoder<'_>,
) {
    // What could not be read is told of as an error.
    let (Some(interval), Some(timeout)) = (schedule.interval, schedule.timeout) else { return };
    let given = |key| node.get(key).map(|entry| (key, entry.at));
    let interval = interval.unwrap_or(cx.defaults.interval);
    let timeout = timeout.unwrap_or(cx.defaults.timeout);
    // What both have from the defaults is told of there, once.
    if let Some(given) = given("timeout").or(given("interval")) {
        of_timeout(timeout, interval, given, cx);
    }
    let fed = Objective::ALL.into_iter().filter(|objective| feeds.has(*objective));
    for (objective, target) in fed.filter_map(|objective| Some((objective, contract.target(objective)?))) {
        let (label, freshness) = (objective.label(), interval.get() * 3 + timeout.get());
        let message = if interval >= target {
            format!(
                "the interval ({interval}) is not below the {label} ({target}): between two runs it cannot be \
                 told whether the target is met; look more often"
            )
        } else if freshness > target.get() {
            format!(
                "what a run has seen counts as fresh for 3 x interval + timeout ({}), which is longer than the \
                 {label} ({target}): if measuring stops, you learn of it only after the target has passed; use \
                 a shorter interval",
                PromDuration::of(freshness)
            )
        } else {
            continue;
        };
        match given("interval") {
            Some((key, at)) => cx.under(key, |cx| cx.warn(at, message)),
            None => cx.warn(node.at, message),
        }
    }
    let Some(rpo) = contract.target(Objective::Rpo) else { return };
    // A warning at the target comes too late; a budget may be the whole target.
    let late = schedule.warn_after.flatten().filter(|after| *after >= rpo).map(|after| {
        let message = format!("warn_after ({after}) is not below the rpo ({rpo})");
        ("warn_after", message + ": the rpo is breached by the time it warns; lower it")
    });
    let large = schedule.lag_budget.flatten().filter(|budget| *budget > rpo).map(|budget| {
        let message = format!("lag_budget ({budget}) is above the rpo ({rpo})");
        ("lag_budget", message + ": the rpo is breached before the budget is used up; lower it")
    });
    for (key, message) in late.into_iter().chain(large) {
        let at = node.get(key).map_or(node.at, |entry| entry.at);
        cx.under(key, |cx| cx.warn(at, message));
    }
}

/// Values that look as if something would put the content of a variable into them.
pub(super) fn of_variables(node: &Node, cx: &mut Decoder<'_>) {
    match &node.value {
        Value::Text(text) if has_variable(text) => {
            let message = "`${...}` is taken as it stands: nothing puts a variable in its place here; write \
                           the value, or let what deploys this file fill it in";
            cx.warn(node.at, message);
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                cx.at(index, |cx| of_variables(item, cx));
            }
        }
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                cx.under_entry(index, entry, |cx| of_variables(&entry.node, cx));
            }
        }
        _ => {}
    }
}

/// Whether there is a `${NAME}`. `${1}`, as `label_replace` has it, is none.
fn has_variable(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    // `${NAME:-default}` too.
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}'));
    names.map(|(name, _)| name.split_once(':').map_or(name, |(name, _)| name)).any(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        for text in ["${TOKEN}", "https://${HOST}/health", "a ${1} ${_b}", "${A:-x}"] {
            assert!(has_variable(text), "{text}");
        }
        for text in ["", "$HOME", "${1}", "${}", "${a", "a}", "^x{2}$"] {
            assert!(!has_variable(text), "{text}");
        }
    }
}
