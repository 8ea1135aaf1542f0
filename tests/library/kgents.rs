//! `config/kgents.yaml` holds what was promised, number by number. The tables are typed from the contracts' own document, not
//! from the file.

use std::path::Path;
use std::time::Duration;

use dr_exporter::checks::Condition;
use dr_exporter::checks::KindConfig;
use dr_exporter::config::{self, Config};
use dr_exporter::domain::check::CheckSpec;
use dr_exporter::domain::contract::{Contract, Priority};
use dr_exporter::domain::drill::DrillKind;
use dr_exporter::domain::schedule::Schedule;
use dr_exporter::domain::trigger::{TriggerMode, TriggerSpec, Watched};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn load() -> Config {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/kgents.yaml");
    config::load(&file).unwrap_or_else(|errors| panic!("{errors}"))
}

fn contract<'a>(config: &'a Config, name: &str) -> &'a config::model::Contract {
    config.contracts.iter().find(|contract| contract.spec.name == name).unwrap_or_else(|| panic!("no contract {name}"))
}

fn check<'a>(config: &'a Config, contract_name: &str, name: &str) -> (&'a CheckSpec, &'a KindConfig) {
    let contract = contract(config, contract_name);
    let check = contract.checks.iter().find(|check| check.spec.name == name);
    let check = check.unwrap_or_else(|| panic!("no check {contract_name}/{name}"));
    (&check.spec, &check.kind)
}

#[test]
fn recovery_targets() {
    #[rustfmt::skip]
    let table = [
        // component,            RTO,              RPO,               priority,     owner
        ("API",                  5 * MINUTE,       None,              Priority::P0, "ops"),
        ("NATS Streams",         15 * MINUTE,      Some(5 * MINUTE),  Priority::P0, "ops"),
        ("Secrets/Config",       30 * MINUTE,      Some(HOUR),        Priority::P0, "ops"),
        ("Observability",        HOUR,             None,              Priority::P2, "ops"),
        ("Grafana Dashboards",   2 * HOUR,         None,              Priority::P3, "ops"),
    ];
    let config = load();
    assert_eq!(config.contracts.len(), table.len());
    for (contract, (component, rto, rpo, priority, owner)) in config.contracts.iter().zip(table) {
        let targets = (contract.spec.rto, contract.spec.rpo);
        assert_eq!(contract.spec.component, component);
        assert_eq!(targets, (Some(seconds(rto)), rpo.map(seconds)), "{component}");
        assert_eq!((contract.spec.priority, contract.spec.owner.as_str()), (priority, owner), "{component}");
        // "RTO/RPO at risk (> 80% threshold)"
        assert!((contract.spec.at_risk_ratio - 0.8).abs() < f64::EPSILON, "{component}");
        // It can be measured: a contract of this specification judges both objectives.
        let checks = contract.checks.iter().map(|check| check.spec.clone());
        let judged = Contract::new(std::sync::Arc::new(contract.spec.clone()), checks);
        assert_eq!(judged.checks().iter().any(|check| check.spec().feeds.rpo), rpo.is_some(), "{component}");
    }
}

#[test]
fn continuous_and_periodic_synchronisation() {
    let config = load();
    #[rustfmt::skip]
    let table = [
        // state,                         lag budget,  alert threshold, kind
        ("nats-streams", "agentese",      5 * MINUTE,  3 * MINUTE,      "nats_mirror"),
        ("secrets",      "api-secrets",   5 * MINUTE,  10 * MINUTE,     "external_secret"),
    ];
    for (contract, name, budget, warn_after, kind) in table {
        let (spec, _) = check(&config, contract, name);
        assert_eq!((spec.lag_budget, spec.warn_after), (Some(seconds(budget)), Some(seconds(warn_after))), "{name}");
        assert_eq!(spec.kind.name, kind);
    }
    // Manifests, Helm values, network policies, RBAC: Argo CD, on commit, by sync status.
    assert_eq!(check(&config, "secrets", "kgents-saas").0.kind.name, "argocd_app");
    let KindConfig::ArgocdApp(app) = check(&config, "secrets", "kgents-saas").1 else { panic!("an application") };
    assert!(format!("{app:?}").contains("kgents-saas"));
    // The primary's is compared with: a DR that is pinned to an old tag is in sync with that.
    assert_eq!(app.primary.as_ref().map(|primary| primary.kubernetes.name().as_str()), Some("primary"));
    // Grafana dashboards: git export.
    assert_eq!(check(&config, "grafana-dashboards", "dashboards").0.kind.name, "grafana_dashboards");
    // "Health check interval: 10 seconds", "failover detection: 2-3 failed checks".
    let (health, KindConfig::Http(http)) = check(&config, "api", "health") else { panic!("an HTTP check") };
    assert_eq!((health.interval, health.failures_to_trigger), (seconds(10), 3));
    assert!(format!("{http:?}").contains("api.kgents.io"));
    // "API should be healthy even if observability is down."
    assert_eq!(contract(&config, "api").spec.independent_of, ["observability"]);
}

fn triggers(config: &Config) -> Vec<(TriggerSpec, Option<Condition>)> {
    let found = config.triggers.iter().map(|trigger| {
        let spec = trigger.spec(|place| Some(check(config, place.contract.as_str(), place.check.as_str()).0));
        (spec.expect("a specification"), trigger.own())
    });
    found.collect()
}

