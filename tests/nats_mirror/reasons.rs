//! Every way not to get an answer has its own reason, and the log says what to do.

use std::time::SystemTime;

use serde_json::Value;

use super::{CHECK, CONTRACT, SOON, as_app, contract, runs_on, start};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::free_ports;
use dr_testkit::nats::{Api, MIRROR, ORIGIN, Server, app, current};
use dr_testkit::own_ip;
use dr_testkit::proxy::{Mode, Proxy};
use dr_testkit::watch::Watch;
use dr_testkit::{scrape::Scrape, wait_until};

/// One server with both streams: enough where it is the asking that fails.
async fn one_server() -> (Server, Api) {
    const USERS: &str = r#"
        accounts {
          APP { jetstream: enabled, users: [
            { user: app, password: app }
            { user: few, password: app, permissions: {
                publish: { allow: ["$JS.API.STREAM.INFO.AGENTESE_MIRROR", "$JS.API.STREAM.MSG.GET.>"] } } } ] }
          BARE { users: [{ user: bare, password: app }] }
        }"#;
    let (server, api) = Server::start(&current(), USERS, app()).await;
    streams(&api).await;
    (server, api)
}

async fn streams(api: &Api) {
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create(serde_json::json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 5).await;
    api.reaches(MIRROR, 5, SOON).await;
}

/// Reasons that lie with the exporter's own access. Whoever meets one of the others cannot write either.
const OURS: [&str; 8] = [
    "connection_rejected",
    "api_silent",
    "query_refused",
    "auth_failed",
    "forbidden",
    "credentials_unreadable",
    "tls_failed",
    "mirror_stream_missing",
];

/// The reason is counted and logged with what to do; nothing is ever `met`.
async fn gives(exporter: &Exporter, reason: &str, words: &[&str]) -> Scrape {
    let watch = Watch::start(exporter);
    let what = format!("the reason {reason}");
    let scrape = exporter.until(&what, SOON, |scrape| scrape.reasons(CONTRACT).contains_key(reason)).await;
    let line = exporter.logs(&[&[reason], words].concat(), SOON).await;
    println!("{line}");
    exporter.runs_on(CONTRACT, 2, SOON).await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "at_risk");
    let mut others = exporter.scrape().await.reasons(CONTRACT);
    others.remove(reason);
    // On a busy machine the first run may come before the connection does.
    others.remove("connecting");
    if OURS.contains(&reason) {
        // It says nothing of the component: no answer starts no clock.
        watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
    } else {
        others.remove("no_writer");
    }
    assert!(others.is_empty(), "other reasons than {reason}: {others:?}");
    scrape
}

/// Both sides are asked over this connection.
async fn start_on(connection: &str) -> Exporter {
    start(&contract(connection, connection, ORIGIN, MIRROR)).await
}

fn as_user(server: &Server, user: &str) -> String {
    format!("servers: [\"nats://{}\"], user: {user}, password_file: app", server.address)
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_password() {
    let (server, _api) = one_server().await;
    let connection = format!("servers: [\"nats://{}\"], user: app, password_file: wrong", server.address);
    let yaml = contract(&connection, &connection, ORIGIN, MIRROR);
    let exporter = Exporter::start_in(Config::new(&yaml).with("wrong", "guessed\n")).await;
    let scrape = gives(&exporter, "auth_failed", &["password"]).await;
    assert_ne!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "nothing is known of the copy");
    let said = format!("{}{}", exporter.log(), exporter.metrics().await);
    assert!(!said.contains("guessed"), "a secret is never said, not even a wrong one");
    // The right one is taken up when it comes.
    exporter.config().file("wrong", "app\n");
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denied_subject() {
    let (server, _api) = one_server().await;
    let exporter = start_on(&as_user(&server, "few")).await;
    let scrape = gives(&exporter, "forbidden", &["$JS.API.STREAM.INFO.AGENTESE"]).await;
    assert_ne!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "nothing is known of the copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_off_in_the_account() {
    let (server, _api) = one_server().await;
    let exporter = start_on(&as_user(&server, "bare")).await;
    let scrape = gives(&exporter, "query_refused", &["not enabled for account"]).await;
    assert_ne!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "nothing is known of the copy");
}

/// Where nobody knows that there ever was one: a server without JetStream may lead to those that have it.
#[tokio::test(flavor = "multi_thread")]
async fn jetstream_off_in_the_server() {
    let mut server = Server::new(&current());
    server.configure(USER);
    server.run();
    let api = server.connect(app()).await;
    let error = api.call("INFO", Value::Null).await.expect_err("no JetStream");
    println!("{error}");
    let exporter = start_on(&as_app(&server)).await;
    gives(&exporter, "api_silent", &["nobody answers at $JS.API.STREAM.INFO"]).await;
}

const USER: &str = "authorization { users: [{ user: app, password: app }] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_without_its_jetstream() {
    let (mut server, api) = Server::start(&current(), USER, app()).await;
    streams(&api).await;
    let exporter = start_on(&as_app(&server)).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    server.kill();
    let with = format!("server_name: single\njetstream {{ store_dir: \"{}\" }}\n{USER}", server.store());
    server.configure(USER);
    server.run();
    exporter.logs(&["jetstream_unavailable", "still enabled on the server"], SOON).await;
    // No client can write, and it is known since when.
    let scrape = exporter.until("it is down", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0)).await;
    assert!(scrape.reasons(CONTRACT).contains_key("no_writer"), "{scrape}");
    runs_on(&exporter).await;
    let scrape = exporter.scrape().await;
    assert_eq!(scrape.get("dr_check_healthy", &CHECK), Some(0.0), "it stays down:\n{scrape}");
    server.kill();
    server.configure(&with);
    server.run();
    exporter.until("it is up", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(1.0)).await;
}

