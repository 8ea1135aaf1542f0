//! The HTTP side: routes, and nothing that decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tower_http::compression::CompressionLayer;

use crate::app::Reload;
use crate::clock::{Clock, Moment};
use crate::domain::time::Timestamp;
use crate::engine::ledger::TICK;
use crate::engine::snapshot::Snapshot;
use crate::export::report::StatusReport;
use crate::export::{View, metrics};
use crate::store::keeper::Storage;
use crate::store::{FiringQuery, RecoveryQuery};
use accept::Format;

mod accept;
mod page;

/// The engine counts as dead when it has not ticked for this long.
const DEAD_AFTER: Duration = Duration::from_secs(10 * TICK.as_secs());

/// What every route can see.
#[derive(Clone)]
struct Seen {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Clock,
    storage: Option<Storage>,
    reloads: mpsc::Sender<Reload>,
}

impl Seen {
    fn look<T>(&self, look: impl FnOnce(View<'_>) -> T) -> T {
        let snapshot = Arc::clone(&self.snapshots.borrow());
        look(View { snapshot: &snapshot, moment: self.clock.moment() })
    }

    fn report(&self) -> StatusReport {
        self.look(StatusReport::of)
    }
}

/// All routes.
pub fn router(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    clock: Clock,
    storage: Option<Storage>,
    reloads: mpsc::Sender<Reload>,
) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/metrics", get(scrape))
        .route("/api/v1/status", get(status))
        .route("/api/v1/contracts/{name}", get(contract))
        .route("/api/v1/recoveries", get(recoveries))
        .route("/api/v1/triggers", get(triggers))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .route("/-/reload", post(reload))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there is nothing here; / has the links") })
        .method_not_allowed_fallback(|| async {
            error(StatusCode::METHOD_NOT_ALLOWED, "this can only be read, but for /-/reload, which takes POST")
        })
        .layer(CompressionLayer::new())
        .with_state(Seen { snapshots, clock, storage, reloads })
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

async fn page(State(seen): State<Seen>) -> Response {
    page::render(&seen.report()).into_response()
}

async fn scrape(State(seen): State<Seen>, headers: HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let format = Format::best(accepts);
    let text = match format {
        Format::OpenMetrics => seen.look(metrics::openmetrics),
        Format::Text => seen.look(metrics::prometheus),
    };
    match text {
        Ok(text) => {
            let headers = [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "accept")];
            (headers, text).into_response()
        }
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written"),
    }
}

async fn status(State(seen): State<Seen>) -> Response {
    Json(seen.report()).into_response()
}

async fn contract(State(seen): State<Seen>, Path(name): Path<String>) -> Response {
    match seen.report().contract(&name) {
        Some(contract) => Json(contract).into_response(),
        None => error(StatusCode::NOT_FOUND, "there is no contract of this name; /api/v1/status lists them"),
    }
}

/// Which recoveries are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recoveries {
    contract: Option<String>,
    since: Option<Timestamp>,
    limit: Option<u32>,
}

/// How many records one answer holds if it is not said, and at most.
const RECORDS: u32 = 100;
const MOST_RECORDS: u32 = 10_000;

async fn recoveries(State(seen): State<Seen>, query: Result<Query<Recoveries>, QueryRejection>) -> Response {
    let Ok(Query(Recoveries { contract, since, limit })) = query else {
        let message = "the query can hold contract=NAME, since=TIME as in 2026-01-31T12:00:00Z, and limit=NUMBER";
        return error(StatusCode::BAD_REQUEST, message);
    };
    let limit = limit.unwrap_or(RECORDS).min(MOST_RECORDS);
    let Some(storage) = &seen.storage else {
        return error(StatusCode::NOT_FOUND, "there is no storage");
    };
    match storage.recoveries(RecoveryQuery { contract, since, limit }).await {
        Ok(recoveries) => Json(json!({ "recoveries": recoveries })).into_response(),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

/// Which firings are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    trigger: Option<String>,
    since: Option<Timestamp>,
    limit: Option<u32>,
}

/// The triggers as they stand, and what is on record of their firings.
async fn triggers(State(seen): State<Seen>, query: Result<Query<Triggers>, QueryRejection>) -> Response {
    let Ok(Query(Triggers { trigger, since, limit })) = query else {
        let message = "the query can hold trigger=NAME, since=TIME as in 2026-01-31T12:00:00Z, and limit=NUMBER";
        return error(StatusCode::BAD_REQUEST, message);
    };
    let mut triggers = seen.report().triggers;
    triggers.retain(|status| trigger.as_ref().is_none_or(|name| *name == status.name));
    let limit = limit.unwrap_or(RECORDS).min(MOST_RECORDS);
    let Some(storage) = &seen.storage else {
        return error(StatusCode::NOT_FOUND, "there is no storage");
    };
    match storage.firings(FiringQuery { trigger, since, limit }).await {
        Ok(firings) => Json(json!({ "triggers": triggers, "firings": firings })).into_response(),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

/// Healthy while the engine ticks: a process that answers though nothing is measured any more must be restarted.
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

/// Reads the configuration anew. A bad one changes nothing; the answer has all that is wrong with it.
async fn reload(State(seen): State<Seen>) -> Response {
    let (answer, answered) = oneshot::channel();
    if seen.reloads.send(answer).await.is_err() {
        return error(StatusCode::SERVICE_UNAVAILABLE, "the process is ending");
    }
    match answered.await {
        Ok(Ok(())) => (StatusCode::OK, "reloaded\n").into_response(),
        Ok(Err(errors)) => error(StatusCode::BAD_REQUEST, &errors),
        Err(_) => error(StatusCode::SERVICE_UNAVAILABLE, "the process is ending"),
    }
}

/// Ready once every check has run: until then the figures are incomplete.
async fn ready(State(seen): State<Seen>) -> Response {
    seen.look(|view| {
        if view.snapshot.is_ready() {
            (StatusCode::OK, "ready\n").into_response()
        } else {
            error(StatusCode::SERVICE_UNAVAILABLE, "not every check has run yet")
        }
    })
}
