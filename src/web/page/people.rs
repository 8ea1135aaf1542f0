//! The part of the status page that shows what people are doing: open incidents with their
//! checklists, drills that go on, and the clocks that run.

use maud::{Markup, html};

use super::Links;
use crate::domain::drill::DrillRun;
use crate::domain::incident::Incident;
use crate::export::report::StatusReport;
use crate::export::text;

/// The section. It is empty while no incident is open and no drill goes on.
pub(super) fn section(report: &StatusReport, links: Links) -> Markup {
    html! {
        @for incident in &report.incidents { (of_incident(report, incident, links)) }
        @for run in &report.drills { (of_drill(report, run, links)) }
    }
}

fn of_incident(report: &StatusReport, incident: &Incident, links: Links) -> Markup {
    html! {
        section {
            h2.breached { "Incident: " (incident.name) }
            p {
                "Declared " (incident.declared.at) " by " (incident.declared.by) ". Began " (incident.began) ". "
                (incident.reason) ". Action: " (incident.action) "."
            }
            (clocks(report, &incident.clocks))
            p { (incident.steps_done()) " of " (incident.steps.len()) " steps taken" }
            ol {
                @for step in &incident.steps {
                    li {
                        (step.name) ": "
                        @match &step.done {
                            Some(stamp) => span.met { "taken " (stamp.at) " by " (stamp.by) },
                            None => "not taken yet",
                        }
                    }
                }
            }
            @for note in &incident.review.notes { p { small { (note.stamp.at) " " (note.stamp.by) ": " (note.text) } } }
            p { a href=(links.to(&format!("api/v1/incidents/{}/report?output=html", incident.id))) { "Report" } }
        }
    }
}

fn of_drill(report: &StatusReport, run: &DrillRun, links: Links) -> Markup {
    let said = &run.announcement;
    html! {
        section {
            h2.unproven { "Drill: " (run.name) }
            p {
                "A planned " (run.kind.label()) ", started " (run.started.at) " by " (run.started.by) "."
                @if !said.environment.is_empty() { " Environment: " (said.environment) "." }
                @if !said.plan.is_empty() { " Plan: " (said.plan) "." }
                " It ends at the latest " (run.expires) "."
            }
            (clocks(report, &run.contracts))
            @for recovery in &run.recoveries {
                p { (recovery.contract) " recovered in " (crate::export::recorded::took(recovery)) "." }
            }
            p { a href=(links.to(&format!("api/v1/drills/{}/report?output=html", run.id))) { "Report" } }
        }
    }
}

/// The recovery clocks of these contracts that run.
fn clocks(report: &StatusReport, contracts: &[String]) -> Markup {
    html! {
        @for contract in report.contracts.iter().filter(|of| contracts.contains(&of.name)) {
            @if let Some(outage) = &contract.outage {
                p.breached {
                    "The recovery clock of " (contract.name) " has run for "
                    (text::duration(report.now.since(outage.trigger)))
                    @for objective in contract.objectives.iter().filter(|of| of.objective.label() == "rto") {
                        " of " (crate::export::recorded::seconds(objective.target_seconds))
                    }
                    ", since " (outage.trigger) " (" (outage.mode.label()) ")."
                }
            }
        }
    }
}
