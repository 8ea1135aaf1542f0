//! TLS: certificates of every fault, and the client's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::server::{Reply, Server, Then};
use crate::{assert_unhealthy, check_in, run};
use dr_exporter::domain::observation::Health;

/// First and last year of a certificate.
pub type Years = (i32, i32);
pub const VALID: Years = (2000, 2100);
const EXPIRED: Years = (2000, 2020);
const FUTURE: Years = (2090, 2100);

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    cert: String,
    key: String,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub fn sign(&self, name: &str, (first, last): Years) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_before = date_time_ymd(first, 1, 1);
        params.not_after = date_time_ymd(last, 1, 1);
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }

    fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(name), self.0.pem()).unwrap();
    }
}

impl Identity {
    fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let cert = CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap();
        (vec![cert], PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap())
    }

    /// A server that asks for no client certificate.
    pub fn server(&self, alpn: &[&[u8]]) -> ServerConfig {
        let (cert, key) = self.parts();
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(cert, key).unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        config
    }

    /// A server that demands a client certificate of `authority`.
    fn demanding(&self, authority: &Authority) -> ServerConfig {
        let (cert, key) = self.parts();
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.0.pem().as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_client_cert_verifier(verifier).with_single_cert(cert, key).unwrap()
    }

    fn write(&self, dir: &Path, name: &str) {
        fs::write(dir.join(format!("{name}.pem")), &self.cert).unwrap();
        fs::write(dir.join(format!("{name}.key")), &self.key).unwrap();
    }
}

fn fine(_: &crate::server::Request) -> Reply {
    Reply::new(200, "", "fine")
}

#[tokio::test]
async fn certificates_are_verified() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(dir.path(), "ca.pem");
    Authority::new().write(dir.path(), "other.pem");
    let cases = [
        ("localhost", VALID, "ca.pem", None),
        ("localhost", EXPIRED, "ca.pem", Some("expired at 2020-01-01T00:00:00.000Z")),
        ("localhost", FUTURE, "ca.pem", Some("valid from 2090-01-01T00:00:00.000Z")),
        ("api.example.com", VALID, "ca.pem", Some("not for localhost, but for")),
        ("localhost", VALID, "other.pem", Some("not signed by an authority that is trusted here")),
    ];
    for (name, years, ca, wrong) in cases {
        let server = Server::start_tls(authority.sign(name, years).server(&[]), fine).await;
        let url = server.named("https", "/");
        let health = run(&check_in(dir.path(), &format!("url: \"{url}\", ca_file: {ca}"))).await;
        match wrong {
            None => assert_eq!(health, Health::Healthy),
            Some(words) => assert_unhealthy(&health, "tls_failed", &["GET https://localhost", words]),
        }
        let unverified = run(&check_in(dir.path(), &format!("url: \"{url}\", insecure_skip_verify: true"))).await;
        assert_eq!(unverified, Health::Healthy, "{name} {years:?}");
    }
}

#[tokio::test]
async fn a_server_that_signed_for_itself_is_trusted_only_where_that_is_configured() {
    let dir = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap().pem();
    let identity = Identity { cert, key: key.serialize_pem() };
    identity.write(dir.path(), "server");
    let server = Server::start_tls(identity.server(&[]), fine).await;
    let stanza = format!("url: \"https://{}/\"", server.address);
    // By the system's roots, which a test machine may lack altogether: then we cannot tell, and say so.
    match run(&check_in(dir.path(), &stanza)).await {
        Health::NoAnswer(finding) => assert!(finding.detail.contains("no trusted root certificates"), "{finding}"),
        health => assert_unhealthy(&health, "tls_failed", &["not signed by an authority that is trusted here"]),
    }
    assert_eq!(run(&check_in(dir.path(), &format!("{stanza}, ca_file: server.pem"))).await, Health::Healthy);
}

#[tokio::test]
async fn every_run_sees_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(dir.path(), "ca.pem");
    let server = Server::start_tls(authority.sign("127.0.0.1", VALID).server(&[]), fine).await;
    let check = check_in(dir.path(), &format!("url: \"https://{}/\", ca_file: ca.pem", server.address));
    for _ in 0..3 {
        assert_eq!(run(&check).await, Health::Healthy);
    }
    assert_eq!((server.connections(), server.resumptions()), (3, 0));
}

