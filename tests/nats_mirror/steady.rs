//! Nothing is wrong: the exposure stays under one interval and a second, whatever the sequences look like.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{CHECK, CONTRACT, SOON, always_calm, never_lost, runs_on, watch_pair};
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, Pair, current, old};
use dr_testkit::publisher::Publisher;
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, skip};

/// How long nothing may happen on the page.
const CALM: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn steady() {
    let pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let first_proof = scrape.get("dr_recovery_point_timestamp_seconds", &CHECK).expect("met has a recovery point");
    let (watch, since) = (Watch::with_copy(&exporter, &pair.mirror, MIRROR), SystemTime::now());
    let_pass(CALM).await;
    always_calm(&watch, since);
    never_lost(&watch, since);
    watch.follows_truth(since, CONTRACT, &publisher, |_| true);
    let last = watch.looks().pop().expect("there were looks").scrape;
    let proof = last.get("dr_recovery_point_timestamp_seconds", &CHECK).expect("met has a recovery point");
    assert!(proof > first_proof + 2.0, "the recovery point moves on");
    let writer = [CHECK[0], CHECK[1], ("writer", "origin")];
    assert_eq!(last.get("dr_nats_writer", &writer), Some(1.0));
    assert_eq!(last.all("dr_nats_writer", &CHECK).len(), 4, "all four writers are present");
    assert_eq!(last.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0));
    let rate = last.get("dr_nats_message_rate", &CHECK).expect("a stream that moves has a rate");
    // 50 a second are to be published; what a busy machine published of them is in the publisher's log.
    let stored = publisher.log();
    let took = stored.last().and_then(|last| last.acked.duration_since(stored.first()?.sent).ok()).expect("a while");
    let truth = stored.len() as f64 / took.as_secs_f64();
    assert!((truth * 0.4..truth * 1.6).contains(&rate), "{truth} messages a second are published, and shown is {rate}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle() {
    let pair = Pair::start().await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    let_pass(Duration::from_secs(2)).await;
    always_calm(&watch, since); // empty: there is nothing to lose
    pair.origin.publish_many("agentese.a", 20).await;
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    let_pass(CALM).await;
    always_calm(&watch, since);
    never_lost(&watch, since);
}

#[tokio::test(flavor = "multi_thread")]
async fn filtered_with_a_tail_that_does_not_match() {
    let pair = Cold::new(&current(), "").await.start().await;
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.create_mirror(ORIGIN, MIRROR, json!({"filter_subject": "agentese.a"})).await;
    filtered(&pair).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_2_9_filtered_with_a_tail_that_does_not_match() {
    let binary = match old() {
        Ok(binary) => binary,
        Err(why) => return skip(why),
    };
    let pair = Cold::new(&binary, "").await.start().await;
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.create_mirror(ORIGIN, MIRROR, json!({"filter_subject": "agentese.a"})).await;
    filtered(&pair).await;
}

/// Some that match and some that do not, then only such that do not.
async fn filtered(pair: &Pair) {
    let both = |number: u64| if number.is_multiple_of(5) { "agentese.a".to_owned() } else { "agentese.b".to_owned() };
    let mut publisher = Publisher::start_with(&pair.origin, 50, 16, both);
    let exporter = watch_pair(pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::with_copy(&exporter, &pair.mirror, MIRROR), SystemTime::now());
    publisher.goes_on(100).await;
    watch.follows_truth(since, CONTRACT, &publisher, |subject| subject == "agentese.a");
    publisher.stop().await;
    let mut tail = Publisher::start_with(&pair.origin, 50, 16, |_| "agentese.b".to_owned());
    let_pass(CALM).await;
    tail.stop().await;
    always_calm(&watch, since);
    never_lost(&watch, since);
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_2_9_steady() {
    let binary = match old() {
        Ok(binary) => binary,
        Err(why) => return skip(why),
    };
    let pair = Cold::new(&binary, "").await.start().await;
    pair.create_streams().await;
    let publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::with_copy(&exporter, &pair.mirror, MIRROR), SystemTime::now());
    let_pass(CALM).await;
    always_calm(&watch, since);
    watch.follows_truth(since, CONTRACT, &publisher, |_| true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_message_is_deleted() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    pair.origin.delete_message(ORIGIN, 10).await;
    runs_on(&exporter).await;
    always_calm(&watch, since);
    // Never mirrored and deleted again: the origin's last sequence is ahead of the mirror's, and nothing can be lost.
    pair.link.cut().await;
    pair.origin.publish_many("agentese.a", 3).await;
    for seq in 11..=13 {
        pair.origin.delete_message(ORIGIN, seq).await;
    }
    let_pass(CALM).await;
    assert_eq!(pair.mirror.last_seq(MIRROR).await, Some(10), "the link is cut");
    always_calm(&watch, since);
    never_lost(&watch, since);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_purged() {
    let pair = Pair::start().await;
    let mut publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    publisher.goes_on(50).await;
    pair.origin.purge(ORIGIN).await;
    publisher.goes_on(100).await;
    publisher.stop().await;
    pair.mirror.reaches(MIRROR, publisher.last(), SOON).await;
    pair.origin.purge(ORIGIN).await;
    assert_eq!(pair.origin.messages(ORIGIN).await, Some(0), "the origin is empty");
    let_pass(CALM).await;
    always_calm(&watch, since);
    never_lost(&watch, since);
}
