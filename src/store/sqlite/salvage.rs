//! Saves what can be read of a file with damaged pages.
//!
//! The file itself is set aside as it is. A copy of it is mended as far as its header and schema are
//! known anyway, and read table by table. What cannot be read is skipped: it is found to be missing
//! afterwards, because the rows are accounted for.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, Transaction, params_from_iter};
use tracing::warn;

use super::file::{connect, of, set_aside, with_ending};
use super::mend;
use super::seals::{self, COMMITS, SEALS};
use super::tables::{TABLES, Table, owned};
use crate::store::StoreError;

/// The files that belong to a database, beside itself.
const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// The tables without checksums, with their columns and the key.
const OTHERS: [(&str, usize, &str); 3] = [("record", 6, "seq"), ("record_head", 3, "id"), ("damaged", 4, "rowid")];

/// Sets a damaged file aside, and opens a new one with everything that can be read of it. The result
/// may have a reason why nobody knows how much was lost.
///
/// # Errors
/// The files cannot be read or written.
pub(super) fn salvaged(path: &Path, damage: &str) -> Result<(Connection, Option<String>), StoreError> {
    let failed = |error: io::Error| StoreError::Failed { path: path.to_owned(), message: error.to_string() };
    let (copy, new) = (with_ending(path, ".salvage"), with_ending(path, ".new"));
    // An earlier attempt may have been interrupted.
    [&copy, &new].into_iter().try_for_each(|file| remove(file)).map_err(failed)?;
    fs::copy(path, &copy).map_err(failed)?;
    let log = with_ending(path, "-wal");
    if log.exists() {
        fs::copy(&log, with_ending(&copy, "-wal")).map_err(failed)?;
    }
    let mut target = connect(&new)?;
    let copied = target.transaction().and_then(|transaction| {
        let copied = copy_all(&copy, &transaction)?;
        transaction.commit().map(|()| copied)
    });
    let Copied { rows, accounted } = copied.map_err(|error| of(&new, &error))?;
    target.close().map_err(|(_, error)| of(&new, &error))?;
    let aside = set_aside(path).map_err(failed)?;
    fs::rename(&new, path).map_err(failed)?;
    [&copy, &new].into_iter().try_for_each(|file| remove(file)).map_err(failed)?;
    warn!(
        file = %path.display(),
        damage,
        aside = %aside.display(),
        rows,
        "the storage was damaged; it is set aside, and what can be read of it is written to a new one"
    );
    let connection = connect(path)?;
    let why = format!("{damage}; it is set aside as {}, and {rows} rows of it were read", aside.display());
    mend::note(&connection, "the file", &why, None).map_err(|error| of(path, &error))?;
    let doubt = (!accounted).then(|| "the damaged file did not tell how many rows it had".to_owned());
    Ok((connection, doubt))
}

fn remove(file: &Path) -> io::Result<()> {
    let all = COMPANIONS.iter().map(|ending| with_ending(file, ending)).chain([file.to_owned()]);
    all.filter(|file| file.exists()).try_for_each(fs::remove_file)
}

/// What was copied.
struct Copied {
    rows: usize,
    /// Whether the rows are accounted for, so that what is missing will be found.
    accounted: bool,
}

fn copy_all(copy: &Path, target: &Transaction<'_>) -> rusqlite::Result<Copied> {
    let mut copied = Copied { rows: 0, accounted: false };
    let Some(source) = opened(copy, target) else { return Ok(copied) };
    let mut names = BTreeSet::new();
    target.execute_batch("DELETE FROM commits")?;
    let mut signed = true;
    for table in TABLES.into_iter().chain([&SEALS, &COMMITS]) {
        let key: Vec<String> = (1..=table.key).map(|place| place.to_string()).collect();
        let columns = table.columns.len() + 1;
        let salvage = Salvage { source: &source, target, table: table.name, columns, key: key.join(", ") };
        copied.rows += salvage.run(Some(table), &mut names)?;
        signed &= salvage.found_columns() != Some(columns - 1);
    }
    for (table, columns, key) in OTHERS {
        let salvage = Salvage { source: &source, target, table, columns, key: key.to_owned() };
        copied.rows += salvage.run(None, &mut names)?;
    }
    if !signed {
        // An earlier version wrote it, without checksums.
        seals::anew(target, 0, true)?;
    }
    copied.accounted = signed;
    Ok(copied)
}

