//! A stream as a log: messages are appended only at an expected end, and read with their payloads.

use bytes::Bytes;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Answered, ApiError, ApiFailure, Stream, StreamError, StreamInfo, code, first_from};
use crate::clients::nats::{BAD_ANSWER, Unanswered};
use crate::clock;
use crate::domain::observation::Finding;

/// A message of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMessage {
    /// Its sequence.
    pub sequence: u64,
    /// When the server stored it, by the server's clock.
    pub time: jiff::Timestamp,
    /// Its subject.
    pub subject: String,
    /// Its payload.
    pub payload: Vec<u8>,
}

/// Where a message may be appended, and what it replaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Append {
    /// The message must directly follow this sequence. None: it may stand anywhere.
    pub after: Option<u64>,
    /// Whether it replaces the earlier messages of its subject.
    pub rolls_up: bool,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is stored under this sequence.
    At(u64),
    /// It is not stored: the log ends elsewhere.
    Elsewhere,
}

impl Append {
    fn headers(self) -> String {
        let mut headers = String::from("NATS/1.0\r\n");
        if let Some(after) = self.after {
            headers.push_str(&format!("Nats-Expected-Last-Sequence: {after}\r\n"));
        }
        if self.rolls_up {
            headers.push_str("Nats-Rollup: sub\r\n");
        }
        headers.push_str("\r\n");
        headers
    }
}

#[derive(Deserialize)]
struct Stored {
    message: Body,
}

#[derive(Deserialize)]
struct Body {
    subject: String,
    seq: u64,
    time: jiff::Timestamp,
    /// In base64.
    #[serde(default)]
    data: String,
}

impl Stream {
    /// Makes the stream. A stream of this name and configuration that exists is left as it is.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn create(&self, config: &Value, deadline: Instant) -> Result<(), StreamError> {
        let question = Bytes::from(config.to_string());
        let made = self.ask::<Value>("STREAM.CREATE", question, deadline).await;
        made.map(drop).map_err(|failure| self.failed(failure))
    }

    /// The state of the stream, and how many messages of a subject it holds.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn info_with_count(
        &self,
        subject: &str,
        deadline: Instant,
    ) -> Result<Answered<(StreamInfo, u64)>, StreamError> {
        let question = Bytes::from(json!({ "subjects_filter": subject }).to_string());
        let sent = clock::instant();
        let answer = self.ask::<Value>("STREAM.INFO", question, deadline).await;
        let received = clock::instant();
        let answer = answer.map_err(|failure| self.failed(failure))?;
        // A stream without such messages leaves the list out.
        let count = answer.pointer("/state/subjects").and_then(|subjects| subjects.get(subject));
        let count = count.and_then(Value::as_u64).unwrap_or_default();
        let info = serde_json::from_value(answer).map_err(|error| {
            let detail = format!("the state of {} cannot be read: {error}", self.name());
            StreamError::Unanswered(Finding::new(&BAD_ANSWER, detail))
        })?;
        Ok(Answered { answer: (info, count), sent, received })
    }

    /// The first existing message at or after a sequence, of these subjects, with its payload. None
    /// if there is none.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn read(
        &self,
        sequence: u64,
        subjects: &str,
        deadline: Instant,
    ) -> Result<Option<LogMessage>, StreamError> {
        let question = Bytes::from(first_from(sequence, subjects).to_string());
        let Body { subject, seq, time, data } = match self.ask::<Stored>("STREAM.MSG.GET", question, deadline).await {
            Ok(Stored { message }) => message,
            Err(ApiFailure::Refused(error)) if error.err_code == code::MESSAGE_NOT_FOUND => return Ok(None),
            Err(failure) => return Err(self.failed(failure)),
        };
        let payload = BASE64.decode(data.as_bytes()).map_err(|error| {
            let detail = format!("message {seq} of {} cannot be read: {error}", self.name());
            StreamError::Unanswered(Finding::new(&BAD_ANSWER, detail))
        })?;
        Ok(Some(LogMessage { sequence: seq, time, subject, payload }))
    }

    /// Appends a message to the log. If the answer is lost, it is not known whether the message is
    /// stored: the caller has to read the log.
    ///
    /// # Errors
    /// The server refuses the message, or it is not known what became of it.
    pub async fn append(
        &self,
        subject: &str,
        how: Append,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Appended, StreamError> {
        #[derive(Deserialize)]
        struct Acknowledgement {
            #[serde(default)]
            seq: u64,
            error: Option<ApiError>,
        }
        let answer = self.connection.offer(subject, &how.headers(), payload, deadline).await;
        let Some(answer) = answer.map_err(StreamError::Unanswered)? else {
            return Err(StreamError::Unanswered(self.nobody_takes(subject)));
        };
        let told: Acknowledgement = serde_json::from_slice(&answer.payload).map_err(|error| {
            let detail = format!("the answer at {subject} cannot be read: {error}");
            StreamError::Unanswered(Finding::new(&BAD_ANSWER, detail))
        })?;
        match told.error {
            None => Ok(Appended::At(told.seq)),
            Some(error) if code::WRONG_SEQUENCE.contains(&error.err_code) => Ok(Appended::Elsewhere),
            Some(error) => Err(self.failed(ApiFailure::Refused(error))),
        }
    }

    fn nobody_takes(&self, subject: &str) -> Unanswered {
        let detail = format!("nobody takes messages at {subject}: the stream {} has no leader", self.name());
        Finding::new(&super::JETSTREAM_UNAVAILABLE, detail)
    }

    /// Removes the messages of these subjects before a sequence.
    ///
    /// # Errors
    /// It is not known whether they are removed.
    pub async fn purge(&self, subjects: &str, before: u64, deadline: Instant) -> Result<(), StreamError> {
        let question = Bytes::from(json!({ "filter": subjects, "seq": before }).to_string());
        let purged = self.ask::<Value>("STREAM.PURGE", question, deadline).await;
        purged.map(drop).map_err(|failure| self.failed(failure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_where_a_message_stands() {
        assert_eq!(Append::default().headers(), "NATS/1.0\r\n\r\n");
        let how = Append { after: Some(7), rolls_up: true };
        let expected = "NATS/1.0\r\nNats-Expected-Last-Sequence: 7\r\nNats-Rollup: sub\r\n\r\n";
        assert_eq!(how.headers(), expected);
    }
}
