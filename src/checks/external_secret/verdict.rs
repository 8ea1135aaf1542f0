//! The verdict that follows from the two sides. Pure.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fresh::{self, Refresh, State, TOLERANCE};
use super::reasons::{
    DRIFT, EXTERNAL_SECRET_MISSING, FOREIGN_WRITER, HASH_ALGORITHMS_DIFFER, HASH_MISSING, NO_FRESHNESS, NOT_A_SECRET,
    NOT_READY, PENDING, PRIMARY_MISSING, SAME_OBJECT, SECRET_MISSING,
};
use super::writers::{self, Writers};
use super::{Compare, Side};
use crate::clients::kubernetes::objects::{ExternalSecret, SecretState};
use crate::domain::observation::{CopyState, Finding, Health, Reason};
use crate::domain::time::Timestamp;

/// A lasting difference between the DR secret and the primary's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Difference {
    /// When the two were first seen to differ.
    pub(super) since: Timestamp,
    /// A token for what the DR secret held then. Once it holds something else, the two may have
    /// been equal in between.
    pub(super) holds: String,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) health: Health,
    pub(super) copy: CopyState,
    /// Whether the two hold the same data, if known.
    pub(super) in_sync: Option<bool>,
    /// The difference, unless the two are known to be equal again.
    pub(super) difference: Option<Difference>,
}

/// Judges the two sides. `known` is the difference of the verdict before.
pub(super) fn of(
    dr: &Side,
    primary: Option<&Side>,
    compare: Compare,
    known: Option<&Difference>,
    now: Timestamp,
) -> Verdict {
    let verdict = |health, copy| Verdict { health, copy, in_sync: None, difference: known.cloned() };
    let no_answer = |finding: Finding| verdict(Health::NoAnswer(finding.clone()), CopyState::Unknown(finding));
    if let Some(finding) = primary.and_then(|primary| same_object(dr, primary)) {
        return no_answer(finding);
    }
    let (object, state) = match present(dr, now) {
        Ok(present) => present,
        Err(Absent::Unread(finding)) => return no_answer(finding),
        // If the primary has lost it too, it is not missing in DR.
        Err(Absent::Gone(_, detail)) if primary.is_some_and(|primary| is_given_up(primary, now)) => {
            return no_answer(Finding::new(&PRIMARY_MISSING, format!("missing in the primary too; in DR {detail}")));
        }
        Err(Absent::Gone(reason, detail)) => {
            let finding = Finding::new(reason, format!("DR: {detail}"));
            return verdict(Health::Unhealthy(finding.clone()), CopyState::Lost(finding));
        }
    };
    let equal = match primary.filter(|_| compare == Compare::DataHash) {
        None => None,
        // Old evidence cannot prove that the two are equal, but it can prove that they differ.
        Some(primary) => match are_equal(dr, primary) {
            Ok(Equality::Different) if is_given_up(primary, now) => Some(Err(missing_in_primary("it is given up"))),
            Ok(Equality::Different) => return different(dr, primary, &state, known, now),
            Ok(Equality::Equal { up_to }) => Some(Ok(up_to)),
            Err(finding) => Some(Err(finding)),
        },
    };
    // The status of DR once had a refresh time, and no longer has one. With a primary, DR's status
    // alone is not the proof.
    let is_taken_back = object.status.refresh_time.is_none() && equal.is_none();
    let copy = |finding| if is_taken_back { CopyState::Withdrawn(finding) } else { CopyState::Unknown(finding) };
    if let Some(finding) = not_ready(&state) {
        return verdict(Health::Unhealthy(finding.clone()), copy(finding));
    }
    let refresh = match of_side("DR", state) {
        Ok(refresh) => refresh,
        Err(finding) => return verdict(Health::NoAnswer(finding.clone()), copy(finding)),
    };
    let Some(primary) = primary else { return verdict(Health::Healthy, vouched(refresh)) };
    let primary_refresh = match state_of(primary, now).and_then(|state| of_side("primary", state)) {
        Ok(refresh) => refresh,
        Err(finding) => return no_answer(finding),
    };
    match equal {
        None => {
            let copy = if primary_refresh == Refresh::OnDemand { vouched(primary_refresh) } else { vouched(refresh) };
            verdict(Health::Healthy, copy)
        }
        Some(Err(finding)) => no_answer(finding),
        Some(Ok(up_to)) => {
            let copy = CopyState::Vouched { up_to, doubt: None };
            Verdict { in_sync: Some(true), difference: None, ..verdict(Health::Healthy, copy) }
        }
    }
}

