//! The exposure and the status of an RPO.

use std::time::{Duration, SystemTime};

use super::{Case, ERROR, MARGIN, SLACK, TOO_LATE, Verdict};
use crate::story::Copy;

/// What a disaster could have cost in a span of time: at least and at most.
fn exposure(case: &Case<'_>, from: SystemTime, to: SystemTime) -> (Duration, Duration) {
    let spans = case.story.copy.within(from, to).map(|(turn, end)| {
        let first = turn.from.0.max(from);
        let last = end.map_or(to, |end| end.min(to));
        (turn.is.exposure(first).0, turn.is.exposure(last.max(first)).1)
    });
    spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or((Duration::ZERO, Duration::MAX))
}

/// The newest instant before `until` at which the copy had been whole for as long as a look takes: that much can be proven.
fn provable(case: &Case<'_>, until: SystemTime, noticed: Duration) -> Option<SystemTime> {
    let (shows, step) = (&case.story.copy_shows, Duration::from_millis(250));
    let mut ends = std::iter::successors(Some(until), |at| Some(*at - step)).take(400);
    ends.find(|end| {
        let from = *end - noticed;
        case.watched(shows, from, *end) && case.story.copy.always(from, *end, |copy| *copy == Copy::Whole)
    })
}

/// For how long nobody had looked when that changed which the copy lacks. A copy that went back is dated by the last look
/// before, so this is by how much too early it may be dated.
fn unseen(case: &Case<'_>, (from, to): (SystemTime, SystemTime)) -> Duration {
    let lacks = case.story.copy.within(from, to).filter_map(|(turn, _)| match turn.is {
        Copy::UpTo(earliest, _) => Some(earliest),
        Copy::Whole | Copy::Gone => None,
    });
    let Some(changed) = lacks.min() else { return Duration::ZERO };
    let (shows, look) = (&case.story.copy_shows, case.promise.interval + case.promise.timeout);
    let mut times = (0..400).map(|step| changed - step * Duration::from_millis(250));
    let looked = times.find(|at| case.watched(shows, *at - look, *at));
    looked.map_or(Duration::MAX, |at| changed.duration_since(at).unwrap_or_default())
}

pub(super) fn hold(case: &Case<'_>, verdict: &mut Verdict) {
    let (promise, record, story) = (case.promise, case.record, case.story);
    let Some(rpo) = promise.rpo else { return };
    for (index, said) in record.said.iter().enumerate() {
        let Some(figure) = said.contracts.get(promise.contract).and_then(|view| view.rpo.as_ref()) else { continue };
        let (from, to) = (said.sent, said.got);
        let late = case.late(from - promise.noticed() - promise.freshness(), to);
        let noticed = promise.noticed() + late;
        let (least, _) = exposure(case, from, to);
        if late > TOO_LATE {
            verdict.late += 1;
            continue;
        }
        verdict.judged += 1;
        verdict.breaches += usize::from(least >= rpo);

        // Time alone is always known. What went back is known once it was looked at.
        let setback = story.setbacks.iter().rev().find(|setback| setback.0 <= to).map(|setback| setback.1);
        let seen =
            setback.is_none_or(|back| case.seen_by(&story.copy_shows, back, noticed).is_some_and(|by| by <= from));
        // What a look in the last time could have found.
        let recent = if case.watched(&story.copy_shows, from - noticed, to) {
            from - noticed
        } else {
            from - noticed - promise.freshness()
        };
        let (_, most) = exposure(case, recent, to);
        let awake = case.watched(&story.copy_shows, from - promise.freshness() - noticed, to);

        // A source that is late itself says for a while that something is missing that has just come.
        let told = most.saturating_add(MARGIN + promise.grain + late);
        let mut fault = None;
        if figure.is_green() && seen && least >= rpo + Duration::from_millis(20) {
            verdict.false_green += case.stands(index);
            fault = Some("falsely green");
        }
        if figure.status == "breached" && told < rpo {
            verdict.false_red += case.stands(index);
            fault = Some("falsely red");
        }
        if seen && figure.observed.is_some_and(|observed| observed + MARGIN < least) {
            fault = fault.or(Some("the exposure is understated"));
        }
        if figure.known.is_some_and(|known| known > told) {
            fault = fault.or(Some("more is called missing than is"));
        }
        let error = promise.interval + ERROR + promise.grain + promise.dating;
        // Where a look does not tell the age of a copy, the exposure rests on the last look that found it whole, unless
        // that was forgotten since.
        let proven = provable(case, to, noticed);
        let forgot = record.chronicle.forgot.iter().rev().find(|forgot| **forgot <= to);
        let knows = promise.tells_age || proven.is_some_and(|at| forgot.is_none_or(|forgot| at - noticed >= *forgot));
        let since_proof = proven.and_then(|at| to.duration_since(at).ok()).filter(|_| !promise.tells_age);
        let provable = most.max(since_proof.unwrap_or_default());
        let dated = story.dated.always(recent, to, |dated| *dated);
        let calm = awake && knows && dated && setback.is_none_or(|back| back + noticed + promise.freshness() <= from);
        if calm && most < Duration::MAX {
            match figure.observed {
                Some(observed) => {
                    let (_, now) = exposure(case, from - SLACK, to);
                    let known = now.max(provable).saturating_add(unseen(case, (from - SLACK, to)));
                    let over = observed.saturating_sub(known);
                    verdict.exposure = verdict.exposure.max(over);
                    if over > error + late {
                        fault = fault.or(Some("the exposure is overstated"));
                    }
                }
                None => fault = fault.or(Some("no exposure, though all was to be seen")),
            }
        }
        // Below the target for certain; or known to be missing for as long as the target.
        let within = calm && provable.saturating_add(error + late + MARGIN) < rpo;
        let over = least.saturating_sub(rpo + noticed);
        // What went back differs only since then, whatever its age.
        let differs = setback.is_none_or(|back| back + rpo + noticed <= from);
        let watched_over = !over.is_zero()
            && differs
            && least < Duration::MAX
            && case.watched(&story.copy_shows, from - rpo - noticed - over, to);
        if figure.status == "unproven" && knows && (within || (watched_over && calm)) {
            verdict.needless += case.stands(index);
            fault = fault.or(Some("needlessly unproven"));
        }
        if let Some(fault) = fault {
            let at = case.into(said.got);
            let (least, most) = exposure(case, from, to);
            verdict.faults.push(format!(
                "{fault} at {at:.1}s: {}/rpo is {}, {:.2?} to {:.2?}; the truth is {least:.2?} to {most:.2?}; {late:.2?} late",
                promise.contract, figure.status, figure.known, figure.observed
            ));
        }
    }
}
