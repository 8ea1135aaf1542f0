//! External Secrets.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::{Pair, SEEN, SOON, Status, contract, fails, labels, minutes, until};
use dr_testkit::kube::Flavour;
use dr_testkit::let_pass;
use dr_testkit::proxy::Proxy;
use dr_testkit::watch::Watch;

const HASH: &str = "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2";
const ROTATED: &str = "0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5";

dr_testkit::both! {
    a_healthy_pair,
    a_rotation_that_reaches_dr_late,
    drift_beyond_the_targets,
    dr_that_is_rotated_first_is_not_behind,
    the_primary_cluster_is_lost,
    a_dead_controller_is_never_met_beyond_the_bound,
    a_provider_outage,
    what_is_gone_is_lost,
    every_state_is_told_apart,
    a_malformed_object_hides_no_other,
    a_restart_brings_no_proof_forward_and_none_back,
    a_rotation_while_nobody_looked_is_a_breach_once_it_was_watched,
    a_dead_controller_hides_no_difference,
    a_secret_that_is_edited_by_hand_is_not_met,
    two_connections_to_one_cluster_prove_nothing,
    what_was_made_again_keeps_no_proof,
}

fn check(pair: &Pair, name: &str, more: &str) -> String {
    let namespace = &pair.namespace;
    format!("external_secret: {{ dr: dr, namespace: {namespace}, name: {name}{more} }}")
}

fn pair_of(pair: &Pair, targets: &str) -> String {
    contract("nats", targets, &check(pair, "nats", ", primary: primary"))
}

async fn equal(pair: &Pair) {
    for cluster in [pair.primary, pair.dr] {
        pair.secret(cluster, "nats", HASH, Status::ready(minutes(20))).await;
    }
}

async fn a_healthy_pair(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let begun = Instant::now();
    equal(&pair).await;
    let started = Instant::now();
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 1h")).await;
    let scrape = exporter.becomes("nats", "rpo", "met", SOON).await;
    assert_eq!(scrape.get("dr_secret_in_sync", &labels("nats")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_check_healthy", &[("contract", "nats")]), Some(1.0), "{scrape}");
    let most = started.elapsed().as_secs_f64() + 2.0;
    assert!(scrape.observed("nats", "rpo").is_some_and(|exposure| exposure < most), "{most} s: {scrape}");
    for cluster in ["primary", "dr"] {
        let place = [("contract", "nats"), ("cluster", cluster)];
        assert_eq!(scrape.get("dr_external_secret_ready", &place), Some(1.0), "{scrape}");
        let refreshed = scrape.get("dr_external_secret_refresh_timestamp_seconds", &place).expect("a refresh time");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs_f64();
        let most = 1202.0 + begun.elapsed().as_secs_f64();
        assert!((1198.0..most).contains(&(now - refreshed)), "refreshed {} s ago", now - refreshed);
    }
    assert_eq!(scrape.status("nats", "rto"), "unproven", "nothing was ever recovered");
    // The hash appears nowhere.
    for path in ["/metrics", "/", "/api/v1/status"] {
        let text = exporter.get(path).await.text().await.expect("a text");
        assert!(!text.contains(&HASH[..12]), "{path} tells the hash");
    }
    assert!(!exporter.log().contains(&HASH[..12]), "the log tells the hash");
}

/// The rights that reading the hash needs would give the data, too.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_asked_for_their_metadata_only() {
    let pair = Pair::new(Flavour::Fake).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 1h")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    for (cluster, user) in [(pair.primary, &pair.at_primary), (pair.dr, &pair.at_dr)] {
        let calls = cluster.calls(user).into_iter().filter(|call| call.resource == "secrets");
        let asked: Vec<_> = calls.map(|call| (call.verb, call.name, call.metadata_only)).collect();
        assert!(!asked.is_empty(), "the hash was read");
        for call in asked {
            assert_eq!(call, ("get".to_owned(), "nats".to_owned(), Some(true)));
        }
    }
}

