//! `dr-exporter check --drill-suite`: the drills of the kind `check` with one schedule.

use super::check::{check, text, told};
use super::{Service, contract, contracts};
use dr_testkit::exporter::Config;

/// Two contracts on services, and one that cannot be measured: its file is missing.
fn config(up: &Service, down: &Service) -> Config {
    let more = "
  - name: secrets
    component: Secrets
    owner: ops
    priority: P0
    rto: 30m
    checks:
      - { name: sync, timeout: 1s, external_secret: { dr: dr, namespace: apps, name: api-secrets } }
kubernetes: { dr: { kubeconfig_file: absent/kubeconfig } }
drills:
  - { name: api-health, kind: check, every: weekly, contracts: [api] }
  - { name: all-health, kind: check, every: monthly, contracts: [api, web] }
  - { name: eso-sync, kind: check, every: 30d, checks: [secrets/sync, api/health] }
  - { name: everything, kind: check, every: quarterly, contracts: [api, web, secrets] }
  - { name: failover, every: weekly, contracts: [web] }
  - { name: review, every: 1d }
";
    Config::new(&(contracts(&[contract("api", "5m", &up.url), contract("web", "5m", &down.url)]) + more))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drills_with_one_schedule_are_verified_and_no_others() {
    let (up, down) = (Service::start().await, Service::start().await);
    down.well(false);
    let config = config(&up, &down);
    let run = async |suite: &str, output: &str| {
        let (suite, output) = (format!("--drill-suite={suite}"), format!("--output={output}"));
        text(&check(&config, &["--config.file=config.yaml", &suite, &output]).await)
    };
    for output in ["text", "json", "markdown", "nagios"] {
        let told = async |suite| run(suite, output).await;
        let (code, out) = told("weekly").await;
        assert_eq!(code, Some(0), "no other drill counts: {out}");
        assert!(!out.contains("web") && !out.contains("failover"), "{out}");
        let (code, out) = told("monthly").await;
        assert_eq!(code, Some(2), "{out}");
        assert!(out.contains("web/health: fails") && !out.contains("api/health"), "{out}");
        let (code, out) = told("30d").await;
        assert_eq!(code, Some(3), "what cannot be measured is no failure: {out}");
        assert!(out.contains("secrets/sync: not measured"), "{out}");
        assert_eq!(told("quarterly").await.0, Some(2), "a failure outweighs what is unproven");
    }
    assert_eq!(run("weekly", "text").await.1, "PASS      api-health\n\n1 weekly drill: 1 passed\n");
    let (_, out) = run("30d", "json").await;
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["drills"][0]["outcome"], "unproven", "{out}");
    let (_, out) = run("monthly", "nagios").await;
    assert_eq!(out, "DR CRITICAL - 1 monthly drill: 1 failed\nFAIL all-health: web/health: fails\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suite_that_does_not_exist_is_no_pass() {
    let (up, down) = (Service::start().await, Service::start().await);
    let config = config(&up, &down);
    for (arguments, words) in [
        (vec!["--config.file=config.yaml", "--drill-suite=1d"], "no drill of the kind `check`"),
        (vec!["--config.file=config.yaml", "--drill-suite=sometimes"], "weekly, monthly, quarterly"),
        (vec!["--config.file=config.yaml", "--drill-suite=weekly", "--contract=api"], "cannot be used with"),
        (vec!["--url=http://127.0.0.1:9", "--drill-suite=weekly"], "cannot be used with"),
    ] {
        let output = check(&config, &arguments).await;
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", told(&output));
        assert!(told(&output).contains(words), "{arguments:?}: {}", told(&output));
    }
}
