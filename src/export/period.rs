//! The report on a period: what was promised, what was measured, what was done, and what is open.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::View;
use super::document::Document;
use super::event;
use super::gathered::{self, Exposure, Gathered, Held};
use super::people::{self, DrillStatus};
use super::recorded;
use crate::domain::contract::Objective;
use crate::domain::drill::{DrillKind, Measured, Outcome};
use crate::domain::interval::Interval;
use crate::domain::people::Gap;
use crate::domain::time::Timestamp;
use crate::domain::timeline::{Shares, shares};
use crate::store::record::{Head, Promise};

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PeriodReport {
    /// The version of the program.
    pub version: String,
    /// The beginning of the period.
    pub from: Timestamp,
    /// The end of the period: the moment of the report.
    pub to: Timestamp,
    /// The end of the record that it was made from.
    pub head: Head,
    /// The contracts.
    pub contracts: Vec<ContractPeriod>,
    /// The incidents that were declared.
    pub incidents: Vec<IncidentLine>,
    /// The drills of the configuration.
    pub drills: Vec<DrillStatus>,
    /// The drills that were done.
    pub runs: Vec<RunLine>,
    /// The gaps that are open, whenever they were found.
    pub gaps: Vec<GapLine>,
    /// The times in which nobody observed.
    pub not_observed: Vec<(Timestamp, Timestamp)>,
}

/// One contract in the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContractPeriod {
    /// What is promised now, or what was promised last.
    pub promise: Promise,
    /// When the contract left the configuration. Null while it is promised.
    pub removed: Option<Timestamp>,
    /// The time in each status, by objective.
    pub objectives: Vec<ObjectivePeriod>,
    /// The worst exposure: at least and at most, in seconds. Absent if none was recorded.
    pub worst_exposure: Option<(f64, Option<f64>)>,
    /// The recoveries, the oldest first.
    pub recoveries: Vec<Measured>,
}

/// One objective in the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ObjectivePeriod {
    /// Which objective.
    pub objective: Objective,
    /// The target. Null if the objective was dropped.
    pub target_seconds: Option<f64>,
    /// When the target was last changed, if that was within the period. Each status rests on the target of
    /// its time.
    pub target_changed: Option<Timestamp>,
    /// Time in seconds. All of these together are the whole period.
    pub seconds: InStatus<f64>,
    /// The same in percent. Together they are 100.
    pub percent: InStatus<f64>,
}

/// A figure for each status, and for the time that nobody observed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InStatus<T> {
    /// The promise was kept.
    pub met: T,
    /// It was kept, and little was left.
    pub at_risk: T,
    /// It was broken.
    pub breached: T,
    /// It was observed, and nobody could tell.
    pub unproven: T,
    /// Nobody observed.
    pub not_observed: T,
}

/// An incident of the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IncidentLine {
    /// Its unique name.
    pub id: String,
    /// When it began.
    pub began: Timestamp,
    /// When it was closed.
    pub closed: Option<Timestamp>,
    /// Why it was declared.
    pub reason: String,
    /// How many steps were taken, of how many.
    pub steps: (usize, usize),
}

/// A drill that was done in the period.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunLine {
    /// Its unique name. The name of the drill if the exporter verified it.
    pub id: String,
    /// What it is.
    pub kind: DrillKind,
    /// When it was started.
    pub at: Timestamp,
    /// How it ended. None while it goes on.
    pub outcome: Option<Outcome>,
}

/// An open gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GapLine {
    /// The incident or drill that showed it.
    pub on: String,
    /// The gap.
    pub gap: Gap,
    /// Whether its day is over.
    pub overdue: bool,
}

impl PeriodReport {
    /// The report on the time from `since` ago until now, on every contract or on the one for which the
    /// record was gathered. None if that contract was not promised at any time of it.
    #[must_use]
    pub fn of(
        view: View<'_>,
        since: Duration,
        contract: Option<&str>,
        gathered: &Gathered,
        head: Head,
    ) -> Option<Self> {
        let to = view.moment.wall(view.moment.now);
        let from = to.minus(since);
        let contracts: Vec<ContractPeriod> =
            gathered.held(from).map(|held| of_contract(view, held, gathered, (from, to))).collect();
        if contract.is_some() && contracts.is_empty() {
            return None;
        }
        let plans = &view.snapshot.plans;
        let concerns = |names: &[String]| contract.is_none_or(|name| names.iter().any(|of| of == name));
        let incidents = plans.incidents.values().filter(|of| concerns(&of.clocks));
        let incidents = incidents.filter(|of| of.closed.as_ref().is_none_or(|stamp| stamp.at >= from));
        let incidents = incidents.map(|of| IncidentLine {
            id: of.id.clone(),
            began: of.began,
            closed: of.closed.as_ref().map(|stamp| stamp.at),
            reason: of.reason.clone(),
            steps: (of.steps_done(), of.steps.len()),
        });
        let mut drills = people::drills(view).drills;
        drills.retain(|drill| concerns(&drill.contracts));
        let verified = |name: &str| contract.is_none() || drills.iter().any(|drill| drill.name == name);
        Some(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            from,
            to,
            head,
            contracts,
            incidents: incidents.collect(),
            runs: runs(view, gathered, from, concerns, verified),
            drills,
            gaps: gaps(view, to),
            not_observed: gathered.silences(from, to),
        })
    }
}

