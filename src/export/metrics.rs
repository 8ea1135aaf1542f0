//! `/metrics`: collected from a snapshot, so that whatever leaves the configuration also leaves the
//! scrape.
//!
//! What is not known is absent. There is never a 0 or a NaN for "unknown".
//!
//! A scrape of many contracts is mostly what it was a moment ago. [`Scrapes`] keeps what it wrote, and
//! writes again only what changed.

use exposition::{Families, Labels};

use super::View;
use crate::clock;
use crate::domain::observation::ReadingKind;
use crate::domain::time::Timestamp;
use crate::domain::trigger::TriggerSpec;
use crate::engine::panics;
use crate::engine::snapshot::TriggerRecord;

mod contracts;
mod exporter;
mod exposition;
mod packed;
mod people;
mod process;
mod scrapes;

pub use exposition::Format;
pub use scrapes::{Pieces, Scrapes};

/// Everything about a metric except its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name. For a counter it has no `_total`.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The names of its labels, separated by commas.
    pub labels: &'static str,
    /// Gauge, counter or histogram.
    pub kind: Kind,
}

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only goes up.
    Counter,
    /// It counts values by size.
    Histogram,
}

macro_rules! descriptions {
    ($($id:ident: $kind:ident $name:literal [$labels:literal] $help:literal;)+) => {
        $(const $id: Description = Description { name: $name, help: $help, labels: $labels, kind: Kind::$kind };)+

        /// Every metric that does not belong to one kind of check.
        pub const DESCRIPTIONS: &[Description] = &[$($id,)+];
    };
}

