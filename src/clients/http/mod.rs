//! An HTTP API that reports on a component. It is asked with credentials, its answers are limited
//! in size, and redirects are never followed.
//!
//! For the kind `http`, the endpoint itself is measured. It shares the headers, but has its own
//! exchange.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, DATE, LOCATION};
use http::{Method, StatusCode};
use jiff::fmt::rfc2822;
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout_at};
use url::Host;

use crate::clients::failure::{self, Failure, Fault};
use crate::clients::reasons::TLS_UNSUPPORTED;
use crate::clients::tls::{self, ReloadingTls, TlsFiles};
use crate::clock;
use crate::decode::values::{HttpUrl, secrets};
use crate::domain::observation::{Finding, Reason};

mod headers;

pub use headers::{BasicAuth, HeaderConfig, HeaderSources, Headers};

/// How long a connection is kept for the next request. The requests of one run follow each other at
/// once, and every run makes a new connection.
const KEPT: Duration = Duration::from_secs(2);

/// The reasons for the failures of an API.
#[derive(Debug)]
pub struct Reasons {
    /// A file of the exporter cannot be used.
    pub credentials: &'static Reason,
    /// The exporter's own machine is at its limits.
    pub local: &'static Reason,
    /// No TLS session.
    pub tls: &'static Reason,
    /// No complete answer in time.
    pub timeout: &'static Reason,
    /// No connection, or one that broke.
    pub connect: &'static Reason,
    /// The credentials are refused.
    pub auth: &'static Reason,
    /// The credentials have too few rights.
    pub forbidden: &'static Reason,
    /// Too many requests.
    pub throttled: &'static Reason,
    /// The server, or a proxy in front of it, failed.
    pub server: &'static Reason,
    /// The answer is not from the API.
    pub bad_answer: &'static Reason,
    /// The answer is larger than accepted.
    pub too_large: &'static Reason,
}

impl Reasons {
    /// The reason for a status that is not a success.
    #[must_use]
    pub fn of_status(&self, status: StatusCode) -> &'static Reason {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => self.auth,
            StatusCode::FORBIDDEN => self.forbidden,
            StatusCode::TOO_MANY_REQUESTS => self.throttled,
            status if status.is_server_error() => self.server,
            _ => self.bad_answer,
        }
    }
}

/// The answer of an API, with any status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Vec<u8>,
    /// When the request was sent. The answer is about no earlier moment.
    pub sent: Instant,
    /// When the answer was complete.
    pub received: Instant,
    /// The time of the server's clock, to the second, if it was sent.
    pub date: Option<jiff::Timestamp>,
    /// The target of a redirect, including the host. It is never followed.
    pub location: Option<String>,
}

/// An HTTP API.
#[derive(Debug)]
pub struct HttpApi {
    url: HttpUrl,
    headers: HeaderSources,
    tls: ReloadingTls,
    largest: usize,
    reasons: &'static Reasons,
    kept: Mutex<Option<(Option<Arc<ClientConfig>>, Client)>>,
}

impl HttpApi {
    /// The API at `url`, whose path is a prefix. Answers larger than `largest` bytes are refused.
    /// It does nothing yet.
    #[must_use]
    pub fn new(
        url: &HttpUrl,
        headers: HeaderSources,
        tls: &TlsFiles<'_>,
        largest: usize,
        reasons: &'static Reasons,
    ) -> Self {
        // With HTTP/2 the library does not report that a server wants a client certificate.
        let tls = ReloadingTls::new(tls, &[b"http/1.1"]);
        Self { url: url.clone(), headers, tls, largest, reasons, kept: Mutex::default() }
    }

    /// The configured URL without its query, which may contain secrets.
    #[must_use]
    pub fn base(&self) -> String {
        let mut url = self.url.get().clone();
        url.set_query(None);
        url.to_string()
    }

