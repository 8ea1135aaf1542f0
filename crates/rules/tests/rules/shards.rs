//! Shards: disjoint, complete, fixed for ever, and moved as little as possible.

use std::collections::{BTreeMap, BTreeSet};

use dr_rules::shard::{Shard, home, keys};
use proptest::prelude::*;

/// Computed by another program from the description of the hash. They must never change: two
/// versions of the exporter run beside each other during an upgrade.
#[test]
fn the_hash_is_fixed_for_ever() {
    const TOTALS: [u32; 6] = [1, 2, 3, 4, 10, 100];
    for (key, homes) in [
        ("api", [0, 1, 1, 1, 9, 70]),
        ("nats-streams", [0, 1, 1, 3, 8, 66]),
        ("secrets", [0, 0, 0, 0, 0, 99]),
        ("observability", [0, 1, 1, 3, 3, 73]),
        ("grafana-dashboards", [0, 0, 0, 0, 0, 37]),
        ("trigger/error_rate_spike", [0, 1, 1, 1, 1, 28]),
        ("incident/data_corruption", [0, 1, 1, 1, 7, 98]),
        ("a", [0, 0, 2, 3, 9, 98]),
        ("z9", [0, 0, 0, 0, 0, 15]),
    ] {
        assert_eq!(TOTALS.map(|total| home(key, total)), homes, "{key}");
    }
}

#[test]
fn only_shards_that_exist_are_shards() {
    assert_eq!(Shard::new(0, 1), Some(Shard::ALONE));
    assert!(Shard::ALONE.is_alone() && Shard::ALONE.holds("anything"));
    for (index, total) in [(0, 0), (1, 1), (3, 3), (4, 3), (0, Shard::MOST + 1), (u32::MAX, u32::MAX)] {
        assert_eq!(Shard::new(index, total), None, "{index} of {total}");
    }
    assert_eq!(Shard::new(Shard::MOST - 1, Shard::MOST).map(Shard::index), Some(Shard::MOST - 1));
    assert_eq!(Shard::all(3).map(Shard::index).collect::<Vec<_>>(), [0, 1, 2]);
    let one_of_three = Shard::new(1, 3).expect("a shard");
    assert!(one_of_three.total() == 3 && !one_of_three.is_alone());
    assert_eq!(one_of_three.to_string(), "1 of 3");
}

/// With 10,000 contracts in 10 shards none is a sixth larger or smaller than its share.
#[test]
fn the_shards_are_equally_large() {
    let mut sizes = BTreeMap::<u32, usize>::new();
    for contract in 0..10_000 {
        *sizes.entry(home(&format!("contract-{contract}"), 10)).or_default() += 1;
    }
    assert!(sizes.len() == 10 && sizes.values().all(|size| (840..=1160).contains(size)), "{sizes:?}");
}

#[test]
fn contracts_that_name_each_other_have_one_key() {
    let (none, on_b, on_c, on_nothing) = (vec![], vec!["b".to_owned()], vec!["c".to_owned()], vec!["gone".to_owned()]);
    let contracts: Vec<(&str, &[String])> =
        vec![("z", &on_c), ("c", &on_b), ("b", &none), ("alone", &none), ("y", &on_nothing), ("a2", &on_c)];
    assert_eq!(keys(&contracts), ["a2", "a2", "a2", "alone", "y", "a2"]);
    assert!(keys(&[]).is_empty());
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set("[a-z0-9][a-z0-9_-]{0,20}", 1..40)
}

proptest! {
    #[test]
    fn each_key_is_in_exactly_one_shard(names in names(), total in 1..60_u32) {
        for name in &names {
            let holders: Vec<u32> = Shard::all(total).filter(|shard| shard.holds(name)).map(Shard::index).collect();
            prop_assert_eq!(holders, [home(name, total)]);
        }
    }

    /// What moves when a shard is added moves to that shard, and to no other.
    #[test]
    fn nothing_moves_between_shards_that_stay(names in names(), total in 1..60_u32) {
        for name in &names {
            let (before, after) = (home(name, total), home(name, total + 1));
            prop_assert!(after == before || after == total, "{name}: from {before} to {after} of {}", total + 1);
        }
    }

    /// However contracts name each other: two that are connected have one key, which is one of their
    /// names, and no others have it.
    #[test]
    fn what_is_connected_stays_together(edges in proptest::collection::vec((0..12_usize, 0..12_usize), 0..14)) {
        let names: Vec<String> = (0..12).map(|number| format!("c{number:02}")).collect();
        let others: Vec<Vec<String>> = (0..12)
            .map(|from| edges.iter().filter(|(of, _)| *of == from).map(|(_, to)| names[*to].clone()).collect())
            .collect();
        let contracts: Vec<(&str, &[String])> =
            names.iter().zip(&others).map(|(name, others)| (name.as_str(), others.as_slice())).collect();
        // Another way to the same: spread the smallest number until nothing changes.
        let mut smallest: Vec<usize> = (0..12).collect();
        for _ in 0..12 {
            for (one, two) in &edges {
                let least = smallest[*one].min(smallest[*two]);
                (smallest[*one], smallest[*two]) = (least, least);
            }
        }
        let expected: Vec<&str> = smallest.iter().map(|least| names[*least].as_str()).collect();
        prop_assert_eq!(keys(&contracts), expected);
    }
}
