//! From a fault to the page: the real exporter, Prometheus with our rules, Alertmanager with our routes, and a receiver.
//!
//! A program of its own: times are divided by 60 here, and six monitorings at once are load enough.
#![allow(clippy::disallowed_methods, clippy::pedantic)]

mod everything;
mod mirror;
mod monitoring;
mod outage;
mod replicas;
mod silence;
mod triggers;
mod world;

use std::time::Duration;

/// More than anything takes that nothing is measured of.
const SOON: Duration = dr_testkit::PATIENCE;
