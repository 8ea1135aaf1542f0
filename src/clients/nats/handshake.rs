//! Makes a connection to one server: TCP, the server's INFO, TLS, CONNECT, and the first PONG.
//! Every step has its own time limit, so that a time-out tells which step it was.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{timeout, timeout_at};
use url::Url;

use super::login::Login;
use super::wire::{Decoder, Op, ReadError, ServerInfo, Unreadable};
use super::{AUTH_FAILED, BAD_ANSWER, CONNECT_FAILED, CONNECTION_REJECTED, LOCAL, TLS_FAILED, TLS_UNSUPPORTED};
use crate::clients::failure::{self, Failure, Fault};
use crate::clients::{dial, tls};
use crate::clock;
use crate::decode::values::NatsServer;
use crate::domain::observation::{Finding, Reason};

/// How long one step may take for one address of a server's name, before the next address is tried.
const STEP_TIMEOUT: Duration = Duration::from_secs(2);
/// A server that closes the connection sooner than this did not wait for the client to begin.
const PATIENCE: Duration = Duration::from_millis(200);
/// How long a silent server has to answer a TLS handshake.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many messages a server may send between CONNECT and the first PONG.
const WORDS_BEFORE_PONG: usize = 16;

/// A byte stream of any kind.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// A connection that the server has accepted.
pub(super) struct Admitted {
    pub(super) transport: Box<dyn Transport>,
    pub(super) decoder: Decoder,
    pub(super) info: ServerInfo,
}

/// What is needed to connect, with the current content of the files.
pub(super) struct Way<'a> {
    pub(super) server: &'a NatsServer,
    pub(super) login: Login,
    pub(super) tls: ClientConfig,
    pub(super) requires_tls: bool,
    pub(super) tls_first: bool,
}

