//! The statuses of the past, piece by piece, with the times in which nobody looked.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::contract::Objective;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::store::Transition;
use crate::store::history::{History, Observed};

/// The past of some contracts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HistoryReport {
    /// The beginning.
    pub from: Timestamp,
    /// The end.
    pub until: Timestamp,
    /// The past of each objective.
    pub objectives: Vec<ObjectiveHistory>,
}

/// The past of one objective.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectiveHistory {
    /// The contract.
    pub contract: String,
    /// The objective.
    pub objective: Objective,
    /// What held, the oldest first. The pieces join without a gap.
    pub pieces: Vec<Piece>,
}

/// A time during which one status held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Piece {
    /// The beginning.
    pub from: Timestamp,
    /// The end.
    pub until: Timestamp,
    /// The status. Absent if nobody looked, or if nothing is recorded.
    pub status: Option<Status>,
    /// Why.
    pub because: String,
}

/// What a piece without a status says.
pub const NOT_OBSERVED: &str = "not observed: the exporter did not measure this contract then";
/// What the piece before the oldest record says, if older ones were left out.
pub const LEFT_OUT: &str = "left out: there were more changes than can be shown";
/// What a piece says in which a change is missing: the next change began from another status.
pub const RECORD_MISSING: &str = "unknown: a record of this time was lost";
/// The beginning of a time is noted with the minute. So the last time reaches to the present if it
/// ended less than this ago.
const NOTED_WITHIN: Duration = Duration::from_secs(180);

impl HistoryReport {
    /// The past of these objectives. `limit` is that of the query.
    #[must_use]
    pub fn of<'a>(
        history: &History,
        objectives: impl Iterator<Item = (&'a str, Objective)>,
        from: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Self {
        let mut by_objective: BTreeMap<(&str, Objective), Vec<&Transition>> = BTreeMap::new();
        for change in &history.transitions {
            by_objective.entry((&change.contract, change.objective)).or_default().push(change);
        }
        let mut by_contract: BTreeMap<&str, Vec<&Observed>> = BTreeMap::new();
        for time in &history.observed {
            by_contract.entry(&time.contract).or_default().push(time);
        }
        let objectives = objectives.map(|(contract, objective)| {
            let changes = by_objective.get(&(contract, objective)).map(Vec::as_slice).unwrap_or_default();
            let observed = by_contract.get(contract).map(Vec::as_slice).unwrap_or_default();
            let complete = changes.len() < usize::try_from(limit).unwrap_or(usize::MAX);
            let pieces = pieces(changes, observed, from, until, complete);
            ObjectiveHistory { contract: contract.to_owned(), objective, pieces }
        });
        Self { from, until, objectives: objectives.collect() }
    }

    /// The past of one objective.
    #[must_use]
    pub fn objective(&self, contract: &str, objective: Objective) -> Option<&ObjectiveHistory> {
        self.objectives.iter().find(|past| past.contract == contract && past.objective == objective)
    }
}

/// What held between `from` and `until`.
fn pieces(
    changes: &[&Transition],
    observed: &[&Observed],
    from: Timestamp,
    until: Timestamp,
    complete: bool,
) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let first = changes.first().map_or(until, |change| change.at);
    let before = if complete { NOT_OBSERVED } else { LEFT_OUT };
    push(&mut pieces, piece(from, first.min(until), None, before));
    // Only the last time can go on. Those before it ended when the exporter was started again.
    let present = observed.iter().filter(|time| time.from <= until).map(|time| time.from).max();
    let next = changes.iter().skip(1).map(|change| Some(*change)).chain([None]);
    for (change, next) in changes.iter().zip(next) {
        let (begin, end) = (change.at.max(from), next.map_or(until, |next| next.at).min(until));
        if next.and_then(|next| next.was).is_some_and(|was| was != change.status) {
            push(&mut pieces, piece(begin, end, None, RECORD_MISSING));
            continue;
        }
        let mut at = begin;
        for time in observed {
            let still = Some(time.from) == present && until.since(time.until) <= NOTED_WITHIN;
            let (seen_from, seen_until) = (time.from.max(at), if still { until } else { time.until }.min(end));
            if seen_from >= seen_until {
                continue;
            }
            push(&mut pieces, piece(at, seen_from, None, NOT_OBSERVED));
            push(&mut pieces, piece(seen_from, seen_until, Some(change.status), change.basis.text()));
            at = seen_until;
        }
        push(&mut pieces, piece(at, end, None, NOT_OBSERVED));
    }
    pieces
}

fn piece(from: Timestamp, until: Timestamp, status: Option<Status>, because: &str) -> Piece {
    Piece { from, until, status, because: because.to_owned() }
}

