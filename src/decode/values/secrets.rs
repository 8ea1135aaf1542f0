//! Secrets. They cannot be printed, and they are blanked out of every text that came from
//! elsewhere.
//!
//! A server can repeat what it was sent: an endpoint that echoes a request, a proxy that quotes it
//! in an error. So the exporter remembers the secrets that it read, and replaces them in findings,
//! memories and logs. It knows them as they are, and as JSON, URLs, HTML and quoted text write them.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands in place of a secret.
const BLANK: &str = "[secret]";
/// A shorter text is not replaced: it may be a word or a part of one, and a page full of blanks
/// would reveal it.
const SHORTEST: usize = 8;
/// How many versions of a rotated secret are remembered for each source.
const VERSIONS: usize = 4;

static KNOWN: RwLock<Known> = RwLock::new(Known { sources: BTreeMap::new(), finder: None });

/// The secrets that were read.
struct Known {
    /// By source, the newest last.
    sources: BTreeMap<String, VecDeque<String>>,
    /// Finds them in a text. None after a change, until the next text.
    finder: Option<Arc<AhoCorasick>>,
}

/// A secret. It cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The secret that `source`, a file or a place in it, holds now. It is blanked out of texts from
    /// now on.
    #[must_use]
    pub fn new(source: &str, secret: &str) -> Self {
        remember(source, secret);
        Self(secret.to_owned())
    }

    /// The secret in plain text, to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(BLANK)
    }
}

/// Remembers what `source` holds now, so that it is blanked out of texts. The versions before it
/// are remembered for a while, because a server may still answer for one of them.
pub(crate) fn remember(source: &str, secret: &str) {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if known.sources.get(source).and_then(VecDeque::back).is_some_and(|newest| newest == secret) {
        return;
    }
    drop(known);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let versions = known.sources.entry(source.to_owned()).or_default();
    versions.retain(|version| version != secret);
    versions.push_back(secret.to_owned());
    if versions.len() > VERSIONS {
        versions.pop_front();
    }
    known.finder = None;
}

/// The text without the secrets that are known.
#[must_use]
pub fn blanked(text: &str) -> Cow<'_, str> {
    let finder = finder();
    if finder.patterns_len() == 0 || !finder.is_match(text) {
        return Cow::Borrowed(text);
    }
    let mut blanked = String::with_capacity(text.len());
    finder.replace_all_with(text, &mut blanked, |_, _, out| {
        out.push_str(BLANK);
        true
    });
    Cow::Owned(blanked)
}

/// Blanks the secrets out of a text.
pub fn blank(text: &mut String) {
    if let Cow::Owned(blanked) = blanked(text) {
        *text = blanked;
    }
}

