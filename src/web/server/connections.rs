//! The open connections: what each one does at the moment, and which is closed when there is no
//! room or when it takes too long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::clock;
use crate::export::server::{self as figures, Closed};
use crate::web::limits::{HEAD_TIME, IDLE_TIME, Limits, RESPONSE_TIME, STALL_TIME, UNFINISHED_BYTES, USUAL_HEAD_BYTES};

/// All open connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    common: Arc<Common>,
    open: Mutex<HashMap<u64, Arc<Connection>>>,
    opened: AtomicU64,
}

/// What all connections of a server share.
#[derive(Debug)]
struct Common {
    started: Instant,
    /// The bytes of all requests that are not complete.
    unfinished: AtomicUsize,
}

impl Common {
    /// Milliseconds since the start of the server.
    fn now(&self) -> u64 {
        millis(clock::since(self.started))
    }
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            most: limits.connections,
            common: Arc::new(Common { started: clock::instant(), unfinished: AtomicUsize::new(0) }),
            open: Mutex::default(),
            opened: AtomicU64::new(0),
        })
    }

    /// Takes in a connection. It counts until the result is dropped.
    pub(super) fn open(self: &Arc<Self>) -> Held {
        let id = self.opened.fetch_add(1, Relaxed);
        let connection = Arc::new(Connection::new(Arc::clone(&self.common)));
        let count = {
            let mut open = self.lock();
            open.insert(id, Arc::clone(&connection));
            open.len()
        };
        figures::connections(count);
        Held { id, connection, connections: Arc::clone(self) }
    }

    /// Makes room for one more connection, and waits until its descriptor is free.
    pub(super) async fn make_room(&self) {
        while let Some(victim) = self.victim(false) {
            victim.gone().await;
        }
    }

    /// Closes one connection, because the system has no descriptor left.
    pub(super) async fn give_way(&self) {
        if let Some(victim) = self.victim(true) {
            victim.gone().await;
        }
    }

    /// The connection that is to be closed for another one. It is told so.
    fn victim(&self, always: bool) -> Option<Arc<Connection>> {
        let now = self.now();
        let mut open = self.lock();
        if !always && open.len() < self.most {
            return None;
        }
        let (&id, _) = open.iter().min_by_key(|(_, connection)| connection.worth(now))?;
        let victim = open.remove(&id)?;
        victim.close(Closed::Room);
        Some(victim)
    }

    /// Closes every connection that takes too long.
    pub(super) fn sweep(&self) {
        let now = self.now();
        for connection in self.lock().values() {
            if let Some(why) = connection.overdue(now) {
                connection.close(why);
            }
        }
    }

    fn now(&self) -> u64 {
        self.common.now()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that counts until this is dropped.
pub(super) struct Held {
    id: u64,
    pub(super) connection: Arc<Connection>,
    connections: Arc<Connections>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let count = {
            let mut open = self.connections.lock();
            open.remove(&self.id);
            open.len()
        };
        figures::connections(count);
        self.connection.complete();
        self.connection.gone.notify_one();
    }
}

/// What one connection does. Times are milliseconds since the start of the server.
#[derive(Debug)]
pub(in crate::web) struct Connection {
    common: Arc<Common>,
    opened: u64,
    /// Requests whose head was complete.
    requests: AtomicU64,
    /// Requests that are being answered.
    running: AtomicUsize,
    /// When the newest request began.
    begun: AtomicU64,
    /// The client does not take what is sent.
    blocked: AtomicBool,
    /// When something was last sent, or a request began or ended.
    moved: AtomicU64,
    /// Bytes that came while no request was running, and when the first of them came.
    unfinished: AtomicUsize,
    unfinished_since: AtomicU64,
    /// Over HTTP/2, bytes between requests may also be a ping.
    pings: AtomicBool,
    is_closing: AtomicBool,
    closing: Notify,
    gone: Notify,
}

/// What a connection is worth: the one with the lowest value is closed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    /// It never sent a complete request. Then the oldest goes first.
    Unfinished(u64),
    /// It waits for the next request.
    Idle(u64),
    /// The client does not take the answer.
    Blocked(u64),
    /// It is being answered.
    Answering(u64),
}

