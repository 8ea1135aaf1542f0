//! `--web.config.file`: TLS, passwords, headers and a rate limit, in the format of the
//! exporter-toolkit that all exporters of the Prometheus family read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use rustls::ServerConfig;

use self::stanzas::{TlsServer, WebConfig};
use self::values::Blank;
use super::auth::Users;
use crate::decode::yaml::Position;
use crate::decode::{ConfigError, ConfigErrors, ConfigWarnings, Decode, Decoder, text, yaml};

mod stanzas;
mod values;

pub(super) use stanzas::TlsStanza;
pub(super) use values::{ClientAuth, Curve, Inline, Suite, TlsVersion};

/// What the web configuration asks for.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// TLS. None for plain HTTP.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Whether a client certificate proves who the client is.
    pub(super) verifies_clients: bool,
    /// Whether nobody gets in without such a certificate.
    requires_clients: bool,
    /// Who may come in with a password. Everybody, if there are none.
    pub(super) users: Option<Arc<Users>>,
    /// Further headers of every answer.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// How many requests are answered. All, if there is none.
    pub(super) rate: Option<Rate>,
}

impl Settings {
    /// Whether every client must prove who it is, with a password or a certificate.
    #[must_use]
    pub const fn authenticates(&self) -> bool {
        self.users.is_some() || self.requires_clients
    }

    /// Whether it speaks TLS.
    #[must_use]
    pub const fn has_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// The number of users.
    #[must_use]
    pub fn users(&self) -> usize {
        self.users.as_ref().map_or(0, |users| users.count())
    }
}

/// How many requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    /// The time between two requests.
    pub(super) interval: Duration,
    /// How many may come at once.
    pub(super) burst: u32,
}

/// The result of reading a web configuration.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The settings, or all errors.
    pub settings: Result<Settings, ConfigErrors>,
    /// The warnings: probable mistakes.
    pub warnings: ConfigWarnings,
    /// The file itself, and the files that it names.
    pub files: Vec<PathBuf>,
}

/// Reads a file, and the certificates that it names.
#[must_use]
pub fn read(file: &Path) -> Reading {
    let parsed = is_regular(file).and_then(|()| text::of_file(file)).and_then(|text| yaml::parse(&text));
    let node = match parsed {
        Ok(node) => node,
        Err((at, message)) => {
            let errors = vec![ConfigError { at, path: String::new(), message }];
            return Reading {
                settings: Err(ConfigErrors { file: file.to_owned(), errors }),
                warnings: ConfigWarnings::none(file),
                files: vec![file.to_owned()],
            };
        }
    };
    let mut decoder = Decoder::new(file.parent().unwrap_or(Path::new("")));
    // An empty file asks for nothing, as in the toolkit.
    let config = Blank::<WebConfig>::decode(&node, &mut decoder);
    let mut files = vec![file.to_owned()];
    files.extend_from_slice(decoder.files());
    let (errors, warnings) = decoder.into_findings();
    let settings = match config {
        Some(config) if errors.is_empty() => Ok(config.0.map(settings).unwrap_or_default()),
        _ => Err(ConfigErrors { file: file.to_owned(), errors }),
    };
    Reading { settings, warnings: ConfigWarnings { file: file.to_owned(), warnings }, files }
}

/// The file is read again and again. A pipe is empty then, and an empty file asks for no password.
fn is_regular(file: &Path) -> Result<(), (Position, String)> {
    match fs::metadata(file) {
        Ok(found) if !found.is_file() && !found.is_dir() => {
            let message = "this is a pipe or a device, and the file is read again and again; give a regular file";
            Err((Position::START, message.to_owned()))
        }
        _ => Ok(()),
    }
}

fn settings(config: WebConfig) -> Settings {
    let WebConfig { tls_server_config, http_server_config, basic_auth_users, rate_limit } = config;
    let http = http_server_config.0;
    let has_http2 = http.as_ref().is_none_or(|http| http.http2);
    let headers = http.and_then(|http| http.headers.0).map(|headers| headers.0).unwrap_or_default();
    let TlsServer { config: tls, verifies, requires } = tls_server_config.0.unwrap_or_default();
    let protocols: &[&[u8]] = if has_http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    let tls = tls.map(|mut tls| {
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(tls)
    });
    let hashes = basic_auth_users.0.filter(|hashes| !hashes.is_empty());
    let users = hashes.map(|hashes| {
        let hashes = hashes.into_iter().map(|(name, hash)| (Arc::from(name.0), hash.0));
        Arc::new(Users::new(hashes.collect()))
    });
    let rate = rate_limit.0.map(|limit| Rate { interval: limit.interval.0, burst: limit.burst.0 });
    Settings {
        tls,
        verifies_clients: verifies,
        requires_clients: requires,
        users,
        headers,
        rate: rate.filter(|rate| !rate.interval.is_zero()),
    }
}
