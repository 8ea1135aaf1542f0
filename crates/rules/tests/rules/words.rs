//! The words of labels and pages. Rules, dashboards and people rely on them.

use std::collections::BTreeSet;

use dr_rules::status::{Basis, Status};
use dr_rules::trigger::TriggerMode;

const ALL: [Basis; 16] = [
    Basis::CopyLost,
    Basis::NoRecoveryPoint,
    Basis::ExposureReachedTarget,
    Basis::ProofTooOld,
    Basis::ExposureAboveRatio,
    Basis::ExposureWithinTarget,
    Basis::DownReachedTarget,
    Basis::DownAboveRatio,
    Basis::DownUncertain,
    Basis::DownWithinTarget,
    Basis::HealthUnknown,
    Basis::NoRecovery,
    Basis::LastRecoveryMissed,
    Basis::LastRecoveryUncertain,
    Basis::LastRecoveryTooOld,
    Basis::LastRecoveryMet,
];

#[test]
fn labels_are_those_of_the_alert_rules() {
    assert_eq!(Status::ALL.map(Status::label), ["met", "at_risk", "breached", "unproven"]);
    assert_eq!([TriggerMode::Auto, TriggerMode::Manual].map(TriggerMode::label), ["auto", "manual"]);
}

#[test]
fn each_row_has_words_of_its_own() {
    let words: BTreeSet<&str> = ALL.iter().map(|basis| basis.text()).collect();
    assert_eq!(words.len(), ALL.len());
    assert!(words.iter().all(|words| words.len() > 10), "{words:?}");
    assert!(Basis::LastRecoveryMissed.text().starts_with("missed"));
}

/// Only what an earlier recovery decides is a standing.
#[test]
fn the_standing_rests_on_recoveries() {
    let standing = ALL.into_iter().filter(|basis| basis.is_standing());
    assert_eq!(standing.collect::<Vec<_>>(), &ALL[11..]);
}
