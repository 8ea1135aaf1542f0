//! A contract, its checks, and what is known of them.

use std::time::Duration;

/// The objectives that a check can feed, or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Feeds {
    /// Its health drives the recovery clock.
    pub rto: bool,
    /// Its proofs move the recovery point.
    pub rpo: bool,
}

/// How urgent a contract is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Breach is told to the CTO.
    P0,
    /// Breach is told to the SRE lead.
    P1,
    /// Breach is told to the person on call.
    P2,
    /// Nobody is woken.
    P3,
}

/// A component's promise.
#[derive(Debug, Clone, PartialEq)]
pub struct ContractSpec {
    /// Unique among contracts.
    pub name: String,
    /// What people call the component.
    pub component: String,
    /// Who has to keep the promise.
    pub owner: String,
    /// How urgent it is.
    pub priority: Priority,
    /// Recovery time objective: a recovery must take less.
    pub rto: Option<Duration>,
    /// Recovery point objective: the data at risk must be less.
    pub rpo: Option<Duration>,
    /// The share of a target above which an objective is at risk.
    pub at_risk_ratio: f64,
    /// How old the last measured recovery may grow before it proves nothing.
    pub drill_every: Option<Duration>,
    /// What is measured for it; never empty.
    pub checks: Vec<CheckSpec>,
}

/// How one check of a contract is run and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    /// Unique among the contract's checks.
    pub name: String,
    /// The kind's name.
    pub kind: &'static str,
    /// From the start of one run to the start of the next.
    pub interval: Duration,
    /// The same while the contract's recovery clock runs.
    pub interval_when_down: Duration,
    /// How long one run may take.
    pub timeout: Duration,
    /// How many failures in a row start the recovery clock.
    pub failures_to_trigger: u32,
    /// How many healthy observations in a row count as recovered.
    pub successes_to_recover: u32,
    /// The sync lag above which there is a warning.
    pub warn_after: Option<Duration>,
    /// The objectives that it feeds.
    pub feeds: Feeds,
}
