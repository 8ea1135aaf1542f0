//! The verdicts, on statuses as External Secrets writes them.

use serde_json::{Value, json};

use super::verdict::{self, Verdict};
use super::*;
use crate::clients::kubernetes::objects::{DataHash, SecretMetadata, SecretState};
use crate::domain::observation::{CopyState, Health};

/// The instant at which everything is judged.
const NOW: &str = "2026-09-20T12:00:00Z";
const HASH: &str = "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2";
const OTHER: &str = "a1cb70febeda2eb2f47fe3c0b255b6dd8047cdffa772587bb829efe7";

fn t(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().expect("a timestamp").into()
}

fn ready(refreshed: &str) -> Value {
    json!({
        "binding": {"name": "nats"},
        "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced",
            "lastTransitionTime": "2026-08-01T09:00:00Z"}],
        "refreshTime": refreshed,
        "syncedResourceVersion": "3-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"
    })
}

fn failing(refreshed: &Value) -> Value {
    json!({
        "binding": {"name": "nats"},
        "conditions": [{"type": "Ready", "status": "False", "reason": "SecretSyncedError",
            "message": "could not get secret data from provider", "lastTransitionTime": "2026-09-20T10:40:03Z"}],
        "refreshTime": refreshed
    })
}

fn with(mut status: Value, path: &str, value: Value) -> Value {
    *status.pointer_mut(path).expect("the path exists") = value;
    status
}

fn secret_with(hash: Option<DataHash>) -> SecretState {
    SecretState::There(SecretMetadata { hash, ..SecretMetadata::default() })
}

fn side_of(spec: &Value, status: &Value, hash: Option<&str>) -> Side {
    let object = json!({"metadata": {"name": "nats", "generation": 3}, "spec": spec, "status": status});
    let object: ExternalSecret = serde_json::from_value(object).expect("an ExternalSecret");
    let refreshed = object.status.refresh_time.map(Timestamp::from);
    let secret = hash.map(|hash| Ok(secret_with(Some(DataHash::new(hash)))));
    Side { object: Ok(Some(object)), refreshed, secret, seen: t("2026-09-20T11:59:59Z") }
}

fn side(status: &Value, hash: Option<&str>) -> Side {
    side_of(&json!({"refreshInterval": "1h"}), status, hash)
}

fn healthy() -> Side {
    side(&ready("2026-09-20T11:40:00Z"), Some(HASH))
}

fn unanswered() -> Side {
    let finding = Finding::new(&kubernetes::CONNECT_FAILED, "refused");
    Side { object: Err(finding), refreshed: None, secret: None, seen: t(NOW) }
}

fn absent() -> Side {
    Side { object: Ok(None), refreshed: None, secret: None, seen: t(NOW) }
}

fn without_secret() -> Side {
    Side { secret: Some(Ok(SecretState::Missing)), ..healthy() }
}

/// The verdict in short: health, copy, and why.
fn short(verdict: &Verdict) -> (&'static str, &'static str, &'static str) {
    let (health, of_health) = match &verdict.health {
        Health::Healthy => ("healthy", None),
        Health::Unhealthy(finding) => ("unhealthy", Some(finding)),
        Health::NoAnswer(finding) => ("no_answer", Some(finding)),
    };
    let (copy, of_copy) = match &verdict.copy {
        CopyState::Complete { .. } => ("complete", None),
        CopyState::Behind { .. } => ("behind", None),
        CopyState::Vouched { doubt, .. } => ("vouched", doubt.as_ref()),
        CopyState::Outdated { finding, .. } => ("outdated", Some(finding)),
        CopyState::Damaged(finding) => ("damaged", Some(finding)),
        CopyState::Lost(finding) => ("lost", Some(finding)),
        CopyState::Unknown(finding) => ("unknown", Some(finding)),
    };
    (health, copy, of_health.or(of_copy).map_or("", |finding| finding.reason.label))
}

