//! The engine: runs every check on its own schedule, keeps the ledger, publishes snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::clock::Clock;
use crate::domain::check::CheckSpec;
use crate::domain::contract::ContractSpec;
use crate::domain::kind::KindInfo;
use crate::domain::trigger::{TriggerSpec, Watched};
use check::Check;
use journal::People;
use ledger::Ledger;
use lineup::{CheckLine, ContractLine, Lineup, Message, TriggerLine};
use memory::Recalled;
use order::{Answer, NotDone, Request};
use report::CheckId;
use scheduler::Schedule;
use snapshot::{Configuration, Snapshot};

pub mod check;
pub mod journal;
pub mod ledger;
pub mod lineup;
pub mod memory;
pub mod order;
pub mod panics;
pub mod reasons;
pub mod report;
pub mod scheduler;
pub mod snapshot;

/// Everything that is to be measured.
#[derive(Default)]
pub struct Plans {
    /// Every kind of check, also those that are not planned.
    pub kinds: &'static [&'static KindInfo],
    /// The promises.
    pub contracts: Vec<Plan>,
    /// The triggers.
    pub triggers: Vec<TriggerPlan>,
    /// Incidents, drills, and how soon people react.
    pub people: Arc<People>,
}

/// A trigger, with the check that measures its condition.
pub struct TriggerPlan {
    /// The condition.
    pub spec: Arc<TriggerSpec>,
    /// Its own check. None if it watches a check of a contract.
    pub check: Option<Arc<dyn Check>>,
    /// What is measured, and the settings of its own check.
    pub made: Made,
}

/// A contract with the checks that measure it.
pub struct Plan {
    /// The promise.
    pub spec: Arc<ContractSpec>,
    /// The stanzas of its checks.
    pub checks: Vec<Planned>,
}

/// A check that is planned.
pub struct Planned {
    /// How it is run and judged.
    pub spec: CheckSpec,
    /// The code that measures.
    pub check: Arc<dyn Check>,
    /// What it measures, and its settings.
    pub made: Made,
}

/// Takes the orders of people. It does not keep the engine alive.
#[derive(Clone)]
pub struct Orders(mpsc::WeakSender<Message>);

impl Orders {
    /// Carries out an order. The answer comes once the order is on the disk.
    ///
    /// # Errors
    /// The order is refused, or it could not be stored.
    pub async fn give(&self, request: Request) -> Answer {
        let ended = || NotDone::NotStored("the process is shutting down".to_owned());
        let messages = self.0.upgrade().ok_or_else(ended)?;
        let (answer, answered) = oneshot::channel();
        messages.send(Message::Order(Box::new(request), answer)).await.map_err(|_| ended())?;
        drop(messages);
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// What a check measures, and all its settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Made {
    /// The fingerprint: a word for what is measured, which changes when that changes.
    pub fingerprint: String,
    /// All settings: what is measured, and how it is judged.
    pub stanza: String,
}

/// When the first run of a check happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstRun {
    /// At once: for a program that runs every check once.
    Immediate,
    /// Spread over the first second, or over more if there are thousands of checks, so that a daemon
    /// does not start with a burst.
    Spread,
}

/// How many reports may wait for the ledger. A check that finds the queue full waits, so it runs
/// less often.
const REPORT_QUEUE: usize = 1024;

/// A running engine. Dropping it stops it at once.
pub struct Running {
    /// The newest snapshot.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    tasks: JoinSet<()>,
    messages: mpsc::Sender<Message>,
    stop: watch::Sender<bool>,
    clock: Clock,
    /// The schedules that run.
    active: BTreeMap<Key, Active>,
    next: u64,
}

/// The owner of a check.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// A contract, with the names of contract and check.
    Contract(String, String),
    /// A trigger with its own check, by name.
    Trigger(String),
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

/// The memory of a check that was removed.
#[derive(Debug)]
pub struct TakenOut {
    /// The contract.
    pub contract: String,
    /// The check's name.
    pub check: String,
    /// The fingerprint of what it measured.
    pub fingerprint: String,
    /// Its memory, in wall-clock time.
    pub memory: Value,
}

/// Starts the engine. It continues from the stored state.
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

