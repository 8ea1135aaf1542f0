//! Recovery clocks: what starts them, what stops them, what leaves them alone.

use std::sync::Arc;

use dr_rules::check::Feeds;
use dr_rules::contract::{Contract, Objective};
use dr_rules::observation::{Health, Observation};
use dr_rules::outage::Mode;
use dr_rules::outage::{Beginning, Outage, Recovery};
use dr_rules::recovery_clock::{ClockEvent, Look, RecoveryClock, Thresholds, Watch};
use dr_rules::remembered::{Remembered, RememberedClock};
use dr_rules::status::Basis;

use super::{
    check, contract, finding, healthy, no_answer, observe, of_health, outage, recalled, seconds, spec, t, unhealthy,
};

/// `F` fails, `H` is healthy, `P` is pending, `?` gives no answer; one observation every 10 s, of one check that was healthy
/// before.
fn play(script: &str, thresholds: Thresholds) -> (RecoveryClock, Vec<ClockEvent>) {
    let (mut watch, mut clock) = ([Watch::new(Some(thresholds))], RecoveryClock::default());
    let mut events = Vec::new();
    events.extend(clock.observe(&mut watch, 0, Look::at(t(-10), &healthy())));
    for (index, letter) in script.chars().enumerate() {
        let at = t(10 * i64::try_from(index).expect("a short script"));
        let health = match letter {
            'F' => unhealthy(),
            'H' => healthy(),
            'P' => Health::Pending(finding()),
            _ => no_answer(),
        };
        events.extend(clock.observe(&mut watch, 0, Look::at(at, &health)));
    }
    (clock, events)
}

#[test]
fn one_check() {
    let started = |first, trigger| ClockEvent::Started(outage(first, trigger));
    let stopped = |first, trigger, end| {
        ClockEvent::Stopped(Recovery { outage: outage(first, trigger), healthy: t(end), earliest: t(end) })
    };
    // Three failures trigger; `successes` in a row recover.
    let table: &[(&str, u32, Vec<ClockEvent>)] = &[
        ("", 1, vec![]),
        ("HHHH", 1, vec![]),
        ("FFH", 1, vec![]),
        ("FFHFFH", 1, vec![]),
        ("FFF", 1, vec![started(0, 20)]),
        ("HFFFF", 1, vec![started(10, 30)]),
        ("F?F?F", 1, vec![started(0, 40)]),
        ("FF?H?FF", 1, vec![]),
        ("FFFH", 1, vec![started(0, 20), stopped(0, 20, 30)]),
        ("FPPFPF", 1, vec![started(0, 50)]),
        ("FFP", 1, vec![]),
        ("FFFPPH", 1, vec![started(0, 20), stopped(0, 20, 50)]),
        ("FFF???H", 1, vec![started(0, 20), stopped(0, 20, 60)]),
        ("FFFHH", 2, vec![started(0, 20), stopped(0, 20, 30)]),
        ("FFFHFH", 2, vec![started(0, 20)]),
        ("FFFHFHH", 2, vec![started(0, 20), stopped(0, 20, 50)]),
        ("FFFH?H", 2, vec![started(0, 20), stopped(0, 20, 30)]),
        ("FFFHFFF", 1, vec![started(0, 20), stopped(0, 20, 30), started(40, 60)]),
    ];
    for (script, successes, expected) in table {
        let thresholds = Thresholds {
            failures_to_trigger: 3,
            hold: seconds(0),
            successes_to_recover: *successes,
            freshness: seconds(1000),
            pace: seconds(1000),
            rhythm: seconds(1000),
        };
        assert_eq!(play(script, thresholds).1, *expected, "{script}, {successes} to recover");
    }
}

#[test]
fn figures_of_a_recovery() {
    let recovery = Recovery { outage: outage(0, 20), healthy: t(230), earliest: t(230) };
    assert_eq!(recovery.recovery_time(), seconds(210), "from the trigger");
    assert_eq!(recovery.downtime(), seconds(230), "from the first failure");
}

