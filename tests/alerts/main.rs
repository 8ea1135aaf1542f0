//! From a fault to the page: the real exporter, Prometheus with our rules, Alertmanager with our routes, and a receiver.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

#[path = "../dns/server.rs"]
#[allow(dead_code)]
mod dns;
#[path = "../support/mod.rs"]
mod support;

mod everything;
mod mirror;
mod monitoring;
mod outage;
mod silence;
mod triggers;
mod world;

use std::time::Duration;

/// More than anything takes that nothing is measured of.
const SOON: Duration = Duration::from_secs(30);
