//! The drills of the kind `check` with one schedule, verified once.

use serde::Serialize;

use super::View;
use super::nagios::State;
use crate::domain::drill::{DrillSpec, Finding};

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuiteReport {
    /// How often its drills are due.
    pub every: String,
    /// The drills, in the order of the configuration.
    pub drills: Vec<VerifiedDrill>,
}

/// One drill that was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifiedDrill {
    /// Its name.
    pub name: String,
    /// `passed`, `failed`, or `unproven`: something could not be measured, and nothing else is wrong.
    pub outcome: Verdict,
    /// What is wrong. Empty if everything is proven to be well.
    pub findings: Vec<String>,
}

/// The outcome of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything is proven to be well.
    Passed,
    /// Something is proven to be wrong.
    Failed,
    /// Something could not be measured, and nothing is proven to be wrong.
    Unproven,
}

impl Verdict {
    fn of(findings: &[Finding]) -> Self {
        if findings.is_empty() {
            Self::Passed
        } else if findings.iter().any(|found| found.proven) {
            Self::Failed
        } else {
            Self::Unproven
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Passed => "PASS",
            Self::Failed => "FAIL",
            Self::Unproven => "UNPROVEN",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Unproven => "unproven",
        }
    }
}

impl SuiteReport {
    /// Verifies these drills as the daemon does when they are due.
    #[must_use]
    pub fn of(view: View<'_>, every: &str, drills: &[DrillSpec]) -> Self {
        let contracts = || view.snapshot.contracts.iter().map(|record| &record.contract);
        let drills = drills.iter().map(|spec| {
            let findings = spec.verify(contracts(), view.moment.now);
            VerifiedDrill {
                name: spec.name.clone(),
                outcome: Verdict::of(&findings),
                findings: findings.into_iter().map(|found| found.text).collect(),
            }
        });
        Self { every: every.to_owned(), drills: drills.collect() }
    }

    /// The state of a plug-in: the worst of failed, unproven and passed.
    #[must_use]
    pub fn state(&self) -> State {
        let any = |verdict| self.drills.iter().any(|drill| drill.outcome == verdict);
        if any(Verdict::Failed) {
            State::Critical
        } else if any(Verdict::Unproven) || self.drills.is_empty() {
            State::Unknown
        } else {
            State::Ok
        }
    }

    fn summary(&self) -> String {
        let counts = [Verdict::Failed, Verdict::Unproven, Verdict::Passed].map(|verdict| {
            let count = self.drills.iter().filter(|drill| drill.outcome == verdict).count();
            (count > 0).then(|| format!("{count} {}", verdict.label()))
        });
        let (counts, number) = (counts.into_iter().flatten().collect::<Vec<_>>().join(", "), self.drills.len());
        format!("{number} {} drill{}: {counts}", self.every, if number == 1 { "" } else { "s" })
    }

    /// One line per drill, its findings below it, and a summary.
    #[must_use]
    pub fn lines(&self) -> String {
        let mut lines = Vec::new();
        for drill in &self.drills {
            lines.push(format!("{:<8}  {}", drill.outcome.word(), drill.name));
            lines.extend(drill.findings.iter().map(|found| format!("{:<8}  {found}", "")));
        }
        format!("{}\n\n{}\n", lines.join("\n"), self.summary())
    }

    /// A table with a row per drill.
    #[must_use]
    pub fn markdown(&self) -> String {
        let rows = self.drills.iter().map(|drill| {
            let findings = drill.findings.join("; ").replace('|', "\\|");
            format!("| {} | {} | {findings} |", drill.outcome.word(), drill.name)
        });
        let rows: Vec<String> = rows.collect();
        format!("| | drill | findings |\n|---|---|---|\n{}\n\n{}\n", rows.join("\n"), self.summary())
    }

    /// The output of a plug-in: a summary, then a line for each drill that did not pass.
    #[must_use]
    pub fn plugin(&self) -> String {
        let mut lines = vec![format!("DR {} - {}", self.state().word(), self.summary())];
        let others = self.drills.iter().filter(|drill| drill.outcome != Verdict::Passed);
        lines.extend(others.map(|drill| {
            let findings = drill.findings.join("; ");
            super::nagios::plain(&format!("{} {}: {findings}", drill.outcome.word(), drill.name))
        }));
        lines.join("\n")
    }
}
