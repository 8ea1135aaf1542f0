//! Time in each status, from the changes that were recorded. What nobody observed is a state of its
//! own, so the shares always add up to the whole period.

use std::time::Duration;

use super::status::Status;
use super::time::Timestamp;

/// One change in the history of an objective.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The status changed.
    Status(Status),
    /// From here on nobody observed.
    Silent,
    /// Somebody observes again. The last status holds until a new one is recorded.
    Observed,
}

/// How far apart two instants may be if no clock was set. A time service corrects a wall clock by
/// about this much.
const CORRECTED: Duration = Duration::from_secs(5);

/// A change, and what the wall clock showed when it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// When it was recorded.
    pub recorded: Timestamp,
    /// Since when it counts.
    pub at: Timestamp,
    /// The change.
    pub change: Change,
}

/// The changes with the times at which they count. They are given in the order in which they were
/// recorded, up to `now`.
///
/// A change that lies after something that was recorded later was stamped by a clock that ran ahead.
/// When it was is not known, so nobody observed from the last time that is trusted until then.
#[must_use]
pub fn dated(changes: &[Recorded], now: Timestamp) -> Vec<(Timestamp, Change)> {
    let mut bound = now;
    let mut bounded: Vec<(&Recorded, Timestamp)> = Vec::with_capacity(changes.len());
    for change in changes.iter().rev() {
        bound = bound.min(change.recorded);
        bounded.push((change, bound));
    }
    let mut dated = Vec::with_capacity(changes.len());
    let mut trusted = None;
    for (Recorded { recorded, at, change }, bound) in bounded.into_iter().rev() {
        if recorded.max(at).since(bound) > CORRECTED {
            dated.extend(trusted.map(|trusted| (trusted, Change::Silent)));
        } else {
            trusted = trusted.max(Some(bound));
        }
        dated.push(((*at).min(bound), *change));
    }
    dated
}

/// How long an objective had each status within a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shares {
    /// Per status, in the order of [`Status::ALL`].
    pub in_status: [Duration; Status::ALL.len()],
    /// The time that nobody observed.
    pub not_observed: Duration,
}

impl Shares {
    /// The sum: always the length of the period.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.in_status.iter().sum::<Duration>() + self.not_observed
    }

    /// The time in one status.
    #[must_use]
    pub fn of(&self, status: Status) -> Duration {
        let index = Status::ALL.iter().position(|other| *other == status);
        index.and_then(|index| self.in_status.get(index)).copied().unwrap_or_default()
    }

    fn add(&mut self, state: Option<Status>, time: Duration) {
        let index = state.and_then(|state| Status::ALL.iter().position(|other| *other == state));
        match index.and_then(|index| self.in_status.get_mut(index)) {
            Some(share) => *share += time,
            None => self.not_observed += time,
        }
    }
}

/// The time in each status from `from` to `to`. The changes may come in any order. Those before the
/// period tell the status at its beginning.
#[must_use]
pub fn shares(changes: &[(Timestamp, Change)], from: Timestamp, to: Timestamp) -> Shares {
    let mut changes = changes.to_vec();
    // A stable sort keeps the order of what was recorded for the same instant.
    changes.sort_by_key(|(at, _)| *at);
    let (mut shares, mut status, mut silent, mut here) = (Shares::default(), None, true, from);
    for (at, change) in changes {
        let at = at.max(from).min(to);
        shares.add(status.filter(|_| !silent), at.since(here));
        here = here.max(at);
        match change {
            Change::Status(now) => (status, silent) = (Some(now), false),
            Change::Silent => silent = true,
            Change::Observed => silent = false,
        }
    }
    shares.add(status.filter(|_| !silent), to.since(here));
    shares
}

impl Shares {
    /// The shares in hundredths of a percent: per status, in the order of [`Status::ALL`], and not
    /// observed. They add up to exactly 10000, unless the period is empty.
    #[must_use]
    pub fn hundredths(&self) -> [u32; Status::ALL.len() + 1] {
        let mut parts = [0_u32; Status::ALL.len() + 1];
        let total = self.total().as_nanos();
        let shares = || self.in_status.iter().chain([&self.not_observed]);
        let scaled = |share: &Duration| share.as_nanos().saturating_mul(10_000);
        for (part, share) in parts.iter_mut().zip(shares()) {
            *part = scaled(share).checked_div(total).and_then(|part| u32::try_from(part).ok()).unwrap_or(0);
        }
        // What rounding down lost goes to the shares that lost most.
        let mut lost: Vec<(u128, usize)> =
            shares().map(|share| scaled(share).checked_rem(total).unwrap_or(0)).zip(0..).collect();
        lost.sort_unstable_by_key(|(rest, _)| std::cmp::Reverse(*rest));
        let missing = if total == 0 { 0 } else { 10_000_u32.saturating_sub(parts.iter().sum()) };
        for (_, index) in lost.into_iter().take(missing as usize) {
            if let Some(part) = parts.get_mut(index) {
                *part += 1;
            }
        }
        parts
    }
}
