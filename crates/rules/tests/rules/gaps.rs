//! Times in which nobody looked: nothing that is added up reaches across them.

use std::time::Duration;

use dr_rules::contract::{Contract, Objective};
use dr_rules::observation::{CopyState, Health};
use dr_rules::outage::Mode;
use dr_rules::recovery_clock::ClockEvent;
use dr_rules::status::{Basis, Status};
use dr_rules::time::Timestamp;
use proptest::prelude::*;

use super::{check, contract, healthy, no_answer, observe, recalled, seconds, spec, t, unhealthy};

/// One check every 10 s, every 5 s while the clock runs, fresh for 35 s; three failures start the clock, and the RTO is 300 s.
fn seen(found: &[(i64, Health)]) -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    observe(&mut contract, 0, -10, healthy());
    for (at, health) in found {
        observe(&mut contract, 0, *at, health.clone());
    }
    contract
}

fn down(from: i64, to: i64) -> Vec<(i64, Health)> {
    (from..=to).step_by(5).map(|at| (at, unhealthy())).collect()
}

fn basis(contract: &Contract, now: i64) -> Basis {
    contract.judge(Objective::Rto, t(now)).expect("an RTO").basis
}

fn ends(contract: &Contract, now: i64) -> (Duration, Option<Duration>) {
    let lasted = contract.outage(t(now)).expect("the clock runs");
    (lasted.least, lasted.most)
}

fn stopped(event: Option<ClockEvent>) -> dr_rules::outage::Recovery {
    match event {
        Some(ClockEvent::Stopped(recovery)) => recovery,
        other => panic!("{other:?}"),
    }
}

#[test]
fn two_outages_with_a_gap_between_them_are_no_breach() {
    // Killed, frozen and partitioned look alike here, but for a restart and for looks without an answer.
    let gaps: [fn(Contract) -> Contract; 3] = [
        |contract| contract,
        |contract| recalled(&contract),
        |mut contract| {
            for at in (55..1000).step_by(5) {
                observe(&mut contract, 0, at, no_answer());
            }
            contract
        },
    ];
    for gap in gaps {
        let mut contract = gap(seen(&down(0, 50)));
        assert_eq!(ends(&contract, 999), (seconds(40), Some(seconds(989))));
        assert_eq!(basis(&contract, 999), Basis::DownUncertain);
        // It recovered at 60, say, and failed again at 999.
        observe(&mut contract, 0, 1000, unhealthy());
        assert_eq!(ends(&contract, 1000), (seconds(40), Some(seconds(990))));
        for (at, health) in down(1005, 1050) {
            assert_eq!(basis(&contract, at), Basis::DownUncertain, "at {at}");
            observe(&mut contract, 0, at, health);
        }
        // A clock that starts after the gap starts at the third failure, at 1010.
        assert_eq!(ends(&contract, 1050), (seconds(40), Some(seconds(1040))));
        let mut goes_on = contract.clone();
        for (at, health) in down(1055, 1310) {
            assert_eq!(basis(&goes_on, at - 1), Basis::DownUncertain, "at {at}");
            observe(&mut goes_on, 0, at, health);
        }
        assert_eq!(basis(&goes_on, 1310), Basis::DownReachedTarget, "watched for as long as the target");
        assert_eq!(ends(&goes_on, 1310), (seconds(300), Some(seconds(1300))));

        let recovery = stopped(observe(&mut contract, 0, 1055, healthy()));
        assert_eq!((recovery.outage.first_failure, recovery.outage.trigger, recovery.healthy), (t(0), t(10), t(1055)));
        let took = recovery.took();
        assert_eq!((took.least, took.most), (seconds(45), Some(seconds(1045))));
        assert_eq!(recovery.met(seconds(300)), None, "nobody knows");
        assert_eq!(contract.judge(Objective::Rto, t(1055)).expect("an RTO").status(), Status::Unproven);
    }
}

#[test]
fn the_first_failure_after_a_gap_may_be_as_old_as_the_gap() {
    let recovered =
        down(0, 50).into_iter().chain([(55, healthy()), (60, healthy()), (65, healthy())]).collect::<Vec<_>>();
    let known = seen(&recovered);
    assert_eq!(basis(&known, 65), Basis::LastRecoveryMet);
    // The RTO is 300 s, and a clock starts at the third failure. At risk is what may be above 240 s.
    for (back, told) in [(75, Basis::LastRecoveryMet), (305, Basis::LastRecoveryMet), (306, Basis::DownUncertain)] {
        for gap in [Clone::clone, recalled] as [fn(&Contract) -> Contract; 2] {
            let mut contract = gap(&known);
            observe(&mut contract, 0, back, unhealthy());
            assert!(contract.outage(t(back)).is_none(), "no clock runs yet");
            assert_eq!(basis(&contract, back), told, "back at {back}");
            observe(&mut contract, 0, back + 10, healthy());
            assert_eq!(basis(&contract, back + 10), Basis::LastRecoveryMet, "it is well");
        }
    }
}

