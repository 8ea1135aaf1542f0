//! Durations.

use std::fmt;
use std::time::Duration;

use serde_json::json;

use super::{Word, near};

/// A duration in the format of Prometheus: `30s`, `5m`, `1h30m`, `2d`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PromDuration(Duration);

impl PromDuration {
    /// The duration of this many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Parses an argument of the command line.
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
    /// This duration, to show it in the format of Prometheus.
    pub(crate) const fn of(duration: Duration) -> Self {
        Self(duration)
    }

    fn of_millis(millis: u64) -> Option<Self> {
        // Its nanoseconds must fit into the 64 bits of an instant.
        (millis > 0 && millis <= 200 * UNITS[0].1).then(|| Self(Duration::from_millis(millis)))
    }
}

/// The units of Prometheus, in their required order, in milliseconds.
pub(super) const UNITS: [(&str, u64); 7] = [
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
            // Continuing after the last unit keeps the units in order, and allows each one once.
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

/// Parts of a millisecond are dropped. None are ever parsed.
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
