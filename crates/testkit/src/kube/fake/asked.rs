//! What a request is for.

use http::request::Parts;

use super::super::KINDS;
use super::state::Key;

/// What a request is for.
#[derive(Debug, Default)]
pub struct Asked {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub namespace: String,
    pub name: String,
    pub status: bool,
    pub verb: &'static str,
    pub query: String,
    pub metadata_only: bool,
    /// Who writes, as `managedFields` name it.
    pub manager: String,
}

impl Asked {
    pub fn of(head: &Parts) -> Self {
        let accept = head.headers.get("accept").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut asked = Self::of_path(head.uri.path()).unwrap_or_default();
        asked.metadata_only = accept.contains("as=PartialObjectMetadata");
        let (managers, query): (Vec<&str>, Vec<&str>) =
            head.uri.query().unwrap_or_default().split('&').partition(|pair| pair.starts_with("fieldManager="));
        asked.query = query.join("&");
        let manager = managers.first().and_then(|pair| pair.split_once('=')).map_or("unknown", |(_, manager)| manager);
        asked.manager = manager.replace("%2F", "/");
        asked.verb = match (head.method.as_str(), asked.name.is_empty()) {
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => "other",
        };
        asked
    }

    fn of_path(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let mut asked = Self::default();
        match parts.next()? {
            "api" => {}
            "apis" => parts.next()?.clone_into(&mut asked.group),
            _ => return None,
        }
        parts.next()?.clone_into(&mut asked.version);
        let mut rest: Vec<&str> = parts.collect();
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            rest[1].clone_into(&mut asked.namespace);
            rest.drain(..2);
        }
        (*rest.first()?).clone_into(&mut asked.plural);
        rest.get(1).copied().unwrap_or_default().clone_into(&mut asked.name);
        asked.status = rest.get(2) == Some(&"status");
        Some(asked)
    }

    pub fn key(&self, name: &str) -> Key {
        (self.group.clone(), self.plural.clone(), self.namespace.clone(), name.to_owned())
    }

    /// The resource as messages name it.
    pub fn resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// The version as objects name it.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether the resource is one of a `CustomResourceDefinition`.
    pub fn is_custom(&self) -> bool {
        matches!(self.plural.as_str(), "externalsecrets" | "applications")
    }

    pub fn kind(&self) -> &'static str {
        KINDS.into_iter().find(|(_, _, plural, _)| *plural == self.plural).map_or("Unknown", |(kind, ..)| kind)
    }
}