#[test]
fn a_breach_that_was_seen_stays_one_until_the_component_is_seen_to_be_well() {
    let mut contract = recalled(&seen(&down(0, 400)));
    assert_eq!(basis(&contract, 999), Basis::DownReachedTarget);
    for (at, health) in down(1000, 1010) {
        observe(&mut contract, 0, at, health);
        assert_eq!(basis(&recalled(&contract), at), Basis::DownReachedTarget, "at {at}");
    }
    let recovery = stopped(observe(&mut contract, 0, 1015, healthy()));
    assert_eq!((recovery.took().least, recovery.met(seconds(300))), (seconds(390), Some(false)));
}

#[test]
fn what_is_fresh_is_no_gap() {
    // A restart that takes 35 s, and one that takes 36 s.
    for (back, least) in [(435, 425), (436, 390)] {
        let mut contract = recalled(&seen(&down(0, 400)));
        observe(&mut contract, 0, back, unhealthy());
        assert_eq!(ends(&contract, back).0, seconds(least), "back at {back}");
    }
}

#[test]
fn a_check_that_was_seen_well_ends_a_stretch_though_another_holds_the_clock_up() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    observe(&mut contract, 1, -10, healthy());
    for (at, health) in down(0, 50) {
        observe(&mut contract, 0, at, health);
    }
    // Nobody reaches the other, so the clock runs on.
    for at in (55..600).step_by(5) {
        observe(&mut contract, 0, at, healthy());
        observe(&mut contract, 1, at, no_answer());
    }
    for (at, health) in down(600, 620) {
        observe(&mut contract, 0, at, health);
        assert_eq!(basis(&contract, at), Basis::DownUncertain, "it was well for 9 minutes");
    }
    assert_eq!(ends(&contract, 620).0, seconds(40));
}

#[test]
fn one_check_takes_over_from_another_that_still_fails() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    for check in [0, 1] {
        observe(&mut contract, check, -10, healthy());
    }
    for (at, health) in down(0, 100) {
        observe(&mut contract, 0, at, health);
    }
    observe(&mut contract, 1, 99, unhealthy());
    for at in (104..400).step_by(5) {
        observe(&mut contract, 0, at, healthy());
        observe(&mut contract, 1, at, unhealthy());
    }
    assert_eq!(basis(&contract, 399), Basis::DownReachedTarget, "at every instant one of them failed");
    assert_eq!(ends(&contract, 399), (seconds(389), Some(seconds(389))));
}

#[test]
fn a_success_that_is_no_recovery_yet_is_no_interruption() {
    let twice = super::CheckSpec { successes_to_recover: 2, ..check("a") };
    let mut contract = contract(spec(), vec![twice]);
    observe(&mut contract, 0, -10, healthy());
    for (index, at) in (0..=400).step_by(5).enumerate() {
        observe(&mut contract, 0, at, if index % 4 == 3 { healthy() } else { unhealthy() });
    }
    assert_eq!(basis(&contract, 400), Basis::DownReachedTarget);
}

#[test]
fn successes_before_a_gap_may_have_been_the_recovery() {
    // The last failure at 20; healthy at 25 or, late, at 50; then nobody looks until 200.
    for (well, earliest) in [(25, 25), (50, 20)] {
        let twice = super::CheckSpec { successes_to_recover: 2, ..check("a") };
        let mut contract = contract(spec(), vec![twice]);
        observe(&mut contract, 0, -10, healthy());
        for (at, health) in down(0, 20) {
            observe(&mut contract, 0, at, health);
        }
        for at in [well, 200] {
            assert_eq!(observe(&mut contract, 0, at, healthy()), None);
        }
        let recovery = stopped(observe(&mut contract, 0, 205, healthy()));
        assert_eq!((recovery.earliest, recovery.healthy), (t(earliest), t(200)), "healthy at {well}");
    }
}

#[test]
fn a_declaration_counts_until_all_is_seen_to_be_well() {
    // Declared at 0. What was found at 5, and the least that it is known to have lasted at 30.
    for (found, least) in [(no_answer(), 30), (unhealthy(), 30), (healthy(), 10)] {
        let mut contract = contract(spec(), vec![check("a")]);
        observe(&mut contract, 0, -10, healthy());
        contract.declare(t(0), Mode::Real);
        observe(&mut contract, 0, 5, found.clone());
        for (at, health) in down(10, 30) {
            observe(&mut contract, 0, at, health);
        }
        assert_eq!(ends(&contract, 30), (seconds(least), Some(seconds(30))), "{found:?} at 5");
    }
}

