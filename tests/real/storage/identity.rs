//! Stores that earlier versions wrote: what they hold of what is still measured is gone on from.

use std::path::Path;

use super::{API, SOON, ask, recoveries};
use dr_exporter::store::Backend as _;
use dr_exporter::store::sqlite::Sqlite;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;

const SECRET: [(&str, &str); 2] = [("contract", "secrets"), ("check", "secret")];
const ORDERS: [(&str, &str); 2] = [("contract", "streams"), ("check", "orders")];
const CONTRACT: [(&str, &str); 1] = [("contract", "secrets")];

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/storage").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A directory with a fixture's configuration and its store.
fn as_written(name: &str) -> Config {
    written_with(name, name)
}

/// The same, where several stores were written with one configuration.
fn written_with(configuration: &str, store: &str) -> Config {
    let config = Config::new(&fixture(&format!("{configuration}.yaml")));
    std::fs::create_dir(config.path("data")).expect("a directory");
    execute(&config, &fixture(&format!("{store}.sql")));
    config
}

fn execute(config: &Config, sql: &str) {
    let store = rusqlite::Connection::open(config.path("data/dr-exporter.db")).expect("a file");
    store.execute_batch(sql).expect("SQL");
}

/// A directory with the fixture's configuration, and its store changed by some SQL.
fn directory(change: &str) -> Config {
    let config = as_written("v1");
    execute(&config, change);
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
    exporter.process().wait(SOON).expect("it ends");
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

const COPY: [(&str, &str); 2] = [("contract", "backup"), ("check", "copy")];
const DATABASE: [(&str, &str); 1] = [("contract", "database")];
const FAILOVER: [(&str, &str); 1] = [("trigger", "database_down")];
/// When the earlier program started the clock of `database`, and fired `database_down`.
const TRIGGERED: f64 = 1_795_719_777.618;

/// What the earlier program knew of recoveries, clocks and firings.
async fn recoveries_clocks_and_firings_stay(exporter: &Exporter) {
    let scrape = exporter.scrape().await;
    let is = |metric: &str, labels: &[(&str, &str)], expected: f64| {
        let value = scrape.get(metric, labels);
        assert!(value.is_some_and(|value| (value - expected).abs() < 0.001), "{metric} is {value:?}:\n{scrape}");
    };
    is("dr_recovery_in_progress", &DATABASE, 1.0);
    is("dr_recovery_started_timestamp_seconds", &DATABASE, TRIGGERED);
    is("dr_trigger_last_fired_timestamp_seconds", &FAILOVER, TRIGGERED);
    is("dr_recovery_in_progress", &API, 0.0);
    is("dr_recovery_last_seconds", &API, 23.686_299_673);
    is("dr_recovery_last_downtime_seconds", &API, 79.296_203_044);
    is("dr_recovery_last_end_timestamp_seconds", &API, 1_795_719_795.496);
    is("dr_recoveries_total", &[("contract", "api"), ("result", "met"), ("mode", "real")], 1.0);
    let all = recoveries(exporter, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["trigger"], "2026-11-26T19:02:51.809460255Z");
    assert_eq!((&all[0]["result"], &all[0]["reason"]), (&"met".into(), &"connect".into()));
    let firings = exporter.get("/api/v1/triggers").await.text().await.expect("a text");
    assert_eq!(firings.matches("\"started\":\"2026-11-26T19:02:57.617911638Z\"").count(), 1, "{firings}");
}

fn storage_check(exporter: &Exporter) -> String {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
        .args(["storage", "check", "--storage.path"])
        .arg(exporter.config().path("data"))
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_an_earlier_program_wrote_is_gone_on_from() {
    let mut exporter = Exporter::start_in(as_written("v0")).await;
    let told = exporter.logs(&[EARLIER_FORM, "withdrawn once", "recovery_points=backup/copy"], SOON).await;
    assert!(told.contains("checks=3") && told.ends_with("backup/copy"), "that one alone: {told}");
    assert_eq!(exporter.log().matches(EARLIER_FORM).count(), 1, "one line: {}", exporter.log());
    recoveries_clocks_and_firings_stay(&exporter).await;
    let point = [("contract", "backup"), ("check", "copy")];
    let scrape = exporter.becomes("backup", "rpo", "unproven", SOON).await;
    assert_eq!(scrape.get("dr_recovery_point_timestamp_seconds", &point), None, "{scrape}");
    let down = |scrape: &Scrape| scrape.get("dr_check_healthy", &DATABASE) == Some(0.0);
    let scrape = exporter.until("the database is seen to be down", SOON, down).await;
    // It fails now, and nobody looked since that store was written: it may have recovered meanwhile.
    assert_eq!(scrape.status("database", "rto"), "unproven", "{scrape}");
    assert_eq!(scrape.get("dr_trigger_active", &FAILOVER), Some(1.0), "{scrape}");
    recoveries_clocks_and_firings_stay(&exporter).await;
    let checked = storage_check(&exporter);
    assert!(checked.starts_with("ok, schema ") && checked.contains("3 checks, 1 recoveries"), "{checked}");
    assert!(checked.trim_end().ends_with("running clocks: database"), "{checked}");

    exporter.kill_and_restart().await;
    recoveries_clocks_and_firings_stay(&exporter).await;
    exporter.until("the database is seen to be down", SOON, down).await;
    assert!(!exporter.log().contains(EARLIER_FORM), "{}", exporter.log());
    assert_eq!(ask(exporter.config().directory(), "SELECT count(*) FROM firings WHERE ended IS NOT NULL"), 0);
    storage_check(&exporter);
}

/// What the program of schema 3 or 4 stored is kept, and the record begins with a chain that is whole.
async fn a_store_is_gone_on_from_with_a_record(store: &str) -> Exporter {
    let config = written_with("v0", store);
    let past = "SELECT count(*) FROM transitions WHERE at < '2026-11-27'";
    let before = ask(config.directory(), past);
    assert_eq!(before, 9, "the fixture");
    let mut exporter = Exporter::start_in(config).await;
    recoveries_clocks_and_firings_stay(&exporter).await;
    let point = exporter.scrape().await.get("dr_recovery_point_timestamp_seconds", &COPY);
    let stays = point.is_some_and(|point| (point - 1_795_719_655.149_8).abs() < 0.001);
    assert!(stays, "what was proven stays proven: {point:?}");
    assert!(!exporter.log().contains(EARLIER_FORM), "{}", exporter.log());
    let down = |scrape: &Scrape| scrape.get("dr_check_healthy", &DATABASE) == Some(0.0);
    exporter.until("the database is seen to be down", SOON, down).await;
    for _ in 0..2 {
        assert_eq!(ask(exporter.config().directory(), past), before);
        let checked = storage_check(&exporter);
        assert!(checked.starts_with("ok, schema 6") && checked.contains("3 checks, 1 recoveries"), "{checked}");
        let head = Sqlite::of(exporter.config().path("data")).verify(None).expect("it can be read");
        assert!(head.expect("the chain is whole").head.seq > 0, "the start is recorded");
        exporter.kill_and_restart().await;
        recoveries_clocks_and_firings_stay(&exporter).await;
    }
    exporter
}

/// The statuses of the database while the earlier program ran, as the API tells of them.
async fn then(exporter: &Exporter) -> Vec<String> {
    let past = "/api/v1/history?contract=database&since=2026-11-26T19:01:01Z";
    let past: serde_json::Value = exporter.get(past).await.json().await.expect("JSON");
    let pieces = past["objectives"][0]["pieces"].as_array().expect("pieces").iter();
    let then = pieces.filter(|piece| piece["from"].as_str() < Some("2026-11-26T19:03:01Z"));
    then.map(|piece| piece["status"].as_str().unwrap_or("nobody looked").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_before_the_history_is_gone_on_from() {
    let exporter = a_store_is_gone_on_from_with_a_record("v3").await;
    let then = then(&exporter).await;
    assert!(then.iter().all(|status| status == "nobody looked"), "no status is claimed: {then:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_before_the_record_is_gone_on_from() {
    let exporter = a_store_is_gone_on_from_with_a_record("v4").await;
    let then = then(&exporter).await;
    assert!(then.iter().any(|status| status == "met"), "what was seen then is told: {then:?}");
}
