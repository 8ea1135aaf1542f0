//! What was declared, done and recorded.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Seen, error};
use crate::decode::values::PromDuration;
use crate::domain::incident::Incident;
use crate::engine::order::On;
use crate::export::gathered::Gathered;
use crate::export::recorded::Recorded;
use crate::export::{event, people, period};
use crate::store::record::{EntryQuery, Head, Link};

/// The incidents.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct IncidentsAnswer {
    /// The newest first.
    incidents: Vec<Incident>,
}

/// Entries of the record.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecordAnswer {
    /// The end of the record. Null while the storage was not read.
    head: Option<Head>,
    /// The oldest first.
    entries: Vec<Link>,
}

pub(super) async fn incidents(State(seen): State<Seen>) -> Response {
    let mut incidents = seen.look(|view| view.snapshot.plans.incidents.values().cloned().collect::<Vec<_>>());
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.declared.at));
    Json(IncidentsAnswer { incidents }).into_response()
}

pub(super) async fn incident(State(seen): State<Seen>, Path(named): Path<String>) -> Response {
    match seen.look(|view| people::incident(view, &named).cloned()) {
        Some(incident) => Json(incident).into_response(),
        None => error(StatusCode::NOT_FOUND, "no incident with this name or id was declared"),
    }
}

pub(super) async fn drills(State(seen): State<Seen>) -> Response {
    Json(seen.look(people::drills)).into_response()
}

pub(super) async fn drill(State(seen): State<Seen>, Path(named): Path<String>) -> Response {
    match seen.look(|view| people::drill(view, &named).cloned()) {
        Some(run) => Json(run).into_response(),
        None => error(StatusCode::NOT_FOUND, "no drill with this name or id was started"),
    }
}

/// A query for entries of the record.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entries {
    #[serde(default)]
    after: i64,
    limit: Option<u32>,
}

const ENTRIES: u32 = 100;
const MOST_ENTRIES: u32 = 1000;
/// How many entries a report reads at once.
const PAGE: u32 = 250;

pub(super) async fn record(State(seen): State<Seen>, query: Result<Query<Entries>, QueryRejection>) -> Response {
    let Ok(Query(Entries { after, limit })) = query else {
        return error(StatusCode::BAD_REQUEST, "the query can have after=NUMBER and limit=NUMBER");
    };
    let Some(storage) = &seen.storage else { return no_storage() };
    let limit = limit.unwrap_or(ENTRIES).min(MOST_ENTRIES);
    match storage.entries(EntryQuery { after, limit }).await {
        Ok(entries) => Json(RecordAnswer { head: storage.health().head, entries }).into_response(),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

/// The format of a report.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    #[default]
    Json,
    Markdown,
    Html,
}

/// A query for a report.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    #[serde(default)]
    output: Form,
    since: Option<String>,
    contract: Option<String>,
}

const WRONG_REPORT: &str =
    "the query can have output=json|markdown|html; /api/v1/report also takes since=90d and contract=NAME";

/// The report on one incident.
pub(super) async fn incident_report(
    State(seen): State<Seen>,
    Path(named): Path<String>,
    query: Result<Query<Report>, QueryRejection>,
) -> Response {
    event(seen, On::Incident(named), query).await
}

/// The report on one drill.
pub(super) async fn drill_report(
    State(seen): State<Seen>,
    Path(named): Path<String>,
    query: Result<Query<Report>, QueryRejection>,
) -> Response {
    event(seen, On::Drill(named), query).await
}

async fn event(seen: Seen, on: On, query: Result<Query<Report>, QueryRejection>) -> Response {
    let Ok(Query(Report { output, .. })) = query else { return error(StatusCode::BAD_REQUEST, WRONG_REPORT) };
    if seen.storage.is_none() {
        return no_storage();
    }
    let Some(mut report) = seen.look(|view| event::EventReport::begin(view, &on)) else {
        return error(StatusCode::NOT_FOUND, "there is no incident or drill with this name or id");
    };
    report.head = match record_into(&seen, |recorded| report.take(recorded)).await {
        Ok(head) => head,
        Err(refusal) => return refusal,
    };
    match output {
        Form::Json => Json(report).into_response(),
        Form::Markdown => markdown(event::markdown(&report)),
        Form::Html => html(event::html(&report)),
    }
}

/// The report on a period.
pub(super) async fn period(State(seen): State<Seen>, query: Result<Query<Report>, QueryRejection>) -> Response {
    let Ok(Query(Report { output, since, contract })) = query else {
        return error(StatusCode::BAD_REQUEST, WRONG_REPORT);
    };
    let since = match PromDuration::from_arg(since.as_deref().unwrap_or("90d")) {
        Ok(since) => since.get(),
        Err(message) => return error(StatusCode::BAD_REQUEST, &format!("since: {message}")),
    };
    let from = seen.look(|view| view.moment.wall(view.moment.now)).minus(since);
    let mut gathered = Gathered::since(from, contract.clone());
    let head = match record_into(&seen, |recorded| gathered.take(recorded)).await {
        Ok(head) => head,
        Err(refusal) => return refusal,
    };
    let report = seen.look(|view| period::PeriodReport::of(view, since, contract.as_deref(), &gathered, head));
    let Some(report) = report else {
        return error(StatusCode::NOT_FOUND, "there is no contract with this name; see /api/v1/status for a list");
    };
    match output {
        Form::Json => Json(report).into_response(),
        Form::Markdown => markdown(period::markdown(&report)),
        Form::Html => html(period::html(&report)),
    }
}

/// Reads the whole record page by page, gives each fact to `take`, and returns the end. Entries that this
/// version cannot read are left out.
async fn record_into(seen: &Seen, mut take: impl FnMut(Recorded)) -> Result<Head, Response> {
    let storage = seen.storage.as_ref().ok_or_else(no_storage)?;
    let mut head = Head::default();
    loop {
        let query = EntryQuery { after: head.seq, limit: PAGE };
        let entries = storage.entries(query).await.map_err(|why| error(StatusCode::SERVICE_UNAVAILABLE, &why))?;
        entries.iter().filter_map(Recorded::of).for_each(&mut take);
        head = entries.last().map_or(head, Link::head);
        if entries.len() < PAGE as usize {
            return Ok(head);
        }
    }
}

fn no_storage() -> Response {
    error(StatusCode::NOT_FOUND, "there is no storage")
}

fn markdown(text: String) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], text).into_response()
}

/// A page of its own, which can be saved and printed: its style is inside.
fn html(page: String) -> Response {
    let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'");
    ([(header::CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}
