//! The progress of a run, so that a time-out can tell where the time went.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::hop::Hop;
use super::{CREDENTIALS_UNREADABLE, LOCAL, TIMEOUT};
use crate::clients::dial::Steps;
use crate::domain::observation::Finding;

/// If a time-out is noticed later than this, the exporter's own process was held up, not the
/// endpoint.
const HELD_UP: Duration = Duration::from_millis(300);

/// The phase of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Reading the files with headers and certificates.
    #[default]
    Files,
    /// Looking up the name.
    Resolving,
    /// Making the TCP connection.
    Connecting,
    /// Making the TLS session.
    Securing,
    /// Waiting for the answer to the request.
    Waiting,
    /// Reading the body.
    Reading,
    /// Comparing the answer with what is expected.
    Judging,
}

/// The progress of a run. It is shared with the hooks. Runs of one check never overlap.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// The request.
    request: Option<Hop>,
    /// The addresses of the name.
    addresses: Vec<IpAddr>,
    /// Whether a new connection was started for this request.
    dialled: bool,
    /// How many bytes of the body were read.
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

    /// A request begins.
    pub(super) fn ask(&self, request: Hop) {
        *self.state() = State { request: Some(request), ..State::default() };
    }

    /// The request is sent, over an existing connection or a new one.
    pub(super) fn send(&self) {
        let mut state = self.state();
        state.phase = Phase::Waiting;
        state.dialled = false;
    }

    /// A new connection is started.
    pub(super) fn dial(&self) {
        let mut state = self.state();
        state.phase = Phase::Connecting;
        state.dialled = true;
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state().phase = phase;
    }

    /// Further bytes of the body were read.
    pub(super) fn read(&self, bytes: usize) {
        self.state().read += bytes;
    }

    /// Whether a new connection was started for the request.
    pub(super) fn dialled(&self) -> bool {
        self.state().dialled
    }

    /// The addresses of the name, as a remark for people. Empty if none were looked up.
    pub(super) fn addresses(&self) -> String {
        let state = self.state();
        let addresses: Vec<String> = state.addresses.iter().map(ToString::to_string).collect();
        if addresses.is_empty() { String::new() } else { format!(" (tried {})", addresses.join(", ")) }
    }

    /// The finding for a run that had `patience` as its time, and is over its deadline by `late`.
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
            Phase::Securing => (&TIMEOUT, "connected, but the TLS handshake did not end".to_owned()),
            Phase::Waiting => (&TIMEOUT, "connected, but no answer".to_owned()),
            Phase::Reading => (&TIMEOUT, format!("the answer began, but only {read} bytes of its body came")),
            Phase::Judging => (&LOCAL, "the answer came, but expect_body took too long to match".to_owned()),
        };
        let request = request.as_ref().map(Hop::to_string).unwrap_or_default();
        Finding::new(reason, format!("{request}: {story} within {seconds:.1} s"))
    }
}

impl Steps for Progress {
    fn resolving(&self) {
        self.enter(Phase::Resolving);
    }

    fn resolved(&self, addresses: Vec<IpAddr>) {
        let mut state = self.state();
        state.addresses = addresses;
        state.phase = Phase::Connecting;
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    #[test]
    fn a_time_out_tells_where_the_time_went_and_whose_fault_it_was() {
        let cases = [
            (Phase::Files, 0, "credentials_unreadable", "not read within 5.0 s"),
            (Phase::Resolving, 0, "timeout", "GET http://a/: no answer from the resolver within 5.0 s"),
            (Phase::Connecting, 0, "timeout", "GET http://a/: no connection (tried 10.0.0.1) within 5.0 s"),
            (Phase::Securing, 0, "timeout", "connected, but the TLS handshake did not end within 5.0 s"),
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
                request: Some(Hop::first(Method::GET, "http://a/".parse().unwrap())),
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
