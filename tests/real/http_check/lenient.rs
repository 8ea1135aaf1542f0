//! Answers that break the grammar and that other clients read: what a server gets away with everywhere is no outage.
//! What each of these is to curl 7.88 and to blackbox_exporter 0.23 was tried on the same bytes.

use std::fmt::Write as _;
use std::sync::Arc;

use super::server::{Reply, Server, Then};
use super::tls::{Authority, VALID};
use super::{LONG, assert_no_answer, assert_unhealthy, check, measure, run, run_within};
use dr_exporter::domain::observation::Health;

const OK: &str = "HTTP/1.1 200 OK\r\n";
const TWO: &str = "Content-Length: 2\r\n";
const CHUNKED: &str = "Transfer-Encoding: chunked\r\n";

/// So many fields, each as a line.
fn fields(count: usize) -> String {
    (0..count).fold(String::new(), |mut lines, index| {
        writeln!(lines, "X-{index}: v\r").unwrap();
        lines
    })
}

/// What the check says of these bytes; the body must be `ok`.
async fn health_of(bytes: impl Into<Vec<u8>>, then: Then) -> Health {
    let bytes = bytes.into();
    let server = Server::start(move |_| Reply::raw(bytes.clone(), then)).await;
    run_within(&check(&format!("url: \"{}\", expect_body: ^ok$", server.url("/"))), LONG).await
}

#[tokio::test]
async fn heads_that_curl_reads() {
    let long = "a".repeat(99_000);
    let many = format!("X: {}\r\n", "a".repeat(29_000)).repeat(10);
    for (name, head) in [
        ("plain", format!("{OK}{TWO}\r\n")),
        ("120 fields", format!("{OK}{TWO}{}\r\n", fields(120))),
        ("6000 fields", format!("{OK}{TWO}{}\r\n", fields(6000))),
        ("a line of 99 KB", format!("{OK}{TWO}X: {long}\r\n\r\n")),
        ("290 KB in all", format!("{OK}{TWO}{many}\r\n")),
        ("a blank before the colon", format!("{OK}Content-Length : 2\r\nX-A\t: b\r\n\r\n")),
        ("folded lines", format!("{OK}{TWO}X-A: b\r\n c\r\n\td\r\n\r\n")),
        ("a folded line at the end", format!("{OK}X-A: b\r\n{TWO}X: y\r\n z\r\n\r\n")),
        ("bare LF", format!("{OK}{TWO}\r\n").replace('\r', "")),
        ("no reason phrase", format!("HTTP/1.1 200\r\n{TWO}\r\n")),
        ("a control character in the reason phrase", format!("HTTP/1.1 200 O\u{1}K\r\n{TWO}\r\n")),
        ("small letters", format!("http/1.1 200 OK\r\n{TWO}\r\n")),
        ("two blanks", format!("HTTP/1.1  200  OK\r\n{TWO}\r\n")),
        ("no blank", format!("HTTP/1.1 200OK\r\n{TWO}\r\n")),
        ("HTTP/2 over HTTP/1", format!("HTTP/2 200\r\n{TWO}\r\n")),
        ("HTTP/1.2", format!("HTTP/1.2 200 OK\r\n{TWO}\r\n")),
        ("a length twice", format!("{OK}{TWO}{TWO}\r\n")),
        ("a length twice in one line", format!("{OK}Content-Length: 2, 2\r\n\r\n")),
        ("a length with a sign", format!("{OK}Content-Length: +2\r\n\r\n")),
        ("a length with something behind", format!("{OK}Content-Length: 2abc\r\n\r\n")),
        ("a blank in a name", format!("{OK}{TWO}Foo Bar: x\r\n\r\n")),
        ("an odd name", format!("{OK}{TWO}X(y)@\u{e8}: x\r\n\r\n")),
        ("no name", format!("{OK}{TWO}: x\r\n\r\n")),
        ("control characters in a value", format!("{OK}{TWO}X: a\u{1}b\u{7f}\r\n\r\n")),
        ("a CR in a value", format!("{OK}{TWO}X: a\rb\r\n\r\n")),
        ("not ASCII in a value", format!("{OK}{TWO}X: \u{e9}\u{2192}\r\n\r\n")),
        ("100 before", format!("HTTP/1.1 100 Continue\r\n\r\n{OK}{TWO}\r\n")),
        ("103 before", format!("HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n{OK}{TWO}\r\n")),
        (
            "103 thirty times before",
            format!("{}{OK}{TWO}\r\n", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(30)),
        ),
        ("no encoding for the way", format!("{OK}Transfer-Encoding: identity\r\n{TWO}\r\n")),
        ("an empty encoding for the way", format!("{OK}Transfer-Encoding:\r\n{TWO}\r\n")),
        ("HTTP/1.0 that stays open", format!("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n{TWO}\r\n")),
    ] {
        assert_eq!(health_of(format!("{head}ok"), Then::Hang).await, Health::Healthy, "{name}");
    }
    let latin_1 = [b"HTTP/1.1 200 Tr\xe8s bien\r\n", TWO.as_bytes(), b"X: \xe8\xff\r\n\r\nok"].concat();
    assert_eq!(health_of(latin_1, Then::Hang).await, Health::Healthy);
}

