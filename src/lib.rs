//! `dr-exporter` turns disaster-recovery promises into numbers that Prometheus can scrape.
//!
//! The map of the house. Data flows one way:
//!
//! `config → scheduler → check → observation → ledger → snapshot → metrics, page, JSON, text`
//!
//! - [`cli`]: one file per subcommand.
//! - [`app`]: wires the house together, watches over it, shuts it down.
//! - [`config`]: YAML becomes types, or all its errors at once.
//! - [`domain`]: the rules; pure.
//! - [`checks`]: one file per kind of check: its stanza, its I/O, its answer made an observation.
//! - [`clients`]: connections that checks share.
//! - [`clock`]: the one place where time is read.
//! - [`engine`]: runs checks on time, keeps the ledger, publishes snapshots.
//! - [`export`]: pure views of a snapshot: metrics, JSON, text, Markdown.
//! - [`store`]: what outlives the process.
//! - [`web`]: routes and the status page.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may look at the clock"))]

pub mod app;
pub mod checks;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod export;
pub mod store;
pub mod web;
