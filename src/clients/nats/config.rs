//! The configuration of a connection.

use crate::clients::stanza::{Destination, Stanza};
use crate::decode::config;
use crate::decode::values::{DomainName, FilePath, NatsServer, SecretFile, Subject};
use crate::decode::{Decoder, Fields, both_or_none};

config! {
    /// A connection to one NATS system. All checks that name it share it.
    pub struct NatsConnection {
        /// The servers, `nats://host:port` or `tls://host:port`. User and password do not belong in
        /// them.
        pub servers: Vec<NatsServer>,
        /// A file with a JWT and an NKey seed, as `nsc` writes it. One of the four ways to
        /// authenticate.
        pub credentials_file: Option<SecretFile> = None,
        /// The user name. Needs `password_file`. One of the four ways to authenticate.
        pub user: Option<String> = None,
        /// A file with the password of `user`.
        pub password_file: Option<SecretFile> = None,
        /// A file with a token. One of the four ways to authenticate.
        pub token_file: Option<SecretFile> = None,
        /// A file with an NKey seed. One of the four ways to authenticate.
        pub nkey_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's. Makes TLS required.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// Whether the TLS handshake comes first, for servers with `tls { handshake_first: true }`.
        pub tls_first: bool = false => incidental,
        /// The JetStream domain, if it is not the server's own.
        pub domain: Option<DomainName> = None,
        /// The prefix of the JetStream API subjects, if the API is imported from another account
        /// under another name, such as `JS.app.API`. Instead of `domain`.
        pub api_prefix: Option<Subject> = None,
        /// The prefix of the inboxes for answers, for accounts that may not subscribe to
        /// `_INBOX.>`.
        pub inbox_prefix: Subject = Subject::inbox() => incidental,
    }
    validate = NatsConnection::validate;
}

impl NatsConnection {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        let ways = [
            ("credentials_file", self.credentials_file.is_some()),
            ("user", self.user.is_some()),
            ("token_file", self.token_file.is_some()),
            ("nkey_file", self.nkey_file.is_some()),
        ];
        let mut given = ways.into_iter().filter_map(|(key, given)| given.then_some(key));
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            cx.error(fields.position(second), format!("`{first}` already authenticates; remove one of the two"));
        }
        both_or_none(("user", self.user.is_some()), ("password_file", self.password_file.is_some()), fields, cx);
        both_or_none(("cert_file", self.cert_file.is_some()), ("key_file", self.key_file.is_some()), fields, cx);
        one_api(self.domain.as_ref(), self.api_prefix.as_ref(), fields, cx);
    }

    /// A connection without servers.
    #[must_use]
    pub(crate) fn without_servers() -> Self {
        Self {
            servers: Vec::new(),
            credentials_file: None,
            user: None,
            password_file: None,
            token_file: None,
            nkey_file: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            tls_first: false,
            domain: None,
            api_prefix: None,
            inbox_prefix: Subject::inbox(),
        }
    }

    /// Whether TLS is required, whatever the server's URL and the server itself say.
    pub(super) fn requires_tls(&self) -> bool {
        self.ca_file.is_some() || self.cert_file.is_some() || self.tls_first
    }

    /// The prefix of the JetStream API subjects, unless a check sets another one.
    pub(super) fn api(&self) -> Option<String> {
        api(self.domain.as_ref(), self.api_prefix.as_ref())
    }
}

/// The prefix of the JetStream API subjects for a domain or a prefix. None if neither is set.
#[must_use]
pub fn api(domain: Option<&DomainName>, prefix: Option<&Subject>) -> Option<String> {
    let of_domain = |domain: &DomainName| format!("$JS.{}.API", domain.as_str());
    prefix.map(|prefix| prefix.as_str().to_owned()).or_else(|| domain.map(of_domain))
}

/// Records an error if a stanza sets both a domain and a prefix.
pub fn one_api(domain: Option<&DomainName>, prefix: Option<&Subject>, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
    if domain.is_some() && prefix.is_some() {
        let message = "`domain` already sets the prefix `$JS.<domain>.API`; remove one of the two";
        cx.error(fields.position("api_prefix"), message.to_owned());
    }
}

impl Stanza for NatsConnection {
    /// One account in one domain of one system. Other credentials may belong to another account
    /// with its own streams. The same credentials always belong to the same account.
    fn destination(&self, within: Option<&str>) -> Destination {
        let mut servers: Vec<_> = self.servers.iter().map(NatsServer::place).collect();
        servers.sort();
        servers.dedup();
        let api = within.map(ToOwned::to_owned).or_else(|| self.api());
        let file = |file: &Option<SecretFile>| file.as_ref().map(|file| file.path().to_owned());
        let credentials = (&self.user, file(&self.credentials_file), file(&self.token_file), file(&self.nkey_file));
        Destination {
            place: format!("{api:?} of {servers:?} as {credentials:?}"),
            told_by: "the same servers, domain and credentials",
        }
    }
}
