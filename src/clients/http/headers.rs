//! The headers of a request, some of them read from files.

use std::collections::BTreeMap;

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use crate::clients::credentials::read_line;
use crate::config::config;
use crate::config::decode::{Decoder, Fields};
use crate::config::values::{self, Secret, SecretFile};

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

impl HeaderConfig {
    fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
        if self.value.is_some() == self.value_file.is_some() {
            cx.error(fields.position("value_file"), "exactly one of `value` and `value_file` is needed");
        }
    }
}

/// What a stanza says of the headers of its requests.
#[derive(Debug, Clone, Default)]
pub struct HeaderSources {
    /// Headers by name.
    pub headers: BTreeMap<values::HeaderName, HeaderConfig>,
    /// A file that holds a token, sent as `Authorization: Bearer TOKEN`.
    pub bearer_token_file: Option<SecretFile>,
    /// User and password, sent as `Authorization: Basic`.
    pub basic_auth: Option<BasicAuth>,
}

impl HeaderSources {
    /// Records what is wrong between a stanza's `headers`, `bearer_token_file` and `basic_auth`.
    pub fn validate(&self, fields: &Fields<'_>, cx: &mut Decoder<'_>) {
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

/// The headers of a run.
pub struct Headers {
    /// What anybody may see.
    public: HeaderMap,
    /// What only the configured origin may see: everything that came from a file.
    private: HeaderMap,
    basic: Option<(String, Secret)>,
}

impl Headers {
    /// Reads what is in files.
    ///
    /// # Errors
    /// A file cannot be read, or holds what no header can carry. Never tells what it holds.
    pub async fn read(sources: &HeaderSources) -> Result<Self, String> {
        let mut public = HeaderMap::new();
        let mut private = HeaderMap::new();
        let user_agent = concat!("dr-exporter/", env!("CARGO_PKG_VERSION"));
        public.insert(USER_AGENT, HeaderValue::from_static(user_agent));
        for (name, header) in &sources.headers {
            let parsed = HeaderName::from_bytes(name.as_str().as_bytes());
            let key = parsed.map_err(|_| format!("{:?} is not a header's name", name.as_str()))?;
            if let Some(file) = &header.value_file {
                public.remove(&key);
                private.insert(key, secret(file, read_line(file).await?.expose())?);
            } else if let Some(text) = &header.value {
                let value = HeaderValue::from_bytes(text.as_bytes());
                let value = value.map_err(|_| format!("no header can carry the value of {key}"))?;
                // The host's name holds for the configured host alone.
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
        let basic = match &sources.basic_auth {
            None => None,
            // RFC 7617: a colon would end the name, and neither holds control characters.
            Some(auth) if auth.username.contains(|letter: char| letter == ':' || letter.is_control()) => {
                return Err(
                    "basic_auth.username: holds a colon or a control character, which no user's name can".to_owned()
                );
            }
            Some(auth) => Some((auth.username.clone(), read_line(&auth.password_file).await?)),
        };
        Ok(Self { public, private, basic })
    }

    /// Adds the headers to a request, the private ones if it goes to the configured origin.
    pub fn add_to(&self, request: reqwest::RequestBuilder, to_origin: bool) -> reqwest::RequestBuilder {
        let request = request.headers(self.public.clone());
        if !to_origin {
            return request;
        }
        let request = request.headers(self.private.clone());
        match &self.basic {
            Some((user, password)) => request.basic_auth(user, Some(password.expose())),
            None => request,
        }
    }
}

fn secret(file: &SecretFile, text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_bytes(text.as_bytes());
    let mut value =
        value.map_err(|_| format!("{}: holds characters that no header can carry", file.path().display()))?;
    value.set_sensitive(true);
    Ok(value)
}
