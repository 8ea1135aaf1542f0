//! What the storage must hold: an exporter that is killed goes on as if it had not been.

mod conformance;
mod damage;
mod faults;
mod identity;
mod record;
mod reload;
mod restart;
mod retention;
mod set;
mod set_while_away;
mod told;
mod torture;
mod vanished;
pub(crate) use conformance::{stream_as, stream_on};

use std::path::Path;
use std::time::{Duration, Instant};

use dr_exporter::store::{Backend, Store, StoreError};
use serde_json::Value;

use dr_testkit::exporter::Exporter;
pub(crate) use dr_testkit::service::Service;

const SOON: Duration = dr_testkit::PATIENCE;
const API: [(&str, &str); 1] = [("contract", "api")];

/// SQL that makes a file what the program of schema 5 would have left.
const BACK_TO_5: &str = "
    ALTER TABLE contracts DROP COLUMN checksum; ALTER TABLE checks DROP COLUMN checksum;
    ALTER TABLE recoveries DROP COLUMN checksum; ALTER TABLE transitions DROP COLUMN checksum;
    ALTER TABLE observed DROP COLUMN checksum; ALTER TABLE degraded_operation DROP COLUMN checksum;
    ALTER TABLE triggers DROP COLUMN checksum; ALTER TABLE firings DROP COLUMN checksum;
    ALTER TABLE plans DROP COLUMN checksum; ALTER TABLE retention DROP COLUMN checksum;
    DROP TABLE seals; DROP TABLE commits; DROP TABLE damaged; PRAGMA user_version = 5;
";

/// Opens a store that nobody uses. For a moment somebody can: a process that another test starts holds a
/// copy of what this one has open, until it runs its own program.
fn open(backend: &dyn Backend) -> Box<dyn Store> {
    let deadline = Instant::now() + SOON;
    loop {
        match backend.open() {
            Err(StoreError::Locked(_)) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened.expect("a store"),
        }
    }
}

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
