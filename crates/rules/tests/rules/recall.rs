//! What a start may take of what was stored.

use std::sync::Arc;

use dr_rules::contract::{Contract, Objective};
use dr_rules::observation::{CopyState, Health, Observation};
use dr_rules::remembered::Remembered;
use dr_rules::status::Basis;
use dr_rules::trigger::{Trigger, TriggerMode, TriggerSpec, Watched};

use super::{check, contract, gone_on, healthy, no_answer, of_copy, of_health, seconds, spec, t, unhealthy};

/// The contract after a start at which the wall clock shows `now`.
fn restarted(contract: &Contract, now: i64) -> Contract {
    let (remembered, _) = contract.remember().recalled(t(now));
    gone_on(contract, remembered)
}

/// One check, healthy at first; what it found when.
fn history(found: &[(i64, Health)]) -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    for (at, health) in found {
        let copy = Some(CopyState::Complete { up_to: t(*at) });
        contract.observe(0, t(*at), &Observation { copy, ..of_health(health.clone()) });
    }
    contract
}

fn basis(contract: &Contract, objective: Objective, now: i64) -> Basis {
    contract.judge(objective, t(now)).expect("both objectives").basis
}

/// Down for an hour, RTO 300 s.
fn down_for_an_hour(from: i64) -> Vec<(i64, Health)> {
    let failing = (from + 10..from + 3600).step_by(10).map(|at| (at, unhealthy()));
    [(from, healthy())].into_iter().chain(failing).collect()
}

#[test]
fn a_clock_that_was_set_back_shortens_no_recovery_that_is_over() {
    let mut found = down_for_an_hour(0);
    found.push((3600, healthy()));
    let before = history(&found);
    assert_eq!(basis(&before, Objective::Rto, 3600), Basis::LastRecoveryMissed);
    // Before it ended, before it began.
    for now in [200, -10_000] {
        let mut after = restarted(&before, now);
        after.observe(0, t(now), &of_health(healthy()));
        assert_eq!(basis(&after, Objective::Rto, now), Basis::LastRecoveryMissed, "restarted at {now}");
    }
}

#[test]
fn a_clock_that_was_set_back_makes_no_proof_young() {
    let before = history(&[(0, healthy()), (3600, healthy())]);
    // It was stored at 3600 by a wall clock that was an hour ahead or more. How much later it is now, nobody can tell.
    for now in [3500, 0] {
        let after = restarted(&before, now);
        assert_eq!(basis(&after, Objective::Rpo, now), Basis::NoRecoveryPoint, "restarted at {now}");
        assert_eq!(basis(&after, Objective::Rto, now), Basis::HealthUnknown, "restarted at {now}");
    }
    // What a time service corrects all the time is no reason to forget.
    assert_eq!(basis(&restarted(&before, 3599), Objective::Rpo, 3599), Basis::ExposureWithinTarget);
}

#[test]
fn a_clock_that_was_set_back_shortens_no_outage() {
    // A recovery that met its target, then an outage that goes on.
    let mut found = vec![(-100, healthy())];
    found.extend([-90, -80, -70].map(|at| (at, unhealthy())));
    found.push((-60, healthy()));
    found.extend(down_for_an_hour(-50));
    let before = history(&found);
    assert_eq!(basis(&before, Objective::Rto, 3550), Basis::DownReachedTarget);
    // Longer than that by as much as the clock was set back; no time at all, as far as anybody can tell.
    for (now, down, over) in [
        (1000, Basis::DownReachedTarget, Basis::LastRecoveryMissed),
        (-1000, Basis::DownUncertain, Basis::LastRecoveryUncertain),
    ] {
        let mut after = restarted(&before, now);
        after.observe(0, t(now), &of_health(unhealthy()));
        assert_eq!(basis(&after, Objective::Rto, now), down, "restarted at {now}");
        after.observe(0, t(now + 10), &of_health(healthy()));
        assert_eq!(basis(&after, Objective::Rto, now + 10), over, "restarted at {now}");
    }
}

#[test]
fn a_clock_that_was_set_back_breaches_nothing() {
    let mut before = contract(spec(), vec![check("a")]);
    before.observe(0, t(0), &of_copy(CopyState::Lost(super::finding())));
    let after = restarted(&before, -1000);
    assert_eq!(basis(&after, Objective::Rpo, -1000), Basis::NoRecoveryPoint, "it was lost some time ago");
}

