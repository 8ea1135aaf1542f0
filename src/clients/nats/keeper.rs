//! What keeps a connection up: connects, waits until it is lost, and begins again with the files as they are then.

use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::handshake::Way;
use super::login::{Login, unreadable};
use super::session::{Client, Session};
use super::{CONNECT_FAILED, Denials, Link, NatsConnection};
use crate::clients::tls::{self, TlsError, TlsFiles};
use crate::clock;
use crate::config::values::NatsServer;
use crate::domain::observation::{Finding, Reason};

/// How often connecting is tried at the least, so that a server that is back is soon seen to be. A connection that
/// ends before it has lasted this long is no better than one that is not made.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a reason that was told already is not told again, however often it changes with another.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Keeps the connection up.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) config: NatsConnection,
    pub(super) denials: Denials,
    pub(super) link: watch::Sender<Link>,
}

impl Keeper {
    /// Connects, again and again, for ever. The servers are tried in turn: what one of them says of itself is not said
    /// of the connection before all were tried.
    pub(super) async fn run(self) {
        let servers = self.config.servers.len().max(1);
        let mut told = Told::default();
        let mut jetstream = Seen::nothing(servers);
        let mut pause = FIRST_PAUSE;
        let mut next_server = 0;
        let mut failed = Vec::new();
        loop {
            match self.connect(next_server).await {
                Ok((session, mut client)) => {
                    client.lost_jetstream = jetstream.lost(next_server, client.info().jetstream);
                    match self.serve(session, client, &mut told).await {
                        Ended::AtOnce(finding) => failed.push(finding),
                        Ended::Later => {
                            pause = FIRST_PAUSE;
                            failed.clear();
                        }
                    }
                }
                Err(finding) => failed.push(finding),
            }
            next_server = (next_server + 1) % servers;
            if failed.len() >= servers {
                self.down(of_all(failed.drain(..)), &mut told);
                // Jitter, so that a thousand exporters do not knock at once on a server that comes back.
                sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Serves a connection until it ends. That it is there is told once it has lasted.
    async fn serve(&self, session: Session, client: Client, told: &mut Told) -> Ended {
        self.denials.clear();
        let server = client.info().server_name.clone();
        self.link.send_replace(Link::Up(client));
        let mut serving = std::pin::pin!(session.run());
        let at_once = tokio::select! {
            end = &mut serving => Some(end),
            () = sleep(LONGEST_PAUSE) => None,
        };
        let ended = match at_once {
            Some(finding) => Ended::AtOnce(Finding::new(finding.reason, format!("{server}: {}", finding.detail))),
            None => {
                *told = Told::default();
                info!(connection = self.name, server, "nats connected");
                let Finding { reason, detail } = serving.await;
                info!(connection = self.name, reason = reason.label, detail, "nats connection lost");
                Ended::Later
            }
        };
        self.link.send_replace(Link::Connecting);
        ended
    }

    fn down(&self, finding: Finding, told: &mut Told) {
        if told.is_news(finding.reason) {
            let Finding { reason, detail } = &finding;
            warn!(connection = self.name, reason = reason.label, detail, advice = reason.advice, "nats not connected");
        }
        self.link.send_replace(Link::Down(finding));
    }

    /// Connects to one of the servers, in turn.
    async fn connect(&self, attempt: usize) -> Result<(Session, Client), Finding> {
        let servers = &self.config.servers;
        let Some(server) = servers.get(attempt % servers.len().max(1)) else {
            return Err(Finding::new(&CONNECT_FAILED, "the connection has no servers"));
        };
        // A disk that hangs must not look like a server that does.
        let way = timeout_at(clock::instant() + CONNECT_TIMEOUT, self.way(server)).await;
        let way = way.map_err(|_| unreadable(&"a file could not be read in time"))??;
        let admitted = timeout_at(clock::instant() + CONNECT_TIMEOUT, way.connect()).await;
        let late = |_| format!("{}: no connection within {CONNECT_TIMEOUT:?}", server.as_str());
        let admitted = admitted.map_err(|error| Finding::new(&CONNECT_FAILED, late(error)))??;
        Ok(Session::new(&self.name, admitted, self.config.inbox_prefix.as_str(), self.denials.clone()))
    }

    async fn way<'a>(&self, server: &'a NatsServer) -> Result<Way<'a>, Finding> {
        let config = &self.config;
        let login = Login::read(config).await?;
        let requires_tls = config.requires_tls();
        let tls = self.tls(server, requires_tls).await?;
        Ok(Way { server, login, tls, requires_tls, tls_first: config.tls_first })
    }

    async fn tls(&self, server: &NatsServer, requires_tls: bool) -> Result<ClientConfig, Finding> {
        let config = &self.config;
        let files = TlsFiles {
            ca_file: config.ca_file.as_ref(),
            cert_file: config.cert_file.as_ref(),
            key_file: config.key_file.as_ref(),
            insecure_skip_verify: false,
        };
        let tls = match tls::client_config(&files).await {
            // Whoever needs no TLS needs no roots; should the server want it, it is told that we trust nobody.
            Err(TlsError::NoSystemRoots) if server.as_str().starts_with("nats:") && !requires_tls => {
                tls::trusting_nobody()
            }
            tls => tls,
        };
        tls.map_err(|error| unreadable(&error))
    }
}

/// How a connection that was made ended.
enum Ended {
    /// Before it was of use.
    AtOnce(Finding),
    /// After it had lasted.
    Later,
}

/// Which servers said that they have JetStream.
struct Seen {
    ever: bool,
    last: Vec<Option<bool>>,
}

impl Seen {
    fn nothing(servers: usize) -> Self {
        Self { ever: false, last: vec![None; servers] }
    }

