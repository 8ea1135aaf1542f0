//! The stream is full, or the account has no JetStream for a while.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use dr_exporter::store::jetstream::JetStream;
use dr_exporter::store::{Backend as _, Store};
use dr_testkit::nats::{self, Api, Server};

use super::SOON;
use super::stores::{Led, STREAM, TAKEOVER, blocking, entry, history, keys, last, leads, save, turn_until, wait};
use crate::storage::stream_as;

fn limit(api: &Api, bytes: i64) {
    let mut config = wait(api.info(STREAM)).expect("the stream")["config"].take();
    config["max_bytes"] = bytes.into();
    wait(api.update(config)).expect("changed");
}

/// Writes until the storage refuses it, and says why.
fn until_refused(store: &mut dyn Store, name: &str) -> (usize, String) {
    let begin = Instant::now();
    for number in 0.. {
        assert!(begin.elapsed() < SOON, "it is never full");
        if let Err(error) = store.save(&entry(&format!("{name}{number}"))) {
            return (number, error.to_string());
        }
    }
    unreachable!("it ends before")
}

/// A full stream refuses what is new, also renewals of the lead. Nothing of it is lost or written twice, and once
/// there is room everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_loses_nothing() {
    blocking(|| {
        let Led { server: _server, api, settings, mut old } = Led::with(&["a"]);
        limit(&api, 8 * 1024);
        let (written, told) = until_refused(old.as_mut(), "b");
        assert!(told.contains("maximum bytes exceeded"), "{told}");
        let (end, before) = (last(&api), history(&api).len());
        let begin = Instant::now();
        while begin.elapsed() < TAKEOVER * 2 {
            let _ = old.turn();
            let _ = old.save(&entry("c"));
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(history(&api).len(), before, "what was there is there, and nothing else: {end}");
        limit(&api, -1);
        leads(old.as_mut());
        save(old.as_mut(), &["c"]);
        let mut all = vec!["a".to_owned()];
        all.extend((0..written).map(|number| format!("b{number}")));
        all.push("c".to_owned());
        assert_eq!(keys(&settings), all);
    })
    .await;
}

/// JetStream is switched off for the account, and on again. Nobody takes that for a stream that was deleted.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_without_jetstream_for_a_while_loses_nothing() {
    let mut server = Server::new(&nats::current());
    server.configure(&format!(
        "server_name: single\njetstream {{ store_dir: \"{}\" }}
         accounts {{ APP {{ jetstream: enabled, users: [ {{user: app, password: app}} ] }} }}\n",
        server.store()
    ));
    server.run();
    server.listens().await;
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "app").expect("written");
    blocking(move || {
        let api = wait(server.api(ConnectOptions::with_user_and_password("app".to_owned(), "app".to_owned())));
        let more = format!(", user: app, password_file: \"{}\"", password.path().display());
        let settings = stream_as(&server.address.to_string(), &more, "old", 1);
        let settings = JetStream { takeover_after: TAKEOVER, ..settings };
        let mut old = settings.open().expect("opened");
        leads(old.as_mut());
        save(old.as_mut(), &["a", "b"]);
        let head = old.head().expect("a head");
        server.reconfigure("jetstream: enabled", "jetstream: disabled");
        let is_off = async || api.info(STREAM).await.is_err().then_some(());
        wait(dr_testkit::wait_until("JetStream is off", SOON, is_off));
        let begin = Instant::now();
        let told = loop {
            match old.save(&entry("c")) {
                Ok(()) => panic!("nobody can have stored it"),
                Err(error) if begin.elapsed() > TAKEOVER * 2 => break error.to_string(),
                Err(_) => drop(old.turn()),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(!told.contains("is gone") && !told.contains("replaced"), "{told}");
        server.reconfigure("jetstream: disabled", "jetstream: enabled");
        turn_until(old.as_mut(), |_, turn| turn.share.standing.leads);
        assert_eq!(old.head().expect("a head"), head);
        save(old.as_mut(), &["c"]);
        assert_eq!(keys(&settings), ["a", "b", "c"]);
        drop(api);
    })
    .await;
}
