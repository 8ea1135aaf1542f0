//! The page with the results.

use std::fmt::Write as _;
use std::fs;

use crate::figures::median;

/// Where the page explains how it is made.
const HEAD: &str = include_str!("head.md");
/// What is measured by hand, because it takes long.
const BUILD: &str = include_str!("build.md");

/// What was measured.
#[derive(Default)]
pub struct Table {
    sections: Vec<(String, String, Vec<Row>)>,
}

/// One line.
struct Row {
    what: String,
    unit: &'static str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    goal: Option<f64>,
}

impl Table {
    /// The following rows belong to this section. `note` says how they are measured.
    pub fn section(&mut self, title: &str, note: &str) {
        self.sections.push((title.to_owned(), note.to_owned(), Vec::new()));
    }

    /// A figure of ours and the peer's, measured in pairs. `goal` is the ratio to reach.
    pub fn pair(&mut self, what: &str, unit: &'static str, ours: Vec<f64>, theirs: Vec<f64>, goal: Option<f64>) {
        self.add(Row { what: what.to_owned(), unit, ours, theirs, goal });
    }

    /// A figure without a peer.
    pub fn single(&mut self, what: &str, unit: &'static str, ours: Vec<f64>) {
        self.add(Row { what: what.to_owned(), unit, ours, theirs: Vec::new(), goal: None });
    }

    fn add(&mut self, row: Row) {
        eprintln!("bench:   {}", row.line());
        self.sections.last_mut().expect("a section comes first").2.push(row);
    }

    /// The page.
    pub fn page(&self, rounds: usize) -> String {
        let mut page = HEAD.replace("{machine}", &machine()).replace("{rounds}", &rounds.to_string());
        page = page.replace("{date}", &jiff::Zoned::now().date().to_string());
        for (title, note, rows) in &self.sections {
            let _ = writeln!(page, "\n## {title}\n\n{note}\n");
            page.push_str("| work | unit | dr-exporter | peer | ratio | goal |\n|---|---|---|---|---|---|\n");
            for row in rows {
                let _ = writeln!(page, "{}", row.line());
            }
        }
        page + BUILD
    }
}

impl Row {
    fn line(&self) -> String {
        let ratios: Vec<f64> = self.ours.iter().zip(&self.theirs).map(|(ours, theirs)| ours / theirs).collect();
        let goal = self.goal.map_or(String::new(), |goal| {
            // What was taken off a figure may be more than it: such a ratio tells nothing.
            let is_real = self.ours.iter().chain(&self.theirs).all(|value| *value > 0.0);
            let verdict = match median(&ratios) {
                _ if !is_real => "not measured: the noise is larger",
                ratio if ratio <= goal => "reached",
                _ => "missed",
            };
            format!("{goal:.2}, {verdict}")
        });
        let Self { what, unit, ours, theirs, .. } = self;
        format!("| {what} | {unit} | {} | {} | {} | {goal} |", spread(ours), spread(theirs), spread(&ratios))
    }
}

/// The median, with the lowest and the highest value.
fn spread(values: &[f64]) -> String {
    let (least, most) = values.iter().fold((f64::INFINITY, 0_f64), |(a, b), value| (a.min(*value), b.max(*value)));
    match values {
        [] => String::new(),
        [one] => number(*one),
        _ => format!("{} ({}–{})", number(median(values)), number(least), number(most)),
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {}, Linux {}", model.unwrap_or(std::env::consts::ARCH), kernel.trim())
}
