//! Random faults, and the truth beside what the exporter says: never falsely green, never falsely red.
//!
//! A scenario of a kind is made from a seed: what is watched, what happens to it, and what happens to the exporter. What is true
//! is known from what was done, or is read by an observer of its own; the judge holds every scrape against it. A seed that fails
//! is played again with ever fewer steps, until nothing can be left out.
//!
//! `DR_TRUTH_SEEDS=17` or `0..200` are the seeds of each kind, `DR_TRUTH_KINDS=http,dns` the kinds, `DR_TRUTH_WITHOUT=0,3` leaves
//! out steps, and `DR_TRUTH_SHRINK=0` shrinks nothing.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod judge;
mod kinds;
/// Shared with the tests of the alerts, which use more of it.
#[allow(dead_code)]
#[path = "../alerts/monitoring.rs"]
mod monitoring;
mod nats;
mod plan;
mod pulse;
mod said;
mod scenario;
mod stage;
mod story;

use std::env::var;
use std::ops::Range;

use futures_util::{StreamExt, stream};

use judge::Verdict;
use scenario::{KINDS, command, of, play, shrink};

/// They mostly wait; more at once would starve the servers.
const AT_ONCE: usize = 8;

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.trim().parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// The seeds that are asked for, or else those of CI.
fn seeds(in_ci: u64) -> Range<u64> {
    let Ok(wish) = var("DR_TRUTH_SEEDS") else { return 0..in_ci };
    match wish.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&wish)..number::<u64>(&wish) + 1,
    }
}

fn wanted() -> Vec<(&'static str, u64)> {
    let only = var("DR_TRUTH_KINDS").unwrap_or_default();
    let is_wanted = |kind: &str| only.is_empty() || only.split(',').any(|one| one == kind);
    let kinds = KINDS.into_iter().filter(|(kind, _)| is_wanted(kind));
    // One of each kind after the other, so that what needs much does not run all at once.
    let mut all: Vec<_> = kinds.flat_map(|(kind, in_ci)| seeds(in_ci).map(move |seed| (kind, seed))).collect();
    all.sort_by_key(|(_, seed)| *seed);
    all
}

async fn played(kind: &'static str, seed: u64, without: &[usize]) -> Verdict {
    let scenario = of(kind, seed, without);
    let text = scenario.text();
    let (verdict, log) = play(scenario).await;
    if !verdict.faults.is_empty() {
        println!("--- {kind} {seed}: {text}\n    {}", command(kind, seed, without));
        for fault in verdict.faults.iter().take(3).chain(verdict.faults.iter().skip(3).last()) {
            println!("    {fault}");
        }
        println!("    {} in all; the log:", verdict.faults.len());
        log.lines().for_each(|line| println!("      {line}"));
    }
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_says_nothing_that_is_false() {
    let without: Vec<usize> =
        var("DR_TRUTH_WITHOUT").map(|steps| steps.split(',').map(number).collect()).unwrap_or_default();
    let without = &without;
    let verdicts: Vec<_> = stream::iter(wanted())
        .map(|(kind, seed)| async move { (kind, seed, played(kind, seed, without).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    println!("{:16} seeds {}", "", Verdict::HEAD);
    for (kind, _) in KINDS {
        let of_kind = verdicts.iter().filter(|(of, ..)| *of == kind);
        let (mut seeds, mut sum) = (0, Verdict::default());
        for (_, _, verdict) in of_kind {
            seeds += 1;
            sum += verdict;
        }
        println!("{kind:16} {seeds:5} {sum}");
    }
    let wrong: Vec<_> = verdicts.iter().filter(|(.., verdict)| !verdict.faults.is_empty()).collect();
    let shrunk = if without.is_empty() { number(&var("DR_TRUTH_SHRINK").unwrap_or("1".to_owned())) } else { 0 };
    for (kind, seed, _) in wrong.iter().take(shrunk) {
        let left_out = shrink(kind, *seed, AT_ONCE).await;
        let smallest = of(kind, *seed, &left_out);
        println!("{kind} {seed} still fails as: {}\n    {}", smallest.text(), command(kind, *seed, &left_out));
    }
    let unplayed = verdicts.iter().filter_map(|(kind, seed, verdict)| Some((kind, seed, verdict.unplayed.as_ref()?)));
    let unplayed: Vec<_> = unplayed.map(|(kind, seed, why)| format!("{kind} {seed}: {why}")).collect();
    let wrong: Vec<_> = wrong.iter().map(|(kind, seed, _)| format!("{kind} {seed}")).collect();
    assert!(wrong.is_empty(), "what the exporter said was false in these scenarios: {wrong:?}");
    assert!(unplayed.is_empty(), "these scenarios did not come to their end: {unplayed:#?}");
}
