//! The default store: one SQLite file, which people can open with `sqlite3` while it is in use.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, params};
use tracing::warn;

use super::history::{History, HistoryQuery};
use super::record::{Broken, EntryQuery, Head, Link};
use super::{
    Backend, Batch, ClosedRecovery, Export, FiringQuery, RecoveryQuery, Store, StoreError, Stored, StoredCheck,
};
use crate::domain::time::Timestamp;
use file::{connect, of, set_aside, uri_of_one_that_nobody_writes, verify, version};
use inspection::Inspection;
use rows::{from_json, json, optional_word, text, word};

mod file;
mod history;
pub(super) mod inspection;
mod record;
mod retention;
mod rows;
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
}

impl Sqlite {
    /// The store in this directory.
    #[must_use]
    pub fn of(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }
}

impl Backend for Sqlite {
    fn open(&self) -> Result<Box<dyn Store>, StoreError> {
        Ok(Box::new(SqliteStore::open(&self.directory)?))
    }

    fn load(&self) -> Result<Stored, StoreError> {
        SqliteStore::inspect(&self.directory)?.stored()
    }

    fn export(&self) -> Result<Export, StoreError> {
        SqliteStore::inspect(&self.directory)?.export()
    }

    fn verify(&self, pin: Option<&str>) -> Result<Result<Head, Broken>, StoreError> {
        SqliteStore::inspect(&self.directory)?.verify(pin)
    }

    fn entries(&self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        SqliteStore::inspect(&self.directory)?.entries(query)
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
    // The lock is held as long as the store is open. None for a store in memory.
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens the store in a directory, and creates both if they do not exist. A damaged file is set
    /// aside under a name with the time, and a new one is created.
    ///
    /// # Errors
    /// Another process uses the store, a later version wrote it, or it cannot be read or written.
    fn open(directory: &Path) -> Result<Self, StoreError> {
        let path = directory.join(FILE);
        let failed = |error: std::io::Error| StoreError::Failed { path: path.clone(), message: error.to_string() };
        fs::create_dir_all(directory).map_err(failed)?;
        let lock =
            File::options().create(true).truncate(false).write(true).open(directory.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(path)),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let opened = match connect(&path) {
            Err(StoreError::Damaged { message, .. }) => {
                let aside = set_aside(&path).map_err(failed)?;
                warn!(file = %path.display(), message, aside = %aside.display(), "the storage was damaged; it is set aside, and a new one is created");
                connect(&path)
            }
            opened => opened,
        };
        Ok(Self { connection: opened?, path, _lock: Some(lock) })
    }

    /// An empty store in memory: the copy of what is stored elsewhere.
    ///
    /// # Errors
    /// SQLite has no memory.
    pub(super) fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        Ok(Self { connection: connect(&path)?, path, _lock: None })
    }

    /// The same store, to be read only.
    pub(in crate::store) fn inspected(self) -> Inspection {
        let Self { path, connection, .. } = self;
        Inspection { path, connection }
    }

    /// Opens the store in a directory for reading, also while a daemon uses it.
    ///
    /// # Errors
    /// There is no store, or it cannot be read.
    fn inspect(directory: &Path) -> Result<Inspection, StoreError> {
        let path = directory.join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let opened = match uri_of_one_that_nobody_writes(&path) {
            Some(uri) => Connection::open_with_flags(uri, flags),
            None => Connection::open_with_flags(&path, flags),
        };
        let connection = opened.map_err(|error| of(&path, &error))?;
        connection.busy_timeout(BUSY).map_err(|error| of(&path, &error))?;
        verify(&path, &connection)?;
        Ok(Inspection { path, connection })
    }
}

impl Store for SqliteStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        stored(&self.connection).map_err(|error| of(&self.path, &error))
    }

    fn save(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let saved = self.connection.transaction().and_then(|transaction| {
            write(&transaction, batch)?;
            transaction.commit()
        });
        saved.map_err(|error| of(&self.path, &error))
    }

    fn recoveries(&mut self, query: &RecoveryQuery) -> Result<Vec<ClosedRecovery>, StoreError> {
        recoveries(&self.connection, query).map_err(|error| of(&self.path, &error))
    }

    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<super::Firing>, StoreError> {
        triggers::firings(&self.connection, query).map_err(|error| of(&self.path, &error))
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        record::head(&self.connection).map_err(|error| of(&self.path, &error))
    }

    fn entries(&mut self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        record::entries(&self.connection, query).map_err(|error| of(&self.path, &error))
    }

    fn history(&mut self, query: &HistoryQuery) -> Result<History, StoreError> {
        history::history(&self.connection, query).map_err(|error| of(&self.path, &error))
    }

    fn forget(&mut self, retention: Duration, ran: Duration, now: Timestamp) -> Result<(), StoreError> {
        retention::forget(&mut self.connection, retention, ran, now).map_err(|error| of(&self.path, &error))
    }
}

