//! The sentence on top of the page: yes only if everything is proven.

use std::time::Duration;

use dr_exporter::export::failover::{Answer, Failover};
use dr_exporter::export::report::StatusReport;
use dr_exporter::export::text;
use serde_json::{Value, json};

/// A contract with these objectives, 100 s each.
fn contract(name: &str, priority: &str, objectives: &[Value]) -> Value {
    json!({
        "name": name, "component": name.to_uppercase(), "owner": "ops", "priority": priority, "at_risk_ratio": 0.8,
        "objectives": objectives, "outage": null, "last_recovery": null, "recoveries": [], "checks": [],
    })
}

fn objective(objective: &str, basis: &str, known: Option<f64>, most: Option<f64>) -> Value {
    let status = match basis {
        "exposure_within_target" | "last_recovery_met" => "met",
        "exposure_above_ratio" | "down_above_ratio" => "at_risk",
        "copy_lost" | "exposure_reached_target" | "down_reached_target" => "breached",
        _ => "unproven",
    };
    json!({
        "objective": objective, "status": status, "basis": basis, "because": basis.replace('_', " "),
        "target_seconds": 100.0, "observed_seconds": most, "known_seconds": known,
        "used_ratio": most.map(|most| most / 100.0), "evidence": null,
    })
}

fn rto(basis: &str) -> Value {
    objective("rto", basis, Some(30.0), Some(30.0))
}

fn rpo(basis: &str, known: f64, most: Option<f64>) -> Value {
    objective("rpo", basis, Some(known), most)
}

fn recovered(mut contract: Value, mode: &str, seconds: f64) -> Value {
    let at = "2026-01-19T12:00:00Z";
    contract["last_recovery"] = json!({
        "first_failure": at, "trigger": at, "healthy": at, "earliest": at, "mode": mode,
        "recovery_seconds": seconds, "downtime_seconds": seconds,
    });
    contract
}

fn report(contracts: &[Value]) -> StatusReport {
    let report = json!({
        "version": "1", "now": "2026-01-31T12:00:00Z", "ready": true, "storage": null, "contracts": contracts,
    });
    serde_json::from_value(report).expect("a report")
}

fn told(contracts: &[Value]) -> (Answer, String) {
    let failover = Failover::of(&report(contracts), Duration::ZERO);
    (failover.answer, failover.sentence)
}

#[test]
fn yes_needs_every_objective_and_says_what_it_would_cost() {
    let nats = contract("nats", "P0", &[rpo("exposure_within_target", 0.0, Some(4.0))]);
    let secrets = contract("secrets", "P0", &[rpo("exposure_above_ratio", 0.0, Some(2.0))]);
    let api = recovered(contract("api", "P0", &[rto("last_recovery_met")]), "drill", 30.0);
    let (answer, sentence) = told(&[nats.clone(), secrets.clone(), api.clone()]);
    assert_eq!(answer, Answer::Yes);
    assert_eq!(sentence, "Yes: at most 4s of NATS data; the longest last drill took 30s (API, 12d ago).");
    let unproven = contract("mail", "P3", &[rto("no_recovery")]);
    let (answer, sentence) = told(&[nats, secrets, api, unproven]);
    assert_eq!(answer, Answer::Unknown);
    assert_eq!(
        sentence,
        "Nobody can tell: mail (RTO): no recovery. As far as is known it would cost: at most 4s of NATS data."
    );
}

#[test]
fn a_breach_is_a_no_and_the_worst_comes_first() {
    let contracts = &[
        contract("late", "P0", &[rto("no_recovery"), rpo("exposure_reached_target", 110.0, Some(120.0))]),
        contract("later", "P0", &[rpo("exposure_reached_target", 400.0, Some(500.0))]),
        contract("cheap", "P2", &[rpo("exposure_reached_target", 900.0, Some(900.0))]),
        contract("gone", "P1", &[rpo("copy_lost", 0.0, None)]),
    ];
    let report = report(contracts);
    let failover = Failover::of(&report, Duration::ZERO);
    assert_eq!(failover.answer, Answer::No);
    let expected = "No: gone (RPO): copy lost; later (RPO): exposure reached target; late (RPO): exposure reached target; and 1 more.";
    assert_eq!(failover.sentence, expected);
    let order: Vec<_> = failover.against.iter().filter_map(|doubt| doubt.contract.as_deref()).collect();
    assert_eq!(order, ["gone", "later", "late", "cheap", "late"], "and what is only unproven comes last");
    assert_eq!(failover.data, None, "a copy that is lost has no upper end");
    let order: Vec<_> = text::worst_first(&report).iter().map(|contract| contract.name.as_str()).collect();
    assert_eq!(order, ["later", "late", "gone", "cheap"]);
}

#[test]
fn nobody_can_tell_while_a_component_is_down_although_its_promise_still_holds() {
    let mut api = recovered(contract("api", "P0", &[rto("last_recovery_met")]), "real", 30.0);
    assert_eq!(told(&[api.clone()]).0, Answer::Yes);
    api["failing"] = json!(true);
    let (answer, sentence) = told(&[api.clone()]);
    assert_eq!(answer, Answer::Unknown);
    assert!(sentence.contains("it fails now"), "{sentence}");
    let at = "2026-01-31T11:59:48Z";
    api["outage"] = json!({ "first_failure": at, "trigger": at, "mode": "real", "elapsed_seconds": 12.0 });
    let (answer, sentence) = told(&[api]);
    assert_eq!(answer, Answer::Unknown);
    assert!(sentence.contains("it is down, 12s of 1m40s allowed"), "{sentence}");
}

#[test]
fn an_exporter_that_does_not_measure_knows_nothing() {
    let api = recovered(contract("api", "P0", &[rto("last_recovery_met")]), "real", 30.0);
    let met = report(std::slice::from_ref(&api));
    assert_eq!(Failover::of(&met, Duration::from_secs(9)).answer, Answer::Yes);
    let silent = Failover::of(&met, Duration::from_secs(60));
    assert_eq!(silent.answer, Answer::Unknown);
    assert!(
        silent.sentence.starts_with("Nobody can tell: the exporter has not measured for 1m."),
        "{}",
        silent.sentence
    );
    let breached = report(&[contract("late", "P0", &[rpo("copy_lost", 0.0, None)])]);
    assert_eq!(Failover::of(&breached, Duration::from_secs(60)).answer, Answer::Unknown);
    let mut early = report(&[api]);
    early.ready = false;
    assert_eq!(Failover::of(&early, Duration::ZERO).answer, Answer::Unknown);
    let nothing = Failover::of(&report(&[]), Duration::ZERO);
    assert_eq!((nothing.answer, nothing.sentence.as_str()), (Answer::Unknown, "Nobody can tell: nothing is measured."));
}

/// Every file of docs/runbooks is served.
#[test]
fn every_runbook_is_compiled_in() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/runbooks");
    let files = std::fs::read_dir(folder).expect("the runbooks").map(|file| file.expect("a file").file_name());
    let mut files: Vec<_> = files.map(|file| file.to_string_lossy().trim_end_matches(".md").to_owned()).collect();
    files.sort();
    let mut compiled_in: Vec<_> = dr_exporter::web::runbooks::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    compiled_in.sort();
    assert_eq!(files, compiled_in);
}
