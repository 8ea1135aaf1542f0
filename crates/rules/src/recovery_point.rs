//! Recovery points: up to which instant the DR copy is proven, and since when something is known to
//! be missing from it.

use std::time::Duration;

use super::interval::Interval;
use super::observation::{CopyState, Observation, WentBack};
use super::remembered::RememberedCheck;
use super::status;
use super::time::Timestamp;

/// What is known about one copy.
///
/// A proof stays true, so the recovery point is latched: it only moves forward. Five things
/// withdraw it.
///
/// - The source that vouched for the copy withdraws its statement.
///
/// - The copy is proven lost.
///
/// - The copy is another object than the one that was proven.
///
/// - The copy is proven to lack something from before the recovery point. Then it went back, and
///   the earlier proof was about another copy.
///
/// - The copy is proven to lack something of unknown age.
///
/// ```
/// use std::time::Duration;
///
/// use dr_rules::observation::{CopyState, Health, Observation};
/// use dr_rules::recovery_point::RecoveryPoint;
/// use dr_rules::time::Timestamp;
///
/// let at = Timestamp::from_unix_seconds;
/// let fresh_for = Duration::from_secs(35);
/// let complete = CopyState::Complete { up_to: at(100) };
/// let run = Observation { copy: Some(complete), ..Observation::of_health(Health::Healthy) };
///
/// let mut point = RecoveryPoint::default();
/// point.observe(at(101), fresh_for, &run);
/// assert_eq!(point.instant(), Some(at(100)));
///
/// // A disaster at 160 could cost 60 s of data. Whether it would, nobody knows: at least 0 s.
/// let exposure = point.exposure(fresh_for, at(160));
/// assert_eq!((exposure.least, exposure.most), (Duration::ZERO, Some(Duration::from_secs(60))));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryPoint {
    latched: Option<Timestamp>,
    evidence: Option<Timestamp>,
    missing: Option<Missing>,
    lost: bool,
    identity: Option<String>,
}

/// The oldest change that the last look found missing from the copy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Missing {
    /// The change is at least this old. It is the change's own time, or the first look that saw it
    /// missing.
    since: Timestamp,
    /// A token that tells whether a later look sees the same change missing. None for a change that
    /// has its own time.
    token: Option<String>,
    /// What the copy should hold. None if nobody can tell.
    expected: Option<String>,
}

/// The token of a copy that lacks something of unknown age. The tokens of checks never begin with
/// `!`.
const DAMAGED: &str = "!damaged";
/// The token of a copy that is lost.
const LOST: &str = "!lost";

impl RecoveryPoint {
    /// Takes in what a run learned about the copy `at` this instant.
    ///
    /// The future cannot be proven: a proof of a later instant is cut to `at`. After more time than
    /// evidence stays fresh, what is missing may be missing again.
    pub fn observe(&mut self, at: Timestamp, freshness: Duration, observation: &Observation) {
        if let Some(identity) = &observation.copy_identity {
            if self.identity.as_ref().is_some_and(|known| known != identity) {
                (self.latched, self.missing) = (None, None);
            }
            self.identity = Some(identity.clone());
        }
        let gap = !status::is_fresh(self.evidence, freshness, at);
        let missing = match &observation.copy {
            None | Some(CopyState::Unknown(_)) => return,
            Some(CopyState::Vouched { up_to, doubt: Some(_) }) => return self.latch((*up_to).min(at)),
            Some(CopyState::Complete { up_to } | CopyState::Vouched { up_to, doubt: None }) => {
                self.latch((*up_to).min(at));
                None
            }
            Some(CopyState::Behind { since, precision, certain_since, .. }) => {
                let (since, latest) = ((*since).min(at), since.plus(*precision).min(at));
                if self.latched.is_some_and(|latched| latched > latest) {
                    self.latched = None;
                }
                self.latch(since);
                let certain = certain_since.map_or(latest, |certain| certain.min(at));
                Some(Missing { since: certain.max(latest), token: None, expected: None })
            }
            Some(CopyState::Outdated { up_to, went_back, holds, expected, .. }) => {
                let up_to = up_to.map(|up_to| up_to.min(at));
                self.latched = self.latched.max(up_to);
                if let Some(WentBack { to, at }) = went_back {
                    self.latched = match self.latched {
                        Some(proven) if proven <= *at => to.map(|to| proven.min(to)),
                        later => later,
                    };
                }
                self.lost = false;
                Some(self.missing_still((holds, Some(expected).filter(|known| !known.is_empty())), up_to, gap, at))
            }
            Some(CopyState::Damaged(_)) => {
                (self.latched, self.lost) = (None, false);
                Some(self.missing_still((DAMAGED, None), None, gap, at))
            }
            Some(CopyState::Withdrawn(_)) => {
                (self.latched, self.lost) = (None, false);
                None
            }
            Some(CopyState::Lost(_)) => {
                (self.latched, self.lost) = (None, true);
                Some(self.missing_still((LOST, None), None, gap, at))
            }
        };
        self.evidence = self.evidence.max(Some(at));
        self.missing = missing;
    }

