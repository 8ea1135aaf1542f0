//! Shared connections: lazy, made in the background, retried for ever.

use std::collections::BTreeMap;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use crate::config::Config;
use crate::config::values::{KubernetesRef, Name, NatsRef, PrometheusRef};

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
    nats: BTreeMap<Name, nats::NatsConnection>,
    nats_started: Mutex<BTreeMap<Name, Arc<nats::Connection>>>,
    kubernetes: BTreeMap<Name, kubernetes::KubernetesConnection>,
    clusters: Mutex<BTreeMap<Name, Arc<kubernetes::Cluster>>>,
    prometheus: BTreeMap<Name, prometheus::PrometheusConnection>,
}

impl Clients {
    /// The connections of a configuration, none of them made yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            nats: config.nats.clone(),
            kubernetes: config.kubernetes.clone(),
            prometheus: config.prometheus.clone(),
            ..Self::default()
        }
    }

    /// The connections of another configuration. Those that are configured as they were are kept as they are.
    #[must_use]
    pub fn reloaded(&self, config: &Config) -> Self {
        let next = Self::new(config);
        let started = self.nats_started.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |name: &Name| is_same(self.nats.get(name), next.nats.get(name));
        let nats = started.iter().filter(|(name, _)| same(name)).map(|(name, one)| (name.clone(), Arc::clone(one)));
        let nats = nats.collect();
        let started = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |name: &Name| is_same(self.kubernetes.get(name), next.kubernetes.get(name));
        let clusters = started.iter().filter(|(name, _)| same(name)).map(|(name, one)| (name.clone(), Arc::clone(one)));
        let clusters = clusters.collect();
        Self { nats_started: Mutex::new(nats), clusters: Mutex::new(clusters), ..next }
    }

    /// What a connection is made of, in a word that changes when that does.
    #[must_use]
    pub fn described(&self, section: &str, name: &Name) -> String {
        match section {
            NatsRef::SECTION => format!("{:?}", self.nats.get(name)),
            KubernetesRef::SECTION => format!("{:?}", self.kubernetes.get(name)),
            PrometheusRef::SECTION => format!("{:?}", self.prometheus.get(name)),
            _ => String::new(),
        }
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

    /// The Kubernetes cluster of this name, which is connected to when it is first read.
    ///
    /// Should a reference lead nowhere, which the loader refuses, it is a cluster without access, which tells so on every
    /// run.
    #[must_use]
    pub fn kubernetes(&self, reference: &KubernetesRef) -> Arc<kubernetes::Cluster> {
        let name = reference.name();
        let mut clusters = self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let config = self.kubernetes.get(name).cloned();
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
        self.prometheus.get(name).map(|config| prometheus::Prometheus::new(name.as_str(), config))
    }
}

/// Whether a connection is configured as it was. Its description names files, and holds nothing of theirs.
fn is_same<T: std::fmt::Debug>(before: Option<&T>, after: Option<&T>) -> bool {
    before.is_some() && format!("{before:?}") == format!("{after:?}")
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
