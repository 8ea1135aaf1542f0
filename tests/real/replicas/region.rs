//! The region with the leader of the storage's stream fails: how long nothing can be written.

use std::time::{Duration, Instant};

use dr_testkit::cluster::leader;
use dr_testkit::{let_pass, wait_until};
use serde_json::{Value, json};

use super::Rig;

/// How often each kind of failure happens. `DR_FAILOVER` names another number.
const ROUNDS: usize = 1;
/// Nothing takes longer on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(90);

/// One server in each of three regions: the one whose server leads the stream is lost, or cut off.
#[tokio::test(flavor = "multi_thread")]
async fn the_storage_outlives_the_region_of_its_leader() {
    let rounds = std::env::var("DR_FAILOVER").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let mut rig = Rig::start("200ms").await;
    for fault in ["killed", "frozen"] {
        let mut took = Vec::new();
        for _ in 0..rounds {
            let lost = leader(&rig.api, "dr_exporter").await;
            let begin = Instant::now();
            if fault == "killed" {
                rig.servers[lost].kill()
            } else {
                rig.servers[lost].freeze()
            }
            let mut before = None;
            // The first message that a new leader of the stream stored.
            wait_until("a message is written", SOON, async || {
                let info = rig.api.info("dr_exporter").await.ok()?;
                let now = info["state"]["last_seq"].as_u64()?;
                let is_new = info["cluster"]["leader"].as_str() != Some(&format!("shared-{lost}"));
                let first = is_new.then(|| *before.get_or_insert(now));
                first.is_some_and(|first| now > first).then_some(())
            })
            .await;
            took.push(begin.elapsed().as_secs_f64());
            if fault == "killed" {
                rig.servers[lost].run()
            } else {
                rig.servers[lost].thaw()
            }
            wait_until("all three servers have everything", SOON, async || {
                let info = rig.api.info("dr_exporter").await.ok()?;
                let others = info["cluster"]["replicas"].as_array()?;
                let current = |one: &&Value| one["current"] == json!(true) && one["offline"] != json!(true);
                (others.iter().filter(current).count() == 2).then_some(())
            })
            .await;
            let_pass(Duration::from_secs(1)).await;
        }
        took.sort_by(f64::total_cmp);
        let [least, middle, most] = [0, took.len() / 2, took.len() - 1].map(|index| took[index]);
        eprintln!(
            "the server was {fault}, {rounds} times: written again after {least:.1} s, {middle:.1} s, {most:.1} s (least, median, most)"
        );
        assert!(most < SOON.as_secs_f64());
    }
    // Nothing is lost: what is written now continues the same record, on all replicas.
    rig.service.well(false);
    let first = rig.leader().await;
    rig.until("the outage is recorded", async |rig| {
        let record = rig.replicas[first].record().await;
        record.iter().any(|fact| fact["what"] == json!("outage"))
    })
    .await;
    assert!(rig.verify(first).starts_with("ok"));
}
