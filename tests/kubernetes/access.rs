//! The ways into a cluster, and what keeps one out.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{Pair, SOON, Status, contract, failed, fails, labels, minutes, rules};
use dr_testkit::certs;
use dr_testkit::exporter::{Config, Exporter};
use dr_testkit::kube::{Cluster, Flavour, User, base64};
use dr_testkit::proxy::Proxy;
use dr_testkit::wait_until;

dr_testkit::both! {
    every_way_in,
    a_token_that_expires_and_is_renewed,
    a_kubeconfig_of_the_same_size_and_time,
    rights_that_are_taken_and_given_back,
    a_custom_resource_that_comes_and_goes,
    a_cluster_that_is_down_at_the_start,
    a_certificate_that_stands_itself_in_the_kubeconfig,
}

async fn ready(pair: &Pair) {
    pair.external_secret(pair.dr, "nats", Status::ready(minutes(20))).await;
}

fn check(pair: &Pair) -> String {
    format!("external_secret: {{ dr: dr, namespace: {}, name: nats }}", pair.namespace)
}

fn yaml(pair: &Pair) -> String {
    contract("nats", "rto: 30m\n    rpo: 1h", &check(pair))
}

/// The exporter with this kubeconfig for DR.
async fn with(pair: &Pair, kubeconfig: &str) -> Exporter {
    pair.exporter_with(&yaml(pair), &pair.primary.kubeconfig_of(&pair.at_primary), kubeconfig).await
}

