//! Writes rows, and keeps account of them. A lost or replaced row is found by this account.
//!
//! Each row has a checksum. A *seal* holds how many rows an owner has, and the sum of their
//! checksums. The row of `commits` holds the same of all seals, and the number of the last commit.
//! The file beside the database repeats that row ([`Sealed`]), so an older copy of the database is
//! found as well.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ring::digest;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params_from_iter};

use super::head::Sealed;
use super::record;
use super::tables::{Owner, TABLES, Table, checksum_of, owned, owner};
use crate::store::record::Head;

/// The seals, with the number of rows and the sum of their checksums.
pub(super) static SEALS: Table = Table {
    name: "seals",
    columns: &["kind", "name", "rows", "sum"],
    key: 2,
    owner: Owner::Table("seals"),
    since: super::file::CHECKSUMS,
    reads: |row| row.get::<_, i64>(2).and_then(|_| row.get::<_, i64>(3)).map(drop),
};
/// The last commit, with the number of seals and the sum of their checksums.
pub(super) static COMMITS: Table = Table {
    name: "commits",
    columns: &["id", "number", "seals", "sum"],
    key: 1,
    owner: Owner::Table("commits"),
    since: super::file::CHECKSUMS,
    reads: |row| (1..=3).try_for_each(|column| row.get::<_, i64>(column).map(drop)),
};

/// How many rows, and the sum of their checksums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) rows: i64,
    pub(super) sum: i64,
}

impl Count {
    pub(super) fn add(&mut self, checksum: i64) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(checksum);
    }

    fn remove(&mut self, checksum: i64) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(checksum);
    }

    /// The record, by its end.
    pub(super) fn of_record(head: &Head) -> Self {
        let digest = digest::digest(&digest::SHA256, head.hash.as_bytes());
        let first = digest.as_ref().first_chunk::<8>().copied().unwrap_or_default();
        Self { rows: head.seq, sum: i64::from_be_bytes(first) }
    }

    fn and(self, other: Self) -> Self {
        Self { rows: self.rows.wrapping_add(other.rows), sum: self.sum.wrapping_add(other.sum) }
    }
}

/// Writes rows in one transaction, and keeps account of them.
pub(super) struct Writer<'a> {
    transaction: &'a Transaction<'a>,
    /// What changed, by the kind and name of the owner.
    changed: RefCell<BTreeMap<(&'static str, String), Count>>,
    /// The end of the record, if that changed.
    record: RefCell<Option<Head>>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(transaction: &'a Transaction<'a>) -> Self {
        Self { transaction, changed: RefCell::default(), record: RefCell::default() }
    }

    pub(super) fn transaction(&self) -> &'a Transaction<'a> {
        self.transaction
    }

    /// Writes a row, and replaces the one that has its key.
    pub(super) fn put(&self, table: &Table, values: &[&dyn ToSql]) -> rusqlite::Result<()> {
        let values: Vec<Value> = values.iter().map(|value| bound(*value)).collect::<rusqlite::Result<_>>()?;
        let checksum = table.checksum(&values);
        let before = self
            .transaction
            .prepare_cached(&format!("SELECT checksum FROM {} WHERE {}", table.name, table.by_key()))?
            .query_row(params_from_iter(values.iter().take(table.key)), |row| Ok(checksum_of(row, 0)))
            .optional()?;
        let mut statement = self.transaction.prepare_cached(&table.insertion())?;
        statement.execute(params_from_iter(values.iter().chain([&Value::Integer(checksum)])))?;
        let owner = table.owner_of(values.first().unwrap_or(&Value::Null));
        let mut changed = self.changed.borrow_mut();
        let count = changed.entry(owner).or_default();
        if let Some(before) = before {
            count.remove(number(&before));
        }
        count.add(checksum);
        Ok(())
    }

    /// Deletes rows, and returns how many. The table is called `old` in the condition.
    pub(super) fn delete(&self, table: &Table, condition: &str, parameters: &[&dyn ToSql]) -> rusqlite::Result<usize> {
        let first = table.columns.first().copied().unwrap_or_default();
        let sql = format!("DELETE FROM {} AS old WHERE {condition} RETURNING {first}, checksum", table.name);
        let mut statement = self.transaction.prepare_cached(&sql)?;
        let mut rows = statement.query(parameters)?;
        let mut deleted = 0;
        while let Some(row) = rows.next()? {
            let owner = table.owner_of(&owned(row.get_ref(0)?));
            self.changed.borrow_mut().entry(owner).or_default().remove(number(&checksum_of(row, 1)));
            deleted += 1;
        }
        Ok(deleted)
    }

    /// Takes the end of the record into the account. The entries have a chain of their own.
    pub(super) fn note_record(&self, head: &Head) {
        *self.record.borrow_mut() = Some(head.clone());
    }

    /// Settles the account. The result is what the file beside the database must repeat once this is
    /// committed.
    pub(super) fn settle(self) -> rusqlite::Result<Sealed> {
        let before = sealed(self.transaction)?.unwrap_or_default();
        let mut all = before.seals;
        let mut sealed = |kind: &str, name: &str, count: &dyn Fn(Count) -> Count| -> rusqlite::Result<()> {
            let known = known(self.transaction, kind, name)?;
            if let Some((_, checksum)) = known {
                all.remove(checksum);
            }
            let count = count(known.map(|(count, _)| count).unwrap_or_default());
            all.add(seal(self.transaction, kind, name, count)?);
            Ok(())
        };
        for ((kind, name), change) in self.changed.into_inner() {
            sealed(kind, &name, &|count| count.and(change))?;
        }
        if let Some(head) = self.record.into_inner() {
            sealed(owner::RECORD, "", &|_| Count::of_record(&head))?;
        }
        note(self.transaction, Sealed { number: before.number.saturating_add(1), seals: all })
    }
}

