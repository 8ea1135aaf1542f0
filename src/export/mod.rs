//! Pure views of a snapshot at one moment: metrics, JSON, text, Markdown.
//!
//! Whatever depends on time is computed here, when somebody looks: an age keeps growing though nobody polls.

mod because;
pub mod metrics;
pub mod nagios;
pub mod report;
pub mod text;

use crate::clock::Moment;
use crate::engine::snapshot::Snapshot;

/// What there is to see, and when it is looked at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Everything that is known.
    pub snapshot: &'a Snapshot,
    /// The moment that everything is computed for.
    pub moment: Moment,
}
