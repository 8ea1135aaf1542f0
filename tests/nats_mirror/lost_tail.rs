//! An origin that loses its tail and takes other messages under the same numbers: never a copy again.

use std::time::{Duration, SystemTime};

use super::support::exporter::Exporter;
use super::support::let_pass;
use super::support::nats::{MIRROR, ORIGIN, Pair, app};
use super::support::watch::Watch;
use super::{CHECK, CONTRACT, SEEN, SOON, watch_pair};

/// A mirror may take its time until it asks its origin again.
const AGAIN: Duration = Duration::from_secs(90);

/// A pair of which the origin was kept aside at sequence 10, and is at 20 now, as is its mirror.
async fn pair_with_backup() -> Pair {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    pair.primary.kill_and_save();
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 20, AGAIN).await;
    pair
}

/// The origin comes back at sequence 10.
async fn lose_the_tail(pair: &mut Pair) {
    pair.primary.kill_and_restore();
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    assert_eq!(pair.origin.last_seq(ORIGIN).await, Some(10));
}

/// The origin passes the mirror, and the mirror goes on as if nothing had happened.
async fn pass_the_mirror(pair: &Pair) {
    pair.origin.publish_many("agentese.b", 20).await;
    pair.mirror.reaches(MIRROR, 30, AGAIN).await;
    assert_eq!(pair.origin.last_seq(ORIGIN).await, Some(30));
}

async fn stays_lost(exporter: &Exporter) {
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let (watch, since) = (Watch::start(exporter), SystemTime::now());
    let_pass(SEEN).await;
    watch.always(since, CONTRACT, "rpo", "breached");
    for look in watch.since(since) {
        assert_eq!(look.scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{}", look.scrape);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_forgotten_when_the_origin_has_passed_its_mirror() {
    let mut pair = pair_with_backup().await;
    let mut exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    lose_the_tail(&mut pair).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    exporter.logs(&["not_same_stream", "ahead of its origin"], SOON).await;
    pass_the_mirror(&pair).await;
    stays_lost(&exporter).await;
    // Nor over a restart.
    exporter.kill_and_restart().await;
    stays_lost(&exporter).await;
    // Until there is another mirror.
    pair.mirror.delete(MIRROR).await;
    pair.create_mirror(ORIGIN, MIRROR, serde_json::json!({})).await;
    pair.mirror.reaches(MIRROR, 30, AGAIN).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_forgotten_by_an_exporter_that_is_killed_with_the_origin() {
    let mut pair = pair_with_backup().await;
    let mut exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // It has seen the tail, and dies with the origin. What it showed rests on what is on the disk.
    exporter.kill();
    lose_the_tail(&mut pair).await;
    pass_the_mirror(&pair).await;
    exporter.restart().await;
    let watch = Watch::start(&exporter);
    exporter.logs(&["not_same_stream", "sequence 20 "], SOON).await;
    stays_lost(&exporter).await;
    watch.never(SystemTime::now() - SEEN, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_was_told_and_killed_remembers() {
    let mut pair = pair_with_backup().await;
    let mut exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    lose_the_tail(&mut pair).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    exporter.kill();
    // The witness is overwritten by deletion: nothing but the memory tells.
    pass_the_mirror(&pair).await;
    for sequence in 11..=20 {
        pair.origin.delete_message(ORIGIN, sequence).await;
    }
    exporter.restart().await;
    stays_lost(&exporter).await;
}
