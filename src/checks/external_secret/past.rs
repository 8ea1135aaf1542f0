//! The values that both sides held before. They tell which of the two is the older one when they
//! differ.

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

/// What is known of two sides that differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Apart {
    /// DR lacks what the primary holds. It may have gone back.
    Behind(Option<WentBack>),
    /// DR may be the newer one, or a very old one.
    Unknown,
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

    /// Which of the two that differ is the older one, at this instant. `led` are the values that the
    /// primary held since the two were last equal.
    ///
    /// If DR still holds what both held, it is the primary that moved on. If DR holds what both held
    /// before that, it went back. If it holds what the primary has left since, it is late. Anything
    /// else can be something new, which DR got first, or come from an old backup of its cluster or
    /// its store: nobody knows. If the two were never equal, the primary is right.
    pub(super) fn judge(&self, dr: &Side, led: &[String], at: Timestamp) -> Apart {
        let Some((value, (last, old))) = value(dr).zip(self.0.split_last()) else { return Apart::Behind(None) };
        if last.value == value {
            return Apart::Behind(None);
        }
        match old.iter().find(|held| held.value == value) {
            Some(held) => Apart::Behind(Some(WentBack { to: Some(held.until), at })),
            None if led.contains(&value) => Apart::Behind(None),
            None => Apart::Unknown,
        }
    }

    /// Notes what the primary holds while the two differ.
    pub(super) fn leads(&self, primary: &Side, led: &mut Vec<String>) {
        let Some(value) = value(primary) else { return };
        if self.0.last().is_some_and(|last| last.value != value) && !led.contains(&value) {
            led.push(value);
            led.drain(..led.len().saturating_sub(KEPT));
        }
    }

    /// Whether a side holds what both held last.
    pub(super) fn is_last(&self, side: &Side) -> bool {
        self.0.last().map(|last| last.value.clone()) == value(side)
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self(self.0.into_iter().map(|held| Held { until: carry(held.until), ..held }).collect())
    }
}

fn value(side: &Side) -> Option<String> {
    Some(side.secret()?.hash.as_ref()?.token())
}
