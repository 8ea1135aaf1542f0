//! The clients that requests are made with: a new one for every request, or one that keeps its connections.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Client;
use reqwest::redirect::Policy;
use rustls::ClientConfig;

use super::progress::{Progress, Resolver, Watch};
use super::{CREDENTIALS_UNREADABLE, HttpConfig, LOCAL};
use crate::clients::tls::{self, ReloadingTls, TlsError, TlsFiles};
use crate::domain::observation::Finding;

/// Makes clients, and keeps them where connections are to be used again.
pub(super) struct Connections {
    tls: ReloadingTls,
    progress: Arc<Progress>,
    reuse: bool,
    /// By whether they do TLS.
    kept: Mutex<BTreeMap<bool, Kept>>,
}

struct Kept {
    client: Client,
    tls: Option<Arc<ClientConfig>>,
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
        Self { tls, progress, reuse: config.reuse_connection, kept: Mutex::default() }
    }

    /// A client. The certificates' files are read only for one that does TLS. Making a connection takes at most
    /// `patience`, shared by the addresses of a name, so that one that is dead leaves time for the next.
    ///
    /// # Errors
    /// A file of certificates is no use.
    pub(super) async fn client(&self, with_tls: bool, patience: Duration) -> Result<Client, Finding> {
        let tls = if with_tls { Some(self.tls.current().await.map_err(|error| unusable(&error))?) } else { None };
        if !self.reuse {
            return self.make(tls.as_deref(), patience);
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get(&with_tls)
            && kept.tls.as_ref().map(Arc::as_ptr) == tls.as_ref().map(Arc::as_ptr)
        {
            return Ok(kept.client.clone());
        }
        let client = self.make(tls.as_deref(), patience)?;
        kept.insert(with_tls, Kept { client: client.clone(), tls });
        Ok(client)
    }

    /// Drops the connections that are kept.
    pub(super) fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn make(&self, tls: Option<&ClientConfig>, patience: Duration) -> Result<Client, Finding> {
        let tls = match tls {
            Some(tls) => tls.clone(),
            None => tls::trusting_nobody().map_err(|error| unusable(&error))?,
        };
        Client::builder()
            .tls_backend_preconfigured(tls)
            .dns_resolver(Arc::new(Resolver(Arc::clone(&self.progress))))
            .connector_layer(Watch(Arc::clone(&self.progress)))
            .connect_timeout(patience)
            // Redirects are followed by hand, so that no header goes where it does not belong.
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| Finding::new(&LOCAL, format!("no HTTP client can be made: {error}")))
    }
}

fn unusable(error: &TlsError) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, error.to_string())
}
