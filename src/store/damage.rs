//! What of a store was damaged or lost.

use std::fmt;

/// What of a store was damaged or lost, since a person last cleared it away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Damage {
    /// How many rows were damaged, or sets of rows lost.
    pub count: u64,
    /// Some of them, the newest first: what is concerned, and what is wrong with it.
    pub examples: Vec<String>,
}

impl Damage {
    /// At most this many examples are given.
    pub const EXAMPLES: usize = 10;

    /// Whether nothing was damaged.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Damage {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let more = self.count.saturating_sub(u64::try_from(self.examples.len()).unwrap_or(u64::MAX));
        f.write_str(&self.examples.join("; "))?;
        if more > 0 { write!(f, "; and {more} more") } else { Ok(()) }
    }
}
