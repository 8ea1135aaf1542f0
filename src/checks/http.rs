//! `http`: an endpoint that *is* the component. Whatever keeps it from answering as expected is the component's failure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checks::{Check, Kind, KindInfo};
use crate::clients::Clients;
use crate::config::config;
use crate::config::decode::{Decoder, Fields, both_or_none};
use crate::config::values::{FilePath, HeaderName, HttpMethod, HttpUrl, Pattern, SecretFile, StatusSet};
use crate::domain::contract::Feeds;

config! {
    /// An HTTP endpoint that is the component. Feeds `rto`.
    pub struct HttpConfig {
        /// The URL to request, `http` or `https`. User and password do not belong in it.
        pub url: HttpUrl,
        /// The request method.
        pub method: HttpMethod = HttpMethod::default(),
        /// Request headers.
        pub headers: BTreeMap<HeaderName, HeaderConfig> = BTreeMap::new(),
        /// A file that holds a token, sent as `Authorization: Bearer TOKEN`. Excludes `basic_auth`.
        pub bearer_token_file: Option<SecretFile> = None,
        /// User and password, sent as `Authorization: Basic`. Excludes `bearer_token_file`.
        pub basic_auth: Option<BasicAuth> = None,
        /// The statuses that count as healthy: numbers, ranges (`200-204`) or classes (`2xx`).
        pub expect_status: StatusSet = StatusSet::success(),
        /// A regular expression that must match somewhere in the first MiB of the body.
        pub expect_body: Option<Pattern> = None,
        /// Whether redirects are followed, up to 10. If not, a redirect is judged by its own status.
        pub follow_redirects: bool = true,
        /// Whether a connection may be used for several runs. By default every run proves a new connection.
        pub reuse_connection: bool = false,
        /// A file of PEM certificates that are trusted instead of the system's.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// Whether the server's certificate goes unverified.
        pub insecure_skip_verify: bool = false,
    }
    validate = HttpConfig::validate;
}

config! {
    /// One request header: exactly one of its keys.
    pub struct HeaderConfig {
        /// The value itself. Refused for headers that carry credentials.
        pub value: Option<String> = None,
        /// A file that holds the value.
        pub value_file: Option<SecretFile> = None,
    }
    validate = HeaderConfig::validate;
}

config! {
    /// A user with a password.
    pub struct BasicAuth {
        /// The user's name.
        pub username: String,
        /// A file that holds the password.
        pub password_file: SecretFile,
    }
}

impl HttpConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
        if self.bearer_token_file.is_some() && self.basic_auth.is_some() {
            cx.error(fields.position("basic_auth"), "`bearer_token_file` authenticates already; remove one of the two");
        }
        let secret = self.headers.iter().filter(|(name, header)| name.is_secret() && header.value.is_some());
        for (name, _) in secret {
            let message =
                format!("`{}` carries a credential; put it in a file and name that in value_file", name.as_str());
            cx.error(fields.position("headers"), message);
        }
    }
}

impl HeaderConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.value.is_some() == self.value_file.is_some() {
            cx.error(fields.position("value_file"), "exactly one of `value` and `value_file` is needed");
        }
    }
}

impl Kind for HttpConfig {
    const INFO: KindInfo =
        KindInfo { name: "http", can_feed: Feeds { rto: true, rpo: false }, reasons: &[], readings: &[] };

    fn build(&self, _clients: &Clients) -> Arc<dyn Check> {
        unimplemented!()
    }
}
