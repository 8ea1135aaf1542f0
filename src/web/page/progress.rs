//! What goes on at this moment stands on top of the page: outages, incidents, drills, and faults of
//! the exporter that affect every figure.

use maud::{Markup, html};

use super::parts::{ago, clock, time, told};
use crate::domain::contract::Objective;
use crate::domain::status::Status;
use crate::export::report::{ContractStatus, StatusReport, TriggerStatus};
use crate::export::text;

/// Everything in progress. Nothing if all is quiet.
pub(super) fn progress(report: &StatusReport) -> Markup {
    html! {
        @for contract in report.contracts.iter().filter(|contract| text::is_down(contract)) {
            (outage(contract, report))
        }
        @for trigger in report.triggers.iter().filter(|trigger| trigger.active == Some(true)) {
            (firing(trigger, report))
        }
        (faults(report))
    }
}

/// An outage that goes on.
pub(super) fn outage(contract: &ContractStatus, report: &StatusReport) -> Markup {
    let rto = contract.objectives.iter().find(|objective| objective.objective == Objective::Rto);
    html! {
        div.notice.breached {
            (told(Some(Status::Breached), if contract.outage.is_some() { "Down" } else { "Failing" }))
            " "
            span {
                (contract.component) " (" (contract.name) ") "
                @match &contract.outage {
                    Some(outage) => {
                        "for " (clock(outage.elapsed_seconds))
                        @if let Some(rto) = rto { " of " (text::seconds(rto.target_seconds)) " allowed" }
                        ". The recovery clock has run since " (time(outage.trigger))
                        "; the first failure was at " (time(outage.first_failure)) "."
                        @match outage.at_most_seconds {
                            None => " Nobody saw it healthy before, so it may have been down for longer.",
                            Some(most) if most > outage.elapsed_seconds + 1.0 => {
                                " It may have been down for " (text::seconds(most)) ", because nobody looked before."
                            }
                            Some(_) => "",
                        }
                    }
                    None => "fails now. Its recovery clock does not run yet.",
                }
                @for check in contract.checks.iter().filter(|check| check.healthy == Some(false)) {
                    @if let Some(run) = &check.last_run {
                        " Check " (check.name) ", seen " (ago(run.at, report.now)) "."
                    }
                }
            }
        }
    }
}

fn firing(trigger: &TriggerStatus, report: &StatusReport) -> Markup {
    html! {
        div.notice.at_risk {
            (told(Some(Status::AtRisk), "Trigger fires"))
            " "
            span {
                (trigger.name) " calls for " b { (trigger.action) } " (" (trigger.mode.label()) ", " (trigger.notification) ")"
                @if let Some(since) = trigger.holds_since { "; its condition has held since " (ago(since, report.now)) }
                "."
            }
        }
    }
}

/// What is wrong with the exporter itself.
fn faults(report: &StatusReport) -> Markup {
    let failing = report.storage.as_ref().and_then(|storage| storage.failing.as_ref());
    let damaged = report.storage.as_ref().and_then(|storage| storage.damaged.as_ref());
    html! {
        @if let Some(damaged) = damaged {
            div.notice.at_risk {
                (told(Some(Status::AtRisk), "A part of the storage was damaged or lost"))
                " "
                span { (damaged) ". What it told is unknown now." }
            }
        }
        @if let Some(failing) = failing {
            div.notice.breached {
                (told(Some(Status::Breached), "The storage fails"))
                " "
                span { (failing) ". Measuring continues in memory. A restart would lose what is not stored." }
            }
        }
        @if let Some(configuration) = &report.configuration && let Some(refused) = &configuration.refused {
            div.notice.at_risk {
                (told(Some(Status::AtRisk), "The last configuration was refused"))
                " "
                span { "The one in use was read at " (time(configuration.read)) "." }
                pre { (refused) }
            }
        }
    }
}
