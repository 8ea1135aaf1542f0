//! Numbers with a range of their own.

use serde_json::json;

use super::near;
use crate::decode::yaml::Value;
use crate::decode::{Canonical, Decode, Decoder, Form, Node};

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

/// A number of times in a row: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times(u32);

impl Times {
    /// This many times.
    #[must_use]
    pub const fn new(times: u32) -> Self {
        Self(times)
    }

    /// The refresh interval.
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
