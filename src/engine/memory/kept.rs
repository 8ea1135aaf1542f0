//! What was handed over of a check, and what changed since.

use serde_json::Value;

use super::Extent;
use crate::domain::remembered::RememberedCheck;
use crate::domain::time::Timestamp;
use crate::engine::report::CheckMemory;

/// A check as it was last handed over, on the steady timeline.
pub(in crate::engine) struct KeptCheck {
    pub(super) state: RememberedCheck,
    /// The memory of the check, in wall-clock time.
    pub(in crate::engine) memory: Option<Value>,
    /// What the wall clock called the machine's boot then.
    pub(super) memory_booted: Option<Timestamp>,
    /// Whether the check has run since the start. Otherwise what is stored stays as it is, with a
    /// memory that is not known here.
    has_run: bool,
    /// How much that memory has changed since.
    pub(super) dirt: Dirt,
}

/// How much the memory of a check has changed since it was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dirt {
    /// Not at all.
    Clean,
    /// Only in something that moves forward with every run.
    Drift,
    /// In something that is news.
    News,
}

impl KeptCheck {
    /// A check whose `state` and memory are already stored.
    pub(in crate::engine) fn new(state: RememberedCheck, memory: Option<Value>) -> Self {
        Self { state, memory, memory_booted: None, has_run: false, dirt: Dirt::Clean }
    }

    /// The same check after a reload, in this `state`.
    pub(in crate::engine) fn carried(self, state: RememberedCheck) -> Self {
        Self { state, dirt: Dirt::Clean, ..self }
    }

    /// The check has run.
    pub(in crate::engine) fn reported(&mut self) {
        self.has_run = true;
    }

    /// Takes in the memory of a check. It is written at once if it is news. Otherwise it is written
    /// with the check's next news or proof, or with the next batch.
    pub(in crate::engine) fn note(&mut self, memory: CheckMemory, booted: Option<Timestamp>) {
        let CheckMemory { value, at_once } = memory;
        if self.memory.as_ref() != Some(&value) {
            (self.memory, self.memory_booted) = (Some(value), booted);
            self.dirt = self.dirt.max(if at_once { Dirt::News } else { Dirt::Drift });
        }
    }

    /// Whether the current state must be handed over. Before the check has run that would lose its
    /// stored memory.
    pub(super) fn is_to_be_taken(&self, now: &RememberedCheck, extent: Extent) -> bool {
        self.has_run
            && match extent {
                Extent::News => now.is_news_after(&self.state) || self.dirt == Dirt::News,
                Extent::Drift => self.dirt > Dirt::Clean || *now != self.state,
                Extent::Anew => true,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_grew_older_waits_for_the_next_batch() {
        let at = |seconds| Some(Timestamp::from_unix_seconds(seconds));
        let before = RememberedCheck { health_seen: at(0), last_success: at(0), successes: 1, ..Default::default() };
        let now = RememberedCheck { health_seen: at(30), last_success: at(30), successes: 2, ..before.clone() };
        let mut kept = KeptCheck::new(before, None);
        assert!(!kept.is_to_be_taken(&now, Extent::Drift), "its memory is not known yet");
        kept.reported();
        assert!(!kept.is_to_be_taken(&now, Extent::News) && kept.is_to_be_taken(&now, Extent::Drift));
        let fails = RememberedCheck { failures: 1, ..now };
        assert!(kept.is_to_be_taken(&fails, Extent::News));
    }
}