#[test]
fn automatic_triggers() {
    let config = load();
    #[rustfmt::skip]
    let table = [
        ("health_check_failure", "dns_failover", "pagerduty_critical", TriggerMode::Auto),
        ("error_rate_spike",     "alert_oncall", "pagerduty_warning",  TriggerMode::Manual),
        ("latency_degradation",  "alert_oncall", "slack_warning",      TriggerMode::Manual),
        // Of the decision matrix; it names no route.
        ("nats_cluster_down",    "consider_dr",  "pagerduty_critical", TriggerMode::Manual),
    ];
    let found = triggers(&config);
    let told: Vec<_> = found
        .iter()
        .map(|(spec, _)| (spec.name.as_str(), spec.action.as_str(), spec.notification.as_str(), spec.mode))
        .collect();
    assert_eq!(told, table);

    // "consecutive_failures >= 3", "check_interval: 30s": the third comes 60 s after the first.
    let (health, own) = &found[0];
    let watched = Watched::Check { contract: "api".to_owned(), check: "health".to_owned() };
    assert_eq!((&health.watched, health.when.failures_to_trigger), (&watched, 3));
    assert_eq!((health.when.hold, own.is_none()), (seconds(2 * 30), true));
    // "error_rate_5m > 50%", "p99_latency_5m > 10s".
    for (place, bound) in [(1, 0.5), (2, 10.0)] {
        let (spec, Some(Condition::Promql(query))) = &found[place] else { panic!("a query") };
        assert_eq!((query.above.map(|above| above.get()), query.below.is_none()), (Some(bound), true), "{}", spec.name);
        assert!(query.query.as_str().contains("5m"), "{}", query.query.as_str());
    }
    // "All 3 pods unhealthy": none is ready.
    let (_, Some(Condition::Pods(pods))) = &found[3] else { panic!("pods") };
    assert_eq!(pods.min_ready.get(), 1);
}

#[test]
fn manual_triggers() {
    let config = load();
    #[rustfmt::skip]
    let table: [(&str, &str, &[&str], &[&str]); 3] = [
        ("region_outage", "execute_dr_runbook", &["oncall", "sre_lead", "cto"],
            &["confirm_primary_unreachable", "notify_stakeholders", "initiate_failover", "verify_dr_health", "update_status_page"]),
        ("data_corruption", "halt_and_investigate", &["sre_lead", "cto"],
            &["stop_all_writes", "preserve_evidence", "assess_blast_radius", "decide_recovery_strategy"]),
        ("security_incident", "isolate_and_failover", &["security_team", "cto"],
            &["isolate_compromised_region", "rotate_all_secrets", "failover_to_clean_region", "forensic_preservation"]),
    ];
    assert_eq!(config.incidents.len(), table.len());
    for (incident, (name, action, declared_by, checklist)) in config.incidents.iter().zip(table) {
        assert_eq!((incident.name.as_str(), incident.action.as_str()), (name, action));
        let words = |names: &[dr_exporter::decode::values::Name]| {
            names.iter().map(|n| n.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(words(&incident.declared_by), declared_by, "{name}");
        assert_eq!(words(&incident.checklist), checklist, "{name}");
    }
}

#[test]
fn testing_schedule() {
    let config = load();
    #[rustfmt::skip]
    let table = [
        (Schedule::Weekly,    DrillKind::Check,    "Verify NATS mirror lag < 3 min"),
        (Schedule::Weekly,    DrillKind::Check,    "Check ESO sync status"),
        (Schedule::Weekly,    DrillKind::Check,    "Validate ArgoCD sync status"),
        (Schedule::Monthly,   DrillKind::Recovery, "DNS failover drill (staging)"),
        (Schedule::Monthly,   DrillKind::Recovery, "Secret rotation test"),
        (Schedule::Monthly,   DrillKind::Review,   "Runbook review"),
        (Schedule::Quarterly, DrillKind::Recovery, "Full DR drill (staging)"),
        (Schedule::Quarterly, DrillKind::Review,   "RTO/RPO measurement"),
        (Schedule::Quarterly, DrillKind::Review,   "Contract review and update"),
    ];
    let found = config.drills.iter().map(|drill| {
        let spec = drill.spec();
        (spec.every, spec.kind, spec.description.unwrap_or_default())
    });
    let table = table.map(|(every, kind, what)| (every, kind, what.to_owned()));
    assert_eq!(found.collect::<Vec<_>>(), table);
    // The drill that proves an RTO is due no later than the proof grows old.
    let drill_every = |name: &str| contract(&config, name).spec.drill_every;
    assert_eq!(drill_every("api"), Some(seconds(31 * DAY)));
    assert_eq!(drill_every("secrets"), Some(seconds(31 * DAY)));
    for name in ["nats-streams", "observability", "grafana-dashboards"] {
        assert_eq!(drill_every(name), Some(seconds(92 * DAY)), "{name}");
    }
}

#[test]
fn escalation_path() {
    let escalation = load().escalation;
    let table = [
        (Priority::P0, 15 * MINUTE, "CTO + Eng Lead"),
        (Priority::P1, HOUR, "SRE Lead"),
        (Priority::P2, 4 * HOUR, "On-call"),
    ];
    assert_eq!(escalation.len(), table.len());
    for (severity, within, who) in table {
        let response = &escalation[&severity];
        assert_eq!((response.within, response.escalate_to.as_str()), (seconds(within), who));
    }
}
