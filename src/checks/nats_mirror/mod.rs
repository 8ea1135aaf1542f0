//! `nats_mirror`: a JetStream stream and its mirror in the DR region.
//!
//! The mirror is read first, then the origin. Then the origin is asked for the first message that
//! the mirror should have but does not. If there is none, everything that existed when the origin
//! was asked is on the mirror. If there is one, everything before it is. Before either counts, the
//! two must be the same stream (`identity`). What the mirror says about itself (`lag`, `active`) is
//! shown, but never trusted. Health is whether clients can write somewhere, and not to both sides
//! at once (`verdict`).

mod ahead;
mod completeness;
mod doubts;
mod fullness;
mod held;
mod identity;
mod limits;
mod looks;
mod memory;
mod missing;
mod outlived;
mod readings;
mod reasons;
mod side;
mod tail;
mod verdict;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde::Deserialize;

use crate::checks::rights::Right;
use crate::checks::sides::{Compared, Sides, Where};
use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::jetstream::{Answered, StoredMessage, StreamError, StreamInfo};
use crate::clients::{Clients, nats};
use crate::clients::{ConnectionRef, NatsRef};
use crate::clock::{self, Clock, Moment};
use crate::decode::config;
use crate::decode::values::{DomainName, StreamName, Subject};
use crate::decode::{Decoder, Fields};
use crate::domain::check::Feeds;
use crate::domain::observation::{CopyState, Finding, Health, Observation};
use completeness::Inside;
use identity::{Identity, Pair, Witness};
use memory::Memory;
use reasons::{
    COPY_INCOMPLETE, COPY_SHRUNK, MIRROR_STREAM_MISSING, NO_QUORUM, ORIGIN_RECREATED, ORIGIN_STREAM_MISSING,
    SAME_OBJECT,
};
use side::{Asked, Side, of_majority};

config! {
    /// A JetStream stream and its mirror in the DR region. Feeds `rto` and `rpo`.
    pub struct NatsMirrorConfig {
        /// The stream that clients write to in the primary region.
        pub origin: StreamSide,
        /// The stream that mirrors it in the DR region.
        pub mirror: StreamSide,
    }
}

config! {
    /// A stream, and the connection to it.
    pub struct StreamSide {
        /// The name of a connection of the `nats` section.
        pub nats: NatsRef,
        /// The stream's name.
        pub stream: StreamName,
        /// The JetStream domain of this side, if it differs from the connection's.
        pub domain: Option<DomainName> = None,
        /// The prefix of the JetStream API subjects of this side, if it differs from the
        /// connection's. Instead of `domain`.
        pub api_prefix: Option<Subject> = None,
        /// A subject of the stream for a probe: whether the stream accepts messages while its
        /// JetStream API does not answer. A stream must refuse the message of the probe, so nothing
        /// is stored.
        pub probe_subject: Option<Subject> = None => incidental,
    }
    validate = StreamSide::validate;
}

impl StreamSide {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        nats::one_api(self.domain.as_ref(), self.api_prefix.as_ref(), fields, cx);
    }

    /// The prefix of the JetStream API subjects, if it differs from the connection's.
    fn api(&self) -> Option<String> {
        nats::api(self.domain.as_ref(), self.api_prefix.as_ref())
    }

    fn compared(&self, key: &'static str) -> Compared<'_> {
        let place = Where::Connection(ConnectionRef::Nats(&self.nats), self.api());
        Compared { key, place, object: vec![self.stream.as_str()] }
    }
}

