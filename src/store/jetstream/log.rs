//! The stream, read and written by a thread that waits.

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tracing::info;

use super::JetStream;
use super::message::Subjects;
use crate::clients::jetstream::log::{Append, Appended, LogMessage};
use crate::clients::jetstream::{Answered, Stream, StreamError, StreamInfo};
use crate::clients::nats::Connection;
use crate::clock::{self, Reference};
use crate::store::StoreError;

/// How long one request may take.
const REQUEST: Duration = Duration::from_secs(2);
/// How long a connection may take at the beginning, and how long a stream may take to be made.
const BEGIN: Duration = Duration::from_secs(8);
/// The pause between two attempts at the beginning.
const PAUSE: Duration = Duration::from_millis(200);
/// What is said of a stream that does not exist.
const NO_STREAM: &str = "the stream does not exist";
/// How many parts of the log are read at once at the beginning.
const PARTS: u64 = 16;

/// The stream of a store. Every call waits for its answer, for a bounded time.
#[derive(Debug)]
pub(super) struct Log {
    /// A thread of its own serves the connection, so that it lives while nobody asks.
    runtime: Runtime,
    stream: Stream,
    pub(super) subjects: Subjects,
    pub(super) name: String,
    /// The clock of the server that leads the stream.
    time: Reference,
}

/// The extent of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// When the stream was created, by which it is known again.
    pub(super) created: jiff::Timestamp,
    /// The first sequence that is left.
    pub(super) first: u64,
    /// The last sequence.
    pub(super) last: u64,
    /// How many messages of history it holds.
    pub(super) history: u64,
}

