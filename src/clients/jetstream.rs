//! The four questions that are asked of JetStream, in its own wire format.
//!
//! Asked raw rather than through a client library's types, because what counts is what libraries leave out: the server's
//! own clock (`ts`), which is absent before 2.10, and the error code, which tells *no such message* from *no answer*.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use super::nats::{API_REFUSED, Connection, Headers, JETSTREAM_UNAVAILABLE, Message, Unanswered, shortened};
use crate::clock;
use crate::config::values::StreamName;
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// A stream that is asked about.
#[derive(Debug, Clone)]
pub struct Stream {
    connection: Arc<Connection>,
    api: String,
    name: StreamName,
}

/// An answer, and between which instants of this process it was given.
#[derive(Debug, Clone)]
pub struct Answered<T> {
    /// What was answered.
    pub answer: T,
    /// When the question was sent.
    pub sent: Instant,
    /// When the answer was here.
    pub received: Instant,
}

/// Why there is nothing to work with.
#[derive(Debug, Clone)]
pub enum StreamError {
    /// The stream does not exist.
    NotFound,
    /// No answer, or one that says that JetStream cannot answer.
    Unanswered(Unanswered),
}

/// What `STREAM.INFO` tells, as far as it is of use.
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
}

impl ClusterInfo {
    /// The name of the cluster, or of the one server that is none.
    #[must_use]
    pub fn place(&self) -> &str {
        if self.name.is_empty() { &self.leader } else { &self.name }
    }
}

/// The configuration of a stream.
#[derive(Debug, Clone, Deserialize)]
pub struct StreamConfig {
    /// The subjects that it takes messages from.
    #[serde(default)]
    pub subjects: Vec<String>,
    /// What it mirrors, if it is a mirror. A promoted mirror is none.
    pub mirror: Option<MirrorConfig>,
    /// Whether it takes no more messages.
    #[serde(default)]
    pub sealed: bool,
    /// `limits`, `interest` or `workqueue`.
    #[serde(default)]
    pub retention: String,
    /// Whether `DIRECT.GET` works.
    #[serde(default)]
    pub allow_direct: bool,
    /// The nanoseconds after which a message is let go; 0 for never.
    #[serde(default)]
    max_age: u64,
    /// Whether a message may say for itself when it is let go.
    #[serde(default)]
    pub allow_msg_ttl: bool,
}

