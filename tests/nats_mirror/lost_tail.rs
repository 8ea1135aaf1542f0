//! An origin that loses its tail and takes other messages under the same numbers: never a copy again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::majority::watched;
use super::{CHECK, CONTRACT, SOON, as_app, contract, runs_on, watch_pair};
use dr_testkit::cluster::Region;
use dr_testkit::exporter::{Exporter, client};
use dr_testkit::nats::{Api, Cold, MIRROR, ORIGIN, Pair, Server, app, current, old};
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;
use dr_testkit::{skip, wait_until};

/// A mirror may take its time until it asks its origin again.
const AGAIN: Duration = Duration::from_secs(90);

/// A pair at sequence 10, of which the origin was kept aside there, and an exporter that has seen it so.
async fn pair_with_backup(binary: &Path) -> (Pair, Exporter) {
    let mut pair = Cold::new(binary, "").await.start().await;
    pair.create_streams().await;
    pair.origin.publish_many("agentese.a", 9).await;
    pair.mirror.reaches(MIRROR, 9, SOON).await;
    pair.primary.kill_and_save();
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    // The mirror has found its origin again.
    pair.origin.publish_many("agentese.a", 1).await;
    pair.mirror.reaches(MIRROR, 10, AGAIN).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    (pair, exporter)
}

/// The tail, which will be lost.
async fn publish_the_tail(pair: &Pair) {
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 20, SOON).await;
}

/// The exporter has seen the tail on both sides.
async fn sees_the_tail(exporter: &Exporter) {
    let both = |scrape: &Scrape| {
        let last = |metric| scrape.get(metric, &CHECK);
        last("dr_nats_origin_last_sequence") == Some(20.0) && last("dr_nats_mirror_last_sequence") == Some(20.0)
    };
    exporter.until("it has seen the tail", SOON, both).await;
}

/// The origin comes back at sequence 9.
async fn lose_the_tail(pair: &mut Pair) {
    pair.primary.kill_and_restore();
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    assert_eq!(pair.origin.last_seq(ORIGIN).await, Some(9));
}

/// The origin passes the mirror, and the mirror goes on as if nothing had happened.
async fn pass_the_mirror(pair: &Pair) {
    pair.origin.publish_many("agentese.b", 21).await;
    pair.mirror.reaches(MIRROR, 30, AGAIN).await;
    assert_eq!(pair.origin.last_seq(ORIGIN).await, Some(30));
}

async fn stays_lost(exporter: &Exporter) {
    // After a restart, the evidence of the last process may grow stale before this one has looked.
    let looked = |scrape: &Scrape| {
        let outcomes = ["healthy", "unhealthy"].map(|outcome| [CHECK[0], CHECK[1], ("outcome", outcome)]);
        outcomes.iter().any(|labels| scrape.get("dr_check_runs_total", labels) >= Some(1.0))
    };
    exporter.until("this process has measured", SOON, looked).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let (watch, since) = (Watch::start(exporter), SystemTime::now());
    runs_on(exporter).await;
    watch.always(since, CONTRACT, "rpo", "breached");
    for look in watch.since(since) {
        assert_eq!(look.scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{}", look.scrape);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_forgotten_when_the_origin_has_passed_its_mirror() {
    not_forgotten(&current()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_on_the_version_before() {
    match old() {
        Ok(binary) => not_forgotten(&binary).await,
        Err(why) => skip(why),
    }
}

async fn not_forgotten(binary: &Path) {
    let mut pair = Cold::new(binary, "").await.start().await;
    pair.create_streams().await;
    pair.origin.publish_many("agentese.a", 9).await;
    pair.mirror.reaches(MIRROR, 9, SOON).await;
    let mut exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // Nobody looks between the tail and its loss: no message of it was compared.
    exporter.freeze();
    pair.primary.kill_and_save();
    pair.primary.run();
    pair.origin = pair.primary.api(app()).await;
    pair.origin.publish_many("agentese.a", 11).await;
    pair.mirror.reaches(MIRROR, 20, AGAIN).await;
    lose_the_tail(&mut pair).await;
    exporter.thaw();
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
    let (mut pair, mut exporter) = pair_with_backup(&current()).await;
    publish_the_tail(&pair).await;
    // It dies with the origin. What it showed rests on what is on the disk.
    sees_the_tail(&exporter).await;
    exporter.kill();
    lose_the_tail(&mut pair).await;
    pass_the_mirror(&pair).await;
    exporter.restart().await;
    exporter.logs(&["not_same_stream", "sequence 20 "], SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    stays_lost(&exporter).await;
    watch.never(since, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_was_told_and_killed_remembers() {
    let (mut pair, mut exporter) = pair_with_backup(&current()).await;
    publish_the_tail(&pair).await;
    sees_the_tail(&exporter).await;
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

/// An origin of three replicas comes back at sequence 10, its mirror is at 20, and it takes `more` messages at once.
async fn three_replicas_lose_the_tail(more: u64) {
    let mut region = Region::start(&current(), true, &json!({}), &json!({})).await;
    region.origin.publish_many("agentese.a", 10).await;
    region.mirror.reaches(MIRROR, 10, SOON).await;
    let back = async |region: &mut Region| {
        region.origin_servers.iter_mut().for_each(Server::run);
        region.origin = Api::of(&region.origin_servers).await;
        let origin = region.origin.clone();
        wait_until("the origin takes messages", SOON, async || origin.publish("agentese.a", "x").await.ok()).await
    };
    region.origin_servers.iter_mut().for_each(Server::kill_and_save);
    let last = back(&mut region).await;
    region.origin.publish_many("agentese.a", 20 - last).await;
    region.mirror.reaches(MIRROR, 20, AGAIN).await;
    let exporter = watched(&region).await;
    region.origin_servers.iter_mut().for_each(Server::kill_and_restore);
    let last = back(&mut region).await;
    assert!(last < 20, "the tail is lost");
    region.origin.publish_many("agentese.b", more).await;
    stays_lost(&exporter).await;
    exporter.logs(&["not_same_stream"], SOON).await;
    region.origin.publish_many("agentese.b", 30).await;
    region.mirror.reaches(MIRROR, 30, AGAIN).await;
    stays_lost(&exporter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_stay_behind_their_mirror() {
    three_replicas_lose_the_tail(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_pass_their_mirror_at_once() {
    three_replicas_lose_the_tail(30).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_not_forgotten_when_the_contract_is_taken_out_and_put_back() {
    let (mut pair, exporter) = pair_with_backup(&current()).await;
    publish_the_tail(&pair).await;
    sees_the_tail(&exporter).await;
    lose_the_tail(&mut pair).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    pass_the_mirror(&pair).await;
    // The witness is gone, too: nothing but the memory tells.
    for sequence in 11..=20 {
        pair.origin.delete_message(ORIGIN, sequence).await;
    }
    let config = contract(&as_app(&pair.primary), &as_app(&pair.dr), ORIGIN, MIRROR);
    let name = |name: &str| config.replace(&format!("name: {CONTRACT}"), &format!("name: {name}"));
    for name in [name("other"), name(CONTRACT)] {
        exporter.config().file("config.yaml", &name);
        let reloaded = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
        assert!(reloaded.status().is_success(), "{}", reloaded.status());
    }
    stays_lost(&exporter).await;
}
