//! Every row of the two status tables, and the edges between them.

use std::time::Duration;

use dr_rules::contract::{Contract, Objective};
use dr_rules::observation::CopyState::{self, Behind, Complete, Damaged, Lost, Outdated, Unknown, Vouched, Withdrawn};
use dr_rules::observation::{Finding, Observation, Outcome, WentBack};
use dr_rules::status::{Basis, Status};

use super::{check, contract, finding, healthy, no_answer, of_copy, of_health, recalled, seconds, spec, t, unhealthy};

fn complete(at: i64) -> CopyState {
    Complete { up_to: t(at) }
}

fn behind(at: i64) -> CopyState {
    Behind { since: t(at), precision: Duration::ZERO, certain_since: None, finding: None }
}

fn vouched(at: i64) -> CopyState {
    Vouched { up_to: t(at), doubt: None }
}

fn doubted(at: i64) -> CopyState {
    Vouched { up_to: t(at), doubt: Some(finding()) }
}

fn outdated(up_to: Option<i64>) -> CopyState {
    holding("as ever", up_to)
}

fn holding(holds: &str, up_to: Option<i64>) -> CopyState {
    Outdated {
        up_to: up_to.map(t),
        went_back: None,
        holds: holds.to_owned(),
        expected: "newer".to_owned(),
        finding: finding(),
    }
}

fn basis(contract: &Contract, objective: Objective, now: i64) -> Basis {
    contract.judge(objective, t(now)).expect("the contract has the objective").basis
}

/// A name, what was found when, and what is said when.
type Row<'a> = (&'a str, &'a [(i64, CopyState)], i64, Basis);

