//! A replicated stream of which too few servers are left: it takes no messages and proves nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{CHECK, CONTRACT, SOON, as_app, contract, runs_on, start};
use dr_testkit::cluster::{Cluster, Region, leader};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current, old};
use dr_testkit::scrape::Scrape;
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, skip, wait_until};

const ME: [(&str, &str); 1] = [("contract", CONTRACT)];
/// A leader calls a silent majority lost after some seconds, and steps down after twenty: until then it answers.
const NOTICED: Duration = SOON;

async fn region(binary: &Path) -> Region {
    let region = Region::start(binary, true, &json!({}), &json!({})).await;
    region.origin.publish_many("agentese.a", 10).await;
    region.mirror.reaches(MIRROR, 10, SOON).await;
    region
}

pub async fn watched(region: &Region) -> Exporter {
    let exporter = start(&contract(&as_any(&region.origin_servers), &as_app(&region.dr), ORIGIN, MIRROR)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    exporter
}

/// The connection of the exporter, which knows all of them.
pub fn as_any(servers: &[Server]) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"nats://{}\"", server.address)).collect();
    format!("servers: [{}], user: app, password_file: app", servers.join(", "))
}

/// The two servers that do not lead the stream.
async fn followers(api: &Api, stream: &str) -> Vec<usize> {
    let leader = leader(api, stream).await;
    (0..3).filter(|number| *number != leader).collect()
}

pub fn running(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &ME) == Some(1.0)
}

pub fn writer(scrape: &Scrape, writer: &str) -> bool {
    scrape.get("dr_nats_writer", &[CHECK[0], CHECK[1], ("writer", writer)]) == Some(1.0)
}

