//! The words of a drill.

use serde_json::json;

use super::{PromDuration, Word};
use crate::decode::Key;
use crate::domain::contract::Priority;
use crate::domain::drill::DrillKind;
use crate::domain::schedule::Schedule;

impl Word for DrillKind {
    const NOUN: &'static str = "kind of drill";
    const EXPECTED: &'static str = "one of check, recovery, review";
    const WORDS: &'static [&'static str] = &["check", "recovery", "review"];

    fn parse(text: &str) -> Option<Self> {
        [Self::Check, Self::Recovery, Self::Review].into_iter().find(|kind| kind.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

impl Word for Schedule {
    const NOUN: &'static str = "schedule";
    const EXPECTED: &'static str = "weekly, monthly, quarterly, or a duration such as 30d";
    const WORDS: &'static [&'static str] = &["weekly", "monthly", "quarterly"];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "weekly" => Some(Self::Weekly),
            "monthly" => Some(Self::Monthly),
            "quarterly" => Some(Self::Quarterly),
            other => PromDuration::parse(other).map(|every| Self::Every(every.get())),
        }
    }

    fn near(text: &str) -> Option<String> {
        super::near::of_list(text, Self::WORDS).map(str::to_owned).or_else(|| PromDuration::near(text))
    }

    fn written(&self) -> String {
        match self {
            Self::Weekly => "weekly".to_owned(),
            Self::Monthly => "monthly".to_owned(),
            Self::Quarterly => "quarterly".to_owned(),
            Self::Every(every) => PromDuration::of(*every).to_string(),
        }
    }

    fn schema() -> serde_json::Value {
        let duration = PromDuration::schema();
        json!({"anyOf": [{"enum": Self::WORDS}, {"type": "string", "pattern": duration["pattern"]}],
            "description": "`weekly`, `monthly`, `quarterly`, or a duration such as `30d`."})
    }
}

impl Key for Priority {
    fn parse_key(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| format!("a severity: {}", Self::EXPECTED))
    }
}
