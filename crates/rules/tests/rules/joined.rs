//! What becomes of two clocks, at the instants where one of them just counts or just does not.

use dr_rules::outage::{Interruption, Outage, Recovery};
use dr_rules::remembered::{Circumstances, Remembered, RememberedCheck, RememberedClock};
use dr_rules::replica::{Measured, heard, taken_over};

use super::{seconds, t};

/// An outage that no check confirmed.
fn outage(first_failure: i64, trigger: i64) -> Outage {
    Outage { confirmed: false, ..super::outage(first_failure, trigger) }
}

fn recovery(first_failure: i64, trigger: i64, healthy: i64) -> Recovery {
    Recovery { outage: outage(first_failure, trigger), healthy: t(healthy), earliest: t(healthy) }
}

fn clock(whose: &str, running: Option<Outage>, last: Option<Recovery>) -> RememberedClock {
    let circumstances = Some(Circumstances { check: whose.to_owned(), ..Circumstances::default() });
    RememberedClock { running, last, circumstances, ..RememberedClock::default() }
}

fn own(running: Option<Outage>, last: Option<Recovery>) -> Remembered {
    Remembered { clock: clock("own", running, last), ..Remembered::default() }
}

fn with(state: Remembered, check: RememberedCheck) -> Remembered {
    Remembered { checks: [("a".to_owned(), check)].into(), ..state }
}

fn leads(own: Remembered, shared: RememberedClock) -> Remembered {
    let shared = Remembered { clock: shared, ..Remembered::default() };
    taken_over(own, shared, Vec::new(), None).0
}

fn whose(state: &Remembered) -> &str {
    state.clock.circumstances.as_ref().map_or("nobody's", |circumstances| &circumstances.check)
}

#[test]
fn the_circumstances_are_those_of_the_earlier_trigger_and_of_the_leader_at_one_instant() {
    for (trigger, expected) in [(59, "own"), (60, "shared"), (61, "shared")] {
        let state = heard(own(Some(outage(40, trigger)), None), &clock("shared", Some(outage(40, 60)), None));
        assert_eq!(whose(&state), expected, "the own clock runs since {trigger}");
    }
    // Another outage than the own one: the leader saw the component well in between.
    let shared = clock("shared", Some(outage(110, 130)), Some(recovery(40, 60, 100)));
    assert_eq!(whose(&heard(own(Some(outage(40, 60)), None), &shared)), "shared");
    // No clock runs: those of the last recovery.
    let shared = || clock("shared", None, Some(recovery(40, 60, 90)));
    assert_eq!(whose(&heard(own(None, Some(recovery(200, 210, 220))), &shared())), "own");
    assert_eq!(whose(&heard(own(None, None), &shared())), "shared");
}

#[test]
fn it_is_another_outage_only_if_the_component_was_well_between_the_two_beginnings() {
    let first_failure = |own_since: i64, other_since: i64| {
        let shared = clock("shared", Some(outage(other_since, 140)), Some(recovery(10, 20, 100)));
        let state = heard(own(Some(outage(own_since, 150)), None), &shared);
        state.clock.running.expect("a clock").first_failure
    };
    assert_eq!(first_failure(100, 100), t(100));
    assert_eq!(first_failure(40, 120), t(120), "another one");
    assert_eq!(first_failure(110, 120), t(110), "both began after it was well");
    assert_eq!(first_failure(40, 50), t(40), "both began before");
}

#[test]
fn what_either_replica_confirmed_or_declared_stays_so() {
    let of = |own_is: bool, other_is: bool, last: Option<Recovery>| {
        let is = |outage: Outage, so: bool| Outage { confirmed: so, declared: so, ..outage };
        let shared = clock("shared", Some(is(outage(110, 130), other_is)), last);
        let state = heard(own(Some(is(outage(40, 60), own_is)), None), &shared);
        state.clock.running.map(|running| (running.confirmed, running.declared)).expect("a clock")
    };
    for (own_is, other_is, either) in [(false, false, false), (true, false, true), (false, true, true)] {
        assert_eq!(of(own_is, other_is, None), (either, either), "one outage: {own_is}, {other_is}");
    }
    let well = Some(recovery(10, 20, 100));
    assert_eq!(of(true, false, well), (true, false), "another outage, which this replica sees as well");
    assert_eq!(of(false, false, well), (false, false));
}