#[test]
fn a_contract_is_down_when_one_check_is_and_up_when_all_are() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    observe(&mut contract, 1, 0, healthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(contract.clock().running(), Some(&outage(0, 20)));
    assert_eq!(observe(&mut contract, 0, 30, healthy()), None, "b was not seen healthy since the trigger");
    assert_eq!(observe(&mut contract, 1, 31, no_answer()), None);
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 1, 35, healthy()) else {
        panic!("all are healthy");
    };
    assert_eq!(recovery.healthy, t(35));
}

#[test]
fn a_check_that_fails_while_another_recovers_keeps_the_clock_running() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    observe(&mut contract, 1, 25, healthy());
    observe(&mut contract, 1, 30, unhealthy());
    assert_eq!(observe(&mut contract, 0, 31, healthy()), None);
    assert!(matches!(observe(&mut contract, 1, 40, healthy()), Some(ClockEvent::Stopped(_))));
}

#[test]
fn the_first_failure_is_the_earliest_of_all_checks() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    observe(&mut contract, 1, -15, healthy());
    observe(&mut contract, 1, -5, unhealthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(contract.clock().running(), Some(&outage(-5, 20)));
}

#[test]
fn a_check_that_feeds_no_rto_moves_no_clock() {
    let mut copy = check("copy");
    copy.feeds = Feeds { rto: false, rpo: true };
    let mut contract = contract(spec(), vec![check("health"), copy]);
    for at in [0, 10, 20, 30] {
        assert_eq!(observe(&mut contract, 1, at, unhealthy()), None);
    }
    observe(&mut contract, 0, 30, healthy());
    for at in [40, 50, 60] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(contract.clock().running(), Some(&outage(40, 60)), "the copy's failures are no failures of health");
    assert!(matches!(observe(&mut contract, 0, 70, healthy()), Some(ClockEvent::Stopped(_))), "nor hold it up");
}

#[test]
fn a_declared_clock_keeps_its_first_trigger_and_needs_health_seen_anew() {
    let thresholds = Thresholds {
        failures_to_trigger: 3,
        hold: seconds(0),
        successes_to_recover: 1,
        freshness: seconds(1000),
        pace: seconds(1000),
        rhythm: seconds(1000),
    };
    let (mut watch, mut clock) = ([Watch::new(Some(thresholds))], RecoveryClock::default());
    clock.observe(&mut watch, 0, Look::at(t(0), &healthy()));
    assert!(clock.declare(&mut watch, t(5), Mode::Real).is_some());
    assert!(clock.declare(&mut watch, t(6), Mode::Drill).is_none(), "it runs already");
    for at in [10, 20, 30] {
        assert_eq!(clock.observe(&mut watch, 0, Look::at(t(at), &unhealthy())), None, "it runs already");
    }
    let Some(ClockEvent::Stopped(recovery)) = clock.observe(&mut watch, 0, Look::at(t(40), &healthy())) else {
        panic!("healthy again");
    };
    let declared = Outage { declared: true, ..outage(5, 5) };
    assert_eq!((recovery.outage, recovery.healthy), (declared, t(40)));
}

#[test]
fn recoveries_are_counted_by_result() {
    let mut contract = contract(spec(), vec![check("a")]);
    for (start, end) in [(0, 100), (1000, 1321), (2000, 2319)] {
        observe(&mut contract, 0, start - 10, healthy());
        for at in (start..end).step_by(10).chain([end - 1]) {
            observe(&mut contract, 0, at, unhealthy());
        }
        observe(&mut contract, 0, end, healthy());
    }
    let counts: Vec<_> = contract.recoveries().iter().map(|sort| (sort.met, sort.mode, sort.count)).collect();
    assert_eq!(
        counts,
        [(true, Mode::Real, 2), (false, Mode::Real, 1), (true, Mode::Drill, 0), (false, Mode::Drill, 0)]
    );
}

