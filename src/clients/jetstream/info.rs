//! What a stream reports about itself: the used part of `STREAM.INFO`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::account::Account;
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// The answer of `STREAM.INFO`.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// The configuration file.
    pub config: StreamConfig,
    /// When the stream was created.
    pub created: jiff::Timestamp,
    /// What the stream holds.
    pub state: StreamState,
    /// What a mirror reports about its origin. It proves nothing.
    pub mirror: Option<MirrorReport>,
    /// The JetStream domain of the stream.
    pub domain: Option<String>,
    /// The server's clock at the answer. Absent before 2.10.
    pub ts: Option<jiff::Timestamp>,
    /// The servers of the stream, as far as the server tells.
    #[serde(default)]
    pub cluster: Option<ClusterInfo>,
    /// The account of the stream. It is no part of this answer, but of another one.
    #[serde(skip)]
    pub account: Option<Account>,
    /// Why it is not known whether the account is full, if it was at its last answer.
    #[serde(skip)]
    pub account_doubt: Option<Finding>,
}

/// The servers that hold a stream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    name: String,
    leader: String,
    replicas: Vec<Replica>,
}

/// A server that holds a copy of the stream. The leader is not included. Without a leader, it is
/// any of the servers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Replica {
    /// Whether it has everything that the leader has, according to the leader.
    current: bool,
    /// Nanoseconds since the leader heard from it. Also 0 if the leader never heard from it.
    active: u64,
}

impl Replica {
    /// How long ago it was heard. None if never.
    fn heard(&self) -> Option<Duration> {
        (self.current || self.active > 0).then(|| Duration::from_nanos(self.active))
    }
}

/// Why the answer does not count as an answer of the stream: no majority of its servers confirms
/// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoQuorum {
    /// The stream has no leader, so nobody accepts messages. The answering server may have been
    /// left behind.
    NoLeader,
    /// The leader does not hear from enough other servers to store anything. A majority on the
    /// other side of a network failure may have elected another leader.
    Silent {
        /// The number of servers with the stream.
        of: usize,
        /// Since when it has heard from too few of them. None if always.
        heard: Option<Duration>,
    },
}

impl fmt::Display for NoQuorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoLeader => f.write_str("the stream has no leader"),
            Self::Silent { of, heard: Some(heard) } => {
                write!(f, "the leader has not heard from a majority of the {of} replicas for {heard:.0?}")
            }
            Self::Silent { of, heard: None } => {
                write!(f, "the leader has never heard from a majority of the {of} replicas")
            }
        }
    }
}

/// The time after which a majority counts as silent. A leader sends a heartbeat every second, calls
/// a replica outdated after ten seconds, and steps down after about twenty (measured with 2.9 and
/// 2.15). Until then it answers as if nothing had happened.
const SILENT: Duration = Duration::from_secs(5);

impl ClusterInfo {
    /// The name of the cluster, or of a single server.
    #[must_use]
    pub fn place(&self) -> &str {
        if self.name.is_empty() { &self.leader } else { &self.name }
    }

    /// How long ago a majority last confirmed the leader.
    fn quorum(&self) -> Result<Duration, NoQuorum> {
        if self.leader.is_empty() {
            return Err(NoQuorum::NoLeader);
        }
        // The leader is one of them, but is not in the list.
        let of = self.replicas.len() + 1;
        let Some(last_needed) = (of / 2).checked_sub(1) else { return Ok(Duration::ZERO) };
        let mut heard: Vec<_> = self.replicas.iter().filter_map(Replica::heard).collect();
        heard.sort_unstable();
        match heard.get(last_needed) {
            Some(heard) if *heard < SILENT => Ok(*heard),
            heard => Err(NoQuorum::Silent { of, heard: heard.copied() }),
        }
    }
}

/// The configuration of a stream.
#[expect(clippy::struct_excessive_bools, reason = "the server's own format")]
#[derive(Debug, Clone, Deserialize)]
pub struct StreamConfig {
    /// The subjects from which it accepts messages.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// The origin, if it is a mirror. A promoted mirror has none.
    pub mirror: Option<MirrorConfig>,
    /// The streams that feed it, if there are any. Their messages get new sequences here.
    #[serde(default)]
    pub sources: Vec<serde::de::IgnoredAny>,
    /// Whether it accepts no more messages.
    #[serde(default)]
    pub sealed: bool,
    /// `file` or `memory`.
    #[serde(default)]
    storage: String,
    /// `limits`, `interest` or `workqueue`.
    #[serde(default)]
    pub retention: String,
    /// Whether it acknowledges no message.
    #[serde(default)]
    pub no_ack: bool,
    /// The largest message that it accepts, in bytes. 0 or less is no limit.
    #[serde(default)]
    pub max_msg_size: i64,
    /// What a full stream does: remove `old` messages, or refuse `new` ones.
    #[serde(default)]
    pub discard: String,
    /// Whether `DIRECT.GET` works.
    #[serde(default)]
    pub allow_direct: bool,
    #[serde(default)]
    max_msgs: i64,
    #[serde(default)]
    max_bytes: i64,
    #[serde(default)]
    max_msgs_per_subject: i64,
    /// Whether a new message is refused, rather than replacing an old one of its subject.
    #[serde(default)]
    pub discard_new_per_subject: bool,
    #[serde(default)]
    max_age: u64,
    /// Whether a message can set its own time to live.
    #[serde(default)]
    pub allow_msg_ttl: bool,
    /// Whether a message can replace all earlier ones.
    #[serde(default)]
    pub allow_rollup_hdrs: bool,
}

