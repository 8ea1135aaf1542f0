//! What the storage must hold: an exporter that is killed goes on as if it had not been.
#![allow(clippy::pedantic)]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod reload;
mod restart;
mod torture;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use serde_json::Value;

use support::exporter::Exporter;

const SOON: Duration = Duration::from_secs(15);
const API: [(&str, &str); 1] = [("contract", "api")];

/// An API that is well or not.
struct Service {
    well: Arc<AtomicBool>,
    address: SocketAddr,
}

impl Service {
    async fn start() -> Self {
        let well = Arc::new(AtomicBool::new(true));
        let answers = Arc::clone(&well);
        let router = Router::new().fallback(move || {
            let well = answers.load(Ordering::SeqCst);
            async move { if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE } }
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { well, address }
    }

    fn well(&self, well: bool) {
        self.well.store(well, Ordering::SeqCst);
    }

    /// A contract on it.
    fn config(&self, rto: &str, interval: &str) -> String {
        format!(
            "defaults: {{ interval: {interval}, timeout: 1s, interval_when_down: 100ms }}
contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: {rto}
    checks:
      - name: health
        failures_to_trigger: 3
        http: {{ url: \"http://{}/\" }}
",
            self.address
        )
    }
}

/// The recoveries that the API tells of, the newest first.
async fn recoveries(exporter: &Exporter, query: &str) -> Vec<Value> {
    let answer = exporter.get(&format!("/api/v1/recoveries{query}")).await;
    assert!(answer.status().is_success(), "{}", answer.status());
    let answer: Value = answer.json().await.expect("JSON");
    answer["recoveries"].as_array().expect("a list").clone()
}

/// One figure of the file itself, as a person would ask for it.
fn ask(directory: &Path, sql: &str) -> i64 {
    let connection = rusqlite::Connection::open(directory.join("data/dr-exporter.db")).expect("the file opens");
    connection.query_row(sql, [], |row| row.get(0)).expect("an answer")
}