/// Why a server has not accepted the connection.
enum Refusal {
    Read(ReadError),
    /// This step took too long.
    Late(&'static str),
    /// This process was held up in this step, so it knows nothing of the server.
    HeldUp(&'static str),
    /// The server wants TLS before anything else.
    TlsFirst,
    /// The server's error message.
    Said(String),
    /// A complete finding.
    Finding(Finding),
}

impl Refusal {
    /// Whether the server may have waited for the client to begin.
    fn is_silence(&self) -> bool {
        matches!(self, Self::Late(_) | Self::Read(ReadError::Io(_)))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Read(error.into())
    }
}

impl Way<'_> {
    /// Connects to the first address of the server's name that accepts the connection.
    pub(super) async fn connect(&self) -> Result<Admitted, Finding> {
        let (host, port) = self.host_and_port();
        let found = lookup_host((host.as_str(), port)).await.map(Iterator::collect::<Vec<_>>);
        let addresses = found.map_err(|error| self.finding(&error.into(), &[]))?;
        let mut failed = Vec::new();
        for address in addresses {
            match self.admitted(address, &host).await {
                Ok(admitted) => return Ok(admitted),
                Err(refusal) => failed.push(self.finding(&refusal, &[address.ip()])),
            }
        }
        Err(super::reconnector::of_all(failed.into_iter()))
    }

    fn host_and_port(&self) -> (String, u16) {
        let url = Url::parse(self.server.as_str()).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        (host, url.as_ref().and_then(Url::port).unwrap_or(NatsServer::PORT))
    }

    async fn admitted(&self, address: SocketAddr, host: &str) -> Result<Admitted, Refusal> {
        let tcp = within("TCP connection", TcpStream::connect(address)).await??;
        tcp.set_nodelay(true)?;
        let mut transport: Box<dyn Transport> = Box::new(tcp);
        let mut decoder = Decoder::new();
        if self.tls_first {
            transport = self.over_tls(transport, host).await?;
        }
        let asked = clock::instant();
        let first = within("INFO", decoder.read(&mut transport)).await;
        let info = match first.and_then(|op| op.map_err(Refusal::from)) {
            Ok(op) => info(op)?,
            Err(refusal) => {
                let is_silent = refusal.is_silence() && !decoder.holds_more() && clock::since(asked) > PATIENCE;
                return Err(if is_silent && !self.tls_first && waits_for_tls(address, host).await {
                    Refusal::TlsFirst
                } else {
                    refusal
                });
            }
        };
        let is_tls_scheme = self.server.as_str().starts_with("tls:");
        if !self.tls_first && (self.requires_tls || is_tls_scheme || info.tls_required) {
            // Data before TLS can come from anybody.
            if decoder.holds_more() {
                return Err(self.no_tls("it said more before TLS was agreed on"));
            }
            transport = self.over_tls(transport, host).await?;
        }
        let connect = self.login.connect(&info.nonce, self.requires_tls || is_tls_scheme);
        let connect = serde_json::to_string(&connect).map_err(io::Error::from)?;
        within("answer to CONNECT", async {
            transport.write_all(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
            transport.flush().await?;
            welcome(&mut transport, &mut decoder).await
        })
        .await??;
        Ok(Admitted { transport, decoder, info })
    }

    async fn over_tls(&self, transport: Box<dyn Transport>, host: &str) -> Result<Box<dyn Transport>, Refusal> {
        let name = ServerName::try_from(host.to_owned()).map_err(|error| self.no_tls(&format!("{host}: {error}")))?;
        let connecting = dial::secure(name, Arc::new(self.tls.clone()), transport);
        Ok(Box::new(within("TLS handshake", connecting).await??))
    }

    fn no_tls(&self, why: &str) -> Refusal {
        Refusal::Finding(Finding::new(&TLS_FAILED, format!("{}: {why}", self.server.as_str())))
    }

    /// The finding for a refusal of this server.
    fn finding(&self, refusal: &Refusal, addresses: &[IpAddr]) -> Finding {
        let (reason, story) = match refusal {
            Refusal::Finding(finding) => return finding.clone(),
            Refusal::Said(text) => (of_words(text), text.clone()),
            Refusal::Late(step) => (&CONNECT_FAILED, format!("no {step} within {STEP_TIMEOUT:?}")),
            Refusal::HeldUp(step) => (&LOCAL, format!("no {step} in time, but the exporter itself was held up")),
            Refusal::TlsFirst => (
                &TLS_FAILED,
                "the server sent no INFO and answers a TLS handshake: it is TLS-first \
                 (tls { handshake_first }); set tls_first: true"
                    .to_owned(),
            ),
            Refusal::Read(ReadError::Unreadable(error)) if error.is_our_limit() => (&BAD_ANSWER, error.to_string()),
            Refusal::Read(ReadError::Unreadable(error)) => (&CONNECT_FAILED, error.to_string()),
            Refusal::Read(ReadError::Io(error)) => {
                let Failure { fault, mut story } = failure::classify(error, addresses);
                if matches!(fault, Fault::Tls | Fault::TlsUnsupported) && self.tls_first {
                    story.push_str(" (tls_first is set: is the server TLS-first?)");
                }
                let reason = match fault {
                    Fault::Tls => &TLS_FAILED,
                    Fault::TlsUnsupported => &TLS_UNSUPPORTED,
                    Fault::Local => &LOCAL,
                    Fault::Timeout | Fault::Cut | Fault::Malformed | Fault::Unreachable => &CONNECT_FAILED,
                };
                (reason, story)
            }
        };
        Finding::new(reason, format!("{}: {story}", self.server.as_str()))
    }
}

/// Waits for a step, for at most its time limit.
async fn within<T>(step: &'static str, work: impl Future<Output = T>) -> Result<T, Refusal> {
    let deadline = clock::instant() + STEP_TIMEOUT;
    let late = |_| if clock::held_up(deadline) { Refusal::HeldUp(step) } else { Refusal::Late(step) };
    timeout_at(deadline, work).await.map_err(late)
}

fn info(op: Op) -> Result<ServerInfo, Refusal> {
    match op {
        Op::Info(info) => Ok(*info),
        Op::Error(text) => Err(Refusal::Said(text)),
        other => Err(foreign(format!("{} instead of INFO", other.word()))),
    }
}

/// Waits until the server has accepted the connection.
async fn welcome(transport: &mut Box<dyn Transport>, decoder: &mut Decoder) -> Result<(), Refusal> {
    for _ in 0..WORDS_BEFORE_PONG {
        match decoder.read(transport).await? {
            Op::Pong => return Ok(()),
            Op::Error(text) => return Err(Refusal::Said(text)),
            Op::Ping => transport.write_all(b"PONG\r\n").await?,
            Op::Info(_) | Op::Ok | Op::Message { .. } => {}
        }
    }
    Err(foreign("many messages, but no answer to CONNECT".to_owned()))
}

fn foreign(what: String) -> Refusal {
    Refusal::Read(Unreadable::Foreign(what).into())
}

/// Whether a silent server that accepts connections answers a TLS handshake. A server that hangs
/// does not. Nobody is trusted here, so a working handshake fails at the certificate at the latest.
async fn waits_for_tls(address: SocketAddr, host: &str) -> bool {
    let (Ok(tls), Ok(name)) = (tls::trusting_nobody(), ServerName::try_from(host.to_owned())) else { return false };
    // This needs a new connection, because the server may have given up the old one.
    let handshake = async { dial::secure(name, Arc::new(tls), TcpStream::connect(address).await?).await };
    match timeout(PROBE_TIMEOUT, handshake).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => speaks_tls(&error),
        Err(_) => false,
    }
}

/// Whether a handshake failed because of a TLS message of the peer.
fn speaks_tls(error: &io::Error) -> bool {
    let tls = failure::causes(error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    tls.is_some_and(|error| !matches!(error, rustls::Error::InvalidMessage(_)))
}

/// The reason for the server's error message.
pub(super) fn of_words(text: &str) -> &'static Reason {
    let text = text.to_ascii_lowercase();
    let of_login = ["authorization violation", "authentication expired", "authentication revoked"];
    if of_login.iter().any(|words| text.contains(words)) { &AUTH_FAILED } else { &CONNECTION_REJECTED }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    async fn late_after(time: Duration) -> Refusal {
        let work = async {
            tokio::time::advance(time).await;
            pending::<()>().await;
        };
        within("INFO", work).await.expect_err("it never ends")
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_was_held_up_accuses_no_server() {
        assert!(matches!(late_after(Duration::from_secs(1)).await, Refusal::Late("INFO")));
        assert!(matches!(late_after(Duration::from_secs(5)).await, Refusal::HeldUp("INFO")));
    }
}
