//! Values for HTTP requests: what is sent, and where to.

use std::net::Ipv6Addr;

use serde_json::json;
use url::Host;

use super::{Word, fault_of_host};

/// A name under which a server is asked: a DNS name, not an address, without a wildcard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerName(String);

impl ServerName {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for ServerName {
    const NOUN: &'static str = "server name";
    const EXPECTED: &'static str = "a name such as api.example.com, without scheme and port";

    fn parse(text: &str) -> Option<Self> {
        match host(text)? {
            Host::Domain(name) => Some(Self(name)),
            Host::Ipv4(_) | Host::Ipv6(_) => None,
        }
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "pattern": "^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$"})
    }
}

/// A host or an address to connect to, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpPlace {
    host: Host,
    port: Option<u16>,
}

impl HttpPlace {
    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port, if there is one.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl Word for HttpPlace {
    const NOUN: &'static str = "place";
    const EXPECTED: &'static str =
        "a host or an address, with or without a port, such as 203.0.113.10, [2001:db8::1]:8443 or dr.example.com:443";

    fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Some(Self { host: Host::Ipv6(address), port: None });
        }
        let after_bracket = text.rfind(']').map_or(0, |end| end + 1);
        let colon = text.get(after_bracket..)?.find(':').map(|colon| after_bracket + colon);
        let (name, port) = match colon {
            Some(colon) => {
                (text.get(..colon)?, Some(text.get(colon + 1..)?.parse::<u16>().ok().filter(|port| *port > 0)?))
            }
            None => (text, None),
        };
        Some(Self { host: host(name)?, port })
    }

    fn written(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.to_string(),
        }
    }

    fn why_not(text: &str) -> Option<String> {
        if text.contains("://") {
            return Some("this is not a URL".to_owned());
        }
        let of_curl = !text.contains('[') && text.matches(':').count() == 3;
        of_curl.then(|| "unlike in curl, the host and port of the URL are left out here".to_owned())
    }
}

/// The host of a URL. None if it has characters that no host has.
fn host(text: &str) -> Option<Host> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let is_name =
        !text.starts_with(['-', '.']) && !text.ends_with('-') && !text.contains("..") && text.chars().all(fits);
    if !is_name && !text.starts_with('[') {
        return None;
    }
    let host = Host::parse(text).ok()?;
    let is_none = matches!(&host, Host::Domain(name) if fault_of_host(name).is_some());
    (!is_none).then_some(host)
}

/// The body of a request, of any number of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyText(String);

impl BodyText {
    /// The largest accepted size, in bytes.
    const LARGEST: usize = 64 << 10;

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Word for BodyText {
    const NOUN: &'static str = "body";
    const EXPECTED: &'static str = "a text of at most 64 KiB; put a longer one into a file and set body_file";

    fn parse(text: &str) -> Option<Self> {
        (text.len() <= Self::LARGEST).then(|| Self(text.to_owned()))
    }

    fn written(&self) -> String {
        self.0.clone()
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string", "maxLength": Self::LARGEST})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (text, expected) in [
            ("203.0.113.10", Some("203.0.113.10")),
            ("203.0.113.10:8443", Some("203.0.113.10:8443")),
            ("2001:db8::1", Some("[2001:db8::1]")),
            ("[2001:db8::1]", Some("[2001:db8::1]")),
            ("[2001:db8::1]:8443", Some("[2001:db8::1]:8443")),
            ("DR.example.com:443", Some("dr.example.com:443")),
            ("dr", Some("dr")),
            ("dr:0", None),
            ("dr:65536", None),
            ("dr:", None),
            (":443", None),
            ("", None),
            ("https://dr", None),
            ("dr/x", None),
            ("a:443:dr:443", None),
            ("${DR_HOST}", None),
            ("$(DR_HOST):443", None),
            ("dr example", None),
            ("[2001:db8::1", None),
        ] {
            assert_eq!(HttpPlace::parse(text).map(|place| place.written()).as_deref(), expected, "{text}");
        }
        assert!(HttpPlace::why_not("a:443:dr:443").is_some() && HttpPlace::why_not("dr").is_none());
    }

    #[test]
    fn server_names() {
        for (text, expected) in [
            ("API.example.com", Some("api.example.com")),
            ("localhost", Some("localhost")),
            ("192.0.2.1", None),
            ("[2001:db8::1]", None),
            ("*.example.com", None),
            ("api.example.com:443", None),
            ("{{ host }}", None),
            ("", None),
        ] {
            assert_eq!(ServerName::parse(text).map(|name| name.written()).as_deref(), expected, "{text}");
        }
    }
}
