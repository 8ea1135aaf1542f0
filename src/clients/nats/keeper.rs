//! What keeps a connection up: connects, waits until it is lost, and begins again with the files as they are then.

use std::net::IpAddr;
use std::time::Duration;

use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout, timeout_at};
use tracing::{info, warn};
use url::Url;

use super::{
    AUTH_FAILED, CONNECT_FAILED, CONNECTION_REJECTED, CREDENTIALS_UNREADABLE, Denials, LOCAL, Link, NatsConnection,
    TLS_FAILED,
};
use crate::clients::credentials::read_line;
use crate::clients::failure::{self, Fault, causes};
use crate::clients::tls::{self, TlsError, TlsFiles};
use crate::clock;
use crate::config::values::{NatsServer, Secret, SecretFile};
use crate::domain::observation::{Finding, Reason};

/// How often connecting is tried at the least, so that a server that is back is soon seen to be.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one of the addresses of a server's name may take, so that the next is tried.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);
/// A name that was just looked up to connect is looked up again to see whose fault it was.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection whose peer vanished without a word is given up after two pings.
const PING_INTERVAL: Duration = Duration::from_secs(3);

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
        let mut pause = FIRST_PAUSE;
        let mut next_server = 0;
        let mut failed = Vec::new();
        loop {
            let (events, incoming) = mpsc::unbounded_channel();
            match self.connect(next_server, events).await {
                Ok(client) => {
                    pause = FIRST_PAUSE;
                    failed.clear();
                    self.up(client);
                    self.stays_up(incoming).await;
                    self.lost();
                }
                Err(finding) => failed.push(finding),
            }
            next_server = (next_server + 1) % servers;
            if failed.len() >= servers {
                self.down(of_all(failed.drain(..)));
                // Jitter, so that a thousand exporters do not knock at once on a server that comes back.
                sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }

    /// Takes in what the connection tells until it is lost.
    async fn stays_up(&self, mut incoming: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = incoming.recv().await {
            match event {
                Event::Disconnected | Event::Closed => return,
                Event::ServerError(ServerError::Other(text)) if text.contains("ermissions Violation") => {
                    self.denials.record(text);
                }
                Event::Connected => {}
                other => info!(connection = self.name, event = %other, "nats connection event"),
            }
        }
    }

    fn up(&self, client: async_nats::Client) {
        info!(connection = self.name, server = client.server_info().server_name, "nats connected");
        self.denials.clear();
        self.link.send_replace(Link::Up(client));
    }

    fn lost(&self) {
        info!(connection = self.name, "nats connection lost");
        self.link.send_replace(Link::Connecting);
    }

    fn down(&self, finding: Finding) {
        self.link.send_if_modified(|link| {
            let news = !matches!(link, Link::Down(known) if known.reason == finding.reason);
            if news {
                let Finding { reason, detail } = &finding;
                warn!(
                    connection = self.name,
                    reason = reason.label,
                    detail,
                    advice = reason.advice,
                    "nats not connected"
                );
            }
            *link = Link::Down(finding);
            news
        });
    }

    /// Connects to one of the servers, in turn.
    async fn connect(
        &self,
        attempt: usize,
        events: mpsc::UnboundedSender<Event>,
    ) -> Result<async_nats::Client, Finding> {
        let servers = &self.config.servers;
        let Some(server) = servers.get(attempt % servers.len().max(1)) else {
            return Err(Finding::new(&CONNECT_FAILED, "the connection has no servers"));
        };
        // A disk that hangs must not look like a server that does.
        let options = timeout_at(clock::instant() + CONNECT_TIMEOUT, self.options(server)).await;
        let options =
            options.map_err(|_| unreadable(&"a file could not be read in time"))??.event_callback(move |event| {
                // Nobody listens any more once the connection was given up; then nobody needs to know.
                let _ = events.send(event);
                std::future::ready(())
            });
        let where_to = server.as_str();
        // The client's own time-out does not cover name resolution.
        match timeout_at(clock::instant() + CONNECT_TIMEOUT, options.connect(where_to)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(Finding::new(connect_reason(&error, server).await, format!("{where_to}: {error}"))),
            Err(_) => {
                Err(Finding::new(&CONNECT_FAILED, format!("{where_to}: no connection within {CONNECT_TIMEOUT:?}")))
            }
        }
    }

    async fn options(&self, server: &NatsServer) -> Result<ConnectOptions, Finding> {
        let config = &self.config;
        let options = ConnectOptions::new()
            .name(concat!("dr-exporter/", env!("CARGO_PKG_VERSION")))
            .custom_inbox_prefix(config.inbox_prefix.as_str())
            .connection_timeout(ADDRESS_TIMEOUT)
            .ping_interval(PING_INTERVAL)
            // The deadline of a request is its check's.
            .request_timeout(None)
            // A connection that is lost is made anew by the keeper, which reads the files again.
            .max_reconnects(1)
            .ignore_discovered_servers();
        let options = self.authentication(options).await?;
        let tls = TlsFiles {
            ca_file: config.ca_file.as_ref(),
            cert_file: config.cert_file.as_ref(),
            key_file: config.key_file.as_ref(),
            insecure_skip_verify: false,
        };
        let requires_tls = config.ca_file.is_some() || config.cert_file.is_some();
        let tls = match tls::client_config(&tls).await {
            // Whoever needs no TLS needs no roots; should the server want it, it is told that we trust nobody.
            Err(TlsError::NoSystemRoots) if server.as_str().starts_with("nats:") && !requires_tls => {
                tls::trusting_nobody()
            }
            tls => tls,
        };
        let tls = tls.map_err(|error| unreadable(&error))?;
        Ok(options.tls_client_config(tls).require_tls(requires_tls))
    }

    async fn authentication(&self, options: ConnectOptions) -> Result<ConnectOptions, Finding> {
        let config = &self.config;
        if let Some(file) = &config.credentials_file {
            let credentials = read(file).await?;
            return options
                // The client's reader wants the line break that was taken off.
                .credentials(&format!("{}\n", credentials.expose()))
                .map_err(|_| unreadable(&format!("{file} holds no JWT with its seed")));
        }
        if let Some(file) = &config.token_file {
            return Ok(options.token(line(file).await?.expose().to_owned()));
        }
        if let Some(file) = &config.nkey_file {
            let seed = read(file).await?;
            let seed = seed.expose().trim();
            nkeys::KeyPair::from_seed(seed).map_err(|_| unreadable(&format!("{file} holds no NKey seed")))?;
            return Ok(options.nkey(seed.to_owned()));
        }
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            return Ok(options.user_and_password(user.clone(), line(file).await?.expose().to_owned()));
        }
        Ok(options)
    }
}