impl Kind for NatsMirrorConfig {
    const INFO: KindInfo = KindInfo {
        name: "nats_mirror",
        can_feed: Feeds { rto: true, rpo: true },
        reasons: &[
            &nats::CONNECT_FAILED,
            &nats::CONNECTING,
            &nats::CONNECTION_REJECTED,
            &nats::CONNECTION_DROPPED,
            &nats::BAD_ANSWER,
            &nats::DOMAIN_UNREACHABLE,
            &nats::TIMEOUT,
            &nats::AUTH_FAILED,
            &nats::LOCAL,
            &nats::TLS_FAILED,
            &nats::TLS_UNSUPPORTED,
            &nats::CREDENTIALS_UNREADABLE,
            &nats::FORBIDDEN,
            &nats::JETSTREAM_UNAVAILABLE,
            &nats::API_SILENT,
            &nats::API_REFUSED,
            &reasons::NO_WRITER,
            &NO_QUORUM,
            &reasons::STREAM_FULL,
            &reasons::NOBODY_LISTENS,
            &reasons::API_ALONE_SILENT,
            &reasons::BOTH_WRITABLE,
            &reasons::DIVERGED,
            &ORIGIN_STREAM_MISSING,
            &MIRROR_STREAM_MISSING,
            &reasons::MIRROR_OF_OTHER_STREAM,
            &reasons::SOURCED_STREAM,
            &ORIGIN_RECREATED,
            &reasons::NOT_SAME_STREAM,
            &reasons::IDENTITY_UNPROVEN,
            &COPY_INCOMPLETE,
            &COPY_SHRUNK,
            &SAME_OBJECT,
        ],
        warnings: &[&reasons::TIGHTER_LIMITS, &reasons::NEARLY_FULL, &reasons::WORK_QUEUE],
        readings: readings::ALL,
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let asked = |side: &StreamSide| Asked::new(side, clients.nats(&side.nats));
        Arc::new(MirrorCheck {
            origin: asked(&self.origin),
            mirror: asked(&self.mirror),
            memory: Mutex::new(Memory::default()),
        })
    }

    fn sides(&self) -> Sides<'_> {
        let (first, second) = (self.origin.compared("origin"), self.mirror.compared("mirror"));
        Sides::Two { noun: "stream", first, second }
    }

    fn rights(&self) -> Vec<Right<'_>> {
        Vec::new()
    }
}

/// The share of a run's time for the mirror, so that the origin is asked even if the mirror hangs.
const MIRROR_SHARE: f64 = 0.4;

struct MirrorCheck {
    origin: Asked,
    mirror: Asked,
    memory: Mutex<Memory>,
}

#[async_trait]
impl Check for MirrorCheck {
    async fn run(&self, run: Run) -> Observation {
        let now = clock::instant();
        let left = run.deadline.saturating_duration_since(now);
        let mirror = self.mirror.ask(now + left.mul_f64(MIRROR_SHARE)).await;
        let origin = self.origin.ask(run.deadline).await;
        if let Some(finding) = self.same_object(&mirror, &origin) {
            let copy = Some(CopyState::Unknown(finding.clone()));
            return Observation { copy, ..Observation::of_health(Health::NoAnswer(finding)) };
        }
        let (before, memory) = self.remember(&mirror, &origin, run);
        let (copy, identity) = self.copy(&mirror, &origin, &memory, run).await;
        let writer = verdict::writer(&origin, &mirror, before.mirror_is_rival, memory.subjects.as_deref());
        let health = verdict::health(&origin, &mirror, writer, identity.as_ref());
        let confirmed = verdict::confirmed(&origin, &mirror, writer);
        let health = self.remembered().since_failure(health, confirmed, clock::instant());
        let writer = writer.filter(|_| !matches!(health, Health::NoAnswer(_)));
        let readings = readings::of(&origin, &mirror, &before, writer, identity.as_ref(), &copy, run);
        let both = origin.as_ref().ok().zip(mirror.as_ref().ok());
        Observation {
            notes: readings::missing(&readings).into_iter().collect(),
            readings,
            copy: Some(copy),
            copy_identity: memory.copy_identity(&mirror),
            warnings: both.map(|(origin, mirror)| limits::warnings(&origin.answer, &mirror.answer)),
            stated: confirmed.map(|at| run.clock.at(at)),
            ..Observation::of_health(health)
        }
    }

