//! The reasons that any kind of check can have: faults of the exporter.

use crate::domain::observation::{CopyState, Finding, Health, Observation, Reason};

/// The check itself failed. This is a fault of the program.
pub static INTERNAL_ERROR: Reason =
    Reason::new("internal_error", "This is a fault of dr-exporter: please report it with the log line.");
/// The check did not end at its deadline and was aborted.
pub static HUNG: Reason = Reason::new("hung", "This is a fault of dr-exporter: please report it with the log line.");
/// The previous run has not ended, so this one was skipped.
pub static STILL_RUNNING: Reason =
    Reason::new("still_running", "This is a fault of dr-exporter: please report it with the log line.");

/// All of them.
pub const ALL: &[&Reason] = &[&INTERNAL_ERROR, &HUNG, &STILL_RUNNING];

/// An observation without an answer, neither for health nor for a copy.
pub(super) fn failure(reason: &'static Reason, detail: String) -> Observation {
    let finding = Finding::new(reason, detail);
    let copy = Some(CopyState::Unknown(finding.clone()));
    Observation { copy, ..Observation::of_health(Health::NoAnswer(finding)) }
}
