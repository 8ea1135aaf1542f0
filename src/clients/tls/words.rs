//! The meaning of a failed handshake, in words for people, and whether it is about the server at
//! all. Pure.
//!
//! The library's own messages are the names of its types. They are never shown.

use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::UnixTime;
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, InvalidMessage, OtherError, PeerIncompatible,
    PeerMisbehaved,
};

use crate::domain::time::Timestamp;

/// What is supported here, for people who configure a server.
pub(crate) const SUPPORTED: &str = "supported here: TLS 1.2 and 1.3, key exchange by ECDHE (X25519, P-256, P-384), \
     AES-GCM and ChaCha20-Poly1305, keys of RSA (2048 to 8192 bits), ECDSA (P-256, P-384) and Ed25519";

/// The meaning of a failed handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Explained {
    /// The details for people.
    pub(crate) story: String,
    /// Whether other clients may well succeed, because only the exporter cannot do it.
    pub(crate) is_ours: bool,
}

/// A failure of the server.
fn theirs(story: impl Into<String>) -> Explained {
    Explained { story: story.into(), is_ours: false }
}

/// A failure of the exporter alone.
fn ours(story: impl Into<String>) -> Explained {
    Explained { story: story.into(), is_ours: true }
}

/// A failure of the exporter alone, with what a server must offer.
fn unsupported(story: impl fmt::Display) -> Explained {
    ours(format!("{story}; {SUPPORTED}"))
}

/// What the verifier found, without an error of the library.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flaw {
    /// The certificate has no host name where names belong. Some clients use the common name
    /// instead.
    NoName {
        /// The requested host.
        host: String,
        /// The certificate's common name, if it has one.
        common_name: Option<String>,
        /// Whether a client that uses common names would accept it.
        fits: bool,
    },
    /// An RSA key with this many bits, which is not supported.
    RsaKey(usize),
    /// The trusted authority that signed is not valid at this time, as this error says.
    Dated(Box<Error>),
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.explained().story)
    }
}

impl std::error::Error for Flaw {}

impl From<Flaw> for Error {
    fn from(flaw: Flaw) -> Self {
        CertificateError::Other(OtherError(std::sync::Arc::new(flaw))).into()
    }
}

impl Flaw {
    fn explained(&self) -> Explained {
        match self {
            Self::NoName { host, common_name, fits } => {
                let name = common_name.as_ref().map_or_else(
                    || "it has no common name either".to_owned(),
                    |name| format!("its common name, {name}, is ignored here and by most clients"),
                );
                let story = format!(
                    "the server's certificate is not for {host}, but for no name: it has no subjectAltName of a host \
                     ({name}); create it again with subjectAltName={host}"
                );
                Explained { story, is_ours: *fits }
            }
            Self::Dated(error) => {
                let dates = match error.as_ref() {
                    Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => {
                        format!("expired at {}", at(*not_after))
                    }
                    Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => {
                        format!("is valid from {}", at(*not_before))
                    }
                    _ => "is not valid at this time".to_owned(),
                };
                ours(format!(
                    "the authority that signed the server's certificate is trusted here by a certificate that {dates}; \
                     trust its new one, if it has one"
                ))
            }
            Self::RsaKey(bits) => {
                unsupported(format!("a key of the server's certificates is RSA of {bits} bits, which is not supported"))
            }
        }
    }
}

/// What is wrong with a server's certificate or its handshake.
pub(crate) fn explained(error: &Error) -> Explained {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::InvalidMessage(error) => of_message(error),
        Error::PeerIncompatible(error) => of_incompatible(error),
        Error::PeerMisbehaved(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme) => {
            unsupported("the server signs with a kind of key that is not supported")
        }
        Error::PeerMisbehaved(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            ours("the server violates TLS in the handshake; other clients may accept that")
        }
        Error::NoCertificatesPresented => theirs("the server presents no certificate"),
        Error::DecryptError => theirs("the server's data cannot be decrypted: it was changed on the way"),
        Error::PeerSentOversizedRecord => theirs("the server's data is not TLS: a record is too long"),
        Error::UnsupportedNameType => ours("a certificate cannot be checked against such a name"),
        Error::InvalidEncryptedClientHello(_) => ours("the server's name could not be sent encrypted"),
        Error::InvalidCertRevocationList(_) => ours("the list of revoked certificates cannot be used"),
        Error::NoApplicationProtocol => ours("the server and this exporter have no application protocol in common"),
        Error::FailedToGetCurrentTime => ours("this machine cannot tell the time"),
        Error::FailedToGetRandomBytes => ours("this machine has no random numbers"),
        Error::InconsistentKeys(_) => ours("the client certificate and its key do not belong together"),
        Error::EncryptError | Error::HandshakeNotComplete | Error::BadMaxFragmentSize => {
            ours("the exporter made a mistake in TLS")
        }
        Error::General(said) => ours(format!("TLS could not be used: {said}")),
        Error::Other(OtherError(error)) => ours(format!("TLS could not be used: {error}")),
        _ => ours("TLS failed for an unknown reason"),
    }
}

