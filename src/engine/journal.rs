//! The journal: the state of incidents, drills and alarms, and what is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::domain::contract::ContractSpec;
use crate::domain::drill::{DrillRun, DrillSpec, Measured};
use crate::domain::incident::{Incident, IncidentSpec};
use crate::domain::interval::Interval;
use crate::domain::people::{Refusal, Review, Stamp};
use crate::domain::response::Escalation;
use crate::domain::schedule::Due;
use crate::domain::time::Timestamp;
use crate::engine::order::On;
use crate::store::Batch;
use crate::store::plans::{Answered, Plans, Worst};
use crate::store::record::{Entry, Fact, Promise};
use crate::store::states::Planned;

/// The plans of people, from the configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct People {
    /// The incidents that can be declared.
    pub incidents: Vec<IncidentSpec>,
    /// The drills.
    pub drills: Vec<DrillSpec>,
    /// How soon somebody must react.
    pub escalation: Escalation,
}

impl People {
    /// The incident with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn incident(&self, name: &str) -> Result<&IncidentSpec, Refusal> {
        let found = self.incidents.iter().find(|spec| spec.name == name);
        found.ok_or_else(|| unknown("incident", self.incidents.iter().map(|spec| spec.name.as_str())))
    }

    /// The drill with this name.
    ///
    /// # Errors
    /// There is none.
    pub fn drill(&self, name: &str) -> Result<&DrillSpec, Refusal> {
        let found = self.drills.iter().find(|spec| spec.name == name);
        found.ok_or_else(|| unknown("drill", self.drills.iter().map(|spec| spec.name.as_str())))
    }
}

fn unknown<'a>(what: &str, known: impl Iterator<Item = &'a str>) -> Refusal {
    let known: Vec<&str> = known.collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Refusal::Unknown(format!("the configuration has no {what} with this name; it has: {known}"))
}

/// How often the worst exposures are recorded.
const EXPOSURES: Duration = Duration::from_secs(6 * 3600);

/// The state of incidents, drills and alarms. All times in it are wall-clock times.
pub(super) struct Journal {
    pub(super) people: Arc<People>,
    plans: Arc<Plans>,
    changed: Plans,
    entries: Vec<Entry>,
    /// A word that no other run of the program has, and the number of its next entry.
    boot: String,
    next: u64,
    /// The worst exposure of each contract since it was last recorded.
    exposures: BTreeMap<String, Worst>,
    /// The drills of the kind `check` whose failure was recorded since they last passed.
    pub(super) failing: BTreeSet<String>,
}

impl Journal {
    /// The journal, restored from what was stored.
    pub(super) fn new(people: Arc<People>, plans: Plans, at: Timestamp) -> Self {
        let boot = format!("{:016x}", rand::random::<u64>());
        let silent_since = plans.alive;
        let exposures = plans.exposures.iter().filter_map(|(contract, worst)| Some((contract.clone(), (*worst)?)));
        let exposures = exposures.collect();
        let mut journal = Self {
            people,
            plans: Arc::new(plans),
            changed: Plans::default(),
            entries: Vec::new(),
            boot,
            next: 0,
            exposures,
            failing: BTreeSet::new(),
        };
        journal.record(at, Fact::Started { version: env!("CARGO_PKG_VERSION").to_owned(), silent_since });
        journal
    }

    /// Continues from what all replicas share. What was recorded and not written is dropped.
    pub(super) fn rebase(&mut self, plans: Plans) {
        (self.changed, self.entries) = Default::default();
        let exposures = plans.exposures.iter().filter_map(|(contract, worst)| Some((contract.clone(), (*worst)?)));
        (self.exposures, self.failing) = (exposures.collect(), BTreeSet::new());
        self.plans = Arc::new(plans);
    }

    /// Takes in what the leader changed.
    pub(super) fn hear(&mut self, plans: Plans) {
        if !plans.is_empty() {
            Arc::make_mut(&mut self.plans).take(plans);
        }
    }

    /// A number that no other order has.
    pub(super) fn number(&mut self) -> String {
        self.next += 1;
        format!("{}-{}", self.boot, self.next)
    }

    /// The whole state.
    pub(super) fn plans(&self) -> &Arc<Plans> {
        &self.plans
    }

    /// Appends a fact to the record.
    pub(super) fn record(&mut self, at: Timestamp, fact: Fact) {
        self.next += 1;
        self.entries.push(Entry { key: format!("{}-{}", self.boot, self.next), at, fact });
    }

    /// Moves what changed into a batch.
    pub(super) fn hand_over(&mut self, batch: &mut Batch) {
        self.record_states();
        // What was recorded was observed.
        self.changed.alive = self.changed.alive.max(self.entries.last().map(|entry| entry.at));
        batch.entries.append(&mut self.entries);
        batch.plans.take(std::mem::take(&mut self.changed));
    }

