//! The clock, the recoveries and the status of an RTO.

use std::time::{Duration, SystemTime};

use super::{Case, ERROR, MARGIN, TOO_LATE, Verdict};
use crate::said::{Said, View};
use crate::story::{Health, Outage};

pub(super) fn hold(case: &Case<'_>, verdict: &mut Verdict) {
    // Short of it, nobody need have seen that it was up in between.
    let outages = case.story.outages(case.promise.recovered());
    verdict.outages += outages.len();
    for (index, said) in case.record.said.iter().enumerate() {
        if let Some(view) = said.contracts.get(case.promise.contract) {
            scrape(case, &outages, (index, said, view), verdict);
        }
    }
    recoveries(case, &outages, verdict);
    counter(case, &outages, verdict);
}

/// The counter of recoveries never goes back, but where the store was lost, and never beyond the outages that there were.
fn counter(case: &Case<'_>, outages: &[Outage], verdict: &mut Verdict) {
    let told = case.record.said.iter().filter_map(|said| Some((said, said.contracts.get(case.promise.contract)?)));
    let told: Vec<_> = told.map(|(said, view)| (said, view.recoveries)).collect();
    let forgot = &case.record.chronicle.forgot;
    for pair in told.windows(2) {
        let [(before, was), (after, is)] = pair else { continue };
        if is < was && !forgot.iter().any(|at| *at >= before.sent && *at <= after.got) {
            let at = case.into(after.got);
            verdict.faults.push(format!("the count of recoveries went from {was} to {is} at {at:.1}s"));
        }
    }
    let most: usize = outages.iter().filter(|outage| outage.up.is_some()).map(|outage| outage.parts).sum();
    if let Some((_, count)) = told.last().filter(|(_, count)| *count > most as f64) {
        verdict.phantom += 1;
        verdict.faults.push(format!("{count} recoveries were counted, and there were {most} outages"));
    }
}

fn scrape(case: &Case<'_>, outages: &[Outage], (index, said, view): (usize, &Said, &View), verdict: &mut Verdict) {
    let (promise, story) = (case.promise, case.story);
    let (Some(rto), Some(figure)) = (promise.rto, view.rto.as_ref()) else { return };
    let (from, to) = (said.sent, said.got);
    let late = case.late(from - promise.triggered(), to);
    let (triggered, recovered) = (promise.triggered() + late, promise.recovered() + late);
    let is = |health: Health, time: Duration| story.health.always(from - time, to, |was| *was == health);
    let watched = |time: Duration| case.watched(&story.health_shows, from - time, to);
    let awake = |time: Duration| case.record.chronicle.awake.always(from - time, to, |awake| *awake);
    if late > TOO_LATE {
        verdict.late += 1;
        return;
    }
    verdict.judged += 1;
    verdict.breaches += usize::from(is(Health::Down, rto));

    let mut fault = None;
    let unseen = if watched(triggered) { triggered } else { triggered + promise.freshness() };
    if figure.is_green() && is(Health::Down, rto + unseen) && awake(unseen) {
        verdict.false_green += case.stands(index);
        fault = Some("falsely green");
    }
    // The end of an outage is known once it was seen to be up: what failed again meanwhile may be the same outage.
    let step = Duration::from_millis(250);
    let looked = std::iter::successors(Some(from), |at| Some(*at - step));
    let looked = looked.take(400).find(|at| {
        let up = story.health.always(*at - recovered, *at, |was| *was == Health::Up);
        up && case.watched(&story.health_shows, *at - recovered, *at)
    });
    let known_from = looked.map_or(SystemTime::UNIX_EPOCH, |at| at - recovered);
    let reached = |outage: &Outage| outage.longest(to) + MARGIN >= rto;
    let may = outages.iter().filter(|outage| outage.down.0 <= to && outage.up.is_none_or(|up| up.1 >= known_from));
    if figure.status == "breached" && !may.into_iter().any(reached) {
        verdict.false_red += case.stands(index);
        fault = Some("falsely red");
    }
    let silent = !view.in_progress && is(Health::Down, triggered) && watched(triggered);
    let phantom = view.in_progress && is(Health::Up, recovered) && watched(recovered);
    if silent || phantom {
        verdict.false_clock += case.stands(index);
        fault = fault.or(Some(if silent { "the clock does not run" } else { "the clock runs" }));
    }
    if figure.status == "unproven" && is_proven(case, outages, from, to, (recovered, late)) {
        verdict.needless += case.stands(index);
        fault = fault.or(Some("needlessly unproven"));
    }
    if let Some(fault) = fault {
        let now: Vec<_> = story.health.within(from, to).map(|(turn, _)| (turn.is, case.into(turn.from.1))).collect();
        verdict.faults.push(format!(
            "{fault} at {:.1}s: {}/rto is {}, clock {}, {:.2?} to {:.2?}; the truth is {now:.1?}; {late:.2?} late",
            case.into(said.got),
            promise.contract,
            figure.status,
            view.in_progress,
            figure.known,
            figure.observed
        ));
    }
}

