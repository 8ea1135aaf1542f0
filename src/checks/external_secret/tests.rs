//! The verdicts, on statuses as External Secrets writes them.

use serde_json::{Value, json};

use super::reasons::DRIFT;
use super::verdict::{self, Verdict};
use super::*;
use crate::clients::kubernetes;
use crate::clients::kubernetes::objects::{DataHash, SecretMetadata, SecretState, Writer};
use crate::domain::observation::{CopyState, Health};

mod pair;
mod past;

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

fn writer(manager: &str, time: &str) -> Writer {
    let time = Some(time.parse().expect("a time"));
    Writer { manager: manager.to_owned(), operation: "Update".to_owned(), time, owns_data: true }
}

fn secret_with(hash: Option<DataHash>) -> SecretState {
    let writers = vec![writer("externalsecrets.external-secrets.io/nats", "2026-08-01T09:00:01Z")];
    SecretState::There(SecretMetadata { hash, writers, ..SecretMetadata::default() })
}

/// The same, of a secret that was changed like this.
fn with_secret(mut side: Side, change: impl FnOnce(&mut SecretMetadata)) -> Side {
    match &mut side.secret {
        Some(Ok(SecretState::There(secret))) => change(secret),
        other => panic!("no secret: {other:?}"),
    }
    side
}

/// The same, of an external secret that was changed like this.
fn with_object(mut side: Side, change: impl FnOnce(&mut ExternalSecret)) -> Side {
    match &mut side.object {
        Ok(Some(object)) => change(object),
        other => panic!("no object: {other:?}"),
    }
    side
}

fn being_deleted(side: Side) -> Side {
    with_object(side, |object| object.metadata.deletion_timestamp = Some("2026-09-20T11:59:00Z".to_owned()))
}

/// The same, of a secret whose data somebody wrote at this time.
fn edited(side: Side, at: &str) -> Side {
    with_secret(side, |secret| secret.writers.push(writer("kubectl-edit", at)))
}

fn side_of(spec: &Value, status: &Value, hash: Option<&str>) -> Side {
    let object = json!({"metadata": {"name": "nats", "generation": 3}, "spec": spec, "status": status});
    let object: ExternalSecret = serde_json::from_value(object).expect("an ExternalSecret");
    let refreshed = object.status.refresh_time.map(Timestamp::from);
    let secret = hash.map(|hash| Ok(secret_with(Some(DataHash::new(hash)))));
    Side { object: Ok(Some(object)), refreshed, secret, seen: t("2026-09-20T11:59:59Z"), answered: t(NOW) }
}

fn side(status: &Value, hash: Option<&str>) -> Side {
    side_of(&json!({"refreshInterval": "1h"}), status, hash)
}

fn healthy() -> Side {
    side(&ready("2026-09-20T11:40:00Z"), Some(HASH))
}

fn unanswered() -> Side {
    let finding = Finding::new(&kubernetes::CONNECT_FAILED, "refused");
    Side { object: Err(finding), refreshed: None, secret: None, seen: t(NOW), answered: t(NOW) }
}

fn absent() -> Side {
    Side { object: Ok(None), refreshed: None, secret: None, seen: t(NOW), answered: t(NOW) }
}

fn without_secret() -> Side {
    Side { secret: Some(Ok(SecretState::Missing)), ..healthy() }
}

/// Since when the two differ.
fn since(verdict: &Verdict) -> Option<Timestamp> {
    verdict.difference.as_ref().map(|known| known.since)
}

