//! All shards together, as one of them knows them from its peers.
//!
//! What no peer has told lately is unknown, and never good. Figures of another shard are as old as
//! its last answer, so an exposure goes on growing here.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::failover::{Doubt, Failover};
use super::report::{ContractStatus, StatusReport};
use super::text;
use crate::domain::contract::Objective;
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;

/// For how long an answer of a peer counts. It is asked about three times in this time.
pub const FRESH: Duration = Duration::from_secs(15);
/// How long the engine of a peer may be silent before its figures count as unknown.
const SILENCE: Duration = Duration::from_secs(10);
/// How many contracts of other shards are shown.
const SHOWN: usize = 500;

/// One shard of several.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShardStatus {
    /// Which shard it is, from 0.
    pub shard: u32,
    /// How many shards there are.
    pub total_shards: u32,
    /// The number of its contracts.
    pub contracts: usize,
    /// The number of contracts of all shards together.
    pub of_contracts: usize,
    /// How long ago its engine last ticked.
    pub silent_seconds: f64,
    /// The incidents and drills that other shards have too. An order about one of them must be given
    /// to each of its shards.
    pub divided: Vec<DividedStatus>,
}

/// An incident or a drill that several shards have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DividedStatus {
    /// `incident` or `drill`.
    pub what: String,
    /// Its name.
    pub name: String,
    /// All shards that have it.
    pub shards: Vec<u32>,
}

/// What is known of a peer.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it is asked.
    pub url: String,
    /// When it was asked for its last answer, and the answer.
    pub last: Option<(Timestamp, Arc<StatusReport>)>,
    /// Why there is no answer to the last question.
    pub error: Option<String>,
}

/// Every shard, at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ShardsReport {
    /// The moment.
    pub now: Timestamp,
    /// The answer over all shards. It is only a yes if every shard is known.
    pub failover: Failover,
    /// All objectives that are known, in one line.
    pub summary: String,
    /// The shards, by their index.
    pub shards: Vec<ShardView>,
    /// The peers that do not answer.
    pub silent: Vec<SilentPeer>,
    /// The contracts of the other shards, the worst first, without their checks. At most 500.
    pub elsewhere: Vec<Elsewhere>,
}

/// What is known of one shard.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ShardView {
    /// Which.
    pub shard: u32,
    /// Whether it is the shard that was asked.
    pub here: bool,
    /// The number of its contracts. Absent while it is unknown.
    pub contracts: Option<usize>,
    /// The age of its figures. Absent while it is unknown.
    pub age_seconds: Option<f64>,
    /// The peers that answer for it.
    pub urls: Vec<String>,
}

/// A peer that does not answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SilentPeer {
    /// Where it was asked.
    pub url: String,
    /// Why there is no answer.
    pub error: String,
}

/// A contract of another shard.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Elsewhere {
    /// The shard.
    pub shard: u32,
    /// The peer that told of it.
    pub url: String,
    /// Its status.
    pub contract: ContractStatus,
}

/// What the peers told of one shard.
struct Told<'p> {
    ready: bool,
    of_contracts: Vec<usize>,
    age: Duration,
    urls: Vec<String>,
    contracts: Vec<(&'p str, ContractStatus)>,
}

impl ShardsReport {
    /// Every shard, as far as the shard of this report knows them. Its engine has been silent for
    /// `silence`, and `now` is on the timeline of the peers' answers. None if there is only one.
    #[must_use]
    pub fn of(own: &StatusReport, silence: Duration, peers: &[Peer], now: Timestamp) -> Option<Self> {
        let mine = own.shard.as_ref()?;
        let mut whole = StatusReport { contracts: own.contracts.clone(), ..own.clone() };
        let (mut doubts, mut shards, mut elsewhere) = (strangers(mine, peers, now), Vec::new(), Vec::new());
        let mut sum = mine.contracts;
        for shard in 0..mine.total_shards {
            if shard == mine.shard {
                let (contracts, age) = (Some(mine.contracts), Some(silence.as_secs_f64()));
                shards.push(ShardView { shard, here: true, contracts, age_seconds: age, urls: Vec::new() });
                continue;
            }
            let Some(told) = told(shard, mine.total_shards, peers, now) else {
                doubts.push(doubt(format!("shard {shard} is not known: no peer has told of it lately")));
                shards.push(ShardView { shard, here: false, contracts: None, age_seconds: None, urls: Vec::new() });
                continue;
            };
            if !told.ready {
                doubts.push(doubt(format!("shard {shard}: not every check has run since the start")));
            }
            if told.of_contracts.iter().any(|of| *of != mine.of_contracts) {
                doubts.push(doubt(format!("shard {shard} has another configuration than this shard")));
            }
            sum += told.contracts.len();
            let (contracts, age) = (Some(told.contracts.len()), Some(told.age.as_secs_f64()));
            shards.push(ShardView { shard, here: false, contracts, age_seconds: age, urls: told.urls });
            for (url, contract) in told.contracts {
                whole.contracts.push(contract.clone());
                elsewhere.push(Elsewhere { shard, url: url.to_owned(), contract });
            }
        }
        if doubts.is_empty() && sum != mine.of_contracts {
            let of = mine.of_contracts;
            doubts.push(doubt(format!("the shards hold {sum} contracts, and the configuration has {of}")));
        }
        let failover = Failover::with(&whole, silence, doubts);
        let order: BTreeMap<&str, usize> =
            text::worst_first(&whole).into_iter().enumerate().map(|(place, of)| (of.name.as_str(), place)).collect();
        elsewhere.sort_by_key(|of| order.get(of.contract.name.as_str()).copied());
        elsewhere.truncate(SHOWN);
        let silent =
            peers.iter().filter_map(|peer| Some(SilentPeer { url: peer.url.clone(), error: peer.error.clone()? }));
        let (silent, summary) = (silent.collect(), text::summary(&whole));
        Some(Self { now: own.now, failover, summary, shards, silent, elsewhere })
    }
}

