//! A process that is stopped in the middle of its reads accuses no API server, and nothing in it.

use std::time::Duration;

use serde_json::json;

use super::{Pair, SOON, Status, argocd, contract, minutes, pods};
use dr_testkit::kube::Flavour;
use dr_testkit::let_pass;
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::scrape::Scrape;

const KINDS: [&str; 3] = ["secret", "application", "pods"];

dr_testkit::both! {
    who_is_frozen_in_the_middle_of_a_read_accuses_nobody,
}

fn runs(scrape: &Scrape, contract: &str, outcome: &str) -> f64 {
    scrape.get("dr_check_runs_total", &[("contract", contract), ("outcome", outcome)]).unwrap_or_default()
}

/// The API server took each question. While the process stands still, connections are closed, or are not.
async fn who_is_frozen_in_the_middle_of_a_read_accuses_nobody(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    for name in ["nats-0", "nats-1"] {
        pods::pod(&pair, pair.dr, name, "nats", true, json!([])).await;
    }
    argocd::application(&pair, pair.dr, "saas", argocd::spec(), argocd::healthy(minutes(2))).await;
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
    let mut link = Proxy::to(pair.dr.address()).await;
    let dr = pair.dr.kubeconfig(&format!("token: {}", pair.at_dr.token), Some(link.address()));
    let primary = pair.primary.kubeconfig_of(&pair.at_primary);
    let secret = format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let checks = [secret, argocd::check(&pair, ""), pods::check(&pair, "")];
    let contracts: String = KINDS.iter().zip(&checks).map(|(name, check)| contract(name, "rto: 1h", check)).collect();
    let exporter = pair.exporter_with(&contracts, &primary, &dr).await;
    let all_run_on = async || {
        let before = exporter.scrape().await;
        let more = |scrape: &Scrape, name: &str| runs(scrape, name, "healthy") > runs(&before, name, "healthy") + 1.0;
        exporter.until("every check is healthy", SOON, |scrape| KINDS.iter().all(|name| more(scrape, name))).await
    };
    for closes in [true, false] {
        all_run_on().await;
        link.set(Mode::BlackHole).await;
        // Long enough for each check to begin its next run, and far from its time-out of 5 s.
        let_pass(Duration::from_secs(1)).await;
        exporter.freeze();
        if closes {
            link.cut().await;
            link.heal().await;
        }
        let_pass(Duration::from_secs(7)).await;
        exporter.thaw();
        link.heal().await;
        let scrape = all_run_on().await;
        for name in KINDS {
            let reasons = scrape.reasons(name);
            let mine = reasons.keys().all(|reason| ["held_up", "local"].contains(&reason.as_str()));
            assert!(mine && runs(&scrape, name, "no_answer") >= 1.0, "closes: {closes}: {name}: {reasons:?}\n{scrape}");
            assert_eq!(runs(&scrape, name, "unhealthy"), 0.0, "closes: {closes}: {name}: {reasons:?}\n{scrape}");
        }
    }
}
