//! A certificate authority of the test's own.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

use super::root;

/// Signs certificates for servers and clients.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Authority {
    /// A new authority with a new key.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the test's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key for the authority");
        Self { issuer: CertifiedIssuer::self_signed(params, key).expect("the authority signs itself") }
    }

    /// Its own certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for a name or an address, and its key, both PEM. Good for servers and for clients.
    pub fn sign(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name for the certificate");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key for the certificate");
        let certificate = params.signed_by(&key, &self.issuer).expect("the authority signs");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes `ca.pem`, `NAME.pem` and `NAME.key`, for `name` or address `subject`.
    pub fn write(&self, dir: &Path, name: &str, subject: &str) {
        let (certificate, key) = self.sign(subject);
        for (file, content) in
            [("ca.pem".to_owned(), self.pem()), (format!("{name}.pem"), certificate), (format!("{name}.key"), key)]
        {
            fs::write(dir.join(file), content).expect("a certificate is written");
        }
    }
}

/// A certificate for a name or an address that signed itself, as `openssl req -x509` makes them: an authority's, used as a
/// server's all the same. With its key, both PEM.
pub fn self_signed(name: &str) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).expect("a name for the certificate");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().expect("a key for the certificate");
    (params.self_signed(&key).expect("it signs itself").pem(), key.serialize_pem())
}

/// A certificate and its key of `tests/fixtures/tls`, both PEM.
pub fn of_fixture(name: &str) -> (String, String) {
    let dir = root().join("tests/fixtures/tls");
    let read = |ending: &str| fs::read_to_string(dir.join(format!("{name}.{ending}"))).expect("a fixture is read");
    (read("pem"), read("key"))
}