/// The value of a limit. The server writes 0 or -1 for no limit.
pub(super) fn set(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

impl StreamConfig {
    /// The age at which messages are removed, if there is a limit.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        (self.max_age > 0).then(|| Duration::from_nanos(self.max_age))
    }

    /// Whether the stream keeps its messages in memory.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.storage == "memory"
    }

    /// The largest message that it accepts, in bytes.
    #[must_use]
    pub fn max_msg_size(&self) -> Option<u64> {
        set(self.max_msg_size)
    }

    /// The highest number of messages.
    #[must_use]
    pub fn max_msgs(&self) -> Option<u64> {
        set(self.max_msgs)
    }

    /// The highest number of bytes.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        set(self.max_bytes)
    }

    /// The highest number of messages for one subject: the history of a key-value bucket.
    #[must_use]
    pub fn max_msgs_per_subject(&self) -> Option<u64> {
        set(self.max_msgs_per_subject)
    }

    /// Whether a full stream refuses new messages, rather than removing old ones.
    #[must_use]
    pub fn refuses_new(&self) -> bool {
        self.discard == "new"
    }
}

/// The origin of a mirror.
#[derive(Debug, Clone, Deserialize)]
pub struct MirrorConfig {
    /// The origin's name.
    pub name: String,
    /// The subjects that are mirrored, if not all.
    #[serde(default)]
    pub filter_subject: String,
    /// Several filters, each with a new name for the subjects that pass.
    #[serde(default)]
    pub subject_transforms: Vec<SubjectTransform>,
}

/// One filter of a mirror.
#[derive(Debug, Clone, Deserialize)]
pub struct SubjectTransform {
    /// The subjects that pass.
    pub src: String,
}

/// What a stream holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct StreamState {
    /// The number of messages.
    pub messages: u64,
    /// Their size in bytes.
    #[serde(default)]
    pub bytes: u64,
    /// The sequence of the first message.
    pub first_seq: u64,
    /// The time of the first message.
    pub first_ts: jiff::Timestamp,
    /// The highest sequence ever stored. The message may be gone.
    pub last_seq: u64,
    /// The time of the last message.
    pub last_ts: jiff::Timestamp,
    /// The number of sequences between the first and the last that are gone, or were never stored.
    #[serde(default)]
    pub num_deleted: u64,
    /// These sequences. Only if they were requested.
    #[serde(default)]
    pub deleted: Option<Vec<u64>>,
}

impl StreamState {
    /// All missing sequences between the first and the last. None if the answer does not list all
    /// of them.
    #[must_use]
    pub fn all_deleted(&self) -> Option<&[u64]> {
        let listed = self.deleted.as_deref().unwrap_or_default();
        (u64::try_from(listed.len()) == Ok(self.num_deleted)).then_some(listed)
    }
}

/// What a mirror reports about its origin. Measured: it shows 0 and "just now" over a throttled
/// link, and after the origin was created again. So it is shown, but never trusted.
#[derive(Debug, Clone, Deserialize)]
pub struct MirrorReport {
    /// The number of messages that the mirror thinks it lacks.
    #[serde(default)]
    pub lag: u64,
    /// Nanoseconds since it last heard from its origin. Negative if never since its server started.
    #[serde(default)]
    pub active: i64,
}

impl StreamInfo {
    /// When the stream was created, by its server's clock.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created.into()
    }

    /// The filters of a mirror. `>` for a mirror of everything.
    #[must_use]
    pub fn filters(&self) -> Vec<String> {
        let Some(mirror) = &self.config.mirror else { return vec![">".to_owned()] };
        let sources = mirror.subject_transforms.iter().map(|transform| &transform.src);
        let sources: Vec<&String> =
            if mirror.subject_transforms.is_empty() { vec![&mirror.filter_subject] } else { sources.collect() };
        sources.into_iter().map(|source| if source.is_empty() { ">".to_owned() } else { source.clone() }).collect()
    }

    /// Whether clients can write to the stream, according to its configuration. A stream without
    /// subjects accepts nothing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.config.mirror.is_none() && !self.config.sealed && !self.config.subjects.is_empty()
    }

    /// How long ago a majority of the stream's servers confirmed its leader. Zero for a stream
    /// without replicas.
    ///
    /// # Errors
    /// No majority does, or it is too long ago. Then the answer shows neither what the stream holds
    /// nor that it can be written to.
    pub fn quorum(&self) -> Result<Duration, NoQuorum> {
        self.cluster.as_ref().map_or(Ok(Duration::ZERO), ClusterInfo::quorum)
    }

    /// Whether several servers hold the stream. A new leader may be a moment behind the old one.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.replicas.is_empty())
    }
}

#[cfg(test)]
mod tests;
