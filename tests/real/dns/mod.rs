//! What `dns` must hold, against real DNS servers on loopback.

mod answers;
mod failover;
mod odd;
mod system;
mod transports;
mod warnings;
mod whole;
mod wire;

use std::path::Path;
use std::sync::Arc;

use dr_exporter::domain::observation::{Health, Observation, ReadingValue};
use dr_exporter::engine::check::Check;

use super::single::{self, LATE, LONG, SHORT, run_within};

/// The regions of most tests.
const REGIONS: &str = "regions: { primary: [192.0.2.0/24], dr: [198.51.100.7] }";

/// A check made of the stanza `dns: { STANZA }`; files are named relative to `dir`.
fn check_in(dir: &Path, stanza: &str) -> Arc<dyn Check> {
    single::check_in(dir, &format!("dns: {{ {stanza} }}"))
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

/// The component fails, for this reason, and the story holds these words.
#[track_caller]
fn assert_unhealthy(observation: &Observation, reason: &str, words: &[&str]) {
    single::assert_unhealthy(&observation.health, reason, words);
}

/// We failed, for this reason, and the story holds these words.
#[track_caller]
fn assert_no_answer(observation: &Observation, reason: &str, words: &[&str]) {
    single::assert_no_answer(&observation.health, reason, words);
}

#[track_caller]
fn assert_healthy(observation: &Observation) {
    assert_eq!(observation.health, Health::Healthy);
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
