//! The values of a web configuration, as the exporter-toolkit writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use rustls::{CipherSuite, NamedGroup, SupportedProtocolVersion};
use serde_json::json;

use crate::decode::values::Word;
use crate::decode::yaml::Value;
use crate::decode::{Decode, Decoder, Key, Node, nearest};

/// A value that counts as left out if it is empty: templates often write it so.
#[derive(Debug, Clone)]
pub struct Blank<T>(pub(crate) Option<T>);

impl<T: Decode> Decode for Blank<T> {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let is_blank = match &node.value {
            Value::Null => true,
            Value::Text(text) => text.is_empty(),
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            _ => false,
        };
        if is_blank { Some(Self(None)) } else { T::decode(node, cx).map(|value| Self(Some(value))) }
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }
}

/// A text that may be a secret. It cannot be printed.
#[derive(Clone)]
pub struct Inline(pub(crate) String);

impl fmt::Debug for Inline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Decode for Inline {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if let Value::Text(text) = &node.value {
            return Some(Self(text.clone()));
        }
        cx.wrong_type(node, "a text in PEM");
        None
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string"})
    }
}

/// The name of a user.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UserName(pub(super) String);

impl Key for UserName {
    fn parse_key(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty() && !text.contains(|sign: char| sign == ':' || sign.is_control());
        fits.then(|| Self(text.to_owned())).ok_or_else(|| "a user name: not empty, and without `:`".to_owned())
    }
}

/// The bcrypt hash of a password. It cannot be printed.
#[derive(Clone)]
pub struct PasswordHash(pub(super) String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl Decode for PasswordHash {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        const EXPECTED: &str = "the bcrypt hash of a password, as `htpasswd -nBC 10 \"\" | tr -d ':\\n'` prints it";
        let Value::Text(text) = &node.value else {
            cx.wrong_type(node, EXPECTED);
            return None;
        };
        let cost = bcrypt::HashParts::from_str(text).ok().map(|parts| parts.get_cost());
        if !cost.is_some_and(|cost| (4..=31).contains(&cost)) {
            cx.invalid(node.at, "password hash", EXPECTED);
            return None;
        }
        if cost.is_some_and(|cost| cost > 14) {
            cx.warn(node.at, "a cost above 14 takes seconds for each new password; 10 to 12 is usual");
        }
        Some(Self(text.clone()))
    }

    fn schema() -> serde_json::Value {
        json!({"type": "string"})
    }
}

/// A number of things.
#[derive(Debug, Clone, Copy)]
pub struct Count(pub(super) u32);

impl Decode for Count {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if let Value::Integer(number) = node.value
            && let Ok(number) = u32::try_from(number)
        {
            return Some(Self(number));
        }
        cx.wrong_type(node, "a whole number, not negative");
        None
    }

    fn schema() -> serde_json::Value {
        json!({"type": "integer", "minimum": 0})
    }
}

/// A duration as Go writes it, such as `1s`, `100ms` or `1m30s`.
#[derive(Debug, Clone, Copy)]
pub struct GoDuration(pub(super) Duration);

impl GoDuration {
    pub(super) const ZERO: Self = Self(Duration::ZERO);
    const EXPECTED: &str = "a duration such as 1s, 100ms or 1m30s, or 0";

    fn parse(text: &str) -> Option<Duration> {
        if text == "0" {
            return Some(Duration::ZERO);
        }
        let (mut rest, mut sum) = (text, 0.0);
        while !rest.is_empty() {
            let (number, after) = rest.split_at(rest.find(|sign: char| sign != '.' && !sign.is_ascii_digit())?);
            let (unit, after) = after.split_at(after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len()));
            let seconds = match unit {
                "ns" => 1e-9,
                "us" | "µs" | "μs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
            sum += number.parse::<f64>().ok()? * seconds;
            rest = after;
        }
        (!text.is_empty()).then(|| Duration::try_from_secs_f64(sum).ok()).flatten()
    }
}

