//! The state that is kept from run to run. Everything that a proof rests on is on the disk before
//! the proof is shown. So an exporter that dies together with the origin does not forget it:
//! docs/nats.md has a table.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::ahead::{Ahead, CAUGHT_UP, Condemned};
use super::completeness::{Damage, Gap, Verified};
use super::held::{Held, Shrunk};
use super::identity::Witness;
use super::looks::Looks;
use super::missing::Missing;
use super::reasons::NO_QUORUM;
use super::side::{Side, of_majority};
use super::verdict;
use crate::clients::jetstream::{MirrorConfig, StreamInfo};
use crate::domain::observation::{Finding, Health};
use crate::domain::time::Timestamp;

/// If the origin had more subjects than this, they are not remembered.
const MOST_SUBJECTS: usize = 1000;

/// The state that is kept from run to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// Whether this process has looked. Nobody saw what happened before.
    #[serde(skip)]
    pub(super) has_looked: bool,
    /// The creation time of the origin in the last answer. Another time means another stream.
    pub(super) origin_created: Option<Timestamp>,
    /// The creation time in the answer before that.
    #[serde(skip)]
    pub(super) origin_before: Option<Timestamp>,
    /// The filters of the mirror while it was still a mirror. A promoted one no longer has them.
    pub(super) filters: Option<Vec<String>>,
    /// All subjects that the origin had while the mirror was still a mirror. None if they are not
    /// known, or are not those of the mirror.
    pub(super) subjects: Option<Vec<String>>,
    /// The origin's last sequence, and when it was read.
    #[serde(skip)]
    pub(super) counted: Option<(u64, Instant)>,
    /// The last looks at the origin.
    #[serde(skip)]
    pub(super) looks: Looks,
    /// The newest message that was equal on both sides.
    pub(super) witness: Option<Witness>,
    /// Whether the mirror was seen ahead of a replicated origin.
    pub(super) ahead: Option<Ahead>,
    /// The pair that was proven not to be the same stream.
    pub(super) condemned: Option<Condemned>,
    /// The first message that the copy lacked, at the last look that found one.
    pub(super) lacking: Option<Missing>,
    /// What replaced a value that the copy still holds, and has ended since.
    pub(super) outlived: Vec<Missing>,
    /// What the copy was seen to lack of what it has passed.
    pub(super) damage: Option<Damage>,
    /// What the copy lacked at its beginning before it was promoted.
    pub(super) gap: Option<Gap>,
    /// The last look that found no hole.
    #[serde(skip)]
    pub(super) verified: Option<Verified>,
    /// What the mirror held at its last answer.
    pub(super) held: Option<Held>,
    /// Since when a mirror with replicas shows less than it held. A newly elected leader may do so.
    pub(super) behind_since: Option<Timestamp>,
    /// How often the mirror went back or was emptied. Each time it became another copy.
    pub(super) shrunk: u32,
    /// How it last shrank, until the origin shows what it lacks.
    pub(super) shrunk_how: Option<String>,
    /// The newest instant up to which the copy was proven, in this process.
    #[serde(skip)]
    pub(super) proven: Option<Timestamp>,
    /// When nobody could write at the last look that found that, in this process.
    #[serde(skip)]
    pub(super) failed: Option<Instant>,
    /// Whether the mirror accepted the origin's messages at its last answer.
    pub(super) mirror_is_rival: bool,
    /// Whether the account of the origin, and that of the mirror, was full at its last answer. Filled in when it is
    /// written.
    pub(super) full_accounts: [bool; 2],
}

