//! What every request passes on its way to the routes, and every answer on its way back: limits,
//! passwords, the route prefix, headers.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use http_body_util::Limited;
use hyper::body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tower::ServiceExt as _;
use url::Url;

use super::auth::{Denied, Passwords, Proof, User};
use super::limits::{ANSWERS, BODY_BYTES, MAKING, REQUEST_TIME};
use super::rate::Bucket;
use super::server::Running;
use super::web_config::Settings;
use super::{error, origin};
use crate::export::server::{Refused, refused};

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The address of the client.
    pub peer: SocketAddr,
    /// Whether it came over TLS.
    pub is_secure: bool,
    /// The name in the client's certificate, if that was verified.
    pub certificate: Option<Arc<str>>,
}

/// What stands before the routes, and does not change while the process runs.
#[derive(Debug, Clone, Default)]
pub struct FrontOptions {
    /// The address under which the exporter is reached from outside.
    pub external: Option<Url>,
    /// The path before all routes: empty, or as `/dr`, without a slash at its end.
    pub prefix: String,
    /// Whether a request may reload the configuration.
    pub has_lifecycle: bool,
}

/// What stands before the routes.
pub struct Front {
    router: Router,
    options: FrontOptions,
    settings: watch::Receiver<Arc<Settings>>,
    passwords: Passwords,
    bucket: Bucket,
    answers: Arc<Semaphore>,
    making: Semaphore,
}

impl Front {
    /// Stands before these routes.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(router: Router, options: FrontOptions, settings: watch::Receiver<Arc<Settings>>) -> io::Result<Self> {
        let passwords = Passwords::new().map_err(|_| io::Error::other("the system has no random numbers"))?;
        let (answers, making) = (Arc::new(Semaphore::new(ANSWERS)), Semaphore::new(MAKING));
        Ok(Self { router, options, settings, passwords, bucket: Bucket::default(), answers, making })
    }

    /// The web configuration at this moment.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.borrow())
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: Request, origin: Origin, running: Running) -> Response {
        let settings = self.settings();
        let (mut response, permit) = match self.routed(request) {
            Ok(request) => {
                let path = request.uri().path().to_owned();
                let (mut response, permit) = match self.admitted(request, origin, &settings).await {
                    Ok(answered) => answered,
                    Err(refusal) => (refusal, None),
                };
                set_cache(&mut response, &path);
                (response, permit)
            }
            Err(elsewhere) => (elsewhere, None),
        };
        set_headers(&mut response, &settings);
        response.map(|body| Body::new(Counted { body, _held: (running, permit) }))
    }

    /// The request without the route prefix.
    #[expect(clippy::result_large_err, reason = "a refusal is an answer, and is moved as seldom as one")]
    fn routed(&self, mut request: Request) -> Result<Request, Response> {
        let prefix = self.options.prefix.as_str();
        if prefix.is_empty() {
            return Ok(request);
        }
        let path = request.uri().path();
        let within = match path.strip_prefix(prefix) {
            Some("") => return Err(Redirect::permanent(&format!("{prefix}/")).into_response()),
            Some(within) if within.starts_with('/') => within,
            _ if path == "/" => return Err(Redirect::temporary(&format!("{prefix}/")).into_response()),
            _ => {
                let message = format!("there is nothing here; everything is below {prefix}/");
                return Err(error(StatusCode::NOT_FOUND, &message));
            }
        };
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = format!("{within}{query}").parse().ok();
        match Uri::from_parts(parts) {
            Ok(uri) => {
                *request.uri_mut() = uri;
                Ok(request)
            }
            Err(_) => Err(error(StatusCode::BAD_REQUEST, "the path is not valid")),
        }
    }

    /// The answer of the routes, or a refusal.
    async fn admitted(&self, request: Request, origin: Origin, settings: &Settings) -> Result<Answered, Response> {
        let (path, is_secure) = (request.uri().path(), origin.is_secure);
        let is_probe = matches!(path, "/-/healthy" | "/-/ready");
        // These take little memory or share it, so that nothing keeps them waiting.
        let is_free = path == "/metrics" || path.starts_with("/-/");
        let mut request = request;
        if !is_probe {
            if settings.rate.is_some_and(|rate| !self.bucket.allows(rate)) {
                return Err(refuse(Refused::Rate, StatusCode::TOO_MANY_REQUESTS, "too many requests; try again later"));
            }
            let (method, uri, headers) = (request.method(), request.uri(), request.headers());
            let external = self.options.external.as_ref();
            if let Some(why) = origin::refusal(method, uri, headers, is_secure, external) {
                return Err(refuse(Refused::CrossSite, StatusCode::FORBIDDEN, why));
            }
            if let Some(user) = self.user(request.headers(), &origin, settings).await? {
                request.extensions_mut().insert(user);
            }
        }
        if request.uri().path() == "/-/reload" && !self.options.has_lifecycle && request.method() != Method::GET {
            let message = "requests cannot reload the configuration; SIGHUP does, and --web.enable-lifecycle allows it";
            return Err(error(StatusCode::FORBIDDEN, message));
        }
        request.extensions_mut().insert(origin);
        let request = limited(request)?;
        let answered = async {
            if is_free {
                let Ok(response) = self.router.clone().oneshot(request).await;
                return (response, None);
            }
            let permit = Arc::clone(&self.answers).acquire_owned().await.ok();
            let making = self.making.acquire().await;
            let Ok(response) = self.router.clone().oneshot(request).await;
            drop(making);
            (response, permit)
        };
        let answered = tokio::time::timeout(REQUEST_TIME, answered).await;
        answered.map_err(|_| refuse(Refused::Busy, StatusCode::SERVICE_UNAVAILABLE, "the answer took too long"))
    }

    /// Who sent the request. None if everybody may come in, and nobody proved anything.
    async fn user(&self, headers: &HeaderMap, origin: &Origin, settings: &Settings) -> Result<Option<User>, Response> {
        let Some(users) = &settings.users else {
            let certificate = origin.certificate.clone();
            return Ok(certificate.map(|name| User { name, by: Proof::Certificate }));
        };
        match self.passwords.check(users, headers, origin.peer.ip()).await {
            Ok(user) => Ok(Some(user)),
            Err(Denied::Unauthorized) => {
                let message = "a user name and a password are needed";
                let mut refusal = refuse(Refused::Unauthorized, StatusCode::UNAUTHORIZED, message);
                refusal.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
                Err(refusal)
            }
            Err(Denied::Busy) => {
                let message = "too many passwords are being checked; try again later";
                Err(refuse(Refused::Busy, StatusCode::SERVICE_UNAVAILABLE, message))
            }
        }
    }
}

