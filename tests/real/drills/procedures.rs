//! The validation procedures, each through a declared drill: the report's figures are those of a stopwatch.

use std::time::{Duration, Instant};

use dr_testkit::let_pass;
use dr_testkit::nats::{MIRROR, ORIGIN, Pair, Server};
use serde_json::{Value, json};

use super::Rig;

/// Two readings of a clock.
const SLACK: Duration = Duration::from_millis(100);

#[tokio::test(flavor = "multi_thread")]
async fn the_figures_of_a_drill_are_those_of_a_stopwatch() {
    for (rto, down, outcome) in [("30s", 2000, "passed"), ("1s", 3500, "failed")] {
        let rig = Rig::start_with(rto).await;
        let run = rig.order("drills", json!({"drill": "failover", "by": "ops", "environment": "test"})).await;
        let id = run["id"].as_str().expect("an id").to_owned();
        let start = Instant::now();
        rig.service.well(false);
        rig.until("the clock runs", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
        let failing = start.elapsed();
        let_pass(Duration::from_millis(down)).await;
        // The first look after this may have begun before it, the second one did not.
        let still = start.elapsed();
        for _ in 0..2 {
            let before = last_look(&rig).await;
            rig.until("a further look", async |rig| last_look(rig).await != before).await;
        }
        let up = start.elapsed();
        rig.service.well(true);
        rig.until("it recovers", async |rig| {
            rig.get(&format!("drills/{id}")).await["recoveries"].as_array().is_some_and(|all| !all.is_empty())
        })
        .await;
        let over = start.elapsed();
        let ended = rig.order(&format!("drills/{id}/finish"), json!({"by": "ops"})).await;
        assert_eq!(ended["ended"]["outcome"], outcome, "{ended}");
        let report = rig.get(&format!("drills/{id}/report")).await;
        let recovery = &report["contracts"][0]["recoveries"][0];
        let figure = |name: &str| Duration::from_secs_f64(recovery[name].as_f64().expect(name));
        // It began before the clock was seen to run, and ended after the service was up again and before that was seen; the
        // least that it took is up to the last look that failed.
        for (name, ended) in [("downtime_seconds", up), ("most_seconds", up), ("least_seconds", still)] {
            let within = ended.saturating_sub(failing)..=over + SLACK;
            assert!(
                within.contains(&(figure(name) + SLACK)),
                "{name}: {:?}, by the stopwatch {within:?}",
                figure(name)
            );
        }
        let entries = report["timeline"].as_array().expect("a timeline");
        let told = |part: &str| {
            entries.iter().any(|line: &Value| line["what"].as_str().is_some_and(|what| what.contains(part)))
        };
        assert!(
            told("the recovery clock of api runs") && told("recovered in") && told("the drill ended"),
            "{entries:#?}"
        );
    }
}

/// When the API was last looked at.
async fn last_look(rig: &Rig) -> Value {
    rig.get("status").await["contracts"][0]["checks"][0]["last_run"]["at"].clone()
}

/// "API should still respond": observability is taken down in a drill, and the API is watched all the while.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_works_without_observability_in_a_drill() {
    let observability = dr_testkit::service::Service::start().await;
    let more =
        observability.contract("observability", "30s").replace("failures_to_trigger: 3", "failures_to_trigger: 1");
    let plans = "\ndrills:\n  - { name: without-observability, every: quarterly, contracts: [observability] }\n";
    let rig = Rig::start_as("30s", |api| format!("{api}    independent_of: [observability]\n{more}"), plans).await;
    rig.until("both are seen healthy", async |rig| {
        let status = rig.get("status").await;
        status["contracts"].as_array().is_some_and(|all| {
            all.iter().all(|contract| contract["checks"][0]["last_run"]["outcome"] == json!("healthy"))
        })
    })
    .await;
    let run = rig.order("drills", json!({"drill": "without-observability", "by": "ops"})).await;
    let id = run["id"].as_str().expect("an id").to_owned();
    observability.well(false);
    rig.until("the API is seen to work without it", async |rig| {
        rig.metric("dr_degraded_operation_ok", "{contract=\"api\",without=\"observability\"}").await == Some(1.0)
    })
    .await;
    assert_eq!(rig.metric("dr_drill_in_progress", "{contract=\"api\"}").await, Some(0.0), "the API is in no drill");
    observability.well(true);
    rig.until("it recovers", async |rig| {
        rig.get(&format!("drills/{id}")).await["recoveries"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    let ended = rig.order(&format!("drills/{id}/finish"), json!({"by": "ops"})).await;
    assert_eq!(ended["ended"]["outcome"], "passed", "{ended}");
    assert!(rig.get("status").await["contracts"][0]["last_recovery"].is_null(), "the API was never down");
}

/// "Simulate stream failover": the origin is killed, the mirror is promoted, and what was measured is
/// what a stopwatch says.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_failover_in_a_drill_takes_as_long_as_a_stopwatch_says() {
    let mut pair = Pair::start().await;
    let side =
        |server: &Server| format!("{{ servers: [\"nats://{}\"], user: app, password_file: app }}", server.address);
    let config = format!(
        "defaults: {{ interval: 500ms, timeout: 3s, interval_when_down: 250ms, failures_to_trigger: 1 }}
nats: {{ primary: {}, dr: {} }}
contracts:
  - name: nats-streams
    component: NATS Streams
    owner: ops
    priority: P0
    rto: 1m
    rpo: 30s
    checks:
      - name: agentese
        nats_mirror: {{ origin: {{ nats: primary, stream: {ORIGIN} }}, mirror: {{ nats: dr, stream: {MIRROR} }} }}
drills:
  - {{ name: stream-failover, every: quarterly, contracts: [nats-streams] }}
  - {{ name: mirror-lag, kind: check, every: weekly, checks: [nats-streams/agentese] }}
",
        side(&pair.primary),
        side(&pair.dr)
    );
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, super::SOON).await;
    let rig = Rig::start_on(dr_testkit::exporter::Config::new(&config).with("app", "app\n")).await;
    rig.until("the exporter has verified the mirror by itself", async |rig| {
        rig.metric("dr_drill_overdue", "{drill=\"mirror-lag\",kind=\"check\"}").await == Some(0.0)
    })
    .await;
    let run = rig.order("drills", json!({"drill": "stream-failover", "by": "ops"})).await;
    let id = run["id"].as_str().expect("an id").to_owned();
    let start = Instant::now();
    pair.primary.kill();
    rig.until("the clock runs", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    let failing = start.elapsed();
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    let promoted = start.elapsed();
    rig.until("it recovers", async |rig| {
        rig.get(&format!("drills/{id}")).await["recoveries"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await;
    let over = start.elapsed();
    let ended = rig.order(&format!("drills/{id}/finish"), json!({"by": "ops"})).await;
    assert_eq!(ended["ended"]["outcome"], "passed", "{ended}");
    let report = rig.get(&format!("drills/{id}/report")).await;
    let recovery = &report["contracts"][0]["recoveries"][0];
    let downtime = Duration::from_secs_f64(recovery["downtime_seconds"].as_f64().expect("a downtime"));
    let within = promoted.saturating_sub(failing)..=over + SLACK;
    assert!(within.contains(&(downtime + SLACK)), "{downtime:?}, by the stopwatch {within:?}");
    let at_risk = recovery["data_at_risk_seconds"].as_f64().expect("data at risk");
    assert!(at_risk < 30.0 && recovery["known_at_risk_seconds"].as_f64() <= Some(at_risk), "{recovery}");
}
