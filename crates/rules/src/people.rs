//! What people write down: who did what when, notes, gaps that an event showed, and why something
//! is refused.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::time::Timestamp;

/// Who did something, and when. Times of people are wall-clock times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The name or role that the person gave.
    pub by: String,
    /// Who was logged in. Empty for the exporter itself.
    #[serde(default)]
    pub user: String,
}

impl Stamp {
    /// Something that the exporter itself did.
    #[must_use]
    pub fn of_exporter(at: Timestamp) -> Self {
        Self { at, by: "dr-exporter".to_owned(), user: String::new() }
    }
}

/// A note on an incident or a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Note {
    /// Who wrote it, and when.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The text.
    pub text: String,
}

/// A gap that an incident or a drill showed, and its remediation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Its number within the incident or drill, from 1.
    pub number: u32,
    /// What is missing, and what has to be done.
    pub text: String,
    /// Who does it.
    pub owner: String,
    /// The day until which it is done.
    pub due: jiff::civil::Date,
    /// Who wrote it down, and when.
    pub opened: Stamp,
    /// Who closed it, and when. It stays open until then.
    pub closed: Option<Stamp>,
}

impl Gap {
    /// Whether the gap is still open although its day is over.
    #[must_use]
    pub fn is_overdue(&self, now: Timestamp) -> bool {
        let today = jiff::Timestamp::from(now).to_zoned(jiff::tz::TimeZone::UTC).date();
        self.closed.is_none() && today > self.due
    }
}

/// What belongs to incidents and drills alike: notes, gaps, and the change of the contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Review {
    /// Notes, the oldest first.
    pub notes: Vec<Note>,
    /// Gaps, the oldest first.
    pub gaps: Vec<Gap>,
    /// A link to the change of the contract that followed.
    pub change: Option<String>,
}

impl Review {
    /// Adds a note.
    pub fn note(&mut self, stamp: Stamp, text: String) {
        self.notes.push(Note { stamp, text });
    }

    /// Adds a gap. Returns its number.
    pub fn open(&mut self, stamp: Stamp, text: String, owner: String, due: jiff::civil::Date) -> u32 {
        let number = u32::try_from(self.gaps.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.gaps.push(Gap { number, text, owner, due, opened: stamp, closed: None });
        number
    }

    /// Closes a gap.
    ///
    /// # Errors
    /// There is no such gap, or it is closed already.
    pub fn close(&mut self, number: u32, stamp: Stamp) -> Result<(), Refusal> {
        let gap = self.gaps.iter_mut().find(|gap| gap.number == number);
        let gap = gap.ok_or_else(|| Refusal::Unknown(format!("there is no gap number {number}")))?;
        if gap.closed.is_some() {
            return Err(Refusal::Conflict(format!("gap number {number} is closed already")));
        }
        gap.closed = Some(stamp);
        Ok(())
    }
}

/// Why something that a person asked for is not done. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It does not exist.
    Unknown(String),
    /// The person may not do this.
    Forbidden(String),
    /// It does not fit the current state.
    Conflict(String),
    /// It makes no sense.
    Invalid(String),
}

impl Refusal {
    /// The reason, for people.
    #[must_use]
    pub fn text(&self) -> &str {
        let (Self::Unknown(text) | Self::Forbidden(text) | Self::Conflict(text) | Self::Invalid(text)) = self;
        text
    }
}
