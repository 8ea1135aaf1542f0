//! The port of the engine: the trait of everything that it runs.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::clock::{Clock, Moment};
use crate::domain::observation::Observation;

/// Something that is measured again and again.
///
/// Runs of one check never overlap, so the state between runs can be behind a plain mutex.
///
/// ```
/// use std::path::PathBuf;
///
/// use async_trait::async_trait;
/// use dr_exporter::domain::observation::{Finding, Health, Observation, Reason};
/// use dr_exporter::engine::check::{Check, Run};
///
/// static FILE_MISSING: Reason = Reason::new("file_missing", "The job that writes it did not run.");
///
/// /// Healthy while a file exists.
/// struct FileCheck(PathBuf);
///
/// #[async_trait]
/// impl Check for FileCheck {
///     async fn run(&self, _run: Run) -> Observation {
///         let health = match tokio::fs::try_exists(&self.0).await {
///             Ok(true) => Health::Healthy,
///             Ok(false) => Health::Unhealthy(Finding::new(&FILE_MISSING, self.0.display().to_string())),
///             // This process may not look. That says nothing about the component.
///             Err(error) => Health::NoAnswer(Finding::new(&FILE_MISSING, error.to_string())),
///         };
///         Observation::of_health(health)
///     }
/// }
/// ```
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Measures once. It must end by `run.deadline`. The scheduler aborts a run that does not.
    async fn run(&self, run: Run) -> Observation;

    /// The state that must survive a restart, beside the observations. It is plain data. It
    /// outlives the timeline of this process, so every instant in it is in wall-clock time:
    /// [`Moment::wall`].
    fn memory(&self, _moment: Moment) -> Option<serde_json::Value> {
        None
    }

    /// Whether a changed memory must be on the disk before it is shown. This should be false for a
    /// memory that changes with every run: it is written with the check's next news, or within a
    /// minute.
    fn remembers_at_once(&self) -> bool {
        false
    }

    /// Restores the state from [`Check::memory`]. Every instant is converted to this process's
    /// timeline: [`Clock::recalled`]. What it cannot read, it does without.
    fn recall(&self, _memory: &serde_json::Value, _clock: Clock) {}
}

/// The parameters of one run.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The timeline that every instant of the observation must lie on.
    pub clock: Clock,
    /// The highest age of an answer that another check has already read. It is less than the time
    /// between two runs, so no check sees the same answer twice.
    pub max_age: Duration,
    /// How long evidence of the check counts as fresh, at its usual interval.
    pub freshness: Duration,
    /// When the run must have ended.
    pub deadline: Instant,
}
