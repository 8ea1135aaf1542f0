//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::checks::Check;
use crate::domain::contract::ContractSpec;
use clock::Clock;
use ledger::Ledger;
use memory::Recalled;
use scheduler::Schedule;
use snapshot::Snapshot;

pub mod clock;
pub mod ledger;
pub mod memory;
pub mod scheduler;
pub mod snapshot;

/// A contract with the checks that measure it, in the order of its specification.
pub struct Plan {
    /// The promise.
    pub spec: Arc<ContractSpec>,
    /// What measures it.
    pub checks: Vec<Arc<dyn Check>>,
    /// What each of them measures, in a word that changes when that does.
    pub fingerprints: Vec<String>,
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

/// A running engine. Dropping it ends it at once.
pub struct Running {
    /// What is known, always the newest.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// The tasks. They run until they are aborted or the engine is stopped; one that ends before is a fault.
    pub tasks: JoinSet<()>,
    stop: watch::Sender<bool>,
}

impl Running {
    /// Ends the engine in order: the ledger hands all that it knows to the storage first.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // The ledger's task is the one that ends by itself.
        let _ = self.tasks.join_next().await;
    }
}

/// Starts the engine, which goes on from what is recalled.
#[must_use]
pub fn start(plans: Vec<Plan>, clock: Clock, first: FirstRun, recalled: Recalled) -> Running {
    let (reports, incoming) = mpsc::channel(REPORT_QUEUE);
    let mut tasks = JoinSet::new();
    let mut paces = Vec::with_capacity(plans.len());
    let mut specs = Vec::with_capacity(plans.len());
    let mut fingerprints = Vec::with_capacity(plans.len());
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
        fingerprints.push(plan.fingerprints);
    }
    let (ledger, snapshots) = Ledger::new(&specs, fingerprints, paces, clock, recalled);
    let (stop, stopped) = watch::channel(false);
    // The ledger holds a sender too: a configuration without checks is no reason for it to end.
    tasks.spawn(async move {
        let _open = reports;
        ledger.run(incoming, stopped).await;
    });
    Running { snapshots, tasks, stop }
}
