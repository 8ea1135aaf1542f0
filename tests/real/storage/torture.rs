//! Killed again and again, at random, during real outages.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::faults::Small;
use super::{API, Service, ask, config, recoveries};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::{let_pass, skip_without_root};

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
    let config = config(&service, "5s", "100ms").replace("failures_to_trigger: 3", "failures_to_trigger: 2");
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
            assert!(
                (started - first).abs() < 0.001,
                "after {killed} kills: triggered at {first}, now it says {started}"
            );
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
        let rows = ask(exporter.config().directory(), "SELECT count(*) FROM recoveries");
        assert!(rows >= counted as i64, "after {killed} kills: {counted} were shown, {rows} are kept");
        exporter.restart().await;
    }
    let scrape = exporter.scrape().await;
    let total: f64 = scrape.series("dr_recoveries_total", &API).map(|(_, value)| value).sum();
    let uncertain = ask(exporter.config().directory(), "SELECT count(*) FROM recoveries WHERE result = 'uncertain'");
    let rows = ask(exporter.config().directory(), "SELECT count(*) FROM recoveries");
    assert!(rows as f64 >= total, "{rows} are kept, {total} are counted");
    assert!(total >= 1.0 && killed >= 20, "{killed} kills, {total} recoveries: that is no torture");
    eprintln!(
        "{killed} kills in {:.0?}: {rows} recoveries kept, {total} counted, {uncertain} uncertain",
        begin.elapsed()
    );
}

/// What is stored, on another disk: to read it takes a little room as well.
fn copied(exporter: &Exporter) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    std::fs::create_dir(copy.path().join("data")).expect("a directory");
    exporter.freeze();
    for name in ["data/dr-exporter.db", "data/dr-exporter.db-wal"] {
        let from = exporter.config().directory().join(name);
        if from.exists() {
            std::fs::copy(from, copy.path().join(name)).expect("the file is copied");
        }
    }
    exporter.thaw();
    copy
}

/// How often it is killed on a disk that is full now and then.
const KILLS_ON_A_SMALL_DISK: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn killed_on_a_disk_that_fills_up_it_loses_nothing_that_was_written() {
    let seed = std::env::var("DR_TORTURE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    eprintln!("DR_TORTURE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let service = Service::start().await;
    let config = config(&service, "5s", "100ms").replace("failures_to_trigger: 3", "failures_to_trigger: 2");
    let config = Config::new(&config);
    let Some(small) = Small::mount(config.directory().join("data")) else {
        return skip_without_root("a tmpfs cannot be mounted here");
    };
    let ballast = small.0.join("ballast");
    let mut exporter = Exporter::start_in(config).await;
    let (mut well, mut rows, mut failed) = (true, 0, false);
    for killed in 0..KILLS_ON_A_SMALL_DISK {
        match random.random_range(0..4) {
            // To the last byte.
            0 => drop(std::fs::write(&ballast, vec![0_u8; 2 << 20])),
            1 => drop(std::fs::remove_file(&ballast)),
            _ => {
                well = !well;
                service.well(well);
            }
        }
        let_pass(Duration::from_millis(random.random_range(0..700))).await;
        let scrape = exporter.scrape().await;
        failed |= scrape.get("dr_exporter_store_errors_total", &[]).is_some_and(|errors| errors > 0.0);
        let total: f64 = scrape.series("dr_recoveries_total", &API).map(|(_, value)| value).sum();
        exporter.kill();
        exporter.restart().await;
        let copy = copied(&exporter);
        let now = ask(copy.path(), "SELECT count(*) FROM recoveries");
        let triggers = ask(copy.path(), "SELECT count(DISTINCT trigger) FROM recoveries");
        assert!(
            now >= rows && now == triggers,
            "after {killed} kills {rows} that were written are {now}, {triggers} of them different"
        );
        rows = now;
        assert!(total >= 0.0 && !exporter.log().contains("damaged"), "after {killed} kills:\n{}", exporter.log());
    }
    drop(std::fs::remove_file(&ballast));
    service.well(true);
    let whole = |scrape: &dr_testkit::scrape::Scrape| {
        let total: f64 = scrape.series("dr_recoveries_total", &API).map(|(_, value)| value).sum();
        scrape.get("dr_recovery_in_progress", &API) == Some(0.0) && total <= rows as f64 + 1.0
    };
    exporter.until("it is well in the end, and counts nothing twice", super::SOON, whole).await;
    eprintln!("{KILLS_ON_A_SMALL_DISK} kills: {rows} recoveries kept; the disk failed: {failed}");
    exporter.kill();
}

/// The figures for many checks: `cargo test --release --test real -- --ignored --nocapture thousand`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement, not a test"]
async fn a_thousand_checks() {
    let service = Service::start().await;
    let one = config(&service, "60s", "5s");
    let (head, contract) = one.split_once("contracts:\n").expect("contracts");
    let contracts: String =
        (0..1000).map(|index| contract.replace("name: api", &format!("name: api-{index}"))).collect();
    let mut exporter = Exporter::start_in(Config::new(&format!("{head}contracts:\n{contracts}"))).await;
    let all = |scrape: &dr_testkit::scrape::Scrape| {
        scrape.series("dr_check_healthy", &[]).filter(|(_, value)| *value == 1.0).count() == 1000
    };
    exporter.until("all are healthy", Duration::from_secs(60), all).await;
    let_pass(Duration::from_secs(70)).await;
    let id = exporter.process().id();
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{id}/{file}")).expect("a process");
    let ticks = || {
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        fields[11].parse::<u64>().expect("ticks") + fields[12].parse::<u64>().expect("ticks")
    };
    let written = || {
        let io = read("io");
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).expect("a count");
        line.parse::<u64>().expect("bytes")
    };
    let directory = exporter.config().directory().join("data");
    let size = || {
        let files = std::fs::read_dir(&directory).expect("a directory").flatten();
        files.map(|file| file.metadata().map_or(0, |data| data.len())).sum::<u64>()
    };
    let before = (ticks(), written(), size(), Instant::now());
    let_pass(Duration::from_secs(120)).await;
    let seconds = before.3.elapsed().as_secs_f64();
    let cpu = (ticks() - before.0) as f64 / seconds;
    let bytes = (written() - before.1) as f64 / seconds * 60.0;
    let growth = (size() as f64 - before.2 as f64) / seconds * 86_400.0;
    println!(
        "1,000 checks every 5 s, steady: {cpu:.1} % of a core in all, {:.1} kB written a minute, {:.1} kB growth a day; {} kB in the directory",
        bytes / 1e3,
        growth / 1e3,
        size() / 1000
    );
}
