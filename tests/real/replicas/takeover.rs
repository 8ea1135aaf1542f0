//! The leader goes, and another replica continues where it was.

use serde_json::{Value, json};

use super::{Rig, SOON, seconds, trigger};
use dr_testkit::{let_pass, wait_until};
use std::time::Duration;

/// The facts of a kind.
fn facts<'a>(record: &'a [Value], what: &'a str) -> Vec<&'a Value> {
    record.iter().filter(|fact| fact["what"] == json!(what)).collect()
}

/// The component fails. All three see it, and the leader records it. Returns the trigger that it recorded.
async fn outage(rig: &Rig, leader: usize) -> Value {
    rig.service.well(false);
    rig.until("all three see the outage", async |rig| {
        for replica in &rig.replicas {
            if trigger(replica).await.is_none() {
                return false;
            }
        }
        true
    })
    .await;
    rig.until("the outage is recorded", async |rig| facts(&rig.replicas[leader].record().await, "outage").len() == 1)
        .await;
    facts(&rig.replicas[leader].record().await, "outage")[0]["trigger"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_in_an_outage_keeps_the_first_trigger_and_gives_one_recovery() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let down = dr_testkit::prometheus::unix();
    let first = outage(&rig, leader).await;
    rig.replicas[leader].exporter.kill();
    let next = rig.leader_of(&rig.others(leader)).await;
    rig.until("the new leader took over", async |rig| {
        !facts(&rig.replicas[next].record().await, "took_over").is_empty()
    })
    .await;
    let runs_since = trigger(&rig.replicas[next]).await.expect("the clock runs");
    // The earlier one of the two that were measured.
    let kept = |trigger: f64| (down..seconds(&first) + 0.1).contains(&trigger);
    assert!(kept(seconds(&json!(runs_since))), "{runs_since}, and first {first}");
    rig.service.well(true);
    rig.until("the recovery is stored", async |rig| !rig.replicas[next].recoveries().await.is_empty()).await;
    // The one that was killed comes back, and everybody tells the same.
    rig.replicas[leader].exporter.restart().await;
    let_pass(Duration::from_secs(6)).await;
    for replica in &rig.replicas {
        let recoveries = replica.recoveries().await;
        assert_eq!(recoveries.len(), 1, "{recoveries:?}");
        assert!(kept(seconds(&recoveries[0]["trigger"])), "{recoveries:?} {first}");
        let record = replica.record().await;
        assert_eq!((facts(&record, "outage").len(), facts(&record, "recovery").len()), (1, 1), "{record:?}");
        let scrape = replica.get("status").await;
        let counted = &scrape["contracts"][0]["recoveries"];
        let total: u64 = counted.as_array().expect("counts").iter().filter_map(|one| one["count"].as_u64()).sum();
        assert_eq!(total, 1, "{counted}");
    }
    assert!(rig.verify(next).starts_with("ok"), "{}", rig.verify(next));
}

/// The leader is frozen in an outage, the next one takes over and is lost, and the first one thaws.
#[tokio::test(flavor = "multi_thread")]
async fn two_leaders_that_go_in_one_outage_leave_one_recovery() {
    let mut rig = Rig::start("200ms").await;
    let first = rig.leader().await;
    let recorded = outage(&rig, first).await;
    rig.replicas[first].exporter.freeze();
    let second = rig.leader_of(&rig.others(first)).await;
    rig.until("the second took over", async |rig| !facts(&rig.replicas[second].record().await, "took_over").is_empty())
        .await;
    rig.replicas[second].exporter.kill();
    rig.replicas[first].exporter.thaw();
    let left: Vec<_> = rig.others(second);
    let third = rig.leader_of(&left).await;
    rig.until("a third term began", async |rig| facts(&rig.replicas[third].record().await, "took_over").len() >= 2)
        .await;
    rig.service.well(true);
    rig.until("the recovery is stored", async |rig| !rig.replicas[third].recoveries().await.is_empty()).await;
    rig.replicas[second].exporter.restart().await;
    rig.until("all three know it", async |rig| {
        for replica in &rig.replicas {
            if replica.recoveries().await.is_empty() {
                return false;
            }
        }
        true
    })
    .await;
    // Longer than a follower waits until it hands over what the leader has not recorded.
    let_pass(Duration::from_secs(7)).await;
    for replica in &rig.replicas {
        let (recoveries, record) = (replica.recoveries().await, replica.record().await);
        assert_eq!(recoveries.len(), 1, "{recoveries:?}");
        let apart = seconds(&recoveries[0]["trigger"]) - seconds(&recorded);
        assert!(apart < 0.1, "{recoveries:?} {recorded}");
        let counts = [facts(&record, "outage").len(), facts(&record, "recovery").len()];
        assert_eq!(counts, [1, 1], "{record:?}");
    }
    assert!(rig.verify(third).starts_with("ok"));
}

/// In the middle of a change of the configuration, a follower has a contract that the leader does not
/// have yet. What it measures is recorded when the leader has it.
#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_of_a_contract_that_the_leader_lacks_is_not_lost() {
    let rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let follower = &rig.replicas[rig.others(leader)[0]];
    let db = dr_testkit::service::Service::start().await;
    let with_db = async |replica: &super::Replica| {
        let config = replica.exporter.config();
        let file = config.path("config.yaml");
        let yaml = std::fs::read_to_string(&file).expect("a file");
        let contract = db.contract("db", "3s").replace("failures_to_trigger: 3", "failures_to_trigger: 2");
        config.file("config.yaml", &yaml.replace("\nincidents:", &format!("\n{contract}\nincidents:")));
        let reload = dr_testkit::exporter::client().post(replica.exporter.url("/-/reload"));
        let reload = reload.basic_auth(super::USER, Some(super::PASSWORD)).send().await.expect("an answer");
        assert_eq!(reload.status(), 200);
    };
    with_db(follower).await;
    let has = async |replica: &super::Replica, healthy: bool| {
        let status = replica.get("status").await;
        let db = &status["contracts"][1];
        let outcome = &db["checks"][0]["last_run"]["outcome"];
        db["name"] == json!("db") && (*outcome == json!("healthy")) == healthy && !outcome.is_null()
    };
    rig.until("the follower measures it", async |_| has(follower, true).await).await;
    db.well(false);
    rig.until("it sees the outage", async |_| {
        follower.get("status").await["contracts"][1]["outage"]["trigger"].is_string()
    })
    .await;
    db.well(true);
    rig.until("it sees the end", async |_| has(follower, true).await).await;
    rig.until("it was handed to the leader", async |rig| {
        rig.replicas[leader].exporter.log().contains("a contract that this one does not have")
    })
    .await;
    with_db(&rig.replicas[leader]).await;
    rig.until("the recovery is stored", async |rig| {
        let known = rig.replicas[leader].recoveries().await;
        known.len() == 1 && known[0]["contract"] == json!("db")
    })
    .await;
    let record = rig.replicas[leader].record().await;
    assert_eq!(facts(&record, "recovery").len(), 1, "{record:?}");
    assert!(rig.verify(leader).starts_with("ok"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_hands_the_lead_over_at_once() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    rig.replicas[leader].exporter.process().signal("TERM");
    rig.replicas[leader].exporter.process().wait(SOON).expect("it ends");
    let next = rig.leader_of(&rig.others(leader)).await;
    wait_until("both are recorded", SOON, async || {
        let record = rig.replicas[next].record().await;
        // A replica that has not heard the other one lead yet begins as after a start.
        let goes_on = |fact: &Value| fact["what"] == "took_over" || fact["what"] == "started";
        record.iter().skip_while(|fact| fact["what"] != "stopped").any(goes_on).then_some(())
    })
    .await;
}

/// The leader is killed again and again while the record grows: the chain is whole, and all replicas
/// have the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_between_entries_leaves_a_whole_chain() {
    let mut rig = Rig::start("200ms").await;
    for round in 0..3_u64 {
        let leader = rig.leader().await;
        let body = json!({"incident": "region_outage", "by": "oncall", "reason": "a test"});
        let (status, told) = rig.replicas[leader].post("incidents", &body).await;
        assert!(status == 201 || status == 200, "{status} {told}");
        for note in 0..5 {
            let body = json!({"by": "oncall", "text": format!("round {round}, note {note}")});
            let notes = rig.replicas[leader].post("incidents/region_outage/notes", &body);
            if note == 4 {
                // In the middle of the last one.
                let _ = tokio::time::timeout(Duration::from_millis(round * 2), notes).await;
            } else {
                assert_eq!(notes.await.0, 201);
            }
        }
        rig.replicas[leader].exporter.kill();
        rig.replicas[leader].exporter.restart().await;
        rig.leader().await;
    }
    let leader = rig.leader().await;
    assert!(rig.verify(leader).starts_with("ok"));
    rig.until("all have the same record", async |rig| {
        let (a, b, c) = (rig.replicas[0].record(), rig.replicas[1].record(), rig.replicas[2].record());
        let (a, b, c) = tokio::join!(a, b, c);
        a == b && b == c && a.iter().filter(|fact| fact["what"] == json!("note")).count() >= 12
    })
    .await;
}
