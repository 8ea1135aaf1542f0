//! A DNS server of few lines, which sends what no good server would.

use std::net::SocketAddr;
use std::sync::Arc;

use hickory_server::proto::op::{Message, ResponseCode};
use hickory_server::proto::rr::rdata::{A, CNAME, NS, SOA};
use hickory_server::proto::rr::{Name, RData, Record};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

use dr_testkit::{datagrams, free_ports, listen, own_ip};

/// Makes answers, each the bytes of a datagram, of a question.
pub type Answers = dyn Fn(&Message) -> Vec<Vec<u8>> + Send + Sync;

/// What becomes of TCP.
pub enum Tcp {
    /// Nobody listens.
    Refused,
    /// Connections are not taken: what would open them is dropped.
    Dropped,
    /// They are taken, and nothing comes.
    Silent,
    /// These bytes come, and the end.
    Sends(Vec<u8>),
    /// Answers come, as datagrams would.
    Answers(Arc<Answers>),
}

/// A server on an address of its own. Dropping it ends it.
pub struct Odd {
    pub address: SocketAddr,
    _tasks: JoinSet<()>,
    _held: Vec<TcpStream>,
}

impl Odd {
    /// One that answers datagrams so.
    pub async fn new(answers: impl Fn(&Message) -> Vec<Vec<u8>> + Send + Sync + 'static, tcp: Tcp) -> Self {
        let [address] = free_ports(own_ip());
        let socket = datagrams(address);
        let (mut tasks, mut held) = (JoinSet::new(), Vec::new());
        tasks.spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let question = Message::from_vec(&buffer[..length]).expect("a question");
                for answer in answers(&question) {
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        match tcp {
            Tcp::Refused => {}
            Tcp::Dropped => held = full(address, &mut tasks).await,
            tcp => {
                let listener = listen(address);
                tasks.spawn(async move {
                    let mut open = Vec::new();
                    while let Ok((mut stream, _)) = listener.accept().await {
                        serve(&mut stream, &tcp).await;
                        if matches!(tcp, Tcp::Silent) {
                            open.push(stream);
                        }
                    }
                });
            }
        }
        Self { address, _tasks: tasks, _held: held }
    }

    /// One that gives the same answer over UDP and TCP.
    pub async fn same(answer: impl Fn(&Message) -> Message + Send + Sync + 'static) -> Self {
        let answers: Arc<Answers> = Arc::new(move |question| vec![answer(question).to_vec().expect("a message")]);
        let over_udp = Arc::clone(&answers);
        Self::new(move |question| over_udp(question), Tcp::Answers(answers)).await
    }

    pub fn udp(&self) -> String {
        self.address.to_string()
    }
}

async fn serve(stream: &mut TcpStream, tcp: &Tcp) {
    let Ok(length) = stream.read_u16().await else { return };
    let mut question = vec![0; usize::from(length)];
    if stream.read_exact(&mut question).await.is_err() {
        return;
    }
    match tcp {
        Tcp::Sends(bytes) => drop(stream.write_all(bytes).await),
        Tcp::Answers(answers) => {
            for answer in answers(&Message::from_vec(&question).expect("a question")) {
                let length = u16::try_from(answer.len()).expect("it fits");
                let _ = stream.write_all(&[&length.to_be_bytes(), answer.as_slice()].concat()).await;
            }
        }
        _ => {}
    }
}

/// A listener whose queue is full: the system drops what would open another connection.
async fn full(address: SocketAddr, tasks: &mut JoinSet<()>) -> Vec<TcpStream> {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(address).expect("the address is its own");
    let listener = socket.listen(1).expect("it listens");
    tasks.spawn(async move {
        std::future::pending::<()>().await;
        drop(listener);
    });
    let mut held = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(std::time::Duration::from_millis(300), TcpStream::connect(address)).await
    {
        held.push(stream);
    }
    held
}

pub fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

pub fn a(of: &str, last: u8) -> Record {
    Record::from_rdata(name(of), 60, RData::A(A::new(192, 0, 2, last)))
}

pub fn cname(of: &str, to: &str) -> Record {
    Record::from_rdata(name(of), 60, RData::CNAME(CNAME(name(to))))
}

pub fn ns(of: &str, to: &str) -> Record {
    Record::from_rdata(name(of), 60, RData::NS(NS(name(to))))
}

pub fn soa(of: &str) -> Record {
    let soa = SOA::new(name("ns.example.com."), name("ops.example.com."), 1, 60, 60, 60, 60);
    Record::from_rdata(name(of), 60, RData::SOA(soa))
}

/// Who answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The zone's own server.
    Zone,
    /// A resolver.
    Resolver,
    /// Neither.
    Nobody,
}

/// The answer to a question; it has no EDNS.
pub fn answer(question: &Message, by: By, code: ResponseCode, answers: &[Record], authorities: &[Record]) -> Message {
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.queries = question.queries.clone();
    message.metadata.authoritative = by == By::Zone;
    message.metadata.recursion_available = by == By::Resolver;
    message.metadata.response_code = code;
    message.answers = answers.to_vec();
    message.authorities = authorities.to_vec();
    message
}

/// The name that is asked for.
pub fn asked(question: &Message) -> String {
    question.queries[0].name().to_ascii().to_ascii_lowercase()
}