impl Connection {
    fn new(common: Arc<Common>) -> Self {
        let now = common.now();
        Self {
            common,
            opened: now,
            requests: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(now),
            blocked: AtomicBool::new(false),
            moved: AtomicU64::new(now),
            unfinished: AtomicUsize::new(0),
            unfinished_since: AtomicU64::new(now),
            pings: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            closing: Notify::new(),
            gone: Notify::new(),
        }
    }

    /// From now on it speaks HTTP/2.
    pub(super) fn speaks_http2(&self) {
        self.pings.store(true, Relaxed);
    }

    /// A request begins. It ends when the result is dropped.
    pub(in crate::web) fn request(self: &Arc<Self>) -> Running {
        let now = self.now();
        self.requests.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        self.complete();
        self.begun.store(now, Relaxed);
        self.moved.store(now, Relaxed);
        Running(Arc::clone(self))
    }

    /// Bytes came in. They belong to a request that is not complete, unless one is running. False
    /// if such requests hold too much memory together, and this one has more than its share.
    pub(super) fn received(&self, bytes: usize) -> bool {
        if self.running.load(Relaxed) > 0 {
            return true;
        }
        let before = self.unfinished.fetch_add(bytes, Relaxed);
        if before == 0 {
            self.unfinished_since.store(self.now(), Relaxed);
        }
        let all = self.common.unfinished.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let fits = all <= UNFINISHED_BYTES || before.saturating_add(bytes) <= USUAL_HEAD_BYTES;
        if !fits && !self.is_closing.swap(true, Relaxed) {
            figures::closed(Closed::Room);
        }
        fits
    }

    /// What came belongs to a request that is complete, or to none any more.
    fn complete(&self) {
        let bytes = self.unfinished.swap(0, Relaxed);
        self.common.unfinished.fetch_sub(bytes, Relaxed);
    }

    /// Bytes went out.
    pub(super) fn sent(&self) {
        self.blocked.store(false, Relaxed);
        self.moved.store(self.now(), Relaxed);
    }

    /// The client takes no more bytes at the moment.
    pub(super) fn blocked(&self) {
        self.blocked.store(true, Relaxed);
    }

    /// Completes when the connection is to be closed at once.
    pub(super) async fn closed(&self) {
        self.closing.notified().await;
    }

    fn close(&self, why: Closed) {
        if !self.is_closing.swap(true, Relaxed) {
            figures::closed(why);
            self.closing.notify_one();
        }
    }

    /// Completes when the connection is closed. The wait is short, so that a task that does not run
    /// cannot keep new connections out.
    async fn gone(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.gone.notified()).await;
    }

    fn now(&self) -> u64 {
        self.common.now()
    }

    fn is_answering(&self) -> bool {
        self.running.load(Relaxed) > 0 || self.blocked.load(Relaxed)
    }

    fn worth(&self, now: u64) -> Worth {
        let moved = self.moved.load(Relaxed);
        if self.is_answering() {
            let stands = self.blocked.load(Relaxed) && now.saturating_sub(moved) > 1000;
            return if stands { Worth::Blocked(moved) } else { Worth::Answering(self.begun.load(Relaxed)) };
        }
        if self.requests.load(Relaxed) == 0 { Worth::Unfinished(self.opened) } else { Worth::Idle(moved) }
    }

    /// Why the connection must be closed now.
    fn overdue(&self, now: u64) -> Option<Closed> {
        let is_past = |since: u64, limit: Duration| now.saturating_sub(since) > millis(limit);
        let moved = self.moved.load(Relaxed);
        if self.is_answering() {
            let is_blocked = self.blocked.load(Relaxed) && is_past(moved, STALL_TIME);
            return (is_blocked || is_past(self.begun.load(Relaxed), RESPONSE_TIME)).then_some(Closed::Response);
        }
        if self.requests.load(Relaxed) == 0 {
            return is_past(self.opened, HEAD_TIME).then_some(Closed::Head);
        }
        let began = !self.pings.load(Relaxed) && self.unfinished.load(Relaxed) > 0;
        if began && is_past(self.unfinished_since.load(Relaxed), HEAD_TIME) {
            return Some(Closed::Head);
        }
        is_past(moved, IDLE_TIME).then_some(Closed::Idle)
    }
}

/// A request that is being answered.
pub(in crate::web) struct Running(Arc<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        let connection = &self.0;
        connection.running.fetch_sub(1, Relaxed);
        connection.moved.store(connection.now(), Relaxed);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