impl Log {
    /// Begins to connect.
    pub(super) fn of(settings: &JetStream) -> Result<Self, StoreError> {
        let name = settings.stream.as_str().to_owned();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("storage-nats")
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| failed(&name, &error))?;
        let connection = {
            let _inside = runtime.enter();
            Arc::new(Connection::start(&settings.connection_name, settings.connection.clone()))
        };
        let stream = Stream::new(connection, settings.stream.clone(), None);
        Ok(Self { runtime, stream, subjects: Subjects::of(&name), name, time: settings.time.clone() })
    }

    /// The extent of the log. A stream that cannot be a store is refused.
    ///
    /// # Errors
    /// It is not known, or there is no such stream.
    pub(super) fn extent(&self) -> Result<Extent, StoreError> {
        self.extent_by(clock::instant() + REQUEST)
    }

    /// The same at the beginning, when there is no connection yet.
    pub(super) fn first_extent(&self) -> Result<Extent, StoreError> {
        Self::patiently(|deadline| self.extent_by(deadline))
    }

    /// The same; a stream that does not exist is made.
    pub(super) fn extent_or_create(&self, replicas: usize) -> Result<Extent, StoreError> {
        let config = json!({
            "name": self.name, "subjects": [self.subjects.all()], "storage": "file", "num_replicas": replicas,
            "retention": "limits", "discard": "new", "allow_rollup_hdrs": true,
            "description": "The storage of dr-exporter: its log of changes",
        });
        Self::patiently(|deadline| match self.runtime.block_on(self.info(deadline)) {
            Err(StreamError::NotFound) => {
                info!(stream = self.name, "the storage's stream does not exist: it is made");
                let made = self.runtime.block_on(self.stream.create(&config, deadline));
                made.map_err(|error| self.told(error))?;
                self.extent_by(deadline)
            }
            Ok((info, history)) => self.fit(&info, history),
            Err(error) => Err(self.told(error)),
        })
    }

    /// Asks again until there is an answer: at the beginning, a server or a leader may be late.
    fn patiently<T>(ask: impl Fn(Instant) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let end = clock::instant() + BEGIN;
        loop {
            match ask(end.min(clock::instant() + REQUEST)) {
                Err(StoreError::Failed { message, .. }) if message != NO_STREAM && clock::instant() + PAUSE < end => {
                    std::thread::sleep(PAUSE);
                }
                answered => return answered,
            }
        }
    }

    fn extent_by(&self, deadline: Instant) -> Result<Extent, StoreError> {
        let (info, history) = self.runtime.block_on(self.info(deadline)).map_err(|error| self.told(error))?;
        self.fit(&info, history)
    }

    async fn info(&self, deadline: Instant) -> Result<(StreamInfo, u64), StreamError> {
        let told = self.stream.info_with_count(&self.subjects.history(), deadline).await?;
        let Answered { answer: (info, count), sent, received } = told;
        if let Some(time) = info.ts {
            self.time.read(time.into(), sent, received);
        }
        Ok((info, count))
    }

    /// Whether this error says that there is no stream.
    pub(super) fn is_gone(error: &StoreError) -> bool {
        matches!(error, StoreError::Failed { message, .. } if message == NO_STREAM)
    }

    /// Whether the stream keeps what is written, and takes what is needed.
    fn fit(&self, info: &StreamInfo, history: u64) -> Result<Extent, StoreError> {
        let config = &info.config;
        let all = self.subjects.all();
        let unfit = |message: &str| Err(StoreError::Unfit { stream: self.name.clone(), message: message.to_owned() });
        if config.mirror.is_some() || config.sealed {
            return unfit("it is a mirror, or sealed, so nothing can be written");
        }
        if !config.subjects.contains(&all) {
            return unfit(&format!("its subjects must contain {all}"));
        }
        if config.max_age().is_some() || config.max_msgs_per_subject().is_some() || !config.refuses_new() {
            return unfit("it must keep every message: no max_age, no max_msgs_per_subject, and `discard: new`");
        }
        if !matches!(config.retention.as_str(), "" | "limits") {
            return unfit("it must keep every message, whoever reads it: `retention: limits`");
        }
        if config.no_ack || config.max_msg_size > 0 {
            return unfit("it must accept and acknowledge every message: no `no_ack`, no max_msg_size");
        }
        if !config.allow_rollup_hdrs {
            return unfit("it needs `allow_rollup_hdrs: true`");
        }
        Ok(Extent { created: info.created, first: info.state.first_seq, last: info.state.last_seq, history })
    }

    /// The first message at or after a sequence.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) fn next(&self, sequence: u64) -> Result<Option<LogMessage>, StoreError> {
        let read = self.stream.read(sequence, ">", clock::instant() + REQUEST);
        self.runtime.block_on(read).map_err(|error| self.told(error))
    }

    /// Every message from one sequence to another, in order. Several parts are read at once.
    ///
    /// # Errors
    /// Why they are not known.
    pub(super) fn range(&self, from: u64, to: u64) -> Result<Vec<LogMessage>, StoreError> {
        let step = (to.saturating_sub(from) / PARTS).saturating_add(1);
        let parts = (0..PARTS).map(|part| {
            let begin = from.saturating_add(part.saturating_mul(step));
            self.part(begin, begin.saturating_add(step).min(to.saturating_add(1)))
        });
        let parts = self.runtime.block_on(join_all(parts));
        let mut all = Vec::new();
        for part in parts {
            all.extend(part.map_err(|error| self.told(error))?);
        }
        Ok(all)
    }

    async fn part(&self, mut at: u64, end: u64) -> Result<Vec<LogMessage>, StreamError> {
        let mut part = Vec::new();
        while at < end {
            match self.stream.read(at, ">", clock::instant() + REQUEST).await? {
                Some(message) if message.sequence < end => {
                    at = message.sequence.saturating_add(1);
                    part.push(message);
                }
                _ => break,
            }
        }
        Ok(part)
    }

    /// Appends a message: see [`Stream::append`].
    ///
    /// # Errors
    /// It is refused, or it is not known what became of it.
    pub(super) fn append(
        &self,
        subject: &str,
        how: Append,
        payload: Vec<u8>,
        limit: Duration,
    ) -> Result<Appended, StoreError> {
        let limit = clock::instant() + limit.min(REQUEST);
        let append = self.stream.append(subject, how, Bytes::from(payload), limit);
        self.runtime.block_on(append).map_err(|error| self.told(error))
    }

    /// Removes the messages of a subject before a sequence.
    ///
    /// # Errors
    /// It is not known whether they are removed.
    pub(super) fn purge(&self, subject: &str, before: u64) -> Result<(), StoreError> {
        let purge = self.stream.purge(subject, before, clock::instant() + REQUEST);
        self.runtime.block_on(purge).map_err(|error| self.told(error))
    }

    fn told(&self, error: StreamError) -> StoreError {
        match error {
            StreamError::NotFound => failed(&self.name, &NO_STREAM),
            StreamError::Unanswered(finding) => failed(&self.name, &finding),
        }
    }

    /// An error about this stream.
    pub(super) fn failed(&self, message: &dyn Display) -> StoreError {
        failed(&self.name, message)
    }
}

fn failed(stream: &str, message: &dyn Display) -> StoreError {
    StoreError::Failed { path: format!("stream {stream}").into(), message: message.to_string() }
}
