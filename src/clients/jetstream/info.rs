//! What a stream says of itself: `STREAM.INFO`, as far as it is of use.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::domain::time::Timestamp;

/// What `STREAM.INFO` tells.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamInfo {
    /// How the stream is set up.
    pub config: StreamConfig,
    /// When it was created.
    pub created: jiff::Timestamp,
    /// What it holds.
    pub state: StreamState,
    /// What it says of its origin, if it is a mirror. Proves nothing.
    pub mirror: Option<MirrorReport>,
    /// The JetStream domain it lives in.
    pub domain: Option<String>,
    /// The server's clock when it answered; absent before 2.10.
    pub ts: Option<jiff::Timestamp>,
    /// Who holds it, as far as the server tells.
    #[serde(default)]
    pub cluster: Option<ClusterInfo>,
}

/// The servers that hold a stream.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterInfo {
    name: String,
    leader: String,
    replicas: Vec<Replica>,
}

/// A server that holds a copy of the stream, beside its leader; without a leader, any of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Replica {
    /// Whether it has all that the leader has, as far as the leader knows.
    current: bool,
    /// Nanoseconds since the leader heard from it; 0 also for one that was never heard.
    active: u64,
}

impl Replica {
    /// How long ago it was heard; none if never.
    fn heard(&self) -> Option<Duration> {
        (self.current || self.active > 0).then(|| Duration::from_nanos(self.active))
    }
}

