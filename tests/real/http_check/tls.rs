//! TLS: certificates of every fault, and the client's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::server::{Reply, Server, Then};
use super::{assert_no_answer, assert_unhealthy, check_in, run};
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

    pub fn pem(&self) -> String {
        self.0.pem()
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

fn fine(_: &super::server::Request) -> Reply {
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
        &["closed the connection during the TLS handshake"],
    );
    close.await.unwrap();

    // The server waits for the end of a head that never comes.
    let check = check_in(dir.path(), &stanza(&plain));
    let health = super::run_within(&check, super::SHORT).await;
    assert_unhealthy(&health, "timeout", &["connected, but the TLS handshake did not end"]);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: \"https://{}/\", insecure_skip_verify: true", listener.local_addr().unwrap());
    let ssh = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await.unwrap();
        stream
    });
    assert_unhealthy(&run(&check_in(dir.path(), &url)).await, "tls_failed", &["the server's data is not TLS"]);
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

/// A certificate that signed itself, as `openssl req -x509` makes them: an authority's, and a server's all the same.
fn of_openssl(names: &[&str], (first, last): Years, change: impl FnOnce(&mut CertificateParams)) -> Identity {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    Identity { cert: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// What comes of a server with a certificate that stands itself in the `ca_file`.
async fn trusting(identity: &Identity) -> Health {
    let dir = tempfile::tempdir().unwrap();
    identity.write(dir.path(), "server");
    let server = Server::start_tls(identity.server(&[]), fine).await;
    run(&check_in(dir.path(), &format!("url: \"https://{}/\", ca_file: server.pem", server.address))).await
}

#[tokio::test]
async fn a_certificate_that_stands_itself_in_the_ca_file_is_trusted_as_it_is() {
    let here = ["127.0.0.1"];
    assert_eq!(trusting(&of_openssl(&here, VALID, |_| {})).await, Health::Healthy);
    // One that another authority signed, which is not there.
    assert_eq!(trusting(&Authority::new().sign("127.0.0.1", VALID)).await, Health::Healthy);
    // Its dates, names and purpose count all the same.
    let expired = trusting(&of_openssl(&here, EXPIRED, |_| {})).await;
    assert_unhealthy(&expired, "tls_failed", &["expired at 2020-01-01T00:00:00.000Z"]);
    let future = trusting(&of_openssl(&here, FUTURE, |_| {})).await;
    assert_unhealthy(&future, "tls_failed", &["valid from 2090-01-01T00:00:00.000Z"]);
    let other = trusting(&of_openssl(&["api.example.com", "192.0.2.7"], VALID, |_| {})).await;
    assert_unhealthy(&other, "tls_failed", &["not for 127.0.0.1, but for api.example.com, 192.0.2.7"]);
    let purpose = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let clients = trusting(&of_openssl(&here, VALID, purpose)).await;
    assert_unhealthy(&clients, "tls_failed", &["not for servers, but for clients"]);
}

/// curl looks at the common name then, Go and browsers do not: clients may be served.
#[tokio::test]
async fn a_certificate_without_names_is_told_as_that() {
    let words = ["not for 127.0.0.1", "it has no subjectAltName", "create it again with subjectAltName=127.0.0.1"];
    assert_no_answer(&trusting(&of_openssl(&[], VALID, |_| {})).await, "tls_unsupported", &words);
    let of_a_person = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::Rfc822Name("ops@example.com".try_into().unwrap())];
    };
    assert_no_answer(&trusting(&of_openssl(&[], VALID, of_a_person)).await, "tls_unsupported", &words);
    let as_a_name = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![rcgen::SanType::DnsName("127.0.0.1".try_into().unwrap())];
    };
    let health = trusting(&of_openssl(&[], VALID, as_a_name)).await;
    assert_unhealthy(&health, "tls_failed", &["but for 127.0.0.1 as a name (it must be an address entry)"]);
    let elsewhere = |params: &mut CertificateParams| {
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "api.example.com");
    };
    let health = trusting(&of_openssl(&[], VALID, elsewhere)).await;
    assert_unhealthy(&health, "tls_failed", &["not for 127.0.0.1", "its common name, api.example.com"]);
    assert_unhealthy(&trusting(&of_openssl(&[], EXPIRED, |_| {})).await, "tls_failed", &["expired at 2020"]);
}

