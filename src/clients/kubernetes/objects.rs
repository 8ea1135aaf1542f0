//! The parts of objects that are read. What is not named here is not kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Cluster;
use super::read::{Listing, Resource};
use super::shared::Shared;
use crate::config::values::Namespace;

/// A field that is `null` is one that is not there.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// An `ExternalSecret` of External Secrets Operator.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecret {
    pub metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    pub spec: ExternalSecretSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub status: ExternalSecretStatus,
}

/// What every object has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Metadata {
    pub name: String,
    pub generation: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    pub deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecretSpec {
    pub refresh_interval: Option<String>,
    pub refresh_policy: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub target: ExternalSecretTarget,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecretTarget {
    pub name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub immutable: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecretStatus {
    pub refresh_time: Option<jiff::Timestamp>,
    pub synced_resource_version: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub conditions: Vec<Condition>,
    pub binding: Option<Binding>,
}

/// The secret that an external secret was bound to.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct Binding {
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

/// One condition of a status.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    pub status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub reason: String,
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
}

impl Resource for ExternalSecret {
    const GROUP: &'static str = "external-secrets.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PLURAL: &'static str = "externalsecrets";
    const LIST: &'static str = "ExternalSecretList";

    fn shared(cluster: &Cluster) -> &Shared<Namespace, Listing<Self>> {
        &cluster.external_secrets
    }
}

/// All that is read of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// There is none.
    Missing,
    /// There is one; with its hash, if it carries one.
    There(Option<DataHash>),
}

/// The hash over a secret's data that External Secrets writes. Not salted: whoever sees it can test guesses of the data,
/// so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DataHash(String);

impl DataHash {
    /// The annotation that holds it.
    pub(super) const ANNOTATION: &'static str = "reconcile.external-secrets.io/data-hash";

    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A part of it that is long enough to see that the data changed, and too short to test guesses of the data.
    #[must_use]
    pub fn token(&self) -> String {
        self.0.chars().take(4).collect()
    }

    /// Whether both come of the same algorithm: only then does a difference tell of the data.
    #[must_use]
    pub fn is_comparable(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && !self.0.is_empty()
    }
}

impl fmt::Debug for DataHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataHash(…)")
    }
}

/// An `Application` of Argo CD.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct Application {
    #[serde(default, deserialize_with = "or_default")]
    pub spec: ApplicationSpec,
    #[serde(default, deserialize_with = "or_default")]
    pub status: ApplicationStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ApplicationSpec {
    #[serde(default, deserialize_with = "or_default")]
    pub source: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub destination: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub sync_policy: Option<SyncPolicy>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct SyncPolicy {
    pub automated: Option<Automated>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct Automated {
    pub enabled: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ApplicationStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub sync: SyncStatus,
    #[serde(default, deserialize_with = "or_default")]
    pub health: HealthStatus,
    pub reconciled_at: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    pub conditions: Vec<ApplicationCondition>,
    pub operation_state: Option<OperationState>,
    #[serde(default, deserialize_with = "or_default")]
    pub history: Vec<Deployed>,
    #[serde(default, deserialize_with = "or_default")]
    pub resources: Vec<ResourceStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct SyncStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub revision: String,
    #[serde(default, deserialize_with = "or_default")]
    pub revisions: Vec<String>,
    pub compared_to: Option<ComparedTo>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ComparedTo {
    #[serde(default, deserialize_with = "or_default")]
    pub source: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub destination: Value,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct HealthStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ApplicationCondition {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct OperationState {
    pub finished_at: Option<jiff::Timestamp>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct Deployed {
    pub deployed_at: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    pub revision: String,
    #[serde(default, deserialize_with = "or_default")]
    pub revisions: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ResourceStatus {
    #[serde(default, deserialize_with = "or_default")]
    pub kind: String,
    #[serde(default, deserialize_with = "or_default")]
    pub status: String,
}

impl Resource for Application {
    const GROUP: &'static str = "argoproj.io";
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];
    const PLURAL: &'static str = "applications";
    const LIST: &'static str = "ApplicationList";

    fn shared(cluster: &Cluster) -> &Shared<Namespace, Listing<Self>> {
        &cluster.applications
    }
}

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
    const LIST: &'static str = "PodList";

    fn shared(cluster: &Cluster) -> &Shared<Namespace, Listing<Self>> {
        &cluster.pods
    }
}

/// How many pods a workload wants.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the field is that of Kubernetes")]
pub struct WorkloadSpec {
    pub replicas: Option<u32>,
}

macro_rules! workload {
    ($(#[doc = $doc:literal])+ $name:ident: $plural:literal, $list:literal, $field:ident) => {
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
            const LIST: &'static str = $list;

            fn shared(cluster: &Cluster) -> &Shared<Namespace, Listing<Self>> {
                &cluster.$field
            }
        }
    };
}

workload! {
    /// A `Deployment`.
    Deployment: "deployments", "DeploymentList", deployments
}
workload! {
    /// A `StatefulSet`.
    StatefulSet: "statefulsets", "StatefulSetList", stateful_sets
}
