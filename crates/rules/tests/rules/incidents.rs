//! Incidents, the clocks that they start, and the responses of people.

use dr_rules::contract::{Contract, Objective, Priority};
use dr_rules::incident::{IncidentSpec, Stepped};
use dr_rules::observation::Health;
use dr_rules::outage::Mode;
use dr_rules::people::{Refusal, Stamp};
use dr_rules::recovery_clock::ClockEvent;
use dr_rules::response::{self, Alarms};
use dr_rules::status::Status;
use proptest::prelude::*;

use super::{check, contract, healthy, no_answer, observe, recalled, seconds, spec, t, unhealthy};

fn stamp(at: i64, by: &str) -> Stamp {
    Stamp { at: t(at), by: by.to_owned(), user: "alice".to_owned() }
}

fn region_outage() -> IncidentSpec {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    IncidentSpec {
        name: "region_outage".to_owned(),
        declared_by: words(&["oncall", "cto"]),
        action: "execute_dr_runbook".to_owned(),
        starts_clocks: words(&["api"]),
        checklist: words(&["confirm", "notify", "fail_over"]),
    }
}

#[test]
fn only_the_roles_of_the_plan_declare_and_not_for_the_future() {
    let spec = region_outage();
    let refused = |by: &str, began| spec.declare(t(began), stamp(10, by), String::new()).expect_err("refused");
    assert!(matches!(refused("intern", 10), Refusal::Forbidden(text) if text.contains("oncall, cto")));
    assert!(matches!(refused("cto", 11), Refusal::Invalid(_)));
    let incident = spec.declare(t(5), stamp(10, "cto"), "a fire".to_owned()).expect("declared");
    assert_eq!((incident.began, incident.declared.at, incident.is_open()), (t(5), t(10), true));
    assert_eq!(incident.id, "region_outage-20270115T080010.000Z");
}

#[test]
fn steps_go_in_any_order_the_first_stamp_counts_and_a_correction_takes_it_back() {
    let mut incident = region_outage().declare(t(0), stamp(0, "cto"), String::new()).expect("declared");
    assert_eq!(incident.step("fail_over", stamp(1, "a"), true), Ok(Stepped::Changed));
    assert_eq!(incident.step("fail_over", stamp(2, "b"), true), Ok(Stepped::AsBefore));
    assert_eq!(incident.steps[2].done, Some(stamp(1, "a")));
    assert_eq!(incident.step("confirm", stamp(3, "a"), false), Ok(Stepped::AsBefore));
    assert_eq!(incident.step("fail_over", stamp(4, "a"), false), Ok(Stepped::Changed));
    assert_eq!(incident.steps_done(), 0);
    assert!(matches!(incident.step("sleep", stamp(5, "a"), true), Err(Refusal::Unknown(_))));
    incident.close(stamp(6, "cto")).expect("closed");
    assert!(matches!(incident.step("confirm", stamp(7, "a"), true), Err(Refusal::Conflict(_))));
    assert!(matches!(incident.close(stamp(8, "cto")), Err(Refusal::Conflict(_))));
}

#[test]
fn gaps_stay_open_until_they_are_closed_and_are_overdue_after_their_day() {
    let mut incident = region_outage().declare(t(0), stamp(0, "cto"), String::new()).expect("declared");
    let due = jiff::civil::date(2027, 1, 15);
    let number = incident.review.open(stamp(1, "cto"), "shorter TTL".to_owned(), "ops".to_owned(), due);
    assert_eq!(number, 1);
    let gap = |incident: &dr_rules::incident::Incident, at| incident.review.gaps[0].is_overdue(t(at));
    assert!(!gap(&incident, 0), "the day is not over");
    assert!(gap(&incident, 24 * 3600));
    assert!(matches!(incident.review.close(2, stamp(2, "cto")), Err(Refusal::Unknown(_))));
    incident.review.close(1, stamp(2, "cto")).expect("closed");
    assert!(!gap(&incident, 24 * 3600));
    assert!(matches!(incident.review.close(1, stamp(3, "cto")), Err(Refusal::Conflict(_))));
}

fn one() -> Contract {
    contract(spec(), vec![check("a")])
}

/// Nobody may prove an RTO by declaring an incident while all is well.
#[test]
fn a_declared_outage_that_no_check_saw_proves_no_recovery() {
    let mut contract = one();
    observe(&mut contract, 0, 0, healthy());
    assert!(matches!(contract.declare(t(5), Mode::Real), Some(ClockEvent::Started(_))));
    for at in [10, 20, 30] {
        assert_eq!(observe(&mut contract, 0, at, healthy()), None, "nothing failed, so nothing recovers");
    }
    let kept = recalled(&contract);
    assert!(kept.clock().running().is_some(), "a restart keeps it");
    assert!(contract.withdraw().is_some());
    assert!(contract.clock().last_recovery().is_none());
    let judged = contract.judge(Objective::Rto, t(31)).expect("an RTO");
    assert_eq!(judged.status(), Status::Unproven);
}

#[test]
fn a_declared_outage_counts_from_its_declaration_once_a_check_sees_it() {
    let mut contract = one();
    observe(&mut contract, 0, 0, healthy());
    contract.declare(t(5), Mode::Real);
    observe(&mut contract, 0, 10, healthy());
    for at in [20, 30, 40] {
        observe(&mut contract, 0, at, unhealthy());
        assert!(contract.withdraw().is_none(), "it fails at {at}: the clock runs on");
    }
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, 60, healthy()) else { panic!("recovered") };
    assert_eq!((recovery.outage.trigger, recovery.recovery_time()), (t(5), seconds(55)));
}

