//! One request in a chain of redirects, and the way to the next. Pure.

use http::header::{CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use url::Url;

use crate::decode::values::secrets;

/// Headers that describe a body. They are removed together with the body.
pub(super) const OF_A_BODY: [HeaderName; 4] = [CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LOCATION, CONTENT_TYPE];

/// One request of a chain of redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hop {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The first URL of the chain, if it is a different one.
    pub(super) from: Option<Url>,
    /// Whether the chain never left the configured origin (scheme, host and port).
    pub(super) to_origin: bool,
    /// Whether the configured body is sent.
    pub(super) with_body: bool,
    /// Where the connection leads, if not to the URL's host.
    pub(super) at: Option<String>,
}

/// For people, without the query, which may contain secrets.
impl std::fmt::Display for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))?;
        if let Some(at) = &self.at {
            write!(f, " at {at}")?;
        }
        match &self.from {
            Some(from) => write!(f, " (redirected from {})", shown(from)),
            None => Ok(()),
        }
    }
}

impl Hop {
    pub(super) fn first(method: Method, url: Url) -> Self {
        Self { method, url, from: None, to_origin: true, with_body: true, at: None }
    }

    /// Whether this request equals another one.
    pub(super) fn repeats(&self, other: &Self) -> bool {
        (&self.method, &self.url) == (&other.method, &other.url)
    }

    /// The target of a redirect. None if the answer is not a redirect.
    ///
    /// # Errors
    /// The target cannot be requested.
    pub(super) fn next(&self, status: StatusCode, location: Option<&HeaderValue>) -> Result<Option<Self>, String> {
        let method = match (status, &self.method) {
            (StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND, method) if *method == Method::POST => Method::GET,
            (StatusCode::SEE_OTHER, method) if *method != Method::HEAD => Method::GET,
            (
                StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT,
                method,
            ) => method.clone(),
            _ => return Ok(None),
        };
        // In other clients, an empty Location leads nowhere.
        let location = location.map(|location| location.as_bytes().trim_ascii()).filter(|text| !text.is_empty());
        let Some(location) = location else { return Ok(None) };
        let target = self.url.join(&readable(location));
        let mut url = target.map_err(|_| format!("{status}, with a Location that is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{status}, to a URL of the scheme {}", url.scheme()));
        }
        // Neither can fail: an http URL has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Some(Self {
            to_origin: self.to_origin && url.origin() == self.url.origin(),
            with_body: self.with_body && method == self.method,
            from: Some(self.from.clone().unwrap_or_else(|| self.url.clone())),
            method,
            url,
            at: None,
        }))
    }
}

/// A Location as text. Bytes that are not UTF-8 are percent-encoded, as browsers send them.
fn readable(location: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(location) {
        return text.to_owned();
    }
    location
        .iter()
        .map(|byte| if byte.is_ascii() { char::from(*byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A URL for people, without the query, which may contain secrets.
pub(super) fn shown(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    let query = if url.query().is_some() { "?…" } else { "" };
    let text: String = secrets::blanked(bare.as_str()).chars().take(300).collect();
    format!("{text}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(method: &str, url: &str) -> Hop {
        Hop::first(method.parse().unwrap(), url.parse().unwrap())
    }

    #[test]
    fn redirects() {
        let cases: [(&str, u16, &[u8], Option<&str>); 23] = [
            ("GET", 301, b"/b?c=d", Some("GET http://a/b?c=d true true")),
            ("GET", 302, b"//other/x", Some("GET http://other/x false true")),
            ("GET", 307, b"http://a:80/b", Some("GET http://a/b true true")),
            ("GET", 308, b"http://a:81/b", Some("GET http://a:81/b false true")),
            ("GET", 302, b"https://a/b", Some("GET https://a/b false true")),
            ("GET", 302, b"http://user:password@a/b#c", Some("GET http://a/b true true")),
            ("HEAD", 303, b"/b", Some("HEAD http://a/b true true")),
            ("PUT", 303, b"/b", Some("GET http://a/b true false")),
            ("POST", 302, b"/b", Some("GET http://a/b true false")),
            ("POST", 301, b"/b", Some("GET http://a/b true false")),
            ("POST", 307, b"/b", Some("POST http://a/b true true")),
            ("POST", 308, b"/b", Some("POST http://a/b true true")),
            ("PUT", 301, b"/b", Some("PUT http://a/b true true")),
            ("GET", 302, b"?c=d", Some("GET http://a/x/y?c=d true true")),
            ("GET", 302, b"z", Some("GET http://a/x/z true true")),
            ("GET", 302, b"#c", Some("GET http://a/x/y true true")),
            ("GET", 302, b"/a b", Some("GET http://a/a%20b true true")),
            ("GET", 302, "/caf\u{e9}".as_bytes(), Some("GET http://a/caf%C3%A9 true true")),
            ("GET", 302, b"/caf\xe9", Some("GET http://a/caf%E9 true true")),
            ("GET", 302, b"", None),
            ("GET", 200, b"/b", None),
            ("GET", 304, b"/b", None),
            ("GET", 300, b"/b", None),
        ];
        for (method, status, location, expected) in cases {
            let next = hop(method, "http://a/x/y")
                .next(StatusCode::from_u16(status).unwrap(), Some(&HeaderValue::from_bytes(location).unwrap()));
            let next = next.unwrap();
            let next = next.map(|next| format!("{} {} {} {}", next.method, next.url, next.to_origin, next.with_body));
            assert_eq!(next.as_deref(), expected, "{method} {status} {location:?}");
        }
    }

    #[test]
    fn a_body_that_was_dropped_does_not_come_back() {
        let to = |hop: &Hop, status| {
            hop.next(StatusCode::from_u16(status).unwrap(), Some(&HeaderValue::from_static("/"))).unwrap().unwrap()
        };
        let dropped = to(&to(&hop("POST", "http://a/"), 303), 307);
        assert_eq!((dropped.method.as_str(), dropped.with_body), ("GET", false));
    }

    #[test]
    fn a_redirect_without_a_location_is_judged_by_its_status() {
        assert_eq!(hop("GET", "http://a/").next(StatusCode::FOUND, None), Ok(None));
    }

    #[test]
    fn a_redirect_to_something_else_than_http_is_wrong() {
        for (location, expected) in
            [("ftp://a/", "scheme ftp"), ("http://", "not a URL"), ("file:///etc/x", "scheme file")]
        {
            let wrong = hop("GET", "http://a/").next(StatusCode::FOUND, Some(&HeaderValue::from_static(location)));
            assert!(wrong.as_ref().is_err_and(|story| story.contains(expected)), "{location}: {wrong:?}");
        }
    }

    #[test]
    fn who_has_left_the_origin_does_not_come_back_to_it() {
        let redirect = |hop: &Hop, to: &'static str| {
            hop.next(StatusCode::FOUND, Some(&HeaderValue::from_static(to))).unwrap().unwrap()
        };
        let away = redirect(&hop("GET", "http://a/"), "http://b/");
        let back = redirect(&away, "http://a/x");
        assert!(!back.to_origin);
        assert_eq!(back.to_string(), "GET http://a/x (redirected from http://a/)");
    }

    #[test]
    fn what_is_shown_of_a_url_has_no_query() {
        assert_eq!(shown(&"https://a:8443/b?token=hunter2".parse().unwrap()), "https://a:8443/b?…");
        assert_eq!(shown(&"https://a/b".parse().unwrap()), "https://a/b");
    }
}
