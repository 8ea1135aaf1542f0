//! Keeps a connection up: it connects, waits until the connection is lost, and begins again with
//! the current files.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::handshake::Way;
use super::login::{Login, unreadable};
use super::session::{Client, Serving, Session};
use super::{CONNECT_FAILED, Denials, LOCAL, Link, NatsConnection};
use crate::clients::tls::{self, TlsError, TlsFiles};
use crate::clock;
use crate::decode::values::NatsServer;
use crate::domain::observation::{Finding, Reason};

/// The longest pause between two attempts, so that a server that is back is soon seen. A connection
/// that ends before it has lasted this long counts as a failed attempt.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For how long a reason is not logged again, even if it alternates with another one.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Keeps the connection up.
pub(super) struct Reconnector {
    pub(super) name: String,
    pub(super) config: NatsConnection,
    pub(super) denials: Denials,
    pub(super) link: watch::Sender<Link>,
    /// The number of the connection that somebody wants to be left for another server.
    pub(super) leave: Arc<watch::Sender<Option<u64>>>,
}

impl Reconnector {
    /// Connects again and again, forever. The servers are tried in turn. The failure of one server
    /// only becomes the failure of the connection after all were tried.
    pub(super) async fn run(self) {
        let servers = self.config.servers.len().max(1);
        let mut logged = Logged::default();
        let mut tour = Tour::new(servers);
        let mut pause = FIRST_PAUSE;
        let mut failed = Vec::new();
        let mut moved = None;
        loop {
            let connected = match moved.take() {
                Some(connected) => Ok(connected),
                None => self.connect_to_next(&mut tour).await,
            };
            match connected {
                Ok((session, client)) => match self.serve(session, client, &mut logged, &mut tour).await {
                    Ended::AtOnce(finding) => failed.push(finding),
                    Ended::Later => {
                        pause = FIRST_PAUSE;
                        failed.clear();
                    }
                    Ended::Moved(to) => {
                        failed.clear();
                        moved = Some(*to);
                    }
                },
                Err(finding) => failed.push(finding),
            }
            if failed.len() >= servers {
                self.down(of_all(failed.drain(..)), &mut logged);
                // The jitter keeps many exporters from reconnecting at once to a server that comes
                // back.
                let rest = sleep(pause.mul_f64(rand::random_range(0.5..=1.0)));
                clock::watched_by(rest, || self.beat()).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Serves a connection until it ends, or until another server takes over. It is logged after it
    /// has lasted for a while.
    async fn serve(&self, session: Session, client: Client, logged: &mut Logged, tour: &mut Tour) -> Ended {
        self.denials.clear();
        let server = client.info().server_name.clone();
        let connection = client.serving.connection;
        self.link.send_replace(Link::Up(client));
        let (mut serving, mut moving) = (pin!(session.run()), pin!(self.move_on(connection, tour)));
        let (mut settled, mut has_settled) = (pin!(sleep(LONGEST_PAUSE)), false);
        let ended = loop {
            tokio::select! {
                Finding { reason, detail } = &mut serving => break if has_settled {
                    info!(connection = self.name, reason = reason.label, detail, "nats connection lost");
                    Ended::Later
                } else {
                    Ended::AtOnce(Finding::new(reason, format!("{server}: {detail}")))
                },
                moved = &mut moving => return Ended::Moved(Box::new(moved)),
                () = &mut settled, if !has_settled => {
                    has_settled = true;
                    *logged = Logged::default();
                    info!(connection = self.name, server, "nats connected");
                }
            }
        };
        self.link.send_replace(Link::Connecting);
        ended
    }

    /// Waits until somebody wants to leave this connection, and connects to one of the other servers.
    /// The connection stays in use until there is a better one. If there is none, that is told.
    async fn move_on(&self, connection: u64, tour: &mut Tour) -> (Session, Client) {
        let mut leave = self.leave.subscribe();
        loop {
            if leave.wait_for(|asked| *asked == Some(connection)).await.is_err() {
                std::future::pending::<()>().await;
            }
            for _ in 1..tour.dead.len() {
                if let Ok(connected) = self.connect_to_next(tour).await {
                    return connected;
                }
            }
            tour.next();
            self.leave.send_replace(None);
            self.link.send_modify(|link| {
                if let Link::Up(client) = link {
                    client.serving.dead = tour.dead.clone().into();
                }
            });
        }
    }

    /// Connects to the server whose turn it is.
    async fn connect_to_next(&self, tour: &mut Tour) -> Result<(Session, Client), Finding> {
        let number = tour.next();
        let began = clock::instant();
        let (connected, held_up) = clock::watched_by(self.connect(number), || self.beat()).await;
        let connected = connected.map_err(|finding| ours_if(held_up, finding));
        let is_dead = connected.as_ref().is_err_and(|finding| finding.reason == &CONNECT_FAILED);
        tour.found(number, is_dead.then_some(began));
        let (session, mut client) = connected?;
        client.lost_jetstream = tour.jetstream.lost(number, client.info().jetstream);
        client.serving = tour.serving(number);
        Ok((session, client))
    }

    fn down(&self, finding: Finding, logged: &mut Logged) {
        if logged.is_news(finding.reason) {
            let Finding { reason, detail } = &finding;
            warn!(connection = self.name, reason = reason.label, detail, advice = reason.advice, "nats not connected");
        }
        self.link.send_replace(Link::Down { finding, beat: clock::instant() });
    }

    /// What is known of the servers is as old as the last attempt, and the attempts are close together. It is
    /// not known any more after this process stood still.
    fn beat(&self) {
        self.link.send_if_modified(|link| {
            let Link::Down { beat, .. } = link else { return false };
            let stood_still = !clock::is_current(*beat);
            if stood_still {
                *link = Link::Connecting;
            } else {
                *beat = clock::instant();
            }
            stood_still
        });
    }

    /// Connects to one of the servers, in turn.
    async fn connect(&self, attempt: usize) -> Result<(Session, Client), Finding> {
        let servers = &self.config.servers;
        let Some(server) = servers.get(attempt % servers.len().max(1)) else {
            return Err(Finding::new(&CONNECT_FAILED, "the connection has no servers"));
        };
        // A disk that hangs must not look like a server that hangs.
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
            // A connection without TLS needs no roots. If the server wants TLS, it is told that
            // nobody is trusted.
            Err(TlsError::NoSystemRoots) if server.as_str().starts_with("nats:") && !requires_tls => {
                tls::trusting_nobody()
            }
            tls => tls,
        };
        tls.map_err(|error| unreadable(&error))
    }
}

/// A server that waited in vain for this process closes the connection. That says nothing of it.
fn ours_if(held_up: Duration, finding: Finding) -> Finding {
    if held_up.is_zero() || finding.reason != &CONNECT_FAILED {
        return finding;
    }
    Finding::new(&LOCAL, format!("the exporter itself was held up: {}", finding.detail))
}

/// Whose turn it is, and what was found.
struct Tour {
    next: usize,
    /// When each server was last asked, if it was dead then.
    dead: Vec<Option<Instant>>,
    connections: u64,
    jetstream: Seen,
}

impl Tour {
    fn new(servers: usize) -> Self {
        Self { next: 0, dead: vec![None; servers], connections: 0, jetstream: Seen::nothing(servers) }
    }

    fn next(&mut self) -> usize {
        let number = self.next;
        self.next = (number + 1) % self.dead.len().max(1);
        number
    }

    fn found(&mut self, number: usize, dead: Option<Instant>) {
        if let Some(known) = self.dead.get_mut(number) {
            *known = dead;
        }
    }

    fn serving(&mut self, number: usize) -> Serving {
        self.connections = self.connections.wrapping_add(1);
        Serving { number, connection: self.connections, since: clock::instant(), dead: self.dead.clone().into() }
    }
}

/// How an established connection ended.
enum Ended {
    /// Before it was usable.
    AtOnce(Finding),
    /// After it had lasted for a while.
    Later,
    /// It was left for one to another server.
    Moved(Box<(Session, Client)>),
}

/// Which servers had JetStream.
struct Seen {
    ever: bool,
    last: Vec<Option<bool>>,
}

impl Seen {
    fn nothing(servers: usize) -> Self {
        Self { ever: false, last: vec![None; servers] }
    }

    /// Takes in a server's INFO. Returns whether JetStream was seen before, and is now on none of
    /// the servers. If it was never seen, only the way to the streams may be missing: a server
    /// without JetStream can lead to servers with it.
    fn lost(&mut self, server: usize, has_jetstream: bool) -> bool {
        if let Some(last) = self.last.get_mut(server) {
            *last = Some(has_jetstream);
        }
        self.ever |= has_jetstream;
        self.ever && self.last.iter().all(|last| *last == Some(false))
    }
}

/// What was logged about a connection since it was last up.
#[derive(Debug, Default)]
struct Logged {
    reasons: Vec<&'static Reason>,
    last: Option<(&'static Reason, Instant)>,
}

impl Logged {
    /// Whether to log a reason: a new one always, and one that alternates with another from time to
    /// time.
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

/// The common finding if all servers failed. If one of them refused the exporter, or could not be
/// tried, clients may be able to use it. Then nothing is proven.
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
        let mut logged = Logged::default();
        assert!(logged.is_news(&CONNECTION_DROPPED));
        for _ in 0..100 {
            assert!(!logged.is_news(&CONNECTION_DROPPED));
        }
        assert!(logged.is_news(&CONNECT_FAILED), "it changes");
        for _ in 0..100 {
            assert!(!logged.is_news(&CONNECTION_DROPPED) && !logged.is_news(&CONNECT_FAILED), "to and fro");
        }
        tokio::time::advance(TOLD_AGAIN + Duration::from_millis(1)).await;
        assert!(logged.is_news(&CONNECTION_DROPPED));
        assert!(!logged.is_news(&CONNECT_FAILED));
        tokio::time::advance(TOLD_AGAIN + Duration::from_millis(1)).await;
        assert!(!logged.is_news(&CONNECTION_DROPPED), "it stays");
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