/// Why there is nothing to judge in DR.
enum Absent {
    /// It could not be read.
    Unread(Finding),
    /// The `ExternalSecret` or its secret does not exist.
    Gone(&'static Reason, String),
}

/// The `ExternalSecret` of DR and its state, if it and its secret exist.
fn present(dr: &Side, now: Timestamp) -> Result<(&ExternalSecret, State), Absent> {
    let object = match &dr.object {
        Err(finding) => return Err(Absent::Unread(finding.clone())),
        Ok(None) => {
            return Err(Absent::Gone(&EXTERNAL_SECRET_MISSING, "there is no such ExternalSecret".to_owned()));
        }
        Ok(Some(object)) => object,
    };
    if dr.secret == Some(Ok(SecretState::Missing)) {
        let detail = format!("there is no secret {}", fresh::secret_name(object));
        return Err(Absent::Gone(&SECRET_MISSING, detail));
    }
    match fresh::state(object, dr, now) {
        State::SecretGone(says) => Err(Absent::Gone(&SECRET_MISSING, says)),
        state => Ok((object, state)),
    }
}

/// The verdict on two sides that are proven to differ. `state` is that of DR.
fn different(dr: &Side, primary: &Side, state: &State, known: Option<&Difference>, now: Timestamp) -> Verdict {
    let holds = holds(dr);
    let same = known.filter(|known| known.holds == holds).cloned();
    let known = same.unwrap_or(Difference { since: now, holds: holds.clone() });
    let finding = difference(now.since(known.since), state, &state_of(primary, now));
    let health = Health::Unhealthy(not_ready(state).unwrap_or_else(|| finding.clone()));
    let copy = CopyState::Outdated { up_to: None, went_back: None, holds, expected: self::holds(primary), finding };
    Verdict { health, copy, in_sync: Some(false), difference: Some(known) }
}

/// The finding if both sides are the same object.
fn same_object(dr: &Side, primary: &Side) -> Option<Finding> {
    let object = |side: &Side| side.object()?.metadata.uid.clone();
    let secret = |side: &Side| side.secret()?.uid.clone();
    let same = |uid: &dyn Fn(&Side) -> Option<String>| uid(dr).filter(|ours| uid(primary).as_ref() == Some(ours));
    let uid = same(&object).or_else(|| same(&secret))?;
    Some(Finding::new(&SAME_OBJECT, format!("DR and the primary are the same object: both have the uid {uid}")))
}

/// The value of the controller's own statement about the age of the data.
fn vouched(refresh: Refresh) -> CopyState {
    match refresh {
        Refresh::Periodic { at, .. } => CopyState::Vouched { up_to: at, doubt: None },
        Refresh::OnDemand => {
            let detail = "the secret is refreshed once or on demand, or is immutable: its age says nothing";
            CopyState::Unknown(Finding::new(&NO_FRESHNESS, detail))
        }
    }
}

/// Whether this side is known to be gone, or about to go.
fn is_given_up(side: &Side, now: Timestamp) -> bool {
    match &side.object {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(object)) => {
            side.secret == Some(Ok(SecretState::Missing))
                || object.metadata.deletion_timestamp.is_some()
                || matches!(fresh::state(object, side, now), State::SecretGone(_))
        }
    }
}

/// The state of the primary.
fn state_of(primary: &Side, now: Timestamp) -> Result<State, Finding> {
    let Some(object): Option<&ExternalSecret> = primary.object.as_ref().map_err(Clone::clone)?.as_ref() else {
        return Err(missing_in_primary("there is no such ExternalSecret"));
    };
    if primary.secret == Some(Ok(SecretState::Missing)) {
        return Err(missing_in_primary("there is no such secret"));
    }
    match fresh::state(object, primary, now) {
        State::SecretGone(says) => Err(missing_in_primary(&says)),
        state => Ok(state),
    }
}

fn missing_in_primary(detail: &str) -> Finding {
    Finding::new(&PRIMARY_MISSING, format!("primary: {detail}"))
}

