//! Connections to NATS: made in the background, retried forever, and shared by the checks that name
//! them.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::clients::reasons;
use crate::clock;
use crate::domain::observation::{Finding, Reason};
use reconnector::Reconnector;
use session::{Answer, Client};

pub use crate::clients::reasons::{LOCAL, TLS_UNSUPPORTED};
pub use config::{NatsConnection, api, one_api};
pub use session::Serving;
pub use wire::{Headers, Message, shortened};

mod config;
#[cfg(test)]
pub(crate) mod fake;
mod handshake;
mod login;
mod nkey;
mod reconnector;
mod session;
mod wire;

/// The server could not be reached.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Is the server up, and does the network (DNS, firewall, NetworkPolicy) let this exporter reach it?",
);
/// The connection was not ready in time, and is still being made. Not every server was tried.
pub static CONNECTING: Reason = Reason::new(
    "connecting",
    "Nothing is known yet: a server was lost, and the others are being tried. If this lasts, raise the check's timeout.",
);
/// The server is up, but refuses the connection.
pub static CONNECTION_REJECTED: Reason = Reason::new(
    "connection_rejected",
    "The server is up and refuses a further connection: look at its max_connections and at the account's limits.",
);
/// The server accepts the connection and closes it at once.
pub static CONNECTION_DROPPED: Reason = Reason::new(
    "connection_dropped",
    "The server accepts the connection, and closes it when it is used: check its log, and any proxy or load balancer in between.",
);
/// The server's data is larger than accepted, or makes no sense.
pub static BAD_ANSWER: Reason =
    reasons::bad_answer("Is this a NATS server? Its data makes no sense, or exceeds a limit (docs/nats.md).");
/// No server of a JetStream domain answers to a server of another domain.
pub static DOMAIN_UNREACHABLE: Reason = Reason::new(
    "domain_unreachable",
    "The server belongs to another domain: look at its leafnode link to this domain, and at the name of the domain.",
);
/// The server did not answer in time.
pub static TIMEOUT: Reason = reasons::timeout(
    "The server accepts connections, but does not answer, not even a PING: look at its load and at its logs.",
);
/// The server refuses the credentials.
pub static AUTH_FAILED: Reason =
    reasons::auth_failed("Check user, password, token, NKey or credentials file against the server's accounts.");
/// The TLS handshake failed.
pub static TLS_FAILED: Reason =
    reasons::tls_failed("Check ca_file, cert_file, key_file, tls_first, and the server certificate's names and dates.");
/// A file with credentials or certificates cannot be used.
pub static CREDENTIALS_UNREADABLE: Reason = reasons::credentials_unreadable(
    "Check that the file exists, that the exporter can read it, and that it has the content that its key requires.",
);
/// The account has too few rights for the check.
pub static FORBIDDEN: Reason = reasons::forbidden(
    "Grant the user what docs/nats.md lists: publish to the JetStream API subjects, subscribe to its inbox.",
);
/// JetStream says that it is not available, or has disappeared.
pub static JETSTREAM_UNAVAILABLE: Reason = Reason::new(
    "jetstream_unavailable",
    "Is JetStream still enabled on the server? Does the cluster have a leader? Are the stream's servers up?",
);
/// The server answers, but the JetStream API does not.
pub static API_SILENT: Reason = Reason::new(
    "api_silent",
    "The server answers, but its JetStream API does not: does the account import it? Is the domain or api_prefix right?",
);
/// JetStream understands the request, but refuses it for this account.
pub static API_REFUSED: Reason = reasons::query_refused(
    "JetStream refuses the request: is it enabled for this account, and does the account hold the stream?",
);

/// Why a request got no answer.
pub type Unanswered = Finding;

#[derive(Debug, Clone)]
enum Link {
    /// Not every server was tried since the last connection, or since this process stood still. So nothing is
    /// known.
    Connecting,
    Up(Client),
    /// Every server was tried without success. The reconnector tries them on, and `beat` is when it last ran.
    Down {
        finding: Finding,
        beat: Instant,
    },
}

/// The result of a request that reached the server.
enum Reply {
    Given(Message),
    /// The server says that nobody listens at the subject.
    Nobody(Client),
}

/// A connection to one NATS system, shared by all checks that name it.
///
/// It is made in the background and retried forever. Every attempt reads the files again, so that
/// rotated credentials are used. Waiting for it never takes longer than the caller's deadline.
#[derive(Debug)]
pub struct Connection {
    link: watch::Receiver<Link>,
    denials: Denials,
    api: Option<String>,
    servers: usize,
    leave: Arc<watch::Sender<Option<u64>>>,
    reconnector: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reconnector.abort();
    }
}

impl Connection {
    /// Starts to connect.
    #[must_use]
    pub fn start(name: &str, config: NatsConnection) -> Self {
        let (sender, link) = watch::channel(Link::Connecting);
        let denials = Denials::none();
        let (api, servers) = (config.api(), config.servers.len());
        let leave = Arc::new(watch::Sender::new(None));
        let (name, denials_too, leave_too) = (name.to_owned(), denials.clone(), Arc::clone(&leave));
        let reconnector = Reconnector { name, config, denials: denials_too, link: sender, leave: leave_too };
        Self { link, denials, api, servers, leave, reconnector: tokio::spawn(reconnector.run()).abort_handle() }
    }

    /// How many servers the connection can lead to.
    #[must_use]
    pub fn servers(&self) -> usize {
        self.servers
    }

    /// The server in use. None while there is none.
    #[must_use]
    pub fn serving(&self) -> Option<Serving> {
        match &*self.link.borrow() {
            Link::Up(client) => Some(client.serving.clone()),
            Link::Connecting | Link::Down { .. } => None,
        }
    }

