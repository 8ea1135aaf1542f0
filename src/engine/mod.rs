//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::checks::Check;
use crate::domain::contract::{CheckSpec, ContractSpec};
use clock::Clock;
use ledger::{Ledger, Lineup, Message};
use memory::Recalled;
use scheduler::{CheckId, Schedule};
use snapshot::{Configuration, Snapshot};

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
    tasks: JoinSet<()>,
    messages: mpsc::Sender<Message>,
    stop: watch::Sender<bool>,
    clock: Clock,
    /// The schedules that run, by contract and check.
    active: BTreeMap<(String, String), Active>,
    next: u64,
}

/// A check whose schedule runs.
struct Active {
    id: CheckId,
    check: Arc<dyn Check>,
    spec: CheckSpec,
    fingerprint: String,
    pace: watch::Sender<Duration>,
    task: AbortHandle,
}

/// Starts the engine, which goes on from what is recalled.
#[must_use]
pub fn start(plans: Vec<Plan>, clock: Clock, first: FirstRun, recalled: Recalled) -> Running {
    let (messages, incoming) = mpsc::channel(REPORT_QUEUE);
    let (stop, stopped) = watch::channel(false);
    let (active, next) = (BTreeMap::new(), 0);
    let (lineup, schedules) = line_up(plans, &active, next);
    let next = next + schedules.len() as u64;
    let (ledger, snapshots) = Ledger::new(lineup, clock, recalled);
    let mut tasks = JoinSet::new();
    tasks.spawn(ledger.run(incoming, stopped));
    let mut running = Running { snapshots, tasks, messages, stop, clock, active, next };
    running.schedule(schedules, first);
    running
}

/// A check that is to be scheduled.
struct Scheduled {
    key: (String, String),
    id: CheckId,
    check: Arc<dyn Check>,
    spec: CheckSpec,
    fingerprint: String,
    pace: watch::Sender<Duration>,
    interval: watch::Receiver<Duration>,
}

/// What the ledger is told of the plans, and the checks that are to be scheduled for them: those whose schedule runs already
/// as it should are left alone.
fn line_up(plans: Vec<Plan>, active: &BTreeMap<(String, String), Active>, next: u64) -> (Lineup, Vec<Scheduled>) {
    let (mut lineup, mut scheduled) = (Lineup::default(), Vec::new());
    for plan in plans {
        let (mut ids, mut paces) = (Vec::new(), Vec::new());
        let checks = plan.checks.into_iter().zip(&plan.spec.checks).zip(&plan.fingerprints);
        for ((check, spec), fingerprint) in checks {
            let key = (plan.spec.name.clone(), spec.name.clone());
            let known = active.get(&key).filter(|known| known.fingerprint == *fingerprint);
            if let Some(known) = known.filter(|known| known.spec == *spec) {
                ids.push(known.id);
                paces.push(known.pace.clone());
                continue;
            }
            // One that only runs at another pace keeps what it remembers.
            let check = known.map_or(check, |known| Arc::clone(&known.check));
            let (pace, interval) = watch::channel(spec.interval);
            let id = CheckId(next + scheduled.len() as u64);
            ids.push(id);
            paces.push(pace.clone());
            let (spec, fingerprint) = (spec.clone(), fingerprint.clone());
            scheduled.push(Scheduled { key, id, check, spec, fingerprint, pace, interval });
        }
        lineup.specs.push(plan.spec);
        lineup.fingerprints.push(plan.fingerprints);
        lineup.ids.push(ids);
        lineup.paces.push(paces);
    }
    (lineup, scheduled)
}

impl Running {
    fn schedule(&mut self, scheduled: Vec<Scheduled>, first: FirstRun) {
        for Scheduled { key, id, check, spec, fingerprint, pace, interval } in scheduled {
            let (timeout, clock, reports) = (spec.timeout, self.clock, self.messages.clone());
            let schedule = Schedule { id, check: Arc::clone(&check), timeout, interval, clock, reports };
            let task = self.tasks.spawn(schedule.run(first));
            if let Some(before) = self.active.insert(key, Active { id, check, spec, fingerprint, pace, task }) {
                before.task.abort();
            }
        }
    }

    /// Goes over to other plans in one step: contracts and checks are matched by name, what is known of them stays, and
    /// checks that are planned as they were run on without a hiccup.
    pub async fn swap(&mut self, plans: Vec<Plan>) {
        let names = |plan: &Plan| {
            let contract = plan.spec.name.clone();
            plan.spec.checks.iter().map(|check| (contract.clone(), check.name.clone())).collect::<Vec<_>>()
        };
        let planned: std::collections::BTreeSet<_> = plans.iter().flat_map(names).collect();
        let (lineup, scheduled) = line_up(plans, &self.active, self.next);
        self.next += scheduled.len() as u64;
        let (done, swapped) = oneshot::channel();
        // The ledger knows the new schedules before they report.
        if self.messages.send(Message::Swap(lineup, done)).await.is_ok() {
            let _ = swapped.await;
        }
        self.schedule(scheduled, FirstRun::Spread);
        self.active.retain(|key, active| {
            let stays = planned.contains(key);
            if !stays {
                active.task.abort();
            }
            stays
        });
    }

    /// Shows how reading the configuration went.
    pub async fn show(&self, configuration: Configuration) {
        // A ledger that is gone shows nothing any more.
        let _ = self.messages.send(Message::Configuration(configuration)).await;
    }

    /// Waits until a task ends that never should, and says how.
    pub async fn ended(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                // A schedule that was taken out.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return error.to_string(),
                Some(Ok(())) => return "without an error".to_owned(),
                None => return "there are none left".to_owned(),
            }
        }
    }

    /// Ends the engine in order: the ledger hands all that it knows to the storage first.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // The ledger's task is the one that ends by itself.
        let _ = self.ended().await;
    }
}
