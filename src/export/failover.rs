//! The answer to the question of the person on call: can we fail over now, and what would it cost?

use std::cmp::Reverse;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::{ContractStatus, ObjectiveStatus, StatusReport};
use super::shards;
use super::text::{self, duration, seconds};
use crate::domain::contract::Objective;
use crate::domain::outage::Mode;
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Every promise is proven, and nothing is down.
    Yes,
    /// A promise is broken, and that is proven.
    No,
    /// Something is not proven.
    Unknown,
}

/// Whether a failover now would keep every promise, and what it would cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failover {
    /// The answer.
    pub answer: Answer,
    /// The answer in one sentence, with what it rests on.
    pub sentence: String,
    /// Everything that speaks against a yes, the worst first.
    pub against: Vec<Doubt>,
    /// The most data that a failover now could cost, over all contracts. Absent while a contract
    /// with an RPO has no upper end, or no contract has an RPO.
    pub data: Option<DataCost>,
    /// The longest of the last recoveries of contracts with an RTO. Absent if one of them never
    /// recovered.
    pub recovery: Option<RecoveryCost>,
}

/// One thing that speaks against a yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Doubt {
    /// The contract. Absent if it is about the exporter itself.
    pub contract: Option<String>,
    /// The objective, if it is about one.
    pub objective: Option<Objective>,
    /// What is wrong or not known.
    pub text: String,
    /// Whether it is a proven breach.
    pub proven: bool,
}

/// The most data that a failover now could cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DataCost {
    /// The upper end of the exposure.
    pub at_most_seconds: f64,
    /// The contract with this exposure.
    pub contract: String,
    /// Its component.
    pub component: String,
}

/// The longest of the last recoveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecoveryCost {
    /// How long it took.
    pub seconds: f64,
    /// The contract.
    pub contract: String,
    /// Its component.
    pub component: String,
    /// When it was healthy again.
    pub healthy: Timestamp,
    /// Real or drill.
    pub mode: Mode,
}

/// How long the engine may be silent before nobody can tell.
const SILENCE: Duration = Duration::from_secs(10);
/// How many doubts the sentence names.
const NAMED: usize = 3;

impl Failover {
    /// The answer for a report. The engine has been silent for this long. One of several shards knows
    /// nothing of the others.
    #[must_use]
    pub fn of(report: &StatusReport, silence: Duration) -> Self {
        Self::with(report, silence, shards::alone(report))
    }

    /// The answer for a report beside which something else is not known. Then the costs are not known
    /// either.
    #[must_use]
    pub fn with(report: &StatusReport, silence: Duration, unknown: Vec<Doubt>) -> Self {
        let is_whole = unknown.is_empty();
        let mut against = doubts(report);
        // What is not known at all comes after what is known to be down, and before the rest.
        let place = against.partition_point(|(rank, _)| *rank <= DOWN);
        against.splice(place..place, unknown.into_iter().map(|doubt| (DOWN, doubt)));
        let mut against: Vec<Doubt> = against.into_iter().map(|(_, doubt)| doubt).collect();
        if silence > SILENCE {
            let text = format!("the exporter has not measured for {}", duration(silence));
            against.insert(0, Doubt { contract: None, objective: None, text, proven: false });
        } else if !report.ready {
            let text = "not every check has run since the start".to_owned();
            against.push(Doubt { contract: None, objective: None, text, proven: false });
        }
        let (data, recovery) = if is_whole { (data(report), recovery(report)) } else { (None, None) };
        let measured = text::objectives(report).next().is_some();
        let breached = against.iter().any(|doubt| doubt.proven) && silence <= SILENCE;
        let answer = match against.as_slice() {
            [] if measured => Answer::Yes,
            _ if breached => Answer::No,
            _ => Answer::Unknown,
        };
        let sentence = sentence(answer, &against, cost(data.as_ref(), recovery.as_ref(), report.now));
        Self { answer, sentence, against, data, recovery }
    }
}

/// The rank of a component that is down, and not late yet.
const DOWN: u8 = 2;

/// Everything that speaks against a yes, with its rank, the worst first.
fn doubts(report: &StatusReport) -> Vec<(u8, Doubt)> {
    let mut doubts = Vec::new();
    for (contract, objective) in text::objectives(report) {
        let down = objective.objective == Objective::Rto && text::is_down(contract);
        let rank = match (objective.status, objective.basis) {
            (Status::Breached, Basis::CopyLost) => 0,
            (Status::Breached, _) => 1,
            _ if down => DOWN,
            (Status::Unproven, basis) if !basis.is_standing() => 3,
            (Status::Unproven, _) => 4,
            (Status::Met | Status::AtRisk, _) => continue,
        };
        let share = objective.known_seconds.unwrap_or_default() / objective.target_seconds.max(f64::MIN_POSITIVE);
        let order = (rank, contract.priority.clone(), Reverse(per_mille(share)));
        let text = if rank == DOWN { is_down(contract, objective) } else { objective.because.clone() };
        let (contract, objective) = (Some(contract.name.clone()), Some(objective.objective));
        doubts.push((order, Doubt { contract, objective, text, proven: rank < DOWN }));
    }
    doubts.sort_by(|(a, _), (b, _)| a.cmp(b));
    doubts.into_iter().map(|((rank, ..), doubt)| (rank, doubt)).collect()
}

