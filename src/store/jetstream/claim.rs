//! Takes the lead, renews it, and gives it back.

use tracing::warn;

use super::lead::Lead;
use super::message::What;
use super::store::JetStreamStore;
use crate::clock;
use crate::store::StoreError;

impl JetStreamStore {
    /// Takes or renews the lead.
    pub(super) fn claim(&mut self) -> Result<(), StoreError> {
        let (sent, leads) = (clock::instant(), self.lead.leads());
        let term = if leads { self.lead.term() } else { self.lead.term().saturating_add(1) };
        let what = self.lead_message(term, false);
        let claimed = self.append(what, |lead| if leads { lead.leads() } else { lead.is_vacant(clock::instant()) });
        match claimed {
            Ok(()) => {
                self.lead.renewed(sent);
                Ok(())
            }
            Err(StoreError::NotLeading) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A claim, or its end.
    pub(super) fn lead_message(&self, term: u64, released: bool) -> What {
        // Until somebody writes again, a new leader passes on why its predecessor could not.
        let replica = self.settings.replica.clone();
        let mine = self.unwritten.as_ref().map(|(_, why)| format!("{replica} leads, and cannot write: {why}"));
        What::Lead { replica, term, released, failing: mine.or_else(|| self.copy.failing.clone()) }
    }

    /// Gives the lead back because nothing but the lead could be written for long.
    pub(super) fn give_up(&mut self) -> Result<(), StoreError> {
        let what = self.lead_message(self.lead.term(), true);
        self.append(what, Lead::leads)?;
        warn!("this replica gives up the lead, since it could not write: another one may be able to");
        self.lead.rest(clock::instant());
        self.unwritten = None;
        Ok(())
    }
}
