//! Runs every check on its own schedule, with jitter and a time-out. Runs of a check do not
//! overlap, and a check cannot harm another one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::lineup::Message;
use super::report::{CheckId, CheckMemory, Report};
use super::{panics, reasons};
use crate::clock::{self, Clock};
use crate::domain::observation::{Finding, Health, Observation};
use crate::engine::check::{Check, Run};

/// How long after its deadline a run is aborted. Until then it may still report what it found.
const GRACE: Duration = Duration::from_millis(500);
/// A wait is shortened at random by at most this share of the interval, so that checks do not run
/// all at once.
const JITTER: f64 = 0.1;
/// The highest age of a shared answer, as a share of the interval. It is less than what the jitter
/// leaves of the interval, so no check sees the same answer twice.
const SHARED_AGE: f64 = 0.85;
/// The first runs of a daemon are spread over this time, unless they are too many for it.
const SPREAD: Duration = Duration::from_secs(1);
/// How many first runs may start in one second. The memory that runs need at the same time is never
/// given back completely.
const FIRST_RUNS: f64 = 2000.0;

/// The schedule of one check.
pub struct Schedule {
    /// Which check.
    pub id: CheckId,
    /// The check.
    pub check: Arc<dyn Check>,
    /// How long a run may take.
    pub timeout: Duration,
    /// How long evidence of the check counts as fresh.
    pub freshness: Duration,
    /// The interval. It is shorter while the contract's clock runs.
    pub interval: watch::Receiver<Duration>,
    /// The timeline.
    pub clock: Clock,
    /// Where the reports go.
    pub reports: mpsc::Sender<Message>,
}

/// The time over which the first runs of this number of checks are spread.
#[expect(clippy::cast_precision_loss, reason = "exact below 2^53")]
pub(super) fn spread(checks: usize) -> Duration {
    SPREAD.max(Duration::from_secs(1).mul_f64(checks as f64 / FIRST_RUNS))
}

impl Schedule {
    /// Runs the check for ever, first at a random time within `spread` and the interval. It ends only
    /// if nobody receives the reports any more.
    pub async fn run(mut self, spread: Duration) {
        let spread = spread.min(*self.interval.borrow());
        let mut next = clock::instant() + spread.mul_f64(rand::random_range(0.0..1.0));
        let mut hung: Option<JoinHandle<Observation>> = None;
        loop {
            sleep_until(next).await;
            let started = clock::instant();
            hung = hung.filter(|run| !run.is_finished());
            let mut observation = match &hung {
                Some(_) => reasons::failure(&reasons::STILL_RUNNING, "the previous run has not ended".to_owned()),
                None => {
                    let (observation, unended) = self.run_once(started).await;
                    hung = unended;
                    observation
                }
            };
            observation.asked.get_or_insert(self.clock.at(started));
            let (at, took) = (self.clock.now(), clock::since(started));
            let mut report = Report { id: self.id, at, took, observation, memory: self.memory() };
            report.blank_secrets();
            if self.reports.send(Message::Report(Box::new(report))).await.is_err() {
                return;
            }
            next = self.wait(started).await;
        }
    }

    /// The state of the check that must survive a restart. A panic in the check only loses this
    /// state.
    fn memory(&self) -> Option<CheckMemory> {
        let remembered = panics::contained(|| {
            let value = self.check.memory(self.clock.moment())?;
            Some(CheckMemory { value, at_once: self.check.remembers_at_once() })
        });
        remembered.ok().flatten()
    }

    /// One run, in a task of its own, so that a panic stays there. If the run does not end even
    /// when it is aborted, its handle is returned.
    async fn run_once(&self, started: Instant) -> (Observation, Option<JoinHandle<Observation>>) {
        let deadline = started + self.timeout;
        let check = Arc::clone(&self.check);
        let max_age = self.interval.borrow().mul_f64(SHARED_AGE);
        let run = Run { clock: self.clock, max_age, freshness: self.freshness, deadline };
        let mut task = tokio::spawn(async move { check.run(run).await });
        let (mut ended, held_up) = clock::watched(timeout_at(deadline + GRACE, &mut task)).await;
        if ended.is_err() && !held_up.is_zero() {
            // It had no time to end by itself.
            ended = timeout(GRACE, &mut task).await;
        }
        match ended {
            Ok(Ok(observation)) => {
                let mut observation = reasons::unless_held_up(observation, held_up);
                // What failed after a stand-still may have begun to fail within it.
                let waited = if matches!(observation.health, Health::Unhealthy(_)) { held_up } else { Duration::ZERO };
                observation.asked = Some(self.clock.at(started + waited));
                (observation, None)
            }
            Ok(Err(error)) => (reasons::failure(&reasons::INTERNAL_ERROR, panic_text(error)), None),
            Err(_) => {
                task.abort();
                let story = format!("the run did not end by itself within {:?}", self.timeout);
                let finding = match held_up {
                    Duration::ZERO => Finding::new(&reasons::HUNG, story),
                    held_up => reasons::held_up_for(held_up, &story),
                };
                (reasons::of(finding), Some(task))
            }
        }
    }

    /// When the next run is due: one interval after the last start, less some jitter. It is sooner
    /// if the interval gets shorter in the meantime. Runs that were missed are skipped, not made up
    /// for.
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

fn panic_text(error: JoinError) -> String {
    let Ok(payload) = error.try_into_panic() else { return "the run was cancelled".to_owned() };
    format!("the check panicked: {}", panics::text(&*payload))
}