#[test]
fn a_clock_that_was_set_back_makes_no_trigger_known() {
    let own = check("a");
    let when = dr_rules::recovery_clock::Thresholds {
        failures_to_trigger: 1,
        hold: seconds(0),
        successes_to_recover: 1,
        freshness: seconds(35),
        pace: seconds(35),
        rhythm: seconds(35),
    };
    let spec = Arc::new(TriggerSpec {
        name: "trigger".to_owned(),
        action: "act".to_owned(),
        notification: "page".to_owned(),
        mode: TriggerMode::Auto,
        watched: Watched::Own(Box::new(own)),
        when,
    });
    for (health, active) in [(healthy(), false), (unhealthy(), true)] {
        let mut before = Trigger::new(Arc::clone(&spec));
        before.observe(dr_rules::recovery_clock::Look::at(t(0), &health));
        let after = |now: i64| Trigger::recall(Arc::clone(&spec), &before.remember().recalled(t(now)));
        assert_eq!(after(30).is_active(t(30)), Some(active));
        assert_eq!(after(-1000).is_active(t(-1000)), None, "nobody knows how long ago that was");
        assert_eq!(after(-1000).firing().is_some(), active, "it has not been seen to end");
    }
}

/// The contract as it goes on with these checks only.
fn with_checks(contract: &Contract, names: &[&str]) -> Contract {
    Contract::recall(Arc::new(spec()), names.iter().map(|name| check(name)), contract.remember())
}

#[test]
fn an_outage_ends_without_a_recovery_when_what_was_down_is_measured_no_more() {
    let down = || {
        let mut contract = contract(spec(), vec![check("a"), check("b")]);
        for check in [0, 1] {
            contract.observe(check, t(-10), &of_health(healthy()));
        }
        for at in (0..3600).step_by(10) {
            contract.observe(0, t(at), &of_health(healthy()));
            contract.observe(1, t(at), &of_health(unhealthy()));
        }
        contract
    };
    let mut without = with_checks(&down(), &["a"]);
    without.observe(0, t(3600), &of_health(healthy()));
    assert_eq!(basis(&without, Objective::Rto, 3600), Basis::NoRecovery, "nobody saw it recover");

    // One failed look of a check is no witness, and an older recovery proves nothing of this outage.
    let mut blip = contract(spec(), vec![check("a"), check("b")]);
    for check in [0, 1] {
        blip.observe(check, t(-100), &of_health(healthy()));
    }
    for (check, at, health) in
        [(1, -90, unhealthy()), (1, -80, unhealthy()), (1, -70, unhealthy()), (1, -60, healthy())]
    {
        blip.observe(check, t(at), &of_health(health));
        blip.observe(0, t(at), &of_health(healthy()));
    }
    assert_eq!(basis(&blip, Objective::Rto, -50), Basis::LastRecoveryMet);
    for (check, at, health) in [(1, 0, unhealthy()), (0, 5, unhealthy()), (1, 10, unhealthy()), (0, 15, healthy())] {
        blip.observe(check, t(at), &of_health(health));
    }
    for at in (20..3600).step_by(10) {
        blip.observe(1, t(at), &of_health(unhealthy()));
    }
    let mut without = with_checks(&blip, &["a"]);
    without.observe(0, t(3600), &of_health(healthy()));
    assert_eq!(without.clock().last_recovery(), None, "what was down was not seen to recover");
    without.withdraw();
    assert_eq!(basis(&without, Objective::Rto, 3600), Basis::NoRecovery, "nor does the recovery before prove it");
    // Not even after another failed look, and a restart.
    let mut without = with_checks(&blip, &["a"]);
    without.observe(0, t(3600), &of_health(unhealthy()));
    without = gone_on(&without, without.remember());
    without.observe(0, t(3610), &of_health(healthy()));
    assert_eq!(without.clock().last_recovery(), None);

    // One healthy look since the trigger is as many as it needs.
    let mut once = contract(spec(), vec![check("a"), check("b")]);
    for (check, at, health) in [(1, 0, unhealthy()), (1, 10, unhealthy()), (1, 20, unhealthy()), (0, 25, healthy())] {
        once.observe(check, t(at), &of_health(health));
    }
    assert!(once.clock().running().is_some() && with_checks(&once, &["a"]).clock().running().is_none());

    // Another check in its place must be seen healthy first.
    let mut other = with_checks(&down(), &["a", "c"]);
    other.observe(0, t(3600), &of_health(healthy()));
    assert!(other.clock().running().is_some(), "nobody saw it recover");

    other.observe(1, t(3610), &of_health(healthy()));
    assert_eq!(other.clock().last_recovery(), None, "what is well now is not what was down");
    let withdrawn = other.withdraw().expect("nothing fails");
    assert_eq!(withdrawn.trigger, t(20));
    assert_eq!(basis(&other, Objective::Rto, 3610), Basis::NoRecovery);

    // It may also be down, and then its recovery is one.
    let mut other = with_checks(&down(), &["a", "c"]);
    for (at, health) in [(3600, unhealthy()), (3610, unhealthy()), (3620, unhealthy()), (3630, healthy())] {
        other.observe(0, t(at), &of_health(healthy()));
        assert_eq!(other.withdraw(), None, "a check was not seen healthy");
        other.observe(1, t(at), &of_health(health));
    }
    let last = other.clock().last_recovery().expect("it was seen to recover");
    assert_eq!((last.outage.trigger, last.healthy), (t(20), t(3630)));

    // A check that started it and measures something else now is believed.
    let elsewhere = |state: &mut Remembered| drop(state.checks.remove("b"));
    let mut state = down().remember();
    elsewhere(&mut state);
    let mut moved = gone_on(&down(), state);
    moved.observe(0, t(3600), &of_health(healthy()));
    moved.observe(1, t(3600), &of_health(healthy()));
    assert_eq!(moved.clock().last_recovery().map(|last| last.healthy), Some(t(3600)));

    // What failed and is well again was seen to recover, though it waited for another.
    let mut both = down();
    for at in (3600..3630).step_by(10) {
        both.observe(0, t(at), &of_health(unhealthy()));
    }
    both.observe(0, t(3630), &of_health(healthy()));
    let mut without = with_checks(&both, &["a"]);
    without.observe(0, t(3640), &of_health(healthy()));
    assert_eq!(without.clock().last_recovery().map(|last| last.healthy), Some(t(3630)));
}

