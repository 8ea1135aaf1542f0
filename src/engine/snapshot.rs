//! What is known, at one instant, of everything: immutable, shared by all who read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::scheduler::Report;
use crate::domain::contract::Contract;
use crate::domain::independence::{self, Independence};
use crate::domain::observation::{Finding, Observation, Outcome, Reason};
use crate::domain::time::Timestamp;
use crate::domain::trigger::Trigger;
use crate::store::keeper::StoreHealth;

/// Everything that is known.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The contracts, in the order of the configuration.
    pub contracts: Vec<Arc<ContractRecord>>,
    /// The triggers, in the order of the configuration.
    pub triggers: Vec<Arc<TriggerRecord>>,
    /// How long runs took, by kind of check.
    pub durations: BTreeMap<&'static str, Histogram>,
    /// When the ledger last ticked.
    pub ticked: Timestamp,
    /// How the storage is; none where there is none.
    pub storage: Option<StoreHealth>,
    /// How the last reading of the configuration went; none for a program that reads it once.
    pub configuration: Option<Configuration>,
}

/// How the last reading of the configuration went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// All that was wrong with it; none if it is in use. A bad one changes nothing.
    pub refused: Option<Arc<str>>,
    /// When a good one was last read.
    pub read: Timestamp,
}

impl Snapshot {
    /// Whether every check has run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.contracts.iter().all(|record| record.checks.iter().all(|check| check.last.is_some()))
            && self.triggers.iter().all(|record| record.last.is_some())
    }

    /// Whether a contract works while another is down, as [`independence::works_without`] says it.
    #[must_use]
    pub fn works_without(&self, contract: &Contract, without: &str, now: Timestamp) -> Option<bool> {
        let without = self.contracts.iter().find(|record| record.contract.spec().name == without)?;
        independence::works_without(contract, &without.contract, now)
    }
}

/// A contract, and the runs of its checks.
#[derive(Debug, Clone)]
pub struct ContractRecord {
    /// What the rules know of it.
    pub contract: Contract,
    /// Its checks, in the order of the specification.
    pub checks: Vec<CheckRecord>,
    /// What is known of its independence of others, by their names.
    pub independence: BTreeMap<String, Independence>,
}

/// A trigger, and what it saw.
#[derive(Debug, Clone)]
pub struct TriggerRecord {
    /// What the rules know of it.
    pub trigger: Trigger,
    /// The last run of the check that it watches.
    pub last: Option<LastRun>,
}

/// The runs of one check.
#[derive(Debug, Clone, Default)]
pub struct CheckRecord {
    /// How many runs there were, in the order of [`Outcome::ALL`].
    runs: [u64; Outcome::ALL.len()],
    /// How often each reason was found.
    pub failures: BTreeMap<&'static str, u64>,
    /// The last run.
    pub last: Option<LastRun>,
    /// The last run that found something wrong; kept when later runs are good.
    pub last_failure: Option<LastFailure>,
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

/// Something that was wrong.
#[derive(Debug, Clone)]
pub struct LastFailure {
    /// When it was found.
    pub at: Timestamp,
    /// What.
    pub findings: Vec<Finding>,
}

impl CheckRecord {
    /// Takes in a run.
    pub fn take(&mut self, report: Report) {
        let outcome = report.observation.outcome();
        for (runs, _) in self.runs.iter_mut().zip(Outcome::ALL).filter(|(_, of)| *of == outcome) {
            *runs = runs.saturating_add(1);
        }
        let findings: Vec<Finding> = report.observation.findings().cloned().collect();
        for finding in &findings {
            *self.failures.entry(finding.reason.label).or_default() += 1;
        }
        if !findings.is_empty() {
            self.last_failure = Some(LastFailure { at: report.at, findings });
        }
        self.last = Some(LastRun { at: report.at, took: report.took, observation: report.observation });
    }

    /// A check that has not run, with every reason it can have counted 0 times: so the first failure is an increase that
    /// Prometheus can see.
    #[must_use]
    pub fn new(reasons: impl Iterator<Item = &'static Reason>) -> Self {
        Self { failures: reasons.map(|reason| (reason.label, 0)).collect(), ..Self::default() }
    }

    /// How many runs there were, by outcome.
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

    /// How many durations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The buckets, each with its upper bound and its own count; the last takes what is above all bounds.
    #[must_use]
    pub fn buckets(&self) -> Vec<(f64, u64)> {
        let below: u64 = self.counts.iter().sum();
        let bounded = Self::BOUNDS.into_iter().zip(self.counts);
        bounded.chain([(f64::INFINITY, self.count.saturating_sub(below))]).collect()
    }
}
