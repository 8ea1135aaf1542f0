//! Connections to NATS: made in the background, retried for ever, shared by the checks that name them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::clients::reasons;
use crate::clock;
use crate::config::config;
use crate::config::connections::{Destination, Stanza};
use crate::config::decode::{Decoder, Fields, both_or_none};
use crate::config::values::{DomainName, FilePath, NatsServer, SecretFile, Subject};
use crate::domain::observation::{Finding, Reason};
use keeper::Keeper;

pub use crate::clients::reasons::LOCAL;

mod keeper;

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
        pub inbox_prefix: Subject = Subject::inbox() => incidental,
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

impl Stanza for NatsConnection {
    /// One account of one domain of one system. Other credentials may lead to another account, which
    /// has streams of its own; with the same ones it is the same account.
    fn destination(&self, within: Option<&str>) -> Destination {
        let mut servers: Vec<_> = self.servers.iter().map(NatsServer::place).collect();
        servers.sort();
        servers.dedup();
        let domain = within.or(self.domain.as_ref().map(DomainName::as_str));
        let file = |file: &Option<SecretFile>| file.as_ref().map(|file| file.path().to_owned());
        let credentials = (&self.user, file(&self.credentials_file), file(&self.token_file), file(&self.nkey_file));
        Destination {
            place: format!("{domain:?} of {servers:?} as {credentials:?}"),
            told_by: "the same servers, domain and credentials",
        }
    }
}

/// The server could not be reached.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Is the server up, and does the network (DNS, firewall, NetworkPolicy) let this exporter reach it?",
);
/// The connection was not there in time, and is still being made: not every server was tried.
pub static CONNECTING: Reason = Reason::new(
    "connecting",
    "Nothing is known yet: a server was lost, and the others are being tried. If it stays, raise the check's timeout.",
);
/// The server is there, and takes no connection of ours.
pub static CONNECTION_REJECTED: Reason = Reason::new(
    "connection_rejected",
    "The server is up and refuses a further connection: look at its max_connections and at the account's limits.",
);
/// Nobody of a JetStream domain answers to a server of another one.
pub static DOMAIN_UNREACHABLE: Reason = Reason::new(
    "domain_unreachable",
    "The server that was asked belongs to another domain: look at the leafnode link to this one, and at its name.",
);
/// The server did not answer in time.
pub static TIMEOUT: Reason = reasons::timeout(
    "The server takes connections but does not answer: look at its load, its logs and its JetStream cluster.",
);
/// The server refuses the credentials.
pub static AUTH_FAILED: Reason =
    reasons::auth_failed("Check user, password, token, NKey or credentials file against the server's accounts.");
/// TLS could not be agreed on.
pub static TLS_FAILED: Reason =
    reasons::tls_failed("Check ca_file, cert_file and key_file, and the server certificate's names and dates.");
/// A file with credentials or certificates is no use.
pub static CREDENTIALS_UNREADABLE: Reason = reasons::credentials_unreadable(
    "Check that the file exists, that this process may read it and that it holds what its key asks for.",
);
/// The account may not do what the check needs.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "Grant the user what docs/nats.md lists: publish to the JetStream API subjects, subscribe to its inbox.",
);
/// The server runs without JetStream, or the account is not enabled for it.
pub static JETSTREAM_UNAVAILABLE: Reason = Reason::new(
    "jetstream_unavailable",
    "Is JetStream enabled on the server and for the account, is the domain right, has the cluster a leader?",
);

/// Why a request got no answer.
pub type Unanswered = Finding;

#[derive(Debug, Clone)]
enum Link {
    /// Not every server was tried since the last connection: nothing is known.
    Connecting,
    Up(async_nats::Client),
    /// Every server was tried in vain.
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

    /// Sends a request and waits for the answer until `deadline`. Asks again when the connection is lost meanwhile: a
    /// request must be one that may be repeated.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn request(
        &self,
        subject: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<async_nats::Message, Unanswered> {
        let mut link = self.link.clone();
        loop {
            let client = client(&mut link, deadline).await?;
            let asked = clock::instant();
            // A request that is denied looks like one that is not answered; only the connection's events tell.
            let answer = tokio::select! {
                answer = timeout_at(deadline, client.request(subject.to_owned(), payload.clone())) => answer,
                denial = self.denials.wait_for(subject, asked) => return Err(Finding::new(&FORBIDDEN, denial)),
                lost = link.changed() => {
                    lost.map_err(|_| ended())?;
                    continue;
                }
            };
            match answer {
                Ok(Ok(message)) => return Ok(message),
                Ok(Err(error)) if error.kind() == RequestErrorKind::NoResponders => {
                    let reason =
                        if is_foreign(subject, &client) { &DOMAIN_UNREACHABLE } else { &JETSTREAM_UNAVAILABLE };
                    return Err(Finding::new(reason, format!("nobody answers at {subject}")));
                }
                Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => {
                    // The connection is no use, which the keeper is about to find out too.
                    let failed = |_| Finding::new(&CONNECT_FAILED, format!("request to {subject} failed: {error}"));
                    timeout_at(deadline, link.changed()).await.map_err(failed)?.map_err(|_| ended())?;
                }
                Ok(Err(_)) | Err(_) => {
                    let detail = format!("no answer at {subject} within {:.1?}", clock::since(asked));
                    return Err(Finding::new(silence(subject, &client, deadline), detail));
                }
            }
        }
    }
}

/// Whether a subject of the JetStream API leads to another domain than that of the server that is asked: what lies between
/// the two may be down while both work.
fn is_foreign(subject: &str, client: &async_nats::Client) -> bool {
    let domain = subject.strip_prefix("$JS.").and_then(|rest| rest.split_once(".API")).map(|(domain, _)| domain);
    domain.is_some_and(|domain| client.server_info().domain.as_deref() != Some(domain))
}

/// This long after a deadline it was this process that was held up, and the answer may be there.
const HELD_UP: Duration = Duration::from_millis(300);

/// Whose fault it is that there was no answer.
fn silence(subject: &str, client: &async_nats::Client, deadline: Instant) -> &'static Reason {
    if clock::instant() > deadline + HELD_UP {
        &LOCAL
    } else if is_foreign(subject, client) {
        &DOMAIN_UNREACHABLE
    } else {
        &TIMEOUT
    }
}

/// The connection as soon as it is there.
async fn client(link: &mut watch::Receiver<Link>, deadline: Instant) -> Result<async_nats::Client, Unanswered> {
    let connecting = || Finding::new(&CONNECTING, "no server has taken the connection yet, and not all were tried");
    let settled = timeout_at(deadline, link.wait_for(|link| !matches!(link, Link::Connecting))).await;
    match settled.map_err(|_| connecting())?.map(|link| link.clone()).map_err(|_| ended())? {
        Link::Up(client) => Ok(client),
        Link::Down(finding) => Err(finding),
        Link::Connecting => Err(connecting()),
    }
}

fn ended() -> Unanswered {
    Finding::new(&LOCAL, "nobody keeps the connection any more")
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
            denials.push((clock::instant(), violation));
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
