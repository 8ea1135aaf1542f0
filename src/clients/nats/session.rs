//! A connection that is up: it sends requests, receives answers, and limits data that was not
//! requested.
//!
//! Every request is followed by a PING. A server handles the messages of one client in order. So
//! the PONG shows that the server is alive and has handled the request, whatever happens to the
//! answer.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};
use tracing::info;

use super::handshake::{Admitted, Transport, of_words};
use super::wire::{Decoder, Message, Op, ReadError, ServerInfo};
use super::{BAD_ANSWER, CONNECTION_DROPPED, Denials, TIMEOUT};
use crate::clients::failure;
use crate::clock;
use crate::domain::observation::Finding;

/// A connection whose peer disappeared silently is given up after two pings.
const PING_INTERVAL: Duration = Duration::from_secs(3);
const SILENCE: Duration = PING_INTERVAL.saturating_mul(2);
/// How many requests may wait to be sent.
const QUEUE: usize = 64;
/// How many PONGs may be outstanding. A server with more never answers a PING.
const PONGS_OWED: usize = 4096;
/// How much unrequested data a server may send in a second, such as late answers, INFO updates and
/// pings. An operation counts as one, plus one for each 64 KiB.
const UNASKED_PER_SECOND: usize = 1000;
const UNASKED_UNIT: usize = 64 * 1024;
/// The status of an answer if nobody listens.
const NO_RESPONDERS: u16 = 503;
/// The number of the only subscription. All answers belong to it.
const SUBSCRIPTION: &str = "1";

/// A running request.
struct Ask {
    subject: String,
    headers: String,
    payload: Bytes,
    answer: oneshot::Sender<Message>,
    pong: oneshot::Sender<()>,
}

/// The result of a request.
#[derive(Debug)]
pub(super) enum Answer {
    Given(Message),
    /// The server says that nobody listens at the subject.
    NoResponders,
    /// No answer in time. The server itself may have answered a PING.
    None {
        server_lives: bool,
    },
    /// The connection ended.
    Gone,
}

/// The server that a connection leads to.
#[derive(Debug, Clone)]
pub struct Serving {
    /// Its place in the list of the connection's servers.
    pub number: usize,
    /// Which connection it is, counted since the start.
    pub(super) connection: u64,
    /// Since when.
    pub since: Instant,
    /// When each server of the list was last tried, if it could not be reached then.
    pub(super) dead: Arc<[Option<Instant>]>,
}

impl Serving {
    /// Whether this is still the same connection.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.connection == other.connection
    }

    /// A server for tests.
    #[cfg(test)]
    pub(crate) fn test(number: usize, since: Instant, dead: Vec<Option<Instant>>) -> Self {
        Self { number, connection: 1, since, dead: dead.into() }
    }

    /// Whether a server of the list was found dead since this instant.
    #[must_use]
    pub fn is_dead(&self, number: usize, since: Instant) -> bool {
        self.dead.get(number).copied().flatten().is_some_and(|tried| tried >= since)
    }
}

/// Sends requests over a connection that is up.
#[derive(Debug, Clone)]
pub(super) struct Client {
    asks: mpsc::Sender<Ask>,
    info: Arc<ServerInfo>,
    /// JetStream was seen on every server of the connection, and now no server has it.
    pub(super) lost_jetstream: bool,
    pub(super) serving: Serving,
}

impl Client {
    /// The server's INFO at the beginning of the connection.
    pub(super) fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Sends a request, with headers if there are any, and waits for the answer.
    pub(super) async fn ask(&self, subject: &str, headers: &str, payload: Bytes, deadline: Instant) -> Answer {
        let ((answer, mut answered), (pong, mut ponged)) = (oneshot::channel(), oneshot::channel());
        let ask = Ask { subject: subject.to_owned(), headers: headers.to_owned(), payload, answer, pong };
        match timeout_at(deadline, self.asks.send(ask)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Answer::Gone,
            Err(_) => return Answer::None { server_lives: false },
        }
        match timeout_at(deadline, &mut answered).await {
            Ok(Ok(message)) if message.status == Some(NO_RESPONDERS) => Answer::NoResponders,
            Ok(Ok(message)) => Answer::Given(message),
            Ok(Err(_)) => Answer::Gone,
            Err(_) => Answer::None { server_lives: ponged.try_recv().is_ok() },
        }
    }
}

