//! Warnings about values that are valid, but probably a mistake.
//!
//! A warning shows numbers that were parsed, and never repeats a text: it may be a secret.

use super::model::{CheckDraft, ContractDraft, ScheduleDraft};
use super::resolve::Scope;
use crate::decode::values::PromDuration;
use crate::decode::yaml::{Position, Value};
use crate::decode::{Decoder, Node, text};
use crate::domain::check::Feeds;
use crate::domain::contract::Objective;

/// Warns if the one who reports the health of a component may be silent for as long as the RTO: the
/// component could be down for that long and count as healthy.
pub(super) fn of_silence(
    contract: &ContractDraft,
    check: &CheckDraft,
    feeds: Feeds,
    node: &Node,
    cx: &mut Decoder<'_>,
) {
    let Some(rto) = contract.target(Objective::Rto).filter(|_| feeds.rto) else { return };
    let Some(kind) = &check.kind else { return };
    let Some((key, silence)) = kind.silence().filter(|(_, silence)| *silence >= rto) else { return };
    let Some(stanza) = node.get(kind.info().name) else { return };
    let at = stanza.node.get(key).map_or(stanza.node.at, |entry| entry.at);
    let message = format!(
        "{key} ({silence}) is not below the rto ({rto}): an outage that nobody reports could last that long and count \
         as healthy; set {key} to less, or measure the health with another check and set feeds: [rpo] here"
    );
    cx.under(&stanza.key, |cx| cx.under(key, |cx| cx.warn(at, message)));
}

/// Warns about a run that may take longer than the interval, if one of the two times is set at this
/// node. If both are defaults, the warning is given once, for the defaults.
pub(super) fn of_timeout((timeout, interval): (PromDuration, PromDuration), node: &Node, cx: &mut Decoder<'_>) {
    let given = ["timeout", "interval"].into_iter().find_map(|key| node.get(key));
    if let Some(entry) = given.filter(|_| timeout > interval) {
        let message = format!(
            "the timeout ({timeout}) is longer than the interval ({interval}): a run that hangs delays the \
             next; make the timeout shorter than the interval"
        );
        cx.under(&entry.key, |cx| cx.warn(entry.at, message));
    }
}

