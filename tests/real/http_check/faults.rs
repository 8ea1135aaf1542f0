//! Endpoints that fail, each in its own way.

use super::server::{Reply, Server, Then, nowhere};
use super::{SHORT, assert_unhealthy, check, measure, run_within};
use dr_exporter::domain::observation::Health;

#[tokio::test]
async fn an_endpoint_that_answers_is_healthy() {
    let server = Server::start(|_| Reply::new(200, "", "fine")).await;
    assert_eq!(measure(&format!("url: \"{}\"", server.url("/health"))).await, Health::Healthy);
    let request = server.last();
    assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/health"));
    assert_eq!(request.headers["user-agent"], concat!("dr-exporter/", env!("CARGO_PKG_VERSION")));
    for method in ["HEAD", "POST", "PUT", "OPTIONS"] {
        measure(&format!("url: \"{}\", method: {method}", server.url("/"))).await;
        assert_eq!(server.last().method, method);
    }
}

#[tokio::test]
async fn a_name_with_addresses_of_both_families_is_reached_at_the_one_that_serves() {
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    assert_eq!(measure(&format!("url: \"{}\"", server.named("http", "/"))).await, Health::Healthy);
}

#[tokio::test]
async fn refused() {
    let address = nowhere();
    let health = measure(&format!("url: \"http://{address}/health?token=hunter2\"")).await;
    assert_unhealthy(&health, "connect_failed", &[&format!("GET http://{address}/health?…: "), "Connection refused"]);
    let health = measure(&format!("url: \"http://localhost:{}/\"", address.port())).await;
    assert_unhealthy(&health, "connect_failed", &["http://localhost:", "Connection refused", "127.0.0.1"]);
}

#[tokio::test]
async fn an_unresolvable_name() {
    let health = measure("url: \"https://nonexistent.invalid/health\"").await;
    assert_unhealthy(
        &health,
        "resolve_failed",
        &["https://nonexistent.invalid/health", "nonexistent.invalid cannot be resolved"],
    );
}

#[tokio::test]
async fn connections_that_end_before_the_answer_does() {
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let chunk = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    for (bytes, then) in [
        ("", Then::Close),
        ("", Then::Reset),
        ("HTTP/1.1 200 OK\r\ncontent-le", Then::Close),
        ("HTTP/1.1 200 OK\r\ncontent-le", Then::Reset),
        (half, Then::Close),
        (half, Then::Reset),
        (chunk, Then::Close),
        (chunk, Then::Reset),
    ] {
        let server = Server::start(move |_| Reply::raw(bytes, then)).await;
        let health = measure(&format!("url: \"{}\"", server.url("/"))).await;
        assert_unhealthy(&health, "connection_lost", &["the connection ended before the answer did"]);
        assert_eq!(server.requests().len(), 1, "one failure is one request");
    }
}

#[tokio::test]
async fn slow_headers() {
    for bytes in ["", "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n"] {
        let server = Server::start(move |_| Reply::raw(bytes, Then::Hang)).await;
        let health = run_within(&check(&format!("url: \"{}\"", server.url("/"))), SHORT).await;
        assert_unhealthy(&health, "timeout", &[&server.url("/"), "connected, but no answer within 2.0 s"]);
    }
}

#[tokio::test]
async fn slow_body() {
    let server = Server::start(|_| Reply::raw("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf", Then::Hang)).await;
    let health = run_within(&check(&format!("url: \"{}\"", server.url("/"))), SHORT).await;
    assert_unhealthy(&health, "timeout", &["only 4 bytes of its body came within 2.0 s"]);
}

#[tokio::test]
async fn a_slow_redirect_has_no_more_time_than_the_rest() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Reply::redirect(302, "/slow"),
        _ => Reply::raw("", Then::Hang),
    })
    .await;
    let health = run_within(&check(&format!("url: \"{}\"", server.url("/"))), SHORT).await;
    assert_unhealthy(&health, "timeout", &["/slow (redirected from http://127.0.0.1"]);
}

#[tokio::test]
async fn a_server_that_takes_connections_and_is_silent_in_the_tls_handshake() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let health = run_within(&check(&format!("url: \"{url}\", insecure_skip_verify: true")), SHORT).await;
    assert_unhealthy(&health, "timeout", &["connected, but the TLS handshake did not end within 2.0 s"]);
}

#[tokio::test]
async fn statuses() {
    let server = Server::start(|request| Reply::new(request.target[1..4].parse().unwrap(), "", "")).await;
    for (status, expected, healthy) in [
        (200, "2xx", true),
        (204, "2xx", true),
        (503, "2xx", false),
        (404, "2xx", false),
        (503, "503", true),
        (200, "503", false),
        (401, "[200, 401]", true),
    ] {
        let health =
            measure(&format!("url: \"{}\", expect_status: {expected}", server.url(&format!("/{status}")))).await;
        assert_eq!(health == Health::Healthy, healthy, "{status} where {expected} is expected: {health:?}");
    }
    let health = measure(&format!("url: \"{}\"", server.url("/503?token=hunter2"))).await;
    assert_unhealthy(&health, "unexpected_status", &["/503?…: got 503 Service Unavailable, expected 200-299"]);
}

#[tokio::test]
async fn an_unexpected_status_is_told_without_waiting_for_the_body() {
    let server = Server::start(|_| Reply::raw("HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\n", Then::Hang)).await;
    let health = run_within(&check(&format!("url: \"{}\"", server.url("/"))), SHORT).await;
    assert_unhealthy(&health, "unexpected_status", &["got 503"]);
}

#[tokio::test]
async fn what_is_not_http() {
    for bytes in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnothing like a chunk\r\n",
        "HTTP/1.1 200 OK\r\nno header\r\n\r\n",
    ] {
        let server = Server::start(move |_| Reply::raw(bytes, Then::Close)).await;
        let health = measure(&format!("url: \"{}\"", server.url("/"))).await;
        assert_unhealthy(&health, "bad_answer", &["the answer is not HTTP"]);
    }
}
