//! One question to one resolver: every run anew, without a cache, a hosts file or search domains.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, Query};
use resolv_conf::ScopedIp;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use super::answer::{ALIASES, Question, Said, Target, read, too_many_aliases};
use super::{BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, LOCAL, NO_RESOLVERS, TIMEOUT, TLS_FAILED};
use crate::clients::blocking;
use crate::clients::failure::{self, Failure, Fault};
use crate::clients::tls::ReloadingTls;
use crate::clock;
use crate::config::values::{DnsTransport, Resolver};
use crate::domain::observation::Finding;

/// Where a name leads to, as one resolver tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// All of it.
    pub targets: BTreeSet<Target>,
    /// The lowest TTL on the way.
    pub ttl: Duration,
    /// When it came.
    pub at: Instant,
}

/// How long a datagram may be under way before it is sent again: it may have been lost.
const RESEND: Duration = Duration::from_secs(1);
/// How often it is sent where there is less time.
const SENDS: u32 = 3;
/// The shortest wait between two.
const SHORTEST: Duration = Duration::from_millis(10);

/// Asks a resolver, and asks on where it tells of an alias alone.
///
/// # Errors
/// There is no answer by `deadline`, or it leads nowhere.
pub(super) async fn resolve(
    resolver: &Resolver,
    question: &Question,
    trust: &ReloadingTls,
    deadline: Instant,
) -> Result<Answer, Finding> {
    let patience = deadline.saturating_duration_since(clock::instant());
    let asked = timeout_at(deadline, follow(resolver, question, trust, patience)).await;
    asked.unwrap_or_else(|_| Err(Finding::new(&TIMEOUT, format!("no answer within {:.1} s", patience.as_secs_f64()))))
}

async fn follow(
    resolver: &Resolver,
    question: &Question,
    trust: &ReloadingTls,
    patience: Duration,
) -> Result<Answer, Finding> {
    let (mut asked, mut lowest) = (question.clone(), Duration::MAX);
    for _ in 0..=ALIASES {
        let message = exchange(resolver, &asked, trust, patience).await?;
        match read(&message, &asked)? {
            Said::Leads { targets, ttl } => {
                return Ok(Answer { targets, ttl: ttl.min(lowest), at: clock::instant() });
            }
            Said::Alias { name, ttl } => (asked.name, lowest) = (name, ttl.min(lowest)),
        }
    }
    Err(too_many_aliases(&question.name))
}

/// One question, one answer.
async fn exchange(
    resolver: &Resolver,
    question: &Question,
    trust: &ReloadingTls,
    patience: Duration,
) -> Result<Message, Finding> {
    let address = resolver.address;
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(question.name.clone(), question.record_type()));
    let bytes = query.to_vec().map_err(|error| Finding::new(&LOCAL, format!("no question can be made: {error}")))?;
    if resolver.transport == DnsTransport::Udp {
        let answer = over_udp(address, &query, &bytes, patience).await?;
        if !answer.metadata.truncation {
            return Ok(answer);
        }
    }
    let stream = TcpStream::connect(address).await.map_err(|error| of_io(&error, address.ip()))?;
    match &resolver.transport {
        DnsTransport::Udp | DnsTransport::Tcp => over_stream(stream, address, &query, &bytes).await,
        DnsTransport::Tls(name) => {
            let stream = secure(stream, name.clone(), address, trust).await?;
            over_stream(stream, address, &query, &bytes).await
        }
    }
}

async fn over_udp(address: SocketAddr, query: &Message, bytes: &[u8], patience: Duration) -> Result<Message, Finding> {
    let failed = |error: io::Error| of_io(&error, address.ip());
    let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    // The system then takes nothing from elsewhere, and tells when nobody listens there.
    socket.connect(address).await.map_err(failed)?;
    let wait = RESEND.min(patience / SENDS).max(SHORTEST);
    let mut buffer = vec![0; usize::from(u16::MAX)];
    loop {
        socket.send(bytes).await.map_err(failed)?;
        let Ok(answer) = timeout(wait, async {
            loop {
                let length = socket.recv(&mut buffer).await.map_err(failed)?;
                // Another is an answer to nothing that was asked here.
                if let Some(answer) = understood(buffer.get(..length).unwrap_or_default(), query)? {
                    return Ok(answer);
                }
            }
        })
        .await
        else {
            continue;
        };
        return answer;
    }
}

async fn over_stream(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: SocketAddr,
    query: &Message,
    bytes: &[u8],
) -> Result<Message, Finding> {
    let failed = |error: io::Error| of_io(&error, address.ip());
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes(), bytes].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut buffer = vec![0; usize::from(length)];
    stream.read_exact(&mut buffer).await.map_err(failed)?;
    understood(&buffer, query)?.ok_or_else(|| Finding::new(&BAD_ANSWER, "it answers something that was not asked"))
}

async fn secure(
    stream: TcpStream,
    name: ServerName<'static>,
    address: SocketAddr,
    trust: &ReloadingTls,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, Finding> {
    let trust = trust.current().await.map_err(|error| Finding::new(&CREDENTIALS_UNREADABLE, error.to_string()))?;
    TlsConnector::from(trust).connect(name, stream).await.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            Finding::new(&TLS_FAILED, format!("the resolver ended the connection in the TLS handshake: {error}"))
        }
        _ => of_io(&error, address.ip()),
    })
}

