//! The status page.

use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::bar::bar;
use super::parts::{ago, badge, clock, time, told};
use super::past::strip;
use super::{Fresh, Links, Page, checks, people, progress, shards};
use crate::domain::contract::Objective;
use crate::domain::outage::Mode;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::export::failover::{Answer, Failover};
use crate::export::history::HistoryReport;
use crate::export::report::{ContractStatus, ObjectiveStatus, StatusReport, TriggerStatus};
use crate::export::shards::ShardsReport;
use crate::export::text;
use crate::store::{ClosedRecovery, RecoveryResult};

/// What is known of the past. An error is why it is not known.
pub(in crate::web) struct Past {
    pub(in crate::web) history: Result<HistoryReport, String>,
    pub(in crate::web) recoveries: Result<Vec<ClosedRecovery>, String>,
}

/// The page.
pub(in crate::web) fn page(report: &StatusReport, past: &Past, all: Option<&ShardsReport>) -> Response {
    let links = Links::ROOT;
    let body = html! {
        (people::section(report, links))
        (progress::progress(report))
        (answer(report, all))
        (shards::section(report, all, links))
        @for contract in text::worst_first(report) { (card(contract, report, past, links)) }
        @if !report.triggers.is_empty() {
            h2 { "Triggers" }
            (triggers(report))
        }
        @if report.contracts.iter().any(|contract| !contract.independence.is_empty()) {
            h2 { "Degraded operation" }
            (independence(report))
        }
        h2 { "Last recoveries" }
        (recoveries(&past.recoveries, report.now))
        p { a href=(links.to("api/v1/status")) { "This page as JSON" } }
    };
    let title = report.failover.as_ref().map_or("Status", |failover| word(failover.answer)).to_owned();
    Page { links, title, fresh: Some(fresh(report)), body }.respond(StatusCode::OK)
}

/// A page with figures of this report keeps itself fresh.
pub(super) fn fresh(report: &StatusReport) -> Fresh {
    let answer = report.failover.as_ref().map_or("", |failover| word(failover.answer));
    Fresh { now: report.now.to_string(), answer: answer.to_owned() }
}

const fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "Yes",
        Answer::No => "No",
        Answer::Unknown => "Nobody can tell",
    }
}

/// The answer to the question of the person on call.
fn answer(report: &StatusReport, all: Option<&ShardsReport>) -> Markup {
    let Some(Failover { answer, sentence, against, .. }) = &report.failover else { return html! {} };
    let status = match answer {
        Answer::Yes => Status::Met,
        Answer::No => Status::Breached,
        Answer::Unknown => Status::Unproven,
    };
    let rest = sentence.strip_prefix(word(*answer)).unwrap_or(sentence);
    html! {
        p.question { "Can we fail over now, and what would it cost?" }
        h1 class={ "answer " (status.label()) } { (told(Some(status), word(*answer))) span { (rest) } }
        p.muted { (all.map_or_else(|| text::summary(report), |all| all.summary.clone())) ". As of " (time(report.now)) "." }
        @if against.len() > 1 {
            details #against {
                summary { "Everything that speaks against a yes (" (against.len()) ")" }
                ol {
                    @for doubt in against {
                        li {
                            @if let Some(contract) = &doubt.contract { b { (contract) } " " }
                            @if let Some(objective) = doubt.objective { (objective.label().to_uppercase()) ": " }
                            (doubt.text)
                            @if !doubt.proven { span.muted { " (not proven)" } }
                        }
                    }
                }
            }
        }
    }
}

/// One contract.
fn card(contract: &ContractStatus, report: &StatusReport, past: &Past, links: Links) -> Markup {
    let name = &contract.name;
    html! {
        article.contract aria-labelledby={ "contract-" (name) } {
            header {
                h2 id={ "contract-" (name) } { a href=(links.to(&format!("contracts/{name}"))) { (contract.component) } }
                span.muted { (name) ", owned by " (contract.owner) ", " (contract.priority) }
                @if let Some(outage) = &contract.outage {
                    span { (told(Some(Status::Breached), "Down")) " for " (clock(outage.elapsed_seconds)) }
                } @else if contract.failing {
                    (told(Some(Status::Breached), "Failing"))
                }
            }
            div.objectives {
                @for objective in &contract.objectives {
                    section aria-label={ (objective.objective.label().to_uppercase()) " of " (name) } {
                        (figure(contract, objective, report.now))
                        @match &past.history {
                            Ok(history) => {
                                @if let Some(past) = history.objective(name, objective.objective) { (strip(past, history)) }
                            }
                            Err(error) => { p.muted { "The past cannot be read: " (error) } }
                        }
                    }
                }
            }
            (checks::list(contract, report.now))
            p { (last_recovery(contract, report.now)) " " (next_drill(contract, report.now)) }
        }
    }
}

/// The status of an objective, with its figure.
pub(super) fn figure(contract: &ContractStatus, objective: &ObjectiveStatus, now: Timestamp) -> Markup {
    let running = contract.outage.as_ref().filter(|_| objective.objective == Objective::Rto);
    html! {
        p.figure {
            b { (objective.objective.label().to_uppercase()) } " " (badge(Some(objective.status))) " "
            @match running {
                Some(outage) => { (clock(outage.elapsed_seconds)) " of " (text::seconds(objective.target_seconds)) }
                None => (text::claim(contract, objective)),
            }
        }
        (bar(objective, contract.at_risk_ratio))
        p {
            (objective.because) ". "
            span.muted {
                @match objective.evidence {
                    Some(at) => { (text::evidence_word(objective)) " " (ago(at, now)) }
                    None => "not measured yet",
                }
            }
        }
    }
}

