//! The values of a configuration. Each one parses itself, or says what would be right.

use serde_json::json;

use super::yaml::Value;
use super::{Canonical, CanonicalKey, Decode, Decoder, Form, Key, Node};

mod contract;
mod dns;
mod drill;
mod duration;
mod files;
mod grafana;
mod host;
mod http;
mod kubernetes;
pub(crate) mod near;
mod network;
mod numbers;
mod promql;
pub mod secrets;

pub use dns::{DnsName, DnsTarget, DnsTransport, DnsType, Resolver};
pub use duration::PromDuration;
pub use files::{DirectoryPath, FilePath, SecretFile};
pub use grafana::DashboardUid;
pub(crate) use host::fault_of_name as fault_of_host;
pub use http::{BodyText, HttpPlace, ServerName};
pub use kubernetes::{LabelSelector, Namespace, ObjectName};
pub use network::{DomainName, HeaderName, HttpMethod, HttpUrl, NatsServer, Pattern, StatusSet, StreamName, Subject};
pub use numbers::{Ratio, Times};
pub use promql::{Finite, PromQuery, PrometheusUrl};
pub use secrets::Secret;

/// A value that is written as a text.
pub(crate) trait Word: Sized {
    /// The word for it in messages.
    const NOUN: &'static str = "value";
    /// What would be right.
    const EXPECTED: &'static str;
    /// The allowed words, if it is a closed list.
    const WORDS: &'static [&'static str] = &[];

    /// Parses a text.
    fn parse(text: &str) -> Option<Self>;

    /// The value as a text. It is the same for every way to write the value.
    fn written(&self) -> String;

    /// A suggestion for a text that is not valid. It is shown, so it must not repeat an arbitrary
    /// text.
    fn near(text: &str) -> Option<String> {
        near::of_list(text, Self::WORDS).map(str::to_owned)
    }

    /// Why a text is not valid, if more can be said than what is expected. It is shown, so it must
    /// not repeat the text.
    fn why_not(_text: &str) -> Option<String> {
        None
    }

    /// The JSON Schema of the value.
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

/// A text for people: one line, not empty.
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

    /// A key of the configuration as a name. None if it is not a valid name.
    pub(crate) fn of_key(key: &str) -> Option<Self> {
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

/// A name that must exist in another section.
macro_rules! reference {
    ($(#[doc = $doc:literal])+ $name:ident: $noun:literal of $section:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name($crate::decode::values::Name);

        impl $name {
            /// What it refers to.
            pub const REFERENT: $crate::decode::Referent =
                $crate::decode::Referent { noun: $noun, section: stringify!($section) };

            /// The name.
            #[must_use]
            pub fn name(&self) -> &$crate::decode::values::Name {
                &self.0
            }
        }

        impl $crate::decode::Decode for $name {
            fn decode(
                node: &$crate::decode::yaml::Node,
                cx: &mut $crate::decode::Decoder<'_>,
            ) -> Option<Self> {
                let name = <$crate::decode::values::Name as $crate::decode::Decode>::decode(node, cx)?;
                cx.refer(Self::REFERENT, name.as_str(), node.at);
                Some(Self(name))
            }

            fn schema() -> serde_json::Value {
                <$crate::decode::values::Name as $crate::decode::Decode>::schema()
            }
        }
    };
}
pub(crate) use reference;
