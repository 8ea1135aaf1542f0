//! The default store: one SQLite file, which people can open with `sqlite3` while it is in use.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};
use tracing::error;

use super::damage::Damage;
use super::history::{History, HistoryQuery};
use super::record::{Broken, EntryQuery, Head, Link};
use super::states::Verified;
use super::{
    Backend, Batch, ClosedRecovery, Export, FiringQuery, RecoveryQuery, Store, StoreError, Stored, Transition,
};
use crate::domain::time::Timestamp;
pub(super) use copied::flat;
use file::{connect, of, uri_of_one_that_nobody_writes, verify};
use findings::Findings;
use head::Sealed;
use inspection::Inspection;
use place::Place;
use reading::{Doubts, Reading};
use rows::{json, optional_word, text};
use seals::Writer;
use tables::{CHECKS, CONTRACTS, RECOVERIES};

mod copied;
mod file;
mod findings;
mod head;
mod history;
pub(super) mod inspection;
mod mend;
mod parse;
mod place;
mod reading;
mod record;
mod retention;
mod rows;
mod salvage;
mod seals;
mod tables;
mod triggers;

/// The name of the file in the directory of the storage.
pub const FILE: &str = "dr-exporter.db";
/// The name of the file that is locked while a process uses the storage.
const LOCK: &str = "dr-exporter.lock";

/// How long a write waits for another process that reads, such as `sqlite3`.
const BUSY: Duration = Duration::from_secs(2);

/// A directory with a store.
#[derive(Debug, Clone)]
pub struct Sqlite {
    directory: PathBuf,
    /// Whether there is a file since this was first opened. If it is gone, another one is not begun:
    /// that would lack whatever this process wrote before, and be in the way when the file returns.
    begun: Arc<AtomicBool>,
}

impl Sqlite {
    /// The store in this directory.
    #[must_use]
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), begun: Arc::default() }
    }
}

impl Backend for Sqlite {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        let path = self.directory.join(FILE);
        if self.begun.load(Ordering::Relaxed) && fs::exists(&path).is_ok_and(|exists| !exists) {
            return Err(StoreError::Failed { path, message: place::gone().to_string() });
        }
        let store = SqliteStore::open(&self.directory)?;
        self.begun.store(true, Ordering::Relaxed);
        Ok(Box::new(store))
    }

    fn load(&self) -> Result<Stored, StoreError> {
        SqliteStore::inspect(&self.directory)?.stored()
    }

    fn export(&self) -> Result<Export, StoreError> {
        SqliteStore::inspect(&self.directory)?.export()
    }

    fn verify(&self, pin: Option<&str>) -> Result<Result<Verified, Broken>, StoreError> {
        SqliteStore::inspect(&self.directory)?.verify(pin)
    }

    fn entries(&self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        SqliteStore::inspect(&self.directory)?.entries(query)
    }

    fn damage(&self) -> Result<Damage, StoreError> {
        SqliteStore::inspect(&self.directory)?.damage()
    }

    fn place(&self) -> String {
        self.directory.display().to_string()
    }
}

/// An open store in a directory.
#[derive(Debug)]
pub(super) struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    /// Rows that were found to be damaged since the file was opened.
    doubts: Doubts,
    /// What is wrong with the record.
    record: Option<String>,
    // The lock is held as long as the store is open. None for a store in memory.
    lock: Option<(File, Place)>,
}

impl SqliteStore {
    /// Opens the store in a directory, and creates both if they do not exist. A damaged file is set
    /// aside under a name with the time, and what can be read of it is written to a new one.
    ///
    /// # Errors
    /// Another process uses the store, a later version wrote it, or it cannot be read or written.
    fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let failed = |error: io::Error| StoreError::Failed { path: path.clone(), message: error.to_string() };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(directory.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let head = findings::head_of(&path)?;
        let (connection, doubt) = match connect(&path) {
            Err(StoreError::Damaged { message, .. }) => salvage::salvaged(&path, &message)?,
            opened => (opened?, None),
        };
        let place = Place::of(&path).map_err(failed)?;
        let lock = Some((lock, place));
        let mut store = Self { path, connection, doubts: Doubts::default(), record: None, lock };
        store.mend(head, doubt)?;
        Ok(store)
    }

