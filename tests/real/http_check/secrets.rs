//! Headers and credentials from files: sent where they belong, read anew, and never told.

use std::fs;

use super::server::{Reply, Server};
use super::{assert_no_answer, assert_unhealthy, check_in, run};
use dr_exporter::domain::observation::Health;

const SECRET: &str = "hunter2";

#[tokio::test]
async fn headers_come_from_the_configuration_and_from_files_that_are_read_anew() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    let file = dir.path().join("key");
    let check = check_in(
        dir.path(),
        &format!(
            "url: \"{}\", headers: {{ X-Api-Key: {{ value_file: key }}, Accept: {{ value: text/html }}, \
             User-Agent: {{ value: probe }}, Host: {{ value: api.example.com }} }}",
            server.url("/")
        ),
    );
    for (content, sent) in [("first\n", "first"), ("second\r\n", "second"), ("third", "third")] {
        fs::write(&file, content).unwrap();
        assert_eq!(run(&check).await, Health::Healthy);
        let headers = server.last().headers;
        assert_eq!(headers["x-api-key"], sent);
        assert_eq!(headers["accept"], "text/html");
        assert_eq!(headers["user-agent"], "probe");
        assert_eq!(headers["host"], "api.example.com");
    }
}

#[tokio::test]
async fn bearer_token_and_basic_auth() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), "hunter2\n").unwrap();
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    for (stanza, expected) in [
        ("bearer_token_file: secret", "Bearer hunter2"),
        // printf 'ops:hunter2' | base64
        ("basic_auth: { username: ops, password_file: secret }", "Basic b3BzOmh1bnRlcjI="),
    ] {
        let check = check_in(dir.path(), &format!("url: \"{}\", {stanza}", server.url("/")));
        assert_eq!(run(&check).await, Health::Healthy);
        assert_eq!(server.last().headers["authorization"], expected);
    }
}

