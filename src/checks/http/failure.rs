//! Why there is no whole answer. Pure, but for the question whether this machine can send to an address.

use std::error::Error;
use std::net::IpAddr;

use url::{Host, Url};

use super::progress::ResolveError;
use super::{BAD_ANSWER, CONNECT_FAILED, CONNECTION_LOST, LOCAL, RESOLVE_FAILED, TIMEOUT, TLS_FAILED};
use crate::clients::failure::{self, Failure, Fault, causes};
use crate::domain::observation::Reason;

/// What was under way when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// A connection was made, without TLS.
    Connecting,
    /// A connection was made, TLS included.
    ConnectingTls,
    /// The request was sent, the answer was awaited or read.
    Answering,
}

impl Stage {
    /// The stage that an error comes from; none if nothing was sent.
    pub(super) fn of(error: &reqwest::Error, url: &Url) -> Option<Self> {
        if error.is_builder() {
            return None;
        }
        Some(match (error.is_connect(), url.scheme()) {
            (false, _) => Self::Answering,
            (true, "https") => Self::ConnectingTls,
            (true, _) => Self::Connecting,
        })
    }
}

/// Whose fault it was, and the story.
pub(super) fn classify(error: &(dyn Error + 'static), stage: Stage, url: &Url) -> (&'static Reason, String) {
    if let Some(error) = causes(error).find_map(<dyn Error>::downcast_ref::<ResolveError>) {
        let host = url.host_str().unwrap_or_default();
        return match error {
            ResolveError::Name(error) => (&RESOLVE_FAILED, format!("{host} cannot be resolved: {error}")),
            ResolveError::Local(error) => (&LOCAL, format!("{host} cannot be reached from here: {error}")),
        };
    }
    let Failure { fault, story } = failure::classify(error, address(url).as_slice());
    match (stage, fault) {
        (_, Fault::Local) => (&LOCAL, format!("this machine could not do it: {story}")),
        (_, Fault::Tls) => (&TLS_FAILED, story),
        (_, Fault::Malformed) => (&BAD_ANSWER, format!("what came is not HTTP: {story}")),
        (Stage::Answering, _) => (&CONNECTION_LOST, format!("the connection ended before the answer did: {story}")),
        (Stage::ConnectingTls, Fault::Cut) => {
            (&TLS_FAILED, format!("the server ended the connection in the TLS handshake: {story}"))
        }
        (_, Fault::Timeout) => (&TIMEOUT, format!("no connection: {story}")),
        (_, Fault::Cut | Fault::Unreachable) => (&CONNECT_FAILED, format!("no connection: {story}")),
    }
}

/// The address that a URL names. Of a name the resolver leaves out the addresses that there is no route to.
fn address(url: &Url) -> Option<IpAddr> {
    match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        Some(Host::Domain(_)) | None => None,
    }
}

#[cfg(test)]
mod tests;
