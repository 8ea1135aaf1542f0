//! Answers that come from a cache: what is old says nothing about now.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dr_exporter::domain::observation::{Health, Observation};
use dr_testkit::PATIENCE;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;

use super::server::{Reply, Server};
use super::single::{self, LONG, assert_no_answer, assert_unhealthy};
use super::{check, run};

async fn observe(status: u16, headers: &'static str) -> Observation {
    let server = Server::start(move |_| Reply::new(status, headers, "ok")).await;
    single::run_within(&check(&format!("url: \"{}\"", server.url("/health"))), LONG).await
}

#[tokio::test]
async fn an_answer_that_says_itself_that_it_is_old_is_no_proof_of_health() {
    for (headers, words) in [
        ("age: 3600\r\n", "3600 s old"),
        ("age: 99999999999999999999\r\n", "s old"),
        ("age: 0\r\nwarning: 110 - \"Response is Stale\"\r\n", "warns with 110"),
        ("warning: 111 cdn \"Revalidation Failed\"\r\n", "warns with 111"),
    ] {
        assert_no_answer(&observe(200, headers).await.health, "stale", &[words]);
        // What clients get now is a failure, however old it is.
        assert_unhealthy(&observe(503, headers).await.health, "unexpected_status", &["503"]);
    }
}

#[tokio::test]
async fn a_short_age_is_healthy_as_of_then() {
    for headers in ["", "age: 0\r\n", "age: -1\r\n", "age: soon\r\n", "warning: 199 - \"110\"\r\n"] {
        let observation = observe(200, headers).await;
        assert_eq!((observation.health, observation.seen), (Health::Healthy, None), "{headers}");
    }
    let server = Server::start(|_| Reply::new(200, "age: 7\r\n", "ok")).await;
    let check = check(&format!("url: \"{}\", expect_body: ok", server.url("/")));
    let clock = dr_exporter::clock::Clock::start();
    let deadline = dr_exporter::clock::instant() + LONG;
    let before = clock.now();
    let run = dr_exporter::engine::check::Run { clock, max_age: Duration::ZERO, freshness: LONG, deadline };
    let observation = check.run(run).await;
    assert_eq!(observation.health, Health::Healthy);
    let seen = observation.seen.expect("an instant");
    assert!(before.since(seen) <= Duration::from_secs(7), "{:?}", before.since(seen));
    assert!(clock.now().since(seen) >= Duration::from_secs(7), "{:?}", clock.now().since(seen));
}

/// The origin dies, and the cache goes on with what it has.
#[tokio::test]
async fn what_was_stored_before_the_failure_ends_no_outage() {
    let reply = Arc::new(Mutex::new(Reply::new(200, "age: 1\r\n", "ok")));
    let told = Arc::clone(&reply);
    let server = Server::start(move |_| told.lock().expect("a reply").clone()).await;
    let check = check(&format!("url: \"{}\"", server.url("/")));
    let becomes = |new| *reply.lock().expect("a reply") = new;
    assert_eq!(run(&check).await, Health::Healthy);
    becomes(Reply::new(502, "", ""));
    assert_unhealthy(&run(&check).await, "unexpected_status", &["502"]);
    becomes(Reply::new(200, "age: 5\r\n", "ok"));
    assert_no_answer(&run(&check).await, "stale", &["5 s old", "has failed since"]);
    becomes(Reply::new(200, "", "ok"));
    assert_eq!(run(&check).await, Health::Healthy);
}

/// The short interval of an outage makes no answer too old that is fresh by the usual one.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_ends_by_an_answer_that_was_made_after_it() {
    let reply = Arc::new(Mutex::new(Reply::new(502, "", "")));
    let told = Arc::clone(&reply);
    let server = Server::start(move |_| told.lock().expect("a reply").clone()).await;
    let yaml = format!(
        "defaults: {{ interval: 10m, timeout: 1s, interval_when_down: 200ms, failures_to_trigger: 1 }}
contracts:
  - name: site
    component: Site
    owner: ops
    priority: P3
    rto: 2h
    checks: [{{ name: page, http: {{ url: \"{}\" }} }}]\n",
        server.url("/")
    );
    let exporter = Exporter::start_in(Config::new(&yaml)).await;
    let running = |expected: f64| {
        move |scrape: &Scrape| scrape.get("dr_recovery_in_progress", &[("contract", "site")]) == Some(expected)
    };
    exporter.until("the clock runs", PATIENCE, running(1.0)).await;
    *reply.lock().expect("a reply") = Reply::new(200, "age: 4\r\n", "ok");
    // Until it was made after the last failure, it is no answer.
    let is_stale = |scrape: &Scrape| scrape.reasons("site").contains_key("stale");
    let scrape = exporter.until("it is stale", PATIENCE, is_stale).await;
    assert!(running(1.0)(&scrape), "{scrape}");
    exporter.until("the clock stops", PATIENCE, running(0.0)).await;
}
