//! The messages of the log.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::time::Timestamp;
use crate::store::Batch;

/// The largest message. A server accepts 1 MiB unless it is told otherwise.
const LARGEST: usize = 512 * 1024;

/// A batch in parts that a server accepts. Written in this order, they are the same as the whole.
pub(super) fn in_parts(batch: Batch) -> Vec<Batch> {
    let (mut parts, mut small) = (vec![batch], Vec::new());
    while let Some(part) = parts.pop() {
        let size = serde_json::to_vec(&part).map_or(0, |text| text.len());
        match (size > LARGEST).then(|| part.clone().halves()).flatten() {
            // The entries of the first come first.
            Some((first, second)) => parts.extend([second, first]),
            None => small.push(part),
        }
    }
    small
}

/// One message: what, by which process, under which number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    /// The version of the format.
    pub(super) v: u32,
    /// A word that no other run of the program has.
    pub(super) by: String,
    /// A number that no other message of this run has.
    pub(super) id: u64,
    /// The last message of history that stands before this one: 0 if there is none. So a message that
    /// somebody deleted is missed. An order may stand anywhere, and does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<u64>,
    /// The last message with state that its writer knows. So a replica that stood still while the stream was
    /// restored finds out that others wrote where it believes to have read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<Place>,
    #[serde(flatten)]
    pub(super) what: What,
}

/// A message, by its sequence and the time at which the server stored it: a sequence may come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Place(pub(super) u64, pub(super) jiff::Timestamp);

/// A payload, as it was understood.
pub(super) enum Read {
    /// A message of a replica.
    Message(Box<Message>),
    /// A later version wrote it.
    Later,
    /// No replica wrote it, or it was changed since. Why.
    Foreign(String),
}

impl Read {
    pub(super) fn of(payload: &[u8]) -> Self {
        let error = match serde_json::from_slice::<Message>(payload) {
            Ok(message) if message.v <= VERSION => return Self::Message(Box::new(message)),
            Ok(_) => return Self::Later,
            Err(error) => error,
        };
        let value: Value = serde_json::from_slice(payload).unwrap_or_default();
        let is_later = value.get("v").and_then(Value::as_u64).is_some_and(|version| version > u64::from(VERSION));
        let is_ours = value.get("by").is_some_and(Value::is_string) && value.get("id").is_some_and(Value::is_u64);
        if is_later && is_ours { Self::Later } else { Self::Foreign(error.to_string()) }
    }
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
    /// A part of what a replica wrote again after the stream was lost.
    Again {
        /// The part.
        batch: Box<Batch>,
        /// How many parts follow.
        left: usize,
    },
    /// Records older than the retention are deleted, here and in every copy.
    Forget { retention: Duration, ran: Duration, now: Timestamp },
    /// A replica takes the lead, renews it, or gives it back.
    Lead {
        /// Its name.
        replica: String,
        /// The number of the term.
        term: u64,
        /// Whether it gives the lead back.
        released: bool,
        /// Why it cannot write anything else.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failing: Option<String>,
    },
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
            What::Forget { .. } | What::Again { .. } => self.history(),
            What::Lead { .. } => format!("{}.leader", self.0),
            What::Order { .. } => self.orders(),
        }
    }
}
