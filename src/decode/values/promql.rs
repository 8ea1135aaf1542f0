//! Values for Prometheus.

use serde_json::json;

use super::{HttpUrl, Word};
use crate::decode::identity::{Canonical, Form};
use crate::decode::yaml::{Node, Value};
use crate::decode::{Decode, Decoder};

/// A query in PromQL, or in a dialect of it. Only the server decides whether it is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromQuery(String);

impl PromQuery {
    /// The longest accepted query, in bytes.
    const LONGEST: usize = 8192;

    /// The query.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for PromQuery {
    const NOUN: &'static str = "query";
    const EXPECTED: &'static str = "a PromQL query of at most 8192 bytes, not empty";

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let fits = |c: char| !c.is_control() || matches!(c, '\n' | '\r' | '\t');
        (!text.is_empty() && text.len() <= Self::LONGEST && text.chars().all(fits)).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "\\S", "maxLength": Self::LONGEST})
    }
}

/// The URL of a Prometheus, or of a server with the same API. It differs from other URLs only in
/// the example of its message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusUrl(HttpUrl);

impl PrometheusUrl {
    /// The URL.
    #[must_use]
    pub fn http(&self) -> &HttpUrl {
        &self.0
    }
}

impl Word for PrometheusUrl {
    const NOUN: &'static str = HttpUrl::NOUN;
    const EXPECTED: &'static str =
        "an http or https URL such as http://prometheus:9090, without user, password and fragment";

    fn parse(text: &str) -> Option<Self> {
        HttpUrl::parse(text).map(Self)
    }

    fn why_not(text: &str) -> Option<String> {
        HttpUrl::why_not(text)
    }

    fn written(&self) -> String {
        self.0.written()
    }

    fn schema() -> serde_json::Value {
        <HttpUrl as Word>::schema()
    }
}

/// A finite number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Finite(f64);

impl Finite {
    /// This number.
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Canonical for Finite {
    fn write(&self, form: &mut Form<'_>) {
        form.value(self.0);
    }
}

impl Decode for Finite {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus compares")]
        let number = match node.value {
            Value::Integer(value) => value as f64,
            Value::Float(value) if value.is_finite() => value,
            _ => {
                cx.wrong_type(node, "a number such as 0.5");
                return None;
            }
        };
        Some(Self(number))
    }

    fn schema() -> serde_json::Value {
        json!({"type": "number"})
    }
}
