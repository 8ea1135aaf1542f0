//! The only module that reads the time. `clippy.toml` forbids it everywhere else.
//!
//! [`instant`] and [`since`] measure how long something takes. [`Clock`] dates what happens.
//! [`wall`] is for times outside this process: the names of files, and the age of what other
//! processes stored.

#![expect(clippy::disallowed_methods, reason = "this is the place")]

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{Instant, sleep_until};
use tracing::warn;

use crate::domain::remembered::Calendar;
use crate::domain::time::Timestamp;

pub use reference::Reference;

/// The monotonic clock's reading: for deadlines, and for how long something takes.
#[must_use]
pub fn instant() -> Instant {
    Instant::now()
}

/// If a wait ends later than its deadline by this much, this process was held up, and the answer may
/// be there.
const HELD_UP: Duration = Duration::from_millis(300);

/// Whether this process was held up while it waited up to a deadline: what is missing then says nothing
/// of who should have answered.
#[must_use]
pub fn held_up(deadline: Instant) -> bool {
    since(deadline) > HELD_UP
}

/// How often who waits looks whether this process still runs.
const BEAT: Duration = Duration::from_millis(100);

/// Whether what was so at this beat of [`watched_by`] still is, as far as this process looked since.
#[must_use]
pub fn is_current(beat: Instant) -> bool {
    since(beat) <= BEAT + HELD_UP
}

/// Does `work`, and tells for how long this process was held up meanwhile: stopped, or without a
/// processor. In that time it saw no answer and sent none, and a server may have given it up.
pub async fn watched<T>(work: impl Future<Output = T>) -> (T, Duration) {
    watched_by(work, || {}).await
}

/// The same. `beats` is called again and again while this process runs.
pub async fn watched_by<T>(work: impl Future<Output = T>, beats: impl Fn()) -> (T, Duration) {
    let (mut work, mut held_up) = (pin!(work), Duration::ZERO);
    loop {
        beats();
        let beat = instant() + BEAT;
        let done = tokio::select! {
            biased;
            done = &mut work => Some(done),
            () = sleep_until(beat) => None,
        };
        let late = since(beat);
        if late > HELD_UP {
            held_up += late;
        }
        if let Some(done) = done {
            return (done, held_up);
        }
    }
}

/// How long ago the monotonic clock showed `earlier`. Zero if that is in the future.
#[must_use]
pub fn since(earlier: Instant) -> Duration {
    earlier.elapsed()
}

/// The wall clock's time, which may be wrong.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::from_unix_nanos(wall_now())
}

/// A steady timeline: the wall clock's time at the start, advanced by the monotonic clock and by
/// the time that the machine slept.
///
/// Durations on it are right even if the wall clock is set. What is exported is converted to the
/// current wall clock with [`Moment::wall`].
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    anchor: Instant,
    anchor_wall: Timestamp,
    /// Leaked on purpose: a process has one timeline.
    hands: &'static Hands,
    /// How far the wall clock was set, in nanoseconds, since the times that are restored were stored.
    set: i64,
}

/// The other clocks, in nanoseconds, and their last accepted readings.
struct Hands {
    wall: Box<dyn Fn() -> i64 + Send + Sync>,
    slept: Box<dyn Fn() -> i64 + Send + Sync>,
    /// How far the wall clock is ahead of the timeline.
    offset: AtomicI64,
    /// The last boot on the timeline, where the machine names it.
    boot: Option<Calendar>,
    /// How long the machine slept since the start.
    sleep: Mutex<Sleep>,
}

/// What is known about the machine's sleep, in nanoseconds.
#[derive(Debug, Clone, Copy)]
struct Sleep {
    /// How long it had slept in total at the last look.
    total: i64,
    /// The time of that look.
    looked: Instant,
    /// The last look before the last sleep, and the total sleep at that look.
    before: (Instant, i64),
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hands").field("offset", &self.offset).field("sleep", &self.sleep).finish_non_exhaustive()
    }
}

/// How far another clock must move, in nanoseconds, before the timeline follows. Two clocks cannot
/// be read at exactly the same time, and the exported time of a past event must not change from
/// scrape to scrape.
const FOLLOWED: u64 = 50_000_000;

/// By how much, in nanoseconds, the clock of another machine may differ before that is told.
const DIFFERS: u64 = 5_000_000_000;

