//! The report on one incident or drill: what was achieved, against what was promised.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::recorded::{self, Recorded};
use super::{View, people};
use crate::domain::drill::{DrillRun, Measured};
use crate::domain::incident::Incident;
use crate::domain::outage::Mode;
use crate::domain::people::Review;
use crate::domain::time::Timestamp;
use crate::engine::order::On;
use crate::store::record::{Fact, Head, Promise};

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EventReport {
    /// The version of the program.
    pub version: String,
    /// The moment of the report.
    pub now: Timestamp,
    /// The end of the record that it was made from.
    pub head: Head,
    /// The unique name of the incident or drill.
    pub id: String,
    /// When it began.
    pub began: Timestamp,
    /// When it ended. None while it goes on.
    pub ended: Option<Timestamp>,
    /// The incident.
    pub incident: Option<Incident>,
    /// The drill.
    pub drill: Option<DrillRun>,
    /// What the contracts promised, and what was measured.
    pub contracts: Vec<Achieved>,
    /// Everything that was recorded, the oldest first.
    pub timeline: Vec<Moment>,
}

/// What one contract promised, and what was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Achieved {
    /// The promise. None if the contract is in no recorded configuration.
    pub promise: Option<Promise>,
    /// The contract.
    pub contract: String,
    /// The recoveries, the oldest first.
    pub recoveries: Vec<Measured>,
    /// Since when its recovery clock runs, if it still does.
    pub running_since: Option<Timestamp>,
}

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// The number of the entry of the record.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: String,
}

impl EventReport {
    /// The report on an incident or drill, before anything of the record was read. None if there is
    /// none.
    #[must_use]
    pub fn begin(view: View<'_>, on: &On) -> Option<Self> {
        let (incident, drill) = match on {
            On::Incident(named) => (people::incident(view, named).cloned(), None),
            On::Drill(named) => (None, people::drill(view, named).cloned()),
        };
        let (id, began, ended, contracts) = match (&incident, &drill) {
            (Some(of), _) => (of.id.clone(), of.began, of.closed.as_ref().map(|closed| closed.at), of.clocks.clone()),
            (None, Some(run)) => {
                let ended = run.ended.as_ref().map(|ended| ended.stamp.at);
                (run.id.clone(), run.started.at, ended, run.contracts.clone())
            }
            (None, None) => return None,
        };
        let now = view.moment.wall(view.moment.now);
        let contracts = contracts.into_iter().map(|name| achieved(view, name, ended.unwrap_or(now)));
        Some(Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now,
            head: Head::default(),
            id,
            began,
            ended,
            contracts: contracts.collect(),
            incident,
            drill,
            timeline: Vec::new(),
        })
    }

    /// Takes the next fact of the record.
    pub fn take(&mut self, recorded: Recorded) {
        if self.concerns(&recorded) {
            let Recorded { seq, at, fact } = &recorded;
            self.timeline.push(Moment { seq: *seq, at: *at, what: recorded::in_words(fact) });
        }
        match recorded.fact {
            Fact::Recovery(measured) if self.achieved(&measured) => {
                if let Some(of) = self.contracts.iter_mut().find(|of| of.contract == measured.contract) {
                    of.recoveries.push(measured);
                }
            }
            // The last one holds.
            Fact::Promised { contracts } => {
                for of in &mut self.contracts {
                    of.promise = contracts.iter().find(|promise| promise.contract == of.contract).cloned();
                }
            }
            _ => {}
        }
    }

    /// Whether a recovery belongs to it. An outage belongs to what went on when it was triggered.
    fn achieved(&self, of: &Measured) -> bool {
        let mode = self.drill.is_none() || of.mode == Mode::Drill;
        mode && of.healthy >= self.began && of.trigger <= self.ended.unwrap_or(self.now)
    }

    /// Whether a fact belongs to it: what names it, and what was measured meanwhile.
    fn concerns(&self, Recorded { at, fact, .. }: &Recorded) -> bool {
        let meanwhile = *at >= self.began && *at <= self.ended.unwrap_or(self.now);
        let mine = |contract: &str| meanwhile && self.contracts.iter().any(|of| of.contract == contract);
        match fact {
            Fact::Declared { incident } => incident.id == self.id,
            Fact::DrillStarted { run } => run.id == self.id,
            Fact::Joined { incident: id, .. }
            | Fact::Step { incident: id, .. }
            | Fact::Closed { incident: id, .. }
            | Fact::Note { on: id, .. }
            | Fact::Change { on: id, .. }
            | Fact::Gap { on: id, .. }
            | Fact::DrillRecovered { drill: id, .. }
            | Fact::DrillEnded { drill: id, .. } => *id == self.id,
            Fact::Status(of) => mine(&of.contract),
            Fact::Recovery(of) => mine(&of.contract),
            Fact::Outage { contract, .. } | Fact::Withdrawn { contract, .. } | Fact::Acknowledged { contract, .. } => {
                mine(contract)
            }
            Fact::Firing(_) | Fact::Started { .. } | Fact::TookOver { .. } | Fact::Stopped | Fact::Silent { .. } => {
                meanwhile
            }
            Fact::Promised { .. } | Fact::Verified { .. } | Fact::Exposure { .. } | Fact::State { .. } => false,
        }
    }

    fn review(&self) -> Option<&Review> {
        let of_incident = self.incident.as_ref().map(|incident| &incident.review);
        of_incident.or_else(|| self.drill.as_ref().map(|run| &run.review))
    }
}

