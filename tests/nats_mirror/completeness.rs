//! The mirror is one of this origin, and does not hold what it has passed.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{CHECK, CONTRACT, SOON, always_calm, as_app, contract, never_lost, runs_on, start};
use dr_testkit::exporter::Exporter;
use dr_testkit::let_pass;
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use dr_testkit::publisher::Publisher;
use dr_testkit::watch::Watch;

const USERS: &str = "authorization { users: [{ user: app, password: app }] }\n";

/// One server with both streams: enough where no link matters. `more` is added to both configurations.
pub async fn one_server(more: Value, mirror: Value, filter: Option<&str>) -> (Server, Api) {
    let (server, api) = Server::start(&current(), USERS, app()).await;
    let with = |mut config: Value, more: &Value| {
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        config
    };
    let origin = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1});
    api.create(with(origin, &more)).await;
    let mut source = json!({"name": ORIGIN});
    if let Some(filter) = filter {
        source["filter_subject"] = json!(filter);
    }
    let copy = json!({"name": MIRROR, "num_replicas": 1, "mirror": source});
    api.create(with(with(copy, &more), &mirror)).await;
    (server, api)
}

pub async fn watch(server: &Server) -> Exporter {
    start(&contract(&as_app(server), &as_app(server), ORIGIN, MIRROR)).await
}

pub fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs_f64()
}

