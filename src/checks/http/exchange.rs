//! Requests and answers, including redirects.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cookie_store::{CookieStore, RawCookie};
use http::header::{ACCEPT, CONTENT_LENGTH, COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, SET_COOKIE};
use http::{Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::age;
use super::connect::{Broken, Question};
use super::connections::{Connections, Open, Over};
use super::failure::Stage;
use super::hop::{Hop, OF_A_BODY};
use super::progress::{Phase, Progress};
use super::request_body::RequestBody;
use super::route::Route;
use super::{BAD_REDIRECT, HttpConfig, LOCAL, REDIRECT_NOT_FOLLOWED, encoding, failure, verdict};
use crate::clients::http::Headers;
use crate::clock;
use crate::domain::observation::Finding;

/// The highest number of redirects to follow.
const REDIRECTS: usize = 10;
/// The largest part of a body that is read, in bytes.
pub(super) const BODY: usize = 1 << 20;

/// An answer with an expected status.
#[derive(Debug)]
pub(super) struct Answer {
    /// The request.
    pub(super) request: Hop,
    /// The first MiB of the body, still encoded.
    pub(super) body: Vec<u8>,
    /// Its encodings.
    pub(super) codings: Vec<String>,
    /// What it says of its age.
    pub(super) told: Told,
}

/// What an answer says of its age.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    /// When it was asked for.
    pub(super) sent: Instant,
    /// How old it is.
    pub(super) age: Duration,
    /// The warning by which a cache calls it outdated.
    pub(super) outdated: Option<&'static str>,
}

impl Answer {
    /// Whether the body may continue after the part that was read.
    pub(super) fn is_cut(&self) -> bool {
        self.body.len() >= BODY
    }
}

/// The requests of one run.
pub(super) struct Exchange<'a> {
    pub(super) config: &'a HttpConfig,
    pub(super) route: &'a Route,
    pub(super) headers: &'a Headers,
    pub(super) body: &'a RequestBody,
    pub(super) connections: &'a Connections,
    pub(super) progress: &'a Progress,
    pub(super) patience: Duration,
    /// The cookies of the servers in the chain of redirects.
    pub(super) cookies: Mutex<CookieStore>,
}

/// Why a request got no answer.
enum Failed {
    /// A finding that is complete.
    Finding(Finding),
    /// The connection failed.
    Broken(Broken),
}

