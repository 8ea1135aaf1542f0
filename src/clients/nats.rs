//! Connections to NATS.

use crate::config::config;
use crate::config::values::{DomainName, FilePath, NatsServer, SecretFile, Subject};

config! {
    /// A connection to one NATS system. Checks that name it share it.
    pub struct NatsConnection {
        /// The servers, `nats://host:port` or `tls://host:port`. User and password do not belong in them.
        pub servers: Vec<NatsServer>,
        /// A file with a JWT and an NKey seed, as `nsc` writes it. One of the four ways to authenticate.
        pub credentials_file: Option<SecretFile> = None,
        /// The user's name; needs `password_file`. One of the four ways to authenticate.
        pub user: Option<String> = None,
        /// A file that holds the password of `user`.
        pub password_file: Option<SecretFile> = None,
        /// A file that holds a token. One of the four ways to authenticate.
        pub token_file: Option<SecretFile> = None,
        /// A file that holds an NKey seed. One of the four ways to authenticate.
        pub nkey_file: Option<SecretFile> = None,
        /// A file of PEM certificates that are trusted instead of the system's. Makes TLS required.
        pub ca_file: Option<FilePath> = None,
        /// A file with the client's PEM certificate chain. Needs `key_file`.
        pub cert_file: Option<FilePath> = None,
        /// A file with the client's PEM private key. Needs `cert_file`.
        pub key_file: Option<SecretFile> = None,
        /// The JetStream domain that is asked.
        pub domain: Option<DomainName> = None,
        /// The prefix of the inboxes that answers come to, for accounts that may not subscribe to `_INBOX.>`.
        pub inbox_prefix: Subject = Subject::inbox(),
    }
}
