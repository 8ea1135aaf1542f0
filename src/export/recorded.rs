//! The facts of the record, and how they read in words.

use crate::domain::drill::Measured;
use crate::domain::people::Stamp;
use crate::domain::time::Timestamp;
use crate::store::record::{Fact, Link};

/// One fact of the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The number of the entry.
    pub seq: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// The fact.
    pub fact: Fact,
}

impl Recorded {
    /// The fact of an entry. None if this version cannot read it.
    #[must_use]
    pub fn of(link: &Link) -> Option<Self> {
        Some(Self { seq: link.seq, at: link.instant()?, fact: link.fact()? })
    }
}

fn who(stamp: &Stamp) -> String {
    if stamp.user.is_empty() || stamp.user == stamp.by {
        format!("by {}", stamp.by)
    } else {
        format!("by {} (logged in as {})", stamp.by, stamp.user)
    }
}

/// A fact in words.
#[must_use]
pub fn in_words(fact: &Fact) -> String {
    match fact {
        Fact::Started { version, silent_since: None } => format!("the exporter {version} started"),
        Fact::Started { version, silent_since: Some(since) } => {
            format!("the exporter {version} started; it had not observed since {since}")
        }
        Fact::TookOver { replica, version } => format!("the replica {replica} ({version}) took the lead"),
        Fact::Stopped => "the exporter was stopped".to_owned(),
        Fact::Silent { from, until } => format!("the exporter did not observe from {from} to {until}"),
        Fact::Promised { contracts } => format!("the promises of {} contracts were recorded", contracts.len()),
        Fact::Status(of) => {
            let was = of.was.map(|was| format!(", before {}", was.label())).unwrap_or_default();
            format!("{} {} is {}{was}: {}", of.contract, of.objective.label(), of.status.label(), of.basis.text())
        }
        Fact::Outage { contract, trigger, mode, check, reason, .. } => {
            let by = if check.is_empty() { "a declaration".to_owned() } else { format!("{check}: {reason}") };
            format!("the recovery clock of {contract} runs since {trigger} ({}; {by})", mode.label())
        }
        Fact::Withdrawn { contract, .. } => {
            format!("the outage of {contract} ends without a recovery: no check of it saw a failure")
        }
        Fact::Recovery(of) => {
            let met = match of.met {
                Some(true) => "met",
                Some(false) => "missed",
                None => "uncertain",
            };
            format!("{} recovered in {} (target {met}; {})", of.contract, took(of), of.mode.label())
        }
        Fact::Exposure { contract, since, most_seconds, least_seconds } => {
            let worst = interval(Some(*least_seconds), *most_seconds);
            format!("the worst exposure of {contract} since {since} was {worst}")
        }
        Fact::Firing(of) => match of.ended {
            None => format!("trigger {} fires: {} is called for", of.trigger, of.action),
            Some(_) => format!("trigger {} is clear again", of.trigger),
        },
        _ => of_people(fact),
    }
}

/// A fact that a person made, in words.
fn of_people(fact: &Fact) -> String {
    match fact {
        Fact::Declared { incident } => {
            let Stamp { at, .. } = incident.declared;
            let began = if incident.began == at { String::new() } else { format!(", began {}", incident.began) };
            format!("{} was declared {}{began}: {}", incident.name, who(&incident.declared), incident.reason)
        }
        Fact::Joined { stamp, reason, .. } => format!("the incident was declared again {}: {reason}", who(stamp)),
        Fact::Step { step, done: true, stamp, .. } => format!("step {step} was taken {}", who(stamp)),
        Fact::Step { step, stamp, .. } => format!("correction {}: step {step} was not taken", who(stamp)),
        Fact::Note { stamp, text, .. } => format!("note {}: {text}", who(stamp)),
        Fact::Change { stamp, link, .. } => format!("change of the contract {}: {link}", who(stamp)),
        Fact::Gap { gap, .. } => match &gap.closed {
            None => format!(
                "gap {} was found {}: {} ({}, until {})",
                gap.number,
                who(&gap.opened),
                gap.text,
                gap.owner,
                gap.due
            ),
            Some(closed) => format!("gap {} was closed {}", gap.number, who(closed)),
        },
        Fact::Closed { stamp, .. } => format!("the incident was closed {}", who(stamp)),
        Fact::DrillStarted { run } => format!("drill {} was started {}", run.name, who(&run.started)),
        Fact::DrillRecovered { stamp, .. } => format!("the recovery was called complete {}", who(stamp)),
        Fact::DrillEnded { outcome, stamp, text, .. } => {
            let text = if text.is_empty() { String::new() } else { format!(": {text}") };
            format!("the drill ended as {} {}{text}", outcome.label(), who(stamp))
        }
        Fact::State { of, id, .. } => format!("the state of the {of} {id} was stored"),
        Fact::Verified { drill, findings, .. } if findings.is_empty() => format!("drill {drill} was verified: passed"),
        Fact::Verified { drill, findings, .. } => format!("drill {drill} was verified: {}", findings.join("; ")),
        Fact::Acknowledged { contract, severity, waited_seconds, stamp, by_what } => {
            let (severity, waited) = (severity.label(), seconds(*waited_seconds));
            format!("the {severity} alarm of {contract} was answered after {waited} {}: {by_what}", who(stamp))
        }
        _ => String::new(),
    }
}

/// A number of seconds for people: one decimal below a minute.
#[must_use]
pub fn seconds(seconds: f64) -> String {
    if seconds < 60.0 {
        return format!("{seconds:.1}s");
    }
    let millis = std::time::Duration::try_from_secs_f64(seconds.round()).unwrap_or_default();
    crate::decode::values::PromDuration::of(millis).to_string()
}

/// How long a recovery took: one figure, or both ends.
#[must_use]
pub fn took(of: &Measured) -> String {
    interval(Some(of.least_seconds), of.most_seconds)
}

/// A figure with two ends.
#[must_use]
pub fn interval(least: Option<f64>, most: Option<f64>) -> String {
    match (least, most) {
        (Some(least), Some(most)) if (most - least).abs() < 0.05 => seconds(most),
        (Some(least), Some(most)) => format!("between {} and {}", seconds(least), seconds(most)),
        (Some(least), None) => format!("at least {}", seconds(least)),
        (None, Some(most)) => format!("at most {}", seconds(most)),
        (None, None) => "not known".to_owned(),
    }
}
