//! Proves the test rig itself: what the other suites believe must hold here.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use async_nats::ConnectOptions;
use dr_testkit::certs::Authority;
use dr_testkit::jwt::Operator;
use dr_testkit::nats::{Cold, MIRROR, ORIGIN, Pair, Server, current, old};
use dr_testkit::process::{Process, runs};
use dr_testkit::proxy::Mode;
use dr_testkit::publisher::Publisher;
use dr_testkit::scrape::Scrape;
use dr_testkit::{free_ports, let_pass, listen, own_ip, skip, tool, wait_until};
use serde_json::json;

const SOON: Duration = dr_testkit::PATIENCE;

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_replicates_until_the_link_is_cut_and_after_it_heals() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    pair.mirror.reaches(MIRROR, 20, SOON).await;

    let cut = Instant::now();
    pair.link.cut().await;
    // What was under way arrives.
    let_pass(Duration::from_millis(200)).await;
    let stopped = pair.mirror.last_seq(MIRROR).await.expect("DR answers");
    publisher.goes_on(50).await;
    assert_eq!(pair.mirror.last_seq(MIRROR).await, Some(stopped), "nothing passes a cut link");
    let risk = publisher.at_risk(SystemTime::now(), stopped, |_| true);
    // A further second of messages, and no more than since the cut.
    let most = cut.elapsed() + Duration::from_millis(500);
    assert!((Duration::from_millis(800)..most).contains(&risk), "the publisher's log knows what is at risk: {risk:?}");

    pair.link.heal().await;
    pair.mirror.reaches(MIRROR, publisher.last(), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_black_hole_holds_everything_and_gives_it_back() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start(&pair.origin, 50);
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    pair.link.set(Mode::BlackHole).await;
    // What was under way arrives.
    let_pass(Duration::from_millis(200)).await;
    let stopped = pair.mirror.last_seq(MIRROR).await.expect("DR answers");
    publisher.goes_on(50).await;
    assert_eq!(pair.mirror.last_seq(MIRROR).await, Some(stopped), "nothing passes a black hole");
    pair.link.heal().await;
    pair.mirror.reaches(MIRROR, publisher.last(), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_link_lags_while_the_server_says_lag_0() {
    let mut pair = Pair::start().await;
    let publisher = Publisher::start_with(&pair.origin, 50, 1024, |_| "agentese.a".to_owned());
    pair.mirror.reaches(MIRROR, 20, SOON).await;
    pair.link.set(Mode::Throttle(10_000)).await;
    let start = Instant::now();
    let behind = wait_until("the mirror is 3 s behind", SOON, async || {
        let copied = pair.mirror.last_seq(MIRROR).await?;
        let risk = publisher.at_risk(SystemTime::now(), copied, |_| true);
        (risk > Duration::from_secs(3)).then_some(copied)
    });
    let behind = behind.await;
    assert!(behind > 20 && behind < publisher.last(), "it lags and moves");
    let lag = pair.mirror.info(MIRROR).await.expect("DR answers")["mirror"]["lag"].clone();
    println!("3 s behind after {:?}; the server says lag {lag}", start.elapsed());
    pair.link.heal().await;
    pair.mirror.reaches(MIRROR, publisher.last(), SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_die_freeze_and_come_back_on_the_same_port() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;

    pair.primary.freeze();
    assert!(pair.origin.info(ORIGIN).await.is_err(), "a frozen server is silent");
    pair.primary.thaw();
    wait_until("the thawed server answers", SOON, async || pair.origin.last_seq(ORIGIN).await).await;

    let id = pair.primary.process().id();
    assert!(runs(id));
    pair.primary.kill();
    assert!(!runs(id), "a killed server is gone");
    pair.primary.run();
    let last = wait_until("the restarted server answers", SOON, async || pair.origin.last_seq(ORIGIN).await);
    assert_eq!(last.await, 10, "it kept its messages");

    let ids = [pair.primary.process().id(), pair.dr.process().id()];
    drop(pair);
    assert!(!ids.into_iter().any(runs), "nothing is left running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_is_promoted_and_the_returning_origin_does_not_see_its_messages() {
    let mut pair = Pair::start().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    pair.primary.kill();
    pair.mirror.promote(MIRROR, &["agentese.>"]).await.expect("2.12 and newer promote a mirror");
    assert_eq!(pair.mirror.publish("agentese.a", "x").await, Ok(11), "the sequence goes on");
    pair.primary.run();
    wait_until("the origin is back", SOON, async || pair.origin.last_seq(ORIGIN).await).await;
    pair.mirror.publish_many("agentese.a", 2).await;
    assert_eq!(pair.origin.last_seq(ORIGIN).await, Some(10), "one publish lands on one side");
    assert_eq!(pair.mirror.last_seq(MIRROR).await, Some(13));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_pair_replicates_and_stamps_no_answers() {
    let binary = match old() {
        Ok(binary) => binary,
        Err(why) => return skip(why),
    };
    let pair = Cold::new(&binary, "").await.start().await;
    pair.create_streams().await;
    pair.origin.publish_many("agentese.a", 10).await;
    pair.mirror.reaches(MIRROR, 10, SOON).await;
    let info = pair.origin.info(ORIGIN).await.expect("the origin answers");
    assert_eq!(info.get("ts"), None, "2.9 says nothing of its own clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_be_denied_and_an_account_may_have_no_jetstream() {
    let users = r#", {user: few, password: few, permissions: {publish: "$JS.API.INFO", subscribe: "_INBOX.few.>"}}"#;
    let pair = Cold::new(&current(), users).await.start().await;
    pair.create_streams().await;
    let few = ConnectOptions::with_user_and_password("few".into(), "few".into()).custom_inbox_prefix("_INBOX.few");
    let few = pair.primary.api(few).await;
    let denied = few.info(ORIGIN).await.expect_err("the subject is denied");
    assert!(denied.text.contains("timed out"), "a denied request looks like a time-out: {denied}");

    let bare = pair.primary.connect(ConnectOptions::with_user_and_password("bare".into(), "bare".into())).await;
    let off = bare.info(ORIGIN).await.expect_err("no JetStream in this account");
    assert_eq!((off.code, off.err_code), (503, 10039), "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_tls_nkeys_tokens_and_credentials() {
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
    let with_ca = ConnectOptions::new().add_root_certificates(dir.join("ca.pem")).require_tls(true);
    server.api(with_ca.clone().add_client_certificate(dir.join("client.pem"), dir.join("client.key"))).await;
    with_ca.connect(server.address.to_string()).await.expect_err("no client certificate");

    let key = nkeys::KeyPair::new_user();
    let nkey = format!("authorization {{ users: [{{ nkey: {} }}] }}\n", key.public_key());
    let seed = key.seed().expect("a new key has a seed");
    Server::start(&current(), &nkey, ConnectOptions::with_nkey(seed)).await;

    let token = "authorization { token: s3cret }\n";
    Server::start(&current(), token, ConnectOptions::with_token("s3cret".into())).await;

    let operator = Operator::new();
    let credentials = ConnectOptions::with_credentials(&operator.credentials).expect("the credentials are well-formed");
    let (_server, api) = Server::start(&current(), &operator.config, credentials).await;
    api.create(json!({"name": "S", "subjects": ["s"]})).await;
    assert_eq!(api.publish("s", "x").await, Ok(1));
}

#[test]
fn a_process_ends_with_its_value_though_it_is_frozen_and_the_test_panics() {
    let sleeper = Process::start("sleep", |command| {
        command.arg("600");
    });
    let id = sleeper.id();
    sleeper.freeze();
    let panicked = std::panic::catch_unwind(move || {
        let _sleeper = sleeper;
        std::panic::resume_unwind(Box::new("a failing test"));
    });
    assert!(panicked.is_err());
    assert!(!runs(id));
}

#[test]
fn a_scrape_is_read_with_all_its_escapes() {
    let scrape = Scrape::parse(concat!(
        "# HELP dr_x Text.\n# TYPE dr_x gauge\n",
        "dr_x{contract=\"a\",text=\"q\\\"\\\\\\n},{\"} 1.5\n",
        "dr_x{contract=\"b\"} 2 1700000000\nplain 3\n",
        "dr_objective_status{contract=\"a\",objective=\"rpo\",status=\"met\"} 0\n",
        "dr_objective_status{contract=\"a\",objective=\"rpo\",status=\"breached\"} 1\n",
    ));
    assert_eq!(scrape.get("dr_x", &[("contract", "a"), ("text", "q\"\\\n},{")]), Some(1.5));
    assert_eq!(scrape.get("dr_x", &[("contract", "b")]), Some(2.0));
    assert_eq!(scrape.get("dr_x", &[("contract", "c")]), None);
    assert_eq!(scrape.all("dr_x", &[]), [1.5, 2.0]);
    assert_eq!(scrape.get("plain", &[]), Some(3.0));
    assert_eq!(scrape.status("a", "rpo"), "breached");
}

#[test]
fn promtool_is_there() {
    let promtool = tool("PROMTOOL", "promtool").expect("no promtool: run `scripts/tools prometheus`, or `make test`");
    assert!(Command::new(promtool).arg("--version").output().expect("promtool runs").status.success());
}

/// A process that starts holds a copy of every socket until it runs its own program.
#[tokio::test(flavor = "multi_thread")]
async fn a_port_is_free_while_other_tests_start_processes() {
    let end = Instant::now() + Duration::from_millis(500);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while Instant::now() < end {
                    Command::new("true").status().expect("it runs");
                }
            });
        }
        let ip = own_ip();
        while Instant::now() < end {
            let [address] = free_ports(ip);
            drop(std::net::TcpListener::bind(address).expect("a free port is free"));
            drop(listen(address));
        }
    });
}
