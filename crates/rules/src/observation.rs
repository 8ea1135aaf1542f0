//! What one run of one check found.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::time::Timestamp;
use super::watch::Look;

/// What was wrong in a run. The list of reasons is closed, so that a reason can be a metric label.
///
/// Each kind of check declares its own reasons as constants and lists them in its `REASONS`.
#[derive(Debug)]
pub struct Reason {
    /// The value of the `reason` label.
    pub label: &'static str,
    /// What the person on call should do about it.
    pub advice: &'static str,
}

impl Reason {
    /// A reason of the closed list.
    #[must_use]
    pub const fn new(label: &'static str, advice: &'static str) -> Self {
        Self { label, advice }
    }
}

/// Joins two lists of reasons, for use in constants.
///
/// # Panics
/// If `N` is not `A + B`. In a constant this is a compile error.
#[must_use]
pub const fn join<const A: usize, const B: usize, const N: usize>(
    first: [&'static Reason; A],
    second: [&'static Reason; B],
) -> [&'static Reason; N] {
    assert!(A + B == N && B > 0);
    let mut all = [second[0]; N];
    let mut at = 0;
    while at < N {
        all[at] = if at < A { first[at] } else { second[at - A] };
        at += 1;
    }
    all
}

impl PartialEq for Reason {
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label
    }
}

impl Eq for Reason {}

/// A reason with its details: what happened and where. The details go to logs and pages, never into
/// a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The reason.
    pub reason: &'static Reason,
    /// What happened, and where.
    pub detail: String,
}

impl Finding {
    /// A finding with this reason and these details.
    pub fn new(reason: &'static Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.label, self.detail)
    }
}

/// The health of the component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The component works.
    Healthy,
    /// The component fails.
    Unhealthy(Finding),
    /// The component was seen, and is neither known to work nor known to fail: for example, it is
    /// being rolled out, or paused on purpose.
    ///
    /// This neither starts nor stops a clock. It does not delay a recovery either, unless this
    /// check itself has failed in the same outage.
    Pending(Finding),
    /// The measurement failed. Nothing is known about the component.
    NoAnswer(Finding),
}

impl Health {
    /// What was wrong. None if the component is healthy.
    #[must_use]
    pub fn finding(&self) -> Option<&Finding> {
        match self {
            Self::Healthy => None,
            Self::Unhealthy(finding) | Self::Pending(finding) | Self::NoAnswer(finding) => Some(finding),
        }
    }
}

/// What a run learned about the DR copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyState {
    /// The copy is proven to hold everything up to this instant.
    Complete {
        /// The proven instant.
        up_to: Timestamp,
    },
    /// The copy is proven to hold everything before `since`, and proven to lack what was written
    /// then.
    Behind {
        /// The earliest time at which the oldest missing item can have been written.
        since: Timestamp,
        /// How much later it can have been written. The uncertainty comes from converting the time
        /// of another machine's clock.
        precision: Duration,
        /// The instant since when it is certainly missing, if that is later than `since`. It is the
        /// instant at which it was first seen missing, if the other clock is unverified and may be
        /// wrong by more than `precision`. Or it is later than `since` by the age of the
        /// information.
        certain_since: Option<Timestamp>,
        /// What is wrong with the copy, if this is more than a lag and the copy will not catch up
        /// by itself.
        finding: Option<Finding>,
    },
    /// Another party says that the copy was complete at this instant.
    ///
    /// This is a statement about that instant only. It grows old although every run reads it again.
    /// So its age alone never proves a breach: the status is then unproven.
    Vouched {
        /// The instant of the statement.
        up_to: Timestamp,
        /// Why the statement is no longer fresh evidence: its source has fallen silent.
        doubt: Option<Finding>,
    },
    /// The copy is proven to differ from what it should be now, and nobody can tell since when.
    /// Earlier proofs still hold. The missing change counts from the instant at which it was first
    /// seen missing.
    Outdated {
        /// The newest instant at which the copy was proven complete, if this run learned one.
        up_to: Option<Timestamp>,
        /// The copy went back to something old, if this run learned that.
        went_back: Option<WentBack>,
        /// A token for what the copy holds. It changes whenever the copy changes, and reveals no
        /// secret. While it stays the same, the change that was first seen missing is still
        /// missing.
        holds: String,
        /// A token for what the copy should hold. While nobody looked, the copy may have held just
        /// that, unless this stayed the same as well.
        expected: String,
        /// How it differs.
        finding: Finding,
    },
    /// The copy lacks something of unknown age that it held or should hold. Earlier proofs no
    /// longer hold.
    Damaged(Finding),
    /// The source that vouched for the copy no longer does: it says that there is no copy, or it
    /// answered without its earlier statement. Earlier proofs no longer hold, but nothing is known
    /// to be missing.
    Withdrawn(Finding),
    /// The copy does not exist, or it is a copy of something else.
    Lost(Finding),
    /// Nothing was learned.
    Unknown(Finding),
}

