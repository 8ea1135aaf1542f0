//! The own check of a trigger.

use std::sync::Arc;

use super::pods::PodsConfig;
use super::promql::PromqlConfig;
use super::promql::bound::QueryConfig;
use super::{Check, Kind};
use crate::clients::{Clients, Connections};
use crate::decode::identity::{self, Identity};
use crate::domain::kind::KindInfo;

/// The own check of a trigger.
#[derive(Debug, Clone)]
pub enum Condition {
    /// Whether enough pods are ready.
    Pods(PodsConfig),
    /// Whether the number of a query is within its bound.
    Promql(QueryConfig),
}

impl Condition {
    /// The fixed properties of the check's kind.
    #[must_use]
    pub const fn info(&self) -> &'static KindInfo {
        match self {
            Self::Pods(_) => &PodsConfig::INFO,
            Self::Promql(_) => &PromqlConfig::INFO,
        }
    }

    /// The check that measures it.
    #[must_use]
    pub fn build(&self, clients: &Clients) -> Arc<dyn Check> {
        match self {
            Self::Pods(pods) => pods.build(clients),
            Self::Promql(query) => query.build(clients),
        }
    }

    /// What it measures.
    #[must_use]
    pub fn identity(&self, connections: &Connections) -> Identity {
        match self {
            Self::Pods(pods) => Identity::of(self.info().name, pods, connections),
            Self::Promql(query) => Identity::of(self.info().name, query, connections),
        }
    }

    /// All its settings.
    #[must_use]
    pub fn whole(&self, connections: &Connections) -> String {
        match self {
            Self::Pods(pods) => identity::whole(self.info().name, pods, connections),
            Self::Promql(query) => identity::whole(self.info().name, query, connections),
        }
    }
}
