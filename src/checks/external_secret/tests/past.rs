//! Which of two secrets is the older one.

use super::*;
use crate::domain::observation::WentBack;

/// DR that goes back to a value of before is as old as that value, however lately the two were equal.
#[test]
fn which_of_the_two_is_older_is_known_by_what_they_held_before() {
    let [noon, one, two] = ["2026-09-20T12:00:00Z", "2026-09-20T13:00:00Z", "2026-09-20T14:00:00Z"].map(t);
    let of = |hash: &str| side(&ready("2026-09-20T11:40:00Z"), Some(hash));
    let (old, new, newest) = (of(HASH), of(OTHER), of("b1cb70febeda2eb2f47fe3c0b255b6dd8047cdffa772587bb829efe7"));
    let back = |to| Apart::Behind(Some(WentBack { to: Some(to), at: two }));
    let mut known = Known::default();
    let judge = |known: &Known, dr: &Side| known.past.judge(dr, &known.led, two);
    assert_eq!(judge(&known, &old), Apart::Behind(None), "nothing is known of before");
    known.past.is_equal(&old, noon);
    assert_eq!(judge(&known, &old), Apart::Behind(None), "the primary has something new");
    known.past.is_equal(&new, one);
    assert_eq!(judge(&known, &old), back(noon));
    assert_eq!(judge(&known, &newest), Apart::Unknown, "nobody knows whether this value is new or very old");
    assert_eq!(judge(&known, &without_secret()), Apart::Behind(None));
    assert!(known.changed(Some(&new)).detail.contains("the primary still does"));
    assert!(known.changed(Some(&old)).detail.contains("neither does the primary"));
    // The primary had it first, and went on: DR is late, and not as old as that.
    known.leads(&newest);
    assert_eq!(judge(&known, &newest), Apart::Behind(None));
    known.leads(&new);
    assert_eq!(known.led.len(), 1, "what both hold leads nobody");
    // It was rolled back in both: from then on the other value is the old one.
    known.past.is_equal(&old, two);
    assert_eq!((judge(&known, &old), judge(&known, &new)), (Apart::Behind(None), back(one)));
}