pub(super) fn last_recovery(contract: &ContractStatus, now: Timestamp) -> Markup {
    html! {
        @match &contract.last_recovery {
            Some(last) => {
                "The last recovery (" (last.mode.label()) ") took " (text::seconds(last.recovery_seconds))
                ", " (ago(last.healthy, now)) "."
            }
            None if contract.objectives.iter().any(|objective| objective.objective == Objective::Rto) => {
                "No recovery was ever measured."
            }
            None => "",
        }
    }
}

pub(super) fn next_drill(contract: &ContractStatus, now: Timestamp) -> Markup {
    let Some(every) = contract.drill_every_seconds else { return html! {} };
    let every = text::seconds(every);
    html! {
        @match contract.drill_due {
            Some(due) if due > now => { "The next drill is due in " (text::duration(due.since(now))) " (every " (every) ")." }
            Some(_) => b { "A drill is due now (every " (every) ")." }
            None => b { "A drill is due now: there was none yet (every " (every) ")." }
        }
    }
}

/// Recoveries that are over, the newest first.
pub(super) fn recoveries(recoveries: &Result<Vec<ClosedRecovery>, String>, now: Timestamp) -> Markup {
    let recoveries = match recoveries {
        Ok(recoveries) if recoveries.is_empty() => return html! { p { "No recovery was measured yet." } },
        Ok(recoveries) => recoveries,
        Err(error) => return html! { p { "The recoveries cannot be read: " (error) } },
    };
    html! {
        div.wide #recoveries tabindex="0" role="region" aria-label="Last recoveries" {
            table {
                tr {
                    th scope="col" { "Contract" } th scope="col" { "Recovered" } th scope="col" { "Took" }
                    th scope="col" { "Result" } th scope="col" { "Down for" } th scope="col" { "Cause" }
                }
                @for recovery in recoveries {
                    tr {
                        td { (recovery.contract) br; small { (match recovery.mode { Mode::Real => "real", Mode::Drill => "drill" }) } }
                        td { (time(recovery.healthy)) br; small { (ago(recovery.healthy, now)) } }
                        td {
                            (text::seconds(recovery.recovery_seconds))
                            @if let Some(target) = recovery.target_seconds { small { " of " (text::seconds(target)) } }
                        }
                        td { (result(recovery.result)) }
                        td { (text::seconds(recovery.downtime_seconds)) }
                        td { (recovery.check) ": " (super::parts::plain_words(&recovery.reason)) }
                    }
                }
            }
        }
    }
}

fn result(result: Option<RecoveryResult>) -> Markup {
    match result {
        Some(RecoveryResult::Met) => told(Some(Status::Met), "Met"),
        Some(RecoveryResult::Missed) => told(Some(Status::Breached), "Missed"),
        Some(RecoveryResult::Uncertain) => told(Some(Status::Unproven), "Uncertain"),
        None => html! { "no RTO" },
    }
}

fn triggers(report: &StatusReport) -> Markup {
    let state = |trigger: &TriggerStatus| match trigger.active {
        Some(true) => told(Some(Status::AtRisk), "Fires"),
        Some(false) => told(Some(Status::Met), "Clear"),
        None => told(Some(Status::Unproven), "Not known"),
    };
    html! {
        p.muted { "The exporter never acts. It only tells which decision is called for." }
        div.wide #triggers tabindex="0" role="region" aria-label="Triggers" {
            table {
                tr { th scope="col" { "State" } th scope="col" { "Trigger" } th scope="col" { "Calls for" } th scope="col" { "What was seen" } th scope="col" { "Last fired" } }
                @for trigger in &report.triggers {
                    tr {
                        td { (state(trigger)) }
                        td { (trigger.name) br; small { "watches " (trigger.watches) } }
                        td { (trigger.action) br; small { (trigger.mode.label()) ", " (trigger.notification) } }
                        td {
                            @match &trigger.finding { Some(found) => (super::parts::finding(found)), None => "nothing wrong" }
                            @if let Some(since) = trigger.holds_since { small { "holds since " (ago(since, report.now)) } }
                        }
                        td { @match trigger.last_fired { Some(at) => (ago(at, report.now)), None => "never" } }
                    }
                }
            }
        }
    }
}

fn independence(report: &StatusReport) -> Markup {
    let at = |at: Option<Timestamp>| html! { @match at { Some(at) => (ago(at, report.now)), None => "never" } };
    html! {
        div.wide #independence tabindex="0" role="region" aria-label="Degraded operation" {
            table {
                tr { th scope="col" { "Contract" } th scope="col" { "Without" } th scope="col" { "Now" } th scope="col" { "Last seen to work" } th scope="col" { "Last seen to fail" } }
                @for contract in &report.contracts {
                    @for without in &contract.independence {
                        tr {
                            td { (contract.name) }
                            td { (without.without) }
                            td {
                                @match without.ok {
                                    Some(true) => (told(Some(Status::Met), "Works without it")),
                                    Some(false) => (told(Some(Status::Breached), "Fails without it")),
                                    None => "not being tested",
                                }
                            }
                            td { (at(without.last_ok)) }
                            td { (at(without.last_violated)) }
                        }
                    }
                }
            }
        }
    }
}