fn at(time: UnixTime) -> Timestamp {
    Timestamp::from_unix_seconds(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}

fn of_certificate(error: &CertificateError) -> Explained {
    use CertificateError as E;

    match error {
        E::ExpiredContext { not_after, .. } => {
            theirs(format!("the server's certificate expired at {}", at(*not_after)))
        }
        E::Expired => theirs("the server's certificate has expired"),
        E::NotValidYetContext { not_before, time } => theirs(format!(
            "the server's certificate is valid from {}; this machine's clock says {}",
            at(*not_before),
            at(*time)
        )),
        E::NotValidYet => theirs("the server's certificate is not valid yet"),
        E::NotValidForNameContext { expected, presented } => {
            let names: Vec<_> = presented.iter().map(|name| plain(name)).collect();
            let names = if names.is_empty() { "no name".to_owned() } else { names.join(", ") };
            theirs(format!("the server's certificate is not for {}, but for {names}", expected.to_str()))
        }
        E::NotValidForName => theirs("the server's certificate is not for this name"),
        // The second one: an authority that was created again with the same name.
        E::UnknownIssuer | E::BadSignature => {
            theirs("the server's certificate is not signed by an authority that is trusted here")
        }
        E::Revoked => theirs("the server's certificate was revoked"),
        E::InvalidPurposeContext { presented, .. } => of_purpose(presented),
        E::InvalidPurpose => theirs("the server's certificate is not for servers (extendedKeyUsage)"),
        E::BadEncoding => {
            ours("the server's certificate, or its authority's, cannot be read; other clients may read it")
        }
        E::UnhandledCriticalExtension => {
            ours("the server's certificate requires something that this exporter does not know (a critical extension)")
        }
        E::UnsupportedSignatureAlgorithmContext { .. } => unsupported(
            "the server's certificate, or one between it and its authority, is signed in an unsupported way",
        ),
        E::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            unsupported("the server's certificate has, or is signed by, a kind of key that is not supported")
        }
        E::UnknownRevocationStatus | E::ExpiredRevocationList | E::ExpiredRevocationListContext { .. } => {
            ours("whether the server's certificate was revoked is not known")
        }
        E::InvalidOcspResponse => ours("what the server says of its certificate's revocation cannot be used"),
        E::ApplicationVerificationFailure => ours("the server's certificate was refused here"),
        E::Other(OtherError(error)) => {
            if let Some(flaw) = error.downcast_ref::<Flaw>() {
                flaw.explained()
            } else if let Some(error) = error.downcast_ref::<webpki::Error>() {
                of_path(error)
            } else {
                ours("the server's certificate cannot be checked")
            }
        }
        // The variants that are left out are older forms of unsupported algorithms.
        _ => unsupported("the server's certificate, or its signature, is of a kind that is not supported"),
    }
}

/// Errors of a certificate chain that the library passes on unchanged.
fn of_path(error: &webpki::Error) -> Explained {
    use webpki::Error as E;

    match error {
        E::CaUsedAsEndEntity => ours(
            "the server's certificate is that of an authority (CA:TRUE); it is accepted only if it is in ca_file itself, \
             or is signed by a certificate in ca_file",
        ),
        E::EndEntityUsedAsCa => {
            theirs("the server's certificate is signed by a certificate that is not an authority's (it is not CA:TRUE)")
        }
        E::CertDistrusted => theirs("the server's certificate, or one that signed it, is no longer trusted"),
        E::NameConstraintViolation => theirs("the authority may not sign certificates for this name"),
        E::PathLenConstraintViolated => theirs("the chain has more authorities than the upper one allows"),
        E::EmptyEkuExtension => theirs("the server's certificate has no purpose (an empty extendedKeyUsage)"),
        E::UnsupportedCertVersion => ours(
            "the server's certificate is of an old version, which cannot say in subjectAltName what it is for; make it \
             again as version 3",
        ),
        E::UnsupportedCriticalExtension => of_certificate(&CertificateError::UnhandledCriticalExtension),
        E::MaximumPathDepthExceeded
        | E::MaximumPathBuildCallsExceeded
        | E::MaximumSignatureChecksExceeded
        | E::MaximumNameConstraintComparisonsExceeded => {
            ours("the server's chain has more certificates than this exporter follows")
        }
        _ => ours("a certificate of the server violates the standard; other clients may accept it"),
    }
}

