//! Every check on its own schedule: jitter, time-out, no overlap, and no harm to another.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::FirstRun;
use super::ledger::Message;
use super::panics;
use crate::checks::{Check, Run};
use crate::clock::{self, Clock};
use crate::domain::observation::{CopyState, Finding, Health, Observation, Reason};
use crate::domain::time::Timestamp;

/// The check itself failed; a fault of this program.
pub static INTERNAL_ERROR: Reason =
    Reason::new("internal_error", "This is a fault of dr-exporter: please report it with the log line.");
/// The check did not end in time by itself and was ended.
pub static HUNG: Reason = Reason::new("hung", "This is a fault of dr-exporter: please report it with the log line.");
/// The run before is not over, so this one was left out.
pub static STILL_RUNNING: Reason =
    Reason::new("still_running", "This is a fault of dr-exporter: please report it with the log line.");

/// The reasons that any kind of check can have.
pub const REASONS: &[&Reason] = &[&INTERNAL_ERROR, &HUNG, &STILL_RUNNING];

/// How long after its deadline a run is ended by force. Until then it may still tell what it found.
const GRACE: Duration = Duration::from_millis(500);
/// The share of the interval that a wait is shortened by at most, at random, so that checks drift apart.
const JITTER: f64 = 0.1;
/// The share of the interval that an answer which checks share may be old: less than is left of the interval after the
/// jitter, so that no check sees the same answer twice.
const SHARED_AGE: f64 = 0.85;
/// The first runs of a daemon are spread over this time.
const SPREAD: Duration = Duration::from_secs(1);

/// Which schedule of a check: a check that is scheduled anew has another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

/// One finished run.
#[derive(Debug)]
pub struct Report {
    /// Of which check.
    pub id: CheckId,
    /// When the run ended.
    pub at: Timestamp,
    /// How long the run took.
    pub took: Duration,
    /// What it found.
    pub observation: Observation,
    /// What the check must know again after a restart.
    pub memory: Option<CheckMemory>,
}

/// What a check must know again after a restart.
#[derive(Debug)]
pub struct CheckMemory {
    /// Plain data, which the check alone understands.
    pub value: serde_json::Value,
    /// Whether a change of it must be on the disk before it is shown.
    pub at_once: bool,
}

impl Report {
    /// The instant of the observation: when the run ended, or when what it found was seen, if that was earlier.
    #[must_use]
    pub fn seen(&self) -> Timestamp {
        self.observation.seen.map_or(self.at, |seen| seen.min(self.at))
    }
}

/// The schedule of one check.
pub struct Schedule {
    /// Which check.
    pub id: CheckId,
    /// The check.
    pub check: Arc<dyn Check>,
    /// How long a run may take.
    pub timeout: Duration,
    /// From the start of one run to the start of the next; shorter while the contract's clock runs.
    pub interval: watch::Receiver<Duration>,
    /// The timeline.
    pub clock: Clock,
    /// Where the reports go.
    pub reports: mpsc::Sender<Message>,
}

impl Schedule {
    /// Runs the check for ever; ends only when nobody takes reports any more.
    pub async fn run(mut self, first: FirstRun) {
        let spread = SPREAD.min(*self.interval.borrow());
        let mut next = clock::instant();
        if first == FirstRun::Spread {
            next += spread.mul_f64(rand::random_range(0.0..1.0));
        }
        let mut hung: Option<JoinHandle<Observation>> = None;
        loop {
            sleep_until(next).await;
            let started = clock::instant();
            hung = hung.filter(|run| !run.is_finished());
            let observation = match &hung {
                Some(_) => failure(&STILL_RUNNING, "the run before has not ended".to_owned()),
                None => {
                    let (observation, unended) = self.run_once(started).await;
                    hung = unended;
                    observation
                }
            };
            let (at, took) = (self.clock.now(), clock::since(started));
            let memory = self.memory();
            let report = Report { id: self.id, at, took, observation, memory };
            if self.reports.send(Message::Report(report)).await.is_err() {
                return;
            }
            next = self.wait(started).await;
        }
    }

    /// What the check must know again. One that cannot tell it loses nothing but that.
    fn memory(&self) -> Option<CheckMemory> {
        let remembered = panics::contained(|| {
            let value = self.check.memory(self.clock.moment())?;
            Some(CheckMemory { value, at_once: self.check.remembers_at_once() })
        });
        remembered.ok().flatten()
    }

    /// One run, in a task of its own, so that a panic in it stays there. A run that does not even heed being aborted is
    /// handed back.
    async fn run_once(&self, started: Instant) -> (Observation, Option<JoinHandle<Observation>>) {
        let deadline = started + self.timeout;
        let check = Arc::clone(&self.check);
        let max_age = self.interval.borrow().mul_f64(SHARED_AGE);
        let run = Run { clock: self.clock, max_age, deadline };
        let mut task = tokio::spawn(async move { check.run(run).await });
        match timeout_at(deadline + GRACE, &mut task).await {
            Ok(Ok(observation)) => (observation, None),
            Ok(Err(error)) => (failure(&INTERNAL_ERROR, panic_text(error)), None),
            Err(_) => {
                task.abort();
                (failure(&HUNG, format!("the run did not end by itself within {:?}", self.timeout)), Some(task))
            }
        }
    }

    /// When the next run is due: an interval after the last one started, less some jitter; sooner when the interval gets
    /// shorter meanwhile. Runs that were missed because one took too long are left out, not made up for.
    async fn wait(&mut self, started: Instant) -> Instant {
        let jitter = 1.0 - rand::random_range(0.0..JITTER);
        loop {
            let interval = *self.interval.borrow_and_update();
            let next = (started + interval.mul_f64(jitter)).max(clock::instant());
            tokio::select! {
                () = sleep_until(next) => return next,
                changed = self.interval.changed() => if changed.is_err() { return next },
            }
        }
    }
}

/// That there is no answer, neither of health nor of a copy.
pub(super) fn failure(reason: &'static Reason, detail: String) -> Observation {
    let finding = Finding::new(reason, detail);
    let copy = Some(CopyState::Unknown(finding.clone()));
    Observation { copy, ..Observation::of_health(Health::NoAnswer(finding)) }
}

fn panic_text(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the run was cancelled".to_owned() };
    format!("the check panicked: {}", panics::text(&*payload))
}
