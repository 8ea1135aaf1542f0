//! What the thread of a storage does.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};

use super::{Order, StorageOptions, StoreHealth};
use crate::clock;
use crate::store::damage::Damage;
use crate::store::record::Head;
use crate::store::shared::{Inbox, Turn};
use crate::store::{Batch, Store, StoreError, Stored};

/// How long after a failed write the next one is tried.
const RETRY: Duration = Duration::from_secs(5);
/// How long after a failure a shared store is tried again. Others may take the lead meanwhile.
const SHARED_RETRY: Duration = Duration::from_secs(1);
/// How often a shared store is read.
const TURN: Duration = Duration::from_millis(500);
/// How often records older than the retention are deleted.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// How many changed statuses, and entries of the record, are kept in memory while the disk fails.
/// Beyond this the oldest are dropped.
const HELD: usize = 100_000;
/// How many different errors are logged until it works again.
const TOLD: usize = 16;

/// Writes to a store, and tries again.
pub(super) struct Keeper {
    options: StorageOptions,
    store: Option<Box<dyn Store>>,
    /// The changes that are not written yet.
    held: Batch,
    /// Where news of a shared store go.
    inbox: Option<Inbox>,
    /// The term in which this process leads, or last led.
    term: u64,
    /// When a shared store is read next.
    turn_at: Instant,
    health: Arc<Mutex<StoreHealth>>,
    /// The errors that were logged since it last worked.
    told: BTreeSet<String>,
    retry_at: Instant,
    forget_at: Instant,
    forgot_at: Instant,
}

impl Keeper {
    /// Before the store is opened.
    pub(super) fn new(options: StorageOptions, inbox: Option<Inbox>, health: Arc<Mutex<StoreHealth>>) -> Self {
        let now = clock::instant();
        Self {
            options,
            store: None,
            held: Batch::default(),
            inbox,
            term: 0,
            turn_at: now,
            health,
            told: BTreeSet::new(),
            retry_at: now,
            forget_at: now,
            forgot_at: now,
        }
    }

    /// Whether the store is open.
    pub(super) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    /// Reads what cannot be opened.
    pub(super) fn load(&self) -> Result<Stored, StoreError> {
        if let Ok(damage) = self.options.backend.damage() {
            self.tell_of_damage(damage);
        }
        self.options.backend.load()
    }

    pub(super) fn run(mut self, orders: &mpsc::Receiver<Order>) {
        // This must happen before a clock that may be wrong records anything.
        self.forget();
        loop {
            let next = if self.held.is_empty() && self.store.is_some() { self.forget_at } else { self.retry_at };
            let next = if self.inbox.is_some() { next.min(self.turn_at) } else { next };
            match orders.recv_timeout(next.saturating_duration_since(clock::instant())) {
                Ok(Order::Save(batch, term, answer)) => {
                    let is_current = self.inbox.is_none() || term == self.term;
                    if is_current {
                        self.held.take(*batch);
                    }
                    let written = is_current && self.write(false);
                    let _ = answer.send(written);
                }
                Ok(Order::Forward(order, answer)) => {
                    let _ = answer.send(self.read(|store| store.forward(&order)).is_ok());
                    self.turn_at = clock::instant();
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
                    if self.inbox.is_none() || !self.held.is_empty() {
                        self.write(false);
                    }
                    self.forget();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.write(true);
                    return;
                }
            }
            if clock::instant() >= self.turn_at {
                self.take_turn();
            }
        }
    }

    /// Takes in what other replicas wrote, and renews or takes the lead.
    pub(super) fn take_turn(&mut self) {
        let Some(inbox) = self.inbox.clone() else { return };
        self.turn_at = clock::instant() + TURN;
        match self.turn() {
            Ok(Some(turn)) => {
                let standing = &turn.share.standing;
                if !standing.leads {
                    // What was held was composed by a leader that was replaced.
                    self.held = Batch::default();
                }
                if standing.leads && standing.term != self.term {
                    // What was held is of an earlier term. The ledger writes it again if it has to.
                    (self.held, self.term) = (Batch::default(), standing.term);
                }
                if turn.moved
                    && let Some(Ok(head)) = self.store.as_mut().map(|store| store.head())
                {
                    self.tell_of_head(head);
                }
                let (failing, leads) = (turn.share.failing.clone(), standing.leads);
                self.health.lock().unwrap_or_else(PoisonError::into_inner).share = Some(turn.share);
                if let Some(Ok(damage)) = self.store.as_mut().map(|store| store.damage()) {
                    self.tell_of_damage(damage);
                }
                if let Some(news) = turn.news {
                    inbox.put(news);
                }
                match failing {
                    // A new leader passes on why the one before it could not write. It must try at once.
                    Some(_) if leads => {}
                    Some(failing) => self.leader_fails(failing),
                    None if self.held.is_empty() => self.works(),
                    None => {}
                }
            }
            Ok(None) => {}
            Err(error) => {
                self.failed(&error);
                self.turn_at = self.retry_at;
            }
        }
    }

    /// The leader told that it cannot write. That fails all replicas, because only it writes.
    fn leader_fails(&mut self, message: String) {
        let told = self.health.lock().unwrap_or_else(PoisonError::into_inner).failing.clone();
        // The errors are counted as long as it lasts, as those of this replica's own writes are.
        if told.as_ref() != Some(&message) || clock::instant() >= self.retry_at {
            self.failed(&StoreError::Failed { path: self.options.backend.place().into(), message });
        }
    }

    fn turn(&mut self) -> Result<Option<Turn>, StoreError> {
        if self.store.is_none() {
            self.open()?;
        }
        self.store.as_mut().map_or(Ok(None), |store| store.turn())
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

    pub(super) fn open(&mut self) -> Result<Stored, StoreError> {
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
                self.works();
                true
            }
            // The ledger hears of it with the next news, and keeps what must not be lost.
            Err(StoreError::NotLeading) => {
                (self.held, self.turn_at) = (Batch::default(), clock::instant());
                false
            }
            Err(error) => {
                self.failed(&error);
                self.hold();
                false
            }
        }
    }

    /// Nothing waits to be written, and the last access worked.
    fn works(&mut self) {
        self.told.clear();
        let was = self.health.lock().unwrap_or_else(PoisonError::into_inner).failing.take();
        if was.is_some() {
            info!(path = self.options.backend.place(), "the storage works again: all waiting changes are written");
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

    pub(super) fn failed(&mut self, failure: &StoreError) {
        self.retry_at = clock::instant() + if self.inbox.is_some() { SHARED_RETRY } else { RETRY };
        let message = failure.to_string();
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.errors = health.errors.saturating_add(1);
        // A store that fails in several ways in turn tells each once.
        if self.told.len() < TOLD && self.told.insert(message.clone()) {
            error!(
                message,
                "the storage fails: measuring continues in memory, and new state is lost if the process ends now"
            );
        }
        health.failing = Some(message);
        drop(health);
        // A file that was damaged or replaced is opened again. The copy of a shared store goes on.
        if self.inbox.is_none() {
            self.store = None;
        }
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
            Ok(()) | Err(StoreError::NotLeading) => self.forgot_at += ran,
            Err(error) => self.failed(&error),
        }
    }
}
