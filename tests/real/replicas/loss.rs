//! Messages of the stream are lost, or all of it, or something stands there that no replica wrote.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dr_exporter::domain::remembered::RememberedClock;
use dr_exporter::store::jetstream::JetStream;
use dr_exporter::store::record::{Entry, Fact};
use dr_exporter::store::{Backend as _, Batch, StoreError};
use dr_testkit::nats::{self, Server};
use serde_json::{Value, json};

use super::stores::{
    Led, STREAM, TAKEOVER, blocking, damage, entry, history, keys, last, leads, save, store, turn_until, wait,
};
use super::{Rig, SOON};
use crate::storage::{stream_as, stream_on};

/// A replica that restarts after a deletion finds nothing. It leaves the stream to those who know.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_written_again_by_one_that_knows() {
    blocking(|| {
        let Led { server, api, mut old, .. } = Led::with(&["a", "b", "c"]);
        let term = old.turn().expect("a turn").expect("shared").share.standing.term;
        let head = old.head().expect("a head");
        wait(api.delete(STREAM));
        let settings = stream_on(&server.address.to_string(), "new", 1);
        let (takeover_after, founding_after) = (Duration::from_millis(900), Duration::from_millis(900));
        let settings = JetStream { takeover_after, founding_after, ..settings };
        let mut new = settings.open().expect("it makes the stream");
        let turn = new.turn().expect("a turn").expect("shared");
        assert!(!turn.share.standing.leads, "others may know what the stream held");
        turn_until(old.as_mut(), |_, turn| turn.share.standing.leads && turn.share.standing.term > term);
        assert_eq!(old.head().expect("a head"), head, "the same record");
        save(old.as_mut(), &["d"]);
        turn_until(new.as_mut(), |new, _| new.head().expect("a head") != head);
        assert_eq!(keys(&settings), ["a", "b", "c", "d"]);
        assert_eq!(new.head().expect("a head"), old.head().expect("a head"));
    })
    .await;
}

/// More than one message holds is written again in several, in the same order.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_record_is_written_again_in_parts() {
    blocking(|| {
        let Led { server: _server, api, settings, mut old } = Led::with(&[]);
        for key in ["a", "b", "c", "d", "e"] {
            let Batch { entries, .. } = entry(key);
            let version = key.repeat(200_000);
            let long = |entry| Entry { fact: Fact::Started { version: version.clone(), silent_since: None }, ..entry };
            let entries = entries.into_iter().map(long).collect();
            old.save(&Batch { entries, ..Batch::default() }).expect("it leads");
        }
        let head = old.head().expect("a head");
        wait(api.delete(STREAM));
        leads(old.as_mut());
        assert_eq!(keys(&settings), ["a", "b", "c", "d", "e"]);
        assert_eq!(old.head().expect("a head"), head, "the same record");
        assert!(history(&api).len() > 1, "a server refuses a message of a megabyte");
    })
    .await;
}

/// Somebody began another history in the place of the one that was deleted. Whoever knows the first
/// one follows no other, says so, and writes it again when that one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_told_and_not_followed() {
    blocking(|| {
        let Led { server, api, mut old, .. } = Led::with(&["a"]);
        wait(api.delete(STREAM));
        let (settings, mut new) = store(&server, "new");
        leads(new.as_mut());
        save(new.as_mut(), &["x"]);
        let told = old.save(&entry("b")).expect_err("another stream").to_string();
        assert!(told.contains("replaced"), "{told}");
        let told = old.turn().expect_err("another history").to_string();
        assert!(told.contains("replaced") && told.contains("delete the stream"), "{told}");
        assert_eq!(keys(&settings), ["x"]);
        drop(new);
        wait(api.delete(STREAM));
        let begin = Instant::now();
        leads(old.as_mut());
        assert!(begin.elapsed() < Duration::from_secs(40), "only the refused stream is left alone for a minute");
        assert_eq!(keys(&settings), ["a"]);
    })
    .await;
}

