//! What the account of a connection may store: the used part of `INFO`.

use bytes::Bytes;
use serde::Deserialize;
use tokio::time::Instant;

use super::info::set;
use super::{ApiFailure, Stream, StreamError};

/// How much the account stores, and how much it may store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Account {
    memory: u64,
    storage: u64,
    limits: Limits,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Limits {
    max_memory: i64,
    max_storage: i64,
}

impl Account {
    /// The bytes that the account holds in memory or on disk, and the most that it may hold there.
    /// None if there is no limit, or if the limits depend on the number of replicas (tiers).
    #[must_use]
    pub fn used(&self, in_memory: bool) -> Option<(u64, u64)> {
        let (held, most) =
            if in_memory { (self.memory, self.limits.max_memory) } else { (self.storage, self.limits.max_storage) };
        set(most).map(|most| (held, most))
    }
}

impl Stream {
    /// The account of this stream.
    ///
    /// # Errors
    /// Why it is not known. The right to ask is a right of its own.
    pub async fn account(&self, deadline: Instant) -> Result<Account, StreamError> {
        let answer = self.ask_at::<Account>(format!("{}.INFO", self.api), Bytes::new(), deadline).await;
        answer.map_err(|failure: ApiFailure| self.failed(failure))
    }
}
