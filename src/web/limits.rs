//! The limits that keep the server answering, whatever its clients do.

use std::time::Duration;

/// How long the head of a request may take, from its first byte. A new connection has as long for a
/// TLS handshake and its first request together.
pub(super) const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may wait for the next request. It is longer than the usual intervals of a
/// scrape.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(180);
/// How long a request may wait for its answer.
pub(super) const REQUEST_TIME: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer.
pub(super) const STALL_TIME: Duration = Duration::from_secs(30);
/// How long a client may take for a whole answer.
pub(super) const RESPONSE_TIME: Duration = Duration::from_secs(300);
/// The largest head of a request, in bytes.
pub(super) const HEAD_BYTES: usize = 64 << 10;
/// The most header lines of a request.
pub(super) const HEAD_LINES: usize = 100;
/// The largest body of a request, in bytes.
pub(super) const BODY_BYTES: usize = 64 << 10;
/// The most bytes of requests that are not complete, over all connections. Above it, those that are
/// larger than usual are closed.
pub(super) const UNFINISHED_BYTES: usize = 4 << 20;
/// The size of a usual head, together with a TLS handshake.
pub(super) const USUAL_HEAD_BYTES: usize = 16 << 10;
/// The most requests over one HTTP/2 connection at once.
pub(super) const STREAMS: u32 = 32;
/// The most answers at once that are not shared, until each is sent.
pub(super) const ANSWERS: usize = 32;
/// The most of them that are made at once. Each takes a core for a moment, and checks need it too.
pub(super) const MAKING: usize = 4;
/// The send and the receive buffer of the system for a connection, in bytes. The system would
/// otherwise hold megabytes of an answer for a client that does not take it.
pub(super) const SOCKET_BYTES: u32 = 128 << 10;

/// Limits that depend on the flags and on the machine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most connections at once.
    pub connections: usize,
}

impl Limits {
    /// At most `connections`, and at most half of the file descriptors of the process: the others
    /// are for checks, their connections and the storage.
    #[must_use]
    pub fn new(connections: usize) -> Self {
        let descriptors = descriptors().unwrap_or(usize::MAX);
        Self { connections: connections.min(descriptors / 2).max(1) }
    }
}

#[cfg(target_os = "linux")]
fn descriptors() -> Option<usize> {
    use procfs::process::{LimitValue, Process};
    match Process::myself().ok()?.limits().ok()?.max_open_files.soft_limit {
        LimitValue::Value(most) => Some(usize::try_from(most).unwrap_or(usize::MAX)),
        LimitValue::Unlimited => None,
    }
}

#[cfg(not(target_os = "linux"))]
fn descriptors() -> Option<usize> {
    None
}
