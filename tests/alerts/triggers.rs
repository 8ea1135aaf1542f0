//! Triggers that ask Prometheus: told where they say, and not forgotten when nobody can evaluate them.

use super::SOON;
use super::monitoring::{Monitoring, Wanted, nothing_but};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::let_pass;
use dr_testkit::prometheus::Toy;
use dr_testkit::proxy::Proxy;
use dr_testkit::service::Service;
use dr_testkit::{free_ports, own_ip};
use std::time::Duration;

const ERRORS: Wanted<'_> = ("DRTriggerActive", &[("trigger", "error_rate_spike")]);
const LATENCY: Wanted<'_> = ("DRTriggerActive", &[("trigger", "latency_degradation")]);
const UNKNOWN: Wanted<'_> = ("DRTriggerUnknown", &[("trigger", "error_rate_spike")]);

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_goes_where_it_says() {
    let service = Service::start().await;
    let mut toy = Toy::start("api_error_ratio 0.1\napi_p99_seconds 1\n").await;
    let [not_yet] = free_ports::<1>(own_ip());
    let mut door = Proxy::to(not_yet).await;
    let monitoring = Monitoring::start(&[door.address(), toy.address]).await;
    let yaml = format!(
        "{}{}prometheus:
  main: {{ url: \"{}\" }}
triggers:
  - name: error_rate_spike
    promql: {{ prometheus: main, query: api_error_ratio, above: 0.5 }}
    interval: 500ms
    mode: manual
    action: alert_oncall
    notification: pagerduty_warning
  - name: latency_degradation
    promql: {{ prometheus: main, query: api_p99_seconds, above: 10 }}
    interval: 500ms
    mode: manual
    action: alert_oncall
    notification: slack_warning
",
        Service::defaults("500ms"),
        service.contract("api", "20s"),
        monitoring.prometheus.url()
    );
    let exporter = Exporter::start_in(Config::new(&yaml)).await;
    door.lead_to(exporter.address).await;
    monitoring.prometheus.has("sum(dr_trigger_known) == 2").await;
    assert_eq!(monitoring.count(("DRTriggerActive", &[])), (0, 0));

    toy.tells("api_error_ratio 0.6\napi_p99_seconds 11\n");
    let errors = monitoring.fires("pagerduty_warning", ERRORS, SOON).await;
    assert_eq!(errors.labels["severity"], "P2", "{errors:?}");
    assert!(errors.annotations["description"].contains("if a person decides so"), "{errors:?}");
    let latency = monitoring.fires("slack_warning", LATENCY, SOON).await;
    assert_eq!(latency.labels["severity"], "P3", "{latency:?}");

    // What is asked is gone: that is told, and is no end of what fires.
    toy.die();
    monitoring.fires("slack_warning", UNKNOWN, SOON).await;
    assert_eq!(monitoring.count(ERRORS), (1, 0), "{:#?}", monitoring.told());

    toy.live().await;
    toy.tells("api_error_ratio 0.1\napi_p99_seconds 1\n");
    monitoring.resolves("pagerduty_warning", ERRORS, SOON).await;
    monitoring.resolves("slack_warning", LATENCY, SOON).await;
    monitoring.resolves("slack_warning", UNKNOWN, SOON).await;
    let_pass(Duration::from_secs(6)).await;
    for alert in [ERRORS, LATENCY, UNKNOWN] {
        assert_eq!(monitoring.count(alert), (1, 1), "{alert:?} fired and was over once: {:#?}", monitoring.told());
    }
    // The target that died is one of the exporter's job here, and the RTO was never proven.
    nothing_but(&monitoring, &["DRTriggerActive", "DRTriggerUnknown", "DRExporterDown", "DRObjectiveUnproven"]);
}
