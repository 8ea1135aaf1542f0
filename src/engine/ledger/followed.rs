//! The state of one contract in the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::shared::Others;
use super::tell;
use crate::clock::Moment;
use crate::domain::check::CheckSpec;
use crate::domain::contract::{Contract, ContractSpec, Objective};
use crate::domain::independence::Independence;
use crate::domain::remembered::{Remembered, RememberedClock};
use crate::domain::status::{Basis, Status};
use crate::domain::time::Timestamp;
use crate::engine::journal::Journal;
use crate::engine::lineup::{CheckLine, ContractLine};
use crate::engine::memory::{self, KeptCheck, Memory, Recall};
use crate::engine::reasons;
use crate::engine::snapshot::{CheckRecord, ContractRecord};
use crate::store::Stored;
use crate::store::history::ObservedTimes;
use crate::store::record::Fact;

/// A contract: what is shown, the schedules of its checks, and what is stored.
pub(in crate::engine) struct Followed {
    /// What is shown.
    pub(in crate::engine) record: Arc<ContractRecord>,
    /// The promise.
    pub(in crate::engine) spec: Arc<ContractSpec>,
    /// The stanzas of its checks.
    pub(in crate::engine) checks: Vec<FollowedCheck>,
    /// Its clock as it was last handed to the storage, on the steady timeline.
    pub(in crate::engine) kept: RememberedClock,
    /// The last status of each objective that was logged.
    pub(super) told: BTreeMap<Objective, Basis>,
    /// The last status of each objective that this process recorded.
    pub(super) recorded: BTreeMap<Objective, Status>,
    /// Since when it has been measured without a break.
    looked: Option<Looked>,
    /// What is known of other replicas.
    pub(super) others: Others,
    /// Since when this process has the contract, on the steady timeline.
    pub(super) since: Timestamp,
}

/// A time during which a contract was measured without a break.
#[derive(Debug, Clone, Copy)]
struct Looked {
    /// The beginning, in wall-clock time.
    from: Timestamp,
    /// The last look that was noted, on the steady timeline.
    last: Timestamp,
    /// The same in wall-clock time.
    until: Timestamp,
}

impl Looked {
    /// Whether a look at this moment belongs to the same time. A clock that is set forward leaves
    /// hours in which nobody looked.
    fn goes_on(&self, moment: Moment) -> bool {
        let wall = moment.wall(moment.now);
        moment.now.since(self.last) <= GAP && wall.since(self.until) <= GAP && self.from <= wall
    }
}

/// Looks that lie further apart than this are two times with a gap between them.
const GAP: Duration = Duration::from_secs(180);

/// One check of a contract: its schedule, and what is stored.
pub(in crate::engine) struct FollowedCheck {
    /// Its current schedule.
    pub(in crate::engine) line: CheckLine,
    /// What is stored.
    pub(in crate::engine) kept: KeptCheck,
}

impl Followed {
    /// A contract that continues from its stored state.
    pub(super) fn recalled(line: ContractLine, recall: &mut Recall, stored: &mut Stored, since: Timestamp) -> Self {
        let ContractLine { spec, checks } = line;
        let (mut state, now) = recall.contract(&spec, checks.iter(), stored);
        let contract = gone_on(&spec, &checks, now);
        let checks = checks.into_iter().map(|line| {
            let kept = KeptCheck::new(state.checks.remove(&line.spec.name).unwrap_or_default(), None);
            FollowedCheck { line, kept }
        });
        let independence = independence(&spec, stored.independence.get(&spec.name));
        Self {
            checks: checks.collect(),
            record: Arc::new(ContractRecord::new(contract, unrun, independence)),
            others: Others::default(),
            since,
            kept: state.clock,
            told: stored.told.get(&spec.name).cloned().unwrap_or_default(),
            recorded: BTreeMap::new(),
            looked: None,
            spec,
        }
    }

    /// The same contract with a new configuration. Checks that still measure the same keep their
    /// state.
    pub(super) fn carried(self, line: ContractLine) -> Self {
        let Self { record: before, checks: known, told, recorded, looked, others, since, .. } = self;
        let ContractLine { spec, checks } = line;
        let stays = |check: &CheckLine| {
            checks.iter().any(|now| (&now.spec.name, &now.fingerprint) == (&check.spec.name, &check.fingerprint))
        };
        let mut known: BTreeMap<String, KeptCheck> = known
            .into_iter()
            .filter(|check| stays(&check.line))
            .map(|FollowedCheck { line, kept }| (line.spec.name, kept))
            .collect();
        let mut state = before.contract.remember();
        state.checks.retain(|name, _| known.contains_key(name));
        let runs: BTreeMap<&str, &CheckRecord> = before
            .checks()
            .map(|(check, runs)| (check.spec().name.as_str(), runs))
            .filter(|(name, _)| known.contains_key(*name))
            .collect();
        let contract = gone_on(&spec, &checks, state.clone());
        let carried = |check: &CheckSpec| match runs.get(check.name.as_str()) {
            Some(before) => (*before).clone(),
            None => unrun(check),
        };
        let independence = independence(&spec, Some(&before.independence));
        let record = Arc::new(ContractRecord::new(contract, carried, independence));
        let checks = checks.into_iter().map(|line| {
            let state = state.checks.remove(&line.spec.name).unwrap_or_default();
            let kept = known.remove(&line.spec.name).unwrap_or_else(|| KeptCheck::new(state.clone(), None));
            FollowedCheck { line, kept: kept.carried(state) }
        });
        Self { record, checks: checks.collect(), kept: state.clock, told, recorded, looked, others, since, spec }
    }

