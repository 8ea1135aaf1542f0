//! Triggers and degraded operation, with the real exporter: on and off at the exact poll, and whatever a restart or a reload
//! does in the middle.

mod degraded;
mod firing;
mod query;

use std::time::Duration;

use serde_json::Value;

use dr_testkit::exporter::Exporter;

const SOON: Duration = dr_testkit::PATIENCE;

/// What `/api/v1/triggers` answers to a query.
async fn triggers(exporter: &Exporter, query: &str) -> Value {
    let answer = exporter.get(&format!("/api/v1/triggers{query}")).await;
    assert!(answer.status().is_success(), "{}", answer.status());
    answer.json().await.expect("JSON")
}

async fn reload(exporter: &Exporter, yaml: &str) {
    exporter.config().file("config.yaml", yaml);
    let answer = dr_testkit::exporter::client().post(exporter.url("/-/reload")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
}

fn seconds(at: &Value) -> f64 {
    let at: jiff::Timestamp = at.as_str().expect("a time").parse().expect("a time");
    at.as_nanosecond() as f64 / 1e9
}
