//! `drill start --auto`: tells what to do next, and watches the recovery.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::admin::Failure;
use super::api::Api;
use super::exit;
use super::incident::word;
use crate::export::nagios::State;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// Watches a drill until it ends.
pub(super) async fn watch(api: &Api, run: &Value, by: &str) -> ExitCode {
    let id = word(&run["id"]).to_owned();
    say(&format!("START: {id} at {}", word(&run["started"]["at"])));
    if word(&run["kind"]) != "recovery" {
        say("NEXT: this drill recovers nothing. Do what it asks for, then end it:");
        say(&format!("  dr-exporter drill finish {id}"));
        return ExitCode::SUCCESS;
    }
    let awaited = names(&run["must_recover"]);
    let plan = word(&run["announcement"]["plan"]);
    let what = if plan.is_empty() { "break it now, as the runbook says" } else { plan };
    say(&format!("NEXT: {what}. Waiting for the trigger of: {}", awaited.join(", ")));
    let mut told = Told::default();
    loop {
        let looked = look(api, &id, &awaited, &mut told).await;
        match looked {
            Ok(Look::Ended(run)) => return ended(&run),
            Ok(Look::Recovered) => match finish(api, &id, by).await {
                Ok(run) => return ended(&run),
                // A clock started again in the meantime.
                Err(Failure::Refused(why)) => say(&format!("WAIT: {why}")),
                Err(Failure::Unanswered(why)) => say(&format!("WAIT: the daemon does not answer: {why}")),
            },
            Ok(Look::Waiting) => {}
            Err(failure) => say(&format!("WAIT: {}", failure.text())),
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = tokio::signal::ctrl_c() => {
                say(&format!("LEFT: the drill goes on. End it: dr-exporter drill finish {id}, or drill abort {id}"));
                return exit::UNPROVEN.into();
            }
        }
    }
}

/// What was said already.
#[derive(Default)]
struct Told {
    failing: BTreeSet<String>,
    triggered: BTreeSet<String>,
    recovered: usize,
}

enum Look {
    Waiting,
    /// Every contract has recovered.
    Recovered,
    /// Somebody ended the drill.
    Ended(Value),
}

async fn look(api: &Api, id: &str, awaited: &[String], told: &mut Told) -> Result<Look, Failure> {
    let run = api.get(&["drills", id], &[]).await?;
    let status = api.get(&["status"], &[]).await?;
    let mut running = false;
    for contract in status["contracts"].as_array().into_iter().flatten() {
        let name = word(&contract["name"]).to_owned();
        if !awaited.contains(&name) {
            continue;
        }
        let outage = &contract["outage"];
        if contract["failing"] == json!(true) && told.failing.insert(name.clone()) {
            say(&format!("DOWN: {name} fails"));
        }
        if !outage.is_null() {
            running = true;
            if told.triggered.insert(name.clone()) {
                let (trigger, first) = (word(&outage["trigger"]), word(&outage["first_failure"]));
                say(&format!("TRIGGER: {name} at {trigger}, first failure seen at {first}. Recover it now."));
            }
        }
    }
    let recoveries: Vec<&Value> = run["recoveries"].as_array().into_iter().flatten().collect();
    for recovery in recoveries.iter().skip(told.recovered) {
        say(&format!("RECOVERED: {} at {}", word(&recovery["contract"]), word(&recovery["healthy"])));
    }
    told.recovered = recoveries.len();
    if !run["ended"].is_null() {
        return Ok(Look::Ended(run));
    }
    let done = |name: &String| recoveries.iter().any(|recovery| word(&recovery["contract"]) == name);
    let all = !running && !awaited.is_empty() && awaited.iter().all(done);
    Ok(if all { Look::Recovered } else { Look::Waiting })
}

async fn finish(api: &Api, id: &str, by: &str) -> Result<Value, Failure> {
    api.order(&["drills", id, "finish"], &json!({"by": by, "text": ""})).await
}

/// Prints the results. The exit code tells the outcome.
fn ended(run: &Value) -> ExitCode {
    for recovery in run["recoveries"].as_array().into_iter().flatten() {
        say(&result(recovery));
    }
    let outcome = word(&run["ended"]["outcome"]);
    say(&format!("END: {} {outcome}", word(&run["id"])));
    say(&format!("REPORT: dr-exporter drill report {}", word(&run["id"])));
    match outcome {
        "passed" => ExitCode::SUCCESS,
        "failed" => State::Critical.code().into(),
        _ => exit::UNPROVEN.into(),
    }
}

/// The result of a recovery, as a validation procedure prints it.
pub(super) fn result(recovery: &Value) -> String {
    let contract = word(&recovery["contract"]);
    let (took, least) = (recovery["most_seconds"].as_f64(), recovery["least_seconds"].as_f64().unwrap_or_default());
    let target = recovery["target_seconds"].as_f64().unwrap_or_default();
    let down = recovery["downtime_seconds"].as_f64().unwrap_or_default();
    match (recovery["met"].as_bool(), took) {
        (Some(true), Some(took)) => {
            format!("PASS: {contract}: Recovery in {took:.1}s (< {target:.0}s), down for {down:.1}s")
        }
        (Some(false), _) => format!("FAIL: {contract}: Recovery in {least:.1}s (>= {target:.0}s), down for {down:.1}s"),
        _ => format!(
            "UNPROVEN: {contract}: the recovery took at least {least:.1}s; nobody knows whether it met {target:.0}s"
        ),
    }
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|name| word(name).to_owned()).collect()
}

fn say(line: &str) {
    use std::io::Write as _;
    // Whoever closed the pipe does not read on; the drill is watched all the same.
    let _ = writeln!(std::io::stdout(), "{line}");
}