#[tokio::test]
async fn bodies_that_curl_reads() {
    for (name, answer, then) in [
        ("HTTP/1.0 without a length", "HTTP/1.0 200 OK\r\n\r\nok".to_owned(), Then::Close),
        ("HTTP/1.1 without a length", format!("{OK}\r\nok"), Then::Close),
        ("chunks", format!("{OK}{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n"), Then::Hang),
        ("chunks and a length", format!("{OK}Content-Length: 9\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n"), Then::Hang),
        ("chunks, told twice", format!("{OK}{CHUNKED}{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n"), Then::Hang),
        ("chunks, in capitals", format!("{OK}TRANSFER-ENCODING: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"), Then::Hang),
        ("chunks in HTTP/1.0", format!("HTTP/1.0 200 OK\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n"), Then::Hang),
        ("extended chunks", format!("{OK}{CHUNKED}\r\n2;a=\"b\"\r\nok\r\n0;c\r\n\r\n"), Then::Hang),
        ("chunks with blanks", format!("{OK}{CHUNKED}\r\n2  \r\nok\r\n0 \r\n\r\n"), Then::Hang),
        ("chunks with zeros", format!("{OK}{CHUNKED}\r\n0002\r\nok\r\n000\r\n\r\n"), Then::Hang),
        ("chunks with bare LF", format!("{OK}{CHUNKED}\r\n2\r\nok\r\n0\r\n\r\n").replace('\r', ""), Then::Hang),
        ("trailers", format!("{OK}{CHUNKED}Trailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n"), Then::Hang),
        ("many trailers", format!("{OK}{CHUNKED}\r\n2\r\nok\r\n0\r\n{}\r\n", fields(200)), Then::Hang),
        ("odd trailers", format!("{OK}{CHUNKED}\r\n2\r\nok\r\n0\r\nFoo Bar : 1\r\n x\r\n\r\n"), Then::Hang),
        ("something behind the body", format!("{OK}{TWO}\r\nokgarbage"), Then::Hang),
    ] {
        assert_eq!(health_of(answer, then).await, Health::Healthy, "{name}");
    }
}

