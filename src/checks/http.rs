//! `http`: an endpoint that *is* the component. Whatever keeps it from answering as expected is the component's failure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout_at;

use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::http::{BasicAuth, HeaderConfig, HeaderSources, Headers};
use crate::clients::{Clients, blocking, reasons};
use crate::clock;
use crate::config::config;
use crate::config::decode::{Decoder, Fields, both_or_none};
use crate::config::sides::Sides;
use crate::config::values::{FilePath, HeaderName, HttpMethod, HttpUrl, Pattern, SecretFile, StatusSet};
use crate::domain::contract::Feeds;
use crate::domain::observation::{Finding, Health, Observation, Reason};
use connections::Connections;
use exchange::Exchange;
use progress::{Phase, Progress};

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL};

mod connections;
mod exchange;
mod failure;
mod progress;
mod verdict;

config! {
    /// An HTTP endpoint that is the component. Feeds `rto`.
    pub struct HttpConfig {
        /// The URL to request, `http` or `https`. User and password do not belong in it.
        pub url: HttpUrl,
        /// The request method.
        pub method: HttpMethod = HttpMethod::default(),
        /// Request headers.
        pub headers: BTreeMap<HeaderName, HeaderConfig> = BTreeMap::new(),
        /// A file that holds a token, sent as `Authorization: Bearer TOKEN`. Excludes `basic_auth`.
        pub bearer_token_file: Option<SecretFile> = None,
        /// User and password, sent as `Authorization: Basic`. Excludes `bearer_token_file`.
        pub basic_auth: Option<BasicAuth> = None,
        /// The statuses that count as healthy: numbers, ranges (`200-204`) or classes (`2xx`).
        pub expect_status: StatusSet = StatusSet::success(),
        /// A regular expression that must match somewhere in the first MiB of the body.
        pub expect_body: Option<Pattern> = None,
        /// Whether redirects are followed, up to 10. If not, a redirect is judged by its own status.
        pub follow_redirects: bool = true,
        /// Whether a connection may be used for several runs. By default every run proves a new connection.
        pub reuse_connection: bool = false,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// Whether the server's certificate goes unverified.
        pub insecure_skip_verify: bool = false,
    }
    validate = HttpConfig::validate;
}

impl HttpConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
        self.header_sources().validate(fields, cx);
        if self.expect_body.is_some() && self.method.get() == http::Method::HEAD {
            cx.error(fields.position("expect_body"), "the answer to HEAD has no body; use GET, or remove this");
        }
    }

    /// What is said of the headers of its requests.
    fn header_sources(&self) -> HeaderSources {
        HeaderSources {
            headers: self.headers.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            basic_auth: self.basic_auth.clone(),
        }
    }
}

/// The name has no address.
pub static RESOLVE_FAILED: Reason = reasons::resolve_failed(
    "Clients cannot find the endpoint: check the name's DNS record, and the resolvers that serve it.",
);
/// Nothing accepts connections.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Nothing accepts connections there: check that the service, its load balancer and firewalls are up.",
);
/// No TLS session.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check the server's certificate: its dates, its names, who signed it, and whether ca_file is that authority.",
);
/// No whole answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("The endpoint is too slow or hangs: the detail tells how far the request got.");
/// The connection ended before the answer did.
pub static CONNECTION_LOST: Reason = Reason::new(
    "connection_lost",
    "The server or something before it drops requests: look for crashes, restarts and overload there.",
);
/// What answers does not speak HTTP as it should.
pub static BAD_ANSWER: Reason = reasons::bad_answer(
    "What listens there does not speak HTTP properly: check the port, and what stands before the service.",
);
/// Redirects lead nowhere.
pub static BAD_REDIRECT: Reason = Reason::new(
    "bad_redirect",
    "Correct the redirect on the server, or set follow_redirects to false if it is the expected answer.",
);
/// A status that is not expected.
pub static UNEXPECTED_STATUS: Reason =
    Reason::new("unexpected_status", "The endpoint answers, but not that it is well: look at the service's own log.");
/// A body that is not as expected.
pub static UNEXPECTED_BODY: Reason = Reason::new(
    "unexpected_body",
    "The endpoint answers with something else than expected: compare its body with expect_body.",
);

/// What says nothing about the endpoint, because it is our own failure.
static OURS: [&Reason; 2] = [&CREDENTIALS_UNREADABLE, &LOCAL];

impl Kind for HttpConfig {
    const INFO: KindInfo = KindInfo {
        name: "http",
        can_feed: Feeds { rto: true, rpo: false },
        reasons: &[
            &RESOLVE_FAILED,
            &CONNECT_FAILED,
            &TLS_FAILED,
            &TIMEOUT,
            &CONNECTION_LOST,
            &BAD_ANSWER,
            &BAD_REDIRECT,
            &UNEXPECTED_STATUS,
            &UNEXPECTED_BODY,
            &CREDENTIALS_UNREADABLE,
            &LOCAL,
        ],
        warnings: &[],
        readings: &[],
    };

    fn build(&self, _clients: &Clients) -> Arc<dyn Check> {
        Arc::new(HttpCheck::new(self.clone()))
    }

    fn sides(&self) -> Sides<'_> {
        Sides::One
    }
}

/// The check of one endpoint.
#[derive(Debug)]
pub struct HttpCheck {
    config: Arc<HttpConfig>,
    progress: Arc<Progress>,
    connections: Connections,
}

impl HttpCheck {
    /// The check that a stanza describes. Does nothing yet.
    #[must_use]
    pub fn new(config: HttpConfig) -> Self {
        let config = Arc::new(config);
        let progress = Arc::new(Progress::default());
        let connections = Connections::new(&config, Arc::clone(&progress));
        Self { config, progress, connections }
    }

    async fn measure(&self, patience: Duration) -> Result<(), Finding> {
        let headers = Headers::read(&self.config.header_sources()).await;
        let headers = headers.map_err(|problem| Finding::new(&CREDENTIALS_UNREADABLE, problem))?;
        let exchange = Exchange {
            config: &self.config,
            headers: &headers,
            connections: &self.connections,
            progress: &self.progress,
            patience,
        };
        let answer = exchange.run().await?;
        let config = Arc::clone(&self.config);
        self.progress.enter(Phase::Judging);
        // A pattern on a MiB may take its time.
        blocking(move || verdict::of_body(config.expect_body.as_ref(), &answer)).await
    }
}

#[async_trait]
impl Check for HttpCheck {
    async fn run(&self, run: Run) -> Observation {
        let patience = run.deadline.saturating_duration_since(clock::instant());
        self.progress.begin();
        let measured = match timeout_at(run.deadline, self.measure(patience)).await {
            Ok(measured) => measured,
            Err(_) => Err(self.progress.timed_out(patience, clock::since(run.deadline))),
        };
        Observation::of_health(match measured {
            Ok(()) => Health::Healthy,
            Err(finding) => {
                self.connections.forget();
                if OURS.contains(&finding.reason) { Health::NoAnswer(finding) } else { Health::Unhealthy(finding) }
            }
        })
    }
}
