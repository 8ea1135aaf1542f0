//! A pair that is proven not to be the same stream stays condemned. This file also has the proof
//! for a mirror that is ahead.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::{End, Identity, Pair, Witness, known_or_asked, newest};
use super::reasons::{DIVERGED, IDENTITY_UNPROVEN, NOT_SAME_STREAM, ORIGIN_RECREATED};
use crate::domain::observation::{Finding, Reason};
use crate::domain::time;

/// A pair that was proven not to be the same stream. Later messages cannot change that. An origin
/// that lost its newest messages gives their sequences to new messages, which the mirror never
/// copies. After the mirror's last sequence the two agree again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condemned {
    mirror_created: Timestamp,
    origin_created: Timestamp,
    /// A sequence at which the mirror holds a message that the origin does not have. If the mirror
    /// goes back before it, it may be a copy again.
    pub(super) sequence: u64,
    reason: String,
    detail: String,
}

/// The reasons that condemn a pair.
const CONDEMNING: [&Reason; 3] = [&DIVERGED, &ORIGIN_RECREATED, &NOT_SAME_STREAM];

/// A mirror that was seen ahead of a replicated origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ahead {
    /// The newest message of the mirror. If the origin has another message at this sequence, the
    /// two are different streams.
    pub(super) newest: Witness,
    /// When it was first seen ahead.
    since: time::Timestamp,
}

impl Ahead {
    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(time::Timestamp) -> time::Timestamp) -> Self {
        Self { since: carry(self.since), ..self }
    }

    /// The same, after a look at `now` that could not tell whether the mirror is still ahead. The
    /// time starts again.
    pub(super) fn unseen(self, now: time::Timestamp) -> Self {
        Self { since: self.since.max(now), ..self }
    }
}

/// A new leader may not yet have everything that the old one stored. After this time it has.
pub(super) const CAUGHT_UP: Duration = Duration::from_secs(10);

