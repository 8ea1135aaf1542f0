//! A status report as a monitoring plug-in prints it: one line for people, then performance data.
//!
//! Source: the Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and
//! "Performance data".

use super::report::{ContractStatus, ObjectiveStatus, StatusReport};
use super::text;
use crate::domain::status::Status;

/// The state of the plug-in, with its word and its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// 0: all objectives are met.
    Ok,
    /// 1: an objective is at risk, or a component is down.
    Warning,
    /// 2: an objective is breached.
    Critical,
    /// 3: an objective is unproven.
    Unknown,
}

impl State {
    /// The state of a whole report.
    ///
    /// It is the worst in this order: breached; unproven because something could not be measured;
    /// at risk or down; unproven because no recovery proves an RTO. So an RTO without a drill does
    /// not hide that another objective is at risk.
    #[must_use]
    pub fn of(report: &StatusReport) -> Self {
        let mut objectives = text::objectives(report).map(|(_, objective)| objective).peekable();
        // A report without objectives proves nothing.
        if objectives.peek().is_none() {
            return Self::Unknown;
        }
        let rank = |objective: &ObjectiveStatus| match objective.status {
            Status::Breached => 4,
            Status::Unproven if !objective.basis.is_standing() => 3,
            Status::AtRisk => 2,
            Status::Unproven => 1,
            Status::Met => 0,
        };
        let down = report.contracts.iter().any(text::is_down);
        match objectives.map(rank).max().unwrap_or(3).max(if down { 2 } else { 0 }) {
            0 => Self::Ok,
            2 => Self::Warning,
            4 => Self::Critical,
            _ => Self::Unknown,
        }
    }

    /// The exit code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The report: a summary with performance data, then a line for each objective that is not met.
#[must_use]
pub fn plugin(report: &StatusReport) -> String {
    let data: Vec<String> = text::objectives(report).map(|(contract, objective)| data(contract, objective)).collect();
    let mut lines = format!("DR {} - {}", State::of(report).word(), plain(&text::summary(report)));
    if !data.is_empty() {
        lines.push_str(&format!(" | {}", data.join(" ")));
    }
    for (contract, objective) in text::objectives(report) {
        let word = text::word(contract, objective);
        if word != text::PASS {
            let (name, label) = (&contract.name, objective.objective.label());
            lines.push_str(&format!("\n{word} {name} {label}: {}", plain(&objective.because)));
        }
        for reason in text::reasons(contract, objective) {
            lines.push_str(&format!("\n  {}", plain(&reason)));
        }
    }
    lines
}

/// The output of a plug-in that could not measure.
#[must_use]
pub fn unknown(message: &str) -> String {
    format!("DR {} - {}", State::Unknown.word(), plain(message))
}

/// `'contract_rpo'=VALUE;WARN;CRIT;MIN`: the upper end, the at-risk share of the target, and the
/// target. In plug-ins `U` stands for an unknown value.
fn data(contract: &ContractStatus, objective: &ObjectiveStatus) -> String {
    let (name, label, target) = (&contract.name, objective.objective.label(), objective.target_seconds);
    let value = objective.observed_seconds.map_or_else(|| "U".to_owned(), |value| format!("{value:.3}s"));
    format!("'{name}_{label}'={value};{:.3};{target:.3};0", contract.at_risk_ratio * target)
}

/// A bar would end the text of a plug-in, so it is replaced.
pub(super) fn plain(text: &str) -> String {
    text.replace('|', "/").replace(['\n', '\r'], " ")
}
