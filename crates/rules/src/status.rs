//! The four statuses, and the two tables that give them.
//!
//! Two laws hold. *No false green*: a status is never `met` while the truth is a breach, so what
//! was not measured is never good. *No false red*: what only could not be measured is `unproven`,
//! not `breached`.
//!
//! Every figure is an [interval](Interval), so both laws become one rule: `met` needs the upper
//! end, `breached` needs the lower end, and everything in between is `unproven`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::outage::Recovery;
use super::time::Timestamp;

/// The status of an objective, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The promise is kept, and that is proven.
    Met,
    /// The promise is kept, but more than the at-risk share of the target is used.
    AtRisk,
    /// Nobody can tell.
    Unproven,
    /// The promise is broken, and that is proven.
    Breached,
}

impl Status {
    /// All four, in the order in which people read them.
    pub const ALL: [Self; 4] = [Self::Met, Self::AtRisk, Self::Breached, Self::Unproven];

    /// The value of the `status` label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::AtRisk => "at_risk",
            Self::Breached => "breached",
            Self::Unproven => "unproven",
        }
    }

    /// Whether the promise is kept. None if nobody can tell.
    #[must_use]
    pub const fn is_compliant(self) -> Option<bool> {
        match self {
            Self::Met | Self::AtRisk => Some(true),
            Self::Breached => Some(false),
            Self::Unproven => None,
        }
    }
}

/// The row of the table that gave a status. It tells how the status is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// RPO: the DR copy does not exist or is not a copy of the primary.
    CopyLost,
    /// RPO: the copy was never proven to hold anything, or the proof was withdrawn.
    NoRecoveryPoint,
    /// RPO: the oldest change that is known to be missing is as old as the target, or older.
    ExposureReachedTarget,
    /// RPO: the last proof is as old as the target, or older, but nothing that old is known to be
    /// missing.
    ProofTooOld,
    /// RPO: more than the at-risk share of the target is at risk.
    ExposureAboveRatio,
    /// RPO: the recovery point is young enough.
    ExposureWithinTarget,
    /// RTO: the component has been down for as long as the target allows, or longer.
    DownReachedTarget,
    /// RTO: the component has been down for more than the at-risk share of the target.
    DownAboveRatio,
    /// RTO: the component may have been down for more than the at-risk share of the target, but
    /// this is not known.
    DownUncertain,
    /// RTO: nobody knows the health of the component.
    HealthUnknown,
    /// RTO: no recovery was ever measured.
    NoRecovery,
    /// RTO: the last recovery took as long as the target, or longer.
    LastRecoveryMissed,
    /// RTO: nobody looked at the time that would tell whether the last recovery met the target.
    LastRecoveryUncertain,
    /// RTO: the last recovery is older than `drill_every`.
    LastRecoveryTooOld,
    /// RTO: the last recovery met the target.
    LastRecoveryMet,
    /// RTO: the component is down, and there is still time. No rule gives this any more. Only
    /// records of the first version contain it, and they must stay readable.
    DownWithinTarget,
}

impl Basis {
    /// The status that this row of the table gives.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::CopyLost | Self::ExposureReachedTarget | Self::DownReachedTarget => Status::Breached,
            Self::ExposureAboveRatio | Self::DownAboveRatio => Status::AtRisk,
            Self::ExposureWithinTarget | Self::DownWithinTarget | Self::LastRecoveryMet => Status::Met,
            Self::NoRecoveryPoint
            | Self::ProofTooOld
            | Self::DownUncertain
            | Self::HealthUnknown
            | Self::NoRecovery
            | Self::LastRecoveryMissed
            | Self::LastRecoveryUncertain
            | Self::LastRecoveryTooOld => Status::Unproven,
        }
    }

    /// Whether the status is the standing: only earlier recoveries decide, and nothing is wrong or
    /// unknown now.
    #[must_use]
    pub const fn is_standing(self) -> bool {
        matches!(
            self,
            Self::NoRecovery
                | Self::LastRecoveryMissed
                | Self::LastRecoveryUncertain
                | Self::LastRecoveryTooOld
                | Self::LastRecoveryMet
        )
    }

    /// The row in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::CopyLost => "the DR copy is lost: it does not exist or is not a copy of the primary",
            Self::NoRecoveryPoint => {
                "nothing proves what the DR copy holds: it was never proven, or the proof was withdrawn"
            }
            Self::ExposureReachedTarget => "what is missing from the copy has reached the target",
            Self::ProofTooOld => "the last proof is as old as the target, but nothing that old is known to be missing",
            Self::ExposureAboveRatio => "the data at risk is close to the target",
            Self::ExposureWithinTarget => "the data at risk is within the target",
            Self::DownReachedTarget => "down for as long as the target allows",
            Self::DownAboveRatio => "down, and the target is close",
            Self::DownUncertain => "down for an unknown time, which may be more than the target allows",
            Self::DownWithinTarget => "down, within the target",
            Self::HealthUnknown => "health could not be measured recently",
            Self::NoRecovery => "no recovery was ever measured",
            Self::LastRecoveryMissed => "missed: the last recovery took longer than the target allows",
            Self::LastRecoveryUncertain => "uncertain: nobody looked when the last outage began or ended",
            Self::LastRecoveryTooOld => "too old: the last recovery is older than drill_every allows",
            Self::LastRecoveryMet => "the last recovery met the target",
        }
    }
}

