//! The verdict on a number. Pure.

use super::held::Held;
use super::{ABSURD, CONDITION_FALSE, Condition, WITHDRAWN};
use crate::clients::prometheus::{LOOKBACK, Number, Question};
use crate::clock::Clock;
use crate::domain::observation::{CopyState, Finding, Health};

/// The meaning of the number.
#[derive(Debug, Clone)]
pub(super) enum Meaning {
    /// The component's health.
    Health(Condition),
    /// The age of the copy.
    Age,
    /// The instant up to which the copy is complete.
    Timestamp,
}

impl Meaning {
    /// Whether a number of this meaning proves nothing new while it, or what it rests on, stands still. An age that grows by
    /// itself, and a time that stands with its samples, prove what they say.
    pub(super) fn must_move(&self, question: &Question) -> bool {
        match self {
            Self::Health(_) => false,
            Self::Age => !question.grows_with_time(),
            Self::Timestamp => !question.stands_with_its_samples(),
        }
    }
}

/// Earlier than this, in seconds since the Unix epoch (September 2001), no copy was made: 0 means "never", and small
/// numbers mean something else.
const EARLIEST: f64 = 1e9;
/// An age below this, in seconds, is no clock that runs ahead: it means that there is no copy.
const SKEW: f64 = -300.0;
/// How far ahead a timestamp may lie, in seconds: as far as synchronised clocks can differ. A time
/// further in the future is not a time of anything that happened: the next run of a schedule, say.
const AHEAD: f64 = 10.0;

/// Why there is no number, as far as it matters for a copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Nothing {
    /// Nothing was learned.
    NoAnswer(Finding),
    /// The source that vouched for the copy no longer does.
    Withdrawn(Finding),
}

/// The verdict on a number. If an age is `held`, its first reading counts. An age that is `frozen`
/// no longer shows that something is missing: the copy may have caught up.
pub(super) fn of(
    number: &Result<Number, Nothing>,
    meaning: &Meaning,
    clock: Clock,
    held: Option<&Held>,
    frozen: bool,
) -> (Health, Option<CopyState>) {
    let point = match (number, meaning) {
        (Err(Nothing::NoAnswer(finding) | Nothing::Withdrawn(finding)), Meaning::Health(_)) => {
            return (Health::NoAnswer(finding.clone()), None);
        }
        (Err(nothing), Meaning::Age | Meaning::Timestamp) => Err(nothing.clone()),
        (Ok(number), Meaning::Health(condition)) => return (health(number.value, condition), None),
        (Ok(number), Meaning::Age) => of_age(number).map(|point| (number, point)),
        (Ok(number), Meaning::Timestamp) => of_timestamp(number).map(|point| (number, (point, point))),
    };
    match point {
        Err(Nothing::NoAnswer(finding)) => (Health::NoAnswer(finding.clone()), Some(CopyState::Unknown(finding))),
        Err(Nothing::Withdrawn(finding)) => (Health::NoAnswer(finding.clone()), Some(CopyState::Withdrawn(finding))),
        // The query is the user's statement that the copy held nothing newer when the samples were
        // taken. So the copy is "behind", not only "complete when last seen". Since the samples
        // were taken, it may have caught up by as much as their age.
        Ok((number, (least, most))) => {
            let precision = number.received.saturating_duration_since(number.sent);
            let certain = most + (number.evaluated - taken(number));
            let certain = if frozen { number.evaluated } else { certain };
            let certain_since = Some(number.instant(certain, clock).plus(precision));
            let since = number.instant(least, clock);
            let since = held.map_or(since, |held| held.point.min(since));
            (Health::Healthy, Some(CopyState::Behind { since, precision, certain_since, finding: None }))
        }
    }
}

/// The earliest time at which the oldest sample can have been taken. If nobody can tell, the
/// lookback is assumed: the server shows nothing older.
pub(super) fn taken(number: &Number) -> f64 {
    number.oldest.unwrap_or(number.evaluated - LOOKBACK.as_secs_f64()).min(number.evaluated)
}

fn health(value: f64, condition: &Condition) -> Health {
    if condition.holds(value) {
        return Health::Healthy;
    }
    Health::Unhealthy(Finding::new(&CONDITION_FALSE, format!("the query gives {value}, which is not {condition}")))
}

fn withdrawn(story: String) -> Nothing {
    Nothing::Withdrawn(Finding::new(&WITHDRAWN, story))
}

