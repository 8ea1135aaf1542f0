//! Connections to NATS: made in the background, retried for ever, shared by the checks that name them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{info, warn};

use super::tls::{self, TlsFiles};
use super::{causes, is_of_this_machine};
use crate::config::config;
use crate::config::decode::{Decoder, Fields, both_or_none};
use crate::config::values::{DomainName, FilePath, NatsServer, Secret, SecretFile, Subject};
use crate::domain::observation::{Finding, Reason};

config! {
    /// A connection to one NATS system. Checks that name it share it.
    pub struct NatsConnection {
        /// The servers, `nats://host:port` or `tls://host:port`. User and password do not belong in them.
        pub servers: Vec<NatsServer>,
        /// A file with a JWT and an NKey seed, as `nsc` writes it. One of the four ways to authenticate.
        pub credentials_file: Option<SecretFile> = None,
        /// The user's name; needs `password_file`. One of the four ways to authenticate.
        pub user: Option<String> = None,
        /// A file that holds the password of `user`.
        pub password_file: Option<SecretFile> = None,
        /// A file that holds a token. One of the four ways to authenticate.
        pub token_file: Option<SecretFile> = None,
        /// A file that holds an NKey seed. One of the four ways to authenticate.
        pub nkey_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's. Makes TLS required.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// The JetStream domain that is asked.
        pub domain: Option<DomainName> = None,
        /// The prefix of the inboxes that answers come to, for accounts that may not subscribe to `_INBOX.>`.
        pub inbox_prefix: Subject = Subject::inbox(),
    }
    validate = NatsConnection::validate;
}

impl NatsConnection {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        let ways = [
            ("credentials_file", self.credentials_file.is_some()),
            ("user", self.user.is_some()),
            ("token_file", self.token_file.is_some()),
            ("nkey_file", self.nkey_file.is_some()),
        ];
        let mut given = ways.into_iter().filter_map(|(key, given)| given.then_some(key));
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            cx.error(fields.position(second), format!("`{first}` authenticates already; remove one of the two"));
        }
        both_or_none(("user", self.user.is_some()), ("password_file", self.password_file.is_some()), fields, cx);
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
    }

    /// A connection that leads nowhere.
    #[must_use]
    pub(super) fn without_servers() -> Self {
        Self {
            servers: Vec::new(),
            credentials_file: None,
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
            inbox_prefix: Subject::inbox(),
        }
    }
}

/// The server could not be reached.
pub static CONNECT_FAILED: Reason = Reason::new(
    "connect_failed",
    "Is the server up, and does the network (DNS, firewall, NetworkPolicy) let this exporter reach it?",
);
/// The server did not answer in time.
pub static TIMEOUT: Reason = Reason::new(
    "timeout",
    "The server takes connections but does not answer: look at its load, its logs and its JetStream cluster.",
);
/// The server refuses the credentials.
pub static AUTH_FAILED: Reason =
    Reason::new("auth_failed", "Check user, password, token, NKey or credentials file against the server's accounts.");
/// TLS could not be agreed on.
pub static TLS_FAILED: Reason =
    Reason::new("tls_failed", "Check ca_file, cert_file and key_file, and the server certificate's names and dates.");
/// A file with credentials or certificates is no use.
pub static CREDENTIALS_UNREADABLE: Reason = Reason::new(
    "credentials_unreadable",
    "Check that the file exists, that this process may read it and that it holds what its key asks for.",
);
/// This machine is at its limits, or has no way to the server.
pub static LOCAL: Reason = Reason::new(
    "local",
    "The exporter could not measure: check its own machine, its limits (open files, ports) and its network.",
);
/// The account may not do what the check needs.
pub static PERMISSION_DENIED: Reason = Reason::new(
    "permission_denied",
    "Grant the user what docs/nats.md lists: publish to the JetStream API subjects, subscribe to its inbox.",
);
/// The server runs without JetStream, or the account is not enabled for it.
pub static JETSTREAM_UNAVAILABLE: Reason = Reason::new(
    "jetstream_unavailable",
    "Is JetStream enabled on the server and for the account, is the domain right, has the cluster a leader?",
);

/// Why a request got no answer.
pub type Unanswered = Finding;