/// A seal and its checksum.
fn known(transaction: &Transaction<'_>, kind: &str, name: &str) -> rusqlite::Result<Option<(Count, i64)>> {
    transaction
        .prepare_cached("SELECT rows, sum, checksum FROM seals WHERE kind = ?1 AND name = ?2")?
        .query_row([kind, name], |row| {
            Ok((Count { rows: row.get(0)?, sum: row.get(1)? }, number(&checksum_of(row, 2))))
        })
        .optional()
}

/// Writes a seal, and returns its checksum.
fn seal(transaction: &Transaction<'_>, kind: &str, name: &str, count: Count) -> rusqlite::Result<i64> {
    let (rows, sum) = (Value::Integer(count.rows), Value::Integer(count.sum));
    let values = [Value::Text(kind.to_owned()), Value::Text(name.to_owned()), rows, sum];
    let checksum = SEALS.checksum(&values);
    let mut statement = transaction.prepare_cached(&SEALS.insertion())?;
    statement.execute(params_from_iter(values.iter().chain([&Value::Integer(checksum)])))?;
    Ok(checksum)
}

fn note(transaction: &Transaction<'_>, sealed: Sealed) -> rusqlite::Result<Sealed> {
    let values = [0, sealed.number, sealed.seals.rows, sealed.seals.sum].map(Value::Integer);
    let checksum = Value::Integer(COMMITS.checksum(&values));
    transaction.execute(&COMMITS.insertion(), params_from_iter(values.iter().chain([&checksum])))?;
    Ok(sealed)
}

/// The last commit as the database knows it. None if there was none, or if its row was damaged.
pub(super) fn sealed(connection: &Connection) -> rusqlite::Result<Option<Sealed>> {
    let sql = format!("SELECT {} FROM commits", COMMITS.selected(super::file::CHECKSUMS));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if COMMITS.judge(row, super::file::CHECKSUMS).is_err() {
        return Ok(None);
    }
    Ok(Some(Sealed { number: row.get(1)?, seals: Count { rows: row.get(2)?, sum: row.get(3)? } }))
}

/// Takes account of everything anew, as it stands. The next commit has this `number`. A row without
/// a checksum gets one if `sign`: an earlier version wrote it.
pub(super) fn anew(transaction: &Transaction<'_>, number: i64, sign: bool) -> rusqlite::Result<Sealed> {
    transaction.execute_batch("DELETE FROM seals; DELETE FROM commits;")?;
    let mut counts: BTreeMap<(&'static str, String), Count> = BTreeMap::new();
    for table in TABLES {
        if sign {
            signed(transaction, table)?;
        }
        let first = table.columns.first().copied().unwrap_or_default();
        let mut statement = transaction.prepare(&format!("SELECT {first}, checksum FROM {}", table.name))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let owner = table.owner_of(&owned(row.get_ref(0)?));
            counts.entry(owner).or_default().add(self::number(&checksum_of(row, 1)));
        }
    }
    counts.insert((owner::RECORD, String::new()), Count::of_record(&record::head(transaction)?));
    let mut all = Count::default();
    for ((kind, name), count) in counts {
        all.add(seal(transaction, kind, &name, count)?);
    }
    note(transaction, Sealed { number, seals: all })
}

/// Gives each row of a table its checksum.
fn signed(transaction: &Transaction<'_>, table: &Table) -> rusqlite::Result<()> {
    let mut statement = transaction.prepare(&format!("SELECT {} FROM {}", table.columns.join(", "), table.name))?;
    let rows = statement.query_map([], |row| table.values(row))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let place = table.columns.len() + 1;
    let update = |condition: &str| format!("UPDATE {} SET checksum = ?{place} WHERE {condition}", table.name);
    let mut by_key = transaction.prepare(&update(&table.by_key()))?;
    let mut by_bytes = transaction.prepare(&update(&table.by_bytes()))?;
    for values in rows {
        let checksum = Value::Integer(table.checksum(&values));
        let all = || params_from_iter(values.iter().chain([&checksum]));
        if by_key.execute(all())? == 0 {
            by_bytes.execute(all())?;
        }
    }
    Ok(())
}

/// A checksum as a number. One that was damaged counts as 0.
pub(super) fn number(checksum: &Value) -> i64 {
    if let Value::Integer(number) = checksum { *number } else { 0 }
}

fn bound(value: &dyn ToSql) -> rusqlite::Result<Value> {
    Ok(match value.to_sql()? {
        ToSqlOutput::Borrowed(value) => owned(value),
        ToSqlOutput::Owned(value) => value,
        _ => Value::Null,
    })
}