/// RPO 100 s, at risk above 80 s, fresh for 35 s.
#[track_caller]
fn rpo_rows(table: &[Row<'_>]) {
    for (name, found, now, expected) in table {
        let mut contract = contract(spec(), vec![check("copy")]);
        for (at, copy) in *found {
            contract.observe(0, t(*at), &of_copy(copy.clone()));
        }
        assert_eq!(basis(&contract, Objective::Rpo, *now), *expected, "{name}");
    }
}

#[test]
fn rpo_table() {
    use Basis::{
        CopyLost, ExposureAboveRatio, ExposureReachedTarget, ExposureWithinTarget, NoRecoveryPoint, ProofTooOld,
    };
    rpo_rows(&[
        ("never observed", &[], 0, NoRecoveryPoint),
        ("never learned anything", &[(0, Unknown(finding()))], 0, NoRecoveryPoint),
        ("just proven", &[(0, complete(0))], 0, ExposureWithinTarget),
        ("exactly the at-risk share", &[(0, complete(0))], 80, ExposureWithinTarget),
        ("above the at-risk share", &[(0, complete(0))], 81, ExposureAboveRatio),
        ("stale, but the bound still holds", &[(0, complete(0))], 60, ExposureWithinTarget),
        ("just below the target", &[(70, behind(0))], 99, ExposureAboveRatio),
        ("past the target since the look: it may have caught up", &[(70, behind(0))], 100, ProofTooOld),
        ("equal to the target at the look is a breach", &[(100, behind(0))], 100, ExposureReachedTarget),
        ("and stays one until the next look", &[(100, behind(0))], 135, ExposureReachedTarget),
        ("but not when that is stale", &[(100, behind(0))], 136, ProofTooOld),
        ("another look, and it has caught up", &[(100, behind(0)), (105, complete(105))], 105, ExposureWithinTarget),
        ("a copy renewed again and again", &[(60, behind(0)), (120, behind(61))], 155, ExposureAboveRatio),
        ("nothing new since the proof", &[(0, complete(0)), (90, Unknown(finding()))], 100, ProofTooOld),
        ("lost", &[(0, complete(0)), (10, Lost(finding()))], 10, CopyLost),
        ("lost, fresh to the last", &[(0, complete(0)), (10, Lost(finding()))], 45, CopyLost),
        ("lost long ago: the old proof is withdrawn", &[(0, complete(0)), (10, Lost(finding()))], 46, NoRecoveryPoint),
        ("lost, then unknown", &[(0, Lost(finding())), (10, Unknown(finding()))], 20, CopyLost),
        ("lost, then made anew", &[(0, Lost(finding())), (10, complete(10))], 20, ExposureWithinTarget),
        ("made anew and catching up", &[(0, complete(0)), (10, behind(-200))], 10, ExposureReachedTarget),
        ("a proof of the future is one of now", &[(0, complete(1000))], 81, ExposureAboveRatio),
        ("somebody's word is good while it is young", &[(70, vouched(0))], 80, ExposureWithinTarget),
        ("somebody's word, close to the target", &[(70, vouched(0))], 81, ExposureAboveRatio),
        ("somebody's old word shows no breach", &[(90, vouched(0))], 100, ProofTooOld),
        ("nor does one that is read again and again", &[(0, vouched(0)), (100, vouched(0))], 100, ProofTooOld),
        ("a word that is doubted holds for its instant", &[(70, doubted(0))], 80, ExposureWithinTarget),
        ("a word that is doubted is no news", &[(100, behind(0)), (101, doubted(1))], 102, ExposureReachedTarget),
    ]);
}

#[test]
fn rpo_table_of_copies_that_differ() {
    use Basis::{ExposureAboveRatio, ExposureReachedTarget, ExposureWithinTarget, NoRecoveryPoint, ProofTooOld};
    rpo_rows(&[
        ("outdated, and the last proof is young", &[(0, complete(0)), (60, outdated(None))], 70, ExposureWithinTarget),
        (
            "outdated, first seen just now, after a long absence",
            &[(0, complete(0)), (900, outdated(None))],
            900,
            ProofTooOld,
        ),
        (
            "outdated, not yet watched for the target",
            &[(0, complete(0)), (10, outdated(None)), (109, outdated(None))],
            109,
            ProofTooOld,
        ),
        (
            "outdated, and watched for the target",
            &[(0, complete(0)), (10, outdated(None)), (110, outdated(None))],
            110,
            ExposureReachedTarget,
        ),
        ("the same without any proof", &[(10, outdated(None)), (110, outdated(None))], 110, ExposureReachedTarget),
        ("also after an absence", &[(10, outdated(None)), (910, outdated(None))], 910, ExposureReachedTarget),
        (
            "outdated, while the copy moves on: each change may be a young one",
            &[(10, holding("a", None)), (60, holding("b", None)), (110, holding("c", None))],
            110,
            NoRecoveryPoint,
        ),
        (
            "outdated, complete, outdated: it counts anew",
            &[(10, outdated(None)), (20, complete(20)), (110, outdated(None))],
            110,
            ExposureAboveRatio,
        ),
        (
            "outdated, and known to have been complete in between",
            &[(0, outdated(None)), (110, outdated(Some(20)))],
            110,
            ExposureAboveRatio,
        ),
        (
            "the same, and watched since for less than the target",
            &[(0, outdated(None)), (110, outdated(Some(20))), (200, outdated(Some(20)))],
            200,
            ProofTooOld,
        ),
        ("outdated, and never proven", &[(90, outdated(None))], 100, NoRecoveryPoint),
        ("outdated, with a proof of its own", &[(90, outdated(Some(50)))], 100, ExposureWithinTarget),
        ("outdated takes no proof back", &[(60, complete(60)), (90, outdated(Some(0)))], 100, ExposureWithinTarget),
        (
            "damaged: what was proven no longer holds",
            &[(0, complete(0)), (10, Damaged(finding()))],
            10,
            NoRecoveryPoint,
        ),
        (
            "damaged, and nothing learned since",
            &[(0, complete(0)), (10, Damaged(finding())), (20, Unknown(finding()))],
            20,
            NoRecoveryPoint,
        ),
        (
            "damaged, and watched for the target",
            &[
                (0, complete(0)),
                (10, Damaged(finding())),
                (45, Damaged(finding())),
                (80, Damaged(finding())),
                (110, Damaged(finding())),
            ],
            110,
            ExposureReachedTarget,
        ),
        ("damaged, then proven anew", &[(0, Damaged(finding())), (10, complete(10))], 20, ExposureWithinTarget),
        ("taken back", &[(0, complete(0)), (10, Withdrawn(finding()))], 10, NoRecoveryPoint),
        ("taken back, and long", &[(0, complete(0)), (10, Withdrawn(finding()))], 500, NoRecoveryPoint),
        (
            "behind, then taken back",
            &[
                (0, Behind { since: t(0), precision: Duration::ZERO, certain_since: None, finding: None }),
                (200, Withdrawn(finding())),
            ],
            200,
            NoRecoveryPoint,
        ),
        ("taken back, then said anew", &[(10, Withdrawn(finding())), (20, complete(20))], 30, ExposureWithinTarget),
        ("lost, then there and damaged", &[(0, Lost(finding())), (10, Damaged(finding()))], 20, NoRecoveryPoint),
        ("lost, then there and outdated", &[(0, Lost(finding())), (10, outdated(None))], 20, NoRecoveryPoint),
    ]);
}

#[test]
fn rto_table_while_a_clock_runs() {
    use Basis::{DownAboveRatio, DownReachedTarget, DownUncertain, HealthUnknown, NoRecovery};
    // RTO 300 s, at risk above 240 s, fresh for 35 s, a look every 10 s at
    // most; healthy at -10, triggered at 20. When it was last seen to fail; the
    // question.
    let table = [
        // An outage proves nothing: what holds is what held before.
        (20, 20, NoRecovery),
        (250, 260, NoRecovery),
        (251, 261, DownAboveRatio),
        (309, 319, DownAboveRatio),
        (310, 320, DownReachedTarget),
        (99_990, 100_000, DownReachedTarget),
        // Within the target, but nobody has looked lately.
        (20, 260, HealthUnknown),
        // It may have been well again long before.
        (20, 261, DownUncertain),
        (20, 319, DownUncertain),
        // So it may between two looks, where one is missing.
        (250, 261, DownUncertain),
        (309, 320, DownUncertain),
        (284, 320, DownUncertain),
        (20, 100_000, DownUncertain),
        // It was seen to outlast the target, and nothing takes that back.
        (320, 100_000, DownReachedTarget),
    ];
    for (failed, now, expected) in table {
        let mut contract = contract(spec(), vec![check("health")]);
        contract.observe(0, t(-10), &of_health(healthy()));
        for at in (0..failed).step_by(10).chain([failed]) {
            contract.observe(0, t(at), &of_health(unhealthy()));
        }
        assert_eq!(basis(&contract, Objective::Rto, now), expected, "failed at {failed}, asked at {now}");
    }
}

#[test]
fn an_outage_that_nobody_saw_begin_may_be_older() {
    use Basis::{DownReachedTarget, DownUncertain, NoRecovery};
    // When it was last seen healthy, if ever; it fails from 0 on, with the trigger at 20. RTO 300 s, a look every 10 s.
    let table = [
        ("never seen healthy", None, 30, DownUncertain, None),
        ("never seen healthy, and seen to fail for the target", None, 320, DownReachedTarget, None),
        ("seen healthy shortly before", Some(-11), 30, NoRecovery, Some(10)),
        ("seen healthy some time before: within the target all the same", Some(-12), 30, NoRecovery, Some(42)),
        ("seen healthy long before", Some(-271), 30, DownUncertain, Some(301)),
    ];
    for (name, healthy_at, now, expected, most) in table {
        let mut contract = contract(spec(), vec![check("health")]);
        if let Some(at) = healthy_at {
            contract.observe(0, t(at), &of_health(healthy()));
        }
        for at in (0..=now).step_by(10) {
            contract.observe(0, t(at), &of_health(unhealthy()));
        }
        let judgement = contract.judge(Objective::Rto, t(now)).expect("an RTO");
        assert_eq!(judgement.basis, expected, "{name}");
        assert_eq!(judgement.observed(), most.map(seconds), "{name}");
        let least = u64::try_from(now - 20).expect("after the trigger");
        assert_eq!(judgement.known(), Some(seconds(least)), "{name}");
        let recalled = recalled(&contract);
        assert_eq!(basis(&recalled, Objective::Rto, now), expected, "{name}, after a restart");
    }
}

#[test]
fn a_recovery_from_an_outage_that_nobody_saw_begin_is_met_only_by_its_longest() {
    // When it was last seen healthy; fails from 0 on, trigger at 20, healthy at the end. RTO 300 s.
    let table = [
        (None, 30, None),
        (None, 319, None),
        (None, 320, Some(false)),
        (Some(-36), 200, Some(true)),
        (Some(-100), 200, None),
        (Some(-10), 200, Some(true)),
    ];
    for (healthy_at, end, met) in table {
        let mut contract = contract(spec(), vec![check("health")]);
        if let Some(at) = healthy_at {
            contract.observe(0, t(at), &of_health(healthy()));
        }
        for at in (0..end).step_by(10) {
            contract.observe(0, t(at), &of_health(unhealthy()));
        }
        contract.observe(0, t(end), &of_health(healthy()));
        let last = contract.clock().last_recovery().expect("it is over");
        assert_eq!(last.met(seconds(300)), met, "healthy at {healthy_at:?}, again at {end}");
    }
}

#[test]
fn another_object_inherits_no_proof() {
    let seen =
        |identity: Option<&str>, copy| Observation { copy_identity: identity.map(str::to_owned), ..of_copy(copy) };
    // What is seen of the copy at 50, after a proof at 40 of the copy "a"; RPO 100 s.
    let table = [
        ("the same", seen(Some("a"), Unknown(finding())), Some(40)),
        ("nobody could tell", seen(None, Unknown(finding())), Some(40)),
        ("another", seen(Some("b"), Unknown(finding())), None),
        ("another, and proven", seen(Some("b"), complete(45)), Some(45)),
        ("another, and outdated", seen(Some("b"), outdated(None)), None),
    ];
    for (name, second, point) in table {
        for restarted in [false, true] {
            let mut contract = contract(spec(), vec![check("copy")]);
            contract.observe(0, t(0), &seen(Some("a"), complete(0)));
            contract.observe(0, t(40), &seen(Some("a"), complete(40)));
            if restarted {
                contract = recalled(&contract);
            }
            contract.observe(0, t(50), &second);
            assert_eq!(contract.checks()[0].point().instant(), point.map(t), "{name}");
        }
    }
}

#[test]
fn what_another_object_lacks_counts_anew() {
    let mut contract = contract(spec(), vec![check("copy")]);
    for (at, identity) in [(0, "a"), (100, "b")] {
        let copy_identity = Some(identity.to_owned());
        contract.observe(0, t(at), &Observation { copy_identity, ..of_copy(outdated(None)) });
    }
    assert_eq!(basis(&contract, Objective::Rpo, 100), Basis::NoRecoveryPoint, "this one was made meanwhile");
}

#[test]
fn the_evidence_of_a_contract_is_that_of_its_oldest_check() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    contract.observe(0, t(0), &of_copy(complete(0)));
    let evidence = |contract: &Contract, objective| contract.judge(objective, t(20)).expect("both").evidence;
    assert_eq!(evidence(&contract, Objective::Rpo), None, "one was never looked at");
    contract.observe(1, t(10), &of_copy(complete(10)));
    for objective in Objective::ALL {
        assert_eq!(evidence(&contract, objective), Some(t(0)), "{objective:?}");
    }
}

