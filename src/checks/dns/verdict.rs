//! What the answers of the resolvers say about the name. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answer::Target;
use super::ask::Answer;
use super::history::{History, Regions, View};
use super::{
    ALIAS_ELSEWHERE, BAD_ANSWER, CONNECT_FAILED, CREDENTIALS_UNREADABLE, LOCAL, NO_RECORDS, NO_RESOLVERS, NO_SUCH_NAME,
    QUERY_REFUSED, REFERRAL, SERVER_FAILURE, TCP_FAILED, TIMEOUT, TLS_FAILED, TLS_UNSUPPORTED, TTL_TOO_LONG,
    UNEXPECTED_TARGET, words,
};
use crate::clock::{Clock, Moment};
use crate::decode::values::{DnsTarget, Name};
use crate::domain::observation::{Finding, Health, Reason};
use crate::domain::time::Timestamp;

/// The result of one resolver.
#[derive(Debug, Clone)]
pub(super) struct ResolverAnswer {
    /// The resolver.
    pub resolver: String,
    /// What the name leads to, or why that is not known.
    result: Result<Sorted, Finding>,
}

/// An answer, sorted by regions.
#[derive(Debug, Clone)]
struct Sorted {
    answer: Answer,
    regions: Regions,
    /// The targets that belong to no region.
    unexpected: Vec<Target>,
}

impl ResolverAnswer {
    /// The result of a resolver, sorted by regions.
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

    /// Whether it names a region.
    pub(super) fn is_of_a_region(&self) -> bool {
        self.result.as_ref().is_ok_and(|sorted| !sorted.regions.is_empty())
    }

    /// Whether it says something about the name. That the name does not exist counts too.
    pub(super) fn is_answer(&self) -> bool {
        match &self.result {
            Ok(_) => true,
            Err(finding) => [&NO_SUCH_NAME, &NO_RECORDS].contains(&finding.reason),
        }
    }

    /// Whether it names this region.
    pub(super) fn names(&self, region: &str) -> bool {
        self.result.as_ref().is_ok_and(|sorted| sorted.regions.contains(region))
    }

    /// The targets that belong to no region.
    pub(super) fn unexpected(&self) -> &[Target] {
        self.result.as_ref().map(|sorted| sorted.unexpected.as_slice()).unwrap_or_default()
    }

    /// The TTL of its answer.
    pub(super) fn ttl(&self) -> Option<Duration> {
        self.result.as_ref().ok().map(|sorted| sorted.answer.ttl)
    }

    /// When its answer arrived.
    pub(super) fn at(&self, clock: Clock) -> Option<Timestamp> {
        self.result.as_ref().ok().map(|sorted| clock.at(sorted.answer.at))
    }

    /// The view for the history.
    pub(super) fn view(&self, clock: Clock) -> View {
        let named = self.result.as_ref().map(|sorted| sorted.regions.clone());
        let regions = named.ok().or_else(|| self.is_answer().then(Regions::new));
        View { resolver: self.resolver.clone(), regions, at: self.at(clock).unwrap_or_else(|| clock.now()) }
    }
}

/// Reasons about the name itself, the most specific first.
static OF_THE_NAME: [&Reason; 3] = [&UNEXPECTED_TARGET, &NO_SUCH_NAME, &NO_RECORDS];

/// The resolver works, and answers clients that can do what this exporter cannot.
static OTHERS_CAN: [&Reason; 2] = [&TCP_FAILED, &TLS_UNSUPPORTED];

/// Reasons that say that a resolver fails, the most specific first.
static OF_A_RESOLVER: [&Reason; 6] =
    [&SERVER_FAILURE, &QUERY_REFUSED, &BAD_ANSWER, &TLS_FAILED, &CONNECT_FAILED, &TIMEOUT];

/// Why a resolver says nothing about the name, the most specific first.
static UNTOLD: [&Reason; 6] =
    [&ALIAS_ELSEWHERE, &REFERRAL, &TCP_FAILED, &TLS_UNSUPPORTED, &CREDENTIALS_UNREADABLE, &LOCAL];