impl Pair<'_> {
    /// The record that this pair is not the same stream. `sequence` shows it.
    pub(super) fn condemned(&self, finding: &Finding, sequence: u64) -> Condemned {
        Condemned {
            mirror_created: self.mirror_info().created,
            origin_created: self.origin_info.answer.created,
            sequence,
            reason: finding.reason.label.to_owned(),
            detail: finding.detail.clone(),
        }
    }

    /// Whether this very pair was condemned earlier.
    pub(super) fn by_condemnation(&self) -> Result<(), End> {
        let Some(condemned) = &self.memory.condemned else { return Ok(()) };
        let pair = (condemned.mirror_created, condemned.origin_created);
        if pair != (self.mirror_info().created, self.origin_info.answer.created) {
            return Ok(());
        }
        let reason = CONDEMNING.into_iter().find(|reason| reason.label == condemned.reason);
        // A promotion turns a mirror that differs into a stream that has diverged.
        let reason = if self.is_promoted() { &DIVERGED } else { reason.unwrap_or(&NOT_SAME_STREAM) };
        Err(End::Known(Identity::Other(Finding::new(reason, condemned.detail.clone()), Some(condemned.sequence))))
    }

    /// A mirror that is read first cannot be ahead of its origin. A newly elected leader may be
    /// behind what the old one gave out. So a replicated origin must stay behind for a while before
    /// it counts.
    pub(super) async fn by_length(&self) -> Result<(), End> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info());
        let (ours, theirs) = (mirror.state.last_seq, origin.state.last_seq);
        if self.is_promoted() || ours <= theirs {
            return Ok(());
        }
        let detail = format!("{} is at sequence {ours}, ahead of its origin at {theirs}", self.mirror.name());
        let now = self.run.clock.at(self.origin_info.sent);
        // If the origin reached this sequence in between, it had caught up, and this is another
        // election.
        let seen = self.ahead().filter(|ahead| theirs < ahead.newest.sequence).map(|ahead| ahead.since);
        if !origin.is_replicated() || seen.is_some_and(|since| now.since(since) >= CAUGHT_UP) {
            // The first sequence that the origin lacks. A mirror that does not go back before it
            // holds other messages than the origin will.
            return Err(self.other(theirs.saturating_add(1), detail));
        }
        let time = known_or_asked(newest(mirror, ours), self.on_mirror(ours)).await?.unwrap_or(mirror.state.last_ts);
        let newest = Witness { sequence: ours, time, mirror_created: mirror.created, origin_created: origin.created };
        let since = seen.unwrap_or(now);
        let detail = format!("{detail}; this must last for {CAUGHT_UP:?} before it counts");
        let finding = Finding::new(&IDENTITY_UNPROVEN, detail);
        Err(End::Known(Identity::Ahead(finding, Ahead { newest, since })))
    }

    /// Whether this very pair was seen with the mirror ahead.
    fn ahead(&self) -> Option<Ahead> {
        let pair = (self.mirror_info().created, self.origin_info.answer.created);
        self.memory.ahead.filter(|ahead| (ahead.newest.mirror_created, ahead.newest.origin_created) == pair)
    }

    /// If the origin has passed a mirror that was ahead of it, the newest message of that mirror
    /// tells why it was ahead.
    pub(super) async fn by_newest_when_ahead(&self) -> Result<(), End> {
        let Some(Ahead { newest: Witness { sequence, time, .. }, .. }) = self.ahead() else { return Ok(()) };
        if sequence > self.origin_info.answer.state.last_seq && !self.is_promoted() {
            return Ok(());
        }
        match self.on_origin(sequence).await? {
            Some(now) if now == time => Ok(()),
            Some(now) => Err(self.other(
                sequence,
                format!("sequence {sequence} was stored at {now} on the origin, and at {time} on the mirror"),
            )),
            None => {
                let detail = format!(
                    "{} was ahead of its origin, and sequence {sequence}, which tells why, is gone from there",
                    self.mirror.name()
                );
                Err(End::Known(Identity::Unproven(Finding::new(&IDENTITY_UNPROVEN, detail))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::memory::Memory;
    use super::super::side::Side;
    use super::*;
    use crate::checks::Run;
    use crate::clients::jetstream::{Answered, Stream, StreamError, StreamInfo};
    use crate::clients::nats::{Connection, NatsConnection};
    use crate::clock::{self, Clock};
    use crate::decode::values::{StreamName, Word};

    /// A stream of three servers at this sequence.
    fn at(sequence: u64) -> Answered<StreamInfo> {
        let time = "2026-01-01T00:00:00Z";
        let state =
            json!({"messages": sequence, "first_seq": 1, "first_ts": time, "last_seq": sequence, "last_ts": time});
        let heard = json!({"current": true, "active": 1});
        let cluster = json!({"name": "C", "leader": "a", "replicas": [heard, heard]});
        let config = json!({"mirror": {"name": "S"}});
        let answer = json!({"config": config, "created": time, "state": state, "cluster": cluster});
        let answer = serde_json::from_value(answer).expect("an answer");
        Answered { answer, sent: clock::instant(), received: clock::instant() }
    }

    /// What the lengths tell of a mirror and its origin that stand there, which were seen ahead
    /// this long ago.
    async fn by_length(mirror: u64, origin: u64, before: Option<(u64, Duration)>) -> End {
        let clock = Clock::start();
        let run = Run { clock, max_age: Duration::ZERO, freshness: Duration::ZERO, deadline: clock::instant() };
        let connection = Arc::new(Connection::start("none", NatsConnection::without_servers()));
        let stream = Stream::new(connection, StreamName::parse("S").expect("a name"), None);
        let (mirror, origin) = (at(mirror), at(origin));
        let ahead = before.map(|(sequence, ago)| {
            let created = origin.answer.created;
            let newest = Witness { sequence, time: created, mirror_created: created, origin_created: created };
            Ahead { newest, since: clock.now().minus(ago) }
        });
        let memory = Memory { ahead, ..Memory::default() };
        let pair = Pair {
            origin: &stream,
            mirror: &stream,
            origin_info: &origin,
            mirror_told: &mirror,
            filters: &[],
            memory: &memory,
            run,
        };
        pair.by_length().await.expect_err("it is ahead")
    }

    #[tokio::test]
    async fn one_that_was_caught_up_with_was_not_ahead_all_along() {
        let minute = Duration::from_secs(60);
        let is_believed = |end| matches!(end, End::Known(Identity::Other(..)));
        assert!(!is_believed(by_length(100, 98, None).await));
        assert!(is_believed(by_length(100, 98, Some((100, minute))).await));
        assert!(is_believed(by_length(100, 99, Some((100, minute))).await));
        assert!(!is_believed(by_length(150, 149, Some((100, minute))).await), "this is another election");
        let shown = by_length(100, 60, Some((100, minute))).await;
        assert!(matches!(shown, End::Known(Identity::Other(_, Some(61)))), "a mirror back at 80 differs from there on");
    }

    #[test]
    fn what_nobody_saw_did_not_stay_so() {
        let t = |second: i64| time::Timestamp::from_unix_seconds(1_800_000_000 + second);
        let created = at(1).answer.created;
        let newest = Witness { sequence: 9, time: created, mirror_created: created, origin_created: created };
        let ahead = Some(Ahead { newest, since: t(0) });
        let mut memory = Memory { ahead, has_looked: true, ..Memory::default() };
        let (mirror, gone): (Side, Side) = (Ok(at(9)), Err(StreamError::NotFound));
        memory.take(&mirror, &Ok(at(8)), t(5));
        assert_eq!(memory.ahead.map(|ahead| ahead.since), Some(t(0)));
        memory.take(&mirror, &gone, t(10));
        assert_eq!(memory.ahead.map(|ahead| ahead.since), Some(t(10)));
        memory.take(&gone, &Ok(at(8)), t(15));
        assert_eq!(memory.ahead.map(|ahead| (ahead.since, ahead.newest)), Some((t(15), newest)));
    }
}