async fn every_way_in(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    ready(&pair).await;
    let User { token, .. } = &pair.at_dr;
    let (certificate, key) = pair.dr.certificate(&pair.at_dr);
    let (certificate, key) = (base64(certificate.as_bytes()), base64(key.as_bytes()));
    let plugin = |content: &str| {
        let config = Config::new(&super::config(&yaml(&pair)))
            .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary));
        let path = config.file("plugin", content);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a program");
        let user = format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: \"{}\", interactiveMode: Never}}",
            path.display()
        );
        config.with("dr.kubeconfig", &pair.dr.kubeconfig(&user, None))
    };
    let status = format!(
        "{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"{token}\"}}}}"
    );
    let good = plugin(&format!("#!/bin/sh\necho '{status}'\n"));
    let files = Config::new("").with("certificate.json", &{
        let (certificate, key) = pair.dr.certificate(&pair.at_dr);
        let status = json!({"clientCertificateData": certificate, "clientKeyData": key});
        json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}).to_string()
    });
    let certified = plugin(&format!("#!/bin/sh\ncat {}\n", files.path("certificate.json").display()));
    let in_file = Config::new(&super::config(&yaml(&pair)))
        .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary))
        .with("token", &format!("{token}\n"));
    let in_file = in_file.with("dr.kubeconfig", &pair.dr.kubeconfig("tokenFile: token", None));
    for (name, exporter) in [
        ("token", with(&pair, &pair.dr.kubeconfig_of(&pair.at_dr)).await),
        (
            "certificate",
            with(
                &pair,
                &pair.dr.kubeconfig(&format!("client-certificate-data: {certificate}, client-key-data: {key}"), None),
            )
            .await,
        ),
        ("plugin", Exporter::start_in(good).await),
        ("plugin that gives a certificate", Exporter::start_in(certified).await),
        ("token file", Exporter::start_in(in_file).await),
        ("impersonation", {
            let dr = pair.dr.kubeconfig_of(&pair.dr.admin());
            let primary = pair.primary.kubeconfig_of(&pair.at_primary);
            let config =
                super::config(&yaml(&pair)).replace("context: test", &format!("impersonate_user: {}", pair.at_dr.name));
            Exporter::start_in(Config::new(&config).with("primary.kubeconfig", &primary).with("dr.kubeconfig", &dr))
                .await
        }),
    ] {
        exporter.becomes("nats", "rpo", "met", SOON).await;
        assert!(!exporter.log().contains(token.as_str()), "{name}: the log tells the token");
    }

    // What keeps one out, and what is said of it.
    let secret = "hunter2-hunter2";
    let broken = |user: &str| {
        let file = Config::new(&super::config(&yaml(&pair))).with("token", &format!("{secret}\n{secret}"));
        let file = file.with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary));
        file.with("dr.kubeconfig", &pair.dr.kubeconfig(user, None))
    };
    let printed = json!({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
        "status": {"token": format!("{secret}\n{secret}")}});
    for (name, exporter, reason) in [
        ("a wrong token", with(&pair, &pair.dr.kubeconfig(&format!("token: {secret}"), None)).await, "auth_failed"),
        (
            "a token of two lines",
            Exporter::start_in(broken(&format!("token: \"{secret}\\n{secret}\""))).await,
            "credentials_unreadable",
        ),
        ("a token file of two lines", Exporter::start_in(broken("tokenFile: token")).await, "credentials_unreadable"),
        (
            "a plugin that prints a token of two lines",
            Exporter::start_in(plugin(&format!("#!/bin/sh\nprintf '%s' '{printed}'\n"))).await,
            "credentials_unreadable",
        ),
        ("no kubeconfig", with(&pair, &format!("token: [{secret}")).await, "credentials_unreadable"),
        ("an empty one", with(&pair, "").await, "credentials_unreadable"),
        (
            "a plugin that fails",
            Exporter::start_in(plugin(&format!("#!/bin/sh\necho {secret}; echo {secret} >&2; exit 3\n"))).await,
            "credentials_unreadable",
        ),
        (
            "a plugin that prints nonsense",
            Exporter::start_in(plugin(&format!("#!/bin/sh\necho 'status: [{secret}'\n"))).await,
            "credentials_unreadable",
        ),
        (
            "an unknown authority",
            {
                let other = dr_testkit::certs::Authority::new().pem();
                let ours = base64(pair.dr.ca().as_bytes());
                let text = pair.dr.kubeconfig_of(&pair.at_dr).replace(&ours, &base64(other.as_bytes()));
                with(&pair, &text).await
            },
            "tls_failed",
        ),
        (
            "a server that nothing filled in",
            {
                let server = pair.dr.address().to_string();
                with(&pair, &pair.dr.kubeconfig_of(&pair.at_dr).replace(&server, "$(API_SERVER)")).await
            },
            "credentials_unreadable",
        ),
    ] {
        let scrape = fails(&exporter, "nats", reason).await;
        assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{name}\n{scrape}");
        assert_eq!(scrape.status("nats", "rpo"), "unproven", "{name}\n{scrape}");
        exporter.logs(&[reason], SOON).await;
        assert!(!exporter.log().contains("panicked"), "{name}: {}", exporter.log());
        assert!(!exporter.log().contains(secret), "{name}: the log tells the secret:\n{}", exporter.log());
        let page = exporter.get("/api/v1/status").await.text().await.expect("a text");
        assert!(!page.contains(secret), "{name}: the page tells the secret");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_hangs_is_run_once_and_holds_up_no_end() {
    let pair = Pair::new(Flavour::Fake).await;
    ready(&pair).await;
    let config = Config::new(&super::config(&yaml(&pair)))
        .with("primary.kubeconfig", &pair.primary.kubeconfig_of(&pair.at_primary));
    let runs = config.file("runs", "");
    let plugin = config.file("plugin", &format!("#!/bin/sh\necho run >>{}\nexec sleep 20\n", runs.display()));
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755)).expect("a program");
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: \"{}\", interactiveMode: Never}}",
        plugin.display()
    );
    let mut exporter = Exporter::start_in(config.with("dr.kubeconfig", &pair.dr.kubeconfig(&user, None))).await;
    let again = |scrape: &super::Scrape| failed(scrape, "nats", "credentials_unreadable") > 2.0;
    let scrape = exporter.until("it is waited for again and again", SOON, again).await;
    // Nobody asked the API server.
    assert_eq!(failed(&scrape, "nats", "timeout"), 0.0, "{scrape}");
    exporter.logs(&["the exec plugin", "takes too long; the API server was not asked yet"], SOON).await;
    assert_eq!(std::fs::read_to_string(&runs).expect("it ran"), "run\n");
    exporter.process().signal("TERM");
    wait_until("it ends", Duration::from_secs(6), async || exporter.process().ended()).await;
}

