//! The headers of a request. Some of them are read from files.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use crate::clients::credentials::read_line;
use crate::decode::config;
use crate::decode::values::{self, Secret, SecretFile};
use crate::decode::{Decoder, Fields};

config! {
    /// One request header. Exactly one of its keys must be set.
    pub struct HeaderConfig {
        /// The value. Not allowed for headers with credentials.
        pub value: Option<String> = None,
        /// A file with the value.
        pub value_file: Option<SecretFile> = None,
    }
    validate = HeaderConfig::validate;
}

config! {
    /// A user with a password.
    pub struct BasicAuth {
        /// The user's name.
        pub username: String,
        /// A file with the password.
        pub password_file: SecretFile,
    }
}

impl HeaderConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.value.is_some() == self.value_file.is_some() {
            cx.error(fields.position("value_file"), "exactly one of `value` and `value_file` is needed");
        }
    }
}

/// The sources of a stanza's request headers.
#[derive(Debug, Clone, Default)]
pub struct HeaderSources {
    /// Headers by name.
    pub headers: BTreeMap<values::HeaderName, HeaderConfig>,
    /// A file with a token, sent as `Authorization: Bearer TOKEN`.
    pub bearer_token_file: Option<SecretFile>,
    /// User and password, sent as `Authorization: Basic`.
    pub basic_auth: Option<BasicAuth>,
}

impl HeaderSources {
    /// Records errors between a stanza's `headers`, `bearer_token_file` and `basic_auth`.
    pub fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.bearer_token_file.is_some() && self.basic_auth.is_some() {
            cx.error(fields.position("basic_auth"), "`bearer_token_file` authenticates already; remove one of the two");
        }
        let secret = self.headers.iter().filter(|(name, header)| name.is_secret() && header.value.is_some());
        for (name, _) in secret {
            let message = format!("`{}` is a credential; put it into a file and set value_file", name.as_str());
            cx.error(fields.position("headers"), message);
        }
    }
}

/// The headers of a run.
pub struct Headers {
    /// The headers for any server.
    public: HeaderMap,
    /// The headers for the configured origin only: everything that came from a file.
    private: HeaderMap,
}

impl Headers {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, or its content is not possible in a header. The message never
    /// contains the content.
    pub async fn read(sources: &HeaderSources) -> Result<Self, String> {
        let mut public = HeaderMap::new();
        let mut private = HeaderMap::new();
        let user_agent = concat!("dr-exporter/", env!("CARGO_PKG_VERSION"));
        public.insert(USER_AGENT, HeaderValue::from_static(user_agent));
        for (name, header) in &sources.headers {
            let parsed = HeaderName::from_bytes(name.as_str().as_bytes());
            let key = parsed.map_err(|_| format!("{:?} is not the name of a header", name.as_str()))?;
            if let Some(file) = &header.value_file {
                public.remove(&key);
                private.insert(key, secret(file, read_line(file).await?.expose())?);
            } else if let Some(text) = &header.value {
                let value = HeaderValue::from_bytes(text.as_bytes());
                let value = value.map_err(|_| format!("the value of {key} is not possible in a header"))?;
                // A configured Host header is only for the configured host.
                if key == HOST {
                    private.insert(key, value)
                } else {
                    public.insert(key, value)
                };
            }
        }
        if let Some(file) = &sources.bearer_token_file {
            let token = read_line(file).await?;
            private.insert(AUTHORIZATION, secret(file, &format!("Bearer {}", token.expose()))?);
        }
        match &sources.basic_auth {
            None => {}
            // RFC 7617: a colon would end the name, and control characters are not allowed.
            Some(auth) if auth.username.contains(|letter: char| letter == ':' || letter.is_control()) => {
                return Err(
                    "basic_auth.username: a colon or a control character is not allowed in a user name".to_owned()
                );
            }
            Some(auth) => {
                private.insert(AUTHORIZATION, basic(auth, &read_line(&auth.password_file).await?)?);
            }
        }
        Ok(Self { public, private })
    }

    /// The headers of a request. The private ones are only included for the configured origin.
    #[must_use]
    pub fn of(&self, to_origin: bool) -> HeaderMap {
        let mut headers = self.public.clone();
        if to_origin {
            headers.extend(self.private.clone());
        }
        headers
    }
}

fn basic(auth: &BasicAuth, password: &Secret) -> Result<HeaderValue, String> {
    let pair = format!("{}:{}", auth.username, password.expose());
    let encoded = Secret::new(&format!("{}, encoded", auth.password_file), &BASE64.encode(pair.as_bytes()));
    secret(&auth.password_file, &format!("Basic {}", encoded.expose()))
}

fn secret(file: &SecretFile, text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value =
        value.map_err(|_| format!("{}: holds characters that are not possible in a header", file.path().display()))?;
    value.set_sensitive(true);
    Ok(value)
}