/// How often connecting is tried at the least, so that a server that is back is soon seen to be.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection whose peer vanished without a word is given up after two pings.
const PING_INTERVAL: Duration = Duration::from_secs(3);

#[derive(Debug, Clone)]
enum Link {
    Connecting,
    Up(async_nats::Client),
    Down(Finding),
}

/// A connection to one NATS system, shared by all checks that name it.
///
/// It is made in the background and retried for ever; every attempt reads the files anew, so that rotated credentials
/// are taken up. Waiting for it never takes longer than the asker's deadline.
#[derive(Debug)]
pub struct Connection {
    link: watch::Receiver<Link>,
    denials: Denials,
    domain: Option<DomainName>,
    keeper: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

impl Connection {
    /// Starts to connect.
    #[must_use]
    pub fn start(name: &str, config: NatsConnection) -> Self {
        let (sender, link) = watch::channel(Link::Connecting);
        let denials = Denials::none();
        let domain = config.domain.clone();
        let keeper = Keeper { name: name.to_owned(), config, denials: denials.clone(), link: sender };
        Self { link, denials, domain, keeper: tokio::spawn(keeper.run()).abort_handle() }
    }

    /// The JetStream domain that the configuration gives for this connection.
    #[must_use]
    pub fn domain(&self) -> Option<&DomainName> {
        self.domain.as_ref()
    }

    /// Sends a request and waits for the answer until `deadline`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<async_nats::Message, Unanswered> {
        let client = self.client(deadline).await?;
        let asked = Instant::now();
        // A request that is denied looks like one that is not answered; only the connection's events tell.
        let answer = tokio::select! {
            answer = timeout_at(deadline, client.request(subject.to_owned(), payload)) => answer,
            denial = self.denials.wait_for(subject, asked) => return Err(Finding::new(&PERMISSION_DENIED, denial)),
        };
        match answer {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                Err(Finding::new(&JETSTREAM_UNAVAILABLE, format!("nobody answers at {subject}")))
            }
            Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                Err(Finding::new(&CONNECT_FAILED, format!("request to {subject} failed: {error}")))
            }
            Ok(Err(_)) | Err(_) => {
                Err(Finding::new(&TIMEOUT, format!("no answer at {subject} within {:.1?}", asked.elapsed())))
            }
        }
    }

    async fn client(&self, deadline: Instant) -> Result<async_nats::Client, Unanswered> {
        let mut link = self.link.clone();
        let settled = timeout_at(deadline, link.wait_for(|link| !matches!(link, Link::Connecting))).await;
        match settled {
            Ok(Ok(link)) => match &*link {
                Link::Up(client) => Ok(client.clone()),
                Link::Down(finding) => Err(finding.clone()),
                Link::Connecting => Err(Finding::new(&CONNECT_FAILED, "still connecting")),
            },
            Ok(Err(_)) => Err(Finding::new(&CONNECT_FAILED, "the connection was closed")),
            Err(_) => Err(Finding::new(&CONNECT_FAILED, "still connecting")),
        }
    }
}

/// The permission violations of one connection, newest last.
#[derive(Debug, Clone)]
struct Denials(Arc<watch::Sender<Vec<(Instant, String)>>>);

/// How many violations are kept: more than the requests that can be under way at once between two looks.
const DENIALS_KEPT: usize = 64;

impl Denials {
    fn none() -> Self {
        Self(Arc::new(watch::Sender::new(Vec::new())))
    }

    fn clear(&self) {
        self.0.send_replace(Vec::new());
    }

    fn record(&self, violation: String) {
        self.0.send_modify(|denials| {
            if denials.len() >= DENIALS_KEPT {
                denials.remove(0);
            }
            denials.push((Instant::now(), violation));
        });
    }

