//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::checks::Check;
use crate::clock::Clock;
use crate::domain::contract::{CheckSpec, ContractSpec};
use crate::domain::trigger::{TriggerSpec, Watched};
use ledger::{Ledger, Lineup, Message, TriggerLine};
use memory::Recalled;
use scheduler::{CheckId, Schedule};
use snapshot::{Configuration, Snapshot};

pub mod ledger;
pub mod memory;
pub mod panics;
pub mod scheduler;
pub mod snapshot;

/// Everything that is to be measured.
#[derive(Default)]
pub struct Plans {
    /// The promises.
    pub contracts: Vec<Plan>,
    /// The conditions that call for a decision.
    pub triggers: Vec<TriggerPlan>,
}

/// A trigger, with what measures its condition.
pub struct TriggerPlan {
    /// The condition.
    pub spec: Arc<TriggerSpec>,
    /// Its own check, where it watches no contract's.
    pub check: Option<Arc<dyn Check>>,
    /// What is measured, in a word that changes when that does.
    pub fingerprint: String,
    /// All that its own check is made of.
    pub stanza: String,
}

/// A contract with the checks that measure it, in the order of its specification.
pub struct Plan {
    /// The promise.
    pub spec: Arc<ContractSpec>,
    /// What measures it.
    pub checks: Vec<Arc<dyn Check>>,
    /// What each of them measures, in a word that changes when that does.
    pub fingerprints: Vec<String>,
    /// All that each of them is made of: the same word for what it measures, and how it judges that.
    pub stanzas: Vec<String>,
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
    /// The schedules that run.
    active: BTreeMap<Key, Active>,
    next: u64,
}

/// Whose check it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A contract's, by their names.
    Contract(String, String),
    /// A trigger's own.
    Trigger(String),
}

/// What a check measures, and all that it is made of.
#[derive(Clone, PartialEq)]
struct Made {
    fingerprint: String,
    stanza: String,
}

/// A check whose schedule runs.
struct Active {
    id: CheckId,
    check: Arc<dyn Check>,
    spec: CheckSpec,
    made: Made,
    pace: watch::Sender<Duration>,
    task: AbortHandle,
}

/// What a check remembers that was taken out.
#[derive(Debug)]
pub struct TakenOut {
    /// The contract.
    pub contract: String,
    /// The check's name.
    pub check: String,
    /// What it measured.
    pub fingerprint: String,
    /// Its memory, by the wall clock.
    pub memory: Value,
}

/// Starts the engine, which goes on from what is recalled.
#[must_use]
pub fn start(plans: Plans, clock: Clock, first: FirstRun, recalled: Recalled) -> Running {
    let (messages, incoming) = mpsc::channel(REPORT_QUEUE);
    let (stop, stopped) = watch::channel(false);
    let (active, next) = (BTreeMap::new(), 0);
    let (lineup, schedules) = line_up(plans, &active, next, clock);
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
    key: Key,
    id: CheckId,
    check: Arc<dyn Check>,
    spec: CheckSpec,
    made: Made,
    pace: watch::Sender<Duration>,
    interval: watch::Receiver<Duration>,
}

/// Puts checks on schedules: those whose schedule runs already as it should are left alone.
struct LineUp<'a> {
    active: &'a BTreeMap<Key, Active>,
    next: u64,
    clock: Clock,
    scheduled: Vec<Scheduled>,
}

impl LineUp<'_> {
    fn place(
        &mut self,
        key: Key,
        check: Arc<dyn Check>,
        spec: &CheckSpec,
        made: Made,
    ) -> (CheckId, watch::Sender<Duration>) {
        let known = self.active.get(&key).filter(|known| known.made.fingerprint == made.fingerprint);
        if let Some(known) = known.filter(|known| known.made == made && known.spec == *spec) {
            return (known.id, known.pace.clone());
        }
        let check = match known {
            // One that only runs at another pace keeps what it remembers.
            Some(known) if known.made == made => Arc::clone(&known.check),
            // One that measures the same, and judges it in another way, knows what the other knew.
            Some(known) => {
                let memory = panics::contained(|| known.check.memory(self.clock.moment())).ok().flatten();
                panics::build(|| Arc::clone(&check), memory.as_ref(), self.clock)
            }
            None => check,
        };
        let (pace, interval) = watch::channel(spec.interval);
        let id = CheckId(self.next + self.scheduled.len() as u64);
        self.scheduled.push(Scheduled { key, id, check, spec: spec.clone(), made, pace: pace.clone(), interval });
        (id, pace)
    }
}