#[test]
fn what_was_first_seen_missing_outlives_a_restart() {
    let mut contract = contract(spec(), vec![check("copy")]);
    contract.observe(0, t(0), &of_copy(outdated(None)));
    contract = recalled(&contract);
    contract.observe(0, t(100), &of_copy(outdated(None)));
    assert_eq!(basis(&contract, Objective::Rpo, 100), Basis::ExposureReachedTarget);
}

#[test]
fn rto_table_while_nothing_happens() {
    use Basis::{
        HealthUnknown, LastRecoveryMet, LastRecoveryMissed, LastRecoveryTooOld, LastRecoveryUncertain, NoRecovery,
    };
    // How long the last outage took, from its trigger at 0; when health was last seen; the question.
    let table: &[(&str, Option<i64>, i64, i64, Basis)] = &[
        ("never recovered", None, 0, 0, NoRecovery),
        ("health stale", None, 0, 36, HealthUnknown),
        ("recovered in time", Some(210), 220, 230, LastRecoveryMet),
        ("recovered in time, health stale", Some(210), 220, 256, HealthUnknown),
        ("a second too late is missed", Some(301), 310, 310, LastRecoveryMissed),
        ("exactly the target is missed", Some(300), 310, 310, LastRecoveryMissed),
        ("nobody looked at the end of it", Some(340), 350, 350, LastRecoveryUncertain),
        ("drill due", Some(210), 1210, 1210, LastRecoveryMet),
        ("drill overdue", Some(210), 1211, 1211, LastRecoveryTooOld),
    ];
    for (name, recovered, seen, now, expected) in table {
        let mut spec = spec();
        spec.drill_every = Some(seconds(1000));
        let mut contract = contract(spec, vec![check("health")]);
        if let Some(recovered) = recovered {
            contract.observe(0, t(-30), &of_health(healthy()));
            for at in (-20..300).step_by(10).chain([299]).filter(|at| at < recovered) {
                contract.observe(0, t(at), &of_health(unhealthy()));
            }
            contract.observe(0, t(*recovered), &of_health(healthy()));
        }
        contract.observe(0, t(*seen), &of_health(healthy()));
        assert_eq!(basis(&contract, Objective::Rto, *now), *expected, "{name}");
    }
}

