//! The tables with checksums: what they hold, and how a row is written and judged.

use ring::digest;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};

use super::{file, history, parse, record, triggers};

/// Whose rows are counted together. What was lost is known by owner, so that the others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// One owner for each value of the first column.
    Each(&'static str),
    /// One owner for the table.
    Table(&'static str),
}

/// A table whose rows have checksums.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// All columns but the checksum, in their order. The checksum is the last column.
    pub(super) columns: &'static [&'static str],
    /// The primary key: the first so many columns.
    pub(super) key: usize,
    pub(super) owner: Owner,
    /// The version of the schema that added the table.
    pub(super) since: i64,
    /// Fails if the program cannot read a row, in the order of the columns.
    pub(super) reads: fn(&Row<'_>) -> rusqlite::Result<()>,
}

/// The kinds of owners.
pub(super) mod owner {
    pub(in super::super) const STATE: &str = "state";
    pub(in super::super) const HISTORY: &str = "history";
    pub(in super::super) const TRIGGER: &str = "trigger";
    pub(in super::super) const FIRINGS: &str = "firings";
    pub(in super::super) const PLANS: &str = "plans";
    pub(in super::super) const RECORD: &str = "record";
    pub(in super::super) const RETENTION: &str = "retention";
}

pub(super) static CONTRACTS: Table = Table {
    name: "contracts",
    columns: &["name", "state"],
    key: 1,
    owner: Owner::Each(owner::STATE),
    since: 1,
    reads: |row| parse::clock(row).map(drop),
};
pub(super) static CHECKS: Table = Table {
    name: "checks",
    columns: &["contract", "name", "fingerprint", "state", "memory"],
    key: 2,
    owner: Owner::Each(owner::STATE),
    since: 1,
    reads: |row| parse::check(row).map(drop),
};
pub(super) static RECOVERIES: Table = Table {
    name: "recoveries",
    columns: &[
        "contract",
        "trigger",
        "first_failure",
        "healthy",
        "earliest",
        "recovery_seconds",
        "downtime_seconds",
        "target_seconds",
        "result",
        "mode",
        "failed_check",
        "reason",
        "data_at_risk_seconds",
    ],
    key: 2,
    owner: Owner::Each(owner::HISTORY),
    since: 1,
    reads: |row| parse::recovery(row).map(drop),
};
pub(super) static TRANSITIONS: Table = Table {
    name: "transitions",
    columns: &["contract", "objective", "at", "was", "status", "basis"],
    key: 3,
    owner: Owner::Each(owner::HISTORY),
    since: 1,
    reads: |row| history::transition(row).map(drop),
};
pub(super) static OBSERVED: Table = Table {
    name: "observed",
    columns: &["contract", "since", "until"],
    key: 2,
    owner: Owner::Each(owner::HISTORY),
    since: history::SINCE,
    reads: |row| history::observed(row).map(drop),
};
pub(super) static OPERATIONS: Table = Table {
    name: "degraded_operation",
    columns: &["contract", "without", "started", "ended", "ok"],
    key: 3,
    owner: Owner::Each(owner::HISTORY),
    since: triggers::SINCE,
    reads: |row| triggers::operation(row).map(drop),
};
pub(super) static TRIGGERS: Table = Table {
    name: "triggers",
    columns: &["name", "fingerprint", "state"],
    key: 1,
    owner: Owner::Each(owner::TRIGGER),
    since: triggers::SINCE,
    reads: |row| triggers::trigger(row).map(drop),
};
pub(super) static FIRINGS: Table = Table {
    name: "firings",
    columns: &["trigger", "started", "ended", "holds_since", "action", "notification", "mode", "reason", "detail"],
    key: 2,
    owner: Owner::Each(owner::FIRINGS),
    since: triggers::SINCE,
    reads: |row| triggers::firing(row).map(drop),
};
pub(super) static PLANS: Table = Table {
    name: "plans",
    columns: &["kind", "id", "at", "state"],
    key: 2,
    owner: Owner::Table(owner::PLANS),
    since: record::SINCE,
    reads: record::readable,
};
pub(super) static RETENTION: Table = Table {
    name: "retention",
    columns: &["id", "date", "haste_seconds"],
    key: 1,
    owner: Owner::Table(owner::RETENTION),
    since: 3,
    reads: |row| super::retention::stored_date(row).map(drop),
};
/// The tables with rows of the store, in the order in which they are looked at.
pub(super) static TABLES: [&Table; 10] =
    [&CONTRACTS, &CHECKS, &RECOVERIES, &TRANSITIONS, &OBSERVED, &OPERATIONS, &TRIGGERS, &FIRINGS, &PLANS, &RETENTION];

