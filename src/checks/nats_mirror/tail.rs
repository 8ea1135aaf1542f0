//! What the copy lacks after its last sequence: up to when it holds everything, and what is known
//! to be missing.

use tokio::time::Instant;

use super::identity::{Pair, unanswered};
use super::missing::Missing;
use super::{MirrorCheck, limits, to_own_clock};
use crate::clients::jetstream::{Answered, FoundMessage, StoredMessage};
use crate::domain::observation::{CopyState, Finding};
use crate::domain::time::Timestamp;

impl MirrorCheck {
    /// What is proven about a copy that holds everything up to its last sequence. If this was not
    /// shown message by message (`is_whole`), only the numbers vouch for it.
    pub(super) async fn tail(&self, pair: &Pair<'_>, is_whole: bool) -> CopyState {
        match pair.first_after().await {
            Ok((None, up_to)) => {
                let mut memory = self.remembered();
                memory.lacking = None;
                memory.prove(up_to);
                if is_whole { CopyState::Complete { up_to } } else { CopyState::Vouched { up_to, doubt: None } }
            }
            Ok((Some(next), _)) => self.behind(pair, next).await,
            Err(finding) => CopyState::Unknown(finding),
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
        let (origin, clock) = (pair.origin_info, pair.run.clock);
        let now = clock.at(origin.sent);
        let FoundMessage { message, subject, .. } = next;
        let known = match pair.replaced(message).await {
            Ok(known) => known,
            Err(finding) => return CopyState::Unknown(finding),
        };
        let missing = known.unwrap_or_else(|| {
            let created = origin.answer.created;
            Missing::seen_now(message, Some(subject), created, now).known_as(pair.memory.lacking.as_ref())
        });
        let since = missing.since(to_own_clock(missing.stored, origin, pair.run));
        let is_next = message.sequence == pair.mirror_info().state.last_seq.saturating_add(1);
        let proven =
            if is_next || !limits::rolls(&origin.answer.config) { since } else { pair.last_complete().min(since) };
        let precision = origin.received - origin.sent;
        // Without the origin's clock, the clocks of the two machines are assumed to agree, which
        // nobody knows.
        let certain = if origin.answer.ts.is_none() { missing.seen } else { since.plus(precision) };
        let mut memory = self.remembered();
        memory.lacking = Some(missing);
        memory.prove(proven);
        CopyState::Behind { since: proven, precision, certain_since: Some(certain), finding: None }
    }

    /// The copy lacks this message of the origin, although it has passed it.
    pub(super) fn incomplete(&self, message: StoredMessage, finding: Finding, pair: &Pair<'_>) -> CopyState {
        let origin = pair.origin_info;
        let now = pair.run.clock.at(origin.sent);
        let mut memory = self.remembered();
        let missing = Missing::seen_now(message, None, origin.answer.created, now).known_as(memory.lacking.as_ref());
        let since = missing.since(to_own_clock(message.time, origin, pair.run));
        let certain_since = origin.answer.ts.is_none().then_some(missing.seen);
        memory.lacking = Some(missing);
        memory.shrunk_how = None;
        CopyState::Behind { since, precision: origin.received - origin.sent, certain_since, finding: Some(finding) }
    }
}

impl Pair<'_> {
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
        let newest = (state.last_seq > 0 && self.mirror_info().ts.is_some()).then_some(state.last_ts);
        let newest = newest.or(self.witness().map(|witness| witness.time));
        let newest = newest.unwrap_or(self.origin_info.answer.created);
        let newest = to_own_clock(newest, self.origin_info, self.run);
        self.memory.proven.map_or(newest, |proven| proven.max(newest))
    }
}
