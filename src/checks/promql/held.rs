//! An age that does not change is not a current age. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clients::prometheus::is_same;
use crate::domain::time::Timestamp;

/// An age when it was first read. If the same value is read again, nobody can tell whether it was
/// measured again: a collector that hangs while it is still scraped looks like this. So it proves
/// what it proved at the first reading, and nothing more.
///
/// The same is true of a time that is calculated from an age.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    /// The bits of the number, and of the number of `renewed_by`. A text would round them.
    marks: (u64, Option<u64>),
    /// What the samples add up to that the number rests on, bit by bit.
    #[serde(default)]
    samples: Vec<Option<u64>>,
    /// When it was first read.
    pub(super) since: Timestamp,
    /// The earliest sample of when it was last read, together with what renews it.
    #[serde(default)]
    seen: Option<Timestamp>,
    /// The recovery point that followed.
    pub(super) point: Timestamp,
}

/// What one look read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// The number.
    pub(super) value: f64,
    /// The number of `renewed_by`, if it is configured and was given.
    pub(super) renewal: Option<f64>,
    /// What the samples add up to that it rests on; none of a selector that has none.
    pub(super) samples: Vec<Option<f64>>,
    /// When the sample was taken.
    pub(super) at: Timestamp,
    /// When the sample of `renewed_by` was taken, or this one, whichever was earlier.
    pub(super) first: Timestamp,
    /// The recovery point, if the age was measured when the sample was taken.
    pub(super) point: Timestamp,
}

impl Reading {
    /// The same as if it had been measured at `at`, where that is earlier.
    pub(super) fn measured(self, at: Timestamp) -> Self {
        Self { point: self.point.minus(self.at.since(at)), at: self.at.min(at), ..self }
    }
}

impl Held {
    /// Whether a reading is this one again: the number is the same, or all that it rests on is, as of a mean over a range or of
    /// what is reckoned from the time. What renews it makes another one of it.
    fn is(&self, read: &Reading) -> bool {
        let same = |bits: u64, value: f64| is_same(f64::from_bits(bits), value);
        let same_sample = |(known, read): (&Option<u64>, &Option<f64>)| match (known, read) {
            (Some(known), Some(read)) => same(*known, *read),
            (known, read) => known.is_none() && read.is_none(),
        };
        let told = read.samples.iter().any(Option::is_some) && read.samples.len() == self.samples.len();
        let same_samples = told && self.samples.iter().zip(&read.samples).all(same_sample);
        // Where it is not told whether the age was measured anew, or was not told before, it was not.
        let renewed = self.marks.1.zip(read.renewal).is_some_and(|(known, read)| known != read.to_bits());
        (same(self.marks.0, read.value) || same_samples) && !renewed
    }

    /// When it was last read, if this reading is another one: it was measured at any time since then.
    pub(super) fn unseen_since(&self, read: &Reading) -> Option<Timestamp> {
        self.seen.filter(|_| !self.is(read))
    }

    /// The record after a reading. It is the `known` one if the same value was read again.
    pub(super) fn after(known: Option<Self>, read: &Reading) -> Self {
        // A look that was not told what renews the number does not show that nothing renewed it by then.
        let untold = known.as_ref().filter(|known| known.marks.1.is_some() && read.renewal.is_none());
        let seen = untold.map_or(Some(read.first), |known| known.seen);
        match known {
            Some(known) if known.is(read) => {
                let marks = (known.marks.0, known.marks.1.or(read.renewal.map(f64::to_bits)));
                Self { marks, point: known.point.min(read.point), seen: seen.max(known.seen), ..known }
            }
            known => {
                let before = known.and_then(|known| known.marks.1);
                Self {
                    marks: (read.value.to_bits(), read.renewal.map(f64::to_bits).or(before)),
                    samples: read.samples.iter().map(|sum| sum.map(f64::to_bits)).collect(),
                    since: read.at,
                    seen,
                    point: read.point,
                }
            }
        }
    }