/// An answer, and the permit that it holds until it is sent.
type Answered = (Response, Option<OwnedSemaphorePermit>);

const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"dr-exporter\", charset=\"UTF-8\"");

/// Refuses a request, and counts that.
fn refuse(why: Refused, status: StatusCode, message: &str) -> Response {
    refused(why);
    let mut refusal = error(status, message);
    if matches!(why, Refused::Rate | Refused::Busy) {
        refusal.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    refusal
}

/// The request with a body that has an end.
#[expect(clippy::result_large_err, reason = "a refusal is an answer, and is moved as seldom as one")]
fn limited(request: Request) -> Result<Request, Response> {
    let size = request.body().size_hint();
    if size.lower() > BODY_BYTES as u64 {
        let message = format!("the body is too large; at most {BODY_BYTES} bytes are accepted");
        return Err(error(StatusCode::PAYLOAD_TOO_LARGE, &message));
    }
    Ok(request.map(|body| Body::new(Limited::new(body, BODY_BYTES))))
}

/// The headers of every answer, unless the answer has its own.
const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
    ),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("deny")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

fn set_headers(response: &mut Response, settings: &Settings) {
    let headers = response.headers_mut();
    for (name, value) in &settings.headers {
        headers.insert(name, value.clone());
    }
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(value);
    }
}

/// What is behind these addresses is only true at this moment.
fn set_cache(response: &mut Response, path: &str) {
    if path.starts_with("/api/") || path.starts_with("/-/") {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// The body of an answer. What is held is let go when the body is sent.
struct Counted {
    body: Body,
    _held: (Running, Option<OwnedSemaphorePermit>),
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
