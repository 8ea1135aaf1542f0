//! One check, run once in the test's own process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::clients::Clients;
use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Finding, Health, Observation};
use dr_exporter::engine::check::{Check, Run};
use tokio::time::Instant;

/// More than any answer on loopback takes.
pub const LONG: Duration = Duration::from_secs(20);
/// The time-out where it is what is tested. A busy machine has the answers that do come by then, too.
pub const SHORT: Duration = Duration::from_secs(2);
/// How much later than its deadline a run may end, on a busy machine.
pub const LATE: Duration = Duration::from_secs(2);
/// What a finding says when the machine was too busy to run the check: nothing was measured.
const HELD_UP: &str = "the exporter itself was held up";

/// The configuration of one check with the stanza `KIND: { STANZA }`.
pub fn config(stanza: &str) -> String {
    format!(
        "contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 5m
    checks: [{{ name: health, timeout: 5s, {stanza} }}]
"
    )
}

/// A check made of the stanza `KIND: { STANZA }`; files are named relative to `dir`.
pub fn check_in(dir: &Path, stanza: &str) -> Arc<dyn Check> {
    let config = dr_exporter::config::parse(&config(stanza), &dir.join("config.yaml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    config.contracts[0].checks[0].kind.build(&Clients::default())
}

/// Runs a check once, and again while it says that the machine held it up. It must end by its deadline, and says
/// nothing of a copy.
pub async fn run_within(check: &Arc<dyn Check>, timeout: Duration) -> Observation {
    loop {
        let begin = Instant::now();
        let run = Run { clock: Clock::start(), max_age: Duration::ZERO, freshness: timeout, deadline: begin + timeout };
        let observation = check.run(run).await;
        let took = begin.elapsed();
        if matches!(&observation.health, Health::NoAnswer(finding) if finding.detail.contains(HELD_UP)) {
            continue;
        }
        assert!(took < timeout + LATE, "took {took:?} of {timeout:?}");
        assert_eq!(observation.copy, None);
        return observation;
    }
}

/// Runs a check whose deadline has passed before this process came to it, as after a pause of the machine.
pub async fn run_too_late(check: &Arc<dyn Check>) -> Observation {
    let deadline = Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine runs for longer");
    check.run(Run { clock: Clock::start(), max_age: Duration::ZERO, freshness: Duration::ZERO, deadline }).await
}

/// The component fails, for this reason, and the story holds these words.
#[track_caller]
pub fn assert_unhealthy(health: &Health, reason: &str, words: &[&str]) {
    let Health::Unhealthy(finding) = health else { panic!("{health:?} should be unhealthy by {reason}") };
    assert_tells(finding, reason, words);
}

/// We failed, for this reason, and the story holds these words.
#[track_caller]
pub fn assert_no_answer(health: &Health, reason: &str, words: &[&str]) {
    let Health::NoAnswer(finding) = health else { panic!("{health:?} should be no answer by {reason}") };
    assert_tells(finding, reason, words);
}

/// The finding has this reason, and its story holds these words.
#[track_caller]
pub fn assert_tells(finding: &Finding, reason: &str, words: &[&str]) {
    assert_eq!(finding.reason.label, reason, "{finding}");
    for word in words {
        assert!(finding.detail.contains(word), "{:?} should hold {word:?}", finding.detail);
    }
}
