//! Every way to be let in, and a start with nobody there.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use async_nats::ConnectOptions;
use serde_json::json;

use super::{CHECK, CONTRACT, RPO, SOON, always_calm, as_app, contract, runs_on, start, watch_pair};
use dr_testkit::certs::{self, Authority};
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::jwt::Operator;
use dr_testkit::nats::{Api, Cold, MIRROR, ORIGIN, Pair, Server, app, current};
use dr_testkit::process::runs;
use dr_testkit::publisher::Publisher;
use dr_testkit::watch::Watch;
use dr_testkit::{let_pass, tool};

async fn streams(api: &Api) {
    api.create_stream(ORIGIN, &["agentese.>"]).await;
    api.create(json!({"name": MIRROR, "num_replicas": 1, "mirror": {"name": ORIGIN}})).await;
    api.publish_many("agentese.a", 5).await;
    api.reaches(MIRROR, 5, SOON).await;
}

/// The check works, with a message to read and without one.
async fn works(exporter: &Exporter, api: &Api) {
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let (watch, since) = (Watch::start(exporter), SystemTime::now());
    let _publisher = Publisher::start(api, 50);
    // It goes on while messages come.
    let_pass(Duration::from_secs(2)).await;
    always_calm(&watch, since);
    let failures = exporter.scrape().await.reasons(CONTRACT);
    println!("failures until it worked: {failures:?}");
}

