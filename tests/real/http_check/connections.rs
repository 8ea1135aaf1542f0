//! New connections, and connections that are used again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::server::{Reply, Server, Then};
use super::{assert_unhealthy, check, run};
use dr_exporter::domain::observation::Health;

#[tokio::test]
async fn every_run_makes_a_new_connection() {
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    let check = check(&format!("url: \"{}\"", server.url("/")));
    for runs in 1..=3 {
        assert_eq!(run(&check).await, Health::Healthy);
        assert_eq!(server.connections(), runs);
    }
}

#[tokio::test]
async fn a_connection_is_used_again_where_that_is_configured() {
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    let check = check(&format!("url: \"{}\", reuse_connection: true", server.url("/")));
    for _ in 1..=3 {
        assert_eq!(run(&check).await, Health::Healthy);
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 3));
}

/// A server that answers the first request and closes the connection at those of `lost`.
async fn losing(lost: std::ops::Range<usize>) -> Server {
    let requests = AtomicUsize::new(0);
    Server::start(move |_| match requests.fetch_add(1, Ordering::SeqCst) {
        request if lost.contains(&request) => Reply::raw("", Then::Close),
        _ => Reply::new(200, "", ""),
    })
    .await
}

/// As servers do with connections that idle: the request that comes just then is lost, and proves nothing.
#[tokio::test]
async fn a_used_connection_that_is_closed_meanwhile_is_no_failure() {
    let server = losing(1..2).await;
    let check = check(&format!("url: \"{}\", reuse_connection: true", server.url("/")));
    assert_eq!(run(&check).await, Health::Healthy);
    assert_eq!(run(&check).await, Health::Healthy);
    assert_eq!((server.connections(), server.requests().len()), (2, 3));
}

#[tokio::test]
async fn a_new_connection_that_is_closed_as_well_is_a_failure() {
    let server = losing(1..3).await;
    let check = check(&format!("url: \"{}\", reuse_connection: true", server.url("/")));
    assert_eq!(run(&check).await, Health::Healthy);
    assert_unhealthy(&run(&check).await, "connection_lost", &[]);
    assert_eq!((server.connections(), server.requests().len()), (2, 3));
    assert_eq!(run(&check).await, Health::Healthy);
}

#[tokio::test]
async fn a_request_that_must_not_be_made_twice_is_not() {
    let server = losing(1..2).await;
    let check = check(&format!("url: \"{}\", method: POST, reuse_connection: true", server.url("/")));
    assert_eq!(run(&check).await, Health::Healthy);
    assert_unhealthy(&run(&check).await, "connection_lost", &[]);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_server_that_went_away_is_not_hidden_by_a_used_connection() {
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    let check = check(&format!("url: \"{}\", reuse_connection: true", server.url("/")));
    assert_eq!(run(&check).await, Health::Healthy);
    server.stop().await;
    assert_unhealthy(&run(&check).await, "connect_failed", &["Connection refused"]);
}

#[tokio::test]
async fn http_2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let tls = super::tls::Authority::new().sign("127.0.0.1", super::tls::VALID).server(&[b"h2"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                match request.uri().path() {
                    "/reset" => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    _ => {
                        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
                        body.send_data("over HTTP/2".into(), true).unwrap();
                    }
                }
            }
        }
    });
    let stanza = |target: &str| format!("url: \"{url}{target}\", insecure_skip_verify: true, expect_body: over HTTP/2");
    assert_eq!(run(&check(&stanza(""))).await, Health::Healthy);
    assert_unhealthy(
        &run(&check(&stanza("reset"))).await,
        "connection_lost",
        &["the connection ended before the answer did"],
    );
    server.abort();
}

/// As IIS does where a client certificate is asked for late. curl asks once more over HTTP/1.1.
#[tokio::test]
async fn a_server_that_wants_http_1_1_after_all() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let tls = super::tls::Authority::new().sign("127.0.0.1", super::tls::VALID).server(&[b"h2", b"http/1.1"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((_, mut respond))) = connection.accept().await {
                    respond.send_reset(h2::Reason::HTTP_1_1_REQUIRED);
                }
            } else {
                let heard = stream.read(&mut [0; 4096]).await.unwrap();
                assert!(heard > 0);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\nover HTTP/1.1").await.unwrap();
                stream.shutdown().await.unwrap();
            }
        }
    });
    for method in ["GET", "POST"] {
        for reuse in [false, true] {
            let rest = format!("method: {method}, reuse_connection: {reuse}, expect_body: over HTTP/1.1");
            let check = check(&format!("url: \"{url}\", insecure_skip_verify: true, {rest}"));
            for _ in 0..3 {
                assert_eq!(run(&check).await, Health::Healthy, "{rest}");
            }
        }
    }
    server.abort();
}

/// Of a redirect nobody reads the body: a connection on which it still comes is not waited for.
#[tokio::test]
async fn a_redirect_whose_body_hangs_is_not_waited_for() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Reply::raw("HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 9\r\n\r\nhalf", Then::Hang),
        _ => Reply::new(200, "", "there"),
    })
    .await;
    for reuse in [false, true] {
        let stanza = format!("url: \"{}\", expect_body: there, reuse_connection: {reuse}", server.url("/"));
        assert_eq!(super::run_within(&check(&stanza), super::LONG).await, Health::Healthy, "{reuse}");
    }
}
