//! Makes a connection: the lookup of a name, TCP, and TLS.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower::Service;
use url::Host;

use super::route::has_route;

/// The place that a connection leads to, and the name that is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The host to connect to.
    pub(crate) host: Host,
    /// The port to connect to.
    pub(crate) port: u16,
    /// The name that the server must prove with TLS.
    pub(crate) name: Host,
}

/// Follows the steps of a connection, so that a time-out can tell where the time went.
pub(crate) trait Steps: Send + Sync {
    /// The lookup of the name begins.
    fn resolving(&self);

    /// The lookup is over. These addresses are tried.
    fn resolved(&self, addresses: Vec<IpAddr>);
}

/// An error of any step. Its causes tell which one it was.
pub(crate) type DialError = Box<dyn Error + Send + Sync>;

/// Makes a TCP connection within `patience`. The addresses of a name share this time, so that a
/// dead one leaves time for the next.
pub(crate) async fn tcp<S: Steps + 'static>(
    place: &Place,
    patience: Duration,
    steps: &Arc<S>,
) -> Result<TcpStream, DialError> {
    let name = match &place.host {
        Host::Domain(name) => name,
        Host::Ipv4(address) => return tcp_to((*address, place.port).into(), patience).await,
        Host::Ipv6(address) => return tcp_to((*address, place.port).into(), patience).await,
    };
    let mut connector = HttpConnector::new_with_resolver(Resolver(Arc::clone(steps)));
    connector.set_connect_timeout(Some(patience));
    connector.set_nodelay(true);
    let to: Uri = format!("http://{name}:{}/", place.port).parse()?;
    std::future::poll_fn(|cx| connector.poll_ready(cx)).await?;
    Ok(connector.call(to).await?.into_inner())
}

/// The same to an address, about which there is nothing to look up or to choose.
async fn tcp_to(address: SocketAddr, patience: Duration) -> Result<TcpStream, DialError> {
    let connecting = timeout(patience, TcpStream::connect(address)).await;
    let stream = connecting.map_err(|_| io::Error::from(ErrorKind::TimedOut))??;
    // A socket that refuses this can still be used.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

/// A TLS session with a verified server.
pub(crate) type Tls<S> = Pin<Box<tokio_rustls::client::TlsStream<S>>>;

/// Makes a TLS session over `stream`. The server must prove `name`.
pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    name: ServerName<'static>,
    tls: Arc<ClientConfig>,
    stream: S,
) -> io::Result<Tls<S>> {
    Ok(Box::pin(TlsConnector::from(tls).connect(name, stream).await?))
}

/// The form of a host that certificates know.
pub(crate) fn server_name(host: &Host) -> Result<ServerName<'static>, DialError> {
    Ok(match host {
        Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())?,
        Host::Ipv4(address) => ServerName::from(*address),
        Host::Ipv6(address) => ServerName::from(*address),
    })
}

/// Why a name could not be used.
#[derive(Debug)]
pub(crate) enum ResolveError {
    /// The name has no address.
    Name(io::Error),
    /// This machine could not look it up, or has no route to its addresses.
    Local(io::Error),
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) | Self::Local(error) => error.fmt(f),
        }
    }
}

impl Error for ResolveError {}

/// The system's resolver. It leaves out addresses to which this machine has no route. A name with
/// addresses of both families must not look unreachable because this machine only uses one of them.
struct Resolver<S>(Arc<S>);

impl<S> Clone for Resolver<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Steps + 'static> Service<Name> for Resolver<S> {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = ResolveError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ResolveError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ResolveError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let steps = Arc::clone(&self.0);
        steps.resolving();
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let ways: Vec<SocketAddr> = found.into_iter().filter(|address| has_route(address.ip())).collect();
            if ways.is_empty() {
                return Err(ResolveError::Local(ErrorKind::NetworkUnreachable.into()));
            }
            steps.resolved(ways.iter().map(SocketAddr::ip).collect());
            Ok(ways.into_iter())
        })
    }
}

async fn look_up(name: &str) -> Result<Vec<SocketAddr>, ResolveError> {
    match tokio::net::lookup_host((name, 0)).await {
        Ok(found) => {
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                return Err(ResolveError::Name(io::Error::new(ErrorKind::NotFound, "the name has no address")));
            }
            Ok(found)
        }
        // A process without free file descriptors cannot ask. It gets the same error as for a name
        // that does not exist.
        Err(error) => Err(match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)) {
            Ok(_) => ResolveError::Name(error),
            Err(ours) => ResolveError::Local(ours),
        }),
    }
}
