//! Whether a request that changes something was made by a page of another site.
//!
//! A browser sends such a request with whatever lets its user in: an address inside the network, or
//! a password that it remembers. So a foreign origin is refused. A foreign `Host` is refused where
//! the own one is known: a page can make its own name lead to this address.

use std::net::IpAddr;

use axum::http::{HeaderMap, Method, Uri, header};
use url::Url;

/// Why a request is refused. None if it may pass.
pub(super) fn refusal(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    is_secure: bool,
    external: Option<&Url>,
) -> Option<&'static str> {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return None;
    }
    let fetched = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if fetched.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Some("this request was made by a page of another site");
    }
    let host = host(uri, headers);
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().ok().and_then(|origin| Url::parse(origin).ok());
        if !origin.is_some_and(|origin| is_own(&origin, host, is_secure, external)) {
            return Some("the `Origin` of this request is another site");
        }
    }
    if let Some(external) = external
        && !host.is_some_and(|host| is_known(host, external))
    {
        return Some(
            "the `Host` of this request is neither that of the external URL, nor localhost, nor an IP address",
        );
    }
    None
}

/// The host and the port that the client asked for.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    // HTTP/2 has it in the URI.
    uri.authority().map(|authority| authority.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok())
}

/// Whether an origin is the external URL's, or the one that the client asked for.
fn is_own(origin: &Url, host: Option<&str>, is_secure: bool, external: Option<&Url>) -> bool {
    if external.is_some_and(|external| external.origin() == origin.origin()) {
        return true;
    }
    let scheme = if is_secure { "https" } else { "http" };
    let asked = host.and_then(|host| Url::parse(&format!("{scheme}://{host}/")).ok());
    asked.is_some_and(|asked| asked.origin() == origin.origin())
}

/// Whether a host is the external URL's, or one that no page of another site can have.
fn is_known(host: &str, external: &Url) -> bool {
    let Ok(asked) = Url::parse(&format!("http://{host}/")) else { return false };
    let Some(name) = asked.host_str() else { return false };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || bare.parse::<IpAddr>().is_ok() || external.host_str() == Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(headers: &[(&'static str, &str)], external: Option<&str>, is_secure: bool) -> bool {
        let map = headers.iter().map(|(name, value)| {
            (name.parse::<axum::http::HeaderName>().expect("a name"), value.parse().expect("a value"))
        });
        let external = external.map(|external| Url::parse(external).expect("a URL"));
        let uri = Uri::from_static("/-/reload");
        let refused = |method| refusal(&method, &uri, &map.clone().collect(), is_secure, external.as_ref()).is_some();
        assert!(!refused(Method::GET), "a request that changes nothing may come from anywhere");
        refused(Method::POST)
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let own = ("host", "dr.example.org:9877");
        let cases: &[(&[(&'static str, &str)], bool)] = &[
            (&[], false),
            (&[own], false),
            (&[own, ("origin", "http://dr.example.org:9877")], false),
            (&[own, ("origin", "http://dr.example.org:9878")], true),
            (&[own, ("origin", "https://dr.example.org:9877")], true),
            (&[own, ("origin", "http://evil.example")], true),
            (&[own, ("origin", "null")], true),
            (&[own, ("origin", "")], true),
            (&[("origin", "http://dr.example.org:9877")], true),
            (&[own, ("sec-fetch-site", "same-origin")], false),
            (&[own, ("sec-fetch-site", "none")], false),
            (&[own, ("sec-fetch-site", "same-site")], true),
            (&[own, ("sec-fetch-site", "cross-site")], true),
        ];
        for (headers, expected) in cases {
            assert_eq!(refused(headers, None, false), *expected, "{headers:?}");
        }
        assert!(!refused(&[own, ("origin", "https://dr.example.org:9877")], None, true));
    }

    #[test]
    fn foreign_hosts_are_refused_where_the_own_is_known() {
        let external = Some("https://dr.example.org/dr/");
        for (host, expected) in [
            ("dr.example.org", false),
            ("dr.example.org:9877", false),
            ("DR.example.org", false),
            ("localhost:9877", false),
            ("127.0.0.1:9877", false),
            ("[::1]:9877", false),
            ("evil.example", true),
            ("localhost.evil.example", true),
            ("dr.example.org.evil.example", true),
            ("", true),
        ] {
            assert_eq!(refused(&[("host", host)], external, false), expected, "{host}");
        }
        assert!(refused(&[], external, false), "no host at all");
        let proxied = [("host", "10.0.0.7:9877"), ("origin", "https://dr.example.org")];
        assert!(!refused(&proxied, external, false), "a proxy may change the host");
    }
}
