//! Looks for damage: rows that are not what was written, and rows that are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use super::file::{CHECKSUMS, of, version};
use super::head::{self, Sealed};
use super::record;
use super::seals::{self, COMMITS, Count, SEALS, number};
use super::tables::{CHECKS, CONTRACTS, FIRINGS, OPERATIONS, Owner, TABLES, TRIGGERS, Table, checksum_of, owner};
use crate::store::StoreError;

/// What is wrong with a store.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Rows that are not what was written, or that the program cannot read.
    pub(super) bad: Vec<Bad>,
    /// What is wrong with the rows of an owner as a whole, by its kind and name.
    lost: BTreeMap<(String, String), String>,
    /// Why nobody knows whether this is the newest state.
    whole: Option<String>,
    /// What is wrong with the record. Its entries stay where they are.
    pub(super) record: Option<String>,
    /// The number of the last commit, as far as anything knows it.
    pub(super) last_commit: i64,
    /// Whether the row of the last commit has to be written anew.
    uncounted: bool,
}

/// A row that is not what was written.
#[derive(Debug)]
pub(super) struct Bad {
    pub(super) table: &'static Table,
    pub(super) values: Vec<Value>,
    pub(super) why: String,
}

/// What was found of an owner.
#[derive(Debug, Default)]
struct Tally {
    /// By the checksums as they stand.
    count: Count,
    bad: i64,
    /// By how much the checksum that stands differs from that of the content, in the last bad row.
    differs: i64,
}

impl Tally {
    fn add(&mut self, table: &Table, values: &[Value], stored: &Value, sound: bool) {
        self.count.add(number(stored));
        if !sound {
            self.bad += 1;
            self.differs = table.checksum(values).wrapping_sub(number(stored));
        }
    }

    /// Whether these are all rows that should be there, apart from damage within them.
    fn accounts_for(&self, expected: Count) -> bool {
        // Either the content of a row was damaged, or its checksum.
        let mended = Count { sum: self.count.sum.wrapping_add(self.differs), ..self.count };
        self.count == expected || self.bad == 1 && mended == expected
    }
}

