//! What is stored: when it is news, what a loss or a clock that was set back leaves of it, and the same on another timeline.

use std::time::Duration;

use dr_rules::outage::{Beginning, Mode, Outage, Recovery};
use dr_rules::remembered::{Remembered, RememberedCheck, RememberedClock};
use dr_rules::time::Timestamp;

use super::{seconds, t};

/// A healthy check with a copy.
fn stored() -> RememberedCheck {
    RememberedCheck {
        latched: Some(t(100)),
        copy_seen: Some(t(100)),
        copy_identity: Some("one".to_owned()),
        health_seen: Some(t(100)),
        successes: 1,
        first_success: Some(t(10)),
        last_success: Some(t(100)),
        last_failure: Some(t(5)),
        pending: Some(t(100)),
        warning_seen: Some(t(100)),
        ..RememberedCheck::default()
    }
}

fn outage(at: i64) -> Outage {
    Outage {
        first_failure: t(at),
        trigger: t(at + 20),
        mode: Mode::Real,
        beginning: Beginning::After(t(at - 10)),
        declared: false,
        confirmed: true,
        interruption: None,
    }
}

fn recovery(at: i64) -> Recovery {
    Recovery { outage: outage(at), healthy: t(at + 60), earliest: t(at + 60) }
}

fn of(check: RememberedCheck, clock: RememberedClock) -> Remembered {
    Remembered { clock, checks: [("a".to_owned(), check)].into() }
}

#[test]
fn time_that_passes_is_no_news_and_a_change_is() {
    type Change = fn(&mut RememberedCheck);
    let cases: [(&str, bool, Change); 17] = [
        ("nothing", false, |_| {}),
        ("a newer look at the copy", false, |check| check.copy_seen = Some(t(200))),
        ("a newer look at health", false, |check| check.health_seen = Some(t(200))),
        ("a newer look for warnings", false, |check| check.warning_seen = Some(t(200))),
        ("a further success", false, |check| check.successes = 2),
        ("the first success", true, |check| check.successes = 0),
        ("it was seen well", false, |check| check.last_success = Some(t(200))),
        ("it was seen to fail, and is well", false, |check| check.last_failure = Some(t(200))),
        ("it is still pending", false, |check| check.pending = Some(t(200))),
        ("it is pending no more", true, |check| check.pending = None),
        ("the proof moved forward", false, |check| check.latched = Some(t(101))),
        ("the proof moved back", true, |check| check.latched = Some(t(99))),
        ("the proof was withdrawn", true, |check| check.latched = None),
        ("a change with its own time is missing", false, |check| check.missing_since = Some(t(90))),
        ("a change without one is missing", true, |check| {
            (check.missing, check.missing_since) = (Some("x".to_owned()), Some(t(90)));
        }),
        ("another copy", true, |check| check.copy_identity = Some("other".to_owned())),
        ("it failed", true, |check| check.failures = 1),
    ];
    for (what, is_news, change) in cases {
        let mut now = stored();
        change(&mut now);
        assert_eq!(now.is_news_after(&stored()), is_news, "{what}");
    }
    let never = RememberedCheck { latched: None, ..stored() };
    assert!(stored().is_news_after(&never), "the first proof");
    assert!(!never.is_news_after(&never), "still none");
}

#[test]
fn a_later_proof_proves_more() {
    let moved = RememberedCheck { latched: Some(t(130)), ..stored() };
    assert!(moved.proves_more_than(&stored()) && !stored().proves_more_than(&moved));
    assert!(!stored().proves_more_than(&stored()), "the same");
    assert!(moved.proves_more_than(&RememberedCheck::default()), "the first one");
}

#[test]
fn all_instants_move_to_another_timeline() {
    let later = |at: Timestamp| at.plus(seconds(1000));
    let clock = RememberedClock { running: Some(outage(300)), last: Some(recovery(100)), met: 3, ..Default::default() };
    let carried = of(stored(), clock).carried(later);
    let moved =
        RememberedClock { running: Some(outage(1300)), last: Some(recovery(1100)), met: 3, ..Default::default() };
    assert_eq!(carried.clock, moved);
    let check = &carried.checks["a"];
    assert_eq!((check.latched, check.pending, check.last_failure), (Some(t(1100)), Some(t(1100)), Some(t(1005))));
    assert_eq!((check.successes, check.copy_identity.as_deref()), (1, Some("one")));
}

#[test]
fn what_lies_in_the_future_tells_that_the_clock_was_set_back() {
    let quiet = RememberedCheck::default;
    let running = |at: i64| RememberedClock { running: Some(outage(at)), ..RememberedClock::default() };
    let last = |at: i64| RememberedClock { last: Some(recovery(at)), ..RememberedClock::default() };
    let seen = RememberedCheck { health_seen: Some(t(100)), ..quiet() };
    // A trigger is 20 s after the first failure, and recovery 60 s. 5 s are a correction.
    let cases = [
        ("a check", of(seen, RememberedClock::default()), 100),
        ("a clock that runs", of(quiet(), running(80)), 100),
        ("a recovery", of(quiet(), last(40)), 100),
        ("the later of both", of(quiet(), RememberedClock { running: Some(outage(80)), ..last(0) }), 100),
    ];
    for (what, stored, newest) in cases {
        let is_set_back = |now: Timestamp| stored.clone().recalled(now).1;
        assert!(!is_set_back(t(newest)), "{what}");
        assert!(!is_set_back(t(newest - 5)), "{what}: as far as a correction goes");
        assert!(is_set_back(t(newest - 5).minus(Duration::from_nanos(1))), "{what}: further");
    }
}

#[test]
fn a_clock_that_was_set_back_and_a_loss_leave_the_identity_of_the_copy() {
    let (recalled, set_back) = of(stored(), RememberedClock::default()).recalled(t(0));
    assert!(set_back);
    let left = RememberedCheck {
        copy_identity: Some("one".to_owned()),
        last_failure: Some(t(0)),
        ..RememberedCheck::default()
    };
    assert_eq!(recalled.checks["a"], left, "a failure is not after now");

    let left = RememberedCheck { last_failure: Some(t(5)), last_success: Some(t(100)), ..left };
    assert_eq!(stored().after_loss(), left);
    let old = RememberedCheck { last_success: None, ..stored() };
    assert_eq!(old.clone().after_loss().last_success, Some(t(100)), "an older record: the last look was good");
    assert_eq!(RememberedCheck { failures: 1, ..old }.after_loss().last_success, None, "and here it was not");

    let clock = RememberedClock { running: Some(outage(300)), last: Some(recovery(100)), met: 3, ..Default::default() };
    let lost = clock.clone().after_loss();
    assert_eq!(lost, RememberedClock { last: None, ..clock }, "a later recovery may have missed the target");
}
