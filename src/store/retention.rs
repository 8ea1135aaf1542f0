//! Up to when records may be forgotten, by a clock that may be wrong. Pure.
//!
//! Which records are older than the retention is told by the wall clock, and a machine that boots with a clock that is years
//! ahead would lose all of them. So the age of a record is not taken against the wall clock itself but against a *date* of
//! the storage's own. It is stored, goes on with the time that the process runs, and hurries after the wall clock by a day
//! at most, and by another in ten days of running: enough to make up for the time in which nobody ran.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// What the date may hurry by at once: what a clock that jumps can cost, beside the time that did pass.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The share of the time that it runs by which it may hurry.
const EARNED: u32 = 10;

/// What time it is, as far as the retention believes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// The date. It never goes back.
    pub(super) at: Timestamp,
    /// By how much it may hurry beyond the time that passes: earned by running, a day at most.
    pub(super) haste: Duration,
}

impl Date {
    /// The date of a storage that had none: that of its newest record, which did not lie in the future when it was
    /// written.
    pub(super) fn first(now: Timestamp, newest: Timestamp) -> Self {
        Self { at: newest.min(now), haste: DAY }
    }

    /// The date after the process ran for `ran` more, by the monotonic clock, at a time that the wall clock calls `now`.
    /// Never beyond the `newest` record: where nothing new is recorded, nothing old is let go.
    #[must_use]
    pub(super) fn after(self, ran: Duration, now: Timestamp, newest: Timestamp) -> Self {
        let haste = self.haste.saturating_add(ran / EARNED).min(DAY);
        let behind = now.min(newest).since(self.at);
        let hurried = behind.saturating_sub(ran).min(haste);
        Self { at: self.at.plus(behind.min(ran.saturating_add(hurried))), haste: haste.saturating_sub(hurried) }
    }

    /// The instant before which everything may be forgotten, if the wall clock shows `now`.
    #[must_use]
    pub(super) fn horizon(self, now: Timestamp, retention: Duration) -> Timestamp {
        self.at.min(now).minus(retention)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn day(number: u32) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000).plus(DAY * number)
    }

    #[test]
    fn how_far_the_date_goes() {
        // The date and its haste before; what ran, the wall clock, the newest record; the date and its haste after.
        let cases = [
            ("an hour of running", (day(10), DAY), HOUR, day(10).plus(HOUR), day(11), (day(10).plus(HOUR), DAY)),
            (
                "ten years ahead at boot",
                (day(10), DAY),
                Duration::ZERO,
                day(3660),
                day(3660),
                (day(11), Duration::ZERO),
            ),
            (
                "and an hour later",
                (day(11), Duration::ZERO),
                HOUR,
                day(3660),
                day(3660),
                (day(11).plus(HOUR * 11 / 10), Duration::ZERO),
            ),
            (
                "and booted again",
                (day(11), Duration::ZERO),
                Duration::ZERO,
                day(3660),
                day(3660),
                (day(11), Duration::ZERO),
            ),
            ("right again", (day(11), Duration::ZERO), HOUR, day(10), day(3660), (day(11), HOUR / 10)),
            ("haste is a day at most", (day(11), DAY), HOUR * 1000, day(10), day(12), (day(11), DAY)),
            (
                "off for half a day",
                (day(10), DAY),
                HOUR,
                day(10).plus(HOUR * 13),
                day(20),
                (day(10).plus(HOUR * 13), HOUR * 12),
            ),
            ("off for a month", (day(10), DAY), HOUR, day(40), day(40), (day(11).plus(HOUR), Duration::ZERO)),
            ("in 1970", (day(10), DAY), HOUR, Timestamp::from_unix_seconds(0), day(10), (day(10), DAY)),
            ("nothing new", (day(10), DAY), HOUR * 24, day(12), day(10), (day(10), DAY)),
        ];
        for (case, (at, haste), ran, now, newest, (expected, left)) in cases {
            let after = Date { at, haste }.after(ran, now, newest);
            assert_eq!(after, Date { at: expected, haste: left }, "{case}");
        }
    }

    #[test]
    fn what_may_be_forgotten() {
        let date = Date { at: day(500), haste: DAY };
        assert_eq!(date.horizon(day(500), DAY * 400), day(100));
        assert_eq!(date.horizon(day(5000), DAY * 400), day(100), "the wall clock is ahead");
        assert_eq!(date.horizon(day(450), DAY * 400), day(50), "the wall clock was set back");
        assert_eq!(Date::first(day(5000), day(500)).at, day(500));
        assert_eq!(Date::first(day(400), day(500)).at, day(400));
    }

    proptest! {
        /// Whatever the wall clock shows: no more than a day is lost, beside what passed and a tenth of it.
        #[test]
        fn no_clock_makes_it_run_away(steps in prop::collection::vec((0u64..200_000, any::<i64>()), 0..50)) {
            let begin = Date { at: day(0), haste: DAY };
            let (mut date, mut passed) = (begin, Duration::ZERO);
            for (ran, now) in steps {
                let (ran, now) = (Duration::from_secs(ran), Timestamp::from_unix_nanos(now));
                let next = date.after(ran, now, Timestamp::from_unix_nanos(i64::MAX));
                passed += ran;
                prop_assert!(next.at >= date.at);
                prop_assert!(next.at.since(begin.at) <= DAY + passed + passed / EARNED);
                date = next;
            }
        }

        /// With a clock that is right, and records, the date is the time, whatever the runs are.
        #[test]
        fn a_clock_that_is_right_is_followed(runs in prop::collection::vec(1u64..100_000, 1..50)) {
            let mut date = Date { at: day(0), haste: DAY };
            let mut now = day(0);
            for ran in runs.into_iter().map(Duration::from_secs) {
                now = now.plus(ran);
                date = date.after(ran, now, now);
                prop_assert_eq!(date, Date { at: now, haste: DAY });
            }
        }
    }
}
