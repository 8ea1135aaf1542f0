//! The copy in memory to which a replica applies the log.

use std::collections::BTreeMap;

use serde_json::Value;

use super::again::REPLACED;
use super::log::{Extent, Log};
use super::message::{Place, Read, Subjects, What};
use crate::clients::jetstream::log::LogMessage;
use crate::store::history::ObservedTimes;
use crate::store::plans::Plans;
use crate::store::record::EntryQuery;
use crate::store::sqlite::inspection::Inspection;
use crate::store::sqlite::{SqliteStore, flat};
use crate::store::{Batch, Store as _, StoreError};

/// How much of a message is kept that no replica wrote.
const CONTENT: usize = 1000;

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
    /// The last message of history, when the server stored it, and how many there were.
    pub(super) history: u64,
    pub(super) stored: Option<jiff::Timestamp>,
    pub(super) counted: u64,
    /// The last message with state, as far as the writers before said.
    pub(super) last_state: Place,
    /// The last message that was there: the log has none after it, up to the last sequence applied.
    seen: u64,
    /// A message of history that was gone before it was read.
    pub(super) missing: Option<u64>,
    /// How many parts follow of what a replica writes again.
    pub(super) unfinished: usize,
    /// Why the leader cannot write, as it told. None since something was written.
    pub(super) failing: Option<String>,
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
            history: 0,
            stored: None,
            counted: 0,
            last_state: Place::default(),
            seen: 0,
            missing: None,
            unfinished: 0,
            failing: None,
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
        // The last message of all is never removed without another one that replaces it.
        if self.seen < self.applied {
            let last = self.applied;
            self.miss(log, last, &format!("message {last}, the last one, is missing"))?;
        }
        Ok(claims)
    }

    /// Applies the next message of the log. `own` is the word of this process.
    pub(super) fn apply(&mut self, log: &Log, own: &str, message: &LogMessage) -> Result<Applied, StoreError> {
        let read = match Read::of(&message.payload) {
            Read::Message(read) => *read,
            Read::Later => {
                let text = format!("message {} was written by a later version of dr-exporter", message.sequence);
                return Err(log.failed(&text));
            }
            Read::Foreign(why) => {
                self.pass_foreign(message, &why)?;
                return Ok(Applied::Nothing);
            }
        };
        // A process that read everything as it was written does not come to miss what lies behind it.
        let is_other_history = read.before.is_some_and(|before| before > self.history && before <= self.seen);
        // State that was not read yet may have been removed, and a snapshot follows.
        let is_other_state = read.state.is_some_and(|state| state != self.last_state && state.0 <= self.seen);
        if !own.is_empty() && (is_other_history || is_other_state) {
            return Err(log.failed(&REPLACED));
        }
        if message.subject == self.subjects.state() {
            self.last_state = Place(message.sequence, message.time);
        } else if let Some(state) = read.state {
            self.last_state = state;
        }
        self.follow_history(log, message, read.before)?;
        let foreign = read.by != own;
        self.own = if foreign { self.own } else { Some(read.id) };
        let applied = match read.what {
            What::Batch(batch) => {
                self.take_batch(message, &batch)?;
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
            What::Again { batch, left } => {
                self.database.save(&batch)?;
                (self.unfinished, self.failing) = (left, None);
                if foreign { Applied::Batch(batch) } else { Applied::Nothing }
            }
            What::Forget { retention, ran, now } => {
                self.failing = None;
                self.database.forget(retention, ran, now)?;
                Applied::Nothing
            }
            What::Lead { replica, term, released, failing } => {
                self.failing = failing;
                Applied::Lead { by: read.by, replica, term, released }
            }
            What::Order { number, order } => {
                self.take_order(message, number, order);
                Applied::Nothing
            }
        };
        self.pass(message);
        Ok(applied)
    }

    fn take_batch(&mut self, message: &LogMessage, batch: &Batch) -> Result<(), StoreError> {
        self.database.save(batch)?;
        self.failing = None;
        if message.subject == self.subjects.state() {
            self.states = self.states.saturating_add(1);
            self.observed.extend(batch.observed.iter().map(|(key, until)| (key.clone(), *until)));
        }
        for number in batch.replies.keys() {
            self.pending.remove(number);
            self.answered.insert(number.clone(), message.sequence);
        }
        Ok(())
    }

    fn take_order(&mut self, message: &LogMessage, number: String, order: Value) {
        // A request that was repeated is in the log twice.
        if !self.answered.contains_key(&number) && !self.pending.contains_key(&number) {
            let (sequence, time) = (message.sequence, message.time);
            self.pending.insert(number, Pending { sequence, time, order });
        }
    }

    /// Sets a message aside that no replica wrote, or that was changed since.
    fn pass_foreign(&mut self, message: &LogMessage, why: &str) -> Result<(), StoreError> {
        let what = format!("message {} of the stream, at {}", message.sequence, message.subject);
        let content: String = String::from_utf8_lossy(&message.payload).chars().take(CONTENT).collect();
        self.database.set_aside(&what, &format!("no replica wrote it, or it was changed: {why}"), &content)?;
        let is_history = message.subject == self.subjects.history();
        self.counted = self.counted.saturating_add(u64::from(is_history));
        self.pass(message);
        Ok(())
    }

    /// Counts the messages of history, and misses those that are gone: `before` is the last one that
    /// its writer knew.
    fn follow_history(&mut self, log: &Log, message: &LogMessage, before: Option<u64>) -> Result<(), StoreError> {
        let is_history = message.subject == self.subjects.history();
        if let Some(before) = before.filter(|before| *before > self.history) {
            let text = format!("message {before} is missing: message {} follows it", message.sequence);
            self.miss(log, before, &text)?;
            (self.history, self.stored) = (before, None);
        } else if before.is_some_and(|before| before < self.history) && is_history {
            let what = format!("message {} of history", self.history);
            let why = "the replica that leads does not know it, because it was removed before it began";
            self.database.set_aside(&what, why, "")?;
        }
        if is_history {
            (self.history, self.stored) = (message.sequence, Some(message.time));
            self.counted = self.counted.saturating_add(1);
            self.kept.get_or_insert(message.sequence);
        }
        Ok(())
    }

    fn pass(&mut self, message: &LogMessage) {
        (self.applied, self.seen, self.time) = (message.sequence, message.sequence, Some(message.time));
    }

    /// Notes that history is gone that nobody may remove. What was read until now proves nothing.
    fn miss(&mut self, log: &Log, message: u64, text: &str) -> Result<(), StoreError> {
        self.missing.get_or_insert(message);
        self.database.doubt(&format!("{text}. Somebody removed it from the stream {}", log.name))
    }

    /// Whether a log of this extent cannot be the one that was applied, or has lost its end.
    pub(super) fn is_unlike(&self, log: &Log, extent: &Extent) -> Result<bool, StoreError> {
        let unread = extent.last.saturating_sub(self.applied);
        if extent.last < self.applied
            || unread == 0 && extent.history > self.counted
            || self.kept.is_some_and(|kept| extent.first > kept)
        {
            return Ok(true);
        }
        // A stream that was restored in its place from a backup, and has grown since, may be as long again.
        let Some(stored) = self.stored else { return Ok(false) };
        let there = log.next(self.history)?;
        Ok(there.is_none_or(|there| (there.sequence, there.time) != (self.history, stored)))
    }

    /// Notes that messages are gone whose content this copy has.
    pub(super) fn note_removed(&mut self, left: u64) -> Result<(), StoreError> {
        let lost = self.counted.saturating_sub(left);
        self.counted = left;
        self.database.set_aside(
            &format!("{lost} messages of history"),
            "somebody removed them from the stream. This replica still knows what they held: delete the stream while it \
             runs, and it writes everything again",
            "",
        )
    }

    /// Whether this copy holds the record of the other one: then it has the same past. A copy that
    /// misses a part numbers what comes after it otherwise.
    pub(super) fn continues(&mut self, other: &mut Self) -> Result<bool, StoreError> {
        let (mine, known) = (self.database.head()?, other.database.head()?);
        if known.seq == 0 || other.missing.is_some() {
            return Ok(mine.seq >= known.seq);
        }
        let there = self.database.entries(&EntryQuery { after: known.seq.saturating_sub(1), limit: 1 })?;
        Ok(there.first().is_some_and(|link| link.head() == known))
    }

    /// The whole state, as a snapshot has it.
    pub(super) fn state(&mut self) -> Result<Batch, StoreError> {
        let stored = self.database.load()?;
        let checks = flat(stored.checks);
        let Plans { alive, exposures, .. } = stored.plans;
        Ok(Batch {
            clocks: stored.clocks,
            checks,
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