/// A follower that has not read the last entry does not write its shorter past before the leader does.
#[tokio::test(flavor = "multi_thread")]
async fn the_leader_writes_again_first() {
    blocking(|| {
        let Led { server, api, settings, mut old } = Led::with(&["a"]);
        let (_, mut new) = store(&server, "new");
        new.turn().expect("a turn");
        save(old.as_mut(), &["b"]);
        wait(api.delete(STREAM));
        assert!(new.turn().is_err(), "it waits");
        let turn = old.turn().expect("it writes again at once").expect("shared");
        assert!(turn.share.standing.leads);
        turn_until(new.as_mut(), |new, _| new.head().expect("a head").seq == 2);
        assert_eq!(keys(&settings), ["a", "b"]);
    })
    .await;
}

/// A replica wrote a part again, and is gone. Nobody takes the part for the whole, or writes after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_half_written_is_left_alone() {
    blocking(|| {
        let Led { server, api, mut old, .. } = Led::with(&["a"]);
        let clocks = BTreeMap::from([("api".to_owned(), RememberedClock::default())]);
        old.save(&Batch { clocks, ..Batch::default() }).expect("it leads");
        wait(api.delete(STREAM));
        let settings = stream_on(&server.address.to_string(), "new", 1);
        let settings = JetStream { takeover_after: TAKEOVER, founding_after: Duration::ZERO, ..settings };
        drop(settings.open().expect("it makes the stream"));
        let part = json!({"batch": entry("a"), "left": 1});
        let part = json!({"v": 1, "by": "gone", "id": 1, "before": 0, "again": part}).to_string();
        wait(api.publish("dr_exporter.log", &part)).expect("stored");
        let mut new = settings.open().expect("opened");
        for store in [&mut old, &mut new] {
            let told = store.turn().expect_err("a part").to_string();
            assert!(told.contains("is not done"), "{told}");
        }
        let told = new.save(&entry("x")).expect_err("a part").to_string();
        assert!(told.contains("is not done"), "{told}");
        assert_eq!(last(&api), 1, "nobody wrote after it");
        wait(api.delete(STREAM));
        leads(old.as_mut());
        let head = old.head().expect("a head");
        turn_until(new.as_mut(), |new, _| new.head().expect("a head") == head);
        assert_eq!(keys(&settings), ["a"]);
        assert!(settings.load().expect("read").clocks.contains_key("api"), "what the part lacks is not lost");
    })
    .await;
}

/// A message that no replica wrote is set aside and told, and everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_is_set_aside() {
    blocking(|| {
        let Led { server, api, settings, mut old } = Led::with(&[]);
        for subject in ["dr_exporter.log", "dr_exporter.state", "dr_exporter.leader", "dr_exporter.other"] {
            wait(api.publish(subject, "hello")).expect("stored");
        }
        turn_until(old.as_mut(), |old, _| damage(old).count == 4);
        save(old.as_mut(), &["a", "b"]);
        let (_, mut new) = store(&server, "new");
        new.turn().expect("a turn");
        let told = damage(new.as_mut());
        assert!(told.count == 4 && told.to_string().contains("no replica wrote it"), "{told}");
        assert_eq!(settings.damage().expect("read").count, 4);
        assert_eq!(keys(&settings), ["a", "b"]);
        // It is counted, so that one that is missing is missed.
        wait(api.delete_message(STREAM, history(&api)[1]));
        turn_until(old.as_mut(), |old, _| damage(old).count == 5);
    })
    .await;
}

/// A message of history that somebody deleted is missed by a replica that runs, and by one that starts.
/// One that still knows it can write everything again, and the others follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_missed() {
    blocking(|| {
        let Led { server, api, settings, mut old } = Led::with(&["a", "b", "c"]);
        let second = history(&api)[1];
        wait(api.delete_message(STREAM, second));
        turn_until(old.as_mut(), |old, _| damage(old).count == 1);
        assert!(damage(old.as_mut()).to_string().contains("delete the stream"), "{}", damage(old.as_mut()));
        save(old.as_mut(), &["d"]);
        let (_, mut new) = store(&server, "new");
        let told = damage(new.as_mut()).to_string();
        assert!(told.contains(&format!("message {second} is missing")), "{told}");
        let verified = settings.verify(None).expect("read");
        assert!(verified.is_err_and(|broken| broken.to_string().contains(&format!("message {second} "))));
        wait(api.delete(STREAM));
        leads(old.as_mut());
        turn_until(new.as_mut(), |new, _| damage(new).count == 0);
        assert_eq!(new.head().expect("a head"), old.head().expect("a head"));
        assert_eq!(keys(&settings), ["a", "b", "c", "d"]);
        assert_eq!((damage(old.as_mut()).count, settings.damage().expect("read").count), (0, 0));
    })
    .await;
}

