//! The two streams are not, or no longer, one and the same: no new proof, and a lost copy is a breach.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{CHECK, CONTRACT, RPO, SOON, always_calm, as_app, contract, runs_on, seen, start, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, Pair, Server, app, current};
use dr_testkit::proxy::Mode;
use dr_testkit::proxy::Proxy;
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::wait_until;
use dr_testkit::watch::Watch;

/// A mirror may take its time until it asks its origin again.
const AGAIN: Duration = Duration::from_secs(90);

/// Waits for further runs, and fails when a look after the exporter has seen it is green, or when one shows a recovery point
/// of later than `since`.
async fn no_new_proof(exporter: &Exporter, watch: &Watch, since: SystemTime) -> SystemTime {
    let seen = seen(exporter).await;
    runs_on(exporter).await;
    let changed = since.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs_f64();
    for look in watch.since(since) {
        if let Some(proof) = look.scrape.get("dr_recovery_point_timestamp_seconds", &CHECK) {
            assert!(proof <= changed + 0.1, "proven {} s after the change:\n{}", proof - changed, look.scrape);
        }
    }
    watch.never(seen, CONTRACT, "rpo", "met");
    watch.never(seen, CONTRACT, "rpo", "at_risk");
    seen
}

/// The copy is proven lost, for one of these reasons.
async fn lost(exporter: &Exporter, reasons: &[&str]) {
    let scrape = exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    assert_eq!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_point_timestamp_seconds", &CHECK), None, "the proof is withdrawn:\n{scrape}");
    let counted = scrape.reasons(CONTRACT);
    let reason = reasons.iter().find(|reason| counted.contains_key(**reason));
    exporter.logs(&[reason.unwrap_or_else(|| panic!("none of {reasons:?} in {counted:?}"))], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_deleted_and_recreated() {
    let pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 150).await;
    pair.mirror.reaches(MIRROR, 150, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    pair.origin.delete(ORIGIN).await;
    let since = SystemTime::now();
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    lost(&exporter, &["origin_recreated", "not_same_stream"]).await;
    // It passes the mirror's last sequence, and the mirror goes on as if nothing had happened.
    pair.origin.publish_many("agentese.a", 160).await;
    let mut publisher = Publisher::start(&pair.origin, 20);
    pair.mirror.reaches(MIRROR, 161, AGAIN).await;
    publisher.stop().await;
    pair.mirror.reaches(MIRROR, publisher.last(), AGAIN).await;
    let equal = pair.origin.last_seq(ORIGIN).await == pair.mirror.last_seq(MIRROR).await;
    assert!(equal, "now the last sequences are equal again, and the first 150 messages are other ones");
    let seen = no_new_proof(&exporter, &watch, since).await;
    watch.always(seen, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_recreated_and_mirror_emptied() {
    let pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 100).await;
    pair.mirror.reaches(MIRROR, 100, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    pair.origin.delete(ORIGIN).await;
    let since = SystemTime::now();
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.mirror.purge(MIRROR).await;
    // The new origin's messages 1 to 100 are never mirrored; nothing older than the new origin is on the mirror.
    pair.origin.publish_many("agentese.a", 110).await;
    let mut publisher = Publisher::start(&pair.origin, 20);
    pair.mirror.reaches(MIRROR, 111, AGAIN).await;
    publisher.stop().await;
    pair.mirror.reaches(MIRROR, publisher.last(), AGAIN).await;
    let first = pair.mirror.info(MIRROR).await.expect("DR answers")["state"]["first_seq"].as_u64();
    assert_eq!(first, Some(101), "the new origin's first hundred are not on the mirror");
    no_new_proof(&exporter, &watch, since).await;

    // An exporter that starts now saw nothing of this, and finds equal sequences and equal times.
    let late = watch_pair(&pair).await;
    let watch = Watch::start(&late);
    let unproven = |scrape: &Scrape| scrape.reasons(CONTRACT).contains_key("identity_unproven");
    late.until("a run that proves nothing", SOON, unproven).await;
    runs_on(&late).await;
    watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "unproven");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exporter_that_starts_after_the_origin_was_recreated_is_not_fooled() {
    let pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 50).await;
    pair.mirror.reaches(MIRROR, 50, SOON).await;
    pair.origin.delete(ORIGIN).await;
    let since = SystemTime::now();
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.origin.publish_many("agentese.a", 60).await;
    let exporter = watch_pair(&pair).await;
    let watch = Watch::start(&exporter);
    let mut publisher = Publisher::start(&pair.origin, 20);
    pair.mirror.reaches(MIRROR, 61, AGAIN).await;
    publisher.stop().await;
    pair.mirror.reaches(MIRROR, publisher.last(), AGAIN).await;
    no_new_proof(&exporter, &watch, since).await;
    lost(&exporter, &["not_same_stream", "origin_recreated"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_deleted() {
    let pair = Pair::start().await;
    let _publisher = Publisher::start(&pair.origin, 50);
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    pair.mirror.delete(MIRROR).await;
    let since = SystemTime::now();
    lost(&exporter, &["mirror_stream_missing"]).await;
    let seen = no_new_proof(&exporter, &watch, since).await;
    watch.always(seen, CONTRACT, "rpo", "breached");
    // The origin takes writes: the component itself is not down.
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_mirror_that_is_catching_up_tells_the_truth() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start_with(&pair.origin, 50, 1024, |_| "agentese.a".to_owned());
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    publisher.goes_on(250).await;
    pair.mirror.delete(MIRROR).await;
    lost(&exporter, &["mirror_stream_missing"]).await;
    // A quarter of a megabyte and more has to pass at not quite twice the speed of the publisher.
    pair.link.set(Mode::Throttle(100_000)).await;
    let watch = Watch::with_copy(&exporter, &pair.mirror, MIRROR);
    let since = SystemTime::now();
    pair.create_mirror(ORIGIN, MIRROR, json!({})).await;
    let saw = seen(&exporter).await;
    wait_until("the mirror has caught up", AGAIN, async || {
        pair.mirror.last_seq(MIRROR).await.filter(|copied| copied + 50 > publisher.last())
    })
    .await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    assert_eq!(scrape.get("dr_copy_lost", &CHECK), Some(0.0), "{scrape}");
    runs_on(&exporter).await;
    watch.follows_truth(saw, CONTRACT, &publisher, |_| true);
    watch.no_false_green(since, CONTRACT, &publisher, RPO, |_| true);
    let behind = watch.since(since).into_iter().filter_map(|look| look.scrape.observed(CONTRACT, "rpo"));
    let most = behind.fold(0.0, f64::max);
    assert!(most > 2.5, "it took a while to catch up, and the page never said more than {most} s");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_of_another_stream() {
    let pair = Cold::new(&current(), "").await.start().await;
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.origin.create_stream("OTHER", &["other.>"]).await;
    pair.origin.publish_many("agentese.a", 20).await;
    pair.origin.publish_many("other.a", 10).await;
    pair.create_mirror("OTHER", MIRROR, json!({})).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    let since = SystemTime::now();
    let exporter = watch_pair(&pair).await;
    let watch = Watch::start(&exporter);
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    lost(&exporter, &["mirror_of_other_stream"]).await;
    no_new_proof(&exporter, &watch, since).await;
    watch.never(since, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_of_a_namesake() {
    let pair = Cold::new(&current(), "").await.start().await;
    pair.origin.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.origin.publish_many("agentese.a", 20).await;
    // A stream of the same name, in DR's own domain.
    pair.mirror.create_stream(ORIGIN, &["agentese.>"]).await;
    pair.mirror.publish_many("agentese.a", 10).await;
    pair.mirror.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    let since = SystemTime::now();
    let exporter = watch_pair(&pair).await;
    let watch = Watch::start(&exporter);
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    lost(&exporter, &["not_same_stream", "mirror_of_other_stream"]).await;
    no_new_proof(&exporter, &watch, since).await;
    watch.never(since, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_itself_is_no_mirror() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.publish_many("agentese.a", 20).await;
    // Two connections of different addresses, which lead to the same place.
    let since = SystemTime::now();
    let door = Proxy::to(server.address).await;
    let other = as_app(&server).replace(&server.address.to_string(), &door.address().to_string());
    let exporter = start(&contract(&as_app(&server), &other, ORIGIN, ORIGIN)).await;
    let watch = Watch::start(&exporter);
    exporter.logs(&["same_object", "both connections lead to the stream"], SOON).await;
    runs_on(&exporter).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    // What is compared with itself proves nothing: neither that there is a copy, nor that two are written to.
    assert_ne!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{scrape}");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "{scrape}");
    watch.never(since, CONTRACT, "rpo", "met");
    watch.never(since, CONTRACT, "rpo", "breached");
    watch.never(since, CONTRACT, "rto", "breached");
}

/// What was proven of a mirror is not proven of the one that was made in its place, though the origin is down and nobody can
/// compare the two.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_was_made_again_keeps_no_proof() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 20).await;
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    pair.primary.kill();
    let point = |scrape: &Scrape| scrape.get("dr_recovery_point_timestamp_seconds", &CHECK);
    runs_on(&exporter).await;
    assert!(point(&exporter.scrape().await).is_some(), "what was proven stays proven while the origin is down");
    pair.mirror.delete(MIRROR).await;
    pair.create_mirror(ORIGIN, MIRROR, json!({})).await;
    exporter.until("the proof is withdrawn", SOON, |scrape| point(scrape).is_none()).await;
    let since = SystemTime::now();
    let watch = Watch::start(&exporter);
    runs_on(&exporter).await;
    watch.never(since, CONTRACT, "rpo", "met");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_was_promoted_and_has_let_its_oldest_message_go() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    api.create_stream("BEFORE", &["before.>"]).await;
    api.publish_many("before.a", 20).await;
    api.create(json!({"name": ORIGIN, "num_replicas": 1, "mirror": {"name": "BEFORE"}})).await;
    api.reaches(ORIGIN, 20, SOON).await;
    api.promote(ORIGIN, &["agentese.>"]).await.expect("the origin was a mirror once");
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 5).await;
    api.reaches(MIRROR, 25, SOON).await;
    let exporter = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    api.delete_message(ORIGIN, 1).await;
    runs_on(&exporter).await;
    always_calm(&watch, since);
    // Nor is it another one when it is empty, as an idle stream is that lets its messages go by age.
    api.purge(ORIGIN).await;
    runs_on(&exporter).await;
    always_calm(&watch, since);
    // An exporter that starts now still finds a message to compare, once there is one.
    api.publish_many("agentese.a", 1).await;
    api.reaches(MIRROR, 26, SOON).await;
    let late = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    let watch = Watch::start(&late);
    late.becomes(CONTRACT, "rpo", "met", SOON).await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_lost_its_tail_and_has_passed_the_mirror_since() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 95).await;
    pair.mirror.reaches(MIRROR, 95, SOON).await;
    pair.primary.kill_and_save();
    pair.primary.run();
    wait_until("the origin is back", SOON, async || pair.origin.last_seq(ORIGIN).await).await;
    pair.origin.publish_many("agentese.a", 5).await;
    pair.mirror.reaches(MIRROR, 100, AGAIN).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    runs_on(&exporter).await;

    let watch = Watch::start(&exporter);
    pair.primary.kill_and_restore();
    pair.primary.run();
    wait_until("the origin is back", SOON, async || pair.origin.last_seq(ORIGIN).await.filter(|last| *last == 95))
        .await;
    pair.origin.publish_many("agentese.a", 30).await;
    pair.mirror.reaches(MIRROR, 125, AGAIN).await;
    lost(&exporter, &["not_same_stream"]).await;
    exporter.logs(&["not_same_stream", "sequence 100 of the origin"], SOON).await;
    let told = SystemTime::now();
    runs_on(&exporter).await;
    watch.always(told, CONTRACT, "rpo", "breached");
}
