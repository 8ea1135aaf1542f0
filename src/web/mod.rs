//! The HTTP server: the routes. It decides nothing.
//!
//! [`server`] takes connections in, and [`front`] is what every request passes on its way to the
//! routes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{mpsc, oneshot, watch};
use tower_http::compression::CompressionLayer;

use crate::clock::{Clock, Moment};
use crate::engine::ledger::TICK;
use crate::engine::snapshot::Snapshot;
use crate::export::View;
use crate::export::metrics::{self, Pieces};
use crate::export::report::StatusReport;
use crate::export::shards::ShardsReport;
use crate::store::keeper::Storage;
use accept::Format;
use admin::Admin;
use peers::Peers;
use shared::{Pieced, Shared};

mod accept;
pub mod address;
pub mod admin;
mod api;
pub mod auth;
mod files;
pub mod front;
pub mod limits;
pub mod listen;
pub mod live;
pub mod openapi;
mod origin;
mod page;
mod pages;
pub mod peers;
mod rate;
pub mod runbooks;
pub mod server;
mod shared;
mod tls;
pub mod web_config;

/// The engine counts as dead when it has not ticked for this long.
const DEAD_AFTER: Duration = Duration::from_secs(10 * TICK.as_secs());

/// An order to reload the configuration. The answer is its errors, if there are any.
pub type Reload = oneshot::Sender<Result<(), String>>;

/// What every route can use.
#[derive(Clone)]
struct Seen {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Clock,
    storage: Option<Storage>,
    reloads: mpsc::Sender<Reload>,
    scrapes: Arc<Scrapes>,
    admin: Admin,
    peers: Option<Peers>,
}

/// What scrapes share.
#[derive(Default)]
struct Scrapes {
    /// Those that come at the same time: text and OpenMetrics, each plain and compressed.
    shared: [Shared<Pieces>; 4],
    /// Those that follow one another.
    metrics: metrics::Scrapes,
}

impl Seen {
    fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        look(View { snapshot: &snapshot, moment: self.clock.moment() })
    }

    fn report(&self) -> StatusReport {
        self.look(StatusReport::of)
    }

    /// All shards, as far as the peers have told. None without shards or peers.
    fn shards(&self, report: &StatusReport) -> Option<ShardsReport> {
        let peers = self.peers.as_ref()?.known();
        self.look(|View { snapshot, moment }| {
            ShardsReport::of(report, moment.now.since(snapshot.ticked), &peers, moment.now)
        })
    }
}

/// All routes.
pub fn router(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Clock,
    storage: Option<Storage>,
    reloads: mpsc::Sender<Reload>,
    admin: Admin,
    peers: Option<Peers>,
) -> Router {
    Router::new()
        .merge(pages::routes())
        .merge(api::routes())
        .route("/metrics", get(scrape))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload).put(reload))
        .merge(admin::routes())
        .fallback(pages::nothing)
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here; see docs/http.md")
        })
        .layer(CompressionLayer::new())
        .with_state(Seen { snapshots, clock, storage, reloads, scrapes: Arc::default(), admin, peers })
}

/// An error as JSON.
fn error(status: StatusCode, message: &str) -> Response {
    api::answer(status, &api::ErrorAnswer { error: message.to_owned(), links: Vec::new() })
}

async fn scrape(State(seen): State<Seen>, headers: HeaderMap) -> Response {
    let values = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let format = Format::best(values(header::ACCEPT));
    let is_gzip = accept::takes_gzip(values(header::ACCEPT_ENCODING));
    let [text, text_gzip, open, open_gzip] = &seen.scrapes.shared;
    let shared = match (format, is_gzip) {
        (Format::Text, false) => text,
        (Format::Text, true) => text_gzip,
        (Format::OpenMetrics, false) => open,
        (Format::OpenMetrics, true) => open_gzip,
    };
    let rendered = shared.get({
        let seen = seen.clone();
        move || {
            let format = match format {
                Format::OpenMetrics => metrics::Format::OpenMetrics,
                Format::Text => metrics::Format::Prometheus,
            };
            let scrapes = &seen.scrapes.metrics;
            seen.look(|view| if is_gzip { scrapes.gzip(view, format) } else { scrapes.text(view, format) })
        }
    });
    let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
    let body = Body::new(Pieced::new(rendered.await.into_inner()));
    let mut response = (headers, body).into_response();
    response.headers_mut().append(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Healthy while the engine ticks. A process that answers but no longer measures must be restarted.
async fn healthy(State(seen): State<Seen>) -> Response {
    seen.look(|View { snapshot, moment: Moment { now, .. } }| {
        let silence = now.since(snapshot.ticked);
        if silence <= DEAD_AFTER {
            (StatusCode::OK, "healthy\n").into_response()
        } else {
            error(StatusCode::SERVICE_UNAVAILABLE, &format!("the engine has not ticked for {silence:.0?}"))
        }
    })
}

/// Reloads the configuration. One with errors changes nothing, and the answer contains all its
/// errors.
async fn reload(State(seen): State<Seen>) -> Response {
    let (answer, answered) = oneshot::channel();
    if seen.reloads.send(answer).await.is_err() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the process is shutting down");
    }
    match answered.await {
        Ok(Ok(())) => (StatusCode::OK, "reloaded\n").into_response(),
        Ok(Err(errors)) => error(StatusCode::BAD_REQUEST, &errors),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "the process is shutting down"),
    }
}

/// Ready when every check has run. Before that the figures are incomplete.
async fn ready(State(seen): State<Seen>) -> Response {
    seen.look(|view| {
        if view.snapshot.is_ready() {
            (StatusCode::OK, "ready\n").into_response()
        } else {
            error(StatusCode::SERVICE_UNAVAILABLE, "not every check has run yet")
        }
    })
}