impl Exchange<'_> {
    /// Sends the request, follows redirects, and reads the answer if its status is expected.
    ///
    /// # Errors
    /// Why there is no such answer.
    pub(super) async fn run(&self) -> Result<Answer, Finding> {
        let mut hop = Hop::first(self.config.method.get().clone(), self.route.url().clone());
        let mut asked: Vec<Hop> = Vec::new();
        let (response, sent) = loop {
            let sent = clock::instant();
            let response = self.send(&mut hop).await?;
            let location = response.headers().get(LOCATION);
            let next = if self.config.follow_redirects { hop.next(response.status(), location) } else { Ok(None) };
            let wrong = |story: String| Finding::new(&BAD_REDIRECT, format!("{hop}: {story}"));
            let Some(next) = next.map_err(wrong)? else { break (response, sent) };
            self.take_cookies(&hop, response.headers());
            asked.push(hop.clone());
            if asked.len() > REDIRECTS {
                let circle = asked.iter().any(|earlier| earlier.repeats(&next));
                let circle = if circle { "they form a circle" } else { "no further ones are followed" };
                return Err(wrong(format!("redirected more than {REDIRECTS} times; {circle}")));
            }
            hop = next;
        };
        verdict::of_status(&self.config.expect_status, &hop, response.status(), response.headers())?;
        let (age, outdated) = (age::of(response.headers()), age::outdated(response.headers()));
        self.read(response, hop, Told { sent, age, outdated }).await
    }

    async fn send(&self, hop: &mut Hop) -> Result<Response<Incoming>, Finding> {
        let over = if hop.url.scheme() == "https" { Over::Tls } else { Over::Plain };
        let over = match self.send_once(hop, over).await {
            Ok(response) => return Ok(response),
            Err(Failed::Finding(finding)) => return Err(finding),
            // The server has not done anything yet, whatever the method is.
            Err(Failed::Broken(broken)) if failure::wants_http1(broken.error.as_ref()) => Over::TlsWithHttp1,
            // Servers may close a connection between two requests. For an existing connection this
            // is not a failure.
            Err(Failed::Broken(_)) if !self.progress.dialled() && hop.method.is_idempotent() => over,
            Err(Failed::Broken(broken)) => return Err(self.failed(&broken, hop)),
        };
        self.connections.forget();
        self.send_once(hop, over).await.map_err(|failed| match failed {
            Failed::Finding(finding) => finding,
            Failed::Broken(broken) => self.failed(&broken, hop),
        })
    }

    async fn send_once(&self, hop: &mut Hop, over: Over) -> Result<Response<Incoming>, Failed> {
        let refused =
            |hop: &Hop, story: String| Failed::Finding(Finding::new(&REDIRECT_NOT_FOLLOWED, format!("{hop}: {story}")));
        let place = self.route.place(&hop.url).map_err(|story| refused(hop, story))?;
        hop.at = self.route.is_pinned(&hop.url).then(|| format!("{}:{}", place.host, place.port));
        self.progress.ask(hop.clone());
        if hop.with_body && !hop.to_origin && self.body.is_private() {
            let story = "it leads to another origin, which must not get the content of body_file";
            return Err(refused(hop, story.to_owned()));
        }
        self.progress.send();
        let open = self.connections.open(&place, over, self.patience).await.map_err(Failed::Finding)?;
        let mut open: Open = open.map_err(Failed::Broken)?;
        self.progress.enter(Phase::Waiting);
        let question = self.question(hop, open.connection.is_http2()).ok_or_else(|| {
            // Nothing was sent: the URL or the headers are not possible.
            Failed::Finding(if hop.from.is_some() {
                Finding::new(&BAD_REDIRECT, format!("{hop}: the redirect leads to a URL that cannot be requested"))
            } else {
                Finding::new(&LOCAL, format!("{hop}: this URL and these headers cannot be requested"))
            })
        })?;
        let response = open.connection.ask(question).await.map_err(Failed::Broken)?;
        self.connections.keep(open);
        Ok(response)
    }

    /// The request for a hop. None if it is not possible.
    fn question(&self, hop: &Hop, http2: bool) -> Option<Question> {
        let mut headers = self.headers.of(hop.to_origin);
        let body = if hop.with_body { self.body.bytes() } else { Bytes::new() };
        if !hop.with_body && !self.config.method.get().is_safe() {
            for name in &OF_A_BODY {
                headers.remove(name);
            }
        }
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        headers.remove(CONTENT_LENGTH);
        let wants_length = [Method::POST, Method::PUT].contains(&hop.method);
        if wants_length || !body.is_empty() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        self.add_cookies(hop, &mut headers)?;
        let authority = match hop.url.port() {
            Some(port) => format!("{}:{port}", hop.url.host_str()?),
            None => hop.url.host_str()?.to_owned(),
        };
        let target = match hop.url.query() {
            Some(query) => format!("{}?{query}", hop.url.path()),
            None => hop.url.path().to_owned(),
        };
        let uri = if http2 {
            let host = headers.remove(HOST).and_then(|host| host.to_str().ok().map(ToOwned::to_owned));
            format!("{}://{}{target}", hop.url.scheme(), host.unwrap_or(authority)).parse::<Uri>().ok()?
        } else {
            headers.entry(HOST).or_insert(HeaderValue::from_str(&authority).ok()?);
            target.parse::<Uri>().ok()?
        };
        let mut question = Request::new(Full::new(body));
        *question.method_mut() = hop.method.clone();
        *question.uri_mut() = uri;
        *question.headers_mut() = headers;
        Some(question)
    }

    /// Keeps the cookies of a redirect for the rest of the chain.
    fn take_cookies(&self, hop: &Hop, headers: &HeaderMap) {
        let values = headers.get_all(SET_COOKIE).iter();
        let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let cookies = texts.filter_map(|text| RawCookie::parse(text).ok());
        self.cookies.lock().unwrap_or_else(PoisonError::into_inner).store_response_cookies(cookies, &hop.url);
    }

    /// Adds the cookies to the configured headers.
    fn add_cookies(&self, hop: &Hop, headers: &mut HeaderMap) -> Option<()> {
        let jar = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let set: Vec<String> =
            jar.get_request_values(&hop.url).map(|(name, value)| format!("{name}={value}")).collect();
        if set.is_empty() {
            return Some(());
        }
        let mut cookies = headers.remove(COOKIE).map(|value| value.as_bytes().to_vec()).unwrap_or_default();
        if !cookies.is_empty() {
            cookies.extend_from_slice(b"; ");
        }
        cookies.extend_from_slice(set.join("; ").as_bytes());
        let mut cookies = HeaderValue::from_bytes(&cookies).ok()?;
        cookies.set_sensitive(true);
        headers.insert(COOKIE, cookies);
        Some(())
    }

    async fn read(&self, response: Response<Incoming>, hop: Hop, told: Told) -> Result<Answer, Finding> {
        self.progress.enter(Phase::Reading);
        let codings = encoding::of(response.headers());
        let mut incoming = response.into_body();
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(frame) = incoming.frame().await else { break };
            let broken = |error: hyper::Error| Broken { stage: Stage::Answering, error: error.into() };
            let frame = frame.map_err(|error| self.failed(&broken(error), &hop))?;
            let Ok(chunk) = frame.into_data() else { continue };
            self.progress.read(chunk.len());
            body.extend_from_slice(&chunk);
        }
        body.truncate(BODY);
        Ok(Answer { request: hop, body, codings, told })
    }

    fn failed(&self, Broken { stage, error }: &Broken, hop: &Hop) -> Finding {
        let place = self.route.place(&hop.url).ok();
        let Some(place) = place else { return Finding::new(&LOCAL, format!("{hop}: the URL has no host")) };
        if *stage == Stage::Connecting && failure::gave_up(error.as_ref()) {
            return self.progress.timed_out(self.patience, Duration::ZERO);
        }
        let (reason, story) = failure::classify(error.as_ref(), *stage, &place.host);
        let addresses = if *stage == Stage::Answering { String::new() } else { self.progress.addresses() };
        Finding::new(reason, format!("{hop}: {story}{addresses}"))
    }
}
