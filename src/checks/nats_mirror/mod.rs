//! `nats_mirror`: a JetStream stream and its mirror in the DR region.
//!
//! The mirror is read first, then the origin, then the origin is asked for the first message that the mirror should have
//! and has not. None: all that existed when the origin was asked is on the mirror. One: everything before it is. Before
//! either counts, the two must be the same stream (`identity`). What the mirror says of itself (`lag`, `active`) is
//! shown and never believed. Health is whether clients can write somewhere, and not to two places at once (`verdict`).

mod completeness;
mod identity;
mod missing;
mod readings;
mod verdict;

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::warn;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::jetstream::{Answered, StoredMessage, Stream, StreamError, StreamInfo};
use crate::clients::{Clients, nats, reasons};
use crate::clock::{self, Clock, Moment};
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::sides::{Compared, Sides, Where};
use crate::config::values::{ConnectionRef, DomainName, NatsRef, StreamName, Subject};
use crate::domain::contract::Feeds;
use crate::domain::observation::{CopyState, Finding, Health, Observation, Reason};
use crate::domain::time::Timestamp;
use identity::{Identity, Witness};
use missing::Missing;

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
    /// A stream and the connection it is asked over.
    pub struct StreamSide {
        /// The name of a connection of the `nats` section.
        pub nats: NatsRef,
        /// The stream's name.
        pub stream: StreamName,
        /// The JetStream domain of this side, if it is another than the connection's.
        pub domain: Option<DomainName> = None,
        /// What the subjects of this side's JetStream API begin with, if not as the connection says. Instead of
        /// `domain`.
        pub api_prefix: Option<Subject> = None,
    }
    validate = StreamSide::validate;
}

impl StreamSide {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        nats::one_api(self.domain.as_ref(), self.api_prefix.as_ref(), fields, cx);
    }

    /// What the subjects of the JetStream API begin with, unless it is as the connection says.
    fn api(&self) -> Option<String> {
        nats::api(self.domain.as_ref(), self.api_prefix.as_ref())
    }

    fn compared(&self, key: &'static str) -> Compared<'_> {
        let place = Where::Connection(ConnectionRef::Nats(&self.nats), self.api());
        Compared { key, place, object: vec![self.stream.as_str()] }
    }
}

/// Clients can write to neither stream.
pub static NO_WRITER: Reason = Reason::new(
    "no_writer",
    "Clients cannot write in either region: bring the origin back, or promote the mirror (docs/nats.md).",
);
/// Clients can write to both streams.
pub static BOTH_WRITABLE: Reason = Reason::new(
    "both_writable",
    "Fence one side now, before clients write to both: remove its subjects or seal the stream.",
);
/// The two streams hold different messages under the same sequence.
pub static DIVERGED: Reason = Reason::new(
    "diverged",
    "Both sides took messages that the other lacks: stop writers on one side, keep both streams, reconcile by hand.",
);
/// The origin does not exist.
pub static ORIGIN_STREAM_MISSING: Reason =
    Reason::new("origin_stream_missing", "Was the stream deleted or renamed? Check the stream's name and the domain.");
/// The mirror does not exist.
pub static MIRROR_STREAM_MISSING: Reason =
    Reason::new("mirror_stream_missing", "There is no DR copy. Create the mirror; it copies from the beginning.");
/// The mirror mirrors something else.
pub static MIRROR_OF_OTHER_STREAM: Reason =
    Reason::new("mirror_of_other_stream", "Correct the mirror's origin, or the stream that this check names.");
/// The origin was deleted and created again.
pub static ORIGIN_RECREATED: Reason = Reason::new(
    "origin_recreated",
    "The mirror holds the old origin's messages and will miss the new one's: delete the mirror and create it again.",
);
/// The mirror's messages are not the origin's.
pub static NOT_SAME_STREAM: Reason = Reason::new(
    "not_same_stream",
    "The mirror is not a copy of this origin: delete the mirror and create it again, after saving what only it holds.",
);
/// Nothing shows whether the mirror is a copy of this origin or of one before it.
pub static IDENTITY_UNPROVEN: Reason = Reason::new(
    "identity_unproven",
    "Create a mirror again that is older than its origin. A promoted stream: compare both sides by hand (docs/nats.md).",
);
/// The mirror lacks messages that it has passed.
pub static COPY_INCOMPLETE: Reason = Reason::new(
    "copy_incomplete",
    "Was the mirror purged, begun in the middle, or are its limits tighter? Unless it is promoted, create it again.",
);