#[test]
fn an_end_counts_as_seen_only_after_the_trigger() {
    let shared = || clock("shared", Some(outage(40, 60)), None);
    let trigger = |state: Remembered| state.clock.running.map(|running| running.trigger);
    for (end, adopted) in [(59, Some(t(60))), (60, Some(t(60))), (61, None)] {
        assert_eq!(trigger(heard(own(None, Some(recovery(20, 30, end))), &shared())), adopted, "the end at {end}");
    }
    for (end, kept) in [(60, t(60)), (61, t(90))] {
        let state = heard(own(Some(outage(70, 90)), Some(recovery(20, 30, end))), &shared());
        assert_eq!(trigger(state), Some(kept), "an end at {end}, and the own clock since 90");
    }
    for (seen, adopted) in [(59, Some(t(60))), (60, None)] {
        let check = RememberedCheck { last_success: Some(t(seen)), ..RememberedCheck::default() };
        assert_eq!(trigger(heard(with(own(None, None), check), &shared())), adopted, "well at {seen}");
    }
}

#[test]
fn a_leader_records_the_last_recovery_and_a_follower_shows_its_own_newer_one() {
    let shared = || clock("shared", None, Some(recovery(40, 60, 90)));
    let last = |state: Remembered| state.clock.last.map(|last| last.healthy);
    let newer = || own(None, Some(recovery(200, 210, 220)));
    assert_eq!(last(heard(newer(), &shared())), Some(t(220)));
    assert_eq!(last(leads(newer(), shared())), Some(t(90)));
    assert_eq!(last(heard(own(None, Some(recovery(10, 20, 30))), &shared())), Some(t(90)), "an older one");
    assert_eq!(last(heard(own(None, Some(recovery(50, 60, 95))), &shared())), Some(t(90)), "the same one");
    assert_eq!(last(heard(newer(), &clock("shared", None, None))), Some(t(220)));
}

#[test]
fn health_counts_for_an_adopted_clock_only_after_its_trigger() {
    for (seen, counts) in [(60, None), (61, Some(t(61)))] {
        let check = RememberedCheck { last_success: Some(t(seen)), successes: 3, ..RememberedCheck::default() };
        let state = leads(with(own(None, None), check), clock("shared", Some(outage(40, 60)), None));
        let check = &state.checks["a"];
        assert_eq!((check.successes, check.first_success), (0, counts), "well at {seen}");
        assert_eq!(check.unseen_since, counts.map(|_| t(60)));
    }
}

#[test]
fn failures_after_a_recorded_end_are_a_new_streak() {
    let failures = |first: i64, last: i64| {
        let (first_failure, last_failure) = (Some(t(first)), Some(t(last)));
        let check = RememberedCheck { failures: 5, first_failure, last_failure, ..RememberedCheck::default() };
        let shared = clock("shared", None, Some(recovery(40, 60, 90)));
        let state = leads(with(own(Some(outage(40, 60)), None), check), shared);
        assert_eq!(state.clock.running, None);
        (state.checks["a"].failures, state.checks["a"].first_failure)
    };
    assert_eq!(failures(50, 90), (0, None), "the end and the last failure at one instant");
    assert_eq!(failures(50, 91), (1, Some(t(91))));
    assert_eq!(failures(90, 120), (1, Some(t(120))));
    assert_eq!(failures(91, 120), (5, Some(t(91))), "all of them after the end");
}

/// The leader ran the clock since 60, and another replica saw the end at 400.
#[test]
fn a_recovery_reaches_back_to_the_leaders_trigger_only_if_its_failures_do() {
    let interruption = |first_failure: i64, trigger: i64| {
        let mine =
            vec![Measured { recovery: recovery(first_failure, trigger, 400), circumstances: None, is_known: false }];
        let shared = Remembered { clock: clock("shared", Some(outage(50, 60)), None), ..Remembered::default() };
        let (_, recorded) = taken_over(own(None, None), shared, mine, None);
        assert_eq!(recorded[0].recovery.outage.trigger, t(60));
        recorded[0].recovery.outage.interruption
    };
    assert_eq!(interruption(40, 70), None);
    assert_eq!(interruption(60, 80), None, "it failed at that instant");
    let since = |at: i64| Some(Interruption { longest: seconds(0), since: Some(t(at)) });
    assert_eq!(interruption(300, 320), since(320), "it was away before");
}
