//! The one TLS stack: rustls with ring, trusting the system's roots or a given CA file.
//!
//! Sessions are never resumed: a resumed session skips the verification of the server's certificate, so that an expired
//! one would go unnoticed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::time::Instant;

use crate::clients::blocking;
use crate::clock;
use crate::config::values::{FilePath, SecretFile};
use crate::domain::time::Timestamp;

/// How long the system's roots are used before they are read again.
const SYSTEM_ROOTS_AGE: Duration = Duration::from_secs(60 * 60);

/// The PEM files, and the one switch, that make up a TLS client.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFiles<'a> {
    /// The certificates that are trusted; without it, those that the system trusts.
    pub ca_file: Option<&'a FilePath>,
    /// The client's certificate chain, its own certificate first. Goes with `key_file`.
    pub cert_file: Option<&'a FilePath>,
    /// The client's private key, not encrypted. Goes with `cert_file`.
    pub key_file: Option<&'a SecretFile>,
    /// Whether any certificate is taken for the server's, which makes the connection open to whoever sits in between.
    pub insecure_skip_verify: bool,
}

/// What a PEM file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemFile {
    /// The certificates that are trusted.
    Ca,
    /// The client's certificate chain.
    Certificate,
    /// The client's private key.
    Key,
}

impl fmt::Display for PemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "CA file",
            Self::Certificate => "client certificate file",
            Self::Key => "client key file",
        })
    }
}

/// Why there is no TLS client. Names the file and what to do about it; never holds anything of a file's content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {role} {}: {source}; it must exist and be readable by the exporter", path.display())]
    Unreadable {
        /// What the file is for.
        role: PemFile,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file can be read, but not used.
    #[error("the {role} {} {problem}", path.display())]
    Unusable {
        /// What the file is for.
        role: PemFile,
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// Certificate and key cannot be used together.
    #[error("the client certificate {} and the client key {} cannot be used together: {source}", cert.display(), key.display())]
    Identity {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        source: rustls::Error,
    },
    /// There is a client certificate without a key, or a key without a certificate.
    #[error("a client certificate needs both its certificate file and its key file; one of them is not configured")]
    HalfIdentity,
    /// The system trusts nobody.
    #[error(
        "no trusted root certificates were found on this machine; \
         install ca-certificates, set SSL_CERT_FILE, or configure a CA file"
    )]
    NoSystemRoots,
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

/// Makes a TLS client of the files as they are now. They are read off the async workers; whoever cannot wait for a slow
/// disk puts a time-out around this.
///
/// # Errors
/// When a file cannot be read or used, or when the system trusts nobody and no CA file is given.
pub async fn client_config(files: &TlsFiles<'_>) -> Result<ClientConfig, TlsError> {
    let files = Files::from(files);
    blocking(move || build(&files, files.system_roots()?)).await
}

/// A TLS client that trusts nobody, for connections that use no TLS through an interface that asks for one. Reads
/// nothing.
///
/// # Errors
/// Never in practice: only when the TLS library refuses its own defaults.
pub fn trusting_nobody() -> Result<ClientConfig, TlsError> {
    build(&Files::default(), Some(Arc::new(RootCertStore::empty())))
}

/// What is wrong with a server's certificate or its handshake, for people.
pub(crate) fn told(error: &rustls::Error) -> String {
    let at = |time: &rustls::pki_types::UnixTime| {
        Timestamp::from_unix_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
            format!("the server's certificate expired at {}", at(not_after))
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, time }) => {
            format!("the server's certificate is valid from {}; this machine's clock says {}", at(not_before), at(time))
        }
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let presented = if presented.is_empty() { "no name".to_owned() } else { presented.join(", ") };
            format!("the server's certificate is not for {}, but for {presented}", expected.to_str())
        }
        // The second: an authority that was made anew under its old name.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate is not signed by an authority that is trusted here".to_owned()
        }
        rustls::Error::InvalidMessage(_) => format!("what the server sent is not TLS: {error}"),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate (cert_file, key_file)".to_owned()
        }
        rustls::Error::AlertReceived(alert) => format!("the server refused the TLS handshake: {alert:?}"),
        _ => error.to_string(),
    }
}

/// A TLS client that follows its files: made anew when one of them has changed, else the same as before.
#[derive(Debug, Clone)]
pub struct ReloadingTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: Files,
    alpn: Vec<Vec<u8>>,
    last: Mutex<Option<Loaded>>,
}

#[derive(Debug)]
struct Loaded {
    stamps: Vec<Stamp>,
    roots: Option<Arc<RootCertStore>>,
    config: Arc<ClientConfig>,
}

/// What tells whether a file has changed: when it was written, and its length.
type Stamp = (SystemTime, u64);

impl ReloadingTls {
    /// A client of `files` that offers the protocols `alpn`, the preferred one first. Reads nothing yet.
    #[must_use]
    pub fn new(files: &TlsFiles<'_>, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Self(Arc::new(Inner { files: files.into(), alpn, last: Mutex::new(None) }))
    }

    /// The client as the files are now; the same `Arc` for as long as they have not changed. The files are looked at off
    /// the async workers; whoever cannot wait for a slow disk puts a time-out around this.
    ///
    /// # Errors
    /// As [`client_config`].
    pub async fn current(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let inner = Arc::clone(&self.0);
        blocking(move || inner.load()).await
    }
}

