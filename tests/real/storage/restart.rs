//! Killed at any time, and started again.

use std::time::{Duration, Instant};

use super::{API, SOON, Service, ask, config, open, recoveries};
use dr_exporter::store::Batch;
use dr_exporter::store::sqlite::Sqlite;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::{let_pass, scrape::Scrape, wait_until};

fn runs(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &API) == Some(1.0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_goes_on_from_its_first_trigger() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    service.well(false);
    let before = exporter.until("the clock runs", SOON, runs).await;
    let started = before.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");
    for _ in 0..3 {
        exporter.kill();
        let_pass(Duration::from_millis(700)).await;
        exporter.restart().await;
        let scrape = exporter.scrape().await;
        assert!(runs(&scrape), "it runs from the first scrape on:\n{scrape}");
        let now = scrape.get("dr_recovery_started_timestamp_seconds", &API).expect("a start");
        assert!((now - started).abs() < 0.001, "started at {started}, and now it says {now}");
    }
    let scrape = exporter.scrape().await;
    assert!(scrape.observed("api", "rto").is_some_and(|elapsed| elapsed > 2.1), "{scrape}");
    service.well(true);
    let over = exporter.until("it is over", SOON, |scrape| !runs(scrape)).await;
    let took = over.get("dr_recovery_last_seconds", &API).expect("a recovery time");
    assert!(took > 2.1, "the time in which it was dead counts: {took} s");
    let met = [("contract", "api"), ("result", "met"), ("mode", "real")];
    assert_eq!(over.get("dr_recoveries_total", &met), Some(1.0), "{over}");

    exporter.kill_and_restart().await;
    let again = exporter.scrape().await;
    assert_eq!(again.get("dr_recoveries_total", &met), Some(1.0), "{again}");
    assert_eq!(again.get("dr_recovery_last_seconds", &API), Some(took), "{again}");
    exporter.becomes("api", "rto", "met", SOON).await;
    let all = recoveries(&exporter, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["contract"], "api");
    assert_eq!(all[0]["result"], "met");
    assert_eq!(all[0]["check"], "health");
    assert_eq!(all[0]["reason"], "unexpected_status");
    assert!((all[0]["recovery_seconds"].as_f64().expect("seconds") - took).abs() < 0.001);
    assert_eq!(recoveries(&exporter, "?contract=other").await.len(), 0);
    assert_eq!(recoveries(&exporter, "?since=2100-01-01T00:00:00Z").await.len(), 0);
    assert_eq!(recoveries(&exporter, "?contract=api&since=2020-01-01T00:00:00Z&limit=5").await.len(), 1);
    assert_eq!(exporter.get("/api/v1/recoveries?since=yesterday").await.status(), 400);
    assert_eq!(exporter.get("/api/v1/recoveries?colour=red").await.status(), 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streak_goes_on_and_a_target_that_changed_holds_at_once() {
    let service = Service::start().await;
    service.well(false);
    // A run every 2 s: three failures take 4 s and more.
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "2s"))).await;
    let failures = |scrape: &Scrape| scrape.get("dr_check_consecutive_failures", &API).unwrap_or(0.0);
    exporter.until("two failures", SOON, |scrape| failures(scrape) >= 2.0).await;
    exporter.kill();
    exporter.config().file("config.yaml", &config(&service, "1s", "2s"));
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    assert!(failures(&scrape) >= 2.0, "the streak is not begun anew:\n{scrape}");
    exporter.until("the third failure", SOON, runs).await;
    let scrape = exporter.becomes("api", "rto", "breached", SOON).await;
    assert_eq!(scrape.get("dr_objective_target_seconds", &API), Some(1.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_measures_something_else_now_goes_on_from_nothing() {
    let (service, other) = (Service::start().await, Service::start().await);
    service.well(false);
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "300ms"))).await;
    let failures = |scrape: &Scrape| scrape.get("dr_check_consecutive_failures", &API).unwrap_or(0.0);
    exporter.until("two failures", SOON, |scrape| failures(scrape) >= 2.0).await;
    exporter.kill();
    // The same name, another endpoint.
    exporter.config().file("config.yaml", &config(&other, "30s", "300ms"));
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    assert!(failures(&scrape) < 1.0, "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_left_the_configuration_stays_in_the_file_and_comes_back() {
    let service = Service::start().await;
    let both = format!(
        "{}{}",
        config(&service, "30s", "200ms"),
        config(&service, "30s", "200ms")
            .split_once("contracts:\n")
            .expect("contracts")
            .1
            .replace("name: api", "name: other")
    );
    let mut exporter = Exporter::start_in(Config::new(&both)).await;
    exporter.seen_healthy("api", SOON).await;
    exporter.seen_healthy("other", SOON).await;
    service.well(false);
    let clocks =
        |scrape: &Scrape| scrape.series("dr_recovery_in_progress", &[]).filter(|(_, value)| *value == 1.0).count();
    exporter.until("both clocks run", SOON, |scrape| clocks(scrape) == 2).await;
    service.well(true);
    exporter.until("both are over", SOON, |scrape| clocks(scrape) == 0).await;
    exporter.kill();
    exporter.config().file("config.yaml", &config(&service, "30s", "200ms"));
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    assert!(!scrape.to_string().contains("\"other\""), "{scrape}");
    assert_eq!(ask(exporter.config().directory(), "SELECT count(*) FROM contracts WHERE name = 'other'"), 1);
    exporter.kill();
    exporter.config().file("config.yaml", &both);
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    let met = [("contract", "other"), ("result", "met"), ("mode", "real")];
    assert_eq!(scrape.get("dr_recoveries_total", &met), Some(1.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_set_back_makes_no_duration_negative() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "200ms"))).await;
    exporter.seen_healthy("api", SOON).await;
    service.well(false);
    exporter.until("the clock runs", SOON, runs).await;
    exporter.kill();
    // As if it had been stored by a wall clock that was an hour ahead.
    let backend = Sqlite::of(exporter.config().path("data"));
    let mut store = open(&backend);
    let mut clocks = store.load().expect("loaded").clocks;
    let ahead = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    clocks.get_mut("api").and_then(|clock| clock.running.as_mut()).expect("a running clock").trigger = ahead.into();
    store.save(&Batch { clocks, ..Batch::default() }).expect("saved");
    drop(store);
    let restarted = Instant::now();
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.observed("api", "rto"), None, "nobody knows for how long: {scrape}");
    let known = [("contract", "api"), ("objective", "rto")];
    let elapsed = scrape.get("dr_objective_known_seconds", &known).expect("a running clock");
    assert!((0.0..=restarted.elapsed().as_secs_f64()).contains(&elapsed), "{elapsed} s");
    exporter.logs(&["in the future", "set back"], SOON).await;
    // That is stored before what was stored can pass for young.
    let beginning = "SELECT count(*) FROM contracts WHERE state -> '$.running.beginning' = '\"unknown\"'";
    let stored = async || (ask(exporter.config().directory(), beginning) == 1).then_some(());
    wait_until("the doubt is stored", SOON, stored).await;
    service.well(true);
    let over = exporter.until("it is over", SOON, |scrape| !runs(scrape)).await;
    let most = restarted.elapsed().as_secs_f64();
    assert!(over.get("dr_recovery_last_seconds", &API).is_some_and(|took| (0.0..=most).contains(&took)), "{over}");
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_polls_write_next_to_nothing() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "30s", "100ms"))).await;
    exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    let id = exporter.process().id();
    let written = || {
        let io = std::fs::read_to_string(format!("/proc/{id}/io")).expect("a process");
        let line = io.lines().find_map(|line| line.strip_prefix("wchar: ")).expect("a count");
        line.parse::<u64>().expect("bytes")
    };
    let changes = || ask(exporter.config().directory(), "SELECT count(*) FROM transitions");
    // What a start writes is written after a while.
    wait_until("3 s in which next to nothing is written", SOON, async || {
        let before = (written(), changes());
        let_pass(Duration::from_secs(3)).await;
        let bytes = written() - before.0;
        println!("{bytes} bytes in 3 s");
        // 30 polls: their requests go out, and nothing goes to the disk.
        (bytes < 30_000 && changes() == before.1).then_some(())
    })
    .await;
}
