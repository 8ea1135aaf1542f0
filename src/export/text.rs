//! A status report for people: one line per objective, or a Markdown table.

use std::fmt::Write as _;
use std::time::Duration;

use super::report::{CheckStatus, ContractStatus, ObjectiveStatus, StatusReport};
use super::shards;
use crate::domain::contract::Objective;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;

/// One line per objective, e.g. `PASS  nats-streams  rpo  2m03s < 5m  (41% used; proven 3s ago)`,
/// and a summary.
#[must_use]
pub fn lines(report: &StatusReport) -> String {
    let width = report.contracts.iter().map(|contract| contract.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (contract, objective) in objectives(report) {
        let (word, name) = (word(contract, objective), &contract.name);
        let (label, claim) = (objective.objective.label(), claim(contract, objective));
        let note = note(contract, objective, report.now);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{word:<8}  {name:<width$}  {label}  {claim}  ({note})");
        for line in reasons(contract, objective) {
            let _ = writeln!(text, "{:<8}  {line}", "");
        }
    }
    let _ = writeln!(text, "\n{}", summary(report));
    for fault in faults(report) {
        let _ = writeln!(text, "{fault}");
    }
    if let Some(shard) = &report.shard {
        let _ = writeln!(text, "{}; the other shards are not shown", shards::part(shard));
    }
    text
}

/// What is wrong with the exporter itself.
fn faults(report: &StatusReport) -> impl Iterator<Item = String> {
    let failing = report.storage.as_ref().and_then(|storage| storage.failing.as_ref());
    let failing =
        failing.map(|failing| format!("the storage fails, and a restart would lose what is not stored: {failing}"));
    let damaged = report.storage.as_ref().and_then(|storage| storage.damaged.as_ref());
    let damaged = damaged.map(|damaged| format!("a part of the storage was damaged or lost: {damaged}"));
    let configuration = report.configuration.as_ref();
    let refused = configuration.and_then(|configuration| Some((configuration.refused.as_ref()?, configuration.read)));
    let refused = refused.map(|(refused, read)| {
        format!("the configuration of {read} is in use, because a later one was refused: {refused}")
    });
    failing.into_iter().chain(damaged).chain(refused)
}

/// The whole report in one line, e.g. `3 objectives: 2 met, 1 at risk; api is DOWN`.
#[must_use]
pub fn summary(report: &StatusReport) -> String {
    let count = |status| objectives(report).filter(|(_, objective)| objective.status == status).count();
    let total = objectives(report).count();
    let counts =
        [Status::Breached, Status::Unproven, Status::AtRisk, Status::Met].map(|status| (count(status), status));
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts = counts.map(|(count, status)| format!("{count} {}", status.label().replace('_', " ")));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let running = |contract: &&ContractStatus| contract.outage.is_some();
    let down = named(report.contracts.iter().filter(running), "is DOWN", "are DOWN");
    let failing = |contract: &&ContractStatus| contract.outage.is_none() && contract.failing;
    let failing = named(report.contracts.iter().filter(failing), "fails", "fail");
    format!("{total} {}: {counts}{down}{failing}", if total == 1 { "objective" } else { "objectives" })
}

fn named<'a>(contracts: impl Iterator<Item = &'a ContractStatus>, one: &str, several: &str) -> String {
    let names: Vec<&str> = contracts.map(|contract| contract.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!("; {name} {one}"),
        names => format!("; {} {several}", names.join(", ")),
    }
}

