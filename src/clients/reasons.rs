//! The reasons that several kinds of check share: one name for one meaning.
//!
//! If one advice fits all kinds, the whole reason is here. If the advice depends on the server,
//! only the name is here: `reasons::timeout("…")` is a `timeout` with its own advice.

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
    /// The name of the server has no address, or could not be looked up.
    resolve_failed,
    /// Nothing accepts connections, or the connection broke.
    connect_failed,
    /// The TLS handshake failed.
    tls_failed,
    /// The TLS handshake failed, but other clients may well succeed with this server.
    tls_unsupported,
    /// No complete answer arrived in time.
    timeout,
    /// The credentials are refused.
    auth_failed,
    /// The credentials are accepted, but have too few rights.
    forbidden,
    /// Too many requests.
    throttled,
    /// The server, or a proxy in front of it, failed.
    server_error,
    /// The answer is not from the expected server, or makes no sense.
    bad_answer,
    /// The server understands the request, but refuses it.
    query_refused,
    /// A file with credentials or certificates cannot be used.
    credentials_unreadable,
    /// The exporter's own machine is at its limits, or has no route to the server.
    local,
    /// What was read is too old to prove anything.
    stale,
    /// The primary lacks what DR is compared with.
    primary_missing,
    /// Both sides of a comparison are the same thing.
    same_object,
    /// The object is being deleted.
    being_deleted,
}

/// A file of the exporter cannot be used.
pub static CREDENTIALS_UNREADABLE: Reason =
    credentials_unreadable("Correct the file in the detail. It is read again at the next run.");
/// The exporter's own machine is at its limits, or has no route to the server.
pub static LOCAL: Reason = local(
    "The exporter could not measure: check its own machine, its limits (open files, ports, CPU) and its network.",
);
/// The exporter does not support the server's TLS.
pub static TLS_UNSUPPORTED: Reason = tls_unsupported(
    "Other clients may reach the server, but the exporter cannot: change its certificate or TLS settings as in the detail.",
);