impl Inner {
    fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let files = &self.files;
        // Looked at before the files are read: a file that changes in between is read once more the next time.
        let stamps = files.used().map(|(role, path)| stamp(role, path)).collect::<Result<Vec<_>, _>>()?;
        let roots = files.system_roots()?;

        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = &*last
            && loaded.stamps == stamps
            && loaded.roots.as_ref().map(Arc::as_ptr) == roots.as_ref().map(Arc::as_ptr)
        {
            return Ok(Arc::clone(&loaded.config));
        }
        let mut config = build(files, roots.clone())?;
        config.alpn_protocols.clone_from(&self.alpn);
        let config = Arc::new(config);
        *last = Some(Loaded { stamps, roots, config: Arc::clone(&config) });
        Ok(config)
    }
}

/// [`TlsFiles`] that can be carried to another thread.
#[derive(Debug, Default)]
struct Files {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    insecure_skip_verify: bool,
}

impl From<&TlsFiles<'_>> for Files {
    fn from(files: &TlsFiles<'_>) -> Self {
        Self {
            ca: files.ca_file.map(|file| file.path().to_owned()),
            cert: files.cert_file.map(|file| file.path().to_owned()),
            key: files.key_file.map(|file| file.path().to_owned()),
            insecure_skip_verify: files.insecure_skip_verify,
        }
    }
}

impl Files {
    /// The files that are read, with what each is for.
    fn used(&self) -> impl Iterator<Item = (PemFile, &Path)> {
        let ca = self.ca.as_ref().filter(|_| !self.insecure_skip_verify);
        let files = [(PemFile::Ca, ca), (PemFile::Certificate, self.cert.as_ref()), (PemFile::Key, self.key.as_ref())];
        files.into_iter().filter_map(|(role, path)| Some((role, path?.as_path())))
    }

    /// The system's roots, where they are what is trusted.
    fn system_roots(&self) -> Result<Option<Arc<RootCertStore>>, TlsError> {
        let wanted = self.ca.is_none() && !self.insecure_skip_verify;
        wanted.then(system_roots).transpose()
    }
}

fn stamp(role: PemFile, path: &Path) -> Result<Stamp, TlsError> {
    let unreadable = |source| TlsError::Unreadable { role, path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    Ok((metadata.modified().map_err(unreadable)?, metadata.len()))
}

fn build(files: &Files, system_roots: Option<Arc<RootCertStore>>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?;
    let builder = if files.insecure_skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        let roots = match (&files.ca, system_roots) {
            (Some(path), _) => Arc::new(read_roots(path)?),
            (None, Some(roots)) => roots,
            (None, None) => return Err(TlsError::NoSystemRoots),
        };
        builder.with_root_certificates(roots)
    };
    let mut config = match (&files.cert, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certificates(PemFile::Certificate, cert)?, read_key(key)?)
            .map_err(|source| TlsError::Identity { cert: cert.clone(), key: key.clone(), source })?,
        _ => return Err(TlsError::HalfIdentity),
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn read(role: PemFile, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { role, path: path.to_owned(), source })
}

fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // One certificate that cannot be used does not make the others of a bundle worthless.
    let (used, _) = roots.add_parsable_certificates(read_certificates(PemFile::Ca, path)?);
    if used == 0 {
        let problem = "holds no certificate that can be used; it must hold PEM certificates of version 3";
        return Err(TlsError::Unusable { role: PemFile::Ca, path: path.to_owned(), problem });
    }
    Ok(roots)
}

fn read_certificates(role: PemFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |problem| TlsError::Unusable { role, path: path.to_owned(), problem };
    let pem = read(role, path)?;
    // The parser's own errors quote the file, so they are not passed on.
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| unusable("is not valid PEM; it must hold certificates as PEM"))?;
    if certificates.is_empty() {
        return Err(unusable("holds no certificate; it must hold certificates as PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(PemFile::Key, path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let problem = match error {
            pem::Error::NoItemsFound => "holds no private key; it must hold one as PEM, not encrypted",
            _ => "is not valid PEM; it must hold a private key as PEM, not encrypted",
        };
        TlsError::Unusable { role: PemFile::Key, path: path.to_owned(), problem }
    })
}

/// The system's roots, shared by everyone and read again every hour. The same `Arc` for as long as they stay the same.
fn system_roots() -> Result<Arc<RootCertStore>, TlsError> {
    static HELD: Mutex<Option<(Instant, Arc<RootCertStore>)>> = Mutex::new(None);

    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let old = match &*held {
        Some((read, roots)) if clock::since(*read) < SYSTEM_ROOTS_AGE => return Ok(Arc::clone(roots)),
        Some((_, roots)) => Some(Arc::clone(roots)),
        None => None,
    };
    let mut found = RootCertStore::empty();
    found.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let roots = match old {
        Some(old) if found.is_empty() || old.roots == found.roots => old,
        _ if found.is_empty() => return Err(TlsError::NoSystemRoots),
        _ => Arc::new(found),
    };
    *held = Some((clock::instant(), Arc::clone(&roots)));
    Ok(roots)
}

/// Takes any certificate for the server's. Dangerous, and only there because it was asked for by
/// `insecure_skip_verify`: the connection is encrypted, but with whom is anybody's guess.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
