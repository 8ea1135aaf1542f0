//! What `grafana_dashboards` must hold, against a double that answers as Grafana does.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::single;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::grafana::Grafana;
use dr_testkit::scrape::Scrape;
use dr_testkit::wait_until;

const SOON: Duration = dr_testkit::PATIENCE;

/// The exporter with one contract, `dashboards`; the keys are those of the stanza beside `url` and `token_file`.
async fn exporter(grafana: &Grafana, keys: &str) -> Exporter {
    start(Config::new(&yaml(grafana, keys))).await
}

async fn start(directory: Config) -> Exporter {
    Exporter::start_in(directory.with("token", "grafana-token\n")).await
}

fn yaml(grafana: &Grafana, keys: &str) -> String {
    format!(
        "defaults: {{ interval: 300ms, timeout: 20s, interval_when_down: 200ms, failures_to_trigger: 2 }}
contracts:
  - name: dashboards
    component: Grafana Dashboards
    owner: ops
    priority: P3
    rto: 2h
    checks:
      - name: dashboards
        grafana_dashboards: {{ url: \"{}\", token_file: token, {keys} }}\n",
        grafana.url()
    )
}

fn figure(scrape: &Scrape, metric: &str) -> Option<f64> {
    scrape.get(metric, &[("contract", "dashboards")])
}

fn runs(scrape: &Scrape, outcome: &str) -> f64 {
    scrape.get("dr_check_runs_total", &[("outcome", outcome)]).unwrap_or_default()
}

async fn ends(exporter: &Exporter, outcome: &str) -> Scrape {
    let before = runs(&exporter.scrape().await, outcome);
    exporter.until(outcome, SOON, |scrape| runs(scrape, outcome) > before + 1.0).await
}

/// Waits until the check fails anew, this way and for this reason, and in no other way meanwhile.
async fn fails(exporter: &Exporter, outcome: &str, reason: &str) -> Scrape {
    let count = |scrape: &Scrape| scrape.reasons("dashboards").get(reason).copied().unwrap_or_default();
    let before = count(&exporter.scrape().await);
    exporter.until(&format!("it fails with {reason}"), SOON, |scrape| count(scrape) > before).await;
    let (before, other) = (exporter.scrape().await, if outcome == "unhealthy" { "no_answer" } else { "unhealthy" });
    let scrape = exporter.until(outcome, SOON, |scrape| runs(scrape, outcome) > runs(&before, outcome)).await;
    assert_eq!(runs(&scrape, other), runs(&before, other), "{reason} is {outcome}\n{scrape}");
    scrape
}

fn running(value: f64) -> impl Fn(&Scrape) -> bool {
    move |scrape| figure(scrape, "dr_recovery_in_progress") == Some(value)
}

/// The last run, as the API tells of it.
async fn last_run(exporter: &Exporter) -> Value {
    let status: Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    status["contracts"][0]["checks"][0]["last_run"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_starts_the_clock_until_it_is_back() {
    let grafana = Grafana::start(&["dr-overview", "api", "nats", "not-expected"]).await;
    let exporter = exporter(&grafana, "uids: [dr-overview, api, nats]").await;
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(3.0));
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(0.0));
    grafana.loses("api");
    grafana.loses("nats");
    exporter.until("the clock runs", SOON, running(1.0)).await;
    let scrape = fails(&exporter, "unhealthy", "dashboards_missing").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(2.0), "{scrape}");
    let detail = last_run(&exporter).await["findings"][0]["detail"].to_string();
    assert!(detail.contains("2 of 3") && detail.contains("api, nats"), "{detail}");
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(page.contains("api, nats"), "the page does not name them");
    grafana.gets("api", 1, "api");
    grafana.gets("nats", 1, "nats");
    let scrape = exporter.until("the clock stops", SOON, running(0.0)).await;
    assert_eq!(scrape.status("dashboards", "rto"), "met");
    assert!(grafana.has().asked.iter().all(|path| path.starts_with("/grafana/api/")), "the path of the URL is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_long_list_is_read() {
    let grafana = Grafana::start(&[]).await;
    let uids: Vec<String> = (0..2500).map(|index| format!("d-{index:04}")).collect();
    uids.iter().for_each(|uid| grafana.gets(uid, 1, uid));
    let exporter = exporter(&grafana, "uids: [d-0000, d-0999, d-1000, d-2499]").await;
    ends(&exporter, "healthy").await;
    let has = grafana.has();
    assert!(has.asked.iter().any(|path| path.contains("page=3")), "{:?}", has.asked);
    assert!(has.looked_up.is_empty(), "what is listed is not asked for one by one: {:?}", has.looked_up);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_token_may_not_see_is_no_answer() {
    let grafana = Grafana::start(&["a", "b"]).await;
    grafana.has().hidden.insert("b".to_owned());
    let exporter = exporter(&grafana, "uids: [a, b]").await;
    let scrape = fails(&exporter, "no_answer", "forbidden").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), None, "{scrape}");
    assert_eq!(runs(&scrape, "unhealthy") + runs(&scrape, "healthy"), 0.0, "{scrape}");
    // What is proven to be missing is, whatever else is hidden.
    grafana.loses("a");
    fails(&exporter, "unhealthy", "dashboards_missing").await;
    grafana.gets("a", 1, "a");
    grafana.has().hidden.clear();
    ends(&exporter, "healthy").await;
    // A token that is refused, then one that is rotated on both sides.
    grafana.has().token = "Rotated-T0ken".to_owned();
    let scrape = fails(&exporter, "no_answer", "auth_failed").await;
    assert_eq!(figure(&scrape, "dr_recovery_in_progress"), Some(0.0), "{scrape}");
    exporter.config().file("token", "Rotated-T0ken\n");
    ends(&exporter, "healthy").await;
    assert!(!exporter.log().contains("T0ken") && !exporter.log().contains("grafana-token"), "a token is told");
    fs::remove_file(exporter.config().path("token")).expect("removed");
    fails(&exporter, "no_answer", "credentials_unreadable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grafana_itself_is_the_component() {
    let mut grafana = Grafana::start(&["a"]).await;
    let exporter = exporter(&grafana, "uids: [a]").await;
    ends(&exporter, "healthy").await;
    grafana.has().database_fails = true;
    fails(&exporter, "unhealthy", "database_failing").await;
    grafana.has().database_fails = false;
    ends(&exporter, "healthy").await;
    for (status, body, outcome, reason) in [
        (500, "", "unhealthy", "server_error"),
        (502, "<html>Bad Gateway</html>", "unhealthy", "server_error"),
        (404, "default backend - 404", "unhealthy", "bad_answer"),
        (200, "<html>Welcome to nginx!</html>", "unhealthy", "bad_answer"),
        (302, "", "no_answer", "bad_answer"),
        (401, "", "no_answer", "auth_failed"),
        (403, "", "no_answer", "forbidden"),
        (429, "", "no_answer", "throttled"),
    ] {
        grafana.has().instead = Some((status, body.to_owned()));
        fails(&exporter, outcome, reason).await;
    }
    grafana.has().instead = None;
    ends(&exporter, "healthy").await;
    for (status, body, outcome, reason) in [
        (500, r#"{"message": "Failed to search"}"#, "unhealthy", "server_error"),
        (200, "{}", "no_answer", "bad_answer"),
        (404, "404 page not found", "no_answer", "bad_answer"),
    ] {
        grafana.has().instead_of_lists = Some((status, body.to_owned()));
        fails(&exporter, outcome, reason).await;
    }
    grafana.has().instead_of_lists = None;
    ends(&exporter, "healthy").await;
    grafana.die();
    fails(&exporter, "unhealthy", "connect_failed").await;
    exporter.until("the clock runs", SOON, running(1.0)).await;
    grafana.live().await;
    exporter.until("the clock stops", SOON, running(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_exports_is_the_truth_and_is_read_anew() {
    let grafana = Grafana::start(&["a", "b"]).await;
    let directory = Config::new(&yaml(&grafana, "folder: exports"));
    fs::create_dir_all(directory.path("exports/team")).expect("made");
    directory.file("exports/a.json", r#"{"uid": "a", "title": "A", "schemaVersion": 39, "panels": []}"#);
    directory.file("exports/team/b.json", r#"{"dashboard": {"uid": "b", "title": "B"}, "meta": {}}"#);
    let exporter = start(directory).await;
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(2.0));
    exporter.config().file("exports/new.json", r#"{"uid": "new", "title": "New", "panels": []}"#);
    let scrape = fails(&exporter, "unhealthy", "dashboards_missing").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(1.0));
    grafana.gets("new", 1, "New");
    ends(&exporter, "healthy").await;
    // Half a truth is none.
    exporter.config().file("exports/new.json", "{ half");
    let scrape = fails(&exporter, "no_answer", "folder_unreadable").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), None, "{scrape}");
    assert!(exporter.log().contains("new.json"), "{}", exporter.log());
    fs::remove_dir_all(exporter.config().path("exports")).expect("removed");
    fails(&exporter, "no_answer", "folder_unreadable").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_has_should_be_here_also_once_it_is_gone() {
    let (mut primary, grafana) = (Grafana::start(&["a", "b"]).await, Grafana::start(&["a", "b", "only-here"]).await);
    // Their counters differ, and that is no difference.
    grafana.gets("a", 40, "a");
    let keys = format!("primary: {{ url: \"{}\", token_file: token }}", primary.url());
    let mut exporter = exporter(&grafana, &keys).await;
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(2.0));
    exporter
        .until("both were compared", SOON, |scrape| figure(scrape, "dr_grafana_dashboards_differing") == Some(0.0))
        .await;
    // Another content is shown, and is no failure.
    primary.gets("b", 2, "b, improved");
    let differs = |scrape: &Scrape| figure(scrape, "dr_grafana_dashboards_differing") == Some(1.0);
    let scrape = exporter.until("one differs", SOON, differs).await;
    assert_eq!(runs(&scrape, "unhealthy"), 0.0, "{scrape}");
    let notes = last_run(&exporter).await["notes"].to_string();
    assert!(notes.contains("1 of 2") && notes.contains(": b"), "{notes}");
    assert!(
        exporter.get("/").await.text().await.expect("a page").contains("differ from the primary"),
        "not on the page"
    );
    // A new one there is missing here.
    primary.gets("c", 1, "c");
    let scrape = fails(&exporter, "unhealthy", "dashboards_missing").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(1.0));
    // The primary is gone: what it had is remembered, also over a restart.
    primary.die();
    exporter.kill_and_restart().await;
    let scrape = fails(&exporter, "unhealthy", "dashboards_missing").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(3.0), "{scrape}");
    grafana.gets("c", 1, "c");
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(0.0), "{scrape}");
    wait_until("a note tells that the primary is gone", SOON, async || {
        last_run(&exporter).await["notes"].to_string().contains("could not be asked").then_some(())
    })
    .await;
}

/// A list leaves out what its token may not see, and a new Grafana without its database has an empty one.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_primary_no_longer_lists_is_expected_until_it_says_that_it_is_gone() {
    let (primary, grafana) = (Grafana::start(&["a", "b", "c"]).await, Grafana::start(&["a", "c"]).await);
    let keys = format!("primary: {{ url: \"{}\", token_file: token }}", primary.url());
    let mut exporter = exporter(&grafana, &keys).await;
    let missing = async |exporter: &Exporter, expected: f64| {
        let scrape = fails(exporter, "unhealthy", "dashboards_missing").await;
        assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(expected), "{scrape}");
        assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(1.0), "{scrape}");
    };
    missing(&exporter, 3.0).await;
    // Its token may no longer see two of them, then none: nobody can tell whether it still has what is missing here.
    let untold = async || {
        let scrape = fails(&exporter, "no_answer", "primary_unknown").await;
        assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(3.0), "{scrape}");
        assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), None, "{scrape}");
    };
    primary.has().hidden.extend(["b".to_owned(), "c".to_owned()]);
    untold().await;
    let names = last_run(&exporter).await["findings"][0]["detail"].to_string();
    assert!(names.contains(": b"), "{names}");
    // What DR has lost itself, and the primary shows, is missing.
    grafana.loses("a");
    let scrape = fails(&exporter, "unhealthy", "dashboards_missing").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), None, "{scrape}");
    grafana.gets("a", 1, "a");
    primary.has().hidden.insert("a".to_owned());
    untold().await;
    // All of them are lost.
    primary.has().hidden.clear();
    let had = std::mem::take(&mut primary.has().dashboards);
    missing(&exporter, 3.0).await;
    exporter.kill_and_restart().await;
    missing(&exporter, 3.0).await;
    assert!(last_run(&exporter).await["notes"].to_string().contains("list is empty"));
    // One is deleted on purpose, the other two are listed again.
    primary.has().dashboards = had;
    missing(&exporter, 3.0).await;
    primary.loses("b");
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_expected"), Some(2.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_without_a_dashboard_says_nothing() {
    let (primary, grafana) = (Grafana::start(&[]).await, Grafana::start(&["a"]).await);
    let keys = format!("primary: {{ url: \"{}\", token_file: token }}", primary.url());
    let exporter = exporter(&grafana, &keys).await;
    let scrape = fails(&exporter, "no_answer", "primary_unknown").await;
    assert_eq!(runs(&scrape, "healthy") + runs(&scrape, "unhealthy"), 0.0, "{scrape}");
    primary.gets("a", 1, "a");
    ends(&exporter, "healthy").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_never_answered_says_nothing_and_hides_nothing() {
    let (mut primary, mut grafana) = (Grafana::start(&["a"]).await, Grafana::start(&["a"]).await);
    primary.die();
    let keys = format!("primary: {{ url: \"{}\", token_file: token }}", primary.url());
    let alone = exporter(&grafana, &keys).await;
    let with_list = exporter(&grafana, &format!("uids: [a], {keys}")).await;
    fails(&alone, "no_answer", "primary_unknown").await;
    // With a list of its own the contract stands without the primary.
    let scrape = ends(&with_list, "healthy").await;
    assert_eq!(figure(&scrape, "dr_grafana_dashboards_missing"), Some(0.0));
    grafana.die();
    fails(&alone, "unhealthy", "connect_failed").await;
    fails(&with_list, "unhealthy", "connect_failed").await;
}