    /// Records that the recovery clock started, if it runs.
    pub(super) fn record_outage(&self, moment: Moment, journal: &mut Journal) {
        let contract = &self.record.contract;
        let Some(outage) = contract.clock().running() else { return };
        let fact = super::shared::outage(contract, outage, moment);
        journal.record(moment.wall(moment.now), fact);
    }

    /// Continues from this state.
    pub(super) fn go_on(&mut self, state: Remembered) {
        let checks = self.checks.iter().map(|check| check.line.spec.clone());
        Arc::make_mut(&mut self.record).contract = Contract::recall(Arc::clone(&self.spec), checks, state);
    }

    /// Continues the time of looks that another replica noted until then.
    pub(super) fn look_on(&mut self, until: Option<Timestamp>) {
        if let (Some(looked), Some(until)) = (&mut self.looked, until) {
            looked.from = looked.from.max(until.min(looked.until));
        }
    }

    /// Notes that the contract is being measured: at the first look, and again when it is `due`.
    pub(in crate::engine) fn look(&mut self, moment: Moment, due: bool, observed: &mut ObservedTimes) {
        let wall = moment.wall(moment.now);
        let known = self.looked.filter(|looked| looked.goes_on(moment));
        if known.is_none() || due {
            let from = known.map_or(wall, |looked| looked.from);
            self.looked = Some(Looked { from, last: moment.now, until: wall });
            observed.insert((self.spec.name.clone(), from), wall);
        }
    }

    /// Sets the interval of the checks.
    pub(super) fn pace(&self) {
        for FollowedCheck { line, .. } in &self.checks {
            line.pace.send_replace(self.record.contract.interval(&line.spec));
        }
    }

    /// Logs each status that differs `at` this instant from the one that was logged last.
    pub(super) fn tell_of_statuses(
        &mut self,
        at: Timestamp,
        moment: Moment,
        memory: &mut Memory,
        journal: &mut Journal,
    ) {
        for objective in Objective::ALL {
            let Some(judgement) = self.record.contract.judge(objective, at) else { continue };
            let before = self.told.insert(objective, judgement.basis);
            let spec = self.record.contract.spec();
            let transition = || memory::transition(spec, objective, before, judgement.basis, at, moment);
            if before != Some(judgement.basis) {
                tell::of_status(spec, &judgement, before);
                memory.note_status(transition());
            }
            // Each process records the status that it starts with: what was stored may be old.
            if self.recorded.insert(objective, judgement.status()) != Some(judgement.status()) {
                journal.record(moment.wall(moment.now), Fact::Status(transition()));
            }
        }
    }
}

/// A contract that continues from this state.
fn gone_on(spec: &Arc<ContractSpec>, checks: &[CheckLine], state: Remembered) -> Contract {
    let ran = state.clock.running.is_some();
    let contract = Contract::recall(Arc::clone(spec), checks.iter().map(|line| line.spec.clone()), state);
    if ran && contract.clock().running().is_none() {
        tell::of_an_outage_without_checks(&spec.name);
    }
    contract
}

/// The record of a check that has not run.
fn unrun(check: &CheckSpec) -> CheckRecord {
    CheckRecord::new(check.kind.reasons.iter().chain(reasons::ALL).copied())
}

/// What is known about a contract's independence of others, by their names.
fn independence(spec: &ContractSpec, known: Option<&BTreeMap<String, Independence>>) -> BTreeMap<String, Independence> {
    let known = |other: &String| known.and_then(|known| known.get(other)).cloned().unwrap_or_default();
    spec.independent_of.iter().map(|other| (other.clone(), known(other))).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_clock_that_is_set_ends_a_time_of_looks() {
        let wall = Arc::new(AtomicI64::new(1_800_000_000_000_000_000));
        let read = Arc::clone(&wall);
        let clock = Clock::with(move || read.load(Relaxed), || 0);
        let begun = clock.moment();
        let looked = Looked { from: begun.wall(begun.now), last: begun.now, until: begun.wall(begun.now) };
        let set = |seconds: i64| wall.fetch_add(seconds * 1_000_000_000, Relaxed);
        assert!(looked.goes_on(clock.moment()));
        set(60);
        assert!(looked.goes_on(clock.moment()), "a small correction");
        set(3_600);
        assert!(!looked.goes_on(clock.moment()), "an hour that never was is not observed");
        set(-3_700);
        assert!(!looked.goes_on(clock.moment()), "before the beginning");
    }
}