#[tokio::test]
async fn a_rotated_authority_is_taken_up_also_where_connections_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let server = Server::start_tls(authority.sign("127.0.0.1", VALID).server(&[]), fine).await;
    let stanza = format!("url: \"https://{}/\", ca_file: ca.pem", server.address);
    authority.write(dir.path(), "ca.pem");
    let checks = [stanza.clone(), format!("{stanza}, reuse_connection: true")].map(|text| check_in(dir.path(), &text));
    for (ca, healthy) in [(&authority, true), (&Authority::new(), false), (&authority, true)] {
        // With and without a line break: the file's length changes even if the clock's reading does not.
        fs::write(dir.path().join("ca.pem"), format!("{}{}", ca.0.pem(), if healthy { "\n" } else { "" })).unwrap();
        for check in &checks {
            let health = run(check).await;
            assert_eq!(health == Health::Healthy, healthy, "{health:?}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_given_where_one_is_demanded() {
    let dir = tempfile::tempdir().unwrap();
    let (authority, clients) = (Authority::new(), Authority::new());
    authority.write(dir.path(), "ca.pem");
    clients.sign("exporter", VALID).write(dir.path(), "client");
    authority.sign("exporter", VALID).write(dir.path(), "stranger");
    let server = Server::start_tls(authority.sign("127.0.0.1", VALID).demanding(&clients), fine).await;
    let stanza = format!("url: \"https://{}/\", ca_file: ca.pem", server.address);
    let with = |name: &str| format!("{stanza}, cert_file: {name}.pem, key_file: {name}.key");
    assert_eq!(run(&check_in(dir.path(), &with("client"))).await, Health::Healthy);
    let health = run(&check_in(dir.path(), &stanza)).await;
    assert_unhealthy(&health, "tls_failed", &["the server wants a client certificate"]);
    let health = run(&check_in(dir.path(), &with("stranger"))).await;
    assert_unhealthy(&health, "tls_failed", &["the server refused the TLS handshake"]);

    // One that is given in vain is replaced in its files.
    let check = check_in(dir.path(), &with("stranger"));
    assert_unhealthy(&run(&check).await, "tls_failed", &[]);
    fs::copy(dir.path().join("client.pem"), dir.path().join("stranger.pem")).unwrap();
    fs::copy(dir.path().join("client.key"), dir.path().join("stranger.key")).unwrap();
    assert_eq!(run(&check).await, Health::Healthy);
}

#[tokio::test]
async fn a_port_without_tls() {
    let plain = Server::start(|_| Reply::new(400, "", "")).await;
    let dir = tempfile::tempdir().unwrap();
    let stanza = |server: &Server| format!("url: \"https://{}/\", insecure_skip_verify: true", server.address);
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closing = format!("url: \"https://{}/\", insecure_skip_verify: true", silent.local_addr().unwrap());
    let close = tokio::spawn(async move { drop(silent.accept().await) });
    assert_unhealthy(
        &run(&check_in(dir.path(), &closing)).await,
        "tls_failed",
        &["ended the connection in the TLS handshake"],
    );
    close.await.unwrap();

    // The server waits for the end of a head that never comes.
    let check = check_in(dir.path(), &stanza(&plain));
    let health = crate::run_within(&check, crate::SHORT).await;
    assert_unhealthy(&health, "timeout", &["no connection"]);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: \"https://{}/\", insecure_skip_verify: true", listener.local_addr().unwrap());
    let ssh = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        stream
    });
    assert_unhealthy(&run(&check_in(dir.path(), &url)).await, "tls_failed", &["what the server sent is not TLS"]);
    ssh.await.unwrap();
}

#[tokio::test]
async fn an_answer_that_is_cut_off_within_tls() {
    let dir = tempfile::tempdir().unwrap();
    let tls = Authority::new().sign("127.0.0.1", VALID).server(&[]);
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start_tls(tls, move |request| {
        Reply::raw(half, if request.target == "/reset" { Then::Reset } else { Then::Close })
    })
    .await;
    for target in ["/reset", "/close"] {
        let stanza = format!("url: \"https://{}{target}\", insecure_skip_verify: true", server.address);
        assert_unhealthy(&run(&check_in(dir.path(), &stanza)).await, "connection_lost", &["the connection ended"]);
    }
}

#[tokio::test]
async fn a_redirect_from_http_to_https() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    authority.write(dir.path(), "ca.pem");
    fs::write(dir.path().join("secret"), "hunter2").unwrap();
    let secure = Server::start_tls(authority.sign("localhost", VALID).server(&[b"http/1.1"]), fine).await;
    let target = secure.named("https", "/");
    let plain = Server::start(move |_| Reply::redirect(301, &target)).await;
    let stanza = format!("url: \"{}\", ca_file: ca.pem, bearer_token_file: secret", plain.url("/"));
    assert_eq!(run(&check_in(dir.path(), &stanza)).await, Health::Healthy);
    assert!(plain.last().headers.contains_key("authorization"));
    assert!(!secure.last().headers.contains_key("authorization"));
}
