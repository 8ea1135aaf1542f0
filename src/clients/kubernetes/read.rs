//! Reads: lists in pages, single objects, and the metadata of a secret.

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
use super::{LOCAL, Reads};
use crate::clock::{self, Clock};
use crate::decode::values::{Namespace, ObjectName};
use crate::domain::observation::Finding;
use crate::domain::time::Timestamp;

/// The largest number of objects on a page.
const PAGE: u32 = 500;
/// The size of the first page of a list that was never read, because objects can be large.
const FIRST_PAGE: u32 = 100;
/// The intended size of a page in bytes. It is computed from the size of the objects before.
const GOOD_PAGE: usize = LARGEST / 2;
/// The highest number of pages.
const PAGES: usize = 1000;
/// The highest number of objects that are kept of a list.
const OBJECTS: usize = 20_000;

/// A kind of object.
pub trait Resource: DeserializeOwned + Send + Sync + 'static {
    /// The API group. Empty for the core group.
    const GROUP: &'static str;
    /// The supported versions, the preferred one first.
    const VERSIONS: &'static [&'static str];
    /// The name in paths and in RBAC rules.
    const PLURAL: &'static str;
    /// The name in objects.
    const KIND: &'static str;
}

/// An answer of an API server, and its time.
#[derive(Debug)]
pub struct Read<T> {
    /// The answer.
    pub answer: Arc<T>,
    /// When the request was sent. The answer is about no earlier moment.
    pub sent: Instant,
    /// When the answer was complete. The answer is about no later moment.
    pub received: Instant,
    /// The time of the server's clock, to the second, if it was sent.
    pub(super) date: Option<jiff::Timestamp>,
}

impl<T> Clone for Read<T> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), sent: self.sent, received: self.received, date: self.date }
    }
}

impl<T> Read<T> {
    /// An answer that is complete now, of a server whose clock showed `date`.
    #[must_use]
    pub fn of(answer: T, sent: Instant, date: Option<jiff::Timestamp>) -> Self {
        Self { answer: Arc::new(answer), sent, received: clock::instant(), date }
    }

    /// The same answer in another form.
    pub(super) fn with<U>(&self, answer: U) -> Read<U> {
        Read { answer: Arc::new(answer), sent: self.sent, received: self.received, date: self.date }
    }

    /// The instant of this process at which the cluster's clock showed `stamp`.
    ///
    /// The clock is taken from the answer's `Date`, which has no fractions of a second, as if it
    /// was read when the request was sent. Both make the instant earlier than it was, never later.
    /// A time in the future counts as now. Without a `Date`, the wall clocks are assumed to agree.
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

/// The wanted objects of a list, by name. A malformed object has its name and its error.
#[derive(Debug)]
pub struct Listing<R> {
    selection: Selection,
    objects: BTreeMap<String, Result<R, String>>,
}

impl<R> Listing<R> {
    /// Whether the object with this name was wanted when the list was read. Otherwise the list says
    /// nothing about it.
    pub(super) fn was_asked_for(&self, name: &ObjectName) -> bool {
        self.selection.includes(name.as_str())
    }

