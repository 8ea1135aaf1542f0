//! What an application deployed before.

use super::*;

#[test]
fn what_the_cluster_holds_changes_with_each_operation_that_ends_well() {
    let differs = json!({"sync": {"status": "OutOfSync", "revision": NEWER}});
    let holds = |changes: &Value| {
        let observation = verdict(&found(&with(with(healthy(), &differs), changes)), None, &rules(), t(NOW));
        token(&observation).to_owned()
    };
    let operated = |phase: &str, at: &str| json!({"operationState": {"phase": phase, "finishedAt": at}});
    let before = holds(&json!({}));
    // Looked at again, another commit, another resource, an operation that runs or fails, again and again.
    for same in [
        json!({"reconciledAt": "2026-09-20T11:59:50Z"}),
        json!({"sync": {"status": "OutOfSync", "revision": "0000"}}),
        json!({"resources": [{"kind": "Role", "status": "OutOfSync"}]}),
        json!({"health": {"status": "Progressing"}}),
        json!({"operationState": {"phase": "Running"}}),
        operated("Failed", "2026-09-20T11:00:00Z"),
        operated("Error", "2026-09-20T11:30:00Z"),
    ] {
        assert_eq!(holds(&same), before, "{same}");
    }
    for other in [
        operated("Succeeded", "2026-09-20T11:00:00Z"),
        json!({"history": [{"revision": REVISION, "deployedAt": "2026-09-12T08:00:09Z"},
            {"revision": NEWER, "deployedAt": "2026-09-20T11:00:00Z"}]}),
    ] {
        assert_ne!(holds(&other), before, "{other}");
    }
}

#[test]
fn a_rollback_is_known_by_the_history() {
    let back_if = |automated: bool, revisions: &[&str]| {
        let entry = |(id, revision): (usize, &&str)| json!({"id": id, "revision": revision, "deployedAt": format!("2026-09-1{id}T08:00:00Z")});
        let history: Vec<_> = revisions.iter().enumerate().map(entry).collect();
        let mut spec = spec();
        spec["syncPolicy"]["automated"]["enabled"] = json!(automated);
        let seen = found_of(&spec, &with(healthy(), &json!({"history": history})));
        seen.expect("an answer").expect("it is there").rolled_back.map(|back| back.to)
    };
    let back = |revisions: &[&str]| back_if(true, revisions);
    let day = |day: usize| Some(Some(t(&format!("2026-09-1{day}T08:00:00Z"))));
    for (revisions, expected) in [
        (&[][..], None),
        (&["a"], None),
        (&["a", "b"], None),
        (&["a", "a"], None),
        (&["b", "a", "a"], None),
        (&["a", "b", "a"], day(0)),
        (&["a", "b", "a", "a"], day(0)),
        (&["a", "b", "c", "b"], day(1)),
        (&["a", "b", "a", "b"], day(1)),
    ] {
        assert_eq!(back(revisions), expected, "{revisions:?}");
    }
    // Without auto-sync a person can deploy whatever git ever had.
    let by_hand = |revisions: &[&str]| back_if(false, revisions);
    assert_eq!(by_hand(&["a", "b"]), Some(None), "nobody knows how old it is");
    assert_eq!(by_hand(&["a", REVISION]), None, "git has it now");
    assert_eq!(by_hand(&["a", "a"]), None, "the cluster had it before");
    assert_eq!(by_hand(&["a", "b", "a"]), day(0));
}

/// What was deployed by hand, and was in sync until git went on, is no older than that.
#[test]
fn what_was_in_sync_is_not_old_because_git_went_on() {
    let mut by_hand = spec();
    by_hand["syncPolicy"] = json!({});
    let went_on = |changes: Value| {
        let differs = json!({"sync": {"status": "OutOfSync", "revision": NEWER}});
        found_of(&by_hand, &with(with(healthy(), &differs), &changes)).expect("an answer").expect("it is there")
    };
    let unknown = Some(None);
    let back = |seen: &Seen| seen.rolled_back.map(|back| back.to);
    let mut in_sync = InSync::default();
    let mut seen = went_on(json!({}));
    in_sync.consider(&mut seen, true, TEN_MINUTES, t(NOW));
    assert_eq!(back(&seen), unknown, "nobody saw it in sync");
    let mut before = found_of(&by_hand, &healthy()).expect("an answer").expect("it is there");
    in_sync.consider(&mut before, true, TEN_MINUTES, t(NOW));
    for _ in 0..2 {
        let mut seen = went_on(json!({}));
        in_sync.consider(&mut seen, true, TEN_MINUTES, t(NOW));
        assert_eq!(back(&seen), None, "it was in sync since it was deployed");
    }
    let old = json!({"history": [{"id": 8, "revision": "old", "deployedAt": "2026-09-20T11:58:09Z"}]});
    let mut seen = went_on(old);
    in_sync.consider(&mut seen, true, TEN_MINUTES, t(NOW));
    assert_eq!(back(&seen), unknown, "and then something else was deployed");
}

/// A revision that was deployed before, was replaced, and is deployed again, since git went back to it.
#[test]
fn what_is_deployed_again_and_was_in_sync_is_not_as_old_as_the_first_time() {
    let again = json!({"history": [
        {"id": 1, "revision": REVISION, "deployedAt": "2026-09-10T08:00:00Z"},
        {"id": 2, "revision": "other", "deployedAt": "2026-09-11T08:00:00Z"},
        {"id": 3, "revision": REVISION, "deployedAt": "2026-09-20T11:58:00Z"}]});
    let of = |changes: &Value| found(&with(with(healthy(), &again), changes)).expect("an answer").expect("it is there");
    let differs = json!({"sync": {"status": "OutOfSync", "revision": NEWER}});
    let is_back = |alone: bool, compared: &str| {
        let mut in_sync = InSync::default();
        in_sync.consider(&mut of(&json!({"reconciledAt": compared})), alone, TEN_MINUTES, t(NOW));
        let mut seen = of(&differs);
        in_sync.consider(&mut seen, alone, TEN_MINUTES, t(NOW));
        seen.rolled_back.is_some()
    };
    assert!(!is_back(true, "2026-09-20T11:58:01Z"), "it was compared since");
    assert!(is_back(true, "2026-09-20T11:58:00Z"), "the comparison may be from before the deployment");
    assert!(is_back(false, "2026-09-20T11:58:01Z"), "the primary may have been at another revision");
}
