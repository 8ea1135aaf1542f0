//! Whether the mirror still holds what it has taken.
//!
//! Sequences tell how far a mirror has come, and not what is left of it: a purge, a start in the middle or limits of its
//! own leave its last sequence where it was.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::{Pair, unanswered};
use super::reasons::COPY_INCOMPLETE;
use super::to_own_clock;
use crate::clients::jetstream::{Answered, StoredMessage, StreamConfig, StreamError, StreamInfo, StreamState};
use crate::domain::observation::Finding;

/// What two clocks that are not known may differ by, when both sides let a message go at the same age.
const CLOCKS: Duration = Duration::from_secs(60);
/// How late a server may let a message go.
const LATE: Duration = Duration::from_secs(3);

/// With more sequences that are gone on either side, the lists are not asked for: an answer of this many has about 100 kB.
const MOST_COMPARED: u64 = 10_000;

/// So many messages are looked at for whether they are about to end by a time of their own.
const MOST_ENDING: usize = 100;

/// Whether the mirror holds all between its first and its last message that the origin holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inside {
    /// It does.
    Whole(Verified),
    /// It lacks this one.
    Hole(StoredMessage),
    /// It lacks some, and nobody can tell which.
    Fewer(Finding),
    /// Nobody can tell: sequences that a filter leaves out look like holes, a message with a time to live may be gone from
    /// one side first, or there are too many to compare.
    Incomparable,
}

/// What a mirror was seen to lack. It lacks it until it is seen to hold it, or the origin not to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Damage {
    mirror_created: Timestamp,
    origin_created: Timestamp,
    /// Sequence and time of the oldest message that is known to be missing.
    hole: Option<(u64, Timestamp)>,
    detail: String,
}

/// Two states that were compared. What is gone never comes back, so while all the numbers stay so do the lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verified {
    created: (Timestamp, Timestamp),
    states: (StreamState, StreamState),
}

impl Verified {
    fn of(pair: &Pair<'_>) -> Self {
        let (origin, mirror) = (&pair.origin_info.answer, pair.mirror_info());
        Self { created: (origin.created, mirror.created), states: (origin.state.clone(), mirror.state.clone()) }
    }
}

