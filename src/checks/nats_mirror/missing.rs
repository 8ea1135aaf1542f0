//! Since when the first message that the copy lacks has been missing. Pure.

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The first message that the copy lacked, and when it was first seen to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    sequence: u64,
    seen: Timestamp,
}

impl Missing {
    /// The instant up to which a copy is proven that lacks a message, stamped by the origin's clock with `stamped`, and seen
    /// to lack it now: never later than it was first seen to lack it. A clock that was ahead when the message was stored would
    /// otherwise date it anew at every look.
    pub(super) fn since(known: &mut Option<Self>, sequence: u64, stamped: Timestamp, now: Timestamp) -> Timestamp {
        let missing = known.filter(|known| known.sequence == sequence).unwrap_or(Self { sequence, seen: now });
        *known = Some(missing);
        stamped.min(missing.seen)
    }

    /// When the copy was first seen to lack the message.
    pub(super) fn seen(self) -> Timestamp {
        self.seen
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { seen: carry(self.seen), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    #[test]
    fn a_stamp_of_the_future_does_not_make_it_young() {
        let mut known = None;
        // Stamped ten minutes ahead: read as now by whoever asks, at every look.
        for look in [0, 10, 20, 600, 700] {
            let since = Missing::since(&mut known, 91, t(600).min(t(look)), t(look));
            assert_eq!(since, t(0), "at {look} s it has been seen missing for {look} s");
        }
    }

    #[test]
    fn a_stamp_that_is_right_holds() {
        let mut known = None;
        assert_eq!(Missing::since(&mut known, 91, t(-30), t(0)), t(-30));
        assert_eq!(Missing::since(&mut known, 91, t(-30), t(10)), t(-30));
    }

    #[test]
    fn another_message_is_another_matter() {
        let mut known = None;
        Missing::since(&mut known, 91, t(0), t(0));
        assert_eq!(Missing::since(&mut known, 92, t(5), t(10)), t(5), "the copy goes on");
        assert_eq!(Missing::since(&mut known, 93, t(99), t(20)), t(20), "and was first seen to lack this one now");
        assert_eq!(Missing::since(&mut known, 93, t(99), t(30)), t(20));
    }

    #[test]
    fn it_outlives_the_process() {
        let mut known = None;
        Missing::since(&mut known, 91, t(600), t(0));
        let json = serde_json::to_value(known).expect("it can be written");
        let mut again: Option<Missing> = serde_json::from_value(json).expect("and read");
        assert_eq!(Missing::since(&mut again, 91, t(600), t(50)), t(0));
    }
}