/// Clients find a region if one resolver names one. If none does, answers about the name decide.
/// Without such answers, failures of the resolvers decide. Without either, nothing is known. A
/// resolver that fails is no outage if another one still answers other clients.
pub(super) fn health(answers: &[ResolverAnswer]) -> Health {
    if answers.iter().any(ResolverAnswer::is_of_a_region) {
        return Health::Healthy;
    }
    let reason = |answer: &ResolverAnswer| match &answer.result {
        Ok(_) => &UNEXPECTED_TARGET,
        Err(finding) => finding.reason,
    };
    let most =
        |of: &[&'static Reason]| of.iter().find(|of| answers.iter().any(|answer| reason(answer) == **of)).copied();
    let failed = || if most(&OTHERS_CAN).is_some() { None } else { most(&OF_A_RESOLVER) };
    let detail = answers.iter().map(|answer| format!("{}: {}", answer.resolver, without_reason(answer)));
    let detail = detail.collect::<Vec<_>>().join("; ");
    match most(&OF_THE_NAME).or_else(failed) {
        Some(reason) => Health::Unhealthy(Finding::new(reason, detail)),
        None => Health::NoAnswer(Finding::new(most(&UNTOLD).unwrap_or(&NO_RESOLVERS), detail)),
    }
}

/// Its answer, or why there is none, for people.
fn without_reason(answer: &ResolverAnswer) -> String {
    match &answer.result {
        Ok(sorted) => described(sorted),
        Err(finding) => finding.detail.clone(),
    }
}

/// How many targets are listed.
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

/// The warnings. None if no resolver said what the name leads to.
pub(super) fn warnings(
    answers: &[ResolverAnswer],
    ttl: Option<Duration>,
    max: Option<Duration>,
) -> Option<Vec<Finding>> {
    answers.iter().find(|answer| answer.result.is_ok())?;
    let too_long = ttl.zip(max).filter(|(ttl, max)| ttl > max).map(|(ttl, max)| {
        let detail = format!("clients may keep an answer for {} s; max_ttl is {} s", ttl.as_secs(), max.as_secs_f64());
        Finding::new(&TTL_TOO_LONG, detail)
    });
    let elsewhere = answers.iter().filter(|answer| !answer.unexpected().is_empty());
    let elsewhere = elsewhere.map(|answer| format!("{}: {}", answer.resolver, listed(answer.unexpected().iter())));
    let elsewhere = elsewhere.collect::<Vec<_>>().join("; ");
    let unexpected = (!elsewhere.is_empty())
        .then(|| Finding::new(&UNEXPECTED_TARGET, format!("these belong to no region: {elsewhere}")));
    Some(too_long.into_iter().chain(unexpected).collect())
}

/// The notes: the answer of each resolver, and the progress of a change.
pub(super) fn notes(answers: &[ResolverAnswer], history: &History, moment: Moment) -> Vec<String> {
    let mut notes: Vec<String> = answers
        .iter()
        .map(|answer| match &answer.result {
            Ok(sorted) => format!("{}: {}", answer.resolver, described(sorted)),
            Err(finding) => format!("{}: {finding}", answer.resolver),
        })
        .collect();
    let at = |instant| moment.wall(instant);
    if let Some(change) = history.last() {
        let (from, to, since) = (words(&change.from), words(&change.to), at(change.first));
        let followed = change.propagation().map(|took| format!("; all had followed {:.1} s later", took.as_secs_f64()));
        notes.push(format!("{to} instead of {from} since {since}{}", followed.unwrap_or_default()));
    }
    if let Some(progress) = history.progress(answers.len()) {
        let (from, to, since) = (words(&progress.from), words(&progress.to), at(progress.since));
        let (followers, resolvers) = (progress.followers, progress.resolvers);
        notes.push(format!("{followers} of {resolvers} resolvers follow from {from} to {to}, the first since {since}"));
    }
    if history.settled().is_none() && answers.iter().any(ResolverAnswer::is_of_a_region) {
        notes.push("the resolvers do not agree on a region yet".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests;
