//! The chain of hashes through the record: each entry names the one before it.

use ring::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Fact;
use crate::domain::time::Timestamp;
use crate::store::states::Planned;

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
