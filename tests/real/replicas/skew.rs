//! Replicas whose wall clocks differ: what one of them stored is as old for the others as it is.

use std::time::{Duration, Instant};

use async_nats::ConnectOptions;
use dr_testkit::exporter::{Config, Exporter, client, faketime};
use dr_testkit::nats::{self, Server};
use dr_testkit::scrape::Scrape;
use dr_testkit::service::Service;
use dr_testkit::{skip, wait_until};
use serde_json::{Value, json};

use super::{PASSWORD, PLANS, SOON, TAKEOVER, USER};

/// How the clocks differ, in seconds ahead of the machine's.
#[derive(Clone, Copy)]
struct Case {
    /// Of the replica that leads first.
    leader: f64,
    /// Of the other one.
    follower: f64,
    /// What the clock of the first leader is set to in the outage.
    set: Option<f64>,
    rto: Duration,
    /// Whether the outage takes longer than that.
    breach: bool,
}

/// The target of an outage that is short.
const MINUTE: Duration = Duration::from_secs(60);
const FAIR: Case = Case { leader: 0.0, follower: 0.0, set: None, rto: MINUTE, breach: false };

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_ahead() {
    story(Case { leader: 600.0, ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_behind() {
    story(Case { leader: -600.0, ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_ahead() {
    story(Case { follower: 600.0, ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_is_behind() {
    story(Case { follower: -600.0, ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_set_ahead_in_an_outage() {
    story(Case { set: Some(600.0), ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_set_back_in_an_outage() {
    story(Case { set: Some(-600.0), ..FAIR }).await;
}

/// A breach, which later times would hide.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_a_little_ahead_hides_no_breach() {
    story(Case { leader: 4.5, rto: Duration::from_secs(15), breach: true, ..FAIR }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_far_ahead_hides_no_breach() {
    story(Case { leader: 600.0, rto: Duration::from_secs(15), breach: true, ..FAIR }).await;
}

/// What is true of the outage that is under way.
#[derive(Clone, Copy)]
struct Truth {
    rto: Duration,
    /// It did not begin before.
    began: Instant,
    /// Every replica had seen it by then.
    seen: Option<Instant>,
}

impl Truth {
    fn begins(rto: Duration) -> Self {
        Self { rto, began: Instant::now(), seen: None }
    }

    /// Holds a scrape that was asked for `before` against it.
    fn judge(&self, scrape: &Scrape, before: Instant, who: &str) {
        let (most, status) = (self.began.elapsed(), scrape.status("api", "rto"));
        assert!(status != "breached" || most >= self.rto, "{who}: a false red, it takes {most:?} at most:\n{scrape}");
        let least = self.seen.map_or(Duration::ZERO, |seen| before.saturating_duration_since(seen));
        let is_over = self.seen.is_some() && least >= self.rto + Duration::from_millis(500);
        assert!(!is_over || status != "met", "{who}: a false green, it takes {least:?} at least:\n{scrape}");
        if runs(scrape) {
            let told = scrape.observed("api", "rto").unwrap_or_default();
            assert!(told <= most.as_secs_f64() + 0.5, "{who}: {told} s are told of {most:?} at most:\n{scrape}");
        }
        // The copy is complete all the time, and the checks run all the time.
        let exposure = scrape.observed("streams", "rpo").unwrap_or_default();
        let status = scrape.status("streams", "rpo");
        assert!(status != "breached" && exposure < 30.0, "{who}: an exposure of {exposure} s:\n{scrape}");
    }
}

fn runs(scrape: &Scrape) -> bool {
    scrape.get("dr_recovery_in_progress", &[("contract", "api")]) == Some(1.0)
}

fn leads(scrape: &Scrape) -> bool {
    scrape.get("dr_exporter_leader", &[]) == Some(1.0)
}

fn fires(scrape: &Scrape) -> bool {
    scrape.get("dr_trigger_active", &[("trigger", "dead")]) == Some(1.0)
}

struct World {
    service: Service,
    yaml: String,
    _server: Server,
}

impl World {
    async fn start(rto: Duration) -> Self {
        let (server, api) = Server::start(&nats::current(), "", ConnectOptions::new()).await;
        api.create_stream("ORDERS", &["orders.>"]).await;
        api.create(json!({"name": "COPY", "storage": "file", "num_replicas": 1, "mirror": {"name": "ORDERS"}})).await;
        api.publish_many("orders.a", 5).await;
        let service = Service::start().await;
        let contract =
            service.contract("api", &format!("{rto:?}")).replace("failures_to_trigger: 3", "failures_to_trigger: 2");
        let yaml = format!(
            "nats: {{ shared: {{ servers: [\"nats://{}\"] }} }}\n{}{contract}  - name: streams
    component: NATS
    owner: ops
    priority: P0
    rpo: 5m
    checks:
      - name: orders
        nats_mirror:
          origin: {{ nats: shared, stream: ORDERS }}
          mirror: {{ nats: shared, stream: COPY }}
triggers:
  - {{ name: dead, check: api/health, consecutive_failures: 3, action: failover, notification: pager }}
{PLANS}",
            server.address,
            Service::defaults("200ms"),
        );
        Self { service, yaml, _server: server }
    }

    async fn replica(&self, name: &str, ahead: f64) -> Exporter {
        let hash = bcrypt::hash(PASSWORD, 4).expect("a hash");
        let config = Config::new(&self.yaml)
            .with("web.yaml", &format!("basic_auth_users:\n  {USER}: {hash}\n"))
            .with_own_clock()
            .flag("--web.config.file=web.yaml")
            .flag("--web.enable-admin-api")
            .flag("--storage.backend=jetstream")
            .flag("--storage.nats=shared")
            .flag("--storage.stream-replicas=1")
            .flag(&format!("--storage.takeover-after={TAKEOVER}"))
            .flag(&format!("--storage.replica={name}"));
        config.set_clock(ahead);
        Exporter::start_in(config).await
    }
}

async fn get(exporter: &Exporter, path: &str) -> reqwest::Response {
    let request = client().get(exporter.url(path)).basic_auth(USER, Some(PASSWORD));
    request.header("accept", "text/plain; version=0.0.4").send().await.expect("an answer")
}

/// Waits until all of them are as `condition` wants it, and holds all that they say meanwhile against the truth.
async fn until(what: &str, all: &[&Exporter], truth: Option<Truth>, condition: impl Fn(&Scrape) -> bool) {
    wait_until(what, SOON, async || {
        let mut are_so = true;
        for (number, exporter) in all.iter().enumerate() {
            let before = Instant::now();
            let scrape = Scrape::parse(&get(exporter, "/metrics").await.text().await.expect("a text"));
            if let Some(truth) = truth {
                truth.judge(&scrape, before, &format!("{what}, replica {number}"));
            }
            are_so &= condition(&scrape);
        }
        are_so.then_some(())
    })
    .await;
}

/// Watches all of them up to an instant.
async fn watch(all: &[&Exporter], truth: Truth, end: Instant) {
    until("they are watched", all, Some(truth), |_| Instant::now() >= end).await;
}

fn healthy(scrape: &Scrape) -> bool {
    let healthy = |contract| scrape.get("dr_check_healthy", &[("contract", contract)]) == Some(1.0);
    healthy("api") && healthy("streams") && scrape.status("streams", "rpo") == "met"
}

async fn story(case: Case) {
    if let Err(why) = faketime() {
        return skip(why);
    }
    let world = World::start(case.rto).await;
    let mut first = world.replica("first", case.leader).await;
    until("the first leads", &[&first], None, |scrape| leads(scrape) && healthy(scrape)).await;
    let mut second = world.replica("second", case.follower).await;
    until("the second follows", &[&second], None, |scrape| !leads(scrape) && healthy(scrape)).await;

    // A recovery that met the target.
    let truth = Truth::begins(case.rto);
    world.service.well(false);
    until("both see it", &[&first, &second], Some(truth), runs).await;
    world.service.well(true);
    let is_met = |scrape: &Scrape| !runs(scrape) && scrape.status("api", "rto") == "met";
    until("the target was met", &[&first, &second], Some(truth), is_met).await;

    // The lead goes to the other one in an outage, and back.
    let mut truth = Truth::begins(case.rto);
    world.service.well(false);
    until("both see it", &[&first, &second], Some(truth), |scrape| runs(scrape) && fires(scrape)).await;
    truth.seen = Some(Instant::now());
    if let Some(set) = case.set {
        first.config().set_clock(set);
    }
    watch(&[&first, &second], truth, Instant::now() + Duration::from_secs(2)).await;
    first.kill();
    until("the second leads", &[&second], Some(truth), |scrape| leads(scrape) && runs(scrape)).await;
    first.restart().await;
    until("the first follows", &[&first, &second], Some(truth), |scrape| runs(scrape) && fires(scrape)).await;
    second.kill();
    until("the first leads again", &[&first], Some(truth), |scrape| leads(scrape) && runs(scrape)).await;
    second.restart().await;
    let end = if case.breach { truth.began + case.rto + Duration::from_secs(5) } else { Instant::now() };
    watch(&[&first, &second], truth, end.max(Instant::now() + Duration::from_secs(2))).await;
    let least = truth.seen.expect("it was seen").elapsed();
    world.service.well(true);
    until("it is over", &[&first, &second], Some(truth), |scrape| !runs(scrape) && !fires(scrape)).await;
    let most = truth.began.elapsed();
    assert!(case.breach || most < case.rto, "the machine is too busy: {most:?}");
    wait_until("both know two recoveries", SOON, async || {
        for exporter in [&first, &second] {
            let told: Value = get(exporter, "/api/v1/recoveries").await.json().await.expect("JSON");
            let all = told["recoveries"].as_array().cloned().unwrap_or_default();
            assert!(all.len() < 3, "there were two: {told}");
            let [last, _] = &all[..] else { return None };
            let took = last["recovery_seconds"].as_f64().expect("a time");
            let possible = least.as_secs_f64() - 1.0..most.as_secs_f64() + 0.5;
            assert!(possible.contains(&took), "{took} s of {possible:?}: {told}");
        }
        Some(())
    })
    .await;
    // What is told of a recovery that was not seen all the time may be unknown.
    let told = |scrape: &Scrape| case.breach || scrape.status("api", "rto") == "met";
    until("both tell it", &[&first, &second], Some(truth), told).await;
    if case.breach {
        return;
    }

    // An incident that a follower is told of.
    let truth = Truth::begins(case.rto);
    let body = json!({"incident": "region_outage", "by": "oncall", "reason": "a test"});
    let request = client().post(second.url("/api/v1/incidents")).json(&body).basic_auth(USER, Some(PASSWORD));
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 201, "{:?}", answer.text().await);
    until("both know it", &[&first, &second], Some(truth), runs).await;
    watch(&[&first, &second], truth, Instant::now() + Duration::from_secs(1)).await;
}
