//! Datagrams, TCP and TLS.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use hickory_server::net::xfer::Protocol;
use tempfile::TempDir;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    LONG, REGIONS, SHORT, assert_healthy, assert_no_answer, assert_unhealthy, check, check_in, reading, run, run_within,
};
use dr_testkit::certs::{self, Authority};
use dr_testkit::dns::{Dns, Manner};

const RECORD: &str = "api A 192.0.2.10 60";

#[tokio::test]
async fn tcp_alone() {
    let dns = Dns::start(RECORD).await;
    assert_healthy(&run(&check(&[format!("tcp://{}", dns.address)])).await);
    assert_eq!(dns.asked(), [Protocol::Tcp]);
    dns.answers(Manner::Silent);
    let observation = run_within(&check(&[format!("tcp://{}", dns.address)]), SHORT).await;
    assert_unhealthy(&observation, "timeout", &[]);
}

#[tokio::test]
async fn an_answer_that_does_not_fit_a_datagram_is_asked_for_again_over_tcp() {
    let many: String = (1..=200).map(|last| format!("api A 192.0.2.{last} 60\n")).collect();
    let dns = Dns::start(&many).await;
    let observation = run(&check(&[dns.udp()])).await;
    assert_healthy(&observation);
    assert_eq!(dns.asked(), [Protocol::Udp, Protocol::Tcp]);
    // One of the last: had the cut answer been taken, nobody would have seen it.
    dns.holds(&format!("{many}api A 203.0.113.1 60")).await;
    let observation = run(&check(&[dns.udp()])).await;
    assert_eq!(reading(&observation, "unexpected_targets", None), Some(1.0));
}

#[tokio::test]
async fn a_datagram_that_is_lost_is_sent_again() {
    let dns = Dns::start(RECORD).await;
    dns.answers(Manner::LosesOne);
    assert_healthy(&run_within(&check(&[dns.udp()]), LONG).await);
    assert_eq!(dns.asked(), [Protocol::Udp, Protocol::Udp]);
    dns.answers(Manner::LosesOne);
    assert_healthy(&run_within(&check(&[dns.udp()]), SHORT).await);
}

#[tokio::test]
async fn resolvers_by_ipv6() {
    let Ok(socket) = tokio::net::UdpSocket::bind("[::1]:0").await else { return };
    let address = socket.local_addr().unwrap();
    let dns = Dns::start(RECORD).await;
    // Carries datagrams to the server, which has an IPv4 address.
    let relay = tokio::spawn(async move {
        let (mut buffer, inner) = ([0; 1500], tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        inner.send_to(&buffer[..length], dns.address).await.unwrap();
        let (length, _) = inner.recv_from(&mut buffer).await.unwrap();
        socket.send_to(&buffer[..length], from).await.unwrap();
        dns
    });
    assert_healthy(&run(&check(&[address.to_string()])).await);
    relay.await.unwrap();
}

/// A server of DNS over TLS with this certificate and key.
fn with((cert, key): &(String, String)) -> Arc<ServerConfig> {
    let cert = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = builder.with_single_cert(cert, key).unwrap();
    config.alpn_protocols = vec![b"dot".to_vec()];
    Arc::new(config)
}

/// A directory with the authority's certificate, and a server with one for `subject`.
async fn secure(subject: Option<&str>) -> (TempDir, Dns) {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let config = |subject: &str| with(&authority.sign(subject));
    let dns = match subject {
        Some(subject) => Dns::start_with(RECORD, Some(config(subject))).await,
        None => Dns::start_on_its_address(RECORD, |ip| Some(config(&ip.to_string()))).await,
    };
    (dir, dns)
}

async fn ask(dir: &Path, resolver: &str, ca: &str) -> dr_exporter::domain::observation::Observation {
    let stanza = format!("name: api.example.com, resolvers: [\"{resolver}\"], {ca} {REGIONS}");
    run(&check_in(dir, &stanza)).await
}

const CA: &str = "ca_file: ca.pem,";

#[tokio::test]
async fn tls_by_name() {
    let (dir, dns) = secure(Some("dns.example.com")).await;
    let resolver = format!("tls://{}#dns.example.com", dns.tls);
    assert_healthy(&ask(dir.path(), &resolver, CA).await);
    assert_eq!(dns.asked(), [Protocol::Tls]);
    let other = ask(dir.path(), &format!("tls://{}#other.example.com", dns.tls), CA).await;
    assert_unhealthy(&other, "tls_failed", &["not for other.example.com"]);
    let address = ask(dir.path(), &format!("tls://{}", dns.tls), CA).await;
    assert_unhealthy(&address, "tls_failed", &["the server's certificate is not for"]);
    assert_eq!(dns.asked().len(), 1, "nothing was asked of whom nobody knows");
}

#[tokio::test]
async fn tls_by_address() {
    let (dir, dns) = secure(None).await;
    assert_healthy(&ask(dir.path(), &format!("tls://{}", dns.tls), CA).await);
}

#[tokio::test]
async fn tls_of_an_authority_that_is_not_trusted() {
    let (dir, dns) = secure(Some("dns.example.com")).await;
    let resolver = format!("tls://{}#dns.example.com", dns.tls);
    fs::write(dir.path().join("ca.pem"), Authority::new().pem()).unwrap();
    assert_unhealthy(
        &ask(dir.path(), &resolver, CA).await,
        "tls_failed",
        &["not signed by an authority that is trusted"],
    );
    fs::remove_file(dir.path().join("ca.pem")).unwrap();
    assert_no_answer(&ask(dir.path(), &resolver, CA).await, "credentials_unreadable", &["ca.pem"]);
}

#[tokio::test]
async fn tls_that_is_none() {
    let (dir, dns) = secure(Some("dns.example.com")).await;
    // Plain DNS over TCP, which takes the handshake for a question that is not whole.
    let resolver = format!("tls://{}#dns.example.com", dns.address);
    let stanza = format!("name: api.example.com, resolvers: [\"{resolver}\"], {CA} {REGIONS}");
    let observation = run_within(&check_in(dir.path(), &stanza), SHORT).await;
    let dr_exporter::domain::observation::Health::Unhealthy(finding) = &observation.health else {
        panic!("{observation:?}")
    };
    assert!(["tls_failed", "timeout"].contains(&finding.reason.label), "{finding}");
}

#[tokio::test]
async fn tls_with_a_certificate_that_stands_itself_in_the_ca_file() {
    let (dir, identity) = (tempfile::tempdir().unwrap(), certs::self_signed("dns.example.com"));
    fs::write(dir.path().join("ca.pem"), &identity.0).unwrap();
    let dns = Dns::start_with(RECORD, Some(with(&identity))).await;
    assert_healthy(&ask(dir.path(), &format!("tls://{}#dns.example.com", dns.tls), CA).await);
    let other = ask(dir.path(), &format!("tls://{}#other.example.com", dns.tls), CA).await;
    assert_unhealthy(&other, "tls_failed", &["not for other.example.com, but for dns.example.com"]);
}

/// Other programs may well be served by such a resolver.
#[tokio::test]
async fn tls_that_has_nothing_in_common_with_ours() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let resolver = format!("tls://{}#dns.example.com", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
        // The alert handshake_failure.
        stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]).await.unwrap();
        stream
    });
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let observation = ask(dir.path(), &resolver, CA).await;
    assert_no_answer(&observation, "tls_unsupported", &["handshake_failure", "supported here: TLS 1.2 and 1.3"]);
    server.await.unwrap();
}
