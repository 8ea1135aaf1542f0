//! Why a request to a server got no answer. This is the only place that tells the errors of I/O,
//! TLS and HTTP apart. The kinds of check decide what a fault means for a component.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::iter;
use std::net::IpAddr;

use super::route::is_local;
use super::tls;

/// What went wrong between this process and a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This machine is at its limits, forbids it, or has no route to the server.
    Local,
    /// The TLS handshake failed because of the server.
    Tls,
    /// The TLS handshake failed, but other clients may well succeed with this server.
    TlsUnsupported,
    /// The system stopped waiting.
    Timeout,
    /// The connection ended too early.
    Cut,
    /// The answer does not follow the expected protocol.
    Malformed,
    /// Nothing accepts the connection, or the cause is not known.
    Unreachable,
}

/// The fault, with details for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    pub(crate) story: String,
}

/// Classifies an error of talking to `addresses`. They are empty if not known. The outermost cause
/// that can be classified decides.
pub(crate) fn classify(error: &(dyn Error + 'static), addresses: &[IpAddr]) -> Failure {
    let told = causes(error).find_map(|cause| telling(cause, addresses));
    told.unwrap_or_else(|| Failure { fault: Fault::Unreachable, story: innermost(error) })
}

fn telling(cause: &(dyn Error + 'static), addresses: &[IpAddr]) -> Option<Failure> {
    let failure = |fault, story| Some(Failure { fault, story });
    if let Some(error) = cause.downcast_ref::<rustls::Error>() {
        let told = tls::explained(error);
        return failure(if told.is_ours { Fault::TlsUnsupported } else { Fault::Tls }, told.story);
    }
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        return if error.is_parse() { failure(Fault::Malformed, error.to_string()) } else { None };
    }
    let error = cause.downcast_ref::<io::Error>()?;
    // An error that only wraps another one is skipped. The inner error comes next.
    if error.get_ref().is_some_and(|inner| inner.is::<io::Error>() || inner.is::<rustls::Error>()) {
        return None;
    }
    let fault = of_io(error, addresses)?;
    failure(fault, error.to_string())
}

fn of_io(error: &io::Error, addresses: &[IpAddr]) -> Option<Fault> {
    use ErrorKind::{
        BrokenPipe, ConnectionAborted, ConnectionReset, InvalidData, InvalidInput, TimedOut, UnexpectedEof,
    };

    if is_local(error, addresses) {
        return Some(Fault::Local);
    }
    match error.kind() {
        TimedOut => Some(Fault::Timeout),
        UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => Some(Fault::Cut),
        // The system reports the same error for an address that it cannot connect to.
        InvalidData | InvalidInput if error.raw_os_error().is_none() => Some(Fault::Malformed),
        _ => None,
    }
}

/// An error and its causes, the outermost first, including those inside an I/O error, which
/// `source` skips.
pub(crate) fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        }
    })
}

/// The message of the innermost cause. The outer ones mostly say that something failed.
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(error: &(dyn Error + 'static)) -> Fault {
        classify(error, &[]).fault
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_operating_systems_errors() {
        // errno(3): numbers as on Linux.
        let cases = [
            ("ECONNREFUSED", 111, Fault::Unreachable),
            ("EHOSTUNREACH", 113, Fault::Unreachable),
            ("ENETUNREACH, to who knows where", 101, Fault::Unreachable),
            ("EINVAL, of an address", 22, Fault::Unreachable),
            ("ETIMEDOUT", 110, Fault::Timeout),
            ("ECONNRESET", 104, Fault::Cut),
            ("ECONNABORTED", 103, Fault::Cut),
            ("EPIPE", 32, Fault::Cut),
            ("EMFILE", 24, Fault::Local),
            ("ENFILE", 23, Fault::Local),
            ("ENOBUFS", 105, Fault::Local),
            ("ENOMEM", 12, Fault::Local),
            ("EADDRNOTAVAIL", 99, Fault::Local),
            ("EACCES", 13, Fault::Local),
            ("EPERM", 1, Fault::Local),
            ("ENETDOWN", 100, Fault::Local),
        ];
        for (name, code, expected) in cases {
            let error = io::Error::from_raw_os_error(code);
            let story = error.to_string();
            let wrapped = io::Error::other(io::Error::other(error));
            assert_eq!(classify(&wrapped, &[]), Failure { fault: expected, story }, "{name}");
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn where_the_addresses_lead_decides_whose_fault_it_is() {
        let here = [IpAddr::from([127, 0, 0, 1])];
        // A link-local address without its interface leads nowhere.
        let nowhere = [IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, 1])];
        let unreachable = io::Error::from_raw_os_error(101);
        assert_eq!(classify(&unreachable, &here).fault, Fault::Unreachable);
        assert_eq!(classify(&unreachable, &nowhere).fault, Fault::Local);
        // This machine may send there: it is a firewall on the way that forbids it.
        assert_eq!(classify(&io::Error::from_raw_os_error(13), &here).fault, Fault::Unreachable);
    }

    #[test]
    fn the_cause_that_tells_is_found_wherever_it_hides() {
        let handshake = io::Error::other(io::Error::new(ErrorKind::InvalidData, rustls::Error::DecryptError));
        assert_eq!(fault(&handshake), Fault::Tls);
        let alert = rustls::Error::AlertReceived(rustls::AlertDescription::CertificateRequired);
        assert_eq!(fault(&io::Error::new(ErrorKind::InvalidData, alert)), Fault::Tls);
        let chunk = io::Error::new(ErrorKind::InvalidInput, "invalid chunk size");
        assert_eq!(classify(&chunk, &[]), Failure { fault: Fault::Malformed, story: "invalid chunk size".to_owned() });
        let cut = io::Error::new(ErrorKind::UnexpectedEof, "peer closed connection without sending TLS close_notify");
        assert_eq!(fault(&io::Error::other(cut)), Fault::Cut);
        let unknown = io::Error::other(io::Error::other("who knows"));
        assert_eq!(
            classify(&unknown, &[]),
            Failure { fault: Fault::Unreachable, story: "who knows".to_owned() },
            "what tells nothing is told in the words of the innermost"
        );
    }
}
