//! When a trigger fires, when it is clear, and when it is neither.

use std::sync::Arc;

use dr_rules::observation::Health;
use dr_rules::recovery_clock::{Look, Thresholds};
use dr_rules::time::Timestamp;
use dr_rules::trigger::{Trigger, TriggerMode, TriggerSpec, Watched};
use proptest::prelude::*;

use super::{healthy, no_answer, seconds, t, unhealthy};

fn spec(failures_to_trigger: u32, hold: u64) -> Arc<TriggerSpec> {
    Arc::new(TriggerSpec {
        name: "health".to_owned(),
        action: "dns_failover".to_owned(),
        notification: "pager".to_owned(),
        mode: TriggerMode::Auto,
        watched: Watched::Check { contract: "api".to_owned(), check: "health".to_owned() },
        when: Thresholds {
            failures_to_trigger,
            hold: seconds(hold),
            successes_to_recover: 1,
            freshness: seconds(35),
            pace: seconds(35),
            rhythm: seconds(35),
        },
    })
}

/// `x` fails, `.` is well, `?` is no answer, ` ` is no look at all; one place every ten seconds.
fn look(sign: char) -> Option<Health> {
    match sign {
        'x' => Some(unhealthy()),
        '.' => Some(healthy()),
        '?' => Some(no_answer()),
        ' ' => None,
        other => panic!("{other} means nothing"),
    }
}

/// What is said right after each look: `F` fires, `c` clear, `-` not known.
fn states(trigger: &mut Trigger, from: i64, looks: &str) -> String {
    let say = |(place, sign): (usize, char)| {
        let at = t(from + 10 * i64::try_from(place).expect("few looks"));
        if let Some(health) = look(sign) {
            trigger.observe(Look::at(at, &health));
        }
        match trigger.is_active(at) {
            Some(true) => 'F',
            Some(false) => 'c',
            None => '-',
        }
    };
    looks.chars().enumerate().map(say).collect()
}

#[test]
fn fires_and_is_clear_at_the_exact_look() {
    #[rustfmt::skip]
    let cases = [
        // failures, for, looks, what is said
        (3, 0, "..xxx..",        "ccccFcc", "the third in a row fires, the first that is well ends it"),
        (3, 0, "xx.xx.",         "cccccc",  "two in a row are not three"),
        (1, 0, "x.x.",           "FcFc",    "one is enough"),
        (3, 0, "x?x?x",          "ccccF",   "no answer is no observation: it breaks no streak and adds to none"),
        (3, 0, "xxx????",        "ccFFFF-", "without fresh evidence it is neither, though it fired"),
        (3, 0, "xxx?????x",      "ccFFFF--F", "it still fires when it is seen again to fail"),
        (3, 0, "xxx?????.",      "ccFFFF--c", "and is clear when it is seen to be well"),
        (3, 0, "xx    xxx",      "ccccc-ccF", "what nobody looked at is no failure: a long gap begins the streak anew"),
    ];
    for (failures, hold, looks, expected, why) in cases {
        let mut trigger = Trigger::new(spec(failures, hold));
        assert_eq!(states(&mut trigger, 0, looks), expected, "{why}: {looks:?}");
    }
}

#[test]
fn for_is_honoured() {
    #[rustfmt::skip]
    let cases = [
        ("xxxx.",      "cccFc",      "thirty seconds after the first"),
        ("xxx.xxxx",   "cccccccF",   "it must hold without a break"),
        ("xx?x",       "cccF",       "a look that says nothing is no break"),
        ("xx    xxxx", "ccccc-cccF", "a time in which nobody looked is one"),
    ];
    for (looks, expected, why) in cases {
        let mut trigger = Trigger::new(spec(1, 30));
        assert_eq!(states(&mut trigger, 0, looks), expected, "{why}: {looks:?}");
    }
}

#[test]
fn nothing_is_known_before_the_first_answer() {
    let mut trigger = Trigger::new(spec(1, 0));
    assert_eq!(trigger.is_active(t(0)), None);
    assert_eq!(states(&mut trigger, 0, "???"), "---");
    assert_eq!(trigger.last_fired(), None);
}

#[test]
fn says_when_it_fired_and_since_when_its_condition_holds() {
    let mut trigger = Trigger::new(spec(3, 0));
    states(&mut trigger, 0, ".xx");
    assert_eq!((trigger.holds_since(), trigger.last_fired()), (Some(t(10)), None), "it holds, and does not fire yet");
    states(&mut trigger, 30, "x");
    assert_eq!((trigger.holds_since(), trigger.last_fired()), (Some(t(10)), Some(t(30))));
    states(&mut trigger, 40, ".");
    assert_eq!((trigger.holds_since(), trigger.last_fired()), (None, Some(t(30))), "the last time is remembered");
}

fn looks() -> impl Strategy<Value = Vec<char>> {
    proptest::collection::vec(prop_oneof![3 => Just('x'), 3 => Just('.'), 1 => Just('?'), 1 => Just(' ')], 1..60)
}

proptest! {
    /// A restart at any place, on a timeline that is set anew, changes nothing.
    #[test]
    fn a_restart_in_the_middle_changes_nothing(looks in looks(), at in 0_usize..60, failures in 1_u32..4, hold in 0_u64..40) {
        let looks: String = looks.into_iter().collect();
        let (first, second) = looks.split_at(at.min(looks.len()));
        let mut straight = Trigger::new(spec(failures, hold));
        let expected = states(&mut straight, 0, &looks);

        let mut before = Trigger::new(spec(failures, hold));
        let mut said = states(&mut before, 0, first);
        let json = serde_json::to_value(before.remember()).expect("it can be written");
        let stored = serde_json::from_value::<dr_rules::trigger::RememberedTrigger>(json).expect("and read");
        let there = |at: Timestamp| at.plus(seconds(1000));
        let back = |at: Timestamp| at.minus(seconds(1000));
        let mut after = Trigger::recall(spec(failures, hold), &stored.carried(there).carried(back));
        said.push_str(&states(&mut after, 10 * i64::try_from(first.len()).expect("few looks"), second));
        prop_assert_eq!(said, expected);
        prop_assert_eq!(after.last_fired(), straight.last_fired());
    }

    /// It fires only after that many failures in a row and after that long, and never without evidence.
    #[test]
    fn it_never_fires_without_the_evidence(looks in looks(), failures in 1_u32..4, hold in 0_u64..40) {
        let mut trigger = Trigger::new(spec(failures, hold));
        let looks: String = looks.into_iter().collect();
        let said = states(&mut trigger, 0, &looks);
        for (place, state) in said.chars().enumerate() {
            let so_far: Vec<char> = looks.chars().take(place + 1).collect();
            let fresh = so_far.iter().rev().take(4).any(|sign| "x.".contains(*sign));
            prop_assert_eq!(state == '-', !fresh, "{} at {}", said, place);
            if state == 'F' {
                let answers: Vec<char> = so_far.iter().copied().filter(|sign| "x.".contains(*sign)).collect();
                prop_assert_eq!(answers.last(), Some(&'x'), "the last answer was a failure");
                let streaks = answers.split(|sign| *sign == '.').map(<[char]>::len).max().unwrap_or_default();
                prop_assert!(streaks >= failures as usize);
            }
        }
    }
}
