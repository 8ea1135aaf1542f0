//! `dr-exporter check`: outputs and exit codes.

use std::process::Output;

use super::{SOON, Service, contract, contracts};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;
use dr_testkit::wait_until;

const MET: [(&str, &str); 1] = [("contract", "met")];

pub(super) async fn check(config: &Config, arguments: &[&str]) -> Output {
    let directory = config.file("marker", "").parent().expect("a directory").to_owned();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    command.current_dir(directory).arg("check").args(arguments);
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("the program runs")
}

pub(super) fn text(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stdout.clone()).expect("UTF-8"))
}

pub(super) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn once_it_measures_and_says_what_is_not_proven() {
    let service = Service::start().await;
    let config = Config::new(&contracts(&[contract("api", "5m", &service.url), contract("web", "5m", &service.url)]));
    let (code, out) = text(&check(&config, &["--config.file=config.yaml"]).await);
    assert_eq!(code, Some(3), "no recovery was ever measured: {out}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(lines.len(), 4, "{out}");
    assert!(lines[0].starts_with("UNPROVEN  api  rto  unknown, target 5m  (no recovery was ever measured"), "{out}");
    assert_eq!(lines[3], "2 objectives: 2 unproven", "{out}");
    let (_, out) = text(&check(&config, &["--config.file=config.yaml", "--contract=web"]).await);
    assert!(out.contains("web") && !out.contains("api"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_worst_status_whatever_the_output() {
    let (met, slow, never) = (Service::start().await, Service::start().await, Service::start().await);
    let exporter = Exporter::start(&contracts(&[
        contract("met", "30s", &met.url),
        contract("late", "1s", &slow.url),
        contract("unproven", "30s", &never.url),
    ]))
    .await;
    let url = format!("--url={}", exporter.url("/"));
    let ask = async |arguments: &[&str]| check(exporter.config(), &[&[url.as_str()], arguments].concat()).await;

    exporter.seen_healthy("met", SOON).await;
    met.well(false);
    let clock = |runs: f64| move |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &MET) == Some(runs);
    exporter.until("down", SOON, clock(1.0)).await;
    met.well(true);
    exporter.until("recovered", SOON, clock(0.0)).await;
    exporter.becomes("met", "rto", "met", SOON).await;
    for output in ["text", "json", "markdown", "nagios"] {
        let output = format!("--output={output}");
        assert_eq!(text(&ask(&["--contract=met", &output]).await).0, Some(0));
        assert_eq!(text(&ask(&["--contract=late", "--contract=met", &output]).await).0, Some(3));
    }
    let (_, out) = text(&ask(&["--contract=met"]).await);
    assert!(out.starts_with("PASS      met  rto  ") && out.contains(" < 30s  ("), "{out}");
    let (_, out) = text(&ask(&["--contract=met", "--output=json"]).await);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["contracts"][0]["objectives"][0]["status"], "met");
    assert_eq!(json["contracts"].as_array().map(Vec::len), Some(1));
    let (_, out) = text(&ask(&["--contract=met", "--output=markdown"]).await);
    assert!(out.contains("| PASS | met | ops | P0 | RTO |"), "{out}");

    let (_, out) = text(&ask(&["--contract=met", "--output=nagios"]).await);
    assert!(out.starts_with("DR OK - 1 objective: 1 met | 'met_rto'="), "{out}");
    assert!(out.trim_end().ends_with("s;24.000;30.000;0"), "{out}");

    exporter.seen_healthy("late", SOON).await;
    slow.well(false);
    exporter.becomes("late", "rto", "breached", SOON).await;
    let (code, out) = text(&ask(&[]).await);
    assert_eq!(code, Some(2), "a breach outweighs what is unproven: {out}");
    assert!(out.contains("FAIL      late") && out.contains(" of 1s  "), "{out}");
    assert!(out.contains("health: unexpected_status: "), "why it fails: {out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_no_pass() {
    let config = Config::new(&contracts(&[contract("api", "5m", "http://127.0.0.1:9/")])).with("bad.yaml", "a: b\n");
    let nobody = format!("--url=http://{}", dr_testkit::free_ports::<1>(dr_testkit::own_ip())[0]);
    for (arguments, code, words) in [
        (vec!["--config.file=bad.yaml"], 78, "unknown key"),
        (vec!["--config.file=config.yaml", "--contract=nobody"], 64, "nobody"),
        (vec![], 64, "--config.file"),
        (vec!["--config.file=config.yaml", "--url=http://127.0.0.1:9"], 64, "cannot be used with"),
        (vec!["--config.file=config.yaml", "--output=xml"], 64, "xml"),
        (vec![nobody.as_str()], 3, "error"),
    ] {
        let output = check(&config, &arguments).await;
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", told(&output));
        assert!(told(&output).contains(words), "{arguments:?}: {}", told(&output));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_risk_exits_1() {
    let service = Service::start().await;
    let well = Service::start().await;
    let exporter =
        // At risk is the last fifth of it: long enough for a command on a busy machine.
        Exporter::start(&contracts(&[contract("api", "30s", &service.url), contract("never-drilled", "30s", &well.url)]))
            .await;
    exporter.seen_healthy("api", SOON).await;
    exporter.seen_healthy("never-drilled", SOON).await;
    service.well(false);
    exporter.becomes("api", "rto", "at_risk", SOON).await;
    let output = check(exporter.config(), &[&format!("--url={}", exporter.url(""))]).await;
    assert_eq!(text(&output).0, Some(1), "what was never drilled masks nothing: {}", text(&output).1);
}

/// A dead service is never a pass, whatever the status of its RTO is.
#[tokio::test(flavor = "multi_thread")]
async fn down_is_said_whatever_the_status_is() {
    let service = Service::start().await;
    let exporter = Exporter::start(&contracts(&[contract("api", "60s", &service.url)])).await;
    exporter.seen_healthy("api", SOON).await;
    let url = format!("--url={}", exporter.url(""));
    let clock =
        |runs: f64| move |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "api")]) == Some(runs);
    for (round, status, code) in [("first", "unproven", 1), ("second", "met", 1)] {
        service.well(false);
        let scrape = exporter.until("down", SOON, clock(1.0)).await;
        assert_eq!(scrape.status("api", "rto"), status, "{round}: the standing is as it was");
        let (is, out) = text(&check(exporter.config(), &[&url]).await);
        assert_eq!(is, Some(code), "{round}: {out}");
        assert!(
            out.starts_with("DOWN      api  rto  ") && out.contains(" of 1m  (") && out.contains("api is DOWN"),
            "{out}"
        );
        let (is, out) = text(&check(exporter.config(), &[&url, "--output=nagios"]).await);
        assert_eq!(is, Some(code), "{round}: {out}");
        assert!(out.starts_with("DR WARNING - ") && out.contains("\nDOWN api rto: "), "{out}");
        let page = reqwest::get(exporter.url("/")).await.expect("a page").text().await.expect("text");
        assert!(page.contains("</svg>Down</span>") && page.contains(" of 1m allowed"), "{page}");
        service.well(true);
        exporter.until("up", SOON, clock(0.0)).await;
    }
    let (code, out) = text(&check(exporter.config(), &[&url]).await);
    assert_eq!(code, Some(0), "{out}");

    // One look at a service that is dead.
    service.well(false);
    let config = exporter.config();
    let (code, out) = text(&check(config, &["--config.file=config.yaml"]).await);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.starts_with("FAILING   api  rto  ") && out.contains("fails now"), "{out}");
}

/// A component that was down before anybody looked may be down for ever: no status but unproven, then breached.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_down_before_the_first_look_is_not_within_its_target() {
    let service = Service::start().await;
    service.well(false);
    let exporter = Exporter::start(&contracts(&[contract("api", "60s", &service.url)])).await;
    let running = |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "api")]) == Some(1.0);
    let scrape = exporter.until("down", SOON, running).await;
    assert_eq!(scrape.status("api", "rto"), "unproven");
    assert_eq!(scrape.observed("api", "rto"), None, "nothing bounds how long it has been down");
    assert!(scrape.get("dr_objective_known_seconds", &[("contract", "api"), ("objective", "rto")]).is_some());
    let url = format!("--url={}", exporter.url(""));
    let (code, out) = text(&check(exporter.config(), &[&url]).await);
    assert_eq!(code, Some(3), "{out}");
    assert!(out.starts_with("DOWN") && out.contains("never seen healthy before"), "{out}");
    service.well(true);
    let recovered = |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "api")]) == Some(0.0);
    let scrape = exporter.until("up", SOON, recovered).await;
    assert_eq!(scrape.status("api", "rto"), "unproven", "nobody knows how long it took");
    for result in ["met", "missed"] {
        let labels = [("contract", "api"), ("result", result), ("mode", "real")];
        assert_eq!(scrape.get("dr_recoveries_total", &labels), Some(0.0), "{result}");
    }
}

