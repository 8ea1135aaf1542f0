//! A process that came too late to look says nothing of the servers.

use std::time::Duration;

use dr_exporter::clients::Clients;
use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Health, Observation};
use dr_exporter::engine::check::Run;
use tokio::time::Instant;

use super::{CONTRACT, ORIGIN, SOON, contract, runs_on, watch_pair};
use dr_testkit::nats::{MIRROR, Pair};
use dr_testkit::{let_pass, wait_until};

/// Without that, both sides would count as silent, which is an outage.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_held_up_knows_nothing() {
    let pair = Pair::start().await;
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("app"), "app\n").expect("a password");
    let as_app = |server| super::as_app(server);
    let yaml = contract(&as_app(&pair.primary), &as_app(&pair.dr), ORIGIN, MIRROR);
    let config = dr_exporter::config::parse(&yaml, &directory.path().join("config.yaml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let clients = Clients::new(config.connections.clone());
    let check = config.contracts[0].checks[0].kind.build(&clients);
    let run = async |deadline: Instant| -> Observation {
        check.run(Run { clock: Clock::start(), max_age: Duration::ZERO, deadline }).await
    };
    wait_until("both sides are connected, and answer", SOON, async || {
        let observation = run(Instant::now() + Duration::from_secs(5)).await;
        (observation.health == Health::Healthy).then_some(())
    })
    .await;
    // So that no answer comes at the last moment.
    pair.primary.freeze();
    pair.dr.freeze();
    let past = Instant::now().checked_sub(Duration::from_secs(1)).expect("the machine runs for longer");
    let observation = run(past).await;
    let Health::NoAnswer(finding) = &observation.health else { panic!("{:?} is no answer", observation.health) };
    assert_eq!(finding.reason.label, "local", "{finding}");
}

/// What the servers sent meanwhile waits to be read, so they were not silent.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_keeps_its_connections() {
    let pair = Pair::start().await;
    let exporter = watch_pair(&pair).await;
    for _ in 0..2 {
        exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
        exporter.freeze();
        // A server that is silent for 6 s is given up.
        let_pass(Duration::from_secs(10)).await;
        exporter.thaw();
        runs_on(&exporter).await;
    }
    let log = exporter.log();
    assert!(!log.contains("nats connection lost"), "the connections were fine:\n{log}");
}

/// Both servers are as silent as a process that stands still makes them: it asked, and came too late.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_in_the_middle_of_a_run_accuses_no_server() {
    let pair = Pair::start().await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // Every run that begins now waits for an answer.
    pair.primary.freeze();
    pair.dr.freeze();
    let_pass(Duration::from_millis(700)).await;
    exporter.freeze();
    pair.primary.thaw();
    pair.dr.thaw();
    let_pass(Duration::from_secs(4)).await;
    exporter.thaw();
    let scrape = exporter.runs_on(CONTRACT, 5, SOON).await;
    let unhealthy = scrape.get("dr_check_runs_total", &[("contract", CONTRACT), ("outcome", "unhealthy")]);
    assert_eq!(unhealthy.unwrap_or_default(), 0.0, "{:?}\n{scrape}", scrape.reasons(CONTRACT));
}
