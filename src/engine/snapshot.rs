//! The state of everything at one instant: immutable, and shared by all readers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::journal::People;
use super::report::Report;
use crate::domain::check::{CheckSpec, CheckState};
use crate::domain::contract::Contract;
use crate::domain::independence::{self, Independence};
use crate::domain::observation::{Finding, Observation, Outcome, Reason};
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::shard::Shard;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::keeper::StoreHealth;
use crate::store::plans::Plans;

/// Everything that the exporter knows.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The contracts, in the order of the configuration.
    pub contracts: Vec<Arc<ContractRecord>>,
    /// The triggers, in the order of the configuration.
    pub triggers: Vec<Arc<TriggerRecord>>,
    /// The plans of people, from the configuration.
    pub people: Arc<People>,
    /// The state of incidents, drills and alarms, in wall-clock time.
    pub plans: Arc<Plans>,
    /// How long runs took, by kind of check.
    pub durations: BTreeMap<&'static str, Histogram>,
    /// When the ledger last ticked.
    pub ticked: Timestamp,
    /// The health of the storage. None without a storage.
    pub storage: Option<StoreHealth>,
    /// The result of the last reading of the configuration. None for a program that reads it once.
    pub configuration: Option<Configuration>,
}

/// The result of the last reading of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// The errors. None if the configuration is in use. A configuration with errors changes
    /// nothing.
    pub refused: Option<Arc<str>>,
    /// When a configuration without errors was last read.
    pub read: Timestamp,
    /// The text of the configuration in use, as it is shown to people.
    pub shown: Arc<ShownConfiguration>,
    /// Which part of it this process measures.
    pub share: Share,
}

/// The part of a configuration that one shard measures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The shard.
    pub shard: Shard,
    /// The number of contracts in the whole configuration: those of all shards together.
    pub contracts: usize,
    /// The incidents and drills of this shard that other shards have too.
    pub divided: Vec<Divided>,
}

/// An incident or a drill that concerns contracts of several shards. Each of these shards has it,
/// with its own contracts only. So an order about it must be given to each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divided {
    /// `incident` or `drill`.
    pub what: &'static str,
    /// Its name.
    pub name: String,
    /// All shards that have it, this one too.
    pub shards: Vec<u32>,
}

impl Default for Share {
    fn default() -> Self {
        Self { shard: Shard::ALONE, contracts: 0, divided: Vec::new() }
    }
}

/// The text of a configuration, without comments and secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShownConfiguration {
    /// All of it.
    pub whole: Arc<str>,
    /// The stanza of each contract, by name.
    pub contracts: BTreeMap<String, Arc<str>>,
}

impl Snapshot {
    /// Whether every check has run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.contracts.iter().all(|record| record.runs.iter().all(|check| check.last.is_some()))
            && self.triggers.iter().all(|record| record.last.is_some())
    }

    /// Whether a contract works while another one is down: see [`independence::works_without`].
    #[must_use]
    pub fn works_without(&self, contract: &Contract, without: &str, now: Timestamp) -> Option<bool> {
        let without = self.contracts.iter().find(|record| record.contract.spec().name == without)?;
        independence::works_without(contract, &without.contract, now)
    }
}

/// A contract, and the runs of its checks.
#[derive(Debug, Clone)]
pub struct ContractRecord {
    /// Its state.
    pub contract: Contract,
    /// The runs of each of its checks, in the order of the contract.
    runs: Vec<CheckRecord>,
    /// What is known about its independence of other contracts, by their names.
    pub independence: BTreeMap<String, Independence>,
}

impl ContractRecord {
    /// The record of a contract. `runs` creates the record of each of its checks.
    #[must_use]
    pub fn new(
        contract: Contract,
        runs: impl FnMut(&CheckSpec) -> CheckRecord,
        independence: BTreeMap<String, Independence>,
    ) -> Self {
        let runs = contract.checks().iter().map(CheckState::spec).map(runs).collect();
        Self { contract, runs, independence }
    }

    /// Its checks: the state of each, and its runs.
    #[must_use]
    pub fn checks(&self) -> impl ExactSizeIterator<Item = (&CheckState, &CheckRecord)> {
        self.contract.checks().iter().zip(&self.runs)
    }

    /// Takes in a run of the check with this index.
    pub fn take(&mut self, check: usize, report: Report) -> Option<ClockEvent> {
        let event = self.contract.observe(check, report.seen(), &report.observation);
        if let Some(runs) = self.runs.get_mut(check) {
            runs.take(report);
        }
        event
    }
}

/// A trigger, and the last run of its check.
#[derive(Debug, Clone)]
pub struct TriggerRecord {
    /// Its state.
    pub trigger: Trigger,
    /// The last run of the check that it watches.
    pub last: Option<LastRun>,
}

