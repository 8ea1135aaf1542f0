//! The part of the status page about the other shards.

use maud::{Markup, html};

use super::Links;
use super::parts::{badge, told};
use crate::domain::status::Status;
use crate::export::report::StatusReport;
use crate::export::shards::{self, Elsewhere, ShardView, ShardsReport};
use crate::export::text;

/// Which shards there are, and what they tell. Nothing if there is only one.
pub(super) fn section(report: &StatusReport, all: Option<&ShardsReport>, links: Links) -> Markup {
    let Some(shard) = &report.shard else { return html! {} };
    html! {
        h2 #shards { "Shards" }
        p {
            @match all {
                Some(_) => { "The contracts of this shard are shown in full below: " (shards::part(shard)) "." }
                None => {
                    "Only a part is shown: " (shards::part(shard)) ", and "
                    (shard.total_shards - 1) " of " (shard.total_shards) " shards are not known here. "
                    "With --web.peers this page shows all."
                }
            }
        }
        @if shard.contracts == 0 { p { "This shard holds no contract. That is no fault." } }
        @for divided in &shard.divided {
            p {
                "The " (divided.what) " " b { (divided.name) } " is in the shards " (numbers(&divided.shards))
                ": give an order about it to each of them."
            }
        }
        @if let Some(all) = all {
            (table(all))
            @if !all.elsewhere.is_empty() {
                h2 { "Contracts of the other shards" }
                (elsewhere(&all.elsewhere))
            }
            p { a href=(links.to("api/v1/shards")) { "All shards as JSON" } }
        }
    }
}

fn numbers(shards: &[u32]) -> String {
    shards.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

fn table(all: &ShardsReport) -> Markup {
    let state = |shard: &ShardView| match (shard.here, shard.age_seconds) {
        (true, _) => told(Some(Status::Met), "This one"),
        (false, Some(_)) => told(Some(Status::Met), "Known"),
        (false, None) => told(Some(Status::Unproven), "Not known"),
    };
    html! {
        div.wide tabindex="0" role="region" aria-label="Shards" {
            table {
                tr { th scope="col" { "Shard" } th scope="col" { "State" } th scope="col" { "Contracts" } th scope="col" { "As of" } th scope="col" { "Page" } }
                @for shard in &all.shards {
                    tr {
                        td { (shard.shard) }
                        td { (state(shard)) }
                        td { @match shard.contracts { Some(count) => (count), None => "not known" } }
                        td { @match shard.age_seconds { Some(age) => { (text::seconds(age)) " ago" }, None => "not known" } }
                        td { @for url in &shard.urls { a href={ (url) "/" } { (url) } " " } }
                    }
                }
            }
        }
        @for peer in &all.silent { p { "The peer " (peer.url) " does not answer: " (peer.error) } }
    }
}

fn elsewhere(contracts: &[Elsewhere]) -> Markup {
    html! {
        div.wide tabindex="0" role="region" aria-label="Contracts of the other shards" {
            table {
                tr { th scope="col" { "Contract" } th scope="col" { "Shard" } th scope="col" { "Objectives" } th scope="col" { "Why" } }
                @for Elsewhere { shard, url, contract } in contracts {
                    tr {
                        td {
                            a href={ (url) "/contracts/" (contract.name) } { (contract.component) } br;
                            small { (contract.name) ", owned by " (contract.owner) ", " (contract.priority) }
                        }
                        td { (shard) }
                        td {
                            @if contract.outage.is_some() {
                                p { (told(Some(Status::Breached), "Down")) }
                            } @else if contract.failing {
                                p { (told(Some(Status::Breached), "Failing")) }
                            }
                            @for objective in &contract.objectives {
                                p { (objective.objective.label().to_uppercase()) " " (badge(Some(objective.status))) " " (text::claim(contract, objective)) }
                            }
                        }
                        td { @for objective in &contract.objectives { p { (objective.because) } } }
                    }
                }
            }
        }
    }
}
