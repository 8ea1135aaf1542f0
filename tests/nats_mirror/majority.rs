//! A replicated stream of which too few servers are left: it takes no messages and proves nothing.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::support::cluster::Cluster;
use super::support::exporter::Exporter;
use super::support::let_pass;
use super::support::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use super::support::scrape::Scrape;
use super::support::wait_until;
use super::support::watch::Watch;
use super::{CHECK, CONTRACT, SEEN, SOON, as_app, contract, start};

const ME: [(&str, &str); 1] = [("contract", CONTRACT)];
/// A leader calls a silent majority lost after some seconds, and steps down after twenty: until then it answers.
const NOTICED: Duration = Duration::from_secs(30);

/// An origin of three replicas, and a mirror of one in a domain of its own.
struct Region {
    cluster: Cluster,
    origin: Api,
    dr: Server,
    mirror: Api,
}

impl Region {
    async fn start() -> Self {
        let mut cluster = Cluster::new(&current(), "primary", |leaf| {
            format!("listen: \"{leaf}\", authorization {{ users: [{{user: leaf, password: leaf, account: APP}}] }}")
        });
        cluster.run();
        let origin = cluster.api(0).await;
        let stream = json!({"name": ORIGIN, "subjects": ["agentese.>"], "num_replicas": 3});
        cluster.create(&origin, stream).await;
        let mut dr = Server::new(&current());
        let hubs = cluster.servers.iter().map(|server| format!("\"nats-leaf://leaf:leaf@{}\"", server.leaf));
        dr.configure(&format!(
            "server_name: dr\njetstream {{ store_dir: \"{}\", domain: dr }}
             accounts {{ APP {{ jetstream: enabled, users: [{{user: app, password: app}}] }} }}
             leafnodes {{ reconnect: 1, remotes: [{{ urls: [{}], account: APP
               deny_imports: [\"agentese.>\"], deny_exports: [\"agentese.>\"] }}] }}\n",
            dr.store(),
            hubs.collect::<Vec<_>>().join(", "),
        ));
        dr.run();
        let mirror = dr.api(app()).await;
        wait_until("the leafnode joins the two", SOON, async || {
            let asked = mirror.client.request("$JS.primary.API.INFO", "".into());
            tokio::time::timeout(Duration::from_millis(500), asked).await.ok()?.ok()
        })
        .await;
        let source = json!({"name": ORIGIN, "external": {"api": "$JS.primary.API", "deliver": ""}});
        mirror.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": source})).await;
        origin.publish_many("agentese.a", 10).await;
        mirror.reaches(MIRROR, 10, SOON).await;
        Self { cluster, origin, dr, mirror }
    }

    async fn watched(&self) -> Exporter {
        let exporter = start(&contract(&self.cluster.as_app(), &as_app(&self.dr), ORIGIN, MIRROR)).await;
        exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
        exporter.seen_healthy(CONTRACT, SOON).await;
        exporter
    }

    /// The two servers that do not lead the origin.
    async fn followers(&self) -> Vec<usize> {
        let leader = self.cluster.leader(&self.origin, ORIGIN).await;
        (0..3).filter(|number| *number != leader).collect()
    }
}

fn running(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &ME) == Some(1.0)
}

fn writer(scrape: &Scrape, writer: &str) -> bool {
    scrape.get("dr_nats_writer", &[CHECK[0], CHECK[1], ("writer", writer)]) == Some(1.0)
}

/// While nobody can write nothing is proven and no recovery happens; when they are back both are.
async fn without_a_majority(region: &mut Region, stop: impl Fn(&mut Server), resume: impl Fn(&mut Server)) {
    let exporter = region.watched().await;
    let two = region.followers().await;
    let lost = SystemTime::now();
    two.iter().for_each(|number| stop(&mut region.cluster.servers[*number]));
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
    two.iter().for_each(|number| resume(&mut region.cluster.servers[*number]));
    exporter.until("the recovery clock stops", NOTICED, |scrape| !running(scrape)).await;
    exporter.becomes(CONTRACT, "rpo", "met", NOTICED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_are_killed() {
    let mut region = Region::start().await;
    without_a_majority(&mut region, Server::kill, Server::run).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_three_are_frozen() {
    let mut region = Region::start().await;
    without_a_majority(&mut region, |server| server.freeze(), |server| server.thaw()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_is_no_outage() {
    let mut region = Region::start().await;
    let exporter = region.watched().await;
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    let one = region.followers().await[0];
    region.cluster.servers[one].kill();
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
    let mut region = Region::start().await;
    let exporter = region.watched().await;
    for number in region.followers().await {
        region.cluster.servers[number].kill();
    }
    exporter.until("the recovery clock runs", NOTICED, running).await;
    region.mirror.promote(MIRROR, &["agentese.>"]).await.expect("the mirror is promoted");
    region.mirror.publish_many("agentese.a", 3).await;
    let scrape = exporter.until("the mirror is the writer", SOON, |scrape| !running(scrape)).await;
    assert!(writer(&scrape, "mirror"), "{scrape}");
    let watch = Watch::start(&exporter);
    let_pass(SEEN).await;
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
    let exporter = start(&contract(&as_app(&gone), &cluster.as_app(), ORIGIN, MIRROR)).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    let leader = cluster.leader(&mirror, MIRROR).await;
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