async fn a_token_that_expires_and_is_renewed(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    ready(&pair).await;
    let exporter = with(&pair, &pair.dr.kubeconfig_of(&pair.at_dr)).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    exporter.config().file("dr.kubeconfig", &pair.dr.kubeconfig("token: expired-by-now", None));
    fails(&exporter, "nats", "auth_failed").await;
    exporter.config().file("dr.kubeconfig", &pair.dr.kubeconfig_of(&pair.at_dr));
    let healthy = |scrape: &super::Scrape| scrape.get("dr_check_healthy", &[("contract", "nats")]) == Some(1.0);
    let before = exporter.scrape().await.get("dr_evidence_timestamp_seconds", &labels("nats"));
    exporter
        .until("it is let in again", SOON, |scrape| {
            healthy(scrape) && scrape.get("dr_evidence_timestamp_seconds", &labels("nats")) > before
        })
        .await;
}

async fn a_kubeconfig_of_the_same_size_and_time(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    ready(&pair).await;
    let before = pair.dr.kubeconfig_of(&pair.at_dr);
    let exporter = with(&pair, &before).await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
    let path = exporter.config().path("dr.kubeconfig");
    let modified = std::fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    let other = before.replace("token-of", "nekot-of");
    assert!(other != before && other.len() == before.len());
    std::fs::write(&path, other).expect("it is written");
    std::fs::File::options().write(true).open(&path).and_then(|file| file.set_modified(modified)).expect("a time");
    fails(&exporter, "nats", "auth_failed").await;
}

async fn rights_that_are_taken_and_given_back(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    for cluster in [pair.primary, pair.dr] {
        pair.secret(cluster, "nats", "0a1b2c3d", Status::ready(minutes(20))).await;
    }
    let check = format!("external_secret: {{ primary: primary, dr: dr, namespace: {}, name: nats }}", pair.namespace);
    let exporter = pair.exporter(&contract("nats", "rto: 30m\n    rpo: 1h", &check)).await;
    let scrape = exporter.becomes("nats", "rpo", "met", SOON).await;
    let evidence = |scrape: &super::Scrape| scrape.get("dr_evidence_timestamp_seconds", &labels("nats"));
    assert!(evidence(&scrape).is_some());
    pair.dr.revoke(&pair.namespace, &pair.at_dr).await;
    let scrape = fails(&exporter, "nats", "forbidden").await;
    assert_eq!(scrape.get("dr_recovery_in_progress", &[("contract", "nats")]), Some(0.0), "{scrape}");
    assert_eq!(scrape.status("nats", "rpo"), "met", "what was proven is young:\n{scrape}");
    assert_ne!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "{scrape}");
    let line = exporter.logs(&["forbidden", "externalsecrets"], SOON).await;
    let rule = "resources: [externalsecrets], resourceNames: [nats], verbs: [get]";
    assert!(line.contains(rule), "the rule is named: {line}");
    let since = evidence(&scrape);
    pair.dr.grant(&pair.namespace, &pair.at_dr, rules()).await;
    exporter.until("it recovers by itself", SOON, |scrape| evidence(scrape) > since).await;
    // The right to the secret alone.
    let without: Vec<_> = rules()
        .as_array()
        .expect("rules")
        .iter()
        .filter(|rule| rule["resources"] != json!(["secrets"]))
        .cloned()
        .collect();
    pair.dr.grant(&pair.namespace, &pair.at_dr, json!(without)).await;
    let line = exporter.logs(&["forbidden", "get secrets nats"], SOON).await;
    assert!(line.contains("resourceNames: [nats], verbs: [get]"), "the rule is named: {line}");
}

