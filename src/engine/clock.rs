//! The one place where time is read.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::time::Timestamp;

/// A steady timeline: the wall clock's reading at start, advanced by the monotonic clock.
///
/// Durations on it are right whatever is done to the wall clock. What is exported is carried over to the wall clock as
/// it stands then, with [`Clock::wall_offset_nanos`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    anchor_wall: Timestamp,
}

impl Clock {
    /// A timeline that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self { anchor: Instant::now(), anchor_wall: wall_now() }
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

    /// How many nanoseconds the wall clock is ahead of this timeline: what it was set by since the start.
    #[must_use]
    pub fn wall_offset_nanos(&self) -> i64 {
        wall_now().as_unix_nanos().saturating_sub(self.now().as_unix_nanos())
    }
}

fn wall_now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp::from_unix_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
}