/// A name of a certificate for people, from the library's notation.
fn plain(name: &str) -> String {
    let inside = |kind: &str| name.strip_prefix(kind)?.strip_suffix(')').map(|text| text.trim_matches('"'));
    // A common mistake: an address in place of a name is never compared with the host's address.
    if let Some(address) = inside("DnsName(").filter(|name| name.parse::<IpAddr>().is_ok()) {
        return format!("{address} as a name (it must be an address entry)");
    }
    let known = inside("DnsName(").or_else(|| inside("IpAddress(")).or_else(|| inside("UniformResourceIdentifier("));
    known.map_or_else(|| "a name of another kind".to_owned(), str::to_owned)
}

fn of_purpose(presented: &[ExtendedKeyPurpose]) -> Explained {
    let uses: Vec<_> = presented.iter().map(purpose).collect();
    let uses = if uses.is_empty() { "nothing".to_owned() } else { uses.join(", ") };
    let story = format!("the server's certificate is not for servers, but for {uses} (extendedKeyUsage)");
    Explained { story, is_ours: presented.contains(&any_purpose()) }
}

/// `anyExtendedKeyUsage`.
fn any_purpose() -> ExtendedKeyPurpose {
    ExtendedKeyPurpose::Other(vec![2, 5, 29, 37, 0])
}

fn purpose(purpose: &ExtendedKeyPurpose) -> String {
    match purpose {
        ExtendedKeyPurpose::ClientAuth => "clients".to_owned(),
        ExtendedKeyPurpose::ServerAuth => "servers".to_owned(),
        ExtendedKeyPurpose::Other(numbers) => numbers.iter().map(usize::to_string).collect::<Vec<_>>().join("."),
    }
}

fn of_incompatible(error: &PeerIncompatible) -> Explained {
    use PeerIncompatible as E;

    let what = match error {
        E::ServerDoesNotSupportTls12Or13 | E::ServerTlsVersionIsDisabledByOurConfig => {
            "the server speaks no version of TLS that is supported"
        }
        E::NoCipherSuitesInCommon => "the server speaks no cipher suite that is supported",
        E::NoKxGroupsInCommon | E::NoEcPointFormatsInCommon | E::UncompressedEcPointsRequired => {
            "the server knows no way to exchange keys that is supported"
        }
        E::NoSignatureSchemesInCommon | E::NoCertificateRequestSignatureSchemesInCommon => {
            "the server knows no kind of signature that is supported"
        }
        _ => "the server and this exporter have no way of TLS in common",
    };
    unsupported(what)
}

fn of_message(error: &InvalidMessage) -> Explained {
    match error {
        InvalidMessage::CertificatePayloadTooLarge
        | InvalidMessage::HandshakePayloadTooLarge
        | InvalidMessage::MessageTooLarge => ours("the server sends more in the handshake than is accepted here"),
        InvalidMessage::InvalidDhParams
        | InvalidMessage::UnsupportedCurveType
        | InvalidMessage::UnsupportedKeyExchangeAlgorithm(_)
        | InvalidMessage::UnsupportedCompression => {
            unsupported("the server chose a way to exchange keys that is not supported")
        }
        InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion => {
            theirs("the server's data is not TLS")
        }
        _ => theirs("the server's data is not valid TLS"),
    }
}

fn of_alert(alert: AlertDescription) -> Explained {
    use AlertDescription as A;

    let refused = |why: &str| {
        let name = name_of(alert).map_or_else(|| format!("alert {}", u8::from(alert)), str::to_owned);
        let colon = if why.is_empty() { "" } else { ": " };
        format!("the server refused the TLS handshake ({name}){colon}{why}")
    };
    match alert {
        A::ProtocolVersion => unsupported(refused("it speaks no version of TLS that is supported")),
        A::InsufficientSecurity => unsupported(refused("it wants stronger ciphers than are supported")),
        A::HandshakeFailure => unsupported(refused(
            "most often it has no cipher suite or kind of key in common with this exporter, or wants a client \
             certificate",
        )),
        A::NoApplicationProtocol => ours(refused("there is no application protocol in common")),
        A::IllegalParameter
        | A::DecodeError
        | A::UnexpectedMessage
        | A::MissingExtension
        | A::UnsupportedExtension
        | A::RecordOverflow
        | A::InappropriateFallback
        | A::EncryptedClientHelloRequired
        | A::Unknown(_) => unsupported(refused("it does not understand this exporter")),
        A::CertificateRequired => theirs("the server wants a client certificate (cert_file, key_file)"),
        A::NoCertificate
        | A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::DecryptError
        | A::AccessDenied => {
            theirs(refused("it wants another client certificate than it was given (cert_file, key_file), if any was"))
        }
        A::UnrecognisedName => theirs(refused("it does not know the name that was asked for")),
        A::InternalError => theirs(refused("it failed")),
        _ => theirs(refused("")),
    }
}

/// The standard name of an alert.
fn name_of(alert: AlertDescription) -> Option<&'static str> {
    Some(match u8::from(alert) {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
