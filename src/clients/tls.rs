//! The only TLS stack: rustls with ring. It trusts the system's roots, or a configured CA file.
//!
//! Sessions are never resumed. A resumed session would skip the verification of the server's
//! certificate, so an expired one would go unnoticed.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;

use crate::clients::blocking;
use crate::clock;
use crate::decode::values::{FilePath, SecretFile};
use verify::Unverified;

pub(crate) use verify::{Trust, Verifier};
pub(crate) use words::explained;

mod verify;
mod words;

/// How long the system's roots are used before they are read again.
const SYSTEM_ROOTS_AGE: Duration = Duration::from_secs(60 * 60);

/// The PEM files and the switch for a TLS client.
#[derive(Debug, Clone, Copy, Default)]
pub struct TlsFiles<'a> {
    /// The trusted certificates. Without it, the system's trusted certificates.
    pub ca_file: Option<&'a FilePath>,
    /// The client's certificate chain, its own certificate first. Needs `key_file`.
    pub cert_file: Option<&'a FilePath>,
    /// The client's private key, not encrypted. Needs `cert_file`.
    pub key_file: Option<&'a SecretFile>,
    /// Whether any certificate is accepted from the server. Then anybody in between can read and
    /// change the connection.
    pub insecure_skip_verify: bool,
}

/// The role of a PEM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PemFile {
    /// The trusted certificates.
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

/// Why there is no TLS client. The message names the file and what to do, and never contains the
/// file's content.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {role} {}: {source}; it must exist and be readable by the exporter", path.display())]
    Unreadable {
        /// The role of the file.
        role: PemFile,
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A file can be read, but not used.
    #[error("the {role} {} {problem}", path.display())]
    Unusable {
        /// The role of the file.
        role: PemFile,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// Certificate and key cannot be used together.
    #[error(
        "the client certificate {} and the client key {} cannot be used together: {}",
        cert.display(), key.display(), explained(source).story
    )]
    Identity {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The error of rustls.
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
    #[error("TLS cannot be set up: {}", explained(.0).story)]
    Setup(#[source] rustls::Error),
}

/// Creates a TLS client from the current files. They are read outside the async workers. A caller
/// that cannot wait for a slow disk must use a time-out.
///
/// # Errors
/// A file cannot be read or used, or the system trusts nobody and no CA file is given.
pub async fn client_config(files: &TlsFiles<'_>) -> Result<ClientConfig, TlsError> {
    let files = Files::from(files);
    blocking(move || build(&files, files.system_roots()?)).await
}

/// A TLS client that trusts nobody, for connections without TLS through an interface that requires
/// one. Reads nothing.
///
/// # Errors
/// Never in practice. Only if the TLS library refuses its own defaults.
pub fn trusting_nobody() -> Result<ClientConfig, TlsError> {
    build(&Files::default(), Some(Arc::new(Trust::of(Vec::new()))))
}

/// A TLS client that follows its files. It is created again when one of them has changed, and
/// otherwise stays the same.
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
    roots: Option<Arc<Trust>>,
    config: Arc<ClientConfig>,
}

impl Loaded {
    /// Whether it was made of these files and roots.
    fn is_of(&self, stamps: &[Stamp], roots: Option<&Arc<Trust>>) -> bool {
        self.stamps == stamps && self.roots.as_ref().map(Arc::as_ptr) == roots.map(Arc::as_ptr)
    }
}

/// Tells whether a file has changed: its modification time and its length.
type Stamp = (SystemTime, u64);

impl ReloadingTls {
    /// A client of `files` that offers the protocols `alpn`, the preferred one first. Reads nothing
    /// yet.
    #[must_use]
    pub fn new(files: &TlsFiles<'_>, alpn: &[&[u8]]) -> Self {
        let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Self(Arc::new(Inner { files: files.into(), alpn, last: Mutex::new(None) }))
    }

    /// The client for the current files. It is the same `Arc` as long as they have not changed. The
    /// files are checked outside the async workers. A caller that cannot wait for a slow disk must
    /// use a time-out.
    ///
    /// # Errors
    /// As [`client_config`].
    pub async fn current(&self) -> Result<Arc<ClientConfig>, TlsError> {
        if let Some(config) = self.0.known() {
            return Ok(config);
        }
        let inner = Arc::clone(&self.0);
        blocking(move || inner.load()).await
    }
}

impl Inner {
    /// The client, if no file must be looked at for it. To look at files on another thread costs as much
    /// as a part of the handshake.
    fn known(&self) -> Option<Arc<ClientConfig>> {
        if self.files.used().next().is_some() {
            return None;
        }
        let roots = if self.files.trusts_the_system() { Some(held_roots()?) } else { None };
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let known = last.as_ref().filter(|known| known.is_of(&[], roots.as_ref()));
        known.map(|known| Arc::clone(&known.config))
    }

    fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let files = &self.files;
        // The stamps are taken before the files are read. So a file that changes in between is read
        // again the next time.
        let stamps = files.used().map(|(role, path)| stamp(role, path)).collect::<Result<Vec<_>, _>>()?;
        let roots = files.system_roots()?;

        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = last.as_ref().filter(|loaded| loaded.is_of(&stamps, roots.as_ref())) {
            return Ok(Arc::clone(&loaded.config));
        }
        let mut config = build(files, roots.clone())?;
        config.alpn_protocols.clone_from(&self.alpn);
        let config = Arc::new(config);
        *last = Some(Loaded { stamps, roots, config: Arc::clone(&config) });
        Ok(config)
    }
}

/// [`TlsFiles`] that can be sent to another thread.
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
    /// The files to read, with their roles.
    fn used(&self) -> impl Iterator<Item = (PemFile, &Path)> {
        let ca = self.ca.as_ref().filter(|_| !self.insecure_skip_verify);
        let files = [(PemFile::Ca, ca), (PemFile::Certificate, self.cert.as_ref()), (PemFile::Key, self.key.as_ref())];
        files.into_iter().filter_map(|(role, path)| Some((role, path?.as_path())))
    }

    /// Whether the system's roots are trusted.
    fn trusts_the_system(&self) -> bool {
        self.ca.is_none() && !self.insecure_skip_verify
    }

    /// The system's roots, if they are trusted.
    fn system_roots(&self) -> Result<Option<Arc<Trust>>, TlsError> {
        self.trusts_the_system().then(system_roots).transpose()
    }
}

fn stamp(role: PemFile, path: &Path) -> Result<Stamp, TlsError> {
    let unreadable = |source| TlsError::Unreadable { role, path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    Ok((metadata.modified().map_err(unreadable)?, metadata.len()))
}

fn build(files: &Files, system_roots: Option<Arc<Trust>>) -> Result<ClientConfig, TlsError> {
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
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Verifier::new(roots, &provider)))
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

/// A PEM file for the parser.
fn read(role: PemFile, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Unreadable { role, path: path.to_owned(), source })
}

/// PEM for the parser. Like OpenSSL, it skips a byte order mark, and accepts an older label for
/// certificates.
fn readable(pem: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(pem);
    text.trim_start_matches('\u{feff}').replace("X509 CERTIFICATE-----", "CERTIFICATE-----").into_bytes()
}

fn read_roots(path: &Path) -> Result<Trust, TlsError> {
    let roots = Trust::of(read_certificates(PemFile::Ca, path)?);
    if roots.is_empty() {
        let problem = "holds no usable certificate; it must hold PEM certificates of version 3";
        return Err(TlsError::Unusable { role: PemFile::Ca, path: path.to_owned(), problem });
    }
    Ok(roots)
}

fn read_certificates(role: PemFile, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates_of(&read(role, path)?).map_err(|problem| TlsError::Unusable { role, path: path.to_owned(), problem })
}

/// The certificates in PEM. At least one.
///
/// # Errors
/// What is wrong with them, and what would be right.
pub(crate) fn certificates_of(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, &'static str> {
    // The parser's own errors quote the file, so they are not used.
    let certificates = CertificateDer::pem_slice_iter(&readable(pem))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| "is not valid PEM; it must hold certificates as PEM")?;
    if certificates.is_empty() {
        return Err("holds no certificate; it must hold certificates as PEM (-----BEGIN CERTIFICATE-----)");
    }
    Ok(certificates)
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let role = PemFile::Key;
    key_of(&read(role, path)?).map_err(|problem| TlsError::Unusable { role, path: path.to_owned(), problem })
}

/// The private key in PEM.
///
/// # Errors
/// What is wrong with it, and what would be right.
pub(crate) fn key_of(pem: &[u8]) -> Result<PrivateKeyDer<'static>, &'static str> {
    PrivateKeyDer::from_pem_slice(&readable(pem)).map_err(|error| match error {
        pem::Error::NoItemsFound => "holds no private key; it must hold one as PEM, not encrypted",
        _ => "is not valid PEM; it must hold a private key as PEM, not encrypted",
    })
}

/// The system's roots, and when they were read.
static HELD: Mutex<Option<(Instant, Arc<Trust>)>> = Mutex::new(None);

/// The system's roots, if they need not be read, and nobody is reading them.
fn held_roots() -> Option<Arc<Trust>> {
    let held = HELD.try_lock().ok()?;
    let fresh = held.as_ref().filter(|(read, _)| clock::since(*read) < SYSTEM_ROOTS_AGE);
    fresh.map(|(_, roots)| Arc::clone(roots))
}

/// The system's roots. They are shared, and read again every hour. The same `Arc` as long as they
/// have not changed.
fn system_roots() -> Result<Arc<Trust>, TlsError> {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let old = match &*held {
        Some((read, roots)) if clock::since(*read) < SYSTEM_ROOTS_AGE => return Ok(Arc::clone(roots)),
        Some((_, roots)) => Some(Arc::clone(roots)),
        None => None,
    };
    let found = Trust::of(rustls_native_certs::load_native_certs().certs);
    let roots = match old {
        Some(old) if found.is_empty() || *old == found => old,
        _ if found.is_empty() => return Err(TlsError::NoSystemRoots),
        _ => Arc::new(found),
    };
    *held = Some((clock::instant(), Arc::clone(&roots)));
    Ok(roots)
}

#[cfg(test)]
mod tests;
