//! Since when the first message that the copy lacks has been missing. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clients::jetstream::StoredMessage;
use crate::domain::time::Timestamp;

/// The first message that the copy was seen to lack, and when that was first seen.
///
/// A sequence alone does not identify a message: an origin that was created again, or that lost its
/// newest messages, gives the same sequences to other messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Missing {
    /// The creation time of the origin with the message.
    pub(super) origin_created: jiff::Timestamp,
    /// The message's sequence.
    pub(super) sequence: u64,
    /// The message's time, by the origin's clock.
    pub(super) stored: jiff::Timestamp,
    /// The message's subject, if known.
    pub(super) subject: Option<String>,
    /// The message's own time to live.
    #[serde(default)]
    pub(super) ttl: Option<Duration>,
    /// Whether it replaced all earlier messages of its subject.
    #[serde(default)]
    pub(super) rolls_up: bool,
    /// When the copy was first seen to lack it.
    pub(super) seen: Timestamp,
}

impl Missing {
    /// The message, as it is seen missing now.
    pub(super) fn seen_now(
        message: StoredMessage,
        subject: Option<String>,
        origin_created: jiff::Timestamp,
        now: Timestamp,
    ) -> Self {
        let StoredMessage { sequence, time: stored } = message;
        Self { origin_created, sequence, stored, subject, ttl: None, rolls_up: false, seen: now }
    }

    /// The message.
    pub(super) fn message(&self) -> StoredMessage {
        StoredMessage { sequence: self.sequence, time: self.stored }
    }

    /// The same, with the earlier time if it was seen missing before.
    pub(super) fn known_as(self, known: Option<&Self>) -> Self {
        match known.filter(|known| known.is_same(&self)) {
            Some(known) => Self { seen: known.seen.min(self.seen), ..self },
            None => self,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        let key = |missing: &Self| (missing.origin_created, missing.sequence, missing.stored);
        key(self) == key(other)
    }

    /// Since when the message is missing: since its time `stamped` on this process's timeline, but
    /// never later than it was first seen missing. Otherwise a clock that was ahead when the
    /// message was stored would date it again at every look.
    pub(super) fn since(&self, stamped: Timestamp) -> Timestamp {
        stamped.min(self.seen)
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

    fn created(life: i64) -> jiff::Timestamp {
        jiff::Timestamp::from_second(1_700_000_000 + life).expect("a time")
    }

    /// A look at `now`, which shows that the message `sequence`, stored at `stored` in this life of
    /// the origin, is missing.
    fn look(known: &mut Option<Missing>, life: i64, sequence: u64, stored: i64, now: i64) -> Timestamp {
        let time = jiff::Timestamp::from_second(1_800_000_000 + stored).expect("a time");
        let message = StoredMessage { sequence, time };
        let missing = Missing::seen_now(message, None, created(life), t(now)).known_as(known.as_ref());
        let since = missing.since(t(stored).min(t(now)));
        *known = Some(missing);
        since
    }

    #[test]
    fn a_stamp_of_the_future_does_not_make_it_young() {
        let mut known = None;
        // Stamped ten minutes ahead: read as now by whoever asks, at every look.
        for now in [0, 10, 20, 600, 700] {
            assert_eq!(look(&mut known, 0, 91, 600, now), t(0), "at {now} s it has been seen missing for {now} s");
        }
    }

    #[test]
    fn a_stamp_that_is_right_holds() {
        let mut known = None;
        assert_eq!(look(&mut known, 0, 91, -30, 0), t(-30));
        assert_eq!(look(&mut known, 0, 91, -30, 10), t(-30));
    }

    #[test]
    fn another_message_is_another_matter() {
        let mut known = None;
        look(&mut known, 0, 91, 0, 0);
        assert_eq!(look(&mut known, 0, 92, 5, 10), t(5), "the copy goes on");
        assert_eq!(look(&mut known, 0, 93, 99, 20), t(20), "and was first seen to lack this one now");
        assert_eq!(look(&mut known, 0, 93, 99, 30), t(20));
    }

    #[test]
    fn a_sequence_that_is_used_again_is_another_message() {
        let mut known = None;
        look(&mut known, 0, 1, 0, 0);
        assert_eq!(look(&mut known, 7, 1, 10, 11), t(10), "of another origin");
        assert_eq!(look(&mut known, 7, 1, 12, 13), t(12), "of an origin that lost its tail");
    }

    #[test]
    fn it_outlives_the_process() {
        let mut known = None;
        look(&mut known, 0, 91, 600, 0);
        let json = serde_json::to_value(known).expect("it can be written");
        let mut again: Option<Missing> = serde_json::from_value(json).expect("and read");
        assert_eq!(look(&mut again, 0, 91, 600, 50), t(0));
    }
}
