//! Recovery points: up to which instant the DR copy is proven.

use std::time::Duration;

use super::observation::CopyState;
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
    as_of: Option<Timestamp>,
    lost: bool,
}

impl RecoveryPoint {
    /// Takes in what a run that ended `at` learned about the copy.
    ///
    /// Nothing can be proven of the future: a proof that claims to is one for `at`.
    pub fn observe(&mut self, at: Timestamp, copy: &CopyState) {
        let as_of = match *copy {
            CopyState::Unknown(_) => return,
            CopyState::Complete { up_to } => {
                self.latch(up_to.min(at));
                at
            }
            CopyState::Vouched { up_to, doubt: Some(_) } => return self.latch(up_to.min(at)),
            CopyState::Vouched { up_to, doubt: None } => {
                self.latch(up_to.min(at));
                up_to.min(at)
            }
            CopyState::Behind { since, precision, .. } => {
                let since = since.min(at);
                if self.latched.is_some_and(|latched| latched > since.plus(precision)) {
                    self.latched = None;
                }
                self.latch(since);
                at
            }
            CopyState::Outdated { up_to, .. } => {
                self.latched = self.latched.max(up_to.map(|up_to| up_to.min(at)));
                self.lost = false;
                at
            }
            CopyState::Damaged(_) => {
                self.latched = None;
                self.lost = false;
                at
            }
            CopyState::Lost(_) => {
                self.latched = None;
                self.lost = true;
                at
            }
        };
        self.evidence = self.evidence.max(Some(at));
        self.as_of = self.as_of.max(Some(as_of));
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

    /// The newest instant that anything learned about the copy speaks of: older than the evidence where somebody else's
    /// word was taken.
    #[must_use]
    pub fn as_of(&self) -> Option<Timestamp> {
        self.as_of
    }

    /// When something was last learned about the copy.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.evidence
    }
}
