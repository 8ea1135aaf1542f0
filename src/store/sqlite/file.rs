//! The file: its schema, and what is done with one that is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::{BUSY, history, record, retention, triggers};
use crate::clock;
use crate::store::StoreError;

/// The version of the schema: the number of migrations that were applied.
const SCHEMA: i64 = 5;
/// Each migration takes the schema from one version to the next. A released migration is never
/// changed: a new one is added.
const MIGRATIONS: [&str; 5] = [
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
    history::TABLE,
    record::TABLES,
];

/// A URI that tells SQLite that the file is complete without a write-ahead log. It is needed on a
/// read-only file system, where SQLite cannot create its files beside it.
pub(super) fn uri_of_one_that_nobody_writes(path: &Path) -> Option<String> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let log_is_empty = fs::metadata(&log).map_or(true, |log| log.len() == 0);
    let path = fs::canonicalize(path).ok().filter(|_| log_is_empty)?;
    let uri = url::Url::from_file_path(path).ok()?;
    Some(format!("{uri}?immutable=1"))
}

pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
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

/// Checks that the file is intact, and that its version is known.
pub(super) fn verify(path: &Path, connection: &Connection) -> Result<(), StoreError> {
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

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Renames a file and the files that belong to it. It never replaces another file.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
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

pub(super) fn of(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (path, message) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { path, message },
        _ => StoreError::Failed { path, message },
    }
}
