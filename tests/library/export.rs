//! What is shown: a golden scrape, hostile labels, the report, its text; and the docs in step with it.
//!
//! `UPDATE=1 cargo test --test library export::` writes the golden files and the generated tables
//! anew; read the difference.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use dr_exporter::checks::KindConfig;
use dr_exporter::clients::reasons;
use dr_exporter::clock::Moment;
use dr_exporter::domain::check::{CheckSpec, Feeds};
use dr_exporter::domain::contract::{Contract, ContractSpec, Priority};
use dr_exporter::domain::independence::Independence;
use dr_exporter::domain::observation::{
    CopyState, Finding, Health, Observation, Reading, ReadingKind, ReadingValue, Reason,
};
use dr_exporter::domain::recovery_clock::Thresholds;
use dr_exporter::domain::time::Timestamp;
use dr_exporter::domain::trigger::{Trigger, TriggerMode, TriggerSpec, Watched};
use dr_exporter::engine::report::{CheckId, Report};
use dr_exporter::engine::snapshot::{
    CheckRecord, Configuration, ContractRecord, Histogram, LastRun, Share, Snapshot, TriggerRecord,
};
use dr_exporter::export::metrics::{self, Kind};
use dr_exporter::export::report::StatusReport;
use dr_exporter::export::{View, text};
use dr_exporter::store::damage::Damage;
use dr_exporter::store::keeper::StoreHealth;
use dr_exporter::store::record::Head;

use super::people;

static DOWN: Reason = Reason::new("down", "Start it.");
static SLOW: Reason = Reason::new("slow", "Make it fast.");
static GONE: Reason = Reason::new("gone", "Make it anew.");

pub(super) fn t(seconds: i64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

pub(super) fn check(name: &str, kind: &'static str, rpo: bool) -> CheckSpec {
    CheckSpec {
        name: name.to_owned(),
        kind: KindConfig::ALL.iter().find(|info| info.name == kind).expect("a kind"),
        interval: Duration::from_secs(10),
        interval_when_down: Duration::from_secs(5),
        timeout: Duration::from_secs(5),
        failures_to_trigger: 3,
        successes_to_recover: 1,
        warn_after: rpo.then_some(Duration::from_secs(60)),
        lag_budget: rpo.then_some(Duration::from_secs(30)),
        feeds: Feeds { rto: true, rpo },
    }
}

pub(super) fn contract(name: &str, component: &str, rpo: bool, checks: Vec<CheckSpec>) -> Contract {
    let spec = ContractSpec {
        name: name.to_owned(),
        component: component.to_owned(),
        owner: "ops".to_owned(),
        priority: Priority::P0,
        rto: Some(Duration::from_secs(300)),
        rpo: rpo.then_some(Duration::from_secs(100)),
        at_risk_ratio: 0.8,
        drill_every: None,
        independent_of: if name == "recovered" { vec!["down".to_owned()] } else { Vec::new() },
    };
    Contract::new(Arc::new(spec), checks)
}

/// A record that has seen these observations of its one check, at these seconds.
pub(super) fn record(contract: Contract, seen: Vec<(i64, Observation)>) -> Arc<ContractRecord> {
    let tested = Independence { last_ok: Some(t(90)), ..Independence::default() };
    let independence = contract.spec().independent_of.iter().map(|other| (other.clone(), tested.clone())).collect();
    let mut record = ContractRecord::new(contract, |_| CheckRecord::new([&DOWN, &GONE].into_iter()), independence);
    for (at, observation) in seen {
        let (id, took) = (CheckId(0), Duration::from_millis(20));
        record.take(0, Report { id, at: t(at), took, observation, memory: None });
    }
    Arc::new(record)
}

/// A trigger that watches `down/health`, and saw this.
fn trigger(name: &str, mode: TriggerMode, seen: Vec<(i64, Observation)>) -> Arc<TriggerRecord> {
    let mut trigger = Trigger::new(Arc::new(TriggerSpec {
        name: name.to_owned(),
        action: "dns_failover".to_owned(),
        notification: "pagerduty_critical".to_owned(),
        mode,
        watched: Watched::Check { contract: "down".to_owned(), check: "health".to_owned() },
        when: Thresholds {
            failures_to_trigger: 3,
            hold: Duration::ZERO,
            successes_to_recover: 1,
            freshness: Duration::from_secs(35),
            pace: Duration::from_secs(35),
            rhythm: Duration::from_secs(35),
        },
    }));
    let mut last = None;
    for (at, observation) in seen {
        trigger.observe(observation.look(t(at)));
        last = Some(LastRun { at: t(at), took: Duration::from_millis(20), observation });
    }
    Arc::new(TriggerRecord { trigger, last })
}

pub(super) fn down() -> Observation {
    Observation::of_health(Health::Unhealthy(Finding::new(&DOWN, "refused at example.com:443")))
}

fn up() -> Observation {
    Observation::of_health(Health::Healthy)
}

fn reading(metric: &str) -> &'static ReadingKind {
    let readings = KindConfig::ALL.iter().flat_map(|kind| kind.readings);
    readings.into_iter().find(|reading| reading.metric == metric).expect("a reading of this name")
}