async fn a_rotation_that_reaches_dr_late(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 1h")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let me = [("contract", "nats")];

    pair.secret(pair.primary, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    let rotated = SystemTime::now();
    let scrape = fails(&exporter, "nats", "pending").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &me), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_secret_in_sync", &labels("nats")), Some(0.0), "{scrape}");
    assert!(scrape.get("dr_secret_differs_since_timestamp_seconds", &labels("nats")).is_some(), "{scrape}");
    assert_eq!(scrape.status("nats", "rpo"), "met", "the last equality is young:\n{scrape}");
    // A recovery that takes a while.
    let_pass(Duration::from_secs(2)).await;
    pair.secret(pair.dr, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    let truth = rotated.elapsed().expect("time goes on").as_secs_f64();
    let stopped = |scrape: &super::Scrape| scrape.get("dr_recovery_in_progress", &me) == Some(0.0);
    let scrape = exporter.until("the clock stops", SOON, stopped).await;
    let met = [("contract", "nats"), ("result", "met"), ("mode", "real")];
    assert_eq!(scrape.get("dr_recoveries_total", &met), Some(1.0), "{scrape}");
    let took = scrape.get("dr_recovery_last_seconds", &me).expect("a recovery time");
    assert!((took - truth).abs() < SEEN.as_secs_f64(), "took {took} s, in truth {truth} s");
    assert_eq!(scrape.status("nats", "rto"), "met", "a rotation proves the RTO:\n{scrape}");
    assert_eq!(scrape.get("dr_secret_in_sync", &labels("nats")), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_secret_differs_since_timestamp_seconds", &labels("nats")), None, "{scrape}");
}

async fn drift_beyond_the_targets(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 4s\n    rpo: 4s")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    pair.secret(pair.primary, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    exporter.becomes("nats", "rto", "breached", SOON).await;
    let scrape = exporter.becomes("nats", "rpo", "breached", SOON).await;
    assert_eq!(scrape.get("dr_copy_lost", &labels("nats")), Some(0.0), "it is old, not lost:\n{scrape}");
}

/// A difference does not tell which of the two is older.
async fn dr_that_is_rotated_first_is_not_behind(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 4s")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    let rotated = SystemTime::now();
    pair.secret(pair.dr, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    let scrape = fails(&exporter, "nats", "dr_changed").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(1.0), "they differ:\n{scrape}");
    until(rotated + Duration::from_secs(5) + SEEN).await;
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    assert_eq!(
        scrape.get("dr_objective_known_seconds", &[("contract", "nats"), ("objective", "rpo")]),
        Some(0.0),
        "{scrape}"
    );
    watch.never(rotated, "nats", "rpo", "breached");
    watch.never(rotated + SEEN, "nats", "rpo", "met");
    pair.secret(pair.primary, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    // From then on, the primary is first, and DR lacks what it has.
    pair.secret(pair.primary, "nats", HASH, Status::ready(Duration::ZERO)).await;
    exporter.becomes("nats", "rpo", "breached", SOON).await;
}

async fn the_primary_cluster_is_lost(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let mut link = Proxy::to(pair.primary.address()).await;
    let token = format!("token: {}", pair.at_primary.token);
    let primary = pair.primary.kubeconfig(&token, Some(link.address()));
    let dr = pair.dr.kubeconfig_of(&pair.at_dr);
    let exporter = pair.exporter_with(&pair_of(&pair, "rto: 30m\n    rpo: 6s"), &primary, &dr).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    let before = exporter.scrape().await;
    link.cut().await;
    let cut = SystemTime::now();
    fails(&exporter, "nats", "connect_failed").await;
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    let point = |scrape: &super::Scrape| scrape.get("dr_recovery_point_timestamp_seconds", &labels("nats"));
    let kept = point(&scrape).expect("what was proven stays proven");
    assert!(kept >= point(&before).expect("it was proven"), "the point went back");
    until(cut + Duration::from_secs(7) + SEEN).await;
    watch.never(cut, "nats", "rpo", "breached");
    watch.never(cut + Duration::from_secs(6) + SEEN, "nats", "rpo", "met");
    watch.never(cut, "nats", "rto", "breached");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "no clock runs:\n{scrape}");
    let unknown = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "nats")]).is_none();
    exporter.until("health is no longer known", SOON, unknown).await;
    link.heal().await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
}

