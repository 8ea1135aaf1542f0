//! What the limits of the two streams do to the copy. Pure.

use std::time::Duration;

use super::reasons::{NEARLY_FULL, TIGHTER_LIMITS, WORK_QUEUE};
use crate::clients::jetstream::{StreamConfig, StreamInfo};
use crate::domain::observation::Finding;

/// The share of its limit from which a stream that refuses new messages counts as nearly full.
const NEARLY: f64 = 0.9;

/// How much of a limit is used.
struct Filled {
    most: u64,
    held: u64,
    /// How much of it the next message needs.
    next: u64,
    unit: &'static str,
    why: &'static str,
}

impl Filled {
    fn is_full(&self) -> bool {
        self.held.saturating_add(self.next) > self.most
    }

    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than a float holds")]
    fn is_nearly_full(&self) -> bool {
        self.held as f64 >= self.most as f64 * NEARLY
    }

    fn text(&self) -> String {
        let Self { most, held, unit, why, .. } = self;
        format!("{held} of {most} {unit}{why}")
    }
}

/// The limits at which a stream refuses messages.
///
/// For bytes, a message of average size counts. Servers before 2.10, which do not send their clock,
/// remove old messages at this limit whatever the configuration says (measured with 2.9.10).
fn refusing(info: &StreamInfo) -> impl Iterator<Item = Filled> {
    let (config, state) = (&info.config, &info.state);
    let refuses = config.refuses_new();
    let why = ", discard: new";
    let messages = config.max_msgs().map(|most| Filled { most, held: state.messages, next: 1, unit: "messages", why });
    let bytes = config.max_bytes().filter(|_| info.ts.is_some());
    let bytes = bytes.map(|most| Filled { most, held: state.bytes, next: average(info), unit: "bytes", why });
    messages.into_iter().chain(bytes).filter(move |_| refuses)
}

/// The limit of the account. At it, a stream refuses every message, even one that would replace
/// another (measured with 2.15).
fn of_account(info: &StreamInfo) -> Option<Filled> {
    let (held, most) = info.account.as_ref()?.used(info.config.is_in_memory())?;
    Some(Filled { most, held, next: average(info), unit: "bytes", why: " of its account" })
}

/// Whether the account of a stream takes no further message.
pub(super) fn is_account_full(info: &StreamInfo) -> bool {
    of_account(info).is_some_and(|filled| filled.is_full())
}

/// The size of an average message of the stream.
fn average(info: &StreamInfo) -> u64 {
    info.state.bytes.checked_div(info.state.messages).unwrap_or(1)
}

/// Why a stream refuses messages because it is full.
///
/// A stream with a limit of messages for each subject still accepts a new one in place of an old
/// one, unless it has replicas (measured with 2.15).
pub(super) fn full(info: &StreamInfo) -> Option<String> {
    let config = &info.config;
    let replaces = config.max_msgs_per_subject().is_some() && !config.discard_new_per_subject && !info.is_replicated();
    let refusing = refusing(info).filter(|_| !replaces).chain(of_account(info));
    refusing.into_iter().find(Filled::is_full).map(|filled| format!("full: {}", filled.text()))
}

/// Whether messages disappear from a stream without being deleted by somebody: a newer one replaces
/// them, or they grow old.
pub(super) fn rolls(config: &StreamConfig) -> bool {
    let discards_old = !config.refuses_new() && (config.max_msgs().is_some() || config.max_bytes().is_some());
    discards_old || may_be_replaced(config) || config.max_age().is_some() || config.allow_msg_ttl
}

/// Whether a newer message of the same subject can replace an older one.
pub(super) fn may_be_replaced(config: &StreamConfig) -> bool {
    config.max_msgs_per_subject().is_some() || config.allow_rollup_hdrs
}

/// Whether a stream is at a limit at which every new message replaces the oldest.
pub(super) fn is_at_limit(info: &StreamInfo) -> bool {
    let (config, state) = (&info.config, &info.state);
    let average = state.bytes.checked_div(state.messages).unwrap_or(0);
    let messages = config.max_msgs().is_some_and(|most| state.messages >= most);
    // The next message may be larger than the average: within two average messages the stream
    // counts as full.
    let bytes = config.max_bytes().is_some_and(|most| state.bytes.saturating_add(average.saturating_mul(2)) >= most);
    !config.refuses_new() && (messages || bytes)
}