    /// A proof rests on this memory: it has the message that shows a loss, in case exporter and
    /// origin die together.
    fn remembers_at_once(&self) -> bool {
        true
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let mut memory = self.remembered().clone();
        memory.full_accounts = [&self.origin, &self.mirror].map(|side| side.account().was_full());
        serde_json::to_value(memory.carried(|at| moment.wall(at))).ok()
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        if let Ok(memory) = Memory::deserialize(memory) {
            for (side, was_full) in [&self.origin, &self.mirror].into_iter().zip(memory.full_accounts) {
                side.account().recall(was_full);
            }
            *self.remembered() = memory.carried(|wall| clock.recalled(wall));
        }
    }
}

impl MirrorCheck {
    /// The finding if both sides are the same stream. No two streams with one name are created in
    /// the same nanosecond, unless one was restored from a backup of the other, and then not in the
    /// same place.
    fn same_object(&self, mirror: &Side, origin: &Side) -> Option<Finding> {
        let (ours, theirs) = (&mirror.as_ref().ok()?.answer, &origin.as_ref().ok()?.answer);
        let name = self.mirror.stream.name();
        let place = |info: &StreamInfo| info.cluster.as_ref().map(|cluster| cluster.place().to_owned());
        let apart = place(ours).zip(place(theirs)).is_some_and(|(ours, theirs)| ours != theirs);
        let same = ours.created == theirs.created
            && ours.domain == theirs.domain
            && name == self.origin.stream.name()
            && !apart;
        let detail = || format!("both connections lead to the stream {name} that was created at {}", ours.created);
        same.then(|| Finding::new(&SAME_OBJECT, detail()))
    }