    /// The object with this name. None if it does not exist, or was not wanted.
    pub(super) fn get(&self, name: &ObjectName) -> Option<&Result<R, String>> {
        self.objects.get(name.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Result<R, String>)> {
        self.objects.iter().map(|(name, object)| (name.as_str(), object))
    }
}

/// The objects of a list to keep.
#[derive(Debug)]
pub(super) enum Selection {
    /// The objects with these names.
    Named(BTreeSet<String>),
    /// The objects that the API server selects by their labels.
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

/// The size of a list.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) objects: u64,
    pub(super) pages: u64,
    pub(super) bytes: u64,
}

/// A page of a list. Its items are only parsed after it is known which are wanted, and a malformed
/// item hides no other.
#[derive(Deserialize)]
struct Page<'a> {
    kind: String,
    #[serde(default)]
    metadata: PageMetadata,
    /// Null for an empty list of some API servers. An answer without this field is no list.
    #[serde(borrow, deserialize_with = "Option::deserialize")]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue")]
    more: Option<String>,
}

/// The name of an item of a list.
#[derive(Deserialize)]
struct Item {
    metadata: Called,
}

/// The kind in an object.
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
    /// Lists all pages, in whichever version is served, and keeps the wanted objects.
    pub(super) async fn list<R: Resource>(
        &self,
        namespace: &Namespace,
        selection: Selection,
        progress: &Progress,
    ) -> Result<(Read<Listing<R>>, Size), Finding> {
        let asked = Asked { verb: "list", group: R::GROUP, resource: R::PLURAL, namespace, name: None };
        let found = async {
            for version in self.versions::<R>() {
                let mut pages = self.pages::<R>(version, namespace, &selection, progress).await;
                // The list changed so much between two pages that the next one is gone: start once
                // again.
                if let Err(Problem::Status(StatusCode::GONE, _)) = pages {
                    pages = self.pages::<R>(version, namespace, &selection, progress).await;
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
        Ok((Read::of(Listing { selection, objects }, sent, date), size))
    }

    async fn pages<R: Resource>(
        &self,
        version: &str,
        namespace: &Namespace,
        selection: &Selection,
        progress: &Progress,
    ) -> Result<Pages<R>, Problem> {
        let path = path::<R>(version, namespace);
        let mut params = ListParams::default();
        if let Selection::Labelled(selector) = selection {
            params = params.labels(selector);
        }
        let mut limit = self.page_size::<R>(namespace);
        let (mut objects, mut size, mut first) = (BTreeMap::new(), Size::default(), None);
        for _ in 0..PAGES {
            // The next page may have another size, because the token is a position in the list.
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
            // Other JSON would look like a list without objects, as if all of them were gone.
            if page.kind.strip_suffix("List") != Some(R::KIND) {
                return Err(Problem::Malformed(format!("the answer is not a {}List", R::KIND)));
            }
            let (sent, date) = *first.get_or_insert((answer.sent, answer.date));
            let items = page.items.unwrap_or_default();
            size.pages += 1;
            size.objects += items.len() as u64;
            size.bytes += answer.body.len() as u64;
            if let Some(of_one) = answer.body.len().checked_div(items.len()) {
                limit = u32::try_from(GOOD_PAGE / of_one.max(1)).unwrap_or(PAGE).clamp(1, PAGE);
            }
            objects.extend(items.into_iter().filter_map(|item| parse::<R>(item, selection)));
            if objects.len() > OBJECTS {
                return Err(Problem::Endless(format!("the list has more than {OBJECTS} wanted objects")));
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

    /// Reads one object, in whichever version is served. None if the API server says that it does
    /// not exist.
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
                            return Err(Problem::Malformed(format!("the answer is not this {}", R::KIND)));
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

    /// Reads the metadata of a secret, and keeps little of it.
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
                        return Err(Problem::Malformed("the answer is not this secret".to_owned()));
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
        let (found, held_up) = clock::watched(timeout(self.api_timeout, found)).await;
        let found = found.unwrap_or_else(|_| {
            let late = progress.when_late(Some(self.api_timeout));
            Err(Problem::Transport(late.reason, late.detail))
        });
        found.map_err(|problem| match problem {
            Problem::Transport(..) if !held_up.is_zero() => {
                Finding::new(&LOCAL, format!("cannot {asked}: the exporter itself was held up"))
            }
            problem => problem.finding(asked),
        })
    }

    fn page_size<R: Resource>(&self, namespace: &Namespace) -> u32 {
        let sizes = self.page_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.get(&(R::PLURAL, namespace.clone())).copied().unwrap_or(FIRST_PAGE)
    }

    fn has_page_size<R: Resource>(&self, namespace: &Namespace, size: u32) {
        let mut sizes = self.page_sizes.lock().unwrap_or_else(PoisonError::into_inner);
        sizes.insert((R::PLURAL, namespace.clone()), size);
    }

    /// The versions of a kind. The one in which it was last found comes first.
    fn versions<R: Resource>(&self) -> impl Iterator<Item = &'static str> {
        let first = self.version_of::<R>();
        [first].into_iter().chain(R::VERSIONS.iter().copied().filter(move |version| *version != first))
    }
}

/// The result of reading the pages of a list.
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

/// An object with its name, if it is wanted. Nobody can ask for an object without a name.
fn parse<R: Resource>(item: &RawValue, selection: &Selection) -> Option<(String, Result<R, String>)> {
    let Item { metadata: Called { name } } = serde_json::from_str(item.get()).ok()?;
    let object = || serde_json::from_str(item.get()).map_err(|error| error.to_string());
    selection.includes(&name).then(|| (name, object()))
}