    /// Looks for damage, sets it aside, and notes the last commit in the file beside the database.
    fn mend(&mut self, head: Option<Sealed>, doubt: Option<String>) -> Result<(), StoreError> {
        let mut found = Findings::of(&self.path, &self.connection, head)?;
        if let Some(why) = doubt {
            found.doubt_everything(why);
        }
        let failed = |error: rusqlite::Error| of(&self.path, &error);
        let sealed = if found.is_empty() {
            seals::sealed(&self.connection).map_err(failed)?
        } else {
            let (stored, marks) = kept(&self.connection, &found).map_err(failed)?;
            for (what, why) in found.told() {
                error!(file = %self.path.display(), what, why, "damaged or lost: what this told is unknown now");
            }
            let mended = self.connection.transaction().and_then(|transaction| {
                let sealed = mend::mend(&transaction, &found, &stored, &marks)?;
                let record = record::follow(&transaction, None)?.err().map(|broken| broken.to_string());
                transaction.commit().map(|()| (sealed, record))
            });
            let (sealed, record) = mended.map_err(failed)?;
            found.record = record;
            Some(sealed)
        };
        if let Some(broken) = &found.record {
            error!(file = %self.path.display(), broken, "the record is not what was written; see report verify");
        }
        self.record = found.record;
        self.note(sealed.filter(|sealed| Some(*sealed) != head))
    }

    /// Notes a commit in the file beside the database. A store in memory has none.
    fn note(&self, sealed: Option<Sealed>) -> Result<(), StoreError> {
        let (Some(sealed), Some((_, place))) = (sealed, &self.lock) else { return Ok(()) };
        let lost = |error: io::Error| StoreError::Failed { path: self.path.clone(), message: error.to_string() };
        place.still_at(&self.path).map_err(lost)?;
        file::empty_the_log(&self.connection).map_err(|error| of(&self.path, &error))?;
        head::write(&self.path, sealed)
            .map_err(|error| StoreError::Failed { path: head::beside(&self.path), message: error.to_string() })
    }

    /// The same store, to be read only.
    ///
    /// # Errors
    /// It cannot be read.
    pub(in crate::store) fn inspected(self) -> Result<Inspection, StoreError> {
        let Self { path, connection, doubts, .. } = self;
        // What was just written to memory is not an older copy of anything.
        let head = seals::sealed(&connection).map_err(|error| of(&path, &error))?;
        Ok(Inspection { path, connection, head, doubts })
    }

    /// Opens the store in a directory for reading, also while a daemon uses it.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn inspect(directory: &Path) -> Result<Inspection, StoreError> {
        let path = directory.join(FILE);
        let head = findings::head_of(&path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let opened = match uri_of_one_that_nobody_writes(&path) {
            Some(uri) => Connection::open_with_flags(uri, flags),
            None => Connection::open_with_flags(&path, flags),
        };
        let connection = opened.map_err(|error| of(&path, &error))?;
        connection.busy_timeout(BUSY).map_err(|error| of(&path, &error))?;
        verify(&path, &connection)?;
        Ok(Inspection { path, connection, head, doubts: Doubts::default() })
    }

