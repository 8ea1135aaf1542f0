//! The readings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use super::Seen;
use super::sync::{self, Verdict};
use crate::domain::observation::{Reading, ReadingKind, ReadingValue};
use crate::domain::time::Timestamp;

static SYNCED: ReadingKind = ReadingKind {
    metric: "dr_argocd_app_synced",
    help: "Whether the application matches git; absent if Argo CD cannot tell, or is silent",
    label: None,
};
static HEALTHY: ReadingKind = ReadingKind {
    metric: "dr_argocd_app_healthy",
    help: "Whether Argo CD reports the application as Healthy. It does not change while the controller is dead",
    label: None,
};
static AUTOSYNC: ReadingKind =
    ReadingKind { metric: "dr_argocd_app_autosync", help: "Whether auto-sync is on", label: None };
static LAST_OPERATION: ReadingKind = ReadingKind {
    metric: "dr_argocd_app_last_operation_timestamp_seconds",
    help: "When the last sync operation ended, also a failed one. It is old if nobody commits",
    label: None,
};
static LAST_OPERATION_FAILED: ReadingKind = ReadingKind {
    metric: "dr_argocd_app_last_operation_failed",
    help: "Whether the last sync operation failed, although the application may be in sync. Absent while one runs",
    label: None,
};
static RECONCILED: ReadingKind = ReadingKind {
    metric: "dr_argocd_app_reconciled_timestamp_seconds",
    help: "When Argo CD last compared the application, by the exporter's clock",
    label: None,
};
static OUT_OF_SYNC: ReadingKind = ReadingKind {
    metric: "dr_argocd_resources_out_of_sync",
    help: "Resources of the application that differ from git, by kind",
    label: Some("resource_kind"),
};

/// All of them.
pub(super) const ALL: &[&ReadingKind] =
    &[&SYNCED, &HEALTHY, &AUTOSYNC, &LAST_OPERATION, &LAST_OPERATION_FAILED, &RECONCILED, &OUT_OF_SYNC];

/// How many kinds of resources have a series of their own. The rest is counted as `other`.
const KINDS: usize = 50;

/// The readings of one run.
pub(super) fn of(seen: &Seen, stale_after: Duration, now: Timestamp) -> Vec<Reading> {
    let application = &seen.application;
    let mut readings = Vec::new();
    let mut read = |kind, value| readings.push(Reading { kind, label: None, value });
    match sync::of(seen, stale_after, now) {
        Verdict::Same { .. } => read(&SYNCED, one_or_zero(true)),
        Verdict::Different(_) => read(&SYNCED, one_or_zero(false)),
        Verdict::Silent { .. } | Verdict::Unknown(_) => {}
    }
    match application.status.health.status.as_str() {
        "" | "Unknown" => {}
        status => read(&HEALTHY, one_or_zero(status == "Healthy")),
    }
    read(&AUTOSYNC, one_or_zero(sync::is_auto_synced(application)));
    match application.status.operation_state.as_ref().map(|operation| operation.phase.as_str()) {
        Some("Succeeded") => read(&LAST_OPERATION_FAILED, one_or_zero(false)),
        Some("Failed" | "Error") => read(&LAST_OPERATION_FAILED, one_or_zero(true)),
        _ => {}
    }
    let stamps = [(&LAST_OPERATION, seen.operated), (&RECONCILED, seen.reconciled)];
    for (kind, at) in stamps.into_iter().filter_map(|(kind, at)| Some((kind, at?))) {
        read(kind, ReadingValue::At(at));
    }
    readings.extend(by_kind(seen));
    readings
}

fn by_kind(seen: &Seen) -> impl Iterator<Item = Reading> {
    let mut counts: BTreeMap<Cow<'static, str>, u32> = BTreeMap::new();
    for (kind, out_of_sync) in seen.application.status.resources.out_of_sync() {
        let plain = !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphanumeric());
        let known = counts.len() < KINDS;
        let label = if plain && known { Cow::Owned(kind.to_owned()) } else { Cow::Borrowed("other") };
        *counts.entry(label).or_default() += out_of_sync;
    }
    counts.into_iter().map(|(kind, count)| Reading {
        kind: &OUT_OF_SYNC,
        label: Some(kind),
        value: ReadingValue::Number(count.into()),
    })
}

fn one_or_zero(holds: bool) -> ReadingValue {
    ReadingValue::Number(if holds { 1.0 } else { 0.0 })
}
