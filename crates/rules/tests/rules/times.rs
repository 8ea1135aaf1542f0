//! Instants: how they are written, and what becomes of those that are out of reach.

use std::time::Duration;

use dr_rules::time::Timestamp;
use dr_rules::timeline::{Change, Recorded, dated};

/// 2026-08-01T09:00:00.123456789Z.
const NANOS: i64 = 1_785_574_800_123_456_789;

#[test]
fn an_instant_is_written_for_people_and_for_prometheus() {
    let at = Timestamp::from_unix_nanos(NANOS);
    assert_eq!(at.to_string(), "2026-08-01T09:00:00.123Z");
    assert_eq!(format!("{at:?}"), "2026-08-01T09:00:00.123456789Z");
    assert!((at.as_unix_seconds() - 1_785_574_800.123_456_7).abs() < 1e-6, "{}", at.as_unix_seconds());
}

/// An instant that 64 bits of nanoseconds cannot hold is the nearest that they can.
#[test]
fn an_instant_out_of_reach_is_the_nearest_one() {
    for (text, expected) in [
        ("1600-01-01T00:00:00Z", i64::MIN),
        ("2300-01-01T00:00:00Z", i64::MAX),
        ("1970-01-01T00:00:00Z", 0),
        ("2026-08-01T09:00:00.123456789Z", NANOS),
    ] {
        let at: jiff::Timestamp = text.parse().expect("a time");
        assert_eq!(Timestamp::from(at), Timestamp::from_unix_nanos(expected), "{text}");
    }
}

/// A time service corrects a clock by 5 s. Whoever set it by more is not trusted.
#[test]
fn five_seconds_are_a_correction_and_more_is_a_clock_that_was_set() {
    let second = |seconds| Timestamp::from_unix_seconds(seconds);
    let recorded = |at| Recorded { recorded: at, at, change: Change::Observed };
    let now = second(100);
    let first = recorded(second(50));
    let nanosecond = Duration::from_nanos(1);
    let corrected = dated(&[first, recorded(second(105))], now);
    assert_eq!(corrected, [(second(50), Change::Observed), (now, Change::Observed)]);
    let set = dated(&[first, recorded(second(105).plus(nanosecond))], now);
    assert_eq!(set, [(second(50), Change::Observed), (second(50), Change::Silent), (now, Change::Observed)]);
}
