//! What is sent.

use std::fs;

use super::server::{Reply, Server};
use super::{assert_no_answer, check_in, measure, run};
use dr_exporter::domain::observation::Health;

#[tokio::test]
async fn a_request_that_could_have_a_body_tells_its_length() {
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    for (method, length) in [("GET", None), ("HEAD", None), ("OPTIONS", None), ("POST", Some("0")), ("PUT", Some("0"))]
    {
        assert_eq!(measure(&format!("url: \"{}\", method: {method}", server.url("/"))).await, Health::Healthy);
        let request = server.last();
        assert_eq!(request.headers.get("content-length").map(String::as_str), length, "{method}");
        assert!(!request.headers.contains_key("transfer-encoding"), "{method}");
    }
}

#[tokio::test]
async fn a_body_with_its_type() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("query.json"), "{\n  \"a\": 2\n}\n").unwrap();
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    let json = "headers: { Content-Type: { value: application/json } }";
    for (stanza, body) in [
        (format!("method: POST, {json}, body: '{{\"query\": \"{{ health }}\"}}'"), "{\"query\": \"{ health }\"}"),
        (format!("method: PUT, {json}, body: \"a\\nb\""), "a\nb"),
        (format!("method: PUT, {json}, body: \"\u{e9}\""), "\u{e9}"),
        (format!("{json}, body: x"), "x"),
        (format!("method: POST, {json}, body_file: query.json"), "{\n  \"a\": 2\n}"),
        (format!("method: POST, {json}, body: x, reuse_connection: true"), "x"),
    ] {
        let check = check_in(dir.path(), &format!("url: \"{}\", {stanza}", server.url("/")));
        for _ in 0..2 {
            assert_eq!(run(&check).await, Health::Healthy);
            let request = server.last();
            assert_eq!(request.body, body, "{stanza}");
            assert_eq!(request.headers["content-length"], body.len().to_string());
            assert_eq!(request.headers["content-type"], "application/json");
        }
    }
    let check = check_in(dir.path(), &format!("url: \"{}\", method: POST, body_file: absent", server.url("/")));
    assert_no_answer(&run(&check).await, "credentials_unreadable", &["absent: No such file"]);
}

#[test]
fn bodies_that_are_refused() {
    for (stanza, words) in [
        ("method: HEAD, body: x".to_owned(), "a HEAD request has no body"),
        ("method: POST, body: x, body_file: y".to_owned(), "`body` already sets the body"),
        (format!("method: POST, body: {}", "x".repeat((64 << 10) + 1)), "at most 64 KiB"),
        ("connect_to: \"https://dr\"".to_owned(), "this is not a URL"),
        ("connect_to: \"a:443:dr:443\"".to_owned(), "are left out here"),
        ("connect_to: \"${DR_HOST}\"".to_owned(), "a host or an address"),
        ("server_name: 192.0.2.1".to_owned(), "a name such as api.example.com"),
    ] {
        let yaml = format!(
            "contracts: [{{ name: a, component: A, owner: o, priority: P0, rto: 5m, checks: \
             [{{ name: h, http: {{ url: \"http://a/\", {stanza} }} }}] }}]"
        );
        let error = dr_exporter::config::parse(&yaml, std::path::Path::new("config.yaml")).unwrap_err().to_string();
        assert!(error.contains(words), "{stanza:.60}: {error:.400}");
    }
}
