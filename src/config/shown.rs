//! The configuration as it is shown to people: without comments, and without anything secret.
//!
//! Secrets stand in files, and the configuration only names these. A URL can still hold user and
//! password, or a token in its query. These are masked.

use crate::decode::Node;
use crate::decode::yaml::{self, Value};
use crate::engine::snapshot::ShownConfiguration;

/// What is shown in place of a secret.
const MASK: &str = "***";
/// Words in the names of parameters whose values are masked.
const SECRET: [&str; 9] = ["token", "key", "secret", "pass", "pwd", "auth", "sig", "credential", "session"];

/// The document without anything secret.
pub(super) fn of(document: &Node) -> ShownConfiguration {
    let contracts = document.get("contracts").map(|entry| entry.node.items()).unwrap_or_default();
    let contracts = contracts.iter().filter_map(|contract| match &contract.get("name")?.node.value {
        Value::Text(name) => Some((name.clone(), lines(contract).into())),
        _ => None,
    });
    ShownConfiguration { whole: lines(document).into(), contracts: contracts.collect() }
}

/// A node as YAML in block style.
fn lines(node: &Node) -> String {
    let mut text = String::new();
    write(node, 0, &mut text);
    text
}

fn write(node: &Node, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match &node.value {
        Value::Map(entries) => {
            for entry in entries {
                text.push_str(&indent);
                text.push_str(&scalar(&entry.key));
                text.push(':');
                write_value(&entry.node, depth + 1, text);
            }
        }
        Value::List(items) => {
            for item in items {
                let mut inner = String::new();
                write(item, depth + 1, &mut inner);
                let inner = inner.trim_start();
                text.push_str(&format!("{indent}- {}", if inner.is_empty() { "{}\n" } else { inner }));
            }
        }
        value => text.push_str(&format!("{indent}{}\n", plain(value))),
    }
}

/// The value behind a key: on the same line, or as a block below.
fn write_value(node: &Node, depth: usize, text: &mut String) {
    match &node.value {
        Value::Map(entries) if entries.is_empty() => text.push_str(" {}\n"),
        Value::List(items) if items.is_empty() => text.push_str(" []\n"),
        Value::List(items) if items.iter().all(|item| !matches!(item.value, Value::Map(_) | Value::List(_))) => {
            let items: Vec<String> = items.iter().map(|item| in_a_list(&item.value)).collect();
            text.push_str(&format!(" [{}]\n", items.join(", ")));
        }
        Value::Map(_) | Value::List(_) => {
            text.push('\n');
            write(node, depth, text);
        }
        value => text.push_str(&format!(" {}\n", plain(value))),
    }
}

fn in_a_list(value: &Value) -> String {
    let text = plain(value);
    // Between brackets these signs mean something.
    if text.starts_with('"') || !text.contains([',', '[', ']', '{', '}']) { text } else { quoted(&text) }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null | Value::List(_) | Value::Map(_) => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => scalar(&masked(text)),
    }
}

/// A text as YAML: without quotes if it is read back the same.
fn scalar(text: &str) -> String {
    let same = |node: Node| matches!(node.value, Value::Text(read) if read == text);
    let one_line = !text.contains(['\n', '\r', '"', '\'', '#']) && !text.contains(": ") && !text.ends_with(':');
    if one_line && yaml::parse(text).is_ok_and(same) { text.to_owned() } else { quoted(text) }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A text without the credentials of URLs in it.
fn masked(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{MASK}@{host}"),
        None => authority.to_owned(),
    };
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let query: Vec<String> = query.split('&').map(masked_parameter).collect();
            format!("{path}?{}", query.join("&"))
        }
        None => path.to_owned(),
    };
    format!("{scheme}://{authority}{path}")
}

fn masked_parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|word| name.to_ascii_lowercase().contains(word)) => {
            format!("{name}={MASK}")
        }
        _ => parameter.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_the_document_without_comments_and_secrets() {
        let text = r#"
# the old password was hunter2
nats:
  main: { servers: ["nats://ann:hunter2@a:4222", "nats://b:4222"], credentials_file: main.creds }
contracts:
  - name: api
    component: 'The "API": one'
    rto: 5m
    checks:
      - name: health
        http: { url: "https://a/health?verbose=1&api_key=hunter2", expect_status: ["2xx", 304] }
        feeds: []
      - name: other
        promql: { query: "up{job='a'} # b", above: 0.5 }
"#;
        let shown = of(&yaml::parse(text).expect("YAML"));
        assert!(!shown.whole.contains("hunter2"), "{}", shown.whole);
        let expected = r#"name: api
component: "The \"API\": one"
rto: 5m
checks:
  - name: health
    http:
      url: https://a/health?verbose=1&api_key=***
      expect_status: [2xx, 304]
    feeds: []
  - name: other
    promql:
      query: "up{job='a'} # b"
      above: 0.5
"#;
        assert_eq!(&*shown.contracts["api"], expected);
        assert!(shown.whole.contains("servers: [nats://***@a:4222, nats://b:4222]"), "{}", shown.whole);
        let again = of(&yaml::parse(&shown.whole).expect("what is shown is YAML"));
        assert_eq!(again.whole, shown.whole);
    }
}
