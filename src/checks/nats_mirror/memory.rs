//! What is remembered from run to run. All of it that a proof rests on is on the disk before the proof is shown, so that an
//! exporter that dies together with the origin does not forget it: docs/nats.md has the table.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Side;
use super::ahead::{Ahead, Condemned};
use super::completeness::{Damage, Verified};
use super::held::{Held, Shrunk};
use super::identity::Witness;
use super::missing::Missing;
use super::verdict;
use crate::domain::time::Timestamp;

/// What is remembered from run to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// When the origin of the last answer was created: another one is another stream.
    pub(super) origin_created: Option<Timestamp>,
    /// The same before the last answer.
    #[serde(skip)]
    pub(super) origin_before: Option<Timestamp>,
    /// What the mirror filtered while it still was a mirror: a promoted one no longer tells.
    pub(super) filters: Option<Vec<String>>,
    /// The origin's last sequence, and when it was read.
    #[serde(skip)]
    pub(super) counted: Option<(u64, Instant)>,
    /// The newest message that was the same on both sides.
    pub(super) witness: Option<Witness>,
    /// That the mirror was seen ahead of a replicated origin.
    pub(super) ahead: Option<Ahead>,
    /// The pair that was proven not to be one stream.
    pub(super) condemned: Option<Condemned>,
    /// The first message that the copy lacked at the last look that found one.
    pub(super) lacking: Option<Missing>,
    /// What the copy was seen to lack of what it has passed.
    pub(super) damage: Option<Damage>,
    /// The last look that found no hole.
    #[serde(skip)]
    pub(super) verified: Option<Verified>,
    /// What the mirror held when it last answered.
    pub(super) held: Option<Held>,
    /// How often the mirror went back or was emptied. Each time it became another copy.
    pub(super) shrunk: u32,
    /// How it last did, until the origin has shown what it lacks.
    pub(super) shrunk_how: Option<String>,
    /// The newest instant up to which the copy was proven, as long as this process lasts.
    #[serde(skip)]
    pub(super) proven: Option<Timestamp>,
    /// Whether the mirror took the origin's messages when it last answered.
    pub(super) mirror_is_rival: bool,
}

impl Memory {
    /// The same on another timeline. What the servers stamped lies on theirs.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let ahead = self.ahead.map(|ahead| ahead.carried(&carry));
        let lacking = self.lacking.map(|missing| missing.carried(&carry));
        Self { ahead, lacking, ..self }
    }

    /// Takes in what both sides answered. What a server without a majority behind it says is not taken in.
    pub(super) fn take(&mut self, mirror: &Side, origin: &Side) {
        if let Some(rival) = verdict::is_rival(origin, mirror) {
            self.mirror_is_rival = rival;
        }
        if let Ok(origin) = origin
            && origin.answer.quorum().is_ok()
        {
            self.origin_before = self.origin_created.replace(origin.answer.created());
            if self.is_origin_new() {
                (self.lacking, self.verified, self.proven) = (None, None, None);
            }
            self.counted = Some((origin.answer.state.last_seq, origin.received));
        }
        if let Ok(mirror) = mirror
            && mirror.answer.quorum().is_ok()
        {
            let mirror = &mirror.answer;
            if mirror.config.mirror.is_some() {
                self.filters = Some(mirror.filters());
            }
            if self.held.as_ref().is_some_and(|held| held.created != mirror.created) {
                (self.lacking, self.verified, self.proven) = (None, None, None);
                (self.shrunk, self.shrunk_how) = (0, None);
            }
            if let Some(shrunk) = self.held.as_ref().and_then(|held| held.shrunk(mirror)) {
                self.shrink(&shrunk, mirror.state.last_seq);
            }
            self.held = Some(Held::of(mirror));
        }
    }

    /// Whether the origin is another one than at the look before.
    pub(super) fn is_origin_new(&self) -> bool {
        self.origin_before.is_some_and(|before| Some(before) != self.origin_created)
    }

    /// The mirror became another copy. What is known of sequences that it no longer has speaks of the one before.
    fn shrink(&mut self, shrunk: &Shrunk, last_seq: u64) {
        self.shrunk = self.shrunk.saturating_add(1);
        self.shrunk_how = Some(shrunk.detail().to_owned());
        (self.lacking, self.verified, self.proven) = (None, None, None);
        if matches!(shrunk, Shrunk::WentBack(_)) {
            self.witness = self.witness.filter(|witness| witness.sequence <= last_seq);
            self.ahead = self.ahead.take().filter(|ahead| ahead.newest.sequence <= last_seq);
            self.condemned = self.condemned.take().filter(|condemned| condemned.sequence <= last_seq);
        }
    }

    /// The origin has shown what the copy holds, up to `proven`.
    pub(super) fn prove(&mut self, proven: Timestamp) {
        self.proven = self.proven.max(Some(proven));
        self.shrunk_how = None;
    }

    /// Which copy the mirror is, in a word. A promotion leaves it as it was.
    pub(super) fn copy_identity(&self, mirror: &Side) -> Option<String> {
        let created = mirror.as_ref().ok()?.answer.created;
        Some(if self.shrunk == 0 { created.to_string() } else { format!("{created}/{}", self.shrunk) })
    }
}
