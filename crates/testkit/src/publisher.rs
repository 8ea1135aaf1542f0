//! A publisher that keeps its own log: the ground truth that the exporter's figures are held against.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rand::distr::{Alphanumeric, Distribution};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::nats::{ASKED_AGAIN, Api};
use super::{PATIENCE, wait_until};

/// One message that was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its sequence, as the acknowledgement said.
    pub seq: u64,
    /// The subject that it was published to.
    pub subject: String,
    /// When it was sent: it was stored later than this,
    pub sent: SystemTime,
    /// and earlier than this, when the acknowledgement came.
    pub acked: SystemTime,
}

/// Publishes until it is dropped.
#[derive(Debug)]
pub struct Publisher {
    log: Arc<Mutex<Vec<Stored>>>,
    ends: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Publisher {
    /// Publishes `per_second` messages of 16 bytes to `agentese.a`.
    pub fn start(api: &Api, per_second: u32) -> Self {
        Self::start_with(api, per_second, 16, |_| "agentese.a".to_owned())
    }

    /// Publishes messages of `size` bytes to the subject that `subject` gives for the number of the message.
    pub fn start_with(
        api: &Api,
        per_second: u32,
        size: usize,
        subject: impl Fn(u64) -> String + Send + 'static,
    ) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let ends = Arc::new(AtomicBool::new(false));
        let (api, kept, end) = (api.clone(), Arc::clone(&log), Arc::clone(&ends));
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 0.. {
                ticks.tick().await;
                if end.load(Ordering::Relaxed) {
                    break;
                }
                // Leafnodes compress when the link is slow: only what cannot be compressed fills it.
                let payload: String = Alphanumeric.sample_iter(rand::rng()).take(size).map(char::from).collect();
                let (subject, sent) = (subject(number), SystemTime::now());
                // What was not acknowledged may be stored all the same; the next sequence then shows a gap.
                if let Ok(seq) = api.publish_within(ASKED_AGAIN, &subject, &payload).await {
                    let stored = Stored { seq, subject, sent, acked: SystemTime::now() };
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(stored);
                }
            }
        });
        Self { log, ends, task }
    }

    /// Everything that was stored so far.
    pub fn log(&self) -> Vec<Stored> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last sequence that was acknowledged; 0 before the first.
    pub fn last(&self) -> u64 {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).last().map_or(0, |stored| stored.seq)
    }

    /// Waits until `more` further messages are stored.
    pub async fn goes_on(&self, more: u64) {
        let goal = self.last() + more;
        wait_until("the publisher goes on", PATIENCE, async || (self.last() >= goal).then_some(())).await;
    }

    /// Publishes no more. What was under way is stored and in the log, or failed, when this returns.
    pub async fn stop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let _ = (&mut self.task).await;
    }

    /// What a disaster at `now` would cost when the copy ends with `copied`: the age of the oldest message that it
    /// lacks, zero if it lacks none. Counted are messages of the subjects that `mirrored` says are mirrored.
    pub fn at_risk(&self, now: SystemTime, copied: u64, mirrored: impl Fn(&str) -> bool) -> Duration {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let first = log.iter().find(|stored| stored.seq > copied && stored.acked <= now && mirrored(&stored.subject));
        first.map_or(Duration::ZERO, |stored| now.duration_since(stored.acked).unwrap_or_default())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}