    fn read<T>(&self, read: impl FnOnce(&Reading<'_>) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let reading = Reading::new(&self.connection, &self.doubts).and_then(|reading| read(&reading));
        reading.map_err(|error| of(&self.path, &error))
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.read(|reading| Ok(stored(reading)?.0))
    }

    fn save(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let saved = self.connection.transaction().and_then(|transaction| {
            let writer = Writer::new(&transaction);
            write(&writer, batch)?;
            let sealed = writer.settle()?;
            transaction.commit().map(|()| sealed)
        });
        let sealed = saved.map_err(|error| of(&self.path, &error))?;
        self.note(Some(sealed))
    }

    fn recoveries(&mut self, query: &RecoveryQuery) -> Result<Vec<ClosedRecovery>, StoreError> {
        self.read(|reading| recoveries(reading, query))
    }

    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<super::Firing>, StoreError> {
        self.read(|reading| triggers::firings(reading, query))
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        record::head(&self.connection).map_err(|error| of(&self.path, &error))
    }

    fn entries(&mut self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        record::entries(&self.connection, query).map_err(|error| of(&self.path, &error))
    }

    fn history(&mut self, query: &HistoryQuery) -> Result<History, StoreError> {
        self.read(|reading| history::history(reading, query))
    }

    fn forget(&mut self, retention: Duration, ran: Duration, now: Timestamp) -> Result<(), StoreError> {
        let doubts = &self.doubts;
        let forgot = self.connection.transaction().and_then(|transaction| {
            let writer = Writer::new(&transaction);
            let Some(forgotten) = retention::forget(&writer, doubts, retention, ran, now)? else { return Ok(None) };
            let sealed = writer.settle()?;
            transaction.commit().map(|()| Some((sealed, forgotten)))
        });
        let Some((sealed, forgotten)) = forgot.map_err(|error| of(&self.path, &error))? else { return Ok(()) };
        forgotten.tell();
        self.note(Some(sealed))
    }

    fn damage(&mut self) -> Result<Damage, StoreError> {
        let record = self.record.iter().map(|why| ("the record".to_owned(), why.clone()));
        let beside: Vec<_> = record.chain(self.doubts.all()).collect();
        mend::noted(&self.connection, &beside).map_err(|error| of(&self.path, &error))
    }
}

fn write(writer: &Writer<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (name, clock) in &batch.clocks {
        writer.put(&CONTRACTS, params![name, json(clock)])?;
    }
    for ((contract, name), check) in &batch.checks {
        let memory = check.memory.as_ref().map(json);
        writer.put(&CHECKS, params![contract, name, check.fingerprint, json(&check.state), memory])?;
    }
    for recovery in &batch.recoveries {
        // A batch without an acknowledged commit is written again. A recovery is identified by its
        // trigger.
        let row = params![
            recovery.contract,
            text(&recovery.trigger),
            text(&recovery.first_failure),
            text(&recovery.healthy),
            text(&recovery.earliest),
            recovery.recovery_seconds,
            recovery.downtime_seconds,
            recovery.target_seconds,
            recovery.result.as_ref().map(text),
            text(&recovery.mode),
            recovery.check,
            recovery.reason,
            recovery.data_at_risk_seconds,
        ];
        writer.put(&RECOVERIES, row)?;
    }
    triggers::write(writer, batch)?;
    history::write(writer, batch)?;
    record::write(writer, &batch.plans)?;
    if batch.entries.is_empty() { Ok(()) } else { record::append(writer, &batch.entries) }
}

/// The stored state, and the firings that are not known to have ended.
fn stored(reading: &Reading<'_>) -> rusqlite::Result<(Stored, Vec<super::Firing>)> {
    let clocks = reading.rows(&CONTRACTS, "SELECT {} FROM contracts", [], parse::clock)?;
    let mut stored = Stored { clocks: clocks.into_iter().collect(), ..Stored::default() };
    for (contract, name, check) in reading.rows(&CHECKS, "SELECT {} FROM checks", [], parse::check)? {
        stored.checks.entry(contract).or_default().insert(name, check);
    }
    for last in history::last(reading)? {
        stored.told.entry(last.contract).or_default().insert(last.objective, last.basis);
    }
    let open = triggers::load(reading, &mut stored)?;
    stored.plans = record::load(reading)?;
    Ok((stored, open))
}

/// The stored state as far as it can be relied on, and the marks for a history that is not whole.
fn kept(connection: &Connection, found: &Findings) -> rusqlite::Result<(Stored, Vec<Transition>)> {
    // What is left out is among the findings.
    let doubts = Doubts::default();
    let reading = Reading::new(connection, &doubts)?;
    let (stored, open) = stored(&reading)?;
    let mut stored = mend::after_loss(stored, &open, found);
    if found.is_empty() {
        return Ok((stored, Vec::new()));
    }
    // The last change that can be read may not be the last one of all.
    let last = history::transitions(&reading)?.into_iter();
    let last = last.map(|change| ((change.contract.clone(), change.objective), change)).collect();
    let marks = mend::marks(&last, found);
    for told in last.values().chain(&marks) {
        stored.told.entry(told.contract.clone()).or_default().insert(told.objective, told.basis);
    }
    Ok((stored, marks))
}

fn recoveries(reading: &Reading<'_>, query: &RecoveryQuery) -> rusqlite::Result<Vec<ClosedRecovery>> {
    let sql = "SELECT {} FROM recoveries
               WHERE (?1 IS NULL OR contract = ?1) AND (?2 IS NULL OR healthy >= ?2) ORDER BY healthy DESC, contract LIMIT ?3";
    let since = query.since.as_ref().map(text);
    reading.rows(&RECOVERIES, sql, params![query.contract, since, query.limit], parse::recovery)
}
