//! Streams whose limits roll: what was overwritten while the link was down is missing from the copy all the same.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{CONTRACT, RPO, SOON, runs_on, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::let_pass;
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, Pair, current};
use dr_testkit::publisher::Publisher;
use dr_testkit::watch::Watch;

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
