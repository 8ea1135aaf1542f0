//! The reasons that several kinds of check share: one name for one meaning, whoever reports it.
//!
//! Where one advice fits everybody, the reason itself stands here. Where the advice depends on who was asked, only the
//! name does: `reasons::timeout("…")` is a `timeout` with an advice of its own.

use crate::domain::observation::Reason;

macro_rules! names {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// The names, in the order of their declaration.
        pub const NAMES: &[&str] = &[$(stringify!($name),)+];

        $($(#[doc = $doc])+
        #[must_use]
        pub const fn $name(advice: &'static str) -> Reason {
            Reason::new(stringify!($name), advice)
        })+
    };
}

names! {
    /// The name of the server has no address, or that could not be found out.
    resolve_failed,
    /// Nothing accepts connections, or the connection broke.
    connect_failed,
    /// The two sides could not agree on TLS.
    tls_failed,
    /// No whole answer came in time.
    timeout,
    /// The credentials are refused.
    auth_failed,
    /// The credentials are good, and do not suffice.
    forbidden,
    /// Asked too often.
    throttled,
    /// The server, or a proxy before it, failed.
    server_error,
    /// What answers is not what should be asked, or makes no sense.
    bad_answer,
    /// The server understands the question and does not accept it.
    query_refused,
    /// A file with credentials or certificates is no use.
    credentials_unreadable,
    /// The exporter's own machine is at its limits, or has no way to the server.
    local,
    /// What was read is too old to say anything.
    stale,
    /// The primary lacks what DR is compared with.
    primary_missing,
    /// Both sides of a comparison are one and the same thing.
    same_object,
    /// What is looked at is being deleted.
    being_deleted,
}

/// A file of the exporter's is no use.
pub static CREDENTIALS_UNREADABLE: Reason =
    credentials_unreadable("Correct the file that the detail names; it is read again at the next run.");
/// The exporter's own machine is at its limits, or has no way to the server.
pub static LOCAL: Reason = local(
    "The exporter could not measure: check its own machine, its limits (open files, ports, CPU) and its network.",
);
