//! What a store knows about the past: changed statuses, and when anybody looked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Transition;
use crate::domain::time::Timestamp;

/// A time during which a contract was measured. Between two of them nobody looked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    /// The contract.
    pub contract: String,
    /// The beginning.
    pub from: Timestamp,
    /// The last instant at which the exporter was known to measure.
    pub until: Timestamp,
}

/// Times during which contracts were measured: the end, by contract and beginning.
pub type ObservedTimes = BTreeMap<(String, Timestamp), Timestamp>;

/// A query for the past.
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryQuery {
    /// Only this contract.
    pub contract: Option<String>,
    /// The beginning. The last change of each objective before it is included, because its status
    /// still held then.
    pub since: Timestamp,
    /// At most this many changes of each objective: the newest.
    pub limit: u32,
}

/// The past.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Changed statuses, the oldest first.
    pub transitions: Vec<Transition>,
    /// The times during which somebody looked, the oldest first.
    pub observed: Vec<Observed>,
}
