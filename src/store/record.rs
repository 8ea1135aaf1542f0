//! The record: everything that was declared, measured and decided, in the order in which it was
//! written.
//!
//! The record is append-only. Each entry carries the SHA-256 hash of its own content and of the
//! entry before it, so a changed, deleted or moved entry is found. The hash of the last entry is
//! the head: whoever has noted it elsewhere can prove that nothing up to there was changed since.

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::states::Planned;
use super::{Firing, Transition};
use crate::domain::contract::{Objective, Priority};
use crate::domain::drill::{DrillKind, DrillRun, Measured, Outcome};
use crate::domain::incident::Incident;
use crate::domain::outage::Mode;
use crate::domain::people::{Gap, Stamp};
use crate::domain::time::Timestamp;

/// One thing that is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Fact {
    /// The exporter started. It had not observed since `silent_since`: a gap.
    Started {
        /// The version of the program.
        version: String,
        /// When it was last known to observe. None at the first start.
        silent_since: Option<Timestamp>,
    },
    /// Another replica took the lead: it had observed all the time.
    TookOver {
        /// Its name.
        replica: String,
        /// The version of its program.
        version: String,
    },
    /// The exporter was stopped in order.
    Stopped,
    /// The exporter did not observe for a while, although it was not restarted: the machine slept,
    /// or the process was stopped.
    Silent {
        /// The last time before.
        from: Timestamp,
        /// The first time after.
        until: Timestamp,
    },
    /// From here on these promises hold.
    Promised {
        /// Every contract of the configuration.
        contracts: Vec<Promise>,
    },
    /// The status of an objective changed.
    Status(Transition),
    /// A recovery clock started.
    Outage {
        /// The contract.
        contract: String,
        /// The first failure that was seen.
        first_failure: Timestamp,
        /// The start of the clock.
        trigger: Timestamp,
        /// Real or drill.
        mode: Mode,
        /// The check that started it. Empty if a person declared it.
        check: String,
        /// The reason of the check's finding.
        reason: String,
        /// The data at risk at the trigger.
        data_at_risk_seconds: Option<f64>,
    },
    /// A declared outage ended in which no check saw a failure.
    Withdrawn {
        /// The contract.
        contract: String,
        /// The start of the clock.
        trigger: Timestamp,
    },
    /// A recovery was measured.
    Recovery(Measured),
    /// The worst exposure of a contract within a time.
    Exposure {
        /// The contract.
        contract: String,
        /// Since when.
        since: Timestamp,
        /// The most data that a disaster could have cost. None if nobody knows.
        most_seconds: Option<f64>,
        /// The least that one would have cost at the worst time.
        least_seconds: f64,
    },
    /// A trigger began to fire, or was clear again.
    Firing(Firing),
    /// A person declared an incident.
    Declared {
        /// The incident.
        incident: Incident,
    },
    /// Another person declared an incident that was open already.
    Joined {
        /// The incident.
        incident: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// Why.
        reason: String,
    },
    /// A step was stamped, or a stamp was corrected.
    Step {
        /// The incident.
        incident: String,
        /// The step.
        step: String,
        /// Whether it counts as taken now.
        done: bool,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A note on an incident or a drill.
    Note {
        /// The incident or drill.
        on: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The text.
        text: String,
    },
    /// A link to the change of the contract that followed an incident or a drill.
    Change {
        /// The incident or drill.
        on: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The link.
        link: String,
    },
    /// A gap was found, or closed.
    Gap {
        /// The incident or drill.
        on: String,
        /// The gap.
        gap: Gap,
    },
    /// An incident was closed.
    Closed {
        /// The incident.
        incident: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A drill was started.
    DrillStarted {
        /// The drill.
        run: DrillRun,
    },
    /// A person said that the recovery is complete.
    DrillRecovered {
        /// The drill.
        drill: String,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
    },
    /// A drill ended.
    DrillEnded {
        /// The drill.
        drill: String,
        /// How.
        outcome: Outcome,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// Why, or what was found.
        text: String,
    },
    /// The exporter verified a drill of the kind `check`.
    Verified {
        /// The name of the drill.
        drill: String,
        /// Its kind.
        kind: DrillKind,
        /// What was wrong. Empty if everything is well.
        findings: Vec<String>,
    },
    /// Somebody reacted to an alarm.
    Acknowledged {
        /// The contract.
        contract: String,
        /// The severity of the alarm.
        severity: Priority,
        /// How long it had waited.
        waited_seconds: f64,
        /// Who.
        #[serde(flatten)]
        stamp: Stamp,
        /// The incident or drill that counts as the reaction, or a text.
        by_what: String,
    },
    /// The state of an incident or a drill, as it is stored beside the record.
    State {
        /// What it is.
        of: Planned,
        /// Its id.
        id: String,
        /// The SHA-256 of the state.
        sha256: String,
    },
}

/// A promise of the configuration, as it is recorded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Promise {
    /// The contract.
    pub contract: String,
    /// The name that people use for the component.
    pub component: String,
    /// Who has to keep it.
    pub owner: String,
    /// How urgent it is.
    pub priority: Priority,
    /// The RTO in seconds.
    pub rto_seconds: Option<f64>,
    /// The RPO in seconds.
    pub rpo_seconds: Option<f64>,
}

impl Promise {
    /// The objectives that it has.
    pub fn objectives(&self) -> impl Iterator<Item = Objective> {
        let has = [(Objective::Rto, self.rto_seconds), (Objective::Rpo, self.rpo_seconds)];
        has.into_iter().filter(|(_, target)| target.is_some()).map(|(objective, _)| objective)
    }
}