fn of_contract(view: View<'_>, held: &Held, gathered: &Gathered, (from, to): (Timestamp, Timestamp)) -> ContractPeriod {
    let promise = &held.promise;
    let name = promise.contract.as_str();
    let objectives = Objective::ALL.into_iter().filter_map(|objective| {
        let (target_seconds, target_changed) = (promise.target_seconds(objective), held.changed(objective, from));
        // What was dropped within the period was promised before.
        target_seconds.map(|_| ()).or(target_changed.map(|_| ()))?;
        let shares = shares(&gathered.changes(name, objective, to), from, to);
        let (seconds, percent) = (seconds(&shares), percent(&shares));
        Some(ObjectivePeriod { objective, target_seconds, target_changed, seconds, percent })
    });
    let exposures = gathered.exposure(name).into_iter().chain(exposures_now(view, name));
    ContractPeriod {
        objectives: objectives.collect(),
        worst_exposure: exposures.reduce(gathered::worse),
        recoveries: gathered.recoveries(name, from),
        promise: promise.clone(),
        removed: held.removed,
    }
}

/// The current exposure, and the worst one since it was last recorded: at least and at most.
fn exposures_now(view: View<'_>, name: &str) -> impl Iterator<Item = Exposure> {
    let snapshot = view.snapshot;
    let record = snapshot.contracts.iter().find(|record| record.contract.spec().name == name);
    // Before the first look nothing is known, and that is no exposure.
    let seen = record.filter(|record| record.checks().all(|(_, runs)| runs.last.is_some()));
    let judged = seen.and_then(|record| record.contract.judge(Objective::Rpo, view.moment.now));
    let now = judged.map(|judged| judged.figure.unwrap_or(Interval::UNKNOWN));
    let kept = snapshot.plans.exposures.get(name).copied().flatten().map(|worst| worst.exposure);
    let seconds = |of: Interval| (of.least.as_secs_f64(), of.most.map(|most| most.as_secs_f64()));
    now.into_iter().chain(kept).map(seconds)
}

fn seconds(shares: &Shares) -> InStatus<f64> {
    let [met, at_risk, breached, unproven] = shares.in_status.map(|share| share.as_secs_f64());
    InStatus { met, at_risk, breached, unproven, not_observed: shares.not_observed.as_secs_f64() }
}

fn percent(shares: &Shares) -> InStatus<f64> {
    let [met, at_risk, breached, unproven, not_observed] = shares.hundredths().map(|part| f64::from(part) / 100.0);
    InStatus { met, at_risk, breached, unproven, not_observed }
}

/// The drills that were started on certain contracts, and those with certain names that the exporter
/// verified.
fn runs(
    view: View<'_>,
    gathered: &Gathered,
    from: Timestamp,
    concerns: impl Fn(&[String]) -> bool,
    verified: impl Fn(&str) -> bool,
) -> Vec<RunLine> {
    let started = view.snapshot.plans.drills.values().filter(|run| concerns(&run.contracts));
    let started = started.map(|run| RunLine {
        id: run.id.clone(),
        kind: run.kind,
        at: run.started.at,
        outcome: run.ended.as_ref().map(|ended| ended.outcome),
    });
    let verified = gathered.verified().iter().filter(|of| verified(&of.drill)).map(|of| RunLine {
        id: of.drill.clone(),
        kind: of.kind,
        at: of.at,
        outcome: Some(if of.passed { Outcome::Passed } else { Outcome::Failed }),
    });
    let mut runs: Vec<RunLine> = started.chain(verified).filter(|run| run.at >= from).collect();
    runs.sort_by_key(|run| run.at);
    runs
}

fn gaps(view: View<'_>, now: Timestamp) -> Vec<GapLine> {
    let plans = &view.snapshot.plans;
    let of_incidents = plans.incidents.values().map(|of| (&of.id, &of.review));
    let of_drills = plans.drills.values().map(|run| (&run.id, &run.review));
    let all = of_incidents.chain(of_drills).flat_map(|(id, review)| review.gaps.iter().map(move |gap| (id, gap)));
    let open = all.filter(|(_, gap)| gap.closed.is_none());
    open.map(|(on, gap)| GapLine { on: on.clone(), gap: gap.clone(), overdue: gap.is_overdue(now) }).collect()
}

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &PeriodReport) -> String {
    document(report).markdown()
}

/// The report as a page.
#[must_use]
pub fn html(report: &PeriodReport) -> String {
    document(report).html()
}