#[test]
fn dr_alone_is_taken_at_its_word_while_that_is_young() {
    let hourly = json!({"refreshInterval": "1h0m0s", "refreshPolicy": "Periodic"});
    let young = ready("2026-09-20T11:40:00Z");
    let old = ready("2026-09-20T02:00:00Z");
    let table = [
        ("healthy", side(&young, None), ("healthy", "vouched", "")),
        ("a policy that says so", side_of(&hourly, &young, None), ("healthy", "vouched", "")),
        ("no interval is one of an hour", side_of(&json!({}), &young, None), ("healthy", "vouched", "")),
        ("on the edge", side(&ready("2026-09-20T10:50:00Z"), None), ("healthy", "vouched", "")),
        ("past the edge", side(&ready("2026-09-20T10:49:59Z"), None), ("no_answer", "unknown", "stale")),
        ("stale: the controller is dead", side(&old, None), ("no_answer", "unknown", "stale")),
        ("failing", side(&failing(&json!("2026-09-20T09:40:00Z")), None), ("unhealthy", "unknown", "not_ready")),
        ("never", side(&failing(&Value::Null), None), ("unhealthy", "unknown", "not_ready")),
        ("never reconciled", side(&json!({}), None), ("unhealthy", "unknown", "not_ready")),
        (
            "ready, no refresh",
            side(&with(young.clone(), "/refreshTime", Value::Null), None),
            ("no_answer", "unknown", "stale"),
        ),
        (
            "retained",
            side(
                &with(young.clone(), "/conditions/0/message", json!("secret retained due to DeletionPolicy=Retain")),
                None,
            ),
            ("no_answer", "unknown", "source_gone"),
        ),
        (
            "deleted",
            side(&with(young.clone(), "/conditions/0/reason", json!("SecretDeleted")), None),
            ("unhealthy", "lost", "secret_missing"),
        ),
        (
            "missing",
            side(&with(young.clone(), "/conditions/0/reason", json!("SecretMissing")), None),
            ("unhealthy", "lost", "secret_missing"),
        ),
        (
            "edited and not synced",
            side(&with(young.clone(), "/syncedResourceVersion", json!("2-f47f")), None),
            ("no_answer", "unknown", "spec_not_synced"),
        ),
        (
            "never refreshed again",
            side_of(&json!({"refreshInterval": "0"}), &old, None),
            ("healthy", "unknown", "no_freshness"),
        ),
        ("nor this", side_of(&json!({"refreshInterval": "0s"}), &old, None), ("healthy", "unknown", "no_freshness")),
        (
            "on change",
            side_of(&json!({"refreshPolicy": "OnChange", "refreshInterval": "1h"}), &young, None),
            ("healthy", "unknown", "no_freshness"),
        ),
        (
            "created once",
            side_of(&json!({"refreshPolicy": "CreatedOnce", "refreshInterval": "1h"}), &old, None),
            ("healthy", "unknown", "no_freshness"),
        ),
        (
            "immutable: refreshed and not written",
            side_of(&json!({"refreshInterval": "1h", "target": {"immutable": true}}), &young, None),
            ("healthy", "unknown", "no_freshness"),
        ),
        ("gone", absent(), ("unhealthy", "lost", "external_secret_missing")),
        ("unreachable", unanswered(), ("no_answer", "unknown", "connect_failed")),
    ];
    for (name, dr, expected) in table {
        let verdict = verdict::of(&dr, None, Compare::Freshness, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
    }
}

#[test]
fn a_word_is_worth_the_instant_of_the_refresh() {
    let verdict = verdict::of(&healthy(), None, Compare::Freshness, None, t(NOW));
    assert_eq!(verdict.copy, CopyState::Vouched { up_to: t("2026-09-20T11:40:00Z"), doubt: None });
}

#[test]
fn a_pair_is_equal_while_both_are_fresh_and_their_hashes_are_the_same() {
    let young = ready("2026-09-20T11:40:00Z");
    let stale = side(&ready("2026-09-20T02:00:00Z"), Some(HASH));
    let failing = side(&failing(&json!("2026-09-20T09:40:00Z")), Some(HASH));
    let once = side_of(&json!({"refreshPolicy": "CreatedOnce"}), &ready("2026-08-01T09:00:00Z"), Some(HASH));
    let forbidden = Side { secret: Some(Err(Finding::new(&kubernetes::FORBIDDEN, "no"))), ..side(&young, None) };
    let unhashed = Side { secret: Some(Ok(secret_with(None))), ..healthy() };
    let older = side(&young, Some(&HASH[..32]));
    let no = |reason| ("no_answer", "unknown", reason);
    let table = [
        ("equal", healthy(), healthy(), ("healthy", "complete", "")),
        ("equal, and refreshed once", once.clone(), once, ("healthy", "complete", "")),
        ("rotated", side(&young, Some(OTHER)), healthy(), ("unhealthy", "outdated", "pending")),
        ("DR stale, and equal", stale.clone(), healthy(), no("stale")),
        ("primary stale, and equal", healthy(), stale, no("stale")),
        ("DR fails, and is equal", failing.clone(), healthy(), ("unhealthy", "unknown", "not_ready")),
        ("primary fails", healthy(), failing, no("not_ready")),
        ("DR gone", absent(), healthy(), ("unhealthy", "lost", "external_secret_missing")),
        ("DR secret gone", without_secret(), healthy(), ("unhealthy", "lost", "secret_missing")),
        ("DR gone, primary not known", absent(), unanswered(), ("unhealthy", "lost", "external_secret_missing")),
        ("both gone", absent(), absent(), no("primary_missing")),
        ("both secrets gone", without_secret(), without_secret(), no("primary_missing")),
        ("primary gone", healthy(), absent(), no("primary_missing")),
        ("primary secret gone", healthy(), without_secret(), no("primary_missing")),
        ("primary unreachable", healthy(), unanswered(), no("connect_failed")),
        ("DR unreachable", unanswered(), healthy(), no("connect_failed")),
        ("both unreachable", unanswered(), unanswered(), no("connect_failed")),
        ("DR secret forbidden", forbidden.clone(), healthy(), no("forbidden")),
        ("primary secret forbidden", healthy(), forbidden, no("forbidden")),
        ("DR without hash", unhashed.clone(), healthy(), no("hash_missing")),
        ("both without hash", unhashed.clone(), unhashed, no("hash_missing")),
        ("another algorithm", older, healthy(), no("hash_algorithms_differ")),
    ];
    for (name, dr, primary, expected) in table {
        let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
    }
}

#[test]
fn equality_is_proven_for_the_earlier_look() {
    let dr = Side { seen: t("2026-09-20T11:59:50Z"), ..healthy() };
    let verdict = verdict::of(&dr, Some(&healthy()), Compare::DataHash, None, t(NOW));
    assert_eq!(verdict.copy, CopyState::Complete { up_to: t("2026-09-20T11:59:50Z") });
}

#[test]
fn a_difference_is_drift_when_it_outlasts_a_refresh() {
    let dr = side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let reason = |since: &str| {
        let verdict = verdict::of(&dr, Some(&healthy()), Compare::DataHash, Some(t(since)), t(NOW));
        assert_eq!(verdict.differs_since, Some(t(since)));
        short(&verdict).2
    };
    assert_eq!(reason("2026-09-20T10:50:00Z"), "pending");
    assert_eq!(reason("2026-09-20T10:49:59Z"), "drift");

    let unknown = verdict::of(&dr, Some(&unanswered()), Compare::DataHash, Some(t(NOW)), t(NOW));
    assert_eq!(unknown.differs_since, Some(t(NOW)), "what is not known ends no difference");
    let equal = verdict::of(&healthy(), Some(&healthy()), Compare::DataHash, Some(t(NOW)), t(NOW));
    assert_eq!((equal.differs_since, equal.in_sync), (None, Some(true)));
}

#[test]
fn compared_by_freshness_both_must_be_refreshed_by_the_clock() {
    let once = side_of(&json!({"refreshPolicy": "CreatedOnce"}), &ready("2026-08-01T09:00:00Z"), None);
    let stale = side(&ready("2026-09-20T02:00:00Z"), None);
    let table = [
        ("both", side(&ready("2026-09-20T11:40:00Z"), None), healthy(), ("healthy", "vouched", "")),
        ("DR once", once.clone(), healthy(), ("healthy", "unknown", "no_freshness")),
        ("primary once", healthy(), once, ("healthy", "unknown", "no_freshness")),
        ("primary stale", healthy(), stale, ("no_answer", "unknown", "stale")),
    ];
    for (name, dr, primary, expected) in table {
        let verdict = verdict::of(&dr, Some(&primary), Compare::Freshness, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
    }
}

#[test]
fn the_secret_is_named_by_the_binding_then_the_target_then_the_object() {
    let name = |spec: &Value, status: &Value| {
        let side = side_of(spec, status, None);
        fresh::secret_name(side.object.iter().flatten().next().expect("an object")).to_owned()
    };
    let bound = ready("2026-09-20T11:40:00Z");
    assert_eq!(
        name(&json!({"target": {"name": "target"}}), &with(bound.clone(), "/binding/name", json!("bound"))),
        "bound"
    );
    assert_eq!(name(&json!({"target": {"name": "target"}}), &with(bound, "/binding/name", json!(""))), "target");
    assert_eq!(name(&json!({}), &json!({})), "nats");
}

#[test]
fn a_hash_cannot_be_printed() {
    let side = side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    assert!(!format!("{side:?}").contains(&OTHER[..24]), "{side:?}");
}
