//! Whether a mirror is a copy of this very origin.
//!
//! After an origin is deleted and created again, and has passed the mirror's last sequence, the
//! sequences and the last times look equal, but messages are missing on the mirror. The status of
//! neither side shows it. A mirror copies sequence and time of a message to the nanosecond, so
//! comparing messages does show it.

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

/// Whether two streams are the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// The mirror is a copy of this origin.
    Same {
        /// The newest message that was equal on both sides. None if there was none to compare.
        common: Option<StoredMessage>,
        /// The oldest message at the beginning of the origin that the mirror lacks, although it has
        /// passed it.
        missing: Option<StoredMessage>,
    },
    /// It is not a copy. The sequence, if any, shows this for good, whatever the two receive later.
    Other(Finding, Option<u64>),
    /// Nothing proves it either way.
    Unproven(Finding),
    /// The mirror is ahead of a replicated origin, whose leader may be about to catch up.
    Ahead(Finding, Ahead),
}

/// A message that was equal on both sides. As long as the origin holds its sequence, it must be
/// that message. This finds an origin that lost its newest messages and has received others since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Witness {
    /// Its sequence.
    pub(super) sequence: u64,
    /// Its time.
    pub(super) time: Timestamp,
    /// The creation time of that mirror.
    pub(super) mirror_created: Timestamp,
    /// The creation time of that origin.
    pub(super) origin_created: Timestamp,
}

/// The two streams, as they were read: first the mirror.
pub(super) struct Pair<'a> {
    pub(super) origin: &'a Stream,
    pub(super) mirror: &'a Stream,
    pub(super) origin_info: &'a Answered<StreamInfo>,
    pub(super) mirror_told: &'a Answered<StreamInfo>,
    pub(super) filters: &'a [String],
    /// The memory of earlier runs.
    pub(super) memory: &'a Memory,
    pub(super) run: Run,
}

/// What ends a comparison early.
pub(super) enum End {
    /// The comparison has a result.
    Known(Identity),
    /// A side gave no answer.
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
    /// Why a side gave no answer.
    pub(super) async fn identity(&self) -> Result<Identity, Finding> {
        match self.compare().await {
            Ok(identity) | Err(End::Known(identity)) => Ok(identity),
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
            // A promoted stream changes by itself, and its limits may have removed what would show
            // that it did.
            let detail = format!(
                "{} is not a mirror (any more), and the newest common sequence is gone from one of them",
                self.mirror.name()
            );
            return Ok(Identity::Unproven(Finding::new(&IDENTITY_UNPROVEN, detail)));
        }
        let oldest = self.oldest_common().await?;
        let common = newest.or(oldest);
        // That this very pair was the same stream in an earlier run is stronger than the creation
        // times.
        let known = self.witness().is_some_and(|witness| witness.origin_created == self.origin_info.answer.created);
        if common.is_none() && !known {
            self.by_creation()?;
        }
        let missing = self.missing_beginning().await?;
        // A mirror that is older than its origin may have missed the origin's beginning while it
        // was still ahead of it, and may since have lost whatever would show that.
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

    /// A message that was equal on both sides in an earlier run of this very mirror.
    pub(super) fn witness(&self) -> Option<Witness> {
        self.memory.witness.filter(|witness| witness.mirror_created == self.mirror_info().created)
    }

    /// The result that the mirror holds something at this sequence that the origin does not have.
    pub(super) fn other(&self, sequence: u64, detail: String) -> End {
        let reason = match (self.is_promoted(), self.origin_is_younger()) {
            (true, _) => &DIVERGED,
            (false, true) => &ORIGIN_RECREATED,
            (false, false) => &NOT_SAME_STREAM,
        };
        End::Known(Identity::Other(Finding::new(reason, detail), Some(sequence)))
    }

    /// What needs no request: a mirror names its origin.
    fn by_configuration(&self) -> Result<(), End> {
        let config = &self.mirror_info().config;
        let (mirror, origin) = (self.mirror.name(), self.origin.name());
        match &config.mirror {
            Some(config) if config.name != origin => {
                let finding =
                    Finding::new(&MIRROR_OF_OTHER_STREAM, format!("{mirror} mirrors {}, not {origin}", config.name));
                Err(End::Known(Identity::Other(finding, None)))
            }
            None if !config.sources.is_empty() => {
                let detail = format!("{mirror} is fed by `sources`, so its messages have other sequences");
                Err(End::Known(Identity::Unproven(Finding::new(&SOURCED_STREAM, detail))))
            }
            _ => Ok(()),
        }
    }

    /// The message that was equal on both sides must still be on the origin, if the origin holds
    /// that sequence.
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
        let detail = format!(
            "sequence {sequence} of the origin was stored at {now}, but it was stored at {time} when it was copied"
        );
        Err(self.other(sequence, detail))
    }

    /// The newest common sequence must be the same message, if it still exists on both sides.
    async fn newest_common(&self) -> Result<Option<StoredMessage>, End> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info());
        let sequence = mirror.state.last_seq.min(origin.state.last_seq);
        if sequence == 0 {
            return Ok(None);
        }
        self.same(sequence, newest(origin, sequence), newest(mirror, sequence)).await
    }

    /// The origin's first message that the mirror must hold must be the same message there.
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

    /// Whether a sequence is the same message on both sides. Returns the message, or none if one
    /// side does not hold it (any more).
    ///
    /// `theirs` and `ours` are the times of the sequence according to the states of the two
    /// streams, if they have them. If the states differ, they cannot be trusted: 2.9 uses the
    /// mirror's clock for messages that a filter skips, and the message may be gone. Then the
    /// messages themselves decide.
    async fn same(
        &self,
        sequence: u64,
        theirs: Option<Timestamp>,
        ours: Option<Timestamp>,
    ) -> Result<Option<StoredMessage>, End> {
        let Some(time) = known_or_asked(theirs, self.on_origin(sequence)).await? else { return Ok(None) };
        if known_or_asked(ours, self.on_mirror(sequence)).await? == Some(time) {
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

    /// If no message could be compared: a mirror holds nothing that is older than its origin.
    fn by_creation(&self) -> Result<(), End> {
        let (state, created) = (&self.mirror_info().state, self.origin_info.answer.created);
        if state.messages == 0 || state.first_ts >= created {
            return Ok(());
        }
        let (mirror, first) = (self.mirror.name(), state.first_ts);
        let detail = format!("{mirror} holds a message of {first}, but the origin was created at {created}");
        // The two times come from two clocks. So this result only holds while it is seen.
        Err(End::Known(Identity::Other(Finding::new(&ORIGIN_RECREATED, detail), None)))
    }

    /// The origin's first message at or after a sequence that the filter lets through. For the
    /// first message of all, the state is enough.
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

/// The time in the state, otherwise the one that the stream answers.
pub(super) async fn known_or_asked<E>(
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
            Finding::new(&JETSTREAM_UNAVAILABLE, format!("{side}: the stream disappeared while it was read"))
        }
    }
}