/// What is known of a contract without the record.
fn achieved(view: View<'_>, contract: String, to: Timestamp) -> Achieved {
    let record = view.snapshot.contracts.iter().find(|record| record.contract.spec().name == contract);
    let running = record.and_then(|record| record.contract.clock().running());
    let running_since = running.map(|outage| view.moment.wall(outage.trigger)).filter(|since| *since <= to);
    Achieved { promise: None, recoveries: Vec::new(), running_since, contract }
}

/// The report as Markdown.
#[must_use]
pub fn markdown(report: &EventReport) -> String {
    document(report).markdown()
}

/// The report as a page.
#[must_use]
pub fn html(report: &EventReport) -> String {
    document(report).html()
}

fn document(report: &EventReport) -> Document {
    let what = if report.incident.is_some() { "Incident" } else { "Drill" };
    let mut document = Document::new(format!("{what} {}", report.id));
    let ended = report.ended.map_or("it goes on".to_owned(), |ended| format!("it ended {ended}"));
    document.text(format!("Began {}; {ended}. As of {}.", report.began, report.now));
    if let Some(incident) = &report.incident {
        of_incident(&mut document, incident);
    }
    if let Some(run) = &report.drill {
        of_drill(&mut document, run);
    }
    document.heading("Actual RTO and RPO against the contract");
    document.table(
        &["contract", "RTO", "recovery time", "result", "downtime", "RPO", "data at risk at the trigger"],
        report.contracts.iter().flat_map(rows).collect(),
    );
    if let Some(review) = report.review() {
        of_review(&mut document, review, report.now);
    }
    document.heading("Timeline");
    let lines = report.timeline.iter().map(|line| vec![line.seq.to_string(), line.at.to_string(), line.what.clone()]);
    document.table(&["entry", "time (UTC)", "what"], lines.collect());
    of_head(&mut document, &report.head, &report.version);
    document
}

/// Says what the report was made from, and how it can be checked.
pub(super) fn of_head(document: &mut Document, head: &Head, version: &str) {
    document.heading("The record");
    document.text(format!(
        "Made by dr-exporter {version} from entries 1 to {} of the record. The hash of the last entry is {}. To check that \
         the record was not changed since: dr-exporter report verify --head={}",
        head.seq, head.hash, head.hash
    ));
}