#[test]
fn a_target_that_changes_applies_at_once() {
    let mut strict = spec();
    strict.rto = Some(seconds(200));
    for (spec, expected) in [(spec(), Status::Met), (strict, Status::Unproven)] {
        let mut contract = contract(spec, vec![check("health")]);
        contract.observe(0, t(-30), &of_health(healthy()));
        for at in [-20, -10, 0] {
            contract.observe(0, t(at), &of_health(unhealthy()));
        }
        contract.observe(0, t(210), &of_health(healthy()));
        assert_eq!(basis(&contract, Objective::Rto, 210).status(), expected);
    }
}

#[test]
fn without_drill_every_a_recovery_never_grows_old() {
    let mut contract = contract(spec(), vec![check("health")]);
    contract.observe(0, t(-30), &of_health(healthy()));
    for at in [-20, -10, 0] {
        contract.observe(0, t(at), &of_health(unhealthy()));
    }
    contract.observe(0, t(60), &of_health(healthy()));
    contract.observe(0, t(100_000_000), &of_health(healthy()));
    assert_eq!(basis(&contract, Objective::Rto, 100_000_000), Basis::LastRecoveryMet);
}

#[test]
fn the_worst_of_several_copies_counts_and_the_oldest_point() {
    let lost = || Lost(finding());
    let unknown = || Unknown(finding());
    // What each of two checks found at 100 (a proof: up to then), and the status at 100.
    let table: &[(&str, CopyState, CopyState, Status, Option<u64>)] = &[
        ("both met", complete(100), complete(90), Status::Met, Some(10)),
        ("at risk outweighs met", complete(100), behind(15), Status::AtRisk, Some(85)),
        ("unproven outweighs at risk", unknown(), behind(15), Status::Unproven, None),
        ("breached outweighs unproven", unknown(), behind(0), Status::Breached, None),
        ("breached outweighs met", complete(100), behind(-10), Status::Breached, Some(110)),
        ("lost outweighs met", lost(), complete(100), Status::Breached, None),
    ];
    for (name, first, second, status, observed) in table {
        for order in [[first, second], [second, first]] {
            let mut contract = contract(spec(), vec![check("a"), check("b")]);
            for (index, copy) in order.into_iter().enumerate() {
                contract.observe(index, t(100), &of_copy(copy.clone()));
            }
            let judgement = contract.judge(Objective::Rpo, t(100)).expect("an RPO");
            assert_eq!(judgement.status(), *status, "{name}");
            assert_eq!(judgement.observed(), observed.map(seconds), "{name}");
        }
    }
}

