//! What is exported beside health.

use std::time::Duration;

use super::history::History;
use super::verdict::Told;
use crate::domain::observation::{Reading, ReadingKind, ReadingValue};

static REGION: ReadingKind = ReadingKind {
    metric: "dr_dns_region",
    help: "1 for a region that a resolver answers with, 0 for the others. Absent while no resolver answers",
    label: Some("region"),
};
static TTL: ReadingKind = ReadingKind {
    metric: "dr_dns_ttl_seconds",
    help: "How long clients may keep an answer: the highest TTL of all resolvers that was seen and has not passed since",
    label: None,
};
static RESOLVERS: ReadingKind = ReadingKind {
    metric: "dr_dns_resolvers",
    help: "Resolvers by what came of asking them: a region, elsewhere (an answer without one), failed (no answer)",
    label: Some("result"),
};
static UNEXPECTED: ReadingKind = ReadingKind {
    metric: "dr_dns_unexpected_targets",
    help: "Addresses or names that are answered and are of no region. Absent while no resolver answers",
    label: None,
};
static CHANGED: ReadingKind = ReadingKind {
    metric: "dr_dns_region_changed_timestamp_seconds",
    help: "When a resolver was first seen to answer with the region that all came to answer with. Absent before a change",
    label: None,
};
static PROPAGATION: ReadingKind = ReadingKind {
    metric: "dr_dns_propagation_seconds",
    help: "From the first resolver that followed the last change of region to the last. Absent where fewer than two were seen to",
    label: None,
};

/// All of them.
pub(super) const ALL: &[&ReadingKind] = &[&REGION, &TTL, &RESOLVERS, &UNEXPECTED, &CHANGED, &PROPAGATION];

/// The readings of one run.
pub(super) fn of(told: &[Told], regions: &[&str], history: &History, ttl: Option<Duration>) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut read = |kind, label: Option<String>, value| {
        readings.push(Reading { kind, label: label.map(Into::into), value: ReadingValue::Number(value) });
    };
    if told.iter().any(Told::is_answer) {
        for region in regions {
            let answers = told.iter().any(|told| told.names(region));
            read(&REGION, Some((*region).to_owned()), if answers { 1.0 } else { 0.0 });
        }
        let mut unexpected: Vec<_> = told.iter().flat_map(Told::unexpected).collect();
        unexpected.sort();
        unexpected.dedup();
        read(&UNEXPECTED, None, count(unexpected.len()));
    }
    if let Some(ttl) = ttl.filter(|_| told.iter().any(|told| told.ttl().is_some())) {
        read(&TTL, None, ttl.as_secs_f64());
    }
    let of_a_region = told.iter().filter(|told| told.is_of_a_region()).count();
    let failed = told.iter().filter(|told| !told.is_answer()).count();
    let elsewhere = told.len().saturating_sub(of_a_region + failed);
    for (label, number) in [("region", of_a_region), ("elsewhere", elsewhere), ("failed", failed)] {
        read(&RESOLVERS, Some(label.to_owned()), count(number));
    }
    readings.extend(of_history(history));
    readings
}

/// The readings that outlive a run without an answer.
pub(super) fn of_history(history: &History) -> Vec<Reading> {
    let Some(last) = history.last() else { return Vec::new() };
    let changed = Reading { kind: &CHANGED, label: None, value: ReadingValue::At(last.first) };
    let propagation = last.propagation().map(|took| Reading {
        kind: &PROPAGATION,
        label: None,
        value: ReadingValue::Number(took.as_secs_f64()),
    });
    [changed].into_iter().chain(propagation).collect()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
