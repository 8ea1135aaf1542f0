//! Objects that are read by name: one by one while that is cheaper, otherwise from a list of their
//! namespace.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ask::Progress;
use super::read::{Listing, Read, Resource, Selection, Size};
use super::shared::Shared;
use super::{BAD_ANSWER, Cluster, FORBIDDEN, TIMEOUT, TOO_LARGE, Terms};
use crate::clock;
use crate::decode::values::{Namespace, ObjectName};
use crate::domain::observation::{Finding, Reason};

/// Up to this many objects of a kind and namespace are read one by one. This does not need the
/// right to list.
const FEW: usize = 20;
/// The cost of a request for the API server and the network, beside the bytes of the answer, in
/// bytes.
const REQUEST: u64 = 32 << 10;
/// How long the size of a list is remembered.
const KNOWN: Duration = Duration::from_secs(60 * 60);
/// How long a forbidden way is not tried again while the other one works.
const CLOSED: Duration = Duration::from_secs(10 * 60);

/// A kind of object that is read by name.
pub trait ByName: Resource + Clone {
    /// Where the reads of this kind are shared.
    #[doc(hidden)]
    fn named(cluster: &Cluster) -> &Named<Self>
    where
        Self: Sized;
}

/// The reads of one kind.
#[derive(Debug)]
pub struct Named<R> {
    lists: Shared<Namespace, Listing<R>>,
    objects: Shared<(Namespace, ObjectName), Option<Result<R, String>>>,
    places: Arc<Mutex<Places>>,
}

impl<R> Default for Named<R> {
    fn default() -> Self {
        Self { lists: Shared::default(), objects: Shared::default(), places: Arc::default() }
    }
}

type Places = BTreeMap<Namespace, Place>;

/// What is known about one kind in one namespace.
#[derive(Debug, Default)]
struct Place {
    /// The watched names, and the number of watchers.
    watched: BTreeMap<ObjectName, usize>,
    /// The size of the last list, and its time.
    list: Option<(Size, Instant)>,
    /// When the list was found forbidden while the other way worked.
    list_closed: Option<Instant>,
    /// The same for single reads.
    get_closed: Option<Instant>,
}

/// A way to read an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Get,
    List,
}

impl Place {
    fn way(&self, now: Instant) -> Way {
        let lately = |at: Instant, span| now.saturating_duration_since(at) < span;
        if self.list_closed.is_some_and(|at| lately(at, CLOSED)) {
            return Way::Get;
        }
        if self.get_closed.is_some_and(|at| lately(at, CLOSED)) {
            return Way::List;
        }
        match self.list.filter(|(_, at)| lately(*at, KNOWN)) {
            _ if self.watched.len() <= FEW => Way::Get,
            Some((list, _)) if cost_of_gets(self.watched.len(), list) < cost_of_list(list) => Way::Get,
            _ => Way::List,
        }
    }
}

fn cost_of_gets(watched: usize, list: Size) -> u64 {
    let of_one = list.bytes.checked_div(list.objects).unwrap_or_default();
    (watched as u64).saturating_mul(REQUEST.saturating_add(of_one))
}

fn cost_of_list(list: Size) -> u64 {
    list.pages.saturating_mul(REQUEST).saturating_add(list.bytes)
}

/// An object that is watched until this is dropped.
#[derive(Debug)]
pub struct Watched<R: ByName> {
    cluster: Arc<Cluster>,
    namespace: Namespace,
    name: ObjectName,
    kind: PhantomData<fn() -> R>,
}

impl<R: ByName> Drop for Watched<R> {
    fn drop(&mut self) {
        let mut places = lock(&R::named(&self.cluster).places);
        let Some(place) = places.get_mut(&self.namespace) else { return };
        if let Some(count) = place.watched.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                place.watched.remove(&self.name);
            }
        }
        if place.watched.is_empty() {
            places.remove(&self.namespace);
        }
    }
}

impl<R: ByName> Watched<R> {
    pub(super) fn new(cluster: Arc<Cluster>, namespace: Namespace, name: ObjectName) -> Self {
        let mut places = lock(&R::named(&cluster).places);
        *places.entry(namespace.clone()).or_default().watched.entry(name.clone()).or_default() += 1;
        drop(places);
        Self { cluster, namespace, name, kind: PhantomData }
    }

    /// The cluster that it is in.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The object now. None if it does not exist.
    ///
    /// # Errors
    /// Why it is not known.
    pub async fn read(&self, terms: Terms) -> Result<Read<Option<R>>, Finding> {
        let found = match self.way() {
            Way::Get => self.get_or_list(terms).await,
            Way::List => self.list_or_get(terms).await,
        };
        let read = found.map_err(|finding| self.cluster.named(&finding))?;
        match read.answer.as_ref().clone().transpose() {
            Ok(object) => Ok(read.with(object)),
            Err(wrong) => {
                let detail = format!("{} {} is malformed: {wrong}", R::KIND, self.name.as_str());
                Err(self.cluster.named(&Finding::new(&BAD_ANSWER, detail)))
            }
        }
    }

    async fn get_or_list(&self, terms: Terms) -> Found<R> {
        let get = self.get(terms).await;
        if !get.as_ref().is_err_and(|finding| closes(finding, &[&FORBIDDEN])) {
            return get;
        }
        let list = self.list(terms).await;
        // The right to get one object is smaller, so it is the one to report.
        if list.as_ref().is_err_and(|finding| closes(finding, &[&FORBIDDEN])) {
            return get;
        }
        self.note(|place, now| (place.get_closed, place.list_closed) = (Some(now), None));
        list
    }

