//! The rules: what a proof is, when a clock runs, which status follows.
//!
//! Pure code. Nothing in here reads a clock, a file or a socket: `now` is always an argument, so every rule can be
//! tested by a table, and what is shown at a scrape is computed at that scrape.

pub mod contract;
pub mod independence;
pub mod interval;
pub mod observation;
pub mod recovery_clock;
pub mod recovery_point;
pub mod remembered;
pub mod status;
pub mod time;
pub mod trigger;
