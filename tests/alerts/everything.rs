//! Every query of every rule and every panel gives something in at least one state that can be staged.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::SOON;
use super::monitoring::Monitoring;
use super::world::World;
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::prometheus::unix;
use dr_testkit::proxy::Proxy;
use dr_testkit::service::Service;
use dr_testkit::{free_ports, let_pass, own_ip};

/// What cannot be staged here, by a part of its name, and why. A query that gives something all the same must not stand here.
const NOT_STAGED: [(&str, &str); 4] = [
    ("alert DRClockSkew", "all processes of a test have one clock; alerts/tests/exporter.yml has its cases"),
    ("alert DRContractConflict", "the exporters here are of one job; alerts/tests/exporter.yml has its case"),
    ("alert DRShardMissing", "the exporters here are no shards; alerts/tests/shards.yml has its cases"),
    (
        "alert DRIncidentActive",
        "a declaration needs a user, and Prometheus would too; alerts/tests/people.yml has its cases",
    ),
];

/// What gives something only once the API is back, or an exporter is gone.
const LATER: [&str; 2] = ["alert DRRecoveryMissedObjective", "alert DRExporterDown"];

/// The contracts that a dashboard's `$contract` can be.
const CONTRACTS: [&str; 11] =
    ["api", "observability", "streams", "lost", "forked", "secrets", "pods", "query", "dashboards", "blind", "other"];

/// Queries by their names, until they have given something.
type Open = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

/// Every query of every dashboard, with each contract in the place of the variable.
fn of_dashboards() -> BTreeMap<String, Vec<String>> {
    let mut queries = BTreeMap::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("dashboards");
    let is_board = |file: &fs::DirEntry| file.path().extension().is_some_and(|ending| ending == "json");
    for file in fs::read_dir(directory).expect("dashboards").flatten().filter(is_board) {
        let board: Value = serde_json::from_slice(&fs::read(file.path()).expect("a file")).expect("JSON");
        let name = file.file_name().to_string_lossy().into_owned();
        let panels = board["panels"].as_array().expect("panels").iter();
        let panels =
            panels.flat_map(|panel| [panel].into_iter().chain(panel["panels"].as_array().into_iter().flatten()));
        for panel in panels {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let at = format!("{name} panel {} {} {}", panel["id"], panel["title"], target["refId"]);
                queries.insert(at, filled(&target["expr"]));
            }
        }
        for annotation in board["annotations"]["list"].as_array().into_iter().flatten() {
            queries.insert(format!("{name} annotation {}", annotation["name"]), filled(&annotation["expr"]));
        }
    }
    queries
}

fn filled(expression: &Value) -> Vec<String> {
    let expression = expression.as_str().expect("a text").replace("$__rate_interval", "5s").replace("$instance", ".*");
    match expression.contains("$contract") {
        true => CONTRACTS.iter().map(|contract| expression.replace("$contract", contract)).collect(),
        false => vec![expression],
    }
}

/// Every query of every rule, as Prometheus read it; alerts tell everything that a page needs.
async fn of_rules(monitoring: &Monitoring) -> BTreeMap<String, Vec<String>> {
    let mut queries = BTreeMap::new();
    for (index, rule) in monitoring.rules().await.iter().enumerate() {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (name, query) = (text(&rule["name"]), text(&rule["query"]));
        if rule["type"] == "alerting" {
            for annotation in ["summary", "description", "response", "escalation", "runbook_url", "dashboard_url"] {
                assert!(rule["annotations"][annotation].is_string(), "{name} has no {annotation}");
            }
            let scope = rule["labels"]["scope"].as_str().unwrap_or_default();
            queries.insert(format!("alert {name} {scope} {index}"), vec![query]);
        } else {
            queries.insert(format!("record {name} {index}"), vec![query]);
        }
    }
    assert!(queries.len() > 40, "{queries:?}");
    queries
}

/// Asks what has given nothing yet, again and again. A round can take longer than a state lasts: each asks for all the time
/// since the start of the last one, and for two seconds more, in which samples may still have come in. Ends with the test.
fn ask(monitoring: Arc<Monitoring>, open: Open) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let mut last = unix();
        loop {
            let since = std::mem::replace(&mut last, unix()) - 2.0;
            let todo: Vec<_> = lock(&open).clone().into_iter().collect();
            for (name, queries) in todo {
                for query in queries {
                    let series = match monitoring.query_since(&query, since).await {
                        Ok(series) => Ok(series),
                        // One moment at which it cannot be answered hides the others.
                        Err(_) => monitoring.query(&query).await,
                    };
                    match series {
                        Ok(series) if series.is_empty() => {}
                        Ok(_) => drop(lock(&open).remove(&name)),
                        Err(error) if error.contains("parse error") || error.contains("bad_data") => {
                            panic!("{name}: {error}")
                        }
                        // Between two states a matching can be many-to-many; what stays so is found at the end.
                        Err(error) => eprintln!("{name}: {error}"),
                    }
                }
            }
            let_pass(Duration::from_millis(300)).await;
        }
    })
}

