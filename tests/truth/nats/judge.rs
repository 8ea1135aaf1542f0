//! Holds what the exporter said against what the observers saw.
//!
//! The truth is an interval, too: a message counts as missing for certain only if the origin was seen to hold it before the
//! scrape, and the mirror was seen not to after it; it may be missing if it was acknowledged before, and the mirror was not
//! seen to hold it before. Green is false where the least is a breach; red is false where the most is none.

use std::time::{Duration, SystemTime};

use super::observer::Seen;
use super::plan::{Act, Plan};
use super::world::{CONTRACT, INTERVAL, RPO, Record};
use crate::judge::{TOO_LATE, Verdict};
use crate::said::{Said, View};

/// Clocks of a process and of what it reads differ by a few milliseconds.
const MARGIN: Duration = Duration::from_millis(50);
/// A figure is not exact.
const SLACK: Duration = Duration::from_millis(300);
/// From a change until the run that sees it has ended, on a busy machine.
const NOTICED: Duration = Duration::from_millis(3500);
/// A majority counts as lost after five seconds of silence.
const UNHEALTHY: Duration = Duration::from_secs(10);

/// Writers wait for half a second at most between two messages.
const STEADY: Duration = Duration::from_millis(900);

/// What a disaster at a scrape would have cost.
struct Truth {
    least: Duration,
    most: Duration,
}

/// Judges a whole scenario.
pub fn hold(plan: &Plan, record: &Record) -> Verdict {
    let mut verdict = Verdict { scrapes: record.said.len(), ..Verdict::default() };
    let truths: Vec<_> = record.said.iter().map(|said| truth(plan, record, said)).collect();
    for (index, said) in record.said.iter().enumerate() {
        let Some(view) = said.contracts.get(CONTRACT) else { continue };
        let Some(figure) = view.rpo.as_ref() else { continue };
        let truth = &truths[index];
        let late = record.lateness.within(said.sent - UNHEALTHY, said.got);
        let noticed = NOTICED + late;
        let stands = record.said.get(index + 1).and_then(|next| next.got.duration_since(said.got).ok());
        let stands = stands.unwrap_or_default().min(Duration::from_millis(500));
        if late > TOO_LATE {
            verdict.late += 1;
            continue;
        }
        verdict.judged += 1;
        verdict.breaches += usize::from(truth.least >= RPO);
        let recent = record.said[..=index].iter().zip(&truths).rev();
        let recent: Vec<_> =
            recent.take_while(|(past, _)| past.got + noticed >= said.sent).map(|(_, truth)| truth).collect();
        let mut fault = None;
        if figure.is_green() {
            let lasting = recent.iter().all(|truth| truth.least >= RPO + SLACK);
            // Time alone brings it about: the exporter knows that without looking.
            let grown = truth.least >= RPO + SLACK && !changed_within(record, said.sent, noticed);
            if lasting || grown {
                verdict.false_green += stands;
                fault = Some("falsely green");
            }
        }
        let lost = may_be_lost(record, said.got);
        if figure.status == "breached" && recent.iter().all(|truth| truth.most + SLACK < RPO) && !lost {
            verdict.false_red += stands;
            fault = Some("falsely red");
        }
        let most = recent.iter().map(|truth| truth.most).max().unwrap_or(Duration::MAX);
        if !lost && most < Duration::MAX && is_calm(record, said.sent, noticed) {
            let over = figure.observed.map_or(Duration::ZERO, |observed| observed.saturating_sub(most));
            verdict.exposure = verdict.exposure.max(over);
            if over > INTERVAL + Duration::from_secs(1) + late {
                fault = fault.or(Some("the exposure is overstated"));
            }
            let begun = said.sent < record.said[0].sent + UNHEALTHY;
            if figure.status == "unproven" && !begun && most + INTERVAL + Duration::from_secs(1) + late < RPO {
                verdict.needless += stands;
                fault = fault.or(Some("needlessly unproven"));
            }
        }
        if recent.iter().all(|truth| figure.observed.is_some_and(|observed| observed + SLACK < truth.least)) {
            fault = fault.or(Some("the exposure is understated"));
        }
        let fault = fault.or_else(|| health(record, said, view, late));
        if let Some(fault) = fault {
            let Truth { least, most } = truth;
            let into = said.got.duration_since(record.said[0].got).unwrap_or_default();
            verdict.faults.push(format!(
                "{fault} at {into:.1?}: {}, {:.1?} to {:.1?}, healthy {:?}; the truth is {least:.1?} to {most:.1?}; {late:.1?} late",
                figure.status, figure.known, figure.observed, view.healthy
            ));
        }
    }
    if record.log.contains("panicked") {
        verdict.faults.push("the exporter panicked".to_owned());
    }
    verdict
}