#[test]
fn an_end_that_nobody_saw_makes_a_recovery_neither_met_nor_missed() {
    // RTO 300 s; triggered at 20, healthy at 400, and nobody could look from some time on.
    for (last_seen_down, met) in [(399, Some(false)), (366, Some(false)), (319, None), (20, None)] {
        let mut contract = contract(spec(), vec![check("a")]);
        observe(&mut contract, 0, -10, healthy());
        for at in (0..last_seen_down).step_by(10).chain([last_seen_down]) {
            observe(&mut contract, 0, at, unhealthy());
        }
        let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, 400, healthy()) else {
            panic!("healthy again");
        };
        assert_eq!(recovery.met(seconds(300)), met, "last seen down at {last_seen_down}");
        let counted: u64 = contract.recoveries().iter().map(|sort| sort.count).sum();
        assert_eq!(counted, u64::from(met.is_some()), "last seen down at {last_seen_down}");
    }
}

#[test]
fn a_streak_does_not_reach_across_a_time_in_which_nobody_could_look() {
    // Fresh for 35 s; three failures in a row start the clock.
    let mut contract = contract(spec(), vec![check("a")]);
    for at in [0, 10] {
        assert_eq!(observe(&mut contract, 0, at, unhealthy()), None);
    }
    assert_eq!(observe(&mut contract, 0, 46, unhealthy()), None, "the first of a new streak");
    assert_eq!(observe(&mut contract, 0, 56, unhealthy()), None);
    let Some(ClockEvent::Started(outage)) = observe(&mut contract, 0, 91, unhealthy()) else {
        panic!("three in a row, each in time");
    };
    assert_eq!((outage.first_failure, outage.trigger), (t(46), t(91)));
}

#[test]
fn a_check_that_was_never_seen_to_fail_makes_no_breach() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    observe(&mut contract, 1, 0, healthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    // The component is back; the other check cannot be measured any more.
    for at in (30..=600).step_by(10) {
        observe(&mut contract, 0, at, healthy());
        observe(&mut contract, 1, at, no_answer());
    }
    let judgement = contract.judge(Objective::Rto, t(600)).expect("an RTO");
    assert_eq!(judgement.basis, Basis::DownUncertain);
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 1, 610, healthy()) else {
        panic!("all are healthy");
    };
    assert_eq!((recovery.met(seconds(300)), recovery.earliest, recovery.healthy), (None, t(30), t(610)));
}

#[test]
fn a_first_look_in_an_outage_dates_no_recovery_that_nobody_saw() {
    // As after an upgrade: the clock goes on, and nothing is known of its check. Fresh for 35 s, the RTO is 300 s.
    for (looked, met, earliest) in [(50, Some(true), 20), (400, None, 20), (40_000, None, 20)] {
        let running = RememberedClock { running: Some(outage(0, 20)), ..RememberedClock::default() };
        let remembered = Remembered { clock: running, ..Remembered::default() };
        let mut contract = Contract::recall(Arc::new(spec()), [check("a")], remembered);
        let judgement = contract.judge(Objective::Rto, t(looked)).expect("an RTO");
        assert_ne!(judgement.basis, Basis::DownReachedTarget, "{looked} s: nobody knows that it is down");
        let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, looked, healthy()) else {
            panic!("it is healthy");
        };
        assert_eq!((recovery.met(seconds(300)), recovery.earliest), (met, t(earliest)), "{looked} s");
    }
}

#[test]
fn a_check_that_is_pending_and_never_failed_does_not_hold_a_recovery_up() {
    type Row<'a> = (&'a str, fn(i64) -> Health, Option<i64>);
    let pending = || Health::Pending(finding());
    // What the second check finds from 0 on, every 10 s; the first fails at 0, 10 and 20, and is healthy from 30 on.
    let table: &[Row<'_>] = &[
        ("healthy", |_| healthy(), Some(30)),
        ("pending all the time", |_| Health::Pending(finding()), Some(30)),
        (
            "failed in the outage, then pending",
            |at| if at == 10 { unhealthy() } else { Health::Pending(finding()) },
            None,
        ),
        ("cannot be measured", |_| no_answer(), None),
        (
            "pending before the trigger, and not measured since",
            |at| if at < 20 { Health::Pending(finding()) } else { no_answer() },
            None,
        ),
    ];
    for (name, second, end) in table {
        let mut contract = contract(spec(), vec![check("a"), check("b")]);
        observe(&mut contract, 0, -10, healthy());
        observe(&mut contract, 1, -10, pending());
        let mut ended = None;
        for at in (0..100).step_by(10) {
            for (index, health) in [(0, if at < 30 { unhealthy() } else { healthy() }), (1, second(at))] {
                if let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, index, at, health) {
                    ended = Some(recovery.healthy);
                }
            }
        }
        assert_eq!(ended, end.map(t), "{name}");
    }
}

