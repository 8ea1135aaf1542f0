//! What is served, and how it ends.

use std::io::{Read, Write};
use std::time::Duration;

use super::{SOON, Service, contract, contracts};
use dr_testkit::exporter::{Config, Exporter, client};
use dr_testkit::process::Process;
use dr_testkit::wait_until;

/// One endpoint that is well, and one that is not there: a port of an address that nobody else uses.
async fn two() -> (Service, Exporter) {
    let service = Service::start().await;
    let dead = dr_testkit::free_ports::<1>(dr_testkit::own_ip())[0];
    let exporter = Exporter::start(&contracts(&[
        contract("api", "5m", &service.url),
        contract("dead", "5m", &format!("http://{dead}/")),
    ]))
    .await;
    (service, exporter)
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_come_in_both_formats_and_compressed() {
    let (_service, exporter) = two().await;
    let get = async |accept: &str, encoding: &str| {
        let request = client().get(exporter.url("/metrics")).header("accept", accept);
        let answer = request.header("accept-encoding", encoding).send().await.expect("an answer");
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().expect("text").to_owned());
        let (kind, encoding) = (header("content-type").expect("a type"), header("content-encoding"));
        (kind, encoding, answer.bytes().await.expect("a body"))
    };
    let scraper = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    let (kind, encoding, body) = get(scraper, "identity").await;
    assert_eq!((kind.as_str(), encoding), ("application/openmetrics-text; version=1.0.0; charset=utf-8", None));
    assert!(body.ends_with(b"# EOF\n"));
    let (kind, _, body) = get("*/*", "identity").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(!body.ends_with(b"# EOF\n"));
    let (_, encoding, packed) = get("*/*", "gzip").await;
    assert_eq!(encoding.as_deref(), Some("gzip"));
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < body.len() / 2, "{} of {}", packed.len(), body.len());
    // A quality of 0 is a no.
    for refused in ["gzip;q=0", "gzip;q=0, identity", "gzip;q=0.000, *;q=0.5"] {
        let (kind, encoding, body) = get("application/openmetrics-text;q=0", refused).await;
        assert_eq!((kind.as_str(), encoding), ("text/plain; version=0.0.4; charset=utf-8", None), "{refused}");
        assert!(body.starts_with(b"# HELP"), "{refused}");
    }
    let twice = client().get(exporter.url("/metrics")).header("accept", "text/plain;q=0.2");
    let answer = twice.header("accept", "application/openmetrics-text").send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(answer.headers().get_all("vary").iter().any(|vary| vary == "accept"), "{:?}", answer.headers());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_page_show_every_contract() {
    let (_service, exporter) = two().await;
    exporter.until("both were measured", SOON, |scrape| scrape.all("dr_check_healthy", &[]).len() == 2).await;
    let status: serde_json::Value = exporter.get("/api/v1/status").await.json().await.expect("JSON");
    assert_eq!(status["ready"], true);
    let names: Vec<_> = status["contracts"].as_array().expect("a list").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["api", "dead"]);
    let dead: serde_json::Value = exporter.get("/api/v1/contracts/dead").await.json().await.expect("JSON");
    assert_eq!(dead["checks"][0]["last_run"]["findings"][0]["reason"], "connect_failed");
    assert!(dead["checks"][0]["last_run"]["findings"][0]["advice"].as_str().is_some_and(|advice| advice.len() > 20));
    let page = exporter.get("/").await.text().await.expect("a page");
    assert!(
        page.contains("The &quot;&lt;b&gt;API&lt;/b&gt;&quot; \\ &amp; more") && !page.contains("<b>API"),
        "{page}"
    );
    for part in ["href=\"metrics\"", "href=\"api/v1/status\"", "class=\"word unproven\"", "dead", "connect"] {
        assert!(page.contains(part), "{part} is not on the page");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_json_with_the_right_status() {
    let (_service, exporter) = two().await;
    let answer = exporter.get("/nothing").await;
    assert_eq!(answer.status(), 404);
    assert!(answer.json::<serde_json::Value>().await.expect("JSON")["error"].is_string());
    let answer = exporter.get("/api/v1/contracts/nobody").await;
    assert_eq!(answer.status(), 404);
    let answer = client().post(exporter.url("/metrics")).send().await.expect("an answer");
    assert_eq!(answer.status(), 405);
    assert!(answer.json::<serde_json::Value>().await.expect("JSON")["error"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_healthy_at_once_and_ready_once_everything_ran() {
    // A service that takes its time: the first run ends when the test says so, or at its time-out.
    let slow = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/", slow.local_addr().expect("an address"));
    let exporter = Exporter::start(&contracts(&[contract("slow", "5m", &url)])).await;
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
    let (mut stream, _) = slow.accept().await.expect("the first run");
    let ready = exporter.get("/-/ready").await;
    assert_eq!(ready.status(), 503);
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        .await
        .expect("sent");
    dr_testkit::wait_until("ready", SOON, async || (exporter.get("/-/ready").await.status() == 200).then_some(()))
        .await;
}

/// SIGTERM and SIGINT: exit 0 within 5 s, though a client holds a request open.
#[tokio::test(flavor = "multi_thread")]
async fn signals_drain_and_end_it() {
    for signal in ["TERM", "INT"] {
        // A machine that is busy for once is not at the next time.
        wait_until("it ends within 5 s", SOON, async || {
            let (_service, mut exporter) = two().await;
            let mut idle = std::net::TcpStream::connect(exporter.address).expect("a connection");
            idle.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").expect("sent");
            idle.read_exact(&mut [0; 64]).expect("the beginning of an answer");
            let mut half = std::net::TcpStream::connect(exporter.address).expect("a connection");
            half.write_all(b"GET /metrics HT").expect("sent");
            exporter.process().signal(signal);
            let status = exporter.process().wait(Duration::from_secs(5))?;
            assert!(status.success(), "{signal}: {status}\n{}", exporter.log());
            Some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_json() {
    let config = Config::new(&contracts(&[contract("api", "5m", "http://127.0.0.1:9/")]));
    let file = config.file("log", "");
    let log = std::fs::File::create(&file).expect("a file for the log");
    let mut process = Process::start(env!("CARGO_BIN_EXE_dr-exporter"), |command| {
        let directory = file.parent().expect("a directory");
        command.current_dir(directory).stderr(log).args([
            "serve",
            "--config.file=config.yaml",
            "--web.listen-address=127.0.0.1:0",
            "--log.format=json",
        ]);
    });
    let text = dr_testkit::wait_until("a failing check is logged", SOON, async || {
        let text = std::fs::read_to_string(&file).expect("the log");
        text.contains("\"reason\":\"connect_failed\"").then_some(text)
    })
    .await;
    process.signal("TERM");
    assert!(process.wait(SOON).is_some_and(|status| status.success()));
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect(line);
        assert!(line["level"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_that_fails_says_why() {
    let config = Config::new(&contracts(&[contract("api", "5m", "http://127.0.0.1:9/")]));
    let file = config.file("bad.yaml", "contracts: []\n");
    let directory = file.parent().expect("a directory");
    // Kept until the end, so that the port stays taken.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("--web.listen-address={}", listener.local_addr().expect("an address"));
    for (arguments, code, words) in [
        (["--config.file=bad.yaml", "--web.listen-address=127.0.0.1:0"], 78, "bad.yaml:1:12: contracts"),
        (["--config.file=config.yaml", "--web.listen-address=nonsense"], 1, "nonsense"),
        (["--config.file=config.yaml", taken.as_str()], 1, "in use"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"))
            .current_dir(directory)
            .arg("serve")
            .args(arguments)
            .output()
            .expect("the program runs");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(words), "{told}");
    }
}