/// The runs of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckRecord {
    /// The number of runs, in the order of [`Outcome::ALL`].
    runs: [u64; Outcome::ALL.len()],
    /// How often each reason was found. Most runs find nothing, so most records share it with the one
    /// before.
    pub failures: Arc<BTreeMap<&'static str, u64>>,
    /// The last run.
    pub last: Option<LastRun>,
    /// The last run that found something wrong. It is kept when later runs are good.
    pub last_failure: Option<LastFailure>,
    /// The last run that found everything good.
    pub last_success: Option<Timestamp>,
    /// The last times during which something was wrong, the oldest first.
    pub recent: VecDeque<Trouble>,
}

/// A run that is over.
#[derive(Debug, Clone)]
pub struct LastRun {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What it found.
    pub observation: Observation,
}

/// One thing that was wrong.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// When it was found.
    pub at: Timestamp,
    /// What.
    pub findings: Vec<Finding>,
}

/// Runs in a row that found the same wrong.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The first of them.
    pub from: Timestamp,
    /// The last of them.
    pub until: Timestamp,
    /// How many.
    pub runs: u64,
    /// What the last of them found.
    pub findings: Vec<Finding>,
    /// Whether a later run found something else, or nothing.
    over: bool,
}

/// How many times of trouble are kept for each check.
pub const RECENT: usize = 10;

impl CheckRecord {
    /// Keeps what is wrong together with the runs before that found the same.
    fn note_trouble(&mut self, at: Timestamp, findings: &[Finding]) {
        let reasons = |findings: &[Finding]| findings.iter().map(|finding| finding.reason.label).collect::<Vec<_>>();
        match self.recent.back_mut().filter(|last| !last.over) {
            Some(last) if !findings.is_empty() && reasons(&last.findings) == reasons(findings) => {
                last.runs = last.runs.saturating_add(1);
                (last.until, last.findings) = (at, findings.to_vec());
                return;
            }
            Some(last) => last.over = true,
            None => {}
        }
        if !findings.is_empty() {
            self.recent.push_back(Trouble { from: at, until: at, runs: 1, findings: findings.to_vec(), over: false });
            if self.recent.len() > RECENT {
                self.recent.pop_front();
            }
        }
    }

    /// Takes in a run.
    fn take(&mut self, report: Report) {
        let outcome = report.observation.outcome();
        for (runs, _) in self.runs.iter_mut().zip(Outcome::ALL).filter(|(_, of)| *of == outcome) {
            *runs = runs.saturating_add(1);
        }
        let findings: Vec<Finding> = report.observation.findings().cloned().collect();
        for finding in &findings {
            let label = finding.reason.label;
            debug_assert!(self.failures.contains_key(label), "`{label}` is not in the list of the kind's reasons");
            *Arc::make_mut(&mut self.failures).entry(label).or_default() += 1;
        }
        self.note_trouble(report.at, &findings);
        if outcome == Outcome::Healthy {
            self.last_success = Some(report.at);
        }
        if !findings.is_empty() {
            self.last_failure = Some(LastFailure { at: report.at, findings });
        }
        self.last = Some(LastRun { at: report.at, took: report.took, observation: report.observation });
    }

    /// A check that has not run. Each possible reason starts with the count 0, so that Prometheus
    /// sees the first failure as an increase.
    #[must_use]
    pub fn new(reasons: impl Iterator<Item = &'static Reason>) -> Self {
        Self { failures: Arc::new(reasons.map(|reason| (reason.label, 0)).collect()), ..Self::default() }
    }

    /// The number of runs, by outcome.
    pub fn runs(&self) -> impl Iterator<Item = (Outcome, u64)> {
        Outcome::ALL.into_iter().zip(self.runs)
    }
}

/// A cumulative histogram of durations.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len()],
    count: u64,
    sum: Duration,
}

impl Histogram {
    /// The upper bounds of the buckets, in seconds.
    pub const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    /// Counts one duration.
    pub fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some((count, _)) = self.counts.iter_mut().zip(Self::BOUNDS).find(|(_, bound)| seconds <= *bound) {
            *count = count.saturating_add(1);
        }
        self.count = self.count.saturating_add(1);
        self.sum = self.sum.saturating_add(duration);
    }

    /// The sum of all durations, in seconds.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum.as_secs_f64()
    }

    /// The number of durations.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The buckets, each with its upper bound and its own count. The last one takes what is above
    /// all bounds.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let below: u64 = self.counts.iter().sum();
        let bounded = Self::BOUNDS.into_iter().zip(self.counts);
        bounded.chain([(f64::INFINITY, self.count.saturating_sub(below))]).collect()
    }
}
