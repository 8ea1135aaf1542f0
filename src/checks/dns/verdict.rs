//! What the resolvers' answers say about the name. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::Target;
use super::ask::Answer;
use super::history::{History, Regions, View};
use super::{
    BAD_ANSWER, CONNECT_FAILED, NO_RECORDS, NO_SUCH_NAME, QUERY_REFUSED, SERVER_FAILURE, TIMEOUT, TLS_FAILED,
    TTL_TOO_LONG, UNEXPECTED_TARGET, words,
};
use crate::clock::{Clock, Moment};
use crate::config::values::{DnsTarget, Name};
use crate::domain::observation::{Finding, Health, Reason};
use crate::domain::time::Timestamp;

/// What one resolver told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// Which resolver.
    pub resolver: String,
    /// Where the name leads to, or why that is not known.
    result: Result<Sorted, Finding>,
}

/// An answer by the regions it is of.
#[derive(Debug, Clone)]
struct Sorted {
    answer: Answer,
    regions: Regions,
    /// What is of no region.
    unexpected: Vec<Target>,
}

impl Told {
    /// What a resolver told, sorted.
    pub(super) fn new(
        resolver: String,
        result: Result<Answer, Finding>,
        expected: &BTreeMap<Name, Vec<DnsTarget>>,
    ) -> Self {
        let sort = |answer: Answer| {
            let (mut regions, mut unexpected) = (Regions::new(), Vec::new());
            for target in &answer.targets {
                let region = expected.iter().find(|(_, of_it)| of_it.iter().any(|expected| target.is_in(expected)));
                match region {
                    Some((name, _)) => drop(regions.insert(name.as_str().to_owned())),
                    None => unexpected.push(target.clone()),
                }
            }
            Sorted { answer, regions, unexpected }
        };
        Self { resolver, result: result.map(sort) }
    }

    /// Whether it told of a region.
    pub(super) fn is_of_a_region(&self) -> bool {
        self.result.as_ref().is_ok_and(|sorted| !sorted.regions.is_empty())
    }

    /// Whether it told of the name, be it that there is none.
    pub(super) fn is_answer(&self) -> bool {
        match &self.result {
            Ok(_) => true,
            Err(finding) => [&NO_SUCH_NAME, &NO_RECORDS].contains(&finding.reason),
        }
    }

    /// Whether it told of this region.
    pub(super) fn names(&self, region: &str) -> bool {
        self.result.as_ref().is_ok_and(|sorted| sorted.regions.contains(region))
    }

    /// What it told of that is of no region.
    pub(super) fn unexpected(&self) -> &[Target] {
        self.result.as_ref().map(|sorted| sorted.unexpected.as_slice()).unwrap_or_default()
    }

    /// How long its answer may be kept.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.result.as_ref().ok().map(|sorted| sorted.answer.ttl)
    }

    /// When its answer came.
    pub(super) fn at(&self, clock: Clock) -> Option<Timestamp> {
        self.result.as_ref().ok().map(|sorted| clock.at(sorted.answer.at))
    }

    /// What the history is told of it.
    pub(super) fn view(&self, clock: Clock) -> View {
        let named = self.result.as_ref().map(|sorted| sorted.regions.clone());
        let regions = named.ok().or_else(|| self.is_answer().then(Regions::new));
        View { resolver: self.resolver.clone(), regions, at: self.at(clock).unwrap_or_else(|| clock.now()) }
    }
}

/// What tells most of the name itself, the most telling first. What is not here is our own failure.
static TELLING: [&Reason; 9] = [
    &UNEXPECTED_TARGET,
    &NO_SUCH_NAME,
    &NO_RECORDS,
    &SERVER_FAILURE,
    &QUERY_REFUSED,
    &BAD_ANSWER,
    &TLS_FAILED,
    &CONNECT_FAILED,
    &TIMEOUT,
];

