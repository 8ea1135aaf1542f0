//! The thread that writes to the store. It tries again when a write fails.

use std::path::PathBuf;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::warn;

use super::damage::Damage;
use super::history::{History, HistoryQuery};
use super::record::{EntryQuery, Head, Link};
use super::shared::{Forwarded, Inbox, Share};
use super::{Backend, Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, StoreError, Stored};
use crate::clock::{self, Clock, Reference};
use thread::Keeper;

mod thread;

/// Where the storage is, and how long records are kept.
#[derive(Debug)]
pub struct StorageOptions {
    /// Where the storage is.
    pub backend: Box<dyn Backend>,
    /// How long recoveries and changed statuses are kept.
    pub retention: Duration,
}

/// The health of the storage.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// The number of errors since the start.
    pub errors: u64,
    /// The current error.
    pub failing: Option<String>,
    /// The end of the record on the disk. None before it was first read.
    pub head: Option<Head>,
    /// What of the storage was damaged or lost.
    pub damage: Damage,
    /// This replica among the others. None if no others share the storage, or before it was first
    /// read.
    pub share: Option<Share>,
}

enum Order {
    /// A batch, and the term in which the ledger composed it.
    Save(Box<Batch>, u64, oneshot::Sender<bool>),
    Forward(Box<Forwarded>, oneshot::Sender<bool>),
    Recoveries(RecoveryQuery, oneshot::Sender<Result<Vec<ClosedRecovery>, String>>),
    Firings(FiringQuery, oneshot::Sender<Result<Vec<Firing>, String>>),
    Entries(EntryQuery, oneshot::Sender<Result<Vec<Link>, String>>),
    History(HistoryQuery, oneshot::Sender<Result<History, String>>),
}

/// Access to the storage. Dropping the last one ends the storage, after everything that can be
/// written was written.
#[derive(Debug, Clone)]
pub struct Storage {
    orders: mpsc::Sender<Order>,
    health: Arc<Mutex<StoreHealth>>,
    inbox: Option<Inbox>,
    time: Option<Reference>,
}

/// The thread of a storage. When it is joined, everything has been written.
#[derive(Debug)]
pub struct StorageThread(JoinHandle<()>);

impl StorageThread {
    /// Waits until everything is written, for at most `limit`. No [`Storage`] may be left.
    pub fn join(self, limit: Duration) {
        let deadline = clock::instant() + limit;
        while !self.0.is_finished() && clock::instant() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.0.is_finished() {
            warn!("the storage did not finish in time: the last changes may not be written");
        }
    }
}

impl Storage {
    /// Opens the storage and returns the state that a restart continues from. If it cannot be
    /// written, it is tried again and again, while the program measures on in memory. Whatever can
    /// be read is used all the same.
    ///
    /// # Errors
    /// Another process uses it, or a later version wrote it.
    pub fn start(options: StorageOptions) -> Result<(Self, StorageThread, Stored), StoreError> {
        let health = Arc::new(Mutex::new(StoreHealth::default()));
        let inbox = options.backend.is_shared().then(Inbox::default);
        let time = options.backend.time();
        let mut keeper = Keeper::new(options, inbox.clone(), Arc::clone(&health));
        let stored = match keeper.open() {
            Ok(stored) => stored,
            Err(error) if error.is_final() => return Err(error),
            // The same servers would be asked again.
            Err(error) if inbox.is_some() => {
                keeper.failed(&error);
                Stored::default()
            }
            Err(error) => {
                keeper.failed(&error);
                // A store that cannot be written can often still be read.
                keeper.load().unwrap_or_default()
            }
        };
        if keeper.is_open() {
            keeper.take_turn();
        }
        let (orders, incoming) = mpsc::channel();
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || keeper.run(&incoming));
        let thread = thread.map_err(|error| StoreError::Failed {
            path: PathBuf::from("the storage's thread"),
            message: error.to_string(),
        })?;
        Ok((Self { orders, health, inbox, time }, StorageThread(thread), stored))
    }

    /// Hands over a batch. The answer is true if it is on the disk, and false if the write failed. In
    /// a shared storage, a batch that was composed in another term than the current one is dropped.
    #[must_use]
    pub fn save(&self, batch: Batch, term: u64) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        // If the thread is gone, no answer comes, and that counts as a failure.
        let _ = self.orders.send(Order::Save(Box::new(batch), term, answer));
        answered
    }

    /// Hands the order of a person to the replica that leads. The answer is false if this is not
    /// known to have happened.
    #[must_use]
    pub fn forward(&self, order: Forwarded) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Forward(Box::new(order), answer));
        answered
    }

    /// A timeline that begins now, on the clock by which the storage's times are told.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.time.clone().map_or_else(Clock::start, Clock::following)
    }

    /// What other replicas wrote arrives here. None if the storage is not shared.
    #[must_use]
    pub fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
    }

    /// Recoveries that ended, the newest first.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub async fn recoveries(&self, query: RecoveryQuery) -> Result<Vec<ClosedRecovery>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Recoveries(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// Firings of triggers, the newest first.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub async fn firings(&self, query: FiringQuery) -> Result<Vec<Firing>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Firings(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// Entries of the record, in their order.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub async fn entries(&self, query: EntryQuery) -> Result<Vec<Link>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Entries(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// Changed statuses, and the times during which somebody looked.
    ///
    /// # Errors
    /// The reason why they cannot be read.
    pub async fn history(&self, query: HistoryQuery) -> Result<History, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::History(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// The health of the storage.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
