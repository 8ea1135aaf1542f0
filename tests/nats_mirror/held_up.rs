//! A process that came too late to look says nothing of the servers.

use std::time::Duration;

use dr_exporter::clients::Clients;
use dr_exporter::clock::Clock;
use dr_exporter::domain::observation::{Health, Observation};
use dr_exporter::engine::check::Run;
use tokio::time::Instant;

use super::{CONTRACT, ORIGIN, SOON, as_app, contract, runs_on, start, watch_pair};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{MIRROR, Pair};
use dr_testkit::proxy::{Mode, Proxy};
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
        check.run(Run { clock: Clock::start(), max_age: Duration::ZERO, freshness: Duration::ZERO, deadline }).await
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

/// The exporter, and its ways to both servers.
async fn watch_by_ways(pair: &Pair, changed: &[(&str, &str)]) -> (Exporter, [Proxy; 2]) {
    let ways = [Proxy::to(pair.primary.address).await, Proxy::to(pair.dr.address).await];
    let by = |server, way: &Proxy| as_app(server).replace(&server.address.to_string(), &way.address().to_string());
    let yaml = contract(&by(&pair.primary, &ways[0]), &by(&pair.dr, &ways[1]), ORIGIN, MIRROR);
    let yaml = changed.iter().fold(yaml, |yaml, (from, to)| yaml.replace(from, to));
    (start(&yaml).await, ways)
}

/// Both servers waited for the login of a process that stands still, and gave the connections up. The runs that
/// begin after that did not stand still themselves.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_was_frozen_while_it_connected_accuses_no_server() {
    let pair = Pair::start().await;
    let (exporter, mut ways) = watch_by_ways(&pair, &[("timeout: 2s", "timeout: 20s")]).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    // Shorter than a step of the handshake may take, and longer.
    for stood_still in [1000, 2500, 1000] {
        // It finds its connections closed, and connects to servers that say nothing yet.
        exporter.freeze();
        for way in &mut ways {
            way.cut().await;
            way.set(Mode::BlackHole).await;
        }
        exporter.thaw();
        // Far from the 2 s that a server has for its INFO.
        let_pass(Duration::from_millis(400)).await;
        exporter.freeze();
        for way in &mut ways {
            way.cut().await;
            way.heal().await;
        }
        let_pass(Duration::from_millis(stood_still)).await;
        exporter.thaw();
        let scrape = exporter.runs_on(CONTRACT, 5, SOON).await;
        let unhealthy = scrape.get("dr_check_runs_total", &[("contract", CONTRACT), ("outcome", "unhealthy")]);
        assert_eq!(unhealthy.unwrap_or_default(), 0.0, "{stood_still} ms: {:?}\n{scrape}", scrape.reasons(CONTRACT));
        exporter.seen_healthy(CONTRACT, SOON).await;
    }
}

/// Both servers are down when the process stops, and are back long before it goes on. What it knew of them
/// before is no look.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_known_before_a_stand_still_is_not_seen_after_it() {
    let pair = Pair::start().await;
    // A failure is known to last for 2.25 s. A look that fails up to 11 s after it is of the same stretch.
    let changed = [("rto: 1m", "rto: 6s"), ("interval: 500ms", "interval: 3s"), ("trigger: 3", "trigger: 1")];
    let (exporter, mut ways) = watch_by_ways(&pair, &changed).await;
    exporter.seen_healthy(CONTRACT, SOON).await;
    for way in &mut ways {
        way.cut().await;
    }
    let runs = [("contract", CONTRACT)];
    exporter.until("it is down", SOON, |scrape| scrape.get("dr_recovery_in_progress", &runs) == Some(1.0)).await;
    exporter.freeze();
    for way in &mut ways {
        way.heal().await;
    }
    let_pass(Duration::from_millis(8500)).await;
    exporter.thaw();
    let over = exporter.until("it is over", SOON, |scrape| {
        assert_ne!(scrape.status(CONTRACT, "rto"), "breached", "nobody saw it fail for that long:\n{scrape}");
        scrape.get("dr_recovery_in_progress", &runs) == Some(0.0)
    });
    let over = over.await;
    let missed = over.series("dr_recoveries_total", &[("contract", CONTRACT), ("result", "missed")]);
    assert_eq!(missed.map(|(_, count)| count).sum::<f64>(), 0.0, "{over}");
}
