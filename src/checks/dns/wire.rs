//! One question over the network: UDP, TCP and TLS.
//!
//! A question says with EDNS how large an answer may be. A server that does not accept EDNS, or is
//! silent, is asked again without it. An answer that does not fit into UDP is asked for again over
//! TCP. If only TCP fails, the finding says that there was an answer over UDP.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::{Instant, timeout_at};

use super::answer::Question;
use super::{
    BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, LOCAL, TCP_FAILED, TIMEOUT, TLS_FAILED, TLS_UNSUPPORTED,
};
use crate::clients::dial;
use crate::clients::failure::{self, Failure, Fault};
use crate::clients::tls::ReloadingTls;
use crate::clock;
use crate::decode::values::{DnsTransport, Resolver};
use crate::domain::observation::Finding;

/// The largest UDP answer. Every network carries this size in one packet.
const PAYLOAD: u16 = 1232;
/// How long to wait for a UDP answer before the question is sent again: it may have been lost.
const RESEND: Duration = Duration::from_secs(1);
/// How often it is sent, if there is less time.
const SENDS: u32 = 3;
/// The shortest wait between two sends.
const SHORTEST: Duration = Duration::from_millis(10);

/// The connection to a resolver, for the questions of one run.
pub(super) struct Way<'a> {
    resolver: &'a Resolver,
    trust: &'a ReloadingTls,
    deadline: Instant,
    /// The time from the beginning to the deadline.
    patience: Duration,
    /// Whether to use EDNS. It is used until the resolver shows that it does not accept it.
    edns: bool,
}

/// An encoded question.
struct Asked {
    message: Message,
    bytes: Vec<u8>,
}

impl Asked {
    fn new(question: &Question, edns: bool) -> Result<Self, Finding> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(question.name.clone(), question.record_type()));
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            message.set_edns(edns);
        }
        let bytes = message.to_vec();
        let bytes = bytes.map_err(|error| Finding::new(&LOCAL, format!("the question cannot be encoded: {error}")))?;
        Ok(Self { message, bytes })
    }
}

impl<'a> Way<'a> {
    pub(super) fn to(resolver: &'a Resolver, trust: &'a ReloadingTls, deadline: Instant) -> Self {
        let patience = deadline.saturating_duration_since(clock::instant());
        Self { resolver, trust, deadline, patience, edns: true }
    }

    /// One question, one answer.
    ///
    /// # Errors
    /// There is no complete answer by the deadline.
    pub(super) async fn ask(&mut self, question: &Question) -> Result<Message, Finding> {
        if self.resolver.transport != DnsTransport::Udp {
            return self.over_stream(question).await;
        }
        let datagram = self.over_udp(question).await?;
        if datagram.as_ref().is_ok_and(|message| !message.metadata.truncation) {
            return datagram;
        }
        match (self.over_stream(question).await, datagram) {
            (Ok(message), _) => Ok(message),
            // The error code of the UDP answer counts.
            (Err(_), Ok(cut)) if cut.metadata.response_code != ResponseCode::NoError => Ok(cut),
            (Err(failed), Ok(_)) if failed.reason != &LOCAL => {
                let over_udp = "over UDP it says that the answer does not fit";
                Err(Finding::new(&TCP_FAILED, format!("{over_udp}; over TCP {}", failed.detail)))
            }
            (Err(failed), Ok(_)) => Err(failed),
            (Err(_), Err(malformed)) => Err(malformed),
        }
    }

    /// The UDP answer, or that it cannot be read.
    async fn over_udp(&mut self, question: &Question) -> Result<Result<Message, Finding>, Finding> {
        let address = self.resolver.address;
        let failed = |error: io::Error| of_io(&error, address.ip());
        let any: IpAddr = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
        // On a connected socket the system drops packets from elsewhere, and reports a closed port.
        socket.connect(address).await.map_err(failed)?;
        let (plain, extended) = (Asked::new(question, false)?, Asked::new(question, true)?);
        let wait = RESEND.min(self.patience / SENDS).max(SHORTEST);
        let mut buffer = vec![0; usize::from(u16::MAX)];
        let (mut strays, mut sends, mut objection) = (0, 0_u32, None);
        loop {
            // Some servers and firewalls drop questions with EDNS, so every second one has none.
            let asked = if self.edns && sends.is_multiple_of(2) { &extended } else { &plain };
            socket.send(&asked.bytes).await.map_err(failed)?;
            sends = sends.saturating_add(1);
            let until = self.deadline.min(clock::instant().checked_add(wait).unwrap_or(self.deadline));
            while let Ok(received) = timeout_at(until, socket.recv(&mut buffer)).await {
                let bytes = buffer.get(..received.map_err(failed)?).unwrap_or_default();
                let to_extended = understood(bytes, &extended.message).filter(|_| self.edns);
                if to_extended.as_ref().is_some_and(objects_to_edns) {
                    (self.edns, objection) = (false, to_extended);
                    break;
                }
                if let Some(answer) = to_extended {
                    return Ok(answer);
                }
                if let Some(answer) = understood(bytes, &plain.message) {
                    self.edns = false;
                    return Ok(answer);
                }
                strays += 1;
            }
            if clock::instant() >= self.deadline {
                // If it is silent without EDNS, its answer to the question with EDNS is all there
                // is.
                return objection.ok_or_else(|| self.in_vain(strays));
            }
        }
    }