/// Says this at once to whoever connects, after it has heard something.
async fn says(words: &'static [u8]) -> Health {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("url: \"https://{}/\", insecure_skip_verify: true", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let heard = stream.read(&mut [0; 4096]).await.unwrap();
        assert!(heard > 0);
        stream.write_all(words).await.unwrap();
        stream
    });
    let health = run(&check_in(Path::new("."), &url)).await;
    server.await.unwrap();
    health
}

/// Byte by byte what servers of several ages say to whoever has nothing in common with them.
#[tokio::test]
async fn nothing_in_common_is_no_answer_and_what_is_supported_is_said() {
    let cases: [(&[u8], &str); 5] = [
        (&[0x15, 3, 1, 0, 2, 2, 40], "(handshake_failure)"),
        (&[0x15, 3, 1, 0, 2, 2, 70], "(protocol_version): it speaks no version of TLS that is supported"),
        (&[0x15, 3, 0, 0, 2, 2, 70], "(protocol_version): it speaks no version of TLS that is supported"),
        (&[0x15, 3, 3, 0, 2, 2, 71], "(insufficient_security)"),
        (&HELLO_OF_TLS_1_0, "the server speaks no version of TLS that is supported"),
    ];
    for (words, told) in cases {
        assert_no_answer(&says(words).await, "tls_unsupported", &[told, "supported here: TLS 1.2 and 1.3", "Ed25519"]);
    }
    // What tells of the server, whoever asks.
    for (alert, told) in [
        (&[0x15, 3, 3, 0, 2, 2, 112], "(unrecognized_name): it does not know the name that was asked for"),
        (&[0x15, 3, 3, 0, 2, 2, 80], "(internal_error): it failed"),
        (&[0x15, 3, 3, 0, 2, 2, 42], "(bad_certificate): it wants another client certificate"),
    ] {
        assert_unhealthy(&says(alert).await, "tls_failed", &[told]);
    }
}

/// `ServerHello` of TLS 1.0 with TLS_RSA_WITH_AES_128_CBC_SHA, and nothing more.
const HELLO_OF_TLS_1_0: [u8; 47] = {
    let mut hello = [7; 47];
    let (head, end) = ([0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, 1], [0, 0, 0x2f, 0]);
    let mut at = 0;
    while at < head.len() {
        hello[at] = head[at];
        at += 1;
    }
    at = 0;
    while at < end.len() {
        hello[43 + at] = end[at];
        at += 1;
    }
    hello
};

/// Certificates of version 1 have no place for names.
#[tokio::test]
async fn a_certificate_of_version_1_is_told_as_one_without_names() {
    use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};

    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls");
    let read = |name: &str| fs::read_to_string(at.join(name)).unwrap();
    let identity = Identity { cert: read("v1.pem"), key: read("v1.key") };
    let (chain, key) = identity.parts();
    let key = ring::sign::any_supported_type(&key).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let resolver = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let server = Server::start_tls(builder.with_cert_resolver(Arc::new(resolver)), fine).await;
    let dir = tempfile::tempdir().unwrap();
    identity.write(dir.path(), "server");
    Authority::new().write(dir.path(), "other.pem");
    let stanza = |ca: &str| format!("url: \"https://{}/\", ca_file: {ca}", server.address);
    let health = run(&check_in(dir.path(), &stanza("server.pem"))).await;
    assert_no_answer(&health, "tls_unsupported", &["it has no subjectAltName", "127.0.0.1"]);
    let health = run(&check_in(dir.path(), &stanza("other.pem"))).await;
    assert_unhealthy(&health, "tls_failed", &["not signed by an authority that is trusted here"]);
}

