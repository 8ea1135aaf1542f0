//! The requests to JetStream, in its own wire format.
//!
//! The types of a client library are not used, because they leave out what matters here: the
//! server's own clock (`ts`), which is absent before 2.10, and the error code, which distinguishes
//! *no such message* from *no answer*.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::nats::{
    API_REFUSED, BAD_ANSWER, Connection, Headers, JETSTREAM_UNAVAILABLE, Message, Unanswered, shortened,
};
use crate::clock;
use crate::decode::values::StreamName;
use crate::domain::observation::Finding;

pub use account::Account;
pub use info::{MirrorConfig, MirrorReport, NoQuorum, StreamConfig, StreamInfo, StreamState, SubjectTransform};

mod account;
mod info;
pub mod log;

/// A stream to ask about.
#[derive(Debug, Clone)]
pub struct Stream {
    connection: Arc<Connection>,
    api: String,
    name: StreamName,
}

/// An answer, and the instants of this process between which it was given.
#[derive(Debug, Clone)]
pub struct Answered<T> {
    /// The payload.
    pub answer: T,
    /// When the request was sent.
    pub sent: Instant,
    /// When the answer arrived.
    pub received: Instant,
}

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum StreamError {
    /// The stream does not exist.
    NotFound,
    /// No answer, or an answer that JetStream is not available.
    Unanswered(Unanswered),
}

/// A stored message. Its payload is dropped without being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: u64,
    /// When the origin stored it, by the origin's clock.
    pub time: jiff::Timestamp,
}

/// A stored message that was found, with its subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMessage {
    /// The message.
    pub message: StoredMessage,
    /// Its subject.
    pub subject: String,
    /// Its own time to live, if it has one.
    pub ttl: Option<Duration>,
    /// Whether it replaced all earlier messages of its subject, whatever the limits of the stream.
    pub rolls_up: bool,
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
    subject: String,
    seq: u64,
    time: jiff::Timestamp,
    /// All its headers as one block, in base64.
    #[serde(default)]
    hdrs: String,
}

/// The header with the time to live of a message.
const TTL: &str = "Nats-TTL";
/// The header of a message that replaces all earlier ones.
const ROLL_UP: &str = "Nats-Rollup";

impl MessageBody {
    fn header(&self, name: &str) -> Option<String> {
        let block = BASE64.decode(self.hdrs.as_bytes()).ok()?;
        let block = String::from_utf8_lossy(&block);
        let mut headers = block.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(given, _)| *given == name).map(|(_, value)| value.trim().to_owned())
    }

    fn ttl(&self) -> Option<Duration> {
        time_to_live(&self.header(TTL)?)
    }
}

impl From<MessageBody> for FoundMessage {
    fn from(body: MessageBody) -> Self {
        let message = StoredMessage { sequence: body.seq, time: body.time };
        Self { message, ttl: body.ttl(), rolls_up: body.header(ROLL_UP).is_some(), subject: body.subject }
    }
}

/// A time to live: a number of seconds, or a duration in the format of Go. `never` is not a time.
fn time_to_live(text: &str) -> Option<Duration> {
    text.parse().map(Duration::from_secs).ok().or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok())
}

/// The server's error codes, from its `errors.json`.
mod code {
    pub const NO_QUORUM: u32 = 10008;
    pub const MESSAGE_NOT_FOUND: u32 = 10037;
    pub const OTHER_STREAM_EXPECTED: u32 = 10060;
    pub const STREAM_NOT_FOUND: u32 = 10059;
    /// The log ends elsewhere. Later servers have a second code for it.
    pub const WRONG_SEQUENCE: [u32; 2] = [10071, 10164];

    /// Errors of the server or of the stream, which clients get too: too few servers, no leader,
    /// not assigned, no leader of the stream, an offline stream, a stream that needs a newer
    /// server. All other errors are about the exporter: its account (10002, 10035, 10039, 10076),
    /// its limits, its request.
    const OF_THE_SERVER: [u32; 6] = [10004, 10005, 10006, NO_QUORUM, 10118, 10194];

