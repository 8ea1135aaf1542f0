//! Old values that the copy keeps for ever: what replaced them on the origin has ended by itself
//! before it was copied.
//!
//! The clients of a key-value bucket delete a key by a marker that replaces its value. A marker with
//! a time to live of its own is gone after that time, and the origin then holds nothing of the key.
//! A copy that did not get the marker holds the value that was deleted, and nothing that comes later
//! takes it away.

use super::identity::{Pair, unanswered};
use super::missing::Missing;
use super::reasons::COPY_INCOMPLETE;
use crate::clients::jetstream::{FoundMessage, StreamConfig};
use crate::clients::nats::shortened;
use crate::domain::observation::Finding;

/// How many are remembered.
const MOST: usize = 100;

impl Pair<'_> {
    /// The messages that replaced a value on the origin and have ended since, while the copy still
    /// holds that value. `next` is the first message that the copy lacks and the origin holds.
    pub(super) async fn outlived(&self, next: Option<&FoundMessage>) -> Result<Vec<Missing>, Finding> {
        let mut outlived: Vec<Missing> = Vec::new();
        for missing in self.memory.outlived.iter().chain(self.just_ended(next)) {
            let is_known = outlived.iter().any(|known| known.sequence == missing.sequence);
            if outlived.len() < MOST && !is_known && self.keeps_what_it_replaced(missing).await? {
                outlived.push(missing.clone());
            }
        }
        Ok(outlived)
    }

    /// What the copy lacked at the last look, if it replaced a value, and its time has passed.
    fn just_ended(&self, next: Option<&FoundMessage>) -> Option<&Missing> {
        let last = self.mirror_info().state.last_seq;
        let missing = self.memory.lacking.as_ref()?;
        let is_gone = next.is_none_or(|next| missing.sequence < next.message.sequence);
        let has_ended = missing.ttl.is_some_and(|ttl| self.age(missing.message()) >= ttl);
        // A mirror that got it meanwhile would have replaced the value too.
        let is_not_there = missing.sequence > last || replaces(missing, &self.mirror_info().config);
        let replaced = replaces(missing, &self.origin_info.answer.config);
        (is_gone && has_ended && is_not_there && replaced).then_some(missing)
    }

    /// Whether the mirror holds an older message of the subject, and the origin does not.
    async fn keeps_what_it_replaced(&self, missing: &Missing) -> Result<bool, Finding> {
        let (origin, mirror) = (&self.origin_info.answer, self.mirror_info());
        let Some(subject) = missing.subject.as_ref().filter(|_| missing.origin_created == origin.created) else {
            return Ok(false);
        };
        let held = self.mirror.last_message(subject, mirror.config.allow_direct, self.run.deadline).await;
        let held = held.map_err(|error| unanswered("mirror", error))?;
        if held.is_none_or(|held| held.sequence >= missing.sequence) {
            return Ok(false);
        }
        let newest = self.origin.last_message(subject, origin.config.allow_direct, self.run.deadline).await;
        let newest = newest.map_err(|error| unanswered("origin", error))?;
        Ok(newest.is_none_or(|newest| newest.sequence > missing.sequence))
    }

    /// What is wrong with a copy that keeps a value.
    pub(super) fn keeps_old_value(&self, missing: &Missing) -> Finding {
        let subject = missing.subject.as_deref().unwrap_or_default();
        let detail = format!(
            "sequence {} of the origin replaced the value of {} and has ended since, but {} still holds the value",
            missing.sequence,
            shortened(subject),
            self.mirror.name()
        );
        Finding::new(&COPY_INCOMPLETE, detail)
    }
}

/// Whether a message replaces all earlier ones of its subject in such a stream.
fn replaces(missing: &Missing, config: &StreamConfig) -> bool {
    config.max_msgs_per_subject() == Some(1) || (missing.rolls_up && config.allow_rollup_hdrs)
}
