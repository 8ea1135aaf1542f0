//! Killed again and again, at random, during real outages.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::support::exporter::{Config, Exporter};
use super::support::let_pass;
use super::{API, Service, ask, recoveries};

/// How often it is killed, if that takes no longer than `LIMIT`. `DR_TORTURE` names another number.
const KILLS: usize = 200;
const LIMIT: Duration = Duration::from_secs(100);

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_loses_no_recovery_and_no_trigger() {
    let kills = std::env::var("DR_TORTURE").ok().and_then(|text| text.parse().ok());
    let limit = if kills.is_some() { Duration::MAX } else { LIMIT };
    let kills = kills.unwrap_or(KILLS);
    let seed = std::env::var("DR_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DR_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let service = Service::start().await;
    let config = service.config("5s", "100ms").replace("failures_to_trigger: 3", "failures_to_trigger: 2");
    let mut exporter = Exporter::start_in(Config::new(&config)).await;
    let begin = Instant::now();
    let (mut well, mut killed) = (true, 0);
    // The trigger of the outage that is under way, once it was shown; and the recoveries that were shown.
    let (mut trigger, mut counted, mut seen) = (None::<f64>, 0.0, BTreeSet::new());
    while killed < kills && begin.elapsed() < limit {
        if random.random_bool(0.4) {
            well = !well;
            service.well(well);
            if !well {
                trigger = None;
            }
        }
        let_pass(Duration::from_millis(random.random_range(0..600))).await;
        let scrape = exporter.scrape().await;
        let runs = scrape.get("dr_recovery_in_progress", &API) == Some(1.0);
        let started = scrape.get("dr_recovery_started_timestamp_seconds", &API);
        if let (false, true, Some(started)) = (well, runs, started) {
            let first = *trigger.get_or_insert(started);
            // An outage that began before the last one was seen to be over goes on from that one's trigger.
            assert!((started - first).abs() < 0.001, "after {killed} kills: triggered at {first}, now it says {started}");
        }
        let total: f64 = scrape.series("dr_recoveries_total", &API).map(|(_, value)| value).sum();
        assert!(total >= counted, "after {killed} kills: {counted} recoveries were shown, and now there are {total}");
        counted = total;
        let now: BTreeSet<String> =
            recoveries(&exporter, "?limit=10000").await.iter().map(|one| one["trigger"].to_string()).collect();
        assert!(now.is_superset(&seen), "after {killed} kills a recovery is lost");
        seen = now;
        exporter.kill();
        killed += 1;
        let rows = ask(exporter.config().path(), "SELECT count(*) FROM recoveries");
        assert!(rows >= counted as i64, "after {killed} kills: {counted} were shown, {rows} are kept");
        exporter.restart().await;
    }
    let scrape = exporter.scrape().await;
    let total: f64 = scrape.series("dr_recoveries_total", &API).map(|(_, value)| value).sum();
    let uncertain = ask(exporter.config().path(), "SELECT count(*) FROM recoveries WHERE result = 'uncertain'");
    let rows = ask(exporter.config().path(), "SELECT count(*) FROM recoveries");
    assert!(rows as f64 >= total, "{rows} are kept, {total} are counted");
    assert!(total >= 1.0 && killed >= 20, "{killed} kills, {total} recoveries: that is no torture");
    eprintln!("{killed} kills in {:.0?}: {rows} recoveries kept, {total} counted, {uncertain} uncertain", begin.elapsed());
}
