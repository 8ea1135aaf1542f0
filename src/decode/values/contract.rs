//! The words of a contract.

use serde_json::json;

use super::Word;
use crate::domain::contract::{Objective, Priority};
use crate::domain::trigger::TriggerMode;

impl Word for Priority {
    const NOUN: &'static str = "priority";
    const EXPECTED: &'static str = "one of P0, P1, P2, P3";
    const WORDS: &'static [&'static str] = &["P0", "P1", "P2", "P3"];

    fn parse(text: &str) -> Option<Self> {
        [Self::P0, Self::P1, Self::P2, Self::P3].into_iter().find(|priority| priority.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

impl Word for Objective {
    const NOUN: &'static str = "objective";
    const EXPECTED: &'static str = "one of rto, rpo";
    const WORDS: &'static [&'static str] = &["rto", "rpo"];

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|objective| objective.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

impl Word for TriggerMode {
    const NOUN: &'static str = "mode";
    const EXPECTED: &'static str = "one of auto, manual";
    const WORDS: &'static [&'static str] = &["auto", "manual"];

    fn parse(text: &str) -> Option<Self> {
        [Self::Auto, Self::Manual].into_iter().find(|mode| mode.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}
