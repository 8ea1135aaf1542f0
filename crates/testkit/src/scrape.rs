//! The Prometheus text format, read as a map.

use std::collections::BTreeMap;
use std::fmt;

/// One series: its name and labels.
pub type Labels = BTreeMap<String, String>;

/// One answer of `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Scrape {
    samples: Vec<(String, Labels, f64)>,
}

impl Scrape {
    /// Reads the text format. Panics on a line that is not of it.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let samples = lines.map(|line| sample(line).unwrap_or_else(|| panic!("not a sample: {line}"))).collect();
        Self { samples }
    }

    /// The values of all series of this name with these labels (and any others).
    pub fn all(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        self.series(name, labels).map(|(_, value)| value).collect()
    }

    /// The value of the one series of this name with these labels (and any others).
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let mut series = self.series(name, labels);
        let first = series.next();
        assert!(series.next().is_none(), "more than one series of {name} with {labels:?}");
        first.map(|(_, value)| value)
    }

    /// All series of this name with these labels (and any others).
    pub fn series<'a>(&'a self, name: &'a str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = (&'a Labels, f64)> {
        self.samples.iter().filter_map(move |(found, has, value)| {
            let fits = found == name && labels.iter().all(|(key, want)| has.get(*key).is_some_and(|is| is == want));
            fits.then_some((has, *value))
        })
    }

    /// The status of an objective: the one of `dr_objective_status` that is 1. Panics when not exactly one is.
    pub fn status(&self, contract: &str, objective: &str) -> String {
        let labels = [("contract", contract), ("objective", objective)];
        let ones: Vec<_> = self.series("dr_objective_status", &labels).filter(|(_, value)| *value == 1.0).collect();
        let [(labels, _)] = ones[..] else {
            panic!("not exactly one status of {contract}/{objective}: {ones:?}\n{self}")
        };
        labels["status"].clone()
    }

    /// `dr_objective_observed_seconds`.
    pub fn observed(&self, contract: &str, objective: &str) -> Option<f64> {
        self.get("dr_objective_observed_seconds", &[("contract", contract), ("objective", objective)])
    }

    /// The reasons of `dr_check_failures_total` that were counted, with their counts.
    pub fn reasons(&self, contract: &str) -> BTreeMap<String, f64> {
        let labels = [("contract", contract)];
        let series = self.series("dr_check_failures_total", &labels).filter(|(_, value)| *value > 0.0);
        series.map(|(labels, value)| (labels["reason"].clone(), value)).collect()
    }
}

impl fmt::Display for Scrape {
    /// Without buckets and without the process's own figures.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, labels, value) in &self.samples {
            if name.starts_with("dr_") && !name.ends_with("_bucket") {
                writeln!(f, "{name}{labels:?} {value}")?;
            }
        }
        Ok(())
    }
}

fn sample(line: &str) -> Option<(String, Labels, f64)> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Labels::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            labels.insert(key.to_owned(), value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some((name.to_owned(), labels, value))
}

/// The value up to its closing quote, and what follows that.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}
