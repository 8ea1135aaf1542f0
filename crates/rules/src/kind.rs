//! The properties of a kind of check that the rules need.

use super::check::Feeds;
use super::observation::{ReadingKind, Reason};

/// The fixed properties of a kind of check.
#[derive(Debug)]
pub struct KindInfo {
    /// The key of its stanza, and the value of the `kind` label.
    pub name: &'static str,
    /// The objectives that it can feed.
    pub can_feed: Feeds,
    /// The closed list of its reasons.
    pub reasons: &'static [&'static Reason],
    /// The closed list of its warnings.
    pub warnings: &'static [&'static Reason],
    /// The gauges it adds to `/metrics`.
    pub readings: &'static [&'static ReadingKind],
}

/// The name of a kind is unique.
impl PartialEq for KindInfo {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for KindInfo {}
