//! Streams whose limits roll: what was overwritten while the link was down is missing from the copy all the same.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{CHECK, CONTRACT, RPO, SOON, runs_on, seen, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{Api, Cold, MIRROR, ORIGIN, Pair, current};
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, wait_until};

/// A pair of which both sides have these limits.
pub async fn pair_with(limits: Value) -> Pair {
    let pair = Cold::new(&current(), "").await.start().await;
    let mut origin = limits.clone();
    origin["name"] = json!(ORIGIN);
    origin["subjects"] = json!(["agentese.>"]);
    pair.origin.create(origin).await;
    pair.create_mirror(ORIGIN, MIRROR, limits).await;
    pair
}

/// `keys` keys are written ten times a second, and the link is cut for twice the target.
async fn cut_while_values_are_replaced(limits: Value, keys: u64) {
    let mut pair = pair_with(limits).await;
    let publisher = Publisher::start_with(&pair.origin, 10, 16, move |number| format!("agentese.{}", number % keys));
    publisher.goes_on(10).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::with_copy(&exporter, &pair.mirror, MIRROR);
    pair.link.cut().await;
    let cut = SystemTime::now();
    let_pass(RPO * 2).await;
    // The copy is the state of so long ago.
    let scrape = exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let observed = scrape.observed(CONTRACT, "rpo").expect("there is a figure");
    assert!(observed + 1.0 >= (RPO * 2).as_secs_f64(), "{observed} s is less than since the cut:\n{scrape}");
    watch.no_false_green(cut, CONTRACT, &publisher, RPO, |_| true);
    pair.link.heal().await;
    exporter.becomes(CONTRACT, "rpo", "met", Duration::from_secs(90)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_a_bucket() {
    cut_while_values_are_replaced(json!({"max_msgs_per_subject": 1}), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_of_messages() {
    cut_while_values_are_replaced(json!({"max_msgs": 5}), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_grow_old() {
    cut_while_values_are_replaced(json!({"max_age": 2_000_000_000_u64}), 1).await;
}

async fn calm(exporter: &Exporter, since: SystemTime, watch: &Watch) {
    let scrape = exporter.scrape().await;
    println!("{scrape}");
    watch.never(since, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_on_purpose_is_missed_by_nobody() {
    let mut pair = pair_with(json!({"max_msgs_per_subject": 1})).await;
    pair.origin.publish_many("agentese.a", 1).await;
    pair.mirror.reaches(MIRROR, 1, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    pair.link.cut().await;
    pair.origin.publish_many("agentese.b", 1).await;
    runs_on(&exporter).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    // The value that was missing is purged, and a young one comes.
    pair.origin.purge(ORIGIN).await;
    let_pass(RPO).await;
    pair.origin.publish_many("agentese.c", 1).await;
    let_pass(Duration::from_secs(3)).await;
    calm(&exporter, since, &watch).await;
}

/// Deletes a key as the clients of key-value buckets do: by a marker that replaces its value and ends by itself.
async fn delete_key(api: &Api, subject: &str, ends_after: &str) {
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [("KV-Operation", "PURGE"), ("Nats-Rollup", "sub"), ("Nats-TTL", ends_after)] {
        headers.insert(name, value);
    }
    let request = async_nats::Request::new().headers(headers).payload("".into()).timeout(Some(SOON));
    let ack = api.client.send_request(subject.to_owned(), request).await.expect("it is acknowledged");
    assert!(!String::from_utf8_lossy(&ack.payload).contains("error"), "{ack:?}");
}

async fn holds(api: &Api, stream: &str, messages: u64) {
    let held = async || api.messages(stream).await.filter(|held| *held == messages);
    wait_until(&format!("{stream} holds {messages}"), SOON, held).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_ended_before_it_was_copied_leaves_an_old_value() {
    let limits = json!({"max_msgs_per_subject": 1, "allow_rollup_hdrs": true, "allow_msg_ttl": true});
    let mut pair = pair_with(limits).await;
    for key in ["agentese.alice", "agentese.bob", "agentese.carol"] {
        pair.origin.publish_many(key, 1).await;
    }
    pair.mirror.reaches(MIRROR, 3, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // One that is copied in time leaves nothing.
    let since = seen(&exporter).await;
    let watch = Watch::start(&exporter);
    delete_key(&pair.origin, "agentese.carol", "2s").await;
    pair.mirror.reaches(MIRROR, 4, SOON).await;
    for (api, stream) in [(&pair.origin, ORIGIN), (&pair.mirror, MIRROR)] {
        holds(api, stream, 2).await;
    }
    seen(&exporter).await;
    watch.always(since, CONTRACT, "rpo", "met");

    pair.link.cut().await;
    delete_key(&pair.origin, "agentese.bob", "4s").await;
    let behind = |scrape: &Scrape| scrape.get("dr_nats_mirror_lag_messages", &CHECK) == Some(1.0);
    exporter.until("the marker is missing", SOON, behind).await;
    holds(&pair.origin, ORIGIN, 1).await;
    let ended = seen(&exporter).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    exporter.logs(&["copy_incomplete", "sequence 5 of the origin", "has ended since"], SOON).await;
    let breached = SystemTime::now();
    // Nor does it come later.
    pair.link.heal().await;
    pair.origin.publish_many("agentese.alice", 1).await;
    pair.mirror.reaches(MIRROR, 6, Duration::from_secs(90)).await;
    runs_on(&exporter).await;
    watch.never(ended, CONTRACT, "rpo", "met");
    watch.always(breached, CONTRACT, "rpo", "breached");
    // A new value replaces the old one.
    pair.origin.publish_many("agentese.bob", 1).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}