/// Whether a recovery that was seen from its beginning to its end, and met the target, proves the RTO, and everything was to be
/// seen since.
fn is_proven(
    case: &Case<'_>,
    outages: &[Outage],
    from: SystemTime,
    to: SystemTime,
    (recovered, late): (Duration, Duration),
) -> bool {
    let promise = case.promise;
    let Some(rto) = promise.rto else { return false };
    let over = |outage: &&Outage| outage.up.is_some_and(|up| up.1 + recovered < from);
    let Some(last) = outages.iter().rev().find(over) else { return false };
    // What was just over, or may not have been long enough to be noticed, may have proven something else.
    let others = outages.iter().filter(|outage| outage.down.0 > last.down.0 && outage.up.is_some());
    let long = last.shortest() > promise.triggered() + late;
    let met = last.longest(from) + recovered + MARGIN < rto;
    let remembers = case.record.chronicle.forgot.iter().all(|forgot| *forgot < last.down.0);
    let seen = last.down.0 - promise.freshness() - promise.triggered();
    others.count() == 0 && last.plain && long && met && remembers && case.watched(&case.story.health_shows, seen, to)
}

/// Each recovery that was told, with the scrape that told it first.
fn told<'a>(case: &Case<'a>) -> Vec<(SystemTime, Duration, &'a Said, &'a View)> {
    let mut told: Vec<(SystemTime, Duration, &Said, &View)> = Vec::new();
    for said in &case.record.said {
        let Some(view) = said.contracts.get(case.promise.contract) else { continue };
        let Some((end, took)) = view.last else { continue };
        let apart = |other: SystemTime| end.duration_since(other).unwrap_or_else(|error| error.duration());
        if told.iter().all(|(other, ..)| apart(*other) > Duration::from_millis(100)) {
            told.push((end, took, said, view));
        }
    }
    told
}

/// An outage by itself, and the one that it is part of, if what divides them need not have been seen.
struct Part<'a> {
    own: Outage,
    whole: &'a Outage,
}

