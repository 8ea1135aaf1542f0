//! `dr-exporter health`: what a container asks of itself.

use std::process::Output;
use std::time::{Duration, Instant};

use super::{Service, contract, contracts};
use dr_testkit::exporter::Exporter;

async fn health(url: &str) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dr-exporter"));
    // A proxy that the environment names is not asked.
    command.args(["health", "--url", url]).env("http_proxy", "http://127.0.0.1:9");
    tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("the program runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn healthy_while_it_measures_and_not_when_it_hangs_or_is_gone() {
    let service = Service::start().await;
    let mut exporter = Exporter::start(&contracts(&[contract("api", "5m", &service.url)])).await;
    let url = exporter.url("/");
    let well = health(&url).await;
    assert_eq!(well.status.code(), Some(0), "{}", String::from_utf8_lossy(&well.stderr));
    assert!(well.stdout.is_empty() && well.stderr.is_empty(), "it says nothing when all is well");

    exporter.freeze();
    let asked = Instant::now();
    let hung = health(&url).await;
    exporter.process().signal("CONT");
    assert_eq!(hung.status.code(), Some(1));
    assert!(asked.elapsed() < Duration::from_secs(30), "it took {:?}", asked.elapsed());
    exporter.kill();
    let gone = health(&url).await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("refused"), "{}", String::from_utf8_lossy(&gone.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_otherwise_is_not_healthy() {
    let service = Service::start().await;
    service.well(false);
    let other = health(&service.url).await;
    assert_eq!(other.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&other.stderr).contains("503"), "{}", String::from_utf8_lossy(&other.stderr));
    assert_eq!(health("no url").await.status.code(), Some(64));
}
