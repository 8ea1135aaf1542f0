//! What follows of the two sides: pure.

use std::time::Duration;

use super::fresh::{self, Refresh, State, TOLERANCE};
use super::{
    Compare, DRIFT, EXTERNAL_SECRET_MISSING, HASH_ALGORITHMS_DIFFER, HASH_MISSING, NO_FRESHNESS, NOT_READY, PENDING,
    PRIMARY_MISSING, SECRET_MISSING, Side,
};
use crate::clients::kubernetes::objects::{SecretMetadata, SecretState};
use crate::domain::observation::{CopyState, Finding, Health};
use crate::domain::time::Timestamp;

/// What follows of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) health: Health,
    pub(super) copy: CopyState,
    /// Whether the two hold the same data, where that is known.
    pub(super) in_sync: Option<bool>,
    /// When they were first seen to differ, if they are not known to be equal again.
    pub(super) differs_since: Option<Timestamp>,
}

/// Judges the two sides. `differs_since` is what the verdict before said.
pub(super) fn of(
    dr: &Side,
    primary: Option<&Side>,
    compare: Compare,
    differs_since: Option<Timestamp>,
    now: Timestamp,
) -> Verdict {
    let verdict = |health, copy| Verdict { health, copy, in_sync: None, differs_since };
    let no_answer = |finding: Finding| verdict(Health::NoAnswer(finding.clone()), CopyState::Unknown(finding));
    let gone = |reason, detail: &str| {
        // What the primary has lost as well is not missing in DR.
        if primary.is_some_and(|primary| is_gone(primary, now)) {
            return no_answer(Finding::new(&PRIMARY_MISSING, format!("missing in the primary too; in DR {detail}")));
        }
        let finding = Finding::new(reason, format!("DR: {detail}"));
        verdict(Health::Unhealthy(finding.clone()), CopyState::Lost(finding))
    };

    let object = match &dr.object {
        Err(finding) => return no_answer(finding.clone()),
        Ok(None) => return gone(&EXTERNAL_SECRET_MISSING, "there is no such ExternalSecret"),
        Ok(Some(object)) => object,
    };
    if dr.secret == Some(Ok(SecretState::Missing)) {
        return gone(&SECRET_MISSING, &format!("there is no secret {}", fresh::secret_name(object)));
    }
    let refresh = match fresh::state(object, dr, now) {
        State::SecretGone(says) => return gone(&SECRET_MISSING, &says),
        State::NotReady(says) => {
            let finding = Finding::new(&NOT_READY, format!("DR: {says}"));
            return verdict(Health::Unhealthy(finding.clone()), CopyState::Unknown(finding));
        }
        State::Doubtful(finding) => return no_answer(of_side("DR", &finding)),
        State::Fresh(refresh) => refresh,
    };

    let Some(primary) = primary else { return verdict(Health::Healthy, vouched(refresh)) };
    let primary_refresh = match fresh_primary(primary, now) {
        Ok(refresh) => refresh,
        Err(finding) => return no_answer(finding),
    };
    if compare == Compare::Freshness {
        let copy = if primary_refresh == Refresh::OnDemand { vouched(primary_refresh) } else { vouched(refresh) };
        return verdict(Health::Healthy, copy);
    }
    match are_equal(dr, primary) {
        Err(finding) => no_answer(finding),
        Ok(true) => Verdict {
            health: Health::Healthy,
            copy: CopyState::Complete { up_to: dr.seen.min(primary.seen) },
            in_sync: Some(true),
            differs_since: None,
        },
        Ok(false) => {
            let since = differs_since.unwrap_or(now);
            let finding = difference(now.since(since), refresh, primary_refresh);
            Verdict {
                health: Health::Unhealthy(finding.clone()),
                copy: CopyState::Outdated { up_to: None, finding },
                in_sync: Some(false),
                differs_since: Some(since),
            }
        }
    }
}

/// What an own word about the age of the data is worth.
fn vouched(refresh: Refresh) -> CopyState {
    match refresh {
        Refresh::Periodic { at, .. } => CopyState::Vouched { up_to: at, doubt: None },
        Refresh::OnDemand => {
            let detail = "the secret is refreshed once or on demand, or is immutable: its age says nothing";
            CopyState::Unknown(Finding::new(&NO_FRESHNESS, detail))
        }
    }
}

/// Whether there is known to be nothing on this side.
fn is_gone(side: &Side, now: Timestamp) -> bool {
    match &side.object {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(object)) => {
            side.secret == Some(Ok(SecretState::Missing))
                || matches!(fresh::state(object, side, now), State::SecretGone(_))
        }
    }
}

fn fresh_primary(primary: &Side, now: Timestamp) -> Result<Refresh, Finding> {
    if is_gone(primary, now) {
        return Err(Finding::new(&PRIMARY_MISSING, "there is no such ExternalSecret, or no secret, in the primary"));
    }
    let Some(object) = primary.object.as_ref().map_err(Clone::clone)? else {
        return Err(Finding::new(&PRIMARY_MISSING, "there is no such ExternalSecret in the primary"));
    };
    match fresh::state(object, primary, now) {
        State::Fresh(refresh) => Ok(refresh),
        State::NotReady(says) => Err(Finding::new(&NOT_READY, format!("primary: {says}"))),
        State::SecretGone(says) => Err(Finding::new(&PRIMARY_MISSING, format!("primary: {says}"))),
        State::Doubtful(finding) => Err(of_side("primary", &finding)),
    }
}

fn are_equal(dr: &Side, primary: &Side) -> Result<bool, Finding> {
    let hash = |side: &Side, name: &str| match &side.secret {
        Some(Err(finding)) => Err(finding.clone()),
        Some(Ok(SecretState::There(SecretMetadata { hash: Some(hash), .. }))) => Ok(hash.clone()),
        _ => Err(Finding::new(&HASH_MISSING, format!("the secret in {name} carries no data hash"))),
    };
    let (dr, primary) = (hash(dr, "DR")?, hash(primary, "the primary")?);
    if dr.is_comparable(&primary) {
        Ok(dr == primary)
    } else {
        Err(Finding::new(&HASH_ALGORITHMS_DIFFER, "the two data hashes are of different length"))
    }
}

/// That the two differ: still to be expected, or no longer.
fn difference(lasts: Duration, dr: Refresh, primary: Refresh) -> Finding {
    let interval = |refresh| match refresh {
        Refresh::Periodic { interval, .. } => interval,
        Refresh::OnDemand => Duration::ZERO,
    };
    let limit = interval(dr).max(interval(primary)).saturating_add(TOLERANCE);
    let reason = if lasts > limit { &DRIFT } else { &PENDING };
    let detail = format!(
        "the data differs from the primary's for {}s; a refresh takes up to {}s",
        lasts.as_secs(),
        limit.as_secs()
    );
    Finding::new(reason, detail)
}

fn of_side(side: &str, finding: &Finding) -> Finding {
    Finding::new(finding.reason, format!("{side}: {}", finding.detail))
}