/// A Markdown table with a row per objective.
#[must_use]
pub fn markdown(report: &StatusReport) -> String {
    let mut text = format!("Status at {}: {}.\n\n", report.now, summary(report));
    text.push_str(
        "| Result | Contract | Owner | Priority | Objective | At least | At most | Target | Used | Because |\n",
    );
    text.push_str("|---|---|---|---|---|---|---|---|---|---|\n");
    let unknown = || "unknown".to_owned();
    for (contract, objective) in objectives(report) {
        let cells = [
            word(contract, objective).to_owned(),
            contract.name.clone(),
            contract.owner.clone(),
            contract.priority.clone(),
            objective.objective.label().to_uppercase(),
            objective.known_seconds.map_or_else(unknown, seconds),
            objective.observed_seconds.map_or_else(unknown, seconds),
            format!("< {}", seconds(objective.target_seconds)),
            objective.used_ratio.map_or_else(unknown, |ratio| format!("{:.0}%", ratio * 100.0)),
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

/// The word for an objective that is met while its component works.
pub const PASS: &str = "PASS";

/// The status as the result of a test. `DOWN` takes priority over the status.
#[must_use]
pub fn word(contract: &ContractStatus, objective: &ObjectiveStatus) -> &'static str {
    match objective.status {
        Status::Breached => "FAIL",
        _ if objective.objective == Objective::Rto && contract.outage.is_some() => "DOWN",
        _ if objective.objective == Objective::Rto && contract.failing => "FAILING",
        Status::Met => PASS,
        Status::AtRisk => "AT RISK",
        Status::Unproven => "UNPROVEN",
    }
}

/// Whether the recovery clock runs, or a check sees the component fail.
#[must_use]
pub fn is_down(contract: &ContractStatus) -> bool {
    contract.outage.is_some() || contract.failing
}

/// The figure against the target: `2m03s < 5m`, `1m to 7m, target 5m`, or `12s of 5m` for a clock
/// that runs.
#[must_use]
pub fn claim(contract: &ContractStatus, objective: &ObjectiveStatus) -> String {
    let target = seconds(objective.target_seconds);
    let running = contract.outage.as_ref().filter(|_| objective.objective == Objective::Rto);
    if let Some(outage) = running {
        return format!("{} of {target}", seconds(outage.elapsed_seconds));
    }
    let (known, observed) = (objective.known_seconds.filter(|known| *known > 0.0), objective.observed_seconds);
    let reached = known.is_some_and(|known| known >= objective.target_seconds);
    let figure = match (known.map(seconds), observed.map(seconds)) {
        (Some(known), Some(observed)) if known != observed => format!("{known} to {observed}"),
        (_, Some(observed)) => observed,
        (Some(known), None) => format!("at least {known}"),
        (None, None) => return format!("unknown, target {target}"),
    };
    match observed {
        _ if reached => format!("{figure} >= {target}"),
        Some(observed) if observed < objective.target_seconds => format!("{figure} < {target}"),
        _ => format!("{figure}, target {target}"),
    }
}

/// How the status is known, e.g. `41% used; proven 3s ago`.
#[must_use]
pub fn note(contract: &ContractStatus, objective: &ObjectiveStatus, now: Timestamp) -> String {
    let is_rto = objective.objective == Objective::Rto;
    let outage = contract.outage.as_ref().filter(|_| is_rto);
    let status = outage.map(|_| objective.status.label().replace('_', " "));
    let because = (objective.status != Status::Met || is_rto).then(|| objective.because.clone());
    let failing = (is_rto && outage.is_none() && contract.failing).then(|| "fails now".to_owned());
    [status, failing, because, Some(evidence(objective, now))].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// How much of the target is used, and how old the evidence is, e.g. `41% used; proven 3s ago`.
#[must_use]
pub fn evidence(objective: &ObjectiveStatus, now: Timestamp) -> String {
    let used = objective.used_ratio.map(|ratio| format!("{:.0}% used", ratio * 100.0));
    let proven = match objective.evidence_age(now) {
        Some(age) => format!("{} {} ago", evidence_word(objective), duration(age)),
        None => "not measured yet".to_owned(),
    };
    used.into_iter().chain([proven]).collect::<Vec<_>>().join("; ")
}

/// What the evidence of an objective is: `proven`, `last news` or `last look`.
#[must_use]
pub fn evidence_word(objective: &ObjectiveStatus) -> &'static str {
    match (objective.objective, objective.status) {
        (Objective::Rpo, Status::Met) => "proven",
        (Objective::Rpo, _) => "last news",
        (Objective::Rto, _) => "last look",
    }
}

/// The contracts, the worst first: breached, then down, unproven, at risk, met. Of two that are
/// equally bad, the more urgent one is first, then the one that uses more of its target.
#[must_use]
pub fn worst_first(report: &StatusReport) -> Vec<&ContractStatus> {
    let rank = |contract: &ContractStatus| {
        let worst = contract.objectives.iter().map(|objective| objective.status).max();
        match worst {
            Some(Status::Breached) => 0,
            _ if is_down(contract) => 1,
            Some(Status::Unproven) | None => 2,
            Some(Status::AtRisk) => 3,
            Some(Status::Met) => 4,
        }
    };
    let used = |contract: &ContractStatus| {
        let ratios = contract.objectives.iter().filter_map(|objective| objective.used_ratio);
        ratios.fold(0.0, f64::max)
    };
    let mut contracts: Vec<&ContractStatus> = report.contracts.iter().collect();
    contracts.sort_by(|a, b| {
        let order = (rank(a), &a.priority).cmp(&(rank(b), &b.priority));
        order.then_with(|| used(b).total_cmp(&used(a)))
    });
    contracts
}

/// A running clock, down to the second: `12s`, `2m03s`, `1h05m12s`.
#[must_use]
pub fn clock(elapsed: f64) -> String {
    let total = Duration::try_from_secs_f64(elapsed.max(0.0)).unwrap_or(Duration::MAX).as_secs();
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, _, _) => format!("{hours}h{minutes:02}m{seconds:02}s"),
        _ => format!("{days}d{hours:02}h{minutes:02}m{seconds:02}s"),
    }
}

