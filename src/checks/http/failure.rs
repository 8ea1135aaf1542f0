//! Why there is no complete answer. Pure, except for the test whether this machine can send to an
//! address.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use rustls::pki_types::InvalidDnsNameError;
use url::Host;

use super::head::{LARGEST, Unread};
use super::{
    BAD_ANSWER, CONNECT_FAILED, CONNECTION_LOST, HEAD_TOO_LARGE, LOCAL, RESOLVE_FAILED, TIMEOUT, TLS_FAILED,
    TLS_UNSUPPORTED,
};
use crate::clients::dial::ResolveError;
use crate::clients::failure::{self, Failure, Fault, causes};
use crate::domain::observation::Reason;

/// The stage in which it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Making a connection without TLS.
    Connecting,
    /// Making a connection with TLS.
    ConnectingTls,
    /// Sending the request, waiting for the answer, or reading it.
    Answering,
}

/// Whether the client's own time-out for connections ended it. It ends together with the run.
pub(super) fn gave_up(error: &(dyn Error + 'static)) -> bool {
    let own = |error: &io::Error| error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none();
    causes(error).filter_map(<dyn Error>::downcast_ref).any(own)
}

/// Whether the server asks for the same request over HTTP/1.1.
pub(super) fn wants_http1(error: &(dyn Error + 'static)) -> bool {
    let error = causes(error).find_map(<dyn Error>::downcast_ref::<h2::Error>);
    error.is_some_and(|error| error.is_reset() && error.reason() == Some(h2::Reason::HTTP_1_1_REQUIRED))
}

/// The reason and the detail: whose failure it is, and what happened.
pub(super) fn classify(error: &(dyn Error + 'static), stage: Stage, host: &Host) -> (&'static Reason, String) {
    if let Some(limit @ (Unread::TooLarge | Unread::TooMany | Unread::LongLine)) =
        causes(error).find_map(<dyn Error>::downcast_ref)
    {
        return (&HEAD_TOO_LARGE, limit.to_string());
    }
    if let Some(error) = causes(error).find_map(<dyn Error>::downcast_ref::<ResolveError>) {
        return match error {
            ResolveError::Name(error) => (&RESOLVE_FAILED, format!("{host} cannot be resolved: {error}")),
            ResolveError::Local(error) => (&LOCAL, format!("{host} cannot be reached from here: {error}")),
        };
    }
    // For HTTP/2 the library does not distinguish the two.
    let h2 = causes(error).find_map(<dyn Error>::downcast_ref::<h2::Error>);
    if h2.is_some_and(|error| error.is_library() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR)) {
        let story = format!("the header of the answer is larger than {LARGEST} bytes, or violates HTTP/2");
        return (&HEAD_TOO_LARGE, story);
    }
    if causes(error).any(|cause| cause.is::<InvalidDnsNameError>()) {
        return (&LOCAL, format!("a certificate cannot be issued for the name {host}"));
    }
    let Failure { fault, story } = failure::classify(error, address(host).as_slice());
    match (stage, fault) {
        (_, Fault::Local) => (&LOCAL, format!("a problem of this machine: {story}")),
        (_, Fault::Tls) => (&TLS_FAILED, story),
        (_, Fault::TlsUnsupported) => (&TLS_UNSUPPORTED, story),
        (_, Fault::Malformed) => (&BAD_ANSWER, format!("the answer is not HTTP: {story}")),
        (Stage::Answering, _) => (&CONNECTION_LOST, format!("the connection ended before the answer did: {story}")),
        (Stage::ConnectingTls, Fault::Cut) => {
            (&TLS_FAILED, format!("the server closed the connection during the TLS handshake: {story}"))
        }
        (_, Fault::Timeout) => (&TIMEOUT, format!("no connection: {story}")),
        (_, Fault::Cut | Fault::Unreachable) => (&CONNECT_FAILED, format!("no connection: {story}")),
    }
}

/// The address of a host that is an address. For a name, the resolver already leaves out addresses
/// without a route.
fn address(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ipv4(address) => Some((*address).into()),
        Host::Ipv6(address) => Some((*address).into()),
        Host::Domain(_) => None,
    }
}

#[cfg(test)]
mod tests;
