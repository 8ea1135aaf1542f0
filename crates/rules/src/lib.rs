//! The rules: what counts as a proof, when a clock runs, and which status follows.
//!
//! This crate is pure: it reads no clock, no file and no socket. `now` is always an argument. So
//! every rule can be tested with a table, and a scrape shows figures of its own instant.

pub mod check;
pub mod contract;
pub mod drill;
pub mod incident;
pub mod independence;
pub mod interval;
pub mod kind;
pub mod observation;
pub mod outage;
pub mod people;
pub mod recovery_clock;
pub mod recovery_point;
pub mod remembered;
pub mod replica;
pub mod response;
pub mod schedule;
pub mod shard;
pub mod status;
pub mod time;
pub mod timeline;
pub mod trigger;
mod watch;
