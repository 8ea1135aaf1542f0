//! Whether a mirror is a copy of this very origin.
//!
//! An origin that was deleted and created again ends up, once it has passed the mirror's last sequence, with equal
//! sequences, equal last times and messages that are missing on the mirror. No status of either side shows it. Sequence
//! and time of a message are carried over by a mirror to the nanosecond, so messages tell.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ahead::Ahead;
use super::memory::Memory;
use super::reasons::{
    DIVERGED, IDENTITY_UNPROVEN, MIRROR_OF_OTHER_STREAM, NOT_SAME_STREAM, ORIGIN_RECREATED, SOURCED_STREAM,
};
use super::side::of_side;
use crate::checks::Run;
use crate::clients::jetstream::{Answered, StoredMessage, Stream, StreamError, StreamInfo};
use crate::clients::nats::JETSTREAM_UNAVAILABLE;
use crate::domain::observation::Finding;

/// Whether two streams are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// The mirror is a copy of this origin.
    Same {
        /// The newest message that was found to be the same on both; none if there was none to compare.
        common: Option<StoredMessage>,
        /// The oldest message of the origin's beginning that the mirror has not, though it is past it.
        missing: Option<StoredMessage>,
    },
    /// It is not. With the sequence that shows it to be so for good, whatever the two take from now on.
    Other(Finding, Option<u64>),
    /// Nothing shows it either way.
    Unproven(Finding),
    /// The mirror is ahead of a replicated origin, whose leader may be about to catch up.
    Ahead(Finding, Ahead),
}

/// A message that was the same on both sides: as long as the origin holds its sequence, it must be that message. One
/// that lost its tail and has taken other messages since is found out by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witness {
    /// Its sequence.
    pub(super) sequence: u64,
    /// Its time.
    pub(super) time: Timestamp,
    /// When the mirror was created that held it.
    pub(super) mirror_created: Timestamp,
    /// When the origin was created that held it.
    pub(super) origin_created: Timestamp,
}

/// The two streams, as they stood when they were read: the mirror first.
pub(super) struct Pair<'a> {
    pub(super) origin: &'a Stream,
    pub(super) mirror: &'a Stream,
    pub(super) origin_info: &'a Answered<StreamInfo>,
    pub(super) mirror_told: &'a Answered<StreamInfo>,
    pub(super) filters: &'a [String],
    /// What is remembered of earlier runs.
    pub(super) memory: &'a Memory,
    pub(super) run: Run,
}

/// What ends a comparison before everything was compared.
pub(super) enum End {
    /// What the comparison gave.
    Told(Identity),
    /// A side could not be asked.
    Unanswered(Finding),
}

impl From<Finding> for End {
    fn from(unanswered: Finding) -> Self {
        Self::Unanswered(unanswered)
    }
}

