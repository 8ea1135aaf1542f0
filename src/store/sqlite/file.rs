//! The file: its schema, and what is done with one that is damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use rusqlite::{Connection, ErrorCode};

use super::tables::{self, TABLES};
use super::{BUSY, LOCK, history, record, retention, seals, triggers};
use crate::clock;
use crate::store::StoreError;

/// The version of the schema: the number of migrations that were applied.
pub(super) const SCHEMA: i64 = 6;
/// The version of the schema that added checksums.
pub(super) const CHECKSUMS: i64 = 6;
/// Each migration takes the schema from one version to the next. A released migration is never
/// changed: a new one is added.
const MIGRATIONS: [&str; 6] = [
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
    "
    ALTER TABLE contracts ADD COLUMN checksum INTEGER;
    ALTER TABLE checks ADD COLUMN checksum INTEGER;
    ALTER TABLE recoveries ADD COLUMN checksum INTEGER;
    ALTER TABLE transitions ADD COLUMN checksum INTEGER;
    ALTER TABLE observed ADD COLUMN checksum INTEGER;
    ALTER TABLE degraded_operation ADD COLUMN checksum INTEGER;
    ALTER TABLE triggers ADD COLUMN checksum INTEGER;
    ALTER TABLE firings ADD COLUMN checksum INTEGER;
    ALTER TABLE plans ADD COLUMN checksum INTEGER;
    ALTER TABLE retention ADD COLUMN checksum INTEGER;
    CREATE TABLE seals (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        rows INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        checksum INTEGER,
        PRIMARY KEY (kind, name)
    ) WITHOUT ROWID;
    CREATE TABLE commits (
        id INTEGER PRIMARY KEY CHECK (id = 0),
        number INTEGER NOT NULL,
        seals INTEGER NOT NULL,
        sum INTEGER NOT NULL,
        checksum INTEGER
    );
    CREATE TABLE damaged (
        found TEXT,
        what TEXT,
        why TEXT,
        content TEXT
    );
",
];

/// A URI that tells SQLite that the file is complete without a write-ahead log. It is needed on a
/// read-only file system, where SQLite cannot create its files beside it.
///
/// None for a file that somebody may write: SQLite would take no locks, and find damage where a page is
/// written while it is read. Whoever has it open keeps the index of its log beside it.
pub(super) fn uri_of_one_that_nobody_writes(path: &Path) -> Option<String> {
    let beside = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        name
    };
    let log_is_empty = fs::metadata(beside("-wal")).map_or(true, |log| log.len() == 0);
    let is_open = fs::exists(beside("-shm")).unwrap_or(true) && is_writable(path);
    let path = fs::canonicalize(path).ok().filter(|_| log_is_empty && !is_open)?;
    let uri = url::Url::from_file_path(path).ok()?;
    Some(format!("{uri}?immutable=1"))
}

/// Whether the file system lets anybody write there. Where it does not, what was left beside the file is
/// in nobody's use. The lock is asked, for who opens and closes the file itself loses SQLite's locks on it.
fn is_writable(path: &Path) -> bool {
    let opened = fs::OpenOptions::new().append(true).open(path.with_file_name(LOCK));
    !opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

/// Opens a file for writing, and brings it to the current schema.
pub(super) fn connect(path: &Path) -> Result<Connection, StoreError> {
    let failed = |error: rusqlite::Error| of(path, &error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    verify(path, &connection)?;
    // A commit is on the disk before it is acknowledged.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    // In KiB. By itself it would grow to 2 MB over the first hours.
    connection.pragma_update(None, "cache_size", -512).map_err(failed)?;
    let from = version(&connection).map_err(failed)?;
    if from == SCHEMA {
        return Ok(connection);
    }
    let mut migrate = || -> rusqlite::Result<()> {
        let transaction = connection.transaction()?;
        for (migration, to) in MIGRATIONS.iter().zip(1..).filter(|(_, to)| *to > from) {
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "user_version", to)?;
        }
        if from < CHECKSUMS {
            seals::anew(&transaction, 0, true)?;
        }
        transaction.commit()
    };
    migrate().map_err(failed)?;
    Ok(connection)
}

/// Moves what was committed from the write-ahead log into the file, and empties the log. A log that
/// is cut later then loses nothing. If somebody reads, this is left for the next time.
pub(super) fn empty_the_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
    connection.busy_timeout(BUSY)?;
    match emptied {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(()),
        emptied => emptied,
    }
}

/// Checks that the file is intact, and that its version is known.
pub(super) fn verify(path: &Path, connection: &Connection) -> Result<(), StoreError> {
    let damaged = |message: String| StoreError::Damaged { path: path.to_owned(), message };
    let found = version(connection).map_err(|error| unreadable(path, &error))?;
    if found > SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: SCHEMA });
    }
    let whole = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0));
    match whole {
        Ok(answer) if answer == "ok" => {}
        Ok(message) => return Err(damaged(message)),
        Err(error) => return Err(unreadable(path, &error)),
    }
    match schema_fault(connection, found) {
        Ok(None) => Ok(()),
        Ok(Some(message)) => Err(damaged(message)),
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// What is wrong with the tables of a file of this version.
fn schema_fault(connection: &Connection, version: i64) -> rusqlite::Result<Option<String>> {
    if version < CHECKSUMS && tables::exists(connection, seals::COMMITS.name)? {
        return Ok(Some(format!("it says that its schema is {version}, and has tables of a later one")));
    }
    for table in TABLES.into_iter().chain([&seals::SEALS, &seals::COMMITS]).filter(|table| table.since <= version) {
        let mut expected: Vec<(String, i64)> = table.columns.iter().map(|column| ((*column).to_owned(), 0)).collect();
        for (place, column) in (1..).zip(expected.iter_mut().take(table.key)) {
            column.1 = place;
        }
        if version >= CHECKSUMS {
            expected.push(("checksum".to_owned(), 0));
        }
        let mut statement = connection.prepare("SELECT name, pk FROM pragma_table_xinfo(?1)")?;
        let found = statement.query_map([table.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if found.collect::<rusqlite::Result<Vec<_>>>()? != expected {
            return Ok(Some(format!("the table {} has other columns than it should have", table.name)));
        }
    }
    Ok(None)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// A path with something added to its name.
pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// Renames a file and the files that belong to it. It never replaces another file.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let now = jiff::Timestamp::from(clock::wall()).strftime("%Y%m%dT%H%M%S%.6fZ").to_string();
    let aside = with_ending(path, &format!(".damaged-{now}"));
    fs::rename(path, &aside)?;
    for ending in ["-wal", "-shm"] {
        let file = with_ending(path, ending);
        if file.exists() {
            fs::rename(&file, with_ending(&aside, ending))?;
        }
    }
    Ok(aside)
}

/// The same for an error that comes from a file before anything was asked of its tables. SQLite has
/// no code of its own for a header or a schema that makes no sense.
fn unreadable(path: &Path, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::Unknown) | None => StoreError::Damaged { path: path.to_owned(), message: error.to_string() },
        _ => of(path, error),
    }
}

pub(super) fn of(path: &Path, error: &rusqlite::Error) -> StoreError {
    let (path, message) = (path.to_owned(), error.to_string());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged { path, message },
        _ => StoreError::Failed { path, message },
    }
}
