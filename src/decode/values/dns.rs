//! Values for DNS.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_proto::rr::Name;
use ipnet::IpNet;
use rustls::pki_types::{DnsName as TlsDnsName, ServerName};
use serde_json::json;

use super::Word;

/// A full domain name, in lower case and without the final dot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DnsName {
    text: String,
    wire: Name,
}

impl DnsName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The name in the form of DNS messages.
    #[must_use]
    pub fn wire(&self) -> &Name {
        &self.wire
    }
}

impl Word for DnsName {
    const NOUN: &'static str = "name";
    const EXPECTED: &'static str =
        "a full domain name such as api.example.com, in ASCII; search domains are not appended";

    fn parse(text: &str) -> Option<Self> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let label = |label: &str| {
            let hyphens = label.starts_with('-') || label.ends_with('-');
            (1..=63).contains(&label.len()) && !hyphens && label.bytes().all(fits)
        };
        let last = name.rsplit('.').next()?;
        let is_name = name.contains('.') && !last.bytes().all(|byte| byte.is_ascii_digit());
        if name.len() > 253 || !is_name || !name.split('.').all(label) {
            return None;
        }
        let text = name.to_ascii_lowercase();
        Name::from_ascii(format!("{text}.")).ok().map(|wire| Self { text, wire })
    }

    fn written(&self) -> String {
        self.text.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\\.)+[A-Za-z0-9_][A-Za-z0-9_-]{0,62}\\.?$"})
    }
}

/// The type of the requested records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnsType {
    /// IPv4 addresses, after all aliases.
    A,
    /// IPv6 addresses, after all aliases.
    Aaaa,
    /// The alias itself.
    Cname,
}

impl DnsType {
    /// The type as it is written.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Cname => "CNAME",
        }
    }
}

impl Word for DnsType {
    const NOUN: &'static str = "type of records";
    const EXPECTED: &'static str = "one of A, AAAA, CNAME";
    const WORDS: &'static [&'static str] = &["A", "AAAA", "CNAME"];

    fn parse(text: &str) -> Option<Self> {
        [Self::A, Self::Aaaa, Self::Cname].into_iter().find(|kind| kind.label() == text)
    }

    fn written(&self) -> String {
        self.label().to_owned()
    }

    fn schema() -> serde_json::Value {
        json!({"enum": Self::WORDS})
    }
}

/// What the records of a region point to: addresses, or a name for aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsTarget {
    /// A network. A single address is a network with the full prefix length.
    Network(IpNet),
    /// A name.
    Name(DnsName),
}

impl DnsTarget {
    /// Whether records of this type can point to it.
    #[must_use]
    pub fn is_of(&self, kind: DnsType) -> bool {
        match self {
            Self::Network(IpNet::V4(_)) => kind == DnsType::A,
            Self::Network(IpNet::V6(_)) => kind == DnsType::Aaaa,
            Self::Name(_) => kind == DnsType::Cname,
        }
    }

    /// Whether the two have something in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Network(a), Self::Network(b)) => a.contains(b) || b.contains(a),
            (Self::Name(a), Self::Name(b)) => a == b,
            _ => false,
        }
    }
}

impl Word for DnsTarget {
    const NOUN: &'static str = "target";
    const EXPECTED: &'static str = "an address such as 192.0.2.10, a network without host bits such as 192.0.2.0/24 or, for CNAME, a full domain name";

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        if let Ok(network) = text.parse::<IpNet>() {
            return (network == network.trunc()).then_some(Self::Network(network));
        }
        DnsName::parse(text).map(Self::Name)
    }

    fn written(&self) -> String {
        match self {
            Self::Network(network) => network.to_string(),
            Self::Name(name) => name.written(),
        }
    }
}

/// How to talk to a resolver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsTransport {
    /// UDP. An answer that does not fit is requested again over TCP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS. The server's certificate must be for this name, or for the address if there is no name.
    Tls(ServerName<'static>),
}

/// A DNS server to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// How to talk to it.
    pub transport: DnsTransport,
    /// Where the storage is.
    pub address: SocketAddr,
}

impl Resolver {
    const PORT: u16 = 53;
    const TLS_PORT: u16 = 853;

    /// The resolver that the system uses at this address: over UDP, at the default port.
    #[must_use]
    pub const fn of_system(address: SocketAddr) -> Self {
        Self { transport: DnsTransport::Udp, address }
    }

    /// The default port of DNS.
    #[must_use]
    pub const fn port() -> u16 {
        Self::PORT
    }
}

/// Written as in a configuration, without a default port.
impl fmt::Display for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = match self.transport {
            DnsTransport::Udp => ("", Self::PORT),
            DnsTransport::Tcp => ("tcp://", Self::PORT),
            DnsTransport::Tls(_) => ("tls://", Self::TLS_PORT),
        };
        f.write_str(scheme)?;
        match self.address {
            SocketAddr::V4(address) if address.port() == usual => write!(f, "{}", address.ip())?,
            SocketAddr::V6(address) if address.port() == usual && address.scope_id() == 0 => {
                write!(f, "{}", address.ip())?;
            }
            address => write!(f, "{address}")?,
        }
        match &self.transport {
            DnsTransport::Tls(ServerName::DnsName(name)) => write!(f, "#{}", name.as_ref()),
            _ => Ok(()),
        }
    }
}

