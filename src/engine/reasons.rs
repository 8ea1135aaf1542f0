//! The reasons that any kind of check can have: the exporter itself is why nothing was measured.

use std::time::Duration;

use crate::domain::observation::{CopyState, Finding, Health, Observation, Reason};

/// The check itself failed. This is a fault of the program.
pub static INTERNAL_ERROR: Reason =
    Reason::new("internal_error", "This is a fault of dr-exporter: please report it with the log line.");
/// The check did not end at its deadline and was aborted.
pub static HUNG: Reason = Reason::new("hung", "This is a fault of dr-exporter: please report it with the log line.");
/// The previous run has not ended, so this one was skipped.
pub static STILL_RUNNING: Reason =
    Reason::new("still_running", "This is a fault of dr-exporter: please report it with the log line.");

/// The exporter did not run for a part of the run.
pub static HELD_UP: Reason = Reason::new(
    "held_up",
    "The exporter itself stood still: was it stopped, or its machine paused or without free CPU? Nothing is known of the server.",
);

/// All of them.
pub const ALL: &[&Reason] = &[&INTERNAL_ERROR, &HUNG, &STILL_RUNNING, &HELD_UP];

/// The reasons that say that no answer came, or not all of it, at least from one of several servers.
pub const SILENCE: [&str; 9] = [
    "connect_failed",
    "connection_lost",
    "no_quorum",
    "no_writer",
    "resolve_failed",
    "stream_full",
    "tcp_failed",
    "timeout",
    "tls_failed",
];

/// What a run says in which this process was held up. An answer is an answer. But whoever seems silent
/// may have answered in vain, or waited in vain for this process.
pub(super) fn unless_held_up(mut observation: Observation, held_up: Duration) -> Observation {
    let ours = |finding: &Finding| {
        let is_silence = !held_up.is_zero() && SILENCE.contains(&finding.reason.label);
        is_silence.then(|| held_up_for(held_up, &finding.to_string()))
    };
    if let Health::Unhealthy(finding) | Health::NoAnswer(finding) = &observation.health
        && let Some(finding) = ours(finding)
    {
        observation.health = Health::NoAnswer(finding);
    }
    if let Some(CopyState::Unknown(finding)) = &mut observation.copy
        && let Some(ours) = ours(finding)
    {
        *finding = ours;
    }
    observation
}

pub(super) fn held_up_for(time: Duration, so: &str) -> Finding {
    Finding::new(&HELD_UP, format!("the exporter itself was held up for {:.1} s; so it saw: {so}", time.as_secs_f64()))
}

/// An observation without an answer, neither for health nor for a copy.
pub(super) fn failure(reason: &'static Reason, detail: String) -> Observation {
    of(Finding::new(reason, detail))
}

/// The same for a finding.
pub(super) fn of(finding: Finding) -> Observation {
    let copy = Some(CopyState::Unknown(finding.clone()));
    Observation { copy, ..Observation::of_health(Health::NoAnswer(finding)) }
}
