//! Killed at any time: the chain stays whole, nothing is half-written, and a drill goes on.

use std::time::Duration;

use dr_testkit::let_pass;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use reqwest::Method;
use serde_json::json;

use super::Rig;

/// How often it is killed.
const KILLS: u32 = 12;

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_entries_the_chain_is_whole_and_every_answer_was_kept() {
    let seed = std::env::var("DR_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DR_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut rig = Rig::start().await;
    rig.order("incidents", json!({"incident": "region_outage", "by": "oncall", "reason": "torture"})).await;
    let (mut kept, mut last) = (0, 0);
    for kill in 0..KILLS {
        rig.service.well(kill % 2 == 0);
        // Notes as fast as they are taken, while it is killed at some time.
        let url = rig.exporter.url("/api/v1/incidents/region_outage/notes");
        let writer = tokio::spawn(async move {
            let mut written = 0;
            loop {
                let body = json!({"by": "bob", "text": format!("{kill}/{written}")});
                let request = dr_testkit::exporter::client().post(&url).basic_auth(super::USER, Some(super::PASSWORD));
                match request.json(&body).send().await {
                    Ok(answer) if answer.status() == 201 => written += 1,
                    Ok(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    Err(_) => return written,
                }
            }
        });
        let_pass(Duration::from_millis(random.random_range(50..700))).await;
        rig.kill_and_restart().await;
        kept += writer.await.expect("the writer ends");
        assert!(rig.verified().seq >= last, "after {kill} kills the record is shorter");
        // A start is recorded, if not at once.
        rig.until("the record has grown", async |rig| rig.verified().seq > last).await;
        last = rig.verified().seq;
        let incident = rig.get("incidents/region_outage").await;
        let notes = incident["review"]["notes"].as_array().expect("a list").len();
        let recorded = notes_in_the_record(&rig).await;
        assert_eq!(notes, recorded, "the state and the record are one");
        assert!(notes >= kept, "after {kill} kills: {kept} were answered, {notes} are kept");
    }
    assert!(kept > 0);
    eprintln!("{KILLS} kills: {kept} notes, {last} entries");
}

async fn notes_in_the_record(rig: &Rig) -> usize {
    let (mut after, mut notes) = (0, 0);
    loop {
        let page = rig.get(&format!("record?after={after}&limit=1000")).await;
        let entries = page["entries"].as_array().expect("a list");
        let Some(last) = entries.last() else { return notes };
        after = last["seq"].as_i64().expect("a number");
        notes += entries
            .iter()
            .filter(|one| one["body"].as_str().is_some_and(|body| body.contains("\"what\":\"note\"")))
            .count();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_goes_on_after_a_crash_in_its_middle() {
    let mut rig = Rig::start().await;
    let run = rig.order("drills", json!({"drill": "failover", "by": "ops"})).await;
    let id = run["id"].as_str().expect("an id").to_owned();
    rig.service.well(false);
    rig.until("the clock runs", async |rig| !rig.get("status").await["contracts"][0]["outage"].is_null()).await;
    let trigger = rig.get("status").await["contracts"][0]["outage"]["trigger"].clone();
    rig.kill_and_restart().await;
    let outage = rig.get("status").await["contracts"][0]["outage"].clone();
    assert_eq!((&outage["mode"], &outage["trigger"]), (&json!("drill"), &trigger));
    let (status, _) = rig.ask(Method::POST, &format!("drills/{id}/finish"), Some(json!({"by": "ops"})), &[]).await;
    assert_eq!(status, 409, "it is still down");
    rig.kill_and_restart().await;
    rig.service.well(true);
    rig.until("it recovers", async |rig| {
        rig.get(&format!("drills/{id}")).await["recoveries"].as_array().is_some_and(|all| all.len() == 1)
    })
    .await;
    let ended = rig.order(&format!("drills/{id}/finish"), json!({"by": "ops", "text": "well done"})).await;
    assert_eq!(ended["ended"]["outcome"], "passed", "{ended}");
    rig.kill_and_restart().await;
    assert_eq!(rig.get(&format!("drills/{id}")).await["ended"]["outcome"], "passed");
    assert_eq!(rig.metric("dr_drill_overdue", "{drill=\"failover\",kind=\"recovery\"}").await, Some(0.0));
    assert_eq!(rig.metric("dr_recoveries_total", "{contract=\"api\",result=\"met\",mode=\"drill\"}").await, Some(1.0));
    let status = rig.get("status").await;
    assert_eq!(status["contracts"][0]["objectives"][0]["status"], "met", "a drill proves the RTO: {status}");
    rig.verified();
}
