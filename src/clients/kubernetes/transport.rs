//! The connections of a cluster's client: those of `kube`, but with this exporter's own certificate
//! checks.
//!
//! A server certificate that is itself one of the trusted ones, in the kubeconfig or the pod, is
//! trusted, as everywhere else in the exporter. `kube` has no hook for this.

use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::BASE64;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, Write};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connection, HttpConnector};
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use rustls::pki_types::{CertificateDer, ServerName};
use tower::util::option_layer;
use tower::{BoxError, Service, ServiceExt};

use crate::clients::failure::{causes, innermost};
use crate::clients::tls::{self, Trust, Verifier};
use crate::decode::values::fault_of_host;

/// The client for a kubeconfig. It reads files, and may run a plugin.
///
/// # Errors
/// The part of it that cannot be used.
pub(super) fn client(config: &Config) -> Result<Client, String> {
    for (key, url) in [("server", Some(&config.cluster_url)), ("proxy-url", config.proxy_url.as_ref())] {
        if let Some(fault) = url.and_then(Uri::host).and_then(fault) {
            return Err(format!("its {key} leads nowhere: {fault}"));
        }
    }
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(config.connect_timeout);
    let Some(proxy) = &config.proxy_url else { return over(connector, config) };
    match proxy.scheme_str() {
        Some("socks5") => over(SocksV5::new(proxy.clone(), connector), config),
        Some("http") => over(tunnel(proxy, connector), config),
        Some("https") => over(tunnel(proxy, secure(connector, config)?), config),
        _ => Err("its proxy-url has an unknown scheme; use http, https or socks5".to_owned()),
    }
}

fn over<C>(connector: C, config: &Config) -> Result<Client, String>
where
    C: Service<Uri, Error: Into<BoxError> + Send + Sync, Future: Send + 'static> + Clone + Send + Sync + 'static,
    C::Response: Connection + Read + Write + Send + Unpin + 'static,
{
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
    let client = client.build::<_, Body>(secure(connector, config)?).map_err(BoxError::from);
    let client = ClientBuilder::new(client, config.default_namespace.clone())
        .with_layer(&config.extra_headers_layer().map_err(described)?)
        .with_layer(&option_layer(config.auth_layer().map_err(described)?))
        .with_layer(&config.base_uri_layer());
    Ok(client.build())
}

/// TLS on top of a connector.
fn secure<C>(connector: C, config: &Config) -> Result<HttpsConnector<C>, String> {
    let mut tls = config.rustls_client_config().map_err(described)?;
    if let (Some(roots), false) = (&config.root_cert, config.accept_invalid_certs) {
        let trust = Trust::of(roots.iter().cloned().map(CertificateDer::from).collect());
        let verifier = Verifier::new(Arc::new(trust), tls.crypto_provider());
        tls.dangerous().set_certificate_verifier(Arc::new(verifier));
    }
    let mut builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    if let Some(name) = &config.tls_server_name {
        let name =
            ServerName::try_from(name.clone()).map_err(|_| "its tls-server-name is not a valid name".to_owned())?;
        builder = builder.with_server_name_resolver(FixedServerNameResolver::new(name));
    }
    Ok(builder.enable_http1().wrap_connector(connector))
}

/// Why this cannot be a host. Addresses are hosts.
fn fault(host: &str) -> Option<String> {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    if address.parse::<IpAddr>().is_ok() { None } else { fault_of_host(host) }
}

/// The error in words for people.
#[expect(clippy::needless_pass_by_value, reason = "as `map_err` hands it over")]
fn described(error: kube::Error) -> String {
    let tls = causes(&error).find_map(|cause| cause.downcast_ref::<rustls::Error>());
    tls.map_or_else(|| innermost(&error), |error| tls::explained(error).story)
}

/// A tunnel through an HTTP proxy, with the user and the password in its URL.
fn tunnel<C>(proxy: &Uri, connector: C) -> Tunnel<C> {
    let tunnel = Tunnel::new(proxy.clone(), connector);
    let user = proxy.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
    let header = user.and_then(|(user, _)| {
        let decoded: Vec<u8> = percent_encoding::percent_decode_str(user).collect();
        HeaderValue::from_str(&format!("Basic {}", BASE64.encode(&decoded))).ok()
    });
    match header {
        Some(header) => tunnel.with_auth(header),
        None => tunnel,
    }
}