/// Why a connection ended.
enum End {
    Read(ReadError),
    /// The server sends nothing any more, or accepts nothing.
    Silent,
    /// The server sends too much unrequested data.
    Flood,
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

/// A connection that is up.
pub(super) struct Session {
    name: String,
    reader: ReadHalf<Box<dyn Transport>>,
    writer: WriteHalf<Box<dyn Transport>>,
    decoder: Decoder,
    asks: mpsc::Receiver<Ask>,
    inbox: String,
    denials: Denials,
    waiting: HashMap<u64, oneshot::Sender<Message>>,
    next_token: u64,
    /// Who waits for which PONG. None for a PING that only tests the server.
    pongs: VecDeque<Option<oneshot::Sender<()>>>,
    heard: Instant,
    /// The amount of unrequested data since the second began.
    unasked: (Instant, usize),
    /// The server's last error message. It is the reason if the server then closes the connection.
    said: Option<String>,
}

impl Session {
    /// Takes over a new connection.
    pub(super) fn new(name: &str, admitted: Admitted, inbox_prefix: &str, denials: Denials) -> (Self, Client) {
        let Admitted { transport, decoder, info } = admitted;
        let (sender, asks) = mpsc::channel(QUEUE);
        let (reader, writer) = split(transport);
        let now = clock::instant();
        let session = Self {
            name: name.to_owned(),
            reader,
            writer,
            decoder,
            asks,
            inbox: format!("{inbox_prefix}.{:032x}.", rand::random::<u128>()),
            denials,
            waiting: HashMap::new(),
            next_token: 0,
            pongs: VecDeque::new(),
            heard: now,
            unasked: (now, 0),
            said: None,
        };
        let serving = Serving { number: 0, connection: 0, since: now, dead: Arc::new([]) };
        (session, Client { asks: sender, info: Arc::new(info), lost_jetstream: false, serving })
    }

    /// Serves the connection until it ends, and returns why it ended.
    pub(super) async fn run(mut self) -> Finding {
        let Err(end) = self.serve().await;
        match (end, &self.said) {
            (End::Read(ReadError::Unreadable(error)), _) => Finding::new(&BAD_ANSWER, error.to_string()),
            (End::Flood, _) => Finding::new(&BAD_ANSWER, "the server sends more unrequested data than is accepted"),
            (_, Some(said)) => Finding::new(of_words(said), format!("the server closed the connection: {said}")),
            (End::Silent, None) => Finding::new(&TIMEOUT, format!("the server sent nothing for {SILENCE:?}")),
            (End::Read(ReadError::Io(error)), None) => {
                let story = failure::classify(&error, &[]).story;
                Finding::new(&CONNECTION_DROPPED, format!("the connection was closed as soon as it was made: {story}"))
            }
        }
    }

    async fn serve(&mut self) -> Result<Infallible, End> {
        let subscribe = format!("SUB {}* {SUBSCRIPTION}\r\n", self.inbox);
        self.write(subscribe.as_bytes()).await?;
        let mut pings = interval_at(clock::instant() + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                op = self.decoder.read(&mut self.reader) => self.take(op?).await?,
                Some(ask) = self.asks.recv() => self.ask(ask).await?,
                due = pings.tick() => {
                    // What the server sent meanwhile may wait to be read.
                    if clock::held_up(due) {
                        self.heard = clock::instant();
                    }
                    if clock::since(self.heard) > SILENCE {
                        return Err(End::Silent);
                    }
                    self.ping(&[], None).await?;
                }
            }
        }
    }

    async fn ask(&mut self, Ask { subject, headers, payload, answer, pong }: Ask) -> Result<(), End> {
        self.waiting.retain(|_, answer| !answer.is_closed());
        let token = self.next_token;
        self.next_token = token.wrapping_add(1);
        self.waiting.insert(token, answer);
        let (inbox, size) = (&self.inbox, headers.len().saturating_add(payload.len()));
        let mut words = if headers.is_empty() {
            format!("PUB {subject} {inbox}{token} {size}\r\n")
        } else {
            format!("HPUB {subject} {inbox}{token} {} {size}\r\n{headers}", headers.len())
        }
        .into_bytes();
        words.extend_from_slice(&payload);
        words.extend_from_slice(b"\r\n");
        self.ping(&words, Some(pong)).await
    }

