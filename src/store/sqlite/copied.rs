//! A store in memory: the copy of what is stored elsewhere.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::{connect, of};
use super::reading::Doubts;
use super::rows::json;
use super::{SqliteStore, history, mend, record, recoveries, seals, stored, triggers};
use crate::store::record::{Entry, EntryQuery};
use crate::store::{Batch, FiringQuery, RecoveryQuery, StoreError, StoredCheck};

impl SqliteStore {
    /// An empty store in memory: the copy of what is stored elsewhere.
    ///
    /// # Errors
    /// SQLite has no memory.
    pub(in crate::store) fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        Ok(Self { connection: connect(&path)?, path, doubts: Doubts::default(), record: None, lock: None })
    }

    /// Sets something aside that is no part of what is stored.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(in crate::store) fn set_aside(&self, what: &str, why: &str, content: &str) -> Result<(), StoreError> {
        mend::note(&self.connection, what, why, Some(&json(&content))).map_err(|error| of(&self.path, &error))
    }

    /// A part of what was written was not read here. So the state that is there proves nothing.
    ///
    /// # Errors
    /// It cannot be noted.
    pub(in crate::store) fn doubt(&mut self, why: &str) -> Result<(), StoreError> {
        let sealed = seals::sealed(&self.connection).map_err(|error| of(&self.path, &error))?;
        self.mend(sealed, Some(why.to_owned()))
    }

    /// Everything that is stored, as one batch. None if the record cannot be written again as it is.
    ///
    /// # Errors
    /// It cannot be read.
    pub(in crate::store) fn everything(&self) -> Result<Option<Batch>, StoreError> {
        let every = EntryQuery { after: 0, limit: u32::MAX };
        let links = record::entries(&self.connection, &every).map_err(|error| of(&self.path, &error))?;
        let entries =
            links.into_iter().map(|link| Some(Entry { at: link.instant()?, fact: link.fact()?, key: link.key }));
        let Some(entries) = entries.collect::<Option<Vec<_>>>() else { return Ok(None) };
        self.read(|reading| {
            let all = RecoveryQuery { contract: None, since: None, limit: u32::MAX };
            let every = FiringQuery { trigger: None, since: None, limit: u32::MAX };
            let (stored, _) = stored(reading)?;
            let observed = history::all_observed(reading)?.into_iter();
            Ok(Some(Batch {
                clocks: stored.clocks,
                checks: flat(stored.checks),
                recoveries: recoveries(reading, &all)?,
                transitions: history::transitions(reading)?,
                triggers: stored.triggers,
                firings: triggers::firings(reading, &every)?,
                operations: triggers::operations(reading)?,
                plans: stored.plans,
                entries,
                observed: observed.map(|one| ((one.contract, one.from), one.until)).collect(),
                replies: BTreeMap::new(),
            }))
        })
    }
}

/// Checks by contract and name.
pub(in crate::store) fn flat(
    checks: BTreeMap<String, BTreeMap<String, StoredCheck>>,
) -> BTreeMap<(String, String), StoredCheck> {
    let checks = checks.into_iter();
    checks
        .flat_map(|(contract, of)| of.into_iter().map(move |(name, check)| ((contract.clone(), name), check)))
        .collect()
}
