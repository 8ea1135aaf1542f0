//! Messages of the stream are lost, or all of it, or something stands there that no replica wrote.

use std::time::Duration;

use dr_exporter::store::damage::Damage;
use dr_exporter::store::jetstream::JetStream;
use dr_exporter::store::record::EntryQuery;
use dr_exporter::store::shared::Turn;
use dr_exporter::store::{Backend, Store, StoreError};
use dr_testkit::nats::{self, Api, Server};
use serde_json::{Value, json};

use super::fencing::{entry, server, store};
use super::{Rig, SOON};
use crate::storage::stream_as;

/// Runs what waits for servers itself.
async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

/// Takes turns until one is as it is wanted. Returns the last error, if turns failed before.
fn turn_until(store: &mut dyn Store, wanted: impl Fn(&mut dyn Store, &Turn) -> bool) -> Option<String> {
    let (begin, mut told) = (std::time::Instant::now(), None);
    while begin.elapsed() < SOON {
        match store.turn() {
            Ok(Some(turn)) if wanted(store, &turn) => return told,
            Ok(_) => {}
            Err(error) => told = Some(error.to_string()),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("no turn is as it should be; the last error: {told:?}");
}

fn leads(store: &mut dyn Store) {
    turn_until(store, |_, turn| turn.share.standing.leads);
}

fn keys(settings: &JetStream) -> Vec<String> {
    let links = settings.entries(&EntryQuery { after: 0, limit: 100 }).expect("entries");
    assert!(settings.verify(None).expect("read").is_ok(), "a whole chain");
    links.into_iter().map(|link| link.key).collect()
}

/// The sequences of the messages of history.
async fn history(api: &Api) -> Vec<u64> {
    let mut found = Vec::new();
    for sequence in 1..=api.last_seq("dr_exporter").await.expect("a stream") {
        let message = api.call("STREAM.MSG.GET.dr_exporter", json!({ "seq": sequence })).await;
        if message.is_ok_and(|message| message["message"]["subject"] == json!("dr_exporter.log")) {
            found.push(sequence);
        }
    }
    found
}

fn damage(store: &mut dyn Store) -> Damage {
    store.damage().expect("read")
}

/// A replica that restarts after a deletion finds nothing. It leaves the stream to those who know.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_deleted_is_written_again_by_one_that_knows() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    let (server, mut old, term, head) = blocking(move || {
        let (_, mut old) = store(&server, "old");
        leads(old.as_mut());
        for key in ["a", "b", "c"] {
            old.save(&entry(key)).expect("it leads");
        }
        let term = old.turn().expect("a turn").expect("shared").share.standing.term;
        let head = old.head().expect("a head");
        (server, old, term, head)
    })
    .await;
    api.delete("dr_exporter").await;
    blocking(move || {
        let settings = crate::storage::stream_on(&server.address.to_string(), "new", 1);
        let (takeover_after, founding_after) = (Duration::from_millis(900), Duration::from_millis(900));
        let settings = JetStream { takeover_after, founding_after, ..settings };
        let mut new = settings.open().expect("it makes the stream");
        let turn = new.turn().expect("a turn").expect("shared");
        assert!(!turn.share.standing.leads, "others may know what the stream held");
        turn_until(old.as_mut(), |_, turn| turn.share.standing.leads && turn.share.standing.term > term);
        assert_eq!(old.head().expect("a head"), head, "the same record");
        old.save(&entry("d")).expect("it leads");
        turn_until(new.as_mut(), |new, _| new.head().expect("a head") != head);
        assert_eq!(keys(&settings), ["a", "b", "c", "d"]);
        assert_eq!(new.head().expect("a head"), old.head().expect("a head"));
    })
    .await;
}

/// Somebody began another history in the place of the one that was deleted. Whoever knows the first
/// one follows no other, says so, and writes it again when that one is gone.
#[tokio::test(flavor = "multi_thread")]
async fn another_history_is_told_and_not_followed() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    let (server, mut old) = blocking(move || {
        let (_, mut old) = store(&server, "old");
        leads(old.as_mut());
        old.save(&entry("a")).expect("it leads");
        (server, old)
    })
    .await;
    api.delete("dr_exporter").await;
    let (server, settings, mut old) = blocking(move || {
        let (settings, mut new) = store(&server, "new");
        leads(new.as_mut());
        new.save(&entry("x")).expect("it leads");
        let told = old.save(&entry("b")).expect_err("another stream").to_string();
        assert!(told.contains("replaced"), "{told}");
        let told = old.turn().expect_err("another history").to_string();
        assert!(told.contains("replaced") && told.contains("delete the stream"), "{told}");
        assert_eq!(keys(&settings), ["x"]);
        drop(new);
        (server, settings, old)
    })
    .await;
    api.delete("dr_exporter").await;
    blocking(move || {
        leads(old.as_mut());
        assert_eq!(keys(&settings), ["a"]);
        drop(server);
    })
    .await;
}