/// Warns about times of a check that do not fit the targets of its contract.
pub(super) fn of_pace(
    contract: &ContractDraft,
    schedule: &ScheduleDraft,
    feeds: Feeds,
    scope: &Scope,
    node: &Node,
    cx: &mut Decoder<'_>,
) {
    // Values that could not be read are reported as errors.
    let (Some(interval), Some(timeout)) = (schedule.interval, schedule.timeout) else { return };
    let given = |key| node.get(key).map(|entry| (key, entry.at));
    let interval = interval.unwrap_or(scope.defaults.interval);
    let timeout = timeout.unwrap_or(scope.defaults.timeout);
    of_timeout((timeout, interval), node, cx);
    let fed = Objective::ALL.into_iter().filter(|objective| feeds.has(*objective));
    for (objective, target) in fed.filter_map(|objective| Some((objective, contract.target(objective)?))) {
        let (label, freshness) = (objective.label(), interval.get() * 3 + timeout.get());
        let message = if interval >= target {
            format!(
                "the interval ({interval}) is not below the {label} ({target}): between two runs nobody can \
                 tell whether the target is met; use a shorter interval"
            )
        } else if freshness > target.get() {
            format!(
                "evidence counts as fresh for 3 x interval + timeout ({}), which is longer than the \
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
    // A warning at the target comes too late. A budget may be as large as the target.
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

/// Warns about values that look as if a variable should be replaced in them, and about misleading
/// characters.
pub(super) fn of_variables(node: &Node, cx: &mut Decoder<'_>) {
    if let Value::Text(text) = &node.value {
        of_signs(text, node.at, cx);
    }
    match &node.value {
        Value::Text(text) => {
            if let Some(form) = placeholder(text) {
                let message = format!(
                    "`{form}` is used as it is, because placeholders are not replaced here; write the value, or let \
                     what deploys this file fill it in"
                );
                cx.warn(node.at, message);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                cx.at(index, |cx| of_variables(item, cx));
            }
        }
        Value::Map(entries) => {
            for (index, entry) in entries.iter().enumerate() {
                of_signs(&entry.key, entry.at, cx);
                cx.under_entry(index, entry, |cx| of_variables(&entry.node, cx));
            }
        }
        _ => {}
    }
}

/// Warns about characters that were copied from a web page or a word processor.
fn of_signs(text: &str, at: Position, cx: &mut Decoder<'_>) {
    if let Some(what) = text.chars().find_map(text::odd) {
        cx.warn(at, format!("this contains {what}"));
    }
    if text::is_quoted_in_print(text) {
        let message = "typographic quotes do not quote, they are part of the value; use straight quotes";
        cx.warn(at, message);
    }
}

/// The form of a placeholder in a text that a template or a deployment should have replaced. `${1}` as in `label_replace`, and
/// `$` in a pattern, are not placeholders.
fn placeholder(text: &str) -> Option<&'static str> {
    /// The opening, the closing, and the form in the message. The first group may have anything between them, the others a name.
    const AROUND_ANYTHING: [(&str, &str, &str); 3] =
        [("${{", "}}", "${{ ... }}"), ("{{", "}}", "{{ ... }}"), ("<%", "%>", "<% ... %>")];
    const AROUND_A_NAME: [(&str, &str, &str); 5] = [
        ("${", "}", "${...}"),
        ("$(", ")", "$(...)"),
        ("%{", "}", "%{...}"),
        ("#{", "}", "#{...}"),
        ("[[", "]]", "[[ ... ]]"),
    ];
    /// Around the whole of a text.
    const AROUND_ALL: [(&str, &str, &str); 5] =
        [("$", "", "$..."), ("@", "@", "@...@"), ("%", "%", "%...%"), ("__", "__", "__...__"), ("((", "))", "((...))")];
    /// Words for what is still missing, and what Grafana and sops leave in a text.
    const WORDS: [(&str, &str); 8] = [
        ("$__", "$__..."),
        ("ENC[AES256_GCM,", "ENC[...]"),
        ("CHANGEME", "CHANGEME"),
        ("CHANGE_ME", "CHANGE_ME"),
        ("CHANGE-ME", "CHANGE-ME"),
        ("REPLACEME", "REPLACEME"),
        ("REPLACE_ME", "REPLACE_ME"),
        ("REPLACE-ME", "REPLACE-ME"),
    ];

    let anything = AROUND_ANYTHING.iter().find(|(open, close, _)| between(text, open, close).next().is_some());
    // This includes `${NAME:-default}`.
    let is_default = |name: &str| is_name(name.split_once(':').map_or(name, |(name, _)| name).trim());
    let named = || AROUND_A_NAME.iter().find(|(open, close, _)| between(text, open, close).any(is_default));
    let is_all = |(open, close, _): &&(&str, &str, &str)| {
        text.trim().strip_prefix(open).and_then(|rest| rest.strip_suffix(close)).is_some_and(is_name)
    };
    let found = anything.or_else(named).or_else(|| AROUND_ALL.iter().find(is_all)).map(|(_, _, form)| *form);
    let capitals = text.to_ascii_uppercase();
    found.or_else(|| WORDS.iter().find(|(word, _)| capitals.contains(word)).map(|(_, form)| *form))
}

/// What stands between an opening and the next closing.
fn between<'t>(text: &'t str, open: &'t str, close: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for (text, form) in [
            ("${TOKEN}", "${...}"),
            ("https://${HOST}/health", "${...}"),
            ("a ${1} ${_b}", "${...}"),
            ("${A:-x}", "${...}"),
            ("$${A}", "${...}"),
            ("$(TEAM)", "$(...)"),
            ("/a/$(TEAM)/b", "$(...)"),
            ("{{ .Values.team }}", "{{ ... }}"),
            ("{{team}}", "{{ ... }}"),
            ("a {{- .x -}} b", "{{ ... }}"),
            ("${{ secrets.TEAM }}", "${{ ... }}"),
            ("<%= team %>", "<% ... %>"),
            ("%{team}", "%{...}"),
            ("#{team}", "#{...}"),
            ("[[ team ]]", "[[ ... ]]"),
            ("$TEAM", "$..."),
            (" $team", "$..."),
            ("@TEAM@", "@...@"),
            ("%TEAM%", "%...%"),
            ("__TEAM__", "__...__"),
            ("((team))", "((...))"),
            ("rate(x[$__rate_interval])", "$__..."),
            ("ENC[AES256_GCM,data:x]", "ENC[...]"),
            ("ChangeMe", "CHANGEME"),
            ("replace-me.example.com", "REPLACE-ME"),
        ] {
            assert_eq!(placeholder(text), Some(form), "{text}");
        }
        for text in [
            "",
            "${1}",
            "${}",
            "${a",
            "a}",
            "^x{2}$",
            "$",
            "$1",
            "^(ok|up)$",
            "(a|b)",
            "((a|b))",
            "[[:alpha:]]",
            "<html>",
            "a@b",
            "100%",
            "50% to 60%",
            "_a_",
            "__",
            r#"{"a":{"b":1}}"#,
            "ops #1",
            "$5",
            "a $b",
            "sum(x) by (y)",
            r#"x{a=~"b$"}"#,
            "$.status",
            "max(x) # {a}",
        ] {
            assert_eq!(placeholder(text), None, "{text}");
        }
    }
}
