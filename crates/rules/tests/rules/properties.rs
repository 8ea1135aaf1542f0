//! What holds for every history.

use std::time::Duration;

use dr_rules::check::Feeds;
use dr_rules::contract::{Contract, Objective};
use dr_rules::interval::Interval;
use dr_rules::observation::{CopyState, Health, Observation};
use dr_rules::outage::Outage;
use dr_rules::status::{self, Basis, Status, Target};
use dr_rules::time::Timestamp;
use proptest::prelude::*;

use super::{check, contract, finding, healthy, no_answer, of_health, recalled, seconds, spec, t, unhealthy};

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(healthy()), Just(unhealthy()), Just(Health::Pending(finding())), Just(no_answer())]
}

/// Copies, with instants relative to the observation.
fn copy() -> impl Strategy<Value = CopyOf> {
    prop_oneof![
        Just((|at: Timestamp, ago| CopyState::Complete { up_to: at.minus(seconds(ago)) }) as CopyOf),
        Just((|at: Timestamp, ahead| CopyState::Complete { up_to: at.plus(seconds(ahead)) }) as CopyOf),
        Just((|at: Timestamp, ago| behind(at.minus(seconds(ago)))) as CopyOf),
        Just((|at: Timestamp, ago| CopyState::Vouched { up_to: at.minus(seconds(ago)), doubt: None }) as CopyOf),
        Just((|at: Timestamp, ago| doubted(at.minus(seconds(ago)))) as CopyOf),
        Just(
            (|_, _| CopyState::Outdated {
                up_to: None,
                went_back: None,
                holds: String::new(),
                expected: String::new(),
                finding: finding()
            }) as CopyOf
        ),
        Just((|at: Timestamp, ago| outdated(at, ago)) as CopyOf),
        Just((|_, _| CopyState::Damaged(finding())) as CopyOf),
        Just((|_, _| CopyState::Withdrawn(finding())) as CopyOf),
        Just((|_, _| CopyState::Lost(finding())) as CopyOf),
        Just((|_, _| CopyState::Unknown(finding())) as CopyOf),
    ]
}

fn doubted(up_to: Timestamp) -> CopyState {
    CopyState::Vouched { up_to, doubt: Some(finding()) }
}

/// A copy that holds one of three things, and may have been complete some time ago.
fn outdated(at: Timestamp, ago: u64) -> CopyState {
    let up_to = ago.is_multiple_of(5).then(|| at.minus(seconds(ago)));
    CopyState::Outdated {
        up_to,
        went_back: None,
        holds: (ago % 3).to_string(),
        expected: String::new(),
        finding: finding(),
    }
}

fn behind(since: Timestamp) -> CopyState {
    CopyState::Behind { since, precision: Duration::from_millis(10), certain_since: None, finding: None }
}

/// One step of a history: which of two checks, how long after the step before, what it found.
fn step() -> impl Strategy<Value = (usize, u32, Health, CopyOf, u64)> {
    (0..2_usize, 0..60_u32, health(), copy(), 0..200_u64)
}

type CopyOf = fn(Timestamp, u64) -> CopyState;

fn two_checks() -> Contract {
    contract(spec(), vec![check("a"), check("b")])
}

/// Plays a history; calls back before and after every observation.
fn play(
    history: &[(usize, u32, Health, CopyOf, u64)],
    mut look: impl FnMut(&Contract, &Contract, usize, Timestamp, &Observation),
) -> (Contract, Timestamp) {
    let mut contract = two_checks();
    let mut now = t(0);
    for (check, later, health, copy, offset) in history {
        now = now.plus(seconds(u64::from(*later)));
        let observation = Observation { copy: Some(copy(now, *offset)), ..of_health(health.clone()) };
        let before = contract.clone();
        contract.observe(*check, now, &observation);
        look(&before, &contract, *check, now, &observation);
    }
    (contract, now)
}

fn point(contract: &Contract, check: usize) -> Option<Timestamp> {
    contract.checks()[check].point().instant()
}

/// An interval within the range of the targets below, the lower end first.
fn interval() -> impl Strategy<Value = Interval> {
    (0..300_u64, prop::option::of(0..300_u64))
        .prop_map(|(least, more)| Interval::new(seconds(least), more.map(|more| seconds(least + more))))
}

