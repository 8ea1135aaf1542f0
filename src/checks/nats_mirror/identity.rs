//! Whether a mirror is a copy of this very origin.
//!
//! An origin that was deleted and created again ends up, once it has passed the mirror's last sequence, with equal
//! sequences, equal last times and messages that are missing on the mirror. No status of either side shows it. Sequence
//! and time of a message are carried over by a mirror to the nanosecond, so messages tell.

use tokio::time::Instant;

use super::{DIVERGED, IDENTITY_UNPROVEN, MIRROR_OF_OTHER_STREAM, NOT_SAME_STREAM, ORIGIN_RECREATED, of_side};
use crate::clients::jetstream::{Stream, StreamError, StreamInfo};
use crate::clients::nats::JETSTREAM_UNAVAILABLE;
use crate::domain::observation::Finding;

/// Whether two streams are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Identity {
    /// The mirror is a copy of this origin.
    Same,
    /// It is not.
    Other(Finding),
    /// Nothing shows it either way.
    Unproven(Finding),
}

/// The two streams, as they stood when they were read: the mirror first.
pub(super) struct Pair<'a> {
    pub(super) origin: &'a Stream,
    pub(super) mirror: &'a Stream,
    pub(super) origin_info: &'a StreamInfo,
    pub(super) mirror_info: &'a StreamInfo,
    pub(super) filters: &'a [String],
    pub(super) deadline: Instant,
}

impl Pair<'_> {
    /// Compares the two.
    ///
    /// # Errors
    /// Why a side could not be asked.
    pub(super) async fn identity(&self) -> Result<Identity, Finding> {
        if let Some(other) = self.by_configuration() {
            return Ok(Identity::Other(other));
        }
        if let Some(other) = self.by_newest_common().await? {
            return Ok(Identity::Other(other));
        }
        if let Some(other) = self.by_oldest().await? {
            return Ok(Identity::Other(other));
        }
        Ok(self.by_beginning().await?.map_or(Identity::Same, Identity::Unproven))
    }

    fn is_promoted(&self) -> bool {
        self.mirror_info.config.mirror.is_none()
    }

    /// What needs no question: a mirror names its origin and, read first, cannot be ahead of it.
    fn by_configuration(&self) -> Option<Finding> {
        let mirrored = &self.mirror_info.config.mirror.as_ref()?.name;
        if mirrored != self.origin.name() {
            let detail = format!("{} mirrors {mirrored}, not {}", self.mirror.name(), self.origin.name());
            return Some(Finding::new(&MIRROR_OF_OTHER_STREAM, detail));
        }
        let (ours, theirs) = (self.mirror_info.state.last_seq, self.origin_info.state.last_seq);
        (ours > theirs).then(|| {
            let detail = format!("{} is at sequence {ours}, ahead of its origin at {theirs}", self.mirror.name());
            Finding::new(if self.origin_is_younger() { &ORIGIN_RECREATED } else { &NOT_SAME_STREAM }, detail)
        })
    }

    fn origin_is_younger(&self) -> bool {
        self.origin_info.created > self.mirror_info.created
    }

    /// The newest sequence that both have taken must be the same message, where it still exists on both.
    async fn by_newest_common(&self) -> Result<Option<Finding>, Finding> {
        let sequence = self.mirror_info.state.last_seq.min(self.origin_info.state.last_seq);
        if sequence == 0 {
            return Ok(None);
        }
        if newest(self.origin_info, sequence).is_some()
            && newest(self.origin_info, sequence) == newest(self.mirror_info, sequence)
        {
            return Ok(None);
        }
        // A stream's own word on its last time is not to be trusted where it differs (2.9 stamps what a filter skips with
        // the mirror's clock, and the message may be gone): the messages themselves decide.
        let Some(theirs) = self.time(self.origin, "origin", sequence).await? else { return Ok(None) };
        let Some(ours) = self.time(self.mirror, "mirror", sequence).await? else { return Ok(None) };
        Ok((ours != theirs).then(|| {
            let detail = format!("sequence {sequence} was stored at {theirs} on the origin, at {ours} on the mirror");
            let reason = match (self.is_promoted(), self.origin_is_younger()) {
                (true, _) => &DIVERGED,
                (false, true) => &ORIGIN_RECREATED,
                (false, false) => &NOT_SAME_STREAM,
            };
            Finding::new(reason, detail)
        }))
    }

    /// A mirror holds nothing older than its origin, unless the origin holds that very message too: one that was promoted
    /// or restored is younger than its messages.
    async fn by_oldest(&self) -> Result<Option<Finding>, Finding> {
        let state = &self.mirror_info.state;
        if state.messages == 0 || state.first_ts >= self.origin_info.created {
            return Ok(None);
        }
        if self.time(self.origin, "origin", state.first_seq).await? == Some(state.first_ts) {
            return Ok(None);
        }
        let detail = format!(
            "{} holds a message of {}, the origin was created at {}",
            self.mirror.name(),
            state.first_ts,
            self.origin_info.created
        );
        Ok(Some(Finding::new(&ORIGIN_RECREATED, detail)))
    }

    /// A mirror that was there before its origin may have missed the origin's beginning while it was still ahead of it,
    /// and may have lost since whatever would give that away. Then it must hold the beginning.
    async fn by_beginning(&self) -> Result<Option<Finding>, Finding> {
        let state = &self.mirror_info.state;
        if self.is_promoted() || !self.origin_is_younger() || state.last_seq == 0 {
            return Ok(None);
        }
        for filter in self.filters {
            let found = self.origin.first_message(1, filter, false, self.deadline).await;
            let first = found.map_err(|error| unanswered("origin", error))?.answer;
            let missed = first.filter(|first| first.sequence < state.first_seq && first.sequence <= state.last_seq);
            if let Some(missed) = missed {
                let detail = format!("sequence {} of the origin is not on {}", missed.sequence, self.mirror.name());
                return Ok(Some(Finding::new(&IDENTITY_UNPROVEN, detail)));
            }
        }
        Ok(None)
    }

    async fn time(&self, stream: &Stream, side: &str, sequence: u64) -> Result<Option<jiff::Timestamp>, Finding> {
        let message = stream.message(sequence, self.deadline).await.map_err(|error| unanswered(side, error))?;
        Ok(message.map(|message| message.time))
    }
}

/// The time of the message with this sequence, if the stream's state tells it.
fn newest(info: &StreamInfo, sequence: u64) -> Option<jiff::Timestamp> {
    (info.state.messages > 0 && info.state.last_seq == sequence).then_some(info.state.last_ts)
}

fn unanswered(side: &str, error: StreamError) -> Finding {
    match error {
        StreamError::Unanswered(finding) => of_side(side, &finding),
        StreamError::NotFound => {
            Finding::new(&JETSTREAM_UNAVAILABLE, format!("{side}: the stream vanished while it was read"))
        }
    }
}
