//! Stores of replicas that a test asks itself, without an exporter.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::store::damage::Damage;
use dr_exporter::store::jetstream::JetStream;
use dr_exporter::store::record::{Entry, EntryQuery, Fact};
use dr_exporter::store::shared::Turn;
use dr_exporter::store::{Backend as _, Batch, Store};
use dr_testkit::nats::{self, Api, Server};
use serde_json::json;

use super::SOON;
use crate::storage::stream_on;

/// The stream of the stores.
pub(super) const STREAM: &str = "dr_exporter";
/// How long a leader must be silent here: longer than a busy machine takes from one step of a test to the next.
pub(super) const TAKEOVER: Duration = Duration::from_secs(4);

/// Runs what waits for servers itself.
pub(super) async fn blocking<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(run).await.expect("no panic")
}

/// Waits inside of [`blocking`].
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(answer)
}

pub(super) async fn server() -> Server {
    let mut server = Server::new(&nats::current());
    server.configure(&format!("server_name: single\njetstream {{ store_dir: \"{}\" }}\n", server.store()));
    server.run();
    server.listens().await;
    server
}

/// A store of one replica on this server.
pub(super) fn store(server: &Server, name: &str) -> (JetStream, Box<dyn Store>) {
    let settings = stream_on(&server.address.to_string(), name, 1);
    let settings = JetStream { takeover_after: TAKEOVER, ..settings };
    let store = settings.open().expect("opened");
    (settings, store)
}

/// A store that leads, on a server of its own.
pub(super) struct Led {
    pub(super) server: Server,
    pub(super) api: Api,
    pub(super) settings: JetStream,
    pub(super) old: Box<dyn Store>,
}

impl Led {
    /// One that has these entries.
    pub(super) fn with(keys: &[&str]) -> Self {
        let server = wait(server());
        let api = wait(server.api(ConnectOptions::new()));
        let (settings, mut old) = store(&server, "old");
        leads(old.as_mut());
        save(old.as_mut(), keys);
        Self { server, api, settings, old }
    }
}

pub(super) fn entry(key: &str) -> Batch {
    let at = Timestamp::from_unix_seconds(1_800_000_000);
    let entry = Entry { key: key.to_owned(), at, fact: Fact::Stopped };
    Batch { entries: vec![entry], ..Batch::default() }
}

pub(super) fn save(store: &mut dyn Store, keys: &[&str]) {
    for key in keys {
        store.save(&entry(key)).expect("it leads");
    }
}

/// Takes turns until one is as it is wanted. Returns the last error, if turns failed before.
pub(super) fn turn_until(store: &mut dyn Store, wanted: impl Fn(&mut dyn Store, &Turn) -> bool) -> Option<String> {
    let (begin, mut told) = (Instant::now(), None);
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

pub(super) fn leads(store: &mut dyn Store) {
    turn_until(store, |_, turn| turn.share.standing.leads);
}

/// The keys of the record, which is whole.
pub(super) fn keys(settings: &JetStream) -> Vec<String> {
    let links = settings.entries(&EntryQuery { after: 0, limit: 100 }).expect("entries");
    assert!(settings.verify(None).expect("read").is_ok(), "a whole chain");
    links.into_iter().map(|link| link.key).collect()
}

pub(super) fn damage(store: &mut dyn Store) -> Damage {
    store.damage().expect("read")
}

pub(super) fn last(api: &Api) -> u64 {
    wait(dr_testkit::wait_until("the stream answers", SOON, async || api.last_seq(STREAM).await))
}

/// The sequences of the messages of history.
pub(super) fn history(api: &Api) -> Vec<u64> {
    let is_history = |sequence: &u64| {
        let message = wait(api.call(&format!("STREAM.MSG.GET.{STREAM}"), json!({ "seq": sequence })));
        message.is_ok_and(|message| message["message"]["subject"] == json!("dr_exporter.log"))
    };
    (1..=last(api)).filter(is_history).collect()
}
