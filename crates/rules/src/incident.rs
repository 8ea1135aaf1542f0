//! Incidents: disasters that a person declares, with a checklist.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::people::{Refusal, Review, Stamp};
use super::time::Timestamp;

/// A disaster that a person may declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncidentSpec {
    /// The name, unique among incidents.
    pub name: String,
    /// The roles that may declare it.
    pub declared_by: Vec<String>,
    /// The action to take.
    pub action: String,
    /// The contracts whose clocks start.
    pub starts_clocks: Vec<String>,
    /// The steps to take.
    pub checklist: Vec<String>,
}

/// One step of a checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Step {
    /// Its name.
    pub name: String,
    /// Who took it, and when.
    pub done: Option<Stamp>,
}

/// An incident that was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Incident {
    /// The name and the time of the declaration: unique for ever.
    pub id: String,
    /// The name.
    pub name: String,
    /// When the disaster began, as the person said.
    pub began: Timestamp,
    /// Who declared it, and when that was recorded.
    pub declared: Stamp,
    /// Why.
    pub reason: String,
    /// The action to take.
    pub action: String,
    /// The contracts whose clocks it started or joined.
    pub clocks: Vec<String>,
    /// The checklist.
    pub steps: Vec<Step>,
    /// Who closed it, and when.
    pub closed: Option<Stamp>,
    /// Notes, gaps, and the change of the contract.
    #[serde(default)]
    pub review: Review,
}

impl IncidentSpec {
    /// Whether somebody with this role may declare it.
    ///
    /// # Errors
    /// The role is not in the list.
    pub fn admits(&self, role: &str) -> Result<(), Refusal> {
        if self.declared_by.iter().any(|may| may == role) {
            return Ok(());
        }
        let roles = self.declared_by.join(", ");
        Err(Refusal::Forbidden(format!("only these roles may declare {}: {roles}", self.name)))
    }

    /// A new incident that began at `began`.
    ///
    /// # Errors
    /// The role may not declare it, or it begins in the future.
    pub fn declare(&self, began: Timestamp, declared: Stamp, reason: String) -> Result<Incident, Refusal> {
        self.admits(&declared.by)?;
        if began > declared.at {
            return Err(Refusal::Invalid("an incident cannot begin in the future".to_owned()));
        }
        Ok(Incident {
            id: identifier(&self.name, declared.at),
            name: self.name.clone(),
            began,
            declared,
            reason,
            action: self.action.clone(),
            clocks: self.starts_clocks.clone(),
            steps: self.checklist.iter().map(|name| Step { name: name.clone(), done: None }).collect(),
            closed: None,
            review: Review::default(),
        })
    }
}

/// What a call of [`Incident::step`] changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stepped {
    /// The step counts as taken now, or as not taken.
    Changed,
    /// It did before.
    AsBefore,
}

impl Incident {
    /// Whether nobody closed it.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.closed.is_none()
    }

    /// How many steps were taken.
    #[must_use]
    pub fn steps_done(&self) -> usize {
        self.steps.iter().filter(|step| step.done.is_some()).count()
    }

    /// Stamps a step as taken, or corrects a stamp: then the step counts as not taken. Steps may be
    /// taken in any order. A second stamp changes nothing: the first one counts.
    ///
    /// # Errors
    /// There is no such step, or the incident is closed.
    pub fn step(&mut self, name: &str, stamp: Stamp, done: bool) -> Result<Stepped, Refusal> {
        self.must_be_open()?;
        let names = || self.steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(place) = self.steps.iter().position(|step| step.name == name) else {
            return Err(Refusal::Unknown(format!("{} has no such step; its steps are {}", self.name, names())));
        };
        let Some(step) = self.steps.get_mut(place).filter(|step| step.done.is_some() != done) else {
            return Ok(Stepped::AsBefore);
        };
        step.done = done.then_some(stamp);
        Ok(Stepped::Changed)
    }

    /// Closes it.
    ///
    /// # Errors
    /// It is closed already.
    pub fn close(&mut self, stamp: Stamp) -> Result<(), Refusal> {
        self.must_be_open()?;
        self.closed = Some(stamp);
        Ok(())
    }

    fn must_be_open(&self) -> Result<(), Refusal> {
        if self.is_open() { Ok(()) } else { Err(Refusal::Conflict(format!("{} is closed", self.id))) }
    }
}

/// The name of something, and the time at which it began: unique, and readable.
#[must_use]
pub fn identifier(name: &str, at: Timestamp) -> String {
    format!("{name}-{}", jiff::Timestamp::from(at).strftime("%Y%m%dT%H%M%S.%3fZ"))
}
