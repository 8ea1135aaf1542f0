//! Prometheus, or a server with the same HTTP API (Thanos, Mimir, Cortex, VictoriaMetrics): instant
//! queries, and the one number of a query.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::clients::blocking;
use crate::clients::http::{BasicAuth, HeaderConfig, HeaderSources, HttpApi, Reasons};
use crate::clients::reasons;
use crate::clients::stanza::{Destination, Stanza};
use crate::clients::tls::TlsFiles;
use crate::decode::config;
use crate::decode::values::{FilePath, HeaderName, PrometheusUrl, SecretFile};
use crate::decode::{Decoder, Fields, both_or_none};
use crate::domain::observation::{Finding, Reason};

pub use crate::clients::reasons::{CREDENTIALS_UNREADABLE, LOCAL, TLS_UNSUPPORTED};

mod answer;
mod filter;
mod question;
mod sources;
mod standing;
mod tempo;
mod worst;

use answer::Envelope;
pub use answer::{Answered, Sample};
pub use question::{LOOKBACK, NoNumber, Number, Question};
pub use standing::Standing;
pub use worst::Good;

/// The part of a number by which it may differ from itself: what a mean or a trend of equal samples loses by reckoning.
const ROUNDING: f64 = 1e-9;

/// Whether two numbers are the same but for rounding. NaN is the same as NaN.
#[must_use]
pub fn is_same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits() || (one - other).abs() <= one.abs().max(other.abs()) * ROUNDING
}

config! {
    /// A Prometheus, or a server with the same API.
    pub struct PrometheusConnection {
        /// Its URL, including the path prefix. `/api/v1/query` is added to it.
        pub url: PrometheusUrl,
        /// Request headers, such as `X-Scope-OrgID` for the tenant of a Mimir.
        pub headers: BTreeMap<HeaderName, HeaderConfig> = BTreeMap::new(),
        /// A file with a token, sent as `Authorization: Bearer TOKEN`. Cannot be combined with
        /// `basic_auth`.
        pub bearer_token_file: Option<SecretFile> = None,
        /// User and password, sent as `Authorization: Basic`. Cannot be combined with
        /// `bearer_token_file`.
        pub basic_auth: Option<BasicAuth> = None,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// Whether to skip the verification of the server's certificate.
        pub insecure_skip_verify: bool = false,
    }
    validate = PrometheusConnection::validate;
}

impl PrometheusConnection {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.url.http().get().path().contains("/api/v1") {
            let message = "`/api/v1/query` is added to this; end the URL before `/api/v1`";
            cx.under("url", |cx| cx.warn(fields.position("url"), message));
        }
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
        self.header_sources().validate(fields, cx);
    }

    fn header_sources(&self) -> HeaderSources {
        HeaderSources {
            headers: self.headers.clone(),
            bearer_token_file: self.bearer_token_file.clone(),
            basic_auth: self.basic_auth.clone(),
        }
    }
}

impl Stanza for PrometheusConnection {
    fn destination(&self, _within: Option<&str>) -> Destination {
        Destination { place: self.url.http().place().to_owned(), told_by: "the same URL" }
    }
}

/// Prometheus could not be reached.
pub static CONNECT_FAILED: Reason = reasons::connect_failed(
    "Is Prometheus up, and does the network (DNS, firewall, NetworkPolicy) let this exporter reach it?",
);
/// Prometheus did not answer in time.
pub static TIMEOUT: Reason =
    reasons::timeout("Prometheus answers too slowly: make the query cheaper (a recording rule), or raise timeout.");
/// No TLS session.
pub static TLS_FAILED: Reason =
    reasons::tls_failed("Check ca_file, cert_file and key_file, and the certificate of Prometheus.");
/// The credentials were refused.
pub static AUTH_FAILED: Reason = reasons::auth_failed(
    "Prometheus refuses the credentials, or needs a tenant: check token, password and the X-Scope-OrgID header.",
);
/// The credentials have too few rights.
pub static FORBIDDEN: Reason =
    reasons::forbidden("These credentials may not query: grant them the right to read this tenant's metrics.");
/// Too many requests.
pub static THROTTLED: Reason =
    reasons::throttled("Prometheus limits the rate of requests: raise the check's interval, or the limit.");
/// Prometheus, or a proxy in front of it, failed.
pub static SERVER_ERROR: Reason =
    reasons::server_error("Prometheus, or a proxy in front of it, failed: look at its log and at its load.");
