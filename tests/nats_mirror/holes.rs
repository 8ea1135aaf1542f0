//! Messages that are gone from the middle of the mirror, and what hides them.

use std::time::SystemTime;

use serde_json::json;

use super::completeness::{one_server, seconds, watch};
use super::{CHECK, CONTRACT, SOON, runs_on, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{MIRROR, ORIGIN, Pair};
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;

/// The point is the time of the first message that is gone, one of those that were published between these instants.
async fn incomplete_since(exporter: &Exporter, published: (SystemTime, SystemTime)) {
    let scrape = exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let point = scrape.get("dr_recovery_point_timestamp_seconds", &CHECK).expect("the message's time is known");
    let (from, to) = (seconds(published.0) - 0.1, seconds(published.1) + 0.1);
    assert!((from..to).contains(&point), "the point is {point}, the message is of {published:?}:\n{scrape}");
    assert_eq!(scrape.get("dr_copy_lost", &CHECK), Some(0.0), "{scrape}");
    let (watch, since) = (Watch::start(exporter), SystemTime::now());
    runs_on(exporter).await;
    watch.always(since, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_deleted_from_the_mirror() {
    let (server, api) = one_server(json!({}), json!({}), None).await;
    let published = SystemTime::now();
    api.publish_many("agentese.a", 100).await;
    let published = (published, SystemTime::now());
    api.reaches(MIRROR, 100, SOON).await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    api.delete_message(MIRROR, 50).await;
    exporter.logs(&["copy_incomplete", "sequence 50 of the origin", "is gone from"], SOON).await;
    incomplete_since(&exporter, published).await;
    // Another one on the origin makes the numbers equal, and the mirror no more whole.
    api.delete_message(ORIGIN, 60).await;
    incomplete_since(&exporter, published).await;
    // The same on the origin: both hold what the origin holds.
    api.delete_message(ORIGIN, 50).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hole_that_the_origins_own_deletions_would_hide() {
    let (server, api) = one_server(json!({}), json!({}), None).await;
    let published = SystemTime::now();
    api.publish_many("agentese.a", 100).await;
    let published = (published, SystemTime::now());
    api.reaches(MIRROR, 100, SOON).await;
    // Before anybody looks.
    api.delete_message(MIRROR, 50).await;
    for sequence in [20, 30, 40, 60] {
        api.delete_message(ORIGIN, sequence).await;
    }
    let exporter = watch(&server).await;
    incomplete_since(&exporter, published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_on_the_origin_is_no_hole() {
    let (server, api) = one_server(json!({}), json!({}), None).await;
    api.publish_many("agentese.a", 100).await;
    api.reaches(MIRROR, 100, SOON).await;
    for sequence in [20, 30, 40] {
        api.delete_message(ORIGIN, sequence).await;
        api.delete_message(MIRROR, sequence).await;
    }
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    for sequence in [50, 60, 70] {
        api.delete_message(ORIGIN, sequence).await;
    }
    runs_on(&exporter).await;
    watch.always(since, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_a_smaller_history_warns_and_is_incomplete() {
    let (server, api) = one_server(json!({"max_msgs_per_subject": 10}), json!({"max_msgs_per_subject": 1}), None).await;
    let exporter = watch(&server).await;
    let warns = |scrape: &Scrape| scrape.get("dr_check_warning", &CHECK) == Some(1.0);
    exporter.until("it warns at once", SOON, warns).await;
    exporter.logs(&["tighter_limits", "max_msgs_per_subject is 1 on the mirror, 10 on the origin"], SOON).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let first = SystemTime::now();
    // The first message stays on both sides, so that the beginning does not tell.
    api.publish_many("agentese.first", 1).await;
    for _ in 0..10 {
        for key in ["agentese.a", "agentese.b", "agentese.c"] {
            api.publish(key, "x").await.expect("the message is stored");
        }
    }
    let published = (first, SystemTime::now());
    api.reaches(MIRROR, 31, SOON).await;
    incomplete_since(&exporter, published).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_stays_known_over_a_promotion() {
    let pair = Pair::start().await;
    let published = SystemTime::now();
    pair.origin.publish_many("agentese.a", 100).await;
    let published = (published, SystemTime::now());
    pair.mirror.reaches(MIRROR, 100, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    pair.mirror.delete_message(MIRROR, 50).await;
    pair.mirror.delete_message(MIRROR, 70).await;
    exporter.logs(&["copy_incomplete", "sequence 50 of the origin"], SOON).await;
    incomplete_since(&exporter, published).await;
    pair.mirror.promote(MIRROR, &["other.>"]).await.expect("the mirror is promoted");
    pair.origin.delete_message(ORIGIN, 60).await;
    incomplete_since(&exporter, published).await;
    // One hole is none any more, the other still is.
    pair.origin.delete_message(ORIGIN, 50).await;
    runs_on(&exporter).await;
    incomplete_since(&exporter, published).await;
    pair.origin.delete_message(ORIGIN, 70).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_mirror_is_vouched_for() {
    let (server, api) = one_server(json!({}), json!({}), Some("agentese.a")).await;
    for _ in 0..5 {
        api.publish_many("agentese.a", 1).await;
        api.publish_many("agentese.b", 1).await;
    }
    api.reaches(MIRROR, 9, SOON).await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("the status is JSON");
    assert!(status.to_string().contains("vouched"), "holes cannot be told from what is filtered: {status}");
}