impl Word for Resolver {
    const NOUN: &'static str = "resolver";
    const EXPECTED: &'static str = "a resolver by its address, such as 10.0.0.1, 10.0.0.1:5353, [2001:db8::1]:53, tcp://10.0.0.1 \
         or, with the name in its certificate, tls://10.0.0.1#dns.example.com";

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("udp", text));
        let (place, name) = rest.split_once('#').map_or((rest, None), |(place, name)| (place, Some(name)));
        let usual = if scheme == "tls" { Self::TLS_PORT } else { Self::PORT };
        let address = match place.parse::<IpAddr>() {
            Ok(address) => SocketAddr::new(address, usual),
            Err(_) => place.parse::<SocketAddr>().ok()?,
        };
        let transport = match (scheme, name) {
            ("udp", None) => DnsTransport::Udp,
            ("tcp", None) => DnsTransport::Tcp,
            ("tls", None) => DnsTransport::Tls(ServerName::IpAddress(address.ip().into())),
            ("tls", Some(name)) => DnsTransport::Tls(ServerName::DnsName(TlsDnsName::try_from(name.to_owned()).ok()?)),
            _ => return None,
        };
        let anywhere = address.ip().is_unspecified() || address.ip() == IpAddr::V4(Ipv4Addr::BROADCAST);
        (address.port() != 0 && !anywhere).then_some(Self { transport, address })
    }

    fn written(&self) -> String {
        self.to_string()
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": "string",
            "pattern": "^(((udp|tcp)://)?[0-9a-fA-F.:\\[\\]]+|tls://[0-9a-fA-F.:\\[\\]]+(#[A-Za-z0-9_.-]+)?)$",
            "description": format!("Expected: {}.", Self::EXPECTED),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, name) in [
            ("api.example.com", Some("api.example.com")),
            ("API.Example.com.", Some("api.example.com")),
            ("_sip._tcp.example.com", Some("_sip._tcp.example.com")),
            ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
            ("api", None),
            ("", None),
            (".", None),
            ("api..example.com", None),
            ("-api.example.com", None),
            ("192.0.2.1", None),
            ("bücher.example", None),
            ("https://api.example.com", None),
            ("a.b c", None),
        ] {
            assert_eq!(DnsName::parse(text).as_ref().map(DnsName::as_str), name, "{text}");
        }
        let label = "a".repeat(63);
        assert!(DnsName::parse(&format!("{label}.example")).is_some());
        assert!(DnsName::parse(&format!("{label}a.example")).is_none());
        assert!(DnsName::parse(&format!("{label}.{label}.{label}.{label}")).is_none());
    }

    #[test]
    fn resolvers_are_shown_as_they_are_written() {
        for (text, shown) in [
            ("1.1.1.1", "1.1.1.1"),
            ("udp://1.1.1.1:53", "1.1.1.1"),
            ("10.0.0.1:5353", "10.0.0.1:5353"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:5353", "[2001:db8::1]:5353"),
            ("tcp://10.0.0.1", "tcp://10.0.0.1"),
            ("tls://1.1.1.1", "tls://1.1.1.1"),
            ("tls://1.1.1.1:853#dns.example.com", "tls://1.1.1.1#dns.example.com"),
        ] {
            assert_eq!(Resolver::parse(text).map(|resolver| resolver.to_string()).as_deref(), Some(shown), "{text}");
        }
        for text in [
            "",
            "dns.example.com",
            "1.1.1.1:0",
            "1.1.1.1:99999",
            "0.0.0.0",
            "https://1.1.1.1",
            "tcp://1.1.1.1#dns.example.com",
            "1.1.1.1#dns.example.com",
            "tls://1.1.1.1#",
            "tls://dns.example.com",
            "user@1.1.1.1",
            "1.1.1.1/32",
        ] {
            assert_eq!(Resolver::parse(text), None, "{text}");
        }
    }

    #[test]
    fn targets() {
        let target = |text| DnsTarget::parse(text).unwrap();
        for (text, kind) in [
            ("192.0.2.10", DnsType::A),
            ("192.0.2.0/24", DnsType::A),
            ("2001:db8::/32", DnsType::Aaaa),
            ("lb.example.com", DnsType::Cname),
        ] {
            for other in [DnsType::A, DnsType::Aaaa, DnsType::Cname] {
                assert_eq!(target(text).is_of(other), kind == other, "{text} and {}", other.label());
            }
        }
        for text in ["192.0.2.1/24", "192.0.2.0/33", "192.0.2", "lb", ""] {
            assert_eq!(DnsTarget::parse(text), None, "{text}");
        }
        for (a, b, overlap) in [
            ("192.0.2.0/24", "192.0.2.10", true),
            ("192.0.2.10", "192.0.2.0/24", true),
            ("192.0.2.0/25", "192.0.2.128/25", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("LB.example.com", "lb.example.com", true),
            ("a.example.com", "b.example.com", false),
            ("2001:db8::/32", "192.0.2.1", false),
        ] {
            assert_eq!(target(a).overlaps(&target(b)), overlap, "{a} and {b}");
        }
    }
}
