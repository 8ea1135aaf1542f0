//! Whether the status of one side is fresh.

use std::time::Duration;

use super::reasons::{BEING_DELETED, SOURCE_GONE, SPEC_NOT_SYNCED, STALE};
use super::{BAD_ANSWER, Side};
use crate::clients::kubernetes::objects::ExternalSecret;
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// How much longer than the interval a controller may take: its retries back off up to 7 minutes.
pub(super) const TOLERANCE: Duration = Duration::from_secs(10 * 60);
/// The interval of an `ExternalSecret` without one.
const STANDARD_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What one side says about itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// The last refresh was successful, and the next one is not overdue.
    Fresh(Refresh),
    /// External Secrets says that the refresh fails.
    NotReady(String),
    /// External Secrets says that there is no secret on purpose.
    SecretGone(String),
    /// It says that everything is fine, but that is outdated or does not help.
    Doubtful(Finding),
}

/// The last refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refresh {
    /// The secret is refreshed periodically.
    Periodic {
        /// The last refresh.
        at: Timestamp,
        /// The refresh interval.
        interval: Duration,
    },
    /// It is refreshed once or on demand: its age says nothing.
    OnDemand,
}

/// The state of `object`, which was read from `side`, at `now`.
pub(super) fn state(object: &ExternalSecret, side: &Side, now: Timestamp) -> State {
    if object.metadata.deletion_timestamp.is_some() {
        return doubtful(&BEING_DELETED, "the ExternalSecret is being deleted, and is no longer refreshed".to_owned());
    }
    if side.secret().is_some_and(|secret| secret.is_being_deleted) {
        return doubtful(&BEING_DELETED, "the secret is being deleted".to_owned());
    }
    let Some(ready) = object.status.conditions.iter().find(|condition| condition.kind == "Ready") else {
        return State::NotReady("it was never reconciled".to_owned());
    };
    let says = if ready.message.is_empty() { &ready.reason } else { &ready.message };
    match (ready.status.as_str(), ready.reason.as_str()) {
        ("True", "SecretDeleted" | "SecretMissing" | "ResourceDeleted" | "ResourceMissing") => {
            State::SecretGone(says.clone())
        }
        ("True", "SecretSynced") => of_ready(object, &ready.message, side, now),
        ("True", reason) if reason.starts_with("ResourceSynced") => of_ready(object, &ready.message, side, now),
        ("True", reason) => doubtful(&BAD_ANSWER, format!("it is ready for an unknown reason: {reason}")),
        _ => State::NotReady(says.clone()),
    }
}

fn of_ready(object: &ExternalSecret, message: &str, side: &Side, now: Timestamp) -> State {
    if message.contains("retained") {
        return doubtful(&SOURCE_GONE, message.to_owned());
    }
    let Some(at) = side.refreshed else {
        return doubtful(&STALE, "it is ready, but was never refreshed".to_owned());
    };
    let Some(interval) = interval(object) else { return State::Fresh(Refresh::OnDemand) };
    if !is_of_this_spec(object) {
        return doubtful(&SPEC_NOT_SYNCED, "its last edit has not been synced".to_owned());
    }
    let age = now.since(at);
    // A refresh that sync windows hold back is not overdue. The last status counts, and grows old.
    let is_held_back = object.spec.sync_windows.as_ref().is_some_and(|held| !held.windows.is_empty());
    if age > interval.saturating_add(TOLERANCE) && !is_held_back {
        let detail = format!("last refreshed {}s ago, although the interval is {}s", age.as_secs(), interval.as_secs());
        return doubtful(&STALE, detail);
    }
    State::Fresh(Refresh::Periodic { at, interval })
}

fn doubtful(reason: &'static crate::domain::observation::Reason, detail: String) -> State {
    State::Doubtful(Finding::new(reason, detail))
}

/// The refresh interval. None if the age says nothing. An immutable secret is refreshed without
/// being written.
fn interval(object: &ExternalSecret) -> Option<Duration> {
    let spec = &object.spec;
    let periodic = spec.refresh_policy.as_deref().is_none_or(|policy| policy.is_empty() || policy == "Periodic");
    let interval = match spec.refresh_interval.as_deref() {
        None | Some("") => STANDARD_INTERVAL,
        Some("0") => Duration::ZERO,
        Some(text) => text.parse::<jiff::SignedDuration>().ok().and_then(|interval| interval.try_into().ok())?,
    };
    (periodic && !spec.target.immutable && !interval.is_zero()).then_some(interval)
}

/// Whether the last success belongs to the current spec: `syncedResourceVersion` begins with the
/// generation.
fn is_of_this_spec(object: &ExternalSecret) -> bool {
    let synced = object.status.synced_resource_version.as_deref().and_then(|version| version.split_once('-'));
    let generation = object.metadata.generation;
    synced.and_then(|(synced, _)| synced.parse().ok()).is_some_and(|synced: i64| generation == Some(synced))
}

/// Whether an external secret creates a secret, rather than an object of another kind.
pub(super) fn makes_a_secret(object: &ExternalSecret) -> bool {
    object.spec.target.manifest.is_none()
}

/// The name of the secret that an external secret creates.
pub(super) fn secret_name(object: &ExternalSecret) -> &str {
    let bound = object.status.binding.as_ref().map(|binding| binding.name.as_str());
    let names = [bound, object.spec.target.name.as_deref()];
    names.into_iter().flatten().find(|name| !name.is_empty()).unwrap_or(&object.metadata.name)
}