impl Decode for GoDuration {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        let parsed = match &node.value {
            Value::Integer(0) => Some(Duration::ZERO),
            Value::Text(text) => {
                let parsed = Self::parse(text);
                if parsed.is_none() {
                    cx.invalid(node.at, "duration", Self::EXPECTED);
                    return None;
                }
                parsed
            }
            _ => None,
        };
        if parsed.is_none() {
            cx.wrong_type(node, Self::EXPECTED);
        }
        parsed.map(Self)
    }

    fn schema() -> serde_json::Value {
        json!({"type": ["string", "integer"]})
    }
}

/// Headers of every answer.
#[derive(Debug, Clone)]
pub struct Headers(pub(super) Vec<(HeaderName, HeaderValue)>);

impl Headers {
    /// The headers that can be set, and the values of those that have few.
    const ALLOWED: [(&'static str, &'static [&'static str]); 5] = [
        ("Content-Security-Policy", &[]),
        ("Strict-Transport-Security", &[]),
        ("X-Content-Type-Options", &["nosniff"]),
        ("X-Frame-Options", &["deny", "sameorigin"]),
        ("X-XSS-Protection", &[]),
    ];
}

impl Decode for Headers {
    fn decode(node: &Node, cx: &mut Decoder<'_>) -> Option<Self> {
        if !matches!(node.value, Value::Map(_)) {
            cx.wrong_type(node, "a mapping of headers to their values");
            return None;
        }
        let (mut headers, mut whole) = (Vec::new(), true);
        for entry in node.entries() {
            let Some((name, values)) = Self::ALLOWED.into_iter().find(|(name, _)| *name == entry.key) else {
                cx.error(entry.at, unknown_header(&entry.key));
                whole = false;
                continue;
            };
            match cx.under(name, |cx| header(name, values, &entry.node, cx)) {
                Some(Blank(value)) => headers.extend(value),
                None => whole = false,
            }
        }
        whole.then_some(Self(headers))
    }

    fn schema() -> serde_json::Value {
        json!({"type": "object"})
    }
}

/// A header with its value. Nothing if the value is empty.
fn header(name: &str, values: &[&str], node: &Node, cx: &mut Decoder<'_>) -> Option<Blank<(HeaderName, HeaderValue)>> {
    let Blank(text) = Blank::<String>::decode(node, cx)?;
    let Some(text) = text else { return Some(Blank(None)) };
    if !values.is_empty() && !values.contains(&text.as_str()) {
        cx.invalid(node.at, "value", &values.join(" or "));
        return None;
    }
    let parsed = HeaderName::from_str(name).ok().zip(HeaderValue::from_str(&text).ok());
    if parsed.is_none() {
        cx.invalid(node.at, "value", "the text of a header");
    }
    parsed.map(|parsed| Blank(Some(parsed)))
}

fn unknown_header(name: &str) -> String {
    let known = Headers::ALLOWED.map(|(name, _)| name);
    // A key that looks different may be a value whose key was lost.
    let is_name = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let named = if is_name { format!("the header `{name}` cannot be set") } else { "unknown header".to_owned() };
    match nearest(name, &known).or_else(|| known.into_iter().find(|known| known.eq_ignore_ascii_case(name))) {
        Some(near) => format!("{named}; did you mean `{near}`?"),
        None => format!("{named}; expected one of {}", known.join(", ")),
    }
}

/// Defines a closed list of words.
macro_rules! words {
    ($(#[$doc:meta])+ $name:ident, $noun:literal, $expected:literal, $type:ty { $($word:literal => $value:expr,)+ }) => {
        $(#[$doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(pub(crate) $type);

        impl Word for $name {
            const NOUN: &'static str = $noun;
            const EXPECTED: &'static str = $expected;
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self($value)),)+
                    _ => None,
                }
            }

            fn written(&self) -> String {
                $(if self.0 == $value { return $word.to_owned(); })+
                String::new()
            }

            fn why_not(text: &str) -> Option<String> {
                unsupported(text).map(|why| format!("{text} {why}"))
            }
        }
    };
}

