//! Redirects: followed, not followed, and without end.

use crate::server::{Reply, Server};
use crate::{assert_unhealthy, measure};
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
        &["/1 (redirected from", "/11)", "more than 10 times; followed no further"],
    );
}

#[tokio::test]
async fn a_circle() {
    let server = Server::start(|_| Reply::redirect(302, "/?token=hunter2")).await;
    let health = measure(&format!("url: \"{}\"", server.url("/?token=hunter2"))).await;
    assert_unhealthy(&health, "bad_redirect", &["GET http://127.0.0.1", "they go in a circle"]);
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
    let dead = crate::server::nowhere().await;
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
