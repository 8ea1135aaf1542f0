//! One request and its answer, in bounded memory, whatever the server sends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http_body_util::BodyExt;
use jiff::fmt::rfc2822;
use kube::client::Body;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::access::Made;
use super::failure::Problem;
use super::{CREDENTIALS_UNREADABLE, Reads, TIMEOUT};
use crate::clock;
use crate::domain::observation::Finding;

/// The largest accepted answer, in bytes. An object has at most 1.5 MiB, by etcd's own limit.
pub(super) const LARGEST: usize = 4 << 20;
/// An answer up to this size needs no turn of its own.
const SMALL: usize = 256 << 10;
/// How many requests run at the same time.
const TURNS: usize = 32;
/// How many of them can have a large answer.
const LARGE_TURNS: usize = 4;

/// The limits on requests. The answers of one cluster take at most `TURNS * SMALL + LARGE_TURNS *
/// LARGEST` bytes: 24 MiB.
#[derive(Debug)]
pub(super) struct Turns {
    any: Semaphore,
    large: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { any: Semaphore::new(TURNS), large: Semaphore::new(LARGE_TURNS) }
    }
}

/// The progress of a read, for those who wait for it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    waits: AtomicBool,
    /// Whether the client is still being made: a file or a plugin of the kubeconfig has not
    /// finished.
    is_without_client: AtomicBool,
}

impl Progress {
    /// The number of bytes of the answer so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// The finding if time is up. The API server is only slow if it was asked.
    pub(super) fn when_late(&self, limit: Option<Duration>) -> Finding {
        if self.is_without_client.load(Ordering::Relaxed) {
            let story =
                "the exec plugin, or a file of the kubeconfig, takes too long; the API server was not asked yet";
            return Finding::new(&CREDENTIALS_UNREADABLE, story);
        }
        let limit = limit.map_or_else(|| "in time".to_owned(), |limit| format!("within {limit:?}"));
        let story = match self.bytes() {
            0 if self.waits.load(Ordering::Relaxed) => {
                format!("not started {limit}: {TURNS} other reads of this cluster were running")
            }
            0 => format!("no answer {limit}"),
            bytes => format!("the answer was not complete {limit}: {} KiB had arrived", bytes.div_ceil(1024)),
        };
        Finding::new(&TIMEOUT, story)
    }
}

/// A successful answer. While it is held, it takes one of the turns.
#[derive(Debug)]
pub(super) struct Answer<'a> {
    pub(super) body: Vec<u8>,
    /// When the request was sent.
    pub(super) sent: Instant,
    /// The time of the server's clock, to the second, if it was sent.
    pub(super) date: Option<jiff::Timestamp>,
    _turns: (SemaphorePermit<'a>, Option<SemaphorePermit<'a>>),
}

impl Reads {
    pub(super) async fn ask(
        &self,
        request: http::Request<Vec<u8>>,
        progress: &Progress,
    ) -> Result<Answer<'_>, Problem> {
        progress.waits.store(true, Ordering::Relaxed);
        let turn = self.turns.any.acquire().await.map_err(Problem::request)?;
        progress.waits.store(false, Ordering::Relaxed);
        progress.is_without_client.store(true, Ordering::Relaxed);
        let (client, made) = self.access.client().await.map_err(Problem::NoClient)?;
        progress.is_without_client.store(false, Ordering::Relaxed);
        let sent = clock::instant();
        let answer = client.send(request.map(Into::into)).await;
        let answer = answer.map_err(|error| self.rethink(Problem::of_client(&error), &made))?;
        let (head, body) = answer.into_parts();
        let read = self.body(body, &head.headers, progress).await;
        if !head.status.is_success() {
            let said = read.map(|(said, _)| said).unwrap_or_default();
            return Err(self.rethink(Problem::of_status(head.status, &said), &made));
        }
        let (body, large) = read?;
        Ok(Answer { body, sent, date: date(&head.headers), _turns: (turn, large) })
    }

    /// Reads a body. If it is large, it waits for a turn of its own.
    async fn body(
        &self,
        body: Body,
        headers: &HeaderMap,
        progress: &Progress,
    ) -> Result<(Vec<u8>, Option<SemaphorePermit<'_>>), Problem> {
        let length = headers.get(http::header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let length: usize = length.unwrap_or(0);
        if length > LARGEST {
            return Err(Problem::TooLarge);
        }
        let (mut all, mut large) = (Vec::with_capacity(length.min(SMALL)), None);
        let mut body = std::pin::pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Problem::of_body(&error, all.len()))?;
            let Ok(data) = frame.into_data() else { continue };
            let size = all.len() + data.len();
            if size > LARGEST {
                return Err(Problem::TooLarge);
            }
            if size > SMALL && large.is_none() {
                large = Some(self.turns.large.acquire().await.map_err(Problem::request)?);
                all.reserve_exact(length.max(size) - all.len());
            }
            all.extend_from_slice(&data);
            progress.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
        }
        Ok((all, large))
    }

    /// If credentials are refused, or certificates no longer fit, they are read again for the next
    /// request.
    fn rethink(&self, problem: Problem, made: &Made) -> Problem {
        if problem.is_of_credentials() {
            self.access.forget(made);
        }
        problem
    }
}

fn date(headers: &HeaderMap) -> Option<jiff::Timestamp> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}
