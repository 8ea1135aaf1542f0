//! Counts the instructions of what runs most often, so that a change that makes it dearer is seen.
//!
//! valgrind counts them in the unoptimised program, which the tests compile anyway. So the counts say
//! nothing about the speed of a release. They do not depend on what else runs on the machine.
//!
//! ```text
//! make guards               compare the counts with benches/guards/counts.txt
//! UPDATE=1 make guards      write them anew; read the difference
//! ```
// It fails by a panic, as a test does.
#![allow(clippy::disallowed_methods, clippy::cast_precision_loss)]
#![allow(missing_docs, reason = "a program")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

mod work;

/// How many percent more a count may be than it was. Fewer are no fault, but they should be written
/// down, so that they stay.
const BOUND: f64 = 10.0;

fn main() {
    // cargo adds `--bench`.
    let name = env::args().skip(1).find(|argument| !argument.starts_with('-'));
    match name {
        Some(name) => {
            let (_, run) = work::ALL.iter().find(|(of, _)| *of == name).expect("the name of a guard");
            run();
        }
        None => compare(),
    }
}

fn compare() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/guards/counts.txt");
    let before = fs::read_to_string(&file).unwrap_or_default();
    let known = read(&before);
    let counts: BTreeMap<&str, u64> = work::ALL.iter().map(|(name, _)| (*name, count(name))).collect();
    if env::var_os("UPDATE").is_some() {
        let text: String = counts.iter().fold(String::new(), |mut text, (name, count)| {
            let _ = writeln!(text, "{name} {count}");
            text
        });
        fs::write(&file, text).expect("the counts are written");
    }
    let mut dearer = Vec::new();
    for (name, count) in counts {
        let before = known.get(name).copied();
        let more = before.map(|before| (count as f64 / before as f64 - 1.0) * 100.0);
        println!("{name}: {count} instructions{}", more.map_or(String::new(), |more| format!(" ({more:+.1} %)")));
        if more.is_none_or(|more| more > BOUND) {
            dearer.push(name);
        }
    }
    let updated = env::var_os("UPDATE").is_some();
    assert!(
        dearer.is_empty() || updated,
        "{} takes over {BOUND} % more instructions than in {}; if that is worth it, UPDATE=1 make guards writes the \
         new count",
        dearer.join(", "),
        file.display()
    );
}

fn read(text: &str) -> BTreeMap<&str, u64> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.map(|(name, count)| (name, count.parse().expect("a count"))).collect()
}

/// The instructions of one guard, counted in a process of its own.
fn count(name: &str) -> u64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let valgrind = env::var_os("VALGRIND").map_or_else(|| root.join(".tools/bin/valgrind"), PathBuf::from);
    let output = Command::new(&valgrind)
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg("--toggle-collect=*measured*")
        .arg(env::current_exe().expect("its own program"))
        .arg(name)
        .output()
        .unwrap_or_else(|error| panic!("no valgrind at {}: {error}; run `scripts/tools valgrind`", valgrind.display()));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed:\n{told}");
    let collected = told.lines().find_map(|line| line.split_once("Collected :")).expect("a count").1;
    collected.trim().parse().expect("a count")
}
