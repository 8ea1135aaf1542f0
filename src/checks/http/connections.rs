//! The connections for requests: a new one for every request, or one that is kept.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ClientConfig;

use super::connect::{Broken, Connection};
use super::progress::Progress;
use super::{CREDENTIALS_UNREADABLE, HttpConfig};
use crate::clients::dial::Place;
use crate::clients::tls::{ReloadingTls, TlsFiles};
use crate::domain::observation::Finding;

/// Makes connections, and keeps them if they are to be reused.
pub(super) struct Connections {
    tls: ReloadingTls,
    /// The same, for HTTP/1 only.
    tls_of_http1: ReloadingTls,
    progress: Arc<Progress>,
    reuse: bool,
    /// By the place that they lead to.
    kept: Mutex<BTreeMap<String, Open>>,
}

/// The protocols of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Only TCP.
    Plain,
    /// TLS, with the HTTP version that the server prefers.
    Tls,
    /// TLS, with HTTP/1 only.
    TlsWithHttp1,
}

/// A connection, and how it was made.
pub(super) struct Open {
    pub(super) connection: Connection,
    tls: Option<Arc<ClientConfig>>,
    /// Under which it is kept. None if it is not.
    key: Option<String>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("reuse", &self.reuse).finish_non_exhaustive()
    }
}

impl Connections {
    pub(super) fn new(config: &HttpConfig, progress: Arc<Progress>) -> Self {
        let files = TlsFiles {
            ca_file: config.ca_file.as_ref(),
            cert_file: config.cert_file.as_ref(),
            key_file: config.key_file.as_ref(),
            insecure_skip_verify: config.insecure_skip_verify,
        };
        let tls = ReloadingTls::new(&files, &[b"h2", b"http/1.1"]);
        let tls_of_http1 = ReloadingTls::new(&files, &[b"http/1.1"]);
        Self { tls, tls_of_http1, progress, reuse: config.reuse_connection, kept: Mutex::default() }
    }

    /// A connection. The certificate files are only read for TLS.
    ///
    /// # Errors
    /// A certificate file cannot be used. The inner result: there is no connection.
    pub(super) async fn open(
        &self,
        place: &Place,
        over: Over,
        patience: Duration,
    ) -> Result<Result<Open, Broken>, Finding> {
        let unusable = |error: crate::clients::tls::TlsError| Finding::new(&CREDENTIALS_UNREADABLE, error.to_string());
        let tls = match over {
            Over::Plain => None,
            Over::Tls => Some(self.tls.current().await.map_err(unusable)?),
            Over::TlsWithHttp1 => Some(self.tls_of_http1.current().await.map_err(unusable)?),
        };
        let key = self.reuse.then(|| format!("{over:?} {} {} {}", place.host, place.port, place.name));
        if let Some(mut kept) = key.as_ref().and_then(|key| self.take(key))
            && kept.tls.as_ref().map(Arc::as_ptr) == tls.as_ref().map(Arc::as_ptr)
            && kept.connection.is_ready().await
        {
            return Ok(Ok(kept));
        }
        let made = Connection::open(place, tls.clone(), patience, &self.progress).await;
        Ok(made.map(|connection| Open { connection, tls, key }))
    }

    /// Keeps a connection after its answer has begun, if connections are reused.
    pub(super) fn keep(&self, open: Open) {
        if let Some(key) = open.key.clone() {
            self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key, open);
        }
    }

    /// Drops the kept connections.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn take(&self, key: &str) -> Option<Open> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(key)
    }
}