/// Both sides are one.
pub static SAME_OBJECT: Reason = reasons::same_object(
    "Origin and mirror are one stream: do both connections lead to one server, or has a name failed over?",
);

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
            &nats::CREDENTIALS_UNREADABLE,
            &nats::FORBIDDEN,
            &nats::JETSTREAM_UNAVAILABLE,
            &nats::API_SILENT,
            &nats::API_REFUSED,
            &NO_WRITER,
            &BOTH_WRITABLE,
            &DIVERGED,
            &ORIGIN_STREAM_MISSING,
            &MIRROR_STREAM_MISSING,
            &MIRROR_OF_OTHER_STREAM,
            &ORIGIN_RECREATED,
            &NOT_SAME_STREAM,
            &IDENTITY_UNPROVEN,
            &COPY_INCOMPLETE,
            &SAME_OBJECT,
        ],
        warnings: &[],
        readings: readings::ALL,
    };

    fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        let stream = |side: &StreamSide| Stream::new(clients.nats(&side.nats), side.stream.clone(), side.api());
        Arc::new(MirrorCheck {
            origin: stream(&self.origin),
            mirror: stream(&self.mirror),
            memory: Mutex::new(Memory::default()),
        })
    }

    fn sides(&self) -> Sides<'_> {
        let (first, second) = (self.origin.compared("origin"), self.mirror.compared("mirror"));
        Sides::Two { noun: "stream", first, second }
    }
}

/// The mirror gets this share of a run's time, so that the origin is asked although the mirror hangs.
const MIRROR_SHARE: f64 = 0.4;

struct MirrorCheck {
    origin: Stream,
    mirror: Stream,
    memory: Mutex<Memory>,
}

/// What is remembered from run to run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
struct Memory {
    /// When the origin of the last answer was created: another one is another stream.
    origin_created: Option<Timestamp>,
    /// What the mirror filtered while it still was a mirror: a promoted one no longer tells.
    filters: Option<Vec<String>>,
    /// The origin's last sequence, and when it was read.
    #[serde(skip)]
    counted: Option<(u64, Instant)>,
    /// The newest message that was the same on both sides.
    witness: Option<Witness>,
    /// The first message that the copy lacked at the last look that found one.
    missing: Option<Missing>,
    /// Whether the mirror took the origin's messages when it last answered.
    mirror_is_rival: bool,
    /// Whether a person was told that the origin is a work queue.
    #[serde(skip)]
    warned_of_work_queue: bool,
}

impl Memory {
    /// The same on another timeline. What the servers stamped lies on theirs.
    fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { missing: self.missing.map(|missing| missing.carried(carry)), ..self }
    }
}

/// How a stream stood, or why that is not known.
type Side = Result<Answered<StreamInfo>, StreamError>;

#[async_trait]
impl Check for MirrorCheck {
    async fn run(&self, run: Run) -> Observation {
        let now = clock::instant();
        let left = run.deadline.saturating_duration_since(now);
        let mirror = self.mirror.info(now + left.mul_f64(MIRROR_SHARE)).await;
        let origin = self.origin.info(run.deadline).await;
        if let Some(finding) = self.same_object(&mirror, &origin) {
            let copy = Some(CopyState::Unknown(finding.clone()));
            return Observation { copy, ..Observation::of_health(Health::NoAnswer(finding)) };
        }
        let memory = self.remember(&mirror, &origin);
        let (copy, identity) = self.copy(&mirror, &origin, &memory, run).await;
        let writer = verdict::writer(&origin, &mirror, memory.mirror_is_rival);
        let readings = readings::of(&origin, &mirror, &memory, writer, identity.as_ref(), &copy, run);
        Observation {
            notes: readings::missing(&readings).into_iter().collect(),
            readings,
            copy: Some(copy),
            // A promotion leaves it as it was.
            copy_identity: mirror.as_ref().ok().map(|mirror| mirror.answer.created.to_string()),
            ..Observation::of_health(verdict::health(&origin, &mirror, writer, identity.as_ref()))
        }
    }

