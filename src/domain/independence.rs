//! Degraded operation: a contract that must stay healthy while another is down.
//!
//! Whether it does can only be told while the other is down: that is a test for real, and each is remembered with its date.

use serde::{Deserialize, Serialize};

use super::contract::Contract;
use super::time::Timestamp;

/// Whether a contract works while another is down; none while the other is not known to be down, or nothing is known of the
/// one.
///
/// One that failed before the other did says nothing about the other. When the other began to fail is known no finer than
/// its longest interval.
#[must_use]
pub fn works_without(contract: &Contract, without: &Contract, now: Timestamp) -> Option<bool> {
    if without.works(now)? {
        return None;
    }
    let works = contract.works(now)?;
    let (own, other) = (contract.clock().running(), without.clock().running());
    let feeding = without.spec().checks.iter().filter(|check| check.feeds.rto);
    let unseen = feeding.map(|check| check.interval).max().unwrap_or_default();
    let failed_before = own.zip(other).is_some_and(|(own, other)| own.first_failure.plus(unseen) < other.first_failure);
    (works || !failed_before).then_some(works)
}

/// A time during which a contract was held to work without another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DegradedOperation {
    /// The contract that must stay healthy.
    pub contract: String,
    /// The one that was down.
    pub without: String,
    /// When the first answer was known.
    pub started: Timestamp,
    /// When the other was no longer known to be down; none while it is.
    pub ended: Option<Timestamp>,
    /// Whether the contract worked all the time.
    pub ok: bool,
}

/// What is remembered of one contract's independence of another. All times are wall time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Independence {
    /// The test that goes on.
    pub open: Option<DegradedOperation>,
    /// When it was last seen to work without the other.
    pub last_ok: Option<Timestamp>,
    /// When it was last seen not to.
    pub last_violated: Option<Timestamp>,
}

impl Independence {
    /// Takes in what [`works_without`] says, and whether the other's outage goes on. Gives the test if it changed.
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