    /// No UDP answer to the question arrived.
    fn in_vain(&self, strays: u32) -> Finding {
        let others = match strays {
            0 => String::new(),
            1 => "; one packet arrived, but it answers another question".to_owned(),
            several => format!("; {several} packets arrived, but they answer other questions"),
        };
        self.late(format!("no answer within {:.1} s{others}", self.patience.as_secs_f64()))
    }

    /// No answer until the deadline, unless we ourselves were late to look.
    fn late(&self, story: String) -> Finding {
        if clock::held_up(self.deadline) {
            return Finding::new(&LOCAL, "the exporter itself was held up");
        }
        Finding::new(&TIMEOUT, story)
    }

    async fn over_stream(&mut self, question: &Question) -> Result<Message, Finding> {
        let first = self.over_a_new_stream(question).await;
        let objects = match &first {
            Ok(answer) => objects_to_edns(answer),
            // Some servers do not answer questions with EDNS at all.
            Err(Broken { cut, .. }) => *cut,
        };
        let answer = if self.edns && objects {
            self.edns = false;
            // If it breaks off without EDNS, its answer to the question with EDNS is all there is.
            self.over_a_new_stream(question).await.or_else(|broken| first.map_err(|_| broken))
        } else {
            first
        };
        answer.map_err(|broken| broken.finding)?
    }

    /// The answer over a new connection, or that it cannot be read.
    async fn over_a_new_stream(&self, question: &Question) -> Result<Result<Message, Finding>, Broken> {
        let address = self.resolver.address;
        let asked = Asked::new(question, self.edns)?;
        let stream = self.in_time(TcpStream::connect(address), "accepts no connection").await?;
        let stream = stream.map_err(|error| of_io(&error, address.ip()))?;
        let answer = match &self.resolver.transport {
            DnsTransport::Udp | DnsTransport::Tcp => {
                self.in_time(converse(stream, address.ip(), &asked), "accepts the connection, but gives no answer")
                    .await?
            }
            DnsTransport::Tls(name) => {
                let secured = secure(stream, name.clone(), address.ip(), self.trust);
                let stream = self.in_time(secured, "does not finish the TLS handshake").await??;
                self.in_time(converse(stream, address.ip(), &asked), "accepts the connection, but gives no answer")
                    .await?
            }
        };
        let bytes = answer?;
        Ok(understood(&bytes, &asked.message)
            .unwrap_or_else(|| Err(Finding::new(&BAD_ANSWER, "it answers another question"))))
    }

    async fn in_time<T>(&self, work: impl Future<Output = T>, story: &str) -> Result<T, Finding> {
        let patience = self.patience.as_secs_f64();
        let late = |_| self.late(format!("it {story}: no answer within {patience:.1} s"));
        timeout_at(self.deadline, work).await.map_err(late)
    }
}

/// Why a connection gave no answer.
struct Broken {
    finding: Finding,
    /// Whether the server closed it instead of answering.
    cut: bool,
}

impl From<Finding> for Broken {
    fn from(finding: Finding) -> Self {
        Self { finding, cut: false }
    }
}

/// Asks over a connection, and returns the bytes of the answer.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: IpAddr,
    asked: &Asked,
) -> Result<Vec<u8>, Broken> {
    let failed = |error: io::Error| {
        let cut = failure::classify(&error, &[address]).fault == Fault::Cut;
        Broken { finding: of_io(&error, address), cut }
    };
    let length = u16::try_from(asked.bytes.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes(), asked.bytes.as_slice()].concat();
    stream.write_all(&framed).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let length = stream.read_u16().await.map_err(failed)?;
    let mut answer = Vec::new();
    stream.take(u64::from(length)).read_to_end(&mut answer).await.map_err(failed)?;
    if answer.len() < usize::from(length) {
        let story = format!("it closes the connection after {} of {length} bytes of its answer", answer.len());
        return Err(Broken { finding: Finding::new(&CONNECT_FAILED, story), cut: true });
    }
    Ok(answer)
}

async fn secure(
    stream: TcpStream,
    name: ServerName<'static>,
    address: IpAddr,
    trust: &ReloadingTls,
) -> Result<impl AsyncRead + AsyncWrite + Unpin, Finding> {
    let trust = trust.current().await.map_err(|error| Finding::new(&CREDENTIALS_UNREADABLE, error.to_string()))?;
    dial::secure(name, trust, stream).await.map_err(|error| match error.kind() {
        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => {
            Finding::new(&TLS_FAILED, format!("the resolver closed the connection during the TLS handshake: {error}"))
        }
        _ => of_io(&error, address),
    })
}

