//! Stores that earlier versions wrote: what they hold of what is still measured is gone on from.

use std::path::Path;
use std::time::Duration;

use super::support::exporter::{Config, Exporter};
use super::support::scrape::Scrape;
use super::{SOON, ask, recoveries};

const SECRET: [(&str, &str); 2] = [("contract", "secrets"), ("check", "secret")];
const ORDERS: [(&str, &str); 2] = [("contract", "streams"), ("check", "orders")];
const CONTRACT: [(&str, &str); 1] = [("contract", "secrets")];

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/storage").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A directory with the fixture's configuration, and its store changed by some SQL.
fn directory(change: &str) -> Config {
    let config = Config::new(&fixture("v1.yaml"));
    let data = config.path("data");
    std::fs::create_dir(&data).expect("a directory");
    let store = rusqlite::Connection::open(data.join("dr-exporter.db")).expect("a file");
    store.execute_batch(&fixture("v1.sql")).expect("the fixture is SQL");
    store.execute_batch(change).expect("SQL");
    config
}

/// As a clock that runs and counts that stay are told, whatever the checks' fingerprints.
fn clock_and_counts_stay(scrape: &Scrape) {
    assert_eq!(scrape.get("dr_recovery_in_progress", &CONTRACT), Some(1.0), "{scrape}");
    let triggered = scrape.get("dr_recovery_started_timestamp_seconds", &CONTRACT);
    assert_eq!(triggered, Some(1_737_367_800.0), "{scrape}");
    let met = [("contract", "secrets"), ("result", "met"), ("mode", "real")];
    assert_eq!(scrape.get("dr_recoveries_total", &met), Some(2.0), "{scrape}");
}

const EARLIER_FORM: &str = "in another form";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_proven_before_an_upgrade_stays_proven() {
    let exporter = Exporter::start_in(directory("")).await;
    let scrape = exporter.scrape().await;
    clock_and_counts_stay(&scrape);
    let point = |check| scrape.get("dr_recovery_point_timestamp_seconds", check);
    assert_eq!(point(&SECRET), Some(1_737_367_200.0), "{scrape}");
    assert_eq!(point(&ORDERS), Some(1_737_370_800.0), "{scrape}");
    let failures = scrape.get("dr_check_consecutive_failures", &SECRET);
    assert_eq!(failures, Some(3.0), "{scrape}");
    assert!(!exporter.log().contains(EARLIER_FORM), "{}", exporter.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_itself_remembered_before_an_upgrade_it_knows_again() {
    let mut exporter = Exporter::start_in(directory("")).await;
    let ran = |scrape: &Scrape| scrape.series("dr_check_runs_total", &ORDERS).any(|(_, count)| count > 0.0);
    exporter.until("a run", SOON, ran).await;
    exporter.process().signal("TERM");
    exporter.process().wait(Duration::from_secs(15)).expect("it ends");
    let witness = "SELECT json_extract(memory, '$.witness.sequence') FROM checks WHERE name = 'orders'";
    assert_eq!(ask(exporter.config().directory(), witness), 42);
}

/// A hash of types' names and of the file's own path, as it was before there was a form: nothing can be
/// compared with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_before_loses_its_points_once_and_nothing_else() {
    let earlier = "UPDATE checks SET fingerprint = substr(fingerprint, 4);
        INSERT INTO checks SELECT 'left', name, fingerprint, state, memory FROM checks;
        INSERT INTO recoveries SELECT 'secrets', day || 'T00:01:00Z', day || 'T00:00:00Z', day || 'T00:03:00Z',
            day || 'T00:03:00Z', 120.0, 180.0, 1800.0, 'met', 'real', 'secret', 'not_ready', NULL
            FROM (SELECT date('now', '-2 days') AS day);";
    let exporter = Exporter::start_in(directory(earlier)).await;
    let scrape = exporter.scrape().await;
    clock_and_counts_stay(&scrape);
    for check in [&SECRET, &ORDERS] {
        assert_eq!(scrape.get("dr_recovery_point_timestamp_seconds", check), None, "{scrape}");
    }
    let failures = scrape.get("dr_check_consecutive_failures", &SECRET);
    assert!(failures.is_none_or(|failures| failures < 1.0), "{scrape}");
    assert_eq!(recoveries(&exporter, "?contract=secrets").await.len(), 1);
    let told = exporter.logs(&[EARLIER_FORM, "withdrawn", "checks=2"], SOON).await;
    assert!(told.contains("level=warn"), "{told}");
    assert_eq!(exporter.log().matches(EARLIER_FORM).count(), 1, "one line: {}", exporter.log());
}
