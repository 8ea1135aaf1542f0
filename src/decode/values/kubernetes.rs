//! Values for Kubernetes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use kube::core::{Expression, Selector, SelectorExt};
use serde_json::json;

use super::Word;

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for Namespace {
    const NOUN: &'static str = "namespace";
    const EXPECTED: &'static str = "1 to 63 of a-z, 0-9 and `-`, with a letter or digit at both ends";

    fn parse(text: &str) -> Option<Self> {
        is_dns_label(text).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"})
    }
}

/// The name of an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName(String);

impl ObjectName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A name from another system. None if no object can have it.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl Word for ObjectName {
    const NOUN: &'static str = "name";
    const EXPECTED: &'static str = "1 to 253 of a-z, 0-9, `-` and `.`, as Kubernetes has it";

    fn parse(text: &str) -> Option<Self> {
        (text.len() <= 253 && text.split('.').all(is_dns_label)).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "maxLength": 253, "pattern": "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"})
    }
}

fn is_dns_label(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') && !text.ends_with('-')
}

/// A label selector for pods, as in `kubectl --selector`: `app=nats,tier!=test,zone in (a,
/// b),!canary`.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelSelector(Selector);

impl LabelSelector {
    /// Whether an object with these labels is selected.
    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.matches(labels)
    }
}

/// The selector, as the API server accepts it.
impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Word for LabelSelector {
    const NOUN: &'static str = "selector";
    const EXPECTED: &'static str = "a label selector such as app=nats, app=nats,tier!=test or zone in (a, b)";

    fn parse(text: &str) -> Option<Self> {
        let terms = terms(text)?.into_iter().map(|term| expression(term.trim()));
        Some(Self(terms.collect::<Option<Vec<_>>>()?.into_iter().collect()))
    }

    /// The part of a selector, as the API server accepts it.
    fn written(&self) -> String {
        self.0.to_string()
    }
}

/// The parts between commas. Commas inside parentheses do not count.
fn terms(text: &str) -> Option<Vec<&str>> {
    let (mut terms, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' if !inside => inside = true,
            b')' if inside => inside = false,
            b'(' | b')' => return None,
            b',' if !inside => {
                terms.push(text.get(start..at)?);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text.get(start..)?);
    (!inside).then_some(terms)
}

fn expression(term: &str) -> Option<Expression> {
    if let Some(key) = term.strip_prefix('!') {
        return label_key(key).map(Expression::DoesNotExist);
    }
    // The longer operators come first, because `!=` and `==` contain `=`.
    if let Some((key, value)) = term.split_once("!=") {
        return Some(Expression::NotEqual(label_key(key)?, label_value(value)?));
    }
    if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Expression::Equal(label_key(key)?, label_value(value)?));
    }
    if let Some((key, values)) = term.split_once('(') {
        let values = values.strip_suffix(')')?.split(',').map(label_value).collect::<Option<BTreeSet<_>>>()?;
        let (key, operator) = key.trim_end().rsplit_once(char::is_whitespace)?;
        let key = label_key(key)?;
        return match operator {
            "in" => Some(Expression::In(key, values)),
            "notin" => Some(Expression::NotIn(key, values)),
            _ => None,
        };
    }
    label_key(term).map(Expression::Exists)
}

fn label_key(text: &str) -> Option<String> {
    let text = text.trim();
    let name = match text.split_once('/') {
        Some((prefix, name)) => ObjectName::parse(prefix).map(|_| name)?,
        None => text,
    };
    (!name.is_empty() && is_label_value(name)).then(|| text.to_owned())
}

fn label_value(text: &str) -> Option<String> {
    let text = text.trim();
    is_label_value(text).then(|| text.to_owned())
}

fn is_label_value(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ends = |byte: Option<u8>| byte.is_none_or(|byte| byte.is_ascii_alphanumeric());
    text.len() <= 63 && text.bytes().all(fits) && ends(text.bytes().next()) && ends(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> Option<bool> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        LabelSelector::parse(selector).map(|selector| selector.matches(&labels))
    }

    #[test]
    fn a_selector_means_what_kubectl_means_by_it() {
        let nats = [("app", "nats"), ("app.kubernetes.io/name", "nats"), ("tier", "")];
        for (selector, expected) in [
            ("app=nats", Some(true)),
            ("app==nats", Some(true)),
            ("app = nats , tier=", Some(true)),
            ("app=nats,zone", Some(false)),
            ("app.kubernetes.io/name=nats", Some(true)),
            ("app!=nats", Some(false)),
            ("zone!=a", Some(true)),
            ("!zone", Some(true)),
            ("!app", Some(false)),
            ("app in (nats, other)", Some(true)),
            ("app in (other)", Some(false)),
            ("app notin (other),tier", Some(true)),
            ("app notin (nats)", Some(false)),
            ("zone notin (a)", Some(true)),
        ] {
            assert_eq!(selects(selector, &nats), expected, "{selector}");
        }
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in [
            "",
            ",",
            "app=nats,",
            "=nats",
            "app in nats",
            "app in (a",
            "app of (a)",
            "a b",
            "app=na ts",
            "app=(a)",
            "-a=b",
        ] {
            assert!(LabelSelector::parse(text).is_none(), "{text}");
        }
    }
}
