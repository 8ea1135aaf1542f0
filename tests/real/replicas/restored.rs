//! The servers lose their newest messages, in a power cut or because a backup was restored.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dr_exporter::domain::remembered::RememberedClock;
use dr_exporter::store::{Batch, Store};
use dr_testkit::nats::Server;

use super::SOON;
use super::stores::{Led, STREAM, blocking, entry, history, keys, last, leads, save, store, turn_until, wait};

fn restart(server: &mut Server) {
    server.run();
    wait(server.listens());
}

/// What a write and a turn say of a stream with another history.
fn refused(store: &mut dyn Store) -> String {
    let begin = Instant::now();
    loop {
        let written = store.save(&entry("never")).expect_err("another history").to_string();
        let told = store.turn().expect_err("another history").to_string();
        if written.contains("replaced") && told.contains("replaced") {
            return told;
        }
        assert!(begin.elapsed() < SOON, "{written}; {told}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Only renewals of the lead are lost. Nothing is missing, so everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_lost_no_history_is_followed() {
    blocking(|| {
        let Led { mut server, api, settings, mut old } = Led::with(&["a"]);
        server.kill_and_save();
        let saved = {
            restart(&mut server);
            last(&api)
        };
        turn_until(old.as_mut(), |_, _| last(&api) > saved);
        server.kill_and_restore();
        restart(&mut server);
        leads(old.as_mut());
        save(old.as_mut(), &["b"]);
        assert_eq!(keys(&settings), ["a", "b"]);
    })
    .await;
}

/// The stream is restored in its place from an old backup, and another replica goes on with it until it is
/// as long as before, and longer. Whoever knows what is lost neither follows nor writes, and has it still.
#[tokio::test(flavor = "multi_thread")]
async fn a_restored_stream_that_grew_again_is_not_followed() {
    blocking(|| {
        let Led { mut server, api, settings, mut old } = Led::with(&["a", "b"]);
        server.kill_and_save();
        restart(&mut server);
        leads(old.as_mut());
        save(old.as_mut(), &["c", "d", "e", "f", "g", "h"]);
        let (known, head) = (last(&api), old.head().expect("a head"));
        server.kill_and_restore();
        restart(&mut server);
        assert!(last(&api) < known);
        let (_, mut new) = store(&server, "new");
        leads(new.as_mut());
        let mut number = 0;
        while last(&api) < known {
            number += 1;
            save(new.as_mut(), &[&format!("x{number}")]);
        }
        // The end has the number that the old one knows.
        refused(old.as_mut());
        save(new.as_mut(), &["y"]);
        let told = refused(old.as_mut());
        assert!(told.contains("delete the stream"), "{told}");
        assert_eq!(old.head().expect("a head"), head, "it still knows what was lost");
        let known = keys(&settings);
        assert!(known.starts_with(&["a".to_owned(), "b".to_owned(), "x1".to_owned()]), "{known:?}");
        assert_eq!(known.last().map(String::as_str), Some("y"));
        drop(new);
        wait(api.delete(STREAM));
        leads(old.as_mut());
        assert_eq!(keys(&settings), ["a", "b", "c", "d", "e", "f", "g", "h"]);
    })
    .await;
}

/// A clock, which is state and no history.
fn clock() -> Batch {
    Batch { clocks: BTreeMap::from([("api".to_owned(), RememberedClock::default())]), ..Batch::default() }
}

fn knows_clock(store: &mut dyn Store) -> bool {
    store.load().expect("a copy").clocks.contains_key("api")
}

/// A replica stands still while the newest renewals and state are lost, and others write state in their place.
/// It does not take the end that it knows for the same one.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_misses_no_state_of_a_restored_stream() {
    blocking(|| {
        let Led { mut server, api, mut old, .. } = Led::with(&["a"]);
        server.kill_and_save();
        restart(&mut server);
        let saved = last(&api);
        turn_until(old.as_mut(), |_, _| last(&api) > saved + 4);
        let known = last(&api);
        server.kill_and_restore();
        restart(&mut server);
        assert!(last(&api) <= saved);
        let (_, mut new) = store(&server, "new");
        leads(new.as_mut());
        new.save(&clock()).expect("it leads");
        assert!(last(&api) <= known, "the clock stands where the other one believes to have read");
        turn_until(new.as_mut(), |_, _| last(&api) > known + 1);
        assert!(!knows_clock(old.as_mut()));
        turn_until(old.as_mut(), |old, _| knows_clock(old));
        assert_eq!(old.head().expect("a head"), new.head().expect("a head"));
    })
    .await;
}

/// The same where the stream was deleted, and made anew: it has no history by which it could be told from the
/// one before, but for the time at which it was created.
#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_stood_still_knows_a_stream_that_was_made_anew() {
    blocking(|| {
        let Led { server, api, mut old, .. } = Led::with(&[]);
        turn_until(old.as_mut(), |_, _| last(&api) > 4);
        let known = last(&api);
        wait(api.delete(STREAM));
        let (_, mut new) = store(&server, "new");
        leads(new.as_mut());
        new.save(&clock()).expect("it leads");
        assert!(last(&api) <= known, "the clock stands where the other one believes to have read");
        turn_until(new.as_mut(), |_, _| last(&api) >= known);
        assert_eq!(last(&api), known);
        // It writes at the end that it knows: nothing may stand on what it has not read.
        let written = old.save(&entry("b"));
        assert!(written.is_err(), "it does not lead this stream");
        turn_until(old.as_mut(), |old, _| knows_clock(old));
        assert!(history(&api).is_empty());
    })
    .await;
}
