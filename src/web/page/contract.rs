//! The page of one contract: its whole story.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::past::chart;
use super::status::{Past, figure, fresh, last_recovery, next_drill, recoveries};
use super::{Links, Page, checks, parts, progress};
use crate::export::report::{ContractStatus, StatusReport};
use crate::export::text;

/// The windows of the chart, in hours.
pub(in crate::web) const WINDOWS: [(u32, &str); 4] =
    [(24, "24 hours"), (168, "7 days"), (720, "30 days"), (8760, "a year")];

/// The page. The chart shows this many hours, and the stanza is that of the configuration.
pub(in crate::web) fn page(
    contract: &ContractStatus,
    report: &StatusReport,
    past: &Past,
    hours: u32,
    stanza: Option<&str>,
) -> Response {
    let links = Links::FOLDER;
    let name = &contract.name;
    let body = html! {
        @if text::is_down(contract) { (progress::outage(contract, report)) }
        h1 { (contract.component) }
        p { (name) ", owned by " (contract.owner) ", priority " (contract.priority) ". As of " (parts::time(report.now)) "." }
        div.objectives {
            @for objective in &contract.objectives {
                section aria-label={ (objective.objective.label().to_uppercase()) " of " (name) } {
                    (figure(contract, objective, report.now))
                }
            }
        }
        h2 { "The past" }
        (windows(hours))
        (charts(contract, past))
        h2 { "Checks" }
        (checks::whole(contract, report.now))
        h2 { "Recoveries" }
        p { (last_recovery(contract, report.now)) " " (next_drill(contract, report.now)) }
        p.muted { (counts(contract)) }
        (recoveries(&past.recoveries, report.now))
        h2 { "Configuration" }
        @match stanza {
            Some(stanza) => {
                p.muted { "As it is in use, without comments. Secrets stand in the files that it names." }
                pre #stanza tabindex="0" role="region" aria-label="Configuration of the contract" { code { (stanza) } }
            }
            None => p { "It is not known here." }
        }
        p {
            a href=(links.to(&format!("api/v1/contracts/{name}"))) { "This contract as JSON" } " · "
            a href=(links.to(&format!("api/v1/history?contract={name}"))) { "Its past as JSON" } " · "
            a href=(links.to(&format!("api/v1/recoveries?contract={name}"))) { "Its recoveries as JSON" }
        }
    };
    let title = contract.component.clone();
    Page { links, title, fresh: Some(fresh(report)), body }.respond(StatusCode::OK)
}

fn windows(hours: u32) -> Markup {
    html! {
        ul.checks {
            li {
                "Show: "
                @for (window, words) in WINDOWS {
                    @if window == hours { b { (words) } } @else { a href={ "?hours=" (window) } { (words) } }
                    " "
                }
            }
        }
    }
}

fn charts(contract: &ContractStatus, past: &Past) -> Markup {
    html! {
        @match &past.history {
            Ok(history) => {
                @for objective in &contract.objectives {
                    h3 { (objective.objective.label().to_uppercase()) }
                    @if let Some(past) = history.objective(&contract.name, objective.objective) { (chart(past, history)) }
                }
            }
            Err(error) => p { "It cannot be read: " (error) }
        }
    }
}

fn counts(contract: &ContractStatus) -> String {
    let counts =
        contract.recoveries.iter().filter(|count| count.count > 0).map(|count| {
            format!("{} {} {}", count.count, count.mode.label(), if count.met { "met" } else { "missed" })
        });
    let counts: Vec<String> = counts.collect();
    if counts.is_empty() { String::new() } else { format!("So far: {}.", counts.join(", ")) }
}
