//! The messages of the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::store::Batch;

/// One message: what, by which process, under which number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// The version of the format.
    pub(super) v: u32,
    /// A word that no other run of the program has.
    pub(super) by: String,
    /// A number that no other message of this run has.
    pub(super) id: u64,
    #[serde(flatten)]
    pub(super) what: What,
}

/// The version of the format that this program writes, and the newest one that it reads.
pub(super) const VERSION: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum What {
    /// Changes. Its subject tells whether a later snapshot replaces them.
    Batch(Box<Batch>),
    /// The whole state at this point of the log, or a part of it.
    Snapshot {
        /// The state.
        batch: Box<Batch>,
        /// Whether this is the last part.
        last: bool,
    },
    /// Records older than the retention are deleted, here and in every copy.
    Forget { retention: Duration, ran: Duration, now: Timestamp },
    /// A replica takes the lead, renews it, or gives it back.
    Lead { replica: String, term: u64, released: bool },
    /// An order of a person, for the leader.
    Order { number: String, order: Value },
}

/// The subjects of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subjects(String);

impl Subjects {
    /// Those of this stream.
    pub(super) fn of(stream: &str) -> Self {
        Self(stream.to_owned())
    }

    /// All of them.
    pub(super) fn all(&self) -> String {
        format!("{}.>", self.0)
    }

    /// State, which a later snapshot replaces.
    pub(super) fn state(&self) -> String {
        format!("{}.state", self.0)
    }

    /// History, which stays.
    pub(super) fn history(&self) -> String {
        format!("{}.log", self.0)
    }

    /// Orders of people.
    pub(super) fn orders(&self) -> String {
        format!("{}.order", self.0)
    }

    /// The subject of a message.
    pub(super) fn for_message(&self, what: &What) -> String {
        match what {
            What::Batch(batch) if batch.holds_history() => self.history(),
            What::Batch(_) | What::Snapshot { .. } => self.state(),
            What::Forget { .. } => self.history(),
            What::Lead { .. } => format!("{}.leader", self.0),
            What::Order { .. } => self.orders(),
        }
    }
}