#[test]
fn what_is_pending_alone_makes_no_outage_and_no_claim() {
    let mut contract = contract(spec(), vec![check("a")]);
    observe(&mut contract, 0, 0, healthy());
    for at in [10, 20, 30] {
        observe(&mut contract, 0, at, Health::Pending(finding()));
    }
    assert_eq!((contract.checks()[0].healthy(t(30)), contract.works(t(30))), (None, None));
    assert_eq!(contract.judge(Objective::Rto, t(40)).expect("an RTO").basis, Basis::HealthUnknown);
}

#[test]
fn checks_run_more_often_while_the_clock_runs() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    assert_eq!(contract.interval(contract.checks()[1].spec()), seconds(10));
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    assert_eq!(contract.interval(contract.checks()[1].spec()), seconds(5));
    assert!(contract.judge(Objective::Rto, t(20)).is_some());
}

#[test]
fn a_check_that_was_never_seen_before_can_have_been_well_from_the_start() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    // The component is back after 30 s, in time; the other check has its first answer long after.
    for at in (30..=600).step_by(10) {
        observe(&mut contract, 0, at, healthy());
        observe(&mut contract, 1, at, no_answer());
    }
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 1, 610, healthy()) else {
        panic!("all are healthy");
    };
    assert_eq!((recovery.earliest, recovery.healthy, recovery.met(seconds(300))), (t(30), t(610), None));
}

#[test]
fn a_failure_of_long_ago_is_none_of_the_outage() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    // Once, and then it cannot be measured for a day.
    observe(&mut contract, 1, -86_500, healthy());
    observe(&mut contract, 1, -86_400, unhealthy());
    observe(&mut contract, 0, -10, healthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 1, at, no_answer());
        observe(&mut contract, 0, at, unhealthy());
    }
    // It was the first failure of none that is known; that it went on all day cannot be excluded.
    let beginning = Beginning::After(t(-86_500));
    assert_eq!(contract.clock().running(), Some(&Outage { beginning, ..outage(0, 20) }));
}

#[test]
fn one_that_was_pending_long_ago_holds_a_recovery_up() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -10, healthy());
    for at in [0, 10, 20, 30] {
        observe(&mut contract, 0, at, unhealthy());
    }
    observe(&mut contract, 1, 30, Health::Pending(finding()));
    // Fresh for 35 s.
    assert_eq!(observe(&mut contract, 0, 66, healthy()), None, "nobody knows how the other is by now");
}

#[test]
fn an_outage_of_two_checks_may_have_begun_after_the_earlier_of_their_last_healthy_looks() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    observe(&mut contract, 0, -100, healthy());
    observe(&mut contract, 1, -200, healthy());
    observe(&mut contract, 1, -5, unhealthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    let running = contract.clock().running().expect("it is down");
    assert_eq!(running.beginning, Beginning::After(t(-200)));
}

/// One check every 10 s, every 5 s while the clock runs, with a time-out of 5 s; down since 0, and the clock runs since 20.
fn down() -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    observe(&mut contract, 0, -10, healthy());
    for at in [0, 10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    contract
}

/// Looks are at most 10 s apart while the clock runs. Where one is missing, nobody knows when in between it recovered.
#[test]
fn a_recovery_that_nobody_looked_for_is_an_interval() {
    for (seen, unsure) in [(30, false), (31, true), (45, true)] {
        let mut contract = down();
        let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, seen, healthy()) else { panic!("{seen}") };
        let earliest = if unsure { 20 } else { seen };
        assert_eq!((recovery.healthy, recovery.earliest), (t(seen), t(earliest)), "seen at {seen}");
    }
    // A restart makes the same gap, and so does whoever gives no answer.
    let mut contract = recalled(&down());
    observe(&mut contract, 0, 40, no_answer());
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, 50, healthy()) else { panic!("it recovered") };
    assert_eq!((recovery.healthy, recovery.earliest), (t(50), t(20)));
}

