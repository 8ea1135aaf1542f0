//! The failover of External Secrets as a drill: what the report says is what a stopwatch says.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::{Pair, SOON, Status, config, contract, minutes};
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::kube::Flavour;
use dr_testkit::{let_pass, wait_until};

const HASH: &str = "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2";
const ROTATED: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5";
const NAME: &str = "kgents-api-secrets";
const PASSWORD: &str = "correct horse";
/// Two readings of a clock.
const SLACK: Duration = Duration::from_millis(100);

dr_testkit::both! {
    a_failover_of_secrets_in_a_drill_takes_as_long_as_a_stopwatch_says,
    a_sync_that_stays_broken_is_no_drill_that_passed,
}

/// The exporter with the admin API, and a drill on the secrets of both clusters.
async fn start(pair: &Pair, rto: &str) -> Exporter {
    for cluster in [pair.primary, pair.dr] {
        pair.secret(cluster, NAME, HASH, Status::ready(minutes(20))).await;
    }
    let namespace = &pair.namespace;
    let check = format!("external_secret: {{ primary: primary, dr: dr, namespace: {namespace}, name: {NAME} }}");
    let drills = format!("drills:\n  - {{ name: secret-rotation, every: monthly, contracts: [{NAME}] }}\n");
    let contracts = contract(NAME, &format!("rto: {rto}\n    rpo: 1h"), &check);
    let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
    let config = Config::new(&config(&format!("{contracts}{drills}")))
        .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
        .with("dr.kubeconfig", &pair.dr.kubeconfig_of(&pair.at_dr))
        .with("web.yaml", &format!("basic_auth_users:\n  alice: {hash}\n"));
    let exporter = Exporter::start_as(config, |command| {
        command.args(["--web.config.file=web.yaml", "--web.enable-admin-api"]);
    })
    .await;
    until(&exporter, "the secrets are equal", |status| {
        let of = &status["contracts"][0];
        let rpo = of["objectives"].as_array().and_then(|all| all.iter().find(|one| one["objective"] == "rpo"));
        of["failing"] == json!(false) && rpo.is_some_and(|rpo| rpo["status"] == "met")
    })
    .await;
    exporter
}

async fn ask(exporter: &Exporter, path: &str, body: Option<Value>) -> (u16, Value) {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let request = client().request(method, exporter.url(&format!("/api/v1/{path}")));
    let request = request.basic_auth("alice", Some(PASSWORD));
    let request = if let Some(body) = body { request.json(&body) } else { request };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

/// Waits until the status is so.
async fn until(exporter: &Exporter, what: &str, fits: impl Fn(&Value) -> bool) {
    wait_until(what, SOON, async || fits(&ask(exporter, "status", None).await.1).then_some(())).await;
}

/// When the secrets were last looked at.
async fn last_look(exporter: &Exporter) -> Value {
    ask(exporter, "status", None).await.1["contracts"][0]["checks"][0]["last_run"]["at"].clone()
}

/// Starts the drill: the secret is rotated at the primary, and DR can no longer fetch it.
///
/// Gives the drill, a clock that began to run before that, and when the failure was seen by it.
async fn broken(pair: &Pair, exporter: &Exporter) -> (String, Instant, Duration) {
    let order = json!({"drill": "secret-rotation", "by": "ops", "plan": "rotate, and stop the provider of DR"});
    let (status, run) = ask(exporter, "drills", Some(order)).await;
    assert_eq!(status, 201, "{run}");
    let start = Instant::now();
    pair.secret(pair.primary, NAME, ROTATED, Status::ready(Duration::ZERO)).await;
    pair.external_secret(pair.dr, NAME, Status::failing()).await;
    until(exporter, "the clock runs", |status| status["contracts"][0]["outage"]["mode"] == "drill").await;
    (run["id"].as_str().expect("an id").to_owned(), start, start.elapsed())
}

async fn a_failover_of_secrets_in_a_drill_takes_as_long_as_a_stopwatch_says(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let exporter = start(&pair, "30m").await;
    let (id, start, failing) = broken(&pair, &exporter).await;
    let_pass(Duration::from_secs(2)).await;
    // The first look after this may have begun before it, the second one did not.
    let still = start.elapsed();
    for _ in 0..2 {
        let before = last_look(&exporter).await;
        wait_until("a further look", SOON, async || (last_look(&exporter).await != before).then_some(())).await;
    }
    let up = start.elapsed();
    // The controller in DR reads from the provider that is left, and has the rotated secret.
    pair.secret(pair.dr, NAME, ROTATED, Status::ready(Duration::ZERO)).await;
    until(&exporter, "it recovers", |status| status["contracts"][0]["outage"].is_null()).await;
    let over = start.elapsed();
    let (status, ended) = ask(&exporter, &format!("drills/{id}/finish"), Some(json!({"by": "ops"}))).await;
    assert_eq!((status, &ended["ended"]["outcome"]), (200, &json!("passed")), "{ended}");
    let (_, report) = ask(&exporter, &format!("drills/{id}/report"), None).await;
    let recoveries = report["contracts"][0]["recoveries"].as_array().expect("recoveries");
    assert_eq!(recoveries.len(), 1, "{report}");
    let recovery = &recoveries[0];
    assert_eq!((&recovery["met"], &recovery["mode"]), (&json!(true), &json!("drill")), "{report}");
    for (name, ended) in [("downtime_seconds", up), ("most_seconds", up), ("least_seconds", still)] {
        let figure = Duration::from_secs_f64(recovery[name].as_f64().expect(name));
        let within = ended.saturating_sub(failing)..=over + SLACK;
        assert!(within.contains(&(figure + SLACK)), "{name}: {figure:?}, by the stopwatch {within:?}");
    }
    let at_risk = recovery["data_at_risk_seconds"].as_f64().expect("data at risk");
    assert!(at_risk < 3600.0, "{recovery}");
}

async fn a_sync_that_stays_broken_is_no_drill_that_passed(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let exporter = start(&pair, "2s").await;
    let (id, ..) = broken(&pair, &exporter).await;
    let (status, refused) = ask(&exporter, &format!("drills/{id}/finish"), Some(json!({"by": "ops"}))).await;
    assert_eq!(status, 409, "{refused}");
    exporter_breaches(&exporter).await;
    pair.secret(pair.dr, NAME, ROTATED, Status::ready(Duration::ZERO)).await;
    until(&exporter, "it recovers", |status| status["contracts"][0]["outage"].is_null()).await;
    let (_, ended) = ask(&exporter, &format!("drills/{id}/finish"), Some(json!({"by": "ops"}))).await;
    assert_eq!(ended["ended"]["outcome"], "failed", "{ended}");
}

async fn exporter_breaches(exporter: &Exporter) {
    until(exporter, "the target is missed", |status| {
        let objectives = status["contracts"][0]["objectives"].as_array().expect("objectives");
        objectives.iter().any(|one| one["objective"] == "rto" && one["status"] == "breached")
    })
    .await;
}