/// Why the answer of a stream does not count as one of the stream: no majority of its servers stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoQuorum {
    /// The stream has no leader, so nobody takes messages. Who answered may have been left behind.
    NoLeader,
    /// The leader does not hear from enough of the others to store anything. A majority on the other side of a cut may
    /// have elected another leader meanwhile.
    Silent {
        /// How many servers hold the stream.
        of: usize,
        /// Since when it has heard from fewer than it needs; none if it never did.
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

/// From here on a majority counts as silent. A leader sends a heartbeat every second, calls a replica outdated after ten
/// and steps down after about twenty (measured on 2.9 and 2.15); until then it answers as if nothing had happened.
const SILENT: Duration = Duration::from_secs(5);

impl ClusterInfo {
    /// The name of the cluster, or of the one server that is none.
    #[must_use]
    pub fn place(&self) -> &str {
        if self.name.is_empty() { &self.leader } else { &self.name }
    }

    /// When a majority last stood behind the leader.
    fn quorum(&self) -> Result<Duration, NoQuorum> {
        if self.leader.is_empty() {
            return Err(NoQuorum::NoLeader);
        }
        // The leader is one of them, and is not listed.
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
    /// The subjects that it takes messages from.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// What it mirrors, if it is a mirror. A promoted mirror is none.
    pub mirror: Option<MirrorConfig>,
    /// The streams that feed it, if it is fed by some. Their messages get new sequences here.
    #[serde(default)]
    pub sources: Vec<serde::de::IgnoredAny>,
    /// Whether it takes no more messages.
    #[serde(default)]
    pub sealed: bool,
    /// `limits`, `interest` or `workqueue`.
    #[serde(default)]
    pub retention: String,
    /// What a full stream does: let go of the `old`, or refuse the `new`.
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
    /// Whether a new message is refused, rather than put in the place of an old one of its subject.
    #[serde(default)]
    pub discard_new_per_subject: bool,
    #[serde(default)]
    max_age: u64,
    /// Whether a message may say for itself when it is let go.
    #[serde(default)]
    pub allow_msg_ttl: bool,
    /// Whether a message may take the place of all before it.
    #[serde(default)]
    pub allow_rollup_hdrs: bool,
}

/// A limit that is set. The server writes 0 or -1 for none.
fn set(limit: i64) -> Option<u64> {
    u64::try_from(limit).ok().filter(|limit| *limit > 0)
}

impl StreamConfig {
    /// The age at which messages are let go, if they are.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        (self.max_age > 0).then(|| Duration::from_nanos(self.max_age))
    }

    /// How many messages it holds at most.
    #[must_use]
    pub fn max_msgs(&self) -> Option<u64> {
        set(self.max_msgs)
    }

    /// How many bytes it holds at most.
    #[must_use]
    pub fn max_bytes(&self) -> Option<u64> {
        set(self.max_bytes)
    }

    /// How many messages of one subject it holds at most: the history of a key-value bucket.
    #[must_use]
    pub fn max_msgs_per_subject(&self) -> Option<u64> {
        set(self.max_msgs_per_subject)
    }

    /// Whether a full stream refuses messages, rather than let go of old ones.
    #[must_use]
    pub fn refuses_new(&self) -> bool {
        self.discard == "new"
    }
}

/// What a stream mirrors.
#[derive(Debug, Clone, Deserialize)]
pub struct MirrorConfig {
    /// The origin's name.
    pub name: String,
    /// The subjects that are mirrored, if not all.
    #[serde(default)]
    pub filter_subject: String,
    /// Several filters at once, each with a new name for what it lets through.
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
    /// How many messages.
    pub messages: u64,
    /// How many bytes they are.
    #[serde(default)]
    pub bytes: u64,
    /// The sequence of the first.
    pub first_seq: u64,
    /// The time of the first.
    pub first_ts: jiff::Timestamp,
    /// The highest sequence ever taken; the message may be gone.
    pub last_seq: u64,
    /// The time of the last.
    pub last_ts: jiff::Timestamp,
    /// How many sequences between the first and the last are gone, or were never taken.
    #[serde(default)]
    pub num_deleted: u64,
    /// Which; only where it was asked for.
    #[serde(default)]
    pub deleted: Option<Vec<u64>>,
}

impl StreamState {
    /// All sequences between the first and the last that are gone; none where the answer does not list them all.
    #[must_use]
    pub fn all_deleted(&self) -> Option<&[u64]> {
        let listed = self.deleted.as_deref().unwrap_or_default();
        (u64::try_from(listed.len()) == Ok(self.num_deleted)).then_some(listed)
    }
}

/// What a mirror says of its origin: measured to read 0 and "just now" over a throttled link and after the origin was
/// created anew, so it is shown and never believed.
#[derive(Debug, Clone, Deserialize)]
pub struct MirrorReport {
    /// Messages it believes to lack.
    #[serde(default)]
    pub lag: u64,
    /// Nanoseconds since it last heard from its origin; negative if it never did since its server started.
    #[serde(default)]
    pub active: i64,
}

impl StreamInfo {
    /// When the stream was created, by its server's clock.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created.into()
    }

    /// The filters of a mirror; `>` where it takes everything.
    #[must_use]
    pub fn filters(&self) -> Vec<String> {
        let Some(mirror) = &self.config.mirror else { return vec![">".to_owned()] };
        let sources = mirror.subject_transforms.iter().map(|transform| &transform.src);
        let sources: Vec<&String> =
            if mirror.subject_transforms.is_empty() { vec![&mirror.filter_subject] } else { sources.collect() };
        sources.into_iter().map(|source| if source.is_empty() { ">".to_owned() } else { source.clone() }).collect()
    }

    /// Whether clients may write to the stream, going by how it is set up. A stream without subjects takes nothing.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.config.mirror.is_none() && !self.config.sealed && !self.config.subjects.is_empty()
    }

    /// How long ago a majority of the stream's servers stood behind its leader: zero for one that is not replicated.
    ///
    /// # Errors
    /// None does, or none has for too long. Then the answer tells neither what the stream holds nor that it can be
    /// written to.
    pub fn quorum(&self) -> Result<Duration, NoQuorum> {
        self.cluster.as_ref().map_or(Ok(Duration::ZERO), ClusterInfo::quorum)
    }

    /// Whether several servers hold the stream, of which a new leader may be a moment behind the one before.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| !cluster.replicas.is_empty())
    }
}

#[cfg(test)]
mod tests;
