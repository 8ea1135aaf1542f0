//! Instants.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant, in nanoseconds since the Unix epoch.
///
/// Inside one process all instants lie on one steady timeline (see [`crate::clock::Clock`]): the wall clock's
/// reading at start, advanced by the monotonic clock. A wall clock that is set back or forward while an outage is
/// measured therefore changes no duration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "jiff::Timestamp", from = "jiff::Timestamp")]
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

    /// How long ago `earlier` was at this instant. An `earlier` that lies in the future is age zero, never negative.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This instant moved into the future by `by`.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(by)))
    }

    /// This instant moved into the past by `by`.
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

/// RFC 3339, UTC, to the millisecond: what logs and pages show.
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
