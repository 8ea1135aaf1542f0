//! The status page: a line per objective, and where to go next.

use axum::response::Html;
use maud::{DOCTYPE, Markup, html};

use crate::domain::contract::Objective;
use crate::export::report::{CheckStatus, StatusReport, TriggerStatus};
use crate::export::text;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1f24 }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { text-align: left; padding: .35rem .75rem; border-bottom: 1px solid #d5d9de; vertical-align: top }
.met { color: #0b5394 } .at_risk { color: #8a5a00 } .breached { color: #b3261e; font-weight: 700 }
.unproven { color: #5b4a8a; font-style: italic } small { color: #57606a }
pre { white-space: pre-wrap }
";

/// The page for a report.
pub(super) fn render(report: &StatusReport) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "dr-exporter" }
                style { (STYLE) }
            }
            body {
                h1 { "Disaster-recovery contracts" }
                p { "As of " (report.now) "." @if !report.ready { " Not every check has run yet." } }
                (banners(report))
                (objectives(report))
                @if !report.triggers.is_empty() {
                    h2 { "Triggers" }
                    (triggers(report))
                }
                @if report.contracts.iter().any(|contract| !contract.independence.is_empty()) {
                    h2 { "Degraded operation" }
                    (independence(report))
                }
                h2 { "Checks" }
                (checks(report))
                p {
                    a href="metrics" { "metrics" } " · "
                    a href="api/v1/status" { "status as JSON" } " · "
                    a href="-/healthy" { "healthy" } " · "
                    a href="-/ready" { "ready" }
                }
                p { small { "dr-exporter " (report.version) } }
            }
        }
    };
    Html(page.into_string())
}

/// What must be seen before anything else: who is down, and what makes the figures less than they seem.
fn banners(report: &StatusReport) -> Markup {
    html! {
        @for contract in report.contracts.iter().filter(|contract| text::is_down(contract)) {
            p.breached {
                (contract.name)
                @match &contract.outage {
                    Some(outage) => { " is DOWN since " (outage.first_failure) "; the recovery clock runs since " (outage.trigger) "." }
                    None => " fails; the recovery clock does not run yet.",
                }
            }
        }
        @if let Some(failing) = report.storage.as_ref().and_then(|storage| storage.failing.as_ref()) {
            p.breached { "The storage fails: " (failing) ". Measuring goes on in memory; a restart forgets what is not stored." }
        }
        @if let Some(configuration) = &report.configuration && let Some(refused) = &configuration.refused {
            p.breached { "The configuration that was read last is refused. In use is the one of " (configuration.read) "." }
            pre { (refused) }
        }
    }
}

fn objectives(report: &StatusReport) -> Markup {
    html! {
        table {
            tr { th { "Status" } th { "Contract" } th { "Objective" } th { "Figure" } th { "How it is known" } th { "Owner" } }
            @for (contract, objective) in text::objectives(report) {
                tr {
                    td class=(objective.status.label()) {
                        (objective.status.label().replace('_', " "))
                        @if objective.objective == Objective::Rto && text::is_down(contract) {
                            br; strong.breached { @if contract.outage.is_some() { "DOWN" } @else { "FAILING" } }
                        }
                    }
                    td { (contract.name) br; small { (contract.component) } }
                    td { (objective.objective.label().to_uppercase()) }
                    td { (text::claim(contract, objective)) }
                    td { (objective.because) br; small { (text::evidence(objective, report.now)) } }
                    td { (contract.owner) " " small { (contract.priority) } }
                }
            }
        }
    }
}

fn triggers(report: &StatusReport) -> Markup {
    html! {
        table {
            tr { th { "State" } th { "Trigger" } th { "Calls for" } th { "What was seen" } th { "Last fired" } }
            @for trigger in &report.triggers {
                tr {
                    td class=(trigger_class(trigger)) { (trigger_state(trigger)) }
                    td { (trigger.name) br; small { (trigger.watches) } }
                    td { (trigger.action) br; small { (trigger.mode.label()) ", " (trigger.notification) } }
                    td {
                        @match &trigger.finding {
                            Some(finding) => { b { (finding.reason) } ": " (finding.detail) br; small { (finding.advice) } }
                            None => "nothing wrong",
                        }
                        @if let Some(since) = &trigger.holds_since { br; small { "holds since " (since) } }
                    }
                    td { @match &trigger.last_fired { Some(at) => (at), None => "never" } }
                }
            }
        }
        p { small { "The exporter never acts: it tells what is called for. " a href="api/v1/triggers" { "The record as JSON" } } }
    }
}

fn trigger_state(trigger: &TriggerStatus) -> &'static str {
    match trigger.active {
        Some(true) => "fires",
        Some(false) => "clear",
        None => "not known",
    }
}

fn trigger_class(trigger: &TriggerStatus) -> &'static str {
    match trigger.active {
        Some(true) => "breached",
        Some(false) => "met",
        None => "unproven",
    }
}

fn independence(report: &StatusReport) -> Markup {
    html! {
        table {
            tr { th { "Contract" } th { "Without" } th { "Now" } th { "Last seen to work" } th { "Last seen to fail" } }
            @for contract in &report.contracts {
                @for without in &contract.independence {
                    tr {
                        td { (contract.name) }
                        td { (without.without) }
                        td {
                            @match without.ok {
                                Some(true) => "works without it",
                                Some(false) => span class="breached" { "fails without it" },
                                None => "not being tested",
                            }
                        }
                        td { @match &without.last_ok { Some(at) => (at), None => "never" } }
                        td { @match &without.last_violated { Some(at) => (at), None => "never" } }
                    }
                }
            }
        }
    }
}

fn checks(report: &StatusReport) -> Markup {
    html! {
        table {
            tr { th { "Check" } th { "Last run" } th { "Copy" } th { "What was wrong last" } }
            @for contract in &report.contracts {
                @for check in &contract.checks {
                    tr {
                        td { (contract.name) "/" (check.name) br; small { (check.kind) } }
                        td { (last_run(check)) }
                        td { (copy(check)) }
                        td { (last_failure(check)) }
                    }
                }
            }
        }
    }
}

fn last_run(check: &CheckStatus) -> Markup {
    html! {
        @match &check.last_run {
            Some(run) => {
                (run.outcome.replace('_', " ")) br; small { (run.at) }
                @for warning in &run.warnings {
                    div { b { (warning.reason) } ": " (warning.detail) br; small { (warning.advice) } }
                }
                @for note in &run.notes { br; small { (note) } }
            }
            None => "not yet",
        }
    }
}

fn copy(check: &CheckStatus) -> Markup {
    let state = check.last_run.as_ref().and_then(|run| run.copy.as_deref());
    html! {
        @match (text::copy(check), state) {
            (Some(copy), _) => (copy),
            (None, Some(state)) => (state),
            (None, None) => "",
        }
        @if let Some(point) = &check.recovery_point { br; small { "proven up to " (point) } }
    }
}

fn last_failure(check: &CheckStatus) -> Markup {
    html! {
        @match &check.last_failure {
            Some(failure) => {
                @for finding in &failure.findings {
                    div { b { (finding.reason) } ": " (finding.detail) br; small { (finding.advice) } }
                }
                small { (failure.at) }
            }
            None => "nothing",
        }
    }
}
