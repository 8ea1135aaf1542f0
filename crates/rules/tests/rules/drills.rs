//! Drills, their schedules, and time in each status.

use dr_rules::drill::{self, Announcement, DrillKind, DrillRun, DrillSpec, Measured, Outcome};
use dr_rules::outage::Mode;
use dr_rules::people::{Refusal, Stamp};
use dr_rules::recovery_clock::ClockEvent;
use dr_rules::schedule::{Due, Schedule};
use dr_rules::status::Status;
use dr_rules::time::Timestamp;
use dr_rules::timeline::{Change, Recorded, dated, shares};
use proptest::prelude::*;

use super::{check, contract, healthy, observe, seconds, spec, t, unhealthy};

fn stamp(at: i64) -> Stamp {
    Stamp { at: t(at), by: "ops".to_owned(), user: String::new() }
}

fn drill(kind: DrillKind, contracts: &[&str]) -> DrillSpec {
    DrillSpec {
        name: "failover".to_owned(),
        kind,
        every: Schedule::Monthly,
        contracts: contracts.iter().map(|name| (*name).to_owned()).collect(),
        checks: Vec::new(),
        expires_after: seconds(3600),
        description: None,
    }
}

fn started(kind: DrillKind, contracts: &[&str]) -> DrillRun {
    drill(kind, contracts).start(stamp(0), Announcement::default(), |name| name != "copy")
}

fn measured(contract: &str, met: Option<bool>) -> Measured {
    Measured {
        contract: contract.to_owned(),
        mode: Mode::Drill,
        first_failure: t(10),
        trigger: t(20),
        healthy: t(30),
        least_seconds: 10.0,
        most_seconds: Some(10.0),
        downtime_seconds: 20.0,
        target_seconds: Some(300.0),
        met,
        data_at_risk_seconds: None,
        known_at_risk_seconds: None,
        rpo_seconds: None,
    }
}

#[test]
fn a_recovery_drill_passes_when_every_contract_with_an_rto_was_measured_and_met() {
    let outcome = |recoveries: &[Measured]| {
        let mut run = started(DrillKind::Recovery, &["a", "b", "copy"]);
        for recovery in recoveries {
            assert!(run.take(recovery));
        }
        run.finish(stamp(60), String::new(), &[]).expect("finished")
    };
    let (a, b) = (measured("a", Some(true)), measured("b", Some(true)));
    assert_eq!(outcome(&[]), Outcome::Unproven, "nothing was broken, so nothing is proven");
    assert_eq!(outcome(std::slice::from_ref(&a)), Outcome::Unproven);
    assert_eq!(outcome(&[a.clone(), b.clone()]), Outcome::Passed);
    assert_eq!(outcome(&[a.clone(), measured("b", Some(false))]), Outcome::Failed);
    assert_eq!(outcome(&[a.clone(), measured("b", None)]), Outcome::Unproven);
    assert_eq!(outcome(&[a.clone(), measured("b", Some(false)), b.clone()]), Outcome::Failed, "the worst counts");
    assert_eq!(outcome(&[a, b.clone(), measured("b", None), b]), Outcome::Unproven);
    assert_eq!(
        [Outcome::Passed, Outcome::Failed, Outcome::Unproven, Outcome::Aborted].map(Outcome::counts),
        [true, true, false, false]
    );
}

#[test]
fn only_planned_recoveries_of_its_own_contracts_belong_to_a_drill() {
    let mut run = started(DrillKind::Recovery, &["a"]);
    assert!(!run.take(&measured("other", Some(true))));
    assert!(!run.take(&Measured { mode: Mode::Real, ..measured("a", Some(true)) }));
    assert!(run.covers("a") && !run.covers("other"));
    assert!(matches!(run.finish(stamp(1), String::new(), &["a"]), Err(Refusal::Conflict(_))), "its clock runs");
    assert_eq!(run.recovered(stamp(2)), Ok(true));
    assert_eq!(run.recovered(stamp(3)), Ok(false), "the first stamp counts");
    run.abort(stamp(4), "enough".to_owned()).expect("aborted");
    assert!(!run.covers("a"), "what breaks now is real");
    assert!(matches!(run.finish(stamp(5), String::new(), &[]), Err(Refusal::Conflict(_))));
    let mut review = started(DrillKind::Review, &["a"]);
    assert!(!review.covers("a"), "a review breaks nothing");
    assert!(matches!(review.recovered(stamp(1)), Err(Refusal::Invalid(_))));
    assert_eq!(review.finish(stamp(1), String::new(), &["a"]), Ok(Outcome::Passed));
}

#[test]
fn schedules_follow_the_calendar() {
    let at = |text: &str| Timestamp::from(text.parse::<jiff::Timestamp>().expect("a time"));
    let last = at("2026-01-31T09:00:00Z");
    let table = [
        (Schedule::Weekly, "2026-02-07T09:00:00Z"),
        (Schedule::Monthly, "2026-02-28T09:00:00Z"),
        (Schedule::Quarterly, "2026-04-30T09:00:00Z"),
        (Schedule::Every(seconds(3600)), "2026-01-31T10:00:00Z"),
    ];
    for (every, due) in table {
        assert_eq!(every.after(last), at(due), "{every:?}");
        let due = Due { every, last: Some(last) };
        assert!(!due.is_overdue(due.at().expect("due").minus(seconds(1))) && due.is_overdue(due.at().expect("due")));
    }
    assert!(Due { every: Schedule::Weekly, last: None }.is_overdue(last), "never done");
    // A wall clock may be set back by a day without making what was done unknown.
    let done = Due { every: Schedule::Weekly, last: Some(last) };
    let day = seconds(24 * 3600);
    assert!(!done.is_overdue(last.minus(day)) && done.is_overdue(last.minus(day + seconds(1))));
}

