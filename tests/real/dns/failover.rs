//! A DNS failover as it is lived through: seen, measured and remembered by the real exporter.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::{REGIONS, quoted};
use dr_testkit::dns::Dns;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;
use dr_testkit::{let_pass, wait_until};

const SOON: Duration = dr_testkit::PATIENCE;
const API: [(&str, &str); 1] = [("contract", "api")];
const PRIMARY: &str = "api A 192.0.2.10 60";
const DR: &str = "api A 198.51.100.7 60";
/// Two readings of a clock, in seconds.
const SLACK: f64 = 0.1;

/// A contract on these resolvers, which are asked every 200 ms.
fn config(resolvers: &[&Dns], more: &str) -> String {
    let resolvers: Vec<String> = resolvers.iter().map(|dns| dns.udp()).collect();
    format!(
        "defaults: {{ interval: 200ms, timeout: 5s, interval_when_down: 100ms }}
contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 30s
    checks:
      - name: dns
        dns: {{ name: api.example.com, resolvers: [{}], {more} {REGIONS} }}
",
        quoted(&resolvers)
    )
}

fn region(scrape: &Scrape, region: &str) -> Option<f64> {
    scrape.get("dr_dns_region", &[("contract", "api"), ("check", "dns"), ("region", region)])
}

fn propagation(scrape: &Scrape) -> Option<f64> {
    scrape.get("dr_dns_propagation_seconds", &API)
}

fn changed(scrape: &Scrape) -> Option<f64> {
    scrape.get("dr_dns_region_changed_timestamp_seconds", &API)
}

fn epoch() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// What was measured lies between two readings of the test's own clock: before and after what it measures. On a machine
/// that is not busy they are a poll apart.
#[track_caller]
fn assert_within(what: &str, measured: Option<f64>, least: f64, most: f64) {
    let measured = measured.unwrap_or_else(|| panic!("{what} is absent"));
    let within = (least - SLACK..=most + SLACK).contains(&measured);
    assert!(within, "{what} is {measured}, the truth is between {least} and {most}");
}

/// After so many further runs, what one has seen is stored.
const STORED: u32 = 5;

