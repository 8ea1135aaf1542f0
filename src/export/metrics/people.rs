//! The metrics of incidents, drills, alarms and the record.

use std::collections::BTreeMap;

use super::{
    ALARM_LAST, ALARM_TARGET, ALARM_WAITING, Builder, DRILL_ACTIVE, DRILL_DUE, DRILL_LAST, DRILL_OVERDUE,
    DRILL_TRIGGER, INCIDENT_ACTIVE, INCIDENT_BEGAN, INCIDENT_DONE, INCIDENT_STEPS, RECORD_ENTRIES, RECORD_HEAD, as_f64,
    one_or_zero,
};
use crate::domain::incident::Incident;
use crate::domain::time::Timestamp;
use crate::domain::trigger::Watched;
use crate::export::people;

impl Builder<'_> {
    /// Incidents, drills, alarms and the record.
    pub(super) fn people(&mut self) {
        self.incidents();
        self.drills();
        self.alarms();
        let head = self.view.snapshot.storage.as_ref().and_then(|storage| storage.head.clone());
        if let Some(head) = head {
            self.gauge(RECORD_ENTRIES, &[], as_f64(u64::try_from(head.seq).unwrap_or(0)));
            self.gauge(RECORD_HEAD, &[], head.number());
        }
    }

    /// Every incident of the configuration, and open ones that have left it.
    fn incidents(&mut self) {
        let snapshot = self.view.snapshot;
        let open: BTreeMap<&str, &Incident> = snapshot
            .plans
            .incidents
            .values()
            .filter(|incident| incident.is_open())
            .map(|incident| (incident.name.as_str(), incident))
            .collect();
        let configured = snapshot.people.incidents.iter().map(|spec| spec.name.as_str());
        let names: std::collections::BTreeSet<&str> = configured.chain(open.keys().copied()).collect();
        for name in names {
            let labels = [("incident", name)];
            let incident = open.get(name);
            self.gauge(INCIDENT_ACTIVE, &labels, one_or_zero(incident.is_some()));
            if let Some(incident) = incident {
                self.gauge(INCIDENT_BEGAN, &labels, incident.began.as_unix_seconds());
                self.gauge(INCIDENT_DONE, &labels, as_f64(incident.steps_done() as u64));
                self.gauge(INCIDENT_STEPS, &labels, as_f64(incident.steps.len() as u64));
            }
        }
    }

    fn drills(&mut self) {
        let (snapshot, now) = (self.view.snapshot, self.view.moment.wall(self.view.moment.now));
        let running = || snapshot.plans.drills.values().filter(|run| run.is_open());
        for spec in &snapshot.people.drills {
            let labels = [("drill", spec.name.as_str()), ("kind", spec.kind.label())];
            let due = people::due(self.view, spec);
            self.known(DRILL_LAST, &labels, due.last.map(Timestamp::as_unix_seconds));
            self.known(DRILL_DUE, &labels, due.at().map(Timestamp::as_unix_seconds));
            self.gauge(DRILL_OVERDUE, &labels, one_or_zero(due.is_overdue(now)));
            self.gauge(DRILL_ACTIVE, &labels, one_or_zero(running().any(|run| run.name == spec.name)));
        }
        for record in &snapshot.triggers {
            let spec = record.trigger.spec();
            let Watched::Check { contract, .. } = &spec.watched else { continue };
            let watched = snapshot.contracts.iter().find(|record| record.contract.spec().name == *contract);
            let planned = watched.is_some_and(|record| people::is_planned(self.view, &record.contract));
            self.gauge(DRILL_TRIGGER, &[("trigger", spec.name.as_str())], one_or_zero(planned));
        }
    }

    fn alarms(&mut self) {
        let (snapshot, now) = (self.view.snapshot, self.view.moment.wall(self.view.moment.now));
        for (severity, response) in &snapshot.people.escalation {
            self.gauge(ALARM_TARGET, &[("severity", severity.label())], response.within.as_secs_f64());
        }
        for record in &snapshot.contracts {
            let name = record.contract.spec().name.as_str();
            let Some(alarms) = snapshot.plans.alarms.get(name) else { continue };
            if let Some((severity, waiting)) = alarms.waiting(now) {
                let labels = [("contract", name), ("severity", severity.label())];
                self.gauge(ALARM_WAITING, &labels, waiting.as_secs_f64());
            }
            if let Some((severity, took)) = alarms.last {
                self.gauge(ALARM_LAST, &[("contract", name), ("severity", severity.label())], took);
            }
        }
    }
}
