//! How the exporter authenticates: the files of a connection, read again for every attempt.

use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;

use super::nkey::NKey;
use super::{CREDENTIALS_UNREADABLE, NatsConnection};
use crate::clients::credentials::read_line;
use crate::decode::values::{Secret, SecretFile};
use crate::domain::observation::Finding;

/// The identity of the exporter.
pub(super) enum Login {
    Nobody,
    User { name: String, password: Secret },
    Token(Secret),
    Key(NKey),
    Jwt { jwt: String, key: NKey },
}

/// The first message of the client.
#[derive(Default, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the protocol has them")]
pub(super) struct Connect {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'static str,
    lang: &'static str,
    version: &'static str,
    /// The protocol version, which asks for updates of the server's INFO.
    protocol: u8,
    echo: bool,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

impl Login {
    /// Reads the files.
    pub(super) async fn read(config: &NatsConnection) -> Result<Self, Finding> {
        if let Some(file) = &config.credentials_file {
            let nothing = || unreadable(&format!("{file} holds no JWT with its seed"));
            let text = read(file).await?;
            let (jwt, seed) = decorated(text.expose()).ok_or_else(nothing)?;
            let key = NKey::from_seed(seed).ok_or_else(nothing)?;
            return Ok(Self::Jwt { jwt: jwt.to_owned(), key });
        }
        if let Some(file) = &config.token_file {
            return Ok(Self::Token(line(file).await?));
        }
        if let Some(file) = &config.nkey_file {
            let seed = read(file).await?;
            let key = NKey::from_seed(seed.expose().trim());
            return key.map(Self::Key).ok_or_else(|| unreadable(&format!("{file} holds no NKey seed")));
        }
        if let (Some(name), Some(file)) = (&config.user, &config.password_file) {
            return Ok(Self::User { name: name.clone(), password: line(file).await? });
        }
        Ok(Self::Nobody)
    }

    /// The first message to a server that sent this nonce.
    pub(super) fn connect(&self, nonce: &str, tls_required: bool) -> Connect {
        let connect = Connect {
            tls_required,
            name: concat!("dr-exporter/", env!("CARGO_PKG_VERSION")),
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            ..Connect::default()
        };
        let signed = |key: &NKey| Some(BASE64URL_NOPAD.encode(key.sign(nonce.as_bytes()).as_ref()));
        match self {
            Self::Nobody => connect,
            Self::User { name, password } => {
                Connect { user: Some(name.clone()), pass: Some(password.expose().to_owned()), ..connect }
            }
            Self::Token(token) => Connect { auth_token: Some(token.expose().to_owned()), ..connect },
            Self::Key(key) => Connect { nkey: Some(key.public()), sig: signed(key), ..connect },
            Self::Jwt { jwt, key } => Connect { jwt: Some(jwt.clone()), sig: signed(key), ..connect },
        }
    }
}

/// The JWT and the seed in a file of `nsc`: each is one line between two lines of dashes.
fn decorated(text: &str) -> Option<(&str, &str)> {
    let is_rule = |line: &str| line.starts_with("---") && line.ends_with("---");
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let mut found = lines.windows(3).filter_map(|three| match three {
        [before, line, after] if is_rule(before) && is_rule(after) && !is_rule(line) => Some(*line),
        _ => None,
    });
    Some((found.next()?, found.next()?))
}

async fn read(file: &SecretFile) -> Result<Secret, Finding> {
    file.read().await.map_err(|error| unreadable(&error))
}

async fn line(file: &SecretFile) -> Result<Secret, Finding> {
    read_line(file).await.map_err(|error| unreadable(&error))
}

pub(super) fn unreadable(error: &impl std::fmt::Display) -> Finding {
    Finding::new(&CREDENTIALS_UNREADABLE, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_as_nsc_writes_it() {
        let file = "-----BEGIN NATS USER JWT-----\r\neyJ0.e30.x-_\r\n------END NATS USER JWT------\r\n\r\n\
                    ************************* IMPORTANT *************************\r\nkeep it\r\n\r\n\
                    -----BEGIN USER NKEY SEED-----\r\nSUAx\r\n------END USER NKEY SEED------\r\n";
        assert_eq!(decorated(file), Some(("eyJ0.e30.x-_", "SUAx")));
        assert_eq!(decorated(&file.replace("\r\n", "\n")), Some(("eyJ0.e30.x-_", "SUAx")));
        assert_eq!(decorated("eyJ0\nSUAx\n"), None);
        assert_eq!(decorated("-----BEGIN-----\nonly one\n-----END-----"), None);
        assert_eq!(decorated(""), None);
    }

    #[test]
    fn what_is_signed_is_what_the_server_sent() {
        let theirs = nkeys::KeyPair::new_user();
        let key = NKey::from_seed(&theirs.seed().expect("a seed")).expect("a key");
        let said = Login::Key(key).connect("nonce", false);
        let public = said.nkey.as_deref().map(nkeys::KeyPair::from_public_key).expect("a key").expect("a public key");
        let signature = BASE64URL_NOPAD.decode(said.sig.unwrap_or_default().as_bytes()).expect("base64");
        public.verify(b"nonce", &signature).expect("the signature is good");
        let said = serde_json::to_value(Login::Nobody.connect("", true)).expect("JSON");
        assert_eq!(said.get("user"), None);
        assert_eq!(said.get("tls_required"), Some(&serde_json::Value::Bool(true)));
    }
}
