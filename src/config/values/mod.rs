//! The words a configuration is made of: each parses itself, or says what would be right.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::decode::{Decode, Decoder, Key, Referent};
use super::yaml::{Node, Value};
use crate::domain::contract::{Objective, Priority};
use crate::domain::trigger::TriggerMode;

mod dns;
mod files;
mod grafana;
mod kubernetes;
mod network;
mod promql;

pub use dns::{DnsName, DnsTarget, DnsTransport, DnsType, Resolver};
pub use files::{FilePath, Secret, SecretFile};
pub use grafana::DashboardUid;
pub use kubernetes::{LabelSelector, Namespace, ObjectName};
pub use network::{DomainName, HeaderName, HttpMethod, HttpUrl, NatsServer, Pattern, StatusSet, StreamName, Subject};
pub use promql::{Finite, PromQuery};

/// A word that is written as a text.
pub(super) trait Word: Sized {
    /// What would be right.
    const EXPECTED: &'static str;

    /// The word that a text stands for.
    fn parse(text: &str) -> Option<Self>;

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
            cx.error(node.at, format!("this will not do; expected {}", T::EXPECTED));
        }
        word
    }

    fn schema() -> serde_json::Value {
        <T as Word>::schema()
    }
}

/// Text for people: one line, not empty.
impl Word for String {
    const EXPECTED: &'static str = "a text of one line, not empty";

    fn parse(text: &str) -> Option<Self> {
        (!text.trim().is_empty() && !text.contains(char::is_control)).then(|| text.to_owned())
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
}

impl Word for Name {
    const EXPECTED: &'static str = "a name: 1 to 63 of a-z, 0-9, `_` and `-`, beginning with a letter or digit";

    fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        let begins = text.bytes().next().is_some_and(|byte| byte != b'_' && byte != b'-');
        (begins && text.len() <= 63 && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}$"})
    }
}

impl Key for Name {
    fn parse_key(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| Self::EXPECTED.to_owned())
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
        Self::parse(text).ok_or_else(|| format!("expected {}", Self::EXPECTED))
    }

    /// The duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
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
    const EXPECTED: &'static str = "a duration above zero such as 30s, 5m, 1h30m or 2d";

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
        // Nanoseconds of it must fit an instant's 64 bits.
        (total > 0 && total <= 200 * UNITS[0].1).then(|| Self(Duration::from_millis(total)))
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
    const EXPECTED: &'static str = "one of P0, P1, P2, P3";

    fn parse(text: &str) -> Option<Self> {
        [Self::P0, Self::P1, Self::P2, Self::P3].into_iter().find(|priority| priority.label() == text)
    }

    fn schema() -> serde_json::Value {
        json!({"enum": ["P0", "P1", "P2", "P3"]})
    }
}

impl Word for Objective {
    const EXPECTED: &'static str = "one of rto, rpo";

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|objective| objective.label() == text)
    }

    fn schema() -> serde_json::Value {
        json!({"enum": ["rto", "rpo"]})
    }
}

impl Word for TriggerMode {
    const EXPECTED: &'static str = "one of auto, manual";

    fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::Manual].into_iter().find(|mode| mode.label() == text)
    }

    fn schema() -> serde_json::Value {
        json!({"enum": ["auto", "manual"]})
    }
}

/// A share: above 0, below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

impl Ratio {
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
                cx.error(node.at, "this will not do; expected a number above 0 and below 1, such as 0.8");
                None
            }
            _ => {
                cx.wrong_type(node, "a number above 0 and below 1, such as 0.8");
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
        let Value::Integer(value) = node.value else {
            cx.wrong_type(node, "a whole number from 1 to 1000");
            return None;
        };
        let times = u32::try_from(value).ok().filter(|times| (1..=1000).contains(times));
        if times.is_none() {
            cx.error(node.at, "this will not do; expected a whole number from 1 to 1000");
        }
        times.map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({"type": "integer", "minimum": 1, "maximum": 1000})
    }
}

/// A name that must stand in another section.
macro_rules! reference {
    ($(#[doc = $doc:literal])+ $name:ident: $noun:literal of $section:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(Name);

        impl $name {
            /// What it refers to.
            pub const REFERENT: Referent = Referent { noun: $noun, section: Self::SECTION };
            /// The section that it stands in.
            pub const SECTION: &'static str = $section;

            /// The name.
            #[must_use]
            pub fn name(&self) -> &Name {
                &self.0
            }

            /// The section and the name.
            #[must_use]
            pub fn place(&self) -> (&'static str, &Name) {
                (Self::SECTION, &self.0)
            }
        }

        impl Decode for $name {
            fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
                let name = Name::decode(node, cx)?;
                cx.refer(Self::REFERENT, name.as_str(), node.at);
                Some(Self(name))
            }

            fn schema() -> serde_json::Value {
                <Name as Word>::schema()
            }
        }
    };
}

reference! {
    /// The name of a connection of the `nats` section, which exists.
    NatsRef: "connection" of "nats"
}
reference! {
    /// The name of a connection of the `kubernetes` section, which exists.
    KubernetesRef: "connection" of "kubernetes"
}
reference! {
    /// The name of a contract, which exists.
    ContractRef: "contract" of "contracts"
}
reference! {
    /// The name of a contract that has an `rto`, which exists.
    ClockRef: "contract with an rto" of "contracts"
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
            cx.error(node.at, format!("this will not do; expected {}", Self::EXPECTED));
            return None;
        };
        cx.refer(Self::REFERENT, text, node.at);
        Some(Self { contract, check })
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,62}/[a-z0-9][a-z0-9_-]{0,62}$"})
    }
}
reference! {
    /// The name of a connection of the `prometheus` section, which exists.
    PrometheusRef: "connection" of "prometheus"
}
