//! Whether somebody was told of each breach, and of nothing else.

use std::time::{Duration, SystemTime};

use super::{Case, MARGIN, TOO_LATE, Verdict};
use crate::monitoring::{BUSY, SCRAPE, Told};
use crate::story::Outage;

const BREACHED: &str = "DRObjectiveBreached";
/// How long the sped-up rule keeps firing.
const KEPT: Duration = Duration::from_secs(5);
/// A scrape, the evaluation of rules that rest on each other, and the wait of Alertmanager for company.
const DELAY: Duration = SCRAPE.saturating_mul(4);

pub(super) fn hold(case: &Case<'_>, verdict: &mut Verdict) {
    let (promise, story, record) = (case.promise, case.story, case.record);
    let (Some(rto), Some(end)) = (promise.rto, record.said.last().map(|said| said.got)) else { return };
    let outages = story.outages(promise.recovered());
    let is_ours = |told: &Told| {
        let has = |label: &str, value: &str| told.labels.get(label).is_some_and(|is| is == value);
        told.firing && has("alertname", BREACHED) && has("contract", promise.contract)
    };
    let mut told: Vec<&Told> = record.told.iter().filter(|told| is_ours(told)).collect();
    // The same one is told again whenever its group changes.
    told.sort_by_key(|told| (told.starts.clone(), told.at));
    told.dedup_by_key(|told| &told.starts);
    for outage in &outages {
        let late = case.late(outage.down.0, outage.down.1 + rto + Duration::from_secs(8));
        let begins = outage.down.1 + promise.triggered() + rto + late;
        let ends = outage.up.map_or(end, |up| up.0);
        let watched = case.watched(&story.health_shows, outage.down.0 - promise.freshness(), begins + DELAY);
        let alone = outage.plain && outage.parts == 1;
        if late > TOO_LATE || !alone || !watched || ends < begins + DELAY || begins + DELAY + BUSY + late > end {
            continue;
        }
        verdict.alerts += 1;
        let in_time = |at: SystemTime| at >= outage.down.0 + rto && at <= begins + DELAY + BUSY + late;
        // One that goes on from the breach before says it, too.
        let before = |at: SystemTime| at < begins && at + KEPT + Duration::from_secs(15) > begins;
        if !told.iter().any(|told| in_time(told.at) || before(told.at)) {
            verdict.alerts_missed += 1;
            verdict.faults.push(format!("nobody was told of the breach at {:.1}s", case.into(begins)));
        }
    }
    for told in &told {
        let late = case.late(told.at - Duration::from_secs(8), told.at);
        let reached = |outage: &Outage| outage.longest(told.at) + MARGIN >= rto;
        let seen = |up: SystemTime| case.seen_by(&story.health_shows, up, promise.recovered() + late).unwrap_or(end);
        let lately = |up: SystemTime| seen(up) + KEPT + DELAY + BUSY + late >= told.at;
        let is_true = outages.iter().any(|outage| reached(outage) && outage.up.is_none_or(|up| lately(up.1)));
        if !is_true && late <= TOO_LATE {
            verdict.alerts_false += 1;
            verdict.faults.push(format!("somebody was told at {:.1}s of a breach that was none", case.into(told.at)));
        }
    }
}
