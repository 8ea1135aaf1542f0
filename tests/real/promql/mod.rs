//! What `promql` must hold, against a real Prometheus that scrapes a toy service.

mod copies;
mod evidence;
mod faults;
mod health;
mod recipes;
mod selectors;

use std::time::Duration;

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::scrape::Scrape;

const SOON: Duration = dr_testkit::PATIENCE;

/// A contract with one check of this stanza, both called `name`. `healthy_when` needs an RTO, the others an RPO.
fn contract(name: &str, target: &str, stanza: &str) -> String {
    format!(
        "  - name: {name}\n    component: {name}\n    owner: ops\n    priority: P1\n    {target}\n    checks:\n      \
         - name: {name}\n        promql:\n          prometheus: main\n{}\n",
        stanza.lines().map(|line| format!("          {}\n", line.trim())).collect::<String>()
    )
}

fn config(connection: &str, contracts: &[String]) -> String {
    format!(
        "defaults: {{ interval: 300ms, timeout: 5s, interval_when_down: 200ms, failures_to_trigger: 2 }}\n\
         prometheus:\n  main: {{ {connection} }}\ncontracts:\n{}",
        contracts.concat()
    )
}

async fn exporter(connection: &str, contracts: &[String]) -> Exporter {
    Exporter::start_in(Config::new(&config(connection, contracts))).await
}

/// How often a contract's check ended with an outcome.
fn runs(scrape: &Scrape, contract: &str, outcome: &str) -> f64 {
    scrape.get("dr_check_runs_total", &[("contract", contract), ("outcome", outcome)]).unwrap_or_default()
}

/// Waits until the check of a contract has a further run of this outcome.
async fn ends(exporter: &Exporter, contract: &str, outcome: &str) -> Scrape {
    let before = runs(&exporter.scrape().await, contract, outcome);
    exporter.until(&format!("{contract} ends {outcome}"), SOON, |scrape| runs(scrape, contract, outcome) > before).await
}

/// Waits until the check of a contract fails anew for this reason.
async fn fails(exporter: &Exporter, contract: &str, reason: &str) -> Scrape {
    let count = |scrape: &Scrape| scrape.reasons(contract).get(reason).copied().unwrap_or_default();
    let before = count(&exporter.scrape().await);
    exporter.until(&format!("{contract} fails with {reason}"), SOON, |scrape| count(scrape) > before).await
}

/// The value of a series that has the contract for its label.
fn figure(scrape: &Scrape, metric: &str, contract: &str) -> Option<f64> {
    scrape.get(metric, &[("contract", contract)])
}