pub(super) fn copied(up_to: i64) -> Observation {
    let number = |metric, value| Reading { kind: reading(metric), label: None, value: ReadingValue::Number(value) };
    let writer = |label: &'static str, value| Reading {
        kind: reading("dr_nats_writer"),
        label: Some(Cow::Borrowed(label)),
        value: ReadingValue::Number(value),
    };
    Observation {
        copy: Some(CopyState::Behind {
            since: t(up_to),
            precision: Duration::ZERO,
            certain_since: None,
            finding: None,
        }),
        readings: vec![
            number("dr_nats_origin_last_sequence", 1000.0),
            number("dr_nats_mirror_last_sequence", 900.0),
            Reading { kind: reading("dr_nats_mirror_lag_seconds"), label: None, value: ReadingValue::AgeOf(t(up_to)) },
            writer("origin", 1.0),
            writer("mirror", 0.0),
            writer("both", 0.0),
            writer("none", 0.0),
        ],
        ..up()
    }
}

/// What the check of a Grafana sees: a dashboard is missing, another differs.
fn dashboards() -> Observation {
    let number = |metric, value| Reading { kind: reading(metric), label: None, value: ReadingValue::Number(value) };
    Observation {
        readings: vec![
            number("dr_grafana_dashboards_expected", 40.0),
            number("dr_grafana_dashboards_missing", 1.0),
            number("dr_grafana_dashboards_differing", 1.0),
        ],
        notes: vec!["1 of 39 compared differ from the primary's: api".to_owned()],
        ..down()
    }
}

/// What a query sees: a backup, told of by a sample that is 5 s old.
fn queried(up_to: i64) -> Observation {
    let value = ReadingValue::Number(t(up_to).as_unix_seconds());
    Observation {
        copy: Some(CopyState::Behind {
            since: t(up_to),
            precision: Duration::ZERO,
            certain_since: None,
            finding: None,
        }),
        readings: vec![
            Reading { kind: reading("dr_promql_value"), label: None, value },
            Reading { kind: reading("dr_promql_sample_age_seconds"), label: None, value: ReadingValue::AgeOf(t(90)) },
        ],
        ..up()
    }
}

/// A name in the midst of its way back to the primary, which a resolver answers with something else, too.
fn named() -> Observation {
    let of = |metric, label: Option<&'static str>, value| Reading {
        kind: reading(metric),
        label: label.map(Cow::Borrowed),
        value,
    };
    let number = |metric, label, value| of(metric, label, ReadingValue::Number(value));
    Observation {
        readings: vec![
            number("dr_dns_region", Some("dr"), 1.0),
            number("dr_dns_region", Some("primary"), 1.0),
            number("dr_dns_ttl_seconds", None, 300.0),
            number("dr_dns_resolvers", Some("region"), 2.0),
            number("dr_dns_resolvers", Some("elsewhere"), 0.0),
            number("dr_dns_resolvers", Some("failed"), 1.0),
            number("dr_dns_unexpected_targets", None, 1.0),
            of("dr_dns_region_changed_timestamp_seconds", None, ReadingValue::At(t(30))),
            number("dr_dns_propagation_seconds", None, 12.5),
        ],
        warnings: Some(vec![Finding::new(&SLOW, "clients may keep an answer for 300 s")]),
        notes: vec!["1 of 3 resolvers follow from dr to primary".to_owned()],
        ..up()
    }
}

