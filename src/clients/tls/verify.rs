//! Whether a server's certificate is trusted: by the library's rules, and by what common clients do
//! beside them.
//!
//! A certificate that is itself among the trusted ones is trusted, whoever signed it, as in curl
//! and Go. Its dates, its purpose and its names are still checked.

use std::borrow::Cow;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, ExtendedKeyPurpose, OtherError, RootCertStore, SignatureScheme,
};
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::oid_registry::OID_PKCS1_SHA1WITHRSA;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use super::words::Flaw;

/// The trusted certificates.
#[derive(Debug)]
pub(crate) struct Trust {
    /// The certificates of authorities.
    anchors: RootCertStore,
    /// When each authority may sign. None if its dates cannot be read.
    spans: Vec<Option<Validity>>,
    certificates: Vec<CertificateDer<'static>>,
}

/// Two are equal if they hold the same certificates, because the anchors are made from them.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Trust {
    /// Trusts those certificates that can be used.
    pub(crate) fn of(certificates: Vec<CertificateDer<'static>>) -> Self {
        let (mut anchors, mut spans) = (RootCertStore::empty(), Vec::new());
        for certificate in &certificates {
            let read = read(certificate);
            // A trusted server certificate does not allow that server to sign for others.
            let may_sign = read.as_ref().is_none_or(is_authority);
            // One unusable certificate does not make the others of a bundle useless.
            if may_sign && anchors.add(certificate.clone()).is_ok() {
                spans.push(read.map(|read| read.validity().clone()));
            }
        }
        Self { anchors, spans, certificates }
    }

    /// Whether no certificate can be used, neither of an authority nor of a server.
    pub(crate) fn is_empty(&self) -> bool {
        self.anchors.is_empty() && !self.certificates.iter().any(|one| ParsedCertificate::try_from(one).is_ok())
    }

    /// The authorities that may sign at this time. The library does not check their dates.
    fn anchors_at(&self, now: UnixTime) -> Cow<'_, RootCertStore> {
        let is_good = |span: &Option<Validity>| span.as_ref().is_none_or(|span| in_time(span, now).is_ok());
        if self.spans.iter().all(is_good) {
            return Cow::Borrowed(&self.anchors);
        }
        let all = self.anchors.roots.iter().zip(&self.spans);
        let roots = all.filter(|(_, span)| is_good(span)).map(|(anchor, _)| anchor.clone()).collect();
        Cow::Owned(RootCertStore { roots })
    }

    /// Each authority that may not sign at this time, with the error for its dates.
    fn dated(&self, now: UnixTime) -> impl Iterator<Item = (RootCertStore, Error)> {
        let all = self.anchors.roots.iter().zip(&self.spans);
        all.filter_map(move |(anchor, span)| {
            let dates = in_time(span.as_ref()?, now).err()?;
            Some((RootCertStore { roots: vec![anchor.clone()] }, dates))
        })
    }

    fn holds(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|trusted| trusted.as_ref() == certificate.as_ref())
    }
}

