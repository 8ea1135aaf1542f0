use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ContentType, HandshakeType, InconsistentKeys};

use super::*;

fn of_path(error: webpki::Error) -> Error {
    Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

fn certificates() -> Vec<(Error, &'static str, bool)> {
    use CertificateError as E;

    let time = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
    let past = UnixTime::since_unix_epoch(Duration::from_secs(1_700_000_000));
    let expected = ServerName::try_from("api.example.com").unwrap();
    let presented = ["DnsName(\"*.b.example\")", "IpAddress(127.0.0.1)", "Unsupported(0x01)"].map(str::to_owned);
    let purposes = |presented: Vec<ExtendedKeyPurpose>| E::InvalidPurposeContext {
        required: ExtendedKeyPurpose::ServerAuth,
        presented,
    };
    let cases = [
        (E::ExpiredContext { time, not_after: past }, "expired at 2023-11-14T22:13:20.000Z", false),
        (E::Expired, "has expired", false),
        (E::NotValidYetContext { time: past, not_before: time }, "valid from 2027-01-15T08:00:00.000Z", false),
        (E::NotValidYet, "not valid yet", false),
        (
            E::NotValidForNameContext { expected: expected.clone(), presented: presented.to_vec() },
            "not for api.example.com, but for *.b.example, 127.0.0.1, a name of another kind",
            false,
        ),
        (
            E::NotValidForNameContext {
                expected: expected.clone(),
                presented: vec!["DnsName(\"10.0.0.1\")".to_owned()],
            },
            "but for 10.0.0.1 as a name (it must be an address entry)",
            false,
        ),
        (E::NotValidForNameContext { expected, presented: vec![] }, "but for no name", false),
        (E::NotValidForName, "not for this name", false),
        (E::UnknownIssuer, "not signed by an authority that is trusted here", false),
        (E::BadSignature, "not signed by an authority that is trusted here", false),
        (E::Revoked, "was revoked", false),
        (purposes(vec![ExtendedKeyPurpose::ClientAuth]), "not for servers, but for clients", false),
        (purposes(vec![ExtendedKeyPurpose::Other(vec![1, 3, 6])]), "but for 1.3.6", false),
        (purposes(vec![any_purpose()]), "but for 2.5.29.37.0", true),
        (E::InvalidPurpose, "not for servers", false),
        (E::BadEncoding, "cannot be read; other clients", true),
        (E::UnhandledCriticalExtension, "a critical extension", true),
        (
            E::UnsupportedSignatureAlgorithmContext { signature_algorithm_id: vec![1], supported_algorithms: vec![] },
            "supported here: TLS 1.2",
            true,
        ),
        (
            E::UnsupportedSignatureAlgorithmForPublicKeyContext {
                signature_algorithm_id: vec![1],
                public_key_algorithm_id: vec![2],
            },
            "a kind of key that is not supported",
            true,
        ),
        (E::UnknownRevocationStatus, "is not known", true),
        (E::ExpiredRevocationList, "is not known", true),
        (E::ExpiredRevocationListContext { time, next_update: past }, "is not known", true),
        (E::InvalidOcspResponse, "cannot be used", true),
        (E::ApplicationVerificationFailure, "was refused here", true),
        (E::Other(OtherError(Arc::new(std::fmt::Error))), "cannot be checked", true),
    ];
    let cases = cases.into_iter().map(|(error, words, is_ours)| (error.into(), words, is_ours));
    cases.chain(flaws()).chain(paths()).collect()
}

fn flaws() -> Vec<(Error, &'static str, bool)> {
    let nameless = |common_name: Option<&str>, fits| Flaw::NoName {
        host: "a.example".to_owned(),
        common_name: common_name.map(str::to_owned),
        fits,
    };
    vec![
        (nameless(None, false).into(), "it has no subjectAltName of a host (it has no common name either)", false),
        (nameless(Some("b"), false).into(), "its common name, b, is ignored", false),
        (nameless(Some("a.example"), true).into(), "create it again with subjectAltName=a.example", true),
        (Flaw::RsaKey(1024).into(), "RSA of 1024 bits, which is not supported; supported here", true),
    ]
}

fn paths() -> Vec<(Error, &'static str, bool)> {
    use webpki::Error as E;

    let cases = [
        (E::CaUsedAsEndEntity, "only if it is in ca_file itself", true),
        (E::EndEntityUsedAsCa, "is not an authority's", false),
        (E::CertDistrusted, "is no longer trusted", false),
        (E::NameConstraintViolation, "may not sign certificates for this name", false),
        (E::PathLenConstraintViolated, "more authorities", false),
        (E::EmptyEkuExtension, "has no purpose", false),
        (E::UnsupportedCertVersion, "of an old version", true),
        (E::UnsupportedCriticalExtension, "a critical extension", true),
        (E::MaximumPathDepthExceeded, "more certificates than this exporter follows", true),
        (E::MaximumSignatureChecksExceeded, "more certificates than this exporter follows", true),
    ];
    let rest = [
        E::ExtensionValueInvalid,
        E::InvalidNetworkMaskConstraint,
        E::InvalidSerialNumber,
        E::MalformedDnsIdentifier,
        E::MalformedExtensions,
        E::MalformedNameConstraint,
        E::SignatureAlgorithmMismatch,
        E::UnsupportedNameType,
    ];
    let rest = rest.into_iter().map(|error| (error, "violates the standard", true));
    cases.into_iter().chain(rest).map(|(error, words, is_ours)| (of_path(error), words, is_ours)).collect()
}

fn handshakes() -> Vec<(Error, &'static str, bool)> {
    use PeerIncompatible as P;

    vec![
        (P::ServerDoesNotSupportTls12Or13.into(), "no version of TLS that is supported; supported here", true),
        (P::NoCipherSuitesInCommon.into(), "no cipher suite that is supported", true),
        (P::NoKxGroupsInCommon.into(), "no way to exchange keys", true),
        (P::NoSignatureSchemesInCommon.into(), "no kind of signature", true),
        (P::ExtendedMasterSecretExtensionRequired.into(), "no way of TLS in common", true),
        (PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into(), "a kind of key that is not supported", true),
        (PeerMisbehaved::MissingKeyShare.into(), "violates TLS", true),
        (Error::InappropriateMessage { expect_types: vec![], got_type: ContentType::Alert }, "violates TLS", true),
        (
            Error::InappropriateHandshakeMessage { expect_types: vec![], got_type: HandshakeType::Finished },
            "violates TLS",
            true,
        ),
        (InvalidMessage::InvalidContentType.into(), "the server's data is not TLS", false),
        (InvalidMessage::MissingData("x").into(), "the server's data is not valid TLS", false),
        (InvalidMessage::CertificatePayloadTooLarge.into(), "more in the handshake than is accepted here", true),
        (InvalidMessage::UnsupportedCurveType.into(), "a way to exchange keys that is not supported", true),
        (Error::NoCertificatesPresented, "presents no certificate", false),
        (Error::UnsupportedNameType, "cannot be checked against such a name", true),
        (Error::DecryptError, "cannot be decrypted", false),
        (Error::EncryptError, "made a mistake", true),
        (Error::HandshakeNotComplete, "made a mistake", true),
        (Error::BadMaxFragmentSize, "made a mistake", true),
        (Error::General("words".to_owned()), "could not be used: words", true),
        (Error::FailedToGetCurrentTime, "cannot tell the time", true),
        (Error::FailedToGetRandomBytes, "no random numbers", true),
        (Error::PeerSentOversizedRecord, "not TLS: a record is too long", false),
        (Error::NoApplicationProtocol, "no application protocol", true),
        (InconsistentKeys::KeyMismatch.into(), "do not belong together", true),
        (Error::Other(OtherError(Arc::new(std::fmt::Error))), "could not be used", true),
    ]
}

#[test]
fn every_error_is_told_in_plain_words_and_whose_it_is() {
    for (error, words, is_ours) in certificates().into_iter().chain(handshakes()) {
        let told = explained(&error);
        assert!(told.story.contains(words), "{:?} should hold {words:?}", told.story);
        assert_eq!(told.is_ours, is_ours, "{}", told.story);
        assert_plain(&told.story);
    }
}

#[test]
fn every_alert_is_told_by_the_name_that_the_standards_give_it() {
    for number in 0..=u8::MAX {
        let told = explained(&Error::AlertReceived(number.into()));
        assert_plain(&told.story);
        let known = name_of(number.into());
        let named = known.is_some_and(|name| told.story.contains(name)) || number == 116;
        assert!(named || told.story.contains(&format!("alert {number}")), "{number}: {}", told.story);
        assert_eq!(known.is_none(), matches!(AlertDescription::from(number), AlertDescription::Unknown(_)), "{number}");
        let of_us = [10, 22, 40, 47, 50, 70, 71, 86, 109, 110, 120, 121].contains(&number) || known.is_none();
        assert_eq!(told.is_ours, of_us, "{number}: {}", told.story);
        // The three that tell of nothing in common say what would be.
        assert!(![40, 70, 71].contains(&number) || told.story.contains(SUPPORTED), "{}", told.story);
    }
}

/// No name of a type of the library stands in it.
#[track_caller]
fn assert_plain(story: &str) {
    let known = ["TLS", "CA:TRUE", "AES", "RSA", "ECDSA", "ECDHE", "ChaCha20", "Poly1305", "Ed25519", "X25519", "GCM"];
    for word in story.split(|c: char| !c.is_ascii_alphanumeric() && c != ':') {
        let humps = word.chars().zip(word.chars().skip(1)).filter(|(a, b)| a.is_lowercase() && b.is_uppercase());
        let is_known = known.contains(&word) || ["subjectAltName", "extendedKeyUsage"].contains(&word);
        assert!(humps.count() == 0 || is_known, "{story:?} holds {word:?}");
    }
    assert!(!story.contains(['{', '}', '"']), "{story:?} holds Debug text");
}
