//! Reads: lists by pages, single objects, and the metadata of a secret.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

use http::StatusCode;
use kube::core::Request;
use kube::core::params::{GetParams, ListParams};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::time::{Instant, timeout};

use super::ask::{LARGEST, Progress};
use super::failure::{Asked, Problem};
use super::objects::{PartialSecret, SecretState};
use super::{Reads, TIMEOUT};
use crate::clock::{self, Clock};
use crate::config::values::{Namespace, ObjectName};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// How many objects a page has at most.
const PAGE: u32 = 500;
/// How many the first page has of a list that was never read: objects can be large.
const FIRST_PAGE: u32 = 100;
/// The size that pages are made to have, in bytes, by the size of the objects before.
const GOOD_PAGE: usize = LARGEST / 2;
/// How many pages are read at most.
const PAGES: usize = 1000;
/// How many objects of a list are kept at most.
const OBJECTS: usize = 20_000;

/// A kind of object.
pub trait Resource: DeserializeOwned + Send + Sync + 'static {
    /// The API group; empty for the core.
    const GROUP: &'static str;
    /// The versions that are understood, the preferred one first.
    const VERSIONS: &'static [&'static str];
    /// The name in paths and in RBAC rules.
    const PLURAL: &'static str;
    /// The name in objects.
    const KIND: &'static str;
}

/// An answer of an API server, and when it was given.
#[derive(Debug)]
pub struct Read<T> {
    /// The answer.
    pub answer: Arc<T>,
    /// When the question was sent: the answer tells of no earlier moment.
    pub sent: Instant,
    /// What the server's clock showed, to the second, if it told.
    pub(super) date: Option<jiff::Timestamp>,
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

/// The objects of a list that were wanted, by name. One that is malformed is known by name, with what is wrong with it.
#[derive(Debug)]
pub struct Listing<R> {
    wanted: Selection,
    objects: BTreeMap<String, Result<R, String>>,
}

impl<R> Listing<R> {
    /// Whether anybody wanted the object of this name when the list was read: else it says nothing about it.
    pub(super) fn was_asked_for(&self, name: &ObjectName) -> bool {
        self.wanted.includes(name.as_str())
    }

    /// The object of this name; none if there is none, or if it was not asked for.
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Result<R, String>> {
        self.objects.get(name.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Result<R, String>)> {
        self.objects.iter().map(|(name, object)| (name.as_str(), object))
    }
}

/// Which objects of a list are kept.
#[derive(Debug)]
pub(super) enum Selection {
    /// These.
    Named(BTreeSet<String>),
    /// Those that the API server selects by their labels.
    Labelled(String),
}

impl Selection {
    fn includes(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.contains(name),
            Self::Labelled(_) => true,
        }
    }
}

/// What a list took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) objects: u64,
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// A page of a list. Its items are not looked into before it is known which of them are wanted, and one that makes no sense
/// hides no other.
#[derive(Deserialize)]
struct Page<'a> {
    kind: String,
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(borrow)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

/// What an item of a list is called.
#[derive(Deserialize)]
struct Item {
    metadata: Called,
}

/// What an object says that it is.
#[derive(Deserialize)]
struct Head {
    kind: String,
    metadata: Called,
}

#[derive(Deserialize)]
struct Called {
    name: String,
}

impl Reads {
    /// Lists all pages, in whichever version is served, and keeps what is wanted.
    pub(super) async fn list<R: Resource>(
        &self,
        namespace: &Namespace,
        wanted: Selection,
        progress: &Progress,
    ) -> Result<(Read<Listing<R>>, Size), Finding> {
        let asked = Asked { verb: "list", group: R::GROUP, resource: R::PLURAL, namespace, name: None };
        let found = async {
            for version in self.versions::<R>() {
                let mut pages = self.pages::<R>(version, namespace, &wanted, progress).await;
                // The list changed so much between two pages that the next one is gone: once more, from the start.
                if let Err(Problem::Status(StatusCode::GONE, _)) = pages {
                    pages = self.pages::<R>(version, namespace, &wanted, progress).await;
                }
                match pages {
                    Err(Problem::Status(StatusCode::NOT_FOUND, _)) => {}
                    Ok(pages) => {
                        self.found_in::<R>(version);
                        return Ok(pages);
                    }
                    Err(problem) => return Err(problem),
                }
            }
            Err(Problem::NotServed)
        };
        let Pages { objects, size, sent, date } = self.in_time(&asked, progress, found).await?;
        Ok((Read::of(Listing { wanted, objects }, sent, date), size))
    }

