//! The verdicts, on statuses as Argo CD writes them.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// The instant at which everything is judged.
const NOW: &str = "2026-09-20T12:00:00Z";
const REVISION: &str = "8f3c0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const NEWER: &str = "91aa0de1a2b3c4d5e6f708192a3b4c5d6e7f8091";
const TEN_MINUTES: Duration = Duration::from_secs(600);

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
        "history": [{"id": 7, "revision": REVISION, "deployedAt": "2026-09-12T08:00:09Z"}]
    })
}

fn with(mut status: Value, changes: &Value) -> Value {
    let object = status.as_object_mut().expect("an object");
    object.extend(changes.as_object().expect("an object").clone());
    status
}

#[expect(clippy::unnecessary_wraps, reason = "what was read is a result")]
fn found_of(spec: &Value, status: &Value) -> Found {
    let application = serde_json::from_value(json!({"spec": spec, "status": status})).expect("an Application");
    Ok(Some(Seen::new(application, Timestamp::from, t(NOW))))
}

fn found(status: &Value) -> Found {
    found_of(&spec(), status)
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
    let compared = |to: Value| json!({"sync": {"status": "Synced", "revision": REVISION, "comparedTo": to}});
    let health = |status: &str| json!({"health": {"status": status}});
    let table = [
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
        ("out of sync", found(&with(healthy(), &out_of_sync)), "healthy outdated@08:00:09:out_of_sync"),
        (
            "out of sync, synced by hand, maybe to something older",
            found_of(&manual, &with(healthy(), &out_of_sync)),
            "healthy outdated@:out_of_sync",
        ),
        (
            "out of sync with what was deployed",
            found_of(&manual, &with(healthy(), &json!({"sync": {"status": "OutOfSync", "revision": REVISION}}))),
            "healthy outdated@08:00:09:out_of_sync",
        ),
        ("never", found(&json!({})), "no_answer:never_reconciled unknown:never_reconciled"),
        ("degraded", found(&with(healthy(), &health("Degraded"))), "unhealthy:degraded vouched@11:58:10"),
        ("missing", found(&with(healthy(), &health("Missing"))), "unhealthy:resources_missing vouched@11:58:10"),
        ("progressing", found(&with(healthy(), &health("Progressing"))), "no_answer:health_uncertain vouched@11:58:10"),
        ("suspended", found(&with(healthy(), &health("Suspended"))), "no_answer:health_uncertain vouched@11:58:10"),
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
        assert_eq!(short(&verdict(&dr, None, TEN_MINUTES, t(NOW))), expected, "{name}");
    }
}

#[test]
fn with_a_primary_both_follow_the_same_revision() {
    let newer = json!({"sync": {"status": "Synced", "revision": NEWER}});
    let silent = json!({"reconciledAt": "2026-09-20T02:00:00Z"});
    let behind = json!({"sync": {"status": "OutOfSync", "revision": REVISION}});
    let earlier = json!({"reconciledAt": "2026-09-20T11:55:00Z"});
    let error = Err(Finding::new(&kubernetes::CONNECT_FAILED, "refused"));
    let table = [
        ("the same", found(&healthy()), found(&healthy()), "healthy vouched@11:58:10"),
        ("the earlier word counts", found(&healthy()), found(&with(healthy(), &earlier)), "healthy vouched@11:55:00"),
        ("another", found(&healthy()), found(&with(healthy(), &newer)), "healthy outdated@:revision_differs"),
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
    ];
    for (name, dr, primary, expected) in table {
        assert_eq!(short(&verdict(&dr, Some(&primary), TEN_MINUTES, t(NOW))), expected, "{name}");
    }
}

#[test]
fn resources_are_counted_by_kind_and_hostile_kinds_are_not_labels() {
    let resources = json!({"resources": [
        {"kind": "NetworkPolicy", "status": "OutOfSync"},
        {"kind": "NetworkPolicy", "status": "Synced"},
        {"kind": "Role", "status": "Synced"},
        {"kind": "evil\"}\n", "status": "OutOfSync"},
        {"status": "OutOfSync"}
    ]});
    let dr = found(&with(healthy(), &resources));
    let seen = dr.as_ref().ok().and_then(Option::as_ref).expect("an application");
    let counts: Vec<_> = readings::of(seen, TEN_MINUTES, t(NOW))
        .into_iter()
        .filter_map(|reading| Some((reading.label?.into_owned(), reading.value)))
        .collect();
    let number = crate::domain::observation::ReadingValue::Number;
    assert_eq!(
        counts,
        [
            ("NetworkPolicy".to_owned(), number(1.0)),
            ("Role".to_owned(), number(0.0)),
            ("other".to_owned(), number(2.0))
        ]
    );
}

#[test]
fn credentials_in_a_message_are_not_repeated() {
    let message = "rpc error: https://user:hunter2@git.example.com/saas\nnot found";
    assert_eq!(crate::clients::http::readable(message), "rpc error: https://git.example.com/saas not found");
}
