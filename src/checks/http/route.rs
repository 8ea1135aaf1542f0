//! Where the connections of a check lead: to the host of the URL, or to `connect_to`. Pure.

use url::{Host, Url};

use super::HttpConfig;
use crate::clients::dial::Place;

/// The way to the configured URL.
#[derive(Debug)]
pub(super) struct Route {
    /// The requested URL, with the name of `server_name`.
    url: Url,
    pin: Option<Pin>,
}

/// The place to connect to, instead of the addresses of a name.
#[derive(Debug)]
struct Pin {
    host: Host,
    /// The port to use instead of the URL's. None if every port is kept.
    port: Option<u16>,
}

impl Route {
    pub(super) fn new(config: &HttpConfig) -> Self {
        let mut url = config.url.get().clone();
        let own = url.host().map(|host| host.to_owned());
        // With another name, the connection still leads to the host of the URL.
        let mut pin = own.filter(|_| config.server_name.is_some()).map(|host| Pin { host, port: None });
        if let Some(name) = &config.server_name {
            // This cannot fail: it is a name, and an http URL has a host.
            let _ = url.set_host(Some(name.as_str()));
        }
        if let Some(to) = &config.connect_to {
            pin = Some(Pin { host: to.host().clone(), port: to.port() });
        }
        Self { url, pin }
    }

    /// The first URL to request.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Whether a URL is requested at the configured place, rather than at the addresses of its
    /// name.
    pub(super) fn is_pinned(&self, url: &Url) -> bool {
        self.pin.is_some() && is_one(url.host(), self.url.host())
    }

    /// The place for a URL.
    ///
    /// # Errors
    /// The place is not configured: the name may lead to another region than the intended one.
    pub(super) fn place(&self, url: &Url) -> Result<Place, String> {
        let port_of = |url: &Url| url.port_or_known_default().unwrap_or_default();
        let (Some(name), port) = (url.host().map(|host| host.to_owned()), port_of(url)) else {
            return Err("the URL has no host".to_owned());
        };
        let Some(pin) = &self.pin else { return Ok(Place { host: name.clone(), port, name }) };
        if !self.is_pinned(url) {
            if is_one(Some(as_borrowed(&name)), Some(as_borrowed(&pin.host))) {
                return Ok(Place { host: name.clone(), port, name });
            }
            return Err(format!("it leads to {name}, whose answer would say nothing about the place in the check"));
        }
        let own = port_of(&self.url);
        let port = match pin.port {
            None => port,
            Some(pinned) if port == own => pinned,
            Some(_) => {
                return Err(format!("it leads to port {port}, but connect_to only sets the place for port {own}"));
            }
        };
        Ok(Place { host: pin.host.clone(), port, name })
    }
}

/// Whether two hosts are the same. A final dot does not change where a name leads.
fn is_one(one: Option<Host<&str>>, other: Option<Host<&str>>) -> bool {
    match (one, other) {
        (Some(Host::Domain(one)), Some(Host::Domain(other))) => {
            one.trim_end_matches('.').eq_ignore_ascii_case(other.trim_end_matches('.'))
        }
        (one, other) => one == other,
    }
}

fn as_borrowed(host: &Host) -> Host<&str> {
    match host {
        Host::Domain(name) => Host::Domain(name),
        Host::Ipv4(address) => Host::Ipv4(*address),
        Host::Ipv6(address) => Host::Ipv6(*address),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::decode::yaml;
    use crate::decode::{Decode, Decoder};

    fn route(stanza: &str) -> Route {
        let config = HttpConfig::decode(&yaml::parse(stanza).unwrap(), &mut Decoder::new(Path::new(""))).unwrap();
        Route::new(&config)
    }

    #[test]
    fn places() {
        let cases = [
            ("url: https://a/x", "https://a/x", "a:443 a"),
            ("url: https://a/x, connect_to: 192.0.2.1", "https://a/x", "192.0.2.1:443 a"),
            ("url: https://a/x, connect_to: 192.0.2.1", "http://a/x", "192.0.2.1:80 a"),
            ("url: https://a/x, connect_to: 192.0.2.1", "https://b/x", "it leads to b, whose answer"),
            ("url: https://a/x, connect_to: 192.0.2.1", "https://192.0.2.1:8443/x", "192.0.2.1:8443 192.0.2.1"),
            ("url: https://a./x, connect_to: 192.0.2.1", "https://a/x", "192.0.2.1:443 a"),
            ("url: https://a/x, connect_to: 192.0.2.1", "https://A./x", "192.0.2.1:443 a."),
            ("url: https://a/x, connect_to: dr.example.com", "https://dr.example.com./x", "dr.example.com.:443"),
            ("url: https://a/x", "https://b/x", "b:443 b"),
            ("url: https://a/x, connect_to: \"dr.example.com:8443\"", "https://a/x", "dr.example.com:8443 a"),
            ("url: https://a/x, connect_to: \"[2001:db8::1]:8443\"", "https://a/x", "[2001:db8::1]:8443 a"),
            ("url: https://a/x, connect_to: \"b:8443\"", "http://a/x", "it leads to port 80"),
            (
                "url: https://192.0.2.1/x, server_name: api.example.com",
                "https://api.example.com/x",
                "192.0.2.1:443 api.example.com",
            ),
            (
                "url: https://192.0.2.1:8443/x, server_name: api.example.com",
                "https://api.example.com/y",
                "192.0.2.1:443 api.example.com",
            ),
            ("url: https://a/x, server_name: b, connect_to: c", "https://b/x", "c:443 b"),
        ];
        for (stanza, url, expected) in cases {
            let place = route(&format!("{{ {stanza} }}")).place(&url.parse().unwrap());
            let place = place.map(|place| format!("{}:{} {}", place.host, place.port, place.name));
            let told = place.unwrap_or_else(|story| story);
            assert!(told.starts_with(expected), "{stanza}, {url}: {told}");
        }
    }

    #[test]
    fn what_is_asked_for() {
        let route = route("{ url: \"https://192.0.2.1:8443/x?y\", server_name: api.example.com }");
        assert_eq!(route.url().as_str(), "https://api.example.com:8443/x?y");
        assert!(route.is_pinned(route.url()) && !route.is_pinned(&"https://192.0.2.1/".parse().unwrap()));
    }
}
