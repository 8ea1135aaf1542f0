//! Whether the mirror still holds everything that it received.
//!
//! Sequences show how far a mirror has come, but not what it still holds. A purge, a later start or
//! its own limits do not change its last sequence.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::identity::{Pair, unanswered};
use super::looks::to_own_clock;
use super::reasons::COPY_INCOMPLETE;
use super::side::{Side, of_majority};
use crate::clients::jetstream::{StoredMessage, StreamConfig, StreamError, StreamState};
use crate::domain::observation::Finding;

/// How much two unknown clocks may differ, if both sides remove a message at the same age.
const CLOCKS: Duration = Duration::from_secs(60);
/// How late a server may remove a message.
const LATE: Duration = Duration::from_secs(3);

/// If more sequences than this are deleted on either side, the lists are not requested. An answer
/// with this many has about 100 kB.
const MOST_COMPARED: u64 = 10_000;

/// How many messages are checked for an expiry of their own.
const MOST_ENDING: usize = 100;

/// Whether the mirror holds every message between its first and its last one that the origin holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inside {
    /// It holds all of them.
    Whole(Verified),
    /// It lacks this message, and may lack these sequences, of which this is the first.
    Hole(StoredMessage, Vec<u64>),
    /// It lacks some messages, but nobody can tell which.
    Fewer(Finding),
    /// It lacked messages that are not known one by one, and nobody can tell whether it still does.
    Doubted(Finding),
    /// Nobody can tell. Sequences that a filter leaves out look like holes, a message with a time
    /// to live may be gone from one side first, or there are too many to compare.
    Incomparable,
}

/// What a mirror was seen to lack. This holds until the mirror is seen to have it, or the origin is
/// seen not to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Damage {
    mirror_created: Timestamp,
    origin_created: Timestamp,
    /// The sequences that are known to be missing, the oldest first.
    #[serde(default)]
    holes: Vec<u64>,
    /// Whether further ones are missing.
    #[serde(default)]
    and_more: bool,
    detail: String,
}

/// What an unpromoted mirror was seen to lack at its beginning: everything before this sequence that
/// the origin still held. A mirror never copies what it has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Gap {
    mirror_created: Timestamp,
    origin_created: Timestamp,
    held_from: u64,
}

/// How many holes are remembered one by one.
const MOST_REMEMBERED: usize = 1000;

/// What the mirror lacks between its first and its last message.
#[derive(Default)]
struct Holes {
    first: Option<StoredMessage>,
    /// Sequences that may be missing. The first one is missing.
    all: Vec<u64>,
}

/// The state in a second answer, if it is about the same stream as the first, and a majority
/// confirms it.
fn listed(side: &str, told: &Side, created: Timestamp) -> Result<StreamState, Finding> {
    match of_majority(side, told) {
        Ok(told) if told.answer.created == created => Ok(told.answer.state.clone()),
        Ok(_) | Err(StreamError::NotFound) => Err(unanswered(side, StreamError::NotFound)),
        Err(StreamError::Unanswered(finding)) => Err(finding),
    }
}

