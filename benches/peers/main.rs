//! Measures the exporter beside its peers: pushgateway, which serves a scrape of the same series,
//! and `blackbox_exporter`, which probes the same endpoints.
//!
//! Each figure of ours and of the peer is taken in turn, several times, on this machine. The ratio is
//! that of such a pair, so it holds even if the machine is slower for a while.
//!
//! ```text
//! make bench                          measure everything, and write docs/performance.md
//! make bench ONLY=probe ROUNDS=3      only what has this word in its name, and print it
//! make bench ONLY=mixed SHARE=100     with a hundredth of the objects: whether it works
//! ```
// It measures the real time, and fails by a panic, as a test does.
#![allow(clippy::disallowed_methods, clippy::cast_precision_loss)]
#![allow(missing_docs, reason = "a program")]

mod clusters;
mod figures;
mod footprint;
mod http;
mod mirrors;
mod mixed;
mod probes;
mod scale;
mod scrapes;
mod servers;
mod start;
mod table;
mod targets;

use std::path::PathBuf;

use table::Table;

/// What is asked for.
struct Options {
    /// How often each pair is measured.
    rounds: usize,
    /// Only the groups with this word in their name.
    only: Option<String>,
    /// Where the table is written.
    write: Option<PathBuf>,
}

impl Options {
    fn read() -> Self {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let rounds = set("BENCH_ROUNDS").map_or(5, |rounds| rounds.parse().expect("BENCH_ROUNDS is a number"));
        Self { rounds, only: set("BENCH_ONLY"), write: set("BENCH_WRITE").map(PathBuf::from) }
    }
}

/// So many objects, or the share of them that `BENCH_SHARE` asks for, to see whether a measurement works.
///
/// # Panics
/// If that is no number.
#[must_use]
pub fn small(count: usize) -> usize {
    let share = std::env::var("BENCH_SHARE").ok().filter(|share| !share.is_empty());
    let share: usize = share.map_or(1, |share| share.parse().expect("BENCH_SHARE is a number"));
    (count / share).max(3)
}

/// A group of measurements.
type Group = (&'static str, fn(&mut Table, usize));

const GROUPS: &[Group] = &[
    ("scrape", scrapes::measure),
    ("probe", probes::measure),
    ("memory", footprint::measure),
    ("start", start::measure),
    ("scale", scale::measure),
    ("mixed", mixed::measure),
    ("mirrors", mirrors::measure),
    ("clusters", clusters::measure),
];

fn main() {
    let options = Options::read();
    let mut table = Table::default();
    for (name, measure) in GROUPS {
        if options.only.as_ref().is_none_or(|only| name.contains(only.as_str())) {
            eprintln!("bench: {name}");
            measure(&mut table, options.rounds);
        }
    }
    let page = table.page(options.rounds);
    match &options.write {
        Some(path) => std::fs::write(path, page).expect("the table is written"),
        None => println!("{page}"),
    }
}