#[test]
fn health_must_be_fresh_of_every_check() {
    let mut contract = contract(spec(), vec![check("a"), check("b")]);
    contract.observe(0, t(0), &of_health(healthy()));
    assert_eq!(basis(&contract, Objective::Rto, 0), Basis::HealthUnknown, "b was never seen");
    contract.observe(1, t(0), &of_health(healthy()));
    assert_eq!(basis(&contract, Objective::Rto, 35), Basis::NoRecovery);
    contract.observe(0, t(36), &of_health(healthy()));
    contract.observe(1, t(36), &of_health(no_answer()));
    assert_eq!(basis(&contract, Objective::Rto, 36), Basis::HealthUnknown, "no answer is no evidence");
}

#[test]
fn what_is_not_known_is_absent() {
    let contract = contract(spec(), vec![check("a")]);
    for objective in Objective::ALL {
        let judgement = contract.judge(objective, t(0)).expect("both objectives");
        let known = (objective == Objective::Rpo).then_some(Duration::ZERO);
        assert_eq!(judgement.known(), known, "nothing is known to be missing, and no outage is known");
        assert_eq!((judgement.observed(), judgement.used_ratio(), judgement.evidence), (None, None, None));
        assert_eq!(judgement.status().is_compliant(), None);
    }
    assert_eq!(
        (contract.checks()[0].healthy(t(0)), contract.checks()[0].copy_lost(t(0)), contract.checks()[0].warns(t(0))),
        (None, None, None)
    );
}

