//! The parts of objects that are read. What is not named here is not kept.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt;
use std::hash::{Hash as _, Hasher as _};

use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Cluster;
use super::named::{ByName, Named};
use super::read::Resource;

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
    /// Of one object for as long as it lives: one that is deleted and made again has another.
    pub uid: Option<String>,
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
    /// Of which kind the target is, where it is no secret.
    pub manifest: Option<IgnoredAny>,
}

/// The times at which periodic refreshes are held back, or let through.
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
    const KIND: &'static str = "ExternalSecret";
}

impl ByName for ExternalSecret {
    fn named(cluster: &Cluster) -> &Named<Self> {
        &cluster.external_secrets
    }
}

/// All that is read of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// There is none.
    Missing,
    /// There is one, of which this is known.
    There(SecretMetadata),
}

/// What the metadata of a secret tells. Its data is never asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretMetadata {
    /// Of one object for as long as it lives: one that is deleted and made again has another.
    pub uid: Option<String>,
    /// The hash that External Secrets keeps of the data, if there is one.
    pub hash: Option<DataHash>,
    /// Who wrote it, as its `managedFields` say. Empty where the API server keeps none.
    pub writers: Vec<Writer>,
    /// Whether it is being deleted, and waits for a finalizer.
    pub is_being_deleted: bool,
}

/// An entry of `managedFields`: the newest write of one manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writer {
    /// The manager, e.g. `kubectl-edit`.
    pub manager: String,
    /// `Apply` or `Update`.
    pub operation: String,
    /// When it last changed what it owns, by the cluster's clock.
    pub time: Option<jiff::Timestamp>,
    /// Whether it owns something of the secret's data.
    pub owns_data: bool,
}

/// The answer to a request for the metadata of a secret.
#[derive(Deserialize)]
pub(super) struct PartialSecret {
    metadata: PartialMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PartialMetadata {
    name: String,
    uid: Option<String>,
    deletion_timestamp: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, Value>,
    #[serde(default, deserialize_with = "or_default")]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Deserialize)]
struct ManagedFields {
    #[serde(default, deserialize_with = "or_default")]
    manager: String,
    #[serde(default, deserialize_with = "or_default")]
    operation: String,
    time: Option<jiff::Timestamp>,
    #[serde(rename = "fieldsV1", default, deserialize_with = "or_default")]
    fields: OwnedFields,
}

/// Of the fields' names only these are looked at: the keys of the data are nobody's business.
#[derive(Default, Deserialize)]
struct OwnedFields {
    #[serde(rename = "f:data")]
    data: Option<IgnoredAny>,
    /// What a server-side apply of `stringData` is recorded as.
    #[serde(rename = "f:stringData")]
    string_data: Option<IgnoredAny>,
}

impl PartialSecret {
    pub(super) fn name(&self) -> &str {
        &self.metadata.name
    }
}

impl From<PartialSecret> for SecretMetadata {
    fn from(PartialSecret { metadata }: PartialSecret) -> Self {
        let writer = |ManagedFields { manager, operation, time, fields }| Writer {
            manager,
            operation,
            time,
            owns_data: fields.data.is_some() || fields.string_data.is_some(),
        };
        Self {
            uid: metadata.uid,
            hash: metadata.annotations.get(DataHash::ANNOTATION).and_then(Value::as_str).map(DataHash::new),
            writers: metadata.managed_fields.into_iter().map(writer).collect(),
            is_being_deleted: metadata.deletion_timestamp.is_some(),
        }
    }
}

/// The hash over a secret's data that External Secrets writes. Not salted: whoever sees it can test guesses of the data,
/// so it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DataHash(String);

impl DataHash {
    /// The annotation that holds it.
    const ANNOTATION: &'static str = "reconcile.external-secrets.io/data-hash";

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

/// What became of the manifests that Argo CD renders into a branch of their own.
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
    pub deployed_at: Option<jiff::Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    pub revision: String,
    #[serde(default, deserialize_with = "or_default")]
    pub revisions: Vec<String>,
}

/// The resources of an application by kind: how many of them differ from git. There can be thousands, and nothing else is
/// used of them.
#[derive(Debug, Clone, Default)]
pub struct Resources(BTreeMap<String, u32>);

impl Resources {
    /// Every kind that there is, with how many of it differ.
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

/// A part of an object that is only compared with another: its hash, without what is empty in it. The part itself can be
/// large, such as the Helm values of an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest(Option<u64>);

impl Digest {
    /// Whether there is nothing in it.
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

/// A value without what is empty in it.
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(metadata: &Value) -> SecretMetadata {
        let answer = json!({"kind": "PartialObjectMetadata", "metadata": metadata});
        serde_json::from_value::<PartialSecret>(answer).expect("the metadata of a secret").into()
    }

    #[test]
    fn the_writers_of_a_secret_are_told_apart_by_what_they_own() {
        let controller = "externalsecrets.external-secrets.io/nats";
        let metadata = json!({
            "name": "nats", "uid": "6f3c", "deletionTimestamp": "2026-09-20T12:00:00Z",
            "annotations": {"reconcile.external-secrets.io/data-hash": "0a1b", "other": "7"},
            "managedFields": [
                {"manager": controller, "operation": "Apply", "time": "2026-09-20T11:40:00Z", "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:data": {"f:password": {}}, "f:metadata": {"f:annotations": {}}}},
                {"manager": "kubectl-edit", "operation": "Update", "time": "2026-09-20T11:50:00Z",
                    "fieldsV1": {"f:metadata": {"f:labels": {}}, "f:data": null}},
                {"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:stringData": {"f:password": {}}}},
                {},
            ],
        });
        let secret = secret(&metadata);
        assert_eq!((secret.uid.as_deref(), secret.is_being_deleted), (Some("6f3c"), true));
        assert_eq!(secret.hash, Some(DataHash::new("0a1b")));
        let writers: Vec<_> =
            secret.writers.iter().map(|by| (by.manager.as_str(), by.operation.as_str(), by.owns_data)).collect();
        let expected = [
            (controller, "Apply", true),
            ("kubectl-edit", "Update", false),
            ("kubectl", "Apply", true),
            ("", "", false),
        ];
        assert_eq!(writers, expected);
        let times: Vec<_> = secret.writers.iter().map(|by| by.time.map(|time| time.to_string())).collect();
        assert_eq!(times[..2], [Some("2026-09-20T11:40:00Z".to_owned()), Some("2026-09-20T11:50:00Z".to_owned())]);
        assert!(!format!("{secret:?}").contains("password"), "{secret:?}");
    }

    #[test]
    fn metadata_without_any_of_it_is_still_that_of_a_secret() {
        let nothing = json!({"name": "nats", "annotations": null, "managedFields": null});
        assert_eq!(secret(&nothing), SecretMetadata::default());
        let odd = json!({"name": "nats", "annotations": {"reconcile.external-secrets.io/data-hash": 7}});
        assert_eq!(secret(&odd).hash, None);
    }

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

    #[test]
    fn objects_have_an_identity() {
        let object = json!({"metadata": {"name": "saas", "uid": "6f3c"}, "spec": null});
        let application: Application = serde_json::from_value(object).expect("an Application");
        assert_eq!(application.metadata.uid.as_deref(), Some("6f3c"));
        let object = json!({"metadata": {"name": "nats", "uid": "7a"}});
        let secret: ExternalSecret = serde_json::from_value(object).expect("an ExternalSecret");
        assert_eq!(secret.metadata.uid.as_deref(), Some("7a"));
    }
}
