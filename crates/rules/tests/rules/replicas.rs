//! What a replica takes over from the shared state.

use dr_rules::contract::Contract;
use dr_rules::observation::{CopyState, Finding, Health, Observation};
use dr_rules::outage::{Interruption, Outage, Recovery};
use dr_rules::recovery_clock::ClockEvent;
use dr_rules::remembered::{Circumstances, Remembered, RememberedCheck, RememberedClock};
use dr_rules::replica::{Measured, caught_up, heard, is_same, recorded_late, taken_over};

use super::{ANY, check, contract, gone_on, healthy, observe, of_copy, outage, recovery, seconds, spec, t, unhealthy};

/// A contract of one check that saw this.
fn saw(found: &[(i64, Health)]) -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    for (at, health) in found {
        observe(&mut contract, 0, *at, health.clone());
    }
    contract
}

fn down(from: i64, to: i64) -> Vec<(i64, Health)> {
    (from..=to).step_by(10).map(|at| (at, unhealthy())).collect()
}

fn running(outage: Outage) -> RememberedClock {
    RememberedClock { running: Some(outage), ..RememberedClock::default() }
}

fn over(last: Recovery) -> RememberedClock {
    RememberedClock { last: Some(last), met: 1, ..RememberedClock::default() }
}

fn mine(recovery: Recovery) -> Measured {
    Measured { recovery, circumstances: None, is_known: false }
}

/// The trigger of the clock that runs then, in seconds.
fn trigger(state: &Remembered) -> Option<i64> {
    state.clock.running.map(|outage| (outage.trigger.as_unix_nanos() - t(0).as_unix_nanos()) / 1_000_000_000)
}

#[test]
fn a_follower_adopts_a_clock_unless_it_saw_the_component_well_since() {
    let shared = || running(outage(40, 60));
    let well_before = saw(&[(50, healthy())]);
    assert_eq!(trigger(&heard(well_before.remember(), &shared())), Some(60));
    let well_since = saw(&[(65, healthy())]);
    assert_eq!(trigger(&heard(well_since.remember(), &shared())), None);
    let never_looked = saw(&[]);
    assert_eq!(trigger(&heard(never_looked.remember(), &shared())), Some(60));
    let declared = RememberedClock { running: Some(Outage { declared: true, ..outage(60, 60) }), ..shared() };
    assert_eq!(trigger(&heard(well_since.remember(), &declared)), Some(60), "people know better");
    // Who saw that outage end, and another one begin, keeps the trigger of the new one.
    let another = saw(&[down(40, 70), vec![(90, healthy())], down(100, 130)].concat());
    assert_eq!(trigger(&another.remember()), Some(120));
    assert_eq!(trigger(&heard(another.remember(), &shared())), Some(120));
    let (taken, measured) = taken_over(
        another.remember(),
        Remembered { clock: shared(), ..Remembered::default() },
        vec![mine(recovery(40, 60, 90))],
        None,
    );
    assert_eq!((trigger(&taken), measured.len()), (Some(120), 1));
    // The leader answered that it looked all the time, and saw no end: its trigger stays.
    let before = Remembered { clock: shared(), ..Remembered::default() };
    let (taken, _) = taken_over(another.remember(), before, Vec::new(), None);
    assert_eq!(trigger(&taken), Some(60));
    // The earlier trigger counts, whoever has it.
    let later = saw(&down(50, 80));
    assert_eq!(trigger(&heard(later.remember(), &shared())), Some(60));
    let earlier = saw(&down(30, 80));
    assert_eq!(trigger(&heard(earlier.remember(), &shared())), Some(50));
}

#[test]
fn an_adopted_clock_stops_at_the_next_healthy_look_and_not_by_one_before() {
    let follower = saw(&[(50, healthy())]);
    let state = heard(follower.remember(), &running(outage(40, 60)));
    let mut follower = gone_on(&follower, state);
    assert!(follower.clock().running().is_some());
    let event = observe(&mut follower, 0, 70, healthy());
    let Some(ClockEvent::Stopped(recovery)) = event else { panic!("{event:?}") };
    assert_eq!((recovery.outage.trigger, recovery.healthy), (t(60), t(70)));
    // The leader's clock is heard of once more, late. This replica has seen the end.
    let state = heard(follower.remember(), &running(outage(40, 60)));
    assert_eq!(trigger(&state), None);
}

/// The lower end of the outage at 1000, and whether the upper end reaches back to the shared trigger.
fn lower_end(own: &Contract, shared: Outage, leads: bool) -> Option<(u64, bool)> {
    let clock = running(shared);
    let state = if leads {
        taken_over(own.remember(), Remembered { clock, ..Remembered::default() }, Vec::new(), None).0
    } else {
        heard(own.remember(), &clock)
    };
    let lasted = gone_on(own, state).outage(t(1000))?;
    Some((lasted.least.as_secs(), lasted.most == Some(t(1000).since(shared.trigger))))
}

