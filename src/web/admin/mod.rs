//! The admin API: orders of people, and what came of them.
//!
//! Writes need the flag and a user who proved who they are. Reads need neither more nor less than
//! every other read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Path, Request as HttpRequest, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tracing::warn;

use super::auth::User;
use super::rate::Bucket;
use super::web_config::Rate;
use super::{Seen, error};
use crate::domain::people::Refusal;
use crate::engine::Orders;
use crate::engine::order::{NotDone, On, Order, Request};
use bodies::Body;

mod bodies;
pub(super) mod described;
mod reading;

/// How many writes of one user are carried out: 5 per second, and 50 at once.
const RATE: Rate = Rate { interval: Duration::from_millis(200), burst: 50 };
/// The most users whose writes are counted.
const USERS: usize = 1000;
/// The longest idempotency key.
const KEY: usize = 128;
/// How long ago an order was given at most.
const OLDEST: Duration = Duration::from_secs(600);

/// Carries out the orders of people.
#[derive(Clone)]
pub struct Admin {
    /// Where the orders go. None if the admin API is off.
    orders: Option<Orders>,
    buckets: Arc<Mutex<BTreeMap<Arc<str>, Arc<Bucket>>>>,
}

impl Admin {
    /// The admin API. Without `orders` it refuses every write.
    #[must_use]
    pub fn new(orders: Option<Orders>) -> Self {
        Self { orders, buckets: Arc::default() }
    }

    /// Where the orders of this user go.
    #[expect(clippy::result_large_err, reason = "the refusal is the answer")]
    fn admit(&self, user: Option<&User>) -> Result<&Orders, Response> {
        let off = "the admin API is off; start the exporter with --web.enable-admin-api";
        let orders = self.orders.as_ref().ok_or_else(|| error(StatusCode::FORBIDDEN, off))?;
        let nobody = "the admin API needs a user: see --web.config.file";
        let user = user.ok_or_else(|| error(StatusCode::FORBIDDEN, nobody))?;
        let bucket = {
            let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
            if buckets.len() >= USERS {
                buckets.clear();
            }
            Arc::clone(buckets.entry(Arc::clone(&user.name)).or_default())
        };
        if bucket.allows(RATE) {
            return Ok(orders);
        }
        let mut refusal = error(StatusCode::TOO_MANY_REQUESTS, "too many writes; try again later");
        refusal.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        Err(refusal)
    }
}

/// The routes.
pub(super) fn routes() -> Router<Seen> {
    let on = |what: &str, path: &str| format!("/api/v1/{what}/{{id}}/{path}");
    let mut routes = Router::new()
        .route("/api/v1/incidents", get(reading::incidents).post(write::<bodies::Declare>))
        .route("/api/v1/incidents/{id}", get(reading::incident))
        .route("/api/v1/incidents/{id}/steps/{part}", post(write::<bodies::Step>))
        .route("/api/v1/incidents/{id}/close", post(write::<bodies::Close>))
        .route("/api/v1/drills", get(reading::drills).post(write::<bodies::StartDrill>))
        .route("/api/v1/drills/{id}", get(reading::drill))
        .route("/api/v1/drills/{id}/recovered", post(write::<bodies::Recovered>))
        .route("/api/v1/drills/{id}/finish", post(write::<bodies::Finish>))
        .route("/api/v1/drills/{id}/close", post(write::<bodies::Finish>))
        .route("/api/v1/drills/{id}/abort", post(write::<bodies::Abort>))
        .route("/api/v1/acknowledgements", post(write::<bodies::Acknowledge>))
        .route("/api/v1/record", get(reading::record))
        .route("/api/v1/report", get(reading::period));
    for what in ["incidents", "drills"] {
        routes = routes
            .route(&on(what, "notes"), post(write::<bodies::Note>))
            .route(&on(what, "change"), post(write::<bodies::Change>))
            .route(&on(what, "gaps"), post(write::<bodies::OpenGap>))
            .route(&on(what, "gaps/{part}/close"), post(write::<bodies::CloseGap>));
    }
    routes
        .route(&on("incidents", "report"), get(reading::incident_report))
        .route(&on("drills", "report"), get(reading::drill_report))
}