/// A look that fails once by chance would otherwise prove the RTO of an outage that no check saw.
#[test]
fn a_single_failed_look_confirms_no_declaration() {
    let mut contract = one();
    observe(&mut contract, 0, 0, healthy());
    contract.declare(t(5), Mode::Real);
    observe(&mut contract, 0, 10, unhealthy());
    observe(&mut contract, 0, 20, unhealthy());
    let mut contract = recalled(&contract);
    assert_eq!(observe(&mut contract, 0, 30, healthy()), None, "two of three failures start no clock either");
    assert!(contract.withdraw().is_some(), "the incident is closed");
    assert!(contract.clock().last_recovery().is_none());
    assert_eq!(contract.judge(Objective::Rto, t(31)).expect("an RTO").status(), Status::Unproven);
}

#[test]
fn a_declaration_joins_a_running_clock_takes_the_earlier_trigger_and_makes_a_drill_real() {
    let mut contract = one();
    contract.plan(true);
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    let running = |contract: &Contract| *contract.clock().running().expect("it runs");
    assert_eq!((running(&contract).mode, running(&contract).trigger), (Mode::Drill, t(20)));
    assert_eq!(contract.declare(t(25), Mode::Real), None);
    assert_eq!((running(&contract).mode, running(&contract).trigger), (Mode::Real, t(20)));
    contract.declare(t(15), Mode::Real);
    assert_eq!(running(&contract).trigger, t(15));
}

fn health() -> impl Strategy<Value = Health> {
    prop_oneof![Just(healthy()), Just(unhealthy()), Just(no_answer())]
}

proptest! {
    /// A declaration never makes a status better, now or later, and never adds a proof.
    #[test]
    fn a_declaration_never_improves_a_status(
        history in prop::collection::vec((1..40_i64, health()), 0..30),
        declared in 0..30_usize,
        back in 0..60_i64,
        closed in 0..30_usize,
    ) {
        let (mut plain, mut with) = (one(), one());
        let mut now = 0;
        for (index, (later, health)) in history.iter().enumerate() {
            now += later;
            if index == declared {
                with.declare(t(now - back), Mode::Real);
                let (a, b) = (plain.judge(Objective::Rto, t(now)).expect("an RTO"), with.judge(Objective::Rto, t(now)).expect("an RTO"));
                prop_assert!(b.status() >= a.status() || a.status() == Status::Unproven && b.status() == Status::Breached);
            }
            if index > declared && index == declared + closed {
                with.withdraw();
            }
            observe(&mut plain, 0, now, health.clone());
            let before = with.clock().last_recovery().copied();
            observe(&mut with, 0, now, health.clone());
            let after = with.clock().last_recovery().copied();
            if after != before {
                let recovery = after.expect("a recovery");
                let failed = history.iter().take(index + 1).any(|(_, health)| matches!(health, Health::Unhealthy(_)));
                prop_assert!(failed, "a recovery without a failure: {recovery:?}");
            }
            // What was declared runs at least as long as what the checks alone would have told.
            if let (Some(with), Some(plain)) = (with.clock().running(), plain.clock().running()) {
                prop_assert!(with.trigger <= plain.trigger);
            }
        }
    }
}

#[test]
fn a_more_urgent_alarm_calls_again_and_a_drill_calls_nobody() {
    let mut alarms = Alarms::default();
    alarms.observe(Some(Priority::P2), false, t(0));
    assert_eq!(alarms.waiting(t(60)), Some((Priority::P2, seconds(60))));
    assert!(alarms.acknowledge(stamp(60, "oncall")));
    assert!(!alarms.acknowledge(stamp(61, "oncall")), "the first one counts");
    assert_eq!((alarms.waiting(t(70)), alarms.last), (None, Some((Priority::P2, 60.0))));
    alarms.observe(Some(Priority::P0), false, t(100));
    assert_eq!(alarms.waiting(t(110)), Some((Priority::P0, seconds(10))));
    alarms.observe(Some(Priority::P1), false, t(120));
    assert_eq!(alarms.waiting(t(130)), Some((Priority::P0, seconds(30))), "it was not answered");
    alarms.observe(None, false, t(140));
    assert_eq!(alarms.waiting(t(150)), None);
    alarms.observe(Some(Priority::P0), true, t(200));
    assert_eq!(alarms.waiting(t(300)), None, "a drill");
    alarms.observe(Some(Priority::P0), false, t(310));
    assert_eq!(alarms.waiting(t(310)), Some((Priority::P0, seconds(110))), "and not only a drill any more");
}

#[test]
fn the_severity_is_the_milder_of_condition_and_priority() {
    let mut contract = one();
    observe(&mut contract, 0, 0, healthy());
    assert_eq!(response::severity(&contract, t(1)), None);
    for at in [10, 20, 30] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(response::severity(&contract, t(31)), Some(Priority::P1.max(contract.spec().priority)));
    let rto = contract.spec().rto.expect("an RTO");
    let late = i64::try_from(rto.as_secs()).expect("short") + 40;
    for at in (40..=late).step_by(10) {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(response::severity(&contract, t(late)), Some(contract.spec().priority));
}
