//! `dr-exporter` turns disaster-recovery promises into numbers that Prometheus can scrape.
//!
//! Where things are. Data flows one way:
//!
//! `config → scheduler → check → observation → ledger → snapshot → metrics, page, JSON, text`
//!
//! - [`cli`]: one file per subcommand.
//! - [`app`]: connects the parts, watches them, shuts them down.
//! - [`decode`]: the language of the configuration: turns YAML into types, or reports all its
//!   errors at once.
//! - [`config`]: the document: its sections, defaults, references, and the rules between them.
//! - [`domain`]: the rules. They are a crate of their own, so that the compiler keeps them pure.
//! - [`checks`]: one file per kind of check: its stanza, its I/O, and how its answer becomes an
//!   observation.
//! - [`clients`]: connections that checks share.
//! - [`clock`]: the only module that reads the time.
//! - [`engine`]: runs checks on time, keeps the ledger, publishes snapshots.
//! - [`export`]: pure views of a snapshot: metrics, JSON, text, Markdown.
//! - [`store`]: the state that survives a restart.
//! - [`web`]: routes and the status page.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "a test may look at the clock"))]

pub mod app;
pub mod checks;
pub mod cli;
pub mod clients;
pub mod clock;
pub mod config;
pub mod decode;
pub use dr_rules as domain;
pub mod engine;
pub mod export;
#[cfg(test)]
mod fuzzing;
pub mod store;
pub mod web;
