//! Another configuration, and no hiccup.

use std::time::Duration;

use super::{API, SOON, Service, config};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::{let_pass, scrape::Scrape, wait_until};

fn runs(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &API) == Some(1.0)
}

async fn reload(exporter: &Exporter) -> (u16, String) {
    let answer = dr_testkit::exporter::client().post(exporter.url("/-/reload")).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

/// How often the check ran, whatever it found.
fn count(scrape: &Scrape) -> f64 {
    scrape.series("dr_check_runs_total", &API).map(|(_, value)| value).sum()
}

const BAD: &str = "defaults: { interval: 0s }\ncontracts:\n  - name: api\n    colour: red\n";

#[tokio::test(flavor = "multi_thread")]
async fn clocks_and_counts_stay_and_a_target_holds_at_once() {
    let service = Service::start().await;
    let exporter = Exporter::start_in(Config::new(&config(&service, "60s", "200ms"))).await;
    service.well(false);
    let before = exporter.until("the clock runs", SOON, runs).await;
    assert_eq!(before.get("dr_exporter_config_last_reload_successful", &[]), Some(1.0), "{before}");
    let started = before.get("dr_recovery_started_timestamp_seconds", &API);

    let another = config(&service, "1s", "200ms");
    let second = another.split_once("contracts:\n").expect("contracts").1.replace("name: api", "name: other");
    exporter.config().file("config.yaml", &format!("{another}{second}"));
    assert_eq!(reload(&exporter).await, (200, "reloaded\n".to_owned()));
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_objective_target_seconds", &API), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_started_timestamp_seconds", &API), started, "{scrape}");
    assert!(count(&scrape) >= count(&before), "{scrape}");
    assert_eq!(scrape.get("dr_exporter_checks", &[]), Some(2.0), "{scrape}");
    exporter.becomes("api", "rto", "breached", SOON).await;
    let other = [("contract", "other")];
    exporter
        .until("the new one is measured", SOON, |scrape| scrape.get("dr_recovery_in_progress", &other) == Some(1.0))
        .await;
    service.well(true);
    let both_over = |scrape: &Scrape| scrape.series("dr_recovery_in_progress", &[]).all(|(_, value)| value == 0.0);
    exporter.until("both are over", SOON, both_over).await;

    // One leaves, and comes back with what it had.
    exporter.config().file("config.yaml", &another);
    assert_eq!(reload(&exporter).await.0, 200);
    assert!(!exporter.metrics().await.contains("\"other\""), "its series are gone");
    exporter.config().file("config.yaml", &format!("{another}{second}"));
    assert_eq!(reload(&exporter).await.0, 200);
    let scrape = exporter.scrape().await;
    assert!(scrape.get("dr_recovery_last_seconds", &other).is_some(), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_one_changes_nothing_and_is_told_of_in_full() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "60s", "200ms"))).await;
    exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    let read = exporter.scrape().await.get("dr_exporter_config_last_reload_success_timestamp_seconds", &[]);
    exporter.config().file("config.yaml", BAD);
    let (code, said) = reload(&exporter).await;
    assert_eq!(code, 400);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let errors = said["error"].as_str().expect("an error");
    for part in ["config.yaml:1:", "config.yaml:4:", "colour", "component"] {
        assert!(errors.contains(part), "{part} is not in {errors}");
    }
    exporter.logs(&["the configuration has errors", "colour"], SOON).await;
    let bad = |scrape: &Scrape| scrape.get("dr_exporter_config_last_reload_successful", &[]) == Some(0.0);
    let scrape = exporter.until("the metrics say so", SOON, bad).await;
    assert_eq!(scrape.get("dr_exporter_config_last_reload_success_timestamp_seconds", &[]), read, "{scrape}");
    assert_eq!(scrape.get("dr_objective_target_seconds", &API), Some(60.0), "{scrape}");
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(
        page.contains("The last configuration was refused")
            && page.contains("The one in use was read at ")
            && page.contains("colour"),
        "{page}"
    );
    let refused = async |exporter: &Exporter| {
        let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
        status["configuration"]["refused"].as_str().map(str::to_owned)
    };
    assert!(refused(&exporter).await.is_some_and(|errors| errors.contains("colour")));

    exporter.config().file("config.yaml", &config(&service, "50s", "200ms"));
    exporter.process().signal("HUP");
    let good = |scrape: &Scrape| scrape.get("dr_exporter_config_last_reload_successful", &[]) == Some(1.0);
    let scrape = exporter.until("SIGHUP reads it", SOON, good).await;
    assert_eq!(scrape.get("dr_objective_target_seconds", &API), Some(50.0), "{scrape}");
    assert_eq!(refused(&exporter).await, None, "it is in use");
    exporter.config().file("config.yaml", BAD);
    exporter.process().signal("HUP");
    exporter.until("SIGHUP finds it bad", SOON, |scrape| !good(scrape)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_hardly_be_meant_is_logged_at_the_start_and_at_a_reload() {
    let service = Service::start().await;
    // A run may take a second, by the defaults of this file.
    let odd = |rto| config(&service, rto, "200ms");
    let mut exporter = Exporter::start_in(Config::new(&odd("60s"))).await;
    let told = ["level=warn", "line=1", "defaults.timeout", "longer than the interval (200ms)"];
    exporter.logs(&told, SOON).await;
    let count = |exporter: &Exporter| exporter.log().matches("longer than the interval").count();
    assert_eq!(count(&exporter), 1, "{}", exporter.log());
    exporter.config().file("config.yaml", &odd("50s"));
    exporter.process().signal("HUP");
    let good = |scrape: &Scrape| scrape.get("dr_objective_target_seconds", &API) == Some(50.0);
    exporter.until("SIGHUP reads it", SOON, good).await;
    wait_until("the log tells of it again", SOON, async || (count(&exporter) == 2).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_under_scraping_hold_nothing_up() {
    let service = Service::start().await;
    let mut exporter = Exporter::start_in(Config::new(&config(&service, "60s", "200ms"))).await;
    // One that is not reloaded is as late as the machine makes it.
    let control = Exporter::start_in(Config::new(&config(&service, "60s", "200ms"))).await;
    for exporter in [&exporter, &control] {
        exporter.until("it is healthy", SOON, |scrape| scrape.get("dr_check_healthy", &API) == Some(1.0)).await;
    }
    let id = exporter.process().id();
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("kB")
    };
    let (good, half) = (config(&service, "60s", "200ms"), 50);
    let more =
        format!("{good}{}", good.split_once("contracts:\n").expect("contracts").1.replace("name: api", "name: other"));
    let mut early = 0;
    let begin = (count(&exporter.scrape().await), count(&control.scrape().await));
    let mut at_last_run = (begin.0, begin.1);
    for round in 0..100 {
        let text = match round % 4 {
            0 => more.as_str(),
            2 => good.as_str(),
            _ => BAD,
        };
        exporter.config().file("config.yaml", text);
        let (code, said) = reload(&exporter).await;
        assert_eq!(code == 200, round % 2 == 0, "{said}");
        let_pass(Duration::from_millis(60)).await;
        // Fails unless it answers, in a form that can be read, with the contract in it.
        let scrape = exporter.scrape().await;
        assert_eq!(scrape.get("dr_objective_target_seconds", &API), Some(60.0), "round {round}:\n{scrape}");
        let runs = (count(&scrape), count(&control.scrape().await));
        if runs.0 > at_last_run.0 {
            at_last_run = runs;
        }
        let missed = runs.1 - at_last_run.1;
        assert!(missed <= 4.0, "round {round}: no run in the time of {missed} runs without reloads");
        if round == half {
            early = resident();
        }
    }
    let (runs, due) = (count(&exporter.scrape().await) - begin.0, count(&control.scrape().await) - begin.1);
    assert!(runs >= 0.8 * due - 2.0, "{runs} runs, and {due} without reloads");
    let late = resident();
    assert!(late < early + 4096, "{early} kB after half of them, {late} kB at the end");
}