#[tokio::test]
async fn a_file_that_is_no_use_is_our_own_failure_and_nothing_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::new(200, "", "")).await;
    fs::write(dir.path().join("two-lines"), format!("{SECRET}\n{SECRET}\n")).unwrap();
    fs::write(dir.path().join("control"), format!("{SECRET}\u{7}")).unwrap();
    fs::write(dir.path().join("empty"), "\n").unwrap();
    fs::write(dir.path().join("pem"), SECRET).unwrap();
    for (stanza, words) in [
        ("bearer_token_file: absent", "absent: No such file"),
        ("bearer_token_file: two-lines", "two-lines: holds more than one line"),
        ("bearer_token_file: control", "control: holds control characters"),
        ("bearer_token_file: empty", "empty: "),
        ("basic_auth: { username: ops, password_file: absent }", "absent: No such file"),
        ("headers: { X-Key: { value_file: two-lines } }", "two-lines: holds more than one line"),
        ("basic_auth: { username: ops, password_file: two-lines }", "two-lines: holds more than one line"),
        ("basic_auth: { username: \"o:ps\", password_file: pem }", "username: a colon"),
        ("headers: { X-Key: { value_file: absent } }", "absent: No such file"),
    ] {
        let health = run(&check_in(dir.path(), &format!("url: \"{}\", {stanza}", server.url("/")))).await;
        assert_no_answer(&health, "credentials_unreadable", &[words]);
        assert!(!format!("{health:?}").contains(SECRET), "{health:?}");
    }
    for (stanza, words) in [
        ("ca_file: absent", "absent: No such file"),
        ("ca_file: pem", "pem holds no certificate"),
        ("ca_file: pem, cert_file: pem, key_file: pem", "pem holds no certificate"),
    ] {
        let url = server.named("https", "/");
        let health = run(&check_in(dir.path(), &format!("url: \"{url}\", {stanza}"))).await;
        assert_no_answer(&health, "credentials_unreadable", &[words]);
        assert!(!format!("{health:?}").contains(SECRET), "{health:?}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_redirect_takes_secrets_no_further_than_their_origin() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    let other = Server::start(|_| Reply::new(200, "", "")).await;
    let (elsewhere, by_name) = (other.url("/"), other.named("http", "/"));
    let server = Server::start(move |request| match request.target.as_str() {
        "/own" => Reply::redirect(302, "/arrived"),
        "/port" => Reply::redirect(302, &elsewhere),
        "/host" => Reply::redirect(302, &by_name),
        _ => Reply::new(200, "", ""),
    })
    .await;
    for credentials in ["bearer_token_file: secret", "basic_auth: { username: ops, password_file: secret }"] {
        let stanza = |target: &str| {
            let headers = "X-Key: { value_file: secret }, X-Plain: { value: plain }, Host: { value: own.example.com }";
            format!("url: \"{}\", {credentials}, headers: {{ {headers} }}", server.url(target))
        };
        assert_eq!(run(&check_in(dir.path(), &stanza("/own"))).await, Health::Healthy);
        let own = server.last();
        assert_eq!(own.target, "/arrived");
        for header in ["authorization", "x-key", "x-plain"] {
            assert!(own.headers.contains_key(header), "{header} goes along within the origin");
        }
        for target in ["/port", "/host"] {
            let before = other.requests().len();
            assert_eq!(run(&check_in(dir.path(), &stanza(target))).await, Health::Healthy);
            assert_eq!(other.requests().len(), before + 1);
            let headers = other.last().headers;
            assert!(!headers.contains_key("authorization") && !headers.contains_key("x-key"), "{target}: {headers:?}");
            assert_eq!(headers["x-plain"], "plain");
            assert_ne!(headers["host"], "own.example.com");
        }
    }
}

#[tokio::test]
async fn a_redirect_that_comes_back_does_not_get_the_secrets_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    let back = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let other = Server::start({
        let back = back.clone();
        move |_| Reply::redirect(302, back.get().unwrap())
    })
    .await;
    let away = other.url("/");
    let server = Server::start(move |request| match request.target.as_str() {
        "/" => Reply::redirect(302, &away),
        _ => Reply::new(200, "", ""),
    })
    .await;
    back.set(server.url("/chosen-by-the-other")).unwrap();
    let stanza = format!("url: \"{}\", bearer_token_file: secret", server.url("/"));
    assert_eq!(run(&check_in(dir.path(), &stanza)).await, Health::Healthy);
    let sent: Vec<_> = server.requests().iter().map(|request| request.headers.contains_key("authorization")).collect();
    assert_eq!(sent, [true, false]);
}

#[tokio::test]
async fn no_finding_tells_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("secret"), SECRET).unwrap();
    let server = Server::start(|request| match request.target.split('?').next().unwrap() {
        "/redirect" => Reply::redirect(302, "http://ops:hunter2@127.0.0.1:1/?token=hunter2#hunter2"),
        "/scheme" => Reply::redirect(302, "ftp://ops:hunter2@example.com/?token=hunter2"),
        "/garbage" => Reply::raw("hunter2 hunter2\r\n\r\n", super::server::Then::Close),
        "/header" => Reply::raw("HTTP/1.1 200 OK\r\nhunter2\r\n\r\n", super::server::Then::Close),
        _ => Reply::new(503, "x-secret: hunter2\r\n", "hunter2"),
    })
    .await;
    for (target, reason) in [
        ("/redirect", "connect_failed"),
        ("/scheme", "bad_redirect"),
        ("/garbage", "bad_answer"),
        ("/header", "bad_answer"),
        ("/status", "unexpected_status"),
    ] {
        let url = server.url(&format!("{target}?token=hunter2"));
        let stanza = format!(
            "url: \"{url}\", bearer_token_file: secret, headers: {{ X-Key: {{ value_file: secret }} }}, expect_body: x"
        );
        let health = run(&check_in(dir.path(), &stanza)).await;
        assert_unhealthy(&health, reason, &[]);
        assert!(!format!("{health:?}").contains(SECRET), "{health:?}");
    }
}