/// Every state worth seeing, at second 100.
pub(super) fn snapshot() -> Snapshot {
    let lost =
        Observation { copy: Some(CopyState::Lost(Finding::new(&GONE, "there is no stream ORDERS_MIRROR"))), ..up() };
    let api = || vec![check("health", "http", false)];
    let streams = || vec![check("orders", "nats_mirror", true)];
    let hostile = "a \"quoted\" \\ back\nslash {} # = ä";
    let mut durations = BTreeMap::from([("http", Histogram::default())]);
    for millis in [1, 20, 300, 20_000] {
        durations.entry("http").or_default().observe(Duration::from_millis(millis));
    }
    Snapshot {
        contracts: vec![
            record(contract("never-measured", "New", true, streams()), vec![]),
            record(
                contract("down", "API", false, api()),
                vec![(55, up()), (60, down()), (70, down()), (80, down()), (90, down())],
            ),
            record(contract("always-down", "API", false, api()), vec![(70, down()), (80, down()), (90, down())]),
            record(
                contract("recovered", hostile, false, api()),
                vec![(5, up()), (10, down()), (20, down()), (30, down()), (45, up()), (95, up())],
            ),
            record(contract("at-risk", "Streams", true, streams()), vec![(95, copied(10))]),
            record(contract("named", "API", false, vec![check("name", "dns", false)]), vec![(95, named())]),
            record(contract("lost", "Streams", true, streams()), vec![(85, copied(80)), (95, lost)]),
            record(contract("backups", "Backups", true, vec![check("daily", "promql", true)]), vec![(95, queried(60))]),
            record(
                contract("dashboards", "Grafana", false, vec![check("dashboards", "grafana_dashboards", false)]),
                vec![(95, dashboards())],
            ),
        ],
        triggers: vec![
            trigger("fires", TriggerMode::Auto, vec![(60, down()), (70, down()), (80, down()), (90, down())]),
            trigger("clear", TriggerMode::Manual, vec![(10, down()), (20, down()), (30, down()), (95, up())]),
            trigger("unknown", TriggerMode::Auto, vec![(20, down()), (30, down())]),
        ],
        people: Arc::new(people::people()),
        plans: Arc::new(people::plans()),
        durations,
        ticked: t(100),
        configuration: Some(Configuration {
            refused: None,
            read: t(0),
            shown: Arc::default(),
            share: Share { contracts: 5, ..Share::default() },
        }),
        storage: Some(StoreHealth {
            errors: 2,
            failing: Some("data/dr-exporter.db: disk is full".to_owned()),
            head: Some(Head { seq: 7, hash: format!("0123456789abc{}", "d".repeat(51)) }),
            share: None,
            damage: Damage { count: 3, examples: vec!["contracts (api): its checksum differs".to_owned()] },
        }),
    }
}

fn view(snapshot: &Snapshot) -> View<'_> {
    View { snapshot, moment: Moment::at(t(100)) }
}

pub(super) fn without_process(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("process_"));
    lines.map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn golden(file: &str, is: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, is).expect("written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(is == expected, "{file} is no longer what it was; UPDATE=1 writes it anew. It would be:\n{is}");
}

#[test]
fn the_scrape_is_as_it_was() {
    let text = metrics::prometheus(view(&snapshot()));
    golden("tests/fixtures/metrics/golden.txt", &without_process(&text));
}

#[test]
fn a_process_tells_of_itself() {
    let text = metrics::prometheus(view(&snapshot()));
    for metric in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_start_time_seconds"] {
        let line = text.lines().find(|line| line.starts_with(&format!("{metric} "))).expect(metric);
        let value: f64 = line.rsplit(' ').next().expect("a value").parse().expect("a number");
        assert!(value >= 0.0 && (value > 0.0 || metric.contains("cpu")), "{line}");
    }
}

