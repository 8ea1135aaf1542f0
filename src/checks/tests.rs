//! What checks remember, over wall clocks that are set.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde_json::{Value, json};

use super::{Check, KindConfig};
use crate::clients::Clients;
use crate::clock::{self, Clock};
use crate::decode::Decoder;
use crate::decode::yaml;

const SECOND: i64 = 1_000_000_000;
const HOUR: i64 = 3600 * SECOND;

/// A timeline whose wall clock the test sets: by how many nanoseconds it is ahead.
fn timeline() -> (Clock, &'static AtomicI64) {
    let ahead: &'static AtomicI64 = Box::leak(Box::new(AtomicI64::new(0)));
    let wall = move || clock::wall().as_unix_nanos() + ahead.load(Ordering::Relaxed);
    (Clock::with(wall, || 0), ahead)
}

fn check(kind: &str, stanza: &str) -> Arc<dyn Check> {
    let node = yaml::parse(stanza).expect("YAML");
    let config = KindConfig::decode(kind, &node, &mut Decoder::new(Path::new(""))).expect("a stanza");
    config.build(&Clients::default())
}

/// A memory of each kind that has one, in which `at` is the only instant of this process's.
fn memories(at: i64) -> Vec<(Arc<dyn Check>, Value)> {
    let at = crate::domain::time::Timestamp::from_unix_nanos(at);
    vec![
        (
            check("external_secret", "{ primary: primary, dr: dr, namespace: a, name: b }"),
            json!({
                "difference": { "since": at, "holds": "a word" },
                "past": [{ "value": "a1b2", "until": at }, { "value": "c3d4", "until": at }],
            }),
        ),
        (
            check("argocd_app", "{ kubernetes: dr, namespace: a, name: b }"),
            json!({
                "in_sync": "a word",
                "health": { "status": "Degraded", "at": at },
                "dr": [{ "revisions": "a1b2", "since": at }],
                "primary": [{ "revisions": "a1b2", "since": at }, { "revisions": "c3d4", "since": at }],
            }),
        ),
        (
            check("dns", "{ name: api.example.com, resolvers: [127.0.0.1], regions: { dr: [192.0.2.1] } }"),
            json!({
                "settled": ["dr"],
                "shown": { "127.0.0.1": { "regions": ["dr"], "since": at, "late": false } },
                "sighted": [{ "regions": ["primary"], "at": at, "late": false }],
                "last": {
                    "from": ["primary"], "to": ["dr"], "first": at, "last": at,
                    "followers": 1, "late": false, "missing": {},
                },
            }),
        ),
        (check("nats_mirror", "{ origin: { nats: a, stream: S }, mirror: { nats: b, stream: M } }"), of_a_mirror(at)),
    ]
}

/// The memory of a mirror.
fn of_a_mirror(at: crate::domain::time::Timestamp) -> Value {
    let missing = json!({
        "origin_created": "2026-01-31T12:00:00Z",
        "sequence": 91,
        "stored": "2026-01-31T12:30:00Z",
        "subject": "a",
        "ttl": null,
        "rolls_up": false,
        "seen": at,
    });
    json!({
        "origin_created": "2026-01-31T12:00:00Z",
        "filters": [">"],
        "witness": null,
        "ahead": {
            "newest": {
                "sequence": 95,
                "time": "2026-01-31T12:30:00Z",
                "mirror_created": "2026-01-31T12:00:00Z",
                "origin_created": "2026-01-31T12:00:00Z",
            },
            "since": at,
        },
        "condemned": null,
        "lacking": missing,
        "outlived": [missing],
        "full_accounts": [false, false],
        "gap": null,
        "subjects": null,
        "damage": null,
        "held": null,
        "behind_since": at,
        "shrunk": 0,
        "shrunk_how": null,
        "mirror_is_rival": false,
    })
}

#[tokio::test]
async fn what_is_remembered_is_the_same_instant_whatever_is_done_to_the_wall_clock() {
    for moved in [-HOUR, HOUR] {
        let (clock, ahead) = timeline();
        let before = clock::wall().as_unix_nanos() - 10 * 60 * SECOND;
        let (stored, renamed) = (memories(before), memories(before + moved));
        for ((check, memory), _) in stored.iter().zip(&renamed) {
            check.recall(memory, clock);
            assert_eq!(check.memory(clock.moment()).as_ref(), Some(memory), "as it was stored");
        }
        // The instants are what they were; the wall clock calls them otherwise now.
        ahead.store(moved, Ordering::Relaxed);
        for ((check, _), (_, expected)) in stored.iter().zip(&renamed) {
            assert_close(&check.memory(clock.moment()).expect("a memory"), expected);
        }
        // And so does the next process, which starts by that clock.
        let (next, its) = timeline();
        its.store(moved, Ordering::Relaxed);
        for ((check, _), (again, expected)) in stored.iter().zip(&renamed) {
            again.recall(&check.memory(clock.moment()).expect("a memory"), next);
            assert_close(&again.memory(next.moment()).expect("a memory"), expected);
        }
    }
}

#[tokio::test]
async fn what_was_stored_in_the_future_is_taken_for_now() {
    let (clock, _) = timeline();
    let now = clock.now().as_unix_nanos();
    for ((check, future), (_, present)) in memories(now + HOUR).into_iter().zip(memories(now)) {
        check.recall(&future, clock);
        assert_close(&check.memory(clock.moment()).expect("a memory"), &present);
    }
}

/// That two memories differ by less than a second in each instant, and in nothing else.
fn assert_close(found: &Value, expected: &Value) {
    let instant = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            assert!(found.keys().eq(expected.keys()), "{found:?} is not {expected:?}");
            found.values().zip(expected.values()).for_each(|(found, expected)| assert_close(found, expected));
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len());
            found.iter().zip(expected).for_each(|(found, expected)| assert_close(found, expected));
        }
        _ => match (instant(found), instant(expected)) {
            (Some(found), Some(expected)) => {
                let apart = found.duration_since(expected).as_secs_f64().abs();
                assert!(apart < 1.0, "{found} is not {expected}");
            }
            _ => assert_eq!(found, expected),
        },
    }
}
