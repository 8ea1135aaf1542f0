//! What people plan for: disasters that they may declare, and drills.
//!
//! This version reads and checks these sections, so that one file holds the whole plan; it does not act on them yet.

use super::section;
use super::values::{ClockRef, ContractRef, Name, PromDuration};

section! {
    /// A disaster that a person may declare.
    pub struct Incident {
        /// Unique among incidents.
        pub name: Name,
        /// Who may declare it.
        pub declared_by: Vec<Name>,
        /// What it calls for.
        pub action: Name,
        /// The contracts whose recovery clocks start when it is declared.
        pub starts_clocks: Vec<ClockRef> = Vec::new(),
        /// The steps to take, in this order.
        pub checklist: Vec<Name>,
    }
}

section! {
    /// A recovery that is planned, or something that people look at regularly.
    pub struct Drill {
        /// Unique among drills.
        pub name: Name,
        /// How long after one the next is due.
        pub every: PromDuration,
        /// The contracts that it proves, or looks at.
        pub contracts: Vec<ContractRef> = Vec::new(),
        /// What is done.
        pub description: Option<String> = None,
    }
}