/// The last refresh of a side, or why it proves nothing.
fn of_side(side: &str, state: State) -> Result<Refresh, Finding> {
    match state {
        State::Fresh(refresh) => Ok(refresh),
        State::NotReady(says) => Err(Finding::new(&NOT_READY, format!("{side}: {says}"))),
        State::SecretGone(says) => Err(Finding::new(&SECRET_MISSING, format!("{side}: {says}"))),
        State::Doubtful(finding) => Err(Finding::new(finding.reason, format!("{side}: {}", finding.detail))),
    }
}

/// The finding if DR says that it fails.
fn not_ready(dr: &State) -> Option<Finding> {
    match dr {
        State::NotReady(says) => Some(Finding::new(&NOT_READY, format!("DR: {says}"))),
        _ => None,
    }
}

/// The result of comparing two hashes.
enum Equality {
    Equal {
        /// The instant for which this holds.
        up_to: Timestamp,
    },
    Different,
}

fn are_equal(dr: &Side, primary: &Side) -> Result<Equality, Finding> {
    let (ours, theirs) = (Hashed::of("DR", dr)?, Hashed::of("the primary", primary)?);
    if !ours.hash.is_comparable(theirs.hash) {
        return Err(Finding::new(&HASH_ALGORITHMS_DIFFER, "the two data hashes have different lengths"));
    }
    if ours.hash != theirs.hash {
        return Ok(Equality::Different);
    }
    Ok(Equality::Equal { up_to: ours.up_to.min(theirs.up_to) })
}

/// The hash of one side, and the last instant at which it is known to match the data.
struct Hashed<'a> {
    hash: &'a crate::clients::kubernetes::objects::DataHash,
    up_to: Timestamp,
}

impl<'a> Hashed<'a> {
    fn of(name: &str, side: &'a Side) -> Result<Self, Finding> {
        if side.object().is_some_and(|object| !fresh::makes_a_secret(object)) {
            let detail = format!("in {name} the ExternalSecret creates an object of another kind");
            return Err(Finding::new(&NOT_A_SECRET, detail));
        }
        if let Some(Err(finding)) = &side.secret {
            return Err(finding.clone());
        }
        let missing = || Finding::new(&HASH_MISSING, format!("the secret in {name} has no data hash"));
        let secret = side.secret().ok_or_else(missing)?;
        let hash = secret.hash.as_ref().ok_or_else(missing)?;
        let refreshed = side.object().and_then(|object| object.status.refresh_time);
        match writers::of(secret, refreshed) {
            Writers::OnlyItself => Ok(Self { hash, up_to: side.seen }),
            // The hash matched the data when External Secrets last looked. Since then nobody knows.
            Writers::Untold => Ok(Self { hash, up_to: side.refreshed.map_or(side.seen, |at| at.min(side.seen)) }),
            Writers::Another(manager) => {
                let detail = format!("the secret in {name} was written by {manager} after its last refresh");
                Err(Finding::new(&FOREIGN_WRITER, detail))
            }
        }
    }
}

/// A token for what the secret of a side holds.
fn holds(side: &Side) -> String {
    let Some(secret) = side.secret() else { return String::new() };
    let hash = secret.hash.as_ref().map(|hash| hash.token()).unwrap_or_default();
    match writers::changed(secret) {
        Some(changed) => format!("{hash} of {changed}"),
        None => hash,
    }
}

/// The finding for a difference: still expected, or not any more.
fn difference(lasts: Duration, dr: &State, primary: &Result<State, Finding>) -> Finding {
    let interval = |state: &State| match state {
        State::Fresh(Refresh::Periodic { interval, .. }) => Some(*interval),
        State::Fresh(Refresh::OnDemand) => Some(Duration::ZERO),
        _ => None,
    };
    let intervals = interval(dr).zip(primary.as_ref().ok().and_then(interval));
    let limit = intervals.map(|(ours, theirs)| ours.max(theirs).saturating_add(TOLERANCE));
    let mut detail = format!("the data has differed from the primary's for {}s", lasts.as_secs());
    let doubts = [of_side("DR", dr.clone()), primary.clone().and_then(|state| of_side("primary", state))];
    for doubt in doubts.into_iter().filter_map(Result::err) {
        detail.push_str(&format!("; {}", doubt.detail));
    }
    if let Some(limit) = limit {
        detail.push_str(&format!("; a refresh takes up to {}s", limit.as_secs()));
    }
    let is_due = limit.is_none_or(|limit| lasts > limit);
    Finding::new(if is_due { &DRIFT } else { &PENDING }, detail)
}