/// By how much the wall clock must be set before stored times are told anew. More than two readings
/// of two calendars can differ by.
pub const SET: Duration = Duration::from_millis(150);

impl Clock {
    /// A timeline that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self::new(wall_now, slept, boot())
    }

    /// The same, whose wall clock is that of another machine. Before that was read, it is this machine's.
    #[must_use]
    pub fn following(reference: Reference) -> Self {
        let ahead = reference.now().map_or(0, |shown| shown.saturating_sub(wall_now()));
        if ahead.unsigned_abs() > DIFFERS {
            warn!(seconds = seconds(ahead), "the clock of the storage's server differs, and all times are told by it");
        }
        Self::new(move || reference.now().unwrap_or_else(wall_now), slept, None)
    }

    /// The same timeline for times that were stored by this calendar: [`Clock::from_wall`] corrects them
    /// by how far the wall clock was set since, if the machine has not booted since.
    #[must_use]
    pub fn told_by(&self, stored: Option<&Calendar>) -> Self {
        let now = self.calendar(self.moment());
        let same = now.as_ref().zip(stored).filter(|(now, stored)| now.boot == stored.boot);
        let set = same.map_or(0, |(now, stored)| nanos_between(stored.booted, now.booted));
        Self { set: if Duration::from_nanos(set.unsigned_abs()) < SET { 0 } else { set }, ..*self }
    }

    /// By how many seconds the wall clock was set since what this clock restores was stored.
    #[must_use]
    pub fn was_set_by(&self) -> f64 {
        seconds(self.set)
    }

    /// What the wall clock calls the machine's boot at this moment. None if the machine does not name
    /// its boots.
    #[must_use]
    pub fn booted(&self, moment: Moment) -> Option<Timestamp> {
        self.hands.boot.as_ref().map(|boot| moment.wall(boot.booted))
    }

    /// The calendar of the wall clock at this moment. None if the machine does not name its boots.
    #[must_use]
    pub fn calendar(&self, moment: Moment) -> Option<Calendar> {
        self.hands.boot.as_ref().map(|boot| Calendar { booted: moment.wall(boot.booted), ..boot.clone() })
    }

    /// A timeline on these clocks, both in nanoseconds: the wall clock since the Unix epoch, and
    /// how long the machine has slept since its boot.
    #[must_use]
    pub fn with(
        wall: impl Fn() -> i64 + Send + Sync + 'static,
        slept: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        Self::new(wall, slept, None)
    }

    /// The same on a machine that booted by that name, so many nanoseconds before that instant.
    fn new(
        wall: impl Fn() -> i64 + Send + Sync + 'static,
        slept: impl Fn() -> i64 + Send + Sync + 'static,
        boot: Option<(String, Instant, i64)>,
    ) -> Self {
        let (anchor, anchor_wall, before) = (Instant::now(), Timestamp::from_unix_nanos(wall()), slept());
        let boot = boot.map(|(boot, read, since)| {
            let until = i64::try_from(anchor.duration_since(read).as_nanos()).unwrap_or(0);
            let booted = anchor_wall.as_unix_nanos().saturating_sub(since).saturating_sub(until);
            Calendar { boot, booted: Timestamp::from_unix_nanos(booted) }
        });
        let hands = Hands {
            wall: Box::new(wall),
            slept: Box::new(move || slept().saturating_sub(before)),
            offset: AtomicI64::new(0),
            boot,
            sleep: Mutex::new(Sleep { total: 0, looked: anchor, before: (anchor, 0) }),
        };
        Self { anchor, anchor_wall, hands: Box::leak(Box::new(hands)), set: 0 }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The instant on this timeline at which the monotonic clock showed `instant`. It is too late
    /// by the length of a sleep if it lies between the last look before the sleep and the sleep, or
    /// before the previous sleep. Nobody waits that long.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Timestamp {
        let slept = Duration::from_nanos(u64::try_from(self.slept_by(instant)).unwrap_or(0));
        match instant.checked_duration_since(self.anchor) {
            Some(after) => self.anchor_wall.plus(after).plus(slept),
            None => self.anchor_wall.plus(slept).minus(self.anchor.duration_since(instant)),
        }
    }

    /// The instant on this timeline that the current wall clock calls `wall`.
    #[must_use]
    pub fn from_wall(&self, wall: Timestamp) -> Timestamp {
        Timestamp::from_unix_nanos(wall.as_unix_nanos().saturating_add(self.set).saturating_sub(self.offset()))
    }

    /// The instant on this timeline that was stored as `wall`. A stored time is never in the
    /// future: if the wall clock was set back since, the result is now.
    #[must_use]
    pub fn recalled(&self, wall: Timestamp) -> Timestamp {
        self.from_wall(wall).min(self.now())
    }

    /// Now, on both timelines.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment { now: self.now(), wall_offset: self.offset() }
    }

    /// How long the machine had slept when the monotonic clock showed `instant`. The monotonic
    /// clock stands still during a sleep.
    fn slept_by(&self, instant: Instant) -> i64 {
        let (read, looked) = ((self.hands.slept)(), Instant::now());
        let mut sleep = self.hands.sleep.lock().unwrap_or_else(PoisonError::into_inner);
        let more = read.saturating_sub(sleep.total);
        if more.unsigned_abs() > FOLLOWED {
            *sleep = Sleep { total: read, looked, before: (sleep.looked, sleep.total) };
            warn!(seconds = seconds(more), "the machine slept: nothing was measured in that time");
        }
        sleep.looked = sleep.looked.max(looked);
        let (before, total) = sleep.before;
        if instant <= before { total } else { sleep.total }
    }

    fn offset(&self) -> i64 {
        let read = (self.hands.wall)().saturating_sub(self.now().as_unix_nanos());
        let taken = self.hands.offset.load(Ordering::Relaxed);
        if read.abs_diff(taken) <= FOLLOWED {
            return taken;
        }
        self.hands.offset.store(read, Ordering::Relaxed);
        let moved = seconds(read.saturating_sub(taken));
        if moved.abs() >= 1.0 {
            warn!(seconds = moved, "the wall clock was set: exported times follow it, and no duration changes");
        }
        read
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn seconds(nanos: i64) -> f64 {
    nanos as f64 / 1e9
}

/// One reading of the clock. A whole scrape or page is computed for one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Now, on the steady timeline.
    pub now: Timestamp,
    /// How far the wall clock is ahead of the steady timeline, in nanoseconds: by how much it was
    /// set since the start.
    wall_offset: i64,
}