async fn a_dead_controller_is_never_met_beyond_the_bound(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    // Ready for ever, and last refreshed an hour and ten minutes ago, but for the time that a busy machine takes for a first look.
    let left = Duration::from_secs(30);
    pair.secret(pair.dr, "nats", HASH, Status::ready(minutes(70) - left)).await;
    let dead = SystemTime::now();
    let alone = contract("alone", "rpo: 2h", &check(&pair, "nats", ""));
    let exporter = pair.exporter(&format!("{}{alone}", pair_of(&pair, "rto: 30m\n    rpo: 4s"))).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    fails(&exporter, "nats", "stale").await;
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    assert_eq!(scrape.get("dr_external_secret_ready", &[("contract", "nats"), ("cluster", "dr")]), Some(1.0));
    let unknown = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "nats")]).is_none();
    exporter.until("health is no longer known", SOON, unknown).await;
    until(dead + left + Duration::from_secs(5) + SEEN).await;
    watch.never(dead + left + Duration::from_secs(4) + SEEN, "nats", "rpo", "met");
    watch.never(dead, "nats", "rpo", "breached");
    let exposure = scrape.observed("alone", "rpo").expect("DR's own word stands and ages");
    assert!(exposure > 4190.0, "last refreshed {exposure} s ago");
}

async fn a_provider_outage(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 5s\n    rpo: 1h")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    pair.external_secret(pair.dr, "nats", Status::failing()).await;
    let scrape = fails(&exporter, "nats", "not_ready").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(1.0), "{scrape}");
    assert_eq!(scrape.status("nats", "rpo"), "met", "what was proven is young:\n{scrape}");
    exporter.logs(&["not_ready", "could not get secret data from provider"], SOON).await;
    exporter.becomes("nats", "rto", "breached", SOON).await;
    pair.external_secret(pair.dr, "nats", Status::ready(Duration::ZERO)).await;
    let missed = [("contract", "nats"), ("result", "missed"), ("mode", "real")];
    exporter.until("it recovered", SOON, |scrape| scrape.get("dr_recoveries_total", &missed) == Some(1.0)).await;
}

async fn what_is_gone_is_lost(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 1h")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let lost = |scrape: &super::Scrape| scrape.get("dr_copy_lost", &labels("nats")) == Some(1.0);

    pair.dr.delete("Secret", &pair.namespace, "nats").await;
    fails(&exporter, "nats", "secret_missing").await;
    let scrape = exporter.until("the secret is lost", SOON, lost).await;
    assert_eq!(scrape.status("nats", "rpo"), "breached", "{scrape}");
    assert_eq!(scrape.get("dr_recovery_point_timestamp_seconds", &labels("nats")), None, "{scrape}");
    pair.secret(pair.dr, "nats", HASH, Status::ready(Duration::ZERO)).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;

    pair.dr.delete("ExternalSecret", &pair.namespace, "nats").await;
    fails(&exporter, "nats", "external_secret_missing").await;
    exporter.until("the object is lost", SOON, lost).await;
    // What the primary gives up as well is not missing in DR.
    pair.primary.delete("ExternalSecret", &pair.namespace, "nats").await;
    fails(&exporter, "nats", "primary_missing").await;
    exporter.becomes("nats", "rpo", "unproven", SOON).await;
}

async fn every_state_is_told_apart(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let begun = Instant::now();
    let with_spec = |spec| Status { spec, ..Status::ready(minutes(20)) };
    let states = [
        ("healthy", Status::ready(minutes(20)), ""),
        ("stale", Status::ready(minutes(600)), "stale"),
        ("failing", Status::failing(), "not_ready"),
        ("once", with_spec(json!({"refreshPolicy": "CreatedOnce"})), "no_freshness"),
        ("zero", with_spec(json!({"refreshInterval": "0"})), "no_freshness"),
        ("immutable", with_spec(json!({"refreshInterval": "1h", "target": {"immutable": true}})), "no_freshness"),
        (
            "retained",
            Status { message: "secret retained due to DeletionPolicy=Retain", ..Status::ready(minutes(20)) },
            "source_gone",
        ),
        ("deleted", Status { reason: "SecretDeleted", ..Status::ready(minutes(20)) }, "secret_missing"),
    ];
    let mut contracts = String::new();
    for (name, status, _) in &states {
        pair.external_secret(pair.dr, name, status.clone()).await;
        contracts.push_str(&contract(name, "rto: 30m\n    rpo: 1h", &check(&pair, name, "")));
    }
    // Created, and never looked at by any controller.
    pair.dr
        .apply(json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret", "spec": {},
            "metadata": {"namespace": pair.namespace, "name": "never"}}))
        .await;
    contracts.push_str(&contract("never", "rto: 30m\n    rpo: 1h", &check(&pair, "never", "")));
    // Compared by hash: another algorithm, and none.
    for (name, hash) in [("older", Some(&HASH[..32])), ("bare", None)] {
        pair.secret(pair.primary, name, HASH, Status::ready(minutes(20))).await;
        pair.secret(pair.dr, name, hash.unwrap_or_default(), Status::ready(minutes(20))).await;
        contracts.push_str(&contract(name, "rto: 30m\n    rpo: 1h", &check(&pair, name, ", primary: primary")));
    }
    let exporter = pair.exporter(&contracts).await;
    for (name, _, reason) in &states {
        if !reason.is_empty() {
            fails(&exporter, name, reason).await;
        }
    }
    fails(&exporter, "never", "not_ready").await;
    fails(&exporter, "older", "hash_algorithms_differ").await;
    fails(&exporter, "bare", "hash_algorithms_differ").await;
    let scrape = exporter.becomes("healthy", "rpo", "met", SOON).await;
    let exposure = scrape.observed("healthy", "rpo").expect("an exposure");
    let most = 1202.0 + begun.elapsed().as_secs_f64();
    assert!((1198.0..most).contains(&exposure), "refreshed 20 minutes ago, and shown is {exposure} s");
    for (name, _, reason) in &states {
        if !reason.is_empty() {
            assert_ne!(scrape.status(name, "rpo"), "met", "{name}\n{scrape}");
        }
    }
}

