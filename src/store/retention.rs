//! Up to when records may be deleted, although the clock may be wrong. Pure.
//!
//! The wall clock tells which records are older than the retention. But a machine that boots with a
//! clock that is years ahead would then lose all of them. So the age of a record is not measured
//! against the wall clock, but against a *date* that the storage keeps. The date advances with the
//! time that the process runs. In addition it catches up with the wall clock, by at most a day at
//! once, and by one more day per ten days of running. This is enough to make up for the time in
//! which no process ran.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// How much the date may catch up at once. This limits what a jumping clock can cost, beside the
/// time that really passed.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The date may catch up by one part in this many of the running time.
const EARNED: u32 = 10;

/// The current time, as far as the retention trusts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date {
    /// The date. It never goes back.
    pub(super) at: Timestamp,
    /// How much the date may catch up, beside the time that passes. It is earned by running, and is
    /// at most a day.
    pub(super) haste: Duration,
}

impl Date {
    /// The date of a storage that had none: the time of its newest record, if that is not in the
    /// future.
    pub(super) fn first(now: Timestamp, newest: Timestamp) -> Self {
        Self { at: newest.min(now), haste: DAY }
    }

    /// The date after the process ran for another `ran` of the monotonic clock, while the wall
    /// clock shows `now`. It never passes the `newest` record: as long as nothing new is recorded,
    /// nothing old is deleted.
    #[must_use]
    pub(super) fn after(self, ran: Duration, now: Timestamp, newest: Timestamp) -> Self {
        let haste = self.haste.saturating_add(ran / EARNED).min(DAY);
        let behind = now.min(newest).since(self.at);
        let hurried = behind.saturating_sub(ran).min(haste);
        Self { at: self.at.plus(behind.min(ran.saturating_add(hurried))), haste: haste.saturating_sub(hurried) }
    }

    /// The instant before which everything may be deleted, if the wall clock shows `now`.
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
        // The date and its haste before; the running time, the wall clock, the newest record; the
        // date and its haste after.
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
        /// Whatever the wall clock shows, at most a day is lost, beside the time that passed and a
        /// tenth of it.
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

        /// With a correct clock, and records, the date equals the time, however the process runs.
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
