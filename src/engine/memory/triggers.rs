//! The stored state of triggers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Clock, Extent, Moment, TriggerLine};
use crate::domain::observation::Health;
use crate::domain::recovery_clock::ClockEvent;
use crate::domain::remembered::{Remembered, RememberedCheck, RememberedClock};
use crate::domain::replica;
use crate::domain::trigger::{RememberedTrigger, Trigger};
use crate::store::{self, Batch, Firing, StoredTrigger};

/// The stored state of triggers, and the changes that wait to be stored.
pub(super) struct TriggerMemory {
    /// The stored state of triggers that are not in the configuration.
    left: BTreeMap<String, StoredTrigger>,
    /// The state as it was last handed over, on the steady timeline, in the order of the
    /// configuration.
    kept: Vec<Kept>,
}

struct Kept {
    name: String,
    fingerprint: String,
    state: RememberedTrigger,
    /// The stored record of the current firing. A record is found by the time at which it began.
    open: Option<Firing>,
}

impl TriggerMemory {
    /// The stored state, while there are no triggers yet.
    pub(super) fn new(left: BTreeMap<String, StoredTrigger>) -> Self {
        Self { left, kept: Vec::new() }
    }

    /// Changes from the `old` triggers to others. A trigger that has the same name but measures
    /// something else starts again, and the record of the old firing ends.
    pub(super) fn swap(
        &mut self,
        lines: &[TriggerLine],
        old: &[Trigger],
        clock: Clock,
        changed: &mut Batch,
    ) -> Vec<(Trigger, Option<usize>)> {
        let moment = clock.moment();
        for (index, trigger) in old.iter().enumerate() {
            self.note(index, trigger, moment, Extent::Drift, changed);
        }
        let before = std::mem::take(&mut self.kept);
        let places: BTreeMap<String, usize> =
            before.iter().enumerate().map(|(place, kept)| (kept.name.clone(), place)).collect();
        for kept in before {
            let stored = kept.stored(moment);
            self.left.insert(kept.name, stored);
        }
        let of = |line: &TriggerLine| {
            let name = &line.spec.name;
            let stored = self.left.remove(name).unwrap_or_default();
            let same = stored.fingerprint == line.fingerprint;
            let earlier = store::form(&stored.fingerprint) != store::form(&line.fingerprint);
            let (state, open) = if same {
                (stored.state, stored.open)
            } else if earlier {
                // The trigger keeps firing, as a clock keeps running. Its evidence must be seen
                // again.
                (RememberedTrigger { watched: RememberedCheck::default(), ..stored.state }, stored.open)
            } else {
                let over = stored.open.map(|open| Firing { ended: Some(moment.wall(moment.now)), ..open });
                changed.firings.extend(over);
                Default::default()
            };
            let state = on_the_timeline(state, clock);
            let trigger = Trigger::recall(Arc::clone(&line.spec), &state.clone().recalled(moment.now));
            let kept = Kept { name: name.clone(), fingerprint: line.fingerprint.clone(), state, open };
            if earlier && (kept.state.firing, kept.state.last) != (None, None) {
                changed.triggers.insert(name.clone(), kept.stored(moment));
            }
            self.kept.push(kept);
            (trigger, places.get(name).copied().filter(|_| same))
        };
        lines.iter().map(of).collect()
    }

    /// Hands over the state of a trigger, if it changed.
    pub(super) fn note(
        &mut self,
        index: usize,
        trigger: &Trigger,
        moment: Moment,
        extent: Extent,
        changed: &mut Batch,
    ) {
        let Some(kept) = self.kept.get_mut(index) else { return };
        let now = trigger.remember();
        let taken = match extent {
            Extent::News => now.is_news_after(&kept.state),
            Extent::Drift => now != kept.state,
            Extent::Anew => true,
        };
        if taken {
            kept.state = now;
            changed.triggers.insert(kept.name.clone(), kept.stored(moment));
        }
    }

