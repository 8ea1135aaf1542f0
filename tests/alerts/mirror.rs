//! The link between two NATS regions is cut.

use std::time::{Duration, SystemTime};

use super::SOON;
use super::monitoring::{Monitoring, SCRAPE, Wanted, in_time, nothing_but};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::nats::{MIRROR, ORIGIN, Pair, Server};
use dr_testkit::publisher::Publisher;
use dr_testkit::wait_until;

const RPO: Duration = Duration::from_secs(20);
const WARN_AFTER: Duration = Duration::from_secs(4);
const INTERVAL: Duration = Duration::from_millis(500);
/// A server takes its time to mirror again: its retries back off by ten seconds each.
const HEALED: Duration = Duration::from_secs(90);

const WARNING: Wanted<'_> = ("DRSyncLagWarning", &[("contract", "streams"), ("check", "agentese")]);
const AT_RISK: Wanted<'_> = ("DRObjectiveAtRisk", &[("contract", "streams"), ("objective", "rpo")]);
const BREACHED: Wanted<'_> = ("DRObjectiveBreached", &[("contract", "streams"), ("objective", "rpo")]);

fn as_app(server: &Server) -> String {
    format!("{{ servers: [\"nats://{}\"], user: app, password_file: app }}", server.address)
}

fn limit(objective: Duration, wait: Duration) -> Duration {
    INTERVAL + objective + SCRAPE + SCRAPE + wait
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_is_cut() {
    let mut pair = Pair::start().await;
    let _publisher = Publisher::start(&pair.origin, 20);
    wait_until("the mirror follows", SOON, async || pair.mirror.last_seq(MIRROR).await.filter(|last| *last > 0)).await;
    let yaml = format!(
        "defaults: {{ interval: 500ms, timeout: 2s }}
nats:
  primary: {}
  dr: {}
contracts:
  - name: streams
    component: NATS Streams
    owner: ops
    priority: P0
    rpo: 20s
    checks:
      - name: agentese
        warn_after: 4s
        nats_mirror: {{ origin: {{ nats: primary, stream: {ORIGIN} }}, mirror: {{ nats: dr, stream: {MIRROR} }} }}
",
        as_app(&pair.primary),
        as_app(&pair.dr)
    );
    let exporter = Exporter::start_in(Config::new(&yaml).with("app", "app\n")).await;
    exporter.becomes("streams", "rpo", "met", SOON).await;
    let monitoring = Monitoring::start(&[exporter.address]).await;
    monitoring.prometheus.has("dr:objective:used_ratio").await;

    let fault = SystemTime::now();
    pair.link.cut().await;
    let warning = monitoring.fires("slack_warning", WARNING, SOON).await;
    in_time("DRSyncLagWarning", warning.after(fault), limit(WARN_AFTER, Duration::from_secs(1)));
    assert_eq!(warning.labels["severity"], "P2", "{warning:?}");

    let at_risk = monitoring.fires("pagerduty_warning", AT_RISK, SOON).await;
    in_time("DRObjectiveAtRisk (RPO)", at_risk.after(fault), limit(RPO.mul_f64(0.8), Duration::from_millis(166)));
    assert_eq!(at_risk.labels["severity"], "P1", "{at_risk:?}");
    assert!(warning.at < at_risk.at, "the warning comes first: {warning:?} {at_risk:?}");

    let breached = monitoring.fires("pagerduty_critical", BREACHED, SOON).await;
    in_time("DRObjectiveBreached (RPO)", breached.after(fault), limit(RPO, Duration::from_millis(83)));
    assert_eq!(breached.labels["severity"], "P0", "{breached:?}");
    assert!(at_risk.at < breached.at, "at risk is told before the breach: {at_risk:?} {breached:?}");
    assert!(breached.annotations["description"].contains("Last proof: "), "{breached:?}");

    pair.link.heal().await;
    exporter.becomes("streams", "rpo", "met", HEALED).await;
    for (receiver, alert) in
        [("slack_warning", WARNING), ("pagerduty_warning", AT_RISK), ("pagerduty_critical", BREACHED)]
    {
        monitoring.resolves(receiver, alert, SOON).await;
        assert_eq!(monitoring.count(alert), (1, 1), "{alert:?} fired and was over once: {:#?}", monitoring.told());
    }
    nothing_but(&monitoring, &[WARNING.0, AT_RISK.0, BREACHED.0]);
}