    fn memory(&self, moment: Moment) -> Option<serde_json::Value> {
        let memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone();
        serde_json::to_value(memory.carried(|at| moment.wall(at))).ok()
    }

    fn recall(&self, memory: &serde_json::Value, clock: Clock) {
        if let Ok(memory) = Memory::deserialize(memory) {
            let memory = memory.carried(|wall| clock.recalled(wall));
            *self.memory.lock().unwrap_or_else(PoisonError::into_inner) = memory;
        }
    }
}

impl MirrorCheck {
    /// That a comparison has one side only: no two streams of one name are created in the same nanosecond, unless one was
    /// restored from a backup of the other, and then not in the same place.
    fn same_object(&self, mirror: &Side, origin: &Side) -> Option<Finding> {
        let (ours, theirs) = (&mirror.as_ref().ok()?.answer, &origin.as_ref().ok()?.answer);
        let name = self.mirror.name();
        let place = |info: &StreamInfo| info.cluster.as_ref().map(|cluster| cluster.place().to_owned());
        let apart = place(ours).zip(place(theirs)).is_some_and(|(ours, theirs)| ours != theirs);
        let same =
            ours.created == theirs.created && ours.domain == theirs.domain && name == self.origin.name() && !apart;
        let detail = || format!("both connections lead to the stream {name} that was created at {}", ours.created);
        same.then(|| Finding::new(&SAME_OBJECT, detail()))
    }

    /// Takes in what was read, and gives what was remembered before.
    fn remember(&self, mirror: &Side, origin: &Side) -> Memory {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let before = memory.clone();
        if let Ok(origin) = origin {
            memory.origin_created = Some(origin.answer.created());
            memory.counted = Some((origin.answer.state.last_seq, origin.received));
            if origin.answer.config.retention == "workqueue" && !memory.warned_of_work_queue {
                memory.warned_of_work_queue = true;
                warn!(stream = self.origin.name(), "the origin is a work queue: mirroring it takes its messages away");
            }
        }
        if let Some(rival) = verdict::is_rival(origin, mirror) {
            memory.mirror_is_rival = rival;
        }
        if let Ok(mirror) = mirror
            && mirror.answer.config.mirror.is_some()
        {
            memory.filters = Some(mirror.answer.filters());
        }
        before
    }

    /// What is proven of the copy; and whether the two are the same stream, where that could be asked.
    async fn copy(&self, mirror: &Side, origin: &Side, memory: &Memory, run: Run) -> (CopyState, Option<Identity>) {
        let mirror = match mirror {
            Ok(mirror) => mirror,
            Err(StreamError::NotFound) => {
                let detail = format!("there is no stream {}", self.mirror.name());
                return (CopyState::Lost(Finding::new(&MIRROR_STREAM_MISSING, detail)), None);
            }
            Err(StreamError::Unanswered(finding)) => return (CopyState::Unknown(of_side("mirror", finding)), None),
        };
        let origin = match origin {
            Ok(origin) => origin,
            Err(error) => return (CopyState::Unknown(self.no_origin(error)), None),
        };
        if memory.origin_created.is_some_and(|created| created != origin.answer.created()) {
            let detail = format!("stream {} was created anew at {}", self.origin.name(), origin.answer.created());
            return (CopyState::Lost(Finding::new(&ORIGIN_RECREATED, detail)), None);
        }
        let filters = match &memory.filters {
            Some(filters) if mirror.answer.config.mirror.is_none() => filters.clone(),
            _ => mirror.answer.filters(),
        };
        let pair = identity::Pair {
            origin: &self.origin,
            mirror: &self.mirror,
            origin_info: origin,
            mirror_info: &mirror.answer,
            filters: &filters,
            witness: memory.witness.filter(|witness| witness.mirror_created == mirror.answer.created),
            run,
        };
        match pair.identity().await {
            Ok(Identity::Same { common, missing }) => {
                self.keep_witness(common, &pair);
                (self.proven(&pair, missing).await, Some(Identity::Same { common, missing }))
            }
            Ok(Identity::Other(finding)) => (CopyState::Lost(finding.clone()), Some(Identity::Other(finding))),
            Ok(Identity::Unproven(finding)) => (CopyState::Unknown(finding.clone()), Some(Identity::Unproven(finding))),
            Err(finding) => (CopyState::Unknown(finding), None),
        }
    }

