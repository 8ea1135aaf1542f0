//! Which region answers, since when, and how a change spreads over the resolvers. Pure.
//!
//! A region is settled when all resolvers that answer name it. A change spreads from the first
//! resolver that names another region to the last one that follows. A resolver whose answer has no
//! region is waited for, if it ever named one. A resolver without an answer is not waited for. If
//! it comes back with the old region, the change continues until it follows too. When all are back
//! at the settled region, nothing has changed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::time::Timestamp;

/// The regions of an answer: one, or several if a name leads to several at once.
pub(super) type Regions = BTreeSet<String>;

/// The answer of one resolver in a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct View {
    /// The resolver.
    pub resolver: String,
    /// The regions. Empty if the answer belongs to no region. None if there was no answer.
    pub regions: Option<Regions>,
    /// The time of the answer.
    pub at: Timestamp,
}

/// The state that is kept from run to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct History {
    /// The last regions that all answering resolvers agreed on.
    settled: Option<Regions>,
    /// The last answer with a region, for each resolver.
    shown: BTreeMap<String, Shown>,
    /// Other regions that were seen since the regions were settled.
    sighted: Vec<Sighting>,
    /// The last completed change.
    last: Option<Change>,
}

/// The last answer of a resolver with a region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    regions: Regions,
    /// The first of the equal answers without a break.
    since: Timestamp,
    /// Whether it may have answered so earlier, because it gave no answer in the run before.
    late: bool,
    /// Whether it answered in the last run.
    #[serde(skip)]
    watched: bool,
}

/// A sighting of regions other than the settled ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Sighting {
    regions: Regions,
    /// When they were first seen.
    at: Timestamp,
    /// Whether they may have been there earlier, because nobody looked.
    late: bool,
}

/// A completed change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Change {
    /// The regions before.
    pub from: Regions,
    /// The regions after.
    pub to: Regions,
    /// When the first resolver was seen to follow.
    pub first: Timestamp,
    /// When the last resolver was seen to follow.
    last: Timestamp,
    /// The number of resolvers that were seen to follow.
    followers: usize,
    /// Whether it may have begun earlier, because nobody looked.
    late: bool,
    /// The resolvers that were not seen to follow, and whether each was seen at the old regions
    /// since.
    missing: BTreeMap<String, bool>,
}

/// Something to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// A resolver answers with regions other than the settled ones.
    Began {
        /// The settled regions.
        from: Regions,
        /// The regions of its answer.
        to: Regions,
    },
    /// All resolvers that answer have followed.
    Settled(Change),
    /// All resolvers are back at the settled regions.
    Reverted(Regions),
}

/// A change that is spreading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    /// The regions before.
    pub from: Regions,
    /// The regions after.
    pub to: Regions,
    /// When they were first seen.
    pub since: Timestamp,
    /// The number of resolvers that follow.
    pub followers: usize,
    /// The number of resolvers.
    pub resolvers: usize,
}

impl Change {
    /// The time from the first resolver that followed to the last. None if nobody can tell: the
    /// change began while nobody looked, or only one resolver was seen to follow.
    pub(super) fn propagation(&self) -> Option<Duration> {
        (self.followers > 1 && !self.late).then(|| self.last.since(self.first))
    }
}

impl History {
    /// Takes in a run.
    pub(super) fn observe(&mut self, views: &[View]) -> Option<Event> {
        self.note(views);
        let counted = self.counted(views);
        let first = counted.first().map(|(_, regions)| *regions).filter(|first| !first.is_empty());
        let agreed = first.filter(|first| counted.iter().all(|(_, regions)| regions == first)).cloned();
        let Some(settled) = self.settled.clone() else {
            self.settled = agreed;
            return None;
        };
        let began = self.sight(&settled, &counted);
        if let Some(agreed) = agreed.filter(|agreed| *agreed != settled) {
            return self.settle(settled, agreed, views).map(Event::Settled);
        }
        // A resolver that followed and then fell silent may still be at the new region.
        let back = |(name, shown): (&String, &Shown)| shown.regions == settled || self.straggles(name);
        if !self.sighted.is_empty() && self.shown.iter().all(back) {
            self.sighted.clear();
            return Some(Event::Reverted(settled));
        }
        began
    }

    /// Records the answer of each resolver, and the stragglers of the last change.
    fn note(&mut self, views: &[View]) {
        self.shown.retain(|resolver, _| views.iter().any(|view| view.resolver == *resolver));
        for View { resolver, regions, at } in views {
            let Some(regions) = regions.as_ref().filter(|regions| !regions.is_empty()) else {
                if let Some(shown) = self.shown.get_mut(resolver) {
                    shown.watched = regions.is_some();
                }
                continue;
            };
            let (since, late) = match self.shown.get(resolver) {
                Some(before) if before.regions == *regions => (before.since, before.late),
                before => (*at, before.is_none_or(|before| !before.watched)),
            };
            self.follow_up(resolver, regions, *at);
            self.shown.insert(resolver.clone(), Shown { regions: regions.clone(), since, late, watched: true });
        }
    }