/// Verifies the certificates of servers.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Arc<Trust>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    pub(crate) fn new(trust: Arc<Trust>, provider: &CryptoProvider) -> Self {
        Self { trust, algorithms: provider.signature_verification_algorithms }
    }

    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), Error> {
        let held = self.trust.holds(certificate).then(|| read(certificate)).flatten();
        if let Some(held) = &held {
            in_time(held.validity(), now)?;
            for_servers(held)?;
        }
        let parsed = match ParsedCertificate::try_from(certificate) {
            Ok(parsed) => parsed,
            Err(error) => return Err(self.unreadable(error, certificate, intermediates, name, now)),
        };
        if held.is_none() {
            let leads_to = |anchors: &RootCertStore| {
                verify_server_cert_signed_by_trust_anchor(&parsed, anchors, intermediates, now, self.algorithms.all)
            };
            if let Err(error) = leads_to(&self.trust.anchors_at(now)) {
                let dated = self.trust.dated(now).find(|(anchor, _)| is_unknown(&error) && leads_to(anchor).is_ok());
                if let Some((_, dates)) = dated {
                    return Err(Flaw::Dated(Box::new(dates)).into());
                }
                self.chain(error, certificate, intermediates, now)?;
            }
        }
        verify_server_name(&parsed, name).map_err(|error| match error {
            Error::InvalidCertificate(CertificateError::NotValidForNameContext { presented, .. })
                if !presented.iter().any(|name| name.starts_with("DnsName(") || name.starts_with("IpAddress(")) =>
            {
                nameless(certificate, name)
            }
            error => error,
        })
    }

    /// Verifies a chain that the library refuses, but other clients may accept.
    ///
    /// The certificate of an authority can also be a server's, if a trusted authority signed it, as
    /// in curl and Go.
    ///
    /// # Errors
    /// Why it is not valid.
    fn chain(
        &self,
        error: Error,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let Some(leaf) = read(certificate) else { return Err(error) };
        let trusted = || self.trust.certificates.iter().filter_map(read);
        let sent = || between.iter().filter_map(read);
        if error == Error::InvalidCertificate(CertificateError::BadSignature) {
            let signs = |signer: &X509Certificate<'_>| {
                leaf.issuer() == signer.subject() || sent().any(|one| one.issuer() == signer.subject())
            };
            let mut signers = sent().chain(trusted()).filter(signs);
            return Err(signers.find_map(|signer| unsupported_key(&signer)).map_or(error, Error::from));
        }
        if is_of_path(&error, &webpki::Error::CaUsedAsEndEntity) {
            let signers = trusted().filter(|signer| signs(signer, &leaf) && is_unlimited(signer));
            let dates: Vec<_> = signers.map(|signer| in_time(signer.validity(), now)).collect();
            if dates.iter().any(Result::is_ok) {
                return for_servers(&leaf);
            }
            if let Some(dates) = dates.into_iter().find_map(Result::err) {
                return Err(Flaw::Dated(Box::new(dates)).into());
            }
            let is_signed = sent().chain(trusted()).any(|signer| signs(&signer, &leaf));
            return Err(if is_signed { error } else { CertificateError::UnknownIssuer.into() });
        }
        let signer = trusted().filter(|_| is_unknown(&error)).find(|signer| signs(signer, &leaf));
        Err(match signer {
            Some(signer) if !is_authority(&signer) => {
                CertificateError::Other(OtherError(Arc::new(webpki::Error::EndEntityUsedAsCa))).into()
            }
            // A trusted authority that the library cannot read, and so does not know.
            Some(_) => CertificateError::BadEncoding.into(),
            None => error,
        })
    }

    /// Why a certificate cannot be used that the library cannot read, such as one of version 1. If
    /// it can be read otherwise, its dates, its signer and its names are checked.
    fn unreadable(
        &self,
        error: Error,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Error {
        let Some(read_of) = read(certificate) else { return error };
        if let Err(error) = in_time(read_of.validity(), now) {
            return error;
        }
        let mut signers = between.iter().chain(self.trust.certificates.iter()).filter_map(read);
        if !signers.any(|signer| signer.subject() == read_of.issuer()) {
            return CertificateError::UnknownIssuer.into();
        }
        let names_none = !matches!(read_of.subject_alternative_name(), Ok(Some(_)));
        if names_none { nameless(certificate, name) } else { error }
    }
}

/// Whether the certificate of an authority signed another one. A SHA-1 signature does not count.
fn signs(authority: &X509Certificate<'_>, other: &X509Certificate<'_>) -> bool {
    let is_sound = other.signature_algorithm.algorithm != OID_PKCS1_SHA1WITHRSA;
    let is_by_name = other.issuer() == authority.subject() && other.subject() != other.issuer();
    is_sound && is_by_name && other.verify_signature(Some(authority.public_key())).is_ok()
}

/// Whether an authority may sign for any name, and for other authorities.
fn is_unlimited(authority: &X509Certificate<'_>) -> bool {
    let is_free = matches!(authority.name_constraints(), Ok(None));
    is_free && matches!(authority.basic_constraints(), Ok(Some(basic)) if basic.value.ca)
}

