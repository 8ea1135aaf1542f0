//! A store that is only read.

use std::path::PathBuf;

use rusqlite::Connection;

use super::file::{CHECKSUMS, of, version};
use super::findings::Findings;
use super::head::Sealed;
use super::reading::{Doubts, Reading};
use super::{history, kept, mend, record, recoveries, triggers};
use crate::store::damage::Damage;
use crate::store::record::{Broken, EntryQuery, Head, Link, Verification};
use crate::store::states::Verified;
use crate::store::{Export, FiringQuery, RecoveryQuery, StoreError, Stored};

/// A store that is only read.
#[derive(Debug)]
pub(in crate::store) struct Inspection {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    /// The last commit, as it was noted beside the file before that was opened.
    pub(super) head: Option<Sealed>,
    pub(super) doubts: Doubts,
}

impl Inspection {
    fn failed(&self, error: &rusqlite::Error) -> StoreError {
        of(&self.path, error)
    }

    fn findings(&self) -> Result<Findings, StoreError> {
        Findings::of(&self.path, &self.connection, self.head)
    }

    /// The state that a restart continues from, as far as it can be relied on.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn stored(&self) -> Result<Stored, StoreError> {
        let found = self.findings()?;
        kept(&self.connection, &found).map(|(stored, _)| stored).map_err(|error| self.failed(&error))
    }

    /// What was damaged or lost.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn damage(&self) -> Result<Damage, StoreError> {
        let found = self.findings()?;
        let record = found.record.iter().map(|why| ("the record".to_owned(), why.clone()));
        let beside: Vec<_> = found.told().into_iter().chain(record).collect();
        let read = || match version(&self.connection)? {
            since if since >= CHECKSUMS => mend::noted(&self.connection, &beside),
            _ => Ok(mend::damage(&beside)),
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Entries of the record, in their order. A store that was not migrated has none.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn entries(&self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        let read = || match version(&self.connection)? {
            since if since >= record::SINCE => record::entries(&self.connection, query),
            _ => Ok(Vec::new()),
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Follows the whole record, and compares the states that it names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn verify(&self, pin: Option<&str>) -> Result<Result<Verified, Broken>, StoreError> {
        let read = || {
            // One transaction: a daemon may append meanwhile.
            let reading = self.connection.unchecked_transaction()?;
            if version(&reading)? >= record::SINCE {
                return record::verify(&reading, pin);
            }
            let nothing = Verification::with_pin(pin).end(&Head::default());
            Ok(nothing.map(|head| Verified { head, uncovered: Vec::new() }))
        };
        read().map_err(|error| self.failed(&error))
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn export(&self) -> Result<Export, StoreError> {
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let found = self.findings()?;
        let read = || -> rusqlite::Result<Export> {
            let reading = Reading::new(&self.connection, &self.doubts)?;
            let every = FiringQuery { trigger: None, since: None, limit: u32::MAX };
            Ok(Export {
                schema: reading.version,
                state: kept(&self.connection, &found)?.0,
                recoveries: recoveries(&reading, &all)?,
                transitions: history::transitions(&reading)?,
                firings: triggers::firings(&reading, &every)?,
                degraded_operation: triggers::operations(&reading)?,
                observed: history::all_observed(&reading)?,
            })
        };
        read().map_err(|error| self.failed(&error))
    }
}
