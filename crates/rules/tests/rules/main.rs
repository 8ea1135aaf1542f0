//! The rules, by tables and by properties. No clock, no network: every instant is an argument.

#![allow(clippy::too_many_lines, reason = "tables are long")]

mod assertions;
mod bridges;
mod clock;
mod drills;
mod gaps;
mod incidents;
mod independence;
mod joined;
mod known;
mod properties;
mod recall;
mod remembered;
mod replicas;
mod shards;
mod statuses;
mod times;
mod trigger;
mod words;

use std::sync::Arc;
use std::time::Duration;

use dr_rules::check::{CheckSpec, Feeds};
use dr_rules::contract::{Contract, ContractSpec, Priority};
use dr_rules::kind::KindInfo;
use dr_rules::observation::{CopyState, Finding, Health, Observation, Reason};
use dr_rules::outage::{Beginning, Mode, Outage, Recovery};
use dr_rules::recovery_clock::ClockEvent;
use dr_rules::remembered::Remembered;
use dr_rules::time::Timestamp;

static KIND: KindInfo =
    KindInfo { name: "http", can_feed: Feeds { rto: true, rpo: true }, reasons: &[], warnings: &[], readings: &[] };

static ANY: Reason = Reason::new("any", "");

/// An instant some seconds into the tests' timeline.
fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn finding() -> Finding {
    Finding::new(&ANY, "somewhere")
}

fn healthy() -> Health {
    Health::Healthy
}

fn unhealthy() -> Health {
    Health::Unhealthy(finding())
}

fn no_answer() -> Health {
    Health::NoAnswer(finding())
}

fn of_health(health: Health) -> Observation {
    Observation::of_health(health)
}

fn of_copy(copy: CopyState) -> Observation {
    Observation { copy: Some(copy), ..of_health(Health::Healthy) }
}

fn check(name: &str) -> CheckSpec {
    CheckSpec {
        name: name.to_owned(),
        kind: &KIND,
        interval: seconds(10),
        interval_when_down: seconds(5),
        timeout: seconds(5),
        failures_to_trigger: 3,
        successes_to_recover: 1,
        warn_after: None,
        lag_budget: None,
        feeds: Feeds { rto: true, rpo: true },
    }
}

/// An outage that a check saw begin and confirmed.
fn outage(first_failure: i64, trigger: i64) -> Outage {
    Outage {
        first_failure: t(first_failure),
        trigger: t(trigger),
        mode: Mode::Real,
        beginning: Beginning::Seen,
        declared: false,
        confirmed: true,
        interruption: None,
    }
}

fn recovery(first_failure: i64, trigger: i64, healthy: i64) -> Recovery {
    Recovery { outage: outage(first_failure, trigger), healthy: t(healthy), earliest: t(healthy) }
}

/// RTO 300 s, RPO 100 s, at risk above 80 %, evidence fresh for 35 s.
fn spec() -> ContractSpec {
    ContractSpec {
        name: "contract".to_owned(),
        component: "Component".to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(seconds(300)),
        rpo: Some(seconds(100)),
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: Vec::new(),
    }
}

fn contract(spec: ContractSpec, checks: Vec<CheckSpec>) -> Contract {
    Contract::new(Arc::new(spec), checks)
}

/// Takes in the health that a check saw.
fn observe(contract: &mut Contract, check: usize, at: i64, health: Health) -> Option<ClockEvent> {
    contract.observe(check, t(at), &of_health(health))
}

/// The contract after a restart.
fn recalled(contract: &Contract) -> Contract {
    gone_on(contract, contract.remember())
}

/// The contract as it goes on from what was remembered of it.
fn gone_on(contract: &Contract, remembered: Remembered) -> Contract {
    let checks = contract.checks().iter().map(|check| check.spec().clone());
    Contract::recall(Arc::new(contract.spec().clone()), checks, remembered)
}
