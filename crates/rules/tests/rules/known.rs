//! What is known beside statuses: the circumstances of an outage, evidence, failures before a clock,
//! and what is left of it after a loss.

use dr_rules::contract::{Objective, Priority};
use dr_rules::interval::Interval;
use dr_rules::observation::CopyState;
use dr_rules::outage::{Beginning, Interruption, Mode, Outage};
use dr_rules::recovery_clock::Watching;
use dr_rules::remembered::{RememberedCheck, RememberedClock};
use dr_rules::status::Status;
use dr_rules::trigger::RememberedTrigger;

use super::*;

fn complete(up_to: i64) -> CopyState {
    CopyState::Complete { up_to: t(up_to) }
}

/// One check that saw a copy at 0, and fails from 10 on.
fn failing() -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    contract.observe(0, t(0), &of_copy(complete(0)));
    for at in [10, 20, 30] {
        observe(&mut contract, 0, at, unhealthy());
    }
    contract
}

#[test]
fn the_circumstances_of_an_outage_are_told_and_survive_a_restart() {
    let contract = failing();
    let known = contract.circumstances().expect("an outage").clone();
    assert_eq!((known.check.as_str(), known.reason.as_str()), ("a", "any"));
    assert_eq!((known.data_at_risk, known.known_at_risk), (Some(seconds(30)), Some(seconds(0))));
    assert_eq!(contract.remember().clock.circumstances.as_ref(), Some(&known));
    assert_eq!(recalled(&contract).circumstances(), Some(&known));

    let mut declared = super::contract(spec(), vec![check("a")]);
    declared.declare(t(0), Mode::Real);
    let known = declared.circumstances().expect("an outage");
    assert_eq!((known.check.as_str(), known.reason.as_str()), ("", "declared"));
}

#[test]
fn a_failure_is_known_before_the_clock_starts_and_as_long_as_it_is_fresh() {
    let mut contract = contract(spec(), vec![check("a")]);
    assert!(!contract.fails(t(0)));
    observe(&mut contract, 0, 0, healthy());
    assert!(!contract.fails(t(0)));
    observe(&mut contract, 0, 10, unhealthy());
    assert!(contract.fails(t(10)) && contract.clock().running().is_none());
    assert_eq!(contract.checks()[0].watch().consecutive_failures(), 1);
    observe(&mut contract, 0, 20, unhealthy());
    assert_eq!(contract.checks()[0].watch().consecutive_failures(), 2);
    assert!(!contract.fails(t(120)), "nobody looked since");
}

#[test]
fn the_worst_of_equal_checks_is_the_first_and_the_oldest_evidence_counts() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    contract.observe(0, t(10), &of_copy(complete(10)));
    contract.observe(1, t(20), &of_copy(complete(5)));
    let judged = contract.judge(Objective::Rpo, t(25)).expect("an RPO");
    assert_eq!((judged.status(), judged.evidence), (Status::Met, Some(t(10))));
    assert_eq!(judged.used_ratio(), Some(0.2), "20 s of 100 s");
    assert_eq!(judged.figure.map(|figure| figure.most), Some(Some(seconds(20))));
}

#[test]
fn a_drill_that_is_called_off_makes_its_outage_real_once() {
    let mut contract = contract(spec(), vec![check("a")]);
    observe(&mut contract, 0, 0, healthy());
    assert!(!contract.unplan(), "there is no outage");
    assert!(!contract.clock().is_planned());
    contract.plan(true);
    assert!(contract.clock().is_planned());
    for at in [10, 20, 30] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(contract.clock().running().map(|outage| outage.mode), Some(Mode::Drill));
    assert!(contract.unplan());
    assert_eq!(contract.clock().running().map(|outage| outage.mode), Some(Mode::Real));
    assert!(!contract.unplan(), "it is real already");
}

#[test]
fn the_labels_of_metrics() {
    assert_eq!([Priority::P0, Priority::P3].map(Priority::label), ["P0", "P3"]);
    assert_eq!([Objective::Rto, Objective::Rpo].map(Objective::label), ["rto", "rpo"]);
    assert_eq!([Mode::Real, Mode::Drill].map(Mode::label), ["real", "drill"]);
}

#[test]
fn an_instant_of_the_beginning_moves_with_the_timeline() {
    let later = |at: Timestamp| at.plus(seconds(7));
    assert_eq!(Beginning::After(t(1)).carried(later), Beginning::After(t(8)));
    assert_eq!(Beginning::Unknown.carried(later), Beginning::Unknown);
    assert_eq!(Beginning::Seen.carried(later), Beginning::Seen);
}

#[test]
fn an_interruption_moves_with_the_timeline() {
    let interruption = |since: i64| Some(Interruption { longest: seconds(3), since: Some(t(since)) });
    let outage = |from: i64, since| Outage {
        first_failure: t(from),
        trigger: t(from + 1),
        mode: Mode::Real,
        beginning: Beginning::Seen,
        declared: false,
        confirmed: true,
        interruption: interruption(since),
    };
    assert_eq!(outage(1, 5).carried(|at| at.plus(seconds(7))), outage(8, 12));
}

