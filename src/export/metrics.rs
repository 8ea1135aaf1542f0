//! `/metrics`: collected from a snapshot, so that what is gone from the configuration is gone from the scrape.
//!
//! What is not known is absent: there is never a 0 or a NaN for "unknown".

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::View;
use crate::domain::contract::{CheckSpec, Objective};
use crate::domain::observation::ReadingKind;
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::domain::trigger::TriggerSpec;
use crate::engine::panics;
use crate::engine::snapshot::{CheckRecord, ContractRecord, Histogram, TriggerRecord};

mod process;

/// What is said of a metric beside its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// The name; of a counter without `_total`.
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
    /// Goes up and down.
    Gauge,
    /// Goes up.
    Counter,
    /// Counts by size.
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
        "What is fixed about a contract; always 1";
    TARGET: Gauge "dr_objective_target_seconds" ["contract,objective"]
        "What the objective must stay under";
    OBSERVED: Gauge "dr_objective_observed_seconds" ["contract,objective"]
        "The most that it can be. RPO: age of the recovery point. RTO: length of the outage, else the last recovery time. Absent while nothing bounds it";
    KNOWN: Gauge "dr_objective_known_seconds" ["contract,objective"]
        "The least that it is known to be. RPO: age, at the last look, of the oldest change known to be missing; 0 while none is. RTO: length of the outage, else the last recovery time. Absent where there is none";
    USED: Gauge "dr_objective_used_ratio" ["contract,objective"]
        "Observed divided by target. Absent while unknown";
    STATUS: Gauge "dr_objective_status" ["contract,objective,status"]
        "1 for the status that holds, 0 for the other three";
    COMPLIANT: Gauge "dr_objective_compliant" ["contract,objective"]
        "1 when met or at risk, 0 when breached. Absent when unproven";
    AT_RISK_RATIO: Gauge "dr_at_risk_ratio" ["contract"]
        "The share of a target above which it is at risk";
    RECOVERY_POINT: Gauge "dr_recovery_point_timestamp_seconds" ["contract,check"]
        "The newest instant up to which the DR copy is proven. Absent if never, or withdrawn";
    EVIDENCE: Gauge "dr_evidence_timestamp_seconds" ["contract,check"]
        "When the check last learned something about what it feeds; the older of health and copy";
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
        "Recoveries that were measured, by whether they met the target of their day";
    HEALTHY: Gauge "dr_check_healthy" ["contract,check,kind"]
        "1 when the component works, 0 when it fails. Absent while nothing fresh is known";
    CONSECUTIVE: Gauge "dr_check_consecutive_failures" ["contract,check,kind"]
        "How often in a row the component failed";
    WARNING: Gauge "dr_check_warning" ["contract,check,kind"]
        "1 while the sync lag is above warn_after, or the check warns of something else. Absent where nothing is looked at or known";
    WARN_AFTER: Gauge "dr_check_warn_after_seconds" ["contract,check,kind"]
        "The sync lag above which there is a warning. Absent where there is none";
    LAG_BUDGET: Gauge "dr_check_lag_budget_seconds" ["contract,check,kind"]
        "The sync lag that the synchronisation is meant to stay below. Absent where it is not configured";
    COPY_LOST: Gauge "dr_copy_lost" ["contract,check"]
        "1 while the DR copy is proven lost. Absent while nothing fresh is known";
    RUNS: Counter "dr_check_runs" ["contract,check,kind,outcome"]
        "Runs of the check, by outcome";
    FAILURES: Counter "dr_check_failures" ["contract,check,kind,reason"]
        "What runs found wrong, by reason";
    DURATION: Histogram "dr_check_duration_seconds" ["kind"]
        "How long runs took";
    WITHOUT_OK: Gauge "dr_degraded_operation_ok" ["contract,without"]
        "While the contract `without` is down: 1 when this one works, 0 when it fails. Absent while the other is up, or nothing is known";
    WITHOUT_TESTED: Gauge "dr_degraded_operation_last_timestamp_seconds" ["contract,without,result"]
        "When the contract was last seen to work (ok) or to fail (violated) while the other was down. Absent if never";
    TRIGGER_ACTIVE: Gauge "dr_trigger_active" ["trigger,action,notification,mode"]
        "1 while the trigger fires, 0 while it is clear. Absent while its evidence is missing";
    TRIGGER_KNOWN: Gauge "dr_trigger_known" ["trigger,action,notification,mode"]
        "1 while there is fresh evidence of the trigger's condition, 0 while there is none";
    TRIGGER_FIRED: Gauge "dr_trigger_last_fired_timestamp_seconds" ["trigger,action,notification,mode"]
        "When the trigger last began to fire. Absent if never";
    BUILD_INFO: Gauge "dr_exporter_build_info" ["version"]
        "What is running; always 1";
    CHECKS: Gauge "dr_exporter_checks" [""]
        "How many checks are configured";
    RELOAD_SUCCESSFUL: Gauge "dr_exporter_config_last_reload_successful" [""]
        "1 if the configuration was good when it was last read, 0 if the one before is still in use";
    RELOAD_SUCCESS: Gauge "dr_exporter_config_last_reload_success_timestamp_seconds" [""]
        "When a good configuration was last read";
    STORE_ERRORS: Counter "dr_exporter_store_errors" [""]
        "How often the storage failed";
    PANICS: Counter "dr_exporter_panics" [""]
        "Faults of the exporter: panics, whether in a run of a check or anywhere else";
}