/// The last message of all is deleted, or everything, while no replica runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_is_missed() {
    blocking(|| {
        let Led { server: _server, api, settings, old } = Led::with(&["a"]);
        std::mem::forget(old);
        let end = last(&api);
        wait(api.delete_message(STREAM, end));
        let told = settings.damage().expect("read").to_string();
        assert!(told.contains(&format!("message {end}")), "{told}");
        wait(api.purge(STREAM));
        assert!(settings.damage().expect("read").count > 0);
    })
    .await;
}

/// A leader that may renew its lead, and write nothing else, tells all replicas and gives up.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_write_tells_all_and_gives_up() {
    let mut server = Server::new(&nats::current());
    server.configure(&format!(
        "server_name: single\njetstream {{ store_dir: \"{}\" }}
         accounts {{ APP {{ jetstream: enabled, users: [
            {{user: weak, password: app, permissions: {{ publish: {{ deny: [\"dr_exporter.log\", \"dr_exporter.state\"] }} }} }}
            {{user: app, password: app}} ] }} }}\n",
        server.store()
    ));
    server.run();
    server.listens().await;
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "app").expect("written");
    blocking(move || {
        let open = |user: &str| {
            let more = format!(", user: {user}, password_file: \"{}\"", password.path().display());
            let settings = stream_as(&server.address.to_string(), &more, user, 1);
            let settings = JetStream { takeover_after: Duration::from_secs(3), ..settings };
            settings.open().expect("opened")
        };
        let mut weak = open("weak");
        leads(weak.as_mut());
        let mut strong = open("app");
        strong.turn().expect("a turn");
        let refused = weak.save(&entry("a"));
        assert!(matches!(refused, Err(StoreError::Failed { .. })), "{refused:?}");
        let mut told = false;
        let is_told = |why: &String| why.contains("weak leads, and cannot write");
        let begin = Instant::now();
        loop {
            // It renews its lead, and gives up after three seconds.
            if weak.turn().is_ok_and(|turn| turn.is_some_and(|turn| !turn.share.standing.leads)) {
                break;
            }
            let _ = weak.save(&entry("a"));
            let heard = strong.turn().expect("a turn").expect("shared").share;
            told |= heard.failing.as_ref().is_some_and(is_told);
            assert!(begin.elapsed() < SOON, "it does not give up");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(told, "the other one tells it, too");
        let again = weak.turn().expect("a turn").expect("shared").share;
        assert!(!again.standing.leads, "it lets the others try");
        leads(strong.as_mut());
        save(strong.as_mut(), &["b"]);
        let renewed = strong.turn().expect("a turn").expect("shared").share;
        assert!(renewed.standing.leads && renewed.failing.is_none(), "{renewed:?}");
        drop(server);
    })
    .await;
}

/// All three replicas, with a real exporter: the stream is deleted while one of them is down.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_comes_back_with_its_recoveries() {
    let mut rig = Rig::start("200ms").await;
    let leader = rig.leader().await;
    rig.service.well(false);
    rig.until("the outage runs", async |rig| super::trigger(&rig.replicas[leader]).await.is_some()).await;
    rig.service.well(true);
    rig.until("the recovery is stored", async |rig| rig.replicas[leader].recoveries().await.len() == 1).await;
    let down = rig.others(leader)[0];
    rig.replicas[down].exporter.kill();
    let record = rig.replicas[leader].record().await;
    rig.api.delete("dr_exporter").await;
    rig.replicas[down].exporter.restart().await;
    rig.until("all three know the recovery and the same record", async |rig| {
        let mut records = Vec::new();
        for replica in &rig.replicas {
            if replica.recoveries().await.len() != 1 || replica.get("status").await["storage"]["failing"] != Value::Null
            {
                return false;
            }
            records.push(replica.record().await);
        }
        records.iter().all(|one| one.starts_with(&record) && *one == records[0])
    })
    .await;
    let leader = rig.leader().await;
    assert!(rig.verify(leader).starts_with("ok"));
    let gaps = rig.replicas[leader].record().await;
    let started = gaps.iter().filter(|fact| fact["what"] == json!("started")).count();
    assert_eq!(started, 1, "somebody looked all the time: {gaps:?}");
}