/// What two replicas saw is one stretch only if the failures of this one reach back to what the other saw.
#[test]
fn the_lower_end_reaches_to_the_leaders_trigger_only_without_a_gap() {
    let failing = |well: i64, from: i64| saw(&[vec![(well, healthy())], down(from, 1000)].concat());
    let since = |since: i64, longest| Outage {
        interruption: Some(Interruption { longest: seconds(longest), since: Some(t(since)) }),
        ..outage(40, 60)
    };
    for leads in [false, true] {
        // It failed here before the leader's clock started.
        assert_eq!(lower_end(&failing(30, 40), outage(40, 60), leads), Some((940, true)));
        // It was last seen well here shortly before that, and failed shortly after.
        assert_eq!(lower_end(&failing(55, 65), outage(40, 60), leads), Some((940, true)));
        // This replica was away: it saw the failure again at 900, and its own clock runs since 920.
        assert_eq!(lower_end(&failing(30, 900), outage(40, 60), leads), Some((80, true)));
        // The leader had a gap, and this replica looked on.
        assert_eq!(lower_end(&failing(30, 40), since(700, 33), leads), Some((940, true)));
        // Both had one.
        assert_eq!(lower_end(&failing(30, 900), since(700, 33), leads), Some((80, true)));
        assert_eq!(lower_end(&failing(30, 900), since(700, 333), leads), Some((333, true)));
    }
    // It failed here again just now, and no clock runs yet.
    let again = saw(&[(30, healthy()), (1000, unhealthy())]);
    for leads in [false, true] {
        assert_eq!(lower_end(&again, outage(40, 60), leads), Some((0, true)));
    }
    // Seen well meanwhile: a new leader goes on from the shared clock.
    let well = saw(&[(30, healthy()), (40, unhealthy()), (500, healthy()), (990, healthy()), (1000, unhealthy())]);
    assert_eq!(lower_end(&well, outage(40, 60), true), Some((0, true)));
}

#[test]
fn counts_are_the_shared_ones() {
    let follower = saw(&[(0, healthy())]);
    let state = heard(follower.remember(), &over(recovery(40, 60, 90)));
    assert_eq!((state.clock.met, state.clock.last.map(|last| last.healthy)), (1, Some(t(90))));
    // Its own end of the same outage counts no second time.
    let mut measured = saw(&[vec![(30, healthy())], down(40, 80)].concat());
    observe(&mut measured, 0, 95, healthy());
    assert_eq!(measured.remember().clock.met, 1);
    let state = heard(measured.remember(), &over(recovery(40, 60, 90)));
    assert_eq!((state.clock.met, state.clock.last.map(|last| last.healthy)), (1, Some(t(90))));
}

#[test]
fn another_outage_does_not_begin_at_the_trigger_of_the_one_before() {
    // This replica did not see the component well in between, at 100.
    let follower = saw(&down(40, 140));
    let shared = RememberedClock { running: Some(outage(110, 130)), ..over(recovery(40, 60, 100)) };
    assert_eq!(trigger(&heard(follower.remember(), &shared)), Some(130));
}

#[test]
fn a_new_leader_continues_and_ends_what_the_one_before_left() {
    let shared = |clock| Remembered { clock, ..Remembered::default() };
    // The clock runs in the store, and this replica saw the component well since: it stops at the next look.
    let well = saw(&[(50, healthy()), (75, healthy())]);
    let (state, none) = taken_over(well.remember(), shared(running(outage(40, 60))), Vec::new(), Some(seconds(300)));
    assert!(none.is_empty());
    let mut well = gone_on(&well, state);
    let event = observe(&mut well, 0, 85, healthy());
    let Some(ClockEvent::Stopped(recovery)) = event else { panic!("{event:?}") };
    assert_eq!((recovery.outage.trigger, recovery.healthy, recovery.earliest), (t(60), t(75), t(60)));
    // It measured the end: that is recorded, from the first trigger, and the clock does not run again.
    let follower = saw(&[(95, healthy())]);
    let unwritten = vec![mine(self::recovery(45, 70, 95))];
    let (state, recorded) =
        taken_over(follower.remember(), shared(running(outage(40, 60))), unwritten, Some(seconds(300)));
    assert_eq!(recorded.len(), 1);
    assert_eq!((recorded[0].recovery.outage.trigger, recorded[0].is_known), (t(60), true));
    assert_eq!((trigger(&state), state.clock.met), (None, 1));
    // The leader recorded the end, and this replica has not looked since: it is over.
    let late = saw(&down(40, 80));
    let (state, _) = taken_over(late.remember(), shared(over(self::recovery(40, 60, 90))), Vec::new(), None);
    assert_eq!((trigger(&state), state.checks["a"].failures), (None, 0));
    // It saw a failure since: a new streak begins.
    let again = saw(&down(40, 100));
    let (state, _) = taken_over(again.remember(), shared(over(self::recovery(40, 60, 90))), Vec::new(), None);
    assert_eq!((trigger(&state), state.checks["a"].failures), (None, 1));
    // An outage that nobody recorded goes on.
    let own = saw(&down(40, 80));
    let (state, _) = taken_over(own.remember(), shared(RememberedClock::default()), Vec::new(), None);
    assert_eq!(trigger(&state), Some(60));
}

