//! Random faults on real servers, and the truth beside what the exporter says: never falsely green, never falsely red.
//!
//! A scenario is made from a seed: the streams' limits, the versions of the servers, and what happens to them. An observer of
//! its own reads both streams message by message; the judge holds every scrape against what it saw. A seed that fails is
//! run again by `DR_TRUTH_SEEDS=17 cargo test --test truth`; `DR_TRUTH_SEEDS=0..200` runs many.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod judge;
mod observer;
mod plan;
mod world;

use std::ops::Range;

use futures_util::{StreamExt, stream};

use judge::Verdict;
use plan::Plan;
use world::World;

/// Without a wish: these, in CI.
const SEEDS: Range<u64> = 0..12;
/// They mostly wait; more at once would starve the servers.
const AT_ONCE: usize = 6;

fn seeds() -> Range<u64> {
    let Ok(wish) = std::env::var("DR_TRUTH_SEEDS") else { return SEEDS };
    let number = |text: &str| text.trim().parse::<u64>().expect("DR_TRUTH_SEEDS is a seed, or a range as 0..200");
    match wish.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => number(&wish)..number(&wish) + 1,
    }
}

async fn scenario(seed: u64) -> Verdict {
    let plan = Plan::of(seed);
    let record = World::start(&plan).await.play(&plan).await;
    let verdict = judge::hold(&plan, &record);
    if let [first, .., last] | [first @ last] = &verdict.faults[..] {
        let begun = record.said.first().map(|said| jiff::Timestamp::try_from(said.at));
        println!("--- seed {seed}: {plan}\n    {} scrapes, the first and the last of them:", verdict.faults.len());
        println!("    {first}\n    {last}\n    the log, from {begun:?}:");
        record.log.lines().for_each(|line| println!("      {line}"));
    }
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_says_nothing_that_is_false() {
    let verdicts: Vec<_> = stream::iter(seeds())
        .map(|seed| async move { (seed, scenario(seed).await) })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let sum = |of: fn(&Verdict) -> usize| verdicts.iter().map(|(_, verdict)| of(verdict)).sum::<usize>();
    let wrong: Vec<_> =
        verdicts.iter().filter(|(_, verdict)| !verdict.faults.is_empty()).map(|(seed, _)| seed).collect();
    println!(
        "{} scenarios, {} scrapes, {} of them while the truth was a breach, {} false",
        verdicts.len(),
        sum(|verdict| verdict.scrapes),
        sum(|verdict| verdict.breaches),
        sum(|verdict| verdict.faults.len()),
    );
    assert!(wrong.is_empty(), "what the exporter said was false in the scenarios of these seeds: {wrong:?}");
}
