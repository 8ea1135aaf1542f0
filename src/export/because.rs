//! The reason for a status, in words with figures.

use super::text::duration;
use crate::domain::contract::{Contract, Judgement};
use crate::domain::interval::Interval;
use crate::domain::status::Basis;
use crate::domain::time::Timestamp;

/// Why this judgement of the contract holds at `now`.
pub(super) fn because(judgement: &Judgement, contract: &Contract, now: Timestamp) -> String {
    let (least, target) = (duration(judgement.known().unwrap_or_default()), duration(judgement.target));
    let recovery = contract.clock().last_recovery();
    let took = recovery.map_or_else(|| "unknown".to_owned(), |last| between(last.took()));
    match judgement.basis {
        Basis::ExposureReachedTarget => {
            format!("something has been missing from the copy for at least {least}, target {target}")
        }
        Basis::DownReachedTarget => format!("down for at least {least}, target {target}"),
        Basis::DownUncertain => match judgement.observed() {
            Some(most) => format!("down for {least} to {}, not known exactly, target {target}", duration(most)),
            None => format!("down for at least {least}, and it was never seen healthy before, target {target}"),
        },
        Basis::LastRecoveryMissed => format!("missed: the last recovery took {took}, target {target}"),
        Basis::LastRecoveryUncertain => {
            format!("uncertain: the last recovery took {took} (nobody looked when it began or ended), target {target}")
        }
        Basis::LastRecoveryTooOld => {
            let ago = recovery.map_or_else(|| "long".to_owned(), |last| duration(now.since(last.healthy)));
            let every =
                contract.spec().drill_every.map_or_else(String::new, |every| format!(" of {}", duration(every)));
            format!("too old: the last recovery was {ago} ago, longer than the drill_every{every} allows")
        }
        Basis::LastRecoveryMet => format!("the last recovery took {took}, target {target}"),
        other => other.text().to_owned(),
    }
}

/// A duration, with both ends if they differ.
fn between(Interval { least, most }: Interval) -> String {
    match most {
        Some(most) if most == least => duration(most),
        Some(most) => format!("{} to {}", duration(least), duration(most)),
        None => format!("at least {}", duration(least)),
    }
}
