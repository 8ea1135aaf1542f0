//! The default store: one SQLite file, which people can open with `sqlite3` while it is in use.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Row, Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, Store, StoreError, Stored, StoredCheck};
use crate::clock;
use crate::domain::independence::DegradedOperation;
use crate::domain::time::Timestamp;

mod retention;
mod triggers;

/// The name of the file in the directory of the storage.
pub const FILE: &str = "dr-exporter.db";
/// The name of the file that is locked while a process uses the storage.
const LOCK: &str = "dr-exporter.lock";

/// The version of the schema: how many of the migrations are done.
const SCHEMA: i64 = 3;
/// Each takes the schema from the version of its place to the next. None is ever changed: a new one is added.
const MIGRATIONS: [&str; 3] = [
    "
    CREATE TABLE contracts (
        name TEXT PRIMARY KEY,
        state TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE checks (
        contract TEXT NOT NULL,
        name TEXT NOT NULL,
        fingerprint TEXT NOT NULL,
        state TEXT NOT NULL,
        memory TEXT,
        PRIMARY KEY (contract, name)
    ) WITHOUT ROWID;
    CREATE TABLE recoveries (
        contract TEXT NOT NULL,
        trigger TEXT NOT NULL,
        first_failure TEXT NOT NULL,
        healthy TEXT NOT NULL,
        earliest TEXT NOT NULL,
        recovery_seconds REAL NOT NULL,
        downtime_seconds REAL NOT NULL,
        target_seconds REAL,
        result TEXT,
        mode TEXT NOT NULL,
        failed_check TEXT NOT NULL,
        reason TEXT NOT NULL,
        data_at_risk_seconds REAL,
        PRIMARY KEY (contract, trigger)
    ) WITHOUT ROWID;
    CREATE INDEX recoveries_by_end ON recoveries (healthy);
    CREATE TABLE transitions (
        contract TEXT NOT NULL,
        objective TEXT NOT NULL,
        at TEXT NOT NULL,
        was TEXT,
        status TEXT NOT NULL,
        basis TEXT NOT NULL,
        PRIMARY KEY (contract, objective, at)
    ) WITHOUT ROWID;
",
    triggers::TABLES,
    retention::TABLE,
];

/// How long a write waits for somebody who reads with `sqlite3`.
const BUSY: Duration = Duration::from_secs(2);

/// The store in a directory.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    connection: Connection,
    // Held for as long as the store is open.
    _lock: File,
}

impl SqliteStore {
    /// Opens the store of a directory, and makes both where they are not. A damaged file is set aside, with a name that says
    /// when, and a new one is begun.
    ///
    /// # Errors
    /// Another process uses it, a later version wrote it, or it cannot be read or written.
    pub fn open(directory: &Path) -> Result<Self, StoreError> {
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
                warn!(file = %path.display(), message, aside = %aside.display(), "the storage is damaged and set aside; a new one is begun");
                connect(&path)
            }
            opened => opened,
        };
        Ok(Self { connection: opened?, path, _lock: lock })
    }

    /// Opens the store of a directory to look at it, also while a daemon uses it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn inspect(directory: &Path) -> Result<Inspection, StoreError> {
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

/// A store that is looked at.
#[derive(Debug)]
pub struct Inspection {
    path: PathBuf,
    connection: Connection,
}

/// Everything in a store.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// The version of the schema.
    pub schema: i64,
    /// What a restart goes on from.
    pub state: Stored,
    /// Recoveries, the newest first.
    pub recoveries: Vec<ClosedRecovery>,
    /// Changes of status, the oldest first.
    pub transitions: Vec<super::Transition>,
    /// Firings of triggers, the newest first.
    pub firings: Vec<Firing>,
    /// How contracts did without others, the oldest first.
    pub degraded_operation: Vec<DegradedOperation>,
}