/// A recovery that only another replica measured is counted, and does not replace a newer one.
#[test]
fn a_late_recovery_is_counted_once() {
    let leader = saw(&down(200, 240));
    let late = vec![mine(recovery(40, 60, 90))];
    let (state, recorded) = recorded_late(leader.remember(), late, Some(seconds(300)));
    assert_eq!((recorded.len(), state.clock.met, trigger(&state)), (1, 1, Some(220)));
    let with_last = Remembered { clock: over(recovery(100, 110, 120)), ..Remembered::default() };
    let (state, _) = recorded_late(with_last, vec![mine(recovery(40, 60, 90))], Some(seconds(300)));
    assert_eq!((state.clock.met, state.clock.last.map(|last| last.healthy)), (2, Some(t(120))));
}

fn point(at: i64, copy: CopyState) -> Contract {
    let mut contract = contract(spec(), vec![check("a")]);
    contract.observe(0, t(at), &of_copy(copy));
    contract
}

#[test]
fn the_newer_look_counts_as_a_whole_and_nothing_withdrawn_comes_back() {
    let proven = |at, up_to| point(at, CopyState::Complete { up_to: t(up_to) });
    let lost = |at| point(at, CopyState::Lost(Finding::new(&ANY, "gone")));
    let of = |own: &Contract, shared: &Contract| {
        let state = caught_up(own.remember(), shared.remember());
        let check = &state.checks["a"];
        (check.latched, check.lost)
    };
    assert_eq!(of(&proven(10, 9), &lost(20)), (None, true), "the leader saw it lost later");
    assert_eq!(of(&proven(30, 29), &lost(20)), (Some(t(29)), false), "this replica saw it complete later");
    assert_eq!(of(&proven(10, 9), &proven(20, 19)), (Some(t(19)), false), "the newest proof");
    assert_eq!(of(&proven(20, 19), &proven(10, 9)), (Some(t(19)), false));
    // A look at the health alone is no look at the copy.
    let mut own = proven(10, 9);
    own.observe(0, t(40), &Observation::of_health(healthy()));
    assert_eq!(of(&own, &lost(20)), (None, true));
    assert_eq!(caught_up(own.remember(), lost(20).remember()).checks["a"].health_seen, Some(t(40)));
}

#[test]
fn a_change_that_both_see_missing_is_missing_since_the_first_saw_it() {
    let outdated = |at, expected: &str| {
        let (holds, expected, finding) = ("h1".to_owned(), expected.to_owned(), Finding::new(&ANY, "differs"));
        point(at, CopyState::Outdated { up_to: None, went_back: None, holds, expected, finding })
    };
    let since = |own: &Contract, other: &Contract| {
        let joined = |own: &Contract, other: &Contract| caught_up(own.remember(), other.remember());
        (joined(own, other).checks["a"].missing_since, joined(other, own).checks["a"].missing_since)
    };
    let newer = outdated(50, "h2");
    assert_eq!(since(&newer, &outdated(20, "h2")), (Some(t(20)), Some(t(20))));
    // Between their looks it can have been complete, if something else is missing now.
    assert_eq!(since(&newer, &outdated(20, "h3")), (Some(t(50)), Some(t(50))));
    let mut looked_on = outdated(20, "h3");
    let copy = newer.remember().checks["a"].clone();
    let seen = |at, expected: &str| {
        let (holds, expected, finding) = ("h1".to_owned(), expected.to_owned(), Finding::new(&ANY, "differs"));
        (t(at), of_copy(CopyState::Outdated { up_to: None, went_back: None, holds, expected, finding }))
    };
    assert_eq!(copy.missing_since, Some(t(50)));
    let (at, observation) = seen(50, "h2");
    looked_on.observe(0, at, &observation);
    assert_eq!(looked_on.remember().checks["a"].missing_since, Some(t(20)), "it looked all the time");
    assert_eq!(since(&newer, &looked_on), (Some(t(20)), Some(t(20))));
}

