//! Carries out the orders of people. The ledger is the only writer, so two orders never meet.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ledger, tell};
use crate::clock::Moment;
use crate::domain::contract::Objective;
use crate::domain::drill::{Announcement, DrillKind, DrillSpec, Outcome};
use crate::domain::incident::Stepped;
use crate::domain::outage::Mode;
use crate::domain::people::{Refusal, Stamp};
use crate::domain::status::Status;
use crate::domain::time::Timestamp;
use crate::engine::journal::Journal;
use crate::engine::memory::Extent;
use crate::engine::order::{Answer, Done, NotDone, On, Order, Request};
use crate::store::plans::Answered;
use crate::store::record::Fact;

impl Ledger {
    /// Carries out an order. What is refused has changed nothing.
    pub(super) fn order(&mut self, request: &Request) -> Answer {
        if let Some(failing) = self.memory.health().and_then(|health| health.failing) {
            return Err(NotDone::NotStored(format!("the storage fails, so nothing was done: {failing}")));
        }
        let moment = self.clock.moment();
        let key = request.key.as_ref().map(|key| format!("{}/{key}", request.user));
        let text = serde_json::to_string(&request.order).unwrap_or_default();
        if let Some(known) = key.as_ref().and_then(|key| self.journal.plans().answers.get(key)) {
            if known.request == text {
                return Ok(Done { created: false, state: known.answer.clone() });
            }
            return Err(Refusal::Conflict("this idempotency key was used for another request".to_owned()).into());
        }
        let stamp = Journal::stamp(request.order.by(), &request.user, moment);
        let given = request.given.unwrap_or_else(|| stamp.at.minus(request.age)).min(stamp.at);
        let (created, state) = self.carry_out(&request.order, stamp, given, moment)?;
        if let Some(key) = key {
            let at = moment.wall(moment.now);
            self.journal.put_answer(key, Answered { at, request: text, answer: state.clone() });
        }
        tell::of_order(request);
        self.apply_plans(moment);
        Ok(Done { created, state })
    }

    /// The stamp says when it is carried out. A declaration counts from when the person gave it, whoever was
    /// asked first, and however long it took until a replica could store it.
    fn carry_out(
        &mut self,
        order: &Order,
        stamp: Stamp,
        given: Timestamp,
        moment: Moment,
    ) -> Result<(bool, Value), Refusal> {
        match order {
            Order::Declare { incident, reason, at, .. } => {
                self.declare(incident, reason, at.unwrap_or(given), stamp, moment)
            }
            Order::Step { incident, step, undo, .. } => self.step(incident, step, !undo, &stamp),
            Order::Close { incident, .. } => self.close(incident, stamp),
            Order::StartDrill { drill, announcement, .. } => self.start_drill(drill, announcement, stamp, moment),
            Order::Recovered { drill, .. } => self.recovered(drill, stamp),
            Order::Finish { drill, text, .. } => self.finish(drill, text, stamp),
            Order::Abort { drill, text, .. } => self.abort(drill, text, stamp),
            Order::Note { on, text, .. } => self.note(on, text, stamp),
            Order::Change { on, link, .. } => {
                let (on, ()) = self.journal.review(on, |review| {
                    review.change = Some(link.clone());
                    Ok(())
                })?;
                let fact = Fact::Change { on: on.clone(), stamp: stamp.clone(), link: link.clone() };
                self.journal.record(stamp.at, fact);
                Ok((true, self.shown(&on)))
            }
            Order::OpenGap { on, text, owner, due, .. } => {
                let opened = stamp.clone();
                let (on, number) =
                    self.journal.review(on, |review| Ok(review.open(opened, text.clone(), owner.clone(), *due)))?;
                self.record_gap(&on, number, stamp.at);
                Ok((true, self.shown(&on)))
            }
            Order::CloseGap { on, number, .. } => {
                let closed = stamp.clone();
                let (on, ()) = self.journal.review(on, |review| review.close(*number, closed))?;
                self.record_gap(&on, *number, stamp.at);
                Ok((false, self.shown(&on)))
            }
            Order::Acknowledge { contract, text, .. } => self.acknowledge_by_hand(contract, text, &stamp),
        }
    }

    fn declare(
        &mut self,
        name: &str,
        reason: &str,
        began: Timestamp,
        stamp: Stamp,
        moment: Moment,
    ) -> Result<(bool, Value), Refusal> {
        let declared = self.journal.people.incident(name)?.declare(began, stamp.clone(), reason.to_owned())?;
        let open = self.journal.open_incidents().find(|incident| incident.name == name).cloned();
        if let Some(open) = open {
            // Two people may declare at once: it is one incident.
            let fact = Fact::Joined { incident: open.id.clone(), stamp, reason: reason.to_owned() };
            self.journal.record(declared.declared.at, fact);
            return Ok((false, json!(open)));
        }
        let at = moment.now.minus(stamp.at.since(began));
        self.journal.record(stamp.at, Fact::Declared { incident: declared.clone() });
        self.journal.put_incident(declared.clone());
        for contract in &declared.clocks {
            self.start_clock(contract, at, moment);
            self.acknowledge(contract, &declared.id, &stamp);
        }
        Ok((true, json!(declared)))
    }

