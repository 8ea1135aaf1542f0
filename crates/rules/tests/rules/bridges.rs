//! Which check shows that the component failed all the time, while another one did not look.

use dr_rules::contract::Contract;

use super::{check, contract, healthy, observe, spec, t, unhealthy};

/// Three checks, which look every 5 s while a clock runs, or are late after 10 s; fresh for 35 s.
fn three() -> Contract {
    contract(spec(), ["a", "b", "c"].map(check).to_vec())
}

/// Three failures, which start the clock with the last one, and further ones until then.
fn down(contract: &mut Contract, index: usize, times: impl IntoIterator<Item = i64>) {
    for at in times {
        observe(contract, index, at, unhealthy());
    }
}

fn is_interrupted(contract: &Contract) -> bool {
    contract.clock().running().expect("the clock runs").interruption.is_some()
}

#[test]
fn a_trigger_that_nobody_declared_is_no_look_of_a_check_that_never_looked() {
    for (first_look, interrupted) in [(30, false), (31, true), (45, true)] {
        let mut contract = three();
        down(&mut contract, 0, [0, 10, 20]);
        down(&mut contract, 1, [first_look]);
        assert_eq!(is_interrupted(&contract), interrupted, "{first_look}");
    }
}

#[test]
fn a_check_that_has_recovered_bridges_no_gap_of_another_one() {
    for (well, interrupted) in [(false, false), (true, true)] {
        let mut contract = three();
        down(&mut contract, 0, (0..50).step_by(5));
        down(&mut contract, 1, [20]);
        observe(&mut contract, 0, 50, if well { healthy() } else { unhealthy() });
        // Nobody knows from this check what was since 20.
        down(&mut contract, 1, [60]);
        assert_eq!(is_interrupted(&contract), interrupted, "well: {well}");
    }
}

#[test]
fn a_check_whose_last_look_failed_bridges_although_it_failed_before_the_trigger() {
    let mut contract = three();
    down(&mut contract, 1, [0, 10]);
    down(&mut contract, 0, [15]);
    down(&mut contract, 1, [20]);
    assert_eq!(contract.clock().running().map(|outage| outage.trigger), Some(t(20)));
    observe(&mut contract, 1, 25, healthy());
    down(&mut contract, 2, [25]);
    assert!(!is_interrupted(&contract));
}