    /// Takes in what a server says; gives whether JetStream was seen before, and is on none of the servers now. That it
    /// was never seen may be the way to the streams alone: a server without JetStream can lead to those that have it.
    fn lost(&mut self, server: usize, has_jetstream: bool) -> bool {
        if let Some(last) = self.last.get_mut(server) {
            *last = Some(has_jetstream);
        }
        self.ever |= has_jetstream;
        self.ever && self.last.iter().all(|last| *last == Some(false))
    }
}

/// What was told of a connection since it was last there.
#[derive(Debug, Default)]
struct Told {
    reasons: Vec<&'static Reason>,
    last: Option<(&'static Reason, Instant)>,
}

impl Told {
    /// Whether a reason is to be told: a new one is, and one that comes back after another is now and then.
    fn is_news(&mut self, reason: &'static Reason) -> bool {
        let is_new = !self.reasons.contains(&reason);
        let is_back = self.last.is_some_and(|(last, at)| last != reason && clock::since(at) > TOLD_AGAIN);
        if is_new {
            self.reasons.push(reason);
        }
        if is_new || is_back {
            self.last = Some((reason, clock::instant()));
        }
        is_new || is_back
    }
}

/// The one word for servers that all failed. One that was there and refused us, or that we could not try, may be one that
/// clients can use: then it is not known that there is none.
pub(super) fn of_all(failed: impl Iterator<Item = Finding>) -> Finding {
    let (down, ours): (Vec<_>, Vec<_>) = failed.partition(|finding| finding.reason == &CONNECT_FAILED);
    let nothing = || Finding::new(&CONNECT_FAILED, "no server was tried");
    ours.into_iter().chain(down).next().unwrap_or_else(nothing)
}

#[cfg(test)]
mod tests {
    use super::super::{AUTH_FAILED, CONNECTION_DROPPED};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reason_is_told_once_and_again_when_it_is_back_after_a_while() {
        let mut told = Told::default();
        assert!(told.is_news(&CONNECTION_DROPPED));
        for _ in 0..100 {
            assert!(!told.is_news(&CONNECTION_DROPPED));
        }
        assert!(told.is_news(&CONNECT_FAILED), "it changes");
        for _ in 0..100 {
            assert!(!told.is_news(&CONNECTION_DROPPED) && !told.is_news(&CONNECT_FAILED), "to and fro");
        }
        tokio::time::advance(TOLD_AGAIN + Duration::from_millis(1)).await;
        assert!(told.is_news(&CONNECTION_DROPPED));
        assert!(!told.is_news(&CONNECT_FAILED));
        tokio::time::advance(TOLD_AGAIN + Duration::from_millis(1)).await;
        assert!(!told.is_news(&CONNECTION_DROPPED), "it stays");
    }

    #[test]
    fn jetstream_is_lost_where_it_was_and_is_nowhere() {
        let mut seen = Seen::nothing(1);
        assert!(!seen.lost(0, false), "it may never have been there");
        assert!(!seen.lost(0, true));
        assert!(seen.lost(0, false));
        let mut seen = Seen::nothing(2);
        assert!(!seen.lost(0, true));
        assert!(!seen.lost(0, false), "the other may have it");
        assert!(seen.lost(1, false));
        assert!(!seen.lost(1, true));
    }

    #[test]
    fn one_that_refused_us_may_be_one_that_clients_can_use() {
        let down = || Finding::new(&CONNECT_FAILED, "a");
        assert_eq!(of_all([down(), Finding::new(&AUTH_FAILED, "b")].into_iter()).reason, &AUTH_FAILED);
        assert_eq!(of_all([down(), down()].into_iter()).reason, &CONNECT_FAILED);
    }
}