    /// Asks for another server than this one, and waits until there is one, or until all others were
    /// tried in vain. Returns whether that is so by the deadline. It goes on in the background.
    pub async fn move_on(&self, from: &Serving, deadline: Instant) -> bool {
        let mut link = self.link.clone();
        link.mark_unchanged();
        if self.serving().is_some_and(|serving| !serving.is_same(from)) {
            return true;
        }
        self.leave.send_replace(Some(from.connection));
        timeout_at(deadline, link.changed()).await.is_ok_and(|changed| changed.is_ok())
    }

    /// The prefix of the JetStream API subjects, if the configuration of this connection sets it.
    #[must_use]
    pub fn api(&self) -> Option<&str> {
        self.api.as_deref()
    }

    /// Sends a request and waits for the answer until `deadline`. It repeats the request if the
    /// connection is lost in the meantime. So the request must be safe to repeat.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn request(&self, subject: &str, payload: Bytes, deadline: Instant) -> Result<Message, Unanswered> {
        match self.exchange(subject, "", payload, deadline).await? {
            Reply::Given(message) => Ok(message),
            Reply::Nobody(client) => {
                Err(Finding::new(nobody(subject, &client), format!("nobody answers at {subject}")))
            }
        }
    }

    /// Sends a message with headers, given as a complete header block, and waits for the answer until
    /// `deadline`. None if the server says that nobody listens there. As a request, it is repeated
    /// if the connection is lost in the meantime.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn offer(
        &self,
        subject: &str,
        headers: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Option<Message>, Unanswered> {
        Ok(match self.exchange(subject, headers, payload, deadline).await? {
            Reply::Given(message) => Some(message),
            Reply::Nobody(_) => None,
        })
    }

    async fn exchange(
        &self,
        subject: &str,
        headers: &str,
        payload: Bytes,
        deadline: Instant,
    ) -> Result<Reply, Unanswered> {
        let mut link = self.link.clone();
        loop {
            let client = client(&mut link, deadline).await?;
            let asked = clock::instant();
            // A denied request looks like one without an answer. Only the server's error message
            // tells.
            let answer = tokio::select! {
                answer = client.ask(subject, headers, payload.clone(), deadline) => answer,
                denial = self.denials.wait_for(subject, asked) => return Err(Finding::new(&FORBIDDEN, denial)),
                lost = link.changed() => {
                    lost.map_err(|_| ended())?;
                    continue;
                }
            };
            match answer {
                Answer::Given(message) => return Ok(Reply::Given(message)),
                Answer::NoResponders => return Ok(Reply::Nobody(client)),
                Answer::None { server_lives } => {
                    let also = if server_lives { ", and the server answered a PING" } else { "" };
                    let detail = format!("no answer at {subject} within {:.1?}{also}", clock::since(asked));
                    return Err(Finding::new(silence(subject, &client, deadline, server_lives), detail));
                }
                // The reconnector is about to say why.
                Answer::Gone => match timeout_at(deadline, link.changed()).await {
                    Ok(changed) => changed.map_err(|_| ended())?,
                    Err(_) => return Err(Finding::new(&CONNECTING, "the connection was lost")),
                },
            }
        }
    }
}

/// Whether a subject of the JetStream API leads to another domain than the server's own. The link
/// between the two may be down while both work.
fn is_foreign(subject: &str, client: &Client) -> bool {
    let domain = subject.strip_prefix("$JS.").and_then(|rest| rest.split_once(".API")).map(|(domain, _)| domain);
    domain.is_some_and(|domain| client.info().domain.as_deref() != Some(domain))
}

/// The reason if nobody listens at a subject of the JetStream API. If JetStream is gone from the
/// servers, clients lose their streams. Otherwise it may only be invisible to this account.
fn nobody(subject: &str, client: &Client) -> &'static Reason {
    if is_foreign(subject, client) {
        &DOMAIN_UNREACHABLE
    } else if subject.starts_with("$JS.") && client.lost_jetstream {
        &JETSTREAM_UNAVAILABLE
    } else {
        &API_SILENT
    }
}

/// The reason for a missing answer. A server that answers a PING serves its clients, as far as is
/// known.
fn silence(subject: &str, client: &Client, deadline: Instant, server_lives: bool) -> &'static Reason {
    if clock::held_up(deadline) {
        &LOCAL
    } else if is_foreign(subject, client) {
        &DOMAIN_UNREACHABLE
    } else if server_lives {
        &API_SILENT
    } else {
        &TIMEOUT
    }
}

/// The connection, as soon as it is ready.
async fn client(link: &mut watch::Receiver<Link>, deadline: Instant) -> Result<Client, Unanswered> {
    let connecting = || Finding::new(&CONNECTING, "no server has accepted the connection yet, and not all were tried");
    loop {
        match &*link.borrow_and_update() {
            Link::Up(client) => return Ok(client.clone()),
            Link::Down { finding, beat } if clock::is_current(*beat) => return Err(finding.clone()),
            // That was before this process stood still.
            Link::Down { .. } | Link::Connecting => {}
        }
        timeout_at(deadline, link.changed()).await.map_err(|_| connecting())?.map_err(|_| ended())?;
    }
}

fn ended() -> Unanswered {
    Finding::new(&LOCAL, "nobody keeps the connection any more")
}

/// The permission violations of one connection, newest last.
#[derive(Debug, Clone)]
struct Denials(Arc<watch::Sender<Vec<(Instant, String)>>>);

/// How many violations are kept: more than the number of requests that can run between two looks.
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

    /// Waits for a violation that explains a missing answer to a request that was sent `asked`. It
    /// is a later violation for the same subject, or one for the subscription to all answers, which
    /// is made once.
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