    /// Records the states of the incidents and drills that changed, in the same batch.
    fn record_states(&mut self) {
        let Plans { incidents, drills, .. } = &self.changed;
        let of_incidents =
            incidents.iter().map(|(id, incident)| (incident.declared.at, Planned::Incident.fact(id, incident)));
        let of_drills = drills.iter().map(|(id, run)| (run.started.at, Planned::Drill.fact(id, run)));
        let states: Vec<_> = of_incidents.chain(of_drills).collect();
        // What changed one was just recorded.
        let last = self.entries.last().map(|entry| entry.at);
        for (at, fact) in states {
            if let Some(fact) = fact {
                self.record(last.unwrap_or(at), fact);
            }
        }
    }

    /// Notes that the exporter observes, and what it saw: a crash must not hide the worst exposure.
    pub(super) fn alive(&mut self, at: Timestamp) {
        self.changed.alive = Some(at);
        let news = self.exposures.iter().map(|(contract, worst)| (contract.clone(), Some(*worst)));
        let news = news.filter(|(contract, worst)| self.plans.exposures.get(contract) != Some(worst));
        self.note_exposures(news.collect());
    }

    fn note_exposures(&mut self, news: BTreeMap<String, Option<Worst>>) {
        if !news.is_empty() {
            Arc::make_mut(&mut self.plans).exposures.extend(news.clone());
            self.changed.exposures.extend(news);
        }
    }

    /// Records the promises, if they differ from those recorded last.
    pub(super) fn promise<'a>(&mut self, contracts: impl Iterator<Item = &'a ContractSpec>, at: Timestamp) {
        let contracts: Vec<Promise> = contracts.map(promise).collect();
        if self.plans.promised.as_ref() != Some(&contracts) {
            self.record(at, Fact::Promised { contracts: contracts.clone() });
            Arc::make_mut(&mut self.plans).promised = Some(contracts.clone());
            self.changed.promised = Some(contracts);
        }
    }

    /// Takes in the exposure of a contract. The worst one is recorded from time to time.
    pub(super) fn expose(&mut self, contract: &str, exposure: Interval, at: Timestamp) {
        let worst = self.exposures.entry(contract.to_owned()).or_insert(Worst { since: at, exposure });
        worst.exposure = worst.exposure.max(exposure);
        if at.since(worst.since) >= EXPOSURES {
            self.record_exposures(at);
        }
    }

    /// Records the worst exposure of every contract.
    pub(super) fn record_exposures(&mut self, at: Timestamp) {
        let exposures = std::mem::take(&mut self.exposures);
        self.note_exposures(exposures.keys().map(|contract| (contract.clone(), None)).collect());
        for (contract, Worst { since, exposure }) in exposures {
            let (most, least) = (exposure.most.map(|most| most.as_secs_f64()), exposure.least.as_secs_f64());
            self.record(at, Fact::Exposure { contract, since, most_seconds: most, least_seconds: least });
        }
    }

    /// Stores an incident.
    pub(super) fn put_incident(&mut self, incident: Incident) {
        self.changed.incidents.insert(incident.id.clone(), incident.clone());
        Arc::make_mut(&mut self.plans).incidents.insert(incident.id.clone(), incident);
    }

    /// Stores a drill.
    pub(super) fn put_drill(&mut self, run: DrillRun) {
        self.changed.drills.insert(run.id.clone(), run.clone());
        Arc::make_mut(&mut self.plans).drills.insert(run.id.clone(), run);
    }

    /// Stores that a drill was done.
    pub(super) fn put_done(&mut self, drill: &str, at: Timestamp) {
        self.changed.done.insert(drill.to_owned(), at);
        Arc::make_mut(&mut self.plans).done.insert(drill.to_owned(), at);
    }

    /// Stores the answer to a request.
    pub(super) fn put_answer(&mut self, key: String, answered: Answered) {
        self.changed.answers.insert(key.clone(), answered.clone());
        Arc::make_mut(&mut self.plans).answers.insert(key, answered);
    }

    /// Changes the alarms of a contract, and stores them if that made a difference.
    pub(super) fn change_alarms<T>(
        &mut self,
        contract: &str,
        change: impl FnOnce(&mut crate::domain::response::Alarms) -> T,
    ) -> T {
        let before = self.plans.alarms.get(contract);
        let mut alarms = before.cloned().unwrap_or_default();
        let result = change(&mut alarms);
        if before.cloned().unwrap_or_default() != alarms {
            self.changed.alarms.insert(contract.to_owned(), alarms.clone());
            Arc::make_mut(&mut self.plans).alarms.insert(contract.to_owned(), alarms);
        }
        result
    }

    /// The incidents that are open.
    pub(super) fn open_incidents(&self) -> impl Iterator<Item = &Incident> {
        self.plans.incidents.values().filter(|incident| incident.is_open())
    }

    /// The drills that go on.
    pub(super) fn open_drills(&self) -> impl Iterator<Item = &DrillRun> {
        self.plans.drills.values().filter(|run| run.is_open())
    }

    /// The incident with this id, or else the open one, or the last one, with this name.
    pub(super) fn incident(&self, named: &str) -> Result<Incident, Refusal> {
        found(&self.plans.incidents, named, |incident| (&incident.name, incident.is_open(), incident.declared.at))
            .ok_or_else(|| Refusal::Unknown("no incident with this name or id was declared".to_owned()))
    }

    /// The drill with this id, or else the one that goes on, or the last one, with this name.
    pub(super) fn drill(&self, named: &str) -> Result<DrillRun, Refusal> {
        found(&self.plans.drills, named, |run| (&run.name, run.is_open(), run.started.at))
            .ok_or_else(|| Refusal::Unknown("no drill with this name or id was started".to_owned()))
    }

    /// Whether an outage of this contract that begins now was planned: a drill covers it, and no
    /// open incident does.
    pub(super) fn is_planned(&self, contract: &str) -> bool {
        let declared = self.open_incidents().any(|incident| incident.clocks.iter().any(|clock| clock == contract));
        !declared && self.open_drills().any(|run| run.covers(contract))
    }

    /// Adds a recovery to the drill that it belongs to.
    pub(super) fn take(&mut self, recovery: &Measured) {
        let runs: Vec<DrillRun> = self.open_drills().cloned().collect();
        for mut run in runs {
            if run.take(recovery) {
                self.put_drill(run);
            }
        }
    }

    /// When a drill was last done, and how often it is due.
    pub(super) fn due(&self, spec: &DrillSpec) -> Due {
        Due { every: spec.every, last: self.plans.done.get(&spec.name).copied() }
    }

    /// Changes the review of an incident or drill. Returns its id.
    pub(super) fn review<T>(
        &mut self,
        on: &On,
        change: impl FnOnce(&mut Review) -> Result<T, Refusal>,
    ) -> Result<(String, T), Refusal> {
        match on {
            On::Incident(named) => {
                let mut incident = self.incident(named)?;
                let (id, result) = (incident.id.clone(), change(&mut incident.review)?);
                self.put_incident(incident);
                Ok((id, result))
            }
            On::Drill(named) => {
                let mut run = self.drill(named)?;
                let (id, result) = (run.id.clone(), change(&mut run.review)?);
                self.put_drill(run);
                Ok((id, result))
            }
        }
    }

    /// The stamp of somebody now.
    pub(super) fn stamp(by: &str, user: &str, moment: Moment) -> Stamp {
        Stamp { at: moment.wall(moment.now), by: by.to_owned(), user: user.to_owned() }
    }
}

