//! The time of another machine, which several processes share.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::{FOLLOWED, slept};
use crate::domain::time::Timestamp;

/// What another machine's clock shows. A timeline that follows it tells every time by that clock.
#[derive(Debug, Clone, Default)]
pub struct Reference(Arc<Mutex<Option<Reading>>>);

/// One reading, and how long this machine had slept by then.
#[derive(Debug, Clone, Copy)]
struct Reading {
    at: Instant,
    shown: i64,
    slept: i64,
}

impl Reading {
    /// What the clock shows at another instant.
    fn shown_at(self, at: Instant, slept: i64) -> i64 {
        let nanos = |time: std::time::Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let since = nanos(at.saturating_duration_since(self.at)) - nanos(self.at.saturating_duration_since(at));
        self.shown.saturating_add(since).saturating_add(slept.saturating_sub(self.slept))
    }
}

impl Reference {
    /// The clock showed `time` at an instant between `sent` and `received`. As long as that agrees with
    /// earlier readings, these count: a time that was told must not change with each answer.
    pub fn read(&self, time: Timestamp, sent: Instant, received: Instant) {
        let (shown, slept) = (time.as_unix_nanos(), slept());
        let tolerance = i64::try_from(FOLLOWED).unwrap_or(0);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let agrees = known.is_some_and(|known| {
            let earliest = known.shown_at(sent, slept).saturating_sub(tolerance);
            (earliest..=known.shown_at(received, slept).saturating_add(tolerance)).contains(&shown)
        });
        if !agrees {
            let at = sent + received.saturating_duration_since(sent) / 2;
            *known = Some(Reading { at, shown, slept });
        }
    }

    /// What the clock shows now, in nanoseconds since the Unix epoch. None before it was read.
    pub(super) fn now(&self) -> Option<i64> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.map(|known| known.shown_at(Instant::now(), slept()))
    }

    /// The same as a time.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.now().map(Timestamp::from_unix_nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_is_followed_as_far_as_an_answer_tells() {
        let (reference, start) = (Reference::default(), Instant::now());
        let after = |millis: u64| start + Duration::from_millis(millis);
        let time = |millis: i64| Timestamp::from_unix_nanos(millis * 1_000_000);
        // What it calls the start, in milliseconds.
        let begin = |reference: &Reference| {
            let known = reference.0.lock().expect("no panic").expect("a reading");
            known.shown_at(start, known.slept) / 1_000_000
        };
        assert!(reference.now().is_none());
        reference.read(time(1_000_010), after(0), after(20));
        assert_eq!(begin(&reference), 1_000_000);
        reference.read(time(1_001_030), after(1000), after(1010));
        assert_eq!(begin(&reference), 1_000_000, "30 ms are within what clocks differ by");
        reference.read(time(1_000_600), after(500), after(9000));
        assert_eq!(begin(&reference), 1_000_000, "it may have been read at any time until then");
        reference.read(time(1_602_010), after(2000), after(2020));
        assert_eq!(begin(&reference), 1_600_000, "it was set");
        reference.read(time(1_003_010), after(3000), after(3020));
        assert_eq!(begin(&reference), 1_000_000, "and set back");
    }
}
