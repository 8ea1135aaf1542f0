//! How far a run has got, so that a time-out can tell where the time went, and the two hooks into a connection's making
//! that report it.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower::{Layer, Service};

use super::{CREDENTIALS_UNREADABLE, LOCAL, TIMEOUT};
use crate::clients::route::has_route;
use crate::domain::observation::Finding;

/// A time-out that is noticed this much too late tells that this process was held up, not the endpoint.
const HELD_UP: Duration = Duration::from_millis(300);

/// What a run is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Reads the files of headers and certificates.
    #[default]
    Files,
    /// Looks up the name.
    Resolving,
    /// Makes the connection, TLS included.
    Connecting,
    /// Has sent the request.
    Waiting,
    /// Reads the body.
    Reading,
    /// Compares the answer with what is expected.
    Judging,
}

/// How far a run has got. Shared with the hooks; runs of one check never overlap.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// What is asked for: method and URL.
    request: String,
    /// Where the name leads.
    addresses: Vec<IpAddr>,
    /// Whether a new connection was begun for this request.
    dialled: bool,
    /// How much of the body was read, in bytes.
    read: usize,
}

impl Progress {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A run begins.
    pub(super) fn begin(&self) {
        *self.state() = State::default();
    }

    /// A request, given as method and URL, is about to be made.
    pub(super) fn ask(&self, request: String) {
        *self.state() = State { request, ..State::default() };
    }

    /// The request is made, on a connection that is there or on a new one.
    pub(super) fn send(&self) {
        let mut state = self.state();
        state.phase = Phase::Waiting;
        state.dialled = false;
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// So many more bytes of the body are there.
    pub(super) fn read(&self, bytes: usize) {
        self.state().read += bytes;
    }

    /// Whether a new connection was begun for the request, rather than one used that was there.
    pub(super) fn dialled(&self) -> bool {
        self.state().dialled
    }

    /// The addresses of the name, as a remark for people; empty if none were looked up.
    pub(super) fn addresses(&self) -> String {
        let state = self.state();
        let addresses: Vec<String> = state.addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() { String::new() } else { format!(" (tried {})", addresses.join(", ")) }
    }

    /// The run was given `patience` and is over its deadline by `late`.
    pub(super) fn timed_out(&self, patience: Duration, late: Duration) -> Finding {
        let seconds = patience.as_secs_f64();
        let addresses = self.addresses();
        let State { phase, request, read, .. } = &*self.state();
        if late > HELD_UP {
            let detail = format!("the exporter itself was held up for {:.1} s or more", late.as_secs_f64());
            return Finding::new(&LOCAL, detail);
        }
        let (reason, story) = match phase {
            Phase::Files => {
                let detail = format!("the files of headers and certificates were not read within {seconds:.1} s");
                return Finding::new(&CREDENTIALS_UNREADABLE, detail);
            }
            Phase::Resolving => (&TIMEOUT, "no answer from the resolver".to_owned()),
            Phase::Connecting => (&TIMEOUT, format!("no connection{addresses}")),
            Phase::Waiting => (&TIMEOUT, "connected, but no answer".to_owned()),
            Phase::Reading => (&TIMEOUT, format!("the answer began, but only {read} bytes of its body came")),
            Phase::Judging => (&LOCAL, "the answer came, but expect_body took too long to match".to_owned()),
        };
        Finding::new(reason, format!("{request}: {story} within {seconds:.1} s"))
    }
}

/// Why a name led nowhere.
#[derive(Debug)]
pub(super) enum ResolveError {
    /// The name has no address.
    Name(io::Error),
    /// Our own machine could not look it up, or has no way to where it leads.
    Local(io::Error),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) | Self::Local(error) => error.fmt(f),
        }
    }
}

impl Error for ResolveError {}

/// The system's resolver. Addresses that this machine has no route to are left out: a name with addresses of both
/// families must not look unreachable because only one of them is in use here.
pub(super) struct Resolver(pub(super) Arc<Progress>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let progress = Arc::clone(&self.0);
        progress.enter(Phase::Resolving);
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let ways: Vec<SocketAddr> = found.iter().copied().filter(|address| has_route(address.ip())).collect();
            if ways.is_empty() {
                return Err(ResolveError::Local(ErrorKind::NetworkUnreachable.into()).into());
            }
            let mut state = progress.state();
            state.addresses = ways.iter().map(SocketAddr::ip).collect();
            state.phase = Phase::Connecting;
            Ok(Box::new(ways.into_iter()) as Addrs)
        })
    }
}

async fn look_up(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                return Err(ResolveError::Name(io::Error::new(ErrorKind::NotFound, "the name has no address")));
            }
            Ok(found)
        }
        // A process that is out of file descriptors cannot ask, and is told the same as when the name does not exist.
        Err(error) => Err(match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
            Ok(_) => ResolveError::Name(error),
            Err(ours) => ResolveError::Local(ours),
        }),
    }
}

/// Reports when a connection is begun and when it is made.
#[derive(Clone)]
pub(super) struct Watch(pub(super) Arc<Progress>);

impl<S> Layer<S> for Watch {
    type Service = Watched<S>;

    fn layer(&self, connector: S) -> Watched<S> {
        Watched { connector, progress: Arc::clone(&self.0) }
    }
}

/// A connector that is watched.
#[derive(Clone)]
pub(super) struct Watched<S> {
    connector: S,
    progress: Arc<Progress>,
}

impl<R, S: Service<R>> Service<R> for Watched<S>
where
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, to: R) -> Self::Future {
        let progress = Arc::clone(&self.progress);
        progress.enter(Phase::Connecting);
        progress.state().dialled = true;
        let connecting = self.connector.call(to);
        Box::pin(async move {
            let connection = connecting.await?;
            progress.enter(Phase::Waiting);
            Ok(connection)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_tells_where_the_time_went_and_whose_fault_it_was() {
        let cases = [
            (Phase::Files, 0, "credentials_unreadable", "not read within 5.0 s"),
            (Phase::Resolving, 0, "timeout", "GET http://a/: no answer from the resolver within 5.0 s"),
            (Phase::Connecting, 0, "timeout", "GET http://a/: no connection (tried 10.0.0.1) within 5.0 s"),
            (Phase::Waiting, 0, "timeout", "GET http://a/: connected, but no answer within 5.0 s"),
            (Phase::Reading, 0, "timeout", "only 7 bytes of its body came within 5.0 s"),
            (Phase::Judging, 0, "local", "expect_body took too long"),
            (Phase::Waiting, 299, "timeout", "no answer"),
            (Phase::Waiting, 301, "local", "held up for 0.3 s"),
        ];
        for (phase, late, reason, detail) in cases {
            let progress = Progress::default();
            *progress.state() = State {
                phase,
                request: "GET http://a/".to_owned(),
                addresses: vec![[10, 0, 0, 1].into()],
                dialled: true,
                read: 7,
            };
            let finding = progress.timed_out(Duration::from_secs(5), Duration::from_millis(late));
            assert_eq!(finding.reason.label, reason, "{phase:?}");
            assert!(finding.detail.contains(detail), "{:?} should hold {detail:?}", finding.detail);
        }
    }
}
