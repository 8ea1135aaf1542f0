//! An HTTP/1.1 server that misbehaves exactly as it is told, on a loopback port that the system chooses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::HandshakeKind;

/// What a client asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    /// As long as `content-length` says.
    pub body: String,
    /// The name that was asked for in TLS.
    pub sni: Option<String>,
}

/// What the server does once it has sent its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Waits for the next request.
    Serve,
    /// Closes the connection.
    Close,
    /// Closes the connection without a word about it in TLS.
    Drop,
    /// Resets the connection.
    Reset,
    /// Sends nothing more, and keeps the connection open.
    Hang,
    /// Sends the last 64 KiB of its bytes again and again.
    Repeat,
}

/// What the server sends, and does then.
#[derive(Debug, Clone)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub then: Then,
}

impl Reply {
    /// A whole answer.
    pub fn new(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len();
        let mut bytes = format!("HTTP/1.1 {status} Text\r\ncontent-length: {length}\r\n{headers}\r\n").into_bytes();
        bytes.extend_from_slice(body.as_ref());
        Self { bytes, then: Then::Serve }
    }

    pub fn redirect(status: u16, location: &str) -> Self {
        Self::new(status, &format!("location: {location}\r\n"), "")
    }

    /// These bytes and nothing else.
    pub fn raw(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        Self { bytes: bytes.into(), then }
    }
}

type Handler = Arc<dyn Fn(&Request) -> Reply + Send + Sync>;

/// A running server; it ends with this value.
pub struct Server {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    resumptions: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Request>>>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Serves plain HTTP.
    pub async fn start(handler: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::launch(None, Arc::new(handler)).await
    }

    /// Serves HTTPS.
    pub async fn start_tls(
        config: tokio_rustls::rustls::ServerConfig,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::launch(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(handler)).await
    }

    async fn launch(tls: Option<TlsAcceptor>, handler: Handler) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("the port's number");
        let connections = Arc::new(AtomicUsize::new(0));
        let resumptions = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = JoinSet::new();
        let (counter, resumed, log) = (Arc::clone(&connections), Arc::clone(&resumptions), Arc::clone(&requests));
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                open.spawn(connection(
                    stream,
                    tls.clone(),
                    Arc::clone(&handler),
                    Arc::clone(&log),
                    Arc::clone(&resumed),
                ));
            }
        });
        Self { address, connections, resumptions, requests, tasks }
    }

    /// The URL of a target, by address.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// The same by name.
    pub fn named(&self, scheme: &str, target: &str) -> String {
        format!("{scheme}://localhost:{}{target}", self.address.port())
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many TLS connections went on from an earlier one, without showing the certificate again.
    pub fn resumptions(&self) -> usize {
        self.resumptions.load(Ordering::SeqCst)
    }

    /// What was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("the log").clone()
    }

    /// What was asked last.
    pub fn last(&self) -> Request {
        self.requests().pop().expect("a request")
    }

    /// Stops serving.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// An address of this machine where nothing listens.
pub fn nowhere() -> SocketAddr {
    let [address] = dr_testkit::free_ports([127, 0, 0, 1].into());
    address
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    handler: Handler,
    log: Arc<Mutex<Vec<Request>>>,
    resumed: Arc<AtomicUsize>,
) {
    match tls {
        None => {
            if let Some(stream) = serve(stream, None, &handler, &log).await {
                stream.set_zero_linger().expect("linger");
            }
        }
        Some(tls) => {
            let Ok(stream) = tls.accept(stream).await else { return };
            if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
                resumed.fetch_add(1, Ordering::SeqCst);
            }
            let sni = stream.get_ref().1.server_name().map(ToOwned::to_owned);
            if let Some(stream) = serve(stream, sni, &handler, &log).await {
                stream.get_ref().0.set_zero_linger().expect("linger");
            }
        }
    }
}

/// Serves until the connection ends; hands it back if it is to be reset.
async fn serve<S>(mut stream: S, sni: Option<String>, handler: &Handler, log: &Mutex<Vec<Request>>) -> Option<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(request) = receive(&mut stream).await {
        let request = Request { sni: sni.clone(), ..request };
        log.lock().expect("the log").push(request.clone());
        let reply = handler(&request);
        stream.write_all(&reply.bytes).await.ok()?;
        stream.flush().await.ok()?;
        match reply.then {
            Then::Serve => {}
            Then::Close => {
                let _ = stream.shutdown().await;
                return None;
            }
            Then::Drop => return None,
            Then::Reset => return Some(stream),
            Then::Hang => std::future::pending::<()>().await,
            Then::Repeat => {
                let tail = &reply.bytes[reply.bytes.len().saturating_sub(64 << 10)..];
                while stream.write_all(tail).await.is_ok() {}
                return None;
            }
        }
    }
    None
}

async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).expect("a head of text");
    let mut lines = head.lines();
    let mut words = lines.next().expect("a request line").split(' ');
    let mut request = Request {
        method: words.next().unwrap_or_default().to_owned(),
        target: words.next().unwrap_or_default().to_owned(),
        ..Request::default()
    };
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').expect("a header");
        request.headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = request.headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).expect("a body of text");
    Some(request)
}