impl Pair<'_> {
    /// Compares the two.
    ///
    /// # Errors
    /// Why a side could not be asked.
    pub(super) async fn identity(&self) -> Result<Identity, Finding> {
        match self.compare().await {
            Ok(identity) | Err(End::Told(identity)) => Ok(identity),
            Err(End::Unanswered(finding)) => Err(finding),
        }
    }

    async fn compare(&self) -> Result<Identity, End> {
        self.by_configuration()?;
        self.by_condemnation()?;
        self.by_newest_when_ahead().await?;
        self.by_length().await?;
        let witnessed = self.by_witness().await?;
        let newest = self.newest_common().await?;
        if self.is_promoted() && newest.is_none() {
            // A promoted stream goes its own way, and its limits may have taken what would show that it did.
            let detail = format!(
                "{} is no mirror (any more), and the newest sequence that both have taken is gone from one of them",
                self.mirror.name()
            );
            return Ok(Identity::Unproven(Finding::new(&IDENTITY_UNPROVEN, detail)));
        }
        let oldest = self.oldest_common().await?;
        let common = newest.or(oldest);
        // That these very two were one at an earlier run tells more than when they were created.
        let known = self.witness().is_some_and(|witness| witness.origin_created == self.origin_info.answer.created);
        if common.is_none() && !known {
            self.by_creation()?;
        }
        let missing = self.missing_beginning().await?;
        // A mirror that was there before its origin may have missed the origin's beginning while it was still ahead of
        // it, and may have lost since whatever would give that away.
        if let Some(missed) = missing
            && self.origin_is_younger()
            && !self.is_promoted()
            && !known
        {
            let detail = format!("sequence {} of the origin is not on {}", missed.sequence, self.mirror.name());
            return Ok(Identity::Unproven(Finding::new(&IDENTITY_UNPROVEN, detail)));
        }
        let newer = |a: StoredMessage, b: StoredMessage| if a.sequence > b.sequence { a } else { b };
        let common = match (common, witnessed) {
            (Some(common), Some(witness)) => Some(newer(common, witness)),
            (common, _) => common,
        };
        Ok(Identity::Same { common, missing })
    }

    pub(super) fn mirror_info(&self) -> &StreamInfo {
        &self.mirror_told.answer
    }

    pub(super) fn is_promoted(&self) -> bool {
        self.mirror_info().config.mirror.is_none()
    }

    fn origin_is_younger(&self) -> bool {
        self.origin_info.answer.created > self.mirror_info().created
    }

    /// A message that was the same on both sides at an earlier run, of this very mirror.
    pub(super) fn witness(&self) -> Option<Witness> {
        self.memory.witness.filter(|witness| witness.mirror_created == self.mirror_info().created)
    }

    /// That the mirror holds something under this sequence which the origin does not.
    pub(super) fn other(&self, sequence: u64, detail: String) -> End {
        let reason = match (self.is_promoted(), self.origin_is_younger()) {
            (true, _) => &DIVERGED,
            (false, true) => &ORIGIN_RECREATED,
            (false, false) => &NOT_SAME_STREAM,
        };
        End::Told(Identity::Other(Finding::new(reason, detail), Some(sequence)))
    }

    /// What needs no question: a mirror names its origin.
    fn by_configuration(&self) -> Result<(), End> {
        let config = &self.mirror_info().config;
        let (mirror, origin) = (self.mirror.name(), self.origin.name());
        let told = |reason, detail| Finding::new(reason, detail);
        match &config.mirror {
            Some(config) if config.name != origin => {
                let finding = told(&MIRROR_OF_OTHER_STREAM, format!("{mirror} mirrors {}, not {origin}", config.name));
                Err(End::Told(Identity::Other(finding, None)))
            }
            None if !config.sources.is_empty() => {
                let detail = format!("{mirror} is fed by `sources`; its messages have sequences of their own");
                Err(End::Told(Identity::Unproven(told(&SOURCED_STREAM, detail))))
            }
            _ => Ok(()),
        }
    }

    /// What was the same on both sides must still be what the origin holds, where it holds that sequence.
    async fn by_witness(&self) -> Result<Option<StoredMessage>, End> {
        let Some(Witness { sequence, time, .. }) = self.witness() else { return Ok(None) };
        let origin = &self.origin_info.answer;
        if sequence > origin.state.last_seq {
            return Ok(None);
        }
        if newest(origin, sequence) == Some(time) {
            return Ok(Some(StoredMessage { sequence, time }));
        }
        let Some(now) = self.on_origin(sequence).await? else { return Ok(None) };
        if now == time {
            return Ok(Some(StoredMessage { sequence, time }));
        }
        let detail = format!("sequence {sequence} of the origin is of {now}, and was of {time} when it was copied");
        Err(self.other(sequence, detail))
    }

    /// The newest sequence that both have taken must be the same message, where it still exists on both.
    async fn newest_common(&self) -> Result<Option<StoredMessage>, End> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info());
        let sequence = mirror.state.last_seq.min(origin.state.last_seq);
        if sequence == 0 {
            return Ok(None);
        }
        self.same(sequence, newest(origin, sequence), newest(mirror, sequence)).await
    }

    /// The origin's first message that the mirror must hold must be the same one there.
    async fn oldest_common(&self) -> Result<Option<StoredMessage>, End> {
        let state = &self.mirror_info().state;
        if state.messages == 0 {
            return Ok(None);
        }
        let mut common = None;
        for filter in self.filters {
            let first = self.first_on_origin(state.first_seq.max(1), filter).await?;
            let Some(first) = first.filter(|first| first.sequence <= state.last_seq) else { continue };
            let ours = (first.sequence == state.first_seq).then_some(state.first_ts);
            let found = self.same(first.sequence, Some(first.time), ours).await?;
            common = common.or(found);
        }
        Ok(common)
    }

    /// Whether a sequence is the same message on both sides: the message; none if one side does not hold it (any more).
    ///
    /// `theirs` and `ours` are what the two streams' states say of its time, where they do. A state is not to be trusted
    /// where it differs (2.9 stamps what a filter skips with the mirror's clock, and the message may be gone): then the
    /// messages themselves decide.
    async fn same(
        &self,
        sequence: u64,
        theirs: Option<Timestamp>,
        ours: Option<Timestamp>,
    ) -> Result<Option<StoredMessage>, End> {
        let Some(time) = told(theirs, self.on_origin(sequence)).await? else { return Ok(None) };
        if told(ours, self.on_mirror(sequence)).await? == Some(time) {
            return Ok(Some(StoredMessage { sequence, time }));
        }
        let Some(theirs) = self.on_origin(sequence).await? else { return Ok(None) };
        let Some(ours) = self.on_mirror(sequence).await? else { return Ok(None) };
        if ours != theirs {
            let detail = format!("sequence {sequence} was stored at {theirs} on the origin, at {ours} on the mirror");
            return Err(self.other(sequence, detail));
        }
        Ok(Some(StoredMessage { sequence, time: theirs }))
    }

    /// Where no message could be compared: a mirror holds nothing older than its origin.
    fn by_creation(&self) -> Result<(), End> {
        let (state, created) = (&self.mirror_info().state, self.origin_info.answer.created);
        if state.messages == 0 || state.first_ts >= created {
            return Ok(());
        }
        let (mirror, first) = (self.mirror.name(), state.first_ts);
        let detail = format!("{mirror} holds a message of {first}, the origin was created at {created}");
        // Two clocks stamped the two: it is not believed for longer than it is seen.
        Err(End::Told(Identity::Other(Finding::new(&ORIGIN_RECREATED, detail), None)))
    }

    /// The origin's first message at or after a sequence that the filter lets through. Its state is enough to know the
    /// first of all.
    pub(super) async fn first_on_origin(&self, from: u64, filter: &str) -> Result<Option<StoredMessage>, Finding> {
        let state = &self.origin_info.answer.state;
        if state.messages == 0 || from > state.last_seq {
            return Ok(None);
        }
        if filter == ">" && from <= state.first_seq {
            return Ok(Some(StoredMessage { sequence: state.first_seq, time: state.first_ts }));
        }
        let direct = self.origin_info.answer.config.allow_direct;
        let found = self.origin.first_message(from, filter, direct, self.deadline()).await;
        Ok(found.map_err(|error| unanswered("origin", error))?.answer.map(|found| found.message))
    }

    /// The time of the origin's message with this sequence.
    pub(super) async fn on_origin(&self, sequence: u64) -> Result<Option<Timestamp>, Finding> {
        let direct = self.origin_info.answer.config.allow_direct;
        let message = self.origin.message(sequence, direct, self.deadline()).await;
        Ok(message.map_err(|error| unanswered("origin", error))?.map(|message| message.time))
    }

    /// The time of the mirror's message with this sequence.
    pub(super) async fn on_mirror(&self, sequence: u64) -> Result<Option<Timestamp>, Finding> {
        let direct = self.mirror_info().config.allow_direct;
        let message = self.mirror.message(sequence, direct, self.deadline()).await;
        Ok(message.map_err(|error| unanswered("mirror", error))?.map(|message| message.time))
    }

    fn deadline(&self) -> Instant {
        self.run.deadline
    }
}

/// What a state tells, else what the stream answers.
pub(super) async fn told<E>(
    state: Option<Timestamp>,
    asked: impl Future<Output = Result<Option<Timestamp>, E>>,
) -> Result<Option<Timestamp>, E> {
    if state.is_some() { Ok(state) } else { asked.await }
}

/// The time of the message with this sequence, if the stream's state tells it.
pub(super) fn newest(info: &StreamInfo, sequence: u64) -> Option<Timestamp> {
    (info.state.messages > 0 && info.state.last_seq == sequence).then_some(info.state.last_ts)
}

pub(super) fn unanswered(side: &str, error: StreamError) -> Finding {
    match error {
        StreamError::Unanswered(finding) => of_side(side, &finding),
        StreamError::NotFound => {
            Finding::new(&JETSTREAM_UNAVAILABLE, format!("{side}: the stream vanished while it was read"))
        }
    }
}
