//! Request and answer, redirects included.

use std::time::Duration;

use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::Response;
use url::Url;

use super::connections::Connections;
use super::progress::{Phase, Progress};
use super::{BAD_REDIRECT, HttpConfig, LOCAL, failure, verdict};
use crate::clients::http::Headers;
use crate::domain::observation::Finding;

/// How many redirects are followed.
const REDIRECTS: usize = 10;
/// How much of a body is read, in bytes.
const BODY: usize = 1 << 20;

/// What answered, with a status that is expected.
#[derive(Debug)]
pub(super) struct Answer {
    /// What was asked for: method and URL.
    pub(super) request: String,
    /// The first MiB of the body.
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// Whether the body may go on after what was read of it.
    pub(super) fn is_cut(&self) -> bool {
        self.body.len() >= BODY
    }
}

/// One run's requests.
pub(super) struct Exchange<'a> {
    pub(super) config: &'a HttpConfig,
    pub(super) headers: &'a Headers,
    pub(super) connections: &'a Connections,
    pub(super) progress: &'a Progress,
    pub(super) patience: Duration,
}

impl Exchange<'_> {
    /// Asks, follows redirects, and reads the answer if its status is the expected one.
    ///
    /// # Errors
    /// Why there is no such answer.
    pub(super) async fn run(&self) -> Result<Answer, Finding> {
        let mut hop = Hop::first(self.config.method.get().clone(), self.config.url.get().clone());
        let mut asked = Vec::new();
        let response = loop {
            self.progress.ask(hop.to_string());
            let response = self.send(&hop).await?;
            let location = response.headers().get(LOCATION);
            let next = if self.config.follow_redirects { hop.next(response.status(), location) } else { Ok(None) };
            let wrong = |story: String| Finding::new(&BAD_REDIRECT, format!("{hop}: {story}"));
            let Some(next) = next.map_err(wrong)? else { break response };
            asked.push((hop.method.clone(), hop.url.clone()));
            if asked.len() > REDIRECTS {
                let circle = asked.iter().any(|(method, url)| (method, url) == (&next.method, &next.url));
                let circle = if circle { "they go in a circle" } else { "followed no further" };
                return Err(wrong(format!("redirected more than {REDIRECTS} times; {circle}")));
            }
            hop = next;
        };
        verdict::of_status(&self.config.expect_status, &hop.to_string(), response.status(), response.headers())?;
        self.read(response, &hop).await
    }

    async fn send(&self, hop: &Hop) -> Result<Response, Finding> {
        let sent = self.send_once(hop).await?;
        let error = match sent {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        // A connection that was there already may have been closed meanwhile, as servers do; that is no failure.
        let stale = !self.progress.dialled() && hop.method.is_idempotent();
        if !stale {
            return Err(self.failed(&error, hop));
        }
        self.connections.forget();
        self.send_once(hop).await?.map_err(|error| self.failed(&error, hop))
    }

    async fn send_once(&self, hop: &Hop) -> Result<reqwest::Result<Response>, Finding> {
        let client = self.connections.client(hop.url.scheme() == "https", self.patience).await?;
        let request = self.headers.add_to(client.request(hop.method.clone(), hop.url.clone()), hop.to_origin);
        self.progress.send();
        Ok(request.send().await)
    }

    async fn read(&self, mut response: Response, hop: &Hop) -> Result<Answer, Finding> {
        self.progress.enter(Phase::Reading);
        let mut body = Vec::new();
        while body.len() < BODY {
            let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error, hop))? else { break };
            self.progress.read(chunk.len());
            body.extend_from_slice(&chunk);
        }
        body.truncate(BODY);
        Ok(Answer { request: hop.to_string(), body })
    }

    fn failed(&self, error: &reqwest::Error, hop: &Hop) -> Finding {
        // The client's own time-out for connections, which ends when the run does.
        if error.is_connect() && error.is_timeout() {
            return self.progress.timed_out(self.patience, Duration::ZERO);
        }
        let stage = failure::Stage::of(error, &hop.url);
        let (reason, story) = match stage {
            // Nothing was sent: a URL that the client refuses.
            None if hop.from.is_some() => {
                (&BAD_REDIRECT, "the redirect leads to a URL that cannot be requested".to_owned())
            }
            None => (&LOCAL, "no request can be made of this URL and these headers".to_owned()),
            Some(stage) => failure::classify(error, stage, &hop.url),
        };
        let addresses =
            if stage == Some(failure::Stage::Answering) { String::new() } else { self.progress.addresses() };
        Finding::new(reason, format!("{hop}: {story}{addresses}"))
    }
}

/// One request of a chain of redirects.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hop {
    method: Method,
    url: Url,
    /// The URL that is configured, if this is another one.
    from: Option<Url>,
    /// Whether the chain never left the origin (scheme, host and port) that is configured.
    to_origin: bool,
}

/// For people: without the query, which may hold secrets.
impl std::fmt::Display for Hop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.method, shown(&self.url))?;
        match &self.from {
            Some(from) => write!(f, " (redirected from {})", shown(from)),
            None => Ok(()),
        }
    }
}

impl Hop {
    fn first(method: Method, url: Url) -> Self {
        Self { method, url, from: None, to_origin: true }
    }

    /// Where an answer redirects to; nothing if it is not a redirect.
    fn next(&self, status: StatusCode, location: Option<&HeaderValue>) -> Result<Option<Self>, String> {
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
        let Some(location) = location else { return Ok(None) };
        let target = std::str::from_utf8(location.as_bytes()).ok().and_then(|target| self.url.join(target).ok());
        let mut url = target.ok_or_else(|| format!("{status}, with a Location that is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("{status}, to a URL of the scheme {}", url.scheme()));
        }
        // Neither can fail: an http URL has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        let to_origin = self.to_origin && url.origin() == self.url.origin();
        Ok(Some(Self { method, url, from: Some(self.from.clone().unwrap_or_else(|| self.url.clone())), to_origin }))
    }
}

/// A URL as people may see it: its query may hold secrets.
pub(super) fn shown(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    let query = if url.query().is_some() { "?…" } else { "" };
    let text: String = bare.as_str().chars().take(300).collect();
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
        let cases = [
            ("GET", 301, "/b?c=d", Some("GET http://a/b?c=d true")),
            ("GET", 302, "//other/x", Some("GET http://other/x false")),
            ("GET", 307, "http://a:80/b", Some("GET http://a/b true")),
            ("GET", 308, "http://a:81/b", Some("GET http://a:81/b false")),
            ("GET", 302, "https://a/b", Some("GET https://a/b false")),
            ("GET", 302, "http://user:password@a/b#c", Some("GET http://a/b true")),
            ("HEAD", 303, "/b", Some("HEAD http://a/b true")),
            ("PUT", 303, "/b", Some("GET http://a/b true")),
            ("POST", 302, "/b", Some("GET http://a/b true")),
            ("POST", 307, "/b", Some("POST http://a/b true")),
            ("PUT", 301, "/b", Some("PUT http://a/b true")),
            ("GET", 200, "/b", None),
            ("GET", 304, "/b", None),
            ("GET", 300, "/b", None),
        ];
        for (method, status, location, expected) in cases {
            let next = hop(method, "http://a/")
                .next(StatusCode::from_u16(status).unwrap(), Some(&HeaderValue::from_static(location)));
            let next = next.unwrap().map(|next| format!("{} {} {}", next.method, next.url, next.to_origin));
            assert_eq!(next.as_deref(), expected, "{method} {status} {location}");
        }
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
