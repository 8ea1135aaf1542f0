//! Pods, and the workloads that they belong to.

use serde::Deserialize;

use super::{Condition, Metadata, or_default};
use crate::clients::kubernetes::Cluster;
use crate::clients::kubernetes::named::{ByName, Named};
use crate::clients::kubernetes::read::Resource;

/// A pod.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Pod {
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    pub status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct PodStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
}

impl Resource for Pod {
    const GROUP: &'static str = "";
    const VERSIONS: &'static [&'static str] = &["v1"];
    const PLURAL: &'static str = "pods";
    const KIND: &'static str = "Pod";
}

/// How many pods a workload wants.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the field is that of Kubernetes")]
pub struct WorkloadSpec {
    pub replicas: Option<u32>,
}

macro_rules! workload {
    ($(#[doc = $doc:literal])+ $name:ident: $plural:literal, $field:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Deserialize)]
        #[expect(missing_docs, reason = "the field is that of Kubernetes")]
        pub struct $name {
            #[serde(default, deserialize_with = "or_default")]
            pub spec: WorkloadSpec,
        }

        impl Resource for $name {
            const GROUP: &'static str = "apps";
            const VERSIONS: &'static [&'static str] = &["v1"];
            const PLURAL: &'static str = $plural;
            const KIND: &'static str = stringify!($name);
        }

        impl ByName for $name {
            fn named(cluster: &Cluster) -> &Named<Self> {
                &cluster.$field
            }
        }
    };
}

workload! {
    /// A `Deployment`.
    Deployment: "deployments", deployments
}
workload! {
    /// A `StatefulSet`.
    StatefulSet: "statefulsets", stateful_sets
}