#[test]
fn openmetrics_differs_in_counters_and_its_end() {
    let snapshot = snapshot();
    let open = metrics::openmetrics(view(&snapshot));
    let plain = metrics::prometheus(view(&snapshot));
    assert!(open.ends_with("# EOF\n") && !plain.contains("# EOF"));
    assert!(open.contains("# TYPE dr_check_runs counter\n"));
    assert!(plain.contains("# TYPE dr_check_runs_total counter\n"));
    let samples = |text: &str| -> Vec<String> {
        text.lines().filter(|line| !line.starts_with('#') && !line.contains("process_")).map(str::to_owned).collect()
    };
    assert_eq!(samples(&open), samples(&plain));
}

#[test]
fn hostile_labels_are_escaped() {
    let text = metrics::prometheus(view(&snapshot()));
    let expected = r#"component="a \"quoted\" \\ back\nslash {} # = ä""#;
    assert!(text.contains(expected), "{text}");
}

#[test]
fn promtool_reads_the_scrape() {
    let promtool = std::env::var_os("PROMTOOL")
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/bin/promtool").into_os_string());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/metrics/golden.txt");
    let output = Command::new(&promtool)
        .args(["check", "metrics"])
        .stdin(fs::File::open(file).expect("the golden scrape"))
        .output()
        .unwrap_or_else(|error| panic!("no promtool at {promtool:?}: {error}; run `scripts/tools prometheus`"));
    let told = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && told.is_empty(), "{told}");
}

#[test]
fn an_age_grows_though_nobody_polls() {
    let snapshot = snapshot();
    let lag = |seconds| {
        let view = View { snapshot: &snapshot, moment: Moment::at(t(seconds)) };
        let text = metrics::prometheus(view);
        let line = text.lines().find(|line| line.starts_with("dr_nats_mirror_lag_seconds{")).expect("the lag");
        line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).expect("a number")
    };
    assert!((lag(100) - 90.0).abs() < 0.001);
    assert!((lag(250) - 240.0).abs() < 0.001);
}

#[test]
fn what_is_not_known_is_absent() {
    let text = metrics::prometheus(view(&snapshot()));
    let of_new: Vec<&str> = text.lines().filter(|line| line.contains("never-measured")).collect();
    for metric in
        ["objective_observed", "used_ratio", "compliant", "recovery_point", "evidence", "check_healthy", "copy_lost"]
    {
        assert!(!of_new.iter().any(|line| line.contains(metric)), "{metric} of what was never measured: {of_new:?}");
    }
    assert!(!text.contains("NaN"));
    for objective in ["rto", "rpo"] {
        let of: Vec<_> = of_new
            .iter()
            .filter(|line| line.starts_with("dr_objective_status{") && line.contains(&format!("\"{objective}\"")))
            .collect();
        assert_eq!(of.len(), 4, "all four statuses");
        assert_eq!(of.iter().filter(|line| line.ends_with(" 1.0")).count(), 1, "one of them holds: {of:?}");
        assert!(of.iter().any(|line| line.contains("unproven") && line.ends_with(" 1.0")));
    }
}

#[test]
fn the_report_is_read_back_as_it_was_written() {
    let report = StatusReport::of(view(&snapshot()));
    let json = serde_json::to_string_pretty(&report).expect("JSON");
    assert_eq!(serde_json::from_str::<StatusReport>(&json).expect("a report"), report);
    golden("tests/fixtures/metrics/status.json", &format!("{json}\n"));
}

#[test]
fn the_report_in_words() {
    let report = StatusReport::of(view(&snapshot()));
    golden("tests/fixtures/metrics/check.txt", &text::lines(&report));
    golden("tests/fixtures/metrics/check.md", &text::markdown(&report));
}