    /// Waits for a violation that explains why a request, sent `asked`, goes unanswered: of its subject since then, or
    /// of the subscription that all answers come to, which is made once.
    async fn wait_for(&self, subject: &str, asked: Instant) -> String {
        let quoted = format!("\"{subject}\"");
        let explains = |(at, text): &&(Instant, String)| {
            text.contains("Subscription to") || (*at >= asked && text.contains(&quoted))
        };
        let mut denials = self.0.subscribe();
        loop {
            if let Some((_, text)) = denials.borrow_and_update().iter().find(explains) {
                return text.clone();
            }
            if denials.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Keeps the connection up.
struct Keeper {
    name: String,
    config: NatsConnection,
    denials: Denials,
    link: watch::Sender<Link>,
}

impl Keeper {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        let mut next_server = 0;
        loop {
            let (events, mut incoming) = mpsc::unbounded_channel();
            match self.connect(next_server, events).await {
                Ok(client) => {
                    pause = FIRST_PAUSE;
                    self.up(client);
                    while let Some(event) = incoming.recv().await {
                        match event {
                            Event::Disconnected | Event::Closed => break,
                            Event::ServerError(ServerError::Other(text)) if text.contains("ermissions Violation") => {
                                self.denials.record(text);
                            }
                            Event::Connected => {}
                            other => info!(connection = self.name, event = %other, "nats connection event"),
                        }
                    }
                    self.down(Finding::new(&CONNECT_FAILED, "the server closed the connection"));
                }
                Err(finding) => {
                    self.down(finding);
                    next_server += 1;
                    // Jitter, so that a thousand exporters do not knock at once on a server that comes back.
                    sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn up(&self, client: async_nats::Client) {
        info!(connection = self.name, server = client.server_info().server_name, "nats connected");
        self.denials.clear();
        self.link.send_replace(Link::Up(client));
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
        let options = timeout_at(Instant::now() + CONNECT_TIMEOUT, self.options()).await;
        let options =
            options.map_err(|_| unreadable(&"a file could not be read in time"))??.event_callback(move |event| {
                // Nobody listens any more once the connection was given up; then nobody needs to know.
                let _ = events.send(event);
                std::future::ready(())
            });
        let where_to = server.as_str();
        // The client's own time-out does not cover name resolution.
        match timeout_at(Instant::now() + CONNECT_TIMEOUT, options.connect(where_to)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) => Err(Finding::new(connect_reason(&error), format!("{where_to}: {error}"))),
            Err(_) => {
                Err(Finding::new(&CONNECT_FAILED, format!("{where_to}: no connection within {CONNECT_TIMEOUT:?}")))
            }
        }
    }

    async fn options(&self) -> Result<ConnectOptions, Finding> {
        let config = &self.config;
        let options = ConnectOptions::new()
            .name(concat!("dr-exporter/", env!("CARGO_PKG_VERSION")))
            .custom_inbox_prefix(config.inbox_prefix.as_str())
            .connection_timeout(CONNECT_TIMEOUT)
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
        let tls = tls::client_config(&tls).await.map_err(|error| unreadable(&error))?;
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
            return Ok(options.token(read(file).await?.expose().to_owned()));
        }
        if let Some(file) = &config.nkey_file {
            let seed = read(file).await?;
            let seed = seed.expose().trim();
            nkeys::KeyPair::from_seed(seed).map_err(|_| unreadable(&format!("{file} holds no NKey seed")))?;
            return Ok(options.nkey(seed.to_owned()));
        }
        if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
            return Ok(options.user_and_password(user.clone(), read(file).await?.expose().to_owned()));
        }
        Ok(options)
    }
}

async fn read(file: &SecretFile) -> Result<Secret, Finding> {
    file.read().await.map_err(|error| unreadable(&error))
}

fn unreadable(error: &impl std::fmt::Display) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, error.to_string())
}

/// Without a route nothing was sent, and nothing is known of the server.
fn is_ours(error: &io::Error) -> bool {
    is_of_this_machine(error) || error.kind() == io::ErrorKind::NetworkUnreachable
}

fn connect_reason(error: &ConnectError) -> &'static Reason {
    match error.kind() {
        ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => &AUTH_FAILED,
        ConnectErrorKind::Tls => &TLS_FAILED,
        // A handshake that fails comes as an I/O error with the TLS error inside.
        _ if tls::is_cause_of(error) => &TLS_FAILED,
        _ if causes(error).filter_map(|cause| cause.downcast_ref()).any(is_ours) => &LOCAL,
        _ => &CONNECT_FAILED,
    }
}