/// The verdict in short: health, copy, and why.
fn short(verdict: &Verdict) -> (&'static str, &'static str, &'static str) {
    let (health, of_health) = match &verdict.health {
        Health::Healthy => ("healthy", None),
        Health::Unhealthy(finding) => ("unhealthy", Some(finding)),
        Health::Pending(finding) => ("pending", Some(finding)),
        Health::NoAnswer(finding) => ("no_answer", Some(finding)),
    };
    let (copy, of_copy) = match &verdict.copy {
        CopyState::Complete { .. } => ("complete", None),
        CopyState::Behind { .. } => ("behind", None),
        CopyState::Vouched { doubt, .. } => ("vouched", doubt.as_ref()),
        CopyState::Outdated { finding, .. } => ("outdated", Some(finding)),
        CopyState::Damaged(finding) => ("damaged", Some(finding)),
        CopyState::Withdrawn(finding) => ("withdrawn", Some(finding)),
        CopyState::Lost(finding) => ("lost", Some(finding)),
        CopyState::Unknown(finding) => ("unknown", Some(finding)),
    };
    (health, copy, of_health.or(of_copy).map_or("", |finding| finding.reason.label))
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row a state")]
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
        ("never", side(&failing(&Value::Null), None), ("unhealthy", "withdrawn", "not_ready")),
        ("no status any more", side(&json!({}), None), ("unhealthy", "withdrawn", "not_ready")),
        (
            "ready, no refresh",
            side(&with(young.clone(), "/refreshTime", Value::Null), None),
            ("no_answer", "withdrawn", "stale"),
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
            "another resource deleted",
            side(&with(young.clone(), "/conditions/0/reason", json!("ResourceDeleted")), None),
            ("unhealthy", "lost", "secret_missing"),
        ),
        (
            "another resource missing",
            side(&with(young.clone(), "/conditions/0/reason", json!("ResourceMissing")), None),
            ("unhealthy", "lost", "secret_missing"),
        ),
        (
            "another resource",
            side_of(
                &json!({"target": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}}),
                &with(young.clone(), "/conditions/0/reason", json!("ResourceSynced")),
                None,
            ),
            ("healthy", "vouched", ""),
        ),
        ("being deleted", being_deleted(side(&young, None)), ("no_answer", "unknown", "being_deleted")),
        (
            "not due, since its windows are closed",
            side_of(&json!({"syncWindows": {"kind": "deny", "windows": [{"schedule": "0 0 * * *"}]}}), &old, None),
            ("healthy", "vouched", ""),
        ),
        (
            "due, since it has no windows",
            side_of(&json!({"syncWindows": {"kind": "deny", "windows": []}}), &old, None),
            ("no_answer", "unknown", "stale"),
        ),
        (
            "edited and not synced, whatever its windows are",
            side_of(
                &json!({"syncWindows": {"kind": "deny", "windows": [{}]}}),
                &with(young.clone(), "/syncedResourceVersion", json!("2-f47f")),
                None,
            ),
            ("no_answer", "unknown", "spec_not_synced"),
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
fn a_copy_is_known_by_the_object_and_the_secret() {
    let dr = with_object(healthy(), |object| object.metadata.uid = Some("6f3c".to_owned()));
    let dr = with_secret(dr, |secret| secret.uid = Some("7a".to_owned()));
    assert_eq!(dr.identity(Compare::DataHash).as_deref(), Some("6f3c 7a"));
    assert_eq!(dr.identity(Compare::Freshness).as_deref(), Some("6f3c"));
    let refused = Side { secret: Some(Err(Finding::new(&kubernetes::FORBIDDEN, "no"))), ..dr.clone() };
    assert_eq!(refused.identity(Compare::DataHash), None, "what was not read is no other object");
    assert_eq!(Side { secret: Some(Ok(SecretState::Missing)), ..dr }.identity(Compare::DataHash), None);
    assert_eq!(absent().identity(Compare::Freshness), None);
}

#[test]
fn what_makes_no_secret_has_no_hash_to_compare() {
    let spec = json!({"refreshInterval": "1h", "target": {"manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}});
    let status = with(ready("2026-09-20T11:40:00Z"), "/conditions/0/reason", json!("ResourceSynced"));
    let (dr, primary) = (side_of(&spec, &status, None), side_of(&spec, &status, None));
    let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
    assert_eq!(short(&verdict), ("no_answer", "unknown", "not_a_secret"));
    let verdict = verdict::of(&dr, Some(&primary), Compare::Freshness, None, t(NOW));
    assert_eq!(short(&verdict), ("healthy", "vouched", ""));
}

#[test]
fn what_dr_holds_changes_with_the_data_and_with_nothing_else() {
    let holds = |side: &Side| match verdict::of(side, Some(&healthy()), Compare::DataHash, None, t(NOW)).copy {
        CopyState::Outdated { holds, .. } => holds,
        other => panic!("{other:?}"),
    };
    let dr = || side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let before = holds(&dr());
    assert_eq!(holds(&side(&ready("2026-09-20T02:00:00Z"), Some(OTHER))), before, "refreshed without a change");
    let labelled = with_secret(dr(), |secret| {
        secret.writers.push(Writer { owns_data: false, ..writer("kubectl-label", "2026-09-20T11:59:00Z") });
    });
    assert_eq!(holds(&labelled), before, "a label is no data");
    assert_ne!(holds(&side(&ready("2026-09-20T11:40:00Z"), Some(&OTHER.replace('a', "b")))), before);
    let again = with_secret(dr(), |secret| {
        secret.writers = vec![writer("externalsecrets.external-secrets.io/nats", "2026-09-20T11:40:01Z")];
    });
    assert_ne!(holds(&again), before, "written, and back again");
    assert!(!before.contains(&OTHER[..8]), "the token tells the hash: {before}");
}

#[test]
fn a_difference_is_drift_when_it_outlasts_a_refresh() {
    let dr = side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let known = |at: &str| {
        let verdict = verdict::of(&dr, Some(&healthy()), Compare::DataHash, None, t(at));
        verdict.difference.expect("they differ")
    };
    let judged = |dr: &Side, known: &Difference| {
        let verdict = verdict::of(dr, Some(&healthy()), Compare::DataHash, Some(known), t(NOW));
        (since(&verdict).expect("they differ"), short(&verdict).2)
    };
    let (near, far) = ("2026-09-20T10:50:00Z", "2026-09-20T10:49:59Z");
    assert_eq!(judged(&dr, &known(near)), (t(near), "pending"));
    assert_eq!(judged(&dr, &known(far)), (t(far), "drift"));
    // DR was refreshed meanwhile: the two may have been equal, and this is another rotation.
    let moved = side(&ready("2026-09-20T11:40:00Z"), Some(&OTHER.replace('a', "b")));
    assert_eq!(judged(&moved, &known(far)), (t(NOW), "pending"));

    let unknown = verdict::of(&dr, Some(&unanswered()), Compare::DataHash, Some(&known(NOW)), t(NOW));
    assert_eq!(since(&unknown), Some(t(NOW)), "what is not known ends no difference");
    let equal = verdict::of(&healthy(), Some(&healthy()), Compare::DataHash, Some(&known(NOW)), t(NOW));
    assert_eq!((since(&equal), equal.in_sync), (None, Some(true)));
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

#[test]
fn no_external_secret_breaks_the_verdict() {
    let spec = json!({"refreshInterval": "1h", "target": {"name": "nats", "creationPolicy": "Owner"}});
    let object = |status: Value| json!({"metadata": {"name": "nats", "generation": 3, "uid": "u"}, "spec": spec, "status": status});
    let corpus = [object(ready("2026-09-20T11:40:00Z")), object(failing(&json!(null)))];
    let primary = healthy();
    crate::fuzzing::json(&corpus, |object| {
        let Ok(object) = serde_json::from_value::<ExternalSecret>(object.clone()) else { return };
        let refreshed = object.status.refresh_time.map(Timestamp::from);
        let dr = Side { object: Ok(Some(object)), refreshed, ..healthy() };
        for compare in [Compare::DataHash, Compare::Freshness] {
            let verdict = verdict::of(&dr, Some(&primary), compare, None, t(NOW));
            let _ = readings::of(&dr, Some(&primary), &verdict);
        }
    });
}
