//! The thread that writes, and goes on trying where it cannot.

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::sqlite::SqliteStore;
use super::{Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, Store, StoreError, Stored};
use crate::clock;

/// How long after a failure writing is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How often what the retention lets go is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// How many changes of status are held in memory while the disk takes nothing; the oldest are dropped beyond.
const HELD: usize = 100_000;

/// Where and how long things are kept.
#[derive(Debug, Clone)]
pub struct StorageOptions {
    /// The directory.
    pub path: PathBuf,
    /// How long recoveries and changes of status are kept.
    pub retention: Duration,
}

/// How the storage is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// How often it failed since the start.
    pub errors: u64,
    /// What is wrong with it now.
    pub failing: Option<String>,
}

enum Order {
    Save(Batch, oneshot::Sender<bool>),
    Recoveries(RecoveryQuery, oneshot::Sender<Result<Vec<ClosedRecovery>, String>>),
    Firings(FiringQuery, oneshot::Sender<Result<Vec<Firing>, String>>),
}

/// Access to the storage. The last one that is dropped ends it, after everything was written that can be.
#[derive(Debug, Clone)]
pub struct Storage {
    orders: mpsc::Sender<Order>,
    health: Arc<Mutex<StoreHealth>>,
}

/// The thread of a storage: joined, it has written everything.
#[derive(Debug)]
pub struct StorageThread(JoinHandle<()>);

impl StorageThread {
    /// Waits, for at most this long, until everything is written. There must be no [`Storage`] left.
    pub fn join(self, limit: Duration) {
        let deadline = clock::instant() + limit;
        while !self.0.is_finished() && clock::instant() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if !self.0.is_finished() {
            warn!("the storage does not end: what it held last may not be written");
        }
    }
}

impl Storage {
    /// Opens the storage, and gives what a restart goes on from. One that cannot be written is tried again and again, and the
    /// program measures on in memory; what can be read of it is gone on from all the same.
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
                // What cannot be written can often be read.
                let stored = SqliteStore::inspect(&keeper.options.path).and_then(|found| found.stored());
                stored.unwrap_or_default()
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

    /// Hands a batch over. The answer comes when it was tried: true if it is on the disk.
    #[must_use]
    pub fn save(&self, batch: Batch) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        // A thread that is gone answers nothing, which reads as a failure.
        let _ = self.orders.send(Order::Save(batch, answer));
        answered
    }

    /// Recoveries that are over, the newest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn recoveries(&self, query: RecoveryQuery) -> Result<Vec<ClosedRecovery>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Recoveries(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// Firings of triggers, the newest first.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn firings(&self, query: FiringQuery) -> Result<Vec<Firing>, String> {
        let (answer, answered) = oneshot::channel();
        let _ = self.orders.send(Order::Firings(query, answer));
        answered.await.unwrap_or_else(|_| Err("the storage has ended".to_owned()))
    }

    /// How the storage is.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

struct Keeper {
    options: StorageOptions,
    store: Option<SqliteStore>,
    /// What is not written yet.
    held: Batch,
    health: Arc<Mutex<StoreHealth>>,
    retry_at: Instant,
    forget_at: Instant,
    forgot_at: Instant,
}

impl Keeper {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        // Before anything is recorded by a clock that may be wrong.
        self.forget();
        loop {
            let next = if self.held.is_empty() && self.store.is_some() { self.forget_at } else { self.retry_at };
            match orders.recv_timeout(next.saturating_duration_since(clock::instant())) {
                Ok(Order::Save(batch, answer)) => {
                    self.held.take(batch);
                    let written = self.write(false);
                    let _ = answer.send(written);
                }
                Ok(Order::Recoveries(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.recoveries(&query)));
                }
                Ok(Order::Firings(query, answer)) => {
                    let _ = answer.send(self.read(|store| store.firings(&query)));
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

    fn read<T>(&mut self, read: impl FnOnce(&mut SqliteStore) -> Result<T, StoreError>) -> Result<T, String> {
        match &mut self.store {
            Some(store) => read(store).map_err(|error| error.to_string()),
            None => Err("the storage cannot be used now; the log tells why".to_owned()),
        }
    }

    fn open(&mut self) -> Result<Stored, StoreError> {
        let mut store = SqliteStore::open(&self.options.path)?;
        let stored = store.load()?;
        self.store = Some(store);
        Ok(stored)
    }

    /// Writes what is held; true if nothing is left. After a failure not at once again, unless it must be now or never.
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
                    info!(path = %self.options.path.display(), "the storage takes writes again; all that was held is written");
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
        if self.held.is_empty() { Ok(()) } else { store.save(&self.held) }
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
            error!(message, "the storage fails; measuring goes on in memory, and is lost if the process ends now");
        }
        health.failing = Some(message);
        // A file that was damaged or replaced under us is opened anew.
        self.store = None;
    }

    fn hold(&mut self) {
        let beyond = self.held.transitions.len().saturating_sub(HELD);
        self.held.transitions.drain(..beyond);
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