descriptions! {
    CONTRACT_INFO: Gauge "dr_contract_info" ["contract,component,owner,priority"]
        "The fixed properties of a contract; always 1";
    TARGET: Gauge "dr_objective_target_seconds" ["contract,objective"]
        "The target of the objective, which the figure must stay below";
    OBSERVED: Gauge "dr_objective_observed_seconds" ["contract,objective"]
        "The upper end of the figure. RPO: age of the recovery point. RTO: length of the outage, otherwise the last recovery time. Absent while there is no upper end";
    KNOWN: Gauge "dr_objective_known_seconds" ["contract,objective"]
        "The lower end of the figure. RPO: age, at the last look, of the oldest change known to be missing; 0 while none is. RTO: length of the outage, otherwise the last recovery time. Absent while there is no figure";
    USED: Gauge "dr_objective_used_ratio" ["contract,objective"]
        "The upper end of the figure divided by the target. Absent while there is no upper end";
    STATUS: Gauge "dr_objective_status" ["contract,objective,status"]
        "1 for the current status, 0 for the other three";
    COMPLIANT: Gauge "dr_objective_compliant" ["contract,objective"]
        "1 when met or at risk, 0 when breached. Absent when unproven";
    AT_RISK_RATIO: Gauge "dr_at_risk_ratio" ["contract"]
        "The share of a target above which it is at risk";
    RECOVERY_POINT: Gauge "dr_recovery_point_timestamp_seconds" ["contract,check"]
        "The newest instant up to which the DR copy is proven to hold everything. Absent if nothing was proven, or the proof was withdrawn";
    EVIDENCE: Gauge "dr_evidence_timestamp_seconds" ["contract,check"]
        "When the check last learned something about the objectives that it feeds: the older time of health and copy";
    IN_PROGRESS: Gauge "dr_recovery_in_progress" ["contract"]
        "1 while the recovery clock runs";
    STARTED: Gauge "dr_recovery_started_timestamp_seconds" ["contract"]
        "When the running recovery clock was triggered. Absent while none runs";
    LAST_RECOVERY: Gauge "dr_recovery_last_seconds" ["contract"]
        "From trigger to health, in the last recovery";
    LAST_DOWNTIME: Gauge "dr_recovery_last_downtime_seconds" ["contract"]
        "From first failure to health, in the last recovery";
    LAST_END: Gauge "dr_recovery_last_end_timestamp_seconds" ["contract"]
        "When the last recovery ended";
    RECOVERIES: Counter "dr_recoveries" ["contract,result,mode"]
        "Measured recoveries, by whether they met the target that applied then";
    HEALTHY: Gauge "dr_check_healthy" ["contract,check,kind"]
        "1 when the component works, 0 when it fails. Absent without fresh evidence";
    FEEDS: Gauge "dr_check_feeds" ["contract,check,objective"]
        "1 for each objective that the check feeds";
    CONSECUTIVE: Gauge "dr_check_consecutive_failures" ["contract,check,kind"]
        "How often in a row the component failed";
    WARNING: Gauge "dr_check_warning" ["contract,check,kind"]
        "1 while the sync lag is above warn_after, or the check has another warning. Absent if it cannot warn, or without fresh evidence";
    WARN_AFTER: Gauge "dr_check_warn_after_seconds" ["contract,check,kind"]
        "The sync lag above which there is a warning. Absent if not configured";
    LAG_BUDGET: Gauge "dr_check_lag_budget_seconds" ["contract,check,kind"]
        "The sync lag that the synchronisation is meant to stay below. Absent if not configured";
    COPY_LOST: Gauge "dr_copy_lost" ["contract,check"]
        "1 while the DR copy is proven lost. Absent without fresh evidence";
    RUNS: Counter "dr_check_runs" ["contract,check,kind,outcome"]
        "Runs of the check, by outcome";
    FAILURES: Counter "dr_check_failures" ["contract,check,kind,reason"]
        "Findings of the runs of the check, by reason";
    DURATION: Histogram "dr_check_duration_seconds" ["kind"]
        "How long runs took";
    WITHOUT_OK: Gauge "dr_degraded_operation_ok" ["contract,without"]
        "While the contract `without` is down: 1 when this one works, 0 when it fails. Absent while the other is up, or nothing is known";
    WITHOUT_TESTED: Gauge "dr_degraded_operation_last_timestamp_seconds" ["contract,without,result"]
        "When the contract was last seen to work (ok) or to fail (violated) while the other was down. Absent if never";
    TRIGGER_ACTIVE: Gauge "dr_trigger_active" ["trigger,action,notification,mode"]
        "1 while the trigger fires, 0 while it is clear. Absent without fresh evidence";
    TRIGGER_KNOWN: Gauge "dr_trigger_known" ["trigger,action,notification,mode"]
        "1 while there is fresh evidence of the trigger's condition, 0 while there is none";
    TRIGGER_FIRED: Gauge "dr_trigger_last_fired_timestamp_seconds" ["trigger,action,notification,mode"]
        "When the trigger last began to fire. Absent if never";
    INCIDENT_ACTIVE: Gauge "dr_incident_active" ["incident"]
        "1 while the incident is declared and not closed";
    INCIDENT_BEGAN: Gauge "dr_incident_began_timestamp_seconds" ["incident"]
        "When the open incident began. Absent while none is open";
    INCIDENT_DONE: Gauge "dr_incident_steps_done" ["incident"]
        "The steps of the checklist that were taken. Absent while the incident is not open";
    INCIDENT_STEPS: Gauge "dr_incident_steps" ["incident"]
        "The steps of the checklist. Absent while the incident is not open";
    DRILL_LAST: Gauge "dr_drill_last_timestamp_seconds" ["drill,kind"]
        "When the drill was last done. Absent if it never was";
    DRILL_DUE: Gauge "dr_drill_due_timestamp_seconds" ["drill,kind"]
        "When the drill is due. Absent if it was never done";
    DRILL_OVERDUE: Gauge "dr_drill_overdue" ["drill,kind"]
        "1 if the drill should have been done by now, also if it was never done";
    DRILL_ACTIVE: Gauge "dr_drill_active" ["drill,kind"]
        "1 while the drill goes on";
    DRILL_CONTRACT: Gauge "dr_drill_in_progress" ["contract"]
        "1 while an outage of the contract is part of a drill, or would be. Never during a declared incident";
    DRILL_TRIGGER: Gauge "dr_drill_trigger_in_progress" ["trigger"]
        "1 while the trigger watches a contract whose outage is part of a drill";
    ALARM_TARGET: Gauge "dr_alert_response_target_seconds" ["severity"]
        "The time within which somebody must react to an alarm";
    ALARM_WAITING: Gauge "dr_alert_response_waiting_seconds" ["contract,severity"]
        "How long the current alarm of the contract has waited for a reaction. Absent if there is none, somebody has reacted, or it is a drill";
    ALARM_LAST: Gauge "dr_alert_response_last_seconds" ["contract,severity"]
        "From the beginning of an alarm to the reaction, for the last alarm that somebody answered";
    RECORD_ENTRIES: Gauge "dr_record_entries" [""]
        "The number of entries of the record on the disk";
    RECORD_HEAD: Gauge "dr_record_head" [""]
        "The first 13 hexadecimal digits of the record's last hash, as a number";
    BUILD_INFO: Gauge "dr_exporter_build_info" ["version"]
        "The version that is running; always 1";
    CHECKS: Gauge "dr_exporter_checks" [""]
        "The number of configured checks";
    RELOAD_SUCCESSFUL: Gauge "dr_exporter_config_last_reload_successful" [""]
        "1 if the configuration had no error when it was last read, 0 if it was refused and the one before is still in use";
    RELOAD_SUCCESS: Gauge "dr_exporter_config_last_reload_success_timestamp_seconds" [""]
        "When a configuration without an error was last read";
    SHARD_INFO: Gauge "dr_exporter_shard_info" ["shard"]
        "Which of the shards this is, from 0; always 1";
    TOTAL_SHARDS: Gauge "dr_exporter_total_shards" [""]
        "How many shards measure the configuration together. 1 if it is not divided";
    CONFIG_CONTRACTS: Gauge "dr_exporter_config_contracts" [""]
        "The number of contracts in the whole configuration, over all shards";
    STORE_ERRORS: Counter "dr_exporter_store_errors" [""]
        "Errors of the storage";
    STORE_DAMAGED: Gauge "dr_exporter_store_damaged" [""]
        "Rows of the storage that were found damaged or lost, until a person clears them away";
    LEADER: Gauge "dr_exporter_leader" [""]
        "1 if this replica leads, so that it records, 0 if it follows. Absent if the storage is not shared, and until it was reached once";
    SHARED_AGE: Gauge "dr_exporter_shared_state_age_seconds" [""]
        "How long ago this replica last knew all that the replicas share. Absent if the storage is not shared, and until it was reached once";
    WEB_CONNECTIONS: Gauge "dr_exporter_web_connections" [""]
        "Open connections of the web server";
    WEB_CLOSED: Counter "dr_exporter_web_connections_closed" ["reason"]
        "Connections that the web server closed before their time: slow_request, idle, slow_reader, or no_room for another one";
    WEB_REFUSED: Counter "dr_exporter_web_requests_refused" ["reason"]
        "Requests that the web server refused: unauthorized, rate_limit, cross_site or busy";
    WEB_CONFIG: Gauge "dr_exporter_web_config_last_reload_successful" [""]
        "1 if the web configuration had no error when it was last read, 0 if it was refused and the one before is still in use. Absent without a web configuration";
    PANICS: Counter "dr_exporter_panics" [""]
        "Panics, in a run of a check or anywhere else. Each one is a fault of the exporter";
}