#[test]
fn the_health_of_another_check_is_no_recovery_of_one_that_was_removed() {
    let mut two = contract(spec(), vec![check("a"), check("b")]);
    for check in [0, 1] {
        two.observe(check, t(-10), &of_health(healthy()));
    }
    for at in [0, 10, 20, 30] {
        two.observe(0, t(at), &of_health(unhealthy()));
        two.observe(1, t(at), &of_health(no_answer()));
    }
    let mut without = with_checks(&two, &["b"]);
    assert_eq!(basis(&without, Objective::Rto, 330), Basis::DownUncertain, "not known to be down");
    // A restart changes nothing.
    without = gone_on(&without, without.remember());
    without.observe(0, t(40), &of_health(healthy()));
    assert_eq!(without.clock().last_recovery(), None, "it never failed");
    assert!(without.withdraw().is_some());
    assert_eq!(basis(&without, Objective::Rto, 40), Basis::NoRecovery);
}

#[test]
fn a_check_that_was_pending_is_not_taken_for_one_that_fails() {
    let mut before = contract(spec(), vec![check("a")]);
    before.observe(0, t(-10), &of_health(healthy()));
    for at in [0, 10, 20, 300] {
        before.observe(0, t(at), &of_health(unhealthy()));
    }
    before.observe(0, t(310), &of_health(Health::Pending(super::finding())));
    assert_eq!(basis(&before, Objective::Rto, 325), Basis::DownUncertain);
    let after = restarted(&before, 325);
    assert_eq!(basis(&after, Objective::Rto, 325), Basis::DownUncertain, "it was last seen to fail at 300");
    assert_eq!((before.checks()[0].healthy(t(325)), after.checks()[0].healthy(t(325))), (None, None));
}

#[test]
fn a_proof_that_was_withdrawn_is_news() {
    let behind =
        |since| CopyState::Behind { since: t(since), precision: seconds(0), certain_since: None, finding: None };
    let state = |found: &[(i64, CopyState)]| {
        let mut contract = contract(spec(), vec![check("a")]);
        for (at, copy) in found {
            contract.observe(0, t(*at), &of_copy(copy.clone()));
        }
        contract.remember().checks.remove("a").expect("the check")
    };
    let proven = state(&[(0, behind(-10))]);
    assert!(!state(&[(0, behind(-10)), (10, behind(0))]).is_news_after(&proven), "it moved on");
    assert!(state(&[(0, behind(-10)), (10, behind(-60))]).is_news_after(&proven), "it went back");
    assert!(proven.is_news_after(&state(&[])), "the first of all");
}
