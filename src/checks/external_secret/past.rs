//! The values that both sides held before. They tell whether DR went back to one of them.

use serde::{Deserialize, Serialize};

use super::Side;
use crate::domain::time::Timestamp;

/// How many values are kept. What DR went back to beyond them is taken for something new.
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

    /// When both sides last held what DR holds now, if they have held something else since. Then
    /// DR went back, and is as old as that.
    pub(super) fn went_back_to(&self, dr: &Side) -> Option<Timestamp> {
        let value = value(dr)?;
        let (_, old) = self.0.split_last()?;
        old.iter().find(|held| held.value == value).map(|held| held.until)
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self(self.0.into_iter().map(|held| Held { until: carry(held.until), ..held }).collect())
    }
}

fn value(dr: &Side) -> Option<String> {
    Some(dr.secret()?.hash.as_ref()?.token())
}
