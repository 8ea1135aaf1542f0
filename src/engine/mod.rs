//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::checks::Check;
use crate::domain::contract::ContractSpec;
use clock::Clock;
use ledger::Ledger;
use scheduler::Schedule;
use snapshot::Snapshot;

pub mod clock;
pub mod ledger;
pub mod scheduler;
pub mod snapshot;

/// A contract with the checks that measure it, in the order of its specification.
pub struct Plan {
    /// The promise.
    pub spec: Arc<ContractSpec>,
    /// What measures it.
    pub checks: Vec<Arc<dyn Check>>,
}

/// When the first run of a check happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRun {
    /// At once: for a program that runs every check once.
    Immediate,
    /// Spread over the first second, so that a daemon with a thousand checks does not start with a burst.
    Spread,
}

/// How many reports may wait for the ledger. A check that finds the queue full waits, and so runs less often.
const REPORT_QUEUE: usize = 1024;

/// Starts the engine. The tasks run until they are aborted; one that ends by itself is a fault.
#[must_use]
pub fn start(plans: Vec<Plan>, clock: Clock, first: FirstRun) -> (watch::Receiver<Arc<Snapshot>>, JoinSet<()>) {
    let (reports, incoming) = mpsc::channel(REPORT_QUEUE);
    let mut tasks = JoinSet::new();
    let mut paces = Vec::with_capacity(plans.len());
    let mut specs = Vec::with_capacity(plans.len());
    for (contract, plan) in plans.into_iter().enumerate() {
        let mut pace_of_checks = Vec::with_capacity(plan.checks.len());
        for (index, (check, spec)) in plan.checks.into_iter().zip(&plan.spec.checks).enumerate() {
            let (pace, interval) = watch::channel(spec.interval);
            pace_of_checks.push(pace);
            let id = scheduler::CheckId { contract, check: index };
            let schedule = Schedule { id, check, timeout: spec.timeout, interval, clock, reports: reports.clone() };
            tasks.spawn(schedule.run(first));
        }
        paces.push(pace_of_checks);
        specs.push(plan.spec);
    }
    let (ledger, snapshots) = Ledger::new(&specs, paces, clock);
    // The ledger holds a sender too: a configuration without checks is no reason for it to end.
    tasks.spawn(async move {
        let _open = reports;
        ledger.run(incoming).await;
    });
    (snapshots, tasks)
}
