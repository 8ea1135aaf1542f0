use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;

use super::*;

/// A directory with a certificate and its key.
struct Directory {
    dir: TempDir,
    cert: PathBuf,
    key: PathBuf,
}

impl Directory {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let made = identity();
        fs::write(&cert, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self { dir, cert, key }
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

fn identity() -> CertifiedKey<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn ca(path: PathBuf) -> Files {
    Files { ca: Some(path), ..Files::default() }
}

fn client_config(files: &Files) -> Result<ClientConfig, TlsError> {
    build(files, files.system_roots()?)
}

fn reloading(files: Files, alpn: &[&[u8]]) -> ReloadingTls {
    let alpn = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    ReloadingTls(Arc::new(Inner { files, alpn, last: Mutex::default() }))
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_would_be_right_and_never_quoted() {
    let files = Directory::new();
    let other = identity();
    let identity = |cert: PathBuf, key: PathBuf| Files {
        ca: Some(files.cert.clone()),
        cert: Some(cert),
        key: Some(key),
        ..Files::default()
    };
    let secret_in = |before: &str, after: &str| format!("{before}\nhunter2hunter2!\n{after}\n");
    let begin = |what: &str| format!("-----BEGIN {what}-----");
    let end = |what: &str| format!("-----END {what}-----");
    let key = "PRIVATE KEY";
    let cases = [
        (ca(files.dir.path().join("absent.pem")), "absent.pem: No such file"),
        (ca(files.dir.path().to_owned()), "cannot read the CA file"),
        (ca(files.write("empty.pem", "")), "empty.pem holds no certificate"),
        (ca(files.write("half.pem", &secret_in(&begin("CERTIFICATE"), ""))), "half.pem is not valid PEM"),
        (ca(files.write("start.pem", &secret_in("-----BEGIN hunter2", ""))), "start.pem is not valid PEM"),
        (
            ca(files.write("der.pem", &format!("{}\naGk=\n{}\n", begin("CERTIFICATE"), end("CERTIFICATE")))),
            "der.pem holds no usable certificate",
        ),
        (identity(files.cert.clone(), files.dir.path().join("absent.key")), "cannot read the client key file"),
        (identity(files.cert.clone(), files.cert.clone()), "holds no private key"),
        (
            identity(files.cert.clone(), files.write("broken.key", &secret_in(&begin(key), &end(key)))),
            "broken.key is not valid PEM",
        ),
        (
            identity(files.cert.clone(), files.write("other.key", &other.signing_key.serialize_pem())),
            "cannot be used together",
        ),
        (
            Files { cert: Some(files.cert.clone()), ..ca(files.cert.clone()) },
            "needs both its certificate file and its key file",
        ),
    ];
    for (files, expected) in cases {
        let error = client_config(&files).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error:?} should say {expected:?}");
        assert!(!error.contains("hunter2"), "{error:?} quotes the file");
    }
}

#[test]
fn a_bundle_with_one_bad_certificate_is_used() {
    let files = Directory::new();
    let good = fs::read_to_string(&files.cert).unwrap();
    let bundle = format!("-----BEGIN CERTIFICATE-----\naGk=\n-----END CERTIFICATE-----\n{good}");
    assert!(!read_roots(&files.write("bundle.pem", &bundle)).unwrap().is_empty());
}

#[test]
fn certificates_are_read_as_people_have_them() {
    let files = Directory::new();
    let good = fs::read_to_string(&files.cert).unwrap();
    let key = fs::read_to_string(&files.key).unwrap();
    for (name, text) in [
        ("a byte order mark", format!("\u{feff}{good}")),
        ("lines as Windows ends them", good.replace('\n', "\r\n")),
        ("an older name", good.replace("CERTIFICATE", "X509 CERTIFICATE")),
        ("words before, the key after", format!("# Bag Attributes\n    friendlyName: b\u{fc}cher\n{good}{key}")),
    ] {
        assert!(read_roots(&files.write("ca.pem", &text)).is_ok_and(|roots| !roots.is_empty()), "{name}");
    }
    assert!(read_key(&files.write("marked.key", &format!("\u{feff}{key}"))).is_ok());
}

#[test]
fn nothing_is_read_that_is_not_used() {
    let files = Files { insecure_skip_verify: true, ..ca(PathBuf::from("/absent/ca.pem")) };
    assert!(client_config(&files).is_ok());
    assert!(reloading(files, &[]).0.load().is_ok());
    assert!(trusting_nobody().is_ok());
}

#[tokio::test]
async fn an_unchanged_file_is_not_parsed_again_and_a_changed_one_is() {
    let files = Directory::new();
    let tls = reloading(
        Files {
            cert: Some(files.cert.clone()),
            key: Some(files.key.clone()),
            ..ca(files.write("ca.pem", &identity().cert.pem()))
        },
        &[b"h2", b"http/1.1"],
    );
    let first = tls.current().await.unwrap();
    assert_eq!(first.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    assert!(Arc::ptr_eq(&first, &tls.current().await.unwrap()));

    // Longer than before, so that it has changed whatever the resolution of the file system's clock.
    files.write("ca.pem", &format!("{}{}", identity().cert.pem(), identity().cert.pem()));
    let second = tls.current().await.unwrap();
    assert!(!Arc::ptr_eq(&first, &second));

    // A certificate that was written while its key was not yet is an error now and no error once both are there.
    let new = identity();
    fs::write(&files.cert, format!("{}\n", new.cert.pem())).unwrap();
    assert!(matches!(tls.current().await, Err(TlsError::Identity { .. })));
    fs::write(&files.key, new.signing_key.serialize_pem()).unwrap();
    let third = tls.current().await.unwrap();
    assert!(!Arc::ptr_eq(&second, &third));
    assert!(Arc::ptr_eq(&third, &tls.current().await.unwrap()));
}