/// A region that is gone does not refuse, it is silent. That must leave time to ask here.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_primary_is_no_failure_of_dr() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let grafana = Grafana::start(&["a", "b"]).await;
    grafana.has().hidden.insert("b".to_owned());
    let address = silent.local_addr().expect("an address");
    let keys = format!("uids: [a, b], primary: {{ url: \"http://{address}\", token_file: token }}");
    let exporter = exporter(&grafana, &keys).await;
    let scrape = fails(&exporter, "no_answer", "forbidden").await;
    assert_eq!(runs(&scrape, "unhealthy"), 0.0, "{scrape}");
    grafana.has().hidden.clear();
    let scrape = ends(&exporter, "healthy").await;
    assert_eq!(runs(&scrape, "unhealthy"), 0.0, "{scrape}");
}

/// A Grafana whose answer nobody could wait for is not down.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_held_up_knows_nothing() {
    let grafana = Grafana::start(&["api"]).await;
    let directory = Config::new("").with("token", "grafana-token\n");
    let stanza = format!("grafana_dashboards: {{ url: \"{}\", token_file: token, uids: [api] }}", grafana.url());
    let check = single::check_in(directory.directory(), &stanza);
    let observation = single::run_too_late(&check).await;
    single::assert_no_answer(&observation.health, "local", &["the exporter itself was held up"]);
}