/// A copy that went back to what it held before, or to something that may be older. Proofs from before that no longer hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WentBack {
    /// The newest instant up to which what it holds now is proven. None if nobody knows how old it is.
    pub to: Option<Timestamp>,
    /// When it went back, at the latest.
    pub at: Timestamp,
}

/// The result of one run of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The health of the component. It feeds the recovery clock.
    pub health: Health,
    /// What was learned about the DR copy. It feeds the recovery point. `None` for kinds that have
    /// no copy.
    pub copy: Option<CopyState>,
    /// A token for the copy that was looked at. It changes when the copy is deleted and created
    /// again (`metadata.uid`, or the creation time of a stream). None if this run did not learn it.
    /// A new copy inherits no proof.
    pub copy_identity: Option<String>,
    /// Further figures for metrics and pages. They never decide a status.
    pub readings: Vec<Reading>,
    /// When this was seen, if that was before the run ended: several checks can share one answer.
    pub seen: Option<Timestamp>,
    /// When the run began. None for a run that took no time.
    pub asked: Option<Timestamp>,
    /// When the last of the answers was complete on which this rests, if that was before the run
    /// ended. An answer is about some instant between the question and then. So a copy is dated as
    /// of `seen`, and health as of this instant: a recovery is never dated before it happened.
    pub answered: Option<Timestamp>,
    /// When the health was stated, if this run read an older statement of somebody else. The
    /// component is known to fail only until then, and health that was stated before a failure ends
    /// nothing. It is fresh evidence all the same.
    pub stated: Option<Timestamp>,
    /// What a person should look at although nothing fails. None if the check does not look for
    /// warnings, or could not.
    pub warnings: Option<Vec<Finding>>,
    /// Further lines for people, shown with the last run. They decide nothing and are never labels.
    pub notes: Vec<String>,
}

impl Observation {
    /// An observation for a kind that has no copy.
    #[must_use]
    pub fn of_health(health: Health) -> Self {
        Self {
            health,
            copy: None,
            copy_identity: None,
            readings: Vec::new(),
            seen: None,
            asked: None,
            answered: None,
            stated: None,
            warnings: None,
            notes: Vec::new(),
        }
    }

    /// The instant as of which the health counts, for an observation that counts as of `seen`.
    #[must_use]
    pub fn health_at(&self, seen: Timestamp) -> Timestamp {
        self.answered.map_or(seen, |answered| answered.max(seen))
    }

