//! The four statuses, and the two tables that give them.
//!
//! Two laws. *No false green*: `met` is never said while the truth is a breach; what was not measured is never good.
//! *No false red*: what merely could not be measured is `unproven`, not `breached`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recovery_clock::RecoveryClock;
use super::recovery_point::RecoveryPoint;
use super::time::Timestamp;

/// The status of an objective, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// Whether the promise is kept; nothing when nobody can tell.
    #[must_use]
    pub const fn is_compliant(self) -> Option<bool> {
        match self {
            Self::Met | Self::AtRisk => Some(true),
            Self::Breached => Some(false),
            Self::Unproven => None,
        }
    }
}

/// The row of the table that gave a status: how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// RPO: the DR copy does not exist or is not a copy of the primary.
    CopyLost,
    /// RPO: the copy was never proven to hold anything, or the proof was withdrawn.
    NoRecoveryPoint,
    /// RPO: as much data is at risk as the target allows, or more.
    ExposureReachedTarget,
    /// RPO: the last proof is as old as the target allows, or older, and there is no news.
    ProofTooOld,
    /// RPO: more than the at-risk share of the target is at risk.
    ExposureAboveRatio,
    /// RPO: the recovery point is young enough.
    ExposureWithinTarget,
    /// RTO: the component has been down for as long as the target allows, or longer.
    DownReachedTarget,
    /// RTO: the component has been down for more than the at-risk share of the target.
    DownAboveRatio,
    /// RTO: the component is down, and there is still time.
    DownWithinTarget,
    /// RTO: nobody knows how the component is.
    HealthUnknown,
    /// RTO: no recovery was ever measured.
    NoRecovery,
    /// RTO: the last recovery took as long as the target allows, or longer.
    LastRecoveryMissed,
    /// RTO: nobody looked while the last recovery happened: it may have met the target or not.
    LastRecoveryUncertain,
    /// RTO: the last recovery lies further back than `drill_every` allows.
    LastRecoveryTooOld,
    /// RTO: the last recovery was fast enough.
    LastRecoveryMet,
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
            | Self::HealthUnknown
            | Self::NoRecovery
            | Self::LastRecoveryMissed
            | Self::LastRecoveryUncertain
            | Self::LastRecoveryTooOld => Status::Unproven,
        }
    }

    /// The row in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::CopyLost => "the DR copy is lost: it does not exist or is not a copy of the primary",
            Self::NoRecoveryPoint => {
                "nothing proves what the DR copy holds: it never was proven, or the proof was withdrawn"
            }
            Self::ExposureReachedTarget => "the data at risk has reached the target",
            Self::ProofTooOld => "the last proof is older than the target and there is no news",
            Self::ExposureAboveRatio => "the data at risk is close to the target",
            Self::ExposureWithinTarget => "the data at risk is within the target",
            Self::DownReachedTarget => "down for as long as the target allows",
            Self::DownAboveRatio => "down, and the target is close",
            Self::DownWithinTarget => "down, within the target",
            Self::HealthUnknown => "health could not be measured lately",
            Self::NoRecovery => "no recovery was ever measured",
            Self::LastRecoveryMissed => "the last recovery missed the target",
            Self::LastRecoveryUncertain => "nobody could look when the last recovery happened, and so how fast it was",
            Self::LastRecoveryTooOld => "the last recovery is older than drill_every",
            Self::LastRecoveryMet => "the last recovery met the target",
        }
    }
}

/// How a target is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The objective itself. Strict: a figure equal to it is a breach.
    pub limit: Duration,
    /// The share of the limit above which it is at risk.
    pub at_risk_ratio: f64,
}

impl Target {
    fn is_reached(&self, figure: Duration) -> bool {
        figure >= self.limit
    }

    fn is_at_risk(&self, figure: Duration) -> bool {
        figure > self.limit.mul_f64(self.at_risk_ratio)
    }
}

/// The RPO table, for one copy. Evidence is fresh while it is no older than `freshness`.
///
/// An exposure that has reached the target is a breach only where the evidence shows the copy to lack something. A copy
/// that was complete when it was last looked at, or by somebody's word, only has not been measured since.
#[must_use]
pub fn rpo(point: &RecoveryPoint, target: Target, freshness: Duration, now: Timestamp) -> Basis {
    let fresh = is_fresh(point.evidence(), freshness, now);
    if point.is_lost() && fresh {
        return Basis::CopyLost;
    }
    let Some(exposure) = point.exposure(now) else {
        return Basis::NoRecoveryPoint;
    };
    if target.is_reached(exposure) {
        if fresh && point.is_lacking() { Basis::ExposureReachedTarget } else { Basis::ProofTooOld }
    } else if target.is_at_risk(exposure) {
        Basis::ExposureAboveRatio
    } else {
        Basis::ExposureWithinTarget
    }
}

/// What is known of the health of a contract's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthKnown {
    /// The health of every check is fresh.
    pub fresh: bool,
    /// While the clock runs: a check is known to fail now, or was seen to fail when the target was reached already.
    pub down: bool,
}

/// The RTO table, for one contract.
///
/// An RTO is a claim about an event: while nothing happens, only a recovery that was measured proves it. A clock that has
/// reached the target is a breach only where the outage is known to have lasted that long.
#[must_use]
pub fn rto(
    clock: &RecoveryClock,
    target: Target,
    drill_every: Option<Duration>,
    known: HealthKnown,
    now: Timestamp,
) -> Basis {
    if let Some(outage) = clock.running() {
        let elapsed = now.since(outage.trigger);
        return if target.is_reached(elapsed) {
            if known.down { Basis::DownReachedTarget } else { Basis::HealthUnknown }
        } else if target.is_at_risk(elapsed) {
            Basis::DownAboveRatio
        } else {
            Basis::DownWithinTarget
        };
    }
    if !known.fresh {
        return Basis::HealthUnknown;
    }
    match clock.last_recovery() {
        None => Basis::NoRecovery,
        Some(last) => match last.met(target.limit) {
            Some(false) => Basis::LastRecoveryMissed,
            None => Basis::LastRecoveryUncertain,
            Some(true) if drill_every.is_some_and(|every| now.since(last.healthy) > every) => Basis::LastRecoveryTooOld,
            Some(true) => Basis::LastRecoveryMet,
        },
    }
}

/// Whether something was learned no longer than `freshness` ago.
#[must_use]
pub fn is_fresh(evidence: Option<Timestamp>, freshness: Duration, now: Timestamp) -> bool {
    evidence.is_some_and(|evidence| now.since(evidence) <= freshness)
}
