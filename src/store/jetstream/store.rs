//! The store of one replica.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::JetStream;
use super::again::{REPLACED, UNFINISHED, lead_of};
use super::copy::{Applied, Copy};
use super::lead::Lead;
use super::log::Log;
use super::message::{Message, VERSION, What, in_parts};
use crate::clients::jetstream::log::{Append, Appended};
use crate::clock;
use crate::domain::time::Timestamp;
use crate::store::damage::Damage;
use crate::store::history::{History, HistoryQuery};
use crate::store::record::{EntryQuery, Head, Link};
use crate::store::shared::{Base, Forwarded, News, Share, Standing, Turn};
use crate::store::{Batch, ClosedRecovery, Firing, FiringQuery, RecoveryQuery, Store, StoreError, Stored};

/// How often a message is tried at a new end of the log, before this turn is given up.
const ATTEMPTS: u32 = 16;
/// How often the stream is asked whether it is still the same one, and whole.
const LOOK: Duration = Duration::from_secs(10);
/// A stream that was made anew counts from 1 again. So its end may have the same number as that of a
/// log as short as this one, before the next look.
const SHORT: u64 = 1000;
/// An order that nobody carried out for this long, by the server's clock, is not carried out.
const LATE: i64 = 60;
/// How many recoveries are told when the leader changes.
const RECOVERIES: u32 = 1000;
/// No message takes longer than this, unless it is the last one.
const USUAL: Duration = Duration::from_secs(2);
/// How long the last message of a replica may take.
const LAST: Duration = Duration::from_secs(1);

/// An open store.
pub(super) struct JetStreamStore {
    pub(super) settings: JetStream,
    pub(super) log: Log,
    pub(super) copy: Copy,
    /// A word that no other run of the program has, and the number of its next message.
    pub(super) by: String,
    pub(super) next: u64,
    pub(super) lead: Lead,
    pub(super) created: jiff::Timestamp,
    /// When the stream was last seen to be the same one, and when everything was last read.
    pub(super) looked: Instant,
    pub(super) read: Instant,
    /// Whether the last attempt to read failed.
    pub(super) blind: bool,
    /// Since when the stream is gone.
    pub(super) gone: Option<Instant>,
    /// When another stream was refused, and when that one was created.
    pub(super) refused: Option<(Instant, jiff::Timestamp)>,
    /// Since when this leader cannot write, although it renews the lead; and why.
    pub(super) unwritten: Option<(Instant, String)>,
    /// What the ledger has not heard yet.
    pub(super) unheard: Batch,
    /// The standing that the ledger was told last. None before the first time.
    told: Option<Standing>,
    /// When the stream was created whose log the ledger heard of last.
    pub(super) heard_of: Option<jiff::Timestamp>,
    /// The orders that were handed out in this term.
    handed: BTreeSet<String>,
    /// Whether the end of the record may have moved.
    pub(super) moved: bool,
    /// Whether this process was there while another one led.
    pub(super) followed: bool,
}

impl JetStreamStore {
    pub(super) fn open(settings: &JetStream) -> Result<Self, StoreError> {
        let log = Log::of(settings)?;
        let extent = log.extent_or_create(settings.stream_replicas)?;
        let mut copy = Copy::empty(&log.subjects)?;
        let claims = copy.follow(&log, extent.last)?;
        let by = format!("{:032x}", rand::random::<u128>());
        let now = clock::instant();
        let lead = lead_of(&by, settings, &claims, now);
        Ok(Self {
            settings: settings.clone(),
            log,
            copy,
            by,
            next: 0,
            lead,
            created: extent.created,
            looked: now,
            read: now,
            blind: false,
            gone: None,
            refused: None,
            unwritten: None,
            unheard: Batch::default(),
            told: None,
            heard_of: None,
            handed: BTreeSet::new(),
            moved: true,
            followed: false,
        })
    }

    /// Applies everything that is new in the log.
    fn catch_up(&mut self) -> Result<(), StoreError> {
        let caught = self.read_on();
        let now = clock::instant();
        match caught {
            Ok(()) if std::mem::take(&mut self.blind) => self.lead.wait_again(now),
            Ok(()) => {}
            // Nobody can tell whether this replica could write.
            Err(_) => (self.blind, self.unwritten) = (true, None),
        }
        caught
    }

    fn read_on(&mut self) -> Result<(), StoreError> {
        if self.blind {
            self.look()?;
        } else {
            self.look_if_due()?;
        }
        loop {
            let asked = clock::instant();
            let Some(message) = self.log.next(self.copy.applied.saturating_add(1))? else {
                self.read = asked;
                return Ok(());
            };
            match self.copy.apply(&self.log, &self.by, &message)? {
                Applied::Nothing => {}
                Applied::Batch(batch) => {
                    self.moved |= !batch.entries.is_empty();
                    self.unheard.take(*batch);
                }
                Applied::Lead { by, replica, term, released } => {
                    self.followed |= by != self.by && !released;
                    self.lead.hear(&by, &replica, term, released, clock::instant());
                }
            }
        }
    }

