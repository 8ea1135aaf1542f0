//! What earlier runs saw of the applications.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::sync::{self, Verdict};
use super::{Found, Seen};
use crate::domain::time::Timestamp;

/// How many revisions of a side are kept.
const KEPT: usize = 16;

/// What earlier runs saw of the applications.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memory {
    /// A token for what was deployed when the application was last seen in sync.
    in_sync: Option<String>,
    /// The health that Argo CD states.
    health: Option<Stated>,
    /// The revisions that DR followed, the newest last.
    dr: Vec<Followed>,
    /// The revisions that the primary followed, the newest last.
    primary: Vec<Followed>,
}

/// A health, as Argo CD states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stated {
    status: String,
    /// When Argo CD is last known to have stated it.
    at: Timestamp,
}

/// The revisions that one side followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Followed {
    revisions: String,
    /// The first comparison with them that was seen.
    since: Timestamp,
}

impl Memory {
    /// Takes in what a run read.
    pub(super) fn note(&mut self, dr: &mut Found, primary: Option<&Found>, stale_after: Duration, now: Timestamp) {
        if let Ok(Some(seen)) = dr {
            self.consider(seen, primary.is_none(), stale_after, now);
            self.state(seen);
            follow(&mut self.dr, seen);
        }
        if let Some(Ok(Some(seen))) = primary {
            follow(&mut self.primary, seen);
        }
    }

    /// What was in sync with git is no older than that, though git went on. Of an application `alone`
    /// that was proven then. With a primary it may have been at another revision.
    pub(super) fn consider(&mut self, seen: &mut Seen, alone: bool, stale_after: Duration, now: Timestamp) {
        let deployed = sync::last_deployment(&seen.application);
        match sync::of(seen, stale_after, now) {
            // A deployment may be told before it was compared.
            Verdict::Same { .. } | Verdict::Silent { in_sync: Some(_), .. }
                if sync::is_compared_since_deployed(&seen.application) =>
            {
                self.in_sync = deployed;
            }
            Verdict::Different(_) if self.in_sync == deployed => {
                let keeps = !alone && sync::is_deployed_again(&seen.application);
                seen.rolled_back = seen.rolled_back.filter(|_| keeps);
            }
            _ => {}
        }
    }

    /// Notes the health. Argo CD writes a health when it changes, and states it again with each
    /// comparison.
    fn state(&mut self, seen: &Seen) {
        let status = &seen.application.status.health.status;
        let at = match &self.health {
            Some(known) if known.status == *status => Some(known.at).max(seen.reconciled),
            Some(_) => Some(seen.at),
            None => seen.reconciled,
        };
        self.health = at.map(|at| Stated { status: status.clone(), at: at.min(seen.at) });
    }

    /// When the current health was last stated.
    pub(super) fn stated(&self) -> Option<Timestamp> {
        self.health.as_ref().map(|known| known.at)
    }

    /// Whether DR was seen at these revisions.
    pub(super) fn dr_had(&self, revisions: &[&str]) -> bool {
        since(&self.dr, revisions).is_some()
    }

    /// Whether the primary was seen at these revisions.
    pub(super) fn primary_had(&self, revisions: &[&str]) -> bool {
        since(&self.primary, revisions).is_some()
    }

    /// The first comparison of DR with these revisions that was seen.
    pub(super) fn dr_since(&self, revisions: &[&str]) -> Option<Timestamp> {
        since(&self.dr, revisions)
    }

    /// The same on another timeline.
    pub(super) fn carried(self, carry: impl Fn(Timestamp) -> Timestamp) -> Self {
        let all = |list: Vec<Followed>| {
            list.into_iter().map(|followed| Followed { since: carry(followed.since), ..followed }).collect()
        };
        let health = self.health.map(|known| Stated { at: carry(known.at), ..known });
        Self { in_sync: self.in_sync, health, dr: all(self.dr), primary: all(self.primary) }
    }
}

/// Notes what an application follows.
fn follow(list: &mut Vec<Followed>, seen: &Seen) {
    let Some((revisions, since)) = sync::followed(&seen.application).zip(seen.reconciled) else { return };
    let revisions = revisions.join("+");
    if list.last().is_some_and(|last| last.revisions == revisions) {
        return;
    }
    list.retain(|followed| followed.revisions != revisions);
    list.push(Followed { revisions, since });
    list.drain(..list.len().saturating_sub(KEPT));
}

fn since(list: &[Followed], revisions: &[&str]) -> Option<Timestamp> {
    let revisions = revisions.join("+");
    list.iter().find(|followed| followed.revisions == revisions).map(|followed| followed.since)
}
