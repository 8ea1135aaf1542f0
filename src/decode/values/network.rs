//! Values for HTTP and NATS.

use std::ops::RangeInclusive;

use serde_json::json;

use super::{Word, host};
use crate::decode::identity::{Canonical, CanonicalKey, Form};
use crate::decode::yaml::{Node, Value};
use crate::decode::{Decode, Decoder, Key};

/// An `http` or `https` URL without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(url::Url);

impl HttpUrl {
    /// The URL.
    #[must_use]
    pub fn get(&self) -> &url::Url {
        &self.0
    }

    /// The place that it leads to. It is the same with and without a slash at the end.
    #[must_use]
    pub fn place(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl Word for HttpUrl {
    const NOUN: &'static str = "URL";
    const EXPECTED: &'static str =
        "an http or https URL such as https://api.example.com/health, without user, password and fragment";

    fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        (matches!(url.scheme(), "http" | "https") && host::is_possible(&url) && bare).then_some(Self(url))
    }

    fn why_not(text: &str) -> Option<String> {
        host::fault(text)
    }

    fn written(&self) -> String {
        self.0.as_str().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^https?://[^@/?#$(){}<>% !*,]+([/?][^@#]*)?$"})
    }
}

/// An HTTP request method.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMethod(::http::Method);

impl HttpMethod {
    /// The method.
    #[must_use]
    pub fn get(&self) -> &::http::Method {
        &self.0
    }
}

impl Word for HttpMethod {
    const NOUN: &'static str = "method";
    const EXPECTED: &'static str = "one of GET, HEAD, OPTIONS, POST, PUT";
    const WORDS: &'static [&'static str] = &["GET", "HEAD", "OPTIONS", "POST", "PUT"];

    fn parse(text: &str) -> Option<Self> {
        Self::WORDS.contains(&text).then(|| ::http::Method::from_bytes(text.as_bytes()).ok().map(Self))?
    }

    fn written(&self) -> String {
        self.0.as_str().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

/// The name of an HTTP header, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(String);

impl HeaderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the value of this header is a credential.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        ["authorization", "cookie", "token", "secret", "password", "api-key", "apikey"]
            .iter()
            .any(|word| self.0.contains(word))
    }
}

impl CanonicalKey for HeaderName {
    fn key(&self) -> &str {
        &self.0
    }
}

impl Key for HeaderName {
    fn parse_key(text: &str) -> Result<Self, String> {
        let name = ::http::HeaderName::from_bytes(text.as_bytes());
        name.map(|name| Self(name.as_str().to_owned())).map_err(|_| "the name of an HTTP header".to_owned())
    }
}

/// A regular expression.
#[derive(Debug, Clone)]
pub struct Pattern(regex::bytes::Regex);

impl Pattern {
    /// The largest compiled size, in bytes.
    const LARGEST: usize = 1 << 20;
    /// The longest part of an error message of a pattern that is shown, in characters.
    const LONGEST_REASON: usize = 120;

    fn compile(text: &str) -> Result<regex::bytes::Regex, regex::Error> {
        regex::bytes::RegexBuilder::new(text).size_limit(Self::LARGEST).build()
    }

    /// Whether it matches anywhere in the text.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// The expression as it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Word for Pattern {
    const NOUN: &'static str = "pattern";
    const EXPECTED: &'static str = "a regular expression in the syntax of https://docs.rs/regex";

    fn parse(text: &str) -> Option<Self> {
        Self::compile(text).ok().map(Self)
    }

    fn why_not(text: &str) -> Option<String> {
        let error = Self::compile(text).err()?.to_string();
        // The lines before the last one repeat the pattern.
        let reason = error.lines().last()?.trim_start_matches("error: ").trim_end_matches('.');
        Some(reason.chars().take(Self::LONGEST_REASON).collect())
    }

    fn written(&self) -> String {
        self.as_str().to_owned()
    }
}

/// A set of HTTP statuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusSet(Vec<RangeInclusive<u16>>);

impl StatusSet {
    const EXPECTED: &str = "statuses such as 200, 2xx or 200-204, one or a list";

    /// `2xx`.
    #[must_use]
    pub fn success() -> Self {
        Self(vec![200..=299])
    }

    /// Whether a status is in the set.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }

