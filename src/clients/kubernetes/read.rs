//! Reads: lists by pages, and the metadata of a secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use jiff::fmt::rfc2822;
use kube::core::Request;
use kube::core::params::{GetParams, ListParams};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::failure::{Asked, Problem};
use super::objects::{PartialSecret, SecretState};
use super::shared::Shared;
use super::{Cluster, Reads, TIMEOUT};
use crate::config::values::{Namespace, ObjectName};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;
use crate::engine::clock::Clock;

/// How many objects a page has.
const PAGE: u32 = 500;
/// How many pages are read at most: half a million objects in one namespace are a mistake.
const PAGES: usize = 1000;
/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 << 20;

/// A kind of object that is listed.
pub trait Resource: DeserializeOwned + Send + Sync + 'static {
    /// The API group; empty for the core.
    const GROUP: &'static str;
    /// The versions that are understood, the preferred one first.
    const VERSIONS: &'static [&'static str];
    /// The name in paths and in RBAC rules.
    const PLURAL: &'static str;
    /// The name that a list of them has.
    const LIST: &'static str;

    /// Where the lists of this kind are shared.
    #[doc(hidden)]
    fn shared(cluster: &Cluster) -> &Shared<Namespace, Listing<Self>>
    where
        Self: Sized;
}

/// An answer of an API server, and when it was given.
#[derive(Debug)]
pub struct Read<T> {
    /// The answer.
    pub answer: Arc<T>,
    /// When the question was sent: the answer tells of no earlier moment.
    pub sent: Instant,
    /// What the server's clock showed, to the second, if it told.
    date: Option<jiff::Timestamp>,
}

impl<T> Clone for Read<T> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), sent: self.sent, date: self.date }
    }
}

impl<T> Read<T> {
    /// An answer that a server gave whose clock showed `date`.
    #[must_use]
    pub fn of(answer: T, sent: Instant, date: Option<jiff::Timestamp>) -> Self {
        Self { answer: Arc::new(answer), sent, date }
    }

    /// The instant of this process at which the cluster's clock showed `stamp`.
    ///
    /// The clock is read off the answer's `Date`, which leaves out the part of the second, and taken as given when the
    /// question was sent: both make the instant earlier than it was, never later. A stamp of the future is now. Without a
    /// `Date` the wall clocks are taken to agree.
    #[must_use]
    pub fn instant(&self, stamp: jiff::Timestamp, clock: Clock) -> Timestamp {
        const SECOND: std::time::Duration = std::time::Duration::from_secs(1);
        match self.date {
            Some(date) => {
                let age = Timestamp::from(date).plus(SECOND).since(stamp.into());
                clock.at(self.sent).minus(age)
            }
            None => clock.from_wall(stamp.into()),
        }
    }
}

/// The objects of a namespace, by name. One that is malformed is known by name, with what is wrong with it.
#[derive(Debug)]
pub struct Listing<R>(BTreeMap<String, Result<R, String>>);

impl<R> Listing<R> {
    /// The object of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Result<R, String>> {
        self.0.get(name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Result<R, String>)> {
        self.0.iter().map(|(name, object)| (name.as_str(), object))
    }
}

#[derive(Deserialize)]
struct Page {
    kind: String,
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

impl Reads {
    /// Lists all pages, in whichever version is served.
    pub(super) async fn list<R: Resource>(&self, namespace: &Namespace) -> Result<Read<Listing<R>>, Finding> {
        let asked = Asked { verb: "list", group: R::GROUP, resource: R::PLURAL, namespace, name: None };
        let found = async {
            let first = self.version_of::<R>();
            let others = R::VERSIONS.iter().copied().filter(|version| *version != first);
            for version in [first].into_iter().chain(others) {
                match self.pages::<R>(version, namespace).await {
                    Err(Problem::Status(StatusCode::NOT_FOUND, _)) => {}
                    // The list changed so much between two pages that the next one is gone: once more, from the start.
                    Err(Problem::Status(StatusCode::GONE, _)) => return self.pages::<R>(version, namespace).await,
                    Ok(listing) => {
                        self.found_in::<R>(version);
                        return Ok(listing);
                    }
                    failed => return failed,
                }
            }
            Err(Problem::NotServed)
        };
        self.in_time(&asked, found).await
    }