    /// Starts the clock of a contract, or joins the one that runs.
    fn start_clock(&mut self, contract: &str, at: Timestamp, moment: Moment) {
        let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == contract) else { return };
        followed.tell_of_statuses(moment.now, moment, &mut self.memory, &mut self.journal);
        let record = Arc::make_mut(&mut followed.record);
        let event = record.contract.declare(at, Mode::Real);
        if let Some(event) = event {
            tell::of_clock(record.contract.spec(), event);
        }
        followed.record_outage(moment, &mut self.journal);
        followed.pace();
        followed.tell_of_statuses(moment.now, moment, &mut self.memory, &mut self.journal);
        self.memory.note(followed, moment, Extent::News);
    }

    fn step(&mut self, named: &str, step: &str, done: bool, stamp: &Stamp) -> Result<(bool, Value), Refusal> {
        let mut incident = self.journal.incident(named)?;
        let changed = incident.step(step, stamp.clone(), done)? == Stepped::Changed;
        let state = json!(incident);
        if changed {
            let fact = Fact::Step { incident: incident.id.clone(), step: step.to_owned(), done, stamp: stamp.clone() };
            self.journal.record(stamp.at, fact);
            self.journal.put_incident(incident);
        }
        Ok((changed, state))
    }

    fn close(&mut self, named: &str, stamp: Stamp) -> Result<(bool, Value), Refusal> {
        let mut incident = self.journal.incident(named)?;
        incident.close(stamp.clone())?;
        self.journal.record(stamp.at, Fact::Closed { incident: incident.id.clone(), stamp });
        let state = json!(incident);
        self.journal.put_incident(incident);
        Ok((false, state))
    }

    /// Ends the outage of a contract that no check confirmed, unless one fails.
    pub(super) fn withdraw(&mut self, contract: &str, moment: Moment) {
        let Some(followed) = self.contracts.iter_mut().find(|followed| followed.spec.name == contract) else { return };
        let Some(outage) = Arc::make_mut(&mut followed.record).contract.withdraw() else { return };
        if outage.declared {
            tell::of_a_declared_outage_without_a_failure(contract);
        } else {
            tell::of_an_outage_without_checks(contract);
        }
        let trigger = moment.wall(outage.trigger);
        self.journal.record(moment.wall(moment.now), Fact::Withdrawn { contract: contract.to_owned(), trigger });
        followed.pace();
        self.memory.note(followed, moment, Extent::News);
    }

    fn start_drill(
        &mut self,
        name: &str,
        announcement: &Announcement,
        stamp: Stamp,
        moment: Moment,
    ) -> Result<(bool, Value), Refusal> {
        let people = Arc::clone(&self.journal.people);
        let spec = people.drill(name)?;
        if let Some(open) = self.journal.open_drills().find(|run| run.name == name) {
            return Ok((false, json!(open)));
        }
        self.must_be_well(spec, moment.now)?;
        let with_rto = |name: &str| {
            self.contracts.iter().any(|followed| followed.spec.name == name && followed.spec.rto.is_some())
        };
        let at = stamp.at;
        let run = spec.start(stamp, announcement.clone(), with_rto);
        self.journal.record(at, Fact::DrillStarted { run: run.clone() });
        let state = json!(run);
        self.journal.put_drill(run);
        Ok((true, state))
    }

    /// A drill must begin while its contracts are known to be well. Otherwise it would mark a real
    /// failure as planned.
    fn must_be_well(&self, spec: &DrillSpec, now: Timestamp) -> Result<(), Refusal> {
        if spec.kind != DrillKind::Recovery {
            return Ok(());
        }
        let concerned = self.contracts.iter().filter(|followed| spec.contracts.contains(&followed.spec.name));
        let ill = concerned.filter(|followed| {
            let contract = &followed.record.contract;
            let mut judged = Objective::ALL.iter().filter_map(|objective| contract.judge(*objective, now));
            let breached = judged.any(|judgement| judgement.status() == Status::Breached);
            let mut feeding = contract.checks().iter().filter(|check| check.spec().feeds.rto);
            // What nobody measures may have failed before.
            let unhealthy = feeding.any(|check| check.healthy(now) != Some(true));
            breached || contract.clock().running().is_some() || unhealthy
        });
        let ill: Vec<&str> = ill.map(|followed| followed.spec.name.as_str()).collect();
        if ill.is_empty() {
            return Ok(());
        }
        let ill = ill.join(", ");
        Err(Refusal::Conflict(format!("a drill begins while all is seen to be well, and this is not: {ill}")))
    }

    fn recovered(&mut self, named: &str, stamp: Stamp) -> Result<(bool, Value), Refusal> {
        let mut run = self.journal.drill(named)?;
        let first = run.recovered(stamp.clone())?;
        let state = json!(run);
        if first {
            self.journal.record(stamp.at, Fact::DrillRecovered { drill: run.id.clone(), stamp });
            self.journal.put_drill(run);
        }
        Ok((first, state))
    }

    fn finish(&mut self, named: &str, text: &str, stamp: Stamp) -> Result<(bool, Value), Refusal> {
        let mut run = self.journal.drill(named)?;
        let running = self.contracts.iter().filter(|followed| {
            followed.record.contract.clock().running().is_some_and(|outage| outage.mode == Mode::Drill)
        });
        let running: Vec<&str> = running.map(|followed| followed.spec.name.as_str()).collect();
        let outcome = run.finish(stamp.clone(), text.to_owned(), &running)?;
        let at = stamp.at;
        let fact = Fact::DrillEnded { drill: run.id.clone(), outcome, stamp, text: text.to_owned() };
        self.journal.record(at, fact);
        if outcome.counts() {
            self.journal.put_done(&run.name, at);
        }
        let state = json!(run);
        self.journal.put_drill(run);
        Ok((false, state))
    }

    /// Gives a drill up.
    pub(super) fn abort(&mut self, named: &str, text: &str, stamp: Stamp) -> Result<(bool, Value), Refusal> {
        let mut run = self.journal.drill(named)?;
        run.abort(stamp.clone(), text.to_owned())?;
        let outcome = Outcome::Aborted;
        let at = stamp.at;
        let fact = Fact::DrillEnded { drill: run.id.clone(), outcome, stamp, text: text.to_owned() };
        self.journal.record(at, fact);
        let state = json!(run);
        self.journal.put_drill(run);
        Ok((false, state))
    }

    fn note(&mut self, on: &On, text: &str, stamp: Stamp) -> Result<(bool, Value), Refusal> {
        let written = stamp.clone();
        let (on, ()) = self.journal.review(on, |review| {
            review.note(written, text.to_owned());
            Ok(())
        })?;
        let at = stamp.at;
        self.journal.record(at, Fact::Note { on: on.clone(), stamp, text: text.to_owned() });
        Ok((true, self.shown(&on)))
    }

    fn record_gap(&mut self, on: &str, number: u32, at: Timestamp) {
        let plans = self.journal.plans();
        let review = plans.incidents.get(on).map(|incident| &incident.review);
        let review = review.or_else(|| plans.drills.get(on).map(|run| &run.review));
        let gap = review.and_then(|review| review.gaps.iter().find(|gap| gap.number == number)).cloned();
        if let Some(gap) = gap {
            self.journal.record(at, Fact::Gap { on: on.to_owned(), gap });
        }
    }

    fn acknowledge_by_hand(&mut self, contract: &str, text: &str, stamp: &Stamp) -> Result<(bool, Value), Refusal> {
        if !self.contracts.iter().any(|followed| followed.spec.name == contract) {
            return Err(Refusal::Unknown("there is no contract with this name".to_owned()));
        }
        let first = self.acknowledge(contract, text, stamp);
        let alarms = self.journal.plans().alarms.get(contract).cloned().unwrap_or_default();
        if alarms.current.is_none() {
            return Err(Refusal::Conflict(format!("nothing is wrong with {contract}: there is no alarm")));
        }
        Ok((first, json!({ "contract": contract, "alarms": alarms })))
    }

    /// Somebody reacts to the alarm of a contract. True if nobody had before.
    pub(super) fn acknowledge(&mut self, contract: &str, by_what: &str, stamp: &Stamp) -> bool {
        let by = stamp.clone();
        let (first, last) = self.journal.change_alarms(contract, |alarms| (alarms.acknowledge(by), alarms.last));
        if let Some((severity, waited_seconds)) = last.filter(|_| first) {
            let (contract, by_what) = (contract.to_owned(), by_what.to_owned());
            let fact = Fact::Acknowledged { contract, severity, waited_seconds, stamp: stamp.clone(), by_what };
            self.journal.record(stamp.at, fact);
        }
        first
    }

    /// An incident or drill, as it is shown.
    fn shown(&self, id: &str) -> Value {
        let plans = self.journal.plans();
        let incident = plans.incidents.get(id).map(|incident| json!(incident));
        incident.or_else(|| plans.drills.get(id).map(|run| json!(run))).unwrap_or_default()
    }
}
