//! The readings.

use std::borrow::Cow;

use super::Side;
use super::verdict::Verdict;
use crate::domain::observation::{Reading, ReadingKind, ReadingValue};

static READY: ReadingKind = ReadingKind {
    metric: "dr_external_secret_ready",
    help: "Whether External Secrets says that the secret is ready. It stays 1 if the controller is dead",
    label: Some("cluster"),
};
static REFRESHED: ReadingKind = ReadingKind {
    metric: "dr_external_secret_refresh_timestamp_seconds",
    help: "When External Secrets last refreshed the secret successfully, by the exporter's clock",
    label: Some("cluster"),
};
static IN_SYNC: ReadingKind = ReadingKind {
    metric: "dr_secret_in_sync",
    help: "Whether the secrets of both clusters hold the same data, according to the hashes that External Secrets keeps of them. \
           Absent if this is not known, or if another program wrote the data last",
    label: None,
};
static DIFFERS_SINCE: ReadingKind = ReadingKind {
    metric: "dr_secret_differs_since_timestamp_seconds",
    help: "Since when the current DR secret has been seen to differ from the primary's. Absent while they are equal",
    label: None,
};

/// All of them.
pub(super) const ALL: &[&ReadingKind] = &[&READY, &REFRESHED, &IN_SYNC, &DIFFERS_SINCE];

/// The readings of one run.
pub(super) fn of(dr: &Side, primary: Option<&Side>, verdict: &Verdict) -> Vec<Reading> {
    let mut readings = Vec::new();
    let sides = [("dr", Some(dr)), ("primary", primary)];
    for (cluster, side) in sides.into_iter().filter_map(|(cluster, side)| Some((cluster, side?))) {
        let mut read = |kind, value| readings.push(Reading { kind, label: Some(Cow::Borrowed(cluster)), value });
        if let Ok(Some(object)) = &side.object {
            let mut conditions = object.status.conditions.iter();
            let ready = conditions.any(|condition| condition.kind == "Ready" && condition.status == "True");
            read(&READY, one_or_zero(ready));
        }
        if let Some(refreshed) = side.refreshed {
            read(&REFRESHED, ReadingValue::At(refreshed));
        }
    }
    let in_sync = verdict.in_sync.map(|in_sync| (&IN_SYNC, one_or_zero(in_sync)));
    let differs_since = verdict.difference.as_ref().map(|known| (&DIFFERS_SINCE, ReadingValue::At(known.since)));
    readings.extend([in_sync, differs_since].into_iter().flatten().map(|(kind, value)| Reading {
        kind,
        label: None,
        value,
    }));
    readings
}

fn one_or_zero(holds: bool) -> ReadingValue {
    ReadingValue::Number(if holds { 1.0 } else { 0.0 })
}