/// DR holds one value, and the primary another; what the primary holds at a look.
fn outdated(contract: &mut Contract, at: i64, expected: &str) {
    let copy = CopyState::Outdated {
        up_to: None,
        went_back: None,
        holds: "v1".to_owned(),
        expected: expected.to_owned(),
        finding: super::finding(),
    };
    contract.observe(0, t(at), &super::of_copy(copy));
}

/// The primary may have gone back to what DR holds, and on from there: then little is missing.
#[test]
fn a_difference_is_not_older_than_the_looks_that_saw_it() {
    // When it was looked at again, what the primary held then, and the least that is missing.
    for (again, expected, least) in [(35, "v3", 35), (36, "v3", 0), (36, "", 0), (36, "v2", 36), (3600, "v2", 3600)] {
        for restart in [false, true] {
            let mut contract = contract(spec(), vec![check("a")]);
            outdated(&mut contract, 0, if expected.is_empty() { "" } else { "v2" });
            let mut contract = if restart { recalled(&contract) } else { contract };
            outdated(&mut contract, again, expected);
            let exposure = contract.checks()[0].exposure(t(again));
            assert_eq!(exposure.least, seconds(least), "{expected} at {again}, {restart}");
        }
    }
}

#[test]
fn damage_may_have_been_mended_and_done_again_where_nobody_looked() {
    for (again, least) in [(35, 35), (36, 0)] {
        let mut contract = contract(spec(), vec![check("a")]);
        for at in [0, again] {
            contract.observe(0, t(at), &super::of_copy(CopyState::Damaged(super::finding())));
        }
        assert_eq!(contract.checks()[0].exposure(t(again)).least, seconds(least), "again at {again}");
    }
}

/// What one check saw: how long after the look before, and what. A restart lies before some looks.
fn look() -> impl Strategy<Value = (u64, Health, bool)> {
    let health = prop_oneof![4 => Just(unhealthy()), 1 => Just(healthy()), 1 => Just(no_answer())];
    (prop_oneof![6 => 1..12_u64, 1 => 30..400_u64], health, prop::bool::weighted(0.1))
}

proptest! {
    /// What is said to have lasted at least so long was seen to fail for so long, in looks without a gap; and whatever can have
    /// happened unseen lies within the upper end.
    #[test]
    fn the_lower_end_was_seen_and_the_upper_end_holds_everything(
        looks in prop::collection::vec(look(), 1..80), needed in 1..4_u32, recovers in 1..3_u32,
    ) {
        let one = super::CheckSpec { failures_to_trigger: needed, successes_to_recover: recovers, ..check("a") };
        let mut contract = contract(spec(), vec![one]);
        let mut now = t(0);
        observe(&mut contract, 0, 0, healthy());
        // The longest stretch of failures since the clock started, and the current one.
        let (mut longest, mut first, mut last): (Duration, Option<Timestamp>, Timestamp) = (Duration::ZERO, None, now);
        let mut wells = 0;
        for (later, health, restart) in looks {
            now = now.plus(seconds(later));
            if restart {
                contract = recalled(&contract);
            }
            let event = contract.observe(0, now, &super::of_health(health.clone()));
            if matches!(health, Health::NoAnswer(_)) {
                continue;
            }
            let gap = now.since(last) > seconds(35);
            last = now;
            let fails = matches!(health, Health::Unhealthy(_));
            wells = if fails { 0 } else { wells + 1 };
            if gap || wells >= recovers {
                first = None;
            }
            if fails {
                let since = *first.get_or_insert(now);
                longest = longest.max(now.since(since));
            }
            match event {
                Some(ClockEvent::Started(_)) => longest = now.since(first.unwrap_or(now)),
                Some(ClockEvent::Stopped(recovery)) => {
                    let took = recovery.took();
                    // The healthy look that ended it follows the last failure within a run's time.
                    prop_assert!(took.least <= longest + seconds(10), "{took:?}, seen for {longest:?}");
                    let clock = recovery.healthy.since(recovery.outage.trigger);
                    prop_assert!(took.most.is_none_or(|most| most >= clock), "{took:?}");
                }
                None => {}
            }
            if let Some(lasted) = contract.outage(now) {
                prop_assert!(lasted.least <= longest, "{lasted:?}, seen for {longest:?}");
                let trigger = contract.clock().running().expect("it runs").trigger;
                prop_assert!(lasted.most.is_none_or(|most| most >= now.since(trigger)));
            }
        }
    }
}
