//! The one place where time is read.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// A steady timeline: the wall clock's reading at start, advanced by the monotonic clock.
///
/// Durations on it are right whatever is done to the wall clock. What is exported is carried over to the wall clock as
/// it stands then, with [`Moment::wall`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    anchor_wall: Timestamp,
    /// Nanoseconds that the wall clock is taken to be ahead. Never freed: a process has one timeline.
    offset: &'static AtomicI64,
}

/// By how much the wall clock must move, in nanoseconds, before it is followed. The two clocks cannot be read at once, and
/// what is exported of an event that is over must not change from scrape to scrape.
const FOLLOWED: u64 = 50_000_000;

impl Clock {
    /// A timeline that begins now.
    #[must_use]
    pub fn start() -> Self {
        let offset = Box::leak(Box::new(AtomicI64::new(0)));
        Self { anchor: Instant::now(), anchor_wall: wall_now(), offset }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The instant on this timeline at which the monotonic clock showed `instant`.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        match instant.checked_duration_since(self.anchor) {
            Some(after) => self.anchor_wall.plus(after),
            None => self.anchor_wall.minus(self.anchor.duration_since(instant)),
        }
    }

    /// The instant on this timeline that the wall clock, as it stands now, calls `wall`.
    #[must_use]
    pub fn from_wall(&self, wall: Timestamp) -> Timestamp {
        Timestamp::from_unix_nanos(wall.as_unix_nanos().saturating_sub(self.wall_offset_nanos()))
    }

    /// Now, on both timelines.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), wall_offset: self.wall_offset_nanos() }
    }

    fn wall_offset_nanos(&self) -> i64 {
        let read = wall_now().as_unix_nanos().saturating_sub(self.now().as_unix_nanos());
        let taken = self.offset.load(Ordering::Relaxed);
        if read.abs_diff(taken) <= FOLLOWED {
            return taken;
        }
        self.offset.store(read, Ordering::Relaxed);
        read
    }
}

/// One reading of the clock. A whole scrape or page is computed for one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now, on the steady timeline.
    pub now: Timestamp,
    /// Nanoseconds that the wall clock is ahead of the steady timeline: what it was set by since the start.
    wall_offset: i64,
}

impl Moment {
    /// A moment at which the wall clock agrees with the steady timeline.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, wall_offset: 0 }
    }

    /// What the wall clock, as it stands now, calls an instant of the steady timeline: what is exported.
    #[must_use]
    pub const fn wall(&self, instant: Timestamp) -> Timestamp {
        Timestamp::from_unix_nanos(instant.as_unix_nanos().saturating_add(self.wall_offset))
    }
}

fn wall_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_unix_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_keeps_its_time_from_scrape_to_scrape() {
        let clock = Clock::start();
        let event = clock.now();
        let first = clock.moment().wall(event);
        for _ in 0..10_000 {
            assert_eq!(clock.moment().wall(event), first);
        }
    }
}
