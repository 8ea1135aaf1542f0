//! The stanza of a connection, and what it leads to.

use crate::decode::Canonical;

/// The stanza of a connection.
pub trait Stanza: Canonical {
    /// What it leads to, as far as the configuration tells. `within` is the JetStream API prefix or
    /// domain that a check uses instead of the connection's own.
    fn destination(&self, within: Option<&str>) -> Destination;
}

/// What a connection leads to. It is equal for two connections to the same place, even if they use
/// different ways or time-outs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// What it leads to.
    pub place: String,
    /// The keys of the stanza that decide this, in words for people.
    pub told_by: &'static str,
}
