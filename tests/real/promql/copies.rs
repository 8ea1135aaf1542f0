//! Recovery points by a query.

use std::time::Duration;

use super::{SOON, contract, ends, exporter, fails, figure, runs};
use dr_testkit::prometheus::{Prometheus, Toy, unix};
use dr_testkit::scrape::Scrape;
use dr_testkit::{let_pass, wait_until};

const BACKUP: &str = "query: max(backup_timestamp_seconds)\ntimestamp_seconds: true";
const LAG: &str = "query: max(lag_seconds)\nage_seconds: true";

#[tokio::test(flavor = "multi_thread")]
async fn an_old_backup_is_breached_while_somebody_says_so_and_unproven_when_nobody_does() {
    let tell = |backup: f64, lag: f64| format!("backup_timestamp_seconds {backup}\nlag_seconds {lag}\n");
    let mut toy = Toy::start(&tell(unix() - 600.0, 600.0)).await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let contracts = [contract("backup", "rpo: 1h", BACKUP), contract("lag", "rpo: 1h", LAG)];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for name in ["backup", "lag"] {
        let scrape = exporter.becomes(name, "rpo", "met", SOON).await;
        let exposure = scrape.observed(name, "rpo").expect("an exposure");
        assert!((600.0..630.0).contains(&exposure), "{name}: {exposure} s\n{scrape}");
        assert_eq!(runs(&scrape, name, "unhealthy"), 0.0);
    }
    // It says that the copy is two hours old: a proof of that, whatever was proven before.
    toy.tells(&tell(unix() - 7200.0, 7200.0));
    for name in ["backup", "lag"] {
        let scrape = exporter.becomes(name, "rpo", "breached", SOON).await;
        let exposure = scrape.observed(name, "rpo").expect("an exposure");
        assert!((7200.0..7230.0).contains(&exposure), "{name}: {exposure} s\n{scrape}");
    }
    // Nobody says anything: the target of the scrape is gone.
    toy.die();
    for name in ["backup", "lag"] {
        fails(&exporter, name, "no_sample").await;
        let scrape = exporter.becomes(name, "rpo", "unproven", SOON).await;
        assert!(scrape.observed(name, "rpo").is_some_and(|exposure| exposure > 7200.0), "{scrape}");
    }
    // Prometheus dies, and comes back with what it stored: that brings nothing back.
    prometheus.kill();
    fails(&exporter, "backup", "connect_failed").await;
    prometheus.run().await;
    let scrape = fails(&exporter, "backup", "no_sample").await;
    assert_eq!(scrape.status("backup", "rpo"), "unproven", "{scrape}");
    assert!(scrape.observed("lag", "rpo").is_some_and(|exposure| exposure > 7200.0), "{scrape}");
    // A new backup.
    toy.tells(&tell(unix(), 0.0));
    toy.live().await;
    for name in ["backup", "lag"] {
        let scrape = exporter.becomes(name, "rpo", "met", SOON).await;
        assert!(scrape.observed(name, "rpo").is_some_and(|exposure| exposure < 30.0), "{name}\n{scrape}");
    }
}

/// Whoever pushes its samples with their time leaves the last one standing for five minutes.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_an_old_sample_holds_for_its_own_time() {
    let sampled = unix() - 120.0;
    let text = format!("lag_seconds 30 {}\nup_to_date 1 {0}\n", (sampled * 1000.0).round());
    let toy = Toy::start(&text).await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("lag_seconds").await;
    let condition = "query: up_to_date\nhealthy_when: { above: 0 }";
    let contracts = [
        contract("lag", "rpo: 1h", LAG),
        contract("lag-strict", "rpo: 1h", &format!("{LAG}\nmax_staleness: 1m")),
        contract("well", "rto: 1h", condition),
        contract("well-strict", "rto: 1h", &format!("{condition}\nmax_staleness: 1m")),
        contract(
            "range",
            "rto: 1h",
            "query: avg_over_time(up_to_date[10m])\nhealthy_when: { above: 0 }\nmax_staleness: 1m",
        ),
    ];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    let scrape = ends(&exporter, "lag", "healthy").await;
    let exposure = scrape.observed("lag", "rpo").expect("an exposure");
    let expected = unix() - sampled + 30.0;
    assert!(
        (expected - 3.0..expected + 3.0).contains(&exposure),
        "{exposure} s, not {expected} s: the sample is old, too"
    );
    ends(&exporter, "well", "healthy").await;
    for name in ["lag-strict", "well-strict", "range"] {
        let scrape = fails(&exporter, name, "stale").await;
        assert_eq!(runs(&scrape, name, "healthy") + runs(&scrape, name, "unhealthy"), 0.0, "{scrape}");
    }
    let age = figure(&exporter.scrape().await, "dr_promql_sample_age_seconds", "lag").expect("an age");
    assert!((115.0..180.0).contains(&age), "{age}");

    // Killed without a chance to mark the series as gone, Prometheus shows the old sample again: no younger than before.
    prometheus.kill();
    fails(&exporter, "lag", "connect_failed").await;
    prometheus.run().await;
    let scrape = ends(&exporter, "lag", "healthy").await;
    let (exposure, expected) = (scrape.observed("lag", "rpo").expect("an exposure"), unix() - sampled + 30.0);
    assert!((expected - 3.0..expected + 3.0).contains(&exposure), "{exposure} s, not {expected} s");
}

