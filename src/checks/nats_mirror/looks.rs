//! When a message was stored, by this exporter's own looks at the origin. Pure.
//!
//! A message bears the time of the server that stored it, and that clock may have been wrong: it was
//! set since, or another server leads the stream now. The looks need no other clock. A message was
//! stored after the last look at which the origin's last sequence was lower began, and before the
//! first one at which it was not had ended.

use crate::checks::Run;
use crate::clients::jetstream::{Answered, StoredMessage, StreamInfo};
use crate::domain::time::Timestamp;

use super::ahead::CAUGHT_UP;

/// How many looks are kept. The older they are, the further they are apart.
const MOST: usize = 64;

/// A look at the origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// The origin's newest message.
    pub(super) last: StoredMessage,
    /// What the origin did not have was stored after this.
    asked: Timestamp,
    /// What the origin had was stored before this.
    pub(super) answered: Timestamp,
}

/// Looks at one origin, the oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Looks {
    origin: Option<jiff::Timestamp>,
    looks: Vec<Look>,
}

/// Between which looks a message was stored, as far as there are such.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bracket {
    /// It was stored after this.
    pub(super) after: Option<Timestamp>,
    /// The first look that had its sequence.
    pub(super) by: Option<Look>,
}

impl Looks {
    /// Takes in an answer of the origin that a majority confirms, and the instants between which it
    /// was given.
    ///
    /// A newly elected leader may not have caught up. An origin that is itself a mirror gets messages
    /// that are older than their arrival there.
    pub(super) fn take(&mut self, origin: &StreamInfo, asked: Timestamp, answered: Timestamp) {
        if self.origin.replace(origin.created) != Some(origin.created) || origin.config.mirror.is_some() {
            self.looks.clear();
        }
        if origin.config.mirror.is_some() {
            return;
        }
        let last = StoredMessage { sequence: origin.state.last_seq, time: origin.state.last_ts };
        let asked = if origin.is_replicated() { asked.minus(CAUGHT_UP) } else { asked };
        // An origin that lost its tail gives the sequences to other messages.
        self.looks.retain(|look| look.last.sequence <= last.sequence);
        // Of the looks at which nothing was new, the first and the last tell all.
        if let [.., before, latest] = self.looks.as_slice()
            && before.last == last
            && latest.last == last
        {
            self.looks.pop();
        }
        self.looks.push(Look { last, asked, answered });
        if self.looks.len() > MOST {
            self.thin(answered);
        }
    }

    /// Drops the look whose neighbours are closest to each other, for their age.
    fn thin(&mut self, now: Timestamp) {
        let gap = |three: &[Look]| match three {
            [before, look, after] => {
                after.asked.since(before.asked).as_secs_f64() / now.since(look.asked).as_secs_f64().max(f64::EPSILON)
            }
            _ => f64::INFINITY,
        };
        let gaps = self.looks.windows(3).map(gap).enumerate();
        if let Some((place, _)) = gaps.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
            self.looks.remove(place.saturating_add(1));
        }
    }

    /// Between which looks the message with this sequence was stored.
    pub(super) fn bracket(&self, sequence: u64) -> Bracket {
        let had = |look: &&Look| look.last.sequence >= sequence;
        Bracket {
            after: self.looks.iter().rev().find(|look| !had(look)).map(|look| look.asked),
            by: self.looks.iter().find(had).copied(),
        }
    }
}