    fn range(node: &Node, cx: &mut Decoder<'_>) -> Option<RangeInclusive<u16>> {
        let range = match &node.value {
            Value::Integer(status) => u16::try_from(*status).ok().map(|status| status..=status),
            Value::Text(text) => Self::parse(text),
            _ => {
                cx.wrong_type(node, Self::EXPECTED);
                return None;
            }
        };
        let range = range.filter(|range| *range.start() >= 100 && *range.end() <= 599 && !range.is_empty());
        if range.is_none() {
            cx.invalid(node.at, "status", Self::EXPECTED);
        }
        range
    }

    fn parse(text: &str) -> Option<RangeInclusive<u16>> {
        if let Some(class) = text.strip_suffix("xx") {
            let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
            return Some(class * 100..=class * 100 + 99);
        }
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(first.parse().ok()?..=last.parse().ok()?)
    }
}

impl Canonical for StatusSet {
    fn write(&self, form: &mut Form<'_>) {
        form.value(self);
    }
}

/// Written as in a configuration: `200-299, 404`.
impl std::fmt::Display for StatusSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

impl Decode for StatusSet {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::List(items) = &node.value else { return Self::range(node, cx).map(|range| Self(vec![range])) };
        if items.is_empty() {
            cx.error(node.at, format!("the list is empty: expected {}", Self::EXPECTED));
            return None;
        }
        let ranges: Vec<_> = items.iter().map(|item| Self::range(item, cx)).collect();
        ranges.into_iter().collect::<Option<_>>().map(Self)
    }

    fn schema() -> serde_json::Value {
        let one = json!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^([1-5]xx|[1-5][0-9]{2}(-[1-5][0-9]{2})?)$"},
        ]});
        json!({"anyOf": [one, {"type": "array", "minItems": 1, "items": one}]})
    }
}

/// A `nats://` or `tls://` server URL without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServer(String);

impl NatsServer {
    /// The URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host and port that it leads to, for any scheme. It is the same with and without the
    /// default port, and in upper and lower case.
    #[must_use]
    pub fn place(&self) -> String {
        let url = url::Url::parse(&self.0).ok();
        let place = url.as_ref().and_then(|url| Some((url.host_str()?, url.port().unwrap_or(Self::PORT))));
        place.map_or_else(|| self.0.clone(), |(host, port)| format!("{}:{port}", host.to_ascii_lowercase()))
    }

    /// The default port of NATS.
    pub const PORT: u16 = 4222;
}

impl Word for NatsServer {
    const NOUN: &'static str = "server";
    const EXPECTED: &'static str =
        "a server such as nats://nats.example.com:4222 or tls://nats.example.com:4222, without user and password";

    fn parse(text: &str) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let bare = url.username().is_empty() && url.password().is_none();
        let only = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
        let fits = matches!(url.scheme(), "nats" | "tls") && host::is_possible(&url) && bare && only;
        fits.then(|| Self(text.to_owned()))
    }

    fn why_not(text: &str) -> Option<String> {
        host::fault(text)
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^(nats|tls)://[^@/?#$(){}<>% !*,]+/?$"})
    }
}

/// Defines values that become part of a NATS subject. Some characters would change the meaning of
/// the subject, and are refused.
macro_rules! subject_words {
    ($($(#[doc = $doc:literal])+ $name:ident: $noun:literal, $expected:literal, $forbidden:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// The word.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Word for $name {
            const NOUN: &'static str = $noun;
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Option<Self> {
                let forbidden = |c: char| c.is_whitespace() || c.is_control() || $forbidden.contains(c);
                let whole = text.len() <= 255 && !text.split('.').any(str::is_empty);
                (whole && !text.contains(forbidden)).then(|| Self(text.to_owned()))
            }

            fn written(&self) -> String {
                self.0.clone()
            }
        }
    )+};
}

subject_words! {
    /// The name of a JetStream stream.
    StreamName: "stream", "the name of a stream, without spaces and without . * > / \\", ".*>/\\";
    /// The name of a JetStream domain.
    DomainName: "domain", "the name of a JetStream domain, without spaces and without . * > / \\", ".*>/\\";
    /// A NATS subject without wildcards.
    Subject: "subject", "a subject without spaces, empty words and the wildcards * and >", "*>";
}

impl Subject {
    /// The default inbox prefix of NATS.
    #[must_use]
    pub fn inbox() -> Self {
        Self("_INBOX".to_owned())
    }
}
