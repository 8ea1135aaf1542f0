//! Whether the mirror still holds what it has taken.
//!
//! Sequences tell how far a mirror has come, and not what is left of it: a purge, a start in the middle or limits of its
//! own leave its last sequence where it was.

use std::time::Duration;

use super::identity::Pair;
use super::{COPY_INCOMPLETE, to_own_clock};
use crate::clients::jetstream::StoredMessage;
use crate::domain::observation::Finding;

/// What the two sides' clocks may differ by when both let a message go at the same age.
const EXPIRING: Duration = Duration::from_secs(60);

impl Pair<'_> {
    /// The oldest message of the origin that lies before the mirror's first, though the mirror is past it. The mirror
    /// was read first: had it held that message, it would hold it still. What the origin is about to let go by its age
    /// is not missed.
    pub(super) async fn missing_beginning(&self) -> Result<Option<StoredMessage>, Finding> {
        let state = &self.mirror_info.state;
        let held_from = if state.messages == 0 { state.last_seq.saturating_add(1) } else { state.first_seq };
        let mut missing = None::<StoredMessage>;
        for filter in self.filters {
            let Some(first) = self.first_on_origin(1, filter).await? else { continue };
            if first.sequence >= held_from || first.sequence > state.last_seq {
                continue;
            }
            let kept = if self.is_expiring(first) {
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

    /// Whether both sides let go of what has a certain age, and this message will have it within a minute.
    fn is_expiring(&self, message: StoredMessage) -> bool {
        let (origin, mirror) = (self.origin_info.answer.config.max_age(), self.mirror_info.config.max_age());
        let (Some(origin), Some(mirror)) = (origin, mirror) else { return false };
        let stored = to_own_clock(message.time, self.origin_info, self.run);
        let age = self.run.clock.at(self.origin_info.received).since(stored);
        origin <= mirror && age + EXPIRING >= mirror
    }

    /// What the numbers of messages say of holes after the mirror's first, where they can.
    ///
    /// The origin was asked last, so of what it holds up to the mirror's last sequence the mirror held all when it was
    /// asked. Not where messages expire: the two sides' clocks differ.
    pub(super) fn holes(&self) -> Option<Finding> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info);
        let expires = [&origin.config, &mirror.config]
            .into_iter()
            .any(|config| config.max_age().is_some() || config.allow_msg_ttl);
        if self.is_promoted() || expires || self.filters != [">"] {
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
}
