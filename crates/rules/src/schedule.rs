//! Schedules: how often a drill is due.

use std::time::Duration;

use jiff::ToSpan as _;
use jiff::tz::TimeZone;

use super::time::Timestamp;

/// How often something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// Every seven days.
    Weekly,
    /// At the same day of the next month, or at the last day of a shorter month.
    Monthly,
    /// At the same day three months later.
    Quarterly,
    /// After this time.
    Every(Duration),
}

impl Schedule {
    /// When it is due again, if it was last done at `last`.
    #[must_use]
    pub fn after(self, last: Timestamp) -> Timestamp {
        let months = match self {
            Self::Weekly => return last.plus(Duration::from_secs(7 * 24 * 3600)),
            Self::Every(time) => return last.plus(time),
            Self::Monthly => 1,
            Self::Quarterly => 3,
        };
        let date = jiff::Timestamp::from(last).to_zoned(TimeZone::UTC);
        // Only beyond the year 9999 there is no such day.
        date.checked_add(months.months()).map_or(last, |date| Timestamp::from(date.timestamp()))
    }
}

/// When something that is due regularly was last done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// How often.
    pub every: Schedule,
    /// When it was last done. None if it never was.
    pub last: Option<Timestamp>,
}

/// How far the wall clock may be set back without making what was done unknown.
const SET_BACK: Duration = Duration::from_secs(24 * 3600);

impl Due {
    /// When it is due. None if it was never done: then it is due since ever.
    #[must_use]
    pub fn at(self) -> Option<Timestamp> {
        self.last.map(|last| self.every.after(last))
    }

    /// Whether it should have been done by `now`. What was never done is overdue. So is what was
    /// done in the far future: the wall clock was wrong then, and nobody knows when it was.
    #[must_use]
    pub fn is_overdue(self, now: Timestamp) -> bool {
        let unknown = self.last.is_some_and(|last| last.since(now) > SET_BACK);
        unknown || self.at().is_none_or(|due| now >= due)
    }
}
