//! An endpoint that is asked at another place than where its name leads.

use std::fs;

use super::server::{Reply, Request, Server, nowhere};
use super::tls::{Authority, VALID};
use super::{assert_no_answer, assert_unhealthy, check_in, measure, run};
use dr_exporter::domain::observation::Health;

fn fine(_: &Request) -> Reply {
    Reply::new(200, "", "dr")
}

/// The public name still leads to the primary, or nowhere; the DR region is asked by its address.
#[tokio::test]
async fn name_certificate_and_host_stay_those_of_the_url() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let server = Server::start_tls(authority.sign("api.example.invalid", VALID).server(&[]), fine).await;
    let (address, port) = (server.address, server.address.port());
    for (stanza, host) in [
        (format!("url: \"https://api.example.invalid/x\", connect_to: \"{address}\""), "api.example.invalid"),
        (format!("url: \"https://api.example.invalid/x\", connect_to: \"localhost:{port}\""), "api.example.invalid"),
        (
            format!("url: \"https://api.example.invalid:{port}/x\", connect_to: 127.0.0.1"),
            &format!("api.example.invalid:{port}"),
        ),
        (
            format!("url: \"https://{address}/x\", server_name: api.example.invalid"),
            &format!("api.example.invalid:{port}"),
        ),
        (
            format!(
                "url: \"https://lb.example.invalid/x\", server_name: API.example.invalid, connect_to: \"{address}\""
            ),
            "api.example.invalid",
        ),
        (
            format!(
                "url: \"https://{address}/x\", server_name: api.example.invalid, headers: {{ Host: {{ value: own }} }}"
            ),
            "own",
        ),
    ] {
        let health = run(&check_in(dir.path(), &format!("{stanza}, ca_file: ca.pem, expect_body: dr"))).await;
        assert_eq!(health, Health::Healthy, "{stanza}");
        let request = server.last();
        assert_eq!((request.target.as_str(), request.headers["host"].as_str()), ("/x", host), "{stanza}");
        assert_eq!(request.sni.as_deref(), Some("api.example.invalid"), "{stanza}");
    }
    for name in ["other.example.invalid", "example.invalid"] {
        let stanza = format!("url: \"https://{name}/x\", connect_to: \"{address}\", ca_file: ca.pem");
        let health = run(&check_in(dir.path(), &stanza)).await;
        assert_unhealthy(&health, "tls_failed", &[&format!("not for {name}"), &format!("at {address}")]);
    }
}

#[tokio::test]
async fn http_2_asks_by_the_name_as_well() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = Authority::new().sign("api.example.invalid", VALID).server(&[b"h2"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(tls));
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
        let (request, mut respond) = connection.accept().await.unwrap().unwrap();
        respond.send_response(http::Response::new(()), true).unwrap();
        let _ = connection.accept().await;
        request.uri().to_string()
    });
    let stanza =
        format!("url: \"https://api.example.invalid/x?y\", connect_to: \"{address}\", insecure_skip_verify: true");
    assert_eq!(measure(&stanza).await, Health::Healthy);
    assert_eq!(server.await.unwrap(), "https://api.example.invalid/x?y");
}

#[tokio::test]
async fn what_fails_is_told_with_the_place() {
    let address = nowhere();
    let stanza = format!("url: \"http://api.example.invalid/\", connect_to: \"{address}\"");
    let words = format!("GET http://api.example.invalid/ at {address}: ");
    assert_unhealthy(&measure(&stanza).await, "connect_failed", &[&words, "Connection refused"]);
    let health = measure("url: \"http://127.0.0.1/\", connect_to: dr.example.invalid").await;
    assert_unhealthy(&health, "resolve_failed", &["at dr.example.invalid:80", "dr.example.invalid cannot be resolved"]);
}

#[tokio::test]
async fn a_redirect_to_the_same_name_stays_at_the_place() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Reply::redirect(302, &format!("http://{}/there", request.headers["host"])),
        _ => Reply::new(200, "", "dr"),
    })
    .await;
    for stanza in [
        format!("url: \"http://api.example.invalid/\", connect_to: \"{}\"", server.address),
        format!("url: \"http://api.example.invalid:{}/\", connect_to: 127.0.0.1", server.address.port()),
        format!("url: \"{}\", server_name: api.example.invalid", server.url("/")),
    ] {
        assert_eq!(measure(&stanza).await, Health::Healthy, "{stanza}");
        assert_eq!(server.last().target, "/there");
    }
}

/// The name at another port may lead to the primary, which must not answer for DR.
#[tokio::test]
async fn a_redirect_to_a_port_whose_place_is_not_told_is_no_answer() {
    let server = Server::start(|_| Reply::redirect(301, "https://localhost/")).await;
    let stanza = format!("url: \"http://localhost/\", connect_to: \"{}\"", server.address);
    let words = ["https://localhost/ (redirected from http://localhost/)", "it leads to port 443"];
    assert_no_answer(&measure(&stanza).await, "redirect_not_followed", &words);
    // Without a port every port is at that place.
    let stanza = format!("url: \"http://localhost:{}/\", connect_to: 127.0.0.1", server.address.port());
    let health = measure(&stanza).await;
    let Some(finding) = health.finding() else { panic!("nothing serves 443 there") };
    assert!(finding.detail.contains("https://localhost/ at 127.0.0.1:443"), "{finding}");
}

/// Another host that is well says nothing of the place that is asked about.
#[tokio::test]
async fn a_redirect_to_another_host_than_the_place_is_no_answer() {
    let other = Server::start(fine).await;
    let elsewhere = other.url("/there?token=hunter2").replace("127.0.0.1", "localhost");
    let server = Server::start(move |request| match request.target.as_str() {
        "/" => Reply::redirect(302, &elsewhere),
        _ => Reply::new(200, "", "dr"),
    })
    .await;
    for stanza in [
        format!("url: \"http://api.example.invalid/\", connect_to: \"{}\"", server.address),
        format!("url: \"{}\", server_name: api.example.invalid", server.url("/")),
    ] {
        let health = measure(&stanza).await;
        assert_no_answer(&health, "redirect_not_followed", &["it leads to localhost", "(redirected from "]);
        assert!(!health.finding().unwrap().detail.contains("hunter2"), "{health:?}");
    }
    assert!(other.requests().is_empty(), "nobody asked it");
    let there = format!("url: \"http://api.example.invalid/there\", connect_to: \"{}\"", server.address);
    assert_eq!(measure(&there).await, Health::Healthy);
}

/// The dot at the end of a name makes no other host of it.
#[tokio::test]
async fn a_redirect_to_the_name_without_its_dot_stays_at_the_place() {
    let server = Server::start(|request| match request.target.as_str() {
        "/" => Reply::redirect(
            302,
            &format!("http://localhost:{}/there", request.headers["host"].rsplit(':').next().unwrap()),
        ),
        _ => Reply::new(200, "", "dr"),
    })
    .await;
    let stanza = format!("url: \"http://localhost.:{}/\", connect_to: \"{}\"", server.address.port(), server.address);
    assert_eq!(measure(&stanza).await, Health::Healthy);
    assert_eq!(server.last().target, "/there");
}
