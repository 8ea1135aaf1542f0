//! Orders of people, and what happens while the storage is away.

use std::time::Duration;

use dr_testkit::let_pass;
use serde_json::{Value, json};

use super::{Rig, trigger};

fn declaration() -> Value {
    json!({"incident": "region_outage", "by": "oncall", "reason": "the region does not answer"})
}

pub(super) fn count(record: &[Value], what: &str) -> usize {
    record.iter().filter(|fact| fact["what"] == json!(what)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_declarations_at_once_on_two_replicas_are_one_incident() {
    let rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    let others = rig.others(leader);
    let (a, b, body) = (&rig.replicas[others[0]], &rig.replicas[others[1]], declaration());
    let ((first, one), (second, two)) = tokio::join!(a.post("incidents", &body), b.post("incidents", &body));
    let mut both = [first, second];
    both.sort_unstable();
    assert_eq!(both, [200, 201], "{one} {two}");
    assert_eq!(one["id"], two["id"], "one incident");
    rig.until("all three know it, and their clocks run", async |rig| {
        for replica in &rig.replicas {
            let status = replica.get("status").await;
            if status["incidents"].as_array().is_none_or(|open| open.len() != 1) || trigger(replica).await.is_none() {
                return false;
            }
        }
        true
    })
    .await;
    // A refusal comes back, too.
    let (status, told) =
        a.post("incidents", &json!({"incident": "region_outage", "by": "nobody", "reason": "x"})).await;
    assert_eq!(status, 403, "{told}");
    let close = json!({"by": "oncall"});
    let (status, told) = b.post("incidents/region_outage/close", &close).await;
    assert_eq!(status, 200, "{told}");
    rig.until("no clock runs", async |rig| {
        for replica in &rig.replicas {
            if trigger(replica).await.is_some() {
                return false;
            }
        }
        true
    })
    .await;
    let record = rig.replicas[leader].record().await;
    let counts = ["declared", "joined", "closed", "recovery"].map(|what| count(&record, what));
    assert_eq!(counts, [1, 1, 1, 0], "{record:?}");
}

/// While the storage is away everything is measured on in memory, and nothing is doubled after.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cut_off_measures_on_and_doubles_nothing() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    rig.replicas[leader].cut().await;
    let next = rig.leader_of(&rig.others(leader)).await;
    let well = async |rig: &Rig, well: bool| {
        rig.service.well(well);
        rig.until("all three see it", async |rig| {
            for replica in &rig.replicas {
                if trigger(replica).await.is_some() == well {
                    return false;
                }
            }
            true
        })
        .await;
    };
    well(&rig, false).await;
    let (status, told) = rig.replicas[leader].post("incidents", &declaration()).await;
    assert_eq!(status, 503, "an order that cannot be stored is refused: {told}");
    well(&rig, true).await;
    rig.until("the recovery is stored", async |rig| rig.replicas[next].recoveries().await.len() == 1).await;
    // The other way round: this one is seen while nobody can store.
    for index in 0..3 {
        rig.replicas[index].cut().await;
    }
    let_pass(Duration::from_secs(1)).await;
    well(&rig, false).await;
    let_pass(Duration::from_secs(1)).await;
    well(&rig, true).await;
    for index in 0..3 {
        rig.replicas[index].heal().await;
    }
    rig.until("both recoveries are stored, everywhere", async |rig| {
        for replica in &rig.replicas {
            if replica.recoveries().await.len() != 2 {
                return false;
            }
        }
        true
    })
    .await;
    let_pass(Duration::from_secs(8)).await;
    for replica in &rig.replicas {
        assert_eq!(replica.recoveries().await.len(), 2, "nothing is doubled later");
    }
    let leader = rig.leader().await;
    assert_eq!(count(&rig.replicas[leader].record().await, "recovery"), 2);
    assert!(rig.verify(leader).starts_with("ok"));
}

/// The state in the log is condensed, and a replica that starts after that knows everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_storage_may_go() {
    let mut rig = Rig::start("200ms").await;
    let stream = dr_testkit::cluster::leader(&rig.api, "dr_exporter").await;
    rig.servers[stream].kill();
    rig.service.well(false);
    rig.until("an outage is recorded", async |rig| {
        let leader = rig.leader().await;
        count(&rig.replicas[leader].record().await, "outage") == 1
    })
    .await;
    rig.service.well(true);
    rig.until("and the recovery", async |rig| {
        let leader = rig.leader().await;
        rig.replicas[leader].recoveries().await.len() == 1
    })
    .await;
    rig.servers[stream].run();
}
