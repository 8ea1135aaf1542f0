//! The verdict on an application. Pure.

use super::memory::Memory;
use super::reasons::{
    APPLICATION_MISSING, DEGRADED, HEALTH_UNCERTAIN, HYDRATION_FAILED, NOT_HYDRATED, OPERATION_FAILED, PRIMARY_MISSING,
    RESOURCES_MISSING, REVISION_DIFFERS, SAME_OBJECT, SPEC_NOT_COMPARED,
};
use super::sync::{self, Verdict};
use super::{Found, Rules, Seen};
use crate::domain::observation::{CopyState, Finding, Health, Observation};
use crate::domain::time::Timestamp;

/// The observation that follows from both sides, and from what was seen before. Pure.
pub(super) fn verdict(
    dr: &Found,
    primary: Option<&Found>,
    memory: &Memory,
    rules: &Rules,
    now: Timestamp,
) -> Observation {
    let no_answer = |finding: Finding| Observation {
        copy: Some(CopyState::Unknown(finding.clone())),
        ..Observation::of_health(Health::NoAnswer(finding))
    };
    let seen = match (dr, primary) {
        (Err(finding), _) => return no_answer(finding.clone()),
        // If the primary has lost it too, it is not missing in DR.
        (Ok(None), Some(primary)) if is_given_up(primary) => {
            return no_answer(Finding::new(
                &PRIMARY_MISSING,
                "there is no such Application, and none in the primary either",
            ));
        }
        (Ok(None), _) => {
            let finding = Finding::new(&APPLICATION_MISSING, "there is no such Application");
            let copy = CopyState::Lost(finding.clone());
            return Observation { copy: Some(copy), ..Observation::of_health(Health::Unhealthy(finding)) };
        }
        (Ok(Some(seen)), _) => seen,
    };
    let uid = seen.application.metadata.uid.clone();
    let there = primary.and_then(|primary| primary.as_ref().ok()?.as_ref());
    if let (Some(ours), Some(theirs)) = (&uid, there.and_then(|there| there.application.metadata.uid.as_ref()))
        && ours == theirs
    {
        return no_answer(Finding::new(&SAME_OBJECT, format!("DR and the primary both have the uid {ours}")));
    }
    let sync = sync::of(seen, rules.stale_after, now);
    let health = health(seen, &sync, rules);
    let copy = match primary {
        None => copy(sync, seen),
        Some(primary) => with_primary(sync, seen, primary, memory, rules.stale_after, now),
    };
    let failed = sync::failed_operation(&seen.application).map(|detail| Finding::new(&OPERATION_FAILED, detail));
    Observation {
        copy: Some(copy),
        copy_identity: uid,
        stated: memory.stated().filter(|_| matches!(health, Health::Unhealthy(_))),
        warnings: Some(failed.into_iter().collect()),
        ..Observation::of_health(health)
    }
}

/// Whether there is no such application, or it is being deleted.
fn is_given_up(found: &Found) -> bool {
    match found {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(seen)) => seen.application.metadata.deletion_timestamp.is_some(),
    }
}

fn health(seen: &Seen, sync: &Verdict, rules: &Rules) -> Health {
    // If Argo CD cannot compare, or is silent, it does not know the health of the resources either.
    if let Verdict::Silent { finding, .. } | Verdict::Unknown(finding) = sync
        && ![&SPEC_NOT_COMPARED, &HYDRATION_FAILED, &NOT_HYDRATED].contains(&finding.reason)
    {
        return Health::NoAnswer(finding.clone());
    }
    let status = seen.application.status.health.status.as_str();
    let finding = |reason| {
        Finding::new(reason, format!("its health is {}", if status.is_empty() { "not given" } else { status }))
    };
    match status {
        "Healthy" => Health::Healthy,
        "Degraded" => Health::Unhealthy(finding(&DEGRADED)),
        "Missing" => Health::Unhealthy(finding(&RESOURCES_MISSING)),
        status if rules.accepted.contains(&status) => Health::Healthy,
        "Progressing" | "Suspended" => Health::Pending(finding(&HEALTH_UNCERTAIN)),
        _ => Health::NoAnswer(finding(&HEALTH_UNCERTAIN)),
    }
}

