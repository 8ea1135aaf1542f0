//! Several replicas measure the same contracts, and one of them records: what one replica takes over
//! from the shared state.
//!
//! A follower hears of the clocks that the leader runs. A replica that takes the lead continues from
//! the shared state as after a restart, but it also has its own knowledge. All instants here lie on
//! the timeline of this replica.

use std::collections::BTreeMap;
use std::time::Duration;

use super::outage::{Beginning, Interruption, Outage, Recovery};
use super::remembered::{Circumstances, Remembered, RememberedCheck, RememberedClock};
use super::time::Timestamp;

/// A recovery that this replica measured and that is not recorded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The recovery.
    pub recovery: Recovery,
    /// What is known about its outage beside its times.
    pub circumstances: Option<Circumstances>,
    /// Whether the beginning of its outage is recorded.
    pub is_known: bool,
}

/// Whether two outages are one. Both replicas see the component fail until the same end, so their
/// outages share an instant. Two outages of a component share none, because it was healthy in
/// between. Each is given by its first failure and its end.
#[must_use]
pub fn is_same(a: (Timestamp, Timestamp), b: (Timestamp, Timestamp)) -> bool {
    a.0 <= b.1 && b.0 <= a.1
}

fn extent(recovery: &Recovery) -> (Timestamp, Timestamp) {
    (recovery.outage.first_failure, recovery.healthy)
}

/// What a follower knows after it heard of the `shared` clock.
///
/// A clock that others run counts here too: with the earlier trigger if this replica runs one
/// itself, or if it has not seen the component healthy since that trigger. Counts are the shared
/// ones.
#[must_use]
pub fn heard(own: Remembered, shared: &RememberedClock) -> Remembered {
    joined(own, shared, false)
}

/// What a replica continues from when it takes the lead, and which of the recoveries that it
/// measured itself (`mine`) it has to record. None of `mine` may be recorded already.
///
/// Of each check, the state whose look is newer counts as a whole: a recovery point that was
/// withdrawn does not come back.
#[must_use]
pub fn taken_over(
    own: Remembered,
    mut shared: Remembered,
    mut mine: Vec<Measured>,
    rto: Option<Duration>,
) -> (Remembered, Vec<Measured>) {
    count(&mut shared.clock, &mut mine, rto);
    (joined(with_newer_checks(own, shared.checks), &shared.clock, true), mine)
}

/// What a leader continues from which records recoveries that only others measured.
#[must_use]
pub fn recorded_late(
    mut own: Remembered,
    mut mine: Vec<Measured>,
    rto: Option<Duration>,
) -> (Remembered, Vec<Measured>) {
    let running = own.clock.running.take();
    let (last, circumstances) = (own.clock.last, own.clock.circumstances.clone());
    count(&mut own.clock, &mut mine, rto);
    own.clock.running = running;
    if running.is_some() || last.is_some_and(|last| own.clock.last.is_some_and(|new| new.healthy < last.healthy)) {
        own.clock.circumstances = circumstances;
    }
    own.clock.last = last.into_iter().chain(own.clock.last).max_by_key(|last| last.healthy);
    (own, mine)
}

/// Counts recoveries that are to be recorded.
fn count(clock: &mut RememberedClock, mine: &mut [Measured], rto: Option<Duration>) {
    mine.sort_by_key(|measured| measured.recovery.healthy);
    for Measured { recovery, circumstances, is_known } in mine {
        // The leader recorded the beginning, and this replica saw the end.
        if let Some(outage) = clock.running.take_if(|running| running.first_failure <= recovery.healthy) {
            recovery.outage = recovery.outage.joined(outage, &seen_failing(recovery));
            (*is_known, *circumstances) = (true, clock.circumstances.take().or(circumstances.take()));
        }
        if let Some(met) = rto.and_then(|rto| recovery.met(rto)) {
            let count = clock.count(met, recovery.outage.mode);
            *count = count.saturating_add(1);
        }
        clock.last = Some(*recovery);
        clock.circumstances.clone_from(circumstances);
    }
}

/// What a follower continues from, which could not read the shared state until now.
#[must_use]
pub fn caught_up(own: Remembered, shared: Remembered) -> Remembered {
    heard(with_newer_checks(own, shared.checks), &shared.clock)
}