/// Peers that answer, and are no shards of the same number.
fn strangers(mine: &ShardStatus, peers: &[Peer], now: Timestamp) -> Vec<Doubt> {
    let fresh = peers.iter().filter_map(|peer| Some((peer, fresh(peer, now)?.0)));
    let strangers = fresh.filter_map(|(Peer { url, .. }, report)| match &report.shard {
        Some(shard) if shard.total_shards == mine.total_shards => None,
        Some(shard) => {
            Some(format!("{url} is one of {} shards, and this is one of {}", shard.total_shards, mine.total_shards))
        }
        None => Some(format!("{url} is not a shard")),
    });
    strangers.map(doubt).collect()
}

/// The last answer of a peer and its age, if it still counts.
fn fresh(peer: &Peer, now: Timestamp) -> Option<(&StatusReport, Duration)> {
    let (at, report) = peer.last.as_ref()?;
    let age = now.since(*at);
    (age <= FRESH).then_some((report.as_ref(), age))
}

/// What is known of a shard. None if no peer has told lately.
fn told(shard: u32, total: u32, peers: &[Peer], now: Timestamp) -> Option<Told<'_>> {
    let replicas: Vec<(&Peer, &StatusReport, &ShardStatus, Duration)> = peers
        .iter()
        .filter_map(|peer| {
            let (report, age) = fresh(peer, now)?;
            let status = report.shard.as_ref().filter(|of| (of.shard, of.total_shards) == (shard, total))?;
            // Its figures stand still if its engine does.
            (Duration::try_from_secs_f64(status.silent_seconds).ok()? <= SILENCE).then_some((peer, report, status, age))
        })
        .collect();
    let age = replicas.iter().map(|(.., age)| *age).max()?;
    let mut contracts: BTreeMap<&str, (&str, ContractStatus)> = BTreeMap::new();
    for (peer, report, _, age) in &replicas {
        for told in &report.contracts {
            let contract = aged(told, *age);
            let known = contracts.get(told.name.as_str());
            if known.is_none_or(|(_, known)| weight(known) < weight(&contract)) {
                contracts.insert(&told.name, (peer.url.as_str(), contract));
            }
        }
    }
    Some(Told {
        ready: replicas.iter().any(|(_, report, ..)| report.ready),
        of_contracts: replicas.iter().map(|(_, _, status, _)| status.of_contracts).collect(),
        age,
        urls: replicas.iter().map(|(peer, ..)| peer.url.clone()).collect(),
        contracts: contracts.into_values().collect(),
    })
}

/// Which of several replicas is believed about a contract: one that has proven a breach or sees an
/// outage, and then the one that can tell most.
fn weight(contract: &ContractStatus) -> (bool, Reverse<usize>) {
    let has = |status| contract.objectives.iter().filter(|objective| objective.status == status).count();
    let bad = has(Status::Breached) > 0 || contract.outage.is_some() || contract.failing;
    (bad, Reverse(has(Status::Unproven)))
}

/// A contract some time after it was told of, without its checks.
fn aged(contract: &ContractStatus, age: Duration) -> ContractStatus {
    let mut aged = ContractStatus { checks: Vec::new(), ..contract.clone() };
    let age = age.as_secs_f64();
    if let Some(outage) = &mut aged.outage {
        outage.elapsed_seconds += age;
        outage.at_most_seconds = outage.at_most_seconds.map(|most| most + age);
    }
    for objective in aged.objectives.iter_mut().filter(|objective| objective.objective == Objective::Rpo) {
        let Some(observed) = objective.observed_seconds.map(|observed| observed + age) else { continue };
        objective.observed_seconds = Some(observed);
        objective.used_ratio = Some(observed / objective.target_seconds);
        if observed >= objective.target_seconds && objective.status.is_compliant() == Some(true) {
            (objective.status, objective.basis) = (Status::Unproven, Basis::ProofTooOld);
            "its shard has not told of a newer proof, and the last one is as old as the target"
                .clone_into(&mut objective.because);
        }
    }
    aged
}

fn doubt(text: String) -> Doubt {
    Doubt { contract: None, objective: None, text, proven: false }
}

/// What a shard cannot tell alone: everything about the others. None if there are no others.
pub(super) fn alone(report: &StatusReport) -> Vec<Doubt> {
    let others = report.shard.as_ref().filter(|shard| shard.total_shards > 1);
    others
        .map(|shard| doubt(format!("{}, and nobody can tell here about the others", part(shard))))
        .into_iter()
        .collect()
}

/// Which part of the configuration a shard holds, in words.
#[must_use]
pub fn part(shard: &ShardStatus) -> String {
    let ShardStatus { shard, total_shards, contracts, of_contracts, .. } = shard;
    format!("this is shard {shard} of {total_shards}, with {contracts} of {of_contracts} contracts")
}
