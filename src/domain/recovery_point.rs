//! Recovery points: up to which instant the DR copy is proven.

use std::time::Duration;

use super::observation::CopyState;
use super::remembered::RememberedCheck;
use super::time::Timestamp;

/// What is known about one copy.
///
/// A proof stays true, so the recovery point is latched: it moves forward only. Three things withdraw it: the copy is
/// proven lost; it is proven to lack something from before the recovery point (it was made anew, or went back), for then
/// the earlier proof spoke of another copy; or it is proven to lack something of unknown age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryPoint {
    latched: Option<Timestamp>,
    evidence: Option<Timestamp>,
    lacking: bool,
    lost: bool,
}

impl RecoveryPoint {
    /// Takes in what a run that ended `at` learned about the copy.
    ///
    /// Nothing can be proven of the future: a proof that claims to is one for `at`.
    pub fn observe(&mut self, at: Timestamp, copy: &CopyState) {
        let lacking = match *copy {
            CopyState::Unknown(_) => return,
            CopyState::Vouched { up_to, doubt: Some(_) } => return self.latch(up_to.min(at)),
            CopyState::Complete { up_to } | CopyState::Vouched { up_to, doubt: None } => {
                self.latch(up_to.min(at));
                false
            }
            CopyState::Behind { since, precision, .. } => {
                let since = since.min(at);
                if self.latched.is_some_and(|latched| latched > since.plus(precision)) {
                    self.latched = None;
                }
                self.latch(since);
                true
            }
            CopyState::Outdated { up_to, .. } => {
                self.latched = self.latched.max(up_to.map(|up_to| up_to.min(at)));
                self.lost = false;
                true
            }
            CopyState::Damaged(_) => {
                self.latched = None;
                self.lost = false;
                true
            }
            CopyState::Lost(_) => {
                self.latched = None;
                self.lost = true;
                true
            }
        };
        self.evidence = self.evidence.max(Some(at));
        self.lacking = lacking;
    }

    /// Takes what is to be remembered out.
    pub fn remember(&self, check: &mut RememberedCheck) {
        (check.latched, check.copy_seen) = (self.latched, self.evidence);
        (check.lacking, check.lost) = (self.lacking, self.lost);
    }

    /// What was remembered, as a recovery point.
    #[must_use]
    pub fn recall(check: &RememberedCheck) -> Self {
        Self { latched: check.latched, evidence: check.copy_seen, lacking: check.lacking, lost: check.lost }
    }

    fn latch(&mut self, point: Timestamp) {
        self.latched = self.latched.max(Some(point));
        self.lost = false;
    }

    /// The newest instant up to which the copy is proven; none if nothing ever was, or if it was withdrawn.
    #[must_use]
    pub fn instant(&self) -> Option<Timestamp> {
        self.latched
    }

    /// The age of the recovery point: the data, in time, that a disaster now could cost.
    #[must_use]
    pub fn exposure(&self, now: Timestamp) -> Option<Duration> {
        self.latched.map(|point| now.since(point))
    }

    /// Whether the last thing learned is that the copy is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// Whether the last thing learned is that the copy lacks something, and not merely that it was complete some time ago.
    #[must_use]
    pub fn is_lacking(&self) -> bool {
        self.lacking
    }

    /// When something was last learned about the copy.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.evidence
    }
}