/// The warnings: what a person should look at although nothing fails.
pub(super) fn warnings(origin: &StreamInfo, mirror: &StreamInfo) -> Vec<Finding> {
    let mut warnings = Vec::new();
    if let Some(filled) = refusing(origin).chain(of_account(origin)).find(Filled::is_nearly_full) {
        warnings.push(Finding::new(&NEARLY_FULL, format!("origin: {}", filled.text())));
    }
    if origin.config.retention == "workqueue" && mirror.config.mirror.is_some() {
        warnings.push(Finding::new(&WORK_QUEUE, "the origin's retention is `workqueue`"));
    }
    let tighter = tighter(&origin.config, &mirror.config);
    if !tighter.is_empty() && mirror.config.mirror.is_some() {
        warnings.push(Finding::new(&TIGHTER_LIMITS, tighter.join("; ")));
    }
    warnings
}

/// The limits by which the mirror can remove, or refuse, what its origin still holds.
fn tighter(origin: &StreamConfig, mirror: &StreamConfig) -> Vec<String> {
    let number = |name: &str, origin: Option<u64>, mirror: Option<u64>| {
        let ours = mirror.filter(|ours| origin.is_none_or(|theirs| *ours < theirs))?;
        let theirs = origin.map_or_else(|| "no limit".to_owned(), |theirs| theirs.to_string());
        Some(format!("{name} is {ours} on the mirror, {theirs} on the origin"))
    };
    let age = |age: Option<Duration>| age.map_or_else(|| "no limit".to_owned(), |age| format!("{age:?}"));
    let (ours, theirs) = (mirror.max_age(), origin.max_age());
    let younger = ours.filter(|ours| theirs.is_none_or(|theirs| *ours < theirs));
    let younger = younger.map(|ours| format!("max_age is {ours:?} on the mirror, {} on the origin", age(theirs)));
    let limited = mirror.max_msgs().is_some() || mirror.max_bytes().is_some();
    let refuses = (limited && mirror.refuses_new() && !origin.refuses_new())
        .then(|| "discard is `new` on the mirror, `old` on the origin: a full mirror stops copying".to_owned());
    [
        number("max_msgs_per_subject", origin.max_msgs_per_subject(), mirror.max_msgs_per_subject()),
        number("max_msgs", origin.max_msgs(), mirror.max_msgs()),
        number("max_bytes", origin.max_bytes(), mirror.max_bytes()),
        number("max_msg_size", origin.max_msg_size(), mirror.max_msg_size()),
        younger,
        refuses,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(config: &serde_json::Value, messages: u64, bytes: u64) -> StreamInfo {
        let time = "2026-01-01T00:00:00Z";
        let state = json!({"messages": messages, "bytes": bytes, "first_seq": 1, "first_ts": time, "last_seq": messages, "last_ts": time});
        serde_json::from_value(json!({"config": config, "created": time, "state": state, "ts": time}))
            .expect("an answer")
    }

    #[test]
    fn full_is_what_takes_no_further_message() {
        let full = |config, messages, bytes| full(&stream(&config, messages, bytes)).is_some();
        let new = |mut config: serde_json::Value| {
            config["discard"] = json!("new");
            config
        };
        assert!(full(new(json!({"max_msgs": 5})), 5, 100));
        assert!(!full(new(json!({"max_msgs": 5})), 4, 100));
        assert!(!full(json!({"max_msgs": 5, "discard": "old"}), 5, 100));
        assert!(!full(new(json!({"max_msgs": -1, "max_bytes": -1})), 5, 100), "-1 is no limit");
        // 11 messages of 43 bytes leave 27.
        assert!(full(new(json!({"max_bytes": 500})), 11, 473));
        assert!(!full(new(json!({"max_bytes": 500})), 10, 430));
        assert!(!full(new(json!({"max_bytes": 500})), 0, 0), "an empty one takes one");
        let bucket = json!({"max_msgs": 5, "max_msgs_per_subject": 1});
        assert!(!full(new(bucket.clone()), 5, 100), "it takes new values");
        let mut refusing = bucket.clone();
        refusing["discard_new_per_subject"] = json!(true);
        assert!(full(new(refusing), 5, 100));
        let mut replicated = stream(&new(bucket), 5, 100);
        replicated.cluster = serde_json::from_value(json!({"leader": "a", "replicas": [{"current": true}]})).ok();
        assert!(super::full(&replicated).is_some(), "one with replicas does not");
    }

    #[test]
    fn a_full_account_takes_nothing_either() {
        let full = |config: serde_json::Value, account: serde_json::Value| {
            let mut info = stream(&config, 10, 1000);
            info.account = Some(serde_json::from_value(account).expect("an account"));
            super::full(&info).is_some()
        };
        let account = |storage: u64, most: i64| json!({"storage": storage, "limits": {"max_storage": most}});
        assert!(full(json!({}), account(9950, 10_000)), "a message of average size has 100 bytes");
        assert!(full(json!({"max_msgs_per_subject": 1}), account(9950, 10_000)), "nor is a value replaced");
        assert!(!full(json!({}), account(9900, 10_000)));
        assert!(!full(json!({}), account(9950, -1)));
        assert!(!full(json!({"storage": "memory"}), account(9950, 10_000)));
        let tiers = json!({"storage": 9950, "tiers": {"R1": {"limits": {"max_storage": 10_000}}}});
        assert!(!full(json!({}), tiers), "what a tier counts is not known");
    }

    #[test]
    fn before_its_end_there_is_a_warning() {
        let reasons = |config: serde_json::Value, messages| {
            let mirror = stream(&json!({"mirror": {"name": "S"}}), 0, 0);
            warnings(&stream(&config, messages, 0), &mirror).iter().map(|found| found.reason.label).collect::<Vec<_>>()
        };
        assert_eq!(reasons(json!({"max_msgs": 100, "discard": "new"}), 89), Vec::<&str>::new());
        assert_eq!(reasons(json!({"max_msgs": 100, "discard": "new"}), 90), ["nearly_full"]);
        assert_eq!(reasons(json!({"max_msgs": 100, "discard": "old"}), 100), Vec::<&str>::new());
        assert_eq!(reasons(json!({"retention": "workqueue"}), 0), ["work_queue"]);
    }

    #[test]
    fn a_tighter_mirror_is_named() {
        let config = |config| stream(&config, 0, 0).config;
        for (origin, mirror, expected) in [
            (json!({}), json!({}), None),
            (
                json!({"max_msgs_per_subject": 10}),
                json!({"max_msgs_per_subject": 1}),
                Some("max_msgs_per_subject is 1"),
            ),
            (json!({"max_msgs_per_subject": 1}), json!({"max_msgs_per_subject": 10}), None),
            (json!({"max_msgs": -1}), json!({"max_msgs": 16}), Some("max_msgs is 16")),
            (json!({"max_msgs": 490}), json!({}), None),
            (json!({}), json!({"max_bytes": 4000}), Some("max_bytes is 4000")),
            (
                json!({"max_msg_size": -1}),
                json!({"max_msg_size": 50}),
                Some("max_msg_size is 50 on the mirror, no limit"),
            ),
            (json!({"max_msg_size": 50}), json!({"max_msg_size": 50}), None),
            (
                json!({"max_age": 3_600_000_000_000_u64}),
                json!({"max_age": 2_000_000_000_u64}),
                Some("max_age is 2s on the mirror, 3600s on the origin"),
            ),
            (json!({"max_msgs": 9}), json!({"max_msgs": 9, "discard": "new"}), Some("discard is `new`")),
        ] {
            let found = tighter(&config(origin.clone()), &config(mirror.clone()));
            assert_eq!(found.len(), usize::from(expected.is_some()), "{origin} {mirror}: {found:?}");
            assert!(expected.is_none_or(|text| found.iter().any(|found| found.contains(text))), "{found:?}");
        }
    }

    #[test]
    fn rolling_is_vanishing_without_being_deleted() {
        let config = |config| stream(&config, 0, 0).config;
        assert!(!rolls(&config(json!({}))));
        assert!(!rolls(&config(json!({"max_msgs": 5, "discard": "new"}))));
        for rolling in [
            json!({"max_msgs": 5, "discard": "old"}),
            json!({"max_msgs_per_subject": 1, "discard": "new"}),
            json!({"max_age": 1}),
            json!({"allow_msg_ttl": true}),
            json!({"allow_rollup_hdrs": true}),
        ] {
            assert!(rolls(&config(rolling.clone())), "{rolling}");
        }
    }
}
