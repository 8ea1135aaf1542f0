//! The proxy for a cluster: from the kubeconfig, or from the environment.

use std::env;
use std::net::IpAddr;

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

/// The supported proxy schemes.
const SCHEMES: [&str; 3] = ["http", "https", "socks5"];

/// The proxy for a server. `NO_PROXY` matches the server, and only applies to a proxy from the
/// environment.
///
/// # Errors
/// The URL of the proxy is not valid. It is not repeated, because it can contain a password.
pub(super) fn for_server(of_kubeconfig: Option<&str>, server: &Uri) -> Result<Option<Uri>, String> {
    if let Some(url) = of_kubeconfig {
        return parsed(url, "the proxy-url of the cluster").map(Some);
    }
    let names = if server.scheme_str() == Some("https") {
        ["HTTPS_PROXY", "https_proxy"]
    } else {
        ["HTTP_PROXY", "http_proxy"]
    };
    let Some((name, url)) = names.into_iter().find_map(|name| Some((name, variable(name)?))) else { return Ok(None) };
    // As in curl and Go, the default scheme is http.
    let url = if url.contains("://") { url } else { format!("http://{url}") };
    let exempt = ["NO_PROXY", "no_proxy"].into_iter().find_map(variable).unwrap_or_default();
    let matcher = Matcher::builder().all(url.clone()).no(exempt_at(&exempt, server)).build();
    if is_this_machine(server.host().unwrap_or_default()) || matcher.intercept(server).is_none() {
        return Ok(None);
    }
    parsed(&url, &format!("the environment variable {name}")).map(Some)
}

/// The part of `NO_PROXY` that matches the port of a server, in the syntax of the matcher, which
/// knows neither ports nor `*.`.
fn exempt_at(exempt: &str, server: &Uri) -> String {
    let usual = if server.scheme_str() == Some("https") { 443 } else { 80 };
    let port = server.port_u16().unwrap_or(usual);
    let entries = exempt.split(',').map(str::trim).filter_map(|entry| {
        let with_port = entry.rsplit_once(':').and_then(|(host, of)| Some((host, of.parse::<u16>().ok()?)));
        match with_port.filter(|_| entry.parse::<IpAddr>().is_err()) {
            Some((host, of)) => (of == port).then_some(host),
            None => Some(entry),
        }
    });
    let unbracketed = entries.map(|host| host.trim_start_matches('[').trim_end_matches(']'));
    unbracketed.map(|host| host.strip_prefix("*.").unwrap_or(host)).collect::<Vec<_>>().join(",")
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn parsed(url: &str, what: &str) -> Result<Uri, String> {
    let uri = url.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
    let uri = uri.filter(|uri| uri.scheme_str().is_some_and(|scheme| SCHEMES.contains(&scheme)));
    uri.ok_or_else(|| format!("{what} is not the URL of a proxy; write http://, https:// or socks5:// and its address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_of_a_kubeconfig() {
        let server = Uri::from_static("https://10.0.0.1:6443");
        for (url, expected) in [
            ("http://proxy:3128", Some("http://proxy:3128/")),
            ("socks5://127.0.0.1:1080", Some("socks5://127.0.0.1:1080/")),
            ("https://someone:hunter2@proxy:3128/", Some("https://someone:hunter2@proxy:3128/")),
            ("socks4://someone:hunter2@proxy", None),
            ("hunter2:3128", None),
            ("http://", None),
            ("${PROXY_hunter2}", None),
        ] {
            match (for_server(Some(url), &server), expected) {
                (Ok(Some(uri)), Some(expected)) => assert_eq!(uri.to_string(), expected),
                (Err(story), None) => assert!(!story.contains("hunter2") && story.contains("socks5://"), "{story}"),
                (got, _) => panic!("{url}: {got:?}"),
            }
        }
    }

    #[test]
    fn who_is_exempt() {
        let server = |url: &str| url.parse::<Uri>().expect("a URL");
        let far = server("https://api.far.example:6443");
        for (exempt, server, expected) in [
            ("api.far.example:6443", &far, "api.far.example"),
            ("api.far.example:443, 10.0.0.1:6443", &far, "10.0.0.1"),
            ("api.far.example:443", &server("https://api.far.example"), "api.far.example"),
            ("*.far.example,.near.example,*", &far, "far.example,.near.example,*"),
            ("[fd00::1]:6443,fd00::6443,10.0.0.0/8", &far, "fd00::1,fd00::6443,10.0.0.0/8"),
        ] {
            assert_eq!(exempt_at(exempt, server), expected, "{exempt}");
        }
    }
}
