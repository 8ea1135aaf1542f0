//! The states of incidents and drills stand in a table beside the record. The record names the hash
//! of each, so a state that somebody changed is found.

use std::collections::BTreeMap;
use std::fmt;

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::record::{Broken, Fact, Head, Link};

/// What people plan or declare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Planned {
    /// An incident.
    Incident,
    /// A drill.
    Drill,
}

impl Planned {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Incident, Self::Drill];

    /// The word for it, also in the table.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Incident => "incident",
            Self::Drill => "drill",
        }
    }

    /// The fact that names a state. None if it cannot be written as JSON.
    #[must_use]
    pub fn fact(self, id: &str, state: &impl Serialize) -> Option<Fact> {
        let sha256 = hash(serde_json::to_value(state).ok()?);
        Some(Fact::State { of: self, id: id.to_owned(), sha256 })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// The SHA-256 of a state. A field without a value counts as absent, so a later version that knows
/// more fields computes the same.
fn hash(mut state: Value) -> String {
    prune(&mut state);
    // The keys of an object are sorted.
    let text = format!("dr-exporter state v1:{state}");
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(all) => all.is_empty(),
        Value::Object(all) => all.is_empty(),
        _ => false,
    }
}

fn prune(value: &mut Value) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(prune),
        Value::Object(all) => {
            all.values_mut().for_each(prune);
            all.retain(|_, value| !is_empty(value));
        }
        _ => {}
    }
}

/// A record that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Its end.
    pub head: Head,
    /// The incidents and drills whose states the record does not name, because a version stored them
    /// that did not record states.
    pub uncovered: Vec<(Planned, String)>,
}

/// The states that a record names.
#[derive(Debug, Default)]
pub(super) struct Named(BTreeMap<(Planned, String), String>);

impl Named {
    /// Takes the next entry. A later entry counts.
    pub(super) fn take(&mut self, link: &Link) {
        if !link.body.starts_with("{\"what\":\"state\"") {
            return;
        }
        if let Some(Fact::State { of, id, sha256 }) = link.fact() {
            self.0.insert((of, id), sha256);
        }
    }

    /// Compares them with the stored states: what it is, its id, and its JSON. Returns those that the
    /// record does not name.
    ///
    /// # Errors
    /// One was changed, or is missing.
    pub(super) fn compare(
        mut self,
        stored: impl IntoIterator<Item = (Planned, String, String)>,
    ) -> Result<Vec<(Planned, String)>, Broken> {
        let mut uncovered = Vec::new();
        for (of, id, state) in stored {
            let found = serde_json::from_str(&state).ok().map(hash);
            match self.0.remove(&(of, id.clone())) {
                None => uncovered.push((of, id)),
                Some(expected) if found.as_ref() == Some(&expected) => {}
                Some(_) => return Err(Broken::OtherState(of, id)),
            }
        }
        match self.0.pop_first() {
            Some(((of, id), _)) => Err(Broken::NoState(of, id)),
            None => Ok(uncovered),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_there_counts() {
        let state = json!({"id": "a", "steps": [{"done": null, "name": "x"}], "count": 0, "open": false});
        let later =
            json!({"open": false, "id": "a", "count": 0, "steps": [{"name": "x"}], "new": null, "more": {"a": []}});
        assert_eq!(hash(state.clone()), hash(later));
        for change in [
            json!({"id": "b"}),
            json!({"count": 1}),
            json!({"open": true}),
            json!({"steps": []}),
            json!({"steps": [{"name": "y"}]}),
            json!({"new": ""}),
        ] {
            let mut changed = state.clone();
            changed.as_object_mut().expect("an object").extend(change.as_object().expect("an object").clone());
            assert_ne!(hash(changed.clone()), hash(state.clone()), "{changed}");
        }
    }
}