    /// Sends these bytes and a PING.
    async fn ping(&mut self, words: &[u8], pong: Option<oneshot::Sender<()>>) -> Result<(), End> {
        if self.pongs.len() >= PONGS_OWED {
            return Err(End::Silent);
        }
        self.pongs.push_back(pong);
        self.write(&[words, b"PING\r\n"].concat()).await
    }

    async fn write(&mut self, words: &[u8]) -> Result<(), End> {
        let writer = &mut self.writer;
        let mut writing = pin!(async {
            writer.write_all(words).await?;
            writer.flush().await
        });
        loop {
            let (written, held_up) = clock::watched(timeout(SILENCE, &mut writing)).await;
            match written {
                Ok(written) => return written.map_err(End::from),
                // What the server took meanwhile may only have to be noticed.
                Err(_) if !held_up.is_zero() => {}
                Err(_) => return Err(End::Silent),
            }
        }
    }

    async fn take(&mut self, op: Op) -> Result<(), End> {
        self.heard = clock::instant();
        match op {
            Op::Message { subject, message } => {
                let token = subject.strip_prefix(&self.inbox).and_then(|token| token.parse().ok());
                match token.and_then(|token: u64| self.waiting.remove(&token)) {
                    // The caller may have given up.
                    Some(answer) => drop(answer.send(message)),
                    None => self.unasked(message.payload.len())?,
                }
            }
            Op::Pong => match self.pongs.pop_front() {
                Some(Some(pong)) => drop(pong.send(())),
                Some(None) => {}
                None => self.unasked(0)?,
            },
            Op::Ping => {
                self.unasked(0)?;
                self.write(b"PONG\r\n").await?;
            }
            Op::Error(text) => {
                self.unasked(text.len())?;
                if text.contains("ermissions Violation") {
                    self.denials.record(text);
                } else {
                    self.said = Some(text);
                }
            }
            Op::Info(info) => {
                self.unasked(0)?;
                if info.lame_duck {
                    info!(connection = self.name, server = info.server_name, "the nats server is shutting down");
                }
            }
            Op::Ok => self.unasked(0)?,
        }
        Ok(())
    }

    /// Counts unrequested data.
    fn unasked(&mut self, size: usize) -> Result<(), End> {
        let now = clock::instant();
        let (since, count) = self.unasked;
        let (since, count) =
            if now.saturating_duration_since(since) > Duration::from_secs(1) { (now, 0) } else { (since, count) };
        let count = count.saturating_add(1).saturating_add(size / UNASKED_UNIT);
        self.unasked = (since, count);
        if count > UNASKED_PER_SECOND { Err(End::Flood) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    /// Why a server counts as silent that takes nothing for two minutes, while this process stands still
    /// for `held_up` of them. None if it does not.
    async fn end_after(held_up: Duration) -> Option<End> {
        let (transport, mut server) = duplex(16);
        let (decoder, info) = (Decoder::new(), ServerInfo::default());
        let admitted = Admitted { transport: Box::new(transport), decoder, info };
        let (mut session, _client) = Session::new("main", admitted, "_INBOX", Denials::none());
        let taking = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            tokio::time::advance(held_up).await;
            tokio::time::sleep(Duration::from_secs(120).saturating_sub(held_up)).await;
            let _ = tokio::io::AsyncReadExt::read(&mut server, &mut [0; 1024]).await;
        };
        let writing = session.write(&[b'x'; 20]);
        tokio::join!(writing, taking).0.err()
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_takes_nothing_is_only_silent_while_this_process_runs() {
        assert!(matches!(end_after(Duration::ZERO).await, Some(End::Silent)));
        assert!(end_after(Duration::from_secs(118)).await.is_none(), "it stood still for most of the time");
        assert!(matches!(end_after(Duration::from_secs(10)).await, Some(End::Silent)));
    }
}
