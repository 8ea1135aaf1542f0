//! `dr-exporter` turns disaster-recovery promises into numbers that Prometheus can scrape.
//!
//! The map of the house. Data flows one way:
//!
//! `config → scheduler → check → observation → ledger → snapshot → metrics, page, JSON, text`
//!
//! - [`config`]: YAML becomes types, or all its errors at once.
//! - [`clients`]: connections that checks share.
//! - [`checks`]: one file per kind of check: its stanza, its I/O, its answer made an observation.
//! - [`domain`]: the rules; pure.
//! - [`engine`]: runs checks on time, keeps the ledger, publishes snapshots.

pub mod checks;
pub mod clients;
pub mod config;
pub mod domain;
pub mod engine;
