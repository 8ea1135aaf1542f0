//! Checks the certificates and keys of a kubeconfig before the client library reads them. The
//! library's messages do not tell which of them is wrong, and may contain secrets.

use data_encoding::BASE64;
use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The bytes of a `*-data` field. It may contain line breaks, as `base64` and YAML write them.
///
/// # Errors
/// It is not Base64.
pub(super) fn decoded(data: &str, what: &str) -> Result<Vec<u8>, String> {
    let data: String = data.chars().filter(|char| !char.is_whitespace()).collect();
    BASE64.decode(data.as_bytes()).map_err(|_| {
        if data.starts_with("-----BEGIN") {
            return format!("{what} is plain PEM; encode it with base64, or use the key without -data to name a file");
        }
        format!("{what} is not Base64; encode the PEM file with `base64`")
    })
}

/// The certificates in PEM.
///
/// # Errors
/// There is no store, or it cannot be read.
pub(super) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    // The messages of the parser quote the text, so they are not used.
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{what} is not valid PEM"))?;
    if found.is_empty() {
        return Err(format!("{what} holds no certificate; it must be PEM, -----BEGIN CERTIFICATE-----"));
    }
    Ok(found)
}

/// The certificates of a bundle that can be used to trust a server. One that cannot be read does not
/// make the others useless, as in kubectl.
///
/// # Errors
/// There is none.
pub(super) fn authorities(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let is_usable = |found: &CertificateDer<'static>| RootCertStore::empty().add(found.clone()).is_ok();
    let usable: Vec<_> = CertificateDer::pem_slice_iter(pem).flatten().filter(is_usable).collect();
    if usable.is_empty() {
        certificates(pem, what)?;
        return Err(format!(
            "{what} holds no certificate that can be read; it must be PEM, -----BEGIN CERTIFICATE-----"
        ));
    }
    Ok(usable)
}

/// Certificates in PEM.
pub(super) fn in_pem(certificates: &[CertificateDer<'_>]) -> String {
    let encoded = |found: &CertificateDer<'_>| {
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(found))
    };
    certificates.iter().map(encoded).collect()
}

/// A client certificate and its key for the client library, each as one piece of PEM.
///
/// # Errors
/// They cannot be used, alone or together.
pub(super) fn check_pair(certificate: &[u8], key: &[u8], user: &str) -> Result<(), String> {
    let (of_certificate, of_key) = (format!("the client-certificate of {user}"), format!("the client-key of {user}"));
    let chain = certificates(certificate, &of_certificate)?;
    if is_encrypted(key) {
        let way_out = "decrypt it, such as with `openssl pkey -in FILE -out FILE`, and guard the file instead";
        return Err(format!("{of_key} is encrypted, and nobody can enter its password; {way_out}"));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => format!("{of_key} holds no private key; it must be PEM (PKCS#8, PKCS#1 or SEC1)"),
        _ => format!("{of_key} is not valid PEM"),
    })?;
    let provider = rustls::crypto::ring::default_provider();
    match CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(format!("{of_key} does not belong to its client-certificate; use the matching pair"))
        }
        Err(_) => Err(format!(
            "{of_key} has an unsupported type; use RSA (2048 to 4096 bits), ECDSA (P-256, P-384) or Ed25519"
        )),
    }
}

fn is_encrypted(key: &[u8]) -> bool {
    let holds = |words: &[u8]| key.windows(words.len()).any(|window| window == words);
    holds(b"BEGIN ENCRYPTED PRIVATE KEY") || holds(b"Proc-Type: 4,ENCRYPTED")
}
