//! What a replica does whose stream is gone: it writes again what it knows, or follows who did.
//!
//! Nothing that any replica knows is lost by that. The stream is written again by one that leads; or
//! by another one, if that takes too long; and last by one that found nothing when it began. A
//! stream that somebody else filled is followed only if it holds the record that this replica knows.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::JetStream;
use super::copy::{Applied, Copy};
use super::lead::Lead;
use super::log::{Extent, Log};
use super::message::{Message, Place, VERSION, What, in_parts};
use super::store::JetStreamStore;
use crate::clients::jetstream::log::{Append, Appended};
use crate::clock;
use crate::store::{Batch, Store as _, StoreError};

/// How long one message may take.
const USUAL: Duration = Duration::from_secs(2);
/// How long one message is tried, and the pause between two attempts.
const PERSISTENT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(200);
/// How long a stream that was refused is not read again: it may be large.
const REFUSED: Duration = Duration::from_secs(60);

/// What is said of a stream that is not the one whose log was applied.
pub(super) const REPLACED: &str = "the stream was replaced, or has lost messages that this replica knows. Nothing is \
    written to it. To write again what this replica knows, stop every replica that goes on with the stream, and delete \
    the stream while this one runs. To begin with what the stream holds now, restart every replica that says this";
/// What is said while a stream holds only a part of what was written again.
pub(super) const UNFINISHED: &str = "a replica writes again what the stream held before it was lost, and is not done. If \
    this lasts, delete the stream while a replica runs that still knows everything";

/// Whether this error says that the stream is not the one whose log was applied.
fn is_replaced(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed { message, .. } if message == REPLACED)
}

/// Who leads, by the claims in the log.
pub(super) fn lead_of(by: &str, settings: &JetStream, claims: &[Applied], now: Instant) -> Lead {
    let mut lead = Lead::new(by, settings.takeover_after, settings.founding_after, now);
    for claim in claims {
        if let Applied::Lead { by, replica, term, released } = claim {
            lead.hear(by, replica, *term, *released, now);
        }
    }
    lead
}

impl JetStreamStore {
    /// Looks for the stream after it could not be read. It goes on if there is a stream that holds
    /// everything that this replica knows.
    ///
    /// # Errors
    /// There is none yet, or the stream could not be read for another reason, which is `cause`.
    pub(super) fn find_again(&mut self, cause: StoreError) -> Result<(), StoreError> {
        let found = match self.log.extent() {
            Ok(extent) if extent.created == self.created && !is_replaced(&cause) => {
                self.gone = None;
                return Err(cause);
            }
            Ok(extent) => Some(extent),
            Err(error) if Log::is_gone(&error) => None,
            Err(_) => return Err(cause),
        };
        if let Some(extent) = found.filter(|extent| extent.last > 0) {
            return self.adopt(extent);
        }
        let since = *self.gone.get_or_insert_with(clock::instant);
        if clock::since(since) < self.patience()? {
            let text = "the stream is gone, or was emptied. A replica that knows what it held writes it again";
            return Err(self.log.failed(&text));
        }
        self.write_again()
    }

    /// How long others are waited for, who may know more. Nobody knows more than the leader: it does not
    /// wait, so that no other one is first who has not read its last entries.
    fn patience(&mut self) -> Result<Duration, StoreError> {
        let silence = self.settings.takeover_after;
        let share = match (self.copy.database.head()?.seq, self.copy.missing) {
            (0, _) => 1,
            (_, Some(_)) => 2,
            (_, None) if self.lead.leads() => return Ok(Duration::ZERO),
            (_, None) => 3,
        };
        Ok(silence / share)
    }

