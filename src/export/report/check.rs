//! The status of one check.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::contract::Objective;
use crate::domain::time::Timestamp;

/// The status of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckStatus {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// The health of the component. Absent without fresh evidence.
    pub healthy: Option<bool>,
    /// How often in a row it has failed.
    pub consecutive_failures: u32,
    /// The objectives that it feeds.
    #[serde(default)]
    pub feeds: Vec<Objective>,
    /// Up to which instant the DR copy is proven.
    pub recovery_point: Option<Timestamp>,
    /// The upper end of the exposure: what a disaster now could cost. Absent while there is no
    /// upper end.
    #[serde(default)]
    pub exposure_seconds: Option<f64>,
    /// The lower end of the exposure. Absent for a check that does not feed the RPO.
    #[serde(default)]
    pub known_exposure_seconds: Option<f64>,
    /// Whether the copy is proven lost. Absent without fresh evidence.
    pub copy_lost: Option<bool>,
    /// Whether the sync lag is above `warn_after`, or the check has another warning. Absent if
    /// nothing is known.
    pub warning: Option<bool>,
    /// The number of runs, by outcome.
    pub runs: Vec<Count>,
    /// How often each reason was found. Reasons that were never found are left out.
    pub failures: Vec<Count>,
    /// The last run.
    pub last_run: Option<RunStatus>,
    /// The last run that found something wrong.
    pub last_failure: Option<FailureStatus>,
    /// The last run that found everything good, since the start of the exporter.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// The last times during which something was wrong, since the start of the exporter, the newest
    /// first.
    #[serde(default)]
    pub recent_failures: Vec<TroubleStatus>,
    /// How it is run and judged. Absent in the report of an older version.
    #[serde(default)]
    pub settings: Option<CheckSettings>,
}

/// A name with a count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Count {
    /// The outcome or the reason.
    pub name: String,
    /// How often it was counted.
    pub count: u64,
}

/// A run that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunStatus {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub duration_seconds: f64,
    /// `healthy`, `unhealthy` or `no_answer`, for health and copy together.
    pub outcome: String,
    /// `healthy`, `unhealthy`, `pending` or `no_answer`, for the health of the component alone.
    pub health: String,
    /// `complete`, `behind`, `vouched`, `outdated`, `damaged`, `withdrawn`, `lost` or `unknown`.
    /// Absent for kinds that have no copy.
    pub copy: Option<String>,
    /// What was wrong. None if the component is healthy.
    pub findings: Vec<FindingStatus>,
    /// What a person should look at although nothing fails. The sync lag is not included.
    #[serde(default)]
    pub warnings: Vec<FindingStatus>,
    /// Further lines for people.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Further figures, as in `/metrics`.
    pub readings: Vec<ReadingStatus>,
}

/// A run that found something wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FailureStatus {
    /// The time of the answer.
    pub at: Timestamp,
    /// What.
    pub findings: Vec<FindingStatus>,
}

/// Runs in a row that found the same wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TroubleStatus {
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub until: Timestamp,
    /// How many.
    pub runs: u64,
    /// What the last of them found.
    pub findings: Vec<FindingStatus>,
}

/// How a check is run and judged, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckSettings {
    /// The time from the start of one run to the start of the next.
    pub interval_seconds: f64,
    /// The interval while the recovery clock runs.
    pub interval_when_down_seconds: f64,
    /// How long one run may take.
    pub timeout_seconds: f64,
    /// How many failures in a row start the recovery clock.
    pub failures_to_trigger: u32,
    /// How many healthy observations in a row count as recovered.
    pub successes_to_recover: u32,
    /// The sync lag above which there is a warning.
    pub warn_after_seconds: Option<f64>,
    /// How long evidence counts as fresh.
    pub fresh_for_seconds: f64,
}

/// One thing that was wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FindingStatus {
    /// The reason, from the closed list.
    pub reason: String,
    /// What happened, and where.
    pub detail: String,
    /// What to do about it.
    pub advice: String,
}

/// A further figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ReadingStatus {
    /// The metric.
    pub metric: String,
    /// The value of the metric's own label, if it has one.
    pub label: Option<String>,
    /// The value now.
    pub value: f64,
}
