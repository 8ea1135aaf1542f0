//! What the copy lacks after its last sequence: up to when it holds everything, and what is known
//! to be missing.

use std::time::Duration;

use tokio::time::Instant;

use super::identity::{Pair, Witness, unanswered};
use super::looks::{Bracket, to_own_clock};
use super::missing::Missing;
use super::outlived::Outlived;
use super::{MirrorCheck, limits};
use crate::clients::jetstream::{Answered, FoundMessage, StoredMessage};
use crate::domain::observation::{CopyState, Finding};
use crate::domain::time::Timestamp;

impl MirrorCheck {
    /// What is proven about a copy that holds everything up to its last sequence. If this was not
    /// shown message by message (`is_whole`), only the numbers vouch for it.
    pub(super) async fn tail(&self, pair: &Pair<'_>, is_whole: bool) -> CopyState {
        let (next, up_to) = match pair.first_after().await {
            Ok(first_after) => first_after,
            Err(finding) => return CopyState::Unknown(finding),
        };
        let Outlived { all, doubt } = pair.outlived(next.as_ref()).await;
        self.remembered().outlived.clone_from(&all);
        let is_confirmed = doubt.is_none();
        let copy = match (next, doubt) {
            (Some(next), _) => self.behind(pair, next).await,
            (None, Some(doubt)) => return CopyState::Unknown(doubt),
            (None, None) => {
                let mut memory = self.remembered();
                memory.lacking = None;
                if all.is_empty() {
                    memory.prove(up_to);
                }
                if is_whole { CopyState::Complete { up_to } } else { CopyState::Vouched { up_to, doubt: None } }
            }
        };
        match all.first() {
            Some(missing) => lacks_too(copy, missing, is_confirmed, pair).await,
            None => copy,
        }
    }

    /// The copy lacks this message of the origin. It is the first existing message after the copy's
    /// last one.
    ///
    /// Earlier messages may have existed and be gone again: a newer one replaced them, or they grew
    /// old. The copy lacks those too. A key-value bucket that was cut off a minute ago has the
    /// state of a minute ago, however recent the missing values are. So the copy is proven up to
    /// when it was last seen complete, and what it lacked at an earlier look is still missing.
    /// Messages that somebody deleted on the origin are not missing.
    async fn behind(&self, pair: &Pair<'_>, next: FoundMessage) -> CopyState {
        let (origin, now) = (pair.origin_info, pair.run.clock.at(pair.origin_info.sent));
        let FoundMessage { message, subject, ttl, rolls_up } = next;
        let known = match pair.replaced(message).await {
            Ok(known) => known,
            Err(finding) => return CopyState::Unknown(finding),
        };
        let missing = known.unwrap_or_else(|| {
            let missing = Missing::seen_now(message, Some(subject), origin.answer.created, now);
            Missing { ttl, rolls_up, ..missing }.known_as(pair.memory.lacking.as_ref())
        });
        let Lacked { since, certain } = pair.lacked(&missing).await;
        let is_next = message.sequence == pair.mirror_info().state.last_seq.saturating_add(1);
        let proven =
            if is_next || !limits::rolls(&origin.answer.config) { since } else { pair.last_complete().min(since) };
        let mut memory = self.remembered();
        memory.lacking = Some(missing);
        memory.prove(proven);
        let precision = pair.precision();
        CopyState::Behind { since: proven, precision, certain_since: Some(certain), finding: None }
    }

    /// The copy lacks this message of the origin, although it has passed it.
    pub(super) async fn incomplete(&self, message: StoredMessage, finding: Finding, pair: &Pair<'_>) -> CopyState {
        let now = pair.run.clock.at(pair.origin_info.sent);
        let missing = Missing::seen_now(message, None, pair.origin_info.answer.created, now);
        let missing = missing.known_as(pair.memory.lacking.as_ref());
        let Lacked { since, certain } = pair.lacked(&missing).await;
        let mut memory = self.remembered();
        memory.lacking = Some(missing);
        memory.shrunk_how = None;
        CopyState::Behind { since, precision: pair.precision(), certain_since: Some(certain), finding: Some(finding) }
    }
}

/// The copy also keeps a value that this message replaced. If that is not confirmed, only what is
/// missing anyway is certain.
async fn lacks_too(copy: CopyState, missing: &Missing, is_confirmed: bool, pair: &Pair<'_>) -> CopyState {
    let (since, certain) = match copy {
        CopyState::Unknown(_) => return copy,
        CopyState::Behind { since, certain_since, .. } => (Some(since), certain_since),
        _ => (None, None),
    };
    let lacked = pair.lacked(missing).await;
    let proven = pair.last_complete().min(lacked.since);
    if let Some(since) = since.filter(|_| !is_confirmed) {
        let (since, precision) = (since.min(proven), pair.precision());
        return CopyState::Behind { since, precision, certain_since: certain, finding: None };
    }
    CopyState::Behind {
        since: since.map_or(proven, |since| since.min(proven)),
        precision: pair.precision(),
        certain_since: Some(certain.map_or(lacked.certain, |certain| certain.min(lacked.certain))),
        finding: Some(pair.keeps_old_value(missing)),
    }
}

