//! What an application deployed before.

use super::*;

#[test]
fn what_the_cluster_holds_changes_with_each_operation_that_ends_well() {
    let differs = json!({"sync": {"status": "OutOfSync", "revision": NEWER}});
    let holds = |changes: &Value| {
        let observation =
            verdict(&found(&with(with(healthy(), &differs), changes)), None, &Memory::default(), &rules(), t(NOW));
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
    // Whether auto-sync is on now says nothing about who deployed then.
    let back_if = |automated: bool, on: bool, revisions: &[&str]| {
        let entry =
            |(id, revision): (usize, &&str)| deployment(id, revision, &format!("2026-09-1{id}T08:00:00Z"), automated);
        let history: Vec<_> = revisions.iter().enumerate().map(entry).collect();
        let mut spec = spec();
        spec["syncPolicy"]["automated"]["enabled"] = json!(on);
        let seen = found_of(&spec, &with(healthy(), &json!({"history": history})));
        seen.expect("an answer").expect("it is there").rolled_back.map(|back| back.to)
    };
    // A deployment that ended at eight, and began an hour before with what was compared before.
    let day = |day: usize| Some(Some(t(&format!("2026-09-1{day}T06:50:00Z"))));
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
        for on in [true, false] {
            assert_eq!(back_if(true, on, revisions), expected, "{revisions:?}");
        }
    }
    // A person can deploy whatever git ever had, and can switch auto-sync on again.
    for on in [true, false] {
        let by_hand = |revisions: &[&str]| back_if(false, on, revisions);
        assert_eq!(by_hand(&["a", "b"]), Some(None), "nobody knows how old it is");
        assert_eq!(by_hand(&["a", REVISION]), None, "git has it now");
        assert_eq!(by_hand(&["a", "a"]), None, "the cluster had it before");
        assert_eq!(by_hand(&["a", "b", "a"]), Some(None), "nobody knows how old it was then");
        assert_eq!(by_hand(&[REVISION, "b", REVISION]), day(0), "git has it now");
    }
}

/// What was deployed by hand, and was in sync until git went on, is no older than that.
#[test]
fn what_was_in_sync_is_not_old_because_git_went_on() {
    // Auto-sync is on again.
    let by_hand = with(healthy(), &json!({"history": [deployment(7, REVISION, "2026-09-12T08:00:09Z", false)]}));
    let went_on = |changes: Value| {
        let differs = json!({"sync": {"status": "OutOfSync", "revision": NEWER}});
        found(&with(with(by_hand.clone(), &differs), &changes)).expect("an answer").expect("it is there")
    };
    let unknown = Some(None);
    let back = |seen: &Seen| seen.rolled_back.map(|back| back.to);
    let mut memory = Memory::default();
    let mut seen = went_on(json!({}));
    memory.consider(&mut seen, true, TEN_MINUTES, t(NOW));
    assert_eq!(back(&seen), unknown, "nobody saw it in sync");
    let mut before = found(&by_hand).expect("an answer").expect("it is there");
    memory.consider(&mut before, true, TEN_MINUTES, t(NOW));
    for _ in 0..2 {
        let mut seen = went_on(json!({}));
        memory.consider(&mut seen, true, TEN_MINUTES, t(NOW));
        assert_eq!(back(&seen), None, "it was in sync since it was deployed");
    }
    let old = json!({"history": [deployment(8, "old", "2026-09-20T11:58:09Z", false)]});
    let mut seen = went_on(old);
    memory.consider(&mut seen, true, TEN_MINUTES, t(NOW));
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
        let mut memory = Memory::default();
        memory.consider(&mut of(&json!({"reconciledAt": compared})), alone, TEN_MINUTES, t(NOW));
        let mut seen = of(&differs);
        memory.consider(&mut seen, alone, TEN_MINUTES, t(NOW));
        seen.rolled_back.is_some()
    };
    assert!(!is_back(true, "2026-09-20T11:58:01Z"), "it was compared since");
    assert!(is_back(true, "2026-09-20T11:58:00Z"), "the comparison may be from before the deployment");
    assert!(is_back(false, "2026-09-20T11:58:01Z"), "the primary may have been at another revision");
}
