//! The verdicts, on statuses as External Secrets writes them.

use serde_json::{Value, json};

use super::verdict::{self, Verdict};
use super::*;
use crate::clients::kubernetes::objects::{DataHash, SecretMetadata, SecretState, Writer};
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
fn a_pair_is_equal_while_both_are_fresh_and_their_hashes_are_the_same() {
    let young = ready("2026-09-20T11:40:00Z");
    let stale = side(&ready("2026-09-20T02:00:00Z"), Some(HASH));
    let failing = side(&failing(&json!("2026-09-20T09:40:00Z")), Some(HASH));
    let once = side_of(&json!({"refreshPolicy": "CreatedOnce"}), &ready("2026-08-01T09:00:00Z"), Some(HASH));
    let forbidden = Side { secret: Some(Err(Finding::new(&kubernetes::FORBIDDEN, "no"))), ..side(&young, None) };
    let unhashed = Side { secret: Some(Ok(secret_with(None))), ..healthy() };
    let older = side(&young, Some(&HASH[..32]));
    let no = |reason| ("no_answer", "unknown", reason);
    let table = vec![
        ("equal", healthy(), healthy(), ("healthy", "vouched", "")),
        ("equal, and refreshed once", once.clone(), once, ("healthy", "vouched", "")),
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
fn equality_holds_for_the_earlier_look() {
    let dr = Side { seen: t("2026-09-20T11:59:50Z"), ..healthy() };
    let verdict = verdict::of(&dr, Some(&healthy()), Compare::DataHash, None, t(NOW));
    assert_eq!(verdict.copy, CopyState::Vouched { up_to: t("2026-09-20T11:59:50Z"), doubt: None });
}

/// Where the API server does not tell who writes, the hash was one of the data at the last refresh.
#[test]
fn equality_of_hashes_alone_holds_for_the_earlier_refresh() {
    let untold = |at: &str| with_secret(side(&ready(at), Some(HASH)), |secret| secret.writers.clear());
    let (dr, primary) = (untold("2026-09-20T11:40:00Z"), untold("2026-09-20T11:20:00Z"));
    let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
    assert_eq!(verdict.copy, CopyState::Vouched { up_to: t("2026-09-20T11:20:00Z"), doubt: None });
    assert_eq!((verdict.health, verdict.in_sync), (Health::Healthy, Some(true)));
}

/// Whoever edits the data leaves the hash as it was: it tells neither that two are equal nor that they differ.
#[test]
fn a_hash_of_data_that_somebody_else_wrote_says_nothing() {
    let since = "2026-09-20T11:50:00Z";
    let once = || side_of(&json!({"refreshPolicy": "CreatedOnce"}), &ready("2026-08-01T09:00:00Z"), Some(HASH));
    let other = || side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let says_nothing = ("no_answer", "unknown", "foreign_writer");
    let table = [
        ("edited in DR", edited(healthy(), since), healthy(), says_nothing),
        ("edited in DR, and never refreshed again", edited(once(), since), once(), says_nothing),
        ("edited in the primary", healthy(), edited(healthy(), since), says_nothing),
        ("put right by hand", edited(other(), since), healthy(), says_nothing),
        (
            "edited, and refreshed since",
            edited(healthy(), "2026-09-20T11:30:00Z"),
            healthy(),
            ("healthy", "vouched", ""),
        ),
    ];
    for (name, dr, primary, expected) in table {
        let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
        assert_eq!(verdict.in_sync.is_some(), expected.0 == "healthy", "{name}");
    }
}

/// What is old, or fails, spoils that two are equal. That they differ was read now.
#[test]
fn a_difference_outranks_every_doubt() {
    let since_hours = ready("2026-09-20T02:00:00Z");
    let hour = ready("2026-09-20T11:40:00Z");
    let retained = with(hour.clone(), "/conditions/0/message", json!("secret retained due to DeletionPolicy=Retain"));
    let not_synced = with(hour.clone(), "/syncedResourceVersion", json!("2-f47f"));
    let failing = failing(&json!("2026-09-20T09:40:00Z"));
    let never = with(hour, "/refreshTime", Value::Null);
    let doubts = [
        ("stale", side(&since_hours, Some(OTHER)), "drift"),
        ("source gone", side(&retained, Some(OTHER)), "drift"),
        ("spec not synced", side(&not_synced, Some(OTHER)), "drift"),
        ("not ready", side(&failing, Some(OTHER)), "not_ready"),
        ("never refreshed", with_secret(side(&never, Some(OTHER)), |secret| secret.writers.clear()), "drift"),
        ("being deleted", being_deleted(side(&since_hours, Some(OTHER))), "drift"),
    ];
    for (name, doubted, reason) in doubts {
        let verdict = verdict::of(&doubted, Some(&healthy()), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), ("unhealthy", "outdated", reason), "DR: {name}");
        assert_eq!((verdict.in_sync, since(&verdict)), (Some(false), Some(t(NOW))), "DR: {name}");
        let CopyState::Outdated { finding, .. } = verdict.copy else { panic!("{name}") };
        assert!(finding.reason == &DRIFT && finding.detail.contains("; DR: "), "{name}: {finding}");
        if name == "being deleted" {
            continue;
        }
        let verdict = verdict::of(&healthy(), Some(&doubted), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), ("unhealthy", "outdated", "drift"), "primary: {name}");
    }
}

