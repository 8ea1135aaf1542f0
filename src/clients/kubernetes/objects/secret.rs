//! The metadata of a secret.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::or_default;

/// The result of reading a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretState {
    /// It does not exist.
    Missing,
    /// It exists, with this metadata.
    There(SecretMetadata),
}

/// The metadata of a secret. Its data is never requested.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretMetadata {
    /// The identity of the object. An object that is deleted and created again gets a new one.
    pub uid: Option<String>,
    /// The hash that External Secrets keeps of the data, if there is one.
    pub hash: Option<DataHash>,
    /// Who wrote it, according to its `managedFields`. Empty if the API server keeps none.
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
    /// When it last changed its fields, by the cluster's clock.
    pub time: Option<jiff::Timestamp>,
    /// Whether it owns a part of the secret's data.
    pub owns_data: bool,
}

/// The answer to a request for the metadata of a secret.
#[derive(Deserialize)]
pub(in crate::clients::kubernetes) struct PartialSecret {
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

/// Only these field names are looked at. The keys of the data are not needed.
#[derive(Default, Deserialize)]
struct OwnedFields {
    #[serde(rename = "f:data")]
    data: Option<IgnoredAny>,
    /// How a server-side apply of `stringData` is recorded.
    #[serde(rename = "f:stringData")]
    string_data: Option<IgnoredAny>,
}

impl PartialSecret {
    pub(in crate::clients::kubernetes) fn name(&self) -> &str {
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

/// The hash of a secret's data that External Secrets writes. It has no salt: somebody who sees it
/// can test guesses of the data. So it cannot be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct DataHash(String);

impl DataHash {
    /// The annotation with the hash.
    const ANNOTATION: &'static str = "reconcile.external-secrets.io/data-hash";

    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// A part of the hash. It is long enough to show a change of the data, and too short to test
    /// guesses of the data.
    #[must_use]
    pub fn token(&self) -> String {
        self.0.chars().take(4).collect()
    }

    /// Whether both hashes come from the same algorithm. Otherwise a difference says nothing about
    /// the data.
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
}
