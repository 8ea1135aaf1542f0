//! The JSON API. [`openapi`](super::openapi) describes it from the types here and in `export`.

use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Seen, error, openapi};
use crate::domain::contract::Objective;
use crate::domain::time::Timestamp;
use crate::export::history::HistoryReport;
use crate::export::report::{StatusReport, TriggerStatus};
use crate::export::text;
use crate::store::history::HistoryQuery;
use crate::store::{ClosedRecovery, Firing, FiringQuery, RecoveryQuery};

/// How many records an answer holds by default, and the highest limit.
const RECORDS: u32 = 100;
const MOST_RECORDS: u32 = 10_000;
/// How many changes of each objective a history holds by default, and the highest limit.
pub(super) const CHANGES: u32 = 500;
const MOST_CHANGES: u32 = 10_000;
/// How long an answer waits for the storage.
const PATIENCE: Duration = Duration::from_secs(2);
/// How far a history goes back by default.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct ErrorAnswer {
    /// What is wrong.
    pub(super) error: String,
    /// Where to look instead.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) links: Vec<String>,
}

/// Recoveries that are over.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct RecoveriesAnswer {
    /// The newest first.
    recoveries: Vec<ClosedRecovery>,
    /// What of the storage was damaged or lost, so that it may be missing here. Absent if nothing is
    /// known to be damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

/// The triggers as they stand, and their firings.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct TriggersAnswer {
    /// As they stand.
    triggers: Vec<TriggerStatus>,
    /// The newest first.
    firings: Vec<Firing>,
    /// What of the storage was damaged or lost, so that it may be missing here. Absent if nothing is
    /// known to be damaged.
    #[serde(skip_serializing_if = "Option::is_none")]
    damaged: Option<String>,
}

/// The routes.
pub(super) fn routes() -> Router<Seen> {
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/shards", get(shards))
        .route("/api/v1/contracts/{name}", get(contract))
        .route("/api/v1/history", get(history))
        .route("/api/v1/recoveries", get(recoveries))
        .route("/api/v1/triggers", get(triggers))
        .route("/api/v1/openapi.json", get(description))
}

/// An answer as JSON. It is only true at this moment.
pub(super) fn answer(status: StatusCode, answer: &impl Serialize) -> Response {
    (status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response()
}

async fn description() -> Response {
    answer(StatusCode::OK, openapi::document())
}

async fn status(State(seen): State<Seen>) -> Response {
    answer(StatusCode::OK, &seen.report())
}

/// All shards, as far as the peers have told.
async fn shards(State(seen): State<Seen>) -> Response {
    match seen.shards(&seen.report()) {
        Some(all) => answer(StatusCode::OK, &all),
        None => error(StatusCode::NOT_FOUND, "this exporter knows no other shards; see --web.peers in docs/shards.md"),
    }
}

async fn contract(State(seen): State<Seen>, name: Result<Path<String>, PathRejection>) -> Response {
    let report = seen.report();
    match name.ok().and_then(|Path(name)| report.contract(&name)) {
        Some(contract) => answer(StatusCode::OK, contract),
        None => error(StatusCode::NOT_FOUND, "there is no contract with this name; see /api/v1/status for a list"),
    }
}

/// A query for recoveries.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recoveries {
    contract: Option<String>,
    since: Option<Timestamp>,
    limit: Option<u32>,
}

async fn recoveries(State(seen): State<Seen>, query: Result<Query<Recoveries>, QueryRejection>) -> Response {
    let Ok(Query(Recoveries { contract, since, limit })) = query else {
        let message = "the query can have contract=NAME, since=TIME as in 2026-01-31T12:00:00Z, and limit=NUMBER";
        return error(StatusCode::BAD_REQUEST, message);
    };
    let limit = limit.unwrap_or(RECORDS).min(MOST_RECORDS);
    match seen.recoveries(RecoveryQuery { contract, since, limit }).await {
        Ok(recoveries) => answer(StatusCode::OK, &RecoveriesAnswer { recoveries, damaged: seen.damaged() }),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

/// A query for firings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Triggers {
    trigger: Option<String>,
    since: Option<Timestamp>,
    limit: Option<u32>,
}

/// The current triggers, and the records of their firings.
async fn triggers(State(seen): State<Seen>, query: Result<Query<Triggers>, QueryRejection>) -> Response {
    let Ok(Query(Triggers { trigger, since, limit })) = query else {
        let message = "the query can have trigger=NAME, since=TIME as in 2026-01-31T12:00:00Z, and limit=NUMBER";
        return error(StatusCode::BAD_REQUEST, message);
    };
    let mut triggers = seen.report().triggers;
    triggers.retain(|status| trigger.as_ref().is_none_or(|name| *name == status.name));
    let limit = limit.unwrap_or(RECORDS).min(MOST_RECORDS);
    let Some(storage) = &seen.storage else {
        return error(StatusCode::NOT_FOUND, "there is no storage");
    };
    match in_time(storage.firings(FiringQuery { trigger, since, limit })).await {
        Ok(firings) => answer(StatusCode::OK, &TriggersAnswer { triggers, firings, damaged: seen.damaged() }),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

/// A query for the past.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Past {
    contract: Option<String>,
    since: Option<Timestamp>,
    limit: Option<u32>,
}

async fn history(State(seen): State<Seen>, query: Result<Query<Past>, QueryRejection>) -> Response {
    let Ok(Query(Past { contract, since, limit })) = query else {
        let message = "the query can have contract=NAME, since=TIME as in 2026-01-31T12:00:00Z, and limit=NUMBER";
        return error(StatusCode::BAD_REQUEST, message);
    };
    let report = seen.report();
    let since = since.unwrap_or_else(|| report.now.minus(DAY)).min(report.now);
    let limit = limit.unwrap_or(CHANGES).clamp(1, MOST_CHANGES);
    match seen.history(&report, contract, since, limit).await {
        Ok(history) => answer(StatusCode::OK, &history),
        Err(message) => error(StatusCode::SERVICE_UNAVAILABLE, &message),
    }
}

impl Seen {
    /// The past of the contracts in this report, up to its moment.
    pub(super) async fn history(
        &self,
        report: &StatusReport,
        contract: Option<String>,
        since: Timestamp,
        limit: u32,
    ) -> Result<HistoryReport, String> {
        let storage = self.storage.as_ref().ok_or("there is no storage")?;
        let history = storage.history(HistoryQuery { contract: contract.clone(), since, limit });
        let history = in_time(history).await?;
        let objectives = text::objectives(report).map(|(of, objective)| (of.name.as_str(), objective.objective));
        let asked = |(name, _): &(&str, Objective)| contract.as_deref().is_none_or(|contract| contract == *name);
        Ok(HistoryReport::of(&history, objectives.filter(asked), since, report.now, limit))
    }

    /// What of the storage was damaged or lost.
    fn damaged(&self) -> Option<String> {
        let damage = self.storage.as_ref()?.health().damage;
        (!damage.is_none()).then(|| damage.to_string())
    }

    /// Recoveries that are over, the newest first.
    pub(super) async fn recoveries(&self, query: RecoveryQuery) -> Result<Vec<ClosedRecovery>, String> {
        in_time(self.storage.as_ref().ok_or("there is no storage")?.recoveries(query)).await
    }
}

/// An answer of the storage, unless its disk hangs. The page must not wait for that.
async fn in_time<T>(answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    answer.unwrap_or_else(|_| Err(format!("the storage has not answered for {PATIENCE:?}")))
}