fn document(report: &PeriodReport) -> Document {
    let mut document = Document::new("Disaster-recovery report");
    document.text(format!("From {} to {} (UTC).", report.from, report.to));
    of_statuses(&mut document, report);
    of_recoveries(&mut document, report);
    of_incidents(&mut document, report);
    of_drills(&mut document, report);
    document.heading("Open gaps");
    let gaps = report.gaps.iter().map(|line| {
        let due = if line.overdue { format!("{}, OVERDUE", line.gap.due) } else { line.gap.due.to_string() };
        vec![line.on.clone(), line.gap.text.clone(), line.gap.owner.clone(), due]
    });
    document.table(&["found in", "gap", "owner", "due"], gaps.collect());
    document.heading("Coverage");
    document.text("In these times nobody observed. No status is claimed for them.");
    let silences = report.not_observed.iter();
    document.table(&["from", "to"], silences.map(|(from, to)| vec![from.to_string(), to.to_string()]).collect());
    super::evidence::appendix(&mut document);
    event::of_head(&mut document, &report.head, &report.version);
    document
}

fn of_statuses(document: &mut Document, report: &PeriodReport) {
    document.heading("Time in each status");
    let percent = |share: f64| format!("{share:.2} %");
    let rows = report.contracts.iter().flat_map(|of| {
        of.objectives.iter().map(move |objective| {
            let InStatus { met, at_risk, breached, unproven, not_observed } = objective.percent;
            let shares = [met, at_risk, breached, unproven, not_observed].map(percent);
            let target =
                objective.target_seconds.map_or("none".to_owned(), |target| format!("< {}", recorded::seconds(target)));
            let target = match objective.target_changed {
                Some(changed) => format!("{target} (since {changed})"),
                None => target,
            };
            let name = match of.removed {
                Some(removed) => format!("{} (removed {removed})", of.promise.contract),
                None => of.promise.contract.clone(),
            };
            let head = [name, objective.objective.label().to_uppercase(), target];
            head.into_iter().chain(shares).collect()
        })
    });
    let head = ["contract", "objective", "target", "met", "at risk", "breached", "unproven", "not observed"];
    document.table(&head, rows.collect());
    document.heading("Worst exposure");
    let rows = report.contracts.iter().filter(|of| of.promise.rpo_seconds.is_some()).map(|of| {
        let worst = of
            .worst_exposure
            .map_or("not recorded yet".to_owned(), |(least, most)| recorded::interval(Some(least), most));
        let rpo = of.promise.rpo_seconds.map_or(String::new(), |rpo| format!("< {}", recorded::seconds(rpo)));
        vec![of.promise.contract.clone(), rpo, worst]
    });
    document.table(&["contract", "RPO", "worst exposure"], rows.collect());
}

fn of_recoveries(document: &mut Document, report: &PeriodReport) {
    document.heading("Recoveries against their targets");
    let all = report.contracts.iter().flat_map(|of| &of.recoveries);
    let rows = all.map(|of| {
        let result = match of.met {
            Some(true) => "met",
            Some(false) => "MISSED",
            None => "uncertain",
        };
        let target = of.target_seconds.map_or(String::new(), |target| format!("< {}", recorded::seconds(target)));
        let took = recorded::took(of);
        vec![of.contract.clone(), of.trigger.to_string(), took, target, result.to_owned(), of.mode.label().to_owned()]
    });
    document.table(&["contract", "trigger", "took", "target", "result", "mode"], rows.collect());
}

fn of_incidents(document: &mut Document, report: &PeriodReport) {
    document.heading("Incidents");
    let rows = report.incidents.iter().map(|of| {
        let closed = of.closed.map_or("open".to_owned(), |closed| closed.to_string());
        let steps = format!("{} of {}", of.steps.0, of.steps.1);
        vec![of.id.clone(), of.began.to_string(), closed, steps, of.reason.clone()]
    });
    document.table(&["incident", "began", "closed", "steps", "reason"], rows.collect());
}

fn of_drills(document: &mut Document, report: &PeriodReport) {
    document.heading("Drills");
    let rows = report.drills.iter().map(|of| {
        let time = |at: Option<Timestamp>| at.map_or("never".to_owned(), |at| at.to_string());
        let due = if of.overdue { "OVERDUE".to_owned() } else { time(of.due) };
        vec![of.name.clone(), of.kind.label().to_owned(), of.every.clone(), time(of.last), due]
    });
    document.table(&["drill", "kind", "every", "last done", "due"], rows.collect());
    document.heading("Drills done in the period");
    let rows = report.runs.iter().map(|of| {
        let outcome = of.outcome.map_or("goes on", Outcome::label);
        vec![of.id.clone(), of.kind.label().to_owned(), of.at.to_string(), outcome.to_owned()]
    });
    document.table(&["drill", "kind", "started", "result"], rows.collect());
}
