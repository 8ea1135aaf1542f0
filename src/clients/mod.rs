//! Shared connections: made in the background when they are needed, and retried forever.

use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use crate::decode::identity::{self, Canonical};
use crate::decode::values::Name;

pub mod connections;
pub(crate) mod credentials;
pub(crate) mod dial;
pub(crate) mod failure;
pub mod http;
pub mod jetstream;
pub mod kubernetes;
pub mod nats;
pub mod prometheus;
pub mod reasons;
pub(crate) mod route;
pub(crate) mod stamps;
pub mod stanza;
pub mod tls;

pub use connections::{ConnectionRef, Connections, KubernetesRef, NatsRef, PrometheusRef};

/// Every connection that checks share, by its name in the configuration. A connection that no check
/// uses is not made.
#[derive(Debug, Default)]
pub struct Clients {
    configured: Connections,
    nats_started: Mutex<BTreeMap<Name, Arc<nats::Connection>>>,
    clusters: Mutex<BTreeMap<Name, Arc<kubernetes::Cluster>>>,
}

impl Clients {
    /// The clients for these connections. None of them is made yet.
    #[must_use]
    pub fn new(configured: Connections) -> Self {
        Self { configured, ..Self::default() }
    }

    /// The configuration of the connections.
    #[must_use]
    pub fn configured(&self) -> &Connections {
        &self.configured
    }

    /// The connections of another configuration. Those with the same settings are kept.
    #[must_use]
    pub fn reloaded(&self, configured: Connections) -> Self {
        let next = Self::new(configured);
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

    /// The NATS connection with this name. It starts to connect when it is first asked for. Needs a
    /// tokio runtime.
    ///
    /// The loader refuses a reference to a connection that does not exist. If one gets here anyway,
    /// the result is a connection without servers, which reports this on every run.
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

    /// The Kubernetes cluster with this name. It connects when it is first read.
    ///
    /// The loader refuses a reference to a connection that does not exist. If one gets here anyway,
    /// the result is a cluster without access, which reports this on every run.
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

    /// The Prometheus with this name. None if it does not exist, which the loader refuses. No state
    /// is kept from run to run, so every caller has its own.
    #[must_use]
    pub fn prometheus(&self, reference: &PrometheusRef) -> Option<prometheus::Prometheus> {
        let name = reference.name();
        self.configured.prometheus.get(name).map(|config| prometheus::Prometheus::new(name.as_str(), config))
    }
}

/// Whether a connection has the same settings, in every key.
fn is_same<T: Canonical>(before: Option<&T>, after: Option<&T>) -> bool {
    let whole = |stanza: &T| identity::whole("", stanza, &Connections::default());
    before.zip(after).is_some_and(|(before, after)| whole(before) == whole(after))
}

/// Runs `work`, which may block on a disk, outside the async workers. A panic in it continues in
/// the caller.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // The runtime is shutting down, and the caller with it.
            Err(_) => std::future::pending().await,
        },
    }
}