async fn a_custom_resource_that_comes_and_goes(flavour: Flavour) {
    let cluster = Cluster::start(flavour).await;
    let namespace = cluster.namespace().await;
    let user = cluster.user();
    cluster.grant(&namespace, &user, rules()).await;
    cluster.remove_crd("externalsecrets").await;
    let yaml = contract(
        "nats",
        "rto: 30m\n    rpo: 1h",
        &format!("external_secret: {{ dr: dr, namespace: {namespace}, name: nats }}"),
    );
    let kubeconfig = cluster.kubeconfig_of(&user);
    let config =
        Config::new(&super::config(&yaml)).with("primary.kubeconfig", &kubeconfig).with("dr.kubeconfig", &kubeconfig);
    let exporter = Exporter::start_in(config).await;
    let scrape = fails(&exporter, "nats", "crd_missing").await;
    assert_ne!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "nobody knows:\n{scrape}");
    // Only the older version is served, and the exporter was not restarted.
    cluster.install_crd("externalsecrets", &["v1beta1"]).await;
    let scrape = fails(&exporter, "nats", "external_secret_missing").await;
    assert_eq!(scrape.get("dr_copy_lost", &labels("nats")), Some(1.0), "{scrape}");
    assert!(failed(&scrape, "nats", "forbidden") == 0.0, "{scrape}");
}

async fn a_cluster_that_is_down_at_the_start(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    ready(&pair).await;
    let mut link = Proxy::to(pair.dr.address()).await;
    link.cut().await;
    let token = format!("token: {}", pair.at_dr.token);
    let exporter = with(&pair, &pair.dr.kubeconfig(&token, Some(link.address()))).await;
    fails(&exporter, "nats", "connect_failed").await;
    exporter.runs_on("nats", 2, SOON).await;
    link.heal().await;
    exporter.becomes("nats", "rpo", "met", SOON).await;
}

/// Ends TLS before a cluster, with a certificate of its own, and speaks TLS to it.
pub(super) async fn front(cluster: &Cluster, (certificate, key): (String, String)) -> SocketAddr {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    let server = rustls::ServerConfig::builder().with_no_client_auth();
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let server = TlsAcceptor::from(Arc::new(server.with_single_cert(vec![der(&certificate)], key).expect("a server")));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(der(&cluster.ca())).expect("a root");
    let client = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = TlsConnector::from(Arc::new(client));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, behind) = (listener.local_addr().expect("an address"), cluster.address());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (server, client) = (server.clone(), client.clone());
            tokio::spawn(async move {
                let mut near = server.accept(stream).await?;
                let name = ServerName::try_from("127.0.0.1").expect("a name");
                let mut far = client.connect(name, TcpStream::connect(behind).await?).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    address
}

/// An authority's, as `openssl req -x509` makes them: kubectl takes it.
async fn a_certificate_that_stands_itself_in_the_kubeconfig(flavour: Flavour) {
    let pair = Pair::new(flavour).await;
    ready(&pair).await;
    let user = format!("token: {}", pair.at_dr.token);
    let at = async |identity: (String, String)| {
        let theirs = base64(identity.0.as_bytes());
        let address = front(pair.dr, identity).await;
        let ours = base64(pair.dr.ca().as_bytes());
        with(&pair, &pair.dr.kubeconfig(&user, Some(address)).replace(&ours, &theirs)).await
    };
    at(certs::self_signed("127.0.0.1")).await.becomes("nats", "rpo", "met", SOON).await;
    let elsewhere = at(certs::self_signed("api.example.com")).await;
    fails(&elsewhere, "nats", "tls_failed").await;
    elsewhere.logs(&["tls_failed", "not for 127.0.0.1, but for api.example.com"], SOON).await;
}
