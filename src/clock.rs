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

use crate::domain::time::Timestamp;

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

/// Does `work`, and tells for how long this process was held up meanwhile: stopped, or without a
/// processor. In that time it saw no answer and sent none, and a server may have given it up.
pub async fn watched<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let (mut work, mut held_up) = (pin!(work), Duration::ZERO);
    loop {
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
}

/// The other clocks, in nanoseconds, and their last accepted readings.
struct Hands {
    wall: Box<dyn Fn() -> i64 + Send + Sync>,
    slept: Box<dyn Fn() -> i64 + Send + Sync>,
    /// How far the wall clock is ahead of the timeline.
    offset: AtomicI64,
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

impl Clock {
    /// A timeline that begins now.
    #[must_use]
    pub fn start() -> Self {
        Self::with(wall_now, slept)
    }

    /// A timeline on these clocks, both in nanoseconds: the wall clock since the Unix epoch, and
    /// how long the machine has slept since its boot.
    #[must_use]
    pub fn with(
        wall: impl Fn() -> i64 + Send + Sync + 'static,
        slept: impl Fn() -> i64 + Send + Sync + 'static,
    ) -> Self {
        let (anchor, anchor_wall, before) = (Instant::now(), Timestamp::from_unix_nanos(wall()), slept());
        let hands = Hands {
            wall: Box::new(wall),
            slept: Box::new(move || slept().saturating_sub(before)),
            offset: AtomicI64::new(0),
            sleep: Mutex::new(Sleep { total: 0, looked: anchor, before: (anchor, 0) }),
        };
        Self { anchor, anchor_wall, hands: Box::leak(Box::new(hands)) }
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
        Timestamp::from_unix_nanos(wall.as_unix_nanos().saturating_sub(self.offset()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_time_in_which_nothing_could_run_counts_as_held_up() {
        let ((), held_up) = watched(tokio::time::sleep(Duration::from_secs(60))).await;
        assert_eq!(held_up, Duration::ZERO);
        for (stands_still, expected) in [(300, 0), (3_000, 2_900)] {
            let work = async {
                tokio::time::sleep(Duration::from_millis(250)).await;
                tokio::time::advance(Duration::from_millis(stands_still)).await;
                tokio::time::sleep(Duration::from_secs(1)).await;
            };
            let ((), held_up) = watched(work).await;
            assert!(held_up.as_millis().abs_diff(expected) <= 60, "{stands_still}: {held_up:?}");
        }
    }

    #[test]
    fn what_is_over_keeps_its_time_from_scrape_to_scrape() {
        let clock = Clock::start();
        let event = clock.now();
        let first = clock.moment().wall(event);
        for _ in 0..10_000 {
            assert_eq!(clock.moment().wall(event), first);
        }
    }

    /// Clocks that the test sets, in seconds.
    fn set() -> (Clock, &'static AtomicI64, &'static AtomicI64) {
        const START: i64 = 1_800_000_000;
        let zero = || -> &'static AtomicI64 { Box::leak(Box::new(AtomicI64::new(0))) };
        let (jump, sleep, begin) = (zero(), zero(), std::time::Instant::now());
        let passed = move || i64::try_from(begin.elapsed().as_nanos()).expect("a short test");
        let seconds = |of: &AtomicI64| of.load(Ordering::Relaxed) * 1_000_000_000;
        let wall = move || START * 1_000_000_000 + passed() + seconds(jump) + seconds(sleep);
        (Clock::with(wall, move || seconds(sleep)), jump, sleep)
    }

    #[test]
    fn a_wall_clock_that_is_set_changes_no_duration_and_is_followed() {
        for hours in [-1, 1] {
            let (clock, jump, _) = set();
            let event = clock.now();
            let before = clock.moment().wall(event);
            jump.store(3600 * hours, Ordering::Relaxed);
            let moment = clock.moment();
            assert!(moment.now.since(event) < Duration::from_secs(1), "{hours} h: the duration");
            let moved = moment.wall(event).as_unix_seconds() - before.as_unix_seconds();
            assert!(
                (moved - 3600.0 * f64::from(i32::try_from(hours).expect("small"))).abs() < 1.0,
                "moved by {moved} s"
            );
            assert_eq!(clock.from_wall(moment.wall(event)), event);
        }
    }

    /// An answer that was asked for before the machine slept, and is used after, is as old as that.
    #[test]
    fn what_was_asked_before_the_machine_slept_is_not_of_now() {
        let (clock, _, sleep) = set();
        let sent = Instant::now();
        let _ = clock.now();
        sleep.store(600, Ordering::Relaxed);
        let age = clock.now().since(clock.at(sent));
        assert!((600..602).contains(&age.as_secs()), "{age:?}");
        let after = Instant::now();
        assert!(clock.now().since(clock.at(after)) < Duration::from_secs(1));
    }

    #[test]
    fn time_that_the_machine_slept_has_passed() {
        let (clock, _, sleep) = set();
        let event = clock.now();
        let before = clock.moment().wall(event);
        sleep.store(600, Ordering::Relaxed);
        let moment = clock.moment();
        let passed = moment.now.since(event);
        assert!((600..602).contains(&passed.as_secs()), "{passed:?}");
        let moved = moment.wall(event).as_unix_seconds() - before.as_unix_seconds();
        assert!(moved.abs() < 0.1, "nobody set the wall clock, and the event moved by {moved} s");
    }
}
