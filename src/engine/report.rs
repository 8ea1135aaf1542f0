//! The report of a run.

use std::time::Duration;

use crate::decode::values::secrets;
use crate::domain::observation::Observation;
use crate::domain::time::Timestamp;

/// The identity of a schedule. A check that is scheduled again gets a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CheckId(pub u64);

/// One finished run.
#[derive(Debug)]
pub struct Report {
    /// The schedule that it belongs to.
    pub id: CheckId,
    /// When the run ended.
    pub at: Timestamp,
    /// How long the run took.
    pub took: Duration,
    /// What it found.
    pub observation: Observation,
    /// The state of the check that must survive a restart.
    pub memory: Option<CheckMemory>,
}

/// The state of a check that must survive a restart.
#[derive(Debug)]
pub struct CheckMemory {
    /// Plain data that only the check understands.
    pub value: serde_json::Value,
    /// Whether a change must be on the disk before it is shown.
    pub at_once: bool,
}

impl Report {
    /// Blanks the secrets of the exporter out of everything that people may read. A server can repeat
    /// what it was sent.
    pub fn blank_secrets(&mut self) {
        self.observation.texts_mut().for_each(secrets::blank);
        if let Some(memory) = &mut self.memory {
            secrets::blank_json(&mut memory.value);
        }
    }

    /// The instant of the observation: when the run ended, or when the answer was received, if that
    /// was earlier.
    #[must_use]
    pub fn seen(&self) -> Timestamp {
        self.observation.seen.map_or(self.at, |seen| seen.min(self.at))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::observation::{CopyState, Finding, Health};
    use crate::engine::reasons::HUNG;

    #[test]
    fn no_text_and_no_memory_keeps_a_secret() {
        secrets::remember("the test of reports", "canary-in-a-report");
        let finding = || Finding::new(&HUNG, "it says canary-in-a-report");
        let observation = Observation {
            copy: Some(CopyState::Unknown(finding())),
            warnings: Some(vec![finding()]),
            notes: vec!["a note of canary-in-a-report".to_owned()],
            ..Observation::of_health(Health::NoAnswer(finding()))
        };
        let memory = Some(CheckMemory { value: json!({ "said": ["canary-in-a-report"] }), at_once: false });
        let (at, took) = (Timestamp::from_unix_seconds(0), Duration::ZERO);
        let mut report = Report { id: CheckId(1), at, took, observation, memory };
        report.blank_secrets();
        let text = format!("{report:?}");
        assert!(!text.contains("canary") && text.matches("[secret]").count() == 5, "{text}");
    }
}