    async fn pages<R: Resource>(
        &self,
        version: &str,
        namespace: &Namespace,
        wanted: &Selection,
        progress: &Progress,
    ) -> Result<Pages<R>, Problem> {
        let path = path::<R>(version, namespace);
        let mut params = ListParams::default();
        if let Selection::Labelled(selector) = wanted {
            params = params.labels(selector);
        }
        let mut limit = self.page_size::<R>(namespace);
        let (mut objects, mut size, mut first) = (BTreeMap::new(), Size::default(), None);
        for _ in 0..PAGES {
            // The next page may have another size: what it goes on from is a place in the list.
            params = params.limit(limit);
            let request = Request::new(&path).list(&params).map_err(Problem::request)?;
            let answer = match self.ask(request, progress).await {
                Err(Problem::TooLarge) if limit > 1 => {
                    limit = (limit / 4).max(1);
                    self.has_page_size::<R>(namespace, limit);
                    continue;
                }
                answer => answer?,
            };
            let page: Page<'_> = serde_json::from_slice(&answer.body).map_err(|error| Problem::malformed(&error))?;
            // Anything else that is JSON would read as a list without objects, and so as if all were gone.
            if page.kind.strip_suffix("List") != Some(R::KIND) {
                return Err(Problem::Malformed(format!("what came is no {}List", R::KIND)));
            }
            let (sent, date) = *first.get_or_insert((answer.sent, answer.date));
            let items = page.items.unwrap_or_default();
            size.pages += 1;
            size.objects += items.len() as u64;
            size.bytes += answer.body.len() as u64;
            if let Some(of_one) = answer.body.len().checked_div(items.len()) {
                limit = u32::try_from(GOOD_PAGE / of_one.max(1)).unwrap_or(PAGE).clamp(1, PAGE);
            }
            objects.extend(items.into_iter().filter_map(|item| parse::<R>(item, wanted)));
            if objects.len() > OBJECTS {
                return Err(Problem::Endless(format!("there are more than {OBJECTS} objects to keep")));
            }
            match page.metadata.more.filter(|more| !more.is_empty()) {
                Some(more) => params = params.continue_token(&more),
                None => {
                    self.has_page_size::<R>(namespace, limit);
                    return Ok(Pages { objects, size, sent, date });
                }
            }
        }
        Err(Problem::Endless(format!("the list does not end after {PAGES} pages")))
    }

    /// Reads one object, in whichever version is served. None if the API server says that there is none.
    pub(super) async fn get<R: Resource>(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        progress: &Progress,
    ) -> Result<Read<Option<Result<R, String>>>, Finding> {
        let asked = Asked { verb: "get", group: R::GROUP, resource: R::PLURAL, namespace, name: Some(name) };
        let found = async {
            for version in self.versions::<R>() {
                let request = Request::new(path::<R>(version, namespace)).get(name.as_str(), &GetParams::default());
                let sent = clock::instant();
                match self.ask(request.map_err(Problem::request)?, progress).await {
                    Ok(answer) => {
                        let head: Head =
                            serde_json::from_slice(&answer.body).map_err(|error| Problem::malformed(&error))?;
                        if head.kind != R::KIND || head.metadata.name != name.as_str() {
                            return Err(Problem::Malformed(format!("what came is not this {}", R::KIND)));
                        }
                        self.found_in::<R>(version);
                        let object = serde_json::from_slice(&answer.body).map_err(|error| error.to_string());
                        return Ok(Read::of(Some(object), answer.sent, answer.date));
                    }
                    Err(problem) if problem.is_absence_of(&asked) => return Ok(Read::of(None, sent, None)),
                    Err(Problem::Status(StatusCode::NOT_FOUND, _)) => {}
                    Err(problem) => return Err(problem),
                }
            }
            Err(Problem::NotServed)
        };
        self.in_time(&asked, progress, found).await
    }

