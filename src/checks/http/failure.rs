//! Why there is no whole answer. Pure, but for the question whether this machine can send to an address.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::IpAddr;

use url::{Host, Url};

use super::progress::ResolveError;
use super::{CONNECT, LOCAL, PROTOCOL, RESET, RESOLVE, TIMEOUT, TLS};
use crate::clients::causes;
use crate::clients::route::is_local;
use crate::clients::tls;
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

/// Whose fault it was, and the story. The outermost cause that tells decides.
pub(super) fn classify(error: &(dyn Error + 'static), stage: Stage, url: &Url) -> (&'static Reason, String) {
    causes(error).find_map(|cause| telling(cause, stage, url)).unwrap_or_else(|| {
        let last = causes(error).last().map(ToString::to_string).unwrap_or_default();
        match stage {
            Stage::Answering => (&RESET, format!("the connection ended before the answer did: {last}")),
            Stage::Connecting | Stage::ConnectingTls => (&CONNECT, format!("no connection: {last}")),
        }
    })
}

fn telling(cause: &(dyn Error + 'static), stage: Stage, url: &Url) -> Option<(&'static Reason, String)> {
    if let Some(error) = cause.downcast_ref::<ResolveError>() {
        let host = url.host_str().unwrap_or_default();
        return Some(match error {
            ResolveError::Name(error) => (&RESOLVE, format!("{host} cannot be resolved: {error}")),
            ResolveError::Local(error) => (&LOCAL, format!("{host} cannot be reached from here: {error}")),
        });
    }
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        return Some((&TLS, tls::told(error)));
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>()
        && error.is_parse()
    {
        return Some((&PROTOCOL, format!("what came is not HTTP: {error}")));
    }
    let error = cause.downcast_ref::<io::Error>()?;
    // One that only carries another error speaks through that one, which comes next.
    if error.get_ref().is_some_and(|inner| inner.is::<io::Error>() || inner.is::<rustls::Error>()) {
        return None;
    }
    of_io(error, stage, url)
}

fn of_io(error: &io::Error, stage: Stage, url: &Url) -> Option<(&'static Reason, String)> {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, InvalidInput, TimedOut, UnexpectedEof,
    };

    if is_ours(error, url) {
        return Some((&LOCAL, format!("this machine could not do it: {error}")));
    }
    match (stage, error.kind()) {
        (Stage::ConnectingTls, UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe) => {
            Some((&TLS, format!("the server ended the connection in the TLS handshake: {error}")))
        }
        (Stage::Connecting | Stage::ConnectingTls, TimedOut) => Some((&TIMEOUT, format!("no connection: {error}"))),
        (Stage::Answering, InvalidData | InvalidInput) => Some((&PROTOCOL, format!("what came is not HTTP: {error}"))),
        _ => None,
    }
}

/// Whether an error is our own machine's: it is out of something, forbids it, or has no way to the address.
fn is_ours(error: &io::Error, url: &Url) -> bool {
    let addresses: Option<IpAddr> = match url.host() {
        Some(Host::Ipv4(address)) => Some(address.into()),
        Some(Host::Ipv6(address)) => Some(address.into()),
        // The resolver leaves out what there is no route to.
        Some(Host::Domain(_)) | None => None,
    };
    is_local(error, addresses.as_slice())
}

#[cfg(test)]
mod tests;
