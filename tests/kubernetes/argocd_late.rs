//! What Argo CD says late, or not at all.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::argocd::{NEWER, REVISION, application, check, healthy, spec, with};
use super::{Pair, SEEN, SOON, ago, contract, fails, minutes, until};
use dr_testkit::kube::Flavour;
use dr_testkit::watch::Watch;

dr_testkit::both! {
    dr_that_follows_git_first_is_not_behind,
    a_sync_brings_what_git_had_when_it_began,
    a_failure_that_is_not_stated_again_does_not_last,
}

/// A commit that changes nothing of an application leaves no trace in its history.
async fn dr_that_follows_git_first_is_not_behind(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let at = |revision: &str| {
        let comparison = &healthy(Duration::ZERO)["sync"]["comparedTo"];
        with(
            healthy(Duration::ZERO),
            json!({"sync": {"status": "Synced", "revision": revision, "comparedTo": comparison},
                "history": [{"id": 1, "revision": "first", "deployedAt": ago(minutes(60))}]}),
        )
    };
    for cluster in [pair.primary, pair.dr] {
        application(&pair, cluster, "saas", spec(), at(REVISION)).await;
    }
    let check = check(&pair, ", primary: { kubernetes: primary }");
    let exporter = pair.exporter(&contract("saas", "rto: 30m\n    rpo: 6s", &check)).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    let ahead = SystemTime::now();
    application(&pair, pair.dr, "saas", spec(), at(NEWER)).await;
    fails(&exporter, "saas", "revision_differs").await;
    until(ahead + Duration::from_secs(7) + SEEN).await;
    exporter.becomes("saas", "rpo", "unproven", SOON).await;
    watch.never(ahead, "saas", "rpo", "breached");
    application(&pair, pair.primary, "saas", spec(), at(NEWER)).await;
    application(&pair, pair.dr, "saas", spec(), at(NEWER)).await;
    exporter.becomes("saas", "rpo", "met", SOON).await;
    application(&pair, pair.primary, "saas", spec(), at("third")).await;
    exporter.becomes("saas", "rpo", "breached", SOON).await;
}

/// The revision of a sync is fixed when it begins. It may end an hour later, when git has another one.
async fn a_sync_brings_what_git_had_when_it_began(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let sync =
        json!({"status": "OutOfSync", "revision": NEWER, "comparedTo": healthy(Duration::ZERO)["sync"]["comparedTo"]});
    let ended = |begun: Value, by: Value| {
        let history = json!([{"id": 7, "revision": REVISION, "deployedAt": ago(Duration::ZERO), "deployStartedAt": begun, "initiatedBy": by}]);
        with(healthy(Duration::ZERO), json!({"sync": sync, "history": history}))
    };
    let automated = json!({"automated": true});
    let looks = [
        ("long", ended(json!(ago(minutes(60))), automated.clone())),
        ("old", ended(Value::Null, automated.clone())),
        ("manual", ended(json!(ago(Duration::ZERO)), json!({"username": "admin"}))),
        ("short", ended(json!(ago(Duration::ZERO)), automated)),
    ];
    let mut contracts = String::new();
    for (name, status) in looks {
        application(&pair, pair.dr, name, spec(), status).await;
        contracts.push_str(&contract(name, "rto: 30m\n    rpo: 1h", &check(&pair, "").replace("saas", name)));
    }
    let exporter = pair.exporter(&contracts).await;
    for name in ["long", "old", "manual"] {
        fails(&exporter, name, "out_of_sync").await;
        exporter.becomes(name, "rpo", "unproven", SOON).await;
    }
    let scrape = exporter.becomes("short", "rpo", "met", SOON).await;
    assert!(scrape.observed("long", "rpo").is_some_and(|exposure| exposure >= 3600.0), "{scrape}");
    for name in ["old", "manual"] {
        assert_eq!(scrape.observed(name, "rpo"), None, "{name}: {scrape}");
    }
}

/// Whoever reads the same word again and again knows no more than that it was said once.
async fn a_failure_that_is_not_stated_again_does_not_last(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let degraded = |compared| with(healthy(compared), json!({"health": {"status": "Degraded"}}));
    application(&pair, pair.dr, "saas", spec(), degraded(minutes(1))).await;
    let check = check(&pair, ", stale_after: 110s");
    let exporter = pair.exporter(&contract("saas", "rto: 111s\n    at_risk_ratio: 0.05", &check)).await;
    let lasts = |scrape: &super::Scrape, end: &str| {
        scrape.get(&format!("dr_objective_{end}_seconds"), &[("contract", "saas"), ("objective", "rto")])
    };
    let long = |scrape: &super::Scrape| {
        lasts(scrape, "observed").is_none_or(|most| most > 12.0)
            && scrape.get("dr_recovery_in_progress", &[("contract", "saas")]) == Some(1.0)
    };
    fails(&exporter, "saas", "degraded").await;
    let begun = SystemTime::now();
    until(begun + Duration::from_secs(12)).await;
    let scrape = exporter.until("the outage may be long", SOON, long).await;
    assert!(lasts(&scrape, "known").is_some_and(|least| least < 8.0), "nobody said so since:\n{scrape}");
    application(&pair, pair.dr, "saas", spec(), degraded(Duration::ZERO)).await;
    let stated = |scrape: &super::Scrape| lasts(scrape, "known").is_some_and(|least| least > 9.0);
    exporter.until("it is stated again", SOON, stated).await;
}
