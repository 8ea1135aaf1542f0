//! What is worth a look although nothing fails.

use std::path::Path;
use std::sync::Arc;

use dr_exporter::domain::observation::Observation;
use dr_exporter::engine::check::Check;

use super::{REGIONS, assert_healthy, check_in, quoted, reading, run};
use dr_testkit::dns::Dns;

fn check(resolvers: &[String], max_ttl: &str) -> Arc<dyn Check> {
    let stanza = format!("name: api.example.com, resolvers: [{}], {max_ttl} {REGIONS}", quoted(resolvers));
    check_in(Path::new("."), &stanza)
}

/// The reasons of the warnings; none where nothing was looked at.
fn warnings(observation: &Observation) -> Option<Vec<&'static str>> {
    Some(observation.warnings.as_ref()?.iter().map(|warning| warning.reason.label).collect())
}

#[tokio::test]
async fn a_ttl_above_the_most() {
    for (ttl, max, expected) in [
        (60, "max_ttl: 60s,", vec![]),
        (61, "max_ttl: 60s,", vec!["ttl_too_long"]),
        (86400, "", vec![]),
        (0, "max_ttl: 1s,", vec![]),
    ] {
        let dns = Dns::start(&format!("api A 192.0.2.10 {ttl}")).await;
        let observation = run(&check(&[dns.udp()], max)).await;
        assert_healthy(&observation);
        assert_eq!(warnings(&observation), Some(expected), "{ttl} {max}");
    }
}

#[tokio::test]
async fn the_slowest_resolver_counts() {
    let (fast, slow) = (Dns::start("api A 192.0.2.10 30").await, Dns::start("api A 192.0.2.10 90").await);
    let observation = run(&check(&[fast.udp(), slow.udp()], "max_ttl: 60s,")).await;
    assert_eq!(warnings(&observation), Some(vec!["ttl_too_long"]));
    assert_eq!(reading(&observation, "ttl_seconds", None), Some(90.0));
}

#[tokio::test]
async fn a_cache_that_counts_down_does_not_end_the_warning() {
    let dns = Dns::start("api A 192.0.2.10 300").await;
    let check = check(&[dns.udp()], "max_ttl: 60s,");
    run(&check).await;
    dns.holds("api A 192.0.2.10 10").await;
    let observation = run(&check).await;
    assert_eq!(warnings(&observation), Some(vec!["ttl_too_long"]), "caches may keep the first answer yet");
    assert_eq!(reading(&observation, "ttl_seconds", None), Some(300.0));
}

#[tokio::test]
async fn a_ttl_that_has_passed_counts_no_more() {
    let dns = Dns::start("api A 192.0.2.10 2").await;
    let check = check(&[dns.udp()], "max_ttl: 1s,");
    assert_eq!(warnings(&run(&check).await), Some(vec!["ttl_too_long"]));
    dns.holds("api A 192.0.2.10 1").await;
    dr_testkit::wait_until("the TTL has passed", super::LONG, async || {
        (warnings(&run(&check).await) == Some(vec![])).then_some(())
    })
    .await;
}

#[tokio::test]
async fn addresses_of_no_region() {
    let dns = Dns::start("api A 192.0.2.10 60; api A 203.0.113.1 60").await;
    let observation = run(&check(&[dns.udp()], "")).await;
    assert_healthy(&observation);
    assert_eq!(warnings(&observation), Some(vec!["unexpected_target"]));
    let warning = &observation.warnings.as_ref().unwrap()[0];
    assert!(warning.detail.contains(&format!("{}: 203.0.113.1", dns.udp())), "{warning}");
}
