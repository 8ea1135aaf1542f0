//! An HTTP API that reports on something: asked with credentials, its answers bounded, redirects never followed.
//!
//! The kind `http`, where the endpoint itself is what is measured, shares the headers and has its own exchange.

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
use crate::clients::tls::{self, ReloadingTls, TlsFiles};
use crate::clock;
use crate::config::values::HttpUrl;
use crate::domain::observation::{Finding, Reason};

mod headers;

pub use headers::{BasicAuth, HeaderConfig, HeaderSources, Headers};

/// How long a connection waits for the next question: those of one run follow each other at once, and every run proves a
/// new one.
const KEPT: Duration = Duration::from_secs(2);

/// The reasons of the closed list that an API's failures have.
#[derive(Debug)]
pub struct Reasons {
    /// One of the exporter's own files is no use.
    pub credentials: &'static Reason,
    /// The exporter's own machine is at its limits.
    pub local: &'static Reason,
    /// No TLS session.
    pub tls: &'static Reason,
    /// No whole answer in time.
    pub timeout: &'static Reason,
    /// No connection, or one that broke.
    pub connect: &'static Reason,
    /// The credentials are refused.
    pub auth: &'static Reason,
    /// The credentials do not suffice.
    pub forbidden: &'static Reason,
    /// Asked too often.
    pub throttled: &'static Reason,
    /// The server, or a proxy before it, failed.
    pub server: &'static Reason,
    /// What answers is not the API.
    pub bad_answer: &'static Reason,
    /// There is more of an answer than is read.
    pub too_large: &'static Reason,
}

impl Reasons {
    /// The reason that a status which is no success has.
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

/// What an API answered, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The whole body.
    pub body: Vec<u8>,
    /// When the question was sent: the answer tells of no earlier moment.
    pub sent: Instant,
    /// When the answer was there.
    pub received: Instant,
    /// What the server's clock showed, to the second, if it told.
    pub date: Option<jiff::Timestamp>,
    /// Where it redirects to, host included; never followed.
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
    /// The API at `url`, whose path is kept. Answers larger than `largest` bytes are refused. Does nothing yet.
    #[must_use]
    pub fn new(
        url: &HttpUrl,
        headers: HeaderSources,
        tls: &TlsFiles<'_>,
        largest: usize,
        reasons: &'static Reasons,
    ) -> Self {
        // Over HTTP/2 a server that wants a client certificate is not heard to say so.
        let tls = ReloadingTls::new(tls, &[b"http/1.1"]);
        Self { url: url.clone(), headers, tls, largest, reasons, kept: Mutex::default() }
    }

    /// The URL that is configured, without what its query may hold.
    #[must_use]
    pub fn base(&self) -> String {
        let mut url = self.url.get().clone();
        url.set_query(None);
        url.to_string()
    }

    /// Asks with GET.
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

    /// Asks with POST, the parameters as a form: no limit of a URL's length, and no query in anybody's access log.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post_form(&self, path: &[&str], form: &[(&str, &str)], deadline: Instant) -> Result<Answer, Finding> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let with_body =
            |request: RequestBuilder| request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
        self.ask(Method::POST, self.at(path), with_body, deadline).await
    }

    /// What people are told of a status that is no success.
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
        // Only a URL without a host has no segments, and none of those is accepted.
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
            let request = prepare(headers.add_to(client.request(method, url), true));
            let sent = clock::instant();
            let response = request.send().await.map_err(|error| self.failed(&error))?;
            self.read(response, sent).await
        };
        match timeout_at(deadline, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Finding::new(self.reasons.timeout, format!("{}: no whole answer in time", self.base()))),
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

    /// The client of the certificates as they are now.
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
            // Whoever redirects would be given the credentials.
            .redirect(Policy::none())
            .no_proxy()
            .pool_idle_timeout(KEPT)
            .build()
            .map_err(|error| Finding::new(self.reasons.local, format!("no HTTP client can be made: {error}")))?;
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
            Fault::Timeout => self.reasons.timeout,
            Fault::Cut | Fault::Malformed | Fault::Unreachable => self.reasons.connect,
        };
        Finding::new(reason, format!("{}: {story}", self.base()))
    }
}

/// What a server said, without what a URL in it may hold before its host, cut to a line that can be read.
#[must_use]
pub fn readable(said: &str) -> String {
    use std::sync::LazyLock;

    use regex::Regex;

    static CREDENTIALS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new("://[^/@\\s]*@").ok());

    let line: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    CREDENTIALS.as_ref().map_or_else(String::new, |credentials| credentials.replace_all(&line, "://").into_owned())
}
