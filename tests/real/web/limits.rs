//! What clients can use up. Memory is compared with that before, and checks must go on.

use std::fs;
use std::process::Command;
use std::time::Duration;

use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::wait_until;
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SOON, many};

/// How much memory clients may add, in KiB.
const MORE: u64 = 32 << 10;

/// The most memory that was resident since it was last reset, in KiB.
fn peak(exporter: &mut Exporter) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", exporter.process().id())).expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a size");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn reset_peak(exporter: &mut Exporter) -> u64 {
    fs::write(format!("/proc/{}/clear_refs", exporter.process().id()), "5").expect("the peak is reset");
    peak(exporter)
}

/// Connections that each sent these bytes, as far as they were taken.
async fn sent(exporter: &Exporter, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    let mut open = Vec::new();
    let mut left = count;
    while left > 0 {
        let some = left.min(100);
        left -= some;
        let streams = (0..some).map(async |_| {
            let mut stream = TcpStream::connect(exporter.address).await.ok()?;
            let _ = tokio::time::timeout(Duration::from_secs(10), stream.write_all(bytes)).await;
            Some(stream)
        });
        open.extend(join_all(streams).await.into_iter().flatten());
    }
    open
}

/// The head of a request without its end, with so many lines of 3.9 KB.
fn unfinished(lines: usize) -> Vec<u8> {
    let mut head = b"GET /metrics HTTP/1.1\r\nhost: a\r\n".to_vec();
    for line in 0..lines {
        head.extend(format!("x-{line}: {}\r\n", "a".repeat(3900)).into_bytes());
    }
    head
}

/// Whether the other side has closed it.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_heads_cost_little_and_are_closed() {
    let mut exporter = Exporter::start(&many(20)).await;
    exporter.runs_on("contract-0", 1, SOON).await;
    exporter.scrape().await;
    for (count, lines) in [(800, 100), (1500, 15)] {
        let before = reset_peak(&mut exporter);
        let mut open = sent(&exporter, count, &unfinished(lines)).await;
        assert!(open.len() > count / 2, "only {} connections", open.len());
        assert_eq!(exporter.get("/-/healthy").await.status(), 200);
        exporter.runs_on("contract-0", 2, SOON).await;
        let more = peak(&mut exporter).saturating_sub(before);
        assert!(more < MORE, "{count} unfinished heads of {} KB take {more} KiB", lines * 4);
        let closed = join_all(open.iter_mut().map(is_closed));
        let closed = tokio::time::timeout(Duration::from_secs(60), closed).await.expect("each is closed");
        assert!(closed.into_iter().all(|closed| closed));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_leave_room_for_probes_and_checks() {
    let mut exporter = Exporter::start(&many(20)).await;
    let id = exporter.process().id().to_string();
    // From outside: the tests' own descriptors are not to be limited.
    let limited = Command::new("prlimit").args(["--pid", &id, "--nofile=256:256"]).status();
    assert!(limited.expect("prlimit runs").success());
    // The exporter did not know that when it started, so it must notice that descriptors run out.
    let open = sent(&exporter, 600, b"").await;
    assert!(open.len() > 400, "only {} connections", open.len());
    for path in ["/-/healthy", "/metrics"] {
        wait_until(&format!("{path} is answered"), SOON, async || {
            let answer = dr_testkit::exporter::client().get(exporter.url(path)).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
    drop(open);
    let exporter = Exporter::start_in(Config::new(&many(20)).flag("--web.max-connections=50")).await;
    let open = sent(&exporter, 600, b"").await;
    let scrape = exporter.runs_on("contract-0", 2, SOON).await;
    let connections = scrape.get("dr_exporter_web_connections", &[]).expect("a figure");
    assert!(connections <= 50.0, "{connections} connections");
    assert!(scrape.get("dr_exporter_web_connections_closed_total", &[("reason", "no_room")]) > Some(400.0));
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_that_many_ask_for_is_held_once() {
    let mut exporter = Exporter::start(&many(700)).await;
    exporter
        .until("all checks ran", SOON, |scrape| scrape.all("dr_check_consecutive_failures", &[]).len() == 700)
        .await;
    let size = exporter.metrics().await.len();
    assert!(size > 2_000_000, "{size} bytes");
    let before = reset_peak(&mut exporter);
    let streams = sent(&exporter, 200, b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    let read = join_all(streams.into_iter().map(async |mut stream| {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.map(|_| answer)
    }));
    let answers = tokio::time::timeout(Duration::from_secs(120), read).await.expect("all are answered");
    for answer in answers {
        let answer = answer.expect("a whole answer");
        assert!(answer.starts_with(b"HTTP/1.1 200") && answer.len() > size / 2, "{} bytes", answer.len());
    }
    let more = peak(&mut exporter).saturating_sub(before);
    assert!(more < MORE, "200 scrapes of {size} bytes take {more} KiB");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_are_refused() {
    let exporter = Exporter::start(&many(1)).await;
    let mut stream = TcpStream::connect(exporter.address).await.expect("a connection");
    let head = b"POST /-/reload HTTP/1.1\r\nhost: a\r\ncontent-length: 1073741824\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer before the body was sent");
    assert_eq!(&answer, b"HTTP/1.1 413");
    let (mut lines, mut status) = (unfinished(20), [0; 12]);
    lines.extend(b"\r\n");
    let mut stream = TcpStream::connect(exporter.address).await.expect("a connection");
    stream.write_all(&lines).await.expect("sent");
    stream.read_exact(&mut status).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_take_no_answer_cost_little_and_make_room() {
    let config = Config::new(&many(150)).flag("--web.max-connections=100");
    let mut exporter = Exporter::start_in(config).await;
    exporter
        .until("all checks ran", SOON, |scrape| scrape.all("dr_check_consecutive_failures", &[]).len() == 150)
        .await;
    let before = reset_peak(&mut exporter);
    // Each asks for more than the system buffers, and reads nothing.
    let mut open = Vec::new();
    for path in ["/metrics", "/api/v1/status", "/"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n");
        open.extend(sent(&exporter, 60, request.as_bytes()).await);
    }
    exporter.runs_on("contract-0", 2, SOON).await;
    assert_eq!(exporter.get("/-/healthy").await.status(), 200);
    let scrape = exporter.scrape().await;
    assert!(scrape.get("dr_exporter_web_connections", &[]) <= Some(100.0));
    let more = peak(&mut exporter).saturating_sub(before);
    assert!(more < MORE, "answers that nobody takes hold {more} KiB");
    drop(open);
}