async fn a_malformed_object_hides_no_other(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    pair.dr
        .apply(json!({"apiVersion": "external-secrets.io/v1", "kind": "ExternalSecret",
            "metadata": {"namespace": pair.namespace, "name": "broken"},
            "spec": {"refreshInterval": {"a": ["map"]}}, "status": {"conditions": "none", "refreshTime": 7}}))
        .await;
    let broken = contract("broken", "rto: 30m\n    rpo: 1h", &check(&pair, "broken", ""));
    let exporter = pair.exporter(&format!("{}{broken}", pair_of(&pair, "rto: 30m\n    rpo: 1h"))).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let scrape = fails(&exporter, "broken", "bad_answer").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "broken")]), Some(0.0), "{scrape}");
    exporter.logs(&["bad_answer", "broken is malformed"], SOON).await;
}

async fn a_restart_brings_no_proof_forward_and_none_back(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let mut link = Proxy::to(pair.dr.address()).await;
    let primary = pair.primary.kubeconfig_of(&pair.at_primary);
    let dr = pair.dr.kubeconfig(&format!("token: {}", pair.at_dr.token), Some(link.address()));
    let mut exporter = pair.exporter_with(&pair_of(&pair, "rto: 30m\n    rpo: 10s"), &primary, &dr).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let point = |scrape: &super::Scrape| scrape.get("dr_recovery_point_timestamp_seconds", &labels("nats"));
    exporter.runs_on("nats", 2, SOON).await;
    let before = point(&exporter.scrape().await).expect("it is proven");

    exporter.kill();
    link.cut().await;
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    let after = point(&scrape).expect("what was proven stays proven");
    assert!(after <= before && before - after < 15.0, "proven up to {before}, and after the restart up to {after}");
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    assert_eq!(point(&scrape), Some(after), "it ages, and does not move:\n{scrape}");
    watch.never(since, "nats", "rpo", "breached");

    // Healed, then lost: what was withdrawn stays withdrawn.
    link.heal().await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    pair.dr.delete("Secret", &pair.namespace, "nats").await;
    exporter.becomes("nats", "rpo", "breached", SOON).await;
    exporter.kill();
    link.cut().await;
    exporter.restart().await;
    let scrape = exporter.scrape().await;
    assert_eq!(point(&scrape), None, "a proof that was withdrawn came back:\n{scrape}");
    fails(&exporter, "nats", "connect_failed").await;
    assert_eq!(point(&exporter.scrape().await), None);
}

/// A change bears no time of its own: it counts from the first look that shows it.
async fn a_rotation_while_nobody_looked_is_a_breach_once_it_was_watched(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let rpo = Duration::from_secs(6);
    let mut exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 6s")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    exporter.kill();
    let_pass(rpo + SEEN).await;
    pair.secret(pair.primary, "nats", ROTATED, Status::ready(Duration::ZERO)).await;
    let returned = SystemTime::now();
    exporter.restart().await;
    let watch = Watch::start(&exporter);
    exporter.becomes("nats", "rpo", "unproven", SOON).await;
    exporter.becomes("nats", "rpo", "breached", SOON).await;
    let watched = returned.elapsed().expect("time goes on");
    assert!(watched >= rpo, "breached after {watched:?} of looking");
    watch.never(returned, "nats", "rpo", "met");
}

