//! The kinds of check: their common trait, and the list of all kinds.
//!
//! A kind is one file or folder: its stanza of the configuration, its I/O, and a pure function that
//! turns an answer into an observation. To add a kind, write the file, and add its module and a
//! line of `kinds!` below. What is to be done outside of this folder is in `docs/architecture.md`.
//!
//! What kinds share is in [`clients`](crate::clients): TLS, the causes of errors, names of reasons.
//! The trait of one run is [`engine::check::Check`](crate::engine::check::Check): the engine runs
//! checks without knowing their kinds.

use std::sync::Arc;

use crate::clients::kubernetes::Terms;
use crate::clients::{Clients, Connections};
use crate::decode::identity::{self, Identity};
use crate::decode::values::PromDuration;
use crate::decode::{Decode, Decoder, Node};
use crate::domain::check::Feeds;
use crate::domain::kind::KindInfo;

pub mod argocd_app;
mod condition;
pub mod dns;
pub mod external_secret;
pub mod grafana_dashboards;
pub mod http;
pub mod nats_mirror;
pub mod pods;
pub mod promql;
pub mod rights;
pub mod sides;
#[cfg(test)]
mod tests;

use crate::engine::check::{Check, Run};
pub use condition::Condition;
use rights::Right;
use sides::Sides;

/// The stanza of one kind.
pub trait Kind {
    /// The fixed properties of the kind.
    const INFO: KindInfo;

    /// The objectives that this stanza can feed, if they are fewer than those of the kind.
    fn can_feed(&self) -> Feeds {
        Self::INFO.can_feed
    }

    /// Makes the check. It never fails and does no I/O: a problem with a file or a server becomes
    /// an observation.
    fn build(&self, clients: &Clients) -> Arc<dyn Check>;

    /// The two sides of its comparison. The configuration refuses equal sides. There is no default,
    /// so that no kind forgets this.
    fn sides(&self) -> Sides<'_>;

    /// How long the one who reports the health may be silent until it counts as unknown, and the key
    /// that sets this. None for a kind that looks at the component itself.
    fn silence(&self) -> Option<(&'static str, PromDuration)> {
        None
    }

    /// The rights that it needs in Kubernetes. There is no default, so that no kind forgets this.
    fn rights(&self) -> Vec<Right<'_>>;
}

/// The list of all kinds: for each one, its key and the type of its stanza.
macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $name:ident: $config:ty => $variant:ident,)+) => {
        /// The stanza of a check of any kind.
        #[derive(Debug, Clone)]
        pub enum KindConfig {
            $($(#[doc = $doc])* $variant($config),)+
        }

        impl KindConfig {
            /// All kinds, in the order of the list.
            pub const ALL: &'static [&'static KindInfo] = &[$(&<$config as Kind>::INFO,)+];

            /// The keys of the stanzas, in the order of the list.
            pub(crate) const NAMES: &'static [&'static str] = &[$(stringify!($name),)+];

            /// Decodes the stanza under this key. None if errors were recorded.
            pub(crate) fn decode(name: &str, node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
                match name {
                    $(stringify!($name) => <$config>::decode(node, cx).map(Self::$variant),)+
                    _ => None,
                }
            }

            /// The JSON Schemas of the stanzas, by key.
            pub(crate) fn schemas() -> serde_json::Map<String, serde_json::Value> {
                [$((stringify!($name).to_owned(), <$config>::schema()),)+].into_iter().collect()
            }

            /// The fixed properties of this kind.
            #[must_use]
            pub const fn info(&self) -> &'static KindInfo {
                match self {
                    $(Self::$variant(_) => &<$config as Kind>::INFO,)+
                }
            }

            /// The objectives that it can feed.
            #[must_use]
            pub fn can_feed(&self) -> Feeds {
                match self {
                    $(Self::$variant(config) => config.can_feed(),)+
                }
            }

            /// The two sides of its comparison.
            pub(crate) fn sides(&self) -> Sides<'_> {
                match self {
                    $(Self::$variant(config) => config.sides(),)+
                }
            }

            /// How long the one who reports the health may be silent, and the key that sets this.
            pub(crate) fn silence(&self) -> Option<(&'static str, PromDuration)> {
                match self {
                    $(Self::$variant(config) => config.silence(),)+
                }
            }

            /// The rights that it needs in Kubernetes.
            #[must_use]
            pub fn rights(&self) -> Vec<Right<'_>> {
                match self {
                    $(Self::$variant(config) => config.rights(),)+
                }
            }

            /// The identity: it is equal for two stanzas that measure the same.
            #[must_use]
            pub fn identity(&self, connections: &Connections) -> Identity {
                match self {
                    $(Self::$variant(config) => Identity::of(stringify!($name), config, connections),)+
                }
            }

            /// All settings of the stanza. While they are equal, the same check can go on.
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
    /// An External Secret in the DR cluster, and the one in the primary that it should be equal to.
    external_secret: external_secret::ExternalSecretConfig => ExternalSecret,
    /// An Argo CD application in the DR cluster.
    argocd_app: argocd_app::ArgocdAppConfig => ArgocdApp,
    /// Pods that must be ready.
    pods: pods::PodsConfig => Pods,
    /// A Grafana and its dashboards.
    grafana_dashboards: grafana_dashboards::GrafanaDashboardsConfig => GrafanaDashboards,
    /// Any number from a Prometheus.
    promql: promql::PromqlConfig => Promql,
}

/// What a run needs from a shared answer.
const fn terms(run: Run) -> Terms {
    Terms { max_age: run.max_age, deadline: run.deadline }
}
