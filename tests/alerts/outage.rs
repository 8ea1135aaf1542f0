//! The API dies.

use std::time::{Duration, SystemTime};

use super::SOON;
use super::monitoring::{Monitoring, SCRAPE, Wanted, in_time, nothing_but};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::let_pass;
use dr_testkit::prometheus::Toy;
use dr_testkit::proxy::Proxy;

const INTERVAL: Duration = Duration::from_millis(500);
const RTO: Duration = Duration::from_secs(20);
/// Alertmanager's wait for company, and its shorter one for P0.
const GROUP_WAIT: Duration = Duration::from_millis(166);
const P0_WAIT: Duration = Duration::from_millis(83);

const TRIGGER: Wanted<'_> = ("DRTriggerActive", &[("trigger", "health_check_failure")]);
const AT_RISK: Wanted<'_> = ("DRObjectiveAtRisk", &[("contract", "api"), ("objective", "rto")]);
const BREACHED: Wanted<'_> = ("DRObjectiveBreached", &[("contract", "api"), ("objective", "rto")]);
const EXPORTER_DOWN: Wanted<'_> = ("DRExporterDown", &[("scope", "all")]);

/// What an outage of the API tells, and what it leaves behind: the RTO was missed, and is unproven before and after.
const OF_OUTAGE: [&str; 5] =
    ["DRTriggerActive", "DRObjectiveAtRisk", "DRObjectiveBreached", "DRRecoveryMissedObjective", "DRObjectiveUnproven"];

/// An API, what watches it, and who is told.
struct Rig {
    api: Toy,
    exporter: Exporter,
    door: Proxy,
    monitoring: Monitoring,
}