/// Requests go to a name of the account's own, where somebody takes them and never answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_answers_while_its_api_does_not() {
    let (server, api) = one_server().await;
    let _silent = api.client.subscribe("nowhere.>").await.expect("subscribed");
    api.client.flush().await.expect("the subscription is there");
    let exporter = start_on(&format!("{}, api_prefix: nowhere.API", as_app(&server))).await;
    gives(&exporter, "api_silent", &["no answer at nowhere.API.STREAM.INFO", "answered a PING"]).await;
    // A server that hangs as a whole is down for clients too.
    server.freeze();
    exporter.logs(&["no answer at nowhere.API.STREAM.INFO", "not even a PING"], SOON).await;
    exporter.until("it is down", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0)).await;
    let reasons = exporter.scrape().await.reasons(CONTRACT);
    assert!(reasons.contains_key("no_writer") && reasons.contains_key("timeout"), "{reasons:?}");
}

/// The kernel takes its connections.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_frozen_before() {
    let (server, _api) = one_server().await;
    server.freeze();
    let exporter = start_on(&as_app(&server)).await;
    exporter.logs(&["connect_failed", "no INFO within"], SOON).await;
    exporter.until("it is down", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0)).await;
    server.thaw();
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn origin_stream_missing() {
    let (server, _api) = one_server().await;
    let connection = as_app(&server);
    let exporter = start(&contract(&connection, &connection, "NOWHERE", MIRROR)).await;
    gives(&exporter, "origin_stream_missing", &["NOWHERE"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mirror_stream_missing() {
    let (server, _api) = one_server().await;
    let connection = as_app(&server);
    let exporter = start(&contract(&connection, &connection, ORIGIN, "NOWHERE")).await;
    let scrape = gives(&exporter, "mirror_stream_missing", &["NOWHERE"]).await;
    assert_eq!(scrape.status(CONTRACT, "rpo"), "breached", "there is no copy:\n{scrape}");
    assert_eq!(scrape.get("dr_copy_lost", &CHECK), Some(1.0), "{scrape}");
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_unreadable() {
    let (server, _api) = one_server().await;
    let connection = format!("servers: [\"nats://{}\"], user: app, password_file: nowhere", server.address);
    let exporter = start_on(&connection).await;
    gives(&exporter, "credentials_unreadable", &["nowhere"]).await;
    // It is read again: a file that comes later is taken up.
    exporter.config().file("nowhere", "app\n");
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_no_server_can_have_meant() {
    let (server, _api) = one_server().await;
    for (keys, words) in [
        ("user: app, password_file: bad", "bad: holds more than one line"),
        ("token_file: bad", "bad: holds more than one line"),
        ("nkey_file: bad", "bad holds no NKey seed"),
        ("credentials_file: bad", "bad holds no JWT with its seed"),
    ] {
        let connection = format!("servers: [\"nats://{}\"], {keys}", server.address);
        let config = Config::new(&contract(&connection, &connection, ORIGIN, MIRROR)).with("bad", "hunter2\nhunter3\n");
        let exporter = Exporter::start_in(config).await;
        let scrape = gives(&exporter, "credentials_unreadable", &[words]).await;
        assert_eq!(scrape.get("dr_exporter_panics_total", &[]), Some(0.0), "{keys}");
        assert!(!exporter.log().contains("hunter"), "{keys}: {}", exporter.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_refused() {
    let [address] = free_ports(own_ip());
    let exporter = start_on(&format!("servers: [\"nats://{address}\"], user: app, password_file: app")).await;
    let watch = Watch::start(&exporter);
    let reason = "connect_failed";
    exporter.until(reason, SOON, |scrape| scrape.reasons(CONTRACT).contains_key(reason)).await;
    exporter.logs(&[reason, &address.to_string()], SOON).await;
    exporter.runs_on(CONTRACT, 2, SOON).await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "breached");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_wanted_and_not_given() {
    let (server, _api) = one_server().await;
    let exporter = start_on(&format!("servers: [\"tls://{}\"], user: app, password_file: app", server.address)).await;
    gives(&exporter, "tls_failed", &["tls"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_never_answers() {
    let (server, _api) = one_server().await;
    let mut proxy = Proxy::to(server.address).await;
    proxy.set(Mode::BlackHole).await;
    let connection = format!("servers: [\"nats://{}\"], user: app, password_file: app", proxy.address());
    let exporter = start_on(&connection).await;
    let watch = Watch::start(&exporter);
    let late = ["timeout", "connect_failed"];
    exporter
        .until("a time-out", SOON, |scrape| late.iter().any(|late| scrape.reasons(CONTRACT).contains_key(*late)))
        .await;
    watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    proxy.heal().await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

/// A server that is full serves those who are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_more_connections() {
    let (server, api) = one_server().await;
    server.reconfigure("accounts {", "max_connections: 1\n accounts {");
    let reloaded = async || server.log().contains("Reloaded server configuration").then_some(());
    wait_until("the server has read it", SOON, reloaded).await;
    let exporter = start_on(&as_app(&server)).await;
    gives(&exporter, "connection_rejected", &["maximum connections", "max_connections"]).await;
    api.publish_many("agentese.a", 1).await;
}