/// A metric with its samples.
struct Family {
    description: Description,
    samples: Vec<Sample>,
}

type Labels = Vec<(&'static str, String)>;

enum Sample {
    Gauge(Labels, f64),
    Counter(Labels, f64),
    Histogram(Labels, Histogram),
}

impl Sample {
    /// Writes the sample; one without labels has no empty braces.
    fn encode(&self, metric: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let (Self::Gauge(labels, _) | Self::Counter(labels, _) | Self::Histogram(labels, _)) = self;
        if labels.is_empty() {
            self.encode_value(metric)
        } else {
            self.encode_value(&mut metric.encode_family(labels)?)
        }
    }

    fn encode_value(&self, metric: &mut MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Gauge(_, value) => metric.encode_gauge(value),
            Self::Counter(_, value) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
            Self::Histogram(_, histogram) => {
                let buckets = histogram.buckets();
                metric.encode_histogram::<NoLabelSet>(histogram.sum(), histogram.count(), &buckets, None)
            }
        }
    }
}

/// The scrape in OpenMetrics text.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn openmetrics(view: View<'_>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families(view))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// The scrape in the Prometheus text format, which older scrapers and `promtool` read.
///
/// It differs from OpenMetrics in this: a counter's family has the `_total` of its samples, and there is no end mark.
///
/// # Errors
/// As [`openmetrics`].
pub fn prometheus(view: View<'_>) -> Result<String, fmt::Error> {
    let text = openmetrics(view)?;
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut lines = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", comment, name, rest] if counters.contains(name) => {
                writeln!(lines, "# {comment} {name}_total {rest}")?;
            }
            _ => writeln!(lines, "{line}")?,
        }
    }
    Ok(lines)
}

struct Families(BTreeMap<&'static str, Family>);

impl fmt::Debug for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} families", self.0.len())
    }
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Family { description, samples } in self.0.values() {
            let kind = match description.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(description.name, description.help, None, kind)?;
            for sample in samples {
                sample.encode(&mut metric)?;
            }
        }
        Ok(())
    }
}

/// Collects samples, by the name of their family.
struct Builder<'a> {
    view: View<'a>,
    families: BTreeMap<&'static str, Family>,
}

