//! One system of several servers: that one of them is gone is not that the component is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::time::SystemTime;

use serde_json::json;

use super::{CHECK, CONTRACT, INTERVAL, SOON, TIMEOUT, contract, start};
use dr_testkit::exporter::Exporter;
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::watch::Watch;
use dr_testkit::{free_ports, let_pass, own_ip};

/// One server with both streams; several ways lead to it.
async fn one_server() -> (Server, Api) {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 5).await;
    api.reaches(MIRROR, 5, SOON).await;
    (server, api)
}

async fn watch(servers: &[SocketAddr]) -> Exporter {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"nats://{server}\"")).collect();
    let connection = format!("servers: [{}], user: app, password_file: app", servers.join(", "));
    start(&contract(&connection, &connection, ORIGIN, MIRROR)).await
}

/// Nothing was ever wrong with the component.
fn never_unhealthy(watch: &Watch) {
    for look in watch.since(SystemTime::UNIX_EPOCH) {
        assert_ne!(look.scrape.get("dr_check_healthy", &CHECK), Some(0.0), "a server is up:\n{}", look.scrape);
        let runs = look.scrape.get("dr_check_runs_total", &[CHECK[0], CHECK[1], ("outcome", "unhealthy")]);
        assert_eq!(runs, Some(0.0), "a server is up:\n{}", look.scrape);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_refuses() {
    let (server, _api) = one_server().await;
    let [dead] = free_ports(own_ip());
    let exporter = watch(&[dead, server.address]).await;
    let watch = Watch::start(&exporter);
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    exporter.runs_on(CONTRACT, 2, SOON).await;
    never_unhealthy(&watch);
    let mut reasons = exporter.scrape().await.reasons(CONTRACT);
    // On a busy machine the first run may come before the connection does.
    reasons.remove("connecting");
    assert_eq!(reasons, BTreeMap::new());
    // One that asks at once is not too early either.
    let mut check = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    check.args(["check", "--config.file"]).arg(exporter.config().path("config.yaml"));
    let output = check.output().expect("check runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.lines().any(|line| line.starts_with("PASS") && line.contains("rpo")), "{output:?}");
    assert!(!said.contains("connect"), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_of_two_is_silent() {
    let (server, _api) = one_server().await;
    let mut silent = Proxy::to(server.address).await;
    silent.set(Mode::BlackHole).await;
    let exporter = watch(&[silent.address(), server.address]).await;
    let watch = Watch::start(&exporter);
    exporter.until("connecting", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("connecting")).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    never_unhealthy(&watch);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_in_use_goes_and_the_next_one_is_taken() {
    let (server, _api) = one_server().await;
    let mut first = Proxy::to(server.address).await;
    let mut second = Proxy::to(server.address).await;
    let exporter = watch(&[first.address(), second.address()]).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::start(&exporter);
    // It ends what it has, and is silent to whoever comes again.
    first.cut().await;
    first.set(Mode::BlackHole).await;
    // Longer than evidence stays fresh.
    let_pass(INTERVAL * 4 + TIMEOUT).await;
    first.heal().await;
    second.cut().await;
    second.set(Mode::BlackHole).await;
    // And again.
    let_pass(INTERVAL * 4 + TIMEOUT).await;
    never_unhealthy(&watch);
    watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    drop(watch);
    // With the last one the component is gone.
    second.cut().await;
    first.cut().await;
    exporter.until("all are down", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0)).await;
    let reasons = exporter.scrape().await.reasons(CONTRACT);
    assert!(reasons.contains_key("no_writer"), "{reasons:?}");
    second.heal().await;
    exporter.until("one is up", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(1.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_down_and_the_other_refuses_our_password() {
    let (server, _api) = one_server().await;
    let [dead] = free_ports(own_ip());
    let connection =
        format!("servers: [\"nats://{}\", \"nats://{dead}\"], user: nobody, password_file: app", server.address);
    let exporter = start(&contract(&connection, &connection, ORIGIN, MIRROR)).await;
    let watch = Watch::start(&exporter);
    exporter.until("auth_failed", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("auth_failed")).await;
    // Long enough for further attempts, which are no runs of the check.
    let_pass(INTERVAL * 4 + TIMEOUT).await;
    never_unhealthy(&watch);
}
