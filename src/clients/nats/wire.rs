//! Reads the messages of a NATS server within limits. No peer decides how much memory is used.
//!
//! A line and a message are kept until they are complete, so both have a limit. Above the limit,
//! the connection ends before more is read. Sizes come from the peer, and are never added without
//! an overflow check.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::decode::values::secrets;

/// The longest line. An INFO with a list of some thousand servers, as in large systems, fits.
pub(super) const LONGEST_LINE: usize = 128 * 1024;
/// The largest message, whatever limit the server announces. It fits a message of 24 MiB in the
/// server's base64.
pub(super) const LARGEST_MESSAGE: usize = 32 * 1024 * 1024;
/// How much longer a JetStream API answer is than the message in it.
const ENVELOPE: usize = 64 * 1024;
/// How many bytes are read at once.
const CHUNK: usize = 8 * 1024;
/// A larger message keeps its read buffer, and a new buffer replaces it.
const KEPT: usize = 64 * 1024;

/// The used part of the server's INFO.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct ServerInfo {
    pub(super) server_name: String,
    pub(super) max_payload: Option<u64>,
    pub(super) tls_required: bool,
    pub(super) nonce: String,
    #[serde(rename = "ldm")]
    pub(super) lame_duck: bool,
    pub(super) domain: Option<String>,
    pub(super) jetstream: bool,
}

impl ServerInfo {
    /// The largest accepted message from this server. JetStream encodes a stored message in base64,
    /// which the server does not count against its own limit.
    fn largest_message(&self) -> usize {
        const USUAL: u64 = 1024 * 1024;
        let payload = usize::try_from(self.max_payload.unwrap_or(USUAL)).unwrap_or(usize::MAX);
        payload.saturating_mul(2).saturating_add(ENVELOPE).min(LARGEST_MESSAGE)
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The status, for example if nobody listens.
    pub(super) status: Option<u16>,
    /// The headers.
    pub headers: Headers,
    /// The payload.
    pub payload: Bytes,
}

/// The headers of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value of a name. Upper and lower case matter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One message of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Info(Box<ServerInfo>),
    Message { subject: String, message: Message },
    Ping,
    Pong,
    Ok,
    Error(String),
}

impl Op {
    /// The word that it begins with.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Info(_) => "INFO",
            Self::Message { .. } => "MSG",
            Self::Ping => "PING",
            Self::Pong => "PONG",
            Self::Ok => "+OK",
            Self::Error(_) => "-ERR",
        }
    }
}

/// Why the data cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a line has more than {LONGEST_LINE} bytes")]
    LongLine,
    #[error("a message has {size} bytes, but at most {limit} are accepted from this server")]
    LargeMessage { size: usize, limit: usize },
    #[error("the answer is not NATS: {0:?}")]
    Foreign(String),
}

impl Unreadable {
    /// Whether a client with larger limits might read it.
    pub(super) fn is_our_limit(&self) -> bool {
        matches!(self, Self::LongLine | Self::LargeMessage { .. })
    }
}

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

/// The first line of a message.
#[derive(Debug)]
struct Head {
    subject: String,
    header: usize,
    total: usize,
}

/// Parses the messages of the server.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// This many bytes of the buffer contain no end of a line.
    scanned: usize,
    /// The message whose payload is being received.
    head: Option<Head>,
    largest: usize,
}