    async fn pages<R: Resource>(&self, version: &str, namespace: &Namespace) -> Result<Read<Listing<R>>, Problem> {
        let prefix = if R::GROUP.is_empty() { "/api".to_owned() } else { format!("/apis/{}", R::GROUP) };
        let path = format!("{prefix}/{version}/namespaces/{}/{}", namespace.as_str(), R::PLURAL);
        let mut params = ListParams::default().limit(PAGE);
        let (mut objects, mut first) = (BTreeMap::new(), None);
        for _ in 0..PAGES {
            let request = Request::new(&path).list(&params).map_err(Problem::request)?;
            let (page, sent, date) = self.ask::<Page>(request).await?;
            // Anything else that is JSON would read as a list without objects, and so as if all were gone.
            if page.kind != R::LIST {
                return Err(Problem::Malformed(format!("what came is no {}", R::LIST)));
            }
            let (sent, date) = *first.get_or_insert((sent, date));
            objects.extend(page.items.unwrap_or_default().into_iter().filter_map(parse::<R>));
            match page.metadata.more.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => return Ok(Read { answer: Arc::new(Listing(objects)), sent, date }),
            }
        }
        Err(Problem::Malformed(format!("the list does not end after {PAGES} pages")))
    }

    /// Asks for the metadata of a secret, and keeps little of it.
    pub(super) async fn data_hash(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
    ) -> Result<Read<SecretState>, Finding> {
        let asked = Asked { verb: "get", group: "", resource: "secrets", namespace, name: Some(name) };
        let found = async {
            let path = format!("/api/v1/namespaces/{}/secrets", namespace.as_str());
            let request = Request::new(path).get_metadata(name.as_str(), &GetParams::default());
            let sent = Instant::now();
            match self.ask::<PartialSecret>(request.map_err(Problem::request)?).await {
                Ok((secret, sent, date)) => {
                    Ok(Read { answer: Arc::new(SecretState::There(secret.into())), sent, date })
                }
                // Only the word of an API server counts: any proxy can say 404.
                Err(Problem::Status(StatusCode::NOT_FOUND, Some(_))) => {
                    Ok(Read { answer: Arc::new(SecretState::Missing), sent, date: None })
                }
                Err(problem) => Err(problem),
            }
        };
        self.in_time(&asked, found).await
    }

    async fn in_time<T>(
        &self,
        asked: &Asked<'_>,
        found: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Finding> {
        match timeout(self.api_timeout, found).await {
            Ok(found) => found.map_err(|problem| problem.finding(asked)),
            Err(_) => Err(Finding::new(&TIMEOUT, format!("cannot {asked}: no answer within {:?}", self.api_timeout))),
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<(T, Instant, Option<jiff::Timestamp>), Problem> {
        let client = self.client().await.map_err(Problem::NoClient)?;
        let sent = Instant::now();
        let answer = client.send(request.map(Into::into)).await;
        let answer = answer.map_err(|error| self.rethink(Problem::of_client(&error)))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| Problem::of_body(error.as_ref()))?;
        let body = body.to_bytes();
        if !head.status.is_success() {
            return Err(self.rethink(Problem::of_status(head.status, &body)));
        }
        let parsed = serde_json::from_slice(&body).map_err(|error| Problem::malformed(&error))?;
        Ok((parsed, sent, date(&head.headers)))
    }

    /// Credentials that are refused, and certificates that no longer fit, are read anew the next time.
    fn rethink(&self, problem: Problem) -> Problem {
        if problem.is_of_credentials() {
            self.access.forget();
        }
        problem
    }
}

/// An object by its name. One without a name is none that anybody could ask for.
fn parse<R: Resource>(item: Value) -> Option<(String, Result<R, String>)> {
    let name = item.get("metadata")?.get("name")?.as_str()?.to_owned();
    let object = serde_json::from_value(item).map_err(|error| error.to_string());
    Some((name, object))
}

fn date(headers: &http::HeaderMap) -> Option<jiff::Timestamp> {
    let text = headers.get(http::header::DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}
