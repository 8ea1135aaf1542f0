//! The verdicts, on statuses as Argo CD writes them.
#![allow(clippy::too_many_lines, reason = "tables are long")]

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::observation::{CopyState, Health};

mod history;
mod pair;
mod shown;
mod stated;

/// The instant at which everything is judged.
const NOW: &str = "2026-09-20T12:00:00Z";
const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const NEWER: &str = "91aa0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const TEN_MINUTES: Duration = Duration::from_secs(600);

fn rules() -> Rules {
    Rules { stale_after: TEN_MINUTES, ..Rules::default() }
}

fn t(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().expect("a timestamp").into()
}

fn spec() -> Value {
    json!({
        "source": {"repoURL": "https://git.example.com/saas", "path": "", "targetRevision": "main"},
        "destination": {"name": "dr", "namespace": "saas"},
        "syncPolicy": {"automated": {"prune": true}}
    })
}

fn healthy() -> Value {
    json!({
        "sync": {"status": "Synced", "revision": REVISION},
        "health": {"status": "Healthy"},
        "reconciledAt": "2026-09-20T11:58:10Z",
        "operationState": {"phase": "Succeeded", "finishedAt": "2026-09-12T08:00:09Z"},
        "history": [deployment(7, REVISION, "2026-09-12T08:00:09Z", true)]
    })
}

/// An entry of the history: a sync that lasted an hour until this time.
fn deployment(id: usize, revision: &str, ended: &str, automated: bool) -> Value {
    let begun = ended.parse::<jiff::Timestamp>().expect("a time") - jiff::SignedDuration::from_hours(1);
    let by = if automated { json!({"automated": true}) } else { json!({"username": "admin"}) };
    json!({"id": id, "revision": revision, "deployedAt": ended, "deployStartedAt": begun.to_string(), "initiatedBy": by})
}

fn with(mut status: Value, changes: &Value) -> Value {
    let object = status.as_object_mut().expect("an object");
    object.extend(changes.as_object().expect("an object").clone());
    status
}

#[expect(clippy::unnecessary_wraps, reason = "what was read is a result")]
fn found_of(spec: &Value, status: &Value) -> Found {
    let application = serde_json::from_value(json!({"spec": spec, "status": status})).expect("an Application");
    Ok(Some(Seen::new(application, TEN_MINUTES, Timestamp::from, [t(NOW); 2])))
}

fn found(status: &Value) -> Found {
    found_of(&spec(), status)
}

/// The same as another object.
fn as_object(found: Found, uid: &str) -> Found {
    let mut seen = found?.expect("an application");
    seen.application.metadata.uid = Some(uid.to_owned());
    Ok(Some(seen))
}

/// The same while it is being deleted.
fn being_deleted(found: Found) -> Found {
    let mut seen = found?.expect("an application");
    seen.application.metadata.deletion_timestamp = Some("2026-09-20T11:59:00Z".to_owned());
    Ok(Some(seen))
}

/// What tells whether a copy that is outdated is still the same.
fn token(observation: &Observation) -> &str {
    match &observation.copy {
        Some(CopyState::Outdated { holds, .. }) => holds,
        other => panic!("not outdated: {other:?}"),
    }
}