/// The recovery point at the earliest and at the latest: the age counts from the time of the oldest sample, when it was true,
/// or, of a query that reckons with the time, from that of the question.
fn of_age(number: &Number) -> Result<(f64, f64), Nothing> {
    #[expect(clippy::float_cmp, reason = "a word for none is exactly this")]
    if !number.value.is_finite() || number.value == -1.0 || number.value < SKEW {
        return Err(withdrawn(format!("the age is {}: this means that there is no copy", number.value)));
    }
    if number.value < 0.0 {
        let story = format!("an age of {} s lies in the future", number.value);
        return Err(Nothing::NoAnswer(Finding::new(&ABSURD, story)));
    }
    let point = taken(number) - number.value;
    if point < EARLIEST {
        return Err(withdrawn(format!("an age of {} s leads to a time before 2001", number.value)));
    }
    Ok((point, number.evaluated - number.value))
}

/// The recovery point at the earliest, as far as the number tells.
pub(super) fn point(number: &Number, meaning: &Meaning) -> Result<f64, Nothing> {
    match meaning {
        Meaning::Timestamp => of_timestamp(number),
        Meaning::Age | Meaning::Health(_) => of_age(number).map(|(least, _)| least),
    }
}

fn of_timestamp(number: &Number) -> Result<f64, Nothing> {
    let value = number.value;
    if !value.is_finite() || value < EARLIEST {
        return Err(withdrawn(format!(
            "the timestamp {value} is not a time after 2001: this means that there is no copy"
        )));
    }
    if value > number.evaluated + AHEAD {
        let ahead = value - number.evaluated;
        let story = format!(
            "the timestamp {value} lies {ahead:.0} s in the future: the clocks differ, or it is not the time of a copy"
        );
        return Err(Nothing::NoAnswer(Finding::new(&ABSURD, story)));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::clients::prometheus::STALE;
    use crate::decode::values::Finite;
    use crate::domain::observation::Observation;
    use crate::domain::recovery_point::RecoveryPoint;
    use crate::domain::status::{self, Status, Target};

    const NOW: f64 = 1_800_000_000.0;

    fn number(value: f64, oldest: Option<f64>) -> Number {
        let sent = Instant::now();
        let (staleness, samples) = (oldest.map(|oldest| NOW - oldest), Vec::new());
        Number { value, evaluated: NOW, oldest, staleness, samples, sent, received: sent }
    }

    /// How long before now the recovery point lies; the reason if there is none.
    fn point(meaning: &Meaning, value: f64, oldest: Option<f64>) -> Result<f64, &'static str> {
        let clock = Clock::start();
        let number = number(value, oldest);
        let now = clock.at(number.sent);
        match of(&Ok(number), meaning, clock, None, false) {
            (Health::Healthy, Some(CopyState::Behind { since, finding: None, .. })) => {
                Ok(now.since(since).as_secs_f64().round())
            }
            (Health::NoAnswer(_), Some(CopyState::Unknown(finding) | CopyState::Withdrawn(finding))) => {
                Err(finding.reason.label)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_age_counts_from_the_sample_that_tells_it() {
        let point = |value, oldest| point(&Meaning::Age, value, oldest);
        assert_eq!(point(10.0, Some(NOW)), Ok(10.0));
        assert_eq!(point(10.0, Some(NOW - 200.0)), Ok(210.0), "the sample is old");
        assert_eq!(point(10.0, Some(NOW + 5.0)), Ok(10.0), "a sample of the future is one of now");
        assert_eq!(point(10.0, None), Ok(310.0), "nobody can tell, and none older is shown");
        assert_eq!(point(0.0, Some(NOW)), Ok(0.0));
        assert_eq!(point(-0.5, Some(NOW)), Err("absurd"), "clocks differ");
        assert_eq!(point(-1.0, Some(NOW)), Err("withdrawn"), "a word for none");
        assert_eq!(point(NOW, Some(NOW)), Err("withdrawn"), "time() - 0: never");
        assert_eq!(point(f64::MAX, Some(NOW)), Err("withdrawn"));
        assert_eq!(point(f64::NAN, Some(NOW)), Err("withdrawn"));
        assert_eq!(point(f64::INFINITY, Some(NOW)), Err("withdrawn"));
    }

    #[test]
    fn a_timestamp_is_taken_by_the_servers_clock() {
        let point = |value| point(&Meaning::Timestamp, value, Some(NOW - 60.0));
        assert_eq!(point(NOW - 7200.0), Ok(7200.0), "the age of the sample changes nothing");
        assert_eq!(point(NOW + 5.0), Ok(0.0), "a little in the future is now");
        assert_eq!(point(NOW + 30.0), Err("absurd"), "the next run of a schedule is not the time of a copy");
        assert_eq!(point(NOW + 3600.0), Err("absurd"), "an hour is a wrong zone, and would hide an hour");
        assert_eq!(point(NOW * 1000.0), Err("absurd"), "milliseconds");
        assert_eq!(point(0.0), Err("withdrawn"), "never");
        assert_eq!(point(-5.0), Err("withdrawn"));
        assert_eq!(point(f64::NAN), Err("withdrawn"));
    }

    #[test]
    fn a_condition_is_strict() {
        let condition = |above, below, equals| {
            let number = |value: Option<f64>| value.map(Finite::new);
            Meaning::Health(Condition { above: number(above), below: number(below), equals: number(equals) })
        };
        let healthy = |meaning: &Meaning, value| {
            let (health, copy) = of(&Ok(number(value, None)), meaning, Clock::start(), None, false);
            assert_eq!(copy, None, "health says nothing of a copy");
            health == Health::Healthy
        };
        for (meaning, value, expected) in [
            (condition(Some(1.0), None, None), 1.0, false),
            (condition(Some(1.0), None, None), 1.1, true),
            (condition(None, Some(1.0), None), 1.0, false),
            (condition(None, Some(1.0), None), 0.9, true),
            (condition(None, None, Some(1.0)), 1.0, true),
            (condition(None, None, Some(1.0)), 0.9, false),
        ] {
            assert_eq!(healthy(&meaning, value), expected, "{meaning:?} of {value}");
        }
    }

    #[test]
    fn no_number_is_no_failure() {
        let stale = Err(Nothing::NoAnswer(Finding::new(&STALE, "old")));
        let condition = Condition { above: Some(Finite::new(0.0)), below: None, equals: None };
        let (health, copy) = of(&stale, &Meaning::Health(condition), Clock::start(), None, false);
        assert!(matches!((health, copy), (Health::NoAnswer(_), None)));
    }

    /// RPO 600 s. What the query says of 240 s ago breaks no promise by what may have happened
    /// since.
    #[test]
    fn an_old_sample_breaches_by_what_it_told_when_it_was_taken() {
        let target = Target { limit: Duration::from_secs(600), at_risk_ratio: 0.8 };
        let status = |meaning: &Meaning, value: f64, oldest: Option<f64>| {
            let (clock, told) = (Clock::start(), number(value, oldest));
            let (_, state) = of(&Ok(told.clone()), meaning, clock, None, false);
            let mut copy = RecoveryPoint::default();
            let now = clock.at(told.sent);
            let copied = state.expect("a copy");
            let fresh = Duration::from_secs(95);
            copy.observe(now, fresh, &Observation { copy: Some(copied), ..Observation::of_health(Health::Healthy) });
            status::rpo(copy.exposure(fresh, now), false, target).status()
        };
        let stamp = |age: f64| NOW - age;
        for (oldest, age, expected) in [
            (Some(NOW), 599.0, Status::AtRisk),
            (Some(NOW), 600.0, Status::Breached),
            (Some(NOW - 240.0), 700.0, Status::Unproven),
            (Some(NOW - 240.0), 839.0, Status::Unproven),
            (Some(NOW - 240.0), 840.0, Status::Breached),
            (None, 899.0, Status::Unproven),
            (None, 900.0, Status::Breached),
        ] {
            assert_eq!(status(&Meaning::Timestamp, stamp(age), oldest), expected, "a time, {age} s ago, {oldest:?}");
            assert_eq!(status(&Meaning::Age, age, oldest), expected, "an age of {age} s, {oldest:?}");
        }
        // Nothing proves that an age of a time that nobody knows is one of now.
        assert_eq!(status(&Meaning::Age, 400.0, None), Status::Unproven);
        assert_eq!(status(&Meaning::Age, 100.0, None), Status::Met);
    }

    /// A copy that the query says to be too old breaks the promise; one that it no longer says
    /// anything of does not.
    #[test]
    fn what_is_too_old_is_breached_while_it_is_said_and_unproven_when_nobody_says_it() {
        let target = Target { limit: Duration::from_secs(3600), at_risk_ratio: 0.8 };
        let fresh = Duration::from_secs(95);
        let status = |point: &RecoveryPoint, now| status::rpo(point.exposure(fresh, now), false, target).status();
        let observed = |copy| Observation { copy: Some(copy), ..Observation::of_health(Health::Healthy) };
        let clock = Clock::start();
        let mut copy = RecoveryPoint::default();
        let told = number(NOW - 7200.0, Some(NOW));
        let (_, state) = of(&Ok(told.clone()), &Meaning::Timestamp, clock, None, false);
        let now = clock.at(told.sent);
        copy.observe(now, fresh, &observed(state.expect("a copy")));
        assert_eq!(status(&copy, now), Status::Breached);
        let later = now.plus(Duration::from_secs(100));
        copy.observe(later, fresh, &observed(CopyState::Unknown(Finding::new(&STALE, "old"))));
        assert_eq!(status(&copy, later), Status::Unproven);
    }
}
