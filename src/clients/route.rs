//! Why an address cannot be reached: because of this machine, or because of somebody on the way.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether an error of connecting to `addresses` is only about this machine: it has run out of
/// something, forbids the connection, or has no route to any of them. If no addresses are known,
/// the name of the error decides.
///
/// The error alone is not enough. A router on the way without a route, or a firewall there, causes
/// the same errors as this machine itself.
pub(crate) fn is_local(error: &io::Error, addresses: &[IpAddr]) -> bool {
    let Some(code) = error.raw_os_error() else { return false };
    if addresses.is_empty() {
        return is_of_this_machine(error);
    }
    if code == FORBIDDEN {
        return addresses.iter().any(|to| prepare(*to).is_err_and(|error| error.raw_os_error() == Some(FORBIDDEN)));
    }
    is_of_this_machine(error) || !addresses.iter().any(|to| has_route(*to))
}

/// Whether an error is about this machine's own limits, and not about the peer: it has run out of
/// something, or forbids the connection.
fn is_of_this_machine(error: &io::Error) -> bool {
    use ErrorKind::{AddrNotAvailable, NetworkDown, OutOfMemory, PermissionDenied};

    // Too many open files in the system, in the process; no buffers left.
    const EXHAUSTED: [i32; 3] = [23, 24, if cfg!(target_os = "linux") { 105 } else { 55 }];

    error.raw_os_error().is_some_and(|code| {
        EXHAUSTED.contains(&code)
            || matches!(error.kind(), AddrNotAvailable | NetworkDown | OutOfMemory | PermissionDenied)
    })
}

/// EACCES.
const FORBIDDEN: i32 = 13;

/// Whether this machine has a route to an address. Sends nothing.
pub(crate) fn has_route(to: IpAddr) -> bool {
    const NO_SUCH_FAMILY: i32 = if cfg!(target_os = "linux") { 97 } else { 47 };

    match prepare(to) {
        Ok(()) => true,
        Err(error) => {
            // The last one is for a link-local address without its interface.
            use ErrorKind::{AddrNotAvailable, InvalidInput, NetworkUnreachable};
            let none = matches!(error.kind(), NetworkUnreachable | AddrNotAvailable | InvalidInput);
            !none && error.raw_os_error() != Some(NO_SUCH_FAMILY)
        }
    }
}

/// Prepares to send a packet to an address. This only checks this machine's own routes and rules.
fn prepare(to: IpAddr) -> io::Result<()> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((any, 0))?.connect((to, 9))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    /// A link-local address without its interface leads nowhere.
    const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));

    #[test]
    fn this_machine_has_a_route_to_itself_and_none_to_nowhere() {
        assert!(has_route(HERE));
        assert!(!has_route(NOWHERE));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_error_is_ours_only_where_this_machine_confirms_it() {
        let cases = [
            ("ENETUNREACH, with a route: a router on the way has none", 101, vec![HERE], false),
            ("ENETUNREACH, with a route to one of two", 101, vec![NOWHERE, HERE], false),
            ("ENETUNREACH, without a route", 101, vec![NOWHERE], true),
            ("ENETUNREACH, to who knows where", 101, vec![], false),
            ("EACCES, with leave to send: a firewall on the way forbids it", 13, vec![HERE], false),
            ("EACCES, to who knows where", 13, vec![], true),
            ("ECONNREFUSED", 111, vec![HERE], false),
            ("EMFILE", 24, vec![HERE], true),
            ("EPERM", 1, vec![HERE], true),
        ];
        for (name, code, addresses, expected) in cases {
            assert_eq!(is_local(&io::Error::from_raw_os_error(code), &addresses), expected, "{name}");
        }
        assert!(!is_local(&io::Error::other("no error of the system's"), &[NOWHERE]));
    }
}