fn copy(sync: Verdict, seen: &Seen) -> CopyState {
    match sync {
        Verdict::Same { at } => CopyState::Vouched { up_to: at, doubt: None },
        Verdict::Silent { in_sync: Some(at), finding } => CopyState::Vouched { up_to: at, doubt: Some(finding) },
        // A time of comparison never disappears by itself: if it is gone, somebody removed it.
        Verdict::Unknown(finding) if seen.reconciled.is_none() => CopyState::Withdrawn(finding),
        Verdict::Silent { in_sync: None, finding } | Verdict::Unknown(finding) => CopyState::Unknown(finding),
        Verdict::Different(finding) => CopyState::Outdated {
            up_to: seen.deployed,
            went_back: seen.rolled_back,
            holds: sync::holds(&seen.application),
            expected: sync::expected(&seen.application),
            finding,
        },
    }
}

/// With a primary, DR is complete while it is in sync and both follow the same revision.
fn with_primary(
    sync: Verdict,
    dr: &Seen,
    primary: &Found,
    memory: &Memory,
    stale_after: std::time::Duration,
    now: Timestamp,
) -> CopyState {
    // DR's own proof says nothing about the revision of the primary at that time.
    let (in_sync, doubt) = match sync {
        Verdict::Same { at } => (Some(at), None),
        Verdict::Silent { finding, .. } | Verdict::Unknown(finding) => (None, Some(finding)),
        Verdict::Different(finding) => {
            return CopyState::Outdated {
                up_to: None,
                went_back: dr.rolled_back,
                holds: sync::holds(&dr.application),
                expected: sync::expected(&dr.application),
                finding,
            };
        }
    };
    let of_primary = |finding: &Finding| Finding::new(finding.reason, format!("primary: {}", finding.detail));
    let missing = || Finding::new(&PRIMARY_MISSING, "there is no such Application in the primary");
    let primary = match primary {
        Err(finding) => return CopyState::Unknown(doubt.unwrap_or_else(|| of_primary(finding))),
        Ok(None) => return CopyState::Unknown(doubt.unwrap_or_else(missing)),
        Ok(Some(primary)) => primary,
    };
    let doubted = match sync::of(primary, stale_after, now) {
        Verdict::Silent { finding, .. } | Verdict::Unknown(finding) => Some(of_primary(&finding)),
        Verdict::Same { .. } | Verdict::Different(_) => None,
    };
    let (here, there) = (sync::followed(&dr.application), sync::followed(&primary.application));
    let compared = here.zip(there).filter(|(here, there)| here != there);
    if let Some((here, there)) = compared {
        let ours = doubt.iter().map(|doubt| format!("; DR: {}", doubt.detail));
        let theirs = doubted.iter().map(|doubt| format!("; {}", doubt.detail));
        let doubts: String = ours.chain(theirs).collect();
        let detail = format!("DR follows {}, the primary {}{doubts}", here.join("+"), there.join("+"));
        let finding = Finding::new(&REVISION_DIFFERS, detail);
        // A revision that the primary has left is an old one. So is one that DR was already at when
        // the primary was compared later, and still found another one. Before that the primary may
        // only be late itself. And if DR has left the primary's revision, DR may be the newer one:
        // then nothing is missing in DR.
        let later = memory.dr_since(&here).map(|since| since.plus(stale_after));
        let is_late = || doubted.is_some() || primary.reconciled.is_none_or(|at| later.is_none_or(|later| at < later));
        let dr_left = sync::has_left(&dr.application, &there) || memory.dr_had(&there);
        let is_behind =
            sync::has_left(&primary.application, &here) || (!dr_left && (memory.primary_had(&here) || !is_late()));
        if is_behind {
            let (holds, expected) = (here.join("+"), there.join("+"));
            return CopyState::Outdated { up_to: None, went_back: dr.rolled_back, holds, expected, finding };
        }
        if doubt.is_none() && doubted.is_none() {
            return CopyState::Unknown(finding);
        }
    }
    match (in_sync, doubt.or(doubted)) {
        (_, Some(doubt)) => CopyState::Unknown(doubt),
        // Both were compared, but one does not tell its revision.
        (Some(at), None) if sync::revisions(&dr.application) == sync::revisions(&primary.application) => {
            CopyState::Vouched { up_to: primary.reconciled.map_or(at, |reconciled| reconciled.min(at)), doubt: None }
        }
        (_, None) => CopyState::Unknown(Finding::new(&REVISION_DIFFERS, "one side does not tell its revision")),
    }
}