impl Decoder {
    /// A decoder before the first byte, when nothing is known about the server.
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, head: None, largest: ServerInfo::default().largest_message() }
    }

    /// Whether there is data that is not part of an operation yet.
    pub(super) fn holds_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Waits for the next operation. Nothing is lost if the wait is cancelled.
    pub(super) async fn read(&mut self, from: &mut (impl AsyncRead + Unpin)) -> Result<Op, ReadError> {
        loop {
            if let Some(op) = self.next()? {
                return Ok(op);
            }
            self.buffer.reserve(CHUNK);
            if from.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
        }
    }

    /// The next operation, if it is complete.
    fn next(&mut self) -> Result<Option<Op>, Unreadable> {
        if self.head.is_none() {
            let Some(line) = self.line()? else { return Ok(None) };
            match operation(&line)? {
                Parsed::Op(op) => {
                    if let Op::Info(info) = &op {
                        self.largest = info.largest_message();
                    }
                    return Ok(Some(op));
                }
                Parsed::Head(head) if head.total > self.largest => {
                    return Err(Unreadable::LargeMessage { size: head.total, limit: self.largest });
                }
                Parsed::Head(head) => self.head = Some(head),
            }
        }
        self.message()
    }

    /// The next line, without its end.
    fn line(&mut self) -> Result<Option<Bytes>, Unreadable> {
        let unseen = self.buffer.get(self.scanned..).unwrap_or_default();
        let end = unseen.iter().position(|byte| *byte == b'\n').map(|at| self.scanned.saturating_add(at));
        if end.unwrap_or(self.buffer.len()) > LONGEST_LINE {
            return Err(Unreadable::LongLine);
        }
        let Some(end) = end else {
            self.scanned = self.buffer.len();
            return Ok(None);
        };
        self.scanned = 0;
        let mut line = self.take(end);
        self.buffer.advance(1);
        if line.ends_with(b"\r") {
            line.truncate(line.len().saturating_sub(1));
        }
        Ok(Some(line))
    }

    /// The message whose first line is known, once it is complete.
    fn message(&mut self) -> Result<Option<Op>, Unreadable> {
        const END: &[u8] = b"\r\n";

        let Some(total) = self.head.as_ref().map(|head| head.total) else { return Ok(None) };
        if self.buffer.len() < total.saturating_add(END.len()) {
            return Ok(None);
        }
        let Some(Head { subject, header, total }) = self.head.take() else { return Ok(None) };
        let mut payload = self.take(total);
        if !self.buffer.starts_with(END) {
            return Err(foreign(&payload));
        }
        self.buffer.advance(END.len());
        let (status, headers) = headers(&payload.split_to(header.min(total)))?;
        Ok(Some(Op::Message { subject, message: Message { status, headers, payload } }))
    }

    /// Takes this many existing bytes from the buffer, and frees the memory that only they needed.
    fn take(&mut self, size: usize) -> Bytes {
        let size = size.min(self.buffer.len());
        if size <= KEPT {
            let taken = Bytes::copy_from_slice(self.buffer.get(..size).unwrap_or_default());
            self.buffer.advance(size);
            return taken;
        }
        let rest = BytesMut::from(self.buffer.get(size..).unwrap_or_default());
        let mut taken = std::mem::replace(&mut self.buffer, rest);
        taken.truncate(size);
        taken.freeze()
    }
}

enum Parsed {
    Op(Op),
    Head(Head),
}

/// Parses a line. Upper and lower case do not matter in keywords, as in the protocol.
fn operation(line: &[u8]) -> Result<Parsed, Unreadable> {
    let text = std::str::from_utf8(line).map_err(|_| foreign(line))?;
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let op = match word.to_ascii_uppercase().as_str() {
        "PING" => Op::Ping,
        "PONG" => Op::Pong,
        "+OK" => Op::Ok,
        "-ERR" => Op::Error(shortened(rest.trim().trim_matches('\''))),
        // A JSON list would be read as a struct without fields.
        "INFO" if rest.trim_start().starts_with('{') => {
            let mut info: Box<ServerInfo> = serde_json::from_str(rest).map_err(|_| foreign(line))?;
            info.server_name = shortened(&info.server_name);
            Op::Info(info)
        }
        "MSG" => return head(rest, false).map(Parsed::Head).ok_or_else(|| foreign(line)),
        "HMSG" => return head(rest, true).map(Parsed::Head).ok_or_else(|| foreign(line)),
        _ => return Err(foreign(line)),
    };
    Ok(Parsed::Op(op))
}

/// `<subject> <sid> [reply-to] [header bytes] <total bytes>`, read from the end, because a reply
/// subject may be missing.
fn head(arguments: &str, with_header: bool) -> Option<Head> {
    let words: Vec<&str> = arguments.split_ascii_whitespace().collect();
    let (total, words) = words.split_last()?;
    let total: usize = total.parse().ok()?;
    let (header, words) = if with_header {
        let (header, words) = words.split_last()?;
        (header.parse().ok()?, words)
    } else {
        (0, words)
    };
    let (2 | 3, Some(subject)) = (words.len(), words.first()) else { return None };
    (header <= total).then(|| Head { subject: (*subject).to_owned(), header, total })
}

/// `NATS/1.0[ status[ description]]`, and the headers.
fn headers(block: &[u8]) -> Result<(Option<u16>, Headers), Unreadable> {
    if block.is_empty() {
        return Ok((None, Headers::default()));
    }
    let text = std::str::from_utf8(block).map_err(|_| foreign(block))?;
    let mut lines = text.lines();
    let first = lines.next().and_then(|line| line.strip_prefix("NATS/1.0")).ok_or_else(|| foreign(block))?;
    let status = first.split_ascii_whitespace().next().and_then(|status| status.parse().ok());
    let pairs = lines.filter_map(|line| line.split_once(':'));
    Ok((status, Headers(pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect())))
}

/// The beginning of a server's text, for people.
#[must_use]
pub fn shortened(words: &str) -> String {
    const SHOWN: usize = 300;
    // Before it is cut: half a secret is not recognised.
    secrets::blanked(words).chars().take(SHOWN).collect()
}

/// The beginning of unexpected data, for people.
fn foreign(what: &[u8]) -> Unreadable {
    const SHOWN: usize = 60;
    Unreadable::Foreign(String::from_utf8_lossy(what.get(..SHOWN).unwrap_or(what)).into_owned())
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
