//! The routes of the pages for people.

use std::time::Duration;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;

use super::page::contract::WINDOWS;
use super::page::status::Past;
use super::page::{Links, contract, plain, status};
use super::{Seen, api, files, runbooks};
use crate::export::report::StatusReport;
use crate::store::RecoveryQuery;

/// How far back the strips go, in hours.
const STRIP: u32 = 24;
/// How many changes of each objective a page shows.
const CHANGES: u32 = 200;
/// How many recoveries a page shows.
const RECOVERIES: u32 = 10;

/// The routes.
pub(super) fn routes() -> Router<Seen> {
    Router::new()
        .route("/", get(home))
        .route("/contracts/{name}", get(one))
        .route("/config", get(configuration))
        .route("/runbooks", get(runbooks::list))
        .route("/runbooks/{name}", get(runbooks::serve))
        .route("/static/{name}", get(files::serve))
}

async fn home(State(seen): State<Seen>) -> Response {
    let mut report = seen.report();
    let past = past(&seen, &report, None, STRIP).await;
    let all = seen.shards(&report);
    if let Some(all) = &all {
        report.failover = Some(all.failover.clone());
    }
    status::page(&report, &past, all.as_ref())
}

/// A query for the page of a contract.
#[derive(Deserialize)]
struct Window {
    hours: Option<u32>,
}

async fn one(
    State(seen): State<Seen>,
    name: Result<Path<String>, PathRejection>,
    window: Result<Query<Window>, QueryRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let report = seen.report();
    let Some(shown) = name.ok().and_then(|Path(name)| report.contract(&name)) else {
        let elsewhere = "this shard has no contract with this name; another one may have it";
        let message = if report.shard.is_some() { elsewhere } else { "there is no contract with this name" };
        return missing(message, &uri, &headers);
    };
    let asked = window.ok().and_then(|Query(window)| window.hours);
    let hours = asked.filter(|asked| WINDOWS.iter().any(|(hours, _)| hours == asked)).unwrap_or(STRIP);
    let past = past(&seen, &report, Some(shown.name.clone()), hours).await;
    let stanza = seen.look(|view| {
        let configuration = view.snapshot.configuration.as_ref()?;
        configuration.shown.contracts.get(&shown.name).cloned()
    });
    contract::page(shown, &report, &past, hours, stanza.as_deref())
}

async fn past(seen: &Seen, report: &StatusReport, contract: Option<String>, hours: u32) -> Past {
    let since = report.now.minus(Duration::from_secs(u64::from(hours) * 60 * 60));
    let changes = if contract.is_some() { api::CHANGES } else { CHANGES };
    let history = seen.history(report, contract.clone(), since, changes).await;
    let recoveries = seen.recoveries(RecoveryQuery { contract, since: None, limit: RECOVERIES }).await;
    Past { history, recoveries }
}

async fn configuration(State(seen): State<Seen>) -> Response {
    seen.look(|view| plain::configuration(view.snapshot.configuration.as_ref(), view.moment))
}

/// What there is, for those who asked for something else.
const PLACES: [(&str, &str); 7] = [
    ("", "the status page"),
    ("config", "the configuration in use"),
    ("runbooks", "a page for each alert"),
    ("metrics", "for Prometheus"),
    ("api/v1/status", "everything as JSON"),
    ("api/v1/openapi.json", "the description of the API"),
    ("-/healthy", "whether the engine runs; -/ready tells whether every check has run"),
];

/// The answer to a path that does not exist.
pub(super) async fn nothing(uri: Uri, headers: HeaderMap) -> Response {
    missing("there is nothing under this address", &uri, &headers)
}

/// An answer without what was asked for: a page for a browser, otherwise JSON. Both have links.
pub(super) fn missing(message: &str, uri: &Uri, headers: &HeaderMap) -> Response {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok());
    let is_browser = accepts.flat_map(|accept| accept.split(',')).any(|kind| kind.trim().starts_with("text/html"));
    if is_browser {
        return plain::not_found(Links::from(uri.path()), message, &PLACES);
    }
    let links = PLACES.iter().map(|(path, _)| format!("/{path}")).collect();
    api::answer(StatusCode::NOT_FOUND, &api::ErrorAnswer { error: message.to_owned(), links })
}
