//! What `nats_mirror` must hold, on real servers: the figures of `/metrics` are held against the publisher's own log.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod access;
mod completeness;
mod held_up;
mod holes;
mod identity;
mod link;
mod lost_tail;
mod majority;
mod overwritten;
mod partition;
mod peers;
mod promoted;
mod promotion;
mod quorum;
mod reasons;
mod region;
mod rig;
mod servers;
mod shrunk;
mod sourced;
mod steady;

use std::time::{Duration, SystemTime};

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::nats::{MIRROR, ORIGIN, Pair};
use dr_testkit::watch::{Learned, Watch};

/// The only contract and its only check.
const CONTRACT: &str = "streams";
const CHECK: [(&str, &str); 2] = [("contract", CONTRACT), ("check", "agentese")];

/// Figures of the configuration that [`contract`] writes. Evidence is fresh for `3 × INTERVAL + TIMEOUT`.
const INTERVAL: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(2);
const RPO: Duration = Duration::from_secs(6);

const SOON: Duration = dr_testkit::PATIENCE;

/// The configuration: two connections, given as YAML, and one contract on two streams.
fn contract(primary: &str, dr: &str, origin: &str, mirror: &str) -> String {
    format!(
        "defaults: {{ interval: 500ms, timeout: 2s }}
nats:
  primary: {{ {primary} }}
  dr: {{ {dr} }}
contracts:
  - name: {CONTRACT}
    component: NATS Streams
    owner: ops
    priority: P0
    rto: 1m
    rpo: 6s
    checks:
      - name: agentese
        interval_when_down: 250ms
        failures_to_trigger: 3
        nats_mirror:
          origin: {{ nats: primary, stream: {origin} }}
          mirror: {{ nats: dr, stream: {mirror} }}
"
    )
}

/// A connection as the user of the tests.
fn as_app(server: &dr_testkit::nats::Server) -> String {
    format!("servers: [\"nats://{}\"], user: app, password_file: app", server.address)
}

/// The exporter on a pair's `AGENTESE` and `AGENTESE_MIRROR`.
async fn watch_pair(pair: &Pair) -> Exporter {
    start(&contract(&as_app(&pair.primary), &as_app(&pair.dr), ORIGIN, MIRROR)).await
}

/// The exporter, with the password that [`as_app`] names.
async fn start(yaml: &str) -> Exporter {
    Exporter::start_in(Config::new(yaml).with("app", "app\n")).await
}

/// Waits until the check has run often enough to tell that something stays as it is.
async fn runs_on(exporter: &Exporter) {
    exporter.runs_on(CONTRACT, 5, SOON).await;
}

/// Waits until runs that began after this call have ended. What they see is what is so from now on.
async fn seen(exporter: &Exporter) -> SystemTime {
    exporter.runs_on(CONTRACT, 3, SOON).await;
    SystemTime::now()
}

/// Fails unless every look since `since` is `met`, and each of the exporter's own looks proved that nothing is missing:
/// the recovery point goes along with them, however far apart they are on a busy machine.
#[track_caller]
fn always_calm(watch: &Watch, since: SystemTime) {
    watch.always(since, CONTRACT, "rpo", "met");
    let mut learned = Learned::default();
    for look in watch.since(since) {
        let known = learned.by(&look, CONTRACT);
        let exposure = look.scrape.observed(CONTRACT, "rpo").expect("a met objective has a figure");
        let most = look.at.duration_since(known).unwrap_or_default().as_secs_f64() + 0.5;
        assert!(exposure <= most, "{exposure} s, not {most} s while nothing is at risk:\n{}", look.scrape);
    }
}

/// Fails when a look since `since` shows the copy as anything but intact.
#[track_caller]
fn never_lost(watch: &Watch, since: SystemTime) {
    for look in watch.since(since) {
        let lost = look.scrape.get("dr_copy_lost", &CHECK);
        assert_ne!(lost, Some(1.0), "the copy is there:\n{}", look.scrape);
    }
}
