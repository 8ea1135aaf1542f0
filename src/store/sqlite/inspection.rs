//! A store that is only read.

use std::path::PathBuf;

use rusqlite::Connection;

use super::file::{of, version};
use super::{history, record, recoveries, stored, triggers};
use crate::store::record::{Broken, EntryQuery, Head, Link, Verification};
use crate::store::{Export, FiringQuery, RecoveryQuery, StoreError, Stored};

/// A store that is only read.
#[derive(Debug)]
pub(in crate::store) struct Inspection {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl Inspection {
    /// The state that a restart continues from.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn stored(&self) -> Result<Stored, StoreError> {
        stored(&self.connection).map_err(|error| of(&self.path, &error))
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
        read().map_err(|error| of(&self.path, &error))
    }

    /// Follows the whole record.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn verify(&self, pin: Option<&str>) -> Result<Result<Head, Broken>, StoreError> {
        const AT_ONCE: u32 = 1000;
        let failed = |error: rusqlite::Error| of(&self.path, &error);
        // One transaction: a daemon may append meanwhile.
        let reading = self.connection.unchecked_transaction().map_err(failed)?;
        let mut verification = Verification::with_pin(pin);
        let mut after = i64::MIN;
        loop {
            let links = self.entries(&EntryQuery { after, limit: AT_ONCE })?;
            let Some(last) = links.last() else { break };
            after = last.seq;
            if let Some(broken) = links.iter().find_map(|link| verification.take(link).err()) {
                return Ok(Err(broken));
            }
        }
        let since = version(&reading).map_err(failed)?;
        let head = if since >= record::SINCE { record::head(&reading).map_err(failed)? } else { Head::default() };
        Ok(verification.end(&head))
    }

    /// Everything in the store.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::store) fn export(&self) -> Result<Export, StoreError> {
        let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
        let read = || -> rusqlite::Result<Export> {
            let schema = version(&self.connection)?;
            let (mut firings, mut degraded_operation, mut observed) = Default::default();
            if schema >= triggers::SINCE {
                let all = FiringQuery { trigger: None, since: None, limit: u32::MAX };
                firings = triggers::firings(&self.connection, &all)?;
                degraded_operation = triggers::operations(&self.connection)?;
            }
            if schema >= history::SINCE {
                observed = history::all_observed(&self.connection)?;
            }
            Ok(Export {
                schema,
                state: stored(&self.connection)?,
                recoveries: recoveries(&self.connection, &all)?,
                transitions: history::transitions(&self.connection)?,
                firings,
                degraded_operation,
                observed,
            })
        };
        read().map_err(|error| of(&self.path, &error))
    }
}
