//! Incidents and drills as they are shown.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::View;
use crate::domain::contract::Contract;
use crate::domain::drill::{DrillKind, DrillRun, DrillSpec};
use crate::domain::incident::Incident;
use crate::domain::outage::Mode;
use crate::domain::schedule::{Due, Schedule};
use crate::domain::time::Timestamp;

/// The drills of the configuration, and those that were started.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DrillsReport {
    /// The drills, in the order of the configuration.
    pub drills: Vec<DrillStatus>,
    /// The drills that were started, the newest first.
    pub runs: Vec<DrillRun>,
}

/// One drill of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DrillStatus {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: DrillKind,
    /// How often it is due.
    pub every: String,
    /// What is done.
    pub description: Option<String>,
    /// The contracts that it proves, verifies or reviews.
    pub contracts: Vec<String>,
    /// When it was last done. Absent if it never was.
    pub last: Option<Timestamp>,
    /// When it is due. Absent if it was never done.
    pub due: Option<Timestamp>,
    /// Whether it is overdue. What was never done is overdue.
    pub overdue: bool,
    /// The run that goes on.
    pub running: Option<String>,
}

/// When a drill is due.
#[must_use]
pub fn due(view: View<'_>, spec: &DrillSpec) -> Due {
    Due { every: spec.every, last: view.snapshot.plans.done.get(&spec.name).copied() }
}

/// Whether an outage of this contract is part of a drill, or would be: a drill covers it, and no
/// open incident does.
#[must_use]
pub fn is_planned(view: View<'_>, contract: &Contract) -> bool {
    let (plans, name) = (&view.snapshot.plans, &contract.spec().name);
    let declared = plans.incidents.values().any(|incident| incident.is_open() && incident.clocks.contains(name));
    let covered = !declared && plans.drills.values().any(|run| run.covers(name));
    contract.clock().running().map_or(covered, |outage| outage.mode == Mode::Drill)
}

/// The drills.
#[must_use]
pub fn drills(view: View<'_>) -> DrillsReport {
    let now = view.moment.wall(view.moment.now);
    let plans = &view.snapshot.plans;
    let drills = view.snapshot.people.drills.iter().map(|spec| {
        let due = due(view, spec);
        DrillStatus {
            name: spec.name.clone(),
            kind: spec.kind,
            every: every(spec.every),
            description: spec.description.clone(),
            contracts: spec.concerned(),
            last: due.last,
            due: due.at(),
            overdue: due.is_overdue(now),
            running: plans.drills.values().find(|run| run.is_open() && run.name == spec.name).map(|run| run.id.clone()),
        }
    });
    let mut runs: Vec<DrillRun> = plans.drills.values().cloned().collect();
    runs.sort_by_key(|run| std::cmp::Reverse(run.started.at));
    DrillsReport { drills: drills.collect(), runs }
}

/// A schedule in words.
fn every(schedule: Schedule) -> String {
    match schedule {
        Schedule::Weekly => "weekly".to_owned(),
        Schedule::Monthly => "monthly".to_owned(),
        Schedule::Quarterly => "quarterly".to_owned(),
        Schedule::Every(time) => crate::decode::values::PromDuration::of(time).to_string(),
    }
}

/// The incident with this id, or else the open one, or the newest one, with this name.
#[must_use]
pub fn incident<'a>(view: View<'a>, named: &str) -> Option<&'a Incident> {
    let all = &view.snapshot.plans.incidents;
    let newest = || {
        let same_name = all.values().filter(|incident| incident.name == named);
        same_name.max_by_key(|incident| (incident.is_open(), incident.declared.at))
    };
    all.get(named).or_else(newest)
}

/// The drill with this id, or else the one that goes on, or the newest one, with this name.
#[must_use]
pub fn drill<'a>(view: View<'a>, named: &str) -> Option<&'a DrillRun> {
    let all = &view.snapshot.plans.drills;
    let newest = || {
        let same_name = all.values().filter(|run| run.name == named);
        same_name.max_by_key(|run| (run.is_open(), run.started.at))
    };
    all.get(named).or_else(newest)
}