    /// Asks for the metadata of a secret, and keeps little of it.
    pub(super) async fn data_hash(
        &self,
        namespace: &Namespace,
        name: &ObjectName,
        progress: &Progress,
    ) -> Result<Read<SecretState>, Finding> {
        let asked = Asked { verb: "get", group: "", resource: "secrets", namespace, name: Some(name) };
        let found = async {
            let path = format!("/api/v1/namespaces/{}/secrets", namespace.as_str());
            let request = Request::new(path).get_metadata(name.as_str(), &GetParams::default());
            let sent = clock::instant();
            match self.ask(request.map_err(Problem::request)?, progress).await {
                Ok(answer) => {
                    let secret: PartialSecret =
                        serde_json::from_slice(&answer.body).map_err(|error| Problem::malformed(&error))?;
                    if secret.name() != name.as_str() {
                        return Err(Problem::Malformed("what came is not this secret".to_owned()));
                    }
                    Ok(Read::of(SecretState::There(secret.into()), answer.sent, answer.date))
                }
                Err(problem) if problem.is_absence_of(&asked) => Ok(Read::of(SecretState::Missing, sent, None)),
                Err(problem) => Err(problem),
            }
        };
        self.in_time(&asked, progress, found).await
    }

    async fn in_time<T>(
        &self,
        asked: &Asked<'_>,
        progress: &Progress,
        found: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Finding> {
        match timeout(self.api_timeout, found).await {
            Ok(found) => found.map_err(|problem| problem.finding(asked)),
            Err(_) => {
                let story = progress.when_late(Some(self.api_timeout));
                Err(Finding::new(&TIMEOUT, format!("cannot {asked}: {story}")))
            }
        }
    }

    fn page_size<R: Resource>(&self, namespace: &Namespace) -> u32 {
        let sizes = self.page_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(&(R::PLURAL, namespace.clone())).copied().unwrap_or(FIRST_PAGE)
    }

    fn has_page_size<R: Resource>(&self, namespace: &Namespace, size: u32) {
        let mut sizes = self.page_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert((R::PLURAL, namespace.clone()), size);
    }

    /// The versions of a kind, that in which it was last found first.
    fn versions<R: Resource>(&self) -> impl Iterator<Item = &'static str> {
        let first = self.version_of::<R>();
        [first].into_iter().chain(R::VERSIONS.iter().copied().filter(move |version| *version != first))
    }
}

/// What the pages of a list gave.
struct Pages<R> {
    objects: BTreeMap<String, Result<R, String>>,
    size: Size,
    sent: Instant,
    date: Option<jiff::Timestamp>,
}

fn path<R: Resource>(version: &str, namespace: &Namespace) -> String {
    let prefix = if R::GROUP.is_empty() { "/api".to_owned() } else { format!("/apis/{}", R::GROUP) };
    format!("{prefix}/{version}/namespaces/{}/{}", namespace.as_str(), R::PLURAL)
}

/// An object by its name, if it is wanted. One without a name is none that anybody could ask for.
fn parse<R: Resource>(item: &RawValue, wanted: &Selection) -> Option<(String, Result<R, String>)> {
    let Item { metadata: Called { name } } = serde_json::from_str(item.get()).ok()?;
    let object = || serde_json::from_str(item.get()).map_err(|error| error.to_string());
    wanted.includes(&name).then(|| (name, object()))
}