/// Schedules checks. A schedule that already runs with the same settings is left alone.
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
            // A check of which only the interval changed keeps its memory.
            Some(known) if known.made == made => Arc::clone(&known.check),
            // A check that measures the same, but judges it differently, takes over the memory.
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

/// The lineup for the ledger, and the checks that must be scheduled for it.
fn line_up(plans: Plans, active: &BTreeMap<Key, Active>, next: u64, clock: Clock) -> (Lineup, Vec<Scheduled>) {
    let mut lineup = Lineup { kinds: plans.kinds, people: plans.people, ..Lineup::default() };
    let mut schedules = LineUp { active, next, clock, scheduled: Vec::new() };
    for Plan { spec: contract, checks } in plans.contracts {
        let line = |Planned { spec, check, made }| {
            let fingerprint = made.fingerprint.clone();
            let key = Key::Contract(contract.name.clone(), spec.name.clone());
            let (id, pace) = schedules.place(key, check, &spec, made);
            CheckLine { spec, fingerprint, id, pace }
        };
        let checks = checks.into_iter().map(line).collect();
        lineup.contracts.push(ContractLine { spec: contract, checks });
    }
    for TriggerPlan { spec, check, made } in plans.triggers {
        let fingerprint = made.fingerprint.clone();
        let own = match (&spec.watched, check) {
            (Watched::Own(own), Some(check)) => {
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
            plan.checks.iter().map(|check| Key::Contract(plan.spec.name.clone(), check.spec.name.clone()))
        });
        let own = self.triggers.iter().filter(|trigger| trigger.check.is_some());
        contracts.chain(own.map(|trigger| Key::Trigger(trigger.spec.name.clone()))).collect()
    }
}

impl Running {
    fn schedule(&mut self, scheduled: Vec<Scheduled>, first: FirstRun) {
        let spread = match first {
            FirstRun::Immediate => Duration::ZERO,
            FirstRun::Spread => scheduler::spread(scheduled.len()),
        };
        for Scheduled { key, id, check, spec, made, pace, interval } in scheduled {
            let (timeout, freshness) = (spec.timeout, spec.freshness());
            let (clock, reports) = (self.clock, self.messages.clone());
            let schedule = Schedule { id, check: Arc::clone(&check), timeout, freshness, interval, clock, reports };
            let task = self.tasks.spawn(schedule.run(spread));
            if let Some(before) = self.active.insert(key, Active { id, check, spec, made, pace, task }) {
                before.task.abort();
            }
        }
    }

    /// Changes to other plans in one step. Contracts, checks and triggers are matched by name and
    /// keep their state. Checks with unchanged settings run on without interruption. Returns the
    /// memory of the checks that were removed. They may come back.
    pub async fn swap(&mut self, plans: Plans) -> Vec<TakenOut> {
        let planned = plans.keys();
        let (lineup, scheduled) = line_up(plans, &self.active, self.next, self.clock);
        self.next += scheduled.len() as u64;
        let (done, swapped) = oneshot::channel();
        // The ledger must know the new schedules before their first report.
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

    /// Where people's orders go.
    #[must_use]
    pub fn orders(&self) -> Orders {
        Orders(self.messages.downgrade())
    }

    /// Shows the result of reading the configuration. When this returns, every answer has it.
    pub async fn show(&self, configuration: Configuration) {
        let (done, shown) = oneshot::channel();
        // A ledger that is gone shows nothing any more.
        if self.messages.send(Message::Configuration(configuration, done)).await.is_ok() {
            let _ = shown.await;
        }
    }

    /// Waits until a task ends, which none should do, and says how it ended.
    pub async fn ended(&mut self) -> String {
        loop {
            match self.tasks.join_next().await {
                // A schedule that was removed.
                Some(Err(error)) if error.is_cancelled() => {}
                Some(Err(error)) => return error.to_string(),
                Some(Ok(())) => return "without an error".to_owned(),
                None => return "there are none left".to_owned(),
            }
        }
    }

    /// Stops the engine in order: the ledger first hands everything to the storage.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // The ledger's task is the only one that ends by itself.
        let _ = self.ended().await;
    }
}