fn with_newer_checks(own: Remembered, mut shared: BTreeMap<String, RememberedCheck>) -> Remembered {
    let Remembered { clock, checks } = own;
    let checks = checks.into_iter().map(|(name, check)| match shared.remove(&name) {
        Some(other) => (name, newer(&check, &other)),
        None => (name, check),
    });
    Remembered { clock, checks: checks.collect() }
}

/// The state of one check of which two replicas know something. Health and copy are looks of their
/// own, and each is taken as a whole from the newer one.
fn newer(own: &RememberedCheck, other: &RememberedCheck) -> RememberedCheck {
    let health = |check: &RememberedCheck| check.health_seen.max(check.pending);
    let mut check = if health(other) > health(own) { other.clone() } else { own.clone() };
    let (copy, before) = if other.copy_seen > own.copy_seen { (other, own) } else { (own, other) };
    check.copy_seen = copy.copy_seen;
    // Every withdrawal is a look. So without a newer look both are proofs, and the newest counts.
    check.latched = if copy.copy_seen == before.copy_seen { copy.latched.max(before.latched) } else { copy.latched };
    (check.missing, check.missing_since, check.lost) = (copy.missing.clone(), copy.missing_since, copy.lost);
    check.missing_expected.clone_from(&copy.missing_expected);
    // Between the looks of the two, the copy may have been complete.
    let gap = before.copy_seen < copy.missing_since;
    let expects_the_same = copy.missing_expected.is_some() && copy.missing_expected == before.missing_expected;
    if copy.missing.is_some() && copy.missing == before.missing && (!gap || expects_the_same) {
        // The same change is missing. It was seen to be missing before, if the copy was not complete
        // in between.
        let earlier = before.missing_since.filter(|since| copy.latched.is_none_or(|latched| latched <= *since));
        check.missing_since = check.missing_since.into_iter().chain(earlier).min();
    }
    if let (Some(a), Some(b)) = (&copy.copy_identity, &before.copy_identity)
        && a != b
    {
        // One of the two saw another copy. A proof of one says nothing about the other.
        check.latched = None;
    }
    check.copy_identity = copy.copy_identity.clone().or(before.copy_identity.clone());
    let warned = if other.warning_seen > own.warning_seen { other } else { own };
    (check.warning_seen, check.warns) = (warned.warning_seen, warned.warns);
    check
}

/// Joins what this replica knows with the shared clock. A replica that `leads` from now on also ends
/// and continues what the leader before it left.
fn joined(own: Remembered, shared: &RememberedClock, leads: bool) -> Remembered {
    let Remembered { clock: RememberedClock { running, last, circumstances, .. }, mut checks } = own;
    // The component was well then, as everybody knows.
    let well = shared.last.map(|last| last.healthy);
    let mut of_shared = false;
    let running = match (running, shared.running) {
        // This replica saw the shared outage end, and another one begin. The leader knows of neither yet.
        // A new leader records that end first, so here it is not recorded: the leader before it looked,
        // and saw none.
        (Some(own), Some(other))
            if !leads && !other.declared && last.is_some_and(|last| last.healthy > other.trigger) =>
        {
            Some(own)
        }
        (Some(own), Some(other)) => {
            let is_another = well.is_some_and(|well| own.first_failure <= well && well <= other.first_failure);
            of_shared = is_another || other.trigger <= own.trigger;
            Some(if is_another {
                Outage { confirmed: own.confirmed || other.confirmed, ..other }
            } else {
                own.joined(other, &checks)
            })
        }
        (Some(own), None) => match well.filter(|well| leads && own.first_failure <= *well) {
            // This outage is recorded, with its end. What failed since is another one.
            Some(well) => {
                for check in checks.values_mut() {
                    fail_again(check, well);
                }
                None
            }
            None => Some(own),
        },
        (None, Some(other)) => {
            // `None` sorts first: a check that was never well.
            let seen_well = checks.values().map(|check| check.last_success).min().flatten();
            let saw_the_end = last.is_some_and(|last| last.healthy > other.trigger);
            let is_news = other.declared || seen_well.is_none_or(|seen| seen < other.trigger);
            let other = Outage { interruption: interruption(other.trigger, &[other], &checks), ..other };
            let adopted = Some(other).filter(|_| leads || is_news && !saw_the_end);
            if let Some(outage) = &adopted {
                of_shared = true;
                for check in checks.values_mut() {
                    see_anew(check, outage);
                }
            }
            adopted
        }
        (None, None) => None,
    };
    let own_last = last.filter(|own| {
        !leads && shared.last.is_none_or(|last| own.healthy > last.healthy && !is_same(extent(own), extent(&last)))
    });
    let is_own = if running.is_some() { !of_shared } else { own_last.is_some() };
    let clock = RememberedClock {
        running,
        circumstances: if is_own { circumstances } else { shared.circumstances.clone() },
        last: own_last.or(shared.last),
        ..shared.clone()
    };
    Remembered { clock, checks }
}