/// Two states that were compared. Deleted messages never come back, so while all the numbers stay
/// the same, the lists do too.
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
    /// The oldest message of the origin that is before the mirror's first one, although the mirror
    /// has passed it. The mirror was read first, so if it had held that message, it would still
    /// hold it. Messages that the origin is about to remove because of their age do not count.
    pub(super) async fn missing_beginning(&self) -> Result<Option<StoredMessage>, Finding> {
        let (state, held_from) = (&self.mirror_info().state, self.held_from());
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

    /// The first sequence that the mirror can hold.
    fn held_from(&self) -> u64 {
        let state = &self.mirror_info().state;
        if state.messages == 0 { state.last_seq.saturating_add(1) } else { state.first_seq }
    }

    /// The gap to remember at the beginning of an unpromoted mirror.
    pub(super) fn gap(&self) -> Gap {
        Gap {
            mirror_created: self.mirror_info().created,
            origin_created: self.origin_info.answer.created,
            held_from: self.held_from(),
        }
    }

    /// Whether this very mirror lacked a message of its beginning before it was promoted. What a
    /// promoted one lacks otherwise, its clients or its new limits may have removed.
    pub(super) fn lacked_before(&self, message: StoredMessage) -> bool {
        let created = (self.mirror_info().created, self.origin_info.answer.created);
        self.memory
            .gap
            .is_some_and(|gap| (gap.mirror_created, gap.origin_created) == created && message.sequence < gap.held_from)
    }

    /// The origin's first message in `from..to` that is not about to expire. It is a binary search
    /// that begins at the end: if two clocks differ a little, everything expires.
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

    /// The origin's first message in `from..to` that does not end soon. Each message has its own
    /// time to live, so they are checked one by one.
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
            format!("more than {MOST_ENDING} messages are about to expire, and are not on {}", self.mirror.name());
        Err(Finding::new(&COPY_INCOMPLETE, detail))
    }

    /// The age of a message of the origin when the origin answered.
    pub(super) fn age(&self, message: StoredMessage) -> Duration {
        self.run.clock.at(self.origin_info.received).since(to_own_clock(message.time, self.origin_info, self.run))
    }

    /// How much earlier than the origin the mirror may remove a message of the same age: by as much
    /// as its clock is ahead. Servers before 2.10 do not send their clocks.
    fn sooner(&self) -> Duration {
        let (origin, mirror) = (self.origin_info, self.mirror_told);
        let Some((theirs, ours)) = origin.answer.ts.zip(mirror.answer.ts) else { return CLOCKS };
        // Both clocks at the same instant. When exactly each was read during its request is not
        // known.
        let between = origin.sent.saturating_duration_since(mirror.sent);
        let doubt = (origin.received - origin.sent) + (mirror.received - mirror.sent);
        let ahead = ours.duration_since(theirs).unsigned_abs().abs_diff(between);
        ahead + doubt + LATE
    }

    /// Whether both sides remove messages at a certain age, and the mirror may have removed this
    /// one for that reason.
    fn is_expiring(&self, message: StoredMessage) -> bool {
        let (origin, mirror) = (self.origin_info.answer.config.max_age(), self.mirror_info().config.max_age());
        let (Some(origin), Some(mirror)) = (origin, mirror) else { return false };
        origin <= mirror && self.age(message) + self.sooner() >= mirror
    }

    /// Whether the mirror lacks messages between its first and its last one that the origin still
    /// holds.
    ///
    /// The two lists of deleted sequences show this. The origin's list is requested last:
    /// everything that it holds up to the mirror's last sequence was on the mirror when the mirror
    /// was asked.
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
        match self.holes().await? {
            Some(Holes { first: Some(first), all }) => Ok(Inside::Hole(first, all)),
            Some(Holes { first: None, .. }) => Ok(Inside::Whole(verified)),
            None => self.known_damage().await,
        }
    }

    /// The messages that the mirror has removed and the origin has not, the oldest first. None if
    /// the answers do not list all deleted sequences.
    async fn holes(&self) -> Result<Option<Holes>, Finding> {
        let ours = self.mirror.info_with_deleted(self.run.deadline).await;
        let ours = listed("mirror", &ours, self.mirror_info().created)?;
        let theirs = self.origin.info_with_deleted(self.run.deadline).await;
        let theirs = listed("origin", &theirs, self.origin_info.answer.created)?;
        let (Some(gone), Some(gone_there)) = (ours.all_deleted(), theirs.all_deleted()) else { return Ok(None) };
        let gone_there: BTreeSet<u64> = gone_there.iter().copied().collect();
        let held_there =
            |sequence: &u64| (theirs.first_seq..=theirs.last_seq).contains(sequence) && !gone_there.contains(sequence);
        let suspects: Vec<u64> = gone.iter().copied().filter(held_there).collect();
        self.first_lacking(&suspects).await.map(Some)
    }

    /// The first of these sequences that the origin holds and the mirror should hold, with all that
    /// follow.
    async fn first_lacking(&self, suspects: &[u64]) -> Result<Holes, Finding> {
        for (place, sequence) in suspects.iter().copied().enumerate() {
            let Some(time) = self.on_origin(sequence).await? else { continue };
            let message = StoredMessage { sequence, time };
            if self.is_expiring(message) || self.on_mirror(sequence).await? == Some(time) {
                continue;
            }
            return Ok(Holes { first: Some(message), all: suspects.get(place..).unwrap_or_default().to_vec() });
        }
        Ok(Holes::default())
    }

    /// If the two cannot be compared: whether earlier damage still exists.
    async fn known_damage(&self) -> Result<Inside, Finding> {
        let created = (self.mirror_info().created, self.origin_info.answer.created);
        let known = self.memory.damage.as_ref();
        let Some(damage) = known.filter(|damage| (damage.mirror_created, damage.origin_created) == created) else {
            return Ok(Inside::Incomparable);
        };
        let holes = self.first_lacking(&damage.holes).await?;
        Ok(match holes.first {
            Some(first) => Inside::Hole(first, holes.all),
            // It lacked more than is remembered one by one, and may still lack it.
            None if damage.and_more => Inside::Doubted(Finding::new(&COPY_INCOMPLETE, damage.detail.clone())),
            None => Inside::Incomparable,
        })
    }

    /// Whether the numbers of messages show holes, if there are too many to compare.
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

    /// The damage to remember: the mirror lacks these sequences. Without sequences, it lacks more
    /// than can be told.
    pub(super) fn damage(&self, mut holes: Vec<u64>, finding: &Finding) -> Damage {
        let and_more = holes.is_empty() || holes.len() > MOST_REMEMBERED;
        holes.truncate(MOST_REMEMBERED);
        Damage {
            mirror_created: self.mirror_info().created,
            origin_created: self.origin_info.answer.created,
            holes,
            and_more,
            detail: finding.detail.clone(),
        }
    }
}