    /// Remembers the newest message that was the same on both sides; the one of before where there was none.
    fn keep_witness(&self, common: Option<StoredMessage>, pair: &identity::Pair<'_>) {
        let witness = common.map(|StoredMessage { sequence, time }| Witness {
            sequence,
            time,
            mirror_created: pair.mirror_info.created,
            origin_created: pair.origin_info.answer.created,
        });
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).witness = witness.or(pair.witness);
    }

    fn no_origin(&self, error: &StreamError) -> Finding {
        match error {
            StreamError::NotFound => {
                Finding::new(&ORIGIN_STREAM_MISSING, format!("there is no stream {}", self.origin.name()))
            }
            StreamError::Unanswered(finding) => of_side("origin", finding),
        }
    }

    /// What is proven of a copy that is one of this origin.
    async fn proven(&self, pair: &identity::Pair<'_>, missing: Option<StoredMessage>) -> CopyState {
        let Some(missing) = missing else {
            return match pair.holes() {
                Some(finding) => CopyState::Damaged(finding),
                None => self.tail(pair).await,
            };
        };
        let StoredMessage { sequence, time } = missing;
        let detail = format!("sequence {sequence} of the origin, of {time}, is not on {}", self.mirror.name());
        let finding = Finding::new(&COPY_INCOMPLETE, detail);
        if pair.is_promoted() {
            // It lives by limits of its own since, and what it never held cannot be told from what it let go.
            return CopyState::Damaged(finding);
        }
        self.behind(&missing, Some(finding), pair)
    }

    /// What is proven of a copy that holds everything up to its last sequence.
    async fn tail(&self, pair: &identity::Pair<'_>) -> CopyState {
        let (origin, run) = (pair.origin_info, pair.run);
        let last = pair.mirror_info.state.last_seq;
        if last >= origin.answer.state.last_seq {
            return CopyState::Complete { up_to: run.clock.at(origin.sent) };
        }
        let mut asked = None::<Instant>;
        let mut missing = None::<StoredMessage>;
        for filter in pair.filters {
            let direct = origin.answer.config.allow_direct;
            match self.origin.first_message(last.saturating_add(1), filter, direct, run.deadline).await {
                Ok(Answered { answer, sent, .. }) => {
                    asked = Some(asked.map_or(sent, |asked| asked.min(sent)));
                    missing = missing.into_iter().chain(answer).min_by_key(|message| message.time);
                }
                Err(error) => return CopyState::Unknown(self.no_origin(&error)),
            }
        }
        match missing {
            None => CopyState::Complete { up_to: run.clock.at(asked.unwrap_or(origin.sent)) },
            Some(message) => self.behind(&message, None, pair),
        }
    }

    /// The copy lacks this message of the origin.
    fn behind(&self, missing: &StoredMessage, finding: Option<Finding>, pair: &identity::Pair<'_>) -> CopyState {
        let (origin, clock) = (pair.origin_info, pair.run.clock);
        let stamped = to_own_clock(missing.time, origin, pair.run);
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = clock.at(origin.sent);
        let since = Missing::since(&mut memory.missing, missing.sequence, stamped, seen);
        let first_seen = memory.missing.map_or(seen, |missing| missing.seen());
        CopyState::Behind {
            since,
            precision: origin.received - origin.sent,
            // The wall clocks are taken to agree, and nobody knows whether they do.
            certain_since: origin.answer.ts.is_none().then_some(first_seen),
            finding,
        }
    }
}

/// The instant of this process at which the origin's clock showed `time`.
///
/// The origin's clock is read off the answer that carries it, taken as given when the question was sent: the earliest it
/// can have been, so that what is made of it is never too young. Before NATS 2.10 answers carry no clock, and the two
/// machines' wall clocks are taken to agree.
fn to_own_clock(time: jiff::Timestamp, origin: &Answered<StreamInfo>, run: Run) -> Timestamp {
    match origin.answer.ts {
        Some(ts) => run.clock.at(origin.sent).minus(Timestamp::from(ts).since(time.into())),
        None => run.clock.from_wall(time.into()),
    }
}

fn of_side(side: &str, finding: &Finding) -> Finding {
    Finding::new(finding.reason, format!("{side}: {}", finding.detail))
}
