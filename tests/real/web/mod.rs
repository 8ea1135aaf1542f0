//! The web server: TLS, passwords, limits, addresses, and the watching of files.

mod addresses;
mod limits;
mod passwords;
mod peers;
mod tls;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use dr_testkit::exporter::{Config, client};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

const SOON: Duration = dr_testkit::PATIENCE;

/// A contract whose endpoint refuses every connection, once a second.
fn contracts() -> String {
    many(1)
}

/// So many of them.
fn many(count: usize) -> String {
    let contract = |number: usize| {
        format!(
            "- name: contract-{number}\n  component: Component number {number}\n  owner: ops\n  priority: P0\n  rto: 5m\n  \
             checks: [{{name: health, interval: 1s, timeout: 900ms, http: {{url: \"http://127.0.0.1:9/\"}}}}]\n"
        )
    };
    format!("contracts:\n{}", (0..count).map(contract).collect::<String>())
}

/// An exporter's directory with this web configuration.
fn with_web(web: &str) -> Config {
    Config::new(&contracts()).with("web.yml", web).flag("--web.config.file=web.yml")
}

/// The cheapest hash of a password.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).expect("a hash")
}

/// A client that trusts this authority and shows this certificate, if there is one.
fn secure_client(ca: &str, identity: Option<(&str, &str)>) -> reqwest::Client {
    // It sets the provider of this process.
    drop(client());
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
        roots.add(certificate.expect("PEM")).expect("an authority");
    }
    let builder = rustls::ClientConfig::builder().with_root_certificates(Arc::new(roots));
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(|one| one.expect("PEM")).collect();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
            builder.with_client_auth_cert(chain, key).expect("the two belong together")
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let builder = reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy();
    builder.timeout(SOON).pool_max_idle_per_host(0).build().expect("a client")
}