#[test]
fn a_declaration_counts_health_that_was_seen_since_and_no_other() {
    // The last healthy look, and whether a success is known after a declaration that names 50.
    for (healthy_at, failed_at, known) in
        [(60, None, true), (50, None, false), (40, None, false), (60, Some(65), false)]
    {
        let mut contract = contract(spec(), vec![check("a")]);
        observe(&mut contract, 0, healthy_at, healthy());
        if let Some(at) = failed_at {
            observe(&mut contract, 0, at, unhealthy());
        }
        contract.declare(t(50), Mode::Real);
        let first = contract.remember().checks["a"].first_success;
        assert_eq!(first, known.then_some(t(healthy_at)), "healthy at {healthy_at}, failed at {failed_at:?}");
    }
}

#[test]
fn an_older_record_of_a_check_that_failed_was_not_healthy() {
    for (failures, expected) in [(0, Some(t(5))), (2, None)] {
        let old = RememberedCheck { health_seen: Some(t(5)), failures, ..RememberedCheck::default() };
        let mut remembered = Remembered::default();
        remembered.checks.insert("a".to_owned(), old);
        let contract = gone_on(&contract(spec(), vec![check("a")]), remembered);
        assert_eq!(contract.remember().checks["a"].last_success, expected);
    }
}

/// After a loss only what bounds an unknown outage is kept.
#[test]
fn what_is_left_after_a_loss_proves_nothing() {
    let whole = failing().remember();
    let check = whole.checks["a"].clone().after_loss();
    let expected = RememberedCheck {
        last_success: Some(t(0)),
        success_asked: Some(t(0)),
        last_failure: Some(t(30)),
        last_streak: Some(t(30)),
        copy_identity: whole.checks["a"].copy_identity.clone(),
        ..RememberedCheck::default()
    };
    assert_eq!(check, expected);
    let clock = RememberedClock { met: 3, ..whole.clock.clone() };
    assert_eq!(clock.clone().after_loss(), clock, "a running clock and counts stay");
    let firing = whole.clock.running;
    let trigger = RememberedTrigger { watched: whole.checks["a"].clone(), firing, last: None };
    assert_eq!(trigger.clone().after_loss(), RememberedTrigger { watched: expected, firing, last: None });
    let quiet = RememberedTrigger { firing: None, ..trigger.clone() };
    assert!(quiet.is_news_after(&trigger) && trigger.is_news_after(&quiet), "it ended, or began");
    assert!(!trigger.is_news_after(&trigger), "nothing happened");
    let looked = RememberedCheck { failures: trigger.watched.failures + 1, ..trigger.watched.clone() };
    assert!(RememberedTrigger { watched: looked, ..trigger.clone() }.is_news_after(&trigger), "a further failure");
    // An older record has no time of its own for the last success.
    let old = RememberedCheck { health_seen: Some(t(5)), ..RememberedCheck::default() };
    assert_eq!(old.clone().after_loss().last_success, Some(t(5)));
    assert_eq!(RememberedCheck { failures: 1, ..old }.after_loss().last_success, None);
}

/// The clock of a contract was lost, and the component is still down: it may have been for longer.
#[test]
fn an_outage_whose_clock_was_lost_may_be_as_old_as_the_last_healthy_look() {
    let mut lost = failing().remember();
    lost.clock = RememberedClock::default();
    let kept = lost.checks["a"].clone();
    lost.checks.insert("a".to_owned(), kept.after_loss());
    let mut contract = gone_on(&failing(), lost);
    for at in [40, 50, 60] {
        observe(&mut contract, 0, at, unhealthy());
    }
    let outage = contract.outage(t(60)).expect("a clock runs");
    assert_eq!((outage.least, outage.most), (seconds(0), Some(seconds(60))));
    // A recovery from before the loss does not stand for a later one that was lost.
    let judged = contract.judge(Objective::Rto, t(60)).expect("an RTO");
    assert_eq!(judged.status(), Status::Unproven);
}

/// Whoever repeats what another said long ago knows no more than that one did.
#[test]
fn what_was_said_to_fail_is_known_to_fail_until_then() {
    let said = |at: i64| Observation { stated: Some(t(at)), ..Observation::of_health(unhealthy()) };
    let mut contract = contract(spec(), vec![check("a")]);
    contract.observe(0, t(0), &Observation::of_health(healthy()));
    for at in [10, 20, 30] {
        contract.observe(0, t(at), &said(at));
    }
    let lasts = |contract: &Contract, at| contract.outage(t(at)).expect("an outage");
    assert_eq!(lasts(&contract, 30), Interval::exactly(seconds(0)));
    for at in (40..=200).step_by(10) {
        contract.observe(0, t(at), &said(50));
    }
    assert_eq!(lasts(&contract, 200), Interval::new(seconds(20), Some(seconds(170))));
    assert_eq!(lasts(&recalled(&contract), 200), lasts(&contract, 200), "a restart makes it no longer");
    assert!(contract.fails(t(200)), "it was looked at");

    contract.observe(0, t(210), &said(205));
    assert_eq!(lasts(&contract, 210).least, seconds(180), "and it was said again");
    contract.observe(0, t(220), &said(205));
    let recovered = contract.observe(0, t(260), &Observation::of_health(healthy()));
    let Some(ClockEvent::Stopped(recovery)) = recovered else { panic!("{recovered:?}") };
    assert_eq!(recovery.took(), Interval::new(seconds(175), Some(seconds(230))), "it may have ended right after");
}