/// As `openssl req -x509 -CA` makes them: an authority's own, signed by another authority.
#[tokio::test]
async fn an_authority_that_a_trusted_one_signed_may_be_a_server() {
    let signed = |by: &Authority, names: &[&str], (first, last): Years| {
        let mut params =
            CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "server");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
        let key = KeyPair::generate().unwrap();
        Identity { cert: params.signed_by(&key, &by.0).unwrap().pem(), key: key.serialize_pem() }
    };
    let (dir, trusted) = (tempfile::tempdir().unwrap(), Authority::new());
    trusted.write(dir.path(), "ca.pem");
    let told = async |identity: Identity| {
        let server = Server::start_tls(identity.server(&[]), fine).await;
        run(&check_in(dir.path(), &format!("url: \"https://{}/\", ca_file: ca.pem", server.address))).await
    };
    let here = ["127.0.0.1"];
    assert_eq!(told(signed(&trusted, &here, VALID)).await, Health::Healthy);
    assert_unhealthy(&told(signed(&trusted, &here, EXPIRED)).await, "tls_failed", &["expired at 2020"]);
    let elsewhere = told(signed(&trusted, &["api.example.com"], VALID)).await;
    assert_unhealthy(&elsewhere, "tls_failed", &["not for 127.0.0.1, but for api.example.com"]);
    // Another one of the same name.
    let stranger = told(signed(&Authority::new(), &here, VALID)).await;
    assert_unhealthy(&stranger, "tls_failed", &["not signed by an authority that is trusted here"]);
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_none_whatever_it_says_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    // Of the same name as the trusted one.
    of_openssl(&["127.0.0.1"], VALID, |_| {}).write(dir.path(), "trusted");
    let server = Server::start_tls(of_openssl(&["127.0.0.1"], VALID, |_| {}).server(&[]), fine).await;
    let check = check_in(dir.path(), &format!("url: \"https://{}/\", ca_file: trusted.pem", server.address));
    assert_unhealthy(&run(&check).await, "tls_failed", &["not signed by an authority that is trusted here"]);
}

/// A server whose certificate `signer` signed, and what comes of it where that signer stands in the `ca_file`.
async fn signed_by(signer: CertificateParams) -> Health {
    let issuer = CertifiedIssuer::self_signed(signer, KeyPair::generate().unwrap()).unwrap();
    let signer = Authority(issuer);
    let dir = tempfile::tempdir().unwrap();
    signer.write(dir.path(), "ca.pem");
    let server = Server::start_tls(signer.sign("127.0.0.1", VALID).server(&[]), fine).await;
    run(&check_in(dir.path(), &format!("url: \"https://{}/\", ca_file: ca.pem", server.address))).await
}

/// To trust a server's certificate is not to trust what its key signs for other hosts: so do curl and Go have it.
#[tokio::test]
async fn a_trusted_certificate_that_is_no_authoritys_signs_for_nobody() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let mut signer = CertificateParams::new(["other.example".to_owned()]).unwrap();
        signer.distinguished_name.push(DnType::CommonName, "a server");
        signer.is_ca = is_ca;
        assert_unhealthy(
            &signed_by(signer).await,
            "tls_failed",
            &["signed by a certificate that is not an authority's"],
        );
    }
}

/// Clients refuse it, too, unless they have the authority's new certificate: ours may be the one that is old.
#[tokio::test]
async fn an_authority_out_of_its_dates_proves_nothing() {
    for ((first, last), words) in [(EXPIRED, "expired at 2020-01-01"), (FUTURE, "is valid from 2090-01-01")] {
        let mut signer = CertificateParams::default();
        signer.distinguished_name.push(DnType::CommonName, "authority");
        signer.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (signer.not_before, signer.not_after) = (date_time_ymd(first, 1, 1), date_time_ymd(last, 1, 1));
        let health = signed_by(signer).await;
        assert_no_answer(&health, "tls_unsupported", &["the authority that signed the server's certificate", words]);
    }
}