    fn remembered(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in the answers, and returns the memory before and after.
    fn remember(&self, mirror: &Side, origin: &Side, run: Run) -> (Memory, Memory) {
        let mut memory = self.remembered();
        let before = memory.clone();
        memory.take(mirror, origin, run.clock.now());
        if let Ok(Answered { answer, sent, received }) = of_majority("origin", origin) {
            memory.looks.take(answer, run.clock.at(*sent), run.clock.at(*received));
        }
        (before, memory.clone())
    }

    /// What is proven about the copy, and whether the two are the same stream, if that could be
    /// asked.
    async fn copy(&self, mirror: &Side, origin: &Side, memory: &Memory, run: Run) -> (CopyState, Option<Identity>) {
        let mirror = match of_majority("mirror", mirror) {
            Ok(mirror) => mirror,
            Err(StreamError::NotFound) => {
                let detail = format!("there is no stream {}", self.mirror.stream.name());
                return (CopyState::Lost(Finding::new(&MIRROR_STREAM_MISSING, detail)), None);
            }
            Err(StreamError::Unanswered(finding)) => return (CopyState::Unknown(finding), None),
        };
        let origin = match of_majority("origin", origin) {
            Ok(origin) => origin,
            Err(error) => return (CopyState::Unknown(self.no_origin(error, memory)), None),
        };
        let filters = match &memory.filters {
            Some(filters) if mirror.answer.config.mirror.is_none() => filters.clone(),
            _ => mirror.answer.filters(),
        };
        let pair = Pair {
            origin: &self.origin.stream,
            mirror: &self.mirror.stream,
            origin_info: origin,
            mirror_told: mirror,
            filters: &filters,
            memory,
            run,
        };
        match pair.identity().await {
            Ok(identity) => (self.identified(&pair, &identity).await, Some(identity)),
            Err(finding) => (CopyState::Unknown(finding), None),
        }
    }

    /// What is proven about the copy, depending on the identity of the streams.
    async fn identified(&self, pair: &Pair<'_>, identity: &Identity) -> CopyState {
        match identity {
            Identity::Same { common, missing } => {
                self.keep_witness(*common, pair);
                self.proven(pair, *common, *missing).await
            }
            Identity::Other(finding, shown) => {
                if let Some(sequence) = shown {
                    self.remembered().condemned = Some(pair.condemned(finding, *sequence));
                }
                CopyState::Lost(finding.clone())
            }
            Identity::Unproven(finding) => CopyState::Unknown(finding.clone()),
            Identity::Ahead(finding, ahead) => {
                self.remembered().ahead = Some(*ahead);
                CopyState::Unknown(finding.clone())
            }
        }
    }

    /// Remembers the newest message that was equal on both sides. If there was none, the earlier
    /// one stays. The mirror is no longer ahead of its origin.
    fn keep_witness(&self, common: Option<StoredMessage>, pair: &Pair<'_>) {
        let witness = common.map(|StoredMessage { sequence, time }| Witness {
            sequence,
            time,
            mirror_created: pair.mirror_info().created,
            origin_created: pair.origin_info.answer.created,
        });
        let mut memory = self.remembered();
        memory.witness = witness.or(pair.witness());
        memory.ahead = None;
    }

    /// Why nothing is known about the origin. That the mirror shrank in the meantime has priority.
    fn no_origin(&self, error: StreamError, memory: &Memory) -> Finding {
        let finding = match error {
            StreamError::NotFound => {
                Finding::new(&ORIGIN_STREAM_MISSING, format!("there is no stream {}", self.origin.stream.name()))
            }
            StreamError::Unanswered(finding) => finding,
        };
        match &memory.shrunk_how {
            Some(how) => Finding::new(&COPY_SHRUNK, format!("mirror: {how}; {finding}")),
            None => finding,
        }
    }

    /// What is proven about a copy of this origin.
    async fn proven(
        &self,
        pair: &Pair<'_>,
        common: Option<StoredMessage>,
        missing: Option<StoredMessage>,
    ) -> CopyState {
        let created = pair.origin_info.answer.created;
        // A stream that was restored from a backup holds messages that are older than itself.
        if pair.memory.is_origin_new() && common.is_none_or(|common| common.time >= created) {
            let detail = format!("stream {} was created again at {created}", self.origin.stream.name());
            return CopyState::Lost(Finding::new(&ORIGIN_RECREATED, detail));
        }
        if !pair.is_promoted() {
            self.remembered().gap = missing.map(|_| pair.gap());
        }
        if let Some(message) = missing {
            let StoredMessage { sequence, time } = message;
            let mut detail =
                format!("sequence {sequence} of the origin, stored at {time}, is not on {}", self.mirror.stream.name());
            if pair.is_promoted() && !pair.lacked_before(message) {
                detail.push_str(", which was promoted: its clients or its limits may have removed it");
                return CopyState::Unknown(Finding::new(&COPY_INCOMPLETE, detail));
            }
            return self.incomplete(message, Finding::new(&COPY_INCOMPLETE, detail), pair).await;
        }
        let inside = match pair.inside().await {
            Ok(inside) => inside,
            Err(finding) => return CopyState::Unknown(finding),
        };
        let (damage, verified, damaged) = match inside {
            Inside::Whole(verified) => (None, Some(verified), None),
            Inside::Incomparable => (None, None, None),
            Inside::Hole(hole, all) => {
                let StoredMessage { sequence, time } = hole;
                let detail = format!(
                    "sequence {sequence} of the origin, stored at {time}, is gone from {}",
                    self.mirror.stream.name()
                );
                let finding = Finding::new(&COPY_INCOMPLETE, detail);
                let damage = pair.damage(all, &finding);
                (Some(damage), None, Some(self.incomplete(hole, finding, pair).await))
            }
            Inside::Fewer(finding) => {
                (Some(pair.damage(Vec::new(), &finding)), None, Some(CopyState::Damaged(finding)))
            }
            // Nothing is forgotten, and nothing is learned.
            Inside::Doubted(finding) => return CopyState::Unknown(finding),
        };
        let is_whole = verified.is_some();
        {
            let mut memory = self.remembered();
            (memory.damage, memory.verified) = (damage, verified);
        }
        match damaged {
            Some(damaged) => damaged,
            None => self.tail(pair, is_whole).await,
        }
    }
}