/// The same interval and a wider one.
fn narrow_and_wide() -> impl Strategy<Value = (Interval, Interval)> {
    (interval(), 0..300_u64, prop::option::of(0..300_u64)).prop_map(|(narrow, lower, higher)| {
        let least = narrow.least.saturating_sub(seconds(lower));
        let most = narrow.most.zip(higher).map(|(most, higher)| most + seconds(higher));
        (narrow, Interval::new(least, most))
    })
}

/// Both tables for one figure; the standing of the RTO is `met`, the best there is.
fn verdicts(figure: Interval) -> [Status; 2] {
    let target = Target { limit: seconds(100), at_risk_ratio: 0.8 };
    let rto = status::rto(Some(figure), true, Basis::LastRecoveryMet, target);
    [status::rpo(figure, false, target).status(), rto.status()]
}

proptest! {
    #[test]
    fn a_wider_interval_never_turns_unproven_into_anything_else((narrow, wide) in narrow_and_wide()) {
        for (narrow, wide) in verdicts(narrow).into_iter().zip(verdicts(wide)) {
            if narrow == Status::Unproven {
                prop_assert_eq!(wide, Status::Unproven);
            }
        }
    }

    #[test]
    fn a_narrower_interval_never_contradicts_a_wider_one((narrow, wide) in narrow_and_wide()) {
        for (narrow, wide) in verdicts(narrow).into_iter().zip(verdicts(wide)) {
            match wide {
                Status::Met => prop_assert_eq!(narrow, Status::Met),
                Status::AtRisk => prop_assert!(narrow != Status::Breached && narrow != Status::Unproven),
                Status::Breached => prop_assert_eq!(narrow, Status::Breached),
                Status::Unproven => {}
            }
        }
    }

    #[test]
    fn the_lower_end_never_grows_because_time_passed_and_never_passes_the_upper(
        history in prop::collection::vec(step(), 0..40), first in 0..500_u64, second in 0..500_u64,
    ) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let (sooner, later) = (now.plus(seconds(first)), now.plus(seconds(first + second)));
        for check in 0..2 {
            let exposure = |at| contract.checks()[check].exposure(at);
            let (sooner, later) = (exposure(sooner), exposure(later));
            prop_assert!(later.least <= sooner.least);
            prop_assert!(later.most.is_none() == sooner.most.is_none() && later.most >= sooner.most);
            prop_assert!(sooner.most.is_none_or(|most| sooner.least <= most));
        }
    }

    #[test]
    fn time_alone_breaches_no_rpo_and_proves_no_rto(
        history in prop::collection::vec(step(), 0..40), first in 0..500_u64, second in 0..500_u64,
    ) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let (sooner, later) = (now.plus(seconds(first)), now.plus(seconds(first + second)));
        let status = |objective, at| contract.judge(objective, at).expect("both objectives").status();
        if status(Objective::Rpo, later) == Status::Breached {
            prop_assert_eq!(status(Objective::Rpo, sooner), Status::Breached);
        }
        if status(Objective::Rto, later) == Status::Met {
            prop_assert_eq!(status(Objective::Rto, sooner), Status::Met);
        }
    }

    #[test]
    fn an_outage_never_improves_an_rto(history in prop::collection::vec(step(), 0..60)) {
        play(&history, |before, after, _, now, _| {
            if let (None, Some(_)) = (before.clock().running(), after.clock().running()) {
                let status = |contract: &Contract| contract.judge(Objective::Rto, now).expect("an RTO");
                let (before, after) = (status(before), status(after));
                // That the last check that had never answered now answers is what made it better, not the outage.
                if before.basis != Basis::HealthUnknown {
                    assert!(after.status() >= before.status(), "{before:?} {after:?}");
                }
            }
        });
    }

    #[test]
    fn a_restart_changes_no_verdict(history in prop::collection::vec(step(), 0..40), later in 0..500_u64) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let recalled = recalled(&contract);
        for objective in Objective::ALL {
            let judge = |contract: &Contract| contract.judge(objective, now.plus(seconds(later)));
            let (before, after) = (judge(&contract), judge(&recalled));
            prop_assert_eq!(before, after);
        }
    }

    #[test]
    fn a_recovery_point_never_moves_back_unless_withdrawn(history in prop::collection::vec(step(), 0..40)) {
        play(&history, |before, after, check, _, observation| {
            let withdrawn = matches!(observation.copy, Some(CopyState::Lost(_) | CopyState::Damaged(_) | CopyState::Withdrawn(_) | CopyState::Behind { .. }));
            if !withdrawn {
                assert!(point(after, check) >= point(before, check));
            }
        });
    }

    #[test]
    fn no_recovery_point_lies_in_the_future(history in prop::collection::vec(step(), 0..40)) {
        play(&history, |_, after, check, now, _| assert!(point(after, check).is_none_or(|point| point <= now)));
    }

    #[test]
    fn nothing_unmeasured_moves_a_point_or_a_clock(history in prop::collection::vec(step(), 0..40), later in 0..500_u64) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let mut after = contract.clone();
        let nothing = Observation { copy: Some(CopyState::Unknown(finding())), ..of_health(no_answer()) };
        after.observe(0, now.plus(seconds(later)), &nothing);
        after.observe(1, now.plus(seconds(later)), &nothing);
        prop_assert_eq!(after, contract);
    }

    #[test]
    fn a_status_never_gets_better_because_time_passed(
        history in prop::collection::vec(step(), 0..40), first in 0..500_u64, second in 0..500_u64,
    ) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let (sooner, later) = (now.plus(seconds(first)), now.plus(seconds(first + second)));
        for objective in Objective::ALL {
            let status = |at| contract.judge(objective, at).expect("both objectives").status();
            // That a breach cannot be seen any more makes it unproven, not better: neither is good.
            let rank = |status| match status {
                Status::Met => 0,
                Status::AtRisk => 1,
                Status::Unproven | Status::Breached => 2,
            };
            prop_assert!(rank(status(later)) >= rank(status(sooner)), "{objective:?}");
        }
    }

    #[test]
    fn compliant_means_that_a_proof_is_younger_than_the_rpo(
        history in prop::collection::vec(step(), 0..40), later in 0..500_u64,
    ) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let now = now.plus(seconds(later));
        let judgement = contract.judge(Objective::Rpo, now).expect("an RPO");
        if judgement.status().is_compliant() == Some(true) {
            for check in 0..2 {
                let point = point(&contract, check).expect("a compliant copy is proven");
                prop_assert!(now.since(point) < seconds(100));
            }
        }
    }

    #[test]
    fn a_breach_rests_on_fresh_evidence(history in prop::collection::vec(step(), 0..40), later in 0..500_u64) {
        let (contract, now) = play(&history, |_, _, _, _, _| {});
        let now = now.plus(seconds(later));
        if contract.judge(Objective::Rpo, now).expect("an RPO").status() == Status::Breached {
            let evidence = |check: usize| contract.checks()[check].point().evidence();
            prop_assert!((0..2).any(|check| evidence(check).is_some_and(|at| now.since(at) <= seconds(35))));
        }
    }

    #[test]
    fn a_clock_keeps_its_trigger_and_stops_only_on_health(history in prop::collection::vec(step(), 0..60)) {
        play(&history, |before, after, _, now, observation| {
            match (before.clock().running(), after.clock().running()) {
                (Some(before), Some(after)) => {
                    let interruption = before.interruption;
                    assert_eq!(*before, Outage { interruption, ..*after });
                }
                (Some(_), None) => {
                    // Another check that is pending may be the last that it waited for.
                    assert!(matches!(observation.health, Health::Healthy | Health::Pending(_)));
                    let last = after.clock().last_recovery().expect("a recovery was recorded");
                    assert!(last.outage.first_failure <= last.outage.trigger);
                    assert!(last.outage.trigger <= last.healthy && last.healthy <= now);
                }
                (None, Some(after)) => {
                    assert!(matches!(observation.health, Health::Unhealthy(_)));
                    assert_eq!(after.trigger, now);
                }
                (None, None) => {}
            }
        });
    }

    #[test]
    fn a_check_without_a_share_in_an_objective_does_not_move_it(history in prop::collection::vec(step(), 0..40)) {
        let mut mute = check("b");
        mute.feeds = Feeds { rto: false, rpo: false };
        let mut with = contract(spec(), vec![check("a"), mute]);
        let mut without = contract(spec(), vec![check("a")]);
        let mut now = t(0);
        for (check, later, health, copy, offset) in &history {
            now = now.plus(seconds(u64::from(*later)));
            let observation =
                Observation { copy: Some(copy(now, *offset)), ..of_health(health.clone()) };
            with.observe(*check, now, &observation);
            if *check == 0 {
                without.observe(0, now, &observation);
            }
            for objective in Objective::ALL {
                let (with, without) = (with.judge(objective, now), without.judge(objective, now));
                prop_assert_eq!(with, without);
            }
        }
    }
}