/// Whether every server and the exporter can be asked, and nothing has happened for a while.
fn is_calm(record: &Record, at: SystemTime, noticed: Duration) -> bool {
    let pairs = [
        (Act::FreezeOrigin, Act::ThawOrigin),
        (Act::KillOrigin, Act::RunOrigin),
        (Act::FreezeMirror, Act::ThawMirror),
        (Act::KillMirror, Act::RunMirror),
        (Act::ExporterAway, Act::ExporterBack),
    ];
    let last =
        |wanted: Act| record.done.iter().filter(|(done, act)| *done <= at && *act == wanted).map(|(at, _)| *at).max();
    // A connection that a frozen server left behind is given up after several seconds.
    let settled = Duration::from_secs(10) + noticed;
    let over =
        |(begin, end): &(Act, Act)| last(*begin) <= last(*end) && last(*end).is_none_or(|end| end + settled <= at);
    !changed_within(record, at, noticed + Duration::from_secs(2)) && pairs.iter().all(over)
}

fn changed_within(record: &Record, at: SystemTime, time: Duration) -> bool {
    record.done.iter().any(|(done, _)| *done <= at && *done + time >= at)
}

/// Whether the pair may rightly be called lost: a mirror never heals from an origin that lost its tail or was made anew, and
/// what two writers wrote never is one.
fn may_be_lost(record: &Record, at: SystemTime) -> bool {
    let lost = [Act::LoseTail, Act::RecreateOrigin, Act::Promote];
    record.done.iter().any(|(done, act)| *done <= at && lost.contains(act))
}

fn before(seen: &[Seen], at: SystemTime) -> Option<&Seen> {
    seen.iter().rev().find(|seen| seen.done <= at)
}

/// The first look that began after `at`; without one nothing has changed since the last.
fn after(seen: &[Seen], at: SystemTime) -> Option<&Seen> {
    seen.iter().find(|seen| seen.begun >= at).or(seen.last())
}

fn truth(plan: &Plan, record: &Record, said: &Said) -> Truth {
    // What it says was so at some instant between the two.
    let (at, scraped) = (said.sent - MARGIN, said.got);
    let age =
        |time: Option<SystemTime>| time.map_or(Duration::ZERO, |time| at.duration_since(time).unwrap_or_default());
    let (copy, copy_next) = (before(&record.mirror, at), after(&record.mirror, scraped));
    // The origin is looked at before and after both looks at the copy: what it drops, the copy drops a moment later, and never
    // lacks.
    let looked = copy_next.map_or(scraped, |copy| copy.done.max(scraped));
    let (Some(origin), Some(origin_next)) = (before(&record.origin, at), after(&record.origin, looked)) else {
        return Truth { least: Duration::ZERO, most: Duration::MAX };
    };
    let holds = |copy: Option<&Seen>, sequence: u64, time: SystemTime| {
        copy.is_some_and(|copy| copy.messages.get(&sequence) == Some(&time))
    };
    // What is about to grow old may be gone from one side first; servers of 2.9 do not tell their clocks, so that anything
    // within a minute of its end counts as that.
    let young = |time: &SystemTime| {
        plan.limits.origin.get("max_age").is_none() || (!plan.old && *time + Duration::from_secs(5) > at)
    };
    let still = |sequence: u64, time: SystemTime| {
        origin_next.epoch == origin.epoch && origin_next.messages.get(&sequence) == Some(&time)
    };
    let held = origin.messages.iter().filter(|(sequence, time)| still(**sequence, **time) && young(time));
    let lacks = |sequence: u64, time: SystemTime| !holds(copy, sequence, time) && !holds(copy_next, sequence, time);
    let held = held.filter(|(sequence, time)| lacks(**sequence, **time)).map(|(_, time)| *time);
    let last = [copy, copy_next].into_iter().flatten().map(|copy| copy.last_seq).max().unwrap_or(0);
    let least = age(held.chain(overwritten(record, origin, last, at)).min());
    let known = [origin, origin_next].into_iter().flat_map(|seen| seen.messages.iter());
    let on_both = |sequence: u64, time: SystemTime| holds(copy, sequence, time) && holds(copy_next, sequence, time);
    let missing = known.filter(|(sequence, time)| !on_both(**sequence, **time)).map(|(_, time)| *time);
    let passed = [copy, copy_next].into_iter().map(|copy| copy.map_or(0, |copy| copy.last_seq)).min().unwrap_or(0);
    let acked =
        record.acked.iter().filter(|(sequence, acked)| *sequence > passed && *acked <= at).map(|(_, acked)| *acked);
    let seen = record.origin.iter().filter(|seen| seen.done <= at && seen.epoch == origin.epoch);
    let seen = seen.flat_map(|seen| seen.messages.iter()).filter(|(sequence, _)| **sequence > passed);
    let most = missing.chain(acked).chain(seen.map(|(_, time)| *time)).filter(|time| *time <= at).min();
    Truth { least, most: age(most) }
}