#[test]
fn what_nobody_saw_is_not_told_exactly() {
    // RTO 300 s, fresh for 35 s. When it failed and was healthy; the trigger is the third failure.
    let recovered = |healthy: Option<i64>, last_failure: i64, end: i64| {
        let failing = (0..=last_failure).step_by(10).map(|at| (at, down()));
        let seen = healthy.map(|at| (at, up())).into_iter().chain(failing).chain([(end, up())]);
        let snapshot = Snapshot {
            contracts: vec![record(contract("api", "API", false, vec![check("a", "http", false)]), seen.collect())],
            ..snapshot()
        };
        let report = StatusReport::of(View { snapshot: &snapshot, moment: Moment::at(t(end)) });
        report.contracts[0].objectives[0].because.clone()
    };
    assert_eq!(recovered(Some(-10), 400, 410), "missed: the last recovery took 6m30s, target 5m");
    assert_eq!(recovered(Some(-10), 400, 4020), "missed: the last recovery took 6m20s to 1h06m, target 5m");
    assert_eq!(recovered(None, 400, 410), "missed: the last recovery took at least 6m30s, target 5m");
    assert_eq!(recovered(Some(-60), 100, 110), "the last recovery took 1m30s to 2m50s, target 5m");
}

#[test]
fn the_docs_list_every_metric() {
    let mut rows = BTreeMap::new();
    for metric in metrics::DESCRIPTIONS {
        let kind = match metric.kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
            Kind::Histogram => "histogram",
        };
        let total = if metric.kind == Kind::Counter { "_total" } else { "" };
        let labels = if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels) };
        let row = format!("| `{}{total}{labels}` | {kind} | {} |\n", metric.name, metric.help);
        rows.insert(metric.name, row);
    }
    for reading in KindConfig::ALL.iter().flat_map(|kind| kind.readings) {
        let label = reading.label.map(|label| format!(",{label}")).unwrap_or_default();
        let row = format!("| `{}{{contract,check{label}}}` | gauge | {} |\n", reading.metric, reading.help);
        rows.insert(reading.metric, row);
    }
    let mut reasons = String::new();
    let engine = ("any", dr_exporter::engine::reasons::ALL);
    let kinds = KindConfig::ALL.iter().map(|kind| (kind.name, kind.reasons));
    for (kind, of_kind) in kinds.chain([engine]) {
        for reason in of_kind {
            reasons.push_str(&format!("| {kind} | `{}` | {} |\n", reason.label, reason.advice));
        }
    }
    let mut warnings = String::new();
    for kind in KindConfig::ALL {
        for warning in kind.warnings {
            warnings.push_str(&format!("| {} | `{}` | {} |\n", kind.name, warning.label, warning.advice));
        }
    }
    let path = "docs/metrics.md";
    let docs = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).expect(path);
    let docs = replaced(&docs, "metrics", &rows.into_values().collect::<String>());
    let docs = replaced(&docs, "warnings", &warnings);
    golden(path, &replaced(&docs, "reasons", &reasons));
}

#[test]
fn a_reason_of_several_kinds_has_a_name_that_they_share() {
    let mut advice: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    for kind in KindConfig::ALL {
        for reason in kind.reasons {
            advice.entry(reason.label).or_default().insert(reason.advice, kind.name);
        }
    }
    // One advice alone: the reason itself is shared.
    for (name, advice) in advice.iter().filter(|(_, advice)| advice.len() > 1) {
        assert!(reasons::NAMES.contains(name), "{name} is not of clients::reasons, and two kinds have it: {advice:?}");
    }
    for name in reasons::NAMES {
        assert!(advice.contains_key(name), "no kind has {name}");
        let other = |label: &&&str| **label != *name && name.starts_with(**label);
        let short = advice.keys().find(other);
        assert_eq!(short, None, "{name} has a second name");
    }
}

/// The text with the rows between two marks replaced.
fn replaced(text: &str, mark: &str, rows: &str) -> String {
    let (begin, end) = (format!("<!-- {mark}: generated -->\n"), format!("<!-- {mark}: end -->\n"));
    let (head, rest) = text.split_once(&begin).expect("the mark");
    let (table, tail) = rest.split_once(&end).expect("the end mark");
    let header: String = table.split_inclusive('\n').take(3).collect();
    format!("{head}{begin}{header}{rows}\n{end}{tail}")
}
