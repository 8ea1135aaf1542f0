//! The words a configuration is made of: each parses itself, or says what would be right.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::decode::{Decode, Decoder, Key, Referent};
use super::identity::{Canonical, CanonicalKey, Form};
use super::yaml::{Node, Value};
use crate::domain::contract::{Objective, Priority};
use crate::domain::trigger::TriggerMode;

mod dns;
mod files;
mod grafana;
mod kubernetes;
pub(super) mod near;
mod network;
mod promql;

pub use super::connections::{ConnectionRef, KubernetesRef, NatsRef, PrometheusRef};
pub use dns::{DnsName, DnsTarget, DnsTransport, DnsType, Resolver};
pub use files::{DirectoryPath, FilePath, Secret, SecretFile};
pub use grafana::DashboardUid;
pub use kubernetes::{LabelSelector, Namespace, ObjectName};
pub use network::{DomainName, HeaderName, HttpMethod, HttpUrl, NatsServer, Pattern, StatusSet, StreamName, Subject};
pub use promql::{Finite, PromQuery, PrometheusUrl};

/// A word that is written as a text.
pub(crate) trait Word: Sized {
    /// What people call it.
    const NOUN: &'static str = "value";
    /// What would be right.
    const EXPECTED: &'static str;
    /// All that it can be, where that is a closed list.
    const WORDS: &'static [&'static str] = &[];

    /// The word that a text stands for.
    fn parse(text: &str) -> Option<Self>;

    /// The word as a text, the same for every way to write it.
    fn written(&self) -> String;

    /// What was probably meant by a text that stands for no word. It is shown, so it must not repeat a
    /// text that may be anything.
    fn near(text: &str) -> Option<String> {
        near::of_list(text, Self::WORDS).map(str::to_owned)
    }

    /// Why a text stands for no word, where more can be said than what is expected. It is shown, so it
    /// must not repeat the text.
    fn why_not(_text: &str) -> Option<String> {
        None
    }

    /// What JSON Schema can say of it.
    fn schema() -> serde_json::Value {
        json!({"type": "string", "description": format!("Expected: {}.", Self::EXPECTED)})
    }
}

impl<T: Word> Decode for T {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            cx.wrong_type(node, T::EXPECTED);
            return None;
        };
        let word = T::parse(text);
        if word.is_none() {
            let noun = T::why_not(text).map(|why| format!("{} ({why})", T::NOUN));
            cx.invalid_near(node.at, noun.as_deref().unwrap_or(T::NOUN), T::EXPECTED, T::near(text));
        }
        word
    }

    fn schema() -> serde_json::Value {
        <T as Word>::schema()
    }
}

impl<T: Word> Canonical for T {
    fn write(&self, form: &mut Form<'_>) {
        form.value(self.written());
    }
}

/// Text for people: one line, not empty.
impl Word for String {
    const NOUN: &'static str = "text";
    const EXPECTED: &'static str = "one line of text, not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.trim().is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
    }

    fn written(&self) -> String {
        self.clone()
    }
}

/// A name: `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that a key of the configuration is; none if no name looks like that.
    pub(super) fn of_key(key: &str) -> Option<Self> {
        Self::parse(key)
    }
}

impl CanonicalKey for Name {
    fn key(&self) -> &str {
        &self.0
    }
}

impl Word for Name {
    const NOUN: &'static str = "name";
    const EXPECTED: &'static str = "1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter or digit";

    fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        let begins = text.bytes().next().is_some_and(|byte| byte != b'_' && byte != b'-');
        (begins && text.len() <= 63 && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"})
    }
}

impl Key for Name {
    fn parse_key(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("a name: {}", Self::EXPECTED))
    }
}

/// A duration as Prometheus writes them: `30s`, `5m`, `1h30m`, `2d`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromDuration(Duration);

impl PromDuration {
    /// The duration of this many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// The duration that an argument of the command line stands for.
    ///
    /// # Errors
    /// What would be right.
    pub fn from_arg(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| match Self::near(text) {
            Some(near) => format!("expected {}; did you mean `{near}`?", Self::EXPECTED),
            None => format!("expected {}", Self::EXPECTED),
        })
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl PromDuration {
    /// This duration, to tell it as durations are written.
    pub(super) const fn of(duration: Duration) -> Self {
        Self(duration)
    }

    fn of_millis(millis: u64) -> Option<Self> {
        // Nanoseconds of it must fit an instant's 64 bits.
        (millis > 0 && millis <= 200 * UNITS[0].1).then(|| Self(Duration::from_millis(millis)))
    }
}

/// The units of Prometheus, in the order in which they must come, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

impl Word for PromDuration {
    const NOUN: &'static str = "duration";
    const EXPECTED: &'static str = "30s, 5m, 1h30m, 2d or the like, above zero";

    fn parse(text: &str) -> Option<Self> {
        let (mut rest, mut units, mut total) = (text, UNITS.iter(), 0_u64);
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            // Going on from the last unit keeps them in order, and each to one use.
            let (_, millis) = units.find(|(name, _)| *name == unit)?;
            total = total.checked_add(number.parse::<u64>().ok()?.checked_mul(*millis)?)?;
            rest = tail;
        }
        Self::of_millis(total)
    }

