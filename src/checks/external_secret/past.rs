//! The values that both sides held before. They tell whether DR went back to one of them.

use serde::{Deserialize, Serialize};

use super::Side;
use crate::domain::observation::WentBack;
use crate::domain::time::Timestamp;

/// How many values are kept. Of what DR went back to beyond them, nobody knows how old it is.
const KEPT: usize = 16;

/// The values that both sides held, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Past(Vec<Held>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// A token for the value.
    value: String,
    /// When both were last known to hold it.
    until: Timestamp,
}

impl Past {
    /// Both sides hold the same at this instant.
    pub(super) fn is_equal(&mut self, dr: &Side, at: Timestamp) {
        let Some(value) = value(dr) else { return };
        self.0.retain(|held| held.value != value);
        self.0.push(Held { value, until: at });
        let old = self.0.len().saturating_sub(KEPT);
        self.0.drain(..old);
    }

    /// Whether DR went back, at this instant at the latest: to what both sides held before they held
    /// something else, or to what they were never seen to hold. That can be something new, which DR
    /// got first, or come from an old backup of its cluster or its store: nobody knows.
    pub(super) fn went_back(&self, dr: &Side, at: Timestamp) -> Option<WentBack> {
        let value = value(dr)?;
        let (last, old) = self.0.split_last()?;
        if last.value == value {
            return None;
        }
        let to = old.iter().find(|held| held.value == value).map(|held| held.until);
        Some(WentBack { to, at })
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self(self.0.into_iter().map(|held| Held { until: carry(held.until), ..held }).collect())
    }
}

fn value(dr: &Side) -> Option<String> {
    Some(dr.secret()?.hash.as_ref()?.token())
}