/// Clients find a region if one resolver tells of it. Where none does, those that could be asked decide; where none could,
/// nothing is known.
pub(super) fn health(told: &[Told]) -> Health {
    if told.iter().any(Told::is_of_a_region) {
        return Health::Healthy;
    }
    let reason = |told: &Told| match &told.result {
        Ok(_) => &UNEXPECTED_TARGET,
        Err(finding) => finding.reason,
    };
    let rank = |told: &Told| TELLING.iter().position(|telling| *telling == reason(told));
    let detail = told.iter().map(|told| format!("{}: {}", told.resolver, without_reason(told)));
    let detail = detail.collect::<Vec<_>>().join("; ");
    match told.iter().filter_map(|told| Some((rank(told)?, reason(told)))).min_by_key(|(rank, _)| *rank) {
        Some((_, reason)) => Health::Unhealthy(Finding::new(reason, detail)),
        None => Health::NoAnswer(Finding::new(told.first().map_or(&super::NO_RESOLVERS, reason), detail)),
    }
}

/// What it told, or why it did not, for people.
fn without_reason(told: &Told) -> String {
    match &told.result {
        Ok(sorted) => described(sorted),
        Err(finding) => finding.detail.clone(),
    }
}

/// How many targets are named.
const NAMED: usize = 5;

fn described(sorted: &Sorted) -> String {
    let region = if sorted.regions.is_empty() { "no region".to_owned() } else { words(&sorted.regions) };
    format!("{region} ({}), TTL {} s", listed(sorted.answer.targets.iter()), sorted.answer.ttl.as_secs())
}

fn listed<'a>(targets: impl Iterator<Item = &'a Target>) -> String {
    let mut names: Vec<String> = targets.take(NAMED + 1).map(ToString::to_string).collect();
    if names.len() > NAMED {
        names.truncate(NAMED);
        names.push("…".to_owned());
    }
    names.join(", ")
}

/// What to look at although nothing fails; none where no resolver told where the name leads to.
pub(super) fn warnings(told: &[Told], ttl: Option<Duration>, max: Option<Duration>) -> Option<Vec<Finding>> {
    told.iter().find(|told| told.result.is_ok())?;
    let too_long = ttl.zip(max).filter(|(ttl, max)| ttl > max).map(|(ttl, max)| {
        let detail = format!("clients may keep an answer for {} s; {} s is the most", ttl.as_secs(), max.as_secs_f64());
        Finding::new(&TTL_TOO_LONG, detail)
    });
    let elsewhere = told.iter().filter(|told| !told.unexpected().is_empty());
    let elsewhere = elsewhere.map(|told| format!("{}: {}", told.resolver, listed(told.unexpected().iter())));
    let elsewhere = elsewhere.collect::<Vec<_>>().join("; ");
    let unexpected = (!elsewhere.is_empty())
        .then(|| Finding::new(&UNEXPECTED_TARGET, format!("these are of no region: {elsewhere}")));
    Some(too_long.into_iter().chain(unexpected).collect())
}

/// What people want to know: each resolver's answer, and how a change goes or went.
pub(super) fn notes(told: &[Told], history: &History, moment: Moment) -> Vec<String> {
    let mut notes: Vec<String> = told
        .iter()
        .map(|told| match &told.result {
            Ok(sorted) => format!("{}: {}", told.resolver, described(sorted)),
            Err(finding) => format!("{}: {finding}", told.resolver),
        })
        .collect();
    let at = |instant| moment.wall(instant);
    if let Some(change) = history.last() {
        let (from, to, since) = (words(&change.from), words(&change.to), at(change.first));
        let followed = change.propagation().map(|took| format!("; all had followed {:.1} s later", took.as_secs_f64()));
        notes.push(format!("{to} instead of {from} since {since}{}", followed.unwrap_or_default()));
    }
    if let Some(progress) = history.progress(told.len()) {
        let (from, to, since) = (words(&progress.from), words(&progress.to), at(progress.since));
        let (followers, resolvers) = (progress.followers, progress.resolvers);
        notes.push(format!("{followers} of {resolvers} resolvers follow from {from} to {to}, the first since {since}"));
    }
    if history.settled().is_none() && told.iter().any(Told::is_of_a_region) {
        notes.push("the resolvers have yet to agree on a region".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
