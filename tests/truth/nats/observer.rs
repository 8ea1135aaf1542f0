//! Reads a stream message by message, past every proxy: what it holds, and when it was seen to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use dr_testkit::nats::Api;

/// What a stream held.
#[derive(Debug, Clone)]
pub struct Seen {
    pub begun: SystemTime,
    pub done: SystemTime,
    /// Which life of the stream's store this is.
    pub epoch: u64,
    pub last_seq: u64,
    /// The time of each message, by its sequence.
    pub messages: Arc<BTreeMap<u64, SystemTime>>,
}

/// Looks at one stream all the time until it is dropped.
pub struct Observer {
    seen: Arc<Mutex<Vec<Seen>>>,
    epoch: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

const EVERY: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_millis(700);

impl Observer {
    pub fn start(api: Api, stream: &str) -> Self {
        let (seen, epoch) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
        let (kept, of, stream) = (Arc::clone(&seen), Arc::clone(&epoch), stream.to_owned());
        let task = tokio::spawn(async move {
            let mut known = (u64::MAX, String::new(), BTreeMap::new());
            loop {
                let (begun, epoch) = (SystemTime::now(), of.load(Ordering::SeqCst));
                let looked = tokio::time::timeout(PATIENCE, look(&api, &stream, epoch, &mut known)).await;
                // A look during which the store was changed under the server is of neither life.
                if let Ok(Some((last_seq, messages))) = looked
                    && of.load(Ordering::SeqCst) == epoch
                {
                    let seen = Seen { begun, done: SystemTime::now(), epoch, last_seq, messages: Arc::new(messages) };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
                }
                tokio::time::sleep(EVERY).await;
            }
        });
        Self { seen, epoch, task }
    }

    /// From here on sequences may mean other messages.
    pub fn another_life(&self) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    /// Everything that was seen.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Known = (u64, String, BTreeMap<u64, SystemTime>);

/// The last sequence and all messages. The time of a message is asked once in each life of the stream.
async fn look(api: &Api, stream: &str, epoch: u64, known: &mut Known) -> Option<(u64, BTreeMap<u64, SystemTime>)> {
    let info = api.call(&format!("STREAM.INFO.{stream}"), json!({"deleted_details": true})).await.ok()?;
    let cluster = &info["cluster"];
    // Who answers without a leader speaks for himself alone.
    if cluster.is_object() && cluster["leader"].as_str().is_none_or(str::is_empty) {
        return None;
    }
    let created = info["created"].as_str()?.to_owned();
    if (known.0, &known.1) != (epoch, &created) {
        *known = (epoch, created, BTreeMap::new());
    }
    let state = &info["state"];
    let number = |key: &str| state[key].as_u64();
    let gone: Vec<u64> = state["deleted"].as_array().into_iter().flatten().filter_map(Value::as_u64).collect();
    let mut messages = BTreeMap::new();
    if number("messages")? > 0 {
        for sequence in (number("first_seq")?..=number("last_seq")?).filter(|sequence| !gone.contains(sequence)) {
            let time = match known.2.get(&sequence) {
                Some(time) => *time,
                None => {
                    let asked = api.call(&format!("STREAM.MSG.GET.{stream}"), json!({"seq": sequence})).await;
                    // Gone since the look began.
                    let Ok(found) = asked else { continue };
                    let time: jiff::Timestamp = found["message"]["time"].as_str()?.parse().ok()?;
                    known.2.insert(sequence, SystemTime::from(time));
                    SystemTime::from(time)
                }
            };
            messages.insert(sequence, time);
        }
    }
    Some((number("last_seq")?, messages))
}
