//! `http`: an endpoint that *is* the component. Whatever keeps it from giving the expected answer
//! is a failure of the component.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout_at;

use crate::checks::rights::Right;
use crate::checks::sides::Sides;
use crate::checks::{Check, Kind, KindInfo, Run};
use crate::clients::http::{BasicAuth, HeaderConfig, HeaderSources, Headers};
use crate::clients::{Clients, blocking, reasons};
use crate::clock;
use crate::decode::config;
use crate::decode::values::{
    BodyText, FilePath, HeaderName, HttpMethod, HttpPlace, HttpUrl, Pattern, SecretFile, ServerName, StatusSet,
};
use crate::decode::{Decoder, Fields, both_or_none};
use crate::domain::check::Feeds;
use crate::domain::observation::{Finding, Health, Observation, Reason};
use crate::domain::time::Timestamp;
use connections::Connections;
use exchange::{Exchange, Told};
use progress::{Phase, Progress};
use request_body::RequestBody;
use route::Route;

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL, TLS_UNSUPPORTED};

mod age;
mod chunks;
mod connect;
mod connections;
mod encoding;
mod exchange;
mod failure;
mod head;
mod hop;
mod lenient;
mod progress;
mod request_body;
mod route;
mod verdict;

config! {
    /// An HTTP endpoint that is the component. Feeds `rto`.
    pub struct HttpConfig {
        /// The URL to request, `http` or `https`. User and password do not belong in it.
        pub url: HttpUrl,
        /// The name under which the endpoint is asked, instead of the URL's host: the server name
        /// in TLS, which its certificate must match, and `Host`. For a URL with an address.
        pub server_name: Option<ServerName> = None,
        /// Where to connect, instead of the address of the URL's host: a host or an address, with
        /// or without a port. Server name, certificate and `Host` stay those of the URL, as with
        /// `curl --connect-to`. The default port is the URL's.
        pub connect_to: Option<HttpPlace> = None,
        /// The request method.
        pub method: HttpMethod = HttpMethod::default(),
        /// Request headers.
        pub headers: BTreeMap<HeaderName, HeaderConfig> = BTreeMap::new(),
        /// The body of the request, at most 64 KiB. Set its type with the header `Content-Type`.
        /// Cannot be combined with `body_file`.
        pub body: Option<BodyText> = None,
        /// A file with the body of the request. It is only sent to the origin of the URL. Cannot be
        /// combined with `body`.
        pub body_file: Option<SecretFile> = None,
        /// A file with a token, sent as `Authorization: Bearer TOKEN`. Cannot be combined with
        /// `basic_auth`.
        pub bearer_token_file: Option<SecretFile> = None,
        /// User and password, sent as `Authorization: Basic`. Cannot be combined with
        /// `bearer_token_file`.
        pub basic_auth: Option<BasicAuth> = None,
        /// The statuses that count as healthy: numbers, ranges (`200-204`) or classes (`2xx`).
        pub expect_status: StatusSet = StatusSet::success(),
        /// A regular expression that must match somewhere in the first MiB of the decoded body.
        pub expect_body: Option<Pattern> = None,
        /// Whether to follow redirects, up to 10. Otherwise a redirect is judged by its own status.
        pub follow_redirects: bool = true,
        /// Whether to use a connection for several runs. By default, every run makes a new
        /// connection.
        pub reuse_connection: bool = false,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// Whether to skip the verification of the server's certificate.
        pub insecure_skip_verify: bool = false,
    }
    validate = HttpConfig::validate;
}

impl HttpConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
        self.header_sources().validate(fields, cx);
        if self.body.is_some() && self.body_file.is_some() {
            cx.error(fields.position("body_file"), "`body` already sets the body; remove one of the two");
        }
        let body = [("body", self.body.is_some()), ("body_file", self.body_file.is_some())];
        for (key, _) in body.into_iter().filter(|(_, given)| *given && self.method.get() == http::Method::HEAD) {
            cx.error(fields.position(key), "a HEAD request has no body; use POST, or remove this");
        }
        if self.expect_body.is_some() && self.method.get() == http::Method::HEAD {
            cx.error(fields.position("expect_body"), "the answer to HEAD has no body; use GET, or remove this");
        }
    }

    /// The sources of the request headers.
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
    "Clients cannot find the endpoint: check the DNS record of the name, and the resolvers of this exporter.",
);
/// Nothing accepts connections.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Nothing accepts connections there: check the service, its load balancer and the firewalls.",
);
/// No TLS session.
pub static TLS_FAILED: Reason = reasons::tls_failed(
    "Check the server's certificate: its dates, its names, who signed it, and whether ca_file contains that authority.",
);
/// No complete answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("The endpoint is too slow, or hangs: the detail shows how far the request got.");
/// The connection ended before the answer did.
pub static CONNECTION_LOST: Reason = Reason::new(
    "connection_lost",
    "The server, or something in front of it, drops requests: look for crashes, restarts and overload there.",
);
/// The server does not speak HTTP properly.
pub static BAD_ANSWER: Reason = reasons::bad_answer(
    "The server does not speak HTTP properly: check the port, and any proxy in front of the service.",
);
/// Redirects lead nowhere.
pub static BAD_REDIRECT: Reason = Reason::new(
    "bad_redirect",
    "Correct the redirect on the server, or set follow_redirects to false if it is the expected answer.",
);
/// An unexpected status.
pub static UNEXPECTED_STATUS: Reason = Reason::new(
    "unexpected_status",
    "The endpoint answers, but not with the expected status: look at the log of the service.",
);
/// An unexpected body.
pub static UNEXPECTED_BODY: Reason =
    Reason::new("unexpected_body", "The endpoint answers with an unexpected body: compare it with expect_body.");

