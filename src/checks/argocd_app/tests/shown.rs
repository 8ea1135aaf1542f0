//! What is shown beside the verdicts.

use super::*;

#[test]
fn an_operation_that_failed_is_a_warning_though_all_is_in_sync() {
    let told = |changes: &Value| {
        let dr = found(&with(healthy(), changes));
        let observation = verdict(&dr, None, &Memory::default(), &rules(), t(NOW));
        let warnings: Vec<_> = observation.warnings.expect("it was looked at");
        let seen = dr.expect("an answer").expect("an application");
        let mut failed = readings::of(&seen, TEN_MINUTES, t(NOW)).into_iter();
        let failed = failed.find(|reading| reading.kind.metric == "dr_argocd_app_last_operation_failed");
        (
            warnings.into_iter().map(|warning| warning.to_string()).collect::<Vec<_>>(),
            failed.map(|reading| reading.value),
        )
    };
    let number = |value| Some(crate::domain::observation::ReadingValue::Number(value));
    let operation = |phase: &str| json!({"operationState": {"phase": phase, "message": "hook failed"}});
    assert_eq!(told(&json!({})), (Vec::new(), number(0.0)));
    assert_eq!(told(&operation("Failed")), (vec!["operation_failed: Failed: hook failed".to_owned()], number(1.0)));
    assert_eq!(told(&operation("Error")), (vec!["operation_failed: Error: hook failed".to_owned()], number(1.0)));
    assert_eq!(told(&operation("Running")), (Vec::new(), None));
    let condition = json!({"conditions": [{"type": "SyncError", "message": "gave up"}]});
    assert_eq!(told(&condition), (vec!["operation_failed: SyncError: gave up".to_owned()], number(0.0)));
    let warning = json!({"conditions": [{"type": "OrphanedResourceWarning", "message": "hm"}]});
    assert_eq!(told(&warning), (Vec::new(), number(0.0)));
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
