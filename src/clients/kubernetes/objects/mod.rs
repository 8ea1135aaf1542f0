//! The parts of objects that are read. Other fields are not kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

mod application;
mod external_secret;
mod secret;
mod workloads;

pub(crate) use application::bare;
pub use application::*;
pub use external_secret::*;
pub(super) use secret::PartialSecret;
pub use secret::{DataHash, SecretMetadata, SecretState, Writer};
pub use workloads::*;

/// A field that is `null` counts as missing.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The metadata of every object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of Kubernetes")]
pub struct Metadata {
    pub name: String,
    /// The identity of the object. An object that is deleted and created again gets a new one.
    pub uid: Option<String>,
    pub generation: Option<i64>,
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
    pub deletion_timestamp: Option<String>,
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
