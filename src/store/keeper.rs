//! The thread that writes to the store. It tries again when a write fails.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::damage::Damage;
use super::history::{History, HistoryQuery};
use super::record::{EntryQuery, Head, Link};
use super::{Backend, Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, Store, StoreError, Stored};
use crate::clock;

/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);
/// How often records older than the retention are deleted.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// How many changed statuses, and entries of the record, are kept in memory while the disk fails.
/// Beyond this the oldest are dropped.
const HELD: usize = 100_000;

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
}

enum Order {
    Save(Box<Batch>, oneshot::Sender<bool>),
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
        let mut keeper = Keeper {
            options,
            store: None,
            held: Batch::default(),
            health: Arc::clone(&health),
            retry_at: clock::instant(),
            forget_at: clock::instant(),
            forgot_at: clock::instant(),
        };
        let stored = match keeper.open() {
            Ok(stored) => stored,
            Err(error) if error.is_final() => return Err(error),
            Err(error) => {
                keeper.failed(&error);
                // A store that cannot be written can often still be read.
                if let Ok(damage) = keeper.options.backend.damage() {
                    keeper.tell_of_damage(damage);
                }
                keeper.options.backend.load().unwrap_or_default()
            }
        };
        let (orders, incoming) = mpsc::channel();
        let thread = std::thread::Builder::new().name("storage".to_owned()).spawn(move || keeper.run(&incoming));
        let thread = thread.map_err(|error| StoreError::Failed {
            path: PathBuf::from("the storage's thread"),
            message: error.to_string(),
        })?;
        Ok((Self { orders, health }, StorageThread(thread), stored))
    }

    /// Hands over a batch. The answer is true if it is on the disk, and false if the write failed.
    #[must_use]
    pub fn save(&self, batch: Batch) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        // If the thread is gone, no answer comes, and that counts as a failure.
        let _ = self.orders.send(Order::Save(Box::new(batch), answer));
        answered
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

struct Keeper {
    options: StorageOptions,
    store: Option<Box<dyn Store>>,
    /// The changes that are not written yet.
    held: Batch,
    health: Arc<Mutex<StoreHealth>>,
    retry_at: Instant,
    forget_at: Instant,
    forgot_at: Instant,
}

impl Keeper {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        // This must happen before a clock that may be wrong records anything.
        self.forget();
        loop {
            let next = if self.held.is_empty() && self.store.is_some() { self.forget_at } else { self.retry_at };
            match orders.recv_timeout(next.saturating_duration_since(clock::instant())) {
                Ok(Order::Save(batch, answer)) => {
                    self.held.take(*batch);
                    let written = self.write(false);
                    let _ = answer.send(written);
                }
                Ok(Order::Recoveries(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.recoveries(&query)));
                }
                Ok(Order::Firings(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.firings(&query)));
                }
                Ok(Order::Entries(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.entries(&query)));
                }
                Ok(Order::History(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.history(&query)));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.write(false);
                    self.forget();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(true);
                    return;
                }
            }
        }
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut dyn Store) -> Result<T, StoreError>) -> Result<T, String> {
        match &mut self.store {
            Some(store) => {
                let answer = read(store.as_mut()).map_err(|error| error.to_string());
                // Damaged rows are left out of the answer, and told beside it.
                if let Ok(damage) = store.damage() {
                    self.tell_of_damage(damage);
                }
                answer
            }
            None => Err("the storage cannot be used at the moment; see the log for the reason".to_owned()),
        }
    }

    fn open(&mut self) -> Result<Stored, StoreError> {
        let mut store = self.options.backend.open()?;
        let stored = store.load()?;
        self.tell_of_head(store.head()?);
        self.tell_of_damage(store.damage()?);
        self.store = Some(store);
        Ok(stored)
    }

    /// Writes the waiting changes. True if nothing is left. After a failure it waits before it
    /// tries again, unless this is the `last` chance.
    fn write(&mut self, last: bool) -> bool {
        if !last && clock::instant() < self.retry_at && self.is_failing() {
            self.hold();
            return false;
        }
        match self.try_to_write() {
            Ok(()) => {
                self.held = Batch::default();
                let was = self.health.lock().unwrap_or_else(PoisonError::into_inner).failing.take();
                if was.is_some() {
                    info!(
                        path = self.options.backend.place(),
                        "the storage works again: all waiting changes are written"
                    );
                }
                true
            }
            Err(error) => {
                self.failed(&error);
                self.hold();
                false
            }
        }
    }

    fn try_to_write(&mut self) -> Result<(), StoreError> {
        if self.store.is_none() {
            self.open()?;
        }
        let Some(store) = &mut self.store else { return Ok(()) };
        if self.held.is_empty() {
            return Ok(());
        }
        store.save(&self.held)?;
        // A person may have cleared it away.
        let damage = store.damage()?;
        if !self.held.entries.is_empty() {
            let head = store.head()?;
            self.tell_of_head(head);
        }
        self.tell_of_damage(damage);
        Ok(())
    }

    fn tell_of_head(&self, head: Head) {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).head = Some(head);
    }

    fn tell_of_damage(&self, damage: Damage) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        if damage.count > health.damage.count {
            error!(
                count = damage.count,
                %damage,
                "a part of the storage was damaged or lost: it is left out of everything; see storage check"
            );
        }
        health.damage = damage;
    }

    fn is_failing(&self) -> bool {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).failing.is_some()
    }

    fn failed(&mut self, failure: &StoreError) {
        self.retry_at = clock::instant() + RETRY;
        let message = failure.to_string();
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.errors = health.errors.saturating_add(1);
        if health.failing.as_ref() != Some(&message) {
            error!(
                message,
                "the storage fails: measuring continues in memory, and new state is lost if the process ends now"
            );
        }
        health.failing = Some(message);
        // A file that was damaged or replaced is opened again.
        self.store = None;
    }

    fn hold(&mut self) {
        let beyond = self.held.transitions.len().saturating_sub(HELD);
        self.held.transitions.drain(..beyond);
        // Entries get their numbers when they are written, so the chain stays whole.
        let beyond = self.held.entries.len().saturating_sub(HELD);
        self.held.entries.drain(..beyond);
    }

    fn forget(&mut self) {
        if clock::instant() < self.forget_at {
            return;
        }
        self.forget_at = clock::instant() + FORGET_EVERY;
        let (ran, retention) = (clock::since(self.forgot_at), self.options.retention);
        let Some(store) = &mut self.store else { return };
        match store.forget(retention, ran, clock::wall()) {
            Ok(()) => self.forgot_at += ran,
            Err(error) => self.failed(&error),
        }
    }
}