/// The length of a header. The counts of the records that are not answers are at the second place.
const HEADER: usize = 12;
const BESIDE_ANSWERS: std::ops::Range<usize> = 8..HEADER;

/// The answer to a query, or that it cannot be read. None if it answers something else.
fn understood(bytes: &[u8], query: &Message) -> Option<Result<Message, Finding>> {
    if bytes.first_chunk() != Some(&query.metadata.id.to_be_bytes()) {
        return None;
    }
    match Message::from_vec(bytes) {
        Ok(message) => answers(&message, query).then_some(Ok(message)),
        Err(error) => match readable_part(bytes) {
            Some(part) => answers(&part, query).then_some(Ok(part)),
            None => Some(Err(Finding::new(&BAD_ANSWER, format!("the answer is not a DNS message: {error}")))),
        },
    }
}

fn answers(message: &Message, query: &Message) -> bool {
    let of_query = message.metadata.op_code == OpCode::Query;
    // A server that refuses may leave out the question.
    let fits = message.queries == query.queries || message.queries.is_empty() && message.answers.is_empty();
    fits && of_query && message.metadata.message_type == MessageType::Response
}

/// The readable part of a malformed message: everything except the records that are not answers, or
/// the error code.
fn readable_part(bytes: &[u8]) -> Option<Message> {
    let mut bytes = bytes.to_vec();
    bytes.get_mut(BESIDE_ANSWERS)?.fill(0);
    if let Ok(message) = Message::from_vec(&bytes) {
        return Some(message);
    }
    bytes.truncate(HEADER);
    bytes.get_mut(4..HEADER)?.fill(0);
    let header = Message::from_vec(&bytes).ok()?;
    let is_result = [ResponseCode::NoError, ResponseCode::NXDomain].contains(&header.metadata.response_code);
    (!is_result && header.metadata.message_type == MessageType::Response).then_some(header)
}

/// Whether an answer to a question with EDNS may only be about EDNS. A server that supports EDNS
/// shows it in the answer.
fn objects_to_edns(answer: &Result<Message, Finding>) -> bool {
    let Ok(message) = answer else { return true };
    match message.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => false,
        // BADVERS and BADSIG have the same number.
        ResponseCode::FormErr
        | ResponseCode::NotImp
        | ResponseCode::BADCOOKIE
        | ResponseCode::BADVERS
        | ResponseCode::BADSIG => true,
        _ => message.edns.is_none(),
    }
}

fn of_io(error: &io::Error, address: IpAddr) -> Finding {
    let Failure { fault, story } = failure::classify(error, &[address]);
    match fault {
        Fault::Local => Finding::new(&LOCAL, format!("a problem of this machine: {story}")),
        Fault::Tls => Finding::new(&TLS_FAILED, story),
        Fault::TlsUnsupported => Finding::new(&TLS_UNSUPPORTED, story),
        Fault::Timeout => Finding::new(&TIMEOUT, format!("no connection: {story}")),
        Fault::Cut => Finding::new(&CONNECT_FAILED, format!("it closes the connection without an answer: {story}")),
        Fault::Malformed | Fault::Unreachable => {
            Finding::new(&CONNECT_FAILED, format!("it cannot be reached: {story}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{Name, RecordType};

    use super::*;

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
            let outcome = match understood(&bytes, &query) {
                Some(Ok(_)) => "answer",
                None => "not meant",
                Some(Err(finding)) => finding.reason.label,
            };
            assert_eq!(outcome, expected, "{case}");
        }
    }

    #[test]
    fn no_bytes_of_a_server_break_it() {
        use hickory_proto::rr::rdata::{A, CNAME};
        use hickory_proto::rr::{RData, Record};

        use crate::checks::dns::answer;
        use crate::decode::values::DnsType;

        let name = |text| Name::from_ascii(text).unwrap();
        let mut query = Message::query();
        query.add_query(Query::query(name("api.example.com."), RecordType::A));
        let mut reply = query.clone().into_response();
        let to = RData::CNAME(CNAME(name("other.example.com.")));
        reply.add_answer(Record::from_rdata(name("api.example.com."), 60, to));
        reply.add_answer(Record::from_rdata(name("other.example.com."), 60, RData::A(A::new(192, 0, 2, 1))));
        let (reply, bare) = (reply.to_vec().unwrap(), query.clone().into_response().to_vec().unwrap());
        let question = Question { name: name("api.example.com."), kind: DnsType::A };
        crate::fuzzing::bytes(&[&reply, &bare], |bytes| {
            if let Some(Ok(message)) = understood(bytes, &query) {
                let _ = answer::read(&message, &question);
            }
        });
    }
}
