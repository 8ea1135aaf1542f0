//! The accept loop: it takes connections in, speaks TLS and HTTP on them, and closes those that
//! take too long. So no client can keep others from being answered.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::web::front::{Front, FrontOptions, Origin};
use crate::web::limits::{HEAD_BYTES, HEAD_LINES, Limits, STREAMS};
use crate::web::live::WebConfigFile;
use crate::web::tls;
pub(super) use connections::{Connection, Running};
use connections::{Connections, Held};
use watched::Watched;

mod connections;
mod watched;

/// How often overdue connections are looked for.
const SWEEP: Duration = Duration::from_millis(500);
/// How long the accept loop rests when the system has no descriptor.
const REST: Duration = Duration::from_millis(50);
/// How often a lack of descriptors is logged, in rests.
const TELL_EVERY: u32 = 1200;
/// How much HTTP/2 buffers of an answer for each request.
const HTTP2_BUFFER: usize = 64 << 10;

/// How the routes are served.
pub struct WebOptions {
    /// Where the server listens.
    pub listeners: Vec<TcpListener>,
    /// What its clients may use.
    pub limits: Limits,
    /// What stands before the routes.
    pub front: FrontOptions,
    /// TLS and passwords. None for plain HTTP that is open to everybody.
    pub config: Option<WebConfigFile>,
}

impl WebOptions {
    /// Serves until `stopped` becomes true. Then it accepts no more connections, and returns when
    /// the running requests have ended. Dropping it closes all connections.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub async fn serve(self, router: Router, stopped: watch::Receiver<bool>) -> io::Result<()> {
        let settings = match &self.config {
            Some(config) => config.settings(),
            None => watch::Sender::new(Arc::default()).subscribe(),
        };
        let front = Arc::new(Front::new(router, self.front, settings)?);
        let serving = serve(self.listeners, front, self.limits, stopped);
        match self.config {
            None => serving.await,
            Some(config) => tokio::select! {
                served = serving => served,
                () = config.follow() => Err(io::Error::other("nobody follows the web configuration")),
            },
        }
    }
}

async fn serve(
    listeners: Vec<TcpListener>,
    front: Arc<Front>,
    limits: Limits,
    stopped: watch::Receiver<bool>,
) -> io::Result<()> {
    let connections = Connections::new(limits);
    let mut loops = JoinSet::new();
    for listener in listeners {
        let server = Server { front: Arc::clone(&front), connections: Arc::clone(&connections) };
        loops.spawn(server.accept(listener, stopped.clone()));
    }
    let mut sweeps = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            ended = loops.join_next() => match ended {
                Some(ended) => ended.map_err(io::Error::other)?,
                None => return Ok(()),
            },
            _ = sweeps.tick() => connections.sweep(),
        }
    }
}

/// What an accept loop needs.
#[derive(Clone)]
struct Server {
    front: Arc<Front>,
    connections: Arc<Connections>,
}

impl Server {
    async fn accept(self, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
        let mut open = JoinSet::new();
        let mut rests = 0_u32;
        loop {
            let accepted = tokio::select! {
                () = stop(&mut stopped) => break,
                Some(_) = open.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    self.connections.make_room().await;
                    let held = self.connections.open();
                    open.spawn(self.clone().connection(stream, peer, held, stopped.clone()));
                }
                // The client gave up.
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    if rests.is_multiple_of(TELL_EVERY) {
                        warn!(%error, "no connection can be accepted; closing others to make room");
                    }
                    rests = rests.wrapping_add(1);
                    self.connections.give_way().await;
                    tokio::time::sleep(REST).await;
                }
            }
        }
        drop(listener);
        while open.join_next().await.is_some() {}
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, held: Held, stopped: watch::Receiver<bool>) {
        let connection = Arc::clone(&held.connection);
        tokio::select! {
            biased;
            () = connection.closed() => {}
            () = self.speak(stream, peer, &connection, stopped) => {}
        }
        drop(held);
    }

    /// Speaks TLS, if it is configured, and then HTTP.
    async fn speak(self, stream: TcpStream, peer: SocketAddr, on: &Arc<Connection>, stopped: watch::Receiver<bool>) {
        // Small answers are sent at once.
        let _ = stream.set_nodelay(true);
        let io = Watched::new(stream, Arc::clone(on));
        let settings = self.front.settings();
        let Some(tls) = settings.tls.clone() else {
            return self.http1(io, Origin { peer, is_secure: false, certificate: None }, on, stopped).await;
        };
        let secured = match tokio_rustls::TlsAcceptor::from(tls).accept(io).await {
            Ok(secured) => secured,
            Err(error) => {
                debug!(%peer, %error, "the TLS handshake failed");
                return;
            }
        };
        let session = secured.get_ref().1;
        let shown = session.peer_certificates().and_then(|chain| chain.first()).filter(|_| settings.verifies_clients);
        let origin = Origin { peer, is_secure: true, certificate: shown.and_then(tls::client::subject) };
        if session.alpn_protocol() == Some(b"h2") {
            on.speaks_http2();
            self.http2(secured, origin, on, stopped).await;
        } else {
            self.http1(secured, origin, on, stopped).await;
        }
    }

    async fn http1<I: AsyncRead + AsyncWrite + Unpin + 'static>(
        self,
        io: I,
        origin: Origin,
        on: &Arc<Connection>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let peer = origin.peer;
        let service = service_fn(|request| self.answer(request, origin.clone(), on));
        let mut builder = http1::Builder::new();
        // The times are limited by the sweeps, which know all connections.
        builder.timer(TokioTimer::new()).header_read_timeout(None);
        builder.max_headers(HEAD_LINES).max_header_size(HEAD_BYTES).max_buf_size(HEAD_BYTES);
        let mut serving = pin!(builder.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = stop(&mut stopped) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        tell(peer, ended);
    }

    async fn http2<I: AsyncRead + AsyncWrite + Unpin + 'static>(
        self,
        io: I,
        origin: Origin,
        on: &Arc<Connection>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let (server, on, peer) = (self, Arc::clone(on), origin.peer);
        let service = service_fn(move |request| {
            let (server, on, origin) = (server.clone(), Arc::clone(&on), origin.clone());
            async move { server.answer(request, origin, &on).await }
        });
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_concurrent_streams(STREAMS).max_send_buf_size(HTTP2_BUFFER);
        builder.max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX));
        let mut serving: Pin<&mut _> = pin!(builder.serve_connection(TokioIo::new(io), service));
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = stop(&mut stopped) => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        tell(peer, ended);
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        origin: Origin,
        on: &Arc<Connection>,
    ) -> Result<axum::response::Response, Infallible> {
        Ok(self.front.answer(request.map(Body::new), origin, on.request()).await)
    }
}

/// Completes when the server is told to stop.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    // A dropped sender means the same as a message.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn tell(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        debug!(%peer, %error, "a connection ended with an error");
    }
}

/// Whether accepting failed because of the client.
fn is_of_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}