/// Messages that the origin was seen to hold, that the copy has not come to, and that are gone though nobody deleted any since.
fn overwritten<'a>(
    record: &'a Record,
    origin: &'a Seen,
    last: u64,
    at: SystemTime,
) -> impl Iterator<Item = SystemTime> + 'a {
    let deliberate = [Act::PurgeOrigin, Act::DeleteOnOrigin, Act::RecreateOrigin, Act::LoseTail];
    let since = record.done.iter().filter(|(done, act)| *done <= at + SLACK && deliberate.contains(act));
    let since = since.map(|(done, _)| *done).max().unwrap_or(SystemTime::UNIX_EPOCH);
    let seen = record.origin.iter().filter(move |seen| seen.begun >= since && seen.done <= at);
    let seen = seen.filter(|seen| seen.epoch == origin.epoch).flat_map(|seen| seen.messages.iter());
    seen.filter(move |(sequence, _)| **sequence > last).map(|(_, time)| *time)
}

/// Whether clients could write, by their own acknowledgements.
fn health(record: &Record, said: &Said, view: &View, late: Duration) -> Option<&'static str> {
    let taken = |from: Duration, to: Duration| {
        let (from, to) = (said.sent - from, said.got + to);
        record.taken.iter().filter(|at| **at >= from && **at <= to).count()
    };
    // Nobody writes; or the stream was taken away from under the writer, and its client may not find the new one.
    let paused = record.done.iter().any(|(_, act)| [Act::Pause, Act::RecreateOrigin].contains(act));
    let begun = record.said.first().is_none_or(|first| said.sent < first.sent + UNHEALTHY);
    match view.healthy {
        Some(true) if !paused && !begun && taken(UNHEALTHY + late, SLACK) == 0 => Some("falsely healthy"),
        // A server that is restarted at once is down for less than anybody notices by acknowledgements.
        Some(false) if !may_be_two(record, said.got) && !changed_within(record, said.got, NOTICED + late) => {
            // Without a pause that a fault could have made, from before the run that is shown until after the scrape.
            let around = [said.sent - Duration::from_secs(7), said.got + Duration::from_secs(1)];
            let within = record.taken.iter().copied().filter(|at| (around[0]..around[1]).contains(at));
            let mut times: Vec<_> = around.into_iter().chain(within).collect();
            times.sort_unstable();
            let steady = times.windows(2).all(|pair| pair[1].duration_since(pair[0]).unwrap_or_default() < STEADY);
            steady.then_some("falsely unhealthy")
        }
        _ => None,
    }
}

fn may_be_two(record: &Record, at: SystemTime) -> bool {
    record.done.iter().any(|(done, act)| *done <= at && *act == Act::Promote)
}
