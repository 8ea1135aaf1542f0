//! Two replicas never both write.

use std::time::{Duration, Instant};

use dr_exporter::store::{Backend as _, StoreError};
use serde_json::json;

use super::stores::{TAKEOVER, blocking, entry, keys, server, store};
use super::{Rig, trigger};
use crate::storage::stream_on;

/// A leader that heard nothing for a while believes that it leads. The log refuses what it writes.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_replaced_writes_nothing() {
    let server = server().await;
    let written = blocking(move || {
        let (settings, mut old) = store(&server, "old");
        old.turn().expect("a turn");
        old.save(&entry("a")).expect("it leads");
        let (_, mut new) = store(&server, "new");
        new.turn().expect("a turn");
        assert!(matches!(new.save(&entry("b")), Err(StoreError::NotLeading)), "the other one leads");
        // Longer than the silence that a young replica waits for.
        let deadline = Instant::now() + dr_testkit::PATIENCE;
        loop {
            std::thread::sleep(TAKEOVER + Duration::from_millis(500));
            new.turn().expect("a turn");
            match new.save(&entry("c")) {
                Err(StoreError::NotLeading) if Instant::now() < deadline => {}
                saved => break saved.expect("it takes the lead"),
            }
        }
        // The old one has heard of nothing, and writes.
        let refused = old.save(&entry("d"));
        assert!(matches!(refused, Err(StoreError::NotLeading)), "{refused:?}");
        let turn = old.turn().expect("a turn").expect("a shared store");
        assert!(!turn.share.standing.leads && turn.share.standing.leader.as_deref() == Some("new"));
        new.save(&entry("e")).expect("it still leads");
        keys(&settings)
    });
    assert_eq!(written.await, ["a", "c", "e"]);
}

/// A stream that would forget is refused: exit code 78.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_forgets_is_refused() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    api.create(json!({"name": "dr_exporter", "subjects": ["dr_exporter.>"], "storage": "file", "num_replicas": 1,
        "discard": "new", "allow_rollup_hdrs": true, "max_age": 3_600_000_000_000_u64}))
        .await;
    let settings = stream_on(&server.address.to_string(), "a", 1);
    let told = blocking(move || settings.open().map(drop).expect_err("refused")).await;
    assert!(told.is_final() && told.to_string().contains("max_age"), "{told}");
}

/// The leader is frozen, another takes over, and the first one thaws: it follows.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_thaws_follows() {
    let rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    rig.replicas[leader].exporter.freeze();
    rig.service.well(false);
    let next = rig.leader_of(&rig.others(leader)).await;
    rig.until("it sees the outage", async |rig| trigger(&rig.replicas[next]).await.is_some()).await;
    rig.service.well(true);
    rig.until("the recovery is stored", async |rig| rig.replicas[next].recoveries().await.len() == 1).await;
    rig.replicas[leader].exporter.thaw();
    rig.until("it knows the recovery", async |rig| rig.replicas[leader].recoveries().await.len() == 1).await;
    let leader_now = rig.leader().await;
    assert_eq!(leader_now, next);
    let status = rig.replicas[leader].get("status").await;
    assert_eq!(status["storage"]["replica"]["leads"], json!(false), "{status}");
    assert!(rig.verify(next).starts_with("ok"));
}

/// Flags with which replicas could not work together.
#[test]
fn a_nameless_replica_and_a_hasty_takeover_are_refused() {
    let refused = |flag: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        let output = command.args(["serve", "--config.file=none.yaml", flag]).output().expect("the program runs");
        String::from_utf8(output.stderr).expect("text")
    };
    for name in ["", " ", "a\nb"] {
        let told = refused(&format!("--storage.replica={name}"));
        assert!(told.contains("expected a name"), "{told}");
    }
    for duration in ["1ms", "999ms"] {
        let told = refused(&format!("--storage.takeover-after={duration}"));
        assert!(told.contains("expected 1s or more"), "{told}");
    }
    let told = refused("--storage.takeover-after=1s");
    assert!(told.contains("none.yaml"), "{told}");
}