impl Findings {
    /// Looks at everything in an open file. Read the head of the file before it was opened: a daemon
    /// may write meanwhile.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn of(path: &Path, connection: &Connection, head: Option<Sealed>) -> Result<Self, StoreError> {
        let mut found = Self { last_commit: head.map_or(0, |head| head.number), ..Self::default() };
        let mut look = || -> rusqlite::Result<()> {
            // One transaction: a daemon may write meanwhile.
            let _reading = connection.unchecked_transaction()?;
            let version = version(connection)?;
            let tallies = found.rows(connection, version)?;
            if version >= CHECKSUMS {
                found.seals(connection, &tallies, head)?;
            }
            if version >= record::SINCE {
                found.record = record::follow(connection, None)?.err().map(|broken| broken.to_string());
            }
            Ok(())
        };
        look().map_err(|error| of(path, &error))?;
        Ok(found)
    }

    fn rows(&mut self, connection: &Connection, version: i64) -> rusqlite::Result<BTreeMap<(String, String), Tally>> {
        let mut tallies: BTreeMap<(String, String), Tally> = BTreeMap::new();
        for table in TABLES.into_iter().filter(|table| version >= table.since) {
            let mut statement =
                connection.prepare(&format!("SELECT {} FROM {}", table.selected(version), table.name))?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let (values, stored) = (table.values(row)?, checksum_of(row, table.columns.len()));
                let judged = table.judge(row, version);
                let (kind, name) = table.owner_of(values.first().unwrap_or(&Value::Null));
                let tally = tallies.entry((kind.to_owned(), name)).or_default();
                tally.add(table, &values, &stored, judged.is_ok());
                if let Err(why) = judged {
                    self.bad.push(Bad { table, values, why });
                }
            }
        }
        Ok(tallies)
    }

    fn seals(
        &mut self,
        connection: &Connection,
        tallies: &BTreeMap<(String, String), Tally>,
        head: Option<Sealed>,
    ) -> rusqlite::Result<()> {
        let (mut all, mut expected) = (Tally::default(), BTreeMap::new());
        let mut statement = connection.prepare(&format!("SELECT {} FROM seals", SEALS.selected(CHECKSUMS)))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let values = SEALS.values(row)?;
            let judged = SEALS.judge(row, CHECKSUMS);
            all.add(&SEALS, &values, &checksum_of(row, SEALS.columns.len()), judged.is_ok());
            match judged {
                Ok(()) => {
                    let count = Count { rows: row.get(2)?, sum: row.get(3)? };
                    expected.insert((row.get::<_, String>(0)?, row.get::<_, String>(1)?), count);
                }
                Err(why) => self.bad.push(Bad { table: &SEALS, values, why }),
            }
        }
        let end = expected.remove(&(owner::RECORD.to_owned(), String::new()));
        if end != Some(Count::of_record(&record::head(connection)?)) {
            let why = "it does not end with the entry that was written last".to_owned();
            self.lost.insert((owner::RECORD.to_owned(), String::new()), why);
        }
        for (owner, tally) in tallies {
            let fault = match expected.remove(owner) {
                Some(count) if tally.accounts_for(count) => continue,
                Some(count) if tally.count.rows < count.rows => {
                    format!("{} of {} rows are missing", count.rows.wrapping_sub(tally.count.rows), count.rows)
                }
                Some(_) => "some rows are older ones, or were added by somebody else".to_owned(),
                // The name of an owner that never was: it stands in a damaged row.
                None if tally.count.rows == tally.bad => continue,
                None => "nothing tells how many rows there should be".to_owned(),
            };
            self.lost.insert(owner.clone(), fault);
        }
        let gone = expected.into_iter().filter(|(_, count)| *count != Count::default());
        self.lost.extend(gone.map(|(owner, count)| (owner, format!("all {} rows are missing", count.rows))));

        let known = seals::sealed(connection)?;
        self.uncounted = known.is_none();
        self.last_commit = self.last_commit.max(known.map_or(0, |known| known.number));
        self.whole = match (known, head) {
            (Some(known), Some(head)) if known.number < head.number => Some(format!(
                "the newest {} commits are missing: this is an older copy, or its end was lost",
                head.number.wrapping_sub(known.number)
            )),
            (Some(known), Some(head)) if known.number == head.number && known.seals != head.seals => {
                Some("this is not the state that was written last".to_owned())
            }
            (Some(known), None) if known.number > 0 => Some(
                "the file that tells the number of the last commit is missing or damaged, so this may be an older copy"
                    .to_owned(),
            ),
            (Some(known), _) if !all.accounts_for(known.seals) => {
                Some("the rows of some contracts, triggers or plans are missing or older".to_owned())
            }
            (None, head) if head.is_none_or(|head| !all.accounts_for(head.seals)) => {
                Some(format!("the table {} is damaged, so this may be older than what was written last", COMMITS.name))
            }
            _ => None,
        };
        Ok(())
    }

    /// Whether nothing is wrong that a repair would change.
    pub(super) fn is_empty(&self) -> bool {
        self.bad.is_empty() && self.lost.is_empty() && self.whole.is_none() && !self.uncounted
    }

    /// Nobody knows how much was lost, because of this.
    pub(super) fn doubt_everything(&mut self, why: String) {
        self.whole = Some(why);
    }

    /// Everything that is wrong, apart from the record: what is concerned, and why.
    pub(super) fn told(&self) -> Vec<(String, String)> {
        let whole = self.whole.iter().map(|why| ("everything".to_owned(), why.clone()));
        let lost = self.lost.iter().map(|((kind, name), why)| (format!("{kind} of {name:?}"), why.clone()));
        let bad = self.bad.iter().map(|bad| (bad.table.called(&bad.values), bad.why.clone()));
        let known = !self.uncounted || self.whole.is_some();
        let uncounted = (!known).then(|| (COMMITS.name.to_owned(), "its row is missing or damaged".to_owned()));
        whole.chain(lost).chain(bad).chain(uncounted).collect()
    }

    fn is_lost(&self, kind: &str, name: &str) -> bool {
        self.whole.is_some() || self.lost.contains_key(&(kind.to_owned(), name.to_owned()))
    }

    fn has_bad(&self, tables: &[&Table], name: &str) -> bool {
        let is_text = |value: &Value| matches!(value, Value::Text(text) if text == name);
        self.bad.iter().any(|bad| {
            tables.iter().any(|table| table.name == bad.table.name) && bad.values.first().is_some_and(is_text)
        })
    }

    /// Whether a part of a contract's state is lost or may be old.
    pub(super) fn state_is_lost(&self, contract: &str) -> bool {
        self.is_lost(owner::STATE, contract) || self.has_bad(&[&CONTRACTS, &CHECKS], contract)
    }

    /// Whether a part of a contract's history is lost.
    pub(super) fn history_is_lost(&self, contract: &str) -> bool {
        let tables: Vec<&Table> =
            TABLES.into_iter().filter(|table| table.owner == Owner::Each(owner::HISTORY)).collect();
        self.is_lost(owner::HISTORY, contract) || self.has_bad(&tables, contract)
    }

    /// Whether a test of a contract's degraded operation may be lost.
    pub(super) fn operation_is_lost(&self, contract: &str) -> bool {
        self.is_lost(owner::HISTORY, contract) || self.has_bad(&[&OPERATIONS], contract)
    }

    /// Whether the state of a trigger is lost or may be old.
    pub(super) fn trigger_is_lost(&self, trigger: &str) -> bool {
        self.is_lost(owner::TRIGGER, trigger)
            || self.is_lost(owner::FIRINGS, trigger)
            || self.has_bad(&[&TRIGGERS, &FIRINGS], trigger)
    }

    /// The names of all triggers of which anything is lost, apart from those that have rows.
    pub(super) fn lost_triggers(&self) -> BTreeSet<String> {
        let bad = self.bad.iter().filter(|bad| bad.table.name == TRIGGERS.name);
        let bad = bad.filter_map(|bad| match bad.values.first() {
            Some(Value::Text(name)) => Some(name.clone()),
            _ => None,
        });
        let lost = self.lost.keys().filter(|(kind, _)| kind == owner::TRIGGER).map(|(_, name)| name.clone());
        bad.chain(lost).collect()
    }
}

/// The head of a file, as the file beside it tells it.
///
/// # Errors
/// It is there, and cannot be read.
pub(super) fn head_of(path: &Path) -> Result<Option<Sealed>, StoreError> {
    head::read(path).map_err(|error| StoreError::Failed { path: head::beside(path), message: error.to_string() })
}
