//! How late this machine is: whoever is not scheduled cannot look, be it the exporter or the observer.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tokio::task::JoinHandle;

const BEAT: Duration = Duration::from_millis(25);
/// What is late by less is not late.
const USUAL: Duration = Duration::from_millis(50);

/// Beats until it is dropped.
pub struct Pulse {
    late: Arc<Mutex<Vec<(SystemTime, Duration)>>>,
    task: JoinHandle<()>,
}

/// The beats that were late, and by how much.
#[derive(Debug, Clone, Default)]
pub struct Lateness(Vec<(SystemTime, Duration)>);

impl Pulse {
    pub fn start() -> Self {
        let late = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&late);
        let task = tokio::spawn(async move {
            loop {
                let begun = Instant::now();
                tokio::time::sleep(BEAT).await;
                let late = begun.elapsed().saturating_sub(BEAT);
                if late > USUAL {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), late));
                }
            }
        });
        Self { late, task }
    }

    pub fn lateness(&self) -> Lateness {
        Lateness(self.late.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Lateness {
    /// All of it in a span of time.
    pub fn within(&self, from: SystemTime, to: SystemTime) -> Duration {
        let within = self.0.iter().filter(|(at, late)| *at >= from && *at - *late <= to);
        within.map(|(_, late)| *late).sum()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}