    /// Writes everything that this replica knows to a new stream.
    fn write_again(&mut self) -> Result<(), StoreError> {
        let parts = self.parts()?;
        let extent = self.log.extent_or_create(self.settings.stream_replicas)?;
        if extent.last > 0 {
            return self.adopt(extent);
        }
        let (replica, term) = (self.settings.replica.clone(), self.lead.term().saturating_add(1));
        let mut at = 0;
        let mut history = 0;
        let claim = What::Lead { replica, term, released: false, failing: None };
        let count = parts.len();
        let parts = parts.into_iter().enumerate();
        let parts = parts.map(|(index, part)| What::Again { batch: Box::new(part), left: count - index - 1 });
        for what in std::iter::once(claim).chain(parts) {
            let subject = self.log.subjects.for_message(&what);
            let is_history = matches!(what, What::Again { .. });
            self.next += 1;
            let (before, state) = (Some(history), Some(Place::default()));
            let message = Message { v: VERSION, by: self.by.clone(), id: self.next, before, state, what };
            let payload = serde_json::to_vec(&message).map_err(|error| self.log.failed(&error))?;
            let how = Append { after: Some(at), rolls_up: false };
            self.append_again(&subject, how, &payload)?;
            at = at.saturating_add(1);
            history = if is_history { at } else { history };
        }
        warn!(
            stream = self.log.name,
            messages = at,
            "the storage's stream was gone: this replica wrote everything again that it knows"
        );
        let extent = self.log.extent()?;
        self.adopt(extent)
    }

    /// Appends a part directly after the one before it. It is tried for a while: a part that is missing
    /// at the end leaves a stream that nobody can use.
    fn append_again(&self, subject: &str, how: Append, payload: &[u8]) -> Result<(), StoreError> {
        let next = how.after.unwrap_or_default().saturating_add(1);
        let end = clock::instant() + PERSISTENT;
        loop {
            let error = match self.log.append(subject, how, payload.to_vec(), USUAL) {
                Ok(Appended::At(sequence)) if sequence == next => return Ok(()),
                // The acknowledgement of an earlier attempt may have been lost.
                Ok(_) => match self.log.next(next) {
                    Ok(Some(there)) if there.sequence == next && there.payload == payload => return Ok(()),
                    Ok(_) => {
                        return Err(self
                            .log
                            .failed(&"another replica wrote to the stream that was to be written again"));
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if clock::instant() >= end {
                return Err(error);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Everything that is stored, in parts that a server accepts.
    fn parts(&mut self) -> Result<Vec<Batch>, StoreError> {
        let unlike =
            "the stream is gone, and this replica cannot write it again: an entry of the record cannot be read";
        let Some(everything) = self.copy.database.everything()? else { return Err(self.log.failed(&unlike)) };
        let mut trial = Copy::empty(&self.log.subjects)?;
        trial.database.save(&everything)?;
        if trial.database.head()? != self.copy.database.head()? {
            return Err(self.log.failed(&unlike));
        }
        Ok(in_parts(everything))
    }

    /// Follows the stream that stands in the place of the one that is gone, if it holds everything
    /// that this replica knows.
    fn adopt(&mut self, extent: Extent) -> Result<(), StoreError> {
        if self.refused.is_some_and(|(at, created)| created == extent.created && clock::since(at) < REFUSED) {
            return Err(self.log.failed(&REPLACED));
        }
        let mut copy = Copy::empty(&self.log.subjects)?;
        let claims: Vec<Applied> = copy.follow(&self.log, extent.last)?;
        if copy.unfinished > 0 {
            return Err(self.log.failed(&UNFINISHED));
        }
        if !copy.continues(&mut self.copy)? {
            self.refused = Some((clock::instant(), extent.created));
            return Err(self.log.failed(&REPLACED));
        }
        let now = clock::instant();
        info!(
            stream = self.log.name,
            "the storage's stream is another one, or was restored, and holds what this replica knows"
        );
        self.followed |= self.copy.database.head()?.seq > 0;
        self.lead = lead_of(&self.by, &self.settings, &claims, now);
        (self.copy, self.created, self.gone) = (copy, extent.created, None);
        (self.looked, self.read, self.blind) = (now, now, false);
        (self.unheard, self.heard_of, self.moved) = (Batch::default(), None, true);
        Ok(())
    }
}