/// While nobody can write nothing is proven and no recovery happens; when they are back both are.
async fn without_a_majority(region: &mut Region, stop: impl Fn(&mut Server), resume: impl Fn(&mut Server)) {
    let exporter = watched(region).await;
    let two = followers(&region.origin, ORIGIN).await;
    let lost = SystemTime::now();
    two.iter().for_each(|number| stop(&mut region.origin_servers[*number]));
    exporter.until("the recovery clock runs", NOTICED, running).await;
    exporter.logs(&["no_quorum"], SOON).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    // Longer than the leader takes to step down: neither is its silence a recovery, nor what it says without a leader.
    let_pass(Duration::from_secs(20)).await;
    for look in watch.since(since) {
        assert!(running(&look.scrape), "nobody can write:\n{}", look.scrape);
        assert!(!writer(&look.scrape, "origin"), "nobody can write:\n{}", look.scrape);
        let met = look.scrape.get("dr_recoveries_total", &[ME[0], ("mode", "real"), ("result", "met")]);
        assert_eq!(met, Some(0.0), "nothing has recovered:\n{}", look.scrape);
        if let Some(proof) = look.scrape.get("dr_recovery_point_timestamp_seconds", &CHECK) {
            let at = lost.duration_since(SystemTime::UNIX_EPOCH).expect("now is after 1970").as_secs_f64();
            assert!(proof <= at + 5.5, "proven {} s after the majority was lost:\n{}", proof - at, look.scrape);
        }
        assert_ne!(look.scrape.get("dr_copy_lost", &CHECK), Some(1.0), "the copy is there:\n{}", look.scrape);
    }
    two.iter().for_each(|number| resume(&mut region.origin_servers[*number]));
    exporter.until("the recovery clock stops", NOTICED, |scrape| !running(scrape)).await;
    exporter.becomes(CONTRACT, "rpo", "met", NOTICED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_are_killed() {
    let mut region = region(&current()).await;
    without_a_majority(&mut region, Server::kill, Server::run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_are_frozen() {
    let mut region = region(&current()).await;
    without_a_majority(&mut region, |server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_of_the_version_before_are_killed() {
    match old() {
        Ok(binary) => without_a_majority(&mut region(&binary).await, Server::kill, Server::run).await,
        Err(why) => skip(why),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_no_outage() {
    let mut region = region(&current()).await;
    let exporter = watched(&region).await;
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    let one = followers(&region.origin, ORIGIN).await[0];
    region.origin_servers[one].kill();
    let_pass(Duration::from_secs(15)).await;
    for look in watch.since(since) {
        assert!(!running(&look.scrape), "a majority is up:\n{}", look.scrape);
        assert_ne!(look.scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{}", look.scrape);
    }
    watch.never(since, CONTRACT, "rpo", "breached");
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_is_promoted_while_the_origin_has_no_majority() {
    let mut region = region(&current()).await;
    let exporter = watched(&region).await;
    for number in followers(&region.origin, ORIGIN).await {
        region.origin_servers[number].kill();
    }
    exporter.until("the recovery clock runs", NOTICED, running).await;
    region.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    region.mirror.publish_many("agentese.a", 3).await;
    let scrape = exporter.until("the mirror is the writer", SOON, |scrape| !running(scrape)).await;
    assert!(writer(&scrape, "mirror"), "{scrape}");
    let watch = Watch::start(&exporter);
    runs_on(&exporter).await;
    for look in watch.since(SystemTime::UNIX_EPOCH) {
        assert!(writer(&look.scrape, "mirror"), "{}", look.scrape);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_mirror_loses_its_majority() {
    // The origin is gone; the promoted mirror has three replicas.
    let mut cluster = Cluster::new(&current(), "dr", |leaf| format!("listen: \"{leaf}\""));
    cluster.run();
    let mirror = cluster.api(0).await;
    cluster.create(&mirror, json!({"name": MIRROR, "subjects": ["agentese.>"], "num_replicas": 3})).await;
    mirror.publish_many("agentese.a", 5).await;
    let gone = Server::new(&current());
    let exporter = start(&contract(&as_app(&gone), &as_any(&cluster.servers), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    let leader = leader(&mirror, MIRROR).await;
    for number in (0..3).filter(|number| *number != leader) {
        cluster.servers[number].freeze();
    }
    exporter.until("the recovery clock runs", NOTICED, running).await;
    let (watch, since) = (Watch::start(&exporter), SystemTime::now());
    let_pass(Duration::from_secs(20)).await;
    for look in watch.since(since) {
        assert!(running(&look.scrape) && !writer(&look.scrape, "mirror"), "nobody can write:\n{}", look.scrape);
    }
    for number in (0..3).filter(|number| *number != leader) {
        cluster.servers[number].thaw();
    }
    exporter.until("the recovery clock stops", NOTICED, |scrape| !running(scrape)).await;
}

/// A server that holds both streams and refuses what does not fit into the origin.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_origin_takes_no_messages() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    let full = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1, "max_msgs": 10, "discard": "new"});
    api.create(full).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 8).await;
    let exporter = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    let warns = |scrape: &Scrape| scrape.get("dr_check_warning", &CHECK);
    exporter.until("there is nothing to warn of", SOON, |scrape| warns(scrape) == Some(0.0)).await;
    api.publish_many("agentese.a", 1).await;
    exporter.until("it warns", SOON, |scrape| warns(scrape) == Some(1.0)).await;
    exporter.logs(&["nearly_full", "9 of 10 messages"], SOON).await;
    assert!(!running(&exporter.scrape().await), "it takes one more");
    api.publish_many("agentese.a", 1).await;
    api.publish("agentese.a", "x").await.expect_err("the stream is full");
    exporter.until("the recovery clock runs", SOON, running).await;
    exporter.logs(&["stream_full", "10 of 10 messages"], SOON).await;
    api.purge_up_to(ORIGIN, 6).await;
    exporter.until("the recovery clock stops", SOON, |scrape| !running(scrape)).await;
}

/// The same by its bytes.
#[tokio::test(flavor = "multi_thread")]
async fn an_origin_that_is_full_of_bytes_takes_no_messages() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    let full =
        json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1, "max_bytes": 1000, "discard": "new"});
    api.create(full).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    let mut stored = 0;
    while api.publish("agentese.a", "x").await.is_ok() {
        stored += 1;
        assert!(stored < 100, "1000 bytes hold no 100 messages");
    }
    let exporter = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    exporter.until("the recovery clock runs", SOON, running).await;
    exporter.logs(&["stream_full", "of 1000 bytes, discard: new"], SOON).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_nats_writer", &[CHECK[0], ("writer", "origin")]), Some(0.0), "{scrape}");
}

/// Its account may store no more: every message is refused, whatever the stream's own limits are.
#[tokio::test(flavor = "multi_thread")]
async fn the_account_of_the_origin_is_full() {
    let accounts = "accounts { APP { jetstream { max_file: 20KB }, users: [{ user: app, password: app }
      { user: few, password: app, permissions: { publish: { deny: \"$JS.API.INFO\" } } }] } }\n";
    let (server, api) = Server::start(&current(), accounts, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    let gone = Server::new(&current());
    let exporter = start(&contract(&as_app(&server), &as_app(&gone), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    let text = "x".repeat(200);
    let mut stored = 0;
    while api.publish("agentese.a", &text).await.is_ok() {
        stored += 1;
        assert!(stored < 1000, "20 kB hold no 1000 messages");
    }
    exporter.until("the recovery clock runs", SOON, running).await;
    exporter.logs(&["stream_full", "of its account"], SOON).await;
    // Who may not ask is told what was told before: nothing.
    let few = as_app(&server).replace("user: app", "user: few");
    let blind = start(&contract(&few, &as_app(&gone), ORIGIN, MIRROR)).await;
    blind.seen_healthy(CONTRACT, SOON).await;
    runs_on(&blind).await;
    assert_eq!(blind.scrape().await.reasons(CONTRACT).get("forbidden"), None);
    api.purge_up_to(ORIGIN, stored / 2).await;
    exporter.until("the recovery clock stops", SOON, |scrape| !running(scrape)).await;
}

/// A full bucket refuses new keys, and takes new values of those it has: clients write to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_bucket_takes_new_values() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    let full = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1, "max_msgs": 3,
        "max_msgs_per_subject": 1, "discard": "new"});
    api.create(full).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    for key in ["agentese.a", "agentese.b", "agentese.c"] {
        api.publish_many(key, 1).await;
    }
    api.publish("agentese.d", "x").await.expect_err("the bucket is full");
    let exporter = start(&contract(&as_app(&server), &as_app(&server), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    exporter.logs(&["nearly_full", "3 of 3 messages"], SOON).await;
    api.publish_many("agentese.a", 2).await;
    runs_on(&exporter).await;
    assert!(!running(&exporter.scrape().await), "clients write");
    let mut new_per_subject = api.info(ORIGIN).await.expect("it answers")["config"].take();
    new_per_subject["discard_new_per_subject"] = json!(true);
    api.update(new_per_subject).await.expect("it is changed");
    api.publish("agentese.a", "x").await.expect_err("no value is replaced any more");
    exporter.until("the recovery clock runs", SOON, running).await;
}

/// A stream of one replica in a cluster, whose server dies: the JetStream API of the others is silent about it.
#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_a_dead_stream_from_a_silent_api() {
    let mut cluster = Cluster::new(&current(), "primary", |leaf| format!("listen: \"{leaf}\""));
    cluster.run();
    let api = cluster.api(0).await;
    cluster.create(&api, json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1})).await;
    api.publish_many("agentese.a", 5).await;
    let holder = leader(&api, ORIGIN).await;
    let others: Vec<_> = (0..3).filter(|number| *number != holder).collect();
    let servers: Vec<_> =
        others.iter().map(|number| format!("\"nats://{}\"", cluster.servers[*number].address)).collect();
    let way = format!("servers: [{}], user: app, password_file: app", servers.join(", "));
    let gone = Server::new(&current());
    let probed = |probe: &str| {
        let yaml = contract(&way, &as_app(&gone), ORIGIN, MIRROR);
        yaml.replace(&format!("stream: {ORIGIN} }}"), &format!("stream: {ORIGIN}{probe} }}"))
    };
    let (with, without) = (start(&probed(", probe_subject: agentese.probe")).await, start(&probed("")).await);
    for exporter in [&with, &without] {
        exporter.seen_healthy(CONTRACT, SOON).await;
    }
    cluster.servers[holder].kill();
    with.until("the recovery clock runs", NOTICED, running).await;
    with.logs(&["nobody_listens", "nobody accepts messages at agentese.probe"], SOON).await;
    let silent = |scrape: &Scrape| scrape.reasons(CONTRACT).contains_key("api_silent");
    without.until("nothing is known", NOTICED, silent).await;
    assert!(!running(&without.scrape().await), "the API alone may be silent");
    cluster.servers[holder].run();
    with.until("the recovery clock stops", NOTICED, |scrape| !running(scrape)).await;
    let messages = wait_until("the stream is back", NOTICED, async || api_of(&cluster, others[0]).await).await;
    assert_eq!(messages, 5, "no probe was stored");
}

async fn api_of(cluster: &Cluster, number: usize) -> Option<u64> {
    let api = cluster.api(number).await;
    tokio::time::timeout(Duration::from_secs(1), api.messages(ORIGIN)).await.ok()?
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_shows_that_clients_are_not_hit() {
    // The exporter's account does not import the JetStream API, and may publish to the stream's subjects.
    let accounts = "accounts {
      APP { jetstream: enabled, users: [{ user: app, password: app }]
        exports: [{ service: \"agentese.>\" }] }
      ASK { imports: [{ service: { account: APP, subject: \"agentese.>\" } }]
        users: [{ user: ask, password: app }] } }\n";
    let (server, api) = Server::start(&current(), accounts, app()).await;
    api.create(json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1})).await;
    let way = format!("servers: [\"nats://{}\"], user: ask, password_file: app", server.address);
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    let yaml = contract(&way, &as_app(&server), ORIGIN, MIRROR);
    let probe = format!("stream: {ORIGIN}, probe_subject: agentese.probe }}");
    let exporter = start(&yaml.replace(&format!("stream: {ORIGIN} }}"), &probe)).await;
    exporter.logs(&["api_alone_silent", "the stream accepts messages at agentese.probe"], SOON).await;
    let scrape = exporter.seen_healthy(CONTRACT, SOON).await;
    assert!(writer(&scrape, "origin"), "{scrape}");
    assert_eq!(api.messages(ORIGIN).await, Some(0), "no probe was stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_that_never_reached_the_stream_proves_no_outage() {
    // The exporter's account imports neither the JetStream API nor the stream's subjects.
    let accounts = "accounts {
      APP { jetstream: enabled, users: [{ user: app, password: app }] }
      ASK { users: [{ user: ask, password: app }] } }\n";
    let (server, api) = Server::start(&current(), accounts, app()).await;
    api.create(json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 1})).await;
    let way = format!("servers: [\"nats://{}\"], user: ask, password_file: app", server.address);
    let gone = Server::new(&current());
    let probe = format!("stream: {ORIGIN}, probe_subject: agentese.probe }}");
    let yaml = contract(&way, &as_app(&gone), ORIGIN, MIRROR).replace(&format!("stream: {ORIGIN} }}"), &probe);
    let exporter = start(&yaml).await;
    let watch = Watch::start(&exporter);
    let no_answer = [CHECK[0], CHECK[1], ("outcome", "no_answer")];
    let looked = |scrape: &Scrape| scrape.get("dr_check_runs_total", &no_answer).is_some_and(|runs| runs > 4.0);
    exporter.until("it has looked", SOON, looked).await;
    for look in watch.since(SystemTime::UNIX_EPOCH) {
        assert_ne!(look.scrape.get("dr_check_healthy", &CHECK), Some(0.0), "clients can write:\n{}", look.scrape);
    }
}
