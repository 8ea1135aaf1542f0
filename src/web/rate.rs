//! A token bucket for the rate limit of a web configuration.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::web_config::Rate;
use crate::clock;

/// The tokens that are left. It begins full.
#[derive(Debug, Default)]
pub(super) struct Bucket(Mutex<Option<State>>);

#[derive(Debug)]
struct State {
    rate: Rate,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Whether one more request is answered. A changed rate begins with a full bucket.
    pub(super) fn allows(&self, rate: Rate) -> bool {
        self.allows_at(rate, clock::instant())
    }

    fn allows_at(&self, rate: Rate, now: Instant) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let most = f64::from(rate.burst);
        let state = match &mut *held {
            Some(state) if state.rate == rate => state,
            held => held.insert(State { rate, tokens: most, at: now }),
        };
        let came = now.saturating_duration_since(state.at).as_secs_f64() / rate.interval.as_secs_f64();
        state.tokens = (state.tokens + came).min(most);
        state.at = now;
        let is_left = state.tokens >= 1.0;
        if is_left {
            state.tokens -= 1.0;
        }
        is_left
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_one_per_interval() {
        let bucket = Bucket::default();
        let rate = Rate { interval: Duration::from_secs(1), burst: 3 };
        let start = clock::instant();
        let at = |seconds: f64| bucket.allows_at(rate, start + Duration::from_secs_f64(seconds));
        assert_eq!([0.0, 0.0, 0.0, 0.0, 0.9].map(at), [true, true, true, false, false]);
        assert_eq!([1.1, 1.2, 2.1, 100.0, 100.0, 100.0, 100.0].map(at), [true, false, true, true, true, true, false]);
        let none = Rate { burst: 0, ..rate };
        assert!(!bucket.allows_at(none, start + Duration::from_secs(200)), "a burst of 0 lets nobody in");
    }
}
