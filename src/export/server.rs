//! The figures of the exporter's own web server. The server counts here, and `/metrics` shows them.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

static CONNECTIONS: AtomicUsize = AtomicUsize::new(0);
static CLOSED: [AtomicU64; Closed::ALL.len()] = [const { AtomicU64::new(0) }; Closed::ALL.len()];
static REFUSED: [AtomicU64; Refused::ALL.len()] = [const { AtomicU64::new(0) }; Refused::ALL.len()];
/// 0: there is no web configuration. 1: the file in use was refused. 2: it was read.
static CONFIGURATION: AtomicUsize = AtomicUsize::new(0);

/// Why the server closed a connection before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// The head of a request took too long.
    Head,
    /// No further request came.
    Idle,
    /// The client did not take the answer.
    Response,
    /// There was no room for another connection.
    Room,
}

impl Closed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Head, Self::Idle, Self::Response, Self::Room];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Head => "slow_request",
            Self::Idle => "idle",
            Self::Response => "slow_reader",
            Self::Room => "no_room",
        }
    }
}

/// Why the server refused a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The password is wrong or missing.
    Unauthorized,
    /// Too many requests came.
    Rate,
    /// The request came from another site.
    CrossSite,
    /// The server is busy, or the answer took too long.
    Busy,
}

impl Refused {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Unauthorized, Self::Rate, Self::CrossSite, Self::Busy];

    /// The value of the label `reason`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::Rate => "rate_limit",
            Self::CrossSite => "cross_site",
            Self::Busy => "busy",
        }
    }
}

/// The number of open connections is now this.
pub fn connections(open: usize) {
    CONNECTIONS.store(open, Relaxed);
}

/// A connection was closed before its time.
pub fn closed(why: Closed) {
    if let Some(count) = CLOSED.get(why as usize) {
        count.fetch_add(1, Relaxed);
    }
}

/// A request was refused.
pub fn refused(why: Refused) {
    if let Some(count) = REFUSED.get(why as usize) {
        count.fetch_add(1, Relaxed);
    }
}

/// The web configuration was read, or refused.
pub fn configuration(is_good: bool) {
    CONFIGURATION.store(1 + usize::from(is_good), Relaxed);
}

pub(super) fn open() -> usize {
    CONNECTIONS.load(Relaxed)
}

pub(super) fn closings() -> impl Iterator<Item = (&'static str, u64)> {
    Closed::ALL.iter().zip(&CLOSED).map(|(why, count)| (why.label(), count.load(Relaxed)))
}

pub(super) fn refusals() -> impl Iterator<Item = (&'static str, u64)> {
    Refused::ALL.iter().zip(&REFUSED).map(|(why, count)| (why.label(), count.load(Relaxed)))
}

/// Whether the newest web configuration is in use. None if there is none.
pub(super) fn configuration_is_good() -> Option<bool> {
    match CONFIGURATION.load(Relaxed) {
        0 => None,
        told => Some(told == 2),
    }
}