/// Blanks the secrets out of every text of a JSON value, names of fields included.
pub fn blank_json(value: &mut serde_json::Value) {
    use serde_json::Value;

    match value {
        Value::String(text) => blank(text),
        Value::Array(items) => items.iter_mut().for_each(blank_json),
        Value::Object(fields) => {
            if fields.keys().any(|name| matches!(blanked(name), Cow::Owned(_))) {
                let renamed = std::mem::take(fields).into_iter();
                *fields = renamed.map(|(name, value)| (blanked(&name).into_owned(), value)).collect();
            }
            fields.values_mut().for_each(blank_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn finder() -> Arc<AhoCorasick> {
    let known = KNOWN.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(finder) = &known.finder {
        return Arc::clone(finder);
    }
    drop(known);
    let mut known = KNOWN.write().unwrap_or_else(PoisonError::into_inner);
    let forms: Vec<String> = known.sources.values().flatten().flat_map(|secret| forms(secret)).collect();
    // The longest form first: a secret can begin with another one.
    let built = AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&forms);
    let finder = Arc::new(built.unwrap_or_else(|_| none()));
    known.finder = Some(Arc::clone(&finder));
    finder
}

/// Finds nothing. The builder only fails for more patterns than fit into memory.
fn none() -> AhoCorasick {
    AhoCorasick::new::<[&str; 0], &str>([]).unwrap_or_else(|_| unreachable!("no pattern is too many"))
}

/// The ways in which a text may write a secret. Each line counts by itself: a file of NATS
/// credentials or a key in PEM has several, between rules that are no secret.
fn forms(secret: &str) -> Vec<String> {
    let mut forms = Vec::new();
    let lines = secret.lines().map(str::trim);
    for line in lines.filter(|line| line.len() >= SHORTEST && !line.starts_with("---")) {
        let json = serde_json::to_string(line).unwrap_or_default();
        forms.push(line.to_owned());
        forms.push(json.trim_matches('"').to_owned());
        forms.push(line.escape_debug().to_string());
        forms.push(utf8_percent_encode(line, NON_ALPHANUMERIC).to_string());
        forms.push(url::form_urlencoded::byte_serialize(line.as_bytes()).collect());
        forms.push(html(line, "&#39;"));
        forms.push(html(line, "&#x27;"));
    }
    forms.sort_unstable();
    forms.dedup();
    forms
}

fn html(text: &str, apostrophe: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace('\'', apostrophe)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_blanked_in_every_form() {
        remember("forms", "Pa\"ss/w<o>rd &'1");
        for text in [
            r#"Pa"ss/w<o>rd &'1"#,
            r#"{"password":"Pa\"ss/w<o>rd &'1"}"#,
            r#"the body is "Pa\"ss/w<o>rd &\'1""#,
            "Pa%22ss%2Fw%3Co%3Erd%20%26%271",
            "Pa%22ss%2Fw%3Co%3Erd+%26%271",
            "<b>Pa&quot;ss/w&lt;o&gt;rd &amp;&#39;1</b>",
        ] {
            let blanked = blanked(text);
            assert!(blanked.contains(BLANK), "{text}");
            for rest in ["Pa", "ss/w", "rd"] {
                assert!(!blanked.replace("password", "").contains(rest), "{text} became {blanked}");
            }
        }
    }

    #[test]
    fn only_the_newest_versions_are_remembered() {
        for version in 0..6 {
            remember("versions", &format!("rotated-secret-{version}"));
        }
        let is_known = |version| blanked(&format!("rotated-secret-{version}")) == BLANK;
        assert_eq!([0, 1, 2, 3, 4, 5].map(is_known), [false, false, true, true, true, true]);
        remember("versions", "rotated-secret-2");
        remember("versions", "rotated-secret-6");
        assert_eq!([2, 3, 4, 5, 6].map(is_known), [true, false, true, true, true], "an old one came back");
    }

    #[test]
    fn short_texts_and_the_rules_of_pem_are_no_secrets() {
        remember("short", "mirror");
        remember("pem", "-----BEGIN NATS USER JWT-----\neyJ0eXAiOiJKV1QifQ\n------END NATS USER JWT------\n");
        assert_eq!(blanked("the mirror -----BEGIN NATS USER JWT-----"), "the mirror -----BEGIN NATS USER JWT-----");
        assert_eq!(blanked("it was eyJ0eXAiOiJKV1QifQ."), "it was [secret].");
    }

    #[test]
    fn json_is_blanked_at_every_depth() {
        remember("json", "in-a-json-text");
        let mut value = json!({"a": [{"b": "x in-a-json-text y"}, 1, null], "in-a-json-text": true});
        blank_json(&mut value);
        assert_eq!(value, json!({"a": [{"b": "x [secret] y"}, 1, null], "[secret]": true}));
    }

    proptest! {
        #[test]
        fn nothing_of_a_secret_is_left(secret in "[ -~äß]{12,40}", before in "[ -~]{0,9}", after in "[ -~]{0,9}") {
            let secret = secret.trim();
            prop_assume!(secret.len() >= SHORTEST && !secret.starts_with("---"));
            remember("any", secret);
            for form in forms(secret) {
                let text = format!("{before}{form}{after}");
                prop_assert!(!blanked(&text).contains(&form));
            }
        }
    }
}
