//! TLS: versions, certificates of servers and clients, and a real Prometheus behind it all.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dr_testkit::certs::Authority;
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::process::Process;
use dr_testkit::{free_ports, own_ip, tool, wait_until};

use super::{SOON, contracts, hash, secure_client, with_web};

const TLS: &str = "tls_server_config: {cert_file: server.pem, key_file: server.key}\n";

fn secured(authority: &Authority, web: &str) -> Config {
    let config = with_web(web);
    authority.write(config.directory(), "server", "127.0.0.1");
    config
}

fn url(exporter: &Exporter, path: &str) -> String {
    format!("https://{}{path}", exporter.address)
}

/// The version and the alert that answer a first message of this version.
fn greeted(exporter: &Exporter, version: [u8; 2]) -> Vec<u8> {
    let mut hello = vec![version[0], version[1]];
    hello.extend([7; 32]);
    // No session, two suites, no compression, no extensions.
    hello.extend([0, 0, 4, 0xc0, 0x14, 0xc0, 0x0a, 1, 0]);
    let mut message = vec![1, 0, 0, u8::try_from(hello.len()).expect("short")];
    message.extend(hello);
    let mut record = vec![22, 3, 1, 0, u8::try_from(message.len()).expect("short")];
    record.extend(message);
    let mut stream = TcpStream::connect(exporter.address).expect("a connection");
    stream.set_read_timeout(Some(SOON)).expect("a time-out");
    stream.write_all(&record).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_and_plain_http_are_refused() {
    let authority = Authority::new();
    let exporter = Exporter::start_in(secured(&authority, TLS)).await;
    let secure = secure_client(&authority.pem(), None);
    let answer = secure.get(url(&exporter, "/metrics")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (200, http::Version::HTTP_2));
    for version in [[3, 1], [3, 2]] {
        let answer = greeted(&exporter, version);
        // An alert, fatal.
        assert!(matches!(answer.as_slice(), [21, 3, _, 0, 2, 2, _]), "{version:?}: {answer:?}");
    }
    let plain = client().get(format!("http://{}/metrics", exporter.address)).send().await;
    assert!(plain.is_err(), "{plain:?}");
    exporter.config().file("web.yml", &format!("{TLS}http_server_config: {{http2: false}}\n"));
    wait_until("HTTP/2 is off", SOON, async || {
        let answer = secure.get(url(&exporter, "/metrics")).send().await.expect("an answer");
        (answer.version() == http::Version::HTTP_11).then_some(())
    })
    .await;
    exporter.config().file("web.yml", "{}\n");
    exporter.logs(&["TLS cannot be switched on or off"], SOON).await;
    assert_eq!(secure.get(url(&exporter, "/metrics")).send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_key_does_not_end_the_rotation() {
    let (old, new) = (Authority::new(), Authority::new());
    let exporter = Exporter::start_in(secured(&old, TLS)).await;
    let key = exporter.config().path("server.key");
    std::fs::remove_file(&key).expect("a key");
    assert!(std::process::Command::new("mkfifo").arg(&key).status().expect("mkfifo runs").success());
    exporter.logs(&["key_file", "this is a pipe"], SOON).await;
    std::fs::remove_file(&key).expect("a pipe");
    new.write(exporter.config().directory(), "server", "127.0.0.1");
    let secure = secure_client(&new.pem(), None);
    wait_until("the new certificate is in use", SOON, async || {
        secure.get(url(&exporter, "/metrics")).send().await.ok().map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_rotated_without_a_failed_scrape() {
    let (old, new) = (Authority::new(), Authority::new());
    let exporter = Exporter::start_in(secured(&old, TLS)).await;
    let both = format!("{}{}", old.pem(), new.pem());
    let (stop, scraped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, url) = (secure_client(&both, None), url(&exporter, "/metrics"));
            let (stop, scraped) = (Arc::clone(&stop), Arc::clone(&scraped));
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let answer = client.get(&url).send().await.expect("a scrape");
                    assert!(answer.status().is_success());
                    answer.bytes().await.expect("a whole scrape");
                    scraped.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    wait_until("the load runs", SOON, async || (scraped.load(Ordering::SeqCst) > 8).then_some(())).await;
    // One file after the other: for a moment the two do not belong together.
    let (certificate, key) = new.sign("127.0.0.1");
    exporter.config().file("server.pem", &certificate);
    tokio::task::yield_now().await;
    exporter.config().file("server.key", &key);
    let only_new = secure_client(&new.pem(), None);
    wait_until("the new certificate is shown", SOON, async || {
        only_new.get(url(&exporter, "/-/healthy")).send().await.ok()
    })
    .await;
    let before = scraped.load(Ordering::SeqCst);
    wait_until("the load goes on", SOON, async || (scraped.load(Ordering::SeqCst) > before + 8).then_some(())).await;
    stop.store(true, Ordering::SeqCst);
    for one in load {
        one.await.expect("no scrape failed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_need_the_right_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let web = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n  client_ca_file: ca.pem\n  \
               client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example, 192.0.2.7]\n";
    let exporter = Exporter::start_in(secured(&authority, web)).await;
    let come_in = async |identity: Option<(String, String)>| {
        let identity = identity.as_ref().map(|(certificate, key)| (certificate.as_str(), key.as_str()));
        let answer = secure_client(&authority.pem(), identity).get(url(&exporter, "/-/healthy")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    };
    assert!(come_in(Some(authority.sign("prometheus.example"))).await);
    assert!(come_in(Some(authority.sign("192.0.2.7"))).await);
    assert!(!come_in(Some(authority.sign("somebody.example"))).await, "the name is not in the list");
    assert!(!come_in(Some(other.sign("prometheus.example"))).await, "another authority");
    assert!(!come_in(None).await, "no certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_prometheus_scrapes_with_tls_and_a_password() {
    let authority = Authority::new();
    let web = format!("{TLS}basic_auth_users: {{prometheus: \"{}\"}}\n", hash("scrape me"));
    let exporter = Exporter::start_in(secured(&authority, &web)).await;
    let [address] = free_ports::<1>(own_ip());
    let directory = Config::new(&contracts()).with("ca.pem", &authority.pem()).with(
        "prometheus.yml",
        &format!(
            "scrape_configs:\n- job_name: dr\n  scheme: https\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  \
             tls_config: {{ca_file: ca.pem}}\n  basic_auth: {{username: prometheus, password: scrape me}}\n  \
             static_configs: [{{targets: ['{}']}}]\n",
            exporter.address
        ),
    );
    let program = tool("PROMETHEUS", "prometheus").expect("no prometheus: run `scripts/tools prometheus`");
    let _prometheus = Process::start(program, |command| {
        command.current_dir(directory.directory()).stderr(std::process::Stdio::null());
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=data"]);
        command.arg(format!("--web.listen-address={address}"));
    });
    wait_until("Prometheus has a figure", Duration::from_secs(60), async || {
        let query = format!("http://{address}/api/v1/query?query=dr_contract_info");
        let answer: serde_json::Value = client().get(query).send().await.ok()?.json().await.ok()?;
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_commands_ask_with_tls_and_a_password() {
    let authority = Authority::new();
    let web = format!("{TLS}basic_auth_users: {{ops: \"{}\"}}\n", hash("ask me"));
    let exporter = Exporter::start_in(secured(&authority, &web)).await;
    exporter.config().file("password", "ask me\n");
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
        command.current_dir(exporter.config().directory()).args(arguments);
        let output = command.arg("--url").arg(url(&exporter, "")).output().expect("the program runs");
        (output.status.code().expect("a code"), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(run(&["health", "--ca-file=ca.pem"]).0, 0);
    assert_eq!(run(&["health", "--insecure-skip-verify"]).0, 0);
    assert_eq!(run(&["health"]).0, 1, "nobody knows the authority");
    let password = ["check", "--ca-file=ca.pem", "--username=ops", "--password-file=password"];
    let (code, told) = run(&password);
    // The component is down, or it was not seen yet.
    assert!([1, 3].contains(&code) && told.is_empty(), "{code} {told}");
    let (code, told) = run(&["check", "--ca-file=ca.pem"]);
    assert!(code == 3 && told.contains("401"), "{code} {told}");
}
