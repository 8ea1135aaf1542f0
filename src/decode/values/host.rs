//! Hosts of URLs. An impossible host is refused when the file is read. Otherwise it would look like
//! a host that is down.

use std::net::IpAddr;

use url::Url;

/// The longest name, and the longest label between two dots.
const LONGEST: usize = 253;
const LONGEST_LABEL: usize = 63;
const PLACEHOLDER: &str = "its host or port is a placeholder that was not filled in";

/// Whether a URL can have this host: an address, or a name that DNS or a hosts file can contain.
/// Hosts files can contain names with `_`, although the standards do not allow them.
pub(super) fn is_possible(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    address.parse::<IpAddr>().is_ok() || fault_of_name(host).is_none()
}

/// Why a URL cannot have its host, as written. The message never repeats the host.
pub(super) fn fault(text: &str) -> Option<String> {
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if is_placeholder(host) || has_between(host, "%") {
        return Some(PLACEHOLDER.to_owned());
    }
    // The parser has messages of its own for what it refuses.
    let parsed = Url::parse(text).ok()?;
    if is_possible(&parsed) { None } else { fault_of_name(parsed.host_str()?) }
}

/// Whether a template should have replaced this: `$(A)`, `${A}`, `{{ a }}`, `<a>`, `__A__`.
fn is_placeholder(host: &str) -> bool {
    // A word between two pairs of underscores is a placeholder. A word with underscores only inside
    // is a name.
    let is_word = |part: &str| part.starts_with("__") && part.ends_with("__") && has_between(part, "__");
    host.contains(['$', '{', '}', '(', ')', '<', '>']) || host.split(['.', '-', ':']).any(is_word)
}

/// Whether there is a word between two of these marks.
fn has_between(host: &str, mark: &str) -> bool {
    let inside = host.split_once(mark).and_then(|(_, rest)| rest.split_once(mark));
    inside.is_some_and(|(name, _)| name.bytes().any(|byte| byte.is_ascii_alphabetic()))
}

/// Why a name that is not an address cannot be a host.
pub(crate) fn fault_of_name(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if is_placeholder(host) {
        return Some(PLACEHOLDER.to_owned());
    }
    if name.len() > LONGEST {
        return Some(format!("its host is longer than the {LONGEST} characters of a name"));
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    // Short forms of addresses, such as 127.1, are accepted.
    if name.rsplit('.').next().is_some_and(is_number) && !matches!(url::Host::parse(name), Ok(url::Host::Ipv4(_))) {
        return Some("its host is neither a name nor an address".to_owned());
    }
    name.split('.').find_map(fault_of_label).map(str::to_owned)
}

fn fault_of_label(label: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if label.is_empty() {
        Some("its host has an empty part between two dots")
    } else if label.len() > LONGEST_LABEL {
        Some("its host has more than 63 characters between two dots")
    } else if label.starts_with('-') || label.ends_with('-') {
        Some("its host has a hyphen next to a dot, or at its beginning or end")
    } else if !label.bytes().all(fits) {
        Some("its host has an invalid character; only letters, digits, `-`, `_` and dots are allowed")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HttpUrl, NatsServer, PrometheusUrl, Word};

    #[test]
    fn hosts_that_can_be_ones() {
        let hosts = [
            "localhost",
            "api.example.com.",
            "my_service",
            "_sip._tcp.example.com",
            "a--b.example.com",
            "xn--bcher-kva.example",
            "10.0.0.1",
            "127.1",
            "[::1]",
            "[2001:db8::1]",
            "3com.example",
            "a__b.example",
            "a__b__c.example",
            "__a.example",
        ];
        for host in hosts {
            assert!(HttpUrl::parse(&format!("https://{host}/health")).is_some(), "{host}");
            assert!(PrometheusUrl::parse(&format!("http://{host}:9090")).is_some(), "{host}");
            assert!(NatsServer::parse(&format!("nats://{host}:4222")).is_some(), "{host}");
        }
        assert!(HttpUrl::parse("https://bücher.example/").is_some(), "it has another form in DNS");
        assert!(HttpUrl::parse("https://a/$(PATH)/{x}?q=<y>").is_some(), "a path may hold anything");
    }

    #[test]
    fn hosts_that_can_be_none_are_refused_and_not_repeated() {
        let long = format!("{}.example.com", "a".repeat(64));
        let longer = format!("{}example.com", "abcdefghi.".repeat(25));
        let cases = [
            ("$(API_HOST)", "placeholder"),
            ("${NATS_HOST}", "placeholder"),
            ("${HOST:-x}", "placeholder"),
            ("$HOST", "placeholder"),
            ("api.$ENV.example.com", "placeholder"),
            ("{{ .Values.host }}", "placeholder"),
            ("{{host}}.example.com", "placeholder"),
            ("<host>", "placeholder"),
            ("<your-host>.example.com", "placeholder"),
            ("%HOST%", "placeholder"),
            ("__HOST__", "placeholder"),
            ("api.__env__.example.com", "placeholder"),
            ("api-__env__.example.com", "placeholder"),
            (long.as_str(), "more than 63 characters"),
            (longer.as_str(), "longer than the 253 characters"),
            ("a..example.com", "an empty part between two dots"),
            (".example.com", "an empty part between two dots"),
            ("-a.example.com", "hyphen"),
            ("a-.example.com", "hyphen"),
            ("a!b.example.com", "an invalid character"),
            ("a,b", "an invalid character"),
            ("a*b.example.com", "an invalid character"),
        ];
        for (host, words) in cases {
            for (url, refused, why) in [
                (
                    format!("https://{host}/health"),
                    HttpUrl::parse as fn(&str) -> Option<HttpUrl>,
                    HttpUrl::why_not as fn(&str) -> Option<String>,
                ),
                (format!("http://{host}:9090"), HttpUrl::parse, PrometheusUrl::why_not),
            ] {
                assert!(refused(&url).is_none(), "{url}");
                assert!(
                    why(&url).is_some_and(|why| why.contains(words) && !why.contains(host)),
                    "{url}: {:?}",
                    why(&url)
                );
            }
            for url in [format!("nats://{host}:4222"), format!("tls://{host}")] {
                assert!(NatsServer::parse(&url).is_none(), "{url}");
                let why = NatsServer::why_not(&url);
                assert!(why.is_some_and(|why| why.contains(words)), "{url}: {:?}", NatsServer::why_not(&url));
            }
        }
        // A reason is only needed for hosts that the parser does not refuse.
        for url in ["nats://10.0.0.256:4222", "nats://a b:4222", "nats://b\u{fc}cher.example:4222", "nats://a%20b"] {
            assert!(NatsServer::parse(url).is_none(), "{url}");
        }
    }
}