/// The one with this id. Otherwise, of those with this name, the open one, or the newest.
fn found<T: Clone>(all: &BTreeMap<String, T>, named: &str, of: impl Fn(&T) -> (&String, bool, Timestamp)) -> Option<T> {
    let newest = || {
        let same_name = all.values().filter(|one| of(one).0 == named);
        same_name.max_by_key(|one| (of(one).1, of(one).2))
    };
    all.get(named).or_else(newest).cloned()
}

/// A promise as it is recorded.
fn promise(spec: &ContractSpec) -> Promise {
    Promise {
        contract: spec.name.clone(),
        component: spec.component.clone(),
        owner: spec.owner.clone(),
        priority: spec.priority,
        rto_seconds: spec.rto.map(|rto| rto.as_secs_f64()),
        rpo_seconds: spec.rpo.map(|rpo| rpo.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crash_hides_no_exposure() {
        let at = |seconds| Timestamp::from_unix_seconds(seconds);
        let exposed = |seconds| Interval::exactly(Duration::from_secs(seconds));
        let mut journal = Journal::new(Arc::default(), Plans::default(), at(0));
        journal.expose("copy", exposed(7200), at(10));
        journal.expose("copy", exposed(5), at(20));
        journal.alive(at(30));
        let mut batch = Batch::default();
        journal.hand_over(&mut batch);
        // The crash. What was stored goes on.
        let mut journal = Journal::new(Arc::default(), batch.plans, at(60));
        journal.expose("copy", exposed(5), at(70));
        journal.record_exposures(at(80));
        let mut batch = Batch::default();
        journal.hand_over(&mut batch);
        let worst = batch.entries.iter().find_map(|entry| match &entry.fact {
            Fact::Exposure { since, most_seconds, .. } => Some((*since, *most_seconds)),
            _ => None,
        });
        assert_eq!(worst, Some((at(10), Some(7200.0))));
        assert_eq!(batch.plans.exposures.get("copy"), Some(&None), "it begins again");
    }
}
