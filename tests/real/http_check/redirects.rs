//! Redirects: followed, not followed, and without end.

use super::server::{Reply, Server};
use super::{assert_unhealthy, measure};
use dr_exporter::domain::observation::Health;

/// `/N` leads to `/N-1`, and `/0` is there.
async fn countdown() -> Server {
    Server::start(|request| match request.target[1..].parse::<u32>().unwrap() {
        0 => Reply::new(200, "", "arrived"),
        more => Reply::redirect(302, &format!("/{}", more - 1)),
    })
    .await
}

#[tokio::test]
async fn up_to_ten_are_followed() {
    let server = countdown().await;
    assert_eq!(measure(&format!("url: \"{}\", expect_body: arrived", server.url("/10"))).await, Health::Healthy);
    assert_eq!(server.requests().len(), 11);
    let health = measure(&format!("url: \"{}\"", server.url("/11"))).await;
    assert_unhealthy(
        &health,
        "bad_redirect",
        &["/1 (redirected from", "/11)", "more than 10 times; no further ones are followed"],
    );
}

#[tokio::test]
async fn a_circle() {
    let server = Server::start(|_| Reply::redirect(302, "/?token=hunter2")).await;
    let health = measure(&format!("url: \"{}\"", server.url("/?token=hunter2"))).await;
    assert_unhealthy(&health, "bad_redirect", &["GET http://127.0.0.1", "they form a circle"]);
    assert!(!format!("{health:?}").contains("hunter2"));
    assert_eq!(server.requests().len(), 11);
}

#[tokio::test]
async fn not_followed_a_redirect_is_judged_by_its_own_status() {
    let server = countdown().await;
    let unfollowed = format!("url: \"{}\", follow_redirects: false", server.url("/1"));
    assert_unhealthy(
        &measure(&unfollowed).await,
        "unexpected_status",
        &["got 302 Found", "the redirect is not followed"],
    );
    assert_eq!(measure(&format!("{unfollowed}, expect_status: 302")).await, Health::Healthy);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn where_a_redirect_leads_is_where_its_failure_is() {
    let dead = super::server::nowhere();
    let server = Server::start(move |_| Reply::redirect(307, &format!("http://{dead}/there"))).await;
    let health = measure(&format!("url: \"{}\"", server.url("/"))).await;
    assert_unhealthy(
        &health,
        "connect_failed",
        &[&format!("GET http://{dead}/there (redirected from {})", server.url("/"))],
    );
}

#[tokio::test]
async fn leading_to_what_cannot_be_requested() {
    for location in ["ftp://example.com/", "http://", "http://["] {
        let server = Server::start(move |_| Reply::redirect(302, location)).await;
        let health = measure(&format!("url: \"{}\"", server.url("/"))).await;
        assert_unhealthy(&health, "bad_redirect", &["302 Found, "]);
    }
}

/// As a browser does, and blackbox_exporter: without it, pages behind a login redirect for ever.
#[tokio::test]
async fn cookies_that_a_redirect_sets_go_along() {
    let server = Server::start(|request| {
        let cookie = request.headers.get("cookie").map(String::as_str);
        match (request.target.as_str(), cookie) {
            ("/", None) => Reply::new(
                302,
                "location: /app\r\nset-cookie: sid=1; Path=/; HttpOnly\r\nset-cookie: lang=en; Max-Age=60\r\n\
                 set-cookie: deep=1; Path=/deep\r\nset-cookie: x=1; Domain=example.com\r\n",
                "",
            ),
            ("/app", Some(cookies)) => {
                Reply::new(302, "location: /deep/x\r\nset-cookie: lang=; Max-Age=0\r\n", cookies)
            }
            _ => Reply::new(200, "", ""),
        }
    })
    .await;
    assert_eq!(measure(&format!("url: \"{}\"", server.named("http", "/"))).await, Health::Healthy);
    let sorted = |index: usize| {
        let header = server.requests()[index].headers.get("cookie").cloned().unwrap_or_default();
        let mut cookies: Vec<String> = header.split("; ").map(ToOwned::to_owned).collect();
        cookies.sort();
        cookies.join("; ")
    };
    assert_eq!([sorted(0), sorted(1), sorted(2)], ["", "lang=en; sid=1", "deep=1; sid=1"]);
    // Nothing of it is left for the next run.
    assert_eq!(measure(&format!("url: \"{}\"", server.named("http", "/"))).await, Health::Healthy);
    assert_eq!(sorted(3), "");
}

#[tokio::test]
async fn cookies_join_those_that_are_configured_and_stay_with_their_host() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("cookie"), "own=1").unwrap();
    let other = Server::start(|_| Reply::new(200, "", "")).await;
    let elsewhere = other.named("http", "/");
    let server = Server::start(move |request| match request.target.as_str() {
        "/" => Reply::new(302, "location: /next\r\nset-cookie: sid=1\r\n", ""),
        "/next" => Reply::redirect(302, &elsewhere),
        _ => Reply::new(200, "", ""),
    })
    .await;
    let stanza = format!("url: \"{}\", headers: {{ Cookie: {{ value_file: cookie }} }}", server.url("/"));
    assert_eq!(super::run(&super::check_in(dir.path(), &stanza)).await, Health::Healthy);
    assert_eq!(server.last().headers["cookie"], "own=1; sid=1");
    assert!(!other.last().headers.contains_key("cookie"), "{:?}", other.last());
}

