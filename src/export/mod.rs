//! Pure views of a snapshot at one moment: metrics, JSON, text, Markdown.
//!
//! Whatever depends on time is computed here, for the moment of the request. So an age keeps
//! growing even if nobody polls.

mod because;
pub mod document;
pub mod event;
mod evidence;
pub mod failover;
pub mod gathered;
pub mod history;
pub mod metrics;
pub mod nagios;
pub mod people;
pub mod period;
pub mod recorded;
pub mod report;
pub mod server;
pub mod shards;
pub mod suite;
pub mod text;

use crate::clock::Moment;
use crate::engine::snapshot::Snapshot;

/// A snapshot, and the moment for which it is shown.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// Everything that the exporter knows.
    pub snapshot: &'a Snapshot,
    /// The moment for which everything is computed.
    pub moment: Moment,
}
