//! Reads rows, and leaves out those that are not what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;

use rusqlite::{Connection, Params, Row};

use super::file::version;
use super::tables::Table;

/// How many rows are remembered as damaged. All of them are left out, also beyond that.
const REMEMBERED: usize = 1000;

/// The rows that were left out: what each is called, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Doubts(RefCell<BTreeMap<String, String>>);

impl Doubts {
    fn note(&self, table: &Table, row: &Row<'_>, why: String) {
        let mut doubts = self.0.borrow_mut();
        if doubts.len() < REMEMBERED {
            doubts.insert(table.called(&table.values(row).unwrap_or_default()), why);
        }
    }

    /// The rows, and what is wrong with each.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        self.0.borrow().iter().map(|(row, why)| (row.clone(), why.clone())).collect()
    }
}

/// Access to rows.
pub(super) struct Reading<'a> {
    pub(super) connection: &'a Connection,
    /// The version of the schema of the file.
    pub(super) version: i64,
    doubts: &'a Doubts,
}

impl<'a> Reading<'a> {
    pub(super) fn new(connection: &'a Connection, doubts: &'a Doubts) -> rusqlite::Result<Self> {
        Ok(Self { connection, version: version(connection)?, doubts })
    }

    /// Rows of a table. In the statement, `{}` stands for its columns and checksum, which come
    /// first. A table that the file does not have yet is empty.
    pub(super) fn rows<T>(
        &self,
        table: &Table,
        sql: &str,
        parameters: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        if self.version < table.since {
            return Ok(Vec::new());
        }
        let sql = sql.replacen("{}", &table.selected(self.version), 1);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query(parameters)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next()? {
            match table.judge(row, self.version).and_then(|()| read(row).map_err(|error| error.to_string())) {
                Ok(value) => all.push(value),
                Err(why) => self.doubts.note(table, row, why),
            }
        }
        Ok(all)
    }
}