/// The findings of the checks that feed objectives which are not [`PASS`], and the state of each
/// copy that is not proven complete. A check that feeds two such objectives is shown once: below
/// the last of them.
pub(super) fn reasons(contract: &ContractStatus, under: &ObjectiveStatus) -> Vec<String> {
    let open = contract.objectives.iter().filter(|objective| word(contract, objective) != PASS);
    let open: Vec<Objective> = open.map(|objective| objective.objective).collect();
    if open.last() != Some(&under.objective) {
        return Vec::new();
    }
    // The report of an older version does not say what a check feeds: show all checks.
    let feeds = |check: &&CheckStatus| check.feeds.is_empty() || check.feeds.iter().any(|fed| open.contains(fed));
    let of_check = |check: &CheckStatus| {
        let findings = check.last_run.iter().flat_map(|run| &run.findings);
        let findings = findings.map(|finding| format!("{}: {}. {}", finding.reason, finding.detail, finding.advice));
        let copy = open.contains(&Objective::Rpo).then(|| copy(check)).flatten().map(|copy| {
            let notes = check.last_run.iter().flat_map(|run| &run.notes);
            format!("copy: {copy}{}", notes.map(|note| format!("; {note}")).collect::<String>())
        });
        copy.into_iter().chain(findings).map(|line| format!("{}: {line}", check.name)).collect::<Vec<_>>()
    };
    contract.checks.iter().filter(feeds).flat_map(of_check).collect()
}

/// The state of a copy that is not complete: `behind, 2m to 2m05s of data at risk`.
#[must_use]
pub fn copy(check: &CheckStatus) -> Option<String> {
    let run = check.last_run.as_ref()?;
    let state = run.copy.as_deref().filter(|state| !matches!(*state, "complete" | "unknown"))?;
    let known = check.known_exposure_seconds.filter(|known| *known > 0.0).map(seconds);
    let exposure = match (known, check.exposure_seconds.map(seconds)) {
        (Some(known), Some(most)) if known != most => format!(", {known} to {most} of data at risk"),
        (Some(_), Some(most)) => format!(", {most} of data at risk"),
        (None, Some(most)) => format!(", at most {most} of data at risk"),
        (Some(known), None) => format!(", at least {known} of data at risk"),
        (None, None) => String::new(),
    };
    Some(format!("{state}{exposure}"))
}

/// A number of seconds as a [`duration`].
#[must_use]
pub fn seconds(seconds: f64) -> String {
    duration(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX))
}

/// A duration for people: its two leading units, e.g. `2m03s`, `1h30m`, `4.2s`, `250ms`.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let total = duration.as_secs();
    let (days, hours, minutes, seconds) = (total / 86_400, total / 3_600 % 24, total / 60 % 60, total % 60);
    let pair = |big, unit: &str, small, sub: &str| {
        if small == 0 { format!("{big}{unit}") } else { format!("{big}{unit}{small:02}{sub}") }
    };
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 1 && duration.subsec_millis() > 0 => format!("{}ms", duration.as_millis()),
        (0, 0, 0) if seconds < 10 && duration.subsec_millis() >= 100 => {
            format!("{seconds}.{}s", duration.subsec_millis() / 100)
        }
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
            (1_050, "1s"),
            (4_290, "4.2s"),
            (9_999, "9.9s"),
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
