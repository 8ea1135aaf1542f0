//! Shares one read among all that want it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::Terms;
use super::ask::Progress;
use super::read::Read;
use crate::clock;
use crate::domain::observation::Finding;

/// Answers that nobody wanted for this long are dropped.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Reads of one kind, by key. At most one read per key runs at a time. Its answer, good or bad,
/// goes to everybody who asks, until it is older than they want.
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
    /// The answer for `key`: an existing or running one if it is fresh enough, otherwise a new one
    /// from `read`.
    ///
    /// A read continues even if the caller that started it has given up. So it must end by itself.
    ///
    /// # Errors
    /// Those of the read, and that it took too long.
    pub(super) async fn get<F: Future<Output = Answer<V>> + Send + 'static>(
        &self,
        key: &K,
        terms: Terms,
        read: impl FnOnce(Arc<Progress>) -> F,
    ) -> Answer<V> {
        let Slot { progress, mut answer, .. } = self.slot(key, terms.max_age, read);
        let late = || progress.when_late(None);
        match timeout_at(terms.deadline, answer.wait_for(Option::is_some)).await {
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
    /// Whether an answer can still come. A read that was aborted never gives one.
    fn is_under_way(&self) -> bool {
        self.answer.borrow().is_none() && self.answer.has_changed().is_ok()
    }
}