    /// A change without its own time counts from the first look that saw it missing. An earlier
    /// look counts only if the copy still holds the same and was not complete in between. After a
    /// `gap` it also must be expected to hold the same: else it can have been complete unseen.
    fn missing_still(
        &self,
        (token, expected): (&str, Option<&String>),
        complete: Option<Timestamp>,
        gap: bool,
        at: Timestamp,
    ) -> Missing {
        let known = self.missing.as_ref().filter(|missing| missing.token.as_deref() == Some(token));
        let known = known.filter(|missing| !gap || expected.is_some() && missing.expected.as_ref() == expected);
        let known = known.map(|missing| missing.since).filter(|since| complete.is_none_or(|up_to| up_to <= *since));
        Missing { since: known.unwrap_or(at).min(at), token: Some(token.to_owned()), expected: expected.cloned() }
    }

    /// Copies the state into the record of a check.
    pub fn remember(&self, check: &mut RememberedCheck) {
        (check.latched, check.copy_seen) = (self.latched, self.evidence);
        check.missing_since = self.missing.as_ref().map(|missing| missing.since);
        check.missing = self.missing.as_ref().and_then(|missing| missing.token.clone());
        check.missing_expected = self.missing.as_ref().and_then(|missing| missing.expected.clone());
        check.lost = self.lost;
        check.copy_identity.clone_from(&self.identity);
    }

    /// A recovery point, restored from the record of a check.
    #[must_use]
    pub fn recall(check: &RememberedCheck) -> Self {
        Self {
            latched: check.latched,
            evidence: check.copy_seen,
            missing: check.missing_since.map(|since| Missing {
                since,
                token: check.missing.clone(),
                expected: check.missing_expected.clone(),
            }),
            lost: check.lost,
            identity: check.copy_identity.clone(),
        }
    }

    fn latch(&mut self, point: Timestamp) {
        self.latched = self.latched.max(Some(point));
        self.lost = false;
    }

    /// The newest instant up to which the copy is proven. None if nothing was ever proven, or if
    /// the proof was withdrawn.
    #[must_use]
    pub fn instant(&self) -> Option<Timestamp> {
        self.latched
    }

    /// The exposure at `now`: the data, measured in time, that a disaster could cost.
    ///
    /// The upper end is the age of the recovery point. It grows with time. The lower end is the age
    /// that the oldest missing change had at the last look, while that look is fresh. It does not
    /// grow until the next look, because the copy may have caught up in the meantime.
    #[must_use]
    pub fn exposure(&self, freshness: Duration, now: Timestamp) -> Interval {
        let fresh = self.evidence.filter(|_| status::is_fresh(self.evidence, freshness, now));
        let least = fresh.zip(self.missing.as_ref()).map(|(seen, missing)| seen.since(missing.since));
        Interval::new(least.unwrap_or_default(), self.latched.map(|point| now.since(point)))
    }

    /// Whether the latest evidence says that the copy is lost.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.lost
    }

    /// When something was last learned about the copy.
    #[must_use]
    pub fn evidence(&self) -> Option<Timestamp> {
        self.evidence
    }
}
