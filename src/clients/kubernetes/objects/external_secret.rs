//! An `ExternalSecret` of External Secrets Operator.

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Condition, Metadata, or_default};
use crate::clients::kubernetes::Cluster;
use crate::clients::kubernetes::named::{ByName, Named};
use crate::clients::kubernetes::read::Resource;

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

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecretSpec {
    pub refresh_interval: Option<String>,
    pub refresh_policy: Option<String>,
    pub sync_windows: Option<SyncWindows>,
    #[serde(default, deserialize_with = "or_default")]
    pub target: ExternalSecretTarget,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct ExternalSecretTarget {
    pub name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub immutable: bool,
    /// The kind of the target, if it is not a secret.
    pub manifest: Option<IgnoredAny>,
}

/// The times at which periodic refreshes are allowed or denied.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct SyncWindows {
    #[serde(default, deserialize_with = "or_default")]
    pub windows: Vec<IgnoredAny>,
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

/// The secret of an external secret.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct Binding {
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

impl Resource for ExternalSecret {
    const GROUP: &'static str = "external-secrets.io";
    const VERSIONS: &'static [&'static str] = &["v1", "v1beta1"];
    const PLURAL: &'static str = "externalsecrets";
    const KIND: &'static str = "ExternalSecret";
}

impl ByName for ExternalSecret {
    fn named(cluster: &Cluster) -> &Named<Self> {
        &cluster.external_secrets
    }
}
