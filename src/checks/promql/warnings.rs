//! What is said of a number that was given, and may prove less than it seems to.

use super::held::Held;
use super::verdict::Meaning;
use crate::checks::Run;
use crate::domain::observation::{Finding, Reason};

/// The age does not change.
pub static FROZEN: Reason = Reason::new(
    "frozen",
    "The age does not change, as if its collector hung: look at the collector. Set renewed_by to something that changes when it collects.",
);
/// What renews the age cannot be told.
pub static RENEWAL_UNKNOWN: Reason = Reason::new(
    "renewal_unknown",
    "renewed_by gives no number, so an age that does not change proves nothing new: the detail shows why. Correct that query.",
);

/// The warning that a number has not changed.
pub(super) fn frozen_for(run: Run, meaning: &Meaning) -> impl Fn(&Held) -> Finding {
    let hint = match meaning {
        Meaning::Timestamp => "; this time follows the clock, so query the age itself with age_seconds",
        Meaning::Age | Meaning::Health(_) => "",
    };
    move |held| {
        let stands = run.clock.now().since(held.since).as_secs();
        let story = format!("nothing has changed for {stands} s: the proof counts from when it was first read{hint}");
        Finding::new(&FROZEN, story)
    }
}

/// The warning that nobody knows whether the age was measured again.
pub(super) fn renewal_unknown_for(why: &Finding) -> Finding {
    Finding::new(&RENEWAL_UNKNOWN, format!("`renewed_by` gives no number ({}): {}", why.reason.label, why.detail))
}
