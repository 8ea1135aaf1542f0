//! What `dns` must hold, against real DNS servers on loopback.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod failover;
mod server;
mod system;
mod transports;
mod warnings;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::checks::{Check, Run};
use dr_exporter::clients::Clients;
use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Finding, Health, Observation, ReadingValue};
use tokio::time::Instant;

/// More than any answer on loopback takes.
const LONG: Duration = Duration::from_secs(20);
/// The time-out where it is what is tested.
const SHORT: Duration = Duration::from_millis(600);
/// How much later than its deadline a run may end.
const LATE: Duration = Duration::from_millis(200);
/// The regions of most tests.
const REGIONS: &str = "regions: { primary: [192.0.2.0/24], dr: [198.51.100.7] }";

/// A check made of the stanza `dns: { STANZA }`; files are named relative to `dir`.
fn check_in(dir: &Path, stanza: &str) -> Arc<dyn Check> {
    let yaml = format!(
        "contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 5m
    checks:
      - name: dns
        dns: {{ {stanza} }}
"
    );
    let config = dr_exporter::config::parse(&yaml, &dir.join("config.yaml")).unwrap_or_else(|error| panic!("{error}"));
    config.contracts[0].kinds[0].build(&Clients::default())
}

/// The same for `api.example.com` and the usual regions, without files.
fn check(resolvers: &[String]) -> Arc<dyn Check> {
    check_in(Path::new("."), &format!("name: api.example.com, resolvers: [{}], {REGIONS}", quoted(resolvers)))
}

fn quoted(resolvers: &[String]) -> String {
    resolvers.iter().map(|resolver| format!("\"{resolver}\"")).collect::<Vec<_>>().join(", ")
}

/// Runs a check once.
async fn run(check: &Arc<dyn Check>) -> Observation {
    run_within(check, LONG).await
}

/// Runs a check once; it must end by its deadline.
async fn run_within(check: &Arc<dyn Check>, timeout: Duration) -> Observation {
    let begin = Instant::now();
    let run = Run { clock: Clock::start(), max_age: Duration::ZERO, deadline: begin + timeout };
    let observation = check.run(run).await;
    let took = begin.elapsed();
    assert!(took < timeout + LATE, "took {took:?} of {timeout:?}");
    assert_eq!(observation.copy, None);
    observation
}

/// The component fails, for this reason, and the story holds these words.
#[track_caller]
fn assert_unhealthy(observation: &Observation, reason: &str, words: &[&str]) {
    let Health::Unhealthy(finding) = &observation.health else {
        panic!("{observation:?} should be unhealthy by {reason}")
    };
    assert_tells(finding, reason, words);
}

/// We failed, for this reason, and the story holds these words.
#[track_caller]
fn assert_no_answer(observation: &Observation, reason: &str, words: &[&str]) {
    let Health::NoAnswer(finding) = &observation.health else {
        panic!("{observation:?} should be no answer by {reason}")
    };
    assert_tells(finding, reason, words);
}

#[track_caller]
fn assert_healthy(observation: &Observation) {
    assert_eq!(observation.health, Health::Healthy);
}

#[track_caller]
fn assert_tells(finding: &Finding, reason: &str, words: &[&str]) {
    assert_eq!(finding.reason.label, reason, "{finding}");
    for word in words {
        assert!(finding.detail.contains(word), "{:?} should hold {word:?}", finding.detail);
    }
}

/// The number of a reading, by its metric without `dr_dns_` and its label.
fn reading(observation: &Observation, metric: &str, label: Option<&str>) -> Option<f64> {
    let metric = format!("dr_dns_{metric}");
    let found =
        observation.readings.iter().find(|reading| reading.kind.metric == metric && reading.label.as_deref() == label);
    found.map(|reading| match reading.value {
        ReadingValue::Number(number) => number,
        other => panic!("{other:?} is no number"),
    })
}

/// Which regions answer: `None` where that is not known.
fn regions(observation: &Observation) -> (Option<f64>, Option<f64>) {
    let region = |name| reading(observation, "region", Some(name));
    (region("primary"), region("dr"))
}