/// Why a word that Go knows is not supported. Only such a word may be repeated in a message.
fn unsupported(text: &str) -> Option<&'static str> {
    let is_suite = text.starts_with("TLS_")
        && text.len() <= 60
        && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    match text {
        "TLS10" | "TLS11" => Some("is insecure, and not supported"),
        "CurveP521" | "X25519MLKEM768" => Some("is not supported"),
        _ if is_suite => Some("is not supported"),
        _ => None,
    }
}

words! {
    /// A version of TLS.
    TlsVersion, "TLS version", "TLS12 or TLS13", &'static SupportedProtocolVersion {
        "TLS12" => &rustls::version::TLS12,
        "TLS13" => &rustls::version::TLS13,
    }
}

words! {
    /// A curve of the key exchange.
    Curve, "curve", "X25519, CurveP256 or CurveP384", NamedGroup {
        "X25519" => NamedGroup::X25519,
        "CurveP256" => NamedGroup::secp256r1,
        "CurveP384" => NamedGroup::secp384r1,
    }
}

words! {
    /// A cipher suite.
    Suite, "cipher suite",
    "one of TLS_ECDHE_{ECDSA,RSA}_WITH_{AES_128_GCM_SHA256,AES_256_GCM_SHA384,CHACHA20_POLY1305_SHA256}",
    CipherSuite {
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
        // Go lists those of TLS 1.3 too. There they are always on, here as well.
        "TLS_AES_128_GCM_SHA256" => CipherSuite::TLS13_AES_128_GCM_SHA256,
        "TLS_AES_256_GCM_SHA384" => CipherSuite::TLS13_AES_256_GCM_SHA384,
        "TLS_CHACHA20_POLY1305_SHA256" => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
    }
}

/// Whether clients need a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They are asked for one, and none is verified.
    Request,
    /// They need one, and none is verified.
    RequireAny,
    /// They need none, and one that is given is verified.
    VerifyIfGiven,
    /// They need one, and it is verified.
    RequireAndVerify,
}

impl ClientAuth {
    /// Whether certificates are verified.
    pub(in crate::web) const fn verifies(self) -> bool {
        matches!(self, Self::VerifyIfGiven | Self::RequireAndVerify)
    }

    /// Whether clients need a certificate.
    pub(in crate::web) const fn requires(self) -> bool {
        matches!(self, Self::RequireAny | Self::RequireAndVerify)
    }
}

impl Word for ClientAuth {
    const NOUN: &'static str = "type";
    const EXPECTED: &'static str = "NoClientCert, RequestClientCert, RequireAnyClientCert, VerifyClientCertIfGiven or \
                                    RequireAndVerifyClientCert";
    const WORDS: &'static [&'static str] = &[
        "NoClientCert",
        "RequestClientCert",
        "RequireAnyClientCert",
        "VerifyClientCertIfGiven",
        "RequireAndVerifyClientCert",
    ];

    fn parse(text: &str) -> Option<Self> {
        match text {
            "NoClientCert" => Some(Self::None),
            "RequestClientCert" => Some(Self::Request),
            // The second name is from the first versions of the toolkit.
            "RequireAnyClientCert" | "RequireClientCert" => Some(Self::RequireAny),
            "VerifyClientCertIfGiven" => Some(Self::VerifyIfGiven),
            "RequireAndVerifyClientCert" => Some(Self::RequireAndVerify),
            _ => None,
        }
    }

    fn written(&self) -> String {
        match self {
            Self::None => "NoClientCert",
            Self::Request => "RequestClientCert",
            Self::RequireAny => "RequireAnyClientCert",
            Self::VerifyIfGiven => "VerifyClientCertIfGiven",
            Self::RequireAndVerify => "RequireAndVerifyClientCert",
        }
        .to_owned()
    }
}
