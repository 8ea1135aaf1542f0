//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

pub mod clock;