impl Rig {
    async fn start() -> Self {
        let api = Toy::start("").await;
        let yaml = format!(
            "defaults: {{ interval: 500ms, timeout: 5s, interval_when_down: 250ms }}
contracts:
  - name: api
    component: API
    owner: ops
    priority: P0
    rto: 20s
    checks:
      - name: health
        http: {{ url: \"http://{}/\" }}
triggers: [{{name: health_check_failure, check: api/health, consecutive_failures: 3, action: dns_failover, notification: pagerduty_critical}}]
",
            api.address
        );
        let exporter = Exporter::start_in(Config::new(&yaml)).await;
        // To Prometheus the exporter has one address, whatever port the next process gets.
        let door = Proxy::to(exporter.address).await;
        let monitoring = Monitoring::start(&[door.address()]).await;
        monitoring.prometheus.has("dr_trigger_known == 1").await;
        monitoring.prometheus.has("dr:contract:info").await;
        monitoring.prometheus.has("dr_check_healthy == 1").await;
        Self { api, exporter, door, monitoring }
    }

    async fn restart_exporter(&mut self) {
        self.exporter.restart().await;
        self.door.lead_to(self.exporter.address).await;
    }
}

/// From the fault to the page, without what is left of the objective.
fn limit(objective: Duration, wait: Duration) -> Duration {
    3 * INTERVAL + objective + SCRAPE + SCRAPE + wait
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_killed() {
    let mut rig = Rig::start().await;
    let fault = SystemTime::now();
    rig.api.die();
    let monitoring = &rig.monitoring;

    let trigger = monitoring.fires("pagerduty_critical", TRIGGER, SOON).await;
    in_time("DRTriggerActive", trigger.after(fault), limit(Duration::ZERO, GROUP_WAIT));
    assert_eq!(trigger.labels["notification"], "pagerduty_critical", "{trigger:?}");
    assert_eq!(trigger.labels["action"], "dns_failover", "{trigger:?}");
    assert!(trigger.annotations["description"].contains("Since "), "{trigger:?}");

    let at_risk = monitoring.fires("pagerduty_warning", AT_RISK, SOON).await;
    in_time("DRObjectiveAtRisk (RTO)", at_risk.after(fault), limit(RTO.mul_f64(0.8), GROUP_WAIT));
    assert_eq!(at_risk.labels["severity"], "P1", "{at_risk:?}");

    let breached = monitoring.fires("pagerduty_critical", BREACHED, SOON).await;
    in_time("DRObjectiveBreached (RTO)", breached.after(fault), limit(RTO, P0_WAIT));
    assert!(at_risk.at < breached.at, "at risk is told before the breach: {at_risk:?} {breached:?}");
    assert!(breached.after(fault) >= RTO, "no false red: {:?}", breached.after(fault));
    assert_eq!(breached.labels["severity"], "P0", "{breached:?}");
    for (label, value) in [("owner", "ops"), ("priority", "P0"), ("component", "API")] {
        assert_eq!(breached.labels[label], value, "{breached:?}");
    }
    for (annotation, words) in [
        ("description", "Used: 10"),
        ("description", "Why: health: connect_failed."),
        ("response", "within 15 minutes"),
        ("escalation", "CTO"),
        ("runbook_url", "/DRObjectiveBreached.md"),
        ("dashboard_url", "/d/dr-contract?var-contract=api"),
    ] {
        assert!(breached.annotations[annotation].contains(words), "{annotation} {words}: {breached:?}");
    }

    rig.api.live().await;
    let recovered = SystemTime::now();
    for (receiver, alert) in
        [("pagerduty_critical", TRIGGER), ("pagerduty_warning", AT_RISK), ("pagerduty_critical", BREACHED)]
    {
        let over = monitoring.resolves(receiver, alert, SOON).await;
        assert!(over.at > recovered, "no false green: {over:?}");
        println!("from recovery to resolved: {}: {:.1} s", alert.0, over.after(recovered).as_secs_f64());
    }
    monitoring.fires("slack_warning", ("DRRecoveryMissedObjective", &[("contract", "api")]), SOON).await;
    // Longer than keep_firing_for: what comes back comes back by then.
    let_pass(Duration::from_secs(6)).await;
    for alert in [TRIGGER, AT_RISK, BREACHED] {
        assert_eq!(monitoring.count(alert), (1, 1), "{alert:?} fired and was over once: {:#?}", monitoring.told());
    }
    nothing_but(monitoring, &OF_OUTAGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_is_restarted_during_an_outage() {
    let mut rig = Rig::start().await;
    rig.api.die();
    for (receiver, alert) in [("pagerduty_critical", TRIGGER), ("pagerduty_critical", BREACHED)] {
        rig.monitoring.fires(receiver, alert, SOON).await;
    }
    // At once, and after longer than the rules bridge without help.
    rig.exporter.kill();
    rig.restart_exporter().await;
    rig.monitoring.prometheus.has("dr_recovery_in_progress == 1").await;
    rig.exporter.kill();
    let_pass(Duration::from_secs(8)).await;
    rig.monitoring.fires("pagerduty_warning", EXPORTER_DOWN, SOON).await;
    rig.restart_exporter().await;
    rig.monitoring.prometheus.has("dr_recovery_in_progress == 1").await;
    rig.monitoring.resolves("pagerduty_warning", EXPORTER_DOWN, SOON).await;
    let_pass(Duration::from_secs(6)).await;
    for alert in [TRIGGER, AT_RISK, BREACHED] {
        assert_eq!(rig.monitoring.count(alert), (1, 0), "{alert:?} goes on: {:#?}", rig.monitoring.told());
    }

    rig.api.live().await;
    for (receiver, alert) in
        [("pagerduty_critical", TRIGGER), ("pagerduty_warning", AT_RISK), ("pagerduty_critical", BREACHED)]
    {
        rig.monitoring.resolves(receiver, alert, SOON).await;
        assert_eq!(rig.monitoring.count(alert), (1, 1), "{alert:?}: {:#?}", rig.monitoring.told());
    }
    let mut expected = OF_OUTAGE.to_vec();
    expected.push("DRExporterDown");
    nothing_but(&rig.monitoring, &expected);
}
