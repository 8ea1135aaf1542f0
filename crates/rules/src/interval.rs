//! Intervals: figures that nobody can measure exactly.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The two ends of a figure, such as the recovery time of an outage, or the data at risk.
///
/// A claim that the figure is small needs the upper end. A claim that it is large needs the lower
/// end. A limit between the two ends proves neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The figure is at least this.
    pub least: Duration,
    /// The figure is at most this. None if there is no upper end.
    pub most: Option<Duration>,
}

impl Interval {
    /// A figure about which nothing is known.
    pub const UNKNOWN: Self = Self { least: Duration::ZERO, most: None };

    /// An interval. A lower end above the upper end is reduced to the upper end.
    #[must_use]
    pub fn new(least: Duration, most: Option<Duration>) -> Self {
        Self { least: most.map_or(least, |most| least.min(most)), most }
    }

    /// A figure that is known exactly.
    #[must_use]
    pub const fn exactly(figure: Duration) -> Self {
        Self { least: figure, most: Some(figure) }
    }

    /// The larger of two figures.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self { least: self.least.max(other.least), most: self.most.zip(other.most).map(|(a, b)| a.max(b)) }
    }

    /// Whether the figure is certainly `limit` or more.
    #[must_use]
    pub fn certainly_reaches(self, limit: Duration) -> bool {
        self.least >= limit
    }

    /// Whether the figure can be `limit` or more.
    #[must_use]
    pub fn may_reach(self, limit: Duration) -> bool {
        self.most.is_none_or(|most| most >= limit)
    }

    /// Whether the figure is certainly above `limit`.
    #[must_use]
    pub fn certainly_exceeds(self, limit: Duration) -> bool {
        self.least > limit
    }

    /// Whether the figure can be above `limit`.
    #[must_use]
    pub fn may_exceed(self, limit: Duration) -> bool {
        self.most.is_none_or(|most| most > limit)
    }
}