    /// The look at the health, for an observation that counts as of `seen`.
    #[must_use]
    pub fn look(&self, seen: Timestamp) -> Look<'_> {
        Look { asked: self.asked.unwrap_or(seen), at: self.health_at(seen), health: &self.health, stated: self.stated }
    }

    /// One word for the whole run. A failure of component or copy has priority over a failed
    /// measurement, and that has priority over good news: a run that measured only half is not a
    /// good run.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match (&self.health, &self.copy) {
            (Health::Unhealthy(_), _)
            | (
                _,
                Some(
                    CopyState::Lost(_)
                    | CopyState::Damaged(_)
                    | CopyState::Outdated { .. }
                    | CopyState::Behind { finding: Some(_), .. },
                ),
            ) => Outcome::Unhealthy,
            (Health::NoAnswer(_) | Health::Pending(_), _)
            | (_, Some(CopyState::Unknown(_) | CopyState::Withdrawn(_) | CopyState::Vouched { doubt: Some(_), .. })) => {
                Outcome::NoAnswer
            }
            (Health::Healthy, _) => Outcome::Healthy,
        }
    }

    /// Everything that was wrong with this run.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        let of_health = self.health.finding();
        let of_copy = match &self.copy {
            Some(
                CopyState::Lost(finding)
                | CopyState::Damaged(finding)
                | CopyState::Withdrawn(finding)
                | CopyState::Unknown(finding)
                | CopyState::Outdated { finding, .. }
                | CopyState::Behind { finding: Some(finding), .. }
                | CopyState::Vouched { doubt: Some(finding), .. },
            ) => Some(finding),
            Some(
                CopyState::Complete { .. }
                | CopyState::Behind { finding: None, .. }
                | CopyState::Vouched { doubt: None, .. },
            )
            | None => None,
        };
        // One cause often affects both health and copy. It counts as one failure.
        let of_copy = of_copy.filter(|copy| of_health.is_none_or(|health| health.reason != copy.reason));
        of_health.into_iter().chain(of_copy)
    }

    /// Every text of this run that is meant for people.
    pub fn texts_mut(&mut self) -> impl Iterator<Item = &mut String> {
        let of_health = match &mut self.health {
            Health::Healthy => None,
            Health::Unhealthy(finding) | Health::Pending(finding) | Health::NoAnswer(finding) => Some(finding),
        };
        let of_copy = match &mut self.copy {
            Some(
                CopyState::Lost(finding)
                | CopyState::Damaged(finding)
                | CopyState::Withdrawn(finding)
                | CopyState::Unknown(finding)
                | CopyState::Outdated { finding, .. },
            ) => Some(finding),
            Some(CopyState::Behind { finding, .. } | CopyState::Vouched { doubt: finding, .. }) => finding.as_mut(),
            Some(CopyState::Complete { .. }) | None => None,
        };
        let warnings = self.warnings.iter_mut().flatten();
        let findings = of_health.into_iter().chain(of_copy).chain(warnings);
        findings.map(|finding| &mut finding.detail).chain(&mut self.notes)
    }
}

/// One word for the result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Everything was measured, and everything is good.
    Healthy,
    /// The component fails, or its copy is lost or wrong.
    Unhealthy,
    /// Something could not be measured.
    NoAnswer,
}

impl Outcome {
    /// All of them, in the order of the metric.
    pub const ALL: [Self; 3] = [Self::Healthy, Self::Unhealthy, Self::NoAnswer];

    /// The value of the `outcome` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
            Self::NoAnswer => "no_answer",
        }
    }
}

/// A gauge that a kind of check exports beside health and copy. It is declared once as a constant.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadingKind {
    /// The metric's name, unit included.
    pub metric: &'static str,
    /// The metric's help text.
    pub help: &'static str,
    /// The label that distinguishes several samples of one reading, if there are several.
    pub label: Option<&'static str>,
}

/// One sample of a [`ReadingKind`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which gauge.
    pub kind: &'static ReadingKind,
    /// The value of the kind's own label, if it has one.
    pub label: Option<Cow<'static, str>>,
    /// The value.
    pub value: ReadingValue,
}

/// The value of a [`Reading`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadingValue {
    /// A number, exported as it was read.
    Number(f64),
    /// The seconds since this instant. They are computed at the scrape, so the age grows even if
    /// nobody polls.
    AgeOf(Timestamp),
    /// An instant, exported as seconds since the Unix epoch.
    At(Timestamp),
}

impl ReadingValue {
    /// The value at `now`: an age in seconds, or an instant in seconds since the Unix epoch. `wall`
    /// converts the instant to wall-clock time.
    #[must_use]
    pub fn at(self, now: Timestamp, wall: impl FnOnce(Timestamp) -> Timestamp) -> f64 {
        match self {
            Self::Number(number) => number,
            Self::AgeOf(instant) => now.since(instant).as_secs_f64(),
            Self::At(instant) => wall(instant).as_unix_seconds(),
        }
    }
}
