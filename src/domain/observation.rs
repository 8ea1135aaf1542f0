//! What one run of one check has to say.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use super::time::Timestamp;

/// Why a check did not find what it looked for: one of a closed list, so that it can be a metric label.
///
/// Each kind of check declares its own as constants and lists them in its `REASONS`.
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

/// Two lists of reasons as one, for constants.
///
/// # Panics
/// If `N` is not `A + B`: then the constant does not compile.
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

/// A reason together with the full story: what happened and where. The story goes to logs and pages, never to a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which of the closed list.
    pub reason: &'static Reason,
    /// What happened, and where.
    pub detail: String,
}

impl Finding {
    /// A finding for `reason` that tells `detail`.
    pub fn new(reason: &'static Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.reason.label, self.detail)
    }
}

/// How the component is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// The component works.
    Healthy,
    /// The component fails.
    Unhealthy(Finding),
    /// The component was seen, and is neither known to work nor known to fail: it is on its way, or paused on purpose.
    ///
    /// This starts no clock and stops none. It does not hold one up either, unless this very check has failed in the
    /// same outage.
    Pending(Finding),
    /// We failed to measure; nothing is known about the component.
    NoAnswer(Finding),
}

impl Health {
    /// What was wrong.
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
    /// The copy is proven to hold everything before `since` and proven not to hold what was written then.
    Behind {
        /// The earliest that the oldest item that the copy lacks can have been written.
        since: Timestamp,
        /// By how much later it can have been written: the instant was carried over from another machine's clock.
        precision: Duration,
        /// The instant from which on it is certainly missing, where that is later: when it was first seen missing, if that
        /// other clock told nothing of itself and can be wrong by more than `precision`; or later by as much as what was
        /// told is old.
        certain_since: Option<Timestamp>,
        /// What is wrong with the copy, where it does not merely lag and will not catch up by itself.
        finding: Option<Finding>,
    },
    /// Whoever keeps the copy says that it was complete at this instant.
    ///
    /// Such a word speaks of that instant and of nothing after it: it grows old though it is read anew at every run. Age
    /// alone therefore never shows that the target is broken, only that nobody can tell.
    Vouched {
        /// The instant that is spoken of.
        up_to: Timestamp,
        /// Why the word is no longer taken for news: whoever keeps the copy has fallen silent.
        doubt: Option<Finding>,
    },
    /// The copy is proven to differ from what it should be now, and nobody can tell since when: what was proven before
    /// still holds, and the change that is missing counts from the instant at which it was first seen missing.
    Outdated {
        /// The newest instant at which it was proven complete, if this run learned of one.
        up_to: Option<Timestamp>,
        /// What the copy holds, in a word that changes whenever that does, and that tells nothing of a secret. While it
        /// is the same from look to look, the change that was first seen missing is missing still.
        holds: String,
        /// How it differs.
        finding: Finding,
    },
    /// The copy lacks something that it held or should hold, and nobody can tell how old that is: what was proven before
    /// no longer holds.
    Damaged(Finding),
    /// The copy does not exist, or is another one than the primary's.
    Lost(Finding),
    /// Nothing was learned.
    Unknown(Finding),
}

/// The result of one run of a check.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// How the component is; feeds the recovery clock.
    pub health: Health,
    /// What was learned about the DR copy; `None` for kinds that know of no copy. Feeds the recovery point.
    pub copy: Option<CopyState>,
    /// Which copy was looked at, in a word that changes when the copy is deleted and made again (`metadata.uid`, the time
    /// at which a stream was created); none where this run did not learn it. Another copy inherits no proof.
    pub copy_identity: Option<String>,
    /// Further figures for metrics and pages. They never decide a status.
    pub readings: Vec<Reading>,
    /// When it was seen, where that was before the run ended: what several checks share is read once for all of them.
    pub seen: Option<Timestamp>,
    /// What a person should look at although nothing fails; none where the check looks for no such thing, or could not.
    pub warnings: Option<Vec<Finding>>,
    /// What is worth knowing and decides nothing, for people, a line each: shown with the last run, never a label.
    pub notes: Vec<String>,
}

impl Observation {
    /// An observation of a kind that knows of no copy.
    #[must_use]
    pub fn of_health(health: Health) -> Self {
        Self {
            health,
            copy: None,
            copy_identity: None,
            readings: Vec::new(),
            seen: None,
            warnings: None,
            notes: Vec::new(),
        }
    }

    /// The one word for the whole run: a failure of component or copy outweighs a failure to measure, which outweighs
    /// good news. A run of which half was not measured is not a good run.
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
            | (_, Some(CopyState::Unknown(_) | CopyState::Vouched { doubt: Some(_), .. })) => Outcome::NoAnswer,
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
        // One cause often spoils both halves; it is one failure.
        let of_copy = of_copy.filter(|copy| of_health.is_none_or(|health| health.reason != copy.reason));
        of_health.into_iter().chain(of_copy)
    }
}

/// The one word for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All that was to be measured was measured, and is good.
    Healthy,
    /// The component fails, or its copy is lost or not what it should be.
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

/// A gauge that a kind of check exports beside health and copy, declared once as a constant.
#[derive(Debug, PartialEq, Eq)]
pub struct ReadingKind {
    /// The metric's name, unit included.
    pub metric: &'static str,
    /// The metric's help text.
    pub help: &'static str,
    /// The label that tells several samples of one reading apart, if there are several.
    pub label: Option<&'static str>,
}

/// One sample of a [`ReadingKind`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Which gauge.
    pub kind: &'static ReadingKind,
    /// The value of the kind's own label, where it has one.
    pub label: Option<Cow<'static, str>>,
    /// The value.
    pub value: ReadingValue,
}

/// The value of a [`Reading`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ReadingValue {
    /// A number that holds as it was read.
    Number(f64),
    /// The seconds that have passed since this instant: computed when it is read, so that it grows though nobody polls.
    AgeOf(Timestamp),
    /// An instant, exported as seconds since the Unix epoch.
    At(Timestamp),
}