async fn read(file: &SecretFile) -> Result<Secret, Finding> {
    file.read().await.map_err(|error| unreadable(&error))
}

async fn line(file: &SecretFile) -> Result<Secret, Finding> {
    read_line(file).await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl std::fmt::Display) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, error.to_string())
}

/// The one word for servers that all failed. One that was there and refused us, or that we could not try, may be one that
/// clients can use: then it is not known that there is none.
fn of_all(failed: impl Iterator<Item = Finding>) -> Finding {
    let (down, ours): (Vec<_>, Vec<_>) = failed.partition(|finding| finding.reason == &CONNECT_FAILED);
    let nothing = || Finding::new(&CONNECT_FAILED, "no server was tried");
    ours.into_iter().chain(down).next().unwrap_or_else(nothing)
}

async fn connect_reason(error: &ConnectError, server: &NatsServer) -> &'static Reason {
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => return &AUTH_FAILED,
        ConnectErrorKind::Tls => return &TLS_FAILED,
        _ => {}
    }
    let is_said = || causes(error).any(|cause| cause.downcast_ref::<ServerError>().is_some());
    let addresses = if failure::is_of_system(error) { addresses(server).await } else { Vec::new() };
    match failure::classify(error, &addresses).fault {
        // A handshake that fails comes as an I/O error with the TLS error inside.
        Fault::Tls => &TLS_FAILED,
        _ if is_said() => &CONNECTION_REJECTED,
        Fault::Local => &LOCAL,
        Fault::Timeout | Fault::Cut | Fault::Malformed | Fault::Unreachable => &CONNECT_FAILED,
    }
}

/// Where a server's name leads; nowhere if that cannot be found out.
async fn addresses(server: &NatsServer) -> Vec<IpAddr> {
    let url = Url::parse(server.as_str()).ok();
    let Some(host) = url.as_ref().and_then(Url::host_str) else { return Vec::new() };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match timeout(LOOK_UP_TIMEOUT, lookup_host((host, 0))).await {
        Ok(Ok(found)) => found.map(|address| address.ip()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}
