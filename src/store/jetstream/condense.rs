//! Condenses the log, so that it does not grow with time.

use super::lead::Lead;
use super::message::{What, in_parts};
use super::store::JetStreamStore;
use crate::store::{Batch, StoreError};

impl JetStreamStore {
    /// Replaces the messages with state by a snapshot, so that the log does not grow with time.
    pub(super) fn snapshot(&mut self) -> Result<(), StoreError> {
        let observed = std::mem::take(&mut self.copy.observed);
        if !observed.is_empty() {
            // Each look is history. It is written once more, under a subject that stays.
            let kept = What::Batch(Box::new(Batch { observed: observed.clone(), ..Batch::default() }));
            let subject = self.log.subjects.history();
            if let Err(error) = self.append_to(&subject, kept, Lead::leads) {
                self.copy.observed = observed;
                return Err(error);
            }
        }
        let parts = in_parts(self.copy.state()?);
        let before = self.copy.applied.saturating_add(1);
        let count = parts.len();
        for (index, part) in parts.into_iter().enumerate() {
            let what = What::Snapshot { batch: Box::new(part), last: index + 1 == count };
            // Its parts belong together: nothing may stand between them.
            let end = before.saturating_add(index as u64);
            if self.copy.applied.saturating_add(1) != end {
                return Ok(());
            }
            self.append(what, Lead::leads)?;
            if self.copy.applied != end {
                return Ok(());
            }
        }
        self.log.purge(&self.log.subjects.state(), before)?;
        let open = self.copy.pending.values().map(|pending| pending.sequence).min();
        let orders = open.unwrap_or(before).min(before);
        self.log.purge(&self.log.subjects.orders(), orders)?;
        self.copy.forget_answers(orders);
        Ok(())
    }
}
