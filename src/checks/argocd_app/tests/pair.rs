//! The verdicts on two applications.

use super::*;

/// The verdict on what was seen for the first time.
fn seen(dr: Found, primary: &Found) -> Observation {
    seen_after(&mut Memory::default(), dr, primary)
}

fn seen_after(memory: &mut Memory, mut dr: Found, primary: &Found) -> Observation {
    memory.note(&mut dr, Some(primary), TEN_MINUTES, t(NOW));
    verdict(&dr, Some(primary), memory, &rules(), t(NOW))
}

#[test]
fn with_a_primary_both_follow_the_same_revision() {
    let newer = json!({"sync": {"status": "Synced", "revision": NEWER}});
    let silent = json!({"reconciledAt": "2026-09-20T02:00:00Z"});
    let behind = json!({"sync": {"status": "OutOfSync", "revision": REVISION}});
    let earlier = json!({"reconciledAt": "2026-09-20T11:55:00Z"});
    let bare = json!({"sync": {"status": "Synced"}});
    let error = Err(Finding::new(&kubernetes::CONNECT_FAILED, "refused"));
    let table = vec![
        ("the same", found(&healthy()), found(&healthy()), "healthy vouched@11:58:10"),
        ("the earlier word counts", found(&healthy()), found(&with(healthy(), &earlier)), "healthy vouched@11:55:00"),
        ("another", found(&healthy()), found(&with(healthy(), &newer)), "healthy outdated@:revision_differs"),
        ("none", found(&healthy()), found(&with(healthy(), &bare)), "healthy unknown:revision_differs"),
        (
            "the primary lags behind git",
            found(&healthy()),
            found(&with(healthy(), &behind)),
            "healthy vouched@11:58:10",
        ),
        (
            "the primary is silent",
            found(&healthy()),
            found(&with(healthy(), &silent)),
            "healthy unknown:controller_silent",
        ),
        ("the primary is unreachable", found(&healthy()), error, "healthy unknown:connect_failed"),
        ("there is no primary", found(&healthy()), Ok(None), "healthy unknown:primary_missing"),
        ("DR lags", found(&with(healthy(), &behind)), found(&healthy()), "healthy outdated@:out_of_sync"),
        (
            "DR is silent",
            found(&with(healthy(), &silent)),
            found(&healthy()),
            "no_answer:controller_silent unknown:controller_silent",
        ),
        ("DR is gone", Ok(None), found(&healthy()), "unhealthy:application_missing lost:application_missing"),
        ("both are gone", Ok(None), Ok(None), "no_answer:primary_missing unknown:primary_missing"),
        (
            "DR is gone, and the primary goes",
            Ok(None),
            being_deleted(found(&healthy())),
            "no_answer:primary_missing unknown:primary_missing",
        ),
        ("the primary goes", found(&healthy()), being_deleted(found(&healthy())), "healthy unknown:being_deleted"),
        (
            "one object",
            as_object(found(&healthy()), "6f3c"),
            as_object(found(&healthy()), "6f3c"),
            "no_answer:same_object unknown:same_object",
        ),
        (
            "one object, read at two times",
            as_object(found(&healthy()), "6f3c"),
            as_object(found(&with(healthy(), &newer)), "6f3c"),
            "no_answer:same_object unknown:same_object",
        ),
        (
            "two objects",
            as_object(found(&healthy()), "6f3c"),
            as_object(found(&healthy()), "7a4d"),
            "healthy vouched@11:58:10",
        ),
    ];
    for (name, dr, primary, expected) in table {
        assert_eq!(short(&seen(dr, &primary)), expected, "{name}");
    }
}

