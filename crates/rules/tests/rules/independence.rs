//! Whether a contract works while another is down.

use std::sync::Arc;

use dr_rules::check::Feeds;
use dr_rules::contract::{Contract, ContractSpec};
use dr_rules::independence::{Independence, works_without};
use dr_rules::observation::Health;

use super::{check, healthy, no_answer, of_health, spec, t, unhealthy};

/// A contract of one check that looks every ten seconds; three failures start its clock.
fn contract(name: &str) -> Contract {
    let mut only = check("only");
    only.feeds = Feeds { rto: true, rpo: false };
    Contract::new(Arc::new(ContractSpec { name: name.to_owned(), rpo: None, ..spec() }), [only])
}

/// Two stories, one look every ten seconds: `x` fails, `.` is well, `?` no answer. What is said after each look: `+` works
/// without it, `-` does not, a blank for nothing.
fn told(own: &str, other: &str) -> String {
    let (mut contract, mut without) = (contract("api"), self::contract("observability"));
    let health = |sign: char| -> Health {
        match sign {
            'x' => unhealthy(),
            '.' => healthy(),
            '?' => no_answer(),
            other => panic!("{other} means nothing"),
        }
    };
    let say = |(place, (own, other)): (usize, (char, char))| {
        let at = t(10 * i64::try_from(place).expect("few looks"));
        contract.observe(0, at, &of_health(health(own)));
        without.observe(0, at, &of_health(health(other)));
        match works_without(&contract, &without, at) {
            Some(true) => '+',
            Some(false) => '-',
            None => ' ',
        }
    };
    own.chars().zip(other.chars()).enumerate().map(say).collect()
}

#[test]
fn it_can_only_be_told_while_the_other_is_down() {
    #[rustfmt::skip]
    let cases = [
        ("......", "......", "      ", "both are up: nothing is tested"),
        ("......", "xxx..x", "  +   ", "from the trigger of the other's clock to its end"),
        ("......", "xxxxxx", "  ++++", "it works without it"),
        ("...xxx", "xxxxxx", "  +  -", "it dies too: not a failure of one look, but once its own clock runs"),
        ("...xxx.", "xxxxxxx", "  +  -+", "it comes back while the other is still down"),
        ("......", "??????", "      ", "the other cannot be asked: it may be up"),
        ("??????", "xxxxxx", "      ", "it cannot be asked itself"),
        ("xxxxxx", "...xxx", "      ", "it was down before the other: that is not the other's doing"),
        ("xxxxxx", ".xxxxx", "   ---", "when the other began to fail is known no finer than its interval"),
        ("xxxxxxx.", "...xxxxx", "       +", "but once it is back it is seen to work without it"),
        ("......", "xxx????", "  ++++", "the other's evidence stays fresh for a while"),
    ];
    for (own, other, expected, why) in cases {
        assert_eq!(told(own, other), expected, "{why}: {own} without {other}");
    }
}

#[test]
fn evidence_that_is_stale_tells_nothing() {
    let (mut contract, mut without) = (contract("api"), self::contract("observability"));
    for look in 0..3 {
        contract.observe(0, t(10 * look), &of_health(healthy()));
        without.observe(0, t(10 * look), &of_health(unhealthy()));
    }
    assert_eq!(works_without(&contract, &without, t(55)), Some(true), "fresh for 35 s");
    assert_eq!(works_without(&contract, &without, t(56)), None);
}

#[test]
fn every_test_for_real_is_remembered() {
    let mut known = Independence::default();
    let mut take = |works, outage, at| known.observe(("api", "observability"), works, outage, t(at));
    assert_eq!(take(None, false, 0), None, "nothing to tell");
    assert_eq!(take(None, true, 5), None, "the other is down, and nothing is known of this one");
    let began = take(Some(true), true, 10).expect("the test begins");
    assert_eq!((began.started, began.ended, began.ok), (t(10), None, true));
    assert_eq!(take(Some(true), true, 20), None, "no news");
    let failed = take(Some(false), true, 30).expect("it failed");
    assert_eq!((failed.started, failed.ended, failed.ok), (t(10), None, false));
    assert_eq!(take(Some(true), true, 40), None, "a test that failed once is not passed");
    let over = take(None, false, 50).expect("it is over");
    assert_eq!((over.started, over.ended, over.ok), (t(10), Some(t(50)), false));
    assert_eq!((known.last_ok, known.last_violated), (Some(t(40)), Some(t(30))));
    let again = known.observe(("api", "observability"), Some(true), true, t(60)).expect("another test");
    assert!(again.ok && again.started == t(60));
}
