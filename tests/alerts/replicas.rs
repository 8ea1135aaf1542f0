//! Three replicas share their storage. One is lost, and all are updated, in the middle of an outage.

use std::time::Duration;

use super::SOON;
use super::monitoring::{Monitoring, Wanted, nothing_but};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::let_pass;
use dr_testkit::nats::{self, Server};
use dr_testkit::prometheus::Toy;
use dr_testkit::proxy::Proxy;

const TRIGGER: Wanted<'_> = ("DRTriggerActive", &[("trigger", "health_check_failure")]);
const AT_RISK: Wanted<'_> = ("DRObjectiveAtRisk", &[("contract", "api"), ("objective", "rto")]);
const BREACHED: Wanted<'_> = ("DRObjectiveBreached", &[("contract", "api"), ("objective", "rto")]);
/// What an outage tells, and that a replica is gone.
const EXPECTED: [&str; 6] = [
    "DRTriggerActive",
    "DRObjectiveAtRisk",
    "DRObjectiveBreached",
    "DRRecoveryMissedObjective",
    "DRObjectiveUnproven",
    "DRExporterDown",
];

/// The replica that leads, if one does.
async fn leader(monitoring: &Monitoring, replicas: &[(Exporter, Proxy)]) -> Option<usize> {
    let leads = monitoring.query("dr_exporter_leader == 1").await.ok()?;
    let [leader] = &leads[..] else { return None };
    let instance = leader["metric"]["instance"].as_str()?;
    replicas.iter().position(|(_, door)| door.address().to_string() == instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn losing_one_of_three_tells_nothing_new_and_an_update_pages_nobody_twice() {
    let mut server = Server::new(&nats::current());
    server.configure(&format!("server_name: single\njetstream {{ store_dir: \"{}\" }}\n", server.store()));
    server.run();
    server.listens().await;
    let mut api = Toy::start("").await;
    let yaml = format!(
        "nats: {{ state: {{ servers: [\"nats://{}\"] }} }}
defaults: {{ interval: 500ms, timeout: 5s, interval_when_down: 250ms }}
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
        server.address, api.address
    );
    let mut replicas = Vec::new();
    for name in ["r1", "r2", "r3"] {
        let config = Config::new(&yaml)
            .flag("--storage.backend=jetstream")
            .flag("--storage.nats=state")
            .flag("--storage.stream-replicas=1")
            .flag("--storage.takeover-after=3s")
            .flag(&format!("--storage.replica={name}"));
        let exporter = Exporter::start_in(config).await;
        let door = Proxy::to(exporter.address).await;
        replicas.push((exporter, door));
    }
    let doors: Vec<_> = replicas.iter().map(|(_, door)| door.address()).collect();
    let monitoring = Monitoring::start(&doors).await;
    monitoring.prometheus.has("count(dr_check_healthy == 1) == 3").await;
    monitoring.prometheus.has("dr_exporter_leader == 1").await;
    api.die();
    for (receiver, alert) in [("pagerduty_critical", TRIGGER), ("pagerduty_critical", BREACHED)] {
        monitoring.fires(receiver, alert, SOON).await;
    }
    // The leader is lost for longer than the rules bridge without help.
    let lost = leader(&monitoring, &replicas).await.expect("one replica leads");
    replicas[lost].0.kill();
    replicas[lost].1.cut().await;
    let_pass(Duration::from_secs(20)).await;
    for alert in [TRIGGER, AT_RISK, BREACHED] {
        assert_eq!(monitoring.count(alert), (1, 0), "{alert:?} goes on: {:#?}", monitoring.told());
    }
    monitoring.prometheus.has("dr_exporter_leader == 1").await;
    // A rolling update: each one is stopped in order, and started anew.
    for (exporter, door) in &mut replicas {
        if exporter.process().ended().is_none() {
            exporter.process().signal("TERM");
            exporter.process().wait(SOON).expect("it ends");
        }
        exporter.restart().await;
        door.lead_to(exporter.address).await;
        let_pass(Duration::from_secs(4)).await;
    }
    monitoring.prometheus.has("count(dr_recovery_in_progress == 1) == 3").await;
    for alert in [TRIGGER, AT_RISK, BREACHED] {
        assert_eq!(monitoring.count(alert), (1, 0), "{alert:?} goes on: {:#?}", monitoring.told());
    }
    let triggers =
        monitoring.query("max(dr_recovery_started_timestamp_seconds) - min(dr_recovery_started_timestamp_seconds)");
    let apart =
        triggers.await.expect("an answer")[0]["value"][1].as_str().expect("a number").parse::<f64>().expect("a number");
    assert!(apart < 0.1, "all replicas have the first trigger: {apart:?} s apart");
    api.live().await;
    for (receiver, alert) in
        [("pagerduty_critical", TRIGGER), ("pagerduty_warning", AT_RISK), ("pagerduty_critical", BREACHED)]
    {
        monitoring.resolves(receiver, alert, SOON).await;
        assert_eq!(monitoring.count(alert), (1, 1), "{alert:?}: {:#?}", monitoring.told());
    }
    monitoring.prometheus.has("count(dr_recoveries_total{result=\"missed\",mode=\"real\"} == 1) == 3").await;
    nothing_but(&monitoring, &EXPECTED);
    let elsewhere: Vec<_> =
        monitoring.told().into_iter().filter(|told| told.labels["alertname"] == "DRExporterDown").collect();
    assert!(elsewhere.iter().all(|told| told.labels["scope"] == "instance"), "{elsewhere:#?}");
}
