//! Exporters in a state that a test wants to see.

use std::collections::BTreeMap;
use std::time::Duration;

use dr_exporter::domain::contract::Objective;
use dr_exporter::domain::outage::Mode;
use dr_exporter::domain::status::Basis;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::store::sqlite::Sqlite;
use dr_exporter::store::{Backend as _, Batch, ClosedRecovery, RecoveryResult, Transition};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::nats::{Pair, Server};
use dr_testkit::publisher::Publisher;
use dr_testkit::service::Service;

use super::driver::SOON;

fn http(name: &str, component: &str, more: &str, service: &Service) -> String {
    format!(
        "  - name: {name}\n    component: {component}\n    owner: ops\n    priority: P1\n    {more}\n    checks:\n      \
         - name: health\n        http: {{ url: \"http://{}/health?token=hunter2\" }}\n",
        service.address
    )
}

fn mirror(name: &str, component: &str, more: &str) -> String {
    format!(
        "  - name: {name}\n    component: {component}\n    owner: data\n    priority: P0\n    {more}\n    checks:\n      \
         - name: agentese\n        nats_mirror:\n          origin: {{ nats: primary, stream: AGENTESE }}\n          \
         mirror: {{ nats: dr, stream: AGENTESE_MIRROR }}\n"
    )
}

const DEFAULTS: &str = "# the password is hunter2\ndefaults: { interval: 300ms, timeout: 2s, interval_when_down: 200ms, \
                        failures_to_trigger: 2 }\n";

/// One service that works, and one that does not.
pub struct Two {
    pub exporter: Exporter,
    _works: Service,
    pub fails: Service,
}

/// The contract `shop` is down and has an hour to recover, and `mail` works and was never down.
pub async fn two() -> Two {
    let (works, fails) = (Service::start().await, Service::start().await);
    let exporter = Exporter::start(&format!(
        "{DEFAULTS}contracts:\n{}{}",
        http("shop", "Shop", "rto: 1h", &fails),
        http("mail", "Mail", "rto: 5m", &works),
    ))
    .await;
    exporter.seen_healthy("shop", SOON).await;
    exporter.seen_healthy("mail", SOON).await;
    fails.well(false);
    exporter
        .until("the clock runs", SOON, |scrape| {
            scrape.get("dr_recovery_in_progress", &[("contract", "shop")]) == Some(1.0)
        })
        .await;
    Two { exporter, _works: works, fails }
}

/// A contract in every status.
pub struct All {
    pub exporter: Exporter,
    _pair: Pair,
    _publisher: Publisher,
    _services: [Service; 3],
}

/// Waits until each status is there: `queue` met, `shop` at risk and down, `orders` breached, `mail`
/// unproven, `api` met by a recovery. A trigger fires, and the past of two contracts is stored.
pub async fn all() -> All {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 20);
    let services = [Service::start().await, Service::start().await, Service::start().await];
    let [api, shop, mail] = &services;
    let app = |server: &Server| format!("servers: [\"nats://{}\"], user: app, password_file: app", server.address);
    let yaml = format!(
        "{DEFAULTS}nats:\n  primary: {{ {} }}\n  dr: {{ {} }}\ncontracts:\n{}{}{}{}{}triggers:\n  - {{ name: shop_down, \
         check: shop/health, consecutive_failures: 3, action: dns_failover, notification: pagerduty_critical }}\n",
        app(&pair.primary),
        app(&pair.dr),
        http("api", "API", "rto: 5m\n    drill_every: 30d", api),
        http("shop", "Shop", "rto: 1h\n    at_risk_ratio: 0.0005", shop),
        http("mail", "Mail", "rto: 5m", mail),
        mirror("queue", "NATS Streams", "rpo: 1h"),
        mirror("orders", "Orders", "rpo: 3s"),
    );
    let config = Config::new(&yaml).with("app", "app\n");
    remember(&config);
    let exporter = Exporter::start_in(config).await;
    exporter.seen_healthy("api", SOON).await;
    exporter.seen_healthy("shop", SOON).await;
    exporter.becomes("queue", "rpo", "met", SOON).await;
    api.well(false);
    shop.well(false);
    let runs = |contract: &'static str, value: f64| {
        move |scrape: &dr_testkit::scrape::Scrape| {
            scrape.get("dr_recovery_in_progress", &[("contract", contract)]) == Some(value)
        }
    };
    exporter.until("api is down", SOON, runs("api", 1.0)).await;
    api.well(true);
    exporter.until("api recovered", SOON, runs("api", 0.0)).await;
    pair.link.cut().await;
    exporter.becomes("orders", "rpo", "breached", SOON).await;
    exporter.becomes("shop", "rto", "at_risk", SOON).await;
    exporter.becomes("api", "rto", "met", SOON).await;
    exporter.becomes("queue", "rpo", "met", SOON).await;
    exporter.becomes("mail", "rto", "unproven", SOON).await;
    All { exporter, _pair: pair, _publisher: publisher, _services: services }
}

/// Stores a past: a day with a breach, a time at risk, and an hour in which nobody looked.
fn remember(config: &Config) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let now = Timestamp::from_unix_seconds(i64::try_from(now.as_secs()).expect("a time"));
    let ago = |minutes: u64| now.minus(Duration::from_secs(minutes * 60));
    let change = |contract: &str, objective, minutes, basis: Basis| Transition {
        contract: contract.to_owned(),
        objective,
        at: ago(minutes),
        was: None,
        status: basis.status(),
        basis,
    };
    let transitions = vec![
        change("queue", Objective::Rpo, 3000, Basis::ExposureWithinTarget),
        change("queue", Objective::Rpo, 900, Basis::ExposureAboveRatio),
        change("queue", Objective::Rpo, 870, Basis::ExposureReachedTarget),
        change("queue", Objective::Rpo, 845, Basis::ExposureWithinTarget),
        change("queue", Objective::Rpo, 300, Basis::ProofTooOld),
        change("queue", Objective::Rpo, 280, Basis::ExposureWithinTarget),
        change("api", Objective::Rto, 2900, Basis::LastRecoveryMet),
        change("api", Objective::Rto, 700, Basis::DownAboveRatio),
        change("api", Objective::Rto, 699, Basis::LastRecoveryMet),
        change("orders", Objective::Rpo, 2000, Basis::ExposureWithinTarget),
    ];
    let recovery = |contract: &str, minutes: u64, took: u64, mode| ClosedRecovery {
        contract: contract.to_owned(),
        first_failure: ago(minutes).minus(Duration::from_secs(took + 20)),
        trigger: ago(minutes).minus(Duration::from_secs(took)),
        healthy: ago(minutes),
        earliest: ago(minutes),
        recovery_seconds: took as f64,
        downtime_seconds: (took + 20) as f64,
        target_seconds: Some(300.0),
        result: Some(RecoveryResult::Met),
        mode,
        check: "health".to_owned(),
        reason: "connect_failed".to_owned(),
        data_at_risk_seconds: None,
    };
    let recoveries = vec![recovery("api", 17_280, 190, Mode::Drill), recovery("api", 699, 252, Mode::Real)];
    let mut observed = BTreeMap::new();
    for contract in ["queue", "api", "orders", "shop", "mail"] {
        observed.insert((contract.to_owned(), ago(3000)), ago(540));
        observed.insert((contract.to_owned(), ago(480)), ago(1));
    }
    let batch = Batch { transitions, recoveries, observed, ..Batch::default() };
    let mut store = Sqlite::of(config.path("data")).open().expect("a store");
    store.save(&batch).expect("saved");
}