/// Whoever runs plug-ins reads standard output, and knows four exit codes.
#[tokio::test(flavor = "multi_thread")]
async fn a_plug_in_that_cannot_measure_is_unknown() {
    let config = Config::new(&contracts(&[contract("api", "5m", "http://127.0.0.1:9/")])).with("bad.yaml", "a: b\n");
    for arguments in [["--config.file=bad.yaml"], ["--url=http://127.0.0.1:9"]] {
        let output = check(&config, &[&arguments[..], &["--output=nagios"]].concat()).await;
        let (code, out) = text(&output);
        assert_eq!(code, Some(3), "{arguments:?}: {out}");
        assert!(out.starts_with("DR UNKNOWN - "), "{arguments:?}: {out}");
    }
}

/// A mirror whose servers are dead, and an endpoint that is: the first feeds both objectives.
#[tokio::test(flavor = "multi_thread")]
async fn what_spoils_both_objectives_is_said_once_under_the_second() {
    let config = Config::new(
        "nats: { a: { servers: [\"nats://127.0.0.1:1\"] }, b: { servers: [\"nats://127.0.0.1:2\"] } }
contracts:
  - name: streams
    component: Streams
    owner: ops
    priority: P0
    rto: 30m
    rpo: 1h
    checks:
      - name: orders
        nats_mirror: { origin: { nats: a, stream: ORDERS }, mirror: { nats: b, stream: ORDERS } }
      - name: health
        http: { url: \"http://127.0.0.1:1/\" }
",
    );
    let begin = ["FAILING ", "UNPROVEN ", "orders: no_writer:", "orders: connect_failed:", "health: connect_failed:"];
    for output in ["text", "nagios"] {
        // A machine that is too busy to look says that, and is asked again.
        wait_until(&format!("{output}: each is said once"), SOON, async || {
            let (_, out) = text(&check(&config, &["--config.file=config.yaml", &format!("--output={output}")]).await);
            let lines: Vec<_> = out.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let told = lines.iter().filter(|line| !line.contains("2 objectives"));
            let as_expected = told.clone().zip(begin).all(|(line, words)| line.starts_with(words));
            let all = as_expected && told.count() == begin.len();
            assert!(all || out.contains("could not be measured"), "{output}: {out}");
            all.then_some(())
        })
        .await;
    }
    let exporter = Exporter::start_in(config).await;
    let ran = |scrape: &Scrape| scrape.get("dr_check_healthy", &[("check", "orders")]) == Some(0.0);
    exporter.until("the mirror is looked at", SOON, ran).await;
    let page = reqwest::get(exporter.url("/")).await.expect("a page").text().await.expect("text");
    assert_eq!(page.matches("no_writer").count(), 1, "{page}");
}
