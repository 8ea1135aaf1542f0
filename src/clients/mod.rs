//! Shared connections: lazy, made in the background, retried for ever.

use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::identity::{self, Canonical};
use crate::config::values::{KubernetesRef, Name, NatsRef, PrometheusRef};
use crate::config::{Config, Connections};

pub(crate) mod credentials;
pub(crate) mod failure;
pub mod http;
pub mod jetstream;
pub mod kubernetes;
pub mod nats;
pub mod prometheus;
pub mod reasons;
pub(crate) mod route;
pub mod tls;

/// Every connection that checks share, by the name it has in the configuration. One that no check names is not made.
#[derive(Debug, Default)]
pub struct Clients {
    configured: Connections,
    nats_started: Mutex<BTreeMap<Name, Arc<nats::Connection>>>,
    clusters: Mutex<BTreeMap<Name, Arc<kubernetes::Cluster>>>,
}

impl Clients {
    /// The connections of a configuration, none of them made yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self { configured: Connections::from(config), ..Self::default() }
    }

    /// The connections as they are configured.
    #[must_use]
    pub fn configured(&self) -> &Connections {
        &self.configured
    }

    /// The connections of another configuration. Those that are configured as they were are kept as they are.
    #[must_use]
    pub fn reloaded(&self, config: &Config) -> Self {
        let next = Self::new(config);
        let started = self.nats_started.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (&self.configured.nats, &next.configured.nats);
        let same = |name: &Name| is_same(before.get(name), after.get(name));
        let nats = started.iter().filter(|(name, _)| same(name)).map(|(name, one)| (name.clone(), Arc::clone(one)));
        let nats = nats.collect();
        let started = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let (before, after) = (&self.configured.kubernetes, &next.configured.kubernetes);
        let same = |name: &Name| is_same(before.get(name), after.get(name));
        let clusters = started.iter().filter(|(name, _)| same(name)).map(|(name, one)| (name.clone(), Arc::clone(one)));
        let clusters = clusters.collect();
        Self { nats_started: Mutex::new(nats), clusters: Mutex::new(clusters), ..next }
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
            let config = self.configured.nats.get(name).cloned().unwrap_or_else(nats::NatsConnection::without_servers);
            Arc::new(nats::Connection::start(name.as_str(), config))
        };
        Arc::clone(started.entry(name.clone()).or_insert_with(start))
    }

    /// The Kubernetes cluster of this name, which is connected to when it is first read.
    ///
    /// Should a reference lead nowhere, which the loader refuses, it is a cluster without access, which tells so on every
    /// run.
    #[must_use]
    pub fn kubernetes(&self, reference: &KubernetesRef) -> Arc<kubernetes::Cluster> {
        let name = reference.name();
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let config = self.configured.kubernetes.get(name).cloned();
            let config = config.unwrap_or_else(kubernetes::KubernetesConnection::without_access);
            Arc::new(kubernetes::Cluster::new(name.as_str(), config))
        };
        Arc::clone(clusters.entry(name.clone()).or_insert_with(make))
    }

    /// The Prometheus of this name; none if the reference leads nowhere, which the loader refuses. Nothing is kept of one
    /// from run to run, so every asker has its own.
    #[must_use]
    pub fn prometheus(&self, reference: &PrometheusRef) -> Option<prometheus::Prometheus> {
        let name = reference.name();
        self.configured.prometheus.get(name).map(|config| prometheus::Prometheus::new(name.as_str(), config))
    }
}

/// Whether a connection is configured as it was, in every one of its keys.
fn is_same<T: Canonical>(before: Option<&T>, after: Option<&T>) -> bool {
    let whole = |stanza: &T| identity::whole("", stanza, &Connections::default());
    before.zip(after).is_some_and(|(before, after)| whole(before) == whole(after))
}

/// Does `work`, which may block on a disk, off the async workers. A panic in it goes on in the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is being shut down, and so is whoever waits here.
            Err(_) => std::future::pending().await,
        },
    }
}
