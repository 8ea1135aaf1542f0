//! Whether the mirror still holds what it held at the previous look. This needs no answer of the
//! origin. Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clients::jetstream::StreamInfo;

/// What a mirror held at a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The creation time of that mirror.
    pub(super) created: Timestamp,
    last_seq: u64,
    messages: u64,
}

/// How a mirror shrank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shrunk {
    /// It is back at an earlier sequence, as after restoring a backup.
    WentBack(String),
    /// Messages are gone that no limit can have removed.
    Emptied(String),
}

impl Shrunk {
    /// What happened.
    pub(super) fn detail(&self) -> &str {
        let (Self::WentBack(detail) | Self::Emptied(detail)) = self;
        detail
    }
}

impl Held {
    pub(super) fn of(mirror: &StreamInfo) -> Self {
        let state = &mirror.state;
        Self { created: mirror.created, last_seq: state.last_seq, messages: state.messages }
    }

    /// How the mirror shrank since, if it did.
    ///
    /// A mirror that was created again has another creation time, which is not checked here. What a
    /// promoted mirror removes is the work of its clients.
    pub(super) fn shrunk(&self, mirror: &StreamInfo) -> Option<Shrunk> {
        let (config, state) = (&mirror.config, &mirror.state);
        if self.created != mirror.created {
            return None;
        }
        if state.last_seq < self.last_seq {
            let detail = format!("it is at sequence {}, and was at {}", state.last_seq, self.last_seq);
            return Some(Shrunk::WentBack(detail));
        }
        if config.mirror.is_none() || state.messages >= self.messages {
            return None;
        }
        let ages = config.max_age().is_some() || config.allow_msg_ttl;
        let counts = config.max_msgs().is_some() || config.max_bytes().is_some();
        let replaces = config.max_msgs_per_subject().is_some() || config.allow_rollup_hdrs;
        let unexplained = if ages {
            // Its last message is gone before its maximum age. Servers before 2.10 do not send
            // their time.
            let age = mirror.ts.map(|now| now.duration_since(state.last_ts).unsigned_abs());
            let is_young = age.zip(config.max_age()).is_some_and(|(age, most)| age < most);
            state.messages == 0 && !config.allow_msg_ttl && is_young
        } else {
            // Without a new message, no count limit is exceeded and nothing is replaced. And limits
            // never remove everything.
            state.last_seq == self.last_seq || state.messages == 0 || !(counts || replaces)
        };
        unexplained.then(|| {
            let detail = format!("it holds {} messages, and held {}", state.messages, self.messages);
            Shrunk::Emptied(detail)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn mirror(config: &Value, last_seq: u64, messages: u64) -> StreamInfo {
        let mut config = config.clone();
        config["mirror"] = json!({"name": "S"});
        stream(&config, last_seq, messages)
    }

    fn stream(config: &Value, last_seq: u64, messages: u64) -> StreamInfo {
        let state = json!({"messages": messages, "first_seq": 1, "first_ts": "2026-01-01T00:00:00Z",
            "last_seq": last_seq, "last_ts": "2026-01-01T00:10:00Z"});
        let answer = json!({"config": config, "created": "2026-01-01T00:00:00Z", "state": state,
            "ts": "2026-01-01T00:20:00Z"});
        serde_json::from_value(answer).expect("an answer")
    }

    #[test]
    fn what_no_limit_explains_is_a_loss() {
        let hour = 3_600_000_000_000_u64;
        for (config, then, now, expected) in [
            (json!({}), (100, 100), (100, 100), false),
            (json!({}), (100, 100), (110, 110), false),
            (json!({}), (100, 100), (90, 90), true),
            (json!({}), (100, 100), (100, 0), true),
            (json!({}), (100, 100), (100, 99), true),
            (json!({}), (100, 100), (110, 20), true),
            // A few large messages replace many small ones, but only if a new one arrives.
            (json!({"max_bytes": 4000}), (100, 100), (110, 20), false),
            (json!({"max_bytes": 4000}), (100, 100), (100, 20), true),
            (json!({"max_bytes": 4000}), (100, 100), (110, 0), true),
            (json!({"max_msgs_per_subject": 1}), (100, 10), (101, 9), false),
            (json!({"max_msgs_per_subject": 1}), (100, 10), (100, 9), true),
            // They may have grown old, but not all of them, because the last one is ten minutes
            // old.
            (json!({"max_age": hour}), (100, 100), (100, 20), false),
            (json!({"max_age": hour}), (100, 100), (100, 0), true),
            (json!({"max_age": hour / 10}), (100, 100), (100, 0), false),
            (json!({"max_age": hour, "allow_msg_ttl": true}), (100, 100), (100, 0), false),
        ] {
            let held = Held::of(&mirror(&config, then.0, then.1));
            let shrunk = held.shrunk(&mirror(&config, now.0, now.1));
            assert_eq!(shrunk.is_some(), expected, "{config} {then:?} {now:?}: {shrunk:?}");
        }
    }

    #[test]
    fn a_promoted_mirror_is_its_clients_own() {
        let held = Held::of(&mirror(&json!({}), 100, 100));
        assert_eq!(held.shrunk(&stream(&json!({}), 120, 3)), None);
        let back = held.shrunk(&stream(&json!({}), 80, 80));
        assert!(matches!(back, Some(Shrunk::WentBack(_))), "but it does not go back: {back:?}");
    }
}
