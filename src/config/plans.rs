//! Plans of people: disasters that they can declare, drills, and how soon they react.

use super::references::{CheckRef, ClockRef, ContractRef};
use crate::decode::values::{Name, PromDuration};
use crate::decode::{Decoder, Fields, section};
use crate::domain::contract::Priority;
use crate::domain::drill::{DrillKind, DrillSpec};
use crate::domain::incident::IncidentSpec;
use crate::domain::response::{Escalation, Response};
use crate::domain::schedule::Schedule;

section! {
    /// A disaster that a person can declare.
    pub struct Incident {
        /// The name, unique among incidents.
        pub name: Name,
        /// The roles that may declare it.
        pub declared_by: Vec<Name>,
        /// The action to take.
        pub action: Name,
        /// The contracts whose recovery clocks start when it is declared.
        pub starts_clocks: Vec<ClockRef> = Vec::new(),
        /// The steps to take, in this order.
        pub checklist: Vec<Name>,
    }
}

section! {
    /// A planned recovery, a check on a schedule, or a regular review.
    pub struct Drill {
        /// The name, unique among drills.
        pub name: Name,
        /// `recovery`: something is broken on purpose, and the recovery is measured. `check`: the
        /// exporter itself verifies on schedule. `review`: a person confirms. The default is
        /// `recovery` for a drill with contracts, and `review` for one without.
        pub kind: Option<DrillKind> = None,
        /// How often it is due: `weekly`, `monthly`, `quarterly`, or a duration.
        pub every: Schedule,
        /// The contracts that it proves, verifies or reviews.
        pub contracts: Vec<ContractRef> = Vec::new(),
        /// The checks that a drill of the kind `check` verifies. The default is every check of its
        /// contracts.
        pub checks: Vec<CheckRef> = Vec::new(),
        /// How long it may last. Then it is aborted, so that a forgotten drill does not mark a real
        /// outage as planned.
        pub expires_after: PromDuration = PromDuration::from_secs(4 * 3600),
        /// What is done.
        pub description: Option<String> = None,
    }
    validate = Drill::validate;
}

section! {
    /// How soon somebody must react to an alarm of one severity.
    pub struct Reaction {
        /// The time from the beginning of the alarm to the first reaction.
        pub respond_within: PromDuration,
        /// Who is told when that time is over.
        pub escalate_to: String,
    }
}

impl Incident {
    /// The specification.
    #[must_use]
    pub fn spec(&self) -> IncidentSpec {
        IncidentSpec {
            name: self.name.as_str().to_owned(),
            declared_by: words(&self.declared_by),
            action: self.action.as_str().to_owned(),
            starts_clocks: self.starts_clocks.iter().map(|clock| clock.name().as_str().to_owned()).collect(),
            checklist: words(&self.checklist),
        }
    }
}

fn words(names: &[Name]) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

impl Drill {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        let kind = self.kind();
        if kind == DrillKind::Recovery && self.contracts.is_empty() {
            cx.error(fields.position("kind"), "a recovery proves contracts; add `contracts`, or make it a review");
        }
        if kind == DrillKind::Check && self.contracts.is_empty() && self.checks.is_empty() {
            cx.error(fields.position("kind"), "a drill of the kind `check` needs `contracts` or `checks`");
        }
        if kind != DrillKind::Check && !self.checks.is_empty() {
            let message = "only a drill of the kind `check` verifies checks; remove this, or set `kind: check`";
            cx.under("checks", |cx| cx.error(fields.position("checks"), message));
        }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> DrillKind {
        let by_contracts = if self.contracts.is_empty() { DrillKind::Review } else { DrillKind::Recovery };
        self.kind.unwrap_or(by_contracts)
    }

    /// The specification.
    #[must_use]
    pub fn spec(&self) -> DrillSpec {
        let checks = self.checks.iter().map(|of| (of.contract.as_str().to_owned(), of.check.as_str().to_owned()));
        DrillSpec {
            name: self.name.as_str().to_owned(),
            kind: self.kind(),
            every: self.every,
            contracts: self.contracts.iter().map(|contract| contract.name().as_str().to_owned()).collect(),
            checks: checks.collect(),
            expires_after: self.expires_after.get(),
            description: self.description.clone(),
        }
    }
}

/// The responses: those of the configuration, and the usual ones for the other severities.
#[must_use]
pub(super) fn escalation(configured: std::collections::BTreeMap<Priority, Reaction>) -> Escalation {
    let minutes = |minutes: u64| PromDuration::from_secs(60 * minutes);
    let usual = [
        (Priority::P0, minutes(15), "CTO + Eng Lead"),
        (Priority::P1, minutes(60), "SRE Lead"),
        (Priority::P2, minutes(240), "On-call"),
    ];
    let usual = usual.map(|(severity, respond_within, escalate_to)| {
        (severity, Reaction { respond_within, escalate_to: escalate_to.to_owned() })
    });
    let mut reactions: std::collections::BTreeMap<_, _> = usual.into_iter().collect();
    reactions.extend(configured);
    let response = |of: Reaction| Response { within: of.respond_within.get(), escalate_to: of.escalate_to };
    reactions.into_iter().map(|(severity, reaction)| (severity, response(reaction))).collect()
}
