//! The API: its description, and that real answers are as it says.

use serde_json::{Value, json};

use super::{SOON, Service, contract, contracts};
use dr_testkit::exporter::{Exporter, client};

/// A service that was down and recovered, and one that is down.
async fn storied() -> (Service, Service, Exporter) {
    let (up, down) = (Service::start().await, Service::start().await);
    let trigger =
        "triggers:\n  - { name: dead, check: down/health, consecutive_failures: 2, action: a, notification: n }\n";
    let yaml = contracts(&[contract("up", "5m", &up.url), contract("down", "5m", &down.url)]) + trigger;
    let exporter = Exporter::start(&yaml).await;
    exporter.seen_healthy("up", SOON).await;
    exporter.seen_healthy("down", SOON).await;
    up.well(false);
    down.well(false);
    let running = |name: &'static str, value| {
        move |scrape: &dr_testkit::scrape::Scrape| {
            scrape.get("dr_recovery_in_progress", &[("contract", name)]) == Some(value)
        }
    };
    exporter.until("up is down", SOON, running("up", 1.0)).await;
    exporter.until("down is down", SOON, running("down", 1.0)).await;
    up.well(true);
    exporter.until("up recovered", SOON, running("up", 0.0)).await;
    (up, down, exporter)
}

/// The schema of an answer to a path, as the description has it.
fn schema(description: &Value, path: &str, method: &str, status: &str) -> Value {
    let answer = &description["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"];
    assert!(answer.is_object(), "{method} {path} {status} is not described");
    json!({ "allOf": [answer], "components": description["components"] })
}