async fn a_dead_controller_hides_no_difference(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    // DR was last refreshed ten hours ago, and the provider fails the primary's next refresh.
    pair.secret(pair.dr, "nats", HASH, Status::ready(minutes(600))).await;
    pair.secret(pair.primary, "nats", ROTATED, Status::failing()).await;
    let since = SystemTime::now();
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 5s")).await;
    let scrape = fails(&exporter, "nats", "drift").await;
    assert_eq!(scrape.get("dr_secret_in_sync", &labels("nats")), Some(0.0), "{scrape}");
    exporter.becomes("nats", "rpo", "breached", SOON).await;
    assert!(since.elapsed().expect("time goes on") >= Duration::from_secs(5), "it was watched");
    exporter.logs(&["drift", "DR: last refreshed", "primary: could not get"], SOON).await;
    // Equal and stale is no difference.
    pair.secret(pair.primary, "nats", HASH, Status::ready(minutes(20))).await;
    fails(&exporter, "nats", "stale").await;
    exporter.becomes("nats", "rpo", "unproven", SOON).await;
}

async fn a_secret_that_is_edited_by_hand_is_not_met(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    let once = || Status { spec: json!({"refreshPolicy": "CreatedOnce"}), ..Status::ready(minutes(20)) };
    for cluster in [pair.primary, pair.dr] {
        pair.secret(cluster, "nats", HASH, once()).await;
    }
    let exporter = pair.exporter(&pair_of(&pair, "rto: 30m\n    rpo: 5s")).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    // The annotation stays what it was.
    pair.secret_of("kubectl-edit", pair.dr, "nats", HASH, "hunter2").await;
    let since = SystemTime::now();
    let watch = Watch::start(&exporter);
    let scrape = fails(&exporter, "nats", "foreign_writer").await;
    assert_eq!(scrape.get("dr_secret_in_sync", &labels("nats")), None, "nobody knows:\n{scrape}");
    exporter.becomes("nats", "rpo", "unproven", SOON).await;
    exporter.logs(&["foreign_writer", "kubectl-edit"], SOON).await;
    until(since + Duration::from_secs(6) + SEEN).await;
    watch.never(since, "nats", "rpo", "breached");
    watch.never(since + Duration::from_secs(5) + SEEN, "nats", "rpo", "met");
    // Put right, and refreshed.
    pair.secret(pair.dr, "nats", HASH, Status { refreshed: Duration::ZERO, ..once() }).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
}

async fn two_connections_to_one_cluster_prove_nothing(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let dr = pair.dr.kubeconfig_of(&pair.at_dr);
    let since = SystemTime::now();
    let exporter = pair.exporter_with(&pair_of(&pair, "rto: 30m\n    rpo: 1h"), &dr, &dr).await;
    let watch = Watch::start(&exporter);
    fails(&exporter, "nats", "same_object").await;
    // What is gone on both sides at once is lost on neither.
    pair.dr.delete("Secret", &pair.namespace, "nats").await;
    exporter.runs_on("nats", 2, SOON).await;
    pair.dr.delete("ExternalSecret", &pair.namespace, "nats").await;
    fails(&exporter, "nats", "primary_missing").await;
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "{scrape}");
    watch.never(since, "nats", "rpo", "met");
    watch.never(since, "nats", "rpo", "breached");
}

async fn what_was_made_again_keeps_no_proof(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    equal(&pair).await;
    let mut link = Proxy::to(pair.primary.address()).await;
    let primary = pair.primary.kubeconfig(&format!("token: {}", pair.at_primary.token), Some(link.address()));
    let dr = pair.dr.kubeconfig_of(&pair.at_dr);
    let mut exporter = pair.exporter_with(&pair_of(&pair, "rto: 30m\n    rpo: 1h"), &primary, &dr).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let point = |scrape: &super::Scrape| scrape.get("dr_recovery_point_timestamp_seconds", &labels("nats"));
    exporter.kill();
    link.cut().await;
    exporter.restart().await;
    fails(&exporter, "nats", "connect_failed").await;
    assert!(point(&exporter.scrape().await).is_some(), "what was proven stays proven");
    // Between two looks.
    exporter.kill();
    pair.dr.delete("Secret", &pair.namespace, "nats").await;
    pair.secret(pair.dr, "nats", HASH, Status::ready(Duration::ZERO)).await;
    exporter.restart().await;
    let scrape = exporter.becomes("nats", "rpo", "unproven", SOON).await;
    assert_eq!(point(&scrape), None, "the secret is another one:\n{scrape}");
}
