//! What `http` must hold, against real servers on loopback.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod bodies;
mod connections;
mod faults;
mod limits;
mod redirects;
mod secrets;
mod server;
mod tls;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::checks::{Check, Run};
use dr_exporter::clients::Clients;
use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Finding, Health};
use tokio::time::Instant;

/// More than any answer on loopback takes.
const LONG: Duration = Duration::from_secs(20);
/// The time-out where it is what is tested.
const SHORT: Duration = Duration::from_millis(600);
/// How much later than its deadline a run may end.
const LATE: Duration = Duration::from_millis(200);

/// A check made of the stanza `http: { STANZA }`; files are named relative to `dir`.
fn check_in(dir: &Path, stanza: &str) -> Arc<dyn Check> {
    let yaml = format!(
        "contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 5m
    checks:
      - name: health
        http: {{ {stanza} }}
"
    );
    let config = dr_exporter::config::parse(&yaml, &dir.join("config.yaml")).unwrap_or_else(|error| panic!("{error}"));
    config.contracts[0].kinds[0].build(&Clients::default())
}

/// The same without files.
fn check(stanza: &str) -> Arc<dyn Check> {
    check_in(Path::new("."), stanza)
}

/// Runs a check once.
async fn run(check: &Arc<dyn Check>) -> Health {
    run_within(check, LONG).await
}

/// Runs a check once; it must end by its deadline.
async fn run_within(check: &Arc<dyn Check>, timeout: Duration) -> Health {
    let begin = Instant::now();
    let observation =
        check.run(Run { clock: Clock::start(), max_age: Duration::ZERO, deadline: begin + timeout }).await;
    let took = begin.elapsed();
    assert!(took < timeout + LATE, "took {took:?} of {timeout:?}");
    assert_eq!(observation.copy, None);
    observation.health
}

/// Runs the check of a stanza once.
async fn measure(stanza: &str) -> Health {
    run(&check(stanza)).await
}

/// The component fails, for this reason, and the story holds these words.
#[track_caller]
fn assert_unhealthy(health: &Health, reason: &str, words: &[&str]) {
    let Health::Unhealthy(finding) = health else { panic!("{health:?} should be unhealthy by {reason}") };
    assert_tells(finding, reason, words);
}

/// We failed, for this reason, and the story holds these words.
#[track_caller]
fn assert_no_answer(health: &Health, reason: &str, words: &[&str]) {
    let Health::NoAnswer(finding) = health else { panic!("{health:?} should be no answer by {reason}") };
    assert_tells(finding, reason, words);
}

#[track_caller]
fn assert_tells(finding: &Finding, reason: &str, words: &[&str]) {
    assert_eq!(finding.reason.label, reason, "{finding}");
    for word in words {
        assert!(finding.detail.contains(word), "{:?} should hold {word:?}", finding.detail);
    }
}