/// The verdict in short: health, copy, and why each.
fn short(observation: &Observation) -> String {
    let health = match &observation.health {
        Health::Healthy => "healthy".to_owned(),
        Health::Unhealthy(finding) => format!("unhealthy:{}", finding.reason.label),
        Health::Pending(finding) => format!("pending:{}", finding.reason.label),
        Health::NoAnswer(finding) => format!("no_answer:{}", finding.reason.label),
    };
    let time = |at: &Timestamp| at.to_string().get(11..19).unwrap_or_default().to_owned();
    let copy = match observation.copy.as_ref().expect("a copy") {
        CopyState::Vouched { up_to, doubt: None } => format!("vouched@{}", time(up_to)),
        CopyState::Vouched { up_to, doubt: Some(finding) } => {
            format!("doubted@{}:{}", time(up_to), finding.reason.label)
        }
        CopyState::Outdated { up_to, finding, .. } => {
            format!("outdated@{}:{}", up_to.as_ref().map(time).unwrap_or_default(), finding.reason.label)
        }
        CopyState::Lost(finding) => format!("lost:{}", finding.reason.label),
        CopyState::Unknown(finding) => format!("unknown:{}", finding.reason.label),
        CopyState::Withdrawn(finding) => format!("withdrawn:{}", finding.reason.label),
        other => format!("{other:?}"),
    };
    format!("{health} {copy}")
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row a state")]
fn an_application_is_in_sync_as_of_its_last_comparison() {
    let unreachable = json!({
        "sync": {"status": "Unknown", "revision": "main"},
        "reconciledAt": "2026-09-20T11:58:40Z",
        "conditions": [{"type": "ComparisonError", "message": "Failed to load target state"}]
    });
    let out_of_sync = json!({
        "sync": {"status": "OutOfSync", "revision": NEWER},
        "reconciledAt": "2026-09-20T11:58:40Z",
        "resources": [{"group": "apps", "version": "v1", "kind": "StatefulSet", "name": "nats", "status": "OutOfSync"}]
    });
    let manual = json!({"source": {"targetRevision": "main"}, "syncPolicy": {"automated": {"enabled": false}}});
    let sources = json!({"sources": [{"path": "a"}, {"path": "b"}], "syncPolicy": {"automated": {}}});
    let drifted = json!({"sync": {"status": "OutOfSync", "revision": REVISION}});
    let by_hand = |ended_only: bool| {
        let mut entry = deployment(7, REVISION, "2026-09-12T08:00:09Z", false);
        if ended_only {
            entry.as_object_mut().expect("an object").remove("deployStartedAt");
        }
        json!({"history": [entry]})
    };
    let compared = |to: Value| json!({"sync": {"status": "Synced", "revision": REVISION, "comparedTo": to}});
    let health = |status: &str| json!({"health": {"status": status}});
    let table = vec![
        ("healthy, and no commit for a week", found(&healthy()), "healthy vouched@11:58:10"),
        (
            "compared as specified",
            found(&with(
                healthy(),
                &compared(json!({
                "source": {"repoURL": "https://git.example.com/saas", "targetRevision": "main"},
                "destination": {"name": "dr", "server": "https://10.0.0.1", "namespace": "saas"}})),
            )),
            "healthy vouched@11:58:10",
        ),
        (
            "edited since",
            found(&with(
                healthy(),
                &compared(json!({
                "source": {"repoURL": "https://git.example.com/saas", "targetRevision": "v1"},
                "destination": {"name": "dr", "namespace": "saas"}})),
            )),
            "healthy unknown:spec_not_compared",
        ),
        (
            "moved since",
            found(&with(
                healthy(),
                &compared(json!({
                "source": {"repoURL": "https://git.example.com/saas", "targetRevision": "main"},
                "destination": {"name": "other", "namespace": "saas"}})),
            )),
            "healthy unknown:spec_not_compared",
        ),
        (
            "several sources",
            found_of(
                &sources,
                &with(
                    healthy(),
                    &json!({"sync": {"status": "Synced", "revisions": [REVISION, NEWER],
                "comparedTo": {"sources": [{"path": "a"}, {"path": "b"}]}}}),
                ),
            ),
            "healthy vouched@11:58:10",
        ),
        (
            "several sources, one edited",
            found_of(
                &sources,
                &with(
                    healthy(),
                    &json!({"sync": {"status": "Synced", "revisions": [REVISION, NEWER],
                "comparedTo": {"sources": [{"path": "a"}, {"path": "c"}]}}}),
                ),
            ),
            "healthy unknown:spec_not_compared",
        ),
        (
            "the controller is dead",
            found(&with(healthy(), &json!({"reconciledAt": "2026-09-20T02:00:00Z"}))),
            "no_answer:controller_silent doubted@02:00:00:controller_silent",
        ),
        (
            "the controller died out of sync",
            found(&with(with(healthy(), &out_of_sync), &json!({"reconciledAt": "2026-09-20T02:00:00Z"}))),
            "no_answer:controller_silent unknown:controller_silent",
        ),
        (
            "git is unreachable",
            found(&with(healthy(), &unreachable)),
            "no_answer:comparison_error unknown:comparison_error",
        ),
        (
            "an error beside Synced",
            found(&with(healthy(), &json!({"conditions": [{"type": "InvalidSpecError", "message": "no"}]}))),
            "no_answer:comparison_error unknown:comparison_error",
        ),
        (
            "a warning beside Synced",
            found(&with(healthy(), &json!({"conditions": [{"type": "SharedResourceWarning", "message": "hm"}]}))),
            "healthy vouched@11:58:10",
        ),
        (
            "sync is not known",
            found(&with(healthy(), &json!({"sync": {"status": "Unknown"}}))),
            "no_answer:sync_unknown unknown:sync_unknown",
        ),
        // A sync that began at 07:00:09, with a revision that was read up to ten minutes before.
        ("out of sync", found(&with(healthy(), &out_of_sync)), "healthy outdated@06:50:09:out_of_sync"),
        (
            "out of sync, and auto-sync is off by now",
            found_of(&manual, &with(healthy(), &out_of_sync)),
            "healthy outdated@06:50:09:out_of_sync",
        ),
        (
            "out of sync, synced by hand, maybe to something older, and auto-sync is on again",
            found(&with(with(healthy(), &by_hand(false)), &out_of_sync)),
            "healthy outdated@:out_of_sync",
        ),
        (
            "out of sync with what was deployed by hand",
            found(&with(with(healthy(), &by_hand(false)), &drifted)),
            "healthy outdated@06:50:09:out_of_sync",
        ),
        (
            "out of sync, and nobody knows when the deployment began",
            found(&with(with(healthy(), &by_hand(true)), &drifted)),
            "healthy outdated@:out_of_sync",
        ),
        ("never", found(&json!({})), "no_answer:never_reconciled withdrawn:never_reconciled"),
        ("degraded", found(&with(healthy(), &health("Degraded"))), "unhealthy:degraded vouched@11:58:10"),
        ("missing", found(&with(healthy(), &health("Missing"))), "unhealthy:resources_missing vouched@11:58:10"),
        ("progressing", found(&with(healthy(), &health("Progressing"))), "pending:health_uncertain vouched@11:58:10"),
        ("suspended", found(&with(healthy(), &health("Suspended"))), "pending:health_uncertain vouched@11:58:10"),
        (
            "health is not known",
            found(&with(healthy(), &health("Unknown"))),
            "no_answer:health_uncertain vouched@11:58:10",
        ),
        ("gone", Ok(None), "unhealthy:application_missing lost:application_missing"),
        (
            "unreachable",
            Err(Finding::new(&kubernetes::CONNECT_FAILED, "refused")),
            "no_answer:connect_failed unknown:connect_failed",
        ),
    ];
    for (name, dr, expected) in table {
        assert_eq!(short(&verdict(&dr, None, &Memory::default(), &rules(), t(NOW))), expected, "{name}");
    }
}

#[test]
fn what_waits_on_purpose_can_pass_for_healthy() {
    let health = |accepted: &[&'static str], status: &str| {
        let rules = Rules { accepted: accepted.to_vec(), ..rules() };
        let status = with(healthy(), &json!({"health": {"status": status}}));
        short(&verdict(&found(&status), None, &Memory::default(), &rules, t(NOW)))
    };
    assert_eq!(health(&["Suspended"], "Suspended"), "healthy vouched@11:58:10");
    assert_eq!(health(&["Suspended"], "Progressing"), "pending:health_uncertain vouched@11:58:10");
    assert_eq!(health(&["Progressing"], "Progressing"), "healthy vouched@11:58:10");
    assert_eq!(health(&["Progressing", "Suspended"], "Degraded"), "unhealthy:degraded vouched@11:58:10");
    assert_eq!(health(&["Suspended"], ""), "no_answer:health_uncertain vouched@11:58:10");
}

#[test]
fn a_hydrated_source_is_in_sync_while_its_branch_is_rendered() {
    let hydrated = json!({"sourceHydrator": {"drySource": {"repoURL": "https://git.example.com/saas"}},
        "destination": {"name": "dr", "namespace": "saas"}, "syncPolicy": {"automated": {}}});
    let operation = |phase: &str| {
        let operation = json!({"phase": phase, "message": "failed to push", "startedAt": "2026-09-20T11:00:00Z"});
        with(healthy(), &json!({"sourceHydrator": {"currentOperation": operation}}))
    };
    let table = [
        ("rendered", found_of(&hydrated, &operation("Hydrated")), "healthy vouched@11:58:10"),
        ("failed", found_of(&hydrated, &operation("Failed")), "healthy unknown:hydration_failed"),
        ("on its way, again and again", found_of(&hydrated, &operation("Hydrating")), "healthy unknown:not_hydrated"),
        ("never", found_of(&hydrated, &healthy()), "healthy vouched@11:58:10"),
        ("no longer hydrated", found_of(&spec(), &operation("Failed")), "healthy vouched@11:58:10"),
    ];
    for (name, dr, expected) in table {
        assert_eq!(short(&verdict(&dr, None, &Memory::default(), &rules(), t(NOW))), expected, "{name}");
    }
}

#[test]
fn an_application_that_is_being_deleted_proves_nothing() {
    let observation = verdict(&being_deleted(found(&healthy())), None, &Memory::default(), &rules(), t(NOW));
    assert_eq!(short(&observation), "no_answer:being_deleted unknown:being_deleted");
}

#[test]
fn an_application_that_is_made_again_is_another_copy() {
    let identity = |uid: &str| {
        verdict(&as_object(found(&healthy()), uid), None, &Memory::default(), &rules(), t(NOW)).copy_identity
    };
    assert_eq!(identity("6f3c").as_deref(), Some("6f3c"));
    assert_eq!(verdict(&found(&healthy()), None, &Memory::default(), &rules(), t(NOW)).copy_identity, None);
}

#[test]
fn credentials_in_a_message_are_not_repeated() {
    let message = "rpc error: https://user:hunter2@git.example.com/saas\nnot found";
    assert_eq!(crate::clients::http::readable(message), "rpc error: https://git.example.com/saas not found");
}

#[test]
fn no_application_breaks_the_verdict() {
    let operation = json!({"phase": "Running", "message": "x", "finishedAt": "2026-09-12T08:00:09Z",
        "startedAt": "2026-09-12T08:00:00Z", "syncResult": {"revision": REVISION, "revisions": [REVISION]},
        "operation": {"sync": {"revision": REVISION}}});
    let object = |status: Value| json!({"metadata": {"uid": "u", "generation": 4, "annotations": {}}, "spec": spec(), "status": status});
    let corpus = [
        object(healthy()),
        object(with(
            healthy(),
            &json!({"operationState": operation,
        "resources": [{"kind": "Deployment", "status": "OutOfSync", "health": {"status": "Degraded"}}],
        "conditions": [{"type": "SyncError", "message": "x", "lastTransitionTime": "2026-09-12T08:00:09Z"}],
        "sync": {"status": "OutOfSync", "revision": NEWER, "revisions": [NEWER],
            "comparedTo": {"source": spec()["source"], "destination": spec()["destination"]}}}),
        )),
    ];
    let primary = found(&healthy());
    crate::fuzzing::json(&corpus, |object| {
        let Ok(application) = serde_json::from_value(object.clone()) else { return };
        let seen = Seen::new(application, TEN_MINUTES, Timestamp::from, [t(NOW); 2]);
        let _ = readings::of(&seen, TEN_MINUTES, t(NOW));
        let _ = verdict(&Ok(Some(seen)), Some(&primary), &Memory::default(), &rules(), t(NOW));
    });
}