impl Pair<'_> {
    /// The oldest message of the origin that lies before the mirror's first, though the mirror is past it. The mirror
    /// was read first: had it held that message, it would hold it still. What the origin is about to let go by its age
    /// is not missed.
    pub(super) async fn missing_beginning(&self) -> Result<Option<StoredMessage>, Finding> {
        let state = &self.mirror_info().state;
        let held_from = if state.messages == 0 { state.last_seq.saturating_add(1) } else { state.first_seq };
        let mut missing = None::<StoredMessage>;
        for filter in self.filters {
            let Some(first) = self.first_on_origin(1, filter).await? else { continue };
            if first.sequence >= held_from || first.sequence > state.last_seq {
                continue;
            }
            let kept = if self.mirror_info().config.allow_msg_ttl {
                self.first_not_ending(first.sequence, held_from, filter).await?
            } else if self.is_expiring(first) {
                self.first_kept(first.sequence.saturating_add(1), held_from, filter).await?
            } else {
                Some(first)
            };
            missing = missing.into_iter().chain(kept).min_by_key(|message| message.sequence);
        }
        Ok(missing)
    }

    /// The origin's first message in `from..to` that is not about to expire. Halves what is left at every question, and
    /// begins at the end: where two clocks differ by a little, all of it expires.
    async fn first_kept(&self, from: u64, to: u64, filter: &str) -> Result<Option<StoredMessage>, Finding> {
        let (mut from, mut to, mut found) = (from, to, None);
        let mut next = to.saturating_sub(1);
        while from < to {
            match self.first_on_origin(next, filter).await?.filter(|message| message.sequence < to) {
                Some(message) if self.is_expiring(message) => from = message.sequence.saturating_add(1),
                kept => {
                    found = kept.or(found);
                    to = next;
                }
            }
            next = from + (to.saturating_sub(from)) / 2;
        }
        Ok(found)
    }

    /// The origin's first message in `from..to` that has more time to live. Each says for itself how much, so they are looked
    /// at one by one.
    async fn first_not_ending(&self, from: u64, to: u64, filter: &str) -> Result<Option<StoredMessage>, Finding> {
        let direct = self.origin_info.answer.config.allow_direct;
        let mut next = from;
        for _ in 0..MOST_ENDING {
            let found = self.origin.first_message(next, filter, direct, self.run.deadline).await;
            let found = found.map_err(|error| unanswered("origin", error))?.answer;
            let Some(found) = found.filter(|found| found.message.sequence < to) else { return Ok(None) };
            let age = self.age(found.message) + self.sooner();
            if !self.is_expiring(found.message) && found.ttl.is_none_or(|ttl| age < ttl) {
                return Ok(Some(found.message));
            }
            next = found.message.sequence.saturating_add(1);
        }
        let detail =
            format!("more than {MOST_ENDING} messages are about to end, and are not on {}", self.mirror.name());
        Err(Finding::new(&COPY_INCOMPLETE, detail))
    }

    /// How old a message of the origin was when it answered.
    fn age(&self, message: StoredMessage) -> Duration {
        self.run.clock.at(self.origin_info.received).since(to_own_clock(message.time, self.origin_info, self.run))
    }

    /// How much sooner than the origin the mirror may let go of a message of the same age: as much as its clock is ahead. Servers
    /// before 2.10 do not tell their clocks.
    fn sooner(&self) -> Duration {
        let (origin, mirror) = (self.origin_info, self.mirror_told);
        let Some((theirs, ours)) = origin.answer.ts.zip(mirror.answer.ts) else { return CLOCKS };
        // Both clocks as of one instant; when exactly each was read within its answer is not known.
        let between = origin.sent.saturating_duration_since(mirror.sent);
        let doubt = (origin.received - origin.sent) + (mirror.received - mirror.sent);
        let ahead = ours.duration_since(theirs).unsigned_abs().abs_diff(between);
        ahead + doubt + LATE
    }

    /// Whether both sides let go of what has a certain age, and the mirror may have let go of this message for it.
    fn is_expiring(&self, message: StoredMessage) -> bool {
        let (origin, mirror) = (self.origin_info.answer.config.max_age(), self.mirror_info().config.max_age());
        let (Some(origin), Some(mirror)) = (origin, mirror) else { return false };
        origin <= mirror && self.age(message) + self.sooner() >= mirror
    }

    /// Whether the mirror lacks messages between its first and its last that the origin still holds.
    ///
    /// The two lists of sequences that are gone tell. The origin's is asked last: of what it holds up to the mirror's last
    /// sequence, the mirror held all when it was asked.
    pub(super) async fn inside(&self) -> Result<Inside, Finding> {
        let state = &self.mirror_info().state;
        let verified = Verified::of(self);
        if self.is_promoted() {
            return self.known_damage().await;
        }
        if state.num_deleted == 0 || self.memory.verified.as_ref() == Some(&verified) {
            return Ok(Inside::Whole(verified));
        }
        let ttl = |config: &StreamConfig| config.allow_msg_ttl;
        if self.filters != [">"] || ttl(&self.origin_info.answer.config) || ttl(&self.mirror_info().config) {
            return self.known_damage().await;
        }
        if state.num_deleted.max(self.origin_info.answer.state.num_deleted) > MOST_COMPARED {
            return match self.fewer() {
                Some(finding) => Ok(Inside::Fewer(finding)),
                None => self.known_damage().await,
            };
        }
        Ok(match self.first_hole().await? {
            Some(hole) => Inside::Hole(hole),
            None => Inside::Whole(verified),
        })
    }

    /// The oldest message that the mirror has let go and the origin has not.
    async fn first_hole(&self) -> Result<Option<StoredMessage>, Finding> {
        let gone = |side, told: Result<Answered<StreamInfo>, StreamError>| {
            told.map(|told| told.answer).map_err(|error| unanswered(side, error))
        };
        let ours = gone("mirror", self.mirror.info_with_deleted(self.run.deadline).await)?.state;
        let theirs = gone("origin", self.origin.info_with_deleted(self.run.deadline).await)?.state;
        let gone_there: BTreeSet<u64> = theirs.deleted.into_iter().flatten().collect();
        let held_there =
            |sequence: &u64| (theirs.first_seq..=theirs.last_seq).contains(sequence) && !gone_there.contains(sequence);
        for sequence in ours.deleted.into_iter().flatten().filter(held_there) {
            let Some(time) = self.on_origin(sequence).await? else { continue };
            let message = StoredMessage { sequence, time };
            if !self.is_expiring(message) {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// Where the two cannot be compared: whether what was seen missing is so still.
    async fn known_damage(&self) -> Result<Inside, Finding> {
        let created = (self.mirror_info().created, self.origin_info.answer.created);
        let known = self.memory.damage.as_ref();
        match known.filter(|damage| (damage.mirror_created, damage.origin_created) == created) {
            None => Ok(Inside::Incomparable),
            Some(Damage { hole: None, detail, .. }) => {
                Ok(Inside::Fewer(Finding::new(&COPY_INCOMPLETE, detail.clone())))
            }
            Some(Damage { hole: Some((sequence, time)), .. }) => {
                let held = self.on_origin(*sequence).await? == Some(*time);
                let filled = held && self.on_mirror(*sequence).await? == Some(*time);
                let hole = StoredMessage { sequence: *sequence, time: *time };
                Ok(if held && !filled { Inside::Hole(hole) } else { Inside::Incomparable })
            }
        }
    }

    /// What the numbers of messages say of holes, where there are too many to compare.
    fn fewer(&self) -> Option<Finding> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info());
        if [&origin.config, &mirror.config].into_iter().any(|config| config.max_age().is_some()) {
            return None;
        }
        let not_taken = origin.state.last_seq.saturating_sub(mirror.state.last_seq);
        let (least, held) = (origin.state.messages.saturating_sub(not_taken), mirror.state.messages);
        (least > held).then(|| {
            let detail = format!(
                "{} holds {held} messages, the origin {least} or more of the same sequences",
                self.mirror.name()
            );
            Finding::new(&COPY_INCOMPLETE, detail)
        })
    }

    /// That the mirror has this hole, or lacks more than can be told, to be remembered.
    pub(super) fn damage(&self, hole: Option<StoredMessage>, finding: &Finding) -> Damage {
        Damage {
            mirror_created: self.mirror_info().created,
            origin_created: self.origin_info.answer.created,
            hole: hole.map(|StoredMessage { sequence, time }| (sequence, time)),
            detail: finding.detail.clone(),
        }
    }
}
