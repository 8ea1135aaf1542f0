//! An `Application` of Argo CD.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Metadata, or_default};
use crate::clients::kubernetes::Cluster;
use crate::clients::kubernetes::named::{ByName, Named};
use crate::clients::kubernetes::read::Resource;

/// An `Application` of Argo CD.
#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct Application {
    #[serde(default, deserialize_with = "or_default")]
    pub metadata: Metadata,
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
    pub source: Digest,
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Digest,
    #[serde(default, deserialize_with = "or_default")]
    pub destination: Value,
    #[serde(default, deserialize_with = "or_default")]
    pub sync_policy: Option<SyncPolicy>,
    pub source_hydrator: Option<IgnoredAny>,
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
    pub resources: Resources,
    #[serde(default, deserialize_with = "or_default")]
    pub source_hydrator: HydratorStatus,
}

/// The state of the manifests that Argo CD renders into a branch of their own.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the field is that of the CustomResourceDefinition")]
pub struct HydratorStatus {
    pub current_operation: Option<Hydration>,
}

#[derive(Debug, Clone, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct Hydration {
    #[serde(default, deserialize_with = "or_default")]
    pub phase: String,
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
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
    pub source: Digest,
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Digest,
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
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct OperationState {
    pub finished_at: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    pub phase: String,
    #[serde(default, deserialize_with = "or_default")]
    pub message: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the CustomResourceDefinition")]
pub struct Deployed {
    /// When the sync ended.
    pub deployed_at: Option<jiff::Timestamp>,
    /// When it began. Older versions do not tell.
    pub deploy_started_at: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    pub initiated_by: Initiator,
    #[serde(default, deserialize_with = "or_default")]
    pub revision: String,
    #[serde(default, deserialize_with = "or_default")]
    pub revisions: Vec<String>,
}

/// Who began a sync.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Initiator {
    /// Whether it was Argo CD itself. Older versions do not tell.
    #[serde(default, deserialize_with = "or_default")]
    pub automated: bool,
}

/// The number of an application's resources that differ from git, by kind. There can be thousands
/// of resources, and nothing else is needed of them.
#[derive(Debug, Clone, Default)]
pub struct Resources(BTreeMap<String, u32>);

impl Resources {
    /// Every kind of resource, with the number that differs.
    pub fn out_of_sync(&self) -> impl Iterator<Item = (&str, u32)> {
        self.0.iter().map(|(kind, count)| (kind.as_str(), *count))
    }
}

#[derive(Deserialize)]
struct ResourceStatus {
    #[serde(default, deserialize_with = "or_default")]
    kind: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
}

impl<'de> Deserialize<'de> for Resources {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counts;

        impl<'de> Visitor<'de> for Counts {
            type Value = Resources;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of resources")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut resources: A) -> Result<Resources, A::Error> {
                let mut counts = BTreeMap::new();
                while let Some(ResourceStatus { kind, status }) = resources.next_element()? {
                    *counts.entry(kind).or_insert(0) += u32::from(status == "OutOfSync");
                }
                Ok(Resources(counts))
            }
        }

        deserializer.deserialize_seq(Counts)
    }
}

/// A part of an object that is only compared: its hash, without empty fields. The part itself can
/// be large, such as the Helm values of an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(Option<u64>);

impl Digest {
    /// Whether it has no content.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0.is_none()
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = bare(&Value::deserialize(deserializer)?);
        let hash = |value: Value| {
            let mut hasher = DefaultHasher::new();
            // The keys of a map of `serde_json` are sorted.
            value.to_string().hash(&mut hasher);
            hasher.finish()
        };
        Ok(Self((!value.is_null()).then(|| hash(value))))
    }
}

/// A value without its empty fields.
pub(crate) fn bare(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields: serde_json::Map<_, _> = fields
                .iter()
                .map(|(key, value)| (key.clone(), bare(value)))
                .filter(|(_, value)| !value.is_null())
                .collect();
            if fields.is_empty() { Value::Null } else { Value::Object(fields) }
        }
        Value::Array(items) if items.is_empty() => Value::Null,
        Value::Array(items) => Value::Array(items.iter().map(bare).collect()),
        Value::String(text) if text.is_empty() => Value::Null,
        Value::Bool(false) => Value::Null,
        Value::Number(number) if number.as_i64() == Some(0) => Value::Null,
        other => other.clone(),
    }
}

impl Resource for Application {
    const GROUP: &'static str = "argoproj.io";
    const VERSIONS: &'static [&'static str] = &["v1alpha1"];
    const PLURAL: &'static str = "applications";
    const KIND: &'static str = "Application";
}

impl ByName for Application {
    fn named(cluster: &Cluster) -> &Named<Self> {
        &cluster.applications
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_is_that_of_the_content() {
        let digest = |text: &str| serde_json::from_str::<Digest>(text).expect("a digest");
        let plain = digest(r#"{"path": "a", "helm": {"values": "x: 1"}}"#);
        assert_eq!(plain, digest(r#"{"helm": {"values": "x: 1", "skipCrds": false}, "path": "a", "ref": ""}"#));
        assert_ne!(plain, digest(r#"{"path": "a", "helm": {"values": "x: 2"}}"#));
        for empty in ["null", "{}", "[]", r#"{"path": ""}"#] {
            assert!(digest(empty).is_empty(), "{empty}");
        }
    }

    #[test]
    fn resources_are_counted_and_not_kept() {
        let resources = |value: Value| serde_json::from_value::<Resources>(value);
        let counted = resources(json!([
            {"kind": "Role", "status": "Synced"}, {"kind": "Pod", "status": "OutOfSync", "name": "a"},
            {"kind": "Pod", "status": null}, {"kind": "Pod", "status": "OutOfSync"}, {},
        ]));
        let counted = counted.expect("resources");
        assert_eq!(counted.out_of_sync().collect::<Vec<_>>(), [("", 0), ("Pod", 2), ("Role", 0)]);
        assert!(resources(json!({"kind": "Role"})).is_err() && resources(json!([7])).is_err());
        let none: ApplicationStatus = serde_json::from_value(json!({"resources": null})).expect("a status");
        assert_eq!(none.resources.out_of_sync().count(), 0);
    }
}