fn recoveries(case: &Case<'_>, outages: &[Outage], verdict: &mut Verdict) {
    let (promise, story) = (case.promise, case.story);
    let part = |own: Outage| {
        let whole = outages.iter().rev().find(|outage| outage.down.0 <= own.down.0)?;
        Some(Part { own, whole })
    };
    let parts: Vec<Part<'_>> = story.outages(Duration::ZERO).into_iter().filter_map(part).collect();
    let mut found = vec![0; parts.len()];
    for (end, took, said, view) in &told(case) {
        let late = case.late(*end - *took - promise.triggered(), *end);
        let recovered = promise.recovered() + late;
        // It ended when somebody could look, at the latest.
        let by = |up: (SystemTime, SystemTime)| case.seen_by(&story.health_shows, up.1, recovered).unwrap_or(said.got);
        let ends = |part: &Part<'_>| part.own.up.is_some_and(|up| up.0 <= *end + MARGIN && *end <= by(up) + MARGIN);
        let Some(index) = parts.iter().rposition(ends) else {
            if late > TOO_LATE {
                continue;
            }
            verdict.phantom += 1;
            let at = case.into(*end);
            verdict.faults.push(format!("phantom at {at:.1}s: {} recovered after {took:.1?}", promise.contract));
            continue;
        };
        found[index] += 1;
        if late > TOO_LATE {
            continue;
        }
        if let Some(fault) = dated(case, &parts[index], (*end, *took, late), view, verdict) {
            let own = &parts[index].own;
            verdict.faults.push(format!(
                "{fault} at {:.1}s: {} took {took:.2?}, {:.2?}; in truth it was down from {:.2} to {:.2}; {late:.2?} late",
                case.into(*end),
                promise.contract,
                view.rto,
                case.into(own.down.0),
                own.up.map_or(f64::NAN, |up| case.into(up.1)),
            ));
        }
    }
    for (part, found) in parts.iter().zip(found) {
        hold_count(case, part, found, verdict);
    }
}

/// What is wrong with the times of a recovery.
fn dated(
    case: &Case<'_>,
    Part { own, whole }: &Part<'_>,
    (end, took, late): (SystemTime, Duration, Duration),
    view: &View,
    verdict: &mut Verdict,
) -> Option<&'static str> {
    let (promise, shows, up) = (case.promise, &case.story.health_shows, own.up?);
    let (began, error) = (end - took, promise.when_down + ERROR + promise.grain + late);
    let since = |time: SystemTime, begin: SystemTime| time.duration_since(begin).unwrap_or_default();
    if case.watched(shows, whole.down.0 - promise.freshness(), end) && whole.plain {
        let over = since(end, up.1);
        verdict.recovery = verdict.recovery.max(over);
        if over > error {
            return Some("the recovery is dated too late");
        }
        let latest = own.down.1 + promise.triggered() + case.late(own.down.0, began + ERROR);
        if began + MARGIN < whole.down.0 || began > latest {
            return Some("the beginning of the outage is dated wrongly");
        }
    }
    let figure = view.rto.as_ref().filter(|_| !view.in_progress)?;
    // Both ends hold the time from the trigger until it was up.
    if figure.known.is_some_and(|known| known > since(up.1, began.max(whole.down.0)) + error) {
        return Some("the recovery time is overstated");
    }
    figure
        .observed
        .filter(|observed| *observed + MARGIN < since(up.0, began))
        .map(|_| "the recovery time is understated")
}

/// Whether an outage led to the right number of recoveries.
fn hold_count(case: &Case<'_>, Part { own, whole }: &Part<'_>, found: usize, verdict: &mut Verdict) {
    let (promise, story) = (case.promise, case.story);
    let (Some(up), Some(end)) = (own.up, case.record.said.last().map(|said| said.got)) else { return };
    let at = case.into(own.down.0);
    let remembers = case.record.chronicle.forgot.iter().all(|forgot| *forgot < own.down.0 || *forgot > end);
    let late = case.late(own.down.0, up.1 + Duration::from_secs(5));
    if found > 1 && remembers {
        verdict.phantom += 1;
        verdict.faults.push(format!("{found} recoveries from one outage at {at:.1}s of {}", promise.contract));
    }
    let seen = up.1 + promise.recovered() + late;
    let watched = case.watched(&story.health_shows, own.down.0 - promise.recovered(), seen);
    let long = whole.parts == 1 && own.plain && own.shortest() > promise.triggered() + late;
    let told = case.record.said.iter().any(|said| said.sent > seen && said.sent < seen + Duration::from_secs(1));
    if found == 0 && watched && long && told && remembers && late <= TOO_LATE {
        verdict.missed += 1;
        verdict.faults.push(format!("missed: the outage at {at:.1}s of {} led to no recovery", promise.contract));
    }
}