/// The instant of this process at which the origin's clock showed `time`.
///
/// The origin's clock is taken from the answer, as if it was read when the request was sent. That
/// is the earliest possible time, so the result is never too recent. Before NATS 2.10, answers have
/// no clock. Then the wall clocks of both machines are assumed to agree.
pub(super) fn to_own_clock(time: jiff::Timestamp, origin: &Answered<StreamInfo>, run: Run) -> Timestamp {
    match origin.answer.ts {
        Some(ts) => run.clock.at(origin.sent).minus(Timestamp::from(ts).since(time.into())),
        None => run.clock.from_wall(time.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    fn origin(created: &str, last_seq: u64, more: &Value) -> StreamInfo {
        let time = "2026-01-01T00:00:00Z";
        let state =
            json!({"messages": last_seq, "first_seq": 1, "first_ts": time, "last_seq": last_seq, "last_ts": time});
        let mut answer = json!({"config": {}, "created": created, "state": state});
        for (key, value) in more.as_object().into_iter().flatten() {
            answer[key] = value.clone();
        }
        serde_json::from_value(answer).expect("an answer")
    }

    const FIRST: &str = "2026-01-01T00:00:00Z";

    /// Looks at an origin, each of which begins at that second and takes one.
    fn looks(all: &[(i64, u64)], more: &Value) -> Looks {
        let mut looks = Looks::default();
        for (at, last_seq) in all {
            looks.take(&origin(FIRST, *last_seq, more), t(*at), t(*at + 1));
        }
        looks
    }

    /// After when and by when a message was stored.
    fn between(looks: &Looks, sequence: u64) -> (Option<Timestamp>, Option<Timestamp>) {
        let Bracket { after, by } = looks.bracket(sequence);
        (after, by.map(|look| look.answered))
    }

    #[test]
    fn a_message_was_stored_between_two_looks() {
        let looks = looks(&[(0, 10), (10, 10), (20, 10), (30, 12), (40, 15)], &json!({}));
        for (sequence, after, by) in [
            (9, None, Some(1)),
            (10, None, Some(1)),
            (11, Some(20), Some(31)),
            (13, Some(30), Some(41)),
            (16, Some(40), None),
        ] {
            assert_eq!(between(&looks, sequence), (after.map(t), by.map(t)), "{sequence}");
        }
        assert_eq!(looks.looks.len(), 4, "the look in the middle tells nothing");
    }

    #[test]
    fn a_leader_that_has_not_caught_up_may_not_show_it() {
        let replicas = json!({"cluster": {"leader": "a", "replicas": [{"current": true}]}});
        assert_eq!(between(&looks(&[(0, 10), (30, 12)], &replicas), 11), (Some(t(-10)), Some(t(31))));
    }

    #[test]
    fn looks_at_another_origin_tell_nothing() {
        let mut one = looks(&[(0, 10), (10, 20)], &json!({}));
        one.take(&origin("2026-01-02T00:00:00Z", 20, &json!({})), t(20), t(21));
        assert_eq!(between(&one, 15), (None, Some(t(21))));
        let tail_lost = looks(&[(0, 10), (10, 20), (20, 12), (30, 25)], &json!({}));
        assert_eq!(between(&tail_lost, 15), (Some(t(20)), Some(t(31))), "the 15 of before was another message");
        assert_eq!(between(&tail_lost, 11), (Some(t(0)), Some(t(21))));
        let chained = looks(&[(0, 10), (10, 20)], &json!({"config": {"mirror": {"name": "S"}}}));
        assert_eq!(between(&chained, 15), (None, None), "it arrives later than it was stored");
    }

    #[test]
    fn a_long_time_is_told_with_few_looks() {
        let all: Vec<(i64, u64)> = (0_u32..20_000).map(|second| (i64::from(second), u64::from(second))).collect();
        let looks = looks(&all, &json!({}));
        assert_eq!(looks.looks.len(), MOST);
        for sequence in [1, 100, 10_000, 19_000, 19_900, 19_990, 19_998] {
            let (Some(after), Some(by)) = between(&looks, sequence) else { panic!("{sequence} is told") };
            let stored = t(i64::try_from(sequence).expect("a second"));
            assert!(after <= stored && stored <= by, "{sequence}: {after:?} to {by:?}");
            let age = t(20_000).since(stored);
            assert!(by.since(after) <= age / 3 + Duration::from_secs(4), "{sequence}: {after:?} to {by:?}");
        }
    }
}
