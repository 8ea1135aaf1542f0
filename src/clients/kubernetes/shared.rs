//! What is read once for all who want it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::ask::Progress;
use super::read::Read;
use super::{TIMEOUT, Wanted};
use crate::clock;
use crate::domain::observation::Finding;

/// Answers that were wanted for nothing this long are let go.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Reads of one sort, by what is read. Of each, one at most is under way; its answer, good or bad, goes to all who ask
/// until it is older than they want.
#[derive(Debug)]
pub struct Shared<K, V>(Mutex<HashMap<K, Slot<V>>>);

impl<K, V> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

type Answer<V> = Result<Read<V>, Finding>;

#[derive(Debug)]
struct Slot<V> {
    started: Instant,
    progress: Arc<Progress>,
    answer: watch::Receiver<Option<Answer<V>>>,
}

impl<V> Clone for Slot<V> {
    fn clone(&self) -> Self {
        Self { started: self.started, progress: Arc::clone(&self.progress), answer: self.answer.clone() }
    }
}

impl<K: Eq + Hash + Clone, V: Send + Sync + 'static> Shared<K, V> {
    /// The answer for `key`: one that is there or under way if it is fresh enough, else that of `read`.
    ///
    /// A read goes on though whoever started it has given up, so that it must end by itself.
    ///
    /// # Errors
    /// Those of the read, and that it took too long.
    pub(super) async fn get<F: Future<Output = Answer<V>> + Send + 'static>(
        &self,
        key: &K,
        wanted: Wanted,
        read: impl FnOnce(Arc<Progress>) -> F,
    ) -> Answer<V> {
        let Slot { progress, mut answer, .. } = self.slot(key, wanted.max_age, read);
        let late = || Finding::new(&TIMEOUT, progress.when_late(None));
        match timeout_at(wanted.deadline, answer.wait_for(Option::is_some)).await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| Err(late())),
            Ok(Err(_)) | Err(_) => Err(late()),
        }
    }

    fn slot<F: Future<Output = Answer<V>> + Send + 'static>(
        &self,
        key: &K,
        max_age: Duration,
        read: impl FnOnce(Arc<Progress>) -> F,
    ) -> Slot<V> {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key).filter(|slot| slot.is_under_way() || clock::since(slot.started) <= max_age) {
            return slot.clone();
        }
        slots.retain(|_, slot| slot.is_under_way() || clock::since(slot.started) <= KEPT);
        let (sender, answer) = watch::channel(None);
        let slot = Slot { started: clock::instant(), progress: Arc::default(), answer };
        let read = read(Arc::clone(&slot.progress));
        slots.insert(key.clone(), slot.clone());
        tokio::spawn(async move { sender.send_replace(Some(read.await)) });
        slot
    }
}

impl<V> Slot<V> {
    /// Whether an answer can still come. One whose read was cut off never gives any.
    fn is_under_way(&self) -> bool {
        self.answer.borrow().is_none() && self.answer.has_changed().is_ok()
    }
}