fn lock(open: &Open) -> std::sync::MutexGuard<'_, BTreeMap<String, Vec<String>>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until all queries whose name has these words have given something, but for those that cannot, and for `later`.
async fn seen(open: &Open, words: &str, later: &[&str]) {
    let left = || -> Vec<String> {
        let staged = |name: &&String| !NOT_STAGED.iter().any(|(not, _)| name.starts_with(not));
        let can = |name: &&String| staged(name) && !later.iter().any(|later| name.starts_with(later));
        lock(open).keys().filter(|name| name.contains(words)).filter(can).cloned().collect()
    };
    let deadline = Instant::now() + SOON;
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "these have given nothing for {SOON:?}: {:#?}", left());
        let_pass(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_query_gives_something() {
    let mut world = World::start().await;
    // Prometheus is watched by the exporter that it scrapes.
    let [scraped] = free_ports::<1>(own_ip());
    let mut door = Proxy::to(scraped).await;
    let service = Service::start().await;
    let other = Config::new(&format!("{}{}", Service::defaults("500ms"), service.contract("other", "1m")));
    // Where its storage should be there is a file.
    other.file("data", "in the way");
    let mut other = Exporter::start_in(other).await;
    let worn = Config::new(&format!("{}{}", Service::defaults("500ms"), service.contract("worn", "1m")));
    std::fs::create_dir(worn.path("data")).expect("a directory");
    std::fs::write(worn.path("data/dr-exporter.db"), "no database".repeat(1000)).expect("a damaged storage");
    let mut worn = Exporter::start_in(worn).await;
    let monitoring = Arc::new(Monitoring::start(&[door.address(), other.address, worn.address]).await);
    let mut exporter = world.exporter(monitoring.prometheus.address).await;
    door.lead_to(exporter.address).await;

    let mut queries = of_dashboards();
    queries.extend(of_rules(&monitoring).await);
    let all = queries.len();
    let open: Open = Arc::new(Mutex::new(queries));
    let asking = ask(Arc::clone(&monitoring), Arc::clone(&open));
    exporter.becomes("streams", "rpo", "met", SOON).await;
    exporter.becomes("secrets", "rpo", "met", SOON).await;
    monitoring.prometheus.has(r#"dr_check_healthy{contract="query"} == 1"#).await;
    monitoring.prometheus.has("dr_argocd_app_synced == 1").await;

    break_it(&mut world, &exporter).await;
    seen(&open, "They have differed for", &[]).await;
    world.secrets("newer", "equal", "False").await;
    exporter.becomes("api", "rto", "breached", SOON).await;
    // Before the API is back, since that ends its alarms.
    seen(&open, "alert ", &LATER).await;
    // The second resolver follows; the API is back, too late.
    world.resolvers[1].holds("api A 198.51.100.7 30").await;
    world.api.live().await;
    monitoring.prometheus.has("dr_dns_propagation_seconds").await;
    // Nothing but that alert needs an exporter that is gone.
    seen(&open, "", &["alert DRExporterDown"]).await;

    other.kill();
    worn.kill();
    // Before the last one is gone, since that ends the alert of single contracts.
    seen(&open, "", &["alert DRExporterDown all"]).await;
    exporter.kill();
    seen(&open, "", &[]).await;
    asking.abort();

    let left = lock(&open).clone();
    println!("{} of {all} queries gave something; {:?}", all - left.len(), left.keys());
    for name in left.keys() {
        assert!(
            NOT_STAGED.iter().any(|(not, _)| name.starts_with(not)),
            "{name} never gave anything: {:?}",
            left[name]
        );
    }
    for (not, why) in NOT_STAGED {
        let listed = left.keys().any(|name| name.starts_with(not));
        assert!(listed, "{not} gives something, or is gone: take it off the list. It said: {why}");
    }
}

/// Everything that can fail by itself does.
async fn break_it(world: &mut World, exporter: &Exporter) {
    // The API lives without observability, and then does not.
    world.observability.die();
    let ok = |wanted: f64| {
        move |scrape: &dr_testkit::scrape::Scrape| scrape.get("dr_degraded_operation_ok", &[]) == Some(wanted)
    };
    exporter.until("it works without", SOON, ok(1.0)).await;
    world.api.die();
    world.nats.link.cut().await;
    world.nats.mirror.promote("FORKED_MIRROR", &["forked.>"]).await.expect("it is promoted");
    let both = [("contract", "forked"), ("writer", "both")];
    exporter.until("both are writable", SOON, |scrape| scrape.get("dr_nats_writer", &both) == Some(1.0)).await;
    world.nats.origin.publish("forked.a", "one").await.expect("the origin takes writes");
    world.nats.mirror.publish("forked.a", "other").await.expect("the promoted mirror takes writes");
    world.secrets("newer", "equal", "True").await;
    world.application("OutOfSync", json!({})).await;
    world.pods(false).await;
    world.grafana[0].loses("detail");
    world.grafana[0].gets("overview", 2, "another");
    world.resolvers[0].holds("api A 198.51.100.7 300; api A 203.0.113.9 300").await;
    exporter.config().file("config.yaml", "contracts: nonsense");
    let answer = client().post(exporter.url("/-/reload")).send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
}