impl Inspection {
    /// What a restart goes on from.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn stored(&self) -> Result<Stored, StoreError> {
        stored(&self.connection).map_err(|error| of(&self.path, &error))
    }

    /// Everything in it.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn export(&self) -> Result<Export, StoreError> {
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let read = || -> rusqlite::Result<Export> {
            let mut transitions = self
                .connection
                .prepare("SELECT contract, objective, at, was, status, basis FROM transitions ORDER BY at")?;
            let transitions = transitions.query_map([], |row| {
                Ok(super::Transition {
                    contract: row.get(0)?,
                    objective: word(row, 1)?,
                    at: word(row, 2)?,
                    was: optional_word(row, 3)?,
                    status: word(row, 4)?,
                    basis: word(row, 5)?,
                })
            })?;
            let schema = version(&self.connection)?;
            let (mut firings, mut degraded_operation) = Default::default();
            if schema >= triggers::SINCE {
                let all = FiringQuery { trigger: None, since: None, limit: u32::MAX };
                firings = triggers::firings(&self.connection, &all)?;
                degraded_operation = triggers::operations(&self.connection)?;
            }
            Ok(Export {
                schema,
                state: stored(&self.connection)?,
                recoveries: recoveries(&self.connection, &all)?,
                transitions: transitions.collect::<rusqlite::Result<_>>()?,
                firings,
                degraded_operation,
            })
        };
        read().map_err(|error| of(&self.path, &error))
    }
}

/// A file without a log beside it is whole by itself. SQLite must be told so where it cannot make its files beside it, as on
/// a file system that is read-only.
fn uri_of_one_that_nobody_writes(path: &Path) -> Option<String> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_is_empty = fs::metadata(&log).map_or(true, |log| log.len() == 0);
    let path = fs::canonicalize(path).ok().filter(|_| log_is_empty)?;
    let uri = url::Url::from_file_path(path).ok()?;
    Some(format!("{uri}?immutable=1"))
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| of(path, &error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    verify(path, &connection)?;
    // A commit is on the disk before it is acknowledged.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let from = version(&connection).map_err(failed)?;
    let migrated = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for (migration, to) in MIGRATIONS.iter().zip(1..).filter(|(_, to)| *to > from) {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", to)?;
        }
        transaction.commit()
    };
    let mut migrated = migrated;
    migrated().map_err(failed)?;
    Ok(connection)
}

/// That the file is whole, and of a version that is known.
fn verify(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let found = version(connection).map_err(|error| of(path, &error))?;
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
    }
    let whole = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    match whole {
        Ok(answer) if answer == "ok" => Ok(()),
        Ok(message) => Err(StoreError::Damaged { path: path.to_owned(), message }),
        Err(error) => Err(of(path, &error)),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Renames a file and what belongs to it; never over another.
fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let now = jiff::Timestamp::from(clock::wall()).strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
    let named = |path: &Path, ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let aside = named(path, &format!(".damaged-{now}"));
    fs::rename(path, &aside)?;
    for ending in ["-wal", "-shm"] {
        let file = named(path, ending);
        if file.exists() {
            fs::rename(&file, named(&aside, ending))?;
        }
    }
    Ok(aside)
}

fn of(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (path, message) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { path, message },
        _ => StoreError::Failed { path, message },
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

    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<Firing>, StoreError> {
        triggers::firings(&self.connection, query).map_err(|error| of(&self.path, &error))
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
        // A batch whose commit was not acknowledged is written again; a recovery is known by its trigger.
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
    triggers::write(transaction, batch)
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
    // One that is only looked at was not migrated.
    if version(connection)? >= triggers::SINCE {
        triggers::load(connection, &mut stored)?;
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

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A word or a time as text. Times have nine digits of the second, so that their order is that of the texts.
fn text(value: &impl Serialize) -> String {
    let word = serde_json::to_value(value).ok();
    let word = word.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
    match word.parse::<jiff::Timestamp>() {
        Ok(time) => format!("{time:.9}"),
        Err(_) => word.to_owned(),
    }
}

fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|error| unreadable(column, error))
}

fn optional_word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    let value = text.map(|text| serde_json::from_value(serde_json::Value::String(text)));
    value.transpose().map_err(|error| unreadable(column, error))
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}
