//! The admin API: what is accepted, what is refused, and that a refusal changes nothing.

use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::wait_until;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{PASSWORD, Rig, SOON, USER};

fn declaration() -> Value {
    json!({"incident": "region_outage", "by": "oncall", "reason": "the region does not answer"})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_starts_the_clock_and_its_steps_and_end_are_recorded() {
    let rig = Rig::start().await;
    let incident = rig.order("incidents", declaration()).await;
    let id = incident["id"].as_str().expect("an id").to_owned();
    assert_eq!(incident["declared"]["user"], USER, "who was logged in is recorded");
    let status = rig.get("status").await;
    let outage = &status["contracts"][0]["outage"];
    assert_eq!(outage["mode"], "real", "{status}");
    assert_eq!(rig.metric("dr_incident_active", "{incident=\"region_outage\"}").await, Some(1.0));
    rig.service.well(false);
    rig.until("the failure is seen", async |rig| rig.get("status").await["contracts"][0]["failing"] == json!(true))
        .await;
    rig.order(&format!("incidents/{id}/steps/fail_over"), json!({"by": "bob"})).await;
    rig.order("incidents/region_outage/steps/confirm", json!({"by": "bob"})).await;
    rig.order("incidents/region_outage/steps/confirm", json!({"by": "bob", "undo": true})).await;
    rig.order("incidents/region_outage/notes", json!({"by": "bob", "text": "DNS is slow"})).await;
    assert_eq!(rig.metric("dr_incident_steps_done", "{incident=\"region_outage\"}").await, Some(1.0));
    let page = rig.text("/").await;
    for part in
        ["Incident: region_outage", "1 of 3 steps taken", "The recovery clock of api has run for", "DNS is slow"]
    {
        assert!(page.contains(part), "{part}:\n{page}");
    }
    rig.service.well(true);
    rig.until("it recovers", async |rig| rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    assert!(!rig.text("/").await.contains("Incident: region_outage"));
    let gap = json!({"by": "bob", "text": "shorter TTL", "owner": "ops", "due": "2027-01-31"});
    rig.order(&format!("incidents/{id}/gaps"), gap).await;
    let report = rig.get(&format!("incidents/{id}/report")).await;
    let recovery = &report["contracts"][0]["recoveries"][0];
    assert_eq!((&recovery["met"], &recovery["mode"]), (&json!(true), &json!("real")), "{report}");
    let told: Vec<&str> =
        report["timeline"].as_array().expect("lines").iter().filter_map(|line| line["what"].as_str()).collect();
    for part in [
        "was declared by oncall",
        "step fail_over was taken",
        "correction by bob",
        "DNS is slow",
        "recovered in",
        "the incident was closed",
        "shorter TTL",
        "logged in as alice",
    ] {
        assert!(told.iter().any(|line| line.contains(part)), "{part}: {told:#?}");
    }
    let markdown = rig.text(&format!("/api/v1/incidents/{id}/report?output=markdown")).await;
    assert!(markdown.contains("| fail_over |") && markdown.contains("report verify --head="), "{markdown}");
    assert!(rig.text(&format!("/api/v1/incidents/{id}/report?output=html")).await.contains("<h1>Incident"));
    let head = rig.verified();
    assert_eq!(rig.metric("dr_record_entries", "").await, Some(head.seq as f64));
    assert_eq!(rig.metric("dr_record_head", "").await, Some(head.number()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declaration_on_a_healthy_component_proves_nothing() {
    let rig = Rig::start().await;
    rig.order("incidents", declaration()).await;
    let before = rig.get("status").await["contracts"][0]["checks"][0]["last_run"]["at"].clone();
    rig.until("two further looks", async |rig| {
        rig.get("status").await["contracts"][0]["checks"][0]["last_run"]["at"].as_str() > before.as_str()
    })
    .await;
    let status = rig.get("status").await;
    assert!(!status["contracts"][0]["outage"].is_null(), "the clock runs until the incident is closed");
    rig.order("incidents/region_outage/close", json!({"by": "oncall"})).await;
    let status = rig.get("status").await;
    assert!(
        status["contracts"][0]["outage"].is_null() && status["contracts"][0]["last_recovery"].is_null(),
        "{status}"
    );
    assert_eq!(status["contracts"][0]["objectives"][0]["status"], "unproven");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_at_once_make_one_incident_and_a_repetition_makes_none() {
    let rig = Rig::start().await;
    let rig = &rig;
    let declare = |key: &'static str| async move {
        rig.ask(Method::POST, "incidents", Some(declaration()), &[("idempotency-key", key)]).await
    };
    let (a, b, c, d) = tokio::join!(declare("a"), declare("b"), declare("c"), declare("a"));
    let answers = [a, b, c, d];
    let made = answers.iter().filter(|(status, _)| *status == 201).count();
    assert_eq!(made, 1, "{answers:?}");
    assert!(answers.iter().all(|(_, incident)| incident["id"] == answers[0].1["id"]), "{answers:?}");
    assert_eq!(rig.get("incidents").await["incidents"].as_array().expect("a list").len(), 1);
    let entries = rig.verified().seq;
    let (status, again) = declare("a").await;
    assert_eq!((status, &again["id"]), (200, &answers[0].1["id"]));
    let other = json!({"incident": "region_outage", "by": "cto", "reason": "another"});
    let (status, _) = rig.ask(Method::POST, "incidents", Some(other), &[("idempotency-key", "a")]).await;
    assert_eq!(status, 409, "a key belongs to one request");
    assert_eq!(rig.verified().seq, entries, "nothing was recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing_and_leaks_nothing() {
    let rig = Rig::start().await;
    let kept = rig.get("incidents").await;
    let http = client();
    let url = rig.exporter.url("/api/v1/incidents");
    let body = declaration();
    let send = |request: reqwest::RequestBuilder| async move {
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap_or_default();
        assert!(!text.contains(PASSWORD) && !text.contains("$2"), "{text}");
        status
    };
    let with = || http.post(&url).basic_auth(USER, Some(PASSWORD));
    assert_eq!(send(http.post(&url).json(&body)).await, 401, "nobody");
    assert_eq!(send(http.post(&url).basic_auth(USER, Some("wrong")).json(&body)).await, 401);
    assert_eq!(send(http.get(rig.exporter.url("/api/v1/drills"))).await, 401);
    assert_eq!(send(http.put(&url).basic_auth(USER, Some(PASSWORD)).json(&body)).await, 405);
    assert_eq!(send(http.delete(&url).basic_auth(USER, Some(PASSWORD))).await, 405);
    assert_eq!(send(with().header("origin", "http://evil.example").json(&body)).await, 403);
    assert_eq!(send(with().header("sec-fetch-site", "cross-site").json(&body)).await, 403);
    assert_eq!(send(with().body(body.to_string())).await, 415, "a form of another site can send no JSON");
    assert_eq!(send(with().header("content-type", "text/plain").body(body.to_string())).await, 415);
    assert_eq!(send(with().header("content-type", "application/json").body("{")).await, 400);
    let cases = [
        (json!({"incident": "region_outage", "by": "intern", "reason": "x"}), 403),
        (json!({"incident": "flood", "by": "oncall", "reason": "x"}), 404),
        (json!({"incident": "region_outage", "by": "oncall", "reason": " "}), 400),
        (json!({"incident": "region_outage", "by": "oncall", "reason": "x", "extra": 1}), 400),
        (json!({"incident": "region_outage", "by": "oncall", "reason": "x", "at": "2999-01-01T00:00:00Z"}), 400),
        (json!({"incident": "region_outage", "by": "oncall", "reason": "x\u{7}"}), 400),
        (json!({"incident": "region_outage", "by": "oncall", "reason": "x".repeat(5000)}), 400),
    ];
    for (body, expected) in cases {
        assert_eq!(send(with().json(&body)).await, expected, "{body}");
    }
    let large = with().header("content-type", "application/json").body(vec![b' '; 10 << 20]).send().await;
    assert!(large.map_or(true, |answer| answer.status() == 413), "10 MB");
    for path in ["incidents/region_outage/close", "incidents/region_outage/steps/confirm", "drills/failover/finish"] {
        let (status, _) = rig.ask(Method::POST, path, Some(json!({"by": "oncall"})), &[]).await;
        assert_eq!(status, 404, "{path}");
    }
    assert_eq!(rig.get("incidents").await, kept);
    let entries = rig.get("record?limit=1000").await;
    let people = ["declared", "joined", "drill_started", "acknowledged"];
    let bodies: Vec<String> =
        entries["entries"].as_array().expect("a list").iter().map(|one| one["body"].to_string()).collect();
    assert!(
        !bodies.iter().any(|body| people.iter().any(|what| body.contains(&format!("what\\\":\\\"{what}")))),
        "{bodies:#?}"
    );
}

/// A drill must not mark a failure as planned that was there before.
#[tokio::test(flavor = "multi_thread")]
async fn a_drill_does_not_begin_while_something_is_wrong() {
    let rig = Rig::start().await;
    rig.service.well(false);
    rig.until("the clock runs", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    let start = json!({"drill": "failover", "by": "ops"});
    let (status, told) = rig.ask(Method::POST, "drills", Some(start), &[]).await;
    assert_eq!(status, 409, "{told}");
    assert_eq!(rig.metric("dr_drill_in_progress", "{contract=\"api\"}").await, Some(0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_writes_are_refused() {
    let rig = Rig::start().await;
    let body = || json!({"incident": "flood", "by": "oncall", "reason": "x"});
    // A busy machine answers fewer a second than are allowed, so it may take a few floods.
    wait_until("a write is refused", SOON, async || {
        let url = rig.exporter.url("/api/v1/incidents");
        let ask = || client().post(&url).basic_auth(USER, Some(PASSWORD)).json(&body()).send();
        // The exporter itself may be too busy for some, and close their connections.
        let answers = join_all((0..80).map(|_| ask())).await.into_iter().flatten();
        let statuses: Vec<_> = answers.map(|answer| answer.status().as_u16()).collect();
        assert!(statuses.iter().all(|status| *status == 404 || *status == 429), "{statuses:?}");
        statuses.contains(&429).then_some(())
    })
    .await;
    rig.get("status").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_unless_asked_for_and_never_without_authentication() {
    let yaml = "contracts:\n  - { name: a, component: A, owner: o, priority: P0, rto: 5m, checks: [{ name: h, http: { url: 'http://127.0.0.1:9/' } }] }\n";
    let exporter = Exporter::start(yaml).await;
    let answer = client().post(exporter.url("/api/v1/incidents")).json(&declaration()).send().await.expect("an answer");
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.expect("a text").contains("--web.enable-admin-api"));
    let config = Config::new(yaml).with("web.yaml", "http_server_config: { http2: true }\n");
    for arguments in [&["--web.enable-admin-api"][..], &["--web.enable-admin-api", "--web.config.file=web.yaml"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        command.current_dir(config.directory()).args([
            "serve",
            "--config.file=config.yaml",
            "--web.listen-address=127.0.0.1:0",
        ]);
        let output = command.args(arguments).output().expect("it runs");
        assert!(!output.status.success(), "{arguments:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("web.config.file"), "{told}");
    }
}
