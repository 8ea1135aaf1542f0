//! The assertions that disaster-recovery contracts are written with, under their own names.

use std::time::Duration;

use dr_rules::contract::{Contract, ContractSpec, Objective};
use dr_rules::observation::CopyState;
use dr_rules::status::Status;
use dr_rules::time::Timestamp;

use super::{check, contract, finding, healthy, of_copy, of_health, seconds, spec, t, unhealthy};

fn minutes(minutes: u64) -> Duration {
    seconds(minutes * 60)
}

fn promise(rto: Option<Duration>, rpo: Option<Duration>) -> ContractSpec {
    ContractSpec { rto, rpo, ..spec() }
}

fn status(contract: &Contract, objective: Objective, now: Timestamp) -> Status {
    contract.judge(objective, now).expect("the contract has the objective").status()
}

fn recovered(rto: Duration, recovery: Duration) -> Status {
    let mut contract = contract(promise(Some(rto), None), vec![check("check")]);
    contract.observe(0, t(-30), &of_health(healthy()));
    for at in [-20, -10, 0] {
        contract.observe(0, t(at), &of_health(unhealthy()));
    }
    let healthy_at = t(0).plus(recovery);
    contract.observe(0, healthy_at, &of_health(healthy()));
    status(&contract, Objective::Rto, healthy_at)
}

#[test]
fn api_recovery_contract_assert_recovery() {
    assert_eq!(recovered(minutes(5), seconds(210)), Status::Met, "3.5 min < 5 min");
    assert_ne!(recovered(minutes(5), minutes(5)), Status::Met, "5 min is not less than 5 min");
}

#[test]
fn nats_recovery_contract_assert_rto() {
    assert_eq!(recovered(minutes(15), seconds(899)), Status::Met);
    assert_ne!(recovered(minutes(15), minutes(15)), Status::Met);
}

/// The age of the oldest message that is not replicated, at a constant rate: what the message lag stands for.
fn behind(last_replicated: u32, origin: u32, per_minute: f64) -> Duration {
    minutes(1).mul_f64(f64::from(origin - last_replicated) / per_minute)
}

fn nats_status(lag: Duration) -> Status {
    let mut contract = contract(promise(None, Some(minutes(5))), vec![check("check")]);
    let copy =
        CopyState::Behind { since: t(0).minus(lag), precision: Duration::ZERO, certain_since: None, finding: None };
    contract.observe(0, t(0), &of_copy(copy));
    status(&contract, Objective::Rpo, t(0))
}

#[test]
fn nats_recovery_contract_assert_rpo() {
    assert_eq!(nats_status(behind(900, 1000, 50.0)), Status::Met, "100 messages at 50 a minute: 2 min < 5 min");
    assert_eq!(nats_status(behind(750, 1000, 50.0)), Status::Breached, "5 min is not less than 5 min");
}

/// The formula `lag / rate if rate > 0 else 0` calls a mirror that lacks messages compliant for ever once writing stops.
/// The age of the oldest message that it lacks does not.
#[test]
fn nats_recovery_contract_assert_rpo_with_a_lag_and_no_rate() {
    assert_eq!(nats_status(minutes(1)), Status::Met);
    assert_eq!(nats_status(minutes(6)), Status::Breached);
}

#[test]
fn secrets_recovery_contract_assert_secrets_sync() {
    let mut contract = contract(promise(None, Some(minutes(60))), vec![check("check")]);
    assert_eq!(status(&contract, Objective::Rpo, t(0)), Status::Unproven, "never seen in sync");
    contract.observe(0, t(0), &of_copy(CopyState::Complete { up_to: t(0) }));
    assert_eq!(status(&contract, Objective::Rpo, t(0)), Status::Met, "equal versions are in sync");
}

#[test]
fn secrets_recovery_contract_assert_config_freshness() {
    let mut contract = contract(promise(None, Some(minutes(60))), vec![check("check")]);
    contract.observe(0, t(0), &of_copy(CopyState::Complete { up_to: t(0) }));
    assert_eq!(contract.judge(Objective::Rpo, t(3599)).expect("an RPO").status().is_compliant(), Some(true));
    contract.observe(0, t(3600), &of_copy(CopyState::Complete { up_to: t(0) }));
    assert_eq!(status(&contract, Objective::Rpo, t(3600)), Status::Unproven, "an hour is not less than an hour");
    let outdated = || CopyState::Outdated {
        up_to: None,
        went_back: None,
        holds: String::new(),
        expected: "v2".to_owned(),
        finding: finding(),
    };
    contract.observe(0, t(3600), &of_copy(outdated()));
    assert_eq!(status(&contract, Objective::Rpo, t(3600)), Status::Unproven, "what is missing may be a second old");
    contract.observe(0, t(7200), &of_copy(outdated()));
    assert_eq!(status(&contract, Objective::Rpo, t(7200)), Status::Breached, "it was missing for an hour");
}

#[test]
fn observability_recovery_contract_assert_degraded_operation() {
    let mut api = contract(promise(Some(minutes(5)), None), vec![check("check")]);
    let mut observability = contract(promise(Some(minutes(60)), None), vec![check("check")]);
    for at in [0, 10, 20] {
        api.observe(0, t(at), &of_health(healthy()));
        observability.observe(0, t(at), &of_health(unhealthy()));
    }
    assert!(observability.clock().running().is_some(), "observability is down");
    assert!(api.clock().running().is_none(), "and the API is not");
    assert_eq!(api.checks()[0].healthy(t(20)), Some(true));
}
