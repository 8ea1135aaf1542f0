//! A real outage of a real endpoint: what is measured is what happened.

use std::time::Instant;

use super::{SOON, Service, contract, contracts};
use dr_testkit::exporter::Exporter;

const API: [(&str, &str); 1] = [("contract", "api")];

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_measured_to_the_poll() {
    let service = Service::start().await;
    let exporter = Exporter::start(&contracts(&[contract("api", "30s", &service.url)])).await;
    let scrape = exporter.seen_healthy("api", SOON).await;
    assert_eq!(scrape.status("api", "rto"), "unproven", "no recovery was measured yet");
    assert_eq!(scrape.get("dr_recovery_in_progress", &API), Some(0.0));

    let down = Instant::now();
    service.well(false);
    let scrape =
        exporter.until("the clock runs", SOON, |scrape| scrape.get("dr_recovery_in_progress", &API) == Some(1.0)).await;
    let triggered = down.elapsed();
    let failures = [("contract", "api"), ("outcome", "unhealthy")];
    assert!(scrape.get("dr_check_runs_total", &failures) >= Some(3.0), "three failures trigger:\n{scrape}");
    assert_eq!(scrape.status("api", "rto"), "unproven", "an outage proves nothing");
    assert!(scrape.reasons("api").contains_key("unexpected_status"), "{scrape}");
    exporter.logs(&["recovery clock started", "api"], SOON).await;

    exporter
        .until("the clock shows 2 s", SOON, |scrape| scrape.observed("api", "rto").is_some_and(|clock| clock >= 2.0))
        .await;
    service.well(true);
    let up = down.elapsed();
    let scrape =
        exporter.until("it is over", SOON, |scrape| scrape.get("dr_recovery_in_progress", &API) == Some(0.0)).await;
    // From the first failure to the first success: later than the service went down and no later than the clock was seen
    // to run, and later than it came up and no later than the clock was seen to stand.
    let (triggered, up, over) = (triggered.as_secs_f64(), up.as_secs_f64(), down.elapsed().as_secs_f64());
    let measured = scrape.get("dr_recovery_last_downtime_seconds", &API).expect("a downtime");
    assert!((up - triggered..=over).contains(&measured), "downtime {measured} s: {triggered}, {up}, {over}");
    let recovery = scrape.get("dr_recovery_last_seconds", &API).expect("a recovery time");
    assert!((up - triggered..=over).contains(&recovery), "recovery {recovery} s: {triggered}, {up}, {over}");
    assert!(recovery < measured, "the trigger comes after the first failure");
    assert_eq!(scrape.status("api", "rto"), "met", "a recovery was measured, and met the target");
    let met = [("contract", "api"), ("result", "met"), ("mode", "real")];
    assert_eq!(scrape.get("dr_recoveries_total", &met), Some(1.0));
    exporter.logs(&["recovered", "api"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_takes_too_long_is_a_breach_and_then_proves_nothing() {
    let service = Service::start().await;
    // At risk is the last fifth of it: long enough to be seen on a busy machine.
    let exporter = Exporter::start(&contracts(&[contract("api", "15s", &service.url)])).await;
    exporter.seen_healthy("api", SOON).await;
    service.well(false);
    exporter.becomes("api", "rto", "at_risk", SOON).await;
    let scrape = exporter.becomes("api", "rto", "breached", SOON).await;
    assert!(scrape.observed("api", "rto").expect("a clock") >= 15.0);
    service.well(true);
    let scrape = exporter.becomes("api", "rto", "unproven", SOON).await;
    assert_eq!(
        scrape.get("dr_recoveries_total", &[("contract", "api"), ("result", "missed"), ("mode", "real")]),
        Some(1.0)
    );
    exporter.logs(&["status=breached"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_a_line_per_change_and_not_per_poll() {
    let service = Service::start().await;
    let exporter = Exporter::start(&contracts(&[contract("api", "30s", &service.url)])).await;
    let runs = [("contract", "api"), ("outcome", "healthy")];
    exporter
        .until("twenty healthy runs", SOON, |scrape| scrape.get("dr_check_runs_total", &runs).unwrap_or(0.0) >= 20.0)
        .await;
    service.well(false);
    let runs = [("contract", "api"), ("outcome", "unhealthy")];
    exporter
        .until("ten failed runs", SOON, |scrape| scrape.get("dr_check_runs_total", &runs).unwrap_or(0.0) >= 10.0)
        .await;
    let log = exporter.log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("message=check")).collect();
    assert_eq!(lines.len(), 2, "healthy, then not:\n{log}");
    assert!(lines[1].contains("reason=unexpected_status") && lines[1].contains("advice="), "{log}");
}
