//! A message to the ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::journal::People;
use super::order::{Answer, Request};
use super::report::{CheckId, Report};
use super::snapshot::Configuration;
use crate::domain::check::CheckSpec;
use crate::domain::contract::ContractSpec;
use crate::domain::kind::KindInfo;
use crate::domain::trigger::TriggerSpec;

/// A message to the ledger.
pub enum Message {
    /// A run ended.
    Report(Box<Report>),
    /// The configuration changed: from now on these contracts count. Answered when the ledger has
    /// them.
    Swap(Lineup, oneshot::Sender<()>),
    /// The result of reading the configuration. Answered when it is shown.
    Configuration(Configuration, oneshot::Sender<()>),
    /// An order of a person. Answered when it is on the disk.
    Order(Box<Request>, oneshot::Sender<Answer>),
}

/// The contracts and triggers, in the order of the configuration.
#[derive(Default)]
pub struct Lineup {
    /// Every kind of check. Each has a histogram from the start.
    pub kinds: &'static [&'static KindInfo],
    /// The contracts.
    pub contracts: Vec<ContractLine>,
    /// The triggers.
    pub triggers: Vec<TriggerLine>,
    /// Incidents, drills, and how soon people react.
    pub people: Arc<People>,
}

/// A contract, and what measures it.
pub struct ContractLine {
    /// The promise.
    pub spec: Arc<ContractSpec>,
    /// Its checks.
    pub checks: Vec<CheckLine>,
}

/// A check and its schedule.
pub struct CheckLine {
    /// How it is run and judged.
    pub spec: CheckSpec,
    /// The fingerprint of what it measures.
    pub fingerprint: String,
    /// Its current schedule.
    pub id: CheckId,
    /// Sets the interval of its runs.
    pub pace: watch::Sender<Duration>,
}

/// A trigger, and the check that it watches.
pub struct TriggerLine {
    /// The condition.
    pub spec: Arc<TriggerSpec>,
    /// The fingerprint of what is measured.
    pub fingerprint: String,
    /// The schedule of its own check. None if it watches a check of a contract.
    pub own: Option<CheckId>,
}