impl Moment {
    /// A moment at which the wall clock agrees with the steady timeline.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now, wall_offset: 0 }
    }

    /// The wall-clock time of an instant of the steady timeline, as it is exported.
    #[must_use]
    pub const fn wall(&self, instant: Timestamp) -> Timestamp {
        Timestamp::from_unix_nanos(instant.as_unix_nanos().saturating_add(self.wall_offset))
    }
}

fn wall_now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
}

/// How long the machine has slept since its boot: the difference between its boot-time clock and
/// its monotonic clock.
#[cfg(target_os = "linux")]
fn slept() -> i64 {
    use rustix::time::{ClockId, clock_gettime};

    let nanos = |clock| {
        let time = clock_gettime(clock);
        time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
    };
    let monotonic = nanos(ClockId::Monotonic);
    nanos(ClockId::Boottime).saturating_sub(monotonic)
}

#[cfg(not(target_os = "linux"))]
fn slept() -> i64 {
    0
}

/// The name of the machine's last boot, and an instant with the nanoseconds since that boot.
#[cfg(target_os = "linux")]
fn boot() -> Option<(String, Instant, i64)> {
    use rustix::time::{ClockId, clock_gettime};

    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
    let reading = || {
        let read = Instant::now();
        let time = clock_gettime(ClockId::Boottime);
        (read.elapsed(), read, time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec))
    };
    // The one during which this process was not held up.
    let (_, read, since) = (0..5).map(|_| reading()).min_by_key(|(took, ..)| *took)?;
    Some((boot, read, since)).filter(|(boot, ..)| !boot.is_empty())
}

#[cfg(not(target_os = "linux"))]
fn boot() -> Option<(String, Instant, i64)> {
    None
}

/// From one instant to another, in nanoseconds.
fn nanos_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_unix_nanos().saturating_sub(from.as_unix_nanos())
}

mod reference;
#[cfg(test)]
mod tests;