/// The notes of the last run.
async fn notes(exporter: &Exporter) -> String {
    let status: Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    let notes = status["contracts"][0]["checks"][0]["last_run"]["notes"].as_array().cloned().unwrap_or_default();
    notes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

async fn until_noted(exporter: &Exporter, words: &str) -> String {
    wait_until(&format!("a note with {words:?}"), SOON, async || {
        Some(notes(exporter).await).filter(|notes| notes.contains(words))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_is_measured_from_the_outage_to_the_last_resolver() {
    let (one, two) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let exporter = Exporter::start(&config(&[&one, &two], "max_ttl: 60s,")).await;
    let scrape = exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    assert_eq!((region(&scrape, "dr"), changed(&scrape), propagation(&scrape)), (Some(0.0), None, None));
    assert_eq!(scrape.get("dr_check_warning", &API), Some(0.0));
    assert_eq!(scrape.status("api", "rto"), "unproven", "no recovery was measured yet");

    let down = Instant::now();
    one.holds("").await;
    two.holds("").await;
    let scrape =
        exporter.until("the clock runs", SOON, |scrape| scrape.get("dr_recovery_in_progress", &API) == Some(1.0)).await;
    let failing = down.elapsed().as_secs_f64();
    assert!(scrape.reasons("api").contains_key("no_such_name"), "{scrape}");
    assert_eq!(region(&scrape, "primary"), Some(0.0));
    // A downtime that can be told from none.
    let_pass(Duration::from_millis(1500)).await;

    let (first, first_epoch, back) = (Instant::now(), epoch(), down.elapsed().as_secs_f64());
    one.holds(DR).await;
    let scrape =
        exporter.until("it is over", SOON, |scrape| scrape.get("dr_recovery_in_progress", &API) == Some(0.0)).await;
    let downtime = scrape.get("dr_recovery_last_downtime_seconds", &API);
    assert_within("the downtime", downtime, back - failing, down.elapsed().as_secs_f64());
    assert_eq!(scrape.status("api", "rto"), "met", "one resolver is enough");
    let (followed, followed_epoch) = (first.elapsed().as_secs_f64(), epoch());
    let notes = until_noted(&exporter, "1 of 2 resolvers follow from primary to dr").await;
    assert!(notes.contains(&format!("{}: dr (198.51.100.7), TTL 60 s", one.udp())), "{notes}");
    assert!(notes.contains(&format!("{}: no_such_name", two.udp())), "{notes}");
    exporter.logs(&["a resolver answers with another region", "from=primary", "to=dr", "api.example.com"], SOON).await;
    // A propagation that can be told from none.
    let_pass(Duration::from_millis(2000)).await;
    let scrape = exporter.scrape().await;
    assert_eq!((changed(&scrape), propagation(&scrape)), (None, None), "not before all follow");

    let last = first.elapsed().as_secs_f64();
    two.holds(DR).await;
    let scrape = exporter.until("the change is over", SOON, |scrape| propagation(scrape).is_some()).await;
    assert_within("the propagation", propagation(&scrape), last - followed, first.elapsed().as_secs_f64());
    assert!(propagation(&scrape).unwrap() > 1.5, "{scrape}");
    assert_within("the change", changed(&scrape), first_epoch, followed_epoch);
    assert_eq!((region(&scrape, "primary"), region(&scrape, "dr")), (Some(0.0), Some(1.0)));
    exporter
        .logs(&["all resolvers that answer name the new region", "from=primary", "to=dr", "propagation="], SOON)
        .await;
    assert!(until_noted(&exporter, "dr instead of primary since").await.contains("all had followed"));
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("dr instead of primary since") && page.contains("198.51.100.7"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_regions_are_shown_while_the_change_spreads() {
    let (one, two) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let exporter = Exporter::start(&config(&[&one, &two], "")).await;
    exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    one.holds(DR).await;
    let both = |scrape: &Scrape| (region(scrape, "primary"), region(scrape, "dr")) == (Some(1.0), Some(1.0));
    let scrape = exporter.until("both answer", SOON, both).await;
    assert_eq!(scrape.get("dr_check_healthy", &API), Some(1.0));
    one.holds(PRIMARY).await;
    exporter.until("the primary alone answers", SOON, |scrape| region(scrape, "dr") == Some(0.0)).await;
    exporter.logs(&["back at the old region", "region=primary"], SOON).await;
    let scrape = exporter.scrape().await;
    assert_eq!((changed(&scrape), propagation(&scrape)), (None, None), "back half-way is no change");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolver_that_is_dead_during_the_change_does_not_hold_it_open() {
    let (one, two, mut dead) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let exporter = Exporter::start(&config(&[&one, &two, &dead], "")).await;
    exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    until_noted(&exporter, &format!("{}: primary", dead.udp())).await;
    dead.kill().await;
    until_noted(&exporter, &format!("{}: connect", dead.udp())).await;
    let first = Instant::now();
    one.holds(DR).await;
    two.holds(DR).await;
    let scrape = exporter.until("the change is over", SOON, |scrape| changed(scrape).is_some()).await;
    let followed = first.elapsed().as_secs_f64();
    assert_within("the propagation", propagation(&scrape), 0.0, followed);

    // It comes back with what it knew.
    dead.revive().await;
    until_noted(&exporter, "2 of 3 resolvers follow from primary to dr").await;
    let_pass(Duration::from_millis(1500)).await;
    let last = first.elapsed().as_secs_f64();
    dead.holds(DR).await;
    let scrape = exporter
        .until("the last has followed", SOON, |scrape| propagation(scrape).is_some_and(|took| took >= last - followed))
        .await;
    assert_within("the propagation", propagation(&scrape), last - followed, first.elapsed().as_secs_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_forgets_nothing() {
    let (one, two) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let mut exporter = Exporter::start_in(Config::new(&config(&[&one, &two], ""))).await;
    exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    let (first, first_epoch) = (Instant::now(), epoch());
    one.holds(DR).await;
    exporter.until("the change has begun", SOON, |scrape| region(scrape, "dr") == Some(1.0)).await;
    let (followed, followed_epoch) = (first.elapsed().as_secs_f64(), epoch());
    // What was seen a moment ago may not be stored yet.
    exporter.runs_on("api", STORED, SOON).await;
    exporter.kill();
    let_pass(Duration::from_millis(1500)).await;
    exporter.restart().await;
    until_noted(&exporter, "1 of 2 resolvers follow from primary to dr").await;
    let last = first.elapsed().as_secs_f64();
    two.holds(DR).await;
    let scrape = exporter.until("the change is over", SOON, |scrape| propagation(scrape).is_some()).await;
    assert_within("the propagation", propagation(&scrape), last - followed, first.elapsed().as_secs_f64());
    assert_within("the change", changed(&scrape), first_epoch, followed_epoch);

    // And what is over stays over, to the digit.
    exporter.runs_on("api", STORED, SOON).await;
    exporter.kill_and_restart().await;
    let again = exporter.until("it has run", SOON, |scrape| region(scrape, "dr") == Some(1.0)).await;
    let took = propagation(&scrape).unwrap();
    assert_within("the propagation", propagation(&again), took, took);
    let moved = changed(&again).unwrap() - changed(&scrape).unwrap();
    assert!(moved.abs() < 0.001, "moved by {moved} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_while_the_exporter_was_down_is_seen_and_not_measured() {
    let (one, two) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let mut exporter = Exporter::start_in(Config::new(&config(&[&one, &two], ""))).await;
    exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    exporter.kill();
    one.holds(DR).await;
    two.holds(DR).await;
    exporter.restart().await;
    let scrape = exporter.until("the change is seen", SOON, |scrape| changed(scrape).is_some()).await;
    assert_eq!(propagation(&scrape), None, "a propagation of 0 s would be a lie");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_nothing() {
    let (one, two) = (Dns::start(PRIMARY).await, Dns::start(PRIMARY).await);
    let exporter = Exporter::start_in(Config::new(&config(&[&one, &two], ""))).await;
    exporter.until("the primary answers", SOON, |scrape| region(scrape, "primary") == Some(1.0)).await;
    one.holds(DR).await;
    two.holds(DR).await;
    let before = exporter.until("the change is over", SOON, |scrape| changed(scrape).is_some()).await;
    exporter.config().file("config.yaml", &config(&[&one, &two], "").replace("rto: 30s", "rto: 40s"));
    let reloaded = dr_testkit::exporter::client().post(exporter.url("/-/reload")).send().await.expect("an answer");
    assert!(reloaded.status().is_success(), "{}", reloaded.status());
    let target = |scrape: &Scrape| scrape.get("dr_objective_target_seconds", &API) == Some(40.0);
    let after = exporter.until("the new target holds", SOON, target).await;
    assert_eq!(changed(&after), changed(&before));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_shown_everywhere_and_ends() {
    let dns = Dns::start("api A 192.0.2.10 2").await;
    let exporter = Exporter::start(&config(&[&dns], "max_ttl: 1s,")).await;
    let scrape = exporter.until("the warning", SOON, |scrape| scrape.get("dr_check_warning", &API) == Some(1.0)).await;
    assert_eq!(scrape.get("dr_dns_ttl_seconds", &API), Some(2.0));
    assert_eq!(scrape.get("dr_check_healthy", &API), Some(1.0), "a warning is no failure");
    assert!(scrape.reasons("api").is_empty(), "{scrape}");
    let line = exporter.logs(&["message=warning", "ttl_too_long", "contract=api", "check=dns", "advice="], SOON).await;
    assert!(line.contains("level=warn"), "{line}");
    let status: Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    let check = &status["contracts"][0]["checks"][0];
    assert_eq!(check["warning"], true);
    assert_eq!(check["last_run"]["warnings"][0]["reason"], "ttl_too_long", "{check}");
    assert!(exporter.get("/").await.text().await.expect("a page").contains("ttl_too_long"));
    let logged = |log: &str| log.lines().filter(|line| line.contains("message=warning")).count();
    assert_eq!(logged(&exporter.log()), 1, "one line, not one a poll");

    dns.holds("api A 192.0.2.10 1").await;
    exporter.until("the warning ends", SOON, |scrape| scrape.get("dr_check_warning", &API) == Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_warned_of_that_nobody_could_see() {
    let mut dns = Dns::start("api A 192.0.2.10 2").await;
    let exporter = Exporter::start(&config(&[&dns], "max_ttl: 1s,")).await;
    exporter.until("the warning", SOON, |scrape| scrape.get("dr_check_warning", &API) == Some(1.0)).await;
    dns.kill().await;
    let scrape = exporter.until("it is not known", SOON, |scrape| scrape.get("dr_check_warning", &API).is_none()).await;
    assert_eq!((region(&scrape, "primary"), region(&scrape, "dr")), (None, None), "{scrape}");
    assert_eq!(scrape.get("dr_dns_ttl_seconds", &API), None);
}