/// The exporter's own limit.
pub static HEAD_TOO_LARGE: Reason = Reason::new(
    "head_too_large",
    "The header of the answer is larger than the exporter accepts: find out what adds so many header fields.",
);
/// A redirect that this check must not follow.
pub static REDIRECT_NOT_FOLLOWED: Reason = Reason::new(
    "redirect_not_followed",
    "Set the check's url to where the redirect ends, or leave the port out of connect_to. Otherwise set follow_redirects \
     to false.",
);
/// The body has an unknown encoding.
pub static UNKNOWN_ENCODING: Reason = Reason::new(
    "unknown_encoding",
    "expect_body cannot be compared: let the endpoint answer without an encoding, or with gzip, deflate, br or zstd.",
);

/// The answer comes from a cache, and is too old.
pub static STALE: Reason = reasons::stale(
    "A cache answers for the endpoint: check the endpoint behind it (connect_to), or a URL that is not cached, or send the \
     header Cache-Control: no-cache if the cache follows it.",
);

/// What says nothing about the endpoint as it is now: problems of the exporter itself, and answers of the past.
static UNTOLD: [&Reason; 7] = [
    &CREDENTIALS_UNREADABLE,
    &LOCAL,
    &TLS_UNSUPPORTED,
    &HEAD_TOO_LARGE,
    &REDIRECT_NOT_FOLLOWED,
    &UNKNOWN_ENCODING,
    &STALE,
];

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
            &TLS_UNSUPPORTED,
            &CREDENTIALS_UNREADABLE,
            &LOCAL,
            &HEAD_TOO_LARGE,
            &REDIRECT_NOT_FOLLOWED,
            &UNKNOWN_ENCODING,
            &STALE,
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

    fn rights(&self) -> Vec<Right<'_>> {
        Vec::new()
    }
}

/// The check of one endpoint.
#[derive(Debug)]
pub struct HttpCheck {
    config: Arc<HttpConfig>,
    route: Route,
    progress: Arc<Progress>,
    connections: Connections,
    /// When this process last saw the endpoint fail: for the reason of what is older. The rules ignore it also
    /// after a restart.
    failed: Mutex<Option<Timestamp>>,
}

impl HttpCheck {
    /// The check for a stanza. It does nothing yet.
    #[must_use]
    pub fn new(config: HttpConfig) -> Self {
        let config = Arc::new(config);
        let route = Route::new(&config);
        let progress = Arc::new(Progress::default());
        let connections = Connections::new(&config, Arc::clone(&progress));
        Self { config, route, progress, connections, failed: Mutex::default() }
    }

    async fn measure(&self, patience: Duration) -> Result<Told, Finding> {
        let unusable = |problem| Finding::new(&CREDENTIALS_UNREADABLE, problem);
        let headers = Headers::read(&self.config.header_sources()).await.map_err(unusable)?;
        let body = RequestBody::read(&self.config).await.map_err(unusable)?;
        let exchange = Exchange {
            config: &self.config,
            route: &self.route,
            headers: &headers,
            body: &body,
            connections: &self.connections,
            progress: &self.progress,
            patience,
            cookies: Mutex::default(),
        };
        let answer = exchange.run().await?;
        let told = answer.told;
        if self.config.expect_body.is_none() {
            return Ok(told);
        }
        let config = Arc::clone(&self.config);
        self.progress.enter(Phase::Judging);
        // Decoding 1 MiB and matching a pattern may take a while.
        blocking(move || verdict::of_body(config.expect_body.as_ref(), answer)).await.map(|()| told)
    }

    /// The instant as of which a good answer counts.
    ///
    /// # Errors
    /// It is from before that, so it says nothing about now: older than evidence of health may be, or older than a
    /// failure. It may also be called outdated by the cache that it comes from.
    fn seen(&self, told: Told, run: Run) -> Result<Option<Timestamp>, Finding> {
        let stale = |story: String| Err(Finding::new(&STALE, story));
        let Told { sent, age, outdated } = told;
        if let Some(code) = outdated {
            return stale(format!("the answer is good, but outdated: the cache that it comes from warns with {code}"));
        }
        if age.is_zero() {
            return Ok(None);
        }
        let seconds = age.as_secs();
        if age > run.freshness {
            let most = run.freshness.as_secs();
            return stale(format!("the answer is good, but {seconds} s old (Age): the most that counts is {most} s"));
        }
        let seen = run.clock.at(sent).minus(age);
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_some_and(|failed| seen <= failed) {
            return stale(format!("the answer is good, but {seconds} s old (Age): the endpoint has failed since"));
        }
        Ok(Some(seen))
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
        match measured.and_then(|told| self.seen(told, run)) {
            Ok(seen) => Observation { seen, ..Observation::of_health(Health::Healthy) },
            Err(finding) => {
                self.connections.forget();
                if UNTOLD.contains(&finding.reason) {
                    return Observation::of_health(Health::NoAnswer(finding));
                }
                *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(run.clock.now());
                Observation::of_health(Health::Unhealthy(finding))
            }
        }
    }
}
