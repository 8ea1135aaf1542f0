//! The readings.

use std::time::Duration;

use super::history::History;
use super::verdict::ResolverAnswer;
use crate::domain::observation::{Reading, ReadingKind, ReadingValue};

static REGION: ReadingKind = ReadingKind {
    metric: "dr_dns_region",
    help: "1 for each region in the answers of the resolvers, 0 for the others. Absent while no resolver answers",
    label: Some("region"),
};
static TTL: ReadingKind = ReadingKind {
    metric: "dr_dns_ttl_seconds",
    help: "How long clients may keep an answer: the highest TTL that any resolver gave and that has not passed yet",
    label: None,
};
static RESOLVERS: ReadingKind = ReadingKind {
    metric: "dr_dns_resolvers",
    help: "The number of resolvers by result: a region, elsewhere (an answer without a region), failed (no answer)",
    label: Some("result"),
};
static UNEXPECTED: ReadingKind = ReadingKind {
    metric: "dr_dns_unexpected_targets",
    help: "Addresses or names in the answers that belong to no region. Absent while no resolver answers",
    label: None,
};
static CHANGED: ReadingKind = ReadingKind {
    metric: "dr_dns_region_changed_timestamp_seconds",
    help: "When a resolver first answered with the region that all resolvers have now changed to. Absent before a change",
    label: None,
};
static PROPAGATION: ReadingKind = ReadingKind {
    metric: "dr_dns_propagation_seconds",
    help: "The time from the first to the last resolver that followed the last change of region. Absent if fewer than two were seen to follow",
    label: None,
};

/// All of them.
pub(super) const ALL: &[&ReadingKind] = &[&REGION, &TTL, &RESOLVERS, &UNEXPECTED, &CHANGED, &PROPAGATION];

/// The readings of one run.
pub(super) fn of(
    answers: &[ResolverAnswer],
    regions: &[&str],
    history: &History,
    ttl: Option<Duration>,
) -> Vec<Reading> {
    let mut readings = Vec::new();
    let mut read = |kind, label: Option<String>, value| {
        readings.push(Reading { kind, label: label.map(Into::into), value: ReadingValue::Number(value) });
    };
    if answers.iter().any(ResolverAnswer::is_answer) {
        for region in regions {
            let is_answered = answers.iter().any(|answer| answer.names(region));
            read(&REGION, Some((*region).to_owned()), if is_answered { 1.0 } else { 0.0 });
        }
        let mut unexpected: Vec<_> = answers.iter().flat_map(ResolverAnswer::unexpected).collect();
        unexpected.sort();
        unexpected.dedup();
        read(&UNEXPECTED, None, count(unexpected.len()));
    }
    if let Some(ttl) = ttl.filter(|_| answers.iter().any(|answer| answer.ttl().is_some())) {
        read(&TTL, None, ttl.as_secs_f64());
    }
    let of_a_region = answers.iter().filter(|answer| answer.is_of_a_region()).count();
    let failed = answers.iter().filter(|answer| !answer.is_answer()).count();
    let elsewhere = answers.len().saturating_sub(of_a_region + failed);
    for (label, number) in [("region", of_a_region), ("elsewhere", elsewhere), ("failed", failed)] {
        read(&RESOLVERS, Some(label.to_owned()), count(number));
    }
    readings.extend(of_history(history));
    readings
}

/// The readings that need no answer of this run.
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