    /// The trigger, as it continues when this replica takes the lead, and the firing that it begins or
    /// ends by that. `stored` holds what the leader before wrote.
    pub(super) fn take_over(
        &mut self,
        index: usize,
        trigger: &Trigger,
        stored: &mut BTreeMap<String, StoredTrigger>,
        (clock, moment): (Clock, Moment),
        changed: &mut Batch,
    ) -> Option<(Trigger, Option<Firing>)> {
        let kept = self.kept.get_mut(index)?;
        let shared = stored.remove(&kept.name).unwrap_or_default();
        let same = shared.fingerprint == kept.fingerprint;
        let state = if same { on_the_timeline(shared.state, clock) } else { RememberedTrigger::default() };
        let (own, state) = (of_one_check(trigger.remember()), of_one_check(state.recalled(moment.now)));
        let (mut joined, _) = replica::taken_over(own, state, Vec::new(), None);
        let RememberedClock { running: firing, last, .. } = joined.clock;
        let state = RememberedTrigger { watched: joined.checks.remove("").unwrap_or_default(), firing, last };
        let trigger = Trigger::recall(Arc::clone(trigger.shared_spec()), &state);
        let (own, wall) = (kept.open.take(), moment.wall(moment.now));
        let news = match (trigger.firing(), shared.open.filter(|_| same), own) {
            (Some(_), Some(open), _) => {
                kept.open = Some(open);
                None
            }
            (Some(_), None, own) => {
                kept.open.clone_from(&own);
                own
            }
            (None, open, _) => open.map(|open| Firing { ended: Some(wall), ..open }),
        };
        kept.state = trigger.remember();
        changed.triggers.insert(kept.name.clone(), kept.stored(moment));
        changed.firings.extend(news.clone());
        Some((trigger, news))
    }

    /// Hands over that a trigger started or stopped to fire.
    pub(super) fn note_firing(
        &mut self,
        index: usize,
        trigger: &Trigger,
        event: ClockEvent,
        health: &Health,
        moment: Moment,
        changed: &mut Batch,
    ) {
        let (Some(kept), spec) = (self.kept.get_mut(index), trigger.spec()) else { return };
        match event {
            ClockEvent::Started(firing) => {
                let finding = health.finding();
                let firing = Firing {
                    trigger: spec.name.clone(),
                    action: spec.action.clone(),
                    notification: spec.notification.clone(),
                    mode: spec.mode,
                    holds_since: moment.wall(firing.first_failure),
                    started: moment.wall(firing.trigger),
                    ended: None,
                    reason: finding.map(|finding| finding.reason.label.to_owned()).unwrap_or_default(),
                    detail: finding.map(|finding| finding.detail.clone()).unwrap_or_default(),
                };
                kept.open = Some(firing.clone());
                changed.firings.push(firing);
            }
            ClockEvent::Stopped(over) => {
                let open = kept.open.take();
                changed.firings.extend(open.map(|open| Firing { ended: Some(moment.wall(over.healthy)), ..open }));
            }
        }
    }
}

/// The stored state of a trigger on the steady timeline.
fn on_the_timeline(mut stored: RememberedTrigger, clock: Clock) -> RememberedTrigger {
    let told = clock.told_by(stored.watched.calendar.take().as_ref());
    stored.carried(|wall| told.from_wall(wall))
}

/// A trigger as a contract with one check: both have the same clock.
fn of_one_check(RememberedTrigger { watched, firing, last }: RememberedTrigger) -> Remembered {
    let clock = RememberedClock { running: firing, last, ..RememberedClock::default() };
    Remembered { clock, checks: BTreeMap::from([(String::new(), watched)]) }
}

impl Kept {
    fn stored(&self, moment: Moment) -> StoredTrigger {
        StoredTrigger {
            fingerprint: self.fingerprint.clone(),
            state: self.state.clone().carried(|at| moment.wall(at)),
            open: self.open.clone(),
        }
    }
}