/// Since when a copy lacks a message.
struct Lacked {
    /// Everything before this is not missing.
    since: Timestamp,
    /// Since when it is certainly missing.
    certain: Timestamp,
}

impl Pair<'_> {
    /// How exactly the times of the origin are known.
    fn precision(&self) -> Duration {
        self.origin_info.received - self.origin_info.sent
    }

    /// Since when the copy lacks a message: since the message was stored, by its own time, within
    /// what the looks at the origin say.
    async fn lacked(&self, missing: &Missing) -> Lacked {
        let origin = self.origin_info;
        let Bracket { after, by } = self.memory.looks.bracket(missing.sequence);
        let stamped = missing.since(to_own_clock(missing.stored, origin, self.run));
        let stamped = after.map_or(stamped, |after| stamped.max(after)).min(missing.seen);
        let (mut since, mut certain) = (stamped, stamped);
        if let Some(look) = by.filter(|look| look.answered < stamped) {
            since = look.answered;
            // Unless the sequence was then another message's: an origin may lose its tail unseen.
            if self.on_origin(look.last.sequence).await.is_ok_and(|time| time == Some(look.last.time)) {
                certain = since;
            }
        }
        // Without the origin's clock, the clocks of the two machines are assumed to agree, which
        // nobody knows.
        let certain = if origin.answer.ts.is_none() { missing.seen } else { certain.plus(self.precision()) };
        Lacked { since, certain }
    }

    /// The origin's first message after the mirror's last one that the mirror should have. If there
    /// is none: up to when everything is on the mirror.
    async fn first_after(&self) -> Result<(Option<FoundMessage>, Timestamp), Finding> {
        let (origin, clock) = (self.origin_info, self.run.clock);
        let last = self.mirror_info().state.last_seq;
        // A leader's answer is true for the time when a majority last confirmed it.
        let silent = origin.answer.quorum().unwrap_or_default();
        let proven = |asked: Instant| clock.at(asked).minus(silent);
        if last >= origin.answer.state.last_seq {
            return Ok((None, proven(origin.sent)));
        }
        let direct = origin.answer.config.allow_direct;
        let mut asked = None::<Instant>;
        let mut missing = None::<FoundMessage>;
        for filter in self.filters {
            let found = self.origin.first_message(last.saturating_add(1), filter, direct, self.run.deadline).await;
            let Answered { answer, sent, .. } = found.map_err(|error| unanswered("origin", error))?;
            asked = Some(asked.map_or(sent, |asked| asked.min(sent)));
            missing = missing.into_iter().chain(answer).min_by_key(|found| found.message.sequence);
        }
        Ok((missing, proven(asked.unwrap_or(origin.sent))))
    }

    /// What the copy lacked at an earlier look and still lacks, although the origin no longer has
    /// it, because something newer replaced it. `next` is the first message that the copy lacks and
    /// the origin holds.
    ///
    /// A message without any trace was deleted or purged by somebody. It is not missing.
    async fn replaced(&self, next: StoredMessage) -> Result<Option<Missing>, Finding> {
        let origin = &self.origin_info.answer;
        let last = self.mirror_info().state.last_seq;
        let is_gone = |missing: &&Missing| {
            missing.origin_created == origin.created && missing.sequence > last && missing.sequence < next.sequence
        };
        let Some(missing) = self.memory.lacking.as_ref().filter(is_gone) else { return Ok(None) };
        let aged = origin.config.max_age().is_some_and(|most| {
            let stored = to_own_clock(missing.stored, self.origin_info, self.run);
            self.run.clock.at(self.origin_info.received).since(stored) >= most
        });
        let rolled = missing.sequence < origin.state.first_seq && (aged || limits::is_at_limit(origin));
        let replaced = rolled || self.has_newer(missing).await?;
        Ok(replaced.then(|| missing.clone()))
    }

    /// Whether the origin holds a newer message of the same subject, if newer messages replace
    /// older ones.
    async fn has_newer(&self, missing: &Missing) -> Result<bool, Finding> {
        let config = &self.origin_info.answer.config;
        let Some(subject) = missing.subject.as_ref().filter(|_| limits::may_be_replaced(config)) else {
            return Ok(false);
        };
        let newest = self.origin.last_message(subject, config.allow_direct, self.run.deadline).await;
        let newest = newest.map_err(|error| unanswered("origin", error))?;
        Ok(newest.is_some_and(|newest| newest.sequence > missing.sequence))
    }

    /// When the copy was last known to hold everything: the time of its newest message, or of the
    /// last proof.
    fn last_complete(&self) -> Timestamp {
        let state = &self.mirror_info().state;
        // Before 2.10, a server uses its own clock for messages that a filter leaves out.
        let newest = (state.last_seq > 0 && self.mirror_info().ts.is_some())
            .then_some(StoredMessage { sequence: state.last_seq, time: state.last_ts });
        let witnessed = || self.witness().map(|Witness { sequence, time, .. }| StoredMessage { sequence, time });
        let newest = match newest.or_else(witnessed) {
            Some(StoredMessage { sequence, time }) => {
                let Bracket { after, by } = self.memory.looks.bracket(sequence);
                let stamped = to_own_clock(time, self.origin_info, self.run);
                let stamped = after.map_or(stamped, |after| stamped.max(after));
                by.map_or(stamped, |look| stamped.min(look.answered))
            }
            None => to_own_clock(self.origin_info.answer.created, self.origin_info, self.run),
        };
        self.memory.proven.map_or(newest, |proven| proven.max(newest))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::super::memory::Memory;
    use super::*;
    use crate::checks::Run;
    use crate::clients::jetstream::{Stream, StreamInfo};
    use crate::clients::nats::{Connection, NatsConnection};
    use crate::clock::{self, Clock};
    use crate::decode::values::{StreamName, Word};

    /// An origin at this sequence, whose clock is ahead by so many seconds.
    fn origin(last_seq: u64, now: Timestamp, ahead: i64) -> StreamInfo {
        let time = stamp(now, ahead);
        let state =
            json!({"messages": last_seq, "first_seq": 1, "first_ts": time, "last_seq": last_seq, "last_ts": time});
        let answer = json!({"config": {}, "created": "2026-01-01T00:00:00Z", "state": state, "ts": time});
        serde_json::from_value(answer).expect("an answer")
    }

    fn stamp(at: Timestamp, ahead: i64) -> jiff::Timestamp {
        let nanos = i128::from(at.as_unix_nanos()) + i128::from(ahead) * 1_000_000_000;
        jiff::Timestamp::from_nanosecond(nanos).expect("a time")
    }

    /// For how long a message is missing, at most and certainly, that was stored while the clock was
    /// ahead by so many seconds. The origin was looked at this many seconds ago, each time at that
    /// sequence. Now its clock is right.
    async fn missing_for(sequence: u64, stored: u64, ahead: i64, looks: &[(u64, u64)]) -> (f64, f64) {
        missing_since(sequence, stored, ahead, looks, 0).await
    }

    /// The same for a message that was first seen missing this many seconds ago.
    async fn missing_since(sequence: u64, stored: u64, ahead: i64, looks: &[(u64, u64)], seen: u64) -> (f64, f64) {
        let clock = Clock::start();
        let now = clock.now();
        let ago = |seconds| now.minus(Duration::from_secs(seconds));
        let run = Run { clock, max_age: Duration::ZERO, freshness: Duration::ZERO, deadline: clock::instant() };
        let connection = Arc::new(Connection::start("none", NatsConnection::without_servers()));
        let stream = Stream::new(connection, StreamName::parse("S").expect("a name"), None);
        let mut memory = Memory::default();
        for (seconds, last_seq) in looks {
            memory.looks.take(&origin(*last_seq, ago(*seconds), ahead), ago(*seconds), ago(*seconds));
        }
        let answer = origin(100, now, 0);
        let info = Answered { answer, sent: clock::instant(), received: clock::instant() };
        memory.looks.take(&info.answer, clock.at(info.sent), clock.at(info.received));
        let pair = Pair {
            origin: &stream,
            mirror: &stream,
            origin_info: &info,
            mirror_told: &info,
            filters: &[],
            memory: &memory,
            run,
        };
        let message = StoredMessage { sequence, time: stamp(ago(stored), ahead) };
        let missing = Missing::seen_now(message, None, info.answer.created, clock.at(info.sent));
        let missing = Missing { seen: missing.seen.minus(Duration::from_secs(seen)), ..missing };
        let Lacked { since, certain } = pair.lacked(&missing).await;
        let age = |since: Timestamp| clock.at(info.sent).since(since).as_secs_f64().round();
        (age(since), age(certain))
    }

    #[tokio::test]
    async fn a_clock_that_was_wrong_dates_nothing_outside_of_the_looks() {
        let all = [(400, 10), (300, 50), (3, 99)];
        assert_eq!(missing_for(100, 2, 0, &all).await, (2.0, 2.0), "a clock that is right counts");
        assert_eq!(missing_for(100, 2, -600, &all).await, (3.0, 3.0), "it was complete three seconds ago");
        assert_eq!(missing_for(40, 350, 0, &all).await, (350.0, 350.0));
        assert_eq!(missing_for(40, 350, -600, &all).await, (400.0, 400.0), "it was not there then");
        let (most, _) = missing_for(40, 350, 600, &all).await;
        assert!((most - 300.0).abs() < f64::EPSILON, "it was there {most} s ago");
        assert_eq!(missing_for(40, 350, -600, &[]).await, (950.0, 950.0), "nobody looked");
        // The last look that did not have it is a later one than the one that had it: the origin lost its tail, and
        // is there again.
        let (most, certain) = missing_since(100, 2, 600, &all, 30).await;
        assert_eq!((most, certain), (30.0, 30.0), "it was seen missing before");
    }
}