/// How a target is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The target itself. It is strict: a figure equal to it is a breach.
    pub limit: Duration,
    /// The share of the target above which the objective is at risk.
    pub at_risk_ratio: f64,
}

impl Target {
    fn risk(&self) -> Duration {
        self.limit.mul_f64(self.at_risk_ratio)
    }
}

/// The RPO table, for one copy with this exposure. `lost` means that fresh evidence proves the copy
/// lost.
///
/// ```
/// use std::time::Duration;
///
/// use dr_rules::interval::Interval;
/// use dr_rules::status::{Status, Target, rpo};
///
/// let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
/// let target = Target { limit: minutes(5), at_risk_ratio: 0.8 };
/// let status = |least, most| rpo(Interval::new(minutes(least), Some(minutes(most))), false, target).status();
///
/// assert_eq!(status(0, 2), Status::Met);
/// assert_eq!(status(4, 4), Status::Met, "80 % is not above 80 %");
/// assert_eq!(status(3, 6), Status::Unproven, "it may be 3 minutes, and it may be 6");
/// assert_eq!(status(5, 6), Status::Breached);
/// ```
#[must_use]
pub fn rpo(exposure: Interval, lost: bool, target: Target) -> Basis {
    if lost {
        Basis::CopyLost
    } else if exposure.certainly_reaches(target.limit) {
        Basis::ExposureReachedTarget
    } else if exposure.most.is_none() {
        Basis::NoRecoveryPoint
    } else if exposure.may_reach(target.limit) {
        Basis::ProofTooOld
    } else if exposure.may_exceed(target.risk()) {
        Basis::ExposureAboveRatio
    } else {
        Basis::ExposureWithinTarget
    }
}

/// The RTO table, for one contract. `outage` is the length of a running outage. `fresh` means that
/// the health of every check is fresh. `standing` is what earlier recoveries prove. An outage that
/// nobody saw begin counts from its first failed look, before a clock runs: it may be as old as the
/// time in which nobody looked.
///
/// An outage never improves a status: within the target, the standing is still the status. That the
/// component is down is reported separately.
#[must_use]
pub fn rto(outage: Option<Interval>, fresh: bool, standing: Basis, target: Target) -> Basis {
    let running = outage.and_then(|lasted| {
        if lasted.certainly_reaches(target.limit) {
            Some(Basis::DownReachedTarget)
        } else if lasted.may_reach(target.limit) {
            Some(Basis::DownUncertain)
        } else if lasted.certainly_exceeds(target.risk()) {
            Some(Basis::DownAboveRatio)
        } else if lasted.may_exceed(target.risk()) {
            Some(Basis::DownUncertain)
        } else {
            None
        }
    });
    running.unwrap_or(if fresh { standing } else { Basis::HealthUnknown })
}

/// What the last recovery, real or drill, proves about an RTO at `now`.
///
/// An RTO is a claim about an event. While nothing happens, only a measured recovery proves it.
#[must_use]
pub fn standing(last: Option<&Recovery>, rto: Duration, drill_every: Option<Duration>, now: Timestamp) -> Basis {
    match last {
        None => Basis::NoRecovery,
        Some(last) => match last.met(rto) {
            Some(false) => Basis::LastRecoveryMissed,
            None => Basis::LastRecoveryUncertain,
            Some(true) if drill_every.is_some_and(|every| now.since(last.healthy) > every) => Basis::LastRecoveryTooOld,
            Some(true) => Basis::LastRecoveryMet,
        },
    }
}

/// Whether there is evidence no older than `freshness`.
#[must_use]
pub fn is_fresh(evidence: Option<Timestamp>, freshness: Duration, now: Timestamp) -> bool {
    evidence.is_some_and(|evidence| now.since(evidence) <= freshness)
}