/// It may have recovered since the last look, so an outage is not known to go on for longer than until the next is due.
#[test]
fn an_outage_is_known_to_last_until_the_next_look_is_due() {
    let known = |contract: &Contract, now: i64| contract.outage(t(now)).map(|lasted| (lasted.least, lasted.most));
    let mut contract = down();
    assert_eq!(known(&contract, 30), Some((seconds(10), Some(seconds(10)))));
    assert_eq!(known(&contract, 31), Some((seconds(0), Some(seconds(11)))), "no look for 11 s");
    observe(&mut contract, 0, 35, no_answer());
    assert_eq!(known(&contract, 36), Some((seconds(0), Some(seconds(16)))));
    observe(&mut contract, 0, 40, unhealthy());
    assert_eq!(known(&contract, 45), Some((seconds(25), Some(seconds(25)))), "it goes on");
}

/// One check every 10 s with a timeout of 5 s. Evidence stays fresh for 35 s, but a look that was skipped leaves open when a
/// failure began. A look that hangs does not: its server did not answer all that time.
#[test]
fn a_failure_that_follows_a_skipped_look_may_have_begun_after_the_last_healthy_one() {
    for (asked, at, beginning) in [
        (10, 10, Beginning::Seen),
        (10, 15, Beginning::Seen),
        (11, 11, Beginning::After(t(-1))),
        (33, 33, Beginning::After(t(-1))),
        (40, 40, Beginning::After(t(-1))),
    ] {
        let mut contract = contract(spec(), vec![check("a")]);
        let mut look =
            |health, asked, at| contract.observe(0, t(at), &Observation { asked: Some(t(asked)), ..of_health(health) });
        // It was asked at -1, and answered late.
        look(healthy(), -1, 0);
        look(unhealthy(), asked, at);
        look(unhealthy(), at + 10, at + 10);
        let Some(ClockEvent::Started(outage)) = look(unhealthy(), at + 20, at + 20) else { panic!("{at}") };
        assert_eq!((outage.beginning, outage.trigger), (beginning, t(at + 20)), "asked at {asked}, seen at {at}");
    }
}

/// Checks share an answer that is up to 0.85 intervals old. So what two looks saw may lie further apart than the looks.
#[test]
fn a_shared_answer_is_no_skipped_look() {
    for (asked, beginning) in [(10, Beginning::Seen), (12, Beginning::After(t(-8)))] {
        let mut contract = contract(spec(), vec![check("a")]);
        let mut look = |health, asked, seen| {
            contract.observe(0, t(seen), &Observation { asked: Some(t(asked)), ..of_health(health) })
        };
        look(healthy(), 0, -8);
        look(unhealthy(), asked, asked);
        look(unhealthy(), 20, 20);
        let Some(ClockEvent::Started(outage)) = look(unhealthy(), 30, 30) else { panic!("it fails") };
        assert_eq!(outage.beginning, beginning, "asked at {asked}");
    }
}

#[test]
fn health_of_before_a_failure_ends_no_outage_and_no_streak() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    for check in [0, 1] {
        observe(&mut contract, check, 0, healthy());
    }
    for at in [10, 20] {
        observe(&mut contract, 0, at, unhealthy());
    }
    // What comes from a cache counts as of when it was stored there.
    observe(&mut contract, 0, 15, healthy());
    let started = observe(&mut contract, 0, 30, unhealthy());
    assert!(matches!(started, Some(ClockEvent::Started(_))), "the third failure in a row: {started:?}");
    // Both were well before it began, and one fails.
    for check in [0, 1] {
        assert_eq!(observe(&mut contract, check, 29, healthy()), None);
    }
    let older = Observation { stated: Some(t(29)), ..of_health(healthy()) };
    for check in [0, 1] {
        assert_eq!(contract.observe(check, t(36), &older), None, "who says so has not looked since");
    }
    assert_eq!(observe(&mut contract, 0, 40, healthy()), None, "the other one was not seen since");
    assert!(matches!(observe(&mut contract, 1, 45, healthy()), Some(ClockEvent::Stopped(_))));
}
