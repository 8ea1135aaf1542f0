//! The leader goes, and another replica continues where it was.

use serde_json::json;

use super::{Rig, SOON, seconds, trigger};
use dr_testkit::{let_pass, wait_until};
use std::time::Duration;

/// The facts of a kind.
fn facts<'a>(record: &'a [serde_json::Value], what: &'a str) -> Vec<&'a serde_json::Value> {
    record.iter().filter(|fact| fact["what"] == json!(what)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_in_an_outage_keeps_the_first_trigger_and_gives_one_recovery() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let down = dr_testkit::prometheus::unix();
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
    let recorded = |record: &[serde_json::Value]| facts(record, "outage").len();
    rig.until("the outage is recorded", async |rig| recorded(&rig.replicas[leader].record().await) == 1).await;
    let first = facts(&rig.replicas[leader].record().await, "outage")[0]["trigger"].clone();
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
        let goes_on = |fact: &serde_json::Value| fact["what"] == "took_over" || fact["what"] == "started";
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
