//! Checks and the whole exporter, against real servers on this machine.
//!
//! `cargo test --test real dns::` runs the tests of one folder.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod browser;
mod dns;
mod drills;
mod grafana;
mod held_up;
mod hostile;
mod http_check;
mod promql;
mod replicas;
mod serve;
mod single;
mod soak;
mod storage;
mod triggers;
mod web;
