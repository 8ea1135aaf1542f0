//! The verdicts on two external secrets.

use super::*;

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
