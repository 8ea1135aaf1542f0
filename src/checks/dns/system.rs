//! The resolvers of this machine.

use std::net::{SocketAddr, SocketAddrV6};

use resolv_conf::ScopedIp;

use super::NO_RESOLVERS;
use crate::clients::blocking;
use crate::decode::values::Resolver;
use crate::domain::observation::Finding;

/// The file with the system's resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How many of them programs use.
const ASKED: usize = 3;

/// The resolvers that programs on this machine use at the moment.
///
/// # Errors
/// None is configured.
pub(super) async fn resolvers() -> Result<Vec<Resolver>, Finding> {
    blocking(|| {
        let none = |why: String| Finding::new(&NO_RESOLVERS, format!("{RESOLV_CONF} {why}"));
        let text = std::fs::read(RESOLV_CONF).map_err(|error| none(format!("cannot be read: {error}")))?;
        let resolvers = named_in(&text);
        if resolvers.is_empty() { Err(none("names no resolver".to_owned())) } else { Ok(resolvers) }
    })
    .await
}

/// The resolvers in a `resolv.conf`. Everything else in the file is ignored, also errors.
fn named_in(text: &[u8]) -> Vec<Resolver> {
    let (parsed, _) = resolv_conf::Config::parse_with_errors(text);
    let address = |named: &ScopedIp| match named {
        ScopedIp::V4(address) => SocketAddr::from((*address, Resolver::port())),
        ScopedIp::V6(address, scope) => {
            let scope = scope.as_deref().map_or(0, link);
            SocketAddrV6::new(*address, Resolver::port(), 0, scope).into()
        }
    };
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in parsed.nameservers.iter().take(ASKED).map(address) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.into_iter().map(Resolver::of_system).collect()
}

/// The number of a network interface. It may be given by name.
fn link(scope: &str) -> u32 {
    let number = |text: &str| text.trim().parse().ok();
    let of_name = || number(&std::fs::read_to_string(format!("/sys/class/net/{scope}/ifindex")).ok()?);
    number(scope).or_else(of_name).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_resolvers() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("search example.com\noptions ndots:5\n", &[]),
            ("nameserver 10.0.0.1\n", &["10.0.0.1"]),
            ("# nameserver 10.0.0.9\nnameserver 10.0.0.1 \nnameserver 2001:db8::1\n", &["10.0.0.1", "2001:db8::1"]),
            ("nameserver nonsense\nnameserver 10.0.0.1\nwhat is this\n", &["10.0.0.1"]),
            ("nameserver fe80::1%1\n", &["[fe80::1%1]:53"]),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n",
                &["10.0.0.1", "10.0.0.2"],
            ),
        ];
        for (text, expected) in cases {
            let found: Vec<String> = named_in(text.as_bytes()).iter().map(ToString::to_string).collect();
            assert_eq!(found, *expected, "{text}");
        }
    }
}