/// Adds a piece. One that says the same as the one before makes that longer.
fn push(pieces: &mut Vec<Piece>, next: Piece) {
    if next.from >= next.until {
        return;
    }
    match pieces.last_mut() {
        Some(last) if (last.status, &last.because) == (next.status, &next.because) => last.until = next.until,
        _ => pieces.push(next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::status::Basis;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_800_000_000 + seconds)
    }

    fn told(changes: &[(i64, Basis)], observed: &[(i64, i64)], limit: u32) -> Vec<(i64, i64, Option<Status>)> {
        let transitions = changes.iter().map(|(at, basis)| Transition {
            contract: "api".to_owned(),
            objective: Objective::Rpo,
            at: t(*at),
            was: None,
            status: basis.status(),
            basis: *basis,
        });
        let observed = observed.iter().map(|(from, until)| Observed {
            contract: "api".to_owned(),
            from: t(*from),
            until: t(*until),
        });
        let history = History { transitions: transitions.collect(), observed: observed.collect() };
        let objective = [("api", Objective::Rpo)].into_iter();
        let report = HistoryReport::of(&history, objective, t(1000), t(5000), limit);
        let seconds = |at: Timestamp| (at.as_unix_nanos() - t(0).as_unix_nanos()) / 1_000_000_000;
        let pieces = &report.objectives[0].pieces;
        pieces.iter().map(|piece| (seconds(piece.from), seconds(piece.until), piece.status)).collect()
    }

    const MET: Option<Status> = Some(Status::Met);
    const LOST: Option<Status> = Some(Status::Breached);

    #[test]
    fn what_held_before_the_beginning_holds_on() {
        let changes = [(500, Basis::ExposureWithinTarget), (2000, Basis::CopyLost)];
        assert_eq!(told(&changes, &[(0, 4990)], 9), [(1000, 2000, MET), (2000, 5000, LOST)]);
    }

    #[test]
    fn a_time_in_which_nobody_looked_has_no_status() {
        let changes = [(500, Basis::ExposureWithinTarget), (3500, Basis::CopyLost)];
        let expected =
            [(1000, 2000, MET), (2000, 3000, None), (3000, 3500, MET), (3500, 4000, LOST), (4000, 5000, None)];
        assert_eq!(told(&changes, &[(0, 2000), (3000, 4000)], 9), expected);
        assert_eq!(told(&changes, &[], 9), [(1000, 5000, None)]);
        assert_eq!(told(&[], &[(0, 5000)], 9), [(1000, 5000, None)], "nothing was recorded");
        assert_eq!(told(&[(1500, Basis::CopyLost)], &[(0, 5000)], 9), [(1000, 1500, None), (1500, 5000, LOST)]);
    }

    #[test]
    fn the_present_is_noted_with_the_minute() {
        let changes = [(500, Basis::ExposureWithinTarget)];
        assert_eq!(told(&changes, &[(0, 4900)], 9), [(1000, 5000, MET)]);
        assert_eq!(told(&changes, &[(0, 4700)], 9), [(1000, 4700, MET), (4700, 5000, None)]);
    }

    #[test]
    fn a_short_gap_before_the_present_is_a_gap_too() {
        let changes = [(500, Basis::ExposureWithinTarget)];
        let expected = [(1000, 4850, MET), (4850, 4980, None), (4980, 5000, MET)];
        assert_eq!(told(&changes, &[(0, 4850), (4980, 4980)], 9), expected);
    }

    #[test]
    fn a_change_that_was_lost_leaves_a_time_without_a_status() {
        let change = |at, was, basis: Basis| Transition {
            contract: "api".to_owned(),
            objective: Objective::Rpo,
            at: t(at),
            was,
            status: basis.status(),
            basis,
        };
        // Between the two it was breached, and nobody knows since when.
        let (first, second) = (change(500, None, Basis::ExposureWithinTarget), change(3000, LOST, Basis::ProofTooOld));
        let observed = Observed { contract: "api".to_owned(), from: t(0), until: t(5000) };
        let found = pieces(&[&first, &second], &[&observed], t(1000), t(5000), true);
        let found: Vec<_> = found.iter().map(|piece| (piece.status, piece.because.as_str())).collect();
        assert_eq!(found, [(None, RECORD_MISSING), (Some(Status::Unproven), Basis::ProofTooOld.text())]);
    }

    #[test]
    fn what_was_left_out_is_not_taken_for_known() {
        let changes = [(2000, Basis::CopyLost), (3000, Basis::ExposureWithinTarget)];
        assert_eq!(told(&changes, &[(0, 5000)], 2), [(1000, 2000, None), (2000, 3000, LOST), (3000, 5000, MET)]);
    }
}
