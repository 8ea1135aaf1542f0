//! Damage as people and Prometheus see it, while the exporter runs.

use std::process::Command;

use super::{API, SOON, Service, recoveries};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;

const OTHER: [(&str, &str); 1] = [("contract", "other")];

fn check(exporter: &Exporter) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
        .args(["storage", "check"])
        .current_dir(exporter.config().directory())
        .output()
        .expect("it runs");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

/// A row that cannot be parsed once made every clock begin anew at each start.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_row_costs_its_contract_and_no_other_and_everybody_is_told() {
    let service = Service::start().await;
    let config = format!(
        "{}{}{}",
        Service::defaults("200ms"),
        service.contract("api", "60s"),
        service.contract("other", "60s").replace("contracts:\n", "")
    );
    let mut exporter = Exporter::start_in(Config::new(&config)).await;
    let runs = |scrape: &Scrape, of| scrape.get("dr_recovery_in_progress", of) == Some(1.0);
    for name in ["api", "other"] {
        exporter.seen_healthy(name, SOON).await;
    }
    service.well(false);
    let both = |scrape: &Scrape| runs(scrape, &API) && runs(scrape, &OTHER);
    let before = exporter.until("both clocks run", SOON, both).await;
    let started = |scrape: &Scrape, of| scrape.get("dr_recovery_started_timestamp_seconds", of);
    assert_eq!(before.get("dr_exporter_store_damaged", &[]), Some(0.0), "{before}");
    exporter.kill();
    assert_eq!(check(&exporter).0, Some(0));
    let file = exporter.config().path("data/dr-exporter.db");
    let connection = rusqlite::Connection::open(file).expect("it opens");
    let sql = "UPDATE contracts SET state = substr(state, 1, 40) WHERE name = 'api'";
    connection.execute_batch(sql).expect("damaged");
    drop(connection);
    let (code, said) = check(&exporter);
    assert!(code == Some(1) && said.contains("contracts (api)"), "{code:?}: {said}");

    for _ in 0..2 {
        exporter.restart().await;
        let after = exporter.until("both clocks run", SOON, both).await;
        assert_eq!(started(&after, &OTHER), started(&before, &OTHER), "it goes on: {after}");
        assert!(started(&after, &API) > started(&before, &API), "{after}");
        // Its beginning is unknown, so nothing says that there is time left.
        assert_eq!(after.status("api", "rto"), "unproven", "{after}");
        let most = after.observed("api", "rto");
        assert!(most.is_none_or(|most| most > after.observed("other", "rto").expect("a length")), "{after}");
        assert!(after.get("dr_exporter_store_damaged", &[]).is_some_and(|count| count >= 1.0), "{after}");
        let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
        let told = status["storage"]["damaged"].as_str().unwrap_or_default().to_owned();
        assert!(told.contains("contracts (api)") && !told.contains("other"), "{status}");
        // On a disk that is busy, a commit may take its time.
        let failing = status["storage"]["failing"].as_str().unwrap_or_default();
        assert!(failing.is_empty() || failing.contains("has not answered"), "{status}");
        let page = exporter.get("/").await.text().await.expect("a page");
        assert!(page.contains("A part of the storage was damaged or lost"), "{page}");
        let answer: serde_json::Value = exporter.get("/api/v1/recoveries").await.json().await.expect("JSON");
        assert!(answer["damaged"].as_str().is_some_and(|told| told.contains("contracts (api)")), "{answer}");
        let (code, said) = check(&exporter);
        assert!(code == Some(1) && said.contains("contracts (api)"), "while it runs: {code:?}: {said}");
        exporter.logs(&["damaged or lost", "contracts (api)"], SOON).await;
        exporter.kill();
    }
    exporter.restart().await;
    service.well(true);
    let over = |scrape: &Scrape| !runs(scrape, &API) && !runs(scrape, &OTHER);
    exporter.until("both are over", SOON, over).await;
    let found = recoveries(&exporter, "?contract=api").await;
    assert_eq!(found.len(), 1);
    assert!(found[0]["result"] != "missed", "no false red: {found:?}");
    let connection = rusqlite::Connection::open(exporter.config().path("data/dr-exporter.db")).expect("it opens");
    connection.execute_batch("DELETE FROM damaged").expect("a person has read it");
    drop(connection);
    assert_eq!(check(&exporter).0, Some(0), "{}", check(&exporter).1);
    service.well(false);
    let cleared = |scrape: &Scrape| scrape.get("dr_exporter_store_damaged", &[]) == Some(0.0);
    exporter.until("the next commit clears it", SOON, cleared).await;
}