/// The variable parts of a path.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
struct Place {
    /// The name or id of an incident or drill.
    id: String,
    /// A step, or the number of a gap.
    part: String,
    /// Whether the path is one of the drills.
    #[serde(skip)]
    of_drills: bool,
}

impl Place {
    /// The incident or drill.
    fn on(self) -> On {
        if self.of_drills { On::Drill(self.id) } else { On::Incident(self.id) }
    }
}

/// Carries out an order.
async fn write<B: Body>(
    State(seen): State<Seen>,
    place: Option<Path<Place>>,
    user: Option<Extension<User>>,
    headers: HeaderMap,
    request: HttpRequest,
) -> Response {
    let user = user.map(|Extension(user)| user);
    let mut place = place.map(|Path(place)| place).unwrap_or_default();
    place.of_drills = request.uri().path().starts_with("/api/v1/drills/");
    let orders = match seen.admin.admit(user.as_ref()) {
        Ok(orders) => orders.clone(),
        Err(refusal) => return refusal,
    };
    let name = user.map(|user| user.name.to_string()).unwrap_or_default();
    let ordered = match body::<B>(request).await {
        Ok(body) => body.order(place).and_then(|order| Ok((order, key(&headers)?, age(&headers)?))),
        Err(refusal) => return refusal,
    };
    match ordered {
        Ok((order, key, age)) => answer(&orders, Request { order, user: name, key, age, given: None }).await,
        Err(message) => error(StatusCode::BAD_REQUEST, &message),
    }
}

async fn answer(orders: &Orders, request: Request) -> Response {
    let (user, order) = (request.user.clone(), request.order.label());
    match orders.give(request).await {
        Ok(done) => {
            let status = if done.created { StatusCode::CREATED } else { StatusCode::OK };
            (status, Json::<Value>(done.state)).into_response()
        }
        Err(NotDone::Refused(refusal)) => {
            let status = match &refusal {
                Refusal::Unknown(_) => StatusCode::NOT_FOUND,
                Refusal::Forbidden(_) => StatusCode::FORBIDDEN,
                Refusal::Conflict(_) => StatusCode::CONFLICT,
                Refusal::Invalid(_) => StatusCode::BAD_REQUEST,
            };
            warn!(user, order, why = refusal.text(), "an order of a person was refused");
            error(status, refusal.text())
        }
        Err(NotDone::NotStored(message)) => {
            warn!(user, order, why = message, "an order of a person could not be stored");
            error(StatusCode::SERVICE_UNAVAILABLE, &message)
        }
    }
}

/// The body of a request.
async fn body<B: DeserializeOwned>(request: HttpRequest) -> Result<B, Response> {
    match Json::<B>::from_request(request, &()).await {
        Ok(Json(body)) => Ok(body),
        Err(JsonRejection::JsonDataError(why)) => Err(error(StatusCode::BAD_REQUEST, &why.body_text())),
        Err(why) => Err(error(why.status(), &why.body_text())),
    }
}

/// The idempotency key, if there is one.
fn key(headers: &HeaderMap) -> Result<Option<String>, String> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| !key.is_empty() && key.len() <= KEY);
    key.map(|key| Some(key.to_owned())).ok_or_else(|| format!("an idempotency key has 1 to {KEY} visible characters"))
}

/// How long ago the person gave the order.
fn age(headers: &HeaderMap) -> Result<Duration, String> {
    let Some(age) = headers.get("order-age") else { return Ok(Duration::ZERO) };
    let seconds = age.to_str().ok().and_then(|age| age.parse().ok());
    let age = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).filter(|age| *age <= OLDEST);
    age.ok_or_else(|| format!("the age of an order is 0 to {} seconds; see `at`", OLDEST.as_secs()))
}

/// A text without control characters, of a limited length.
fn text(what: &str, text: String, most: usize) -> Result<String, String> {
    let clean = |c: char| !c.is_control() || c == '\n';
    if text.len() <= most && text.chars().all(clean) {
        return Ok(text);
    }
    Err(format!("`{what}` may have at most {most} bytes, and no control characters"))
}

/// The same for a text that must not be empty.
fn needed(what: &str, given: String, most: usize) -> Result<String, String> {
    let given = text(what, given, most)?;
    if given.trim().is_empty() { Err(format!("`{what}` is needed")) } else { Ok(given) }
}

/// An order, or what is wrong with the request.
type Ordered = Result<Order, String>;
