//! The four questions that are asked of JetStream, in its own wire format.
//!
//! Asked raw rather than through a client library's types, because what counts is what libraries leave out: the server's
//! own clock (`ts`), which is absent before 2.10, and the error code, which tells *no such message* from *no answer*.

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
use crate::config::values::StreamName;
use crate::domain::observation::Finding;

pub use info::{MirrorConfig, MirrorReport, NoQuorum, StreamConfig, StreamInfo, StreamState, SubjectTransform};

mod info;

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

/// A stored message. Its payload is dropped unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredMessage {
    /// Its sequence.
    pub sequence: u64,
    /// When the origin stored it, by the origin's clock.
    pub time: jiff::Timestamp,
}

/// A stored message that was looked for, and what it was published to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundMessage {
    /// The message.
    pub message: StoredMessage,
    /// Its subject.
    pub subject: String,
    /// How long it lives, where it says so itself.
    pub ttl: Option<Duration>,
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
    /// Its headers, as a whole block in base64.
    #[serde(default)]
    hdrs: String,
}

/// The header in which a message says how long it lives.
const TTL: &str = "Nats-TTL";

impl MessageBody {
    fn ttl(&self) -> Option<Duration> {
        let block = BASE64.decode(self.hdrs.as_bytes()).ok()?;
        let block = String::from_utf8_lossy(&block);
        let mut headers = block.lines().filter_map(|line| line.split_once(':'));
        headers.find(|(name, _)| *name == TTL).and_then(|(_, value)| time_to_live(value.trim()))
    }
}

/// How long a message lives: so many seconds, or a duration as Go writes it. `never` is no time.
fn time_to_live(text: &str) -> Option<Duration> {
    text.parse().map(Duration::from_secs).ok().or_else(|| text.parse::<SignedDuration>().ok()?.try_into().ok())
}

/// The server's error codes, from its `errors.json`.
mod code {
    pub const NO_QUORUM: u32 = 10008;
    pub const MESSAGE_NOT_FOUND: u32 = 10037;
    pub const OTHER_STREAM_EXPECTED: u32 = 10060;
    /// JetStream is there, and not for this account.
    pub const NOT_ENABLED_FOR_ACCOUNT: u32 = 10039;
    pub const STREAM_NOT_FOUND: u32 = 10059;
}

/// What a search for a message gave.
enum Found {
    /// The stream's leader says what it holds, or that it holds none.
    Asked(Option<FoundMessage>),
    /// A direct read came upon it.
    Direct(FoundMessage),
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
        self.ask_info(Bytes::new(), deadline).await
    }

    /// How the stream stands, with the sequences that are gone: [`StreamState::deleted`]. Costs the server as much as there
    /// are such sequences.
    ///
    /// # Errors
    /// Why that is not known.
    pub async fn info_with_deleted(&self, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        self.ask_info(Bytes::from_static(br#"{"deleted_details": true}"#), deadline).await
    }

    async fn ask_info(&self, question: Bytes, deadline: Instant) -> Result<Answered<StreamInfo>, StreamError> {
        let sent = clock::instant();
        let answer = self.ask("STREAM.INFO", question, deadline).await.map_err(|failure| self.failed(failure))?;
        Ok(Answered { answer, sent, received: clock::instant() })
    }

    /// Whether anybody takes messages at a subject of this stream: nothing if that cannot be told.
    ///
    /// The message expects another stream than this one, so that it is refused and nothing is stored; measured on NATS 2.9 to
    /// 2.15, also on a full stream. Who subscribes to the subject besides the stream does receive it.
    pub async fn takes_messages(&self, subject: &str, deadline: Instant) -> Option<bool> {
        const REFUSED: &str = "NATS/1.0\r\nNats-Expected-Stream: .refused\r\n\r\n";
        #[derive(Deserialize)]
        struct Acknowledgement {
            stream: String,
            error: ApiError,
        }
        let Some(answer) = self.connection.offer(subject, REFUSED, deadline).await.ok()? else { return Some(false) };
        let told: Acknowledgement = serde_json::from_slice(&answer.payload).ok()?;
        (told.stream == self.name() && told.error.err_code == code::OTHER_STREAM_EXPECTED).then_some(true)
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
        match self.find(&first_from(sequence, ">"), direct, deadline).await? {
            Found::Asked(found) => Ok(found.map(|found| found.message).filter(|message| message.sequence == sequence)),
            Found::Direct(found) if found.message.sequence == sequence => Ok(Some(found.message)),
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
    /// Why that is not known.
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
            Ok(MessageResponse { message: body }) => {
                let (message, ttl) = (StoredMessage { sequence: body.seq, time: body.time }, body.ttl());
                Ok(Found::Asked(Some(FoundMessage { message, subject: body.subject, ttl })))
            }
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
        Some(FoundMessage { message, subject: header("Nats-Subject")?.to_owned(), ttl })
    }

    async fn ask<T: DeserializeOwned>(&self, what: &str, question: Bytes, deadline: Instant) -> Result<T, ApiFailure> {
        let subject = format!("{}.{what}.{}", self.api, self.name());
        let answer = self.connection.request(&subject, question, deadline).await.map_err(ApiFailure::Unanswered)?;
        parse(&answer).map_err(|error| match error {
            Ok(error) => ApiFailure::Refused(error),
            Err(error) => {
                let detail = format!("the answer at {subject} cannot be read: {error}");
                // That we do not understand it says nothing of the stream.
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
                // What it says of itself, as that the stream's servers are gone, hits clients too; what it says of us does not.
                let is_ours = code < 500 || err_code == code::NOT_ENABLED_FOR_ACCOUNT;
                let reason = if is_ours { &API_REFUSED } else { &JETSTREAM_UNAVAILABLE };
                StreamError::Unanswered(Finding::new(reason, detail))
            }
        }
    }
}

/// The question for the first existing message at or after a sequence. A bare `seq` answers "not found" for a deleted
/// message, which would read as "nothing more".
fn first_from(sequence: u64, filter: &str) -> Value {
    json!({"seq": sequence, "next_by_subj": filter})
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_message_lives() {
        let seconds = |text| time_to_live(text).map(|ttl| ttl.as_secs_f64());
        for (text, expected) in [
            ("8", Some(8.0)),
            ("8s", Some(8.0)),
            ("1h0m0s", Some(3600.0)),
            ("1m30s", Some(90.0)),
            ("1.5s", Some(1.5)),
            ("never", None),
            ("-1s", None),
            ("", None),
        ] {
            assert_eq!(seconds(text), expected, "{text:?}");
        }
        let body = |headers: &str| {
            let hdrs = BASE64.encode(headers.as_bytes());
            let time = "2026-01-01T00:00:00Z";
            let body = json!({"subject": "a", "seq": 1, "time": time, "hdrs": hdrs});
            serde_json::from_value::<MessageBody>(body).expect("a message").ttl()
        };
        assert_eq!(body("NATS/1.0\r\nA: b\r\nNats-TTL: 8s\r\n\r\n"), Some(Duration::from_secs(8)));
        assert_eq!(body(""), None);
    }
}
