//! The sections of a web configuration.

use std::collections::BTreeMap;

use rustls::ServerConfig;

use super::values::{
    Blank, ClientAuth, Count, Curve, GoDuration, Headers, Inline, PasswordHash, Suite, TlsVersion, UserName,
};
use crate::decode::values::FilePath;
use crate::decode::{Decode, Decoder, Fields, Node, section};
use crate::web::tls;

section! {
    /// The web configuration.
    pub struct WebConfig {
        /// TLS. Without it the server speaks plain HTTP.
        pub tls_server_config: Blank<TlsServer> = Blank(None),
        /// HTTP.
        pub http_server_config: Blank<HttpStanza> = Blank(None),
        /// Who may come in, with the bcrypt hash of each password.
        pub basic_auth_users: Blank<BTreeMap<UserName, PasswordHash>> = Blank(None),
        /// How many requests are answered.
        pub rate_limit: Blank<RateLimit> = Blank(None),
    }
}

section! {
    /// TLS.
    pub struct TlsStanza {
        /// The certificate chain of the server, as PEM.
        pub cert: Blank<Inline> = Blank(None),
        /// Its private key, as PEM.
        pub key: Blank<Inline> = Blank(None),
        /// The authorities of client certificates, as PEM.
        pub client_ca: Blank<Inline> = Blank(None),
        /// The file of the certificate chain.
        pub cert_file: Blank<FilePath> = Blank(None),
        /// The file of the private key.
        pub key_file: Blank<FilePath> = Blank(None),
        /// Whether clients need a certificate.
        pub client_auth_type: Blank<ClientAuth> = Blank(None),
        /// The file of the authorities of client certificates.
        pub client_ca_file: Blank<FilePath> = Blank(None),
        /// A client certificate must have one of these names.
        pub client_allowed_sans: Vec<String> = Vec::new(),
        /// The lowest version of TLS.
        pub min_version: Blank<TlsVersion> = Blank(None),
        /// The highest version of TLS.
        pub max_version: Blank<TlsVersion> = Blank(None),
        /// The cipher suites of TLS 1.2, the preferred one first.
        pub cipher_suites: Blank<Vec<Suite>> = Blank(None),
        /// Whether the server's order of the cipher suites counts, not the client's.
        pub prefer_server_cipher_suites: bool = true,
        /// The curves of the key exchange, the preferred one first.
        pub curve_preferences: Blank<Vec<Curve>> = Blank(None),
    }
    validate = check_tls;
}

/// Warns where the toolkit silently prefers one of two values.
fn check_tls(tls: &TlsStanza, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    let pairs = [
        ("cert", tls.cert.0.is_some() && tls.cert_file.0.is_some()),
        ("key", tls.key.0.is_some() && tls.key_file.0.is_some()),
        ("client_ca", tls.client_ca.0.is_some() && tls.client_ca_file.0.is_some()),
    ];
    for (key, _) in pairs.into_iter().filter(|(_, both)| *both) {
        cx.warn(fields.position(key), format!("`{key}` is not used, because there is `{key}_file`; remove one"));
    }
}

section! {
    /// HTTP.
    pub struct HttpStanza {
        /// Whether HTTP/2 is spoken over TLS.
        pub http2: bool = true,
        /// Further headers of every answer.
        pub headers: Blank<Headers> = Blank(None),
    }
}

section! {
    /// How many requests are answered.
    pub struct RateLimit {
        /// The time between two requests. 0 is no limit.
        pub interval: GoDuration = GoDuration::ZERO,
        /// How many may come at once.
        pub burst: Count = Count(0),
    }
    validate = check_rate;
}

fn check_rate(limit: &RateLimit, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    if !limit.interval.0.is_zero() && limit.burst.0 == 0 {
        cx.warn(fields.position("burst"), "with a `burst` of 0 every request is refused; give it at least 1");
    }
}

/// TLS, with the certificates read.
#[derive(Debug, Clone, Default)]
pub struct TlsServer {
    /// Without protocols.
    pub(super) config: Option<ServerConfig>,
    /// Whether client certificates are verified.
    pub(super) verifies: bool,
    /// Whether clients must have one.
    pub(super) requires: bool,
}

impl Decode for TlsServer {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let stanza = TlsStanza::decode(node, cx)?;
        let auth = stanza.client_auth_type.0.unwrap_or(ClientAuth::None);
        match tls::server_config(&stanza) {
            Ok(config) => {
                let (verifies, requires) = (auth.verifies(), auth == ClientAuth::RequireAndVerify);
                Some(Self { config: Some(config), verifies, requires })
            }
            Err(tls::Unusable { key, message }) => {
                match node.get(key) {
                    Some(entry) => cx.under(key, |cx| cx.error(entry.at, message)),
                    None => cx.error(node.at, message),
                }
                None
            }
        }
    }

    fn schema() -> serde_json::Value {
        TlsStanza::object()
    }
}
