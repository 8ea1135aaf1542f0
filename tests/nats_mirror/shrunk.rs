//! The mirror holds less than it held, on the day on which the origin cannot be asked.

use std::time::SystemTime;

use super::{CHECK, CONTRACT, SOON, as_app, contract, runs_on, start};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{MIRROR, Pair, app};
use dr_testkit::watch::Watch;

/// With a target that is far away: a point that is not withdrawn would be `met` for an hour.
async fn watched(pair: &Pair) -> Exporter {
    let yaml = contract(&as_app(&pair.primary), &as_app(&pair.dr), super::ORIGIN, MIRROR).replace("rpo: 6s", "rpo: 1h");
    let exporter = start(&yaml).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    exporter
}

/// Nothing is proven any more, and nothing is known to be lost either.
async fn withdrawn(exporter: &Exporter) {
    let scrape = exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    assert_eq!(scrape.get("dr_recovery_point_timestamp_seconds", &CHECK), None, "{scrape}");
    let (watch, since) = (Watch::start(exporter), SystemTime::now());
    runs_on(exporter).await;
    watch.always(since, CONTRACT, "rpo", "unproven");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_purged() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 50).await;
    pair.mirror.reaches(MIRROR, 50, SOON).await;
    let mut exporter = watched(&pair).await;
    pair.primary.kill();
    pair.mirror.purge(MIRROR).await;
    exporter.logs(&["copy_shrunk", "it holds 0 messages, and held 50"], SOON).await;
    withdrawn(&exporter).await;
    exporter.kill_and_restart().await;
    withdrawn(&exporter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dr_is_restored_from_a_backup() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 20).await;
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    pair.dr.kill_and_save();
    pair.dr.run();
    pair.mirror = pair.dr.api(app()).await;
    pair.origin.publish_many("agentese.a", 20).await;
    pair.mirror.reaches(MIRROR, 40, std::time::Duration::from_secs(90)).await;
    let mut exporter = watched(&pair).await;
    // While nobody looks, too.
    exporter.kill();
    pair.primary.kill();
    pair.dr.kill_and_restore();
    pair.dr.run();
    pair.mirror = pair.dr.api(app()).await;
    assert_eq!(pair.mirror.last_seq(MIRROR).await, Some(20));
    exporter.restart().await;
    exporter.logs(&["copy_shrunk", "it is at sequence 20, and was at 40"], SOON).await;
    withdrawn(&exporter).await;
    // Once the origin answers, what is missing is copied again.
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    pair.mirror.reaches(MIRROR, 40, std::time::Duration::from_secs(90)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_made_anew_and_stays_empty() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 20).await;
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    let exporter = watched(&pair).await;
    pair.primary.kill();
    pair.mirror.delete(MIRROR).await;
    pair.create_mirror(super::ORIGIN, MIRROR, serde_json::json!({})).await;
    withdrawn(&exporter).await;
}
