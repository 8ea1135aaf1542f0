//! What a NATS server sends, read within bounds: no peer decides how much memory it takes.
//!
//! A line and a message are held until they are whole, so both have a limit, and one that is over it ends the
//! connection before more of it is read. Sizes are what the peer says, and never added up unchecked.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest line. A list of some thousand servers, which INFO carries in large systems, fits in.
pub(super) const LONGEST_LINE: usize = 128 * 1024;
/// The largest message, whatever the server says that it allows: one of 24 MiB in the server's base64.
pub(super) const LARGEST_MESSAGE: usize = 32 * 1024 * 1024;
/// What an answer of the JetStream API has beside the message that it carries.
const ENVELOPE: usize = 64 * 1024;
/// How much is read at once.
const CHUNK: usize = 8 * 1024;
/// What is larger than this gets the buffer that it was read into, and a new one takes its place.
const KEPT: usize = 64 * 1024;

/// What the server says of itself, as far as it is of use.
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
    /// The largest message that is read from this server. JetStream wraps a stored message in base64, which the server
    /// does not count against its own limit.
    fn largest_message(&self) -> usize {
        const USUAL: u64 = 1024 * 1024;
        let payload = usize::try_from(self.max_payload.unwrap_or(USUAL)).unwrap_or(usize::MAX);
        payload.saturating_mul(2).saturating_add(ENVELOPE).min(LARGEST_MESSAGE)
    }
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The status, as of an answer that says that nobody answers.
    pub(super) status: Option<u16>,
    /// What goes with the payload.
    pub headers: Headers,
    /// What was answered.
    pub payload: Bytes,
}

/// The headers of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// The first value under a name, which counts letter by letter.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One thing that the server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Info(Box<ServerInfo>),
    Message { subject: String, message: Message },
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// Why what came cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("a line of more than {LONGEST_LINE} bytes came")]
    LongLine,
    #[error("a message of {size} bytes was announced, and {limit} is the most that is read from this server")]
    LargeMessage { size: usize, limit: usize },
    #[error("what came is not NATS: {0:?}")]
    Foreign(String),
}

impl Unreadable {
    /// Whether it may be read by somebody with wider limits.
    pub(super) fn is_our_limit(&self) -> bool {
        matches!(self, Self::LongLine | Self::LargeMessage { .. })
    }
}

/// Why nothing more is read.
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

/// Puts together what the server says.
#[derive(Debug)]
pub(super) struct Decoder {
    buffer: BytesMut,
    /// So many bytes of the buffer hold no end of a line.
    scanned: usize,
    /// The message whose bytes are being waited for.
    head: Option<Head>,
    largest: usize,
}

impl Decoder {
    /// Nothing was read yet, and nothing is known of the server.
    pub(super) fn new() -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, head: None, largest: ServerInfo::default().largest_message() }
    }

    /// Whether something was read that no operation was made of yet.
    pub(super) fn holds_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Waits for the next operation. Nothing is lost when the waiting is given up.
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

    /// The next operation, if it is there as a whole.
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

    /// The next line without its end.
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

    /// The message whose head is known, once all of it is there.
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

    /// Takes so many bytes, which are there, off the buffer, and gives back the memory that only they needed.
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

/// What a line says. Words count whatever the case of their letters, as the protocol has it.
fn operation(line: &[u8]) -> Result<Parsed, Unreadable> {
    let text = std::str::from_utf8(line).map_err(|_| foreign(line))?;
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    let op = match word.to_ascii_uppercase().as_str() {
        "PING" => Op::Ping,
        "PONG" => Op::Pong,
        "+OK" => Op::Ok,
        "-ERR" => Op::Error(shortened(rest.trim().trim_matches('\''))),
        // A list would be taken for a struct whose every field is left out.
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

/// `<subject> <sid> [reply-to] [header bytes] <total bytes>`, from the end: a reply subject may be missing.
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

/// The beginning of what a server says in words, which people read and which is kept.
#[must_use]
pub fn shortened(words: &str) -> String {
    const SHOWN: usize = 300;
    words.chars().take(SHOWN).collect()
}

/// The beginning of what came, for people.
fn foreign(what: &[u8]) -> Unreadable {
    const SHOWN: usize = 60;
    Unreadable::Foreign(String::from_utf8_lossy(what.get(..SHOWN).unwrap_or(what)).into_owned())
}

#[cfg(test)]
#[path = "wire/tests.rs"]
mod tests;
