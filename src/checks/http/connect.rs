//! Makes one connection, over which HTTP/1.1 or HTTP/2 is spoken.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};

use super::failure::Stage;
use super::head;
use super::lenient::Lenient;
use super::progress::{Phase, Progress};
use crate::clients::dial::{self, Place};

/// A request.
pub(super) type Question = Request<Full<Bytes>>;

/// An error, and the stage in which it happened.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) stage: Stage,
    pub(super) error: Box<dyn Error + Send + Sync>,
}

impl Broken {
    fn at(stage: Stage) -> impl FnOnce(Box<dyn Error + Send + Sync>) -> Self {
        move |error| Self { stage, error }
    }
}

/// A connection for requests.
pub(super) enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>, Arc<AtomicBool>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Connection {
    /// Makes a connection within `patience`. The addresses of a name share this time, so that a
    /// dead one leaves time for the next.
    pub(super) async fn open(
        place: &Place,
        tls: Option<Arc<ClientConfig>>,
        patience: Duration,
        progress: &Arc<Progress>,
    ) -> Result<Self, Broken> {
        progress.dial();
        let stream = dial::tcp(place, patience, progress).await.map_err(Broken::at(Stage::Connecting))?;
        let Some(tls) = tls else {
            return Self::http1(stream, progress).await;
        };
        progress.enter(Phase::Securing);
        let name = dial::server_name(&place.name).map_err(Broken::at(Stage::ConnectingTls))?;
        let secured = dial::secure(name, tls, stream).await.map_err(Into::into);
        let stream = secured.map_err(Broken::at(Stage::ConnectingTls))?;
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            return Self::http2(stream, progress).await;
        }
        Self::http1(stream, progress).await
    }

    async fn http1<S>(stream: S, progress: &Progress) -> Result<Self, Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let expects = Arc::new(AtomicBool::new(false));
        let stream = TokioIo::new(Lenient::new(stream, Arc::clone(&expects)));
        let mut builder = http1::Builder::new();
        // The strict form of a head can be longer. Its fields are so few that no memory is reserved for
        // them.
        builder.max_buf_size(2 * head::LARGEST);
        let made = builder.handshake(stream).await.map_err(Into::into);
        let (sender, connection) = made.map_err(Broken::at(Stage::Answering))?;
        progress.enter(Phase::Waiting);
        // The task ends with the last request. Its errors are reported to that request.
        tokio::spawn(connection);
        Ok(Self::Http1(sender, expects))
    }

    async fn http2<S>(stream: S, progress: &Progress) -> Result<Self, Broken>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.max_header_list_size(u32::try_from(head::LARGEST).unwrap_or(u32::MAX));
        let made = builder.handshake(TokioIo::new(stream)).await.map_err(Into::into);
        let (sender, connection) = made.map_err(Broken::at(Stage::Answering))?;
        progress.enter(Phase::Waiting);
        tokio::spawn(connection);
        Ok(Self::Http2(sender))
    }

    /// Whether it accepts another request.
    pub(super) async fn is_ready(&mut self) -> bool {
        match self {
            Self::Http1(sender, _) => sender.ready().await.is_ok(),
            Self::Http2(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Whether it speaks HTTP/2.
    pub(super) const fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Sends a request.
    pub(super) async fn ask(&mut self, question: Question) -> Result<Response<Incoming>, Broken> {
        let answer = match self {
            Self::Http1(sender, expects) => {
                expects.store(true, Ordering::Release);
                sender.send_request(question).await
            }
            Self::Http2(sender) => sender.send_request(question).await,
        };
        answer.map_err(|error| Broken { stage: Stage::Answering, error: error.into() })
    }
}