    fn written(&self) -> String {
        self.to_string()
    }

    fn near(text: &str) -> Option<String> {
        near::duration(text).filter(|near| Self::parse(near).is_some())
    }

    fn schema() -> serde_json::Value {
        let units = UNITS.map(|(name, _)| format!("([0-9]+{name})?")).concat();
        json!({"type": "string", "pattern": format!("^(?=.*[1-9]){units}$"),
            "description": "A duration such as `30s`, `5m`, `1h30m` or `2d`."})
    }
}

/// Milliseconds are lost below one; none are ever parsed.
impl fmt::Display for PromDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        for (name, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{name}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Word for Priority {
    const NOUN: &'static str = "priority";
    const EXPECTED: &'static str = "one of P0, P1, P2, P3";
    const WORDS: &'static [&'static str] = &["P0", "P1", "P2", "P3"];

    fn parse(text: &str) -> Option<Self> {
        [Self::P0, Self::P1, Self::P2, Self::P3].into_iter().find(|priority| priority.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

impl Word for Objective {
    const NOUN: &'static str = "objective";
    const EXPECTED: &'static str = "one of rto, rpo";
    const WORDS: &'static [&'static str] = &["rto", "rpo"];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|objective| objective.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

impl Word for TriggerMode {
    const NOUN: &'static str = "mode";
    const EXPECTED: &'static str = "one of auto, manual";
    const WORDS: &'static [&'static str] = &["auto", "manual"];

    fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::Manual].into_iter().find(|mode| mode.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

/// A share: above 0, below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
    const EXPECTED: &str = "a number above 0 and below 1, such as 0.8";

    /// Four fifths.
    pub const FOUR_FIFTHS: Self = Self(0.8);

    /// The share.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Decode for Ratio {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        match node.value {
            Value::Float(value) if value > 0.0 && value < 1.0 => Some(Self(value)),
            Value::Float(_) | Value::Integer(_) => {
                cx.invalid_near(node.at, "ratio", Self::EXPECTED, near::ratio(&node.value));
                None
            }
            _ => {
                cx.wrong_type_near(node, Self::EXPECTED, near::ratio(&node.value));
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})
    }
}

/// How often in a row: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(u32);

impl Times {
    /// This many times.
    #[must_use]
    pub const fn new(times: u32) -> Self {
        Self(times)
    }

    /// How often.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Decode for Times {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        const EXPECTED: &str = "a whole number from 1 to 1000";
        let Value::Integer(value) = node.value else {
            cx.wrong_type(node, EXPECTED);
            return None;
        };
        let times = u32::try_from(value).ok().filter(|times| (1..=1000).contains(times));
        if times.is_none() {
            cx.invalid(node.at, "number", EXPECTED);
        }
        times.map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({"type": "integer", "minimum": 1, "maximum": 1000})
    }
}

impl Canonical for Times {
    fn write(&self, form: &mut Form<'_>) {
        form.value(self.0);
    }
}

/// A name that must stand in another section.
macro_rules! reference {
    ($(#[doc = $doc:literal])+ $name:ident: $noun:literal of $section:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name($crate::config::values::Name);

        impl $name {
            /// What it refers to.
            pub const REFERENT: $crate::config::decode::Referent =
                $crate::config::decode::Referent { noun: $noun, section: stringify!($section) };

            /// The name.
            #[must_use]
            pub fn name(&self) -> &$crate::config::values::Name {
                &self.0
            }
        }

        impl $crate::config::decode::Decode for $name {
            fn decode(
                node: &$crate::config::yaml::Node,
                cx: &mut $crate::config::decode::Decoder<'_>,
            ) -> Option<Self> {
                let name = <$crate::config::values::Name as $crate::config::decode::Decode>::decode(node, cx)?;
                cx.refer(Self::REFERENT, name.as_str(), node.at);
                Some(Self(name))
            }

            fn schema() -> serde_json::Value {
                <$crate::config::values::Name as $crate::config::decode::Decode>::schema()
            }
        }
    };
}
pub(crate) use reference;

reference! {
    /// The name of a contract, which exists.
    ContractRef: "contract" of contracts
}
reference! {
    /// The name of a contract that has an `rto`, which exists.
    ClockRef: "contract with an rto" of contracts
}

/// `CONTRACT/CHECK`: a check of a contract, which exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRef {
    /// The contract's name.
    pub contract: Name,
    /// The check's name.
    pub check: Name,
}

impl CheckRef {
    /// What it refers to.
    pub const REFERENT: Referent = Referent { noun: "check", section: "contracts" };
    const EXPECTED: &'static str = "the names of a contract and of one of its checks, such as api/health";
}

impl Decode for CheckRef {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let Value::Text(text) = &node.value else {
            cx.wrong_type(node, Self::EXPECTED);
            return None;
        };
        let names = text.split_once('/').and_then(|(contract, check)| Name::parse(contract).zip(Name::parse(check)));
        let Some((contract, check)) = names else {
            cx.invalid(node.at, "reference", Self::EXPECTED);
            return None;
        };
        cx.refer(Self::REFERENT, text, node.at);
        Some(Self { contract, check })
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}$"})
    }
}