fn write(transaction: &Transaction<'_>, batch: &Batch) -> rusqlite::Result<()> {
    for (name, clock) in &batch.clocks {
        let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO contracts VALUES (?1, ?2)")?;
        statement.execute(params![name, json(clock)])?;
    }
    for ((contract, name), check) in &batch.checks {
        let mut statement = transaction.prepare_cached("INSERT OR REPLACE INTO checks VALUES (?1, ?2, ?3, ?4, ?5)")?;
        let memory = check.memory.as_ref().map(json);
        statement.execute(params![contract, name, check.fingerprint, json(&check.state), memory])?;
    }
    for recovery in &batch.recoveries {
        // A batch without an acknowledged commit is written again. A recovery is identified by its
        // trigger.
        let mut statement = transaction.prepare_cached(
            "INSERT OR REPLACE INTO recoveries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        statement.execute(params![
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
        ])?;
    }
    for transition in &batch.transitions {
        let mut statement =
            transaction.prepare_cached("INSERT OR REPLACE INTO transitions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
        statement.execute(params![
            transition.contract,
            text(&transition.objective),
            text(&transition.at),
            transition.was.as_ref().map(text),
            text(&transition.status),
            text(&transition.basis),
        ])?;
    }
    triggers::write(transaction, batch)?;
    history::write(transaction, batch)?;
    record::write(transaction, &batch.plans)?;
    if batch.entries.is_empty() { Ok(()) } else { record::append(transaction, &batch.entries) }
}

fn stored(connection: &Connection) -> rusqlite::Result<Stored> {
    let mut stored = Stored::default();
    let mut statement = connection.prepare("SELECT name, state FROM contracts")?;
    let clocks = statement.query_map([], |row| Ok((row.get(0)?, from_json(row, 1)?)))?;
    stored.clocks = clocks.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare("SELECT contract, name, fingerprint, state, memory FROM checks")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let memory = row.get::<_, Option<String>>(4)?.and_then(|text| serde_json::from_str(&text).ok());
        let check = StoredCheck { fingerprint: row.get(2)?, state: from_json(row, 3)?, memory };
        stored.checks.entry(row.get(0)?).or_default().insert(row.get(1)?, check);
    }
    // SQLite gives the other columns of the row that has the greatest `at`.
    let mut statement = connection
        .prepare("SELECT contract, objective, basis, max(at) FROM transitions GROUP BY contract, objective")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        stored.told.entry(row.get(0)?).or_default().insert(word(row, 1)?, word(row, 2)?);
    }
    // A store that is only read was not migrated.
    if version(connection)? >= triggers::SINCE {
        triggers::load(connection, &mut stored)?;
    }
    if version(connection)? >= record::SINCE {
        stored.plans = record::load(connection)?;
    }
    Ok(stored)
}

fn recoveries(connection: &Connection, query: &RecoveryQuery) -> rusqlite::Result<Vec<ClosedRecovery>> {
    let mut statement = connection.prepare_cached(
        "SELECT contract, first_failure, trigger, healthy, earliest, recovery_seconds, downtime_seconds, target_seconds,
         result, mode, failed_check, reason, data_at_risk_seconds FROM recoveries
         WHERE (?1 IS NULL OR contract = ?1) AND (?2 IS NULL OR healthy >= ?2) ORDER BY healthy DESC, contract LIMIT ?3",
    )?;
    let since = query.since.as_ref().map(text);
    let rows = statement.query_map(params![query.contract, since, query.limit], |row| {
        Ok(ClosedRecovery {
            contract: row.get(0)?,
            first_failure: word(row, 1)?,
            trigger: word(row, 2)?,
            healthy: word(row, 3)?,
            earliest: word(row, 4)?,
            recovery_seconds: row.get(5)?,
            downtime_seconds: row.get(6)?,
            target_seconds: row.get(7)?,
            result: optional_word(row, 8)?,
            mode: word(row, 9)?,
            check: row.get(10)?,
            reason: row.get(11)?,
            data_at_risk_seconds: row.get(12)?,
        })
    })?;
    rows.collect()
}