/// As it comes, byte by byte: where a piece ends means nothing.
#[tokio::test]
async fn an_answer_in_pieces() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let answer =
        format!("HTTP/1.1 103 Early Hints\r\n\r\n{OK}X-A : b\r\n c\r\n{CHUNKED}\r\n2\r\nok\r\n0\r\nX: y\r\n\r\n");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: \"http://{}/\", expect_body: ^ok$", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        for byte in answer.bytes() {
            stream.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        stream
    });
    assert_eq!(measure(&url).await, Health::Healthy);
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_is_used_again_is_read_as_leniently() {
    let server = Server::start(|_| Reply::raw(format!("{OK}X-A : b\r\n c\r\n{TWO}\r\nok"), Then::Serve)).await;
    let check = check(&format!("url: \"{}\", expect_body: ^ok$, reuse_connection: true", server.url("/")));
    for _ in 0..3 {
        assert_eq!(run(&check).await, Health::Healthy);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_curl_does_not_read() {
    let lines = format!("{OK}{TWO}no header\r\n\r\nok");
    for (name, answer, words) in [
        ("a line without a colon", lines.as_str(), "the answer is not HTTP: a header line has no colon"),
        (
            "a continued line without a line",
            "HTTP/1.1 200 OK\r\n x\r\n\r\n",
            "the first header line begins with a blank",
        ),
        ("HTTP/0.9", "ok", "the answer is not HTTP"),
        ("another protocol", "SSH-2.0-OpenSSH_9.6\r\n\r\n", "the answer is not HTTP"),
        ("no status", "HTTP/1.1 OK\r\n\r\nok", "the answer is not HTTP"),
        ("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\nok", "the answer is not HTTP"),
        ("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", "content-length"),
        ("a negative length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", "content-length"),
        ("no length", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nok", "content-length"),
        (
            "no chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnothing like a chunk\r\n",
            "the answer is not HTTP",
        ),
    ] {
        let health = health_of(answer, Then::Close).await;
        assert_unhealthy(&health, "bad_answer", &[words]);
        assert!(!format!("{health:?}").contains("Token"), "{name}");
    }
}

/// What nobody reads must not wear a better status than it has.
#[tokio::test]
async fn lenient_is_not_blind() {
    for (answer, reason) in [
        (format!("HTTP/1.1  503 OK\r\n{TWO}X : y\r\n\r\nok"), "unexpected_status"),
        (format!("{OK}{TWO}X : y\r\n\r\nno"), "unexpected_body"),
        (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nok".to_owned(),
            "unexpected_status",
        ),
        (format!("{OK}Content-Length : 3\r\n\r\nok"), "connection_lost"),
        (format!("{OK}{CHUNKED}\r\n3\r\nok"), "connection_lost"),
        (format!("{OK}{CHUNKED}\r\n2\r\nok\r\n"), "connection_lost"),
    ] {
        assert_unhealthy(&health_of(answer, Then::Close).await, reason, &[]);
    }
}

#[tokio::test]
async fn our_own_limits_are_no_outage() {
    for (answer, words) in [
        (format!("{OK}{TWO}{}\r\nok", fields(10_001)), "the answer has more than the 10000 header fields"),
        (
            format!("{OK}{TWO}X: {}\r\n\r\nok", "a".repeat(2 << 20)),
            "the header of the answer is larger than the 1048576 bytes",
        ),
        ("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(40_000), "the header of the answer is larger"),
    ] {
        let health = health_of(answer, Then::Hang).await;
        assert_no_answer(&health, "head_too_large", &["GET http://127.0.0.1", words]);
        assert!(!format!("{health:?}").contains("not HTTP"), "{health:?}");
    }
}

#[tokio::test]
async fn tls_that_is_closed_without_a_word_ends_a_body_that_has_no_length() {
    for (answer, lost) in [
        ("HTTP/1.0 200 OK\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", true),
        ("HTTP/1.1 200 OK\r\nX-A: ", true),
        ("", true),
    ] {
        let tls = Authority::new().sign("127.0.0.1", VALID).server(&[]);
        let server = Server::start_tls(tls, move |_| Reply::raw(answer, Then::Drop)).await;
        let stanza = format!("url: \"https://{}/\", insecure_skip_verify: true, expect_body: ^ok$", server.address);
        let health = measure(&stanza).await;
        if lost {
            assert_unhealthy(&health, "connection_lost", &["the connection ended before the answer did"]);
        } else {
            assert_eq!(health, Health::Healthy, "{answer}");
        }
    }
}

/// HTTP/2 has limits of its own in the library; they must be as wide.
#[tokio::test]
async fn many_fields_over_http_2() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let tls = Authority::new().sign("127.0.0.1", VALID).server(&[b"h2"]);
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let server = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(acceptor.accept(stream).await.unwrap()).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let count: usize = request.uri().path()[1..].parse().unwrap();
                let mut response = http::Response::new(());
                for index in 0..count {
                    let name = http::HeaderName::from_bytes(format!("x-{index}").as_bytes()).unwrap();
                    response.headers_mut().insert(name, "v".repeat(100).parse().unwrap());
                }
                let mut body = respond.send_response(response, false).unwrap();
                let _ = body.send_data("ok".into(), true);
            }
        }
    });
    let stanza = |count: usize| format!("url: \"{url}{count}\", insecure_skip_verify: true, expect_body: ^ok$");
    for count in [120, 1000] {
        assert_eq!(run(&check(&stanza(count))).await, Health::Healthy, "{count}");
    }
    let health = run(&check(&stanza(9000))).await;
    assert_no_answer(
        &health,
        "head_too_large",
        &["the header of the answer is larger than 1048576 bytes, or violates"],
    );
    server.abort();
}