/// The answer is not from Prometheus.
pub static BAD_ANSWER: Reason = reasons::bad_answer(
    "The answer is not from the query API: check the URL, including its path prefix; redirects are not followed.",
);
/// Prometheus does not accept the query.
pub static QUERY_REFUSED: Reason =
    reasons::query_refused("Prometheus does not accept the query: try it on the Prometheus web page, and correct it.");
/// Prometheus accepted the query, but could not run it.
pub static QUERY_FAILED: Reason = Reason::new(
    "query_failed",
    "Prometheus could not run the query: the detail shows why (limits, storage, many-to-many matching).",
);
/// The answer has warnings.
pub static WARNINGS: Reason = Reason::new(
    "warnings",
    "Prometheus warns that its answer may be incomplete: the detail has the warning. Look at its stores and rules.",
);
/// The query returns nothing.
pub static NO_SAMPLE: Reason = Reason::new(
    "no_sample",
    "The query, or a series that it uses, returns nothing: is the target scraped? Is the name of the metric right?",
);
/// The query returns several series.
pub static MANY_SERIES: Reason =
    Reason::new("many_series", "The query must return one number: aggregate it with min(), max() or sum().");
/// The answer is not a number.
pub static NOT_A_NUMBER: Reason = Reason::new(
    "not_a_number",
    "The query returns NaN, a range, a text or a histogram: avoid divisions by zero, and return one number.",
);
/// The answer is infinite.
pub static INFINITE: Reason = Reason::new("infinite", "The query returns +Inf or -Inf: avoid divisions by zero.");
/// A sample that the query uses is too old.
pub static STALE: Reason = reasons::stale(
    "The newest sample is older than max_staleness: is its target still scraped? Does remote write keep up?",
);

static REASONS_OF_HTTP: Reasons = Reasons {
    credentials: &CREDENTIALS_UNREADABLE,
    local: &LOCAL,
    tls: &TLS_FAILED,
    timeout: &TIMEOUT,
    connect: &CONNECT_FAILED,
    auth: &AUTH_FAILED,
    forbidden: &FORBIDDEN,
    throttled: &THROTTLED,
    server: &SERVER_ERROR,
    bad_answer: &BAD_ANSWER,
    too_large: &BAD_ANSWER,
};

/// Why a query has no number, for checks and triggers.
pub const REASONS: [&Reason; 19] = [
    &CONNECT_FAILED,
    &TIMEOUT,
    &TLS_FAILED,
    &TLS_UNSUPPORTED,
    &AUTH_FAILED,
    &FORBIDDEN,
    &THROTTLED,
    &SERVER_ERROR,
    &BAD_ANSWER,
    &CREDENTIALS_UNREADABLE,
    &LOCAL,
    &QUERY_REFUSED,
    &QUERY_FAILED,
    &WARNINGS,
    &NO_SAMPLE,
    &MANY_SERIES,
    &NOT_A_NUMBER,
    &INFINITE,
    &STALE,
];

/// The largest accepted answer, in bytes. A query for one number has a small answer.
const LARGEST: usize = 1 << 20;

/// A Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    name: String,
    api: HttpApi,
}

impl Prometheus {
    /// The Prometheus with this name. It does nothing yet.
    #[must_use]
    pub fn new(name: &str, config: &PrometheusConnection) -> Self {
        let files = TlsFiles {
            ca_file: config.ca_file.as_ref(),
            cert_file: config.cert_file.as_ref(),
            key_file: config.key_file.as_ref(),
            insecure_skip_verify: config.insecure_skip_verify,
        };
        let api = HttpApi::new(config.url.http(), config.header_sources(), &files, LARGEST, &REASONS_OF_HTTP);
        Self { name: name.to_owned(), api }
    }

    /// Evaluates a query at `time`, in seconds since the Unix epoch by the server's clock. Without
    /// `time` it is now.
    ///
    /// # Errors
    /// Why there is no complete answer. An answer that has warnings, or calls itself partial, does not count as complete.
    pub async fn instant(&self, query: &str, time: Option<f64>, deadline: Instant) -> Result<Answered, Finding> {
        let time = time.map(|time| format!("{time:.3}"));
        let mut form = vec![("query", query)];
        form.extend(time.as_deref().map(|time| ("time", time)));
        let answered = match self.api.post_form(&["api", "v1", "query"], &form, deadline).await {
            Ok(answer) => {
                // A large answer takes a while, and other checks run on this thread.
                let (answer, envelope) = blocking(move || {
                    let envelope = Envelope::parse(&answer);
                    (answer, envelope)
                })
                .await;
                Answered::read(&self.api, &answer, envelope)
            }
            Err(finding) => Err(finding),
        };
        answered.map_err(|Finding { reason, detail }| Finding::new(reason, format!("{}: {detail}", self.name)))
    }
}
