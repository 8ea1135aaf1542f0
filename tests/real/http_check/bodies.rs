//! What is read of a body, and what it must hold.

use super::server::{Reply, Server, Then};
use super::{SHORT, assert_unhealthy, check, measure, run_within};
use dr_exporter::domain::observation::Health;

const MIB: usize = 1 << 20;

#[tokio::test]
async fn the_pattern_must_match_somewhere() {
    let server = Server::start(|_| Reply::new(200, "", "{\"status\": \"UP\", \"region\": \"hunter2\"}")).await;
    let url = server.url("/");
    assert_eq!(measure(&format!("url: \"{url}\", expect_body: '\"status\":\\s*\"UP\"'")).await, Health::Healthy);
    let health = measure(&format!("url: \"{url}\", expect_body: DOWN")).await;
    assert_unhealthy(&health, "unexpected_body", &["the body (37 bytes) does not match \"DOWN\""]);
    assert!(!format!("{health:?}").contains("hunter2"), "a body may be private");
}

#[tokio::test]
async fn bytes_that_are_no_text_harm_nothing() {
    let server = Server::start(|_| Reply::new(200, "", b"\xff\xfe\0ok\xff")).await;
    assert_eq!(measure(&format!("url: \"{}\", expect_body: ok", server.url("/"))).await, Health::Healthy);
}

#[tokio::test]
async fn what_lies_beyond_the_first_mib_is_not_read() {
    let server = Server::start(|request| {
        let mut body = vec![b'.'; request.target[1..].parse().unwrap()];
        body.extend_from_slice(b"ok");
        Reply::new(200, "", body)
    })
    .await;
    let expecting = |before: usize| format!("url: \"{}\", expect_body: ok", server.url(&format!("/{before}")));
    assert_eq!(measure(&expecting(MIB - 2)).await, Health::Healthy);
    let health = measure(&expecting(MIB - 1)).await;
    assert_unhealthy(&health, "unexpected_body", &["the first MiB of the body (1048576 bytes) does not match"]);
    assert_unhealthy(&measure(&expecting(5 * MIB)).await, "unexpected_body", &["the first MiB"]);
}

#[tokio::test]
async fn a_body_without_end_is_read_to_the_first_mib() {
    let server = Server::start(|_| {
        let mut bytes = b"HTTP/1.1 200 OK\r\n\r\nbegins".to_vec();
        bytes.resize(100 << 10, b'.');
        Reply::raw(bytes, Then::Repeat)
    })
    .await;
    let url = server.url("/");
    assert_eq!(measure(&format!("url: \"{url}\"")).await, Health::Healthy);
    assert_eq!(measure(&format!("url: \"{url}\", expect_body: begins")).await, Health::Healthy);
    assert_unhealthy(
        &measure(&format!("url: \"{url}\", expect_body: ends")).await,
        "unexpected_body",
        &["the first MiB"],
    );
}

#[tokio::test]
async fn a_body_that_matches_already_must_still_come_to_its_end() {
    let server = Server::start(|_| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok", Then::Hang)).await;
    let health = run_within(&check(&format!("url: \"{}\", expect_body: ok", server.url("/"))), SHORT).await;
    assert_unhealthy(&health, "timeout", &["only 2 bytes"]);
}