/// A sample older than the lookback is seen through a range alone, and only by whom it is fresh enough for.
#[tokio::test(flavor = "multi_thread")]
async fn more_than_the_lookback_is_allowed_for_ranges() {
    let sampled = unix() - 480.0;
    let toy = Toy::start(&format!("s3_latency_seconds 30 {}\n", (sampled * 1000.0).round())).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("last_over_time(s3_latency_seconds[15m])").await;
    let query = "query: max(last_over_time(s3_latency_seconds[15m]))\nage_seconds: true";
    let contracts = [
        contract("default", "rpo: 1h", query),
        contract("longer", "rpo: 1h", &format!("{query}\nmax_staleness: 15m")),
        contract("too-short", "rpo: 1h", &format!("{query}\nmax_staleness: 7m")),
    ];
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    fails(&exporter, "default", "no_sample").await;
    fails(&exporter, "too-short", "stale").await;
    let scrape = ends(&exporter, "longer", "healthy").await;
    let (exposure, expected) = (scrape.observed("longer", "rpo").expect("an exposure"), unix() - sampled + 30.0);
    assert!((expected - 3.0..expected + 3.0).contains(&exposure), "{exposure} s, not {expected} s\n{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_age_and_no_time_is_no_answer() {
    let now = unix();
    let toy = Toy::start(&format!("millis {}\nnever 0\nnegative -5\nahead {}\n", now * 1000.0, now + 7200.0)).await;
    let prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("never").await;
    let contracts: Vec<String> = [
        ("millis", "query: millis\ntimestamp_seconds: true"),
        ("never", "query: never\ntimestamp_seconds: true"),
        ("never-age", "query: time() - never\nage_seconds: true"),
        ("negative", "query: negative\nage_seconds: true"),
        ("ahead", "query: ahead\ntimestamp_seconds: true"),
    ]
    .map(|(name, stanza)| contract(name, "rpo: 1h", stanza))
    .into();
    let exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    for (name, reason) in [
        ("millis", "absurd"),
        ("never", "withdrawn"),
        ("never-age", "withdrawn"),
        ("negative", "absurd"),
        ("ahead", "absurd"),
    ] {
        let scrape = fails(&exporter, name, reason).await;
        assert_eq!(scrape.status(name, "rpo"), "unproven", "{scrape}");
        assert_eq!(runs(&scrape, name, "healthy") + runs(&scrape, name, "unhealthy"), 0.0, "{scrape}");
    }
}

/// Proofs only move forward, and are stored together. One interval and one second of them may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn killed_with_its_source_the_exporter_knows_what_was_proven_last() {
    let tell = |backup: f64| format!("backup_timestamp_seconds {backup}\n");
    let toy = Toy::start(&tell(unix())).await;
    let mut prometheus = Prometheus::start(&[toy.address]).await;
    prometheus.has("backup_timestamp_seconds").await;
    let contracts = [contract("backup", "rpo: 1h", BACKUP)];
    let mut exporter = exporter(&format!("url: \"{}\"", prometheus.url()), &contracts).await;
    let point = |scrape: &Scrape| {
        scrape
            .get("dr_recovery_point_timestamp_seconds", &[("contract", "backup"), ("check", "backup")])
            .expect("a proof")
    };
    exporter.becomes("backup", "rpo", "met", SOON).await;
    let first = point(&exporter.scrape().await);
    let proven = wait_until("it proves for a while", SOON, async || {
        toy.tells(&tell(unix()));
        Some(point(&exporter.scrape().await)).filter(|point| *point > first + 8.0)
    })
    .await;
    // The last proof must be on the disk one second later.
    let_pass(Duration::from_secs(2)).await;
    let proven = point(&exporter.scrape().await).min(proven);
    exporter.kill();
    prometheus.kill();
    exporter.restart().await;
    let known = point(&exporter.scrape().await);
    assert!(known >= proven - 0.01, "it had proven {proven}, and knows {known}");
}
