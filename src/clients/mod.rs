//! Shared connections: lazy, made in the background, retried for ever.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::values::{Name, NatsRef};

pub mod jetstream;
pub mod nats;
pub mod tls;

/// Every connection that checks share, by the name it has in the configuration. One that no check names is not made.
#[derive(Debug, Default)]
pub struct Clients {
    nats: BTreeMap<Name, nats::NatsConnection>,
    nats_started: Mutex<BTreeMap<Name, Arc<nats::Connection>>>,
}

impl Clients {
    /// The connections of a configuration, none of them made yet.
    #[must_use]
    pub fn new(nats: BTreeMap<Name, nats::NatsConnection>) -> Self {
        Self { nats, nats_started: Mutex::default() }
    }

    /// The NATS connection of this name, which starts to connect when it is first asked for. Needs a tokio runtime.
    ///
    /// The loader refuses a reference to a connection that does not exist; should one get here all the same, it is a
    /// connection without servers, which tells so on every run.
    #[must_use]
    pub fn nats(&self, reference: &NatsRef) -> Arc<nats::Connection> {
        let name = reference.name();
        let mut started = self.nats_started.lock().unwrap_or_else(PoisonError::into_inner);
        let start = || {
            let config = self.nats.get(name).cloned().unwrap_or_else(nats::NatsConnection::without_servers);
            Arc::new(nats::Connection::start(name.as_str(), config))
        };
        Arc::clone(started.entry(name.clone()).or_insert_with(start))
    }
}