/// Whether a value fits its schema, which may use the components of the description.
pub(crate) fn must_fit(value: &Value, schema: &Value, what: &str) {
    let validator = jsonschema::validator_for(schema).expect("the description has schemas");
    let errors: Vec<_> =
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{what}\n{}\n{value:#}", errors.join("\n"));
}

/// Whether an answer is as the description says, and has nothing that the description does not have.
pub(crate) fn must_be_as_described(description: &Value, path: &str, method: &str, status: u16, answer: &Value) {
    let schema = schema(description, path, method, &status.to_string());
    must_fit(answer, &schema, path);
    let mut found = Vec::new();
    unknown(answer, &schema["allOf"][0], &schema, path, &mut found);
    assert_eq!(found, [""; 0], "the description does not have these");
}

/// Every name in an answer that its schema does not have. The description must not be silent about anything.
fn unknown(answer: &Value, schema: &Value, root: &Value, path: &str, found: &mut Vec<String>) {
    let mut schema = schema;
    while let Some(target) = schema["$ref"].as_str() {
        schema = root.pointer(target.trim_start_matches('#')).unwrap_or_else(|| panic!("{target} is nowhere"));
    }
    if let Some(any) = schema["anyOf"].as_array().or(schema["allOf"].as_array()) {
        let inner = any.iter().find(|one| one["type"] != "null").expect("a type");
        return unknown(answer, inner, root, path, found);
    }
    match answer {
        Value::Object(fields) if schema["properties"].is_object() => {
            for (name, value) in fields {
                match schema["properties"].get(name) {
                    Some(inner) => unknown(value, inner, root, &format!("{path}.{name}"), found),
                    None => found.push(format!("{path}.{name}")),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unknown(item, &schema["items"], root, path, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn real_answers_are_as_the_description_says() {
    let (_up, _down, exporter) = storied().await;
    let description: Value = exporter.get("/api/v1/openapi.json").await.json().await.expect("JSON");
    assert_eq!(description["openapi"], "3.1.0");
    let asked = [
        ("/api/v1/status", "/api/v1/status", 200),
        // What it is for shards is looked at in `shards`.
        ("/api/v1/shards", "/api/v1/shards", 404),
        ("/api/v1/contracts/{name}", "/api/v1/contracts/down", 200),
        ("/api/v1/contracts/{name}", "/api/v1/contracts/nobody", 404),
        ("/api/v1/history", "/api/v1/history", 200),
        ("/api/v1/history", "/api/v1/history?contract=up&since=2026-01-31T12:00:00Z&limit=3", 200),
        ("/api/v1/history", "/api/v1/history?since=yesterday", 400),
        ("/api/v1/recoveries", "/api/v1/recoveries", 200),
        ("/api/v1/recoveries", "/api/v1/recoveries?nonsense=1", 400),
        ("/api/v1/triggers", "/api/v1/triggers", 200),
        ("/api/v1/triggers", "/api/v1/triggers?limit=-1", 400),
        ("/api/v1/openapi.json", "/api/v1/openapi.json", 200),
    ];
    for (path, url, status) in asked {
        let answer = exporter.get(url).await;
        assert_eq!(answer.status(), status, "{url}");
        assert_eq!(answer.headers()["cache-control"], "no-store", "{url}");
        assert_eq!(answer.headers()["content-type"], "application/json", "{url}");
        let answer: Value = answer.json().await.expect("JSON");
        must_be_as_described(&description, path, "get", status, &answer);
    }
    // Those of people are looked at in `drills::described`.
    let paths = description["paths"].as_object().expect("paths").keys();
    let paths: Vec<_> = paths.filter(|path| !crate::drills::is_of_people(path)).collect();
    assert!(paths.iter().all(|path| asked.iter().any(|(asked, _, _)| asked == path)), "{paths:?}");
    // Each status holds records: what is empty would be valid whatever the schema says.
    let text = async |path: &str| exporter.get(path).await.text().await.expect("a text");
    assert!(text("/api/v1/recoveries").await.contains("recovery_seconds"));
    assert!(text("/api/v1/triggers").await.contains("holds_since"));
    assert!(text("/api/v1/history").await.contains("not observed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_answers_whether_to_fail_over_and_tells_of_failures() {
    let (_up, down, exporter) = storied().await;
    let status: Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    assert_eq!(status["failover"]["answer"], "unknown", "{}", status["failover"]);
    let sentence = status["failover"]["sentence"].as_str().expect("a sentence");
    assert!(sentence.starts_with("Nobody can tell: down (RTO): it is down, "), "{sentence}");
    down.well(true);
    let scrape = |scrape: &dr_testkit::scrape::Scrape| scrape.status("down", "rto") == "met";
    exporter.until("both recovered", SOON, scrape).await;
    let status: Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    assert_eq!(status["failover"]["answer"], "yes", "{}", status["failover"]);
    let check = &status["contracts"][1]["checks"][0];
    let trouble = check["recent_failures"].as_array().expect("a list");
    assert_eq!(trouble.len(), 1, "runs in a row that found the same are one: {trouble:?}");
    assert!(trouble[0]["runs"].as_u64() >= Some(2) && trouble[0]["until"].as_str() > trouble[0]["from"].as_str());
    assert_eq!(trouble[0]["findings"][0]["reason"], "unexpected_status", "{trouble:?}");
    assert!(check["last_success"].as_str() > trouble[0]["until"].as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_headers_and_no_body() {
    let (_up, _down, exporter) = storied().await;
    for path in [
        "/",
        "/contracts/up",
        "/config",
        "/runbooks",
        "/api/v1/status",
        "/api/v1/openapi.json",
        "/static/page.js",
        "/metrics",
    ] {
        let answer = client().head(exporter.url(path)).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        let same = exporter.get(path).await;
        if path != "/metrics" {
            assert_eq!(answer.headers()["content-type"], same.headers()["content-type"], "{path}");
        }
        assert!(answer.bytes().await.expect("a body").is_empty(), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_told_with_links_for_people_and_for_programs() {
    let (_up, _down, exporter) = storied().await;
    for path in ["/nothing", "/a/b/c", "/contracts/nobody", "/runbooks/Nothing", "/api/v1/nothing", "/contracts/%FF"] {
        let answer = exporter.get(path).await;
        assert_eq!(answer.status(), 404, "{path}");
        let answer: Value = answer.json().await.expect("JSON");
        assert!(
            answer["error"].is_string() && answer["links"].as_array().is_some_and(|links| links.len() > 3),
            "{answer}"
        );
        let answer =
            client().get(exporter.url(path)).header("accept", "text/html,*/*;q=0.8").send().await.expect("an answer");
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"] == "text/html; charset=utf-8"),
            (404, true)
        );
        let page = answer.text().await.expect("a page");
        let up = "../".repeat(path.matches('/').count() - 1);
        assert!(page.contains(&format!("href=\"{up}api/v1/status\"")), "{path}\n{page}");
    }
    let answer = client().post(exporter.url("/api/v1/status")).send().await.expect("an answer");
    assert_eq!(answer.status(), 405);
    assert!(answer.json::<Value>().await.expect("JSON")["error"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_shown_without_anything_secret() {
    let service = Service::start().await;
    let url = format!("{}?token=hunter2", service.url);
    let secret = contracts(&[contract("api", "5m", &url)]).replace("contracts:", "# hunter2\ncontracts:");
    let exporter = Exporter::start(&secret).await;
    exporter.seen_healthy("api", SOON).await;
    for path in ["/config", "/contracts/api"] {
        let page = exporter.get(path).await.text().await.expect("a page");
        assert!(page.contains("interval_when_down: 100ms") && page.contains("token=***"), "{path}\n{page}");
        assert!(!page.contains("hunter2"), "{path}\n{page}");
    }
    // A reload is shown, and one that is refused is told.
    exporter.config().file("config.yaml", &secret.replace("200ms", "250ms"));
    assert_eq!(client().post(exporter.url("/-/reload")).send().await.expect("an answer").status(), 200);
    // The page follows with the next snapshot.
    let shows = async |words: &str| exporter.get("/config").await.text().await.ok().filter(|page| page.contains(words));
    dr_testkit::wait_until("the page shows the new interval", SOON, async || shows("interval: 250ms").await).await;
    exporter.config().file("config.yaml", "contracts: []\n");
    assert_eq!(client().post(exporter.url("/-/reload")).send().await.expect("an answer").status(), 400);
    let refused = async || shows("A later one was refused").await;
    let page = dr_testkit::wait_until("the page tells of the refused one", SOON, refused).await;
    assert!(page.contains("interval: 250ms"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runbooks_are_served_under_the_names_that_alerts_link_to() {
    let service = Service::start().await;
    let exporter = Exporter::start(&contracts(&[contract("api", "5m", &service.url)])).await;
    let list = exporter.get("/runbooks").await.text().await.expect("a page");
    assert!(list.contains("href=\"runbooks/DRCopyLost\""), "{list}");
    for path in ["/runbooks/DRCopyLost", "/runbooks/DRCopyLost.md"] {
        let answer = exporter.get(path).await;
        assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
        let page = answer.text().await.expect("a page");
        assert!(page.contains("<h2>Mitigation</h2>") && page.contains("href=\"../runbooks/DRSplitBrain\""), "{page}");
    }
    // What looks like HTML in a text is text.
    let page = exporter.get("/runbooks/README").await.text().await.expect("a page");
    assert!(!page.contains("../concepts.md"), "only what is served is linked to:\n{page}");
}