/// A difference that was read now is one though a side has fallen silent; but which of the two is the older?
#[test]
fn a_side_that_has_fallen_silent_hides_no_older_revision() {
    let silent = json!({"reconciledAt": "2026-09-20T02:00:00Z"});
    let error = json!({"conditions": [{"type": "ComparisonError", "message": "no"}]});
    let unknown = json!({"sync": {"status": "Unknown", "revision": "main"}});
    let of_other_spec = json!({"sync": {"status": "Synced", "revision": REVISION,
        "comparedTo": {"source": {"targetRevision": "v0"}, "destination": {"name": "dr", "namespace": "saas"}}}});
    let older = || healthy();
    let newer = || with(healthy(), &json!({"sync": {"status": "Synced", "revision": NEWER}}));
    let deployed = |status: Value, revisions: &[&str]| {
        let history: Vec<Value> = revisions
            .iter()
            .enumerate()
            .map(|(index, revision)| json!({"revision": revision, "deployedAt": format!("2026-09-1{index}T08:00:00Z")}))
            .collect();
        with(status, &json!({"history": history}))
    };
    let table = [
        // The primary's word is of today, DR's the last that there was: DR cannot be the newer.
        (
            "DR silent, at an older one",
            with(older(), &silent),
            newer(),
            "no_answer:controller_silent outdated@:revision_differs",
        ),
        (
            "DR edited and not compared, at an older one",
            with(older(), &of_other_spec),
            deployed(newer(), &[REVISION, NEWER]),
            "healthy outdated@:revision_differs",
        ),
        (
            "DR cannot compare, and does not tell what it holds",
            with(with(older(), &unknown), &error),
            newer(),
            "no_answer:comparison_error unknown:comparison_error",
        ),
        (
            "DR silent, and newer than a primary that is pinned",
            deployed(with(newer(), &silent), &[REVISION, NEWER]),
            older(),
            "no_answer:controller_silent unknown:controller_silent",
        ),
        // The primary's word is old: DR may have followed git meanwhile.
        ("primary silent", newer(), with(older(), &silent), "healthy unknown:controller_silent"),
        (
            "primary edited and not compared",
            newer(),
            with(older(), &of_other_spec),
            "healthy unknown:spec_not_compared",
        ),
        // Not so where the primary has left what DR follows.
        (
            "primary silent, and it has left DR's revision",
            older(),
            deployed(with(newer(), &silent), &[REVISION, NEWER]),
            "healthy outdated@:revision_differs",
        ),
        (
            "both silent, and the primary has left DR's revision",
            with(older(), &silent),
            deployed(with(newer(), &silent), &[REVISION, NEWER]),
            "no_answer:controller_silent outdated@:revision_differs",
        ),
        (
            "both silent",
            with(older(), &silent),
            deployed(with(newer(), &silent), &[]),
            "no_answer:controller_silent unknown:controller_silent",
        ),
        // Ahead is not behind, and not the same either.
        (
            "DR has left the primary's revision",
            deployed(newer(), &[REVISION, NEWER]),
            older(),
            "healthy unknown:revision_differs",
        ),
        (
            "the primary was rolled back",
            deployed(newer(), &[REVISION, NEWER]),
            deployed(older(), &[REVISION, NEWER, REVISION]),
            "healthy outdated@:revision_differs",
        ),
    ];
    for (name, dr, primary, expected) in table {
        let observation = seen(found(&dr), &found(&primary));
        assert_eq!(short(&observation), expected, "{name}");
        if short(&observation).ends_with("outdated@:revision_differs") {
            let holds = dr.pointer("/sync/revision").and_then(Value::as_str);
            assert_eq!(Some(token(&observation)), holds, "{name}");
        }
    }
}

/// Each side polls git by itself. Who is late is known by what each was seen at before.
#[test]
fn the_side_that_follows_later_is_known() {
    let at = |revision: &str, compared: &str| {
        let sync = json!({"status": "Synced", "revision": revision});
        found(&with(
            healthy(),
            &json!({"sync": sync, "reconciledAt": format!("2026-09-20T{compared}Z"), "history": []}),
        ))
    };
    let (old, new) = (REVISION, NEWER);
    let table = [
        (
            "the primary moves on",
            vec![((old, "11:55:00"), (old, "11:55:00")), ((old, "11:58:00"), (new, "11:58:00"))],
            true,
        ),
        ("DR moves on", vec![((old, "11:55:00"), (old, "11:55:00")), ((new, "11:58:00"), (old, "11:59:00"))], false),
        (
            "and the primary follows",
            vec![((new, "11:58:00"), (old, "11:58:00")), ((new, "11:59:00"), (new, "11:59:00"))],
            false,
        ),
        ("nobody knows", vec![((new, "11:58:00"), (old, "11:59:00"))], false),
        (
            "nor from a primary that is late",
            vec![((new, "11:51:00"), (old, "11:51:00")), ((new, "11:59:00"), (old, "11:59:00"))],
            false,
        ),
        (
            "but not from one that had ten minutes",
            vec![((new, "11:49:00"), (old, "11:49:00")), ((new, "11:59:00"), (old, "11:59:00"))],
            true,
        ),
        (
            "DR follows, and the primary is further",
            vec![
                ((old, "11:55:00"), (old, "11:55:00")),
                ((old, "11:56:00"), (new, "11:56:00")),
                ((new, "11:59:00"), ("third", "11:59:00")),
            ],
            true,
        ),
        (
            "DR goes back to what it had before the primary",
            vec![
                ((new, "11:40:00"), (old, "11:55:00")),
                ((old, "11:57:00"), (new, "11:57:00")),
                ((new, "11:58:00"), (old, "11:58:00")),
            ],
            false,
        ),
    ];
    for (name, looks, is_behind) in table {
        let mut memory = Memory::default();
        let judged = looks
            .into_iter()
            .map(|((here, dr), (there, primary))| seen_after(&mut memory, at(here, dr), &at(there, primary)));
        let last = judged.last().expect("a look");
        let behind = matches!(last.copy, Some(CopyState::Outdated { .. }));
        assert_eq!(behind, is_behind, "{name}: {}", short(&last));
    }
}
