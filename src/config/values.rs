//! The words a configuration is made of: each parses itself, or says what would be right.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A name: `[a-z0-9][a-z0-9_-]{0,62}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub(crate) String);

/// A duration as Prometheus writes them: `30s`, `5m`, `1h30m`, `2d`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromDuration(pub(crate) Duration);

/// An `http` or `https` URL without user and password.
#[derive(Debug, Clone)]
pub struct HttpUrl(pub(crate) url::Url);

impl HttpUrl {
    /// The URL.
    #[must_use]
    pub fn get(&self) -> &url::Url {
        &self.0
    }
}

/// An HTTP request method.
#[derive(Debug, Clone, Default)]
pub struct HttpMethod(pub(crate) http::Method);

impl HttpMethod {
    /// The method.
    #[must_use]
    pub fn get(&self) -> &http::Method {
        &self.0
    }
}

/// The name of an HTTP header.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeaderName(pub(crate) String);

impl HeaderName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A regular expression.
#[derive(Debug, Clone)]
pub struct Pattern(pub(crate) regex::bytes::Regex);

impl Pattern {
    /// Whether it matches somewhere.
    #[must_use]
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(text)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A set of HTTP statuses.
#[derive(Debug, Clone)]
pub struct StatusSet(pub(crate) Vec<std::ops::RangeInclusive<u16>>);

impl StatusSet {
    /// `2xx`.
    #[must_use]
    pub fn success() -> Self {
        Self(vec![200..=299])
    }

    /// Whether `status` is in the set.
    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl std::fmt::Display for StatusSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A file, named relative to the directory of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(pub(crate) PathBuf);

impl FilePath {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// A file that holds a secret. It is read when the secret is needed, so that a rotated secret is taken up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretFile(pub(crate) FilePath);

impl SecretFile {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Reads the secret, without the line break that editors leave at its end.
    ///
    /// # Errors
    /// Whatever reading the file gives; the message names the file and never its content.
    pub async fn read(&self) -> io::Result<Secret> {
        let path = self.path().to_owned();
        let text = crate::clients::blocking(move || std::fs::read_to_string(path)).await?;
        Ok(Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

/// A secret: it cannot be printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The secret itself, for the wire.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A `nats://` or `tls://` server URL without user and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsServer(pub(crate) String);

/// The name of a connection of the `nats` section, which exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NatsRef(pub(crate) Name);

/// The name of a JetStream stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamName(pub(crate) String);

/// The name of a JetStream domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainName(pub(crate) String);

/// A NATS subject without wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject(pub(crate) String);

impl Subject {
    /// NATS's own default inbox prefix.
    #[must_use]
    pub fn inbox() -> Self {
        Self("_INBOX".to_owned())
    }
}