    /// Takes in a later answer of a resolver that was not seen in the last change.
    fn follow_up(&mut self, resolver: &str, regions: &Regions, at: Timestamp) {
        let Some(change) = &mut self.last else { return };
        let Some(straggles) = change.missing.get_mut(resolver) else { return };
        if *regions == change.from {
            *straggles = true;
            return;
        }
        if *regions == change.to && *straggles {
            change.last = change.last.max(at);
            change.followers += 1;
        }
        change.missing.remove(resolver);
    }

    /// The answers that count. Answers of stragglers belong to the last change.
    fn counted<'a>(&self, views: &'a [View]) -> Vec<(&'a str, &'a Regions)> {
        let answers = views.iter().filter_map(|view| Some((view.resolver.as_str(), view.regions.as_ref()?)));
        answers.filter(|(name, _)| self.shown.contains_key(*name) && !self.straggles(name)).collect()
    }

    /// Whether a resolver was seen at the old regions after the last change seemed complete.
    fn straggles(&self, resolver: &str) -> bool {
        self.last.as_ref().and_then(|last| last.missing.get(resolver)) == Some(&true)
    }

    /// Records when regions other than the settled ones were first seen.
    fn sight(&mut self, settled: &Regions, counted: &[(&str, &Regions)]) -> Option<Event> {
        let others = counted.iter().filter(|(_, regions)| *regions != settled && !regions.is_empty());
        let mut others: Vec<Shown> = others.filter_map(|(name, _)| self.shown.get(*name).cloned()).collect();
        others.sort_by_key(|shown| shown.since);
        let (quiet, known) = (self.sighted.is_empty(), self.sighted.len());
        for Shown { regions, since: at, late, .. } in others {
            match self.sighted.iter().position(|sighting| sighting.regions == regions) {
                None => self.sighted.push(Sighting { regions, at, late }),
                // Several resolvers show it for the first time in this run.
                Some(place) if place >= known => {
                    if let Some(sighting) = self.sighted.get_mut(place) {
                        sighting.late |= late;
                    }
                }
                Some(_) => {}
            }
        }
        let began = self.sighted.first().filter(|_| quiet)?;
        Some(Event::Began { from: settled.clone(), to: began.regions.clone() })
    }

    /// Completes a change: all answers that count name `to`.
    fn settle(&mut self, from: Regions, to: Regions, views: &[View]) -> Option<Change> {
        let sighting = self.sighted.iter().find(|sighting| sighting.regions == to)?;
        let (first, late) = (sighting.at, sighting.late);
        let followed = self.shown.values().filter(|shown| shown.regions == to);
        let (followers, last) = followed.fold((0, first), |(n, last), shown| (n + 1, last.max(shown.since)));
        let follows = |name: &str| self.shown.get(name).is_some_and(|shown| shown.regions == to);
        let missing = views.iter().map(|view| &view.resolver).filter(|name| !follows(name));
        let missing = missing.map(|name| (name.clone(), false)).collect();
        let change = Change { from, to, first, last, followers, late, missing };
        self.settled = Some(change.to.clone());
        self.sighted.clear();
        self.last = Some(change.clone());
        Some(change)
    }

    /// The last regions that all answering resolvers agreed on.
    pub(super) fn settled(&self) -> Option<&Regions> {
        self.settled.as_ref()
    }

    /// The last completed change.
    pub(super) fn last(&self) -> Option<&Change> {
        self.last.as_ref()
    }

    /// The change that is spreading now.
    pub(super) fn progress(&self, resolvers: usize) -> Option<Progress> {
        let follow = |to: &Regions| self.shown.values().filter(|shown| shown.regions == *to).count();
        if let (Some(sighting), Some(from)) = (self.sighted.first(), &self.settled) {
            let (from, to, since) = (from.clone(), sighting.regions.clone(), sighting.at);
            return Some(Progress { followers: follow(&to), from, to, since, resolvers });
        }
        let last = self.last.as_ref().filter(|last| last.missing.values().any(|straggles| *straggles))?;
        let Change { from, to, first, .. } = last.clone();
        Some(Progress { followers: follow(&to), from, to, since: first, resolvers })
    }

    /// The same on another timeline.
    pub(super) fn carried(mut self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let shown = self.shown.values_mut().map(|shown| &mut shown.since);
        let sighted = self.sighted.iter_mut().map(|sighting| &mut sighting.at);
        let last = self.last.iter_mut().flat_map(|last| [&mut last.first, &mut last.last]);
        for at in shown.chain(sighted).chain(last) {
            *at = carry(*at);
        }
        self
    }
}

#[cfg(test)]
mod tests;
