//! Values for Grafana.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Word;

/// The UID of a dashboard.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DashboardUid(String);

impl DashboardUid {
    /// The UID.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A UID from another system. None if no dashboard can have it.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for DashboardUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Word for DashboardUid {
    const NOUN: &'static str = "UID";
    const EXPECTED: &'static str = "the UID of a dashboard: 1 to 253 of a-z, A-Z, 0-9, `-`, `_` and `.`";

    fn parse(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // In a URL path, a UID of dots alone would lead elsewhere.
        let named = text.bytes().any(|byte| byte != b'.');
        (text.len() <= 253 && named && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "maxLength": 253, "pattern": "^[a-zA-Z0-9._-]*[a-zA-Z0-9_-][a-zA-Z0-9._-]*$"})
    }
}