fn config(connection: &str) -> Config {
    Config::new(&contract(connection, connection, ORIGIN, MIRROR))
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_ca_and_client_certificate() {
    let mut server = Server::new(&current());
    let dir = server.path("");
    let authority = Authority::new();
    authority.write(&dir, "server", &server.address.ip().to_string());
    authority.write(&dir, "client", "client");
    server.configure(&format!(
        "jetstream {{ store_dir: \"{}\" }}\ntls {{ cert_file: \"{dir}/server.pem\", key_file: \"{dir}/server.key\"\n
         ca_file: \"{dir}/ca.pem\", verify: true }}\n",
        server.store(),
        dir = dir.display()
    ));
    server.run();
    let read = |name: &str| fs::read_to_string(dir.join(name)).expect("a certificate is read");
    let options = ConnectOptions::new().add_root_certificates(dir.join("ca.pem")).require_tls(true);
    let api = server.api(options.add_client_certificate(dir.join("client.pem"), dir.join("client.key"))).await;
    streams(&api).await;
    let connection = format!("servers: [\"tls://{}\"], ca_file: ca.pem", server.address);

    let mutual = config(&format!("{connection}, cert_file: client.pem, key_file: client.key"))
        .with("ca.pem", &read("ca.pem"))
        .with("client.pem", &read("client.pem"))
        .with("client.key", &read("client.key"));
    works(&Exporter::start_in(mutual).await, &api).await;

    let nameless = Exporter::start_in(config(&connection).with("ca.pem", &read("ca.pem"))).await;
    let strangers = Exporter::start_in(config(&connection).with("ca.pem", &Authority::new().pem())).await;
    for exporter in [nameless, strangers] {
        let watch = Watch::start(&exporter);
        exporter.until("tls_failed", SOON, |scrape| scrape.reasons(CONTRACT).contains_key("tls_failed")).await;
        exporter.runs_on(CONTRACT, 2, SOON).await;
        watch.never(SystemTime::UNIX_EPOCH, CONTRACT, "rpo", "met");
    }
}

/// A server with this certificate and key, with the words for a connection to it that trusts that certificate alone.
async fn server_with((certificate, key): (String, String), server: &mut Server) -> Config {
    let dir = server.path("").display().to_string();
    fs::write(server.path("server.pem"), &certificate).expect("a certificate is written");
    fs::write(server.path("server.key"), key).expect("a key is written");
    let store = server.store();
    server.configure(&format!(
        "jetstream {{ store_dir: \"{store}\" }}\ntls {{ cert_file: \"{dir}/server.pem\", key_file: \"{dir}/server.key\" }}\n"
    ));
    server.run();
    server.listens().await;
    let connection = format!("servers: [\"tls://{}\"], ca_file: server.pem", server.address);
    config(&connection).with("server.pem", &certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_stands_itself_in_the_ca_file() {
    let mut server = Server::new(&current());
    let config = server_with(certs::self_signed(&server.address.ip().to_string()), &mut server).await;
    works_in(&Exporter::start_in(config).await).await;

    let mut server = Server::new(&current());
    let elsewhere = server_with(certs::self_signed("api.example.com"), &mut server).await;
    let exporter = Exporter::start_in(elsewhere).await;
    exporter.logs(&["tls_failed", "certificate is not for", "but for api.example.com"], SOON).await;
}

/// It makes connections over TLS: that there are no streams is told by JetStream.
async fn works_in(exporter: &Exporter) {
    let is_told = |scrape: &dr_testkit::scrape::Scrape| scrape.reasons(CONTRACT).contains_key("mirror_stream_missing");
    exporter.until("JetStream is asked", SOON, is_told).await;
}

/// Clients with other libraries are served: it is no outage.
#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_key_that_is_not_supported() {
    let mut server = Server::new(&current());
    let exporter = Exporter::start_in(server_with(certs::of_fixture("p521"), &mut server).await).await;
    let watch = Watch::start(&exporter);
    exporter.logs(&["tls_unsupported", "handshake_failure", "supported here: TLS 1.2 and 1.3", "P-384"], SOON).await;
    runs_on(&exporter).await;
    watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
    // A machine that is too busy for a handshake in time says nothing of keys.
    let log = exporter.log();
    let other = log.lines().filter(|line| line.contains("connect_failed") && !line.contains("within"));
    assert_eq!(other.collect::<Vec<_>>(), Vec::<&str>::new());
    let reasons = exporter.scrape().await.reasons(CONTRACT);
    let known = ["tls_unsupported", "connecting", "connect_failed"];
    assert!(reasons.keys().all(|reason| known.contains(&reason.as_str())), "{reasons:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_tls_first() {
    let mut server = Server::new(&current());
    let dir = server.path("");
    Authority::new().write(&dir, "server", &server.address.ip().to_string());
    server.configure(&format!(
        "jetstream {{ store_dir: \"{}\" }}\n\
         tls {{ cert_file: \"{dir}/server.pem\", key_file: \"{dir}/server.key\", handshake_first: true }}\n",
        server.store(),
        dir = dir.display()
    ));
    server.run();
    let api = server.api(ConnectOptions::new().add_root_certificates(dir.join("ca.pem")).tls_first()).await;
    streams(&api).await;
    let ca = fs::read_to_string(dir.join("ca.pem")).expect("a certificate is read");
    for scheme in ["tls", "nats"] {
        let connection = format!("servers: [\"{scheme}://{}\"], ca_file: ca.pem", server.address);
        let plain = Exporter::start_in(config(&connection).with("ca.pem", &ca)).await;
        let watch = Watch::start(&plain);
        plain.logs(&["tls_failed", "it is TLS-first", "set tls_first: true"], SOON).await;
        runs_on(&plain).await;
        // Those who know can write: it is no outage.
        watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
        assert!(plain.scrape().await.reasons(CONTRACT).keys().all(|reason| reason != "connect_failed"));
        drop((watch, plain));
        let first = format!("{connection}, tls_first: true");
        works(&Exporter::start_in(config(&first).with("ca.pem", &ca)).await, &api).await;
    }
    // One that hangs says nothing in TLS either.
    server.freeze();
    let connection = format!("servers: [\"tls://{}\"], ca_file: ca.pem", server.address);
    let frozen = Exporter::start_in(config(&format!("{connection}, tls_first: true")).with("ca.pem", &ca)).await;
    frozen.logs(&["connect_failed", "no TLS handshake within"], SOON).await;
    let frozen = Exporter::start_in(config(&connection).with("ca.pem", &ca)).await;
    frozen.logs(&["connect_failed", "no INFO within"], SOON).await;
    frozen.until("it is down", SOON, |scrape| scrape.get("dr_check_healthy", &CHECK) == Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_first_to_a_server_that_is_not() {
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, _api) = Server::start(&current(), users, app()).await;
    let connection = format!("{}, ca_file: ca.pem, tls_first: true", as_app(&server));
    let files = config(&connection).with("app", "app\n").with("ca.pem", &Authority::new().pem());
    let exporter = Exporter::start_in(files).await;
    let watch = Watch::start(&exporter);
    exporter.logs(&["tls_failed", "not TLS", "tls_first is set"], SOON).await;
    exporter.runs_on(CONTRACT, 2, SOON).await;
    watch.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
}

/// An account that sees another one's JetStream under a name of its own, and no other part of it.
#[tokio::test(flavor = "multi_thread")]
async fn another_accounts_jetstream_is_imported_under_a_prefix() {
    const ACCOUNTS: &str = r#"
        accounts {
          APP { jetstream: enabled, users: [{ user: app, password: app }]
            exports: [{ service: "$JS.hub.API.>", response: stream }] }
          WATCH { users: [{ user: watch, password: app }]
            imports: [{ service: { account: APP, subject: "$JS.hub.API.>" }, to: "JS.app.API.>" }] }
        }"#;
    let mut server = Server::new(&current());
    server.configure(&format!("jetstream {{ store_dir: \"{}\", domain: hub }}\n{ACCOUNTS}\n", server.store()));
    server.run();
    let api = server.api(app()).await;
    streams(&api).await;
    let watch = format!("servers: [\"nats://{}\"], user: watch, password_file: app", server.address);
    let of_connection = format!("{watch}, api_prefix: JS.app.API");
    works(&start(&contract(&of_connection, &of_connection, ORIGIN, MIRROR)).await, &api).await;
    // A side says it for itself, whatever the connection says.
    let elsewhere = format!("{watch}, domain: elsewhere");
    let of_side = contract(&elsewhere, &elsewhere, ORIGIN, MIRROR);
    let of_side = of_side.replace(" stream: AGENTESE", " api_prefix: JS.app.API, stream: AGENTESE");
    works(&start(&of_side).await, &api).await;
    // Without it the account is none of JetStream.
    let exporter = start(&contract(&watch, &watch, ORIGIN, MIRROR)).await;
    let looked = Watch::start(&exporter);
    exporter.logs(&["query_refused", "not enabled for account"], SOON).await;
    exporter.runs_on(CONTRACT, 2, SOON).await;
    looked.always(SystemTime::UNIX_EPOCH, CONTRACT, "rto", "unproven");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_no_roots_are_needed() {
    fn trusts_nobody(command: &mut Command) {
        command.env("SSL_CERT_FILE", "/nonexistent").env("SSL_CERT_DIR", "/nonexistent");
    }
    let users = "authorization { users: [{ user: app, password: app }] }\n";
    let (server, api) = Server::start(&current(), users, app()).await;
    streams(&api).await;
    let connection = as_app(&server);
    let exporter = Exporter::start_as(config(&connection).with("app", "app\n"), trusts_nobody).await;
    works(&exporter, &api).await;
    assert_eq!(exporter.scrape().await.reasons(CONTRACT).get("credentials_unreadable"), None);

    // Nor to ask the exporter itself.
    let ask = |url: &str| {
        let mut check = Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        trusts_nobody(&mut check);
        let output = check.args(["check", "--url", url]).output().expect("check runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    };
    let said = ask(&exporter.url("/"));
    assert!(said.contains("PASS") && !said.contains("certificates"), "{said}");
    // With TLS they are, and it is said so.
    let said = ask(&exporter.url("/").replace("http:", "https:"));
    assert!(said.contains("no trusted root certificates"), "{said}");
    let tls = Exporter::start_as(config(&connection.replace("nats://", "tls://")).with("app", "app\n"), trusts_nobody);
    tls.await.logs(&["credentials_unreadable", "no trusted root certificates"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nkey() {
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().expect("a new key has a seed");
    let allowed = format!("authorization {{ users: [{{ nkey: {} }}] }}\n", key.public_key());
    let (server, api) = Server::start(&current(), &allowed, ConnectOptions::with_nkey(seed.clone())).await;
    streams(&api).await;
    let connection = format!("servers: [\"nats://{}\"], nkey_file: user.nk", server.address);
    works(&Exporter::start_in(config(&connection).with("user.nk", &format!("{seed}\n"))).await, &api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn token() {
    let allowed = "authorization { token: s3cret }\n";
    let (server, api) = Server::start(&current(), allowed, ConnectOptions::with_token("s3cret".into())).await;
    streams(&api).await;
    let connection = format!("servers: [\"nats://{}\"], token_file: token", server.address);
    works(&Exporter::start_in(config(&connection).with("token", "s3cret\n")).await, &api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_file() {
    let operator = Operator::new();
    let options = ConnectOptions::with_credentials(&operator.credentials).expect("the credentials are well-formed");
    let (server, api) = Server::start(&current(), &operator.config, options).await;
    streams(&api).await;
    let connection = format!("servers: [\"nats://{}\"], credentials_file: user.creds", server.address);
    works(&Exporter::start_in(config(&connection).with("user.creds", &operator.credentials)).await, &api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_inbox_prefix_with_the_least_permissions() {
    let users = r#"
        authorization { users: [
          { user: app, password: app }
          { user: least, password: app, permissions: {
              subscribe: { allow: ["_INBOX.dr.>"] }
              publish: { allow: [
                "$JS.API.STREAM.INFO.AGENTESE", "$JS.API.STREAM.MSG.GET.AGENTESE"
                "$JS.API.STREAM.INFO.AGENTESE_MIRROR", "$JS.API.STREAM.MSG.GET.AGENTESE_MIRROR" ] } } } ] }"#;
    let (server, api) = Server::start(&current(), users, app()).await;
    streams(&api).await;
    let connection =
        format!("servers: [\"nats://{}\"], user: least, password_file: app, inbox_prefix: _INBOX.dr", server.address);
    let exporter = start(&contract(&connection, &connection, ORIGIN, MIRROR)).await;
    works(&exporter, &api).await;
    assert_eq!(exporter.scrape().await.reasons(CONTRACT).get("forbidden"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_through_the_leafnode_by_its_domain() {
    let mut pair = Pair::start().await;
    let dr = as_app(&pair.dr);
    let exporter = start(&contract(&format!("{dr}, domain: primary"), &dr, ORIGIN, MIRROR)).await;
    let publisher = Publisher::start(&pair.origin, 50);
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let watch = Watch::with_copy(&exporter, &pair.mirror, MIRROR);
    let since = SystemTime::now();
    pair.link.cut().await;
    exporter.becomes(CONTRACT, "rpo", "unproven", SOON).await;
    watch.never(since, CONTRACT, "rpo", "breached");
    watch.no_false_green(since, CONTRACT, &publisher, RPO, |_| true);
    // A link is not the component: the origin took messages all the time.
    for look in watch.since(since) {
        assert_eq!(look.scrape.get("dr_recovery_in_progress", &[("contract", CONTRACT)]), Some(0.0), "{}", look.scrape);
    }
    exporter.logs(&["domain_unreachable", "leafnode"], SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_down_at_start() {
    let cold = Cold::new(&current(), "").await;
    let yaml = contract(&as_app(&cold.primary), &as_app(&cold.dr), ORIGIN, MIRROR);
    let exporter = start(&yaml).await;
    let watch = Watch::start(&exporter);
    let since = SystemTime::now();
    // Who waits for servers waits each time, a busy machine does not.
    let mut fastest = Duration::MAX;
    for _ in 0..5 {
        let asked = Instant::now();
        exporter.scrape().await;
        fastest = fastest.min(asked.elapsed());
        let_pass(Duration::from_millis(500)).await;
    }
    assert!(fastest < Duration::from_secs(1), "/metrics took {fastest:?}");
    watch.always(since, CONTRACT, "rpo", "unproven");
    for look in watch.since(since) {
        assert_eq!(look.scrape.observed(CONTRACT, "rpo"), None, "nothing is known, so nothing is said");
        assert_ne!(look.scrape.get("dr_copy_lost", &CHECK), Some(1.0), "nothing is known of the copy");
    }
    let pair = cold.start().await;
    pair.create_streams().await;
    pair.origin.publish_many("agentese.a", 5).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_has_nothing_to_say_about_the_metrics() {
    let promtool = tool("PROMTOOL", "promtool").expect("no promtool: run `scripts/tools prometheus`, or `make test`");
    let pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 5).await;
    let exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    let metrics = exporter.metrics().await;
    let mut lint = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool runs");
    let mut stdin = lint.stdin.take().expect("stdin is piped");
    std::io::Write::write_all(&mut stdin, metrics.as_bytes()).expect("promtool reads");
    drop(stdin);
    let output = lint.wait_with_output().expect("promtool ends");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_though_a_server_hangs() {
    let pair = Pair::start().await;
    let mut exporter = watch_pair(&pair).await;
    exporter.becomes(CONTRACT, "rpo", "met", SOON).await;
    pair.primary.freeze();
    let id = exporter.process().id();
    exporter.process().signal("TERM");
    let status = exporter.process().wait(SOON).expect("it ends while the server hangs");
    assert!(status.success(), "{status}");
    assert!(!runs(id));
}
