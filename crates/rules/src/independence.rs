//! Degraded operation: a contract must stay healthy while another one is down.
//!
//! This can only be tested while the other one is down. Each such test is kept with its date.

use serde::{Deserialize, Serialize};

use super::check::CheckState;
use super::contract::Contract;
use super::time::Timestamp;

/// Whether a contract works while another one is down. None if the other one is not known to be
/// down, or if nothing is known about this one.
///
/// A contract that failed before the other one says nothing about independence. The start of the
/// other failure is only known to within its longest interval.
#[must_use]
pub fn works_without(contract: &Contract, without: &Contract, now: Timestamp) -> Option<bool> {
    if without.works(now)? {
        return None;
    }
    let works = contract.works(now)?;
    let (own, other) = (contract.clock().running(), without.clock().running());
    let feeding = without.checks().iter().map(CheckState::spec).filter(|check| check.feeds.rto);
    let unseen = feeding.map(|check| check.interval).max().unwrap_or_default();
    let failed_before = own.zip(other).is_some_and(|(own, other)| own.first_failure.plus(unseen) < other.first_failure);
    (works || !failed_before).then_some(works)
}

/// A test of independence: a time in which another contract was down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DegradedOperation {
    /// The contract that must stay healthy.
    pub contract: String,
    /// The contract that was down.
    pub without: String,
    /// When the first result was known.
    pub started: Timestamp,
    /// When the other contract was no longer known to be down. None while it still is.
    pub ended: Option<Timestamp>,
    /// Whether the contract worked for the whole time.
    pub ok: bool,
}

/// What is known about one contract's independence of another. All times are wall-clock times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Independence {
    /// The test that is still running.
    pub open: Option<DegradedOperation>,
    /// When the contract was last seen to work while the other one was down.
    pub last_ok: Option<Timestamp>,
    /// When the contract was last seen to fail while the other one was down.
    pub last_violated: Option<Timestamp>,
}

impl Independence {
    /// Takes in the result of [`works_without`], and whether the outage of the other contract
    /// continues. Returns the test if it changed.
    pub fn observe(
        &mut self,
        (contract, without): (&str, &str),
        works: Option<bool>,
        outage: bool,
        wall: Timestamp,
    ) -> Option<DegradedOperation> {
        match works {
            Some(true) => self.last_ok = Some(wall),
            Some(false) => self.last_violated = Some(wall),
            None => {}
        }
        if !outage {
            let over = self.open.take()?;
            return Some(DegradedOperation { ended: Some(wall), ..over });
        }
        let works = works?;
        match &mut self.open {
            Some(open) if open.ok && !works => open.ok = false,
            Some(_) => return None,
            None => {
                self.open = Some(DegradedOperation {
                    contract: contract.to_owned(),
                    without: without.to_owned(),
                    started: wall,
                    ended: None,
                    ok: works,
                });
            }
        }
        self.open.clone()
    }
}
