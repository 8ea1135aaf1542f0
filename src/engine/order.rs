//! Orders of people: what they declare, stamp, note and decide.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::drill::Announcement;
use crate::domain::people::Refusal;
use crate::domain::time::Timestamp;

/// What a note, a gap or a change belongs to: by its name or id. An incident and a drill may have
/// the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    /// An incident.
    Incident(String),
    /// A drill.
    Drill(String),
}

/// One order. `by` is the name or role that the person gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Declares an incident.
    Declare {
        /// Its name.
        incident: String,
        /// The role.
        by: String,
        /// Why.
        reason: String,
        /// When the disaster began. None: now.
        at: Option<Timestamp>,
    },
    /// Stamps a step, or takes a stamp back.
    Step {
        /// The name or id of the incident.
        incident: String,
        /// The step.
        step: String,
        /// Who.
        by: String,
        /// Whether an earlier stamp is taken back.
        undo: bool,
    },
    /// Closes an incident.
    Close {
        /// The name or id of the incident.
        incident: String,
        /// Who.
        by: String,
    },
    /// Starts a drill.
    StartDrill {
        /// Its name.
        drill: String,
        /// Who.
        by: String,
        /// What is going to happen.
        announcement: Announcement,
    },
    /// Stamps that the recovery of a drill is complete.
    Recovered {
        /// The name or id of the drill.
        drill: String,
        /// Who.
        by: String,
    },
    /// Finishes a drill.
    Finish {
        /// The name or id of the drill.
        drill: String,
        /// Who.
        by: String,
        /// What was found.
        text: String,
    },
    /// Gives a drill up.
    Abort {
        /// The name or id of the drill.
        drill: String,
        /// Who.
        by: String,
        /// Why.
        text: String,
    },
    /// Adds a note to an incident or drill.
    Note {
        /// The incident or drill.
        on: On,
        /// Who.
        by: String,
        /// The text.
        text: String,
    },
    /// Links the change of the contract that followed.
    Change {
        /// The incident or drill.
        on: On,
        /// Who.
        by: String,
        /// The link.
        link: String,
    },
    /// Writes down a gap.
    OpenGap {
        /// The incident or drill.
        on: On,
        /// Who.
        by: String,
        /// What is missing.
        text: String,
        /// Who does something about it.
        owner: String,
        /// Until when.
        due: jiff::civil::Date,
    },
    /// Closes a gap.
    CloseGap {
        /// The incident or drill.
        on: On,
        /// The number of the gap.
        number: u32,
        /// Who.
        by: String,
    },
    /// Reacts to the alarm of a contract.
    Acknowledge {
        /// The contract.
        contract: String,
        /// Who.
        by: String,
        /// What is being done.
        text: String,
    },
}

/// An order, and who gives it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// The order.
    pub order: Order,
    /// Who was logged in.
    pub user: String,
    /// The idempotency key: a request that is repeated with the same key is carried out once.
    pub key: Option<String>,
    /// How long before it arrived here the person gave it.
    #[serde(skip)]
    pub age: Duration,
    /// When the person gave it, as the replica knows that received it. None: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given: Option<Timestamp>,
}

/// What was done. It is on the disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Whether something new was made.
    pub created: bool,
    /// The state after it.
    pub state: Value,
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotDone {
    /// It is refused, and nothing has changed.
    Refused(Refusal),
    /// It could not be stored.
    NotStored(String),
}

/// The answer to an order.
pub type Answer = Result<Done, NotDone>;

impl From<Refusal> for NotDone {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Order {
    /// Who gives it, as the person said.
    #[must_use]
    pub fn by(&self) -> &str {
        match self {
            Self::Declare { by, .. }
            | Self::Step { by, .. }
            | Self::Close { by, .. }
            | Self::StartDrill { by, .. }
            | Self::Recovered { by, .. }
            | Self::Finish { by, .. }
            | Self::Abort { by, .. }
            | Self::Note { by, .. }
            | Self::Change { by, .. }
            | Self::OpenGap { by, .. }
            | Self::CloseGap { by, .. }
            | Self::Acknowledge { by, .. } => by,
        }
    }

    /// The word for it, for the log.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Declare { .. } => "declare an incident",
            Self::Step { .. } => "stamp a step",
            Self::Close { .. } => "close an incident",
            Self::StartDrill { .. } => "start a drill",
            Self::Recovered { .. } => "stamp a recovery",
            Self::Finish { .. } => "finish a drill",
            Self::Abort { .. } => "abort a drill",
            Self::Note { .. } => "add a note",
            Self::Change { .. } => "link a change",
            Self::OpenGap { .. } => "open a gap",
            Self::CloseGap { .. } => "close a gap",
            Self::Acknowledge { .. } => "acknowledge an alarm",
        }
    }
}