/// A message that no replica wrote is set aside and told, and everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_message_is_set_aside() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    let (server, mut old) = blocking(move || {
        let (_, mut old) = store(&server, "old");
        leads(old.as_mut());
        (server, old)
    })
    .await;
    for subject in ["dr_exporter.log", "dr_exporter.state", "dr_exporter.leader", "dr_exporter.other"] {
        api.publish(subject, "hello").await.expect("stored");
    }
    blocking(move || {
        turn_until(old.as_mut(), |old, _| damage(old).count == 4);
        old.save(&entry("a")).expect("it leads");
        let (settings, mut new) = store(&server, "new");
        new.turn().expect("a turn");
        let damage = damage(new.as_mut());
        assert!(damage.count == 4, "{damage}");
        assert!(damage.to_string().contains("no replica wrote it"), "{damage}");
        assert_eq!(settings.damage().expect("read").count, 4);
        assert_eq!(keys(&settings), ["a"]);
    })
    .await;
}

/// A message of history that somebody deleted is missed by a replica that runs, and by one that starts.
/// One that still knows it can write everything again.
#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_message_is_missed() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    let (server, mut old) = blocking(move || {
        let (_, mut old) = store(&server, "old");
        leads(old.as_mut());
        for key in ["a", "b", "c"] {
            old.save(&entry(key)).expect("it leads");
        }
        (server, old)
    })
    .await;
    let second = history(&api).await[1];
    api.delete_message("dr_exporter", second).await;
    let (server, settings, mut old) = blocking(move || {
        turn_until(old.as_mut(), |old, _| damage(old).count == 1);
        assert!(damage(old.as_mut()).to_string().contains("delete the stream"), "{}", damage(old.as_mut()));
        old.save(&entry("d")).expect("it still leads");
        let (settings, mut new) = store(&server, "new");
        let told = damage(new.as_mut()).to_string();
        assert!(told.contains(&format!("message {second} is missing")), "{told}");
        let verified = settings.verify(None).expect("read");
        assert!(verified.is_err_and(|broken| broken.to_string().contains(&format!("message {second} "))));
        drop(new);
        (server, settings, old)
    })
    .await;
    api.delete("dr_exporter").await;
    blocking(move || {
        leads(old.as_mut());
        assert_eq!(keys(&settings), ["a", "b", "c", "d"]);
        assert_eq!((damage(old.as_mut()).count, settings.damage().expect("read").count), (0, 0));
        drop(server);
    })
    .await;
}

/// The last message of all is deleted, or everything, while no replica runs.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_end_is_missed() {
    let server = server().await;
    let api = server.api(async_nats::ConnectOptions::new()).await;
    let (server, settings) = blocking(move || {
        let (settings, mut old) = store(&server, "old");
        leads(old.as_mut());
        old.save(&entry("a")).expect("it leads");
        std::mem::forget(old);
        (server, settings)
    })
    .await;
    let last = api.last_seq("dr_exporter").await.expect("a stream");
    api.delete_message("dr_exporter", last).await;
    let (server, settings) = blocking(move || {
        let told = settings.damage().expect("read").to_string();
        assert!(told.contains(&format!("message {last}")), "{told}");
        (server, settings)
    })
    .await;
    api.purge("dr_exporter").await;
    blocking(move || {
        assert!(settings.damage().expect("read").count > 0);
        drop(server);
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
        let renewed = std::thread::scope(|scope| {
            let turning = scope.spawn(|| {
                // It gives up after three seconds.
                let begin = std::time::Instant::now();
                while begin.elapsed() < Duration::from_secs(10) {
                    let _ = weak.turn();
                    let _ = weak.save(&entry("a"));
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
            turn_until(strong.as_mut(), |_, turn| {
                turn.share.failing.as_ref().is_some_and(|why| why.contains("weak leads, and cannot write"))
            });
            leads(strong.as_mut());
            strong.save(&entry("b")).expect("this one can write");
            turning.join().expect("no panic");
            strong.turn().expect("a turn").expect("shared").share
        });
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