#[test]
fn what_is_being_deleted_proves_nothing_and_lacks_nothing() {
    let other = || side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let secret = |side: Side| with_secret(side, |secret| secret.is_being_deleted = true);
    let no = |reason| ("no_answer", "unknown", reason);
    let table = [
        ("DR", being_deleted(healthy()), healthy(), no("being_deleted")),
        ("the secret in DR", secret(healthy()), healthy(), no("being_deleted")),
        ("the primary", healthy(), being_deleted(healthy()), no("being_deleted")),
        ("the secret in the primary", healthy(), secret(healthy()), no("being_deleted")),
        ("the primary, and they differ", healthy(), being_deleted(other()), no("being_deleted")),
        ("the primary, and DR is gone", absent(), being_deleted(healthy()), no("primary_missing")),
    ];
    for (name, dr, primary, expected) in table {
        let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
    }
}

#[test]
fn two_sides_that_are_one_object_prove_nothing_and_lose_nothing() {
    let object = |uid: &str, side: Side| with_object(side, |object| object.metadata.uid = Some(uid.to_owned()));
    let secret = |uid: &str, side: Side| with_secret(side, |secret| secret.uid = Some(uid.to_owned()));
    let other = || side(&ready("2026-09-20T11:40:00Z"), Some(OTHER));
    let same = ("no_answer", "unknown", "same_object");
    let table = [
        ("one", object("6f3c", healthy()), object("6f3c", healthy()), same),
        ("one secret", secret("7a", healthy()), secret("7a", healthy()), same),
        ("one, whose secret is gone", object("6f3c", without_secret()), object("6f3c", without_secret()), same),
        ("one, whose secret has just gone", object("6f3c", without_secret()), object("6f3c", healthy()), same),
        ("one, read at two times", object("6f3c", other()), object("6f3c", healthy()), same),
        ("two", object("6f3c", healthy()), object("7a4d", healthy()), ("healthy", "vouched", "")),
        ("not told", healthy(), healthy(), ("healthy", "vouched", "")),
    ];
    for (name, dr, primary, expected) in table {
        let verdict = verdict::of(&dr, Some(&primary), Compare::DataHash, None, t(NOW));
        assert_eq!(short(&verdict), expected, "{name}");
    }
    let (dr, primary) = (object("6f3c", healthy()), object("6f3c", healthy()));
    assert_eq!(short(&verdict::of(&dr, Some(&primary), Compare::Freshness, None, t(NOW))), same);
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

/// DR that goes back to a value of before is as old as that value, however lately the two were equal.
#[test]
fn dr_that_goes_back_is_known_by_what_it_held_before() {
    let [noon, one, two] = ["2026-09-20T12:00:00Z", "2026-09-20T13:00:00Z", "2026-09-20T14:00:00Z"].map(t);
    let of = |hash: &str| side(&ready("2026-09-20T11:40:00Z"), Some(hash));
    let (old, new, newest) = (of(HASH), of(OTHER), of("b1cb70febeda2eb2f47fe3c0b255b6dd8047cdffa772587bb829efe7"));
    let back = |past: &Past, dr: &Side| past.went_back(dr, two).map(|back| back.to);
    let mut past = Past::default();
    assert_eq!(back(&past, &old), None, "nothing is known of before");
    past.is_equal(&old, noon);
    assert_eq!(back(&past, &old), None, "the primary has something new");
    past.is_equal(&new, one);
    assert_eq!(back(&past, &old), Some(Some(noon)));
    assert_eq!(back(&past, &newest), Some(None), "nobody knows whether this value is new or very old");
    assert_eq!(back(&past, &without_secret()), None);
    // It was rolled back in both: from then on the other value is the old one.
    past.is_equal(&old, two);
    assert_eq!((back(&past, &old), back(&past, &new)), (None, Some(Some(one))));
}
