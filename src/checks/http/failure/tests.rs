use std::io::{self, ErrorKind};

use rustls::AlertDescription;

use super::Stage::{Answering, Connecting, ConnectingTls};
use super::*;

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn host(url: &str) -> Host {
    url.parse::<url::Url>().unwrap().host().unwrap().to_owned()
}

fn classified(error: &(dyn Error + 'static), stage: Stage, url: &str) -> &'static str {
    classify(error, stage, &host(url)).0.label
}

#[test]
#[cfg(target_os = "linux")]
fn the_operating_systems_errors() {
    // errno(3): numbers as on Linux.
    let cases = [
        ("ECONNREFUSED", 111, "connect_failed", "connect_failed", "connection_lost"),
        ("EHOSTUNREACH", 113, "connect_failed", "connect_failed", "connection_lost"),
        ("ENETUNREACH, of a name that there is a route to", 101, "connect_failed", "connect_failed", "connection_lost"),
        ("ETIMEDOUT", 110, "timeout", "timeout", "connection_lost"),
        ("ECONNRESET", 104, "connect_failed", "tls_failed", "connection_lost"),
        ("EPIPE", 32, "connect_failed", "tls_failed", "connection_lost"),
        ("EMFILE", 24, "local", "local", "local"),
        ("ENFILE", 23, "local", "local", "local"),
        ("ENOBUFS", 105, "local", "local", "local"),
        ("ENOMEM", 12, "local", "local", "local"),
        ("EADDRNOTAVAIL", 99, "local", "local", "local"),
        ("EACCES", 13, "local", "local", "local"),
        ("EPERM", 1, "local", "local", "local"),
        ("ENETDOWN", 100, "local", "local", "local"),
    ];
    for (name, code, connecting, connecting_tls, answering) in cases {
        for (stage, expected) in [(Connecting, connecting), (ConnectingTls, connecting_tls), (Answering, answering)] {
            assert_eq!(classified(&os(code), stage, "https://a/"), expected, "{name} while {stage:?}");
            let wrapped = io::Error::other(io::Error::other(os(code)));
            assert_eq!(classified(&wrapped, stage, "https://a/"), expected, "{name} while {stage:?}, wrapped");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn an_address_without_a_route_is_our_own_failure_and_one_with_a_route_is_not() {
    assert_eq!(classified(&os(101), Connecting, "http://127.0.0.1/"), "connect_failed");
    // This machine may send there: it is a firewall on the way that forbids it.
    assert_eq!(classified(&os(13), Connecting, "http://127.0.0.1/"), "connect_failed");
    // A link-local address without its link leads nowhere.
    assert_eq!(classified(&os(101), Connecting, "http://[fe80::1]/"), "local");
}

#[test]
fn the_cause_that_tells_is_found_wherever_it_hides() {
    let handshake = io::Error::other(io::Error::new(ErrorKind::InvalidData, rustls::Error::DecryptError));
    assert_eq!(classified(&handshake, ConnectingTls, "https://a/"), "tls_failed");
    let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
    assert_eq!(classified(&io::Error::new(ErrorKind::InvalidData, alert), Answering, "https://a/"), "tls_failed");
    let name = io::Error::other(ResolveError::Name(ErrorKind::NotFound.into()));
    assert_eq!(classified(&name, ConnectingTls, "https://a/"), "resolve_failed");
    let local = io::Error::other(ResolveError::Local(ErrorKind::NetworkUnreachable.into()));
    assert_eq!(classified(&local, ConnectingTls, "https://a/"), "local");
    let chunk = io::Error::new(ErrorKind::InvalidInput, "Invalid chunk size");
    assert_eq!(classified(&chunk, Answering, "http://a/"), "bad_answer");
    let cut = io::Error::new(ErrorKind::UnexpectedEof, "peer closed connection without sending TLS close_notify");
    assert_eq!(classified(&cut, Answering, "https://a/"), "connection_lost");
}