    /// Looks at the stream if that was not done lately.
    fn look_if_due(&mut self) -> Result<(), StoreError> {
        let is_due = clock::since(self.looked) >= LOOK.min(self.settings.takeover_after / 3);
        if is_due || self.copy.applied < SHORT { self.look() } else { Ok(()) }
    }

    /// Whether the stream is still the one whose log was applied.
    fn look(&mut self) -> Result<(), StoreError> {
        let extent = self.log.extent()?;
        if extent.created != self.created || self.copy.is_unlike(&self.log, &extent)? {
            return Err(self.log.failed(&REPLACED));
        }
        if extent.history < self.copy.counted && extent.last >= self.copy.applied {
            self.copy.note_removed(extent.history)?;
        }
        self.looked = clock::instant();
        Ok(())
    }

    /// Appends a message to the log, at the end that this replica knows, and applies it. `may`
    /// tells, after everything new was read, whether it still may be written.
    pub(super) fn append(&mut self, what: What, may: impl Fn(&Lead) -> bool) -> Result<(), StoreError> {
        let subject = self.log.subjects.for_message(&what);
        self.append_to(&subject, what, may)
    }

    pub(super) fn append_to(
        &mut self,
        subject: &str,
        what: What,
        may: impl Fn(&Lead) -> bool,
    ) -> Result<(), StoreError> {
        self.next += 1;
        let how = Append { after: None, rolls_up: matches!(what, What::Lead { .. }) };
        let mut message = Message { v: VERSION, by: self.by.clone(), id: self.next, before: None, state: None, what };
        for _ in 0..ATTEMPTS {
            if !may(&self.lead) {
                return Err(StoreError::NotLeading);
            }
            self.look_if_due()?;
            let before = self.copy.applied;
            (message.before, message.state) = (Some(self.copy.history), Some(self.copy.last_state));
            let payload = serde_json::to_vec(&message).map_err(|error| self.log.failed(&error))?;
            let how = Append { after: Some(before), ..how };
            let appended = self.log.append(subject, how, payload, USUAL)?;
            self.catch_up()?;
            match appended {
                Appended::At(sequence) if self.copy.applied >= sequence => return Ok(()),
                Appended::At(_) => break,
                // A message whose acknowledgement was lost is repeated, and then stands there.
                Appended::Elsewhere if self.copy.own == Some(self.next) => return Ok(()),
                Appended::Elsewhere if self.copy.applied == before => self.look()?,
                Appended::Elsewhere => {}
            }
        }
        Err(self.log.failed(&"the end of the log is not known"))
    }

    fn write(&mut self, batch: Batch) -> Result<(), StoreError> {
        in_parts(batch).into_iter().try_for_each(|part| self.append(What::Batch(Box::new(part)), Lead::leads))
    }

    /// What the ledger has not heard yet.
    fn news(&mut self) -> Result<Option<News>, StoreError> {
        let standing = self.lead.standing();
        let changed = self.told.as_ref() != Some(&standing);
        // A copy that was read anew is not the one of which the ledger heard.
        let anew = self.heard_of != Some(self.created)
            || self.told.as_ref().is_none_or(|told| (told.term, told.leads) != (standing.term, standing.leads));
        let base = if anew {
            self.handed.clear();
            let recoveries = RecoveryQuery { contract: None, since: None, limit: RECOVERIES };
            let recoveries = self.copy.database.recoveries(&recoveries)?;
            Some(Box::new(Base { stored: self.copy.database.load()?, recoveries }))
        } else {
            None
        };
        let orders = if standing.leads { self.orders() } else { Vec::new() };
        let mut batch = std::mem::take(&mut self.unheard);
        if base.is_some() {
            // The base holds all of it, but for the answers to forwarded orders.
            batch = Batch { replies: batch.replies, ..Batch::default() };
        }
        (self.told, self.heard_of) = (Some(standing.clone()), Some(self.created));
        let news = changed || base.is_some() || !batch.is_empty() || !orders.is_empty();
        Ok(news.then_some(News { standing, base, batch, orders }))
    }

    /// The orders that were not handed out in this term.
    fn orders(&mut self) -> Vec<Forwarded> {
        let now = self.copy.time;
        let new = self.copy.pending.iter().filter(|(id, _)| !self.handed.contains(*id));
        let new = new.map(|(id, pending)| {
            let age = now.map_or(0, |now| now.as_second().saturating_sub(pending.time.as_second()));
            Forwarded { id: id.clone(), order: pending.order.clone(), is_late: age >= LATE }
        });
        let new: Vec<_> = new.collect();
        self.handed.extend(new.iter().map(|order| order.id.clone()));
        new
    }
}

