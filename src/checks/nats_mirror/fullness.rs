//! Whether the account of a side is full. Pure.

use std::time::Duration;

use tokio::time::Instant;

use super::limits;
use crate::clients::jetstream::{Account, StreamInfo};
use crate::clients::nats::{API_SILENT, FORBIDDEN};
use crate::domain::observation::Finding;

/// For how long the account is left alone if this exporter may not ask about it.
const RESTS: Duration = Duration::from_secs(600);
/// For how long an answer counts if later questions get none.
const KEPT: Duration = Duration::from_secs(60);

/// What is known about an account.
#[derive(Default)]
pub(super) struct Fullness {
    last: Option<(Account, Instant)>,
    /// Why the last question got no answer.
    doubt: Option<Finding>,
    /// Until when nobody asks.
    rests: Option<Instant>,
    /// Whether it was full at the last answer.
    was_full: bool,
}

impl Fullness {
    /// Whether to ask now. Each question that is not allowed leaves a line in the server's log.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.rests.is_none_or(|until| now >= until)
    }

    /// Takes in an answer, or why there is none.
    pub(super) fn take(&mut self, told: Result<Account, Finding>, now: Instant) {
        (self.rests, self.doubt) = (None, None);
        match told {
            Ok(account) => self.last = Some((account, now)),
            Err(doubt) => {
                // A question that never got an answer may lead nowhere.
                let never = doubt.reason == &API_SILENT && self.last.is_none() && !self.was_full;
                self.rests = (never || doubt.reason == &FORBIDDEN).then_some(now + RESTS);
                self.doubt = Some(doubt);
            }
        }
    }

    /// Adds what is known to the state of a stream. An account that was full is not known to be full, and not known to
    /// have room, until there is another answer.
    pub(super) fn add_to(&mut self, info: &mut StreamInfo, now: Instant) {
        let last = self.last.as_ref().filter(|(_, at)| now.duration_since(*at) < KEPT);
        info.account = last.map(|(account, _)| account.clone());
        match &self.doubt {
            None => self.was_full = limits::is_account_full(info),
            Some(why) => {
                if self.was_full || limits::is_account_full(info) {
                    info.account = None;
                    info.account_doubt =
                        Some(Finding::new(why.reason, format!("its account was full; {}", why.detail)));
                }
            }
        }
    }

    /// Whether it was full at the last answer.
    pub(super) fn was_full(&self) -> bool {
        self.was_full
    }

    /// It was full at the last answer to an earlier process, or was not.
    pub(super) fn recall(&mut self, was_full: bool) {
        self.was_full = was_full;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clients::nats::{JETSTREAM_UNAVAILABLE, TIMEOUT};
    use crate::clock;
    use crate::domain::observation::Reason;

    type Told = Result<u64, &'static Reason>;

    /// What each look makes of an account of 1000 bytes that holds so many, at this second: whether it was asked, and
    /// whether it is full. None while that is not known.
    fn seen(was_full: bool, looks: &[(u64, Told)]) -> Vec<(bool, Option<bool>)> {
        let start = clock::instant();
        let mut known = Fullness::default();
        known.recall(was_full);
        let look = |(second, told): &(u64, Told)| {
            let now = start + Duration::from_secs(*second);
            let due = known.is_due(now);
            if due {
                let account = |held| json!({"storage": held, "limits": {"max_storage": 1000}});
                let told = told.map(|held| serde_json::from_value(account(held)).expect("an account"));
                known.take(told.map_err(|reason| Finding::new(reason, "nothing")), now);
            }
            let time = "2026-01-01T00:00:00Z";
            let state = json!({"messages": 1, "bytes": 100, "first_seq": 1, "first_ts": time, "last_seq": 1,
                "last_ts": time});
            let info = json!({"config": {"subjects": ["a"]}, "created": time, "state": state});
            let mut info = serde_json::from_value(info).expect("an answer");
            known.add_to(&mut info, now);
            (due, info.account_doubt.is_none().then(|| limits::full(&info).is_some()))
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn who_was_full_is_not_known_to_have_room_until_there_is_an_answer() {
        for reason in [&API_SILENT, &JETSTREAM_UNAVAILABLE, &TIMEOUT] {
            let known = seen(true, &[(0, Err(reason)), (30, Err(reason)), (60, Ok(950)), (90, Ok(100))]);
            assert_eq!(known, [(true, None), (true, None), (true, Some(true)), (true, Some(false))], "after a restart");
            let known = seen(false, &[(0, Ok(950)), (30, Err(reason)), (300, Err(reason)), (330, Ok(100))]);
            assert_eq!(known, [(true, Some(true)), (true, None), (true, None), (true, Some(false))], "from memory");
            let known = seen(false, &[(0, Ok(100)), (30, Err(reason)), (60, Ok(950))]);
            assert_eq!(known, [(true, Some(false)), (true, Some(false)), (true, Some(true))], "it had room");
        }
    }

    #[test]
    fn who_may_not_ask_says_nothing_and_asks_seldom() {
        let room = Some(false);
        for reason in [&FORBIDDEN, &API_SILENT] {
            let known = seen(false, &[(0, Err(reason)), (30, Ok(950)), (600, Ok(950))]);
            assert_eq!(known, [(true, room), (false, room), (true, Some(true))], "{}", reason.label);
        }
        let known = seen(false, &[(0, Ok(950)), (30, Err(&FORBIDDEN)), (60, Ok(1)), (630, Ok(1))]);
        assert_eq!(known, [(true, Some(true)), (true, None), (false, None), (true, room)], "it was withdrawn");
        let known = seen(false, &[(0, Err(&JETSTREAM_UNAVAILABLE)), (30, Ok(950))]);
        assert_eq!(known, [(true, room), (true, Some(true))], "what is not there now may soon be");
    }
}
