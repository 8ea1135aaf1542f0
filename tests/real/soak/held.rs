//! What a process holds, and whether that grows.

use std::fmt;
use std::fs;
use std::time::Duration;

/// One look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// Memory that is resident and not a part of the program's file, in KiB.
    anonymous: u64,
    descriptors: u64,
    threads: u64,
    /// Ticks of the CPU, of a hundredth of a second.
    ticks: u64,
}

impl Held {
    pub(super) const HEAD: &'static str = "seconds, KiB of memory, descriptors, threads, seconds of CPU";

    pub(super) fn by(id: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{id}/{name}")).expect("it runs");
        let status = read("status");
        let figure = |field: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
            line.split_whitespace().next().and_then(|value| value.parse().ok()).expect("a number")
        };
        let stat = read("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().expect("ticks");
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").count() as u64;
        Self { anonymous: figure("RssAnon:"), descriptors, threads: figure("Threads:"), ticks: ticks(11) + ticks(12) }
    }
}

impl Held {
    /// Whether descriptors and threads are back to what they were, but for a few connections that may be kept.
    pub(super) fn has_no_more_than(&self, before: &Self) -> bool {
        self.descriptors <= before.descriptors + 10 && self.threads <= before.threads + 8
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { anonymous, descriptors, threads, ticks } = self;
        write!(f, "{anonymous:8} {descriptors:5} {threads:3} {:8.1}", *ticks as f64 / 100.0)
    }
}

/// All looks, in the order of time.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<(Duration, Held)>);

/// The middle one of these figures.
fn median(of: &[(Duration, Held)], figure: impl Fn(&Held) -> u64) -> u64 {
    let mut figures: Vec<u64> = of.iter().map(|(_, held)| figure(held)).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}

impl Samples {
    pub(super) fn take(&mut self, at: Duration, held: Held) {
        eprintln!("held: {:7.1} {held}", at.as_secs_f64());
        self.0.push((at, held));
    }

    /// The looks of a fifth, counted from 0.
    fn fifth(&self, number: usize) -> &[(Duration, Held)] {
        let end = |number: usize| self.0.len() * number / 5;
        &self.0[end(number)..end(number + 1)]
    }

    /// The medians of each fifth.
    pub(super) fn print(&self) {
        // A busy machine has few looks in a short run.
        for number in (0..5).filter(|number| !self.fifth(*number).is_empty()) {
            let of = self.fifth(number);
            let (anonymous, descriptors, threads) = (
                median(of, |held| held.anonymous),
                median(of, |held| held.descriptors),
                median(of, |held| held.threads),
            );
            eprintln!("fifth {number}: {anonymous} KiB, {descriptors} descriptors, {threads} threads");
        }
    }

    /// The first fifth is the time to warm up.
    pub(super) fn assert_flat(&self) {
        let (early, late) = (self.fifth(1), self.fifth(4));
        let grows = |what: &str, figure: fn(&Held) -> u64, more: u64| {
            let (early, late) = (median(early, figure), median(late, figure));
            assert!(late <= early + more, "{what}: {early} in the second fifth, {late} in the last");
        };
        let anonymous = median(early, |held| held.anonymous);
        grows("KiB of memory", |held| held.anonymous, (anonymous / 10).max(4 << 10));
        // What is open depends on what is down at the moment.
        grows("descriptors", |held| held.descriptors, 10);
        grows("threads", |held| held.threads, 3);
    }
}