/// The recovery point goes back to the first message, which was published between these instants, and the target is missed.
async fn lacks_the_first(exporter: &Exporter, first: (SystemTime, SystemTime)) {
    let reason = "copy_incomplete";
    exporter.until(reason, SOON, |scrape| scrape.reasons(CONTRACT).contains_key(reason)).await;
    exporter.logs(&[reason, "sequence 1 "], SOON).await;
    let scrape = exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    let point = scrape.get("dr_recovery_point_timestamp_seconds", &CHECK).expect("the first message's time is known");
    let (from, to) = (seconds(first.0) - 0.1, seconds(first.1) + 0.1);
    assert!((from..to).contains(&point), "the point is {point}, the first message is of {first:?}:\n{scrape}");
    assert_eq!(scrape.get("dr_copy_lost", &CHECK), Some(0.0), "{scrape}");
    assert_eq!(scrape.get("dr_nats_mirror_lag_messages", &CHECK), None, "sequences do not tell:\n{scrape}");
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "the origin takes writes");
    let watch = Watch::start(exporter);
    runs_on(exporter).await;
    watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_alone_is_purged() {
    let (server, api) = one_server(json!({}), json!({}), None).await;
    let first = SystemTime::now();
    api.publish_many("agentese.a", 100).await;
    let first = (first, SystemTime::now());
    api.reaches(MIRROR, 100, SOON).await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    api.purge(MIRROR).await;
    lacks_the_first(&exporter, first).await;
    // What comes then does not make it whole again.
    api.publish_many("agentese.a", 5).await;
    api.reaches(MIRROR, 105, SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    runs_on(&exporter).await;
    watch.always(since, CONTRACT, "rpo", "breached");
    // Made again it is whole.
    api.delete(MIRROR).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filtered_mirror_is_purged() {
    let (server, api) = one_server(json!({}), json!({}), Some("agentese.a")).await;
    let first = SystemTime::now();
    for _ in 0..20 {
        api.publish("agentese.a", "x").await.expect("the message is stored");
        api.publish("agentese.b", "x").await.expect("the message is stored");
    }
    let first = (first, SystemTime::now());
    api.reaches(MIRROR, 39, SOON).await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // What does not match is not missed.
    api.delete_message(ORIGIN, 39).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    runs_on(&exporter).await;
    always_calm(&watch, since);
    api.purge_up_to(MIRROR, 21).await;
    lacks_the_first(&exporter, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_began_in_the_middle() {
    let (server, api) = Server::start(&current(), USERS, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    let first = SystemTime::now();
    api.publish_many("agentese.a", 100).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN, "opt_start_seq": 90}})).await;
    let first = (first, SystemTime::now());
    api.reaches(MIRROR, 100, SOON).await;
    assert_eq!(api.messages(MIRROR).await, Some(11));
    let exporter = watch(&server).await;
    lacks_the_first(&exporter, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_keeps_less_than_its_origin() {
    let (server, api) = one_server(json!({}), json!({"max_msgs": 1}), None).await;
    let first = SystemTime::now();
    api.publish_many("agentese.a", 100).await;
    let first = (first, SystemTime::now());
    api.reaches(MIRROR, 100, SOON).await;
    let exporter = watch(&server).await;
    lacks_the_first(&exporter, first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_limits_at_full_speed() {
    for limits in [json!({"max_msgs": 40}), json!({"max_msgs_per_subject": 3}), json!({"max_bytes": 4000})] {
        println!("{limits}");
        let (server, api) = one_server(limits, json!({}), None).await;
        let _publisher = Publisher::start_with(&api, 100, 16, |number| format!("agentese.{}", number % 7));
        api.reaches(MIRROR, 60, SOON).await;
        let exporter = watch(&server).await;
        exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
        let (watch, since) = (Watch::start(&exporter), SystemTime::now());
        let_pass(Duration::from_secs(3)).await;
        always_calm(&watch, since);
        never_lost(&watch, since);
        let reasons = exporter.scrape().await.reasons(CONTRACT);
        assert!(!reasons.contains_key("copy_incomplete"), "{reasons:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_both_sides_are_about_to_let_go_is_not_missed() {
    // A mirror may drop a message a moment before the origin does, as much as its clock is ahead: it is missed by nobody
    // within three seconds of its end. Everything younger is.
    let limits = json!({"max_age": 15_000_000_000_u64});
    let (server, api) = one_server(limits, json!({}), None).await;
    api.publish_many("agentese.a", 20).await;
    let first = SystemTime::now();
    let_pass(Duration::from_secs(6)).await;
    api.publish_many("agentese.a", 20).await;
    api.reaches(MIRROR, 40, SOON).await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let_pass((first + Duration::from_millis(12_300)).duration_since(SystemTime::now()).unwrap_or_default()).await;
    api.purge_up_to(MIRROR, 21).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    let_pass(Duration::from_millis(1500)).await;
    always_calm(&watch, since);
    assert_eq!(exporter.scrape().await.reasons(CONTRACT).get("copy_incomplete"), None);
    drop(watch);
    api.purge_up_to(MIRROR, 31).await;
    exporter.logs(&["copy_incomplete", "sequence 21 "], SOON).await;
    exporter.becomes(CONTRACT, "rpo", "breached", SOON).await;
    // They grow old, too.
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let counted = |reasons: std::collections::BTreeMap<String, f64>| reasons.get("copy_incomplete").copied();
    let before = counted(exporter.scrape().await.reasons(CONTRACT));
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    runs_on(&exporter).await;
    always_calm(&watch, since);
    assert_eq!(counted(exporter.scrape().await.reasons(CONTRACT)), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_end_by_a_time_of_their_own() {
    // Each server looks once in a while which messages have ended, so each lets go of them first now and then.
    let ttl = json!({"allow_msg_ttl": true});
    let (server, api) = one_server(ttl.clone(), ttl, None).await;
    api.publish_with("agentese.a", "Nats-TTL", "8s").await;
    let exporter = watch(&server).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    for _ in 0..250 {
        api.publish_with("agentese.a", "Nats-TTL", "8s").await;
        let_pass(Duration::from_millis(100)).await;
    }
    watch.never(since, CONTRACT, "rpo", "breached");
    assert_eq!(exporter.scrape().await.reasons(CONTRACT).get("copy_incomplete"), None);
    // One that has time left is missed.
    api.publish_with("agentese.a", "Nats-TTL", "1h").await;
    api.reaches(MIRROR, 252, SOON).await;
    api.purge(MIRROR).await;
    exporter.logs(&["copy_incomplete", "is not on"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lets_go_sooner_than_its_origin_is_incomplete() {
    let ages = |seconds: u64| json!({"max_age": seconds * 1_000_000_000});
    let (server, api) = one_server(ages(3600), ages(2), None).await;
    let first = SystemTime::now();
    api.publish_many("agentese.a", 20).await;
    let first = (first, SystemTime::now());
    api.reaches(MIRROR, 20, SOON).await;
    let exporter = watch(&server).await;
    lacks_the_first(&exporter, first).await;
}