impl StreamConfig {
    /// The age at which messages are let go, if they are.
    #[must_use]
    pub fn max_age(&self) -> Option<Duration> {
        (self.max_age > 0).then(|| Duration::from_nanos(self.max_age))
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
#[derive(Debug, Clone, Deserialize)]
pub struct StreamState {
    /// How many messages.
    pub messages: u64,
    /// The sequence of the first.
    pub first_seq: u64,
    /// The time of the first.
    pub first_ts: jiff::Timestamp,
    /// The highest sequence ever taken; the message may be gone.
    pub last_seq: u64,
    /// The time of the last.
    pub last_ts: jiff::Timestamp,
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

/// A stored message. Its payload is dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: u64,
    /// When the origin stored it, by the origin's clock.
    pub time: jiff::Timestamp,
}

#[derive(Deserialize)]
struct ApiError {
    code: u16,
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct MessageResponse {
    message: MessageBody,
}

#[derive(Deserialize)]
struct MessageBody {
    seq: u64,
    time: jiff::Timestamp,
}

/// The server's error codes, from its `errors.json`.
mod code {
    pub const NO_QUORUM: u32 = 10008;
    pub const MESSAGE_NOT_FOUND: u32 = 10037;
    /// JetStream is there, and not for this account.
    pub const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
    pub const STREAM_NOT_FOUND: u32 = 10059;
}

/// What a search for a message gave.
enum Found {
    /// The stream's leader says what it holds, or that it holds none.
    Asked(Option<StoredMessage>),
    /// A direct read came upon it.
    Direct(StoredMessage),
}

enum ApiFailure {
    Refused(ApiError),
    Unanswered(Unanswered),
}

impl Stream {
    /// The stream of this name; asked at the subjects that begin with `api`, or with what the connection says.
    #[must_use]
    pub fn new(connection: Arc<Connection>, name: StreamName, api: Option<String>) -> Self {
        let api = api.or_else(|| connection.api().map(ToOwned::to_owned)).unwrap_or_else(|| "$JS.API".to_owned());
        Self { connection, api, name }
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// How the stream stands.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn info(&self, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        let sent = clock::instant();
        let answer = self.ask("STREAM.INFO", Bytes::new(), deadline).await.map_err(|failure| self.failed(failure))?;
        Ok(Answered { answer, sent, received: clock::instant() })
    }

    /// The message with this sequence, if it still exists. For `direct` see [`Stream::first_message`].
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn message(
        &self,
        sequence: u64,
        direct: bool,
        deadline: Instant,
    ) -> Result<Option<StoredMessage>, StreamError> {
        match self.find(sequence, ">", direct, deadline).await? {
            Found::Asked(found) => Ok(found.filter(|message| message.sequence == sequence)),
            Found::Direct(message) if message.sequence == sequence => Ok(Some(message)),
            Found::Direct(_) => Err(self.proves_nothing()),
        }
    }

    /// The first existing message at or after a sequence whose subject matches the filter.
    ///
    /// Where the cluster has lost its meta leader the ordinary request fails, and with `direct` the stream's own servers
    /// are asked instead. Any mirror may answer those, so only a message that names this very stream is believed, and
    /// its absence never.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn first_message(
        &self,
        sequence: u64,
        filter: &str,
        direct: bool,
        deadline: Instant,
    ) -> Result<Answered<Option<StoredMessage>>, StreamError> {
        let sent = clock::instant();
        let answer = match self.find(sequence, filter, direct, deadline).await? {
            Found::Asked(found) => found,
            Found::Direct(message) => Some(message),
        };
        Ok(Answered { answer, sent, received: clock::instant() })
    }

    async fn find(&self, sequence: u64, filter: &str, direct: bool, deadline: Instant) -> Result<Found, StreamError> {
        // A bare `seq` answers "not found" for a deleted message, which would read as "nothing more".
        let question = Bytes::from(json!({"seq": sequence, "next_by_subj": filter}).to_string());
        match self.ask::<MessageResponse>("STREAM.MSG.GET", question.clone(), deadline).await {
            Ok(MessageResponse { message: MessageBody { seq, time } }) => {
                Ok(Found::Asked(Some(StoredMessage { sequence: seq, time })))
            }
            Err(ApiFailure::Refused(error)) if error.err_code == code::MESSAGE_NOT_FOUND => Ok(Found::Asked(None)),
            Err(ApiFailure::Refused(error)) if direct && error.err_code == code::NO_QUORUM => {
                self.direct(question, deadline).await.map(Found::Direct)
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    async fn direct(&self, question: Bytes, deadline: Instant) -> Result<StoredMessage, StreamError> {
        let subject = format!("{}.DIRECT.GET.{}", self.api, self.name());
        let answer = self.connection.request(&subject, question, deadline).await.map_err(StreamError::Unanswered)?;
        self.own_message(&answer.headers).ok_or_else(|| self.proves_nothing())
    }

    fn proves_nothing(&self) -> StreamError {
        let detail = format!("the cluster of {} has no leader, and a direct read proves no absence", self.name());
        StreamError::Unanswered(Finding::new(&JETSTREAM_UNAVAILABLE, detail))
    }

    fn own_message(&self, headers: &Headers) -> Option<StoredMessage> {
        if headers.get("Nats-Stream")? != self.name() {
            return None;
        }
        Some(StoredMessage {
            sequence: headers.get("Nats-Sequence")?.parse().ok()?,
            time: headers.get("Nats-Time-Stamp")?.parse().ok()?,
        })
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, question: Bytes, deadline: Instant) -> Result<T, ApiFailure> {
        let subject = format!("{}.{what}.{}", self.api, self.name());
        let answer = self.connection.request(&subject, question, deadline).await.map_err(ApiFailure::Unanswered)?;
        parse(&answer).map_err(|error| match error {
            Ok(error) => ApiFailure::Refused(error),
            Err(error) => {
                let detail = format!("the answer at {subject} cannot be read: {error}");
                ApiFailure::Unanswered(Finding::new(&JETSTREAM_UNAVAILABLE, detail))
            }
        })
    }

    fn failed(&self, failure: ApiFailure) -> StreamError {
        match failure {
            ApiFailure::Unanswered(finding) => StreamError::Unanswered(finding),
            ApiFailure::Refused(error) if error.err_code == code::STREAM_NOT_FOUND => StreamError::NotFound,
            ApiFailure::Refused(ApiError { code, err_code, description }) => {
                let detail = format!("stream {}: {} ({code}/{err_code})", self.name(), shortened(&description));
                // What it says of itself, as that the stream's servers are gone, hits clients too; what it says of us does not.
                let is_ours = code < 500 || err_code == code::NOT_ENABLED_FOR_ACCOUNT;
                let reason = if is_ours { &API_REFUSED } else { &JETSTREAM_UNAVAILABLE };
                StreamError::Unanswered(Finding::new(reason, detail))
            }
        }
    }
}

/// Takes the answer or the error that it carries; the inner error is of an answer that is neither.
fn parse<T: DeserializeOwned>(message: &Message) -> Result<T, Result<ApiError, serde_json::Error>> {
    #[derive(Deserialize)]
    struct Envelope {
        error: Option<ApiError>,
    }
    let envelope: Envelope = serde_json::from_slice(&message.payload).map_err(Err)?;
    match envelope.error {
        Some(error) => Err(Ok(error)),
        None => serde_json::from_slice(&message.payload).map_err(Err),
    }
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

    /// Whether clients can write to the stream.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        self.config.mirror.is_none() && !self.config.sealed
    }
}