/// The answer to a query that a message is; none if it is one to something else.
fn understood(bytes: &[u8], query: &Message) -> Result<Option<Message>, Finding> {
    if bytes.first_chunk() != Some(&query.metadata.id.to_be_bytes()) {
        return Ok(None);
    }
    let message = Message::from_vec(bytes)
        .map_err(|error| Finding::new(&BAD_ANSWER, format!("what came is no DNS message: {error}")))?;
    // One that refuses may leave the question out.
    let fits = message.queries == query.queries || message.queries.is_empty() && message.answers.is_empty();
    Ok(Some(message).filter(|message| fits && message.metadata.message_type == MessageType::Response))
}

fn of_io(error: &io::Error, address: IpAddr) -> Finding {
    let Failure { fault, story } = failure::classify(error, &[address]);
    match fault {
        Fault::Local => Finding::new(&LOCAL, format!("this machine could not do it: {story}")),
        Fault::Tls => Finding::new(&TLS_FAILED, story),
        Fault::Timeout => Finding::new(&TIMEOUT, format!("no connection: {story}")),
        Fault::Cut => Finding::new(&CONNECT_FAILED, format!("it ends the connection without an answer: {story}")),
        Fault::Malformed | Fault::Unreachable => {
            Finding::new(&CONNECT_FAILED, format!("it cannot be reached: {story}"))
        }
    }
}

/// Where the system's resolvers are named.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many of them programs ask.
const ASKED: usize = 3;

/// The resolvers that the programs of this machine ask, as they are configured now.
///
/// # Errors
/// None is configured.
pub(super) async fn of_system() -> Result<Vec<Resolver>, Finding> {
    blocking(|| {
        let none = |why: String| Finding::new(&NO_RESOLVERS, format!("{RESOLV_CONF} {why}"));
        let text = std::fs::read(RESOLV_CONF).map_err(|error| none(format!("cannot be read: {error}")))?;
        let resolvers = named_in(&text);
        if resolvers.is_empty() { Err(none("names no resolver".to_owned())) } else { Ok(resolvers) }
    })
    .await
}

/// The resolvers that a `resolv.conf` names; what else is in it, or wrong with it, is no matter here.
fn named_in(text: &[u8]) -> Vec<Resolver> {
    let (parsed, _) = resolv_conf::Config::parse_with_errors(text);
    let address = |named: &ScopedIp| match named {
        ScopedIp::V4(address) => SocketAddr::from((*address, Resolver::port())),
        ScopedIp::V6(address, scope) => {
            let scope = scope.as_deref().map_or(0, link);
            SocketAddrV6::new(*address, Resolver::port(), 0, scope).into()
        }
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in parsed.nameservers.iter().take(ASKED).map(address) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.into_iter().map(Resolver::of_system).collect()
}

/// The number of a network link, which may be given by its name.
fn link(scope: &str) -> u32 {
    let number = |text: &str| text.trim().parse().ok();
    let of_name = || number(&std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?);
    number(scope).or_else(of_name).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

    #[test]
    fn the_systems_resolvers() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("search example.com\noptions ndots:5\n", &[]),
            ("nameserver 10.0.0.1\n", &["10.0.0.1"]),
            ("# nameserver 10.0.0.9\nnameserver 10.0.0.1 \nnameserver 2001:db8::1\n", &["10.0.0.1", "2001:db8::1"]),
            ("nameserver nonsense\nnameserver 10.0.0.1\nwhat is this\n", &["10.0.0.1"]),
            ("nameserver fe80::1%1\n", &["[fe80::1%1]:53"]),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n",
                &["10.0.0.1", "10.0.0.2"],
            ),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = named_in(text.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected, "{text}");
        }
    }

    #[test]
    fn what_is_an_answer_to_a_query() {
        let asked = |name| Query::query(Name::from_ascii(name).unwrap(), RecordType::A);
        let mut query = Message::query();
        query.add_query(asked("api.example.com."));
        let bytes = |message: &Message| message.to_vec().unwrap();
        let answer = query.clone().into_response();
        let mut other_id = answer.clone();
        other_id.metadata.id ^= 1;
        let mut other_name = answer.clone();
        other_name.queries = vec![asked("b.example.com.")];
        let mut bare = answer.clone();
        bare.queries.clear();
        for (case, bytes, expected) in [
            ("the answer", bytes(&answer), "answer"),
            ("a refusal without the question", bytes(&bare), "answer"),
            ("the query itself", bytes(&query), "not meant"),
            ("another id", bytes(&other_id), "not meant"),
            ("another name", bytes(&other_name), "not meant"),
            ("nothing", vec![], "not meant"),
            ("cut off", bytes(&answer)[..20].to_vec(), "bad_answer"),
        ] {
            let told = match understood(&bytes, &query) {
                Ok(Some(_)) => "answer",
                Ok(None) => "not meant",
                Err(finding) => finding.reason.label,
            };
            assert_eq!(told, expected, "{case}");
        }
    }
}
