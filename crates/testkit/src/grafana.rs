//! A double of Grafana's HTTP API: answers with the JSON that Grafana gives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{free_ports, listen, own_ip};

/// What it has, and how it is.
#[derive(Debug, Default)]
pub struct Has {
    /// The dashboards' models by UID.
    pub dashboards: BTreeMap<String, Value>,
    /// What the token may not see.
    pub hidden: BTreeSet<String>,
    /// The token that it takes.
    pub token: String,
    /// Whether its health says that its database fails.
    pub database_fails: bool,
    /// What is answered whatever is asked: status and body.
    pub instead: Option<(u16, String)>,
    /// The same, but not for the health.
    pub instead_of_lists: Option<(u16, String)>,
    /// The paths that were asked, with their queries.
    pub asked: Vec<String>,
    /// How often a dashboard was asked for by its UID.
    pub looked_up: BTreeMap<String, u32>,
}

type Shared = Arc<Mutex<Has>>;

/// A Grafana, served under `/grafana`.
#[derive(Debug)]
pub struct Grafana {
    /// Where it listens.
    pub address: SocketAddr,
    has: Shared,
    task: Option<JoinHandle<()>>,
}

impl Grafana {
    /// Starts one with these dashboards, which takes the token `grafana-token`.
    pub async fn start(uids: &[&str]) -> Self {
        let [address] = free_ports::<1>(own_ip());
        let has = Has { token: "grafana-token".to_owned(), ..Has::default() };
        let mut grafana = Self { address, has: Arc::new(Mutex::new(has)), task: None };
        for uid in uids {
            grafana.gets(uid, 1, uid);
        }
        grafana.live().await;
        grafana
    }

    /// Starts to listen.
    pub async fn live(&mut self) {
        let router = Router::new()
            .route("/grafana/api/health", get(health))
            .route("/grafana/api/search", get(search))
            .route("/grafana/api/dashboards/uid/{uid}", get(dashboard))
            .layer(from_fn_with_state(Arc::clone(&self.has), instead))
            .with_state(Arc::clone(&self.has));
        let listener = listen(self.address);
        self.task = Some(tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        }));
    }

    /// Nothing listens any more.
    pub fn die(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }

    /// Its URL, with the path that it is served under.
    pub fn url(&self) -> String {
        format!("http://{}/grafana", self.address)
    }

    /// What it has, to look at or to change.
    pub fn has(&self) -> MutexGuard<'_, Has> {
        self.has.lock().expect("no test panics here")
    }

    /// Gets a dashboard; each Grafana counts `id` and `version` for itself.
    pub fn gets(&self, uid: &str, version: u32, title: &str) {
        let model = json!({
            "annotations": {"list": []}, "editable": true, "id": version + 6, "panels": [{"id": 1, "type": "stat"}],
            "schemaVersion": 39, "tags": [], "title": title, "uid": uid, "version": version,
        });
        self.has().dashboards.insert(uid.to_owned(), model);
    }

    /// Loses a dashboard.
    pub fn loses(&self, uid: &str) {
        self.has().dashboards.remove(uid);
    }
}

impl Drop for Grafana {
    fn drop(&mut self) {
        self.die();
    }
}

async fn instead(State(has): State<Shared>, request: Request, next: Next) -> Response {
    let instead = {
        let mut has = has.lock().expect("no test panics here");
        has.asked.push(request.uri().to_string());
        let health = request.uri().path().ends_with("/health");
        has.instead.clone().or_else(|| has.instead_of_lists.clone().filter(|_| !health))
    };
    match instead {
        Some((status, body)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let location = status.is_redirection().then_some([("location", "/login")]);
            (status, location.unwrap_or([("x-nothing", "")]), body).into_response()
        }
        // One connection for each request, so that who is dead is dead at once.
        None => ([("connection", "close")], next.run(request).await).into_response(),
    }
}

async fn health(State(has): State<Shared>) -> Response {
    let fails = has.lock().expect("no test panics here").database_fails;
    let (status, database) = if fails { (StatusCode::SERVICE_UNAVAILABLE, "failing") } else { (StatusCode::OK, "ok") };
    let body =
        format!("{{\n  \"commit\": \"5b85c4c2fc\",\n  \"database\": \"{database}\",\n  \"version\": \"11.2.0\"\n}}");
    (status, [("content-type", "application/json; charset=UTF-8")], body).into_response()
}

fn refused(has: &Has, headers: &HeaderMap) -> Option<Response> {
    let token = headers.get("authorization").and_then(|value| value.to_str().ok());
    let (status, body) = match token {
        Some(token) if token == format!("Bearer {}", has.token) => return None,
        Some(_) => (
            401,
            json!({"extra": null, "message": "Invalid API key", "messageId": "api-key.invalid", "statusCode": 401, "traceID": ""}),
        ),
        None => (
            401,
            json!({"extra": null, "message": "Unauthorized", "messageId": "auth.unauthorized", "statusCode": 401, "traceID": ""}),
        ),
    };
    Some((StatusCode::from_u16(status).expect("a status"), Json(body)).into_response())
}

async fn search(
    State(has): State<Shared>,
    headers: HeaderMap,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let has = has.lock().expect("no test panics here");
    if let Some(refused) = refused(&has, &headers) {
        return refused;
    }
    let number = |key: &str, default| query.get(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let (limit, page): (usize, usize) = (number("limit", 1000).min(5000), number("page", 1));
    let visible = has.dashboards.iter().filter(|(uid, _)| !has.hidden.contains(*uid));
    let hits: Vec<Value> = visible
        .skip(limit * (page - 1))
        .take(limit)
        .map(|(uid, model)| {
            json!({
                "id": model["id"], "uid": uid, "orgId": 1, "title": model["title"], "uri": format!("db/{uid}"),
                "url": format!("/grafana/d/{uid}/{uid}"), "slug": "", "type": "dash-db", "tags": [],
                "isStarred": false, "sortMeta": 0, "isDeleted": false,
            })
        })
        .collect();
    Json(hits).into_response()
}

async fn dashboard(State(has): State<Shared>, Path(uid): Path<String>, headers: HeaderMap) -> Response {
    let mut has = has.lock().expect("no test panics here");
    if let Some(refused) = refused(&has, &headers) {
        return refused;
    }
    *has.looked_up.entry(uid.clone()).or_default() += 1;
    if has.hidden.contains(&uid) {
        let body = json!({
            "accessErrorId": "ACE6514832761",
            "message": "You'll need additional permissions to perform this action. Permissions needed: dashboards:read",
            "title": "Access denied",
        });
        return (StatusCode::FORBIDDEN, Json(body)).into_response();
    }
    match has.dashboards.get(&uid) {
        None => (StatusCode::NOT_FOUND, Json(json!({"message": "Dashboard not found", "traceID": ""}))).into_response(),
        Some(model) => {
            let meta =
                json!({"type": "db", "canSave": false, "slug": uid, "version": model["version"], "folderUid": ""});
            Json(json!({"meta": meta, "dashboard": model})).into_response()
        }
    }
}
