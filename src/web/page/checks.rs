//! The checks of a contract.

use maud::{Markup, html};

use super::parts::{ago, finding, plain_words, time, told};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::export::report::{CheckSettings, CheckStatus, ContractStatus};
use crate::export::text;

/// What a check saw last, in a word.
fn state(check: &CheckStatus) -> Markup {
    let Some(run) = &check.last_run else { return told(None, "Has not run yet") };
    let copy = run.copy.as_deref();
    if check.copy_lost == Some(true) {
        return told(Some(Status::Breached), "The copy is lost");
    }
    match (run.health.as_str(), run.outcome.as_str()) {
        ("unhealthy", _) => told(Some(Status::Breached), "Fails"),
        ("no_answer", _) => told(Some(Status::Unproven), "No answer"),
        ("pending", _) => told(Some(Status::Unproven), "Neither works nor fails"),
        (_, "unhealthy") => told(Some(Status::AtRisk), &format!("The copy is {}", copy.unwrap_or("wrong"))),
        (_, "no_answer") => told(Some(Status::Unproven), "The copy is not known"),
        _ if check.warning == Some(true) => told(Some(Status::AtRisk), "Works, with a warning"),
        _ if text::copy(check).is_some() => {
            told(Some(Status::Met), &format!("Works; the copy is {}", copy.unwrap_or("not complete")))
        }
        _ => told(Some(Status::Met), "Works"),
    }
}

/// Each check in a line, with what is wrong and what to do.
pub(super) fn list(contract: &ContractStatus, now: Timestamp) -> Markup {
    html! {
        ul.checks {
            @for check in &contract.checks {
                li {
                    (state(check)) " " b { (check.name) } " " small { (check.kind) }
                    @if let Some(run) = &check.last_run { " " small { "looked " (ago(run.at, now)) } }
                    (copy(check, now))
                    @if let Some(run) = &check.last_run {
                        @for wrong in run.findings.iter().chain(&run.warnings) { (finding(wrong)) }
                        @for note in &run.notes { p.muted { (note) } }
                    }
                }
            }
        }
    }
}

fn copy(check: &CheckStatus, now: Timestamp) -> Markup {
    html! {
        @if let Some(copy) = text::copy(check) { " Copy: " (copy) "." }
        @if let Some(point) = check.recovery_point { " " small { "Copy proven up to " (ago(point, now)) "." } }
    }
}

/// Everything about each check.
pub(super) fn whole(contract: &ContractStatus, now: Timestamp) -> Markup {
    html! {
        @for check in &contract.checks {
            section.contract aria-labelledby={ "check-" (check.name) } {
                h3 id={ "check-" (check.name) } { (check.name) " " small { (check.kind) } }
                p { (state(check)) (copy(check, now)) }
                @if let Some(run) = &check.last_run {
                    @for wrong in run.findings.iter().chain(&run.warnings) { (finding(wrong)) }
                    @for note in &run.notes { p.muted { (note) } }
                }
                (facts(check, now))
                (failures(check, now))
            }
        }
    }
}

fn facts(check: &CheckStatus, now: Timestamp) -> Markup {
    let feeds: Vec<String> = check.feeds.iter().map(|fed| fed.label().to_uppercase()).collect();
    let runs: Vec<String> =
        check.runs.iter().map(|count| format!("{} {}", count.count, plain_words(&count.name))).collect();
    html! {
        dl {
            dt { "Last success" }
            dd { @match check.last_success { Some(at) => { (time(at)) ", " (ago(at, now)) } None => "none since the exporter started" } }
            dt { "Last failure" }
            dd {
                @match &check.last_failure {
                    Some(failure) => {
                        (time(failure.at)) ", " (ago(failure.at, now)) ": "
                        (failure.findings.iter().map(|found| plain_words(&found.reason)).collect::<Vec<_>>().join(", "))
                    }
                    None => "none since the exporter started",
                }
            }
            dt { "Last run" }
            dd {
                @match &check.last_run {
                    Some(run) => { (ago(run.at, now)) ", took " (text::seconds(run.duration_seconds)) }
                    None => "none yet",
                }
            }
            dt { "Failures in a row" } dd { (check.consecutive_failures) }
            dt { "Feeds" } dd { (feeds.join(", ")) }
            dt { "Runs" } dd { (runs.join(", ")) }
            @if let Some(settings) = &check.settings { (thresholds(settings)) }
        }
    }
}

fn thresholds(settings: &CheckSettings) -> Markup {
    let CheckSettings { failures_to_trigger, successes_to_recover, .. } = settings;
    html! {
        dt { "Schedule" }
        dd {
            "every " (text::seconds(settings.interval_seconds)) ", every " (text::seconds(settings.interval_when_down_seconds))
            " while down; a run may take " (text::seconds(settings.timeout_seconds))
        }
        dt { "Thresholds" }
        dd {
            "down after " (failures_to_trigger) " failures in a row; recovered after " (successes_to_recover)
            " healthy looks; evidence is fresh for " (text::seconds(settings.fresh_for_seconds))
            @if let Some(after) = settings.warn_after_seconds { "; warns above a lag of " (text::seconds(after)) }
        }
    }
}

/// The last failures, the newest first.
fn failures(check: &CheckStatus, now: Timestamp) -> Markup {
    if check.recent_failures.is_empty() {
        return html! {};
    }
    let id = format!("failures-{}", check.name);
    html! {
        details id=(id) {
            summary { "Recent failures" span.unseen { " of " (check.name) } }
            div.wide id={ (id) "-wide" } tabindex="0" role="region" aria-label={ "Recent failures of " (check.name) } {
                table {
                    tr { th scope="col" { "From" } th scope="col" { "Until" } th scope="col" { "Runs" } th scope="col" { "What" } }
                    @for trouble in &check.recent_failures {
                        tr {
                            td { (time(trouble.from)) }
                            td { (time(trouble.until)) br; small { (ago(trouble.until, now)) } }
                            td { (trouble.runs) }
                            td { @for found in &trouble.findings { (finding(found)) } }
                        }
                    }
                }
            }
        }
    }
}
