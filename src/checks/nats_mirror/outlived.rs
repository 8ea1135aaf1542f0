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

/// What replaced a value that the copy still holds, and has ended.
pub(super) struct Outlived {
    /// To be remembered, the oldest first. Only the first one needs to be asked about: until the copy
    /// lets go of its value, the others say nothing more.
    pub(super) all: Vec<Missing>,
    /// Why it is not known whether the first one still counts. None if it does, or if there is none.
    pub(super) doubt: Option<Finding>,
}

impl Pair<'_> {
    /// The messages that replaced a value on the origin and have ended since, while the copy still
    /// holds that value. `next` is the first message that the copy lacks and the origin holds.
    pub(super) async fn outlived(&self, next: Option<&FoundMessage>) -> Outlived {
        let mut all = self.memory.outlived.clone();
        if let Some(ended) = self.just_ended(next)
            && all.len() < MOST
            && !all.iter().any(|known| known.sequence == ended.sequence)
            && self.keeps_what_it_replaced(ended).await.unwrap_or(true)
        {
            all.push(ended.clone());
        }
        all.sort_by_key(|missing| missing.sequence);
        let (mut gone, mut doubt) = (0, None);
        for missing in &all {
            match self.keeps_what_it_replaced(missing).await {
                Ok(true) => break,
                Ok(false) => gone += 1,
                Err(finding) => {
                    doubt = Some(finding);
                    break;
                }
            }
        }
        Outlived { all: all.split_off(gone), doubt }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::super::memory::Memory;
    use super::super::side::Asked;
    use super::super::{Mutex, Run};
    use super::*;
    use crate::checks::nats_mirror::MirrorCheck;
    use crate::clients::jetstream::{Answered, StoredMessage, Stream, StreamInfo};
    use crate::clients::nats::fake::{Answers, Fake};
    use crate::clock::{self, Clock};
    use crate::decode::values::{StreamName, Word};
    use crate::domain::observation::CopyState;

    const TIME: &str = "2026-01-01T00:00:00Z";
    const OLD_VALUE: &str = r#"{"message": {"subject": "k", "seq": 1, "time": "2026-01-01T00:00:00Z"}}"#;
    const NEXT: &str = r#"{"message": {"subject": "k", "seq": 20, "time": "2026-01-01T00:00:00Z"}}"#;
    const NOTHING: &str = r#"{"error": {"code": 404, "err_code": 10037, "description": "no message found"}}"#;
    const UNAVAILABLE: &str =
        r#"{"error": {"code": 503, "err_code": 10008, "description": "JetStream system unavailable"}}"#;

    fn info(last_seq: u64, config: &Value) -> Answered<StreamInfo> {
        let state = json!({"messages": 1, "first_seq": 1, "first_ts": TIME, "last_seq": last_seq, "last_ts": TIME});
        let answer = json!({"config": config, "created": TIME, "state": state, "ts": TIME});
        let answer = serde_json::from_value(answer).expect("an answer");
        Answered { answer, sent: clock::instant(), received: clock::instant() }
    }

    /// A look at an origin up to sequence 20 and a mirror up to 9, which kept three old values. Returns what is known
    /// of the copy, which are remembered, and how often something was asked.
    async fn look(answers: Answers) -> (CopyState, Vec<u64>, usize) {
        let server = Fake::start(answers).await;
        let connection = Fake::connect(&[&server]);
        let stream = |name| Stream::new(Arc::clone(&connection), StreamName::parse(name).expect("a name"), None);
        let clock = Clock::start();
        let run = Run {
            clock,
            max_age: Duration::ZERO,
            freshness: Duration::ZERO,
            deadline: clock::instant() + Duration::from_secs(5),
        };
        let (origin_info, mirror_told) = (info(20, &json!({})), info(9, &json!({"mirror": {"name": "O"}})));
        let created = origin_info.answer.created;
        let marker = |sequence: u64| {
            let message = StoredMessage { sequence, time: created };
            Missing::seen_now(message, Some(format!("k{sequence}")), created, clock.now())
        };
        let memory = Memory { outlived: [10, 11, 12].map(marker).into(), ..Memory::default() };
        let check = MirrorCheck {
            origin: Asked::of(stream("O")),
            mirror: Asked::of(stream("M")),
            memory: Mutex::new(memory.clone()),
        };
        let pair = Pair {
            origin: &check.origin.stream,
            mirror: &check.mirror.stream,
            origin_info: &origin_info,
            mirror_told: &mirror_told,
            filters: &[">".to_owned()],
            memory: &memory,
            run,
        };
        let copy = check.tail(&pair, true).await;
        let kept = check.remembered().outlived.iter().map(|missing| missing.sequence).collect();
        (copy, kept, server.asked())
    }

    fn is_mirror(subject: &str) -> bool {
        subject == "$JS.API.STREAM.MSG.GET.M"
    }

    fn is_next(payload: &str) -> bool {
        payload.contains("next_by_subj")
    }

    #[tokio::test]
    async fn the_oldest_is_asked_about_until_one_still_counts() {
        let keeps_all = |subject: &str, payload: &str| match is_mirror(subject) {
            true => OLD_VALUE,
            false if is_next(payload) => NEXT,
            false => NOTHING,
        };
        let (copy, kept, asked) = look(Some(keeps_all)).await;
        assert!(matches!(copy, CopyState::Behind { finding: Some(_), .. }), "{copy:?}");
        assert_eq!((kept, asked), (vec![10, 11, 12], 3), "the next message, and both sides once");
        let let_go_of_one = |subject: &str, payload: &str| match is_mirror(subject) {
            true if payload.contains("k10") => NOTHING,
            true => OLD_VALUE,
            false if is_next(payload) => NEXT,
            false => NOTHING,
        };
        let (_, kept, asked) = look(Some(let_go_of_one)).await;
        assert_eq!((kept, asked), (vec![11, 12], 4));
    }

    #[tokio::test]
    async fn what_could_not_be_asked_is_kept_and_hides_no_difference() {
        let silent_mirror = |subject: &str, payload: &str| match is_mirror(subject) {
            true => UNAVAILABLE,
            false if is_next(payload) => NEXT,
            false => NOTHING,
        };
        let (copy, kept, _) = look(Some(silent_mirror)).await;
        assert!(matches!(copy, CopyState::Behind { finding: None, certain_since: Some(_), .. }), "{copy:?}");
        assert_eq!(kept, [10, 11, 12]);
        let nothing_next = |subject: &str, _: &str| if is_mirror(subject) { UNAVAILABLE } else { NOTHING };
        let (copy, kept, _) = look(Some(nothing_next)).await;
        assert!(matches!(copy, CopyState::Unknown(_)), "{copy:?}");
        assert_eq!(kept, [10, 11, 12]);
    }
}
