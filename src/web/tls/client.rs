//! Whether the certificate of a client is accepted.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::web::web_config::ClientAuth;

/// Checks the certificates of clients as Go's TLS does.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    requires: bool,
    /// None if certificates are not verified.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// A certificate that is itself in the file of the authorities is trusted, whoever signed it.
    trusted: Vec<CertificateDer<'static>>,
    /// One of these names must be in the certificate, unless there are none.
    names: Vec<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ClientVerifier {
    /// # Errors
    /// No certificate can be used as an authority.
    pub(super) fn new(
        auth: ClientAuth,
        trusted: Vec<CertificateDer<'static>>,
        names: Vec<String>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, &'static str> {
        let authorities = if auth.verifies() {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(trusted.iter().cloned());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|_| "this holds no usable certificate; it must hold PEM certificates of version 3")?)
        } else {
            None
        };
        // A client without a certificate has no name either.
        let requires = auth.requires() || !names.is_empty();
        Ok(Self { requires, authorities, trusted, names, algorithms: provider.signature_verification_algorithms })
    }

    fn is_signed(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Error> {
        let Some(authorities) = &self.authorities else { return Ok(()) };
        let Err(error) = authorities.verify_client_cert(own, others, now) else { return Ok(()) };
        let is_trusted = self.trusted.iter().any(|trusted| trusted.as_ref() == own.as_ref());
        if is_trusted && is_in_time(own, now) { Ok(()) } else { Err(error) }
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.requires
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.is_signed(end_entity, intermediates, now)?;
        if !self.names.is_empty() && !names(end_entity).iter().any(|name| self.names.contains(name)) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_in_time(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return false };
    let now = i64::try_from(now.as_secs()).ok().and_then(|now| ASN1Time::from_timestamp(now).ok());
    now.is_some_and(|now| read.validity().is_valid_at(now))
}

/// The names of a certificate: DNS names, e-mail addresses, IP addresses and URIs.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, read)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(alternative)) = read.subject_alternative_name() else { return Vec::new() };
    let all = alternative.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::Ipv4Addr::from(four).to_string()),
            Err(_) => <[u8; 16]>::try_from(*bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    });
    all.collect()
}

/// The name of the client whose certificate this is: its common name, or else its first other name.
pub(in crate::web) fn subject(certificate: &CertificateDer<'_>) -> Option<Arc<str>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let common = read.subject().iter_common_name().find_map(|name| name.as_str().ok());
    let common = common.filter(|name| !name.is_empty()).map(Arc::from);
    common.or_else(|| names(certificate).first().map(|name| Arc::from(name.as_str())))
}
