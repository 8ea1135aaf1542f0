//! `/metrics` beside pushgateway, which serves the same samples.

use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::figures;
use crate::http::{OPENMETRICS, TEXT};
use crate::servers::{self, Server};
use crate::table::Table;
use crate::targets;

/// Contracts, how the size is called, and how many scrapes one figure is made of.
const SIZES: [(usize, &str, usize); 3] = [(30, "1,000", 600), (310, "10,000", 200), (1600, "50,000", 48)];

/// The goal: a tenth.
const GOAL: Option<f64> = Some(0.1);

const NOTE: &str =
    "One check of the kind `http` per contract, which runs every 30 s while it is scraped. pushgateway serves the
samples of one such scrape, with the labels `job` and `instance` that it adds. It has no OpenMetrics, so it serves
the text format there. The scrapes follow one another on connections that are kept; with several scrapers, all ask
at once, and the figures are those of one scrape.";

pub fn measure(table: &mut Table, rounds: usize) {
    table.section("Scrape", NOTE);
    let target = format!("http://{}", targets::plain());
    for (contracts, size, scrapes) in SIZES {
        let ours = servers::exporter(&servers::contracts(contracts, "30s", &target, ""));
        ours.until_ok("/-/ready", Duration::from_secs(60));
        let samples = servers::samples(&ours);
        let theirs = servers::pushgateway(&samples);
        let series = servers::count(&samples);
        let megabytes = |server: &Server| {
            let mut client = server.client();
            client.scrape(TEXT, false);
            client.body.len() as f64 / 1e6
        };
        table.pair(
            &format!("size of a scrape of {series} series"),
            "MB",
            vec![megabytes(&ours)],
            vec![megabytes(&theirs)],
            None,
        );
        let mut kinds = vec![
            ("text", TEXT, false, 1),
            ("text, gzip", TEXT, true, 1),
            ("OpenMetrics", OPENMETRICS, false, 1),
            ("OpenMetrics, gzip", OPENMETRICS, true, 1),
        ];
        if contracts == 1600 {
            kinds.extend([
                ("text, 8 scrapers", TEXT, false, 8),
                ("OpenMetrics, gzip, 8 scrapers", OPENMETRICS, true, 8),
                ("text, 64 scrapers", TEXT, false, 64),
                ("OpenMetrics, gzip, 64 scrapers", OPENMETRICS, true, 64),
            ]);
        }
        for (name, accept, gzip, scrapers) in kinds {
            let each = (scrapes / scrapers).max(2);
            let run = |server: &Server| scrape(server, accept, gzip, scrapers, each);
            let (ours, theirs) = in_turn(rounds, || run(&ours), || run(&theirs));
            let of = |figures: &[(f64, f64)], wall: bool| -> Vec<f64> {
                figures.iter().map(|figures| if wall { figures.0 } else { figures.1 }).collect()
            };
            let what = format!("{size} series, {name}");
            table.pair(&format!("{what}: wall"), "ms", of(&ours, true), of(&theirs, true), GOAL);
            table.pair(&format!("{what}: CPU"), "ms", of(&ours, false), of(&theirs, false), GOAL);
        }
        if contracts == 1600 {
            renewed(table, &target, &theirs, rounds);
        }
    }
}

/// Scrapes between which every check has run, so that nothing of the last one can be used again but
/// what did not change.
fn renewed(table: &mut Table, target: &str, theirs: &Server, rounds: usize) {
    const INTERVAL: Duration = Duration::from_secs(10);
    let ours = servers::exporter(&servers::contracts(1600, "10s", target, ""));
    ours.until_ok("/-/ready", Duration::from_secs(60));
    for gzip in [false, true] {
        let (mut clients, mut figures) = ([ours.client(), theirs.client()], [(vec![], vec![]), (vec![], vec![])]);
        for round in 0..=rounds {
            std::thread::sleep(INTERVAL);
            for (at, server) in [&ours, theirs].into_iter().enumerate() {
                let (begun, cpu) = (Instant::now(), figures::cpu_of_threads(server.id()));
                clients[at].scrape(OPENMETRICS, gzip);
                let wall = begun.elapsed();
                let cpu = figures::cpu_of_threads(server.id()).saturating_sub(cpu);
                // The first one makes everything.
                if round > 0 {
                    figures[at].0.push(wall.as_secs_f64() * 1e3);
                    figures[at].1.push(cpu.as_secs_f64() * 1e3);
                }
            }
        }
        let [ours, theirs] = figures;
        let what = format!(
            "50,000 series, OpenMetrics{}, every check has run since the last scrape",
            if gzip { ", gzip" } else { "" }
        );
        table.pair(&format!("{what}: wall"), "ms", ours.0, theirs.0, GOAL);
        table.pair(&format!("{what}: CPU"), "ms", ours.1, theirs.1, GOAL);
    }
}

/// Wall time and CPU of one scrape, in milliseconds.
fn scrape(server: &Server, accept: &str, gzip: bool, scrapers: usize, each: usize) -> (f64, f64) {
    let barrier = Arc::new(Barrier::new(scrapers + 1));
    let threads: Vec<_> = (0..scrapers)
        .map(|_| {
            let (mut client, barrier, accept) = (server.client(), Arc::clone(&barrier), accept.to_owned());
            std::thread::spawn(move || {
                client.scrape(&accept, gzip);
                barrier.wait();
                for _ in 0..each {
                    assert_eq!(client.scrape(&accept, gzip), 200, "a scrape");
                }
            })
        })
        .collect();
    barrier.wait();
    let (begun, before) = (Instant::now(), figures::cpu(server.id()));
    for thread in threads {
        thread.join().expect("it scrapes");
    }
    let (wall, cpu) = (begun.elapsed(), figures::cpu(server.id()).saturating_sub(before));
    let of_one = |time: Duration| time.as_secs_f64() * 1e3 / (scrapers * each) as f64;
    (of_one(wall), of_one(cpu))
}

/// Measures two things in turn.
pub fn in_turn<T>(rounds: usize, mut ours: impl FnMut() -> T, mut theirs: impl FnMut() -> T) -> (Vec<T>, Vec<T>) {
    (0..rounds)
        .map(|round| {
            if round % 2 == 0 {
                let first = ours();
                (first, theirs())
            } else {
                let first = theirs();
                (ours(), first)
            }
        })
        .unzip()
}
