//! What a store that several replicas share has to tell: who leads, and what the others wrote.
//!
//! Only the leader writes. So the ledger hands over batches with the term in which it composed them,
//! and a batch of an earlier term is never written.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Batch, ClosedRecovery, Stored};
use crate::clock;

/// Who leads, as one replica knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether this replica leads.
    pub leads: bool,
    /// The name of the replica that leads. None if nobody does.
    pub leader: Option<String>,
    /// The number of the current term: each new leader begins one.
    pub term: u64,
}

/// The order of a person that another replica received.
#[derive(Debug, Clone, PartialEq)]
pub struct Forwarded {
    /// Its number, which no other order has.
    pub id: String,
    /// The order.
    pub order: Value,
    /// Whether nobody carried it out for so long that nobody waits for it any more.
    pub is_late: bool,
}

/// Everything that the replicas share, at one end of the log.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Base {
    /// The state that a restart continues from.
    pub stored: Stored,
    /// The newest recoveries.
    pub recoveries: Vec<ClosedRecovery>,
}

/// What the ledger has to hear. It is taken in this order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct News {
    /// Who leads now.
    pub standing: Standing,
    /// Everything that is shared, if the leader changed, or if the store could not be read before.
    pub base: Option<Box<Base>>,
    /// What other replicas wrote since.
    pub batch: Batch,
    /// Orders that this replica has to carry out, since it leads.
    pub orders: Vec<Forwarded>,
}

impl News {
    /// Adds later news. What everybody shares replaces what was told before.
    fn take(&mut self, later: Self) {
        let Self { standing, base, batch, orders } = later;
        if let Some(base) = base {
            // The answers to forwarded orders are not a part of what is stored.
            let replies = std::mem::take(&mut self.batch.replies);
            (self.base, self.batch) = (Some(base), Batch { replies, ..Batch::default() });
        }
        if standing.term != self.standing.term {
            self.orders.clear();
        }
        self.batch.take(batch);
        self.orders.extend(orders);
        self.standing = standing;
    }
}

/// The result of a turn: see [`super::Store::turn`].
#[derive(Debug)]
pub struct Turn {
    /// What the ledger has to hear, if there is anything.
    pub news: Option<News>,
    /// Who leads, and how fresh that is.
    pub share: Share,
    /// Whether the end of the record may have moved.
    pub moved: bool,
}

/// This replica among the others, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The name of this replica.
    pub replica: String,
    /// Who leads.
    pub standing: Standing,
    /// When everything that was written before had been read.
    pub read: Instant,
    /// Until when this replica leads for certain, if it does not renew the lead.
    pub leads_until: Option<Instant>,
    /// Why the replica that leads cannot write, as it told the others.
    pub failing: Option<String>,
    /// Whether this process was there while another replica led.
    pub followed: bool,
}

impl Share {
    /// Whether this replica leads for certain: it has renewed the lead in time.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.standing.leads && self.leads_until.is_some_and(|until| clock::instant() < until)
    }
}

/// News that wait for the ledger.
#[derive(Debug, Clone, Default)]
pub struct Inbox {
    waiting: Arc<Mutex<Option<News>>>,
    bell: Arc<Notify>,
}

impl Inbox {
    /// Adds news.
    pub(super) fn put(&self, news: News) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.as_mut() {
            Some(known) => known.take(news),
            None => *waiting = Some(news),
        }
        drop(waiting);
        self.bell.notify_one();
    }

    /// Takes the news that wait.
    #[must_use]
    pub fn take(&self) -> Option<News> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Completes when news may wait.
    pub async fn rings(&self) {
        self.bell.notified().await;
    }
}