/// Health before the trigger says nothing about the time after it. Health that was seen since then
/// counts, and may have begun at any time after the trigger.
fn see_anew(check: &mut RememberedCheck, outage: &Outage) {
    (check.successes, check.first_success) = (0, None);
    if check.failures == 0 && check.last_success.is_some_and(|seen| seen > outage.trigger) {
        (check.first_success, check.unseen_since) = (check.last_success, Some(outage.trigger));
    }
}

/// A streak of failures that began before others saw the component well begins anew.
fn fail_again(check: &mut RememberedCheck, well: Timestamp) {
    if check.first_failure.is_none_or(|first| first > well) {
        return;
    }
    match check.last_failure.filter(|last| *last > well) {
        Some(last) => {
            (check.failures, check.first_failure) = (1, Some(last));
            check.beginning = Beginning::After(well);
        }
        None => (check.failures, check.first_failure) = (0, None),
    }
}

/// What the checks saw of an outage that is over.
fn seen_failing(Recovery { outage, healthy, .. }: &Recovery) -> BTreeMap<String, RememberedCheck> {
    let (first_failure, last_failure) = (Some(outage.first_failure), Some(*healthy));
    let check = RememberedCheck { first_failure, last_failure, ..RememberedCheck::default() };
    BTreeMap::from([(String::new(), check)])
}

/// Whether what a check saw belongs to one stretch of failures that contains this instant.
fn reaches_back(check: &RememberedCheck, since: Timestamp) -> bool {
    check.last_failure.is_none_or(|last| last <= since)
        || check.first_failure.is_some_and(|first| {
            let seen_well = check.last_success.filter(|_| check.beginning == Beginning::Seen);
            first <= since || seen_well.is_some_and(|well| well <= since)
        })
}

/// The interruption of one outage that several replicas saw. Its failures lie in one stretch since
/// the earliest instant only if those of every check reach back to it.
fn interruption(
    trigger: Timestamp,
    seen: &[Outage],
    checks: &BTreeMap<String, RememberedCheck>,
) -> Option<Interruption> {
    let all = || seen.iter().map(Outage::seen_since);
    let earliest = all().flatten().min().filter(|since| checks.values().all(|check| reaches_back(check, *since)));
    // `None` sorts first: one that has not seen it fail again.
    let latest = all().min().flatten().and_then(|_| all().max().flatten().filter(|_| seen.len() > 1));
    let since = earliest.or(latest);
    let longest = seen.iter().map(Outage::longest_before).max().unwrap_or_default();
    (since != Some(trigger) || !longest.is_zero()).then_some(Interruption { longest, since })
}

impl Outage {
    /// One outage that two replicas see: with the earlier trigger, and with the mode of the `other`,
    /// whose recorder knows the drills.
    #[must_use]
    fn joined(self, other: Self, checks: &BTreeMap<String, RememberedCheck>) -> Self {
        let first = if other.first_failure <= self.first_failure { other } else { self };
        let trigger = self.trigger.min(other.trigger);
        Self {
            first_failure: first.first_failure,
            beginning: first.beginning,
            trigger,
            interruption: interruption(trigger, &[self, other], checks),
            mode: other.mode,
            declared: self.declared || other.declared,
            confirmed: self.confirmed || other.confirmed,
        }
    }
}
