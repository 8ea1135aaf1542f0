//! What a request is for.

use http::Method;

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
}

impl Asked {
    pub fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_matches('/').split('/');
        let mut asked = Self::default();
        match parts.next()? {
            "api" => {}
            "apis" => asked.group = parts.next()?.to_owned(),
            _ => return None,
        }
        asked.version = parts.next()?.to_owned();
        let mut rest: Vec<&str> = parts.collect();
        if rest.first() == Some(&"namespaces") && rest.len() > 2 {
            asked.namespace = rest[1].to_owned();
            rest.drain(..2);
        }
        asked.plural = (*rest.first()?).to_owned();
        asked.name = rest.get(1).copied().unwrap_or_default().to_owned();
        asked.status = rest.get(2) == Some(&"status");
        Some(asked)
    }

    pub fn verb(&self, method: &Method) -> &'static str {
        match (method.as_str(), self.name.is_empty()) {
            ("GET", true) => "list",
            ("GET", false) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", _) => "delete",
            _ => "other",
        }
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

    /// Whether the resource is one of a CustomResourceDefinition.
    pub fn is_custom(&self) -> bool {
        matches!(self.plural.as_str(), "externalsecrets" | "applications")
    }

    pub fn kind(&self) -> &'static str {
        KINDS.into_iter().find(|(_, _, plural, _)| *plural == self.plural).map_or("Unknown", |(kind, ..)| kind)
    }
}