fn families(view: View<'_>) -> BTreeMap<&'static str, Family> {
    let mut builder = Builder { view, families: BTreeMap::new() };
    for record in &view.snapshot.contracts {
        builder.contract(record);
        for (index, (spec, check)) in record.contract.spec().checks.iter().zip(&record.checks).enumerate() {
            builder.check(record, index, spec, check);
        }
    }
    for record in &view.snapshot.triggers {
        builder.trigger(record);
    }
    for (kind, histogram) in &view.snapshot.durations {
        builder.add(DURATION, Sample::Histogram(vec![("kind", (*kind).to_owned())], histogram.clone()));
    }
    builder.gauge(BUILD_INFO, &[("version", env!("CARGO_PKG_VERSION"))], 1.0);
    let checks: usize = view.snapshot.contracts.iter().map(|record| record.checks.len()).sum();
    builder.gauge(CHECKS, &[], as_f64(checks as u64));
    if let Some(configuration) = &view.snapshot.configuration {
        builder.gauge(RELOAD_SUCCESSFUL, &[], one_or_zero(configuration.refused.is_none()));
        let read = builder.seconds_since_epoch(configuration.read);
        builder.gauge(RELOAD_SUCCESS, &[], read);
    }
    builder.add(PANICS, Sample::Counter(Vec::new(), as_f64(panics::counted())));
    if let Some(storage) = &view.snapshot.storage {
        builder.add(STORE_ERRORS, Sample::Counter(Vec::new(), as_f64(storage.errors)));
    }
    for (description, value) in process::figures() {
        match description.kind {
            Kind::Counter => builder.add(description, Sample::Counter(Vec::new(), value)),
            _ => builder.gauge(description, &[], value),
        }
    }
    builder.families
}

impl Builder<'_> {
    fn add(&mut self, description: Description, sample: Sample) {
        let family = self.families.entry(description.name);
        family.or_insert_with(|| Family { description, samples: Vec::new() }).samples.push(sample);
    }

    fn gauge(&mut self, description: Description, labels: &[(&'static str, &str)], value: f64) {
        self.add(description, Sample::Gauge(owned(labels), value));
    }

    /// A gauge that is absent while its value is not known.
    fn known(&mut self, description: Description, labels: &[(&'static str, &str)], value: Option<f64>) {
        if let Some(value) = value {
            self.gauge(description, labels, value);
        }
    }

    fn seconds_since_epoch(&self, instant: Timestamp) -> f64 {
        self.view.moment.wall(instant).as_unix_seconds()
    }

    fn contract(&mut self, record: &ContractRecord) {
        let contract = &record.contract;
        let spec = contract.spec();
        let name = ("contract", spec.name.as_str());
        let info = [
            name,
            ("component", spec.component.as_str()),
            ("owner", spec.owner.as_str()),
            ("priority", spec.priority.label()),
        ];
        self.gauge(CONTRACT_INFO, &info, 1.0);
        self.gauge(AT_RISK_RATIO, &[name], spec.at_risk_ratio);
        for objective in Objective::ALL {
            self.objective(record, objective);
        }
        if spec.rto.is_some() {
            self.recoveries(record);
        }
        for (without, known) in &record.independence {
            let labels = [name, ("without", without.as_str())];
            let works = self.view.snapshot.works_without(contract, without, self.view.moment.now);
            self.known(WITHOUT_OK, &labels, works.map(one_or_zero));
            for (result, at) in [("ok", known.last_ok), ("violated", known.last_violated)] {
                let [name, without] = labels;
                self.known(WITHOUT_TESTED, &[name, without, ("result", result)], at.map(Timestamp::as_unix_seconds));
            }
        }
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

    fn objective(&mut self, record: &ContractRecord, objective: Objective) {
        let Some(judgement) = record.contract.judge(objective, self.view.moment.now) else { return };
        let (name, label) = (("contract", record.contract.spec().name.as_str()), ("objective", objective.label()));
        let labels = [name, label];
        self.gauge(TARGET, &labels, judgement.target.as_secs_f64());
        self.known(OBSERVED, &labels, judgement.observed().map(|observed| observed.as_secs_f64()));
        self.known(KNOWN, &labels, judgement.known().map(|known| known.as_secs_f64()));
        self.known(USED, &labels, judgement.used_ratio());
        self.known(COMPLIANT, &labels, judgement.status().is_compliant().map(one_or_zero));
        for status in Status::ALL {
            let labels = [name, label, ("status", status.label())];
            self.gauge(STATUS, &labels, one_or_zero(status == judgement.status()));
        }
    }

    fn recoveries(&mut self, record: &ContractRecord) {
        let clock = record.contract.clock();
        let name = ("contract", record.contract.spec().name.as_str());
        let labels = [name];
        self.gauge(IN_PROGRESS, &labels, one_or_zero(clock.running().is_some()));
        let started = clock.running().map(|outage| self.seconds_since_epoch(outage.trigger));
        self.known(STARTED, &labels, started);
        if let Some(last) = clock.last_recovery() {
            self.gauge(LAST_RECOVERY, &labels, last.recovery_time().as_secs_f64());
            self.gauge(LAST_DOWNTIME, &labels, last.downtime().as_secs_f64());
            self.gauge(LAST_END, &labels, self.seconds_since_epoch(last.healthy));
        }
        for sort in record.contract.recoveries() {
            let result = if sort.met { "met" } else { "missed" };
            let labels = [name, ("result", result), ("mode", sort.mode.label())];
            self.add(RECOVERIES, Sample::Counter(owned(&labels), as_f64(sort.count)));
        }
    }

    fn check(&mut self, record: &ContractRecord, index: usize, spec: &CheckSpec, check: &CheckRecord) {
        let (contract, now) = (&record.contract, self.view.moment.now);
        let place = [("contract", contract.spec().name.as_str()), ("check", spec.name.as_str())];
        let [contract_label, check_label] = place;
        let labels = [contract_label, check_label, ("kind", spec.kind)];
        self.known(HEALTHY, &labels, contract.healthy(index, now).map(one_or_zero));
        let failures = contract.clock().consecutive_failures(index);
        self.gauge(CONSECUTIVE, &labels, f64::from(failures));
        self.known(WARNING, &labels, contract.warns(index, now).map(one_or_zero));
        self.known(WARN_AFTER, &labels, spec.warn_after.map(|after| after.as_secs_f64()));
        self.known(LAG_BUDGET, &labels, spec.lag_budget.map(|budget| budget.as_secs_f64()));
        let evidence = contract.evidence(index).map(|at| self.seconds_since_epoch(at));
        self.known(EVIDENCE, &place, evidence);
        if spec.feeds.rpo {
            let point = contract.point(index).and_then(|point| point.instant());
            self.known(RECOVERY_POINT, &place, point.map(|at| self.seconds_since_epoch(at)));
            self.known(COPY_LOST, &place, contract.copy_lost(index, now).map(one_or_zero));
        }
        for (outcome, count) in check.runs() {
            let [contract, check, kind] = labels;
            let labels = [contract, check, kind, ("outcome", outcome.label())];
            self.add(RUNS, Sample::Counter(owned(&labels), as_f64(count)));
        }
        for (reason, count) in &check.failures {
            let [contract, check, kind] = labels;
            self.add(FAILURES, Sample::Counter(owned(&[contract, check, kind, ("reason", reason)]), as_f64(*count)));
        }
        for reading in check.last.iter().flat_map(|last| &last.observation.readings) {
            let mut labels = owned(&place);
            if let (Some(name), Some(value)) = (reading.kind.label, &reading.label) {
                labels.push((name, value.to_string()));
            }
            self.add(of_reading(reading.kind), Sample::Gauge(labels, reading.value.at(self.view.moment)));
        }
    }
}

/// The description of a gauge that belongs to one kind of check.
#[must_use]
pub const fn of_reading(reading: &ReadingKind) -> Description {
    Description { name: reading.metric, help: reading.help, labels: "contract,check", kind: Kind::Gauge }
}

fn owned(labels: &[(&'static str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

const fn one_or_zero(yes: bool) -> f64 {
    if yes { 1.0 } else { 0.0 }
}

#[expect(clippy::cast_precision_loss, reason = "a float is what Prometheus stores; exact below 2^53")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}
