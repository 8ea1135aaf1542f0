//! The TLS side of the server, by a web configuration.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedCipherSuite};

use super::web_config::{ClientAuth, Curve, Suite, TlsStanza, TlsVersion};
use crate::clients::tls::{certificates_of, explained, key_of};
use crate::decode::values::FilePath;
use client::ClientVerifier;

pub(super) mod client;

/// Why the server cannot speak TLS.
#[derive(Debug)]
pub(super) struct Unusable {
    /// The key of the stanza that must change.
    pub(super) key: &'static str,
    /// What is wrong, and what would be right.
    pub(super) message: String,
}

impl Unusable {
    fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Reads the certificates, and sets up TLS. The protocols are not set.
///
/// # Errors
/// The first value that cannot be used.
pub(super) fn server_config(stanza: &TlsStanza) -> Result<ServerConfig, Unusable> {
    let (chain_key, chain) = pem(("cert_file", &stanza.cert_file.0), ("cert", &stanza.cert.0))?;
    let chain = certificates(chain_key, &chain)?;
    let (key_key, key) = pem(("key_file", &stanza.key_file.0), ("key", &stanza.key.0))?;
    let key = private_key(key_key, &key)?;
    let provider = Arc::new(provider(stanza));
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(stanza)?)
        .map_err(|error| Unusable::new("cipher_suites", explained(&error).story))?;
    let builder = match client_verifier(stanza, &provider)? {
        Some(verifier) => builder.with_client_cert_verifier(Arc::new(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => {
            Unusable::new(key_key, "this key does not belong to the certificate; name the two that belong together")
        }
        error => Unusable::new(chain_key, explained(&error).story),
    })?;
    config.ignore_client_order = stanza.prefer_server_cipher_suites;
    Ok(config)
}

/// The first of a file and a text that is given, and its key.
fn pem(
    (file_key, file): (&'static str, &Option<FilePath>),
    (text_key, text): (&'static str, &Option<super::web_config::Inline>),
) -> Result<(&'static str, Vec<u8>), Unusable> {
    match (file, text) {
        (Some(file), _) => {
            // The name is not repeated: it may be the secret itself.
            let unreadable = |error: io::Error| {
                Unusable::new(file_key, format!("the file cannot be read ({}); repair it", error.kind()))
            };
            let found = fs::metadata(file.path()).map_err(unreadable)?;
            // Reading a pipe may never end, and no later change would be seen.
            if !found.is_file() && !found.is_dir() {
                return Err(Unusable::new(file_key, "this is a pipe or a device; give a regular file"));
            }
            Ok((file_key, fs::read(file.path()).map_err(unreadable)?))
        }
        (None, Some(text)) => Ok((text_key, text.0.clone().into_bytes())),
        (None, None) => Err(Unusable::new(file_key, format!("`{file_key}` is missing (or `{text_key}`)"))),
    }
}

fn certificates(key: &'static str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    certificates_of(pem).map_err(|problem| Unusable::new(key, format!("this {problem}")))
}

fn private_key(key: &'static str, pem: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
    key_of(pem).map_err(|problem| Unusable::new(key, format!("this {problem}")))
}

/// The algorithms that may be used.
fn provider(stanza: &TlsStanza) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if let Some(wanted) = &stanza.cipher_suites.0 {
        let named =
            wanted.iter().filter_map(|Suite(id)| provider.cipher_suites.iter().find(|suite| suite.suite() == *id));
        let mut suites: Vec<SupportedCipherSuite> =
            provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some()).copied().collect();
        suites.extend(named.filter(|suite| suite.tls13().is_none()));
        provider.cipher_suites = suites;
    }
    if let Some(wanted) = &stanza.curve_preferences.0 {
        let named =
            wanted.iter().filter_map(|Curve(name)| provider.kx_groups.iter().find(|group| group.name() == *name));
        provider.kx_groups = named.copied().collect();
    }
    provider
}

fn versions(stanza: &TlsStanza) -> Result<Vec<&'static rustls::SupportedProtocolVersion>, Unusable> {
    let of = |version: Option<TlsVersion>| version.map(|TlsVersion(version)| version.version);
    let (low, high) = (of(stanza.min_version.0), of(stanza.max_version.0));
    let all = [&rustls::version::TLS12, &rustls::version::TLS13];
    let fits = |version: rustls::ProtocolVersion| {
        low.is_none_or(|low| u16::from(version) >= u16::from(low))
            && high.is_none_or(|high| u16::from(version) <= u16::from(high))
    };
    let versions: Vec<_> = all.into_iter().filter(|version| fits(version.version)).collect();
    if versions.is_empty() {
        return Err(Unusable::new("max_version", "this is below `min_version`; raise it, or lower the other"));
    }
    Ok(versions)
}

/// What checks the certificates of clients. None if they are not asked for one.
fn client_verifier(stanza: &TlsStanza, provider: &Arc<CryptoProvider>) -> Result<Option<ClientVerifier>, Unusable> {
    let auth = stanza.client_auth_type.0.unwrap_or(ClientAuth::None);
    let has_authorities = stanza.client_ca_file.0.is_some() || stanza.client_ca.0.is_some();
    let (key, authorities) = if has_authorities {
        let (key, authorities) = pem(("client_ca_file", &stanza.client_ca_file.0), ("client_ca", &stanza.client_ca.0))?;
        (key, certificates(key, &authorities)?)
    } else {
        ("client_ca_file", Vec::new())
    };
    if auth == ClientAuth::None {
        let message = "this needs `client_auth_type`; RequireAndVerifyClientCert refuses clients without a certificate";
        if has_authorities {
            return Err(Unusable::new(key, message));
        }
        if !stanza.client_allowed_sans.is_empty() {
            return Err(Unusable::new("client_allowed_sans", message));
        }
        return Ok(None);
    }
    if auth.verifies() && !has_authorities {
        let message = "this needs `client_ca_file`, which holds the authorities of the client certificates";
        return Err(Unusable::new("client_auth_type", message));
    }
    let verifier = ClientVerifier::new(auth, authorities, stanza.client_allowed_sans.clone(), provider);
    verifier.map(Some).map_err(|message| Unusable::new(key, message))
}