#[test]
fn a_warning_is_a_lag_above_warn_after() {
    let mut check = check("a");
    check.warn_after = Some(seconds(30));
    let mut contract = contract(spec(), vec![check]);
    assert_eq!(contract.checks()[0].warns(t(0)), None, "nothing is known");
    contract.observe(0, t(0), &of_copy(complete(0)));
    assert_eq!(contract.checks()[0].warns(t(30)), Some(false));
    assert_eq!(contract.checks()[0].warns(t(31)), Some(true));
}

#[test]
fn a_warning_is_also_what_the_check_warns_of_while_that_is_fresh() {
    let seen = |warnings: Option<Vec<Finding>>| Observation { warnings, ..of_health(healthy()) };
    let mut plain = contract(spec(), vec![check("a")]);
    plain.observe(0, t(0), &seen(None));
    assert_eq!(plain.checks()[0].warns(t(0)), None, "it looks for nothing");
    plain.observe(0, t(0), &seen(Some(vec![])));
    assert_eq!(plain.checks()[0].warns(t(35)), Some(false));
    plain.observe(0, t(10), &seen(Some(vec![finding()])));
    assert_eq!((plain.checks()[0].warns(t(45)), plain.checks()[0].warns(t(46))), (Some(true), None), "35 s are fresh");
    plain.observe(0, t(20), &seen(None));
    assert_eq!(
        (plain.checks()[0].warns(t(45)), plain.checks()[0].warns(t(46))),
        (Some(true), None),
        "it could not look"
    );
    let recalled = recalled(&plain);
    assert_eq!(recalled.checks()[0].warns(t(45)), Some(true), "a restart changes nothing");

    let mut both = check("a");
    both.warn_after = Some(seconds(30));
    let mut both = contract(spec(), vec![both]);
    both.observe(0, t(0), &Observation { copy: Some(complete(0)), ..seen(Some(vec![finding()])) });
    assert_eq!(both.checks()[0].warns(t(0)), Some(true), "by its own word, though the lag is small");
    both.observe(0, t(1), &Observation { copy: Some(complete(1)), ..seen(Some(vec![])) });
    assert_eq!(both.checks()[0].warns(t(31)), Some(false));
    assert_eq!(both.checks()[0].warns(t(32)), Some(true), "by its lag, though it warns of nothing itself");
}

#[test]
fn a_point_moves_back_only_beyond_the_precision_of_the_news() {
    for (precision, expected) in [(5, Some(10)), (6, Some(10)), (4, Some(15))] {
        let mut contract = contract(spec(), vec![check("a")]);
        contract.observe(0, t(10), &of_copy(complete(10)));
        let behind = Behind { since: t(5), precision: seconds(precision), certain_since: None, finding: None };
        contract.observe(0, t(20), &of_copy(behind));
        let judgement = contract.judge(Objective::Rpo, t(20)).expect("an RPO");
        assert_eq!(judgement.observed(), expected.map(seconds), "precision {precision}");
    }
}