fn of_incident(document: &mut Document, incident: &Incident) {
    let declared = &incident.declared;
    document.text(format!(
        "Declared {} by {} (logged in as {}). Reason: {}. Action: {}.",
        declared.at, declared.by, declared.user, incident.reason, incident.action
    ));
    document.heading("Checklist");
    let steps = incident.steps.iter().map(|step| match &step.done {
        Some(stamp) => vec![step.name.clone(), stamp.at.to_string(), stamp.by.clone()],
        None => vec![step.name.clone(), "not taken".to_owned(), String::new()],
    });
    document.table(&["step", "taken (UTC)", "by"], steps.collect());
}

fn of_drill(document: &mut Document, run: &DrillRun) {
    let said = &run.announcement;
    let or_none = |text: &str| if text.is_empty() { "not said".to_owned() } else { text.to_owned() };
    document.table(
        &["", ""],
        vec![
            vec!["kind".to_owned(), run.kind.label().to_owned()],
            vec!["started by".to_owned(), format!("{} (logged in as {})", run.started.by, run.started.user)],
            vec!["environment".to_owned(), or_none(&said.environment)],
            vec!["participants".to_owned(), or_none(&said.participants.join(", "))],
            vec!["what was broken".to_owned(), or_none(&said.plan)],
            vec!["expected loss".to_owned(), or_none(&said.expected_loss)],
            vec![
                "called complete".to_owned(),
                run.recovered.as_ref().map_or("no".to_owned(), |stamp| format!("{} by {}", stamp.at, stamp.by)),
            ],
            vec![
                "result".to_owned(),
                run.ended.as_ref().map_or("it goes on".to_owned(), |ended| ended.outcome.label().to_owned()),
            ],
        ],
    );
    if let Some(ended) = run.ended.as_ref().filter(|ended| !ended.text.is_empty()) {
        document.text(ended.text.clone());
    }
}

/// One row per recovery; at least one.
fn rows(of: &Achieved) -> Vec<Vec<String>> {
    let limit = |limit: Option<f64>| limit.map_or("none".to_owned(), |limit| format!("< {}", recorded::seconds(limit)));
    let (rto, rpo) = (
        limit(of.promise.as_ref().and_then(|promise| promise.rto_seconds)),
        limit(of.promise.as_ref().and_then(|promise| promise.rpo_seconds)),
    );
    let row = |took: String, result: &str, downtime: String, risk: String| {
        vec![of.contract.clone(), rto.clone(), took, result.to_owned(), downtime, rpo.clone(), risk]
    };
    // A contract may have changed since: each recovery is compared with the promise that held then.
    let then = |one: &Measured, mut row: Vec<String>| {
        row.splice(1..2, [limit(one.target_seconds)]);
        row.splice(5..6, [limit(one.rpo_seconds)]);
        row
    };
    let mut rows: Vec<Vec<String>> = of
        .recoveries
        .iter()
        .map(|one| {
            let result = match one.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "uncertain",
            };
            let risk = match one.rpo_seconds {
                Some(_) => recorded::interval(one.known_at_risk_seconds, one.data_at_risk_seconds),
                None => "no RPO".to_owned(),
            };
            then(one, row(recorded::took(one), result, recorded::seconds(one.downtime_seconds), risk))
        })
        .collect();
    if let Some(since) = of.running_since {
        rows.push(row(format!("still down, since {since}"), "open", String::new(), String::new()));
    }
    if rows.is_empty() {
        rows.push(row("nothing was measured".to_owned(), "unproven", String::new(), String::new()));
    }
    rows
}

fn of_review(document: &mut Document, review: &Review, now: Timestamp) {
    document.heading("Gaps and remediation");
    let gaps = review.gaps.iter().map(|gap| {
        let state = match &gap.closed {
            Some(closed) => format!("closed {} by {}", closed.at, closed.by),
            None if gap.is_overdue(now) => "OPEN, OVERDUE".to_owned(),
            None => "open".to_owned(),
        };
        vec![gap.number.to_string(), gap.text.clone(), gap.owner.clone(), gap.due.to_string(), state]
    });
    document.table(&["number", "gap", "owner", "due", "state"], gaps.collect());
    if let Some(change) = &review.change {
        document.text(format!("Change of the contract: {change}"));
    }
}
