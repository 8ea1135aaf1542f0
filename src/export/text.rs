//! A status report for people: one line per objective, or a Markdown table.

use std::fmt::Write as _;
use std::time::Duration;

use super::report::{ContractStatus, ObjectiveStatus, StatusReport};
use crate::domain::contract::Objective;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

/// One line per objective, e.g. `PASS  nats-streams  rpo  2m03s < 5m  (41% used; proven 3s ago)`.
#[must_use]
pub fn lines(report: &StatusReport) -> String {
    let width = report.contracts.iter().map(|contract| contract.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (contract, objective) in objectives(report) {
        let (word, name) = (word(objective.status), &contract.name);
        let (label, claim, note) = (objective.objective.label(), claim(objective), note(objective, report.now));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word:<8}  {name:<width$}  {label}  {claim}  ({note})");
        if objective.status != Status::Met {
            for finding in findings(contract) {
                let _ = writeln!(text, "{:<8}  {finding}", "");
            }
        }
    }
    text
}

/// A Markdown table with a row per objective.
#[must_use]
pub fn markdown(report: &StatusReport) -> String {
    let mut text = format!("Status at {}.\n\n", report.now);
    text.push_str("| Result | Contract | Owner | Priority | Objective | Observed | Target | Used | Because |\n");
    text.push_str("|---|---|---|---|---|---|---|---|---|\n");
    for (contract, objective) in objectives(report) {
        let cells = [
            word(objective.status).to_owned(),
            contract.name.clone(),
            contract.owner.clone(),
            contract.priority.clone(),
            objective.objective.label().to_uppercase(),
            objective.observed_seconds.map_or_else(|| "unknown".to_owned(), seconds),
            format!("< {}", seconds(objective.target_seconds)),
            objective.used_ratio.map_or_else(|| "unknown".to_owned(), |ratio| format!("{:.0}%", ratio * 100.0)),
            objective.because.clone(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace(['\n', '\r'], " "));
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

/// Every objective with its contract.
pub fn objectives(report: &StatusReport) -> impl Iterator<Item = (&ContractStatus, &ObjectiveStatus)> {
    report.contracts.iter().flat_map(|contract| contract.objectives.iter().map(move |objective| (contract, objective)))
}

/// The status as a test's result.
#[must_use]
pub const fn word(status: Status) -> &'static str {
    match status {
        Status::Met => "PASS",
        Status::AtRisk => "AT RISK",
        Status::Breached => "FAIL",
        Status::Unproven => "UNPROVEN",
    }
}

/// The figure against the target, e.g. `2m03s < 5m`.
#[must_use]
pub fn claim(objective: &ObjectiveStatus) -> String {
    let target = seconds(objective.target_seconds);
    match objective.observed_seconds {
        Some(observed) if observed < objective.target_seconds => format!("{} < {target}", seconds(observed)),
        Some(observed) => format!("{} >= {target}", seconds(observed)),
        None => format!("unknown, target {target}"),
    }
}

/// How it is known, e.g. `41% used; proven 3s ago`.
#[must_use]
pub fn note(objective: &ObjectiveStatus, now: Timestamp) -> String {
    let used = objective.used_ratio.map(|ratio| format!("{:.0}% used", ratio * 100.0));
    let because =
        (objective.status != Status::Met || objective.objective == Objective::Rto).then(|| objective.because.clone());
    let proven = match (objective.evidence_age(now), objective.objective) {
        (Some(age), Objective::Rpo) => format!("last news {} ago", duration(age)),
        (Some(age), Objective::Rto) => format!("health seen {} ago", duration(age)),
        (None, _) => "not measured yet".to_owned(),
    };
    let proven = match objective.status {
        Status::Met if objective.objective == Objective::Rpo => proven.replace("last news", "proven"),
        _ => proven,
    };
    [used, because, Some(proven)].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn findings(contract: &ContractStatus) -> impl Iterator<Item = String> {
    contract.checks.iter().flat_map(|check| {
        let findings = check.last_run.iter().flat_map(|run| &run.findings);
        findings.map(|finding| format!("{}: {}: {}. {}", check.name, finding.reason, finding.detail, finding.advice))
    })
}

fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// A duration as people say it: the two leading units, e.g. `2m03s`, `1h30m`, `250ms`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60);
    let pair = |big, unit: &str, small, sub: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small:02}{sub}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 && duration.subsec_millis() > 0 => format!("{}ms", duration.as_millis()),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => pair(minutes, "m", seconds, "s"),
        (0, _, _) => pair(hours, "h", minutes, "m"),
        _ => pair(days, "d", hours, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_people_say_them() {
        for (millis, expected) in [
            (0, "0s"),
            (250, "250ms"),
            (3_000, "3s"),
            (9_999, "9999ms"),
            (12_700, "12s"),
            (123_000, "2m03s"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (90_000_000, "1d01h"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }
}