    /// Sends a GET request.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)], deadline: Instant) -> Result<Answer, Finding> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.ask(Method::GET, url, |request| request, deadline).await
    }

    /// Sends a POST request with the parameters as a form. So there is no limit of the URL's
    /// length, and no query in access logs.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post_form(&self, path: &[&str], form: &[(&str, &str)], deadline: Instant) -> Result<Answer, Finding> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let with_body =
            |request: RequestBuilder| request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        self.ask(Method::POST, self.at(path), with_body, deadline).await
    }

    /// The finding for a status that is not a success.
    #[must_use]
    pub fn refused(&self, answer: &Answer, said: Option<&str>) -> Finding {
        let status = answer.status;
        let reason = self.reasons.of_status(status);
        let mut story = format!("{}: HTTP {status}", self.base());
        if let Some(said) = said {
            story.push_str(&format!(": {}", readable(said)));
        }
        if let Some(location) = &answer.location {
            story.push_str(&format!("; it redirects to {}, which is not followed", readable(location)));
        }
        Finding::new(reason, story)
    }

    fn at(&self, path: &[&str]) -> url::Url {
        let mut url = self.url.get().clone();
        url.set_query(None);
        // Only a URL without a host has no segments. Such URLs are refused.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn ask(
        &self,
        method: Method,
        url: url::Url,
        prepare: impl FnOnce(RequestBuilder) -> RequestBuilder + Send,
        deadline: Instant,
    ) -> Result<Answer, Finding> {
        let asking = async {
            let unusable = |problem| Finding::new(self.reasons.credentials, problem);
            let headers = Headers::read(&self.headers).await.map_err(unusable)?;
            let client = self.client().await?;
            let request = prepare(client.request(method, url).headers(headers.of(true)));
            let sent = clock::instant();
            let response = request.send().await.map_err(|error| self.failed(&error))?;
            self.read(response, sent).await
        };
        match timeout_at(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) if clock::held_up(deadline) => {
                Err(Finding::new(self.reasons.local, format!("{}: the exporter itself was held up", self.base())))
            }
            Err(_) => Err(Finding::new(self.reasons.timeout, format!("{}: no complete answer in time", self.base()))),
        }
    }

    async fn read(&self, mut response: Response, sent: Instant) -> Result<Answer, Finding> {
        let (status, headers) = (response.status(), response.headers());
        let text = |name| headers.get(&name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let date = text(DATE).and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        let location = text(LOCATION).map(|location| location.split(['?', '#']).next().unwrap_or_default().to_owned());
        let location = location.filter(|_| status.is_redirection());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error))? {
            body.extend_from_slice(&chunk);
            if body.len() > self.largest {
                let story = format!("{}: the answer is larger than {} bytes", self.base(), self.largest);
                return Err(Finding::new(self.reasons.too_large, story));
            }
        }
        Ok(Answer { status, body, sent, received: clock::instant(), date, location })
    }

    /// The client with the current certificates.
    async fn client(&self) -> Result<Client, Finding> {
        let unusable = |error: tls::TlsError| Finding::new(self.reasons.credentials, error.to_string());
        let with_tls = self.url.get().scheme() == "https";
        let current = if with_tls { Some(self.tls.current().await.map_err(unusable)?) } else { None };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((tls, client)) = &*kept
            && tls.as_ref().map(Arc::as_ptr) == current.as_ref().map(Arc::as_ptr)
        {
            return Ok(client.clone());
        }
        let config = match &current {
            Some(config) => (**config).clone(),
            None => tls::trusting_nobody().map_err(unusable)?,
        };
        let client = Client::builder()
            .tls_backend_preconfigured(config)
            // Otherwise the target of a redirect would get the credentials.
            .redirect(Policy::none())
            .no_proxy()
            .pool_idle_timeout(KEPT)
            .build()
            .map_err(|error| Finding::new(self.reasons.local, format!("the HTTP client cannot be created: {error}")))?;
        *kept = Some((current, client.clone()));
        Ok(client)
    }

    fn failed(&self, error: &reqwest::Error) -> Finding {
        let addresses = match self.url.get().host() {
            Some(Host::Ipv4(address)) => vec![address.into()],
            Some(Host::Ipv6(address)) => vec![address.into()],
            Some(Host::Domain(_)) | None => Vec::new(),
        };
        let Failure { fault, story } = failure::classify(error, &addresses);
        let reason = match fault {
            _ if error.is_builder() => self.reasons.local,
            Fault::Local => self.reasons.local,
            Fault::Tls => self.reasons.tls,
            Fault::TlsUnsupported => &TLS_UNSUPPORTED,
            Fault::Timeout => self.reasons.timeout,
            Fault::Cut | Fault::Malformed | Fault::Unreachable => self.reasons.connect,
        };
        Finding::new(reason, format!("{}: {story}", self.base()))
    }
}

/// A message of a server, cut to one readable line. In a URL, the part before the host, which may
/// be a secret, is removed.
#[must_use]
pub fn readable(said: &str) -> String {
    use std::sync::LazyLock;

    use regex::Regex;

    static CREDENTIALS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("://[^/@\\s]*@").ok());

    // Before it is cut: half a secret is not recognised.
    let line: String = secrets::blanked(said).chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    CREDENTIALS.as_ref().map_or_else(String::new, |credentials| credentials.replace_all(&line, "://").into_owned())
}
