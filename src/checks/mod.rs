//! The kinds of check: the trait they share and the one list of them.
//!
//! A kind is one file: its stanza of the configuration, its I/O, and the pure function that makes an observation of an
//! answer. To add one, write the file and add its line to `kinds!` below.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::clients::Clients;
use crate::clients::kubernetes::Wanted;
use crate::clock::{Clock, Moment};
use crate::config::Connections;
use crate::config::decode::{Decode, Decoder};
use crate::config::identity::{self, Identity};
use crate::config::sides::Sides;
use crate::config::yaml::Node;
use crate::domain::contract::Feeds;
use crate::domain::observation::{Observation, ReadingKind, Reason};

pub mod argocd_app;
pub mod dns;
pub mod external_secret;
pub mod grafana_dashboards;
pub mod http;
pub mod nats_mirror;
pub mod pods;
pub mod promql;
#[cfg(test)]
mod tests;

/// Something that is measured, repeatedly.
///
/// Runs of one check never overlap, so what a check remembers between runs may sit behind a plain mutex.
#[async_trait]
pub trait Check: Send + Sync + 'static {
    /// Measures once. Ends by `run.deadline`; the scheduler ends a run that does not.
    async fn run(&self, run: Run) -> Observation;

    /// What the check must know again after a restart, beside its observations; plain data. It outlives this process's
    /// timeline, so each instant in it is written as the wall clock calls it at this moment: [`Moment::wall`].
    fn memory(&self, _moment: Moment) -> Option<serde_json::Value> {
        None
    }

    /// Whether a memory that has changed must be on the disk before it is shown. Not for one that changes with every run:
    /// that is written with the check's next news, or within a minute.
    fn remembers_at_once(&self) -> bool {
        false
    }

    /// Takes back what [`Check::memory`] gave, each instant on this process's timeline again: [`Clock::recalled`]. What it
    /// cannot read it goes on without.
    fn recall(&self, _memory: &serde_json::Value, _clock: Clock) {}
}

/// What one run is given.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// The timeline that every instant of the observation must lie on.
    pub clock: Clock,
    /// How old something may be that another check has read already. Less than the time between two runs, so that no
    /// check sees the same answer twice.
    pub max_age: Duration,
    /// When the run must have ended.
    pub deadline: Instant,
}

impl Run {
    /// What is wanted of an answer that checks share.
    #[must_use]
    pub const fn wanted(&self) -> Wanted {
        Wanted { max_age: self.max_age, deadline: self.deadline }
    }
}

/// What is fixed about a kind of check.
#[derive(Debug)]
pub struct KindInfo {
    /// The key of its stanza, and the value of the `kind` label.
    pub name: &'static str,
    /// The objectives it can say something about.
    pub can_feed: Feeds,
    /// The closed list of its reasons.
    pub reasons: &'static [&'static Reason],
    /// The closed list of what it warns of.
    pub warnings: &'static [&'static Reason],
    /// The gauges it adds to `/metrics`.
    pub readings: &'static [&'static ReadingKind],
}

/// The stanza of one kind.
pub trait Kind {
    /// What is fixed about the kind.
    const INFO: KindInfo;

    /// The objectives that this stanza can say something about, where that is less than its kind can.
    fn can_feed(&self) -> Feeds {
        Self::INFO.can_feed
    }

    /// Makes the check. Never fails and does no I/O: what is wrong with a file or a server is an observation.
    fn build(&self, clients: &Clients) -> Arc<dyn Check>;

    /// What it compares: two that are one are refused. Has no default, so that no kind forgets it.
    fn sides(&self) -> Sides<'_>;
}

/// The one list of kinds: for each, its key and the type of its stanza.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident: $config:ty => $variant:ident,)+) => {
        /// The stanza of a check, whichever kind it is of.
        #[derive(Debug, Clone)]
        pub enum KindConfig {
            $($(#[doc = $doc])* $variant($config),)+
        }

        impl KindConfig {
            /// All kinds, in the order of the list.
            pub const ALL: &'static [&'static KindInfo] = &[$(&<$config as Kind>::INFO,)+];

            /// The keys of the stanzas, in the order of the list.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Takes the stanza that stands under this key; none if errors were recorded.
            pub(crate) fn decode(name: &str, node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
                match name {
                    $(stringify!($name) => {
                        let config = <$config>::decode(node, cx)?;
                        config.sides().validate(node, cx);
                        Some(Self::$variant(config))
                    })+
                    _ => None,
                }
            }

            /// The JSON Schemas of the stanzas, by key.
            pub(crate) fn schemas() -> serde_json::Map<String, serde_json::Value> {
                [$((stringify!($name).to_owned(), <$config>::schema()),)+].into_iter().collect()
            }

            /// What is fixed about this kind.
            #[must_use]
            pub const fn info(&self) -> &'static KindInfo {
                match self {
                    $(Self::$variant(_) => &<$config as Kind>::INFO,)+
                }
            }

            /// The objectives that it can say something about.
            #[must_use]
            pub fn can_feed(&self) -> Feeds {
                match self {
                    $(Self::$variant(config) => config.can_feed(),)+
                }
            }

            /// What it measures: two that measure the same are equal in it.
            #[must_use]
            pub fn identity(&self, connections: &Connections) -> Identity {
                match self {
                    $(Self::$variant(config) => Identity::of(stringify!($name), config, connections),)+
                }
            }

            /// All that its stanza says: what is built of it is the same while this is.
            #[must_use]
            pub fn whole(&self, connections: &Connections) -> String {
                match self {
                    $(Self::$variant(config) => identity::whole(stringify!($name), config, connections),)+
                }
            }

            /// Makes the check.
            #[must_use]
            pub fn build(&self, clients: &Clients) -> Arc<dyn Check> {
                match self {
                    $(Self::$variant(config) => config.build(clients),)+
                }
            }
        }
    };
}

kinds! {
    /// An HTTP endpoint that is the component.
    http: http::HttpConfig => Http,
    /// A DNS name, and the region that it leads to.
    dns: dns::DnsConfig => Dns,
    /// A JetStream stream and its mirror in the DR region.
    nats_mirror: nats_mirror::NatsMirrorConfig => NatsMirror,
    /// An External Secret in the DR cluster, and the one in the primary that it should equal.
    external_secret: external_secret::ExternalSecretConfig => ExternalSecret,
    /// An Argo CD application in the DR cluster.
    argocd_app: argocd_app::ArgocdAppConfig => ArgocdApp,
    /// Pods that must be ready.
    pods: pods::PodsConfig => Pods,
    /// A Grafana and its dashboards.
    grafana_dashboards: grafana_dashboards::GrafanaDashboardsConfig => GrafanaDashboards,
    /// Any number that a Prometheus has.
    promql: promql::PromqlConfig => Promql,
}