    /// Whether the age has not changed for longer than `patience` at `now`.
    pub(super) fn is_frozen(&self, patience: Duration, now: Timestamp) -> bool {
        now.since(self.since) > patience
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        Self { since: carry(self.since), seen: self.seen.map(&carry), point: carry(self.point), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    /// How long before second 0 the recovery point lies after these looks: (second, age, renewal).
    fn point(looks: &[(i64, u32, Option<u32>)]) -> i64 {
        let held = looks.iter().fold(None, |known, (second, age, renewal)| {
            let (value, renewal) = (f64::from(*age), renewal.map(f64::from));
            let (at, point) = (at(*second), at(*second - i64::from(*age)));
            Some(Held::after(known, &Reading { value, renewal, samples: Vec::new(), at, first: at, point }))
        });
        let point = held.expect("a look").point;
        (point.as_unix_nanos() - at(0).as_unix_nanos()) / 1_000_000_000
    }

    #[test]
    fn an_age_that_stands_still_proves_what_it_first_proved() {
        assert_eq!(point(&[(0, 5, None)]), -5);
        assert_eq!(point(&[(0, 5, None), (60, 5, None), (600, 5, None)]), -5, "frozen");
        assert_eq!(point(&[(0, 0, None), (600, 0, None)]), 0, "frozen at 0, or healthy: nobody can tell");
        assert_eq!(point(&[(0, 5, None), (600, 5, None), (601, 6, None)]), 595, "it moves again");
        assert_eq!(point(&[(0, 5, None), (300, 6, None), (600, 5, None)]), 595, "a slow collector");
        assert_eq!(point(&[(0, 0, None), (30, 0, None), (60, 60, None)]), 0, "whole minutes");
        assert_eq!(point(&[(0, 500, None), (10, 0, None)]), 10, "it fell");
    }

    #[test]
    fn a_look_that_was_not_told_what_renews_it_hides_no_renewal() {
        // The collector works between the first two looks, and hangs from then on.
        for age in [0.0, 1.0] {
            let look = |second: i64, value: f64, renewal: Option<f64>| {
                let (at, point) = (at(second), at(second));
                Reading { value, renewal, samples: Vec::new(), at, first: at, point }
            };
            let held = Held::after(None, &look(0, 0.0, Some(1.0)));
            let held = Held::after(Some(held), &look(10, age, None));
            let renewed = look(20, age, Some(2.0));
            assert_eq!(
                held.unseen_since(&renewed),
                Some(at(0)),
                "measured at any time since the renewal was last read"
            );
            let held = Held::after(Some(held), &renewed);
            assert_eq!(held.unseen_since(&look(30, age, Some(3.0))), Some(at(20)));
        }
    }

    #[test]
    fn what_renews_it_vouches_for_a_constant_one() {
        assert_eq!(point(&[(0, 0, Some(1)), (60, 0, Some(2))]), 60);
        assert_eq!(point(&[(0, 0, Some(1)), (60, 0, Some(1))]), 0, "both stand still");
        assert_eq!(point(&[(0, 0, Some(9)), (60, 0, Some(1))]), 60, "a counter began anew");
        assert_eq!(point(&[(0, 0, Some(1)), (60, 0, None)]), 0, "not told is not renewed");
        assert_eq!(point(&[(0, 0, Some(1)), (60, 0, None), (90, 0, Some(1))]), 0, "nor is what comes back as it was");
        assert_eq!(point(&[(0, 0, Some(1)), (60, 1, Some(1))]), 59, "a change is a renewal");
        assert_eq!(point(&[(0, 0, None), (60, 0, Some(1))]), 0, "nor is what is told for the first time");
        assert_eq!(point(&[(0, 0, None), (60, 0, Some(1)), (90, 0, Some(2))]), 90, "from then on it is");
    }

    #[test]
    fn what_moves_while_its_samples_stand_still_is_the_same_again() {
        let look = |second: i64, value: f64, samples: &[Option<f64>]| {
            let (at, point) = (at(second), at(second - 5));
            Reading { value, renewal: None, samples: samples.to_vec(), at, first: at, point }
        };
        let held = Held::after(None, &look(0, 100.0, &[Some(5.0), None]));
        for again in [look(60, 160.0, &[Some(5.0), None]), look(60, 100.000_000_01, &[Some(6.0), None])] {
            assert_eq!(held.unseen_since(&again), None);
            assert_eq!(Held::after(Some(held.clone()), &again).point, at(-5));
        }
        for anew in [
            look(60, 160.0, &[Some(6.0), None]),
            look(60, 160.0, &[Some(5.0), Some(1.0)]),
            look(60, 160.0, &[None, None]),
            look(60, 160.0, &[]),
        ] {
            assert_eq!(held.unseen_since(&anew), Some(at(0)));
            assert_eq!(Held::after(Some(held.clone()), &anew).point, at(55));
            let earlier = anew.measured(at(20));
            assert_eq!(Held::after(Some(held.clone()), &earlier).point, at(15), "as it was measured before");
        }
    }

    #[test]
    fn a_memory_is_carried_over_bit_by_bit() {
        let (value, renewal, samples) = (0.1 + 0.2, Some(1.0 / 3.0), vec![Some(0.3), None]);
        let held = Held::after(None, &Reading { value, renewal, samples, at: at(0), first: at(0), point: at(-1) });
        let stored = serde_json::to_value(&held).expect("plain data");
        assert_eq!(serde_json::from_value::<Held>(stored).expect("the same"), held);
        assert!(!held.is_frozen(Duration::from_secs(300), at(300)));
        assert!(held.is_frozen(Duration::from_secs(300), at(301)));
    }
}