/// What the ledger is told of the plans, and the checks that are to be scheduled for them.
fn line_up(plans: Plans, active: &BTreeMap<Key, Active>, next: u64, clock: Clock) -> (Lineup, Vec<Scheduled>) {
    let mut lineup = Lineup::default();
    let mut schedules = LineUp { active, next, clock, scheduled: Vec::new() };
    for plan in plans.contracts {
        let made = plan.fingerprints.iter().zip(plan.stanzas);
        let made = made.map(|(fingerprint, stanza)| Made { fingerprint: fingerprint.clone(), stanza });
        let checks = plan.checks.into_iter().zip(&plan.spec.checks).zip(made);
        let placed = checks.map(|((check, spec), made)| {
            schedules.place(Key::Contract(plan.spec.name.clone(), spec.name.clone()), check, spec, made)
        });
        let (ids, paces) = placed.unzip();
        lineup.specs.push(plan.spec);
        lineup.fingerprints.push(plan.fingerprints);
        lineup.ids.push(ids);
        lineup.paces.push(paces);
    }
    for TriggerPlan { spec, check, fingerprint, stanza } in plans.triggers {
        let own = match (&spec.watched, check) {
            (Watched::Own(own), Some(check)) => {
                let made = Made { fingerprint: fingerprint.clone(), stanza };
                Some(schedules.place(Key::Trigger(spec.name.clone()), check, own, made).0)
            }
            _ => None,
        };
        lineup.triggers.push(TriggerLine { spec, fingerprint, own });
    }
    (lineup, schedules.scheduled)
}

impl Plans {
    fn keys(&self) -> std::collections::BTreeSet<Key> {
        let contracts = self.contracts.iter().flat_map(|plan| {
            plan.spec.checks.iter().map(|check| Key::Contract(plan.spec.name.clone(), check.name.clone()))
        });
        let own = self.triggers.iter().filter(|trigger| trigger.check.is_some());
        contracts.chain(own.map(|trigger| Key::Trigger(trigger.spec.name.clone()))).collect()
    }
}

impl Running {
    fn schedule(&mut self, scheduled: Vec<Scheduled>, first: FirstRun) {
        for Scheduled { key, id, check, spec, made, pace, interval } in scheduled {
            let (timeout, clock, reports) = (spec.timeout, self.clock, self.messages.clone());
            let schedule = Schedule { id, check: Arc::clone(&check), timeout, interval, clock, reports };
            let task = self.tasks.spawn(schedule.run(first));
            if let Some(before) = self.active.insert(key, Active { id, check, spec, made, pace, task }) {
                before.task.abort();
            }
        }
    }

    /// Goes over to other plans in one step: contracts, checks and triggers are matched by name, what is known of them stays, and
    /// checks that are planned as they were run on without a hiccup. Gives what the checks remember that are taken out, should
    /// they come back.
    pub async fn swap(&mut self, plans: Plans) -> Vec<TakenOut> {
        let planned = plans.keys();
        let (lineup, scheduled) = line_up(plans, &self.active, self.next, self.clock);
        self.next += scheduled.len() as u64;
        let (done, swapped) = oneshot::channel();
        // The ledger knows the new schedules before they report.
        if self.messages.send(Message::Swap(lineup, done)).await.is_ok() {
            let _ = swapped.await;
        }
        self.schedule(scheduled, FirstRun::Spread);
        let (stay, gone): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.active).into_iter().partition(|(key, _)| planned.contains(key));
        self.active = stay;
        let moment = self.clock.moment();
        let taken_out = gone.into_iter().filter_map(|(key, Active { check, made, task, .. })| {
            task.abort();
            let Key::Contract(contract, name) = key else { return None };
            let memory = panics::contained(|| check.memory(moment)).ok().flatten()?;
            Some(TakenOut { contract, check: name, fingerprint: made.fingerprint, memory })
        });
        taken_out.collect()
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