#[test]
fn a_clock_that_told_nothing_of_itself_makes_no_breach() {
    // The origin's clock is behind by ten minutes: what was written just now seems old.
    let mut contract = contract(spec(), vec![check("a")]);
    let behind = |certain: Option<i64>| Behind {
        since: t(-600),
        precision: Duration::ZERO,
        certain_since: certain.map(t),
        finding: None,
    };
    contract.observe(0, t(0), &of_copy(behind(Some(0))));
    assert_eq!(basis(&contract, Objective::Rpo, 0), Basis::ProofTooOld, "it may be old, and may be new");
    contract.observe(0, t(100), &of_copy(behind(Some(0))));
    assert_eq!(basis(&contract, Objective::Rpo, 100), Basis::ExposureReachedTarget, "watched for the target");
    contract.observe(0, t(110), &of_copy(behind(None)));
    assert_eq!(basis(&contract, Objective::Rpo, 110), Basis::ExposureReachedTarget);
}

#[test]
fn what_is_wrong_with_a_copy_is_told_and_makes_the_run_unhealthy() {
    let incomplete = Behind { since: t(0), precision: Duration::ZERO, certain_since: None, finding: Some(finding()) };
    let table = [
        (complete(0), Outcome::Healthy, 0),
        (behind(0), Outcome::Healthy, 0),
        (incomplete, Outcome::Unhealthy, 1),
        (Damaged(finding()), Outcome::Unhealthy, 1),
        (Lost(finding()), Outcome::Unhealthy, 1),
        (outdated(None), Outcome::Unhealthy, 1),
        (doubted(0), Outcome::NoAnswer, 1),
        (Withdrawn(finding()), Outcome::NoAnswer, 1),
        (Unknown(finding()), Outcome::NoAnswer, 1),
    ];
    for (copy, outcome, told) in table {
        let observation = of_copy(copy);
        assert_eq!(observation.outcome(), outcome, "{observation:?}");
        assert_eq!(observation.findings().count(), told, "{observation:?}");
    }
}

/// A copy that went back to what it held before is as old as that.
#[test]
fn a_copy_that_goes_back_takes_its_recovery_point_back() {
    use Basis::{ExposureReachedTarget, ExposureWithinTarget, NoRecoveryPoint, ProofTooOld};
    let back_to = |to| Outdated {
        up_to: None,
        went_back: Some(WentBack { to, at: t(210) }),
        holds: "old".to_owned(),
        expected: "new".to_owned(),
        finding: finding(),
    };
    let back = |to| back_to(Some(t(to)));
    rpo_rows(&[
        ("nobody knows how far", &[(200, complete(200)), (210, back_to(None))], 211, NoRecoveryPoint),
        (
            "nobody knows how far, and the target has passed since",
            &[(200, complete(200)), (210, back_to(None)), (310, back_to(None))],
            310,
            ExposureReachedTarget,
        ),
        (
            "that far, and what was proven since holds",
            &[(210, back_to(None)), (220, complete(220)), (230, back_to(None))],
            230,
            ExposureWithinTarget,
        ),
        ("a little", &[(200, complete(200)), (210, back(150))], 230, ExposureWithinTarget),
        ("beyond the target", &[(200, complete(200)), (210, back(100))], 210, ProofTooOld),
        ("known to be missing only since it was seen", &[(200, complete(200)), (210, back(100))], 240, ProofTooOld),
        (
            "for as long as the target",
            &[(200, complete(200)), (210, back(100)), (310, back(100))],
            310,
            ExposureReachedTarget,
        ),
        ("not further than what was proven", &[(100, complete(100)), (110, back(105))], 180, ExposureWithinTarget),
        (
            "what was proven since holds",
            &[(210, back(100)), (220, complete(220)), (230, back(100))],
            230,
            ExposureWithinTarget,
        ),
        (
            "and then it follows",
            &[(200, complete(200)), (210, back(100)), (220, complete(220))],
            230,
            ExposureWithinTarget,
        ),
    ]);
}