impl Memory {
    /// The same on another timeline. Times of the servers stay on the servers' timelines.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let ahead = self.ahead.map(|ahead| ahead.carried(&carry));
        let behind_since = self.behind_since.map(&carry);
        let lacking = self.lacking.map(|missing| missing.carried(&carry));
        let outlived = self.outlived.into_iter().map(|missing| missing.carried(&carry)).collect();
        // Looks are for one process: they are many, and would be written at each run.
        Self { ahead, lacking, outlived, behind_since, ..self }
    }

    /// The health, unless it is older than the last failure. For seconds after a leader has lost its
    /// majority, it answers as if nothing had happened.
    pub(super) fn since_failure(&mut self, health: Health, confirmed: Option<Instant>, now: Instant) -> Health {
        if matches!(health, Health::Unhealthy(_)) {
            self.failed = Some(now);
        }
        match self.failed.zip(confirmed) {
            Some((failed, confirmed)) if confirmed < failed => {
                let detail = "the leader has heard from no majority of the replicas since the last failure";
                Health::NoAnswer(Finding::new(&NO_QUORUM, detail))
            }
            _ => health,
        }
    }

    /// Takes in the answers of both sides. An answer that no majority confirms is ignored.
    pub(super) fn take(&mut self, mirror: &Side, origin: &Side, now: Timestamp) {
        if !std::mem::replace(&mut self.has_looked, true) {
            self.ahead = self.ahead.map(|ahead| ahead.unseen(now));
            self.behind_since = None;
        }
        if let Some(rival) = verdict::is_rival(origin, mirror) {
            self.mirror_is_rival = rival;
        }
        if let Ok(origin) = origin
            && origin.answer.quorum().is_ok()
        {
            self.origin_before = self.origin_created.replace(origin.answer.created());
            if self.is_origin_new() {
                self.forget_copy();
            }
            self.counted = Some((origin.answer.state.last_seq, origin.received));
        }
        if [mirror, origin].into_iter().any(|side| of_majority("", side).is_err()) {
            self.ahead = self.ahead.map(|ahead| ahead.unseen(now));
        }
        if let Ok(mirror) = mirror
            && mirror.answer.quorum().is_ok()
        {
            let mirror = &mirror.answer;
            if let Some(config) = &mirror.config.mirror {
                self.filters = Some(mirror.filters());
                self.take_subjects(origin, config);
            }
            if self.held.as_ref().is_some_and(|held| held.created != mirror.created) {
                self.forget_copy();
                (self.shrunk, self.shrunk_how, self.behind_since) = (0, None, None);
                self.filters = self.filters.take().filter(|_| mirror.config.mirror.is_some());
            }
            self.hold(mirror, now);
        } else {
            // Nobody saw that it stayed so, so the time starts again.
            self.behind_since = None;
        }
    }

    /// Takes in the subjects of the origin of this mirror. In a planned failover the origin gets other
    /// subjects before the mirror is promoted, so all of them are kept.
    fn take_subjects(&mut self, origin: &Side, mirror: &MirrorConfig) {
        let Ok(origin) = origin else { return };
        if origin.answer.quorum().is_err() || origin.answer.config.subjects.is_empty() {
            return;
        }
        let known = self.subjects.take().unwrap_or_default();
        let new = origin.answer.config.subjects.iter().filter(|subject| !known.contains(subject)).cloned();
        let all: Vec<String> = known.iter().cloned().chain(new).collect();
        // A mirror with transforms has subjects of its own.
        self.subjects = (mirror.subject_transforms.is_empty() && all.len() <= MOST_SUBJECTS).then_some(all);
    }

    /// Takes in what the mirror holds, and whether it shrank.
    fn hold(&mut self, mirror: &StreamInfo, now: Timestamp) {
        let shrunk = self.held.as_ref().and_then(|held| held.shrunk(mirror));
        if let Some(Shrunk::WentBack(_)) = &shrunk
            && mirror.is_replicated()
            && now.since(*self.behind_since.get_or_insert(now)) < CAUGHT_UP
        {
            return;
        }
        self.behind_since = None;
        if let Some(shrunk) = shrunk {
            self.shrink(&shrunk, mirror.state.last_seq);
        }
        self.held = Some(Held::of(mirror));
    }

    /// What was known about the copy was about other streams.
    fn forget_copy(&mut self) {
        (self.lacking, self.verified, self.proven) = (None, None, None);
        self.outlived.clear();
    }

    /// Whether the origin is another stream than at the previous look.
    pub(super) fn is_origin_new(&self) -> bool {
        self.origin_before.is_some_and(|before| Some(before) != self.origin_created)
    }

    /// The mirror became another copy. Knowledge about sequences that it no longer has is about the
    /// old copy.
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

    /// A token for the copy. None without an answer that a majority confirms: a server that was
    /// left behind may describe an earlier mirror. A promotion does not change it.
    pub(super) fn copy_identity(&self, mirror: &Side) -> Option<String> {
        let created = mirror.as_ref().ok().filter(|mirror| mirror.answer.quorum().is_ok())?.answer.created;
        Some(if self.shrunk == 0 { created.to_string() } else { format!("{created}/{}", self.shrunk) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::{Value, json};

    use super::*;
    use crate::clients::jetstream::{Answered, StreamError};
    use crate::clock;

    fn mirror(created: &str, last_seq: u64, replicas: &Value) -> Answered<StreamInfo> {
        let time = "2026-01-01T00:00:00Z";
        let state =
            json!({"messages": last_seq, "first_seq": 1, "first_ts": time, "last_seq": last_seq, "last_ts": time});
        let config = json!({"mirror": {"name": "S", "filter_subject": "a"}});
        let cluster = json!({"name": "C", "leader": "a", "replicas": replicas});
        let answer = json!({"config": config, "created": created, "state": state, "cluster": cluster});
        let answer = serde_json::from_value(answer).expect("an answer");
        Answered { answer, sent: clock::instant(), received: clock::instant() }
    }

    /// Looks at one mirror after the other, so many seconds after the first; gives which copies
    /// they were.
    fn copies(looks: &[(i64, Answered<StreamInfo>)]) -> Vec<String> {
        let mut memory = Memory::default();
        let origin = Err(StreamError::NotFound);
        let look = |(at, mirror): &(i64, Answered<StreamInfo>)| {
            let mirror = Ok(mirror.clone());
            memory.take(&mirror, &origin, Timestamp::from_unix_seconds(1_800_000_000 + at));
            memory.copy_identity(&mirror).expect("it answered")
        };
        looks.iter().map(look).collect()
    }

    const FIRST: &str = "2026-01-01T00:00:00Z";
    const SECOND: &str = "2026-01-02T00:00:00Z";

    #[test]
    fn a_leader_that_heard_nobody_since_the_last_failure_is_no_recovery() {
        let silent = |seconds: u64| {
            let active = seconds * 1_000_000_000;
            mirror(FIRST, 1, &json!([{"current": true, "active": active}, {"current": true, "active": active}]))
        };
        let mut memory = Memory::default();
        let mut look = |health, told: Answered<StreamInfo>, ago| {
            let confirmed = verdict::confirmed(&Ok(told), &Err(StreamError::NotFound), Some(verdict::Writer::Origin));
            memory.since_failure(health, confirmed, clock::instant() - Duration::from_secs(ago))
        };
        assert_eq!(look(Health::Healthy, silent(3), 0), Health::Healthy, "it never failed");
        look(Health::Unhealthy(Finding::new(&NO_QUORUM, "")), silent(0), 2);
        assert!(matches!(look(Health::Healthy, silent(3), 0), Health::NoAnswer(_)), "it was heard before that");
        assert_eq!(look(Health::Healthy, silent(1), 0), Health::Healthy);
        assert_eq!(look(Health::Healthy, mirror(FIRST, 1, &json!([])), 0), Health::Healthy, "it needs nobody");
    }

    #[test]
    fn a_mirror_that_went_back_is_another_copy() {
        let one = json!([]);
        let seen = copies(&[(0, mirror(FIRST, 40, &one)), (5, mirror(FIRST, 20, &one)), (10, mirror(FIRST, 21, &one))]);
        assert_ne!(seen[0], seen[1]);
        assert_eq!(seen[1], seen[2], "and the same from then on");
        let seen = copies(&[(0, mirror(FIRST, 40, &one)), (5, mirror(SECOND, 40, &one))]);
        assert_ne!(seen[0], seen[1], "as is one that was made anew");
    }

    #[test]
    fn a_new_leader_may_catch_up() {
        let three = json!([{"current": true, "active": 1}, {"current": true, "active": 1}]);
        let at = |second, last_seq| (second, mirror(FIRST, last_seq, &three));
        let seen = copies(&[at(0, 40), at(5, 38), at(14, 39), at(20, 41), at(25, 40), at(30, 40), at(34, 42)]);
        assert!(seen.iter().all(|copy| *copy == seen[0]), "{seen:?}");
        let seen = copies(&[at(0, 40), at(5, 20), at(16, 20)]);
        assert_eq!((&seen[0], seen[0] == seen[2]), (&seen[1], false), "unless it stays behind: {seen:?}");
    }

    #[test]
    fn a_new_leader_may_catch_up_after_an_outage_too() {
        let three = json!([{"current": true, "active": 1}, {"current": true, "active": 1}]);
        let mut memory = Memory::default();
        let origin: Side = Err(StreamError::NotFound);
        let mut look = |at: i64, mirror: Side| {
            memory.take(&mirror, &origin, Timestamp::from_unix_seconds(1_800_000_000 + at));
            memory.copy_identity(&mirror)
        };
        let held = look(0, Ok(mirror(FIRST, 40, &three)));
        assert_eq!(look(5, Ok(mirror(FIRST, 38, &three))), held);
        assert_eq!(look(10, Err(StreamError::NotFound)), None);
        assert_eq!(look(60, Ok(mirror(FIRST, 38, &three))), held, "what nobody saw did not stay so");
        assert_ne!(look(71, Ok(mirror(FIRST, 38, &three))), held);
    }

    #[test]
    fn what_nobody_saw_while_the_exporter_was_away_did_not_stay_so() {
        let three = json!([{"current": true, "active": 1}, {"current": true, "active": 1}]);
        let origin: Side = Err(StreamError::NotFound);
        let t = |at: i64| Timestamp::from_unix_seconds(1_800_000_000 + at);
        let mut before = Memory::default();
        before.take(&Ok(mirror(FIRST, 40, &three)), &origin, t(0));
        before.take(&Ok(mirror(FIRST, 38, &three)), &origin, t(5));
        let stored = serde_json::to_value(before).expect("it can be written");
        let mut memory: Memory = serde_json::from_value(stored).expect("and read");
        for (at, shrunk) in [(60, 0), (65, 0), (71, 1)] {
            memory.take(&Ok(mirror(FIRST, 38, &three)), &origin, t(at));
            assert_eq!(memory.shrunk, shrunk, "{at} s");
        }
    }

    #[test]
    fn a_server_that_was_left_behind_tells_of_no_other_copy() {
        let mut left_behind = mirror(FIRST, 40, &json!([]));
        left_behind.answer.cluster = serde_json::from_value(json!({"name": "C", "leader": ""})).ok();
        let origin: Side = Err(StreamError::NotFound);
        let mut memory = Memory::default();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        memory.take(&Ok(mirror(SECOND, 5, &json!([]))), &origin, now);
        let left_behind = Ok(left_behind);
        memory.take(&left_behind, &origin, now.plus(Duration::from_secs(5)));
        assert_eq!(memory.copy_identity(&left_behind), None);
    }

    #[test]
    fn all_subjects_of_the_origin_before_the_promotion_are_known() {
        let mut memory = Memory::default();
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        let mut look = |subjects: &[&str], promoted: bool, transforms: &Value| {
            let mut origin = mirror(SECOND, 5, &json!([]));
            origin.answer.config.mirror = None;
            origin.answer.config.subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
            let mut copy = mirror(FIRST, 5, &json!([]));
            let config = json!({"name": "S", "subject_transforms": transforms});
            copy.answer.config.mirror = serde_json::from_value(config).ok().filter(|_| !promoted);
            memory.take(&Ok(copy), &Ok(origin), now);
            memory.subjects.clone().map(|all| all.join(" "))
        };
        assert_eq!(look(&["a.>"], false, &json!([])).as_deref(), Some("a.>"));
        assert_eq!(look(&["fenced"], false, &json!([])).as_deref(), Some("a.> fenced"));
        assert_eq!(look(&[], false, &json!([])).as_deref(), Some("a.> fenced"), "one without subjects is fenced");
        assert_eq!(look(&["other"], true, &json!([])).as_deref(), Some("a.> fenced"));
        assert_eq!(look(&["a.>"], false, &json!([{"src": "a.>", "dest": "b.>"}])), None, "it has its own");
    }

    #[test]
    fn filters_are_those_of_this_mirror() {
        let mut memory = Memory::default();
        let origin: Side = Err(StreamError::NotFound);
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        memory.take(&Ok(mirror(FIRST, 5, &json!([]))), &origin, now);
        assert_eq!(memory.filters.as_deref(), Some(&["a".to_owned()][..]));
        let promoted = |created| {
            let mut told = mirror(created, 5, &json!([]));
            told.answer.config.mirror = None;
            Ok(told)
        };
        memory.take(&promoted(FIRST), &origin, now.plus(Duration::from_secs(5)));
        assert!(memory.filters.is_some(), "a promotion leaves them as they were");
        memory.take(&promoted(SECOND), &origin, now.plus(Duration::from_secs(10)));
        assert_eq!(memory.filters, None, "another stream of that name has none");
    }
}