fn is_down(contract: &ContractStatus, objective: &ObjectiveStatus) -> String {
    match &contract.outage {
        Some(_) => format!("it is down, {} allowed", text::claim(contract, objective)),
        None => "it fails now, and its recovery clock does not run yet".to_owned(),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn per_mille(share: f64) -> u64 {
    (share * 1000.0) as u64
}

/// The largest exposure. None if one of them has no upper end.
fn data(report: &StatusReport) -> Option<DataCost> {
    let rpos = text::objectives(report).filter(|(_, objective)| objective.objective == Objective::Rpo);
    let costs = rpos.map(|(contract, objective)| {
        Some(DataCost {
            at_most_seconds: objective.observed_seconds?,
            contract: contract.name.clone(),
            component: contract.component.clone(),
        })
    });
    let costs: Option<Vec<DataCost>> = costs.collect();
    costs?.into_iter().max_by(|a, b| a.at_most_seconds.total_cmp(&b.at_most_seconds))
}

/// The longest of the last recoveries. None if there is an RTO without one.
fn recovery(report: &StatusReport) -> Option<RecoveryCost> {
    let rtos = text::objectives(report).filter(|(_, objective)| objective.objective == Objective::Rto);
    let costs = rtos.map(|(contract, objective)| {
        let last = contract.last_recovery.as_ref()?;
        // Outside an outage the upper end of the figure is that of the last recovery, which is
        // longer than what was seen if nobody saw it begin.
        let longest = objective.observed_seconds.filter(|_| contract.outage.is_none());
        Some(RecoveryCost {
            seconds: longest.unwrap_or(last.recovery_seconds),
            contract: contract.name.clone(),
            component: contract.component.clone(),
            healthy: last.healthy,
            mode: last.mode,
        })
    });
    let costs: Option<Vec<RecoveryCost>> = costs.collect();
    costs?.into_iter().max_by(|a, b| a.seconds.total_cmp(&b.seconds))
}

/// What a failover would cost, as far as it is known.
fn cost(data: Option<&DataCost>, recovery: Option<&RecoveryCost>, now: Timestamp) -> Option<String> {
    let data = data.map(|cost| format!("at most {} of {} data", seconds(cost.at_most_seconds), cost.component));
    let recovery = recovery.map(|cost| {
        let ago = duration(now.since(cost.healthy));
        let what = match cost.mode {
            Mode::Drill => "drill",
            Mode::Real => "recovery",
        };
        format!("the longest last {what} took {} ({}, {ago} ago)", seconds(cost.seconds), cost.component)
    });
    let known: Vec<String> = data.into_iter().chain(recovery).collect();
    (!known.is_empty()).then(|| known.join("; "))
}

fn sentence(answer: Answer, against: &[Doubt], cost: Option<String>) -> String {
    let about = |doubt: &Doubt| match (&doubt.contract, doubt.objective) {
        (Some(contract), Some(objective)) => {
            format!("{contract} ({}): {}", objective.label().to_uppercase(), doubt.text)
        }
        _ => doubt.text.clone(),
    };
    // Next to a proven breach, what is only unproven is noise.
    let named: Vec<&Doubt> = against.iter().filter(|doubt| answer != Answer::No || doubt.proven).collect();
    let more = named.len().saturating_sub(NAMED);
    let listed = named.iter().take(NAMED).map(|doubt| about(doubt)).collect::<Vec<_>>().join("; ");
    let listed = if more > 0 { format!("{listed}; and {more} more") } else { listed };
    match answer {
        Answer::Yes => match cost {
            Some(cost) => format!("Yes: {cost}."),
            None => "Yes: every promise is proven.".to_owned(),
        },
        Answer::No => format!("No: {listed}."),
        Answer::Unknown if against.is_empty() => "Nobody can tell: nothing is measured.".to_owned(),
        Answer::Unknown => {
            let cost = cost.map(|cost| format!(" As far as is known it would cost: {cost}.")).unwrap_or_default();
            format!("Nobody can tell: {listed}.{cost}")
        }
    }
}
