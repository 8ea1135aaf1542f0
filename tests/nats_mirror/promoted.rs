//! A mirror that was promoted is its clients' own: what they do to it is no loss, and where they cannot write is no recovery.

use std::time::SystemTime;

use serde_json::json;

use super::overwritten::pair_with;
use super::promotion::writer;
use super::{CHECK, CONTRACT, RPO, SOON, runs_on, seen, watch_pair};
use dr_testkit::let_pass;
use dr_testkit::nats::{Api, MIRROR, ORIGIN};
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;

/// The stream takes no more messages.
async fn seal(api: &Api, stream: &str) {
    let mut config = api.info(stream).await.expect("it answers")["config"].take();
    config["sealed"] = json!(true);
    api.update(config).await.expect("it is sealed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_its_clients_go_on_to_use_has_lost_nothing() {
    let pair = pair_with(json!({"max_msgs_per_subject": 1})).await;
    for key in ["agentese.a", "agentese.b", "agentese.c"] {
        pair.origin.publish_many(key, 1).await;
    }
    pair.mirror.reaches(MIRROR, 3, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    seal(&pair.origin, ORIGIN).await;
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    exporter.until("the mirror is the writer", SOON, |scrape| writer(scrape).as_deref() == Some("mirror")).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    // Its first message is gone, and the origin still holds it.
    pair.mirror.publish_many("agentese.a", 1).await;
    exporter.logs(&["copy_incomplete", "sequence 1 of the origin"], SOON).await;
    let_pass(RPO * 2).await;
    seen(&exporter).await;
    watch.never(since, CONTRACT, "rpo", "breached");
    // The proof of before stays, and grows old.
    for look in watch.since(since) {
        let proof = look.scrape.get("dr_recovery_point_timestamp_seconds", &CHECK);
        assert!(proof.is_some(), "the copy was complete when it was promoted:\n{}", look.scrape);
    }
    exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_was_missing_before_stays_missing() {
    let pair = pair_with(json!({"max_msgs_per_subject": 1})).await;
    pair.mirror.delete(MIRROR).await;
    for key in ["agentese.a", "agentese.b", "agentese.c"] {
        pair.origin.publish_many(key, 1).await;
    }
    let source = json!({"name": ORIGIN, "opt_start_seq": 2, "external": {"api": "$JS.primary.API", "deliver": ""}});
    pair.mirror.create(json!({"name": MIRROR, "num_replicas": 1, "max_msgs_per_subject": 1, "mirror": source})).await;
    pair.mirror.reaches(MIRROR, 3, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    seal(&pair.origin, ORIGIN).await;
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    exporter.until("the mirror is the writer", SOON, |scrape| writer(scrape).as_deref() == Some("mirror")).await;
    pair.mirror.publish_many("agentese.b", 1).await;
    seen(&exporter).await;
    runs_on(&exporter).await;
    watch.always(since, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_with_other_subjects_is_no_writer() {
    let mut pair = pair_with(json!({})).await;
    pair.origin.publish_many("agentese.a", 3).await;
    pair.mirror.reaches(MIRROR, 3, SOON).await;
    let mut exporter = watch_pair(&pair).await;
    let is = |who: &'static str| move |scrape: &Scrape| writer(scrape).as_deref() == Some(who);
    exporter.until("the origin is the writer", SOON, is("origin")).await;
    // As in a planned failover: the origin is fenced first, and that is seen.
    let mut config = pair.origin.info(ORIGIN).await.expect("it answers")["config"].take();
    config["subjects"] = json!(["fenced.agentese"]);
    pair.origin.update(config).await.expect("it is fenced");
    seen(&exporter).await;
    seal(&pair.origin, ORIGIN).await;
    exporter.until("nobody is the writer", SOON, is("none")).await;
    pair.mirror.promote(MIRROR, &["typo.>"]).await.expect("the mirror is promoted");
    seen(&exporter).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    pair.mirror.publish("agentese.a", "x").await.expect_err("nobody takes it");
    runs_on(&exporter).await;
    for look in watch.since(since) {
        assert_eq!(writer(&look.scrape).as_deref(), Some("none"), "{}", look.scrape);
    }
    drop(watch);
    // It is known after a restart too, though the origin is gone.
    pair.primary.kill();
    exporter.kill_and_restart().await;
    exporter.until("nobody is the writer", SOON, is("none")).await;
    exporter.logs(&["no_writer", "accepts messages, but not for the origin"], SOON).await;
    let mut config = pair.mirror.info(MIRROR).await.expect("it answers")["config"].take();
    config["subjects"] = json!(["agentese.>"]);
    pair.mirror.update(config).await.expect("it is mended");
    exporter.until("the mirror is the writer", SOON, is("mirror")).await;
}