/// Opens the copy. Its header and its schema are written anew, as far as they can only be one thing.
fn opened(copy: &Path, target: &Transaction<'_>) -> Option<Connection> {
    mend_header(copy).ok()?;
    let connection = Connection::open(copy).ok()?;
    let mend_schema = || -> rusqlite::Result<()> {
        let mut statement = target.prepare("SELECT sql, type, name FROM sqlite_schema WHERE sql IS NOT NULL")?;
        let texts = statement.query_map([], |row| Ok([row.get::<_, String>(0)?, row.get(1)?, row.get(2)?]))?;
        let texts = texts.collect::<rusqlite::Result<Vec<_>>>()?;
        connection.pragma_update(None, "writable_schema", "ON")?;
        for text in texts {
            let sql = "UPDATE sqlite_schema SET sql = ?1 WHERE type = ?2 AND name = ?3 AND sql != ?1";
            connection.execute(sql, params_from_iter(text))?;
        }
        Ok(())
    };
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0));
    if version.is_ok_and(|version| version == super::file::SCHEMA) {
        // If this fails, the file is read as it is.
        let _ = mend_schema();
    }
    drop(connection);
    Connection::open(copy).ok()
}

/// Writes those bytes of the header that cannot be anything else in a file of this program.
fn mend_header(copy: &Path) -> io::Result<()> {
    let mut file = File::options().read(true).write(true).open(copy)?;
    let mut header = [0; 100];
    file.read_exact(&mut header)?;
    let mut set = |at: usize, bytes: &[u8]| {
        if let Some(place) = header.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    };
    set(0, b"SQLite format 3\0");
    set(16, &4096_u16.to_be_bytes());
    // Read and written with a write-ahead log; no reserved bytes; fixed fractions.
    set(18, &[2, 2, 0, 64, 32, 32]);
    // The form of the schema, and UTF-8.
    set(44, &4_u32.to_be_bytes());
    set(56, &1_u32.to_be_bytes());
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&header)
}

/// The copying of one table.
struct Salvage<'a> {
    source: &'a Connection,
    target: &'a Transaction<'a>,
    table: &'a str,
    columns: usize,
    /// The order in which the rows stand in the file.
    key: String,
}

impl Salvage<'_> {
    /// How many columns the table has in the source.
    fn found_columns(&self) -> Option<usize> {
        self.source.prepare(&format!("SELECT * FROM {}", self.table)).map(|statement| statement.column_count()).ok()
    }

    /// Copies every row that can be reached: from the first on, from the last on, and from the first
    /// and last of each name that any table has.
    fn run(&self, table: Option<&Table>, names: &mut BTreeSet<String>) -> rusqlite::Result<usize> {
        let whole = self.pass("", None, names)?;
        if !whole {
            self.pass("DESC", None, names)?;
            let first = table.and_then(|table| table.columns.first());
            for name in first.map(|_| names.clone()).unwrap_or_default() {
                for order in ["", "DESC"] {
                    self.pass(order, first.map(|first| (*first, name.as_str())), names)?;
                }
            }
        }
        let count = format!("SELECT count(*) FROM {}", self.table);
        let count = self.target.query_row(&count, [], |row| row.get::<_, i64>(0))?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Copies rows in one order, until one cannot be read. True if all could be read. A fault of the
    /// source is no error; a fault of the target is.
    fn pass(&self, order: &str, only: Option<(&str, &str)>, names: &mut BTreeSet<String>) -> rusqlite::Result<bool> {
        let condition = only.map(|(column, _)| format!("WHERE {column} = ?1")).unwrap_or_default();
        let key: Vec<String> = self.key.split(", ").map(|column| format!("{column} {order}")).collect();
        let sql = format!("SELECT * FROM {} {condition} ORDER BY {}", self.table, key.join(", "));
        let Ok(mut statement) = self.source.prepare(&sql) else { return Ok(false) };
        let found = statement.column_count();
        let Ok(mut rows) = statement.query(params_from_iter(only.map(|(_, name)| name))) else { return Ok(false) };
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => return Ok(true),
                Err(_) => return Ok(false),
            };
            let values = (0..found.min(self.columns)).map(|index| row.get_ref(index).map(owned));
            let Ok(mut values) = values.collect::<rusqlite::Result<Vec<_>>>() else { continue };
            values.resize(self.columns, Value::Null);
            if let Some(Value::Text(name)) = values.first() {
                names.insert(name.clone());
            }
            self.take(&values)?;
        }
    }

    fn take(&self, values: &[Value]) -> rusqlite::Result<()> {
        let places: Vec<String> = (1..=self.columns).map(|place| format!("?{place}")).collect();
        let sql = format!("INSERT OR IGNORE INTO {} VALUES ({})", self.table, places.join(", "));
        // What breaks a constraint is ignored here, and missed later.
        self.target.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
    }
}