#[test]
fn an_outage_during_a_drill_is_planned_and_its_recovery_proves_the_rto() {
    let mut contract = contract(spec(), vec![check("a")]);
    observe(&mut contract, 0, 0, healthy());
    contract.plan(true);
    for at in [10, 20, 30] {
        observe(&mut contract, 0, at, unhealthy());
    }
    contract.plan(false);
    let Some(ClockEvent::Stopped(recovery)) = observe(&mut contract, 0, 50, healthy()) else { panic!("recovered") };
    assert_eq!(recovery.outage.mode, Mode::Drill, "an outage keeps its mode");
    let measured = Measured::of(&contract, &recovery, |at| at);
    assert_eq!((measured.met, measured.downtime_seconds), (Some(true), 40.0));
    assert_eq!(measured.most_seconds, Some(20.0));
}

#[test]
fn a_check_drill_finds_what_fails_and_what_is_not_measured() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    let found = drill::verify(&contract, &[], t(0));
    assert!(found.len() >= 2 && found.iter().all(|found| !found.proven), "nothing is measured yet: {found:?}");
    observe(&mut contract, 0, 0, healthy());
    observe(&mut contract, 1, 0, unhealthy());
    let found = drill::verify(&contract, &["b"], t(1));
    assert!(found.iter().any(|found| found.proven && found.text.ends_with("b: fails")), "{found:?}");
    assert!(drill::verify(&contract, &["a"], t(1)).iter().all(|found| !found.text.ends_with("fails")));
    let elsewhere = drill(DrillKind::Check, &["elsewhere"]).verify([&contract].into_iter(), t(1));
    assert!(elsewhere.len() == 1 && !elsewhere[0].proven, "what verifies nothing does not pass: {elsewhere:?}");
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop::sample::select(Status::ALL.to_vec()).prop_map(Change::Status),
        Just(Change::Silent),
        Just(Change::Observed),
    ]
}

proptest! {
    /// Whatever was recorded, the shares are the whole period, and silence is never a status.
    #[test]
    fn shares_add_up(
        changes in prop::collection::vec((-100..300_i64, change()), 0..20),
        from in 0..100_i64,
        lasts in 0..100_i64,
    ) {
        let changes: Vec<_> = changes.into_iter().map(|(at, change)| (t(at), change)).collect();
        let shares = shares(&changes, t(from), t(from + lasts));
        prop_assert_eq!(shares.total(), t(from + lasts).since(t(from)));
        let whole = if lasts == 0 { 0 } else { 10_000 };
        prop_assert_eq!(shares.hundredths().iter().sum::<u32>(), whole);
        if !changes.iter().any(|(_, change)| matches!(change, Change::Status(_))) {
            prop_assert_eq!(shares.not_observed, shares.total());
        }
    }
}

#[test]
fn time_that_nobody_observed_is_told_apart() {
    let changes = [
        (t(0), Change::Status(Status::Met)),
        (t(40), Change::Silent),
        (t(60), Change::Observed),
        (t(80), Change::Status(Status::Breached)),
    ];
    let shares = shares(&changes, t(10), t(100));
    let of = |status| shares.of(status).as_secs();
    assert_eq!((of(Status::Met), of(Status::Breached), shares.not_observed.as_secs()), (50, 20, 20));
}

fn status(at: i64, status: Status) -> Recorded {
    Recorded { recorded: t(at), at: t(at), change: Change::Status(status) }
}

#[test]
fn a_clock_that_ran_ahead_hides_nothing() {
    let truthful = [status(0, Status::Met), status(40, Status::Breached), status(80, Status::Met)];
    let figures = |changes: &[Recorded]| {
        let shares = shares(&dated(changes, t(100)), t(0), t(100));
        [Status::Met, Status::Breached].map(|status| shares.of(status).as_secs())
    };
    assert_eq!(figures(&truthful), [60, 40]);
    // The clock ran ahead when the breach began, then also when it ended.
    let mut ahead = truthful;
    ahead[1] = status(4_000, Status::Breached);
    assert_eq!(figures(&ahead), [20, 0], "from 0 to 80 nobody knows, and that is not `met`");
    ahead[2] = status(8_000, Status::Met);
    assert_eq!(figures(&ahead), [0, 0]);
    // A time service that sets the clock back a little makes no silence.
    assert_eq!(figures(&[status(0, Status::Met), status(42, Status::Breached), status(40, Status::Met)]), [100, 0]);
}

proptest! {
    /// However often the clock ran far ahead, no status is claimed for longer than it was true.
    #[test]
    fn a_clock_that_ran_ahead_claims_nothing(changes in prop::collection::vec((1..50_i64, 0..4_usize, any::<bool>()), 1..12)) {
        let (mut now, mut truth, mut told) = (0, Vec::new(), Vec::new());
        for (after, which, ahead) in changes {
            now += after;
            truth.push((t(now), Change::Status(Status::ALL[which])));
            told.push(status(if ahead { now + 100_000 } else { now }, Status::ALL[which]));
        }
        now += 10;
        let (truth, told) = (shares(&truth, t(0), t(now)), shares(&dated(&told, t(now)), t(0), t(now)));
        for status in Status::ALL {
            prop_assert!(told.of(status) <= truth.of(status), "{status:?}: {told:?}, and {truth:?} is true");
        }
    }
}

#[test]
fn a_drill_that_was_done_in_the_far_future_is_overdue() {
    let due = |last: i64| Due { every: Schedule::Monthly, last: Some(t(last)) };
    assert!(due(400 * 86_400).is_overdue(t(0)), "the wall clock was wrong when it was done");
    assert!(!due(60).is_overdue(t(0)), "a clock that was set back a little changes nothing");
}