impl Table {
    /// The columns and the checksum, as a list of SQL. A file of an earlier version has no
    /// checksum.
    pub(super) fn selected(&self, version: i64) -> String {
        let checksum = if version >= file::CHECKSUMS { "checksum" } else { "NULL AS checksum" };
        format!("{}, {checksum}", self.columns.join(", "))
    }

    /// The condition that finds a row by its key, with numbered parameters.
    pub(super) fn by_key(&self) -> String {
        let keys = self.columns.iter().take(self.key).enumerate();
        let keys: Vec<String> = keys.map(|(index, column)| format!("{column} = ?{}", index + 1)).collect();
        keys.join(" AND ")
    }

    /// The condition that finds a row by its key as it stands, with numbered parameters. It finds
    /// also a key that was damaged: such a text is not UTF-8, and is compared as bytes.
    pub(super) fn by_bytes(&self) -> String {
        let keys = self.columns.iter().take(self.key).enumerate();
        let keys = keys.map(|(index, column)| format!("CAST({column} AS BLOB) IS CAST(?{} AS BLOB)", index + 1));
        keys.collect::<Vec<_>>().join(" AND ")
    }

    /// The statement that writes a row with its checksum.
    pub(super) fn insertion(&self) -> String {
        let places: Vec<String> = (1..=self.columns.len() + 1).map(|place| format!("?{place}")).collect();
        format!("INSERT OR REPLACE INTO {} VALUES ({})", self.name, places.join(", "))
    }

    /// The kind and the name of the owner of a row.
    pub(super) fn owner_of(&self, first: &Value) -> (&'static str, String) {
        match self.owner {
            Owner::Each(kind) => (kind, shown(first)),
            Owner::Table(kind) => (kind, String::new()),
        }
    }

    /// The checksum of a row: 64 bits of the SHA-256 of everything in it. Each part is preceded by
    /// its type and length, so that no two rows have the same text.
    pub(super) fn checksum(&self, values: &[Value]) -> i64 {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut part = |kind: u8, bytes: &[u8]| {
            context.update(&[kind]);
            context.update(&bytes.len().to_be_bytes());
            context.update(bytes);
        };
        part(b'v', b"dr-exporter row v1");
        part(b'n', self.name.as_bytes());
        for value in values {
            match value {
                Value::Null => part(b'0', &[]),
                Value::Integer(number) => part(b'i', &number.to_be_bytes()),
                Value::Real(number) => part(b'r', &number.to_be_bytes()),
                Value::Text(text) => part(b't', text.as_bytes()),
                Value::Blob(bytes) => part(b'b', bytes),
            }
        }
        let digest = context.finish();
        let first = digest.as_ref().first_chunk::<8>().copied().unwrap_or_default();
        i64::from_be_bytes(first)
    }

    /// Whether a row that was selected by [`Table::selected`] is what was written, and can be read.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(&self, row: &Row<'_>, version: i64) -> Result<(), String> {
        let values = self.values(row).map_err(|error| error.to_string())?;
        self.judge_values(&values, &checksum_of(row, self.columns.len()), version)?;
        (self.reads)(row).map_err(|error| format!("it cannot be read: {error}"))
    }

    fn judge_values(&self, values: &[Value], stored: &Value, version: i64) -> Result<(), String> {
        if version < file::CHECKSUMS || *stored == Value::Integer(self.checksum(values)) {
            Ok(())
        } else {
            Err("it is not what was written: its checksum differs".to_owned())
        }
    }

    /// The values of a row without its checksum.
    pub(super) fn values(&self, row: &Row<'_>) -> rusqlite::Result<Vec<Value>> {
        (0..self.columns.len()).map(|index| Ok(owned(row.get_ref(index)?))).collect()
    }

    /// How a row is called in a message: the table and the values of its key.
    pub(super) fn called(&self, values: &[Value]) -> String {
        let key: Vec<String> = values.iter().take(self.key).map(shown).collect();
        format!("{} ({})", self.name, key.join(", "))
    }
}

/// The stored checksum of a row.
pub(super) fn checksum_of(row: &Row<'_>, index: usize) -> Value {
    row.get_ref(index).map_or(Value::Null, owned)
}

/// A value as it stands in the file. Text that is no UTF-8 was damaged, and becomes bytes.
pub(super) fn owned(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Blob(bytes.to_vec()),
        },
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

/// A value as text.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Whether a file has this table.
pub(super) fn exists(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    let found = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    connection.query_row(found, [table], |row| row.get::<_, i64>(0)).map(|found| found > 0)
}