    /// Whether an error means that JetStream cannot answer anybody. An error without a code is
    /// judged by its HTTP status.
    pub fn is_of_the_server(code: u16, err_code: u32) -> bool {
        OF_THE_SERVER.contains(&err_code) || (err_code == 0 && code >= 500)
    }
}

/// The result of a search for a message.
enum Found {
    /// The answer of the stream's leader: a message, or that there is none.
    Asked(Option<FoundMessage>),
    /// A message that was found by a direct read.
    Direct(FoundMessage),
}

enum ApiFailure {
    Refused(ApiError),
    Unanswered(Unanswered),
}

impl Stream {
    /// The stream with this name. The prefix of its API subjects is `api`, or else that of the
    /// connection.
    #[must_use]
    pub fn new(connection: Arc<Connection>, name: StreamName, api: Option<String>) -> Self {
        let api = api.or_else(|| connection.api().map(ToOwned::to_owned)).unwrap_or_else(|| "$JS.API".to_owned());
        Self { connection, api, name }
    }

    /// The connection that leads to it.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The state of the stream.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn info(&self, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        self.ask_info(Bytes::new(), deadline).await
    }

    /// The state of the stream with the missing sequences: [`StreamState::deleted`]. The cost for
    /// the server grows with their number.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn info_with_deleted(&self, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        self.ask_info(Bytes::from_static(br#"{"deleted_details": true}"#), deadline).await
    }

    async fn ask_info(&self, question: Bytes, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        let sent = clock::instant();
        let answer = self.ask("STREAM.INFO", question, deadline).await.map_err(|failure| self.failed(failure))?;
        Ok(Answered { answer, sent, received: clock::instant() })
    }

    /// Whether anybody accepts messages at a subject of this stream. None if this cannot be told.
    ///
    /// The message expects another stream, so it is refused, and nothing is stored (measured with
    /// NATS 2.9 to 2.15, also with a full stream). Other subscribers of the subject do receive it.
    pub async fn takes_messages(&self, subject: &str, deadline: Instant) -> Option<bool> {
        const REFUSED: &str = "NATS/1.0\r\nNats-Expected-Stream: .refused\r\n\r\n";
        #[derive(Deserialize)]
        struct Acknowledgement {
            stream: String,
            error: ApiError,
        }
        let Some(answer) = self.connection.offer(subject, REFUSED, Bytes::new(), deadline).await.ok()? else {
            return Some(false);
        };
        let told: Acknowledgement = serde_json::from_slice(&answer.payload).ok()?;
        (told.stream == self.name() && told.error.err_code == code::OTHER_STREAM_EXPECTED).then_some(true)
    }

    /// The message with this sequence, if it still exists. For `direct` see
    /// [`Stream::first_message`].
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn message(
        &self,
        sequence: u64,
        direct: bool,
        deadline: Instant,
    ) -> Result<Option<StoredMessage>, StreamError> {
        match self.find(&first_from(sequence, ">"), direct, deadline).await? {
            Found::Asked(found) => Ok(found.map(|found| found.message).filter(|message| message.sequence == sequence)),
            Found::Direct(found) if found.message.sequence == sequence => Ok(Some(found.message)),
            Found::Direct(_) => Err(self.proves_nothing()),
        }
    }

    /// The first existing message at or after a sequence whose subject matches the filter.
    ///
    /// If the cluster has lost its meta leader, the ordinary request fails. With `direct`, the
    /// stream's own servers are asked instead. Any mirror may answer those requests. So a message
    /// only counts if it names this very stream, and the absence of a message never counts.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn first_message(
        &self,
        sequence: u64,
        filter: &str,
        direct: bool,
        deadline: Instant,
    ) -> Result<Answered<Option<FoundMessage>>, StreamError> {
        let sent = clock::instant();
        let answer = match self.find(&first_from(sequence, filter), direct, deadline).await? {
            Found::Asked(found) => found,
            Found::Direct(found) => Some(found),
        };
        Ok(Answered { answer, sent, received: clock::instant() })
    }

    /// The newest existing message of a subject. For `direct` see [`Stream::first_message`].
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn last_message(
        &self,
        subject: &str,
        direct: bool,
        deadline: Instant,
    ) -> Result<Option<StoredMessage>, StreamError> {
        match self.find(&json!({"last_by_subj": subject}), direct, deadline).await? {
            Found::Asked(found) => Ok(found.map(|found| found.message)),
            Found::Direct(found) => Ok(Some(found.message)),
        }
    }

    async fn find(&self, question: &Value, direct: bool, deadline: Instant) -> Result<Found, StreamError> {
        let question = Bytes::from(question.to_string());
        match self.ask::<MessageResponse>("STREAM.MSG.GET", question.clone(), deadline).await {
            Ok(MessageResponse { message: body }) => Ok(Found::Asked(Some(body.into()))),
            Err(ApiFailure::Refused(error)) if error.err_code == code::MESSAGE_NOT_FOUND => Ok(Found::Asked(None)),
            Err(ApiFailure::Refused(error)) if direct && error.err_code == code::NO_QUORUM => {
                self.direct(question, deadline).await.map(Found::Direct)
            }
            Err(failure) => Err(self.failed(failure)),
        }
    }

    async fn direct(&self, question: Bytes, deadline: Instant) -> Result<FoundMessage, StreamError> {
        let subject = format!("{}.DIRECT.GET.{}", self.api, self.name());
        let answer = self.connection.request(&subject, question, deadline).await.map_err(StreamError::Unanswered)?;
        self.own_message(&answer.headers).ok_or_else(|| self.proves_nothing())
    }

    fn proves_nothing(&self) -> StreamError {
        let detail = format!("the cluster of {} has no leader, and a direct read proves no absence", self.name());
        StreamError::Unanswered(Finding::new(&JETSTREAM_UNAVAILABLE, detail))
    }

    fn own_message(&self, headers: &Headers) -> Option<FoundMessage> {
        let header = |name: &str| headers.get(name);
        if header("Nats-Stream")? != self.name() {
            return None;
        }
        let message = StoredMessage {
            sequence: header("Nats-Sequence")?.parse().ok()?,
            time: header("Nats-Time-Stamp")?.parse().ok()?,
        };
        let ttl = header(TTL).and_then(time_to_live);
        let rolls_up = header(ROLL_UP).is_some();
        Some(FoundMessage { message, subject: header("Nats-Subject")?.to_owned(), ttl, rolls_up })
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, question: Bytes, deadline: Instant) -> Result<T, ApiFailure> {
        self.ask_at(format!("{}.{what}.{}", self.api, self.name()), question, deadline).await
    }

    async fn ask_at<T: DeserializeOwned>(
        &self,
        subject: String,
        question: Bytes,
        deadline: Instant,
    ) -> Result<T, ApiFailure> {
        let answer = self.connection.request(&subject, question, deadline).await.map_err(ApiFailure::Unanswered)?;
        parse(&answer).map_err(|error| match error {
            Ok(error) => ApiFailure::Refused(error),
            Err(error) => {
                let detail = format!("the answer at {subject} cannot be read: {error}");
                // That the exporter does not understand the answer says nothing about the stream.
                ApiFailure::Unanswered(Finding::new(&BAD_ANSWER, detail))
            }
        })
    }

    fn failed(&self, failure: ApiFailure) -> StreamError {
        match failure {
            ApiFailure::Unanswered(finding) => StreamError::Unanswered(finding),
            ApiFailure::Refused(error) if error.err_code == code::STREAM_NOT_FOUND => StreamError::NotFound,
            ApiFailure::Refused(ApiError { code, err_code, description }) => {
                let detail = format!("stream {}: {} ({code}/{err_code})", self.name(), shortened(&description));
                let of_server = code::is_of_the_server(code, err_code);
                let reason = if of_server { &JETSTREAM_UNAVAILABLE } else { &API_REFUSED };
                StreamError::Unanswered(Finding::new(reason, detail))
            }
        }
    }
}

/// The request for the first existing message at or after a sequence. A plain `seq` would answer
/// "not found" for a deleted message, which would look like "no more messages".
fn first_from(sequence: u64, filter: &str) -> Value {
    json!({"seq": sequence, "next_by_subj": filter})
}

/// Reads the answer, or the error in it. The inner error is for an answer that is neither.
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

#[cfg(test)]
mod tests;
