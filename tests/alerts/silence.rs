//! Nobody measures any more.

use std::time::{Duration, SystemTime};

use super::SOON;
use super::monitoring::{Monitoring, SCRAPE, Wanted, in_time, nothing_but};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::proxy::Proxy;
use dr_testkit::service::Service;

const DOWN: Wanted<'_> = ("DRExporterDown", &[("scope", "all")]);

#[tokio::test(flavor = "multi_thread")]
async fn the_exporter_is_killed() {
    let service = Service::start().await;
    let yaml = format!("{}{}", Service::defaults("500ms"), service.contract("api", "20s"));
    let mut exporter = Exporter::start_in(Config::new(&yaml)).await;
    let mut door = Proxy::to(exporter.address).await;
    let monitoring = Monitoring::start(&[door.address()]).await;
    monitoring.prometheus.has("dr:contract:info").await;

    let fault = SystemTime::now();
    exporter.kill();
    let down = monitoring.fires("pagerduty_warning", DOWN, SOON).await;
    // `for` is 2 minutes, here 2 s.
    in_time("DRExporterDown", down.after(fault), Duration::from_secs(2) + SCRAPE + SCRAPE + Duration::from_millis(166));
    assert_eq!(down.labels["severity"], "P1", "{down:?}");
    // The target's own alert follows later, and is muted by this one when its group is due.
    monitoring.prometheus.has(r#"ALERTS{alertname="DRExporterDown",scope="instance",alertstate="firing"}"#).await;
    exporter.restart().await;
    monitoring.mutes(SOON).await;
    door.lead_to(exporter.address).await;
    monitoring.resolves("pagerduty_warning", DOWN, SOON).await;
    assert_eq!(monitoring.count(DOWN), (1, 1), "{:#?}", monitoring.told());
    assert_eq!(monitoring.count(("DRExporterDown", &[])), (1, 1), "the others are muted: {:#?}", monitoring.told());
    // The RTO was never proven here, and that was told meanwhile or was not.
    nothing_but(&monitoring, &["DRExporterDown", "DRObjectiveUnproven"]);
}