/// A page that asks for a cookie at its own URL: the circle ends once the cookie is there.
#[tokio::test]
async fn a_redirect_to_itself_that_sets_a_cookie_arrives() {
    let server = Server::start(|request| match request.headers.get("cookie") {
        None => Reply::new(302, "location: /\r\nset-cookie: seen=1\r\n", ""),
        Some(_) => Reply::new(200, "", "arrived"),
    })
    .await;
    assert_eq!(measure(&format!("url: \"{}\", expect_body: arrived", server.url("/"))).await, Health::Healthy);
}

#[tokio::test]
async fn a_body_goes_where_the_method_goes() {
    let server = Server::start(|request| match request.target[1..].parse::<u16>() {
        Ok(status) => Reply::redirect(status, "/arrived"),
        Err(_) => Reply::new(200, "", ""),
    })
    .await;
    for (method, status, expected, body) in [
        ("POST", 301, "GET", ""),
        ("POST", 302, "GET", ""),
        ("POST", 303, "GET", ""),
        ("POST", 307, "POST", "x"),
        ("POST", 308, "POST", "x"),
        ("PUT", 302, "PUT", "x"),
        ("PUT", 303, "GET", ""),
        ("PUT", 307, "PUT", "x"),
    ] {
        let stanza = "body: x, headers: { Content-Type: { value: text/plain }, X-Plain: { value: y } }";
        let url = server.url(&format!("/{status}"));
        assert_eq!(measure(&format!("url: \"{url}\", method: {method}, {stanza}")).await, Health::Healthy);
        let request = server.last();
        assert_eq!((request.method.as_str(), request.body.as_str()), (expected, body), "{method} {status}");
        for header in ["content-type", "content-length"] {
            assert_eq!(request.headers.contains_key(header), !body.is_empty(), "{method} {status} {header}");
        }
        assert_eq!(request.headers["x-plain"], "y");
    }
}

#[tokio::test]
async fn a_private_body_does_not_leave_its_origin() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("body"), "hunter2").unwrap();
    let other = Server::start(|_| Reply::new(200, "", "")).await;
    let elsewhere = other.url("/");
    let server = Server::start(move |request| match request.target.as_str() {
        "/307" => Reply::redirect(307, &elsewhere),
        "/302" => Reply::redirect(302, &elsewhere),
        "/own" => Reply::redirect(307, "/arrived"),
        _ => Reply::new(200, "", ""),
    })
    .await;
    let of = |target: &str| {
        super::check_in(dir.path(), &format!("url: \"{}\", method: POST, body_file: body", server.url(target)))
    };
    let health = super::run(&of("/307")).await;
    super::assert_no_answer(&health, "redirect_not_followed", &["must not get the content of body_file"]);
    assert_eq!(other.connections(), 0);
    assert_eq!(super::run(&of("/302")).await, Health::Healthy);
    assert_eq!((other.last().method.as_str(), other.last().body.as_str()), ("GET", ""));
    assert_eq!(super::run(&of("/own")).await, Health::Healthy);
    assert_eq!(server.last().body, "hunter2");
}

#[tokio::test]
async fn locations_as_servers_write_them() {
    let server = Server::start(|request| match request.target.as_str() {
        "/x/relative" => Reply::redirect(302, "arrived"),
        "/x/query" => Reply::redirect(302, "?arrived"),
        "/x/fragment" => Reply::redirect(302, "/arrived#top"),
        "/x/dots" => Reply::redirect(302, "../arrived"),
        "/x/blank" => Reply::redirect(302, "/arr ived"),
        "/x/utf-8" => Reply::redirect(302, "/arriv\u{e9}"),
        "/x/latin-1" => Reply::raw(
            b"HTTP/1.1 302 Found\r\nlocation: /arriv\xe9\r\ncontent-length: 0\r\n\r\n",
            super::server::Then::Serve,
        ),
        "/x/host" => Reply::redirect(302, &format!("//{}/arrived", request.headers["host"])),
        _ => Reply::new(200, "", ""),
    })
    .await;
    for (from, to) in [
        ("/x/relative", "/x/arrived"),
        ("/x/query", "/x/query?arrived"),
        ("/x/fragment", "/arrived"),
        ("/x/dots", "/arrived"),
        ("/x/blank", "/arr%20ived"),
        ("/x/utf-8", "/arriv%C3%A9"),
        ("/x/latin-1", "/arriv%E9"),
        ("/x/host", "/arrived"),
    ] {
        assert_eq!(measure(&format!("url: \"{}\"", server.url(from))).await, Health::Healthy, "{from}");
        assert_eq!(server.last().target, to, "{from}");
    }
}

#[tokio::test]
async fn an_empty_location_leads_nowhere() {
    let server = Server::start(|_| Reply::redirect(302, "")).await;
    let health = measure(&format!("url: \"{}\"", server.url("/"))).await;
    assert_unhealthy(&health, "unexpected_status", &["got 302 Found, expected 200-299; its Location is empty"]);
    assert_eq!(server.requests().len(), 1);
}