    async fn list_or_get(&self, terms: Terms) -> Found<R> {
        let list = self.list(terms).await;
        let is_forbidden = list.as_ref().is_err_and(|finding| closes(finding, &[&FORBIDDEN]));
        if list.as_ref().is_ok_and(|read| read.answer.is_none()) {
            return self.confirmed(list, terms).await;
        }
        if !is_forbidden && !list.as_ref().is_err_and(|finding| closes(finding, &[&TOO_LARGE])) {
            return list;
        }
        let get = self.get(terms).await;
        if !is_forbidden && get.as_ref().is_err_and(|finding| closes(finding, &[&FORBIDDEN])) {
            return list;
        }
        if get.is_ok() {
            self.note(|place, now| (place.get_closed, place.list_closed) = (None, Some(now)));
        }
        get
    }

    /// What a list does not contain is asked for by name: a proxy between can shorten lists. If that
    /// is forbidden, there is only the list.
    async fn confirmed(&self, list: Found<R>, terms: Terms) -> Found<R> {
        let get = self.get(terms).await;
        if get.as_ref().is_err_and(|finding| closes(finding, &[&FORBIDDEN])) { list } else { get }
    }

    async fn get(&self, terms: Terms) -> Found<R> {
        let key = (self.namespace.clone(), self.name.clone());
        let (reads, (namespace, name)) = (Arc::clone(&self.cluster.reads), key.clone());
        let read = |progress: Arc<Progress>| async move { reads.get::<R>(&namespace, &name, &progress).await };
        R::named(&self.cluster).objects.get(&key, terms, read).await
    }

    async fn list(&self, mut terms: Terms) -> Found<R> {
        let named = R::named(&self.cluster);
        // First from a list that exists, then from a list that is being read, then from a list that
        // was started for this object.
        for _ in 0..3 {
            let (reads, namespace) = (Arc::clone(&self.cluster.reads), self.namespace.clone());
            let places = Arc::clone(&named.places);
            let read = |progress: Arc<Progress>| async move {
                let all = |place: &Place| place.watched.keys().map(|name| name.as_str().to_owned()).collect();
                let selection = Selection::Named(lock(&places).get(&namespace).map(all).unwrap_or_default());
                let listed = reads.list::<R>(&namespace, selection, &progress).await;
                if let Some(place) = lock(&places).get_mut(&namespace) {
                    match &listed {
                        Ok((_, size)) => place.list = Some((*size, clock::instant())),
                        // The list is too slow for its size: it is not tried again soon if there is
                        // another way.
                        Err(finding) if finding.reason == &TIMEOUT && progress.bytes() > 0 => {
                            place.list_closed = place.get_closed.is_none().then(clock::instant);
                        }
                        Err(_) => {}
                    }
                }
                listed.map(|(listing, _)| listing)
            };
            let read = named.lists.get(&self.namespace, terms, read).await?;
            if read.answer.was_asked_for(&self.name) {
                return Ok(read.with(read.answer.get(&self.name).cloned()));
            }
            terms.max_age = Duration::ZERO;
        }
        Err(Finding::new(&TIMEOUT, "other lists were being read"))
    }

    fn way(&self) -> Way {
        let places = lock(&R::named(&self.cluster).places);
        places.get(&self.namespace).map_or(Way::Get, |place| place.way(clock::instant()))
    }

    fn note(&self, what: impl FnOnce(&mut Place, Instant)) {
        if let Some(place) = lock(&R::named(&self.cluster).places).get_mut(&self.namespace) {
            what(place, clock::instant());
        }
    }
}

type Found<R> = Result<Read<Option<Result<R, String>>>, Finding>;

fn closes(finding: &Finding, reasons: &[&Reason]) -> bool {
    reasons.contains(&finding.reason)
}

fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(watched: usize, list: Option<(u64, u64)>) -> Place {
        let name = |index| ObjectName::of(&format!("n-{index}")).expect("a name");
        let size = |(objects, of_one): (u64, u64)| Size {
            objects,
            pages: (objects * of_one).div_ceil(2 << 20),
            bytes: objects * of_one,
        };
        Place {
            watched: (0..watched).map(|index| (name(index), 1)).collect(),
            list: list.map(|list| (size(list), clock::instant())),
            ..Place::default()
        }
    }

    #[test]
    fn the_way_that_costs_less_is_taken() {
        for (watched, list, expected) in [
            (1, None, Way::Get),
            (FEW, None, Way::Get),
            (FEW, Some((20, 1_000)), Way::Get),
            (FEW + 1, None, Way::List),
            (30, Some((30, 1_000)), Way::List),
            (30, Some((3_000, 1_000)), Way::Get),
            (500, Some((600, 2_000)), Way::List),
            (500, Some((2_000, 25_000)), Way::Get),
            (1_900, Some((2_000, 25_000)), Way::List),
            (30, Some((0, 0)), Way::List),
        ] {
            assert_eq!(place(watched, list).way(clock::instant()), expected, "{watched} of {list:?}");
        }
    }

    #[test]
    fn what_was_learned_is_forgotten_again() {
        let large = place(30, Some((3_000, 1_000)));
        let now = clock::instant();
        assert_eq!(large.way(now + KNOWN), Way::List, "the namespace may have shrunk");
        let closed = Place { list_closed: Some(now), ..place(30, None) };
        assert_eq!((closed.way(now), closed.way(now + CLOSED)), (Way::Get, Way::List));
        let closed = Place { get_closed: Some(now), ..place(1, None) };
        assert_eq!((closed.way(now), closed.way(now + CLOSED)), (Way::List, Way::Get));
    }
}