/// The scrape in OpenMetrics text.
#[must_use]
pub fn openmetrics(view: View<'_>) -> String {
    Scrapes::default().text(view, Format::OpenMetrics).into_string()
}

/// The scrape in the Prometheus text format, which older scrapers and `promtool` read.
#[must_use]
pub fn prometheus(view: View<'_>) -> String {
    Scrapes::default().text(view, Format::Prometheus).into_string()
}

/// Collects the samples that are written anew for every scrape.
struct Builder<'a> {
    view: View<'a>,
    families: Families,
}

impl Builder<'_> {
    /// Everything but the contracts and their checks.
    fn rest(&mut self) {
        for record in &self.view.snapshot.triggers {
            self.trigger(record);
        }
        for (kind, histogram) in &self.view.snapshot.durations {
            self.families.of(DURATION).histogram(&[("kind", kind)], histogram);
        }
        self.gauge(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
        let checks: usize = self.view.snapshot.contracts.iter().map(|record| record.checks().len()).sum();
        self.gauge(CHECKS, &[], as_f64(checks as u64));
        if let Some(configuration) = &self.view.snapshot.configuration {
            self.configuration(configuration);
        }
        self.counter(PANICS, &[], as_f64(panics::counted()));
        self.server();
        self.people();
        if let Some(storage) = &self.view.snapshot.storage {
            self.counter(STORE_ERRORS, &[], as_f64(storage.errors));
            self.gauge(STORE_DAMAGED, &[], as_f64(storage.damage.count));
            if let Some(share) = &storage.share {
                self.gauge(LEADER, &[], one_or_zero(share.leads()));
                self.gauge(SHARED_AGE, &[], clock::since(share.read).as_secs_f64());
            }
        }
        for (description, value) in process::figures() {
            match description.kind {
                Kind::Counter => self.counter(description, &[], value),
                _ => self.gauge(description, &[], value),
            }
        }
    }

    fn gauge(&mut self, description: Description, labels: Labels<'_>, value: f64) {
        self.families.of(description).gauge(labels, value);
    }

    fn counter(&mut self, description: Description, labels: Labels<'_>, value: f64) {
        self.families.of(description).counter(labels, value);
    }

    fn known(&mut self, description: Description, labels: Labels<'_>, value: Option<f64>) {
        self.families.known(description, labels, value);
    }

    fn seconds_since_epoch(&self, instant: Timestamp) -> f64 {
        self.view.moment.wall(instant).as_unix_seconds()
    }

    fn trigger(&mut self, record: &TriggerRecord) {
        let TriggerSpec { name, action, notification, mode, .. } = record.trigger.spec();
        let labels = [
            ("trigger", name.as_str()),
            ("action", action.as_str()),
            ("notification", notification.as_str()),
            ("mode", mode.label()),
        ];
        let active = record.trigger.is_active(self.view.moment.now);
        self.known(TRIGGER_ACTIVE, &labels, active.map(one_or_zero));
        self.gauge(TRIGGER_KNOWN, &labels, one_or_zero(active.is_some()));
        let fired = record.trigger.last_fired().map(|at| self.seconds_since_epoch(at));
        self.known(TRIGGER_FIRED, &labels, fired);
    }
}

/// The description of a gauge that belongs to one kind of check.
#[must_use]
pub const fn of_reading(reading: &ReadingKind) -> Description {
    Description { name: reading.metric, help: reading.help, labels: "contract,check", kind: Kind::Gauge }
}

const fn one_or_zero(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus stores; exact below 2^53")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}