impl Store for JetStreamStore {
    fn load(&mut self) -> Result<Stored, StoreError> {
        self.copy.database.load()
    }

    fn save(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.copy.unfinished > 0 {
            return Err(self.log.failed(&UNFINISHED));
        }
        // Once the ledger knows who leads, only a turn takes the lead: what was composed before that must
        // not be written after it.
        if self.told.is_none() && !self.lead.leads() && self.lead.is_vacant(clock::instant()) {
            self.claim()?;
        }
        let written = self.write(batch.clone());
        match &written {
            Ok(()) => self.unwritten = None,
            Err(error) if !matches!(error, StoreError::NotLeading) && !self.blind => {
                self.unwritten.get_or_insert_with(|| (clock::instant(), error.to_string()));
            }
            Err(_) => {}
        }
        written
    }

    fn recoveries(&mut self, query: &RecoveryQuery) -> Result<Vec<ClosedRecovery>, StoreError> {
        self.copy.database.recoveries(query)
    }

    fn firings(&mut self, query: &FiringQuery) -> Result<Vec<Firing>, StoreError> {
        self.copy.database.firings(query)
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        self.copy.database.head()
    }

    fn entries(&mut self, query: &EntryQuery) -> Result<Vec<Link>, StoreError> {
        self.copy.database.entries(query)
    }

    fn history(&mut self, query: &HistoryQuery) -> Result<History, StoreError> {
        self.copy.database.history(query)
    }

    fn forget(&mut self, retention: Duration, ran: Duration, now: Timestamp) -> Result<(), StoreError> {
        let now = self.settings.time.time().unwrap_or(now);
        // Every copy deletes the same, because the log says so.
        if self.lead.leads() { self.append(What::Forget { retention, ran, now }, Lead::leads) } else { Ok(()) }
    }

    fn damage(&mut self) -> Result<Damage, StoreError> {
        self.copy.database.damage()
    }

    fn turn(&mut self) -> Result<Option<Turn>, StoreError> {
        if let Err(error) = self.catch_up() {
            self.find_again(error)?;
        }
        let now = clock::instant();
        if self.copy.unfinished > 0 {
            return Err(self.log.failed(&UNFINISHED));
        }
        let silence = self.settings.takeover_after;
        if self.lead.leads() && self.unwritten.as_ref().is_some_and(|(since, _)| clock::since(*since) >= silence) {
            self.give_up()?;
        }
        if self.lead.is_due(now) || !self.lead.leads() && self.lead.is_vacant(now) {
            self.claim()?;
        }
        if self.lead.leads() && self.copy.states >= self.settings.states_kept {
            match self.snapshot() {
                Ok(()) => {
                    info!(stream = self.settings.stream.as_str(), "the state in the storage's stream was condensed");
                }
                // It is tried again in the next turn.
                Err(error) => warn!(%error, "the state in the storage's stream was not condensed"),
            }
        }
        let news = self.news()?;
        let share = Share {
            replica: self.settings.replica.clone(),
            standing: self.lead.standing(),
            read: self.read,
            leads_until: self.lead.until(),
            failing: self.copy.failing.clone().filter(|_| !self.lead.leads() || self.unwritten.is_none()),
            followed: self.followed,
        };
        Ok(Some(Turn { news, share, moved: std::mem::take(&mut self.moved) }))
    }

    fn forward(&mut self, Forwarded { id, order, .. }: &Forwarded) -> Result<(), StoreError> {
        let what = What::Order { number: id.clone(), order: order.clone() };
        let subject = self.log.subjects.for_message(&what);
        self.next += 1;
        let message = Message { v: VERSION, by: self.by.clone(), id: self.next, before: None, state: None, what };
        let payload = serde_json::to_vec(&message).map_err(|error| self.log.failed(&error))?;
        // An order may stand anywhere: it changes nothing until the leader carries it out.
        self.log.append(&subject, Append::default(), payload, USUAL).map(drop)
    }
}

impl Drop for JetStreamStore {
    /// Gives the lead back, so that another replica takes it at once.
    fn drop(&mut self) {
        if !self.lead.leads() {
            return;
        }
        let what = self.lead_message(self.lead.term(), true);
        let subject = self.log.subjects.for_message(&what);
        let how = Append { after: Some(self.copy.applied), rolls_up: true };
        let id = self.next.saturating_add(1);
        let (before, state) = (Some(self.copy.history), Some(self.copy.last_state));
        let message = Message { v: VERSION, by: self.by.clone(), id, before, state, what };
        let payload = serde_json::to_vec(&message).unwrap_or_default();
        // Otherwise the others wait until the lead is silent.
        let _ = self.log.append(&subject, how, payload, LAST);
    }
}
