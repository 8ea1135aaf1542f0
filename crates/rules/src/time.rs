//! Instants.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An instant, in nanoseconds since the Unix epoch.
///
/// Inside one process all instants lie on one steady timeline (the exporter's `clock` module): the
/// wall clock's time at the start, advanced by the monotonic clock. So no duration changes when the
/// wall clock is set during an outage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(into = "jiff::Timestamp", from = "jiff::Timestamp")]
#[schemars(description = "An instant in UTC, as RFC 3339 writes it.")]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that lies `nanos` nanoseconds after the Unix epoch.
    #[must_use]
    pub const fn from_unix_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The instant that lies `seconds` after the Unix epoch.
    #[must_use]
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_unix_nanos(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch, as Prometheus writes timestamps.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus stores; 0.2 µs is lost")]
    pub fn as_unix_seconds(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// The age of `earlier` at this instant. It is zero if `earlier` lies in the future.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant, `by` later.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(by)))
    }

    /// This instant, `by` earlier.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(by)))
    }
}

fn saturating_nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        let nanos = value.as_nanosecond();
        Self(i64::try_from(nanos).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX }))
    }
}

impl From<Timestamp> for jiff::Timestamp {
    fn from(value: Timestamp) -> Self {
        // Every i64 of nanoseconds lies between the years 1677 and 2262, well inside jiff's range.
        Self::from_nanosecond(i128::from(value.0)).unwrap_or(Self::UNIX_EPOCH)
    }
}

/// RFC 3339, UTC, with milliseconds, as in logs and pages.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", jiff::Timestamp::from(*self))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", jiff::Timestamp::from(*self))
    }
}
