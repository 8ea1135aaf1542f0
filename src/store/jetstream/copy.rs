//! The copy in memory to which a replica applies the log.

use std::collections::BTreeMap;

use serde_json::Value;

use super::log::Log;
use super::message::{Message, Subjects, VERSION, What};
use crate::clients::jetstream::log::LogMessage;
use crate::store::history::ObservedTimes;
use crate::store::plans::Plans;
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::inspection::Inspection;
use crate::store::{Batch, Store as _, StoreError};

/// An order that nobody has answered yet.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    /// Its place in the log.
    pub(super) sequence: u64,
    /// When it was stored, by the server's clock.
    pub(super) time: jiff::Timestamp,
    /// The order.
    pub(super) order: Value,
}

/// What one message of the log changed.
#[derive(Debug)]
pub(super) enum Applied {
    /// Something of this process's own, or nothing that matters.
    Nothing,
    /// A batch that another process wrote.
    Batch(Box<Batch>),
    /// A claim: by which process, the name of its replica, the term, and whether it was given back.
    Lead { by: String, replica: String, term: u64, released: bool },
}

/// The copy.
pub(super) struct Copy {
    pub(super) database: SqliteStore,
    subjects: Subjects,
    /// The last sequence of the log that was applied.
    pub(super) applied: u64,
    /// The first message of those that are never removed, if there is one.
    pub(super) kept: Option<u64>,
    /// The number of this process's last message that was applied.
    pub(super) own: Option<u64>,
    /// The server's time of that message.
    pub(super) time: Option<jiff::Timestamp>,
    /// The orders that nobody has answered yet, by number.
    pub(super) pending: BTreeMap<String, Pending>,
    /// The numbers of the orders that were answered since the last snapshot.
    answered: BTreeMap<String, u64>,
    /// How many messages with state came since the last snapshot.
    pub(super) states: u32,
    /// The times of looks in these messages. They are history, and outlive the snapshot.
    pub(super) observed: ObservedTimes,
}

impl Copy {
    /// Before the first message.
    pub(super) fn empty(subjects: &Subjects) -> Result<Self, StoreError> {
        Ok(Self {
            database: SqliteStore::in_memory()?,
            subjects: subjects.clone(),
            applied: 0,
            kept: None,
            own: None,
            time: None,
            pending: BTreeMap::new(),
            answered: BTreeMap::new(),
            states: 0,
            observed: ObservedTimes::new(),
        })
    }

    /// Applies the whole log, which reaches at least to `last`, and then whatever is new. Returns
    /// the last claim.
    ///
    /// A snapshot can remove messages while they are read. It follows them, so at the end everything
    /// is known.
    pub(super) fn follow(&mut self, log: &Log, last: u64) -> Result<Vec<Applied>, StoreError> {
        let mut claims = Vec::new();
        let mut last = last;
        while self.applied < last {
            for message in log.range(self.applied.saturating_add(1), last)? {
                if let applied @ Applied::Lead { .. } = self.apply(log, "", &message)? {
                    claims = vec![applied];
                }
            }
            self.applied = self.applied.max(last);
            last = log.extent()?.last;
        }
        Ok(claims)
    }

    /// Applies the next message of the log. `own` is the word of this process.
    pub(super) fn apply(&mut self, log: &Log, own: &str, message: &LogMessage) -> Result<Applied, StoreError> {
        let read: Message = serde_json::from_slice(&message.payload).map_err(|error| {
            log.failed(&format!(
                "message {} cannot be read; a later version may have written it: {error}",
                message.sequence
            ))
        })?;
        if read.v > VERSION {
            let text = format!("message {} was written by a later version of dr-exporter", message.sequence);
            return Err(log.failed(&text));
        }
        let foreign = read.by != own;
        self.own = if foreign { self.own } else { Some(read.id) };
        let is_state = message.subject == self.subjects.state();
        let applied = match read.what {
            What::Batch(batch) => {
                self.database.save(&batch)?;
                if !is_state {
                    self.kept.get_or_insert(message.sequence);
                }
                if is_state {
                    self.states = self.states.saturating_add(1);
                    self.observed.extend(batch.observed.iter().map(|(key, until)| (key.clone(), *until)));
                }
                for number in batch.replies.keys() {
                    self.pending.remove(number);
                    self.answered.insert(number.clone(), message.sequence);
                }
                if foreign { Applied::Batch(batch) } else { Applied::Nothing }
            }
            What::Snapshot { batch, last } => {
                self.database.save(&batch)?;
                if last {
                    self.states = 0;
                    self.observed.clear();
                }
                // Whoever missed what it replaces hears of it now.
                if foreign { Applied::Batch(batch) } else { Applied::Nothing }
            }
            What::Forget { retention, ran, now } => {
                self.database.forget(retention, ran, now)?;
                Applied::Nothing
            }
            What::Lead { replica, term, released } => Applied::Lead { by: read.by, replica, term, released },
            What::Order { number, order } => {
                // A request that was repeated is in the log twice.
                if !self.answered.contains_key(&number) && !self.pending.contains_key(&number) {
                    let (sequence, time) = (message.sequence, message.time);
                    self.pending.insert(number, Pending { sequence, time, order });
                }
                Applied::Nothing
            }
        };
        (self.applied, self.time) = (message.sequence, Some(message.time));
        Ok(applied)
    }

    /// The whole state, as a snapshot has it.
    pub(super) fn state(&mut self) -> Result<Batch, StoreError> {
        let stored = self.database.load()?;
        let checks = stored.checks.into_iter().flat_map(|(contract, checks)| {
            checks.into_iter().map(move |(name, check)| ((contract.clone(), name), check))
        });
        let Plans { alive, exposures, .. } = stored.plans;
        Ok(Batch {
            clocks: stored.clocks,
            checks: checks.collect(),
            triggers: stored.triggers,
            plans: Plans { exposures, alive, ..Plans::default() },
            ..Batch::default()
        })
    }

    /// Forgets answers to orders that were removed from the log.
    pub(super) fn forget_answers(&mut self, before: u64) {
        self.answered.retain(|_, sequence| *sequence >= before);
    }

    pub(super) fn into_inspection(self) -> Result<Inspection, StoreError> {
        self.database.inspected()
    }
}