/// Whether a certificate belongs to an authority. Certificates of version 1 cannot say so. Those
/// that may sign others are marked in another way.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    match certificate.basic_constraints() {
        Ok(Some(basic)) => basic.value.ca,
        Ok(None) if certificate.version() == X509Version::V3 => {
            matches!(certificate.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign())
        }
        _ => true,
    }
}

/// Whether no trusted signer is known.
fn is_unknown(error: &Error) -> bool {
    *error == Error::InvalidCertificate(CertificateError::UnknownIssuer)
}

/// Whether an error is this error of the library below.
fn is_of_path(error: &Error, path: &webpki::Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(OtherError(error))) = error else { return false };
    error.downcast_ref::<webpki::Error>() == Some(path)
}

fn read<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(certificate.as_ref()).ok().map(|(_, certificate)| certificate)
}

fn in_time(span: &Validity, time: UnixTime) -> Result<(), Error> {
    let unix = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or(0);
        UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds))
    };
    let (not_before, not_after) = (unix(span.not_before), unix(span.not_after));
    if time > not_after {
        return Err(CertificateError::ExpiredContext { time, not_after }.into());
    }
    if time < not_before {
        return Err(CertificateError::NotValidYetContext { time, not_before }.into());
    }
    Ok(())
}

/// Whether a certificate can be a server's: its purposes include servers, or it names no purposes.
fn for_servers(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    let Ok(Some(uses)) = certificate.extended_key_usage().map(|uses| uses.map(|uses| uses.value)) else {
        return Ok(());
    };
    if uses.any || uses.server_auth {
        return Ok(());
    }
    let others =
        uses.other.iter().filter_map(|other| other.iter()).map(|numbers| {
            ExtendedKeyPurpose::Other(numbers.filter_map(|number| usize::try_from(number).ok()).collect())
        });
    let presented = uses.client_auth.then_some(ExtendedKeyPurpose::ClientAuth).into_iter().chain(others).collect();
    Err(CertificateError::InvalidPurposeContext { required: ExtendedKeyPurpose::ServerAuth, presented }.into())
}

/// Why a certificate without `subjectAltName` is not accepted. Some clients use its common name
/// instead.
fn nameless(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Error {
    let host = name.to_str().into_owned();
    let read = read(certificate);
    let names = read.iter().flat_map(|read| read.subject().iter_common_name());
    // The last one is the most specific.
    let common_name = names.filter_map(|name| name.as_str().ok()).last().map(str::to_owned);
    let fits = common_name.as_ref().is_some_and(|pattern| fits(pattern, &host));
    Flaw::NoName { host, common_name, fits }.into()
}

/// Whether a common name matches a host.
fn fits(pattern: &str, host: &str) -> bool {
    let is_below = |parent: &str| host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent));
    pattern.eq_ignore_ascii_case(host) || pattern.strip_prefix("*.").is_some_and(is_below)
}

/// Why a key cannot be used here, although other clients may use it.
fn unsupported_key(certificate: &X509Certificate<'_>) -> Option<Flaw> {
    let Ok(PublicKey::RSA(key)) = certificate.public_key().parsed() else { return None };
    let bits = key.key_size();
    (!(2048..=8192).contains(&bits)).then_some(Flaw::RsaKey(bits))
}

/// Why the signature of a handshake is not valid.
fn signed_handshake(error: Error, certificate: &CertificateDer<'_>) -> Error {
    if error != Error::InvalidCertificate(CertificateError::BadSignature) {
        return error;
    }
    read(certificate).and_then(|read| unsupported_key(&read)).map_or(error, Error::from)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, server_name, now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms).map_err(|error| signed_handshake(error, cert))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms).map_err(|error| signed_handshake(error, cert))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Accepts any certificate from the server. This is dangerous, and only exists for
/// `insecure_skip_verify`: the connection is encrypted, but nobody knows with whom.
#[derive(Debug)]
pub(super) struct Unverified(pub(super) Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