/// What one check is after this replica has caught up.
fn newer(own: &RememberedCheck, other: &RememberedCheck) -> RememberedCheck {
    let of =
        |check: &RememberedCheck| Remembered { checks: [("a".to_owned(), check.clone())].into(), ..Default::default() };
    caught_up(of(own), of(other)).checks["a"].clone()
}

#[test]
fn of_two_looks_the_newer_one_counts_and_at_one_instant_the_own_one() {
    let looked = |at: i64, name: &str, warns: bool, failures: u32| RememberedCheck {
        health_seen: Some(t(at)),
        failures,
        copy_seen: Some(t(at)),
        missing: Some(name.to_owned()),
        missing_since: Some(t(5)),
        warning_seen: Some(t(at)),
        warns,
        ..RememberedCheck::default()
    };
    let own = looked(20, "own", true, 1);
    let of = |other: i64| {
        let check = newer(&own, &looked(other, "other", false, 0));
        (check.failures, check.missing.unwrap_or_default(), check.warns)
    };
    for (other, taken) in [(19, "own"), (20, "own"), (21, "other")] {
        let is_own = taken == "own";
        assert_eq!(of(other), (u32::from(is_own), taken.to_owned(), is_own), "the other looked at {other}");
    }
}

#[test]
fn the_same_change_is_missing_since_the_first_saw_it_unless_the_copy_was_complete_in_between() {
    let missing = |seen: i64, since: i64, latched: Option<i64>, expected: Option<&str>| RememberedCheck {
        copy_seen: Some(t(seen)),
        missing: Some("change".to_owned()),
        missing_since: Some(t(since)),
        missing_expected: expected.map(str::to_owned),
        latched: latched.map(t),
        ..RememberedCheck::default()
    };
    let cases = [
        ("the other one saw it until this one did", missing(50, 20, None, None), missing(20, 10, None, None), 10),
        ("nobody looked in between", missing(50, 21, None, None), missing(20, 10, None, None), 21),
        ("the same is expected", missing(50, 30, None, Some("x")), missing(20, 10, None, Some("x")), 10),
        ("something else is expected", missing(50, 30, None, Some("x")), missing(20, 10, None, Some("y")), 30),
        ("complete up to then", missing(50, 20, Some(10), None), missing(20, 10, None, None), 10),
        ("complete after that", missing(50, 20, Some(11), None), missing(20, 10, None, None), 20),
    ];
    for (what, own, other, since) in cases {
        for joined in [newer(&own, &other), newer(&other, &own)] {
            assert_eq!(joined.missing_since, Some(t(since)), "{what}");
        }
    }
}

#[test]
fn a_proof_of_another_copy_proves_nothing() {
    let of = |identity: &str| RememberedCheck {
        copy_seen: Some(t(20)),
        latched: Some(t(19)),
        copy_identity: Some(identity.to_owned()),
        ..RememberedCheck::default()
    };
    assert_eq!(newer(&of("one"), &of("one")).latched, Some(t(19)));
    assert_eq!(newer(&of("one"), &of("other")).latched, None);
}

#[test]
fn what_a_late_recovery_leaves_of_the_circumstances() {
    let told = |check: &str| Some(Circumstances { check: check.to_owned(), ..Circumstances::default() });
    let late = |at: i64| {
        let recovery = recovery(at, at + 20, at + 50);
        vec![Measured { recovery, circumstances: told("late"), is_known: false }]
    };
    let state = |running: Option<Outage>, last: Option<Recovery>| Remembered {
        clock: RememberedClock { running, last, circumstances: told("own"), ..RememberedClock::default() },
        ..Remembered::default()
    };
    let last = || Some(recovery(100, 110, 120));
    let cases = [
        ("a clock runs", state(Some(outage(300, 320)), None), 40, "own"),
        ("an older one", state(None, last()), 40, "own"),
        ("one as old", state(None, last()), 70, "late"),
        ("a newer one", state(None, last()), 130, "late"),
        ("the first one", state(None, None), 40, "late"),
    ];
    for (what, before, at, whose) in cases {
        let (after, _) = recorded_late(before, late(at), None);
        assert_eq!(after.clock.circumstances, told(whose), "{what}");
    }
}

#[test]
fn two_outages_of_a_component_share_no_instant() {
    assert!(is_same((t(0), t(10)), (t(9), t(12))));
    assert!(is_same((t(0), t(10)), (t(2), t(8))));
    assert!(!is_same((t(0), t(10)), (t(11), t(12))));
}
