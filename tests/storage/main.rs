//! What the storage must hold: an exporter that is killed goes on as if it had not been.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

#[path = "../support/mod.rs"]
mod support;

mod faults;
mod identity;
mod reload;
mod restart;
mod retention;
mod torture;

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use support::exporter::Exporter;
pub(crate) use support::service::Service;

const SOON: Duration = Duration::from_secs(15);
const API: [(&str, &str); 1] = [("contract", "api")];

/// A contract on a service.
fn config(service: &Service, rto: &str, interval: &str) -> String {
    format!("{}{}", Service::defaults(interval), service.contract("api", rto))
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
