//! DR streams that are made in other ways than by a plain mirror: what cannot be compared is neither good nor lost.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::completeness::{one_server, watch};
use super::{CHECK, CONTRACT, SOON, never_lost, runs_on};
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;

const USERS: &str = "authorization { users: [{ user: app, password: app }] }\n";

/// The origin, another stream, and a DR stream that is fed by these sources.
async fn sourced(sources: Value) -> (Server, Api) {
    let (server, api) = Server::start(&current(), USERS, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create_stream("OTHER", &["other.>"]).await;
    // The sequences of the two sides have nothing in common from here on.
    api.publish_many("other.a", 3).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "sources": sources})).await;
    (server, api)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_fed_by_sources_is_neither_met_nor_lost() {
    for sources in [
        json!([{"name": ORIGIN}]),
        json!([{"name": ORIGIN}, {"name": "OTHER"}]),
        json!([{"name": "OTHER"}, {"name": ORIGIN, "filter_subject": "agentese.a"}]),
        json!([{"name": ORIGIN, "subject_transforms": [{"src": "agentese.>", "dest": "dr.>"}]}]),
    ] {
        let (server, api) = sourced(sources.clone()).await;
        api.publish_many("agentese.a", 5).await;
        let exporter = watch(&server).await;
        let watch = Watch::start(&exporter);
        let is_told = |scrape: &Scrape| scrape.reasons(CONTRACT).contains_key("sourced_stream");
        exporter.until("sourced_stream", SOON, is_told).await;
        exporter.logs(&["sourced_stream", "is fed by `sources`", "Use a mirror"], SOON).await;
        let _publisher = Publisher::start(&api, 50);
        runs_on(&exporter).await;
        watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "unproven");
        watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
        never_lost(&watch, SystemTime::UNIX_EPOCH);
        let scrape = exporter.scrape().await;
        // On a busy machine the first run may come before the connection does.
        let known = ["sourced_stream", "connecting"];
        let others = scrape.reasons(CONTRACT).into_keys().filter(|reason| !known.contains(&reason.as_str()));
        let others: Vec<_> = others.collect();
        assert!(others.is_empty(), "{sources}: {others:?}");
        assert_eq!(scrape.get("dr_check_healthy", &CHECK), Some(1.0), "the origin takes messages:\n{scrape}");
    }
}

/// What leaves the sequences as they are leaves the copy comparable.
#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_with_transforms_and_an_origin_that_republishes_are_compared() {
    let republish = json!({"republish": {"src": "agentese.>", "dest": "again.>"}});
    let transform = json!([{"src": "agentese.>", "dest": "dr.agentese.>"}]);
    let transformed = json!({"mirror": {"name": ORIGIN, "subject_transforms": transform}});
    for (more, mirror, filter) in
        [(republish, json!({}), None), (json!({}), json!({}), Some("agentese.a")), (json!({}), transformed, None)]
    {
        let (server, api) = one_server(more.clone(), mirror.clone(), filter).await;
        api.publish_many("agentese.a", 5).await;
        let exporter = watch(&server).await;
        exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
        let (watch, since) = (Watch::start(&exporter), SystemTime::now());
        api.publish_many("agentese.a", 5).await;
        runs_on(&exporter).await;
        watch.never(since, CONTRACT, "rpo", "breached");
        never_lost(&watch, since);
        assert_eq!(exporter.scrape().await.status(CONTRACT, "rpo"), "met", "{more} {mirror} {filter:?}");
    }
}

/// Stands wherever people look, not in the log alone.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_a_work_queue_is_warned_of() {
    let (server, api) = Server::start(&current(), USERS, app()).await;
    let origin = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1, "retention": "workqueue"});
    api.create(origin).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    let exporter = watch(&server).await;
    exporter.until("the warning", SOON, |scrape| scrape.get("dr_check_warning", &CHECK) == Some(1.0)).await;
    for path in ["/", "/api/v1/status"] {
        let text = exporter.get(path).await.text().await.expect("a text");
        assert!(text.contains("work_queue") && text.contains("takes its messages away"), "{path}: {text}");
    }
}