/// A fact that is to be appended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// A key that no other entry has. An entry that is handed over twice is appended once.
    pub key: String,
    /// When it was recorded.
    pub at: Timestamp,
    /// The fact.
    pub fact: Fact,
}

/// An entry as it is stored. The hash covers every other field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// Its number, from 1, without gaps.
    pub seq: i64,
    /// The key.
    pub key: String,
    /// When it was recorded.
    pub at: String,
    /// The fact, as JSON.
    pub body: String,
    /// The hash of the entry before it.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}

/// The end of the record: the number and hash of the last entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Head {
    /// The number of entries.
    pub seq: i64,
    /// The hash.
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(64) }
    }
}

impl Head {
    /// The first 52 bits of the hash as a number, for a metric: a float holds no more.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "52 bits fit")]
    pub fn number(&self) -> f64 {
        let digits = self.hash.get(..13).and_then(|digits| u64::from_str_radix(digits, 16).ok());
        digits.unwrap_or_default() as f64
    }
}

impl Link {
    /// The entry that follows `head`.
    #[must_use]
    pub fn after(head: &Head, key: &str, at: String, body: String) -> Self {
        let (seq, previous) = (head.seq.saturating_add(1), head.hash.clone());
        let hash = hash(seq, key, &at, &body, &previous);
        Self { seq, key: key.to_owned(), at, body, previous, hash }
    }

    /// Whether its hash is that of its content.
    #[must_use]
    pub fn is_itself(&self) -> bool {
        self.hash == hash(self.seq, &self.key, &self.at, &self.body, &self.previous)
    }

    /// The head of a record that ends here.
    #[must_use]
    pub fn head(&self) -> Head {
        Head { seq: self.seq, hash: self.hash.clone() }
    }

    /// The fact. None if this version cannot read it.
    #[must_use]
    pub fn fact(&self) -> Option<Fact> {
        serde_json::from_str(&self.body).ok()
    }

    /// When it was recorded.
    #[must_use]
    pub fn instant(&self) -> Option<Timestamp> {
        self.at.parse::<jiff::Timestamp>().ok().map(Timestamp::from)
    }
}

/// The hash of an entry. Every part is preceded by its length, so that no two entries have the same
/// text.
fn hash(seq: i64, key: &str, at: &str, body: &str, previous: &str) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in ["dr-exporter record v1", seq.to_string().as_str(), key, at, body, previous] {
        context.update(part.len().to_string().as_bytes());
        context.update(b":");
        context.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(context.finish().as_ref())
}

/// Why a record is not what was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A number is missing, or stands in the wrong place.
    #[error("entry {0} is missing or stands in the wrong place")]
    Missing(i64),
    /// The content of an entry was changed.
    #[error("entry {0} was changed after it was written")]
    Changed(i64),
    /// An entry does not follow the one before it.
    #[error("entry {0} does not follow the entry before it: one of the two was replaced")]
    Unlinked(i64),
    /// The end is not the one that was noted.
    #[error(
        "the record ends with entry {found}, and should end with entry {expected}: entries at the end were removed or added"
    )]
    WrongEnd {
        /// The number of the last entry.
        found: i64,
        /// The number that was noted.
        expected: i64,
    },
    /// A state beside the record is not the one that was recorded.
    #[error("the {0} {1} was changed: its state is not the one that the record names")]
    OtherState(Planned, String),
    /// A state that was recorded is not there.
    #[error("the {0} {1} is missing: the record names its state")]
    NoState(Planned, String),
    /// A message of the shared log is gone.
    #[error("message {0} of the stream is missing: the entries that it held were removed")]
    Removed(u64),
    /// The noted hash is no hash of the record.
    #[error("no entry has the hash {0}: the record was replaced after that hash was noted")]
    Unpinned(String),
}

/// Follows a record from its first entry.
#[derive(Debug, Default)]
pub struct Verification {
    head: Head,
    pinned: Option<String>,
}

impl Verification {
    /// A verification that also looks for the hash `pinned`, which somebody noted earlier.
    #[must_use]
    pub fn with_pin(pinned: Option<&str>) -> Self {
        Self { head: Head::default(), pinned: pinned.map(str::to_ascii_lowercase) }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// It is not the entry that was written.
    pub fn take(&mut self, link: &Link) -> Result<(), Broken> {
        let expected = self.head.seq.saturating_add(1);
        if link.seq != expected {
            return Err(Broken::Missing(expected));
        }
        if !link.is_itself() {
            return Err(Broken::Changed(link.seq));
        }
        if link.previous != self.head.hash {
            return Err(Broken::Unlinked(link.seq));
        }
        self.head = link.head();
        let found = self.pinned.as_ref().is_some_and(|pinned| !pinned.is_empty() && link.hash.starts_with(pinned));
        self.pinned.take_if(|_| found);
        Ok(())
    }

    /// Ends it: the record must end with `head`.
    ///
    /// # Errors
    /// It does not, or the noted hash was not found.
    pub fn end(self, head: &Head) -> Result<Head, Broken> {
        if self.head != *head {
            return Err(Broken::WrongEnd { found: self.head.seq, expected: head.seq });
        }
        match self.pinned {
            Some(pinned) => Err(Broken::Unpinned(pinned)),
            None => Ok(self.head),
        }
    }
}

/// A query for entries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntryQuery {
    /// Only entries with a higher number.
    pub after: i64,
    /// At most this many.
    pub limit: u32,
}
