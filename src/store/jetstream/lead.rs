//! Who leads. Pure: the monotonic clock's readings are arguments.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::shared::Standing;

/// A replica that began less than this ago lets others take the lead first: they know more.
const YOUNG: Duration = Duration::from_secs(60);

/// What one process knows about the lead.
#[derive(Debug)]
pub(super) struct Lead {
    /// The word of this process.
    by: String,
    /// The last claim: whose, the name, and whether it was given back.
    claim: Option<(String, String, bool)>,
    term: u64,
    /// How long an empty log is left to those who may know what it held.
    founding: Duration,
    /// This process does not take the lead before this instant: it could not write.
    rests_until: Option<Instant>,
    /// When this process heard of the last claim or renewal.
    heard: Instant,
    /// When it last sent a renewal that was stored.
    renewed: Instant,
    /// When this process began.
    began: Instant,
    /// After this time without a renewal, another replica may take the lead. Each replica measures it
    /// on its own monotonic clock, from the moment at which it heard of the last renewal.
    silence: Duration,
}

impl Lead {
    pub(super) fn new(by: &str, silence: Duration, founding: Duration, now: Instant) -> Self {
        let by = by.to_owned();
        let (heard, renewed, began) = (now, now, now);
        Self { by, claim: None, term: 0, founding, rests_until: None, heard, renewed, began, silence }
    }

    /// Takes in a claim from the log. The log has one order, so the last claim counts.
    pub(super) fn hear(&mut self, by: &str, replica: &str, term: u64, released: bool, now: Instant) {
        self.claim = Some((by.to_owned(), replica.to_owned(), released));
        (self.term, self.heard) = (self.term.max(term), now);
    }

    /// The log could not be read until now: a renewal may be under way.
    pub(super) fn wait_again(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Notes that a renewal was sent at this time, and stored.
    pub(super) fn renewed(&mut self, sent: Instant) {
        self.renewed = sent;
    }

    /// Whether this process leads.
    pub(super) fn leads(&self) -> bool {
        self.claim.as_ref().is_some_and(|(by, _, released)| *by == self.by && !released)
    }

    /// Whether this process should renew its lead.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.leads() && now.saturating_duration_since(self.renewed) >= self.silence / 5
    }

    /// Whether this process may take the lead.
    pub(super) fn is_vacant(&self, now: Instant) -> bool {
        if self.rests_until.is_some_and(|until| now < until) {
            return false;
        }
        match &self.claim {
            None => now.saturating_duration_since(self.began) >= self.founding,
            Some((_, _, true)) => true,
            Some((by, _, false)) => {
                let is_young = now.saturating_duration_since(self.began) < YOUNG;
                let patience = if is_young { self.silence.saturating_mul(4) / 3 } else { self.silence };
                *by != self.by && now.saturating_duration_since(self.heard) >= patience
            }
        }
    }

    /// This process could not write, and lets the others try for a while.
    pub(super) fn rest(&mut self, now: Instant) {
        self.rests_until = Some(now + self.silence.saturating_mul(4));
    }

    /// Until when nobody else takes the lead, if this process leads.
    pub(super) fn until(&self) -> Option<Instant> {
        self.leads().then(|| self.renewed + self.silence)
    }

    pub(super) fn term(&self) -> u64 {
        self.term
    }

    pub(super) fn standing(&self) -> Standing {
        let leader = self.claim.as_ref().filter(|(_, _, released)| !released).map(|(_, name, _)| name.clone());
        Standing { leads: self.leads(), leader, term: self.term }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lead_is_taken_only_from_one_who_is_silent() {
        const SILENCE: Duration = Duration::from_secs(15);
        const RENEW: Duration = Duration::from_secs(3);
        let now = crate::clock::instant() + YOUNG;
        let mut lead = Lead::new("me", SILENCE, SILENCE, now - YOUNG);
        assert!(lead.is_vacant(now) && !lead.leads(), "nobody ever led");
        assert!(!lead.is_vacant(now - YOUNG), "who knows what was there writes it again first");
        lead.hear("other", "a", 1, false, now);
        assert!(!lead.is_vacant(now + SILENCE - Duration::from_millis(1)));
        assert!(lead.is_vacant(now + SILENCE));
        lead.hear("other", "a", 1, false, now + RENEW);
        assert!(!lead.is_vacant(now + SILENCE), "it renewed");
        lead.wait_again(now + SILENCE * 2);
        assert!(!lead.is_vacant(now + SILENCE * 2), "nothing could be heard");
        lead.hear("other", "a", 1, true, now + RENEW);
        assert!(lead.is_vacant(now + RENEW), "it gave the lead back");
        lead.hear("me", "b", 2, false, now);
        lead.renewed(now);
        assert!(lead.leads() && !lead.is_vacant(now + SILENCE * 9), "what is mine is not vacant");
        assert!(!lead.is_due(now) && lead.is_due(now + RENEW));
        assert_eq!(lead.standing(), Standing { leads: true, leader: Some("b".to_owned()), term: 2 });
        lead.hear("other", "a", 3, false, now);
        assert!(!lead.leads() && lead.until().is_none(), "another one took it");
        lead.hear("other", "a", 3, true, now);
        lead.rest(now);
        assert!(!lead.is_vacant(now + SILENCE) && lead.is_vacant(now + SILENCE * 4), "it could not write");
        let mut young = Lead::new("young", SILENCE, SILENCE, now);
        young.hear("other", "a", 1, false, now);
        assert!(!young.is_vacant(now + SILENCE) && young.is_vacant(now + SILENCE * 4 / 3), "others go first");
    }
}
