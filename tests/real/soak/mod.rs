//! An exporter that everything happens to, for as long as `DR_SOAK` says in seconds: what it holds does not grow.
//!
//! `make soak` runs an hour. Without the variable a run of seconds shows that everything still happens, and that descriptors
//! and threads are let go.

mod clients;
mod held;
mod world;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use dr_testkit::exporter::Exporter;
use dr_testkit::scrape::Scrape;
use dr_testkit::{let_pass, wait_until};

use clients::Clients;
use held::{Held, Samples};
use world::World;

const SOON: Duration = dr_testkit::PATIENCE;
/// How long the run takes that nobody asked for.
const SHORT: Duration = Duration::from_secs(12);

/// How often each check ran, at least.
fn fewest_runs(scrape: &Scrape) -> f64 {
    let mut runs = std::collections::BTreeMap::<_, f64>::new();
    for (labels, value) in scrape.series("dr_check_runs_total", &[]) {
        *runs.entry((&labels["contract"], &labels["check"])).or_default() += value;
    }
    runs.into_values().fold(f64::INFINITY, f64::min)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement of an hour: make soak"]
async fn what_it_holds_does_not_grow() {
    let wish = std::env::var("DR_SOAK").ok().map(|text| text.parse().expect("DR_SOAK is a number of seconds"));
    let (length, is_long) = (wish.map_or(SHORT, Duration::from_secs), wish.is_some_and(|seconds| seconds >= 300));
    let seed = std::env::var("DR_SOAK_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DR_SOAK_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let (step, look) = if is_long { (2.0, 5.0) } else { (0.3, 0.5) };

    // So that it takes a small part of one core, though it is not optimised.
    let mut world = World::start(if is_long { "3s" } else { "1s" }).await;
    let mut exporter = Exporter::start_in(world.config()).await;
    let id = exporter.process().id();
    let all_well = |scrape: &Scrape| {
        let healthy = scrape.all("dr_check_healthy", &[]);
        healthy.len() == world::CONTRACTS && healthy.iter().all(|value| *value == 1.0)
    };
    exporter.until("all are healthy at first", SOON, all_well).await;
    let first = Held::by(id);
    eprintln!("the exporter is process {id}; held: {}", Held::HEAD);

    let clients = Clients::start(&exporter, if is_long { 1.0 } else { 0.2 });
    let begin = Instant::now();
    let (mut samples, mut looked) = (Samples::default(), None::<Instant>);
    while begin.elapsed() < length {
        if looked.is_none_or(|at| at.elapsed().as_secs_f64() >= look) {
            looked = Some(Instant::now());
            samples.take(begin.elapsed(), Held::by(id));
        }
        world.churn(&mut exporter, &mut random).await;
        let_pass(Duration::from_secs_f64(random.random_range(0.5 * step..1.5 * step))).await;
    }
    let counted = clients.stop().await;
    world.heal(&mut exporter).await;
    let scrape = exporter.until("all are healthy in the end", SOON, all_well).await;
    let fewest = fewest_runs(&scrape);
    eprintln!("{counted}\n{}\nevery check ran {fewest} times or more since it was last configured", world.told());
    samples.print();
    // What is idle is kept for a while.
    let is_let_go = async || Held::by(id).has_no_more_than(&first).then_some(());
    wait_until("descriptors and threads are as few as at first", SOON, is_let_go).await;

    let failed = scrape.series("dr_check_failures_total", &[("reason", "internal_error")]).map(|(_, count)| count);
    assert_eq!(failed.sum::<f64>(), 0.0, "{}", exporter.log());
    assert_eq!(scrape.get("dr_exporter_panics_total", &[]), Some(0.0), "{}", exporter.log());
    assert_eq!(scrape.get("dr_exporter_store_errors_total", &[]), Some(0.0), "{}", exporter.log());
    counted.assert_each_was_answered();
    if is_long {
        samples.assert_flat();
    }
}
