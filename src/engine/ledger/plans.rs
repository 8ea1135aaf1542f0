//! What the ledger does for incidents and drills by itself, once per tick.

use std::sync::Arc;

use super::{Ledger, tell};
use crate::clock::Moment;
use crate::domain::contract::Objective;
use crate::domain::drill::{DrillKind, DrillSpec};
use crate::domain::interval::Interval;
use crate::domain::outage::{Mode, Outage};
use crate::domain::people::Stamp;
use crate::domain::response;
use crate::domain::time::Timestamp;
use crate::engine::memory::Extent;
use crate::store::record::Fact;

/// A time without a tick that counts as a gap: the machine slept, or the process was stopped.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(15);

/// A time without a tick in which an outage may have gone unseen.
const PAUSE: std::time::Duration = std::time::Duration::from_secs(2);

impl Ledger {
    /// Tells the contracts which outages are planned, and lets go of clocks whose drill or incident
    /// is over.
    pub(super) fn apply_plans(&mut self, moment: Moment) {
        for followed in &mut self.contracts {
            let planned = self.journal.is_planned(&followed.spec.name);
            // A record is copied if it changes, not otherwise.
            if followed.record.contract.clock().is_planned() != planned {
                Arc::make_mut(&mut followed.record).contract.plan(planned);
            }
        }
        for name in self.running(|outage| outage.mode == Mode::Drill) {
            if !self.journal.open_drills().any(|run| run.covers(&name)) {
                self.unplan(&name, moment);
            }
        }
        self.withdraw_the_unconfirmed(moment);
    }

    /// Ends the declared clocks of incidents that are closed, unless a check fails or has confirmed
    /// them, and those whose checks are gone.
    fn withdraw_the_unconfirmed(&mut self, moment: Moment) {
        for name in self.running(|outage| !outage.declared && !outage.confirmed) {
            self.withdraw(&name, moment);
        }
        for name in self.running(|outage| outage.declared) {
            if !self.journal.open_incidents().any(|incident| incident.clocks.contains(&name)) {
                self.withdraw(&name, moment);
            }
        }
    }

    /// The contracts with such an outage.
    fn running(&self, fits: impl Fn(&Outage) -> bool) -> Vec<String> {
        let fits = self.contracts.iter().filter(|of| of.record.contract.clock().running().is_some_and(&fits));
        fits.map(|followed| followed.spec.name.clone()).collect()
    }

    /// Makes an outage real that outlives its drill, so that it wakes whom it should.
    fn unplan(&mut self, contract: &str, moment: Moment) {
        let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == contract) else { return };
        if Arc::make_mut(&mut followed.record).contract.unplan() {
            tell::of_an_outage_that_outlives_its_drill(contract);
            followed.record_outage(moment, &mut self.journal);
            self.memory.note(followed, moment, Extent::News);
        }
    }

    /// Looks after drills and gaps.
    pub(super) fn look_after_plans(&mut self, moment: Moment) {
        let at = moment.wall(moment.now);
        if moment.now.since(self.ticked) > SILENCE {
            self.journal.record(at, Fact::Silent { from: moment.wall(self.ticked), until: at });
        }
        if moment.now.since(self.ticked) > PAUSE {
            self.watching = moment.now;
        }
        self.ticked = moment.now;
        if self.memory.leads() {
            self.expire_drills(moment);
            self.verify_drills(moment);
        }
        // A check may have failed when the incident was closed, and be well now.
        self.withdraw_the_unconfirmed(moment);
    }

    /// Looks after the exposure and the alarms of the contract at this index.
    pub(super) fn look_after_alarms(&mut self, contract: usize, moment: Moment) {
        let Some(followed) = self.contracts.get(contract) else { return };
        let at = moment.wall(moment.now);
        let (name, contract) = (followed.spec.name.as_str(), &followed.record.contract);
        let severity = response::severity(contract, moment.now);
        let planned = self.journal.is_planned(name)
            || contract.clock().running().is_some_and(|outage| outage.mode == Mode::Drill);
        // Before the first look nothing is known, and that is no exposure.
        let seen = followed.record.checks().all(|(_, runs)| runs.last.is_some());
        if let Some(judged) = contract.judge(Objective::Rpo, moment.now).filter(|_| seen) {
            self.journal.expose(name, judged.figure.unwrap_or(Interval::UNKNOWN), at);
        }
        self.journal.change_alarms(name, |alarms| alarms.observe(severity, planned, at));
    }

    /// Whoever works on an open incident has reacted to the alarms of its contracts.
    pub(super) fn count_incidents_as_reactions(&mut self, at: Timestamp) {
        let open = self.journal.open_incidents().map(|incident| {
            let stamp = Stamp { at, ..incident.declared.clone() };
            (incident.id.clone(), incident.clocks.clone(), stamp)
        });
        let open: Vec<_> = open.collect();
        for (id, contracts, stamp) in open {
            for contract in contracts {
                self.acknowledge(&contract, &id, &stamp);
            }
        }
    }

    /// Aborts the drills that nobody ended in time.
    fn expire_drills(&mut self, moment: Moment) {
        let at = moment.wall(moment.now);
        let over = self.journal.open_drills().filter(|run| run.expires <= at);
        let over: Vec<String> = over.map(|run| run.id.clone()).collect();
        for id in over {
            tell::of_a_drill_that_expired(&id);
            // It was open a moment ago.
            let _ = self.abort(&id, "nobody ended the drill in time", Stamp::of_exporter(at));
            self.apply_plans(moment);
        }
    }

    /// Verifies the drills of the kind `check` that are due. A failure is recorded once, and it is
    /// tried again until everything is well.
    fn verify_drills(&mut self, moment: Moment) {
        let at = moment.wall(moment.now);
        let people = Arc::clone(&self.journal.people);
        for spec in people.drills.iter().filter(|spec| spec.kind == DrillKind::Check) {
            if !self.journal.due(spec).is_overdue(at) || !self.has_run(spec) {
                continue;
            }
            let findings = self.findings(spec, moment.now);
            let passed = findings.is_empty();
            if !passed && self.journal.failing.contains(&spec.name) {
                continue;
            }
            tell::of_a_verification(&spec.name, &findings);
            self.journal.record(at, Fact::Verified { drill: spec.name.clone(), kind: spec.kind, findings });
            if passed {
                self.journal.failing.remove(&spec.name);
                self.journal.put_done(&spec.name, at);
            } else {
                self.journal.failing.insert(spec.name.clone());
            }
        }
    }

    /// Whether every check of the drill has run since the start.
    fn has_run(&self, spec: &DrillSpec) -> bool {
        let concerned = self.contracts.iter().filter(|followed| spec.concerns(&followed.spec.name).is_some());
        let mut checks = concerned.flat_map(|followed| followed.record.checks()).peekable();
        checks.peek().is_some() && checks.all(|(_, runs)| runs.last.is_some())
    }

    fn findings(&self, spec: &DrillSpec, now: Timestamp) -> Vec<String> {
        let contracts = self.contracts.iter().map(|followed| &followed.record.contract);
        spec.verify(contracts, now).into_iter().map(|found| found.text).collect()
    }
}
